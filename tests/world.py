"""A small world for flow tests: both simulators over real HTTP, one tenant, one integration, and short names for what is counted.

    world = World.build()            # or the fixture `world`
    ids = world.ready(3)             # three shipments ready in IFS
    world.sync()                     # poll and work until nothing is due
    assert world.numbers() == world.labels() ...

Counts are taken at the simulators, never from our own tables.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from connector.management.commands.sync import drain
from connector.models import Integration, Transfer
from connector.services import clock, throttle, tokens
from connector.services.configuration import importing
from connector.services.engine import polling
from connector.services.engine.polling import PollResult
from integrations.base.simulator import Fault, SimRequest, SimResponse, SimulatorServer
from integrations.fedex.simulator import FedexSimulator
from integrations.flows.specs import POLLS
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from tests.fedex import official

ADDRESS = {
    "company": "Acme",
    "name": "Shipping",
    "phone": "9015550100",
    "lines": ["1 Dock Rd"],
    "city": "Memphis",
    "state": "TN",
    "postal_code": "38116",
    "country": "US",
}
SERVICES = {"FDX-GND": "FEDEX_GROUND", "FDX-2DAY": "FEDEX_2_DAY"}


def document(url: str, slug: str = "acme", **integration: Any) -> dict[str, Any]:
    """A configuration document for one tenant whose connections point at the simulators under `url`."""
    return {
        "version": 1,
        "tenants": [{"slug": slug, "name": slug.title(), "timezone": "America/Chicago"}],
        "connections": [
            {
                "slug": f"{slug}-ifs",
                "tenant": slug,
                "vendor": "ifs_cloud",
                "name": f"{slug} IFS",
                "environment": "custom",
                "urls": {"base": f"{url}/ifs_cloud"},
                "credentials": {"client_id": "MLC", "client_secret": "ifs-demo-secret"},
                "settings": {
                    "realm": "standard1",
                    "max_parallel": 8,
                    "limits": [{"name": "calls", "scope": "connection", "calls": 10000, "per_s": 1}],
                },
                "company_codes": [
                    {
                        "code": "10",
                        "cost_center": "CC-100",
                        "freight_account": "6400",
                        "sites": [{"code": "S1", "timezone": "America/Chicago", "address": ADDRESS}],
                    }
                ],
            },
            {
                "slug": f"{slug}-fedex",
                "tenant": slug,
                "vendor": "fedex",
                "name": f"{slug} FedEx",
                "environment": "custom",
                "urls": {"base": f"{url}/fedex"},
                "credentials": {"client_id": "demo-key", "client_secret": "demo-secret", "account_number": "123456789"},
                "settings": {
                    "max_parallel": 8,
                    "limits": [{"name": "calls", "scope": "credential", "calls": 100000, "per_s": 10}],
                    "in_doubt": {"look_up_after_s": [0.05, 0.05, 1, 1, 1], "resend_after_s": None},
                },
            },
        ],
        "integrations": [
            {
                "slug": f"{slug}-ifs-fedex",
                "tenant": slug,
                "kind": "ifs_fedex",
                "name": f"{slug}: IFS to FedEx",
                "source": f"{slug}-ifs",
                "target": f"{slug}-fedex",
                "company_codes": ["10"],
                "enabled": True,
                "start_from": "2020-01-01T00:00:00Z",
                "value_maps": {"service": dict(SERVICES)},
            }
            | integration
        ],
    }


class WatchedFedex(FedexSimulator):
    """The simulator, with FedEx's official descriptions over its shoulder: whatever flows send is held against them."""

    def __init__(self) -> None:
        super().__init__()
        self.undescribed: list[str] = []
        self.judged: set[str] = set()

    def handle(self, request: SimRequest) -> tuple[SimResponse, list[Fault]]:
        if official.present() and request.method != "GET" and not request.path.startswith("/_sim"):
            body = dict(request.form()) if request.path == "/oauth/token" else request.json()
            self.undescribed += official.problems(request.method, request.path, body)
            self.judged.add(f"{request.method} {request.path}")
        return super().handle(request)


@dataclass
class World:
    """Simulators, their server and the integration under test."""

    ifs: IfsCloudSimulator
    fedex: WatchedFedex
    server: SimulatorServer
    slug: str = "acme"
    tenant: str = "standard"
    doc: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def build(cls, *, apply: bool = True, slug: str = "acme", **integration: Any) -> World:
        """Start the simulators on a free port and import the configuration."""
        ifs, fedex = IfsCloudSimulator(), WatchedFedex()
        server = SimulatorServer([ifs, fedex]).start()
        world = cls(ifs, fedex, server, slug)
        tokens.forget_memory()
        throttle.forget()
        world.doc = document(server.url, slug, **integration)
        if apply:
            world.configure()
        return world

    def close(self) -> None:
        """Stop serving; a crash inside a simulator fails the test that caused it."""
        self.server.stop()
        clock.offset_s = 0.0
        assert not self.server.errors, self.server.errors
        assert not self.fedex.undescribed, self.fedex.undescribed

    def configure(self, change: Any = None) -> None:
        """Import the document, after `change(document)` has edited it."""
        if change is not None:
            change(self.doc)
        importing.apply(copy.deepcopy(self.doc), "test")

    # -- doing ---------------------------------------------------------------------------------------

    @property
    def integration(self) -> Integration:
        return Integration.objects.select_related("source", "target", "tenant").get(slug=f"{self.slug}-ifs-fedex")

    def ready(self, count: int = 1, **columns: Any) -> list[int]:
        """Shipments that are ready in IFS (site S1); their ids."""
        return self.ifs.make_shipments("standard", count, **columns)

    def poll(self, **options: Any) -> PollResult:
        """One poll of the ship flow."""
        return polling.poll(self.integration, POLLS["ship"], **options)

    def work(self, wait_s: float = 0.0) -> None:
        """Process until nothing is due (within `wait_s`)."""
        drain(self.integration, wait_s)

    def sync(self, wait_s: float = 0.0) -> PollResult:
        """Poll, then work."""
        result = self.poll()
        self.work(wait_s)
        return result

    def later(self, seconds: float) -> None:
        """Let the database's clock (and ours) jump ahead."""
        clock.offset_s += seconds
        tokens.forget_memory()

    # -- counting at the simulators ------------------------------------------------------------------

    def labels(self) -> int:
        """Live labels at FedEx."""
        return self.fedex.live_labels()

    def numbers(self) -> dict[int, str]:
        """Tracking numbers that stand in IFS, by shipment id."""
        return {k: v for k, v in self.ifs.tracking_numbers("standard").items() if v}

    def calls(self, pattern: str) -> int:
        """Requests at either simulator whose "METHOD path" contains `pattern`."""
        return sum(n for counts in (self.ifs.counts, self.fedex.counts) for k, n in counts.items() if pattern in k)

    def transfer(self, shipment_id: int) -> Transfer:
        """The newest transfer of a shipment."""
        return Transfer.objects.filter(integration=self.integration, source_key=f"shipment:{shipment_id}").latest("revision")

    def states(self) -> dict[str, int]:
        """Transfers by state."""
        found: dict[str, int] = {}
        for state in Transfer.objects.filter(integration=self.integration).values_list("state", flat=True):
            found[state] = found.get(state, 0) + 1
        return found

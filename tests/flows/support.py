"""What the survival tests share: small waits, time that passes everywhere, and the counts that matter."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from connector.models import EffectSend, Integration, Transfer
from connector.services import clock, tokens
from connector.services.engine import work
from integrations.flows.specs import FLOWS
from tests.world import World

CREATE = "POST /ship/v1/shipments"
"""As counted at the simulator: exactly the create, not cancel or results."""
CREATE_LINE = "POST /ship/v1/shipments$"
"""As a fault matches it."""
LOOK_UP = "POST /track/v1/referencenumbers"
SHIPMENTS = "ShipmentHandling.svc/ShipmentSet"


def small(settings: Any, **values: Any) -> None:
    """Engine settings for this test only; retries come quickly."""
    settings.ENGINE = {**settings.ENGINE, "RETRY_BASE_S": 0.05, "RETRY_CAP_S": 0.2, **values}


def creates(world: World) -> int:
    """Requests to buy that arrived at FedEx, whatever became of them."""
    return world.fedex.counts[CREATE]


def look_ups(world: World) -> int:
    """Look-ups by reference that arrived at FedEx."""
    return world.fedex.counts[LOOK_UP]


def later(world: World, seconds: float) -> None:
    """Time passes for us and for both vendors."""
    world.later(seconds)
    world.ifs.clock_offset_s += seconds
    world.fedex.clock_offset_s += seconds


def settle(world: World, wait_s: float = 0.0) -> None:
    """Work on; whatever waits for a retry becomes due at once, a few times over."""
    for _ in range(40):
        world.work(wait_s)
        waiting = Transfer.objects.filter(integration=world.integration).filter(Q(state="waiting") | Q(state="in_doubt"))
        if not waiting.filter(state="waiting").exclude(code__in=("stop_buying", "switched_off", "not_buying")).exists():
            return
        waiting.update(due_at=clock.at(-1))
    raise AssertionError(f"never settled: {world.states()}")


def due_now(world: World) -> None:
    """Make everything that waits due, and work once."""
    Transfer.objects.filter(integration=world.integration, state__in=("waiting", "in_doubt")).update(due_at=clock.at(-1))
    tokens.forget_memory()
    world.work()


def one_group(world: World, integration: Integration | None = None, **options: Any) -> work.Tally:
    """One `process` call."""
    return work.process(integration or world.integration, FLOWS, **options)


def change(world: World, connection: str, **settings: Any) -> None:
    """Merge settings into a connection of the document ("ifs" or "fedex") and import it."""

    def edit(doc: dict[str, Any]) -> None:
        for row in doc["connections"]:
            if row["slug"] == f"{world.slug}-{connection}":
                row["settings"].update(settings)

    world.configure(edit)


def options(world: World, **values: Any) -> None:
    """Set options of the integration and import."""

    def edit(doc: dict[str, Any]) -> None:
        doc["integrations"][0].setdefault("options", {}).update(values)

    world.configure(edit)


def edit(world: World, shipment_id: int, *, user: str = "ALICE", **columns: Any) -> None:
    """Another user edits a shipment in IFS."""
    world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": shipment_id}, columns, user)


def masters(world: World, *, live: bool = True) -> list[str]:
    """Master numbers at FedEx."""
    return [s.master for s in world.fedex.shipments() if not (live and s.voided)]


def send_of(transfer: Transfer) -> EffectSend:
    """The newest send of a transfer's record."""
    return EffectSend.objects.filter(effect__record=transfer.record_id).order_by("effect__generation", "number").last()  # type: ignore[return-value]


def quick_logins(world: World) -> None:
    """Do without our own limit on logins at FedEx (one in five seconds), which is not what most tests are about."""
    calls = {"name": "calls", "scope": "credential", "calls": 100000, "per_s": 10}
    change(world, "fedex", limits=[calls, {"name": "token", "scope": "host", "calls": 1000, "per_s": 10}])

"""The first minute: what stands between an empty installation and its first label, step by step.

Shown while there is no shipment yet, and for those who look at nothing but the demo. Steps are judged by what the
database says now, so that one that was done elsewhere is done here, too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db.models import QuerySet

from connector.models import Baseline, Connection, FlowState, Integration, Shipment, SourceRecord, Tenant, Transfer
from connector.services import clock, simulator_console
from connector.services.demo import SLUG as DEMO
from connector.services.pinging import PING_LEASE_S
from connector.words import document
from integrations import registry
from integrations.base.vendor import Role

State = Literal["done", "now", "later", "trouble"]
Right = Literal["view", "operate", "administer", "own"]

FLOW = "ship"
EXPECTED_WITHIN_S = 180.0
"""What the workers do by themselves comes within this time; later the page stops waiting and offers a button."""
COUNT_CAP = 1000
LABEL = "The first label"
AFTER_THE_LOOK = "A document that becomes ready in the ERP is shipped, and its number stands there."


@dataclass(frozen=True, slots=True)
class Button:
    """Where a step leads: the name of a page of the console with its arguments; `post` acts at once."""

    label: str
    page: str
    args: tuple[Any, ...] = ()
    right: Right = "view"
    post: bool = False
    tenant: int | None = None


@dataclass(slots=True)
class Step:
    """One step. `moving`: the workers are at it; look again in a moment."""

    name: str
    title: str
    done: bool
    says: str
    button: Button | None = None
    also: Button | None = None
    trouble: bool = False
    moving: bool = False
    state: State = "later"


@dataclass(slots=True)
class Tour:
    """All steps in order. `demo`: the person looks at the demo and at nothing else."""

    steps: list[Step] = field(default_factory=list)
    demo: bool = False

    @property
    def complete(self) -> bool:
        """Nothing is left to do."""
        return all(step.done for step in self.steps)

    @property
    def mark(self) -> str:
        """Changes when anything that is shown changes."""
        told = [(step.name, step.state, step.says, step.button.label if step.button else "") for step in self.steps]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]

    @property
    def moving(self) -> bool:
        """Something is under way."""
        return any(step.moving for step in self.steps)


def take(tenants: Sequence[int] | None) -> Tour | None:
    """The tour for somebody who sees these tenants (None: all); None where it is over.

    Beside a tenant of one's own the demo does not count.
    """
    seen = _of(Tenant.objects.order_by("pk"), tenants, "pk")
    own = seen.exclude(slug=DEMO).first()
    tenant = own or seen.first()
    demo = tenant is not None and own is None

    def mine(rows: QuerySet[Any]) -> QuerySet[Any]:
        return _of(rows, tenants).exclude(tenant__slug=DEMO) if own else _of(rows, tenants)

    if not demo and mine(Shipment.objects.all()).exists():
        return None
    integration = mine(Integration.objects.select_related("source", "target")).order_by("-enabled", "pk").first()
    connections = [integration.source, integration.target] if integration else list(mine(Connection.objects.order_by("pk"))[:20])
    steps = [
        _tenant(tenant),
        _connect(connections, tenant),
        _ping(connections),
        _integrate(integration, tenant),
        look := _first_look(integration),
        _first_label(integration, connections, look.done),
    ]
    reached = False
    for step in steps:
        step.state = "done" if step.done else "trouble" if step.trouble else "later" if reached else "now"
        reached = reached or not step.done
    return Tour(steps, demo)


def _of(rows: QuerySet[Any], tenants: Sequence[int] | None, lookup: str = "tenant") -> QuerySet[Any]:
    return rows if tenants is None else rows.filter(**{f"{lookup}__in": tenants})


def _tenant(tenant: Tenant | None) -> Step:
    if tenant:
        button = Button("Open", "connector_tenant_change", (tenant.pk,))
        return Step("tenant", "A tenant", True, f"{tenant}: one company with its connections, records and people.", button)
    says = "One company with its connections, records and people. The installation owner makes it."
    return Step("tenant", "A tenant", False, says, Button("Make a tenant", "connector_tenant_add", right="own"))


def _connect(connections: Iterable[Connection], tenant: Tenant | None) -> Step:
    roles = {role for c in connections if c.vendor in registry.VENDORS for role in registry.get(c.vendor).roles}
    missing = [] if Role.ERP in roles else ["the ERP"]
    missing += [] if roles & {Role.CARRIER, Role.FULFILMENT} else ["the carrier"]
    title = "Connections to the ERP and the carrier"
    if not missing:
        names = " and ".join(str(c) for c in connections)
        return Step("connection", title, True, f"{names}.", Button("Open", "connector_connection_changelist"))
    says = f"Enter where it is and how to sign in. Missing: {' and '.join(missing)}."
    button = Button(f"Connect {missing[0]}", "connector_connection_add", right="administer", tenant=tenant.pk if tenant else None)
    return Step("connection", title, False, says, button if tenant else None)


def _ping(connections: Sequence[Connection]) -> Step:
    """One button at a time: what failed, what is under way, what was never asked."""
    title = "Ping each of them"
    failed = [c for c in connections if c.health == Connection.Health.FAILED]
    unasked = [c for c in connections if c.health == Connection.Health.UNKNOWN]
    since = clock.now() - dt.timedelta(seconds=PING_LEASE_S)
    running = [c for c in connections if c.ping_started_at and c.ping_started_at > since]
    if running:
        return Step("ping", title, False, f"{running[0]}: the ping is under way …", moving=True)
    if failed:
        button = Button(f"See what to do at {failed[0]}", "connector_connection_change", (failed[0].pk,))
        return Step("ping", title, False, f"{failed[0]} does not work yet. Its page names what failed.", button, trouble=True)
    if unasked:
        button = Button(
            f"Ping {unasked[0]}", "connector_connection_do", (unasked[0].pk, "ping"), "operate", True, unasked[0].tenant_id
        )
        return Step("ping", title, False, "A ping asks the real system, layer by layer, and changes nothing there.", button)
    if not connections:
        return Step("ping", title, False, "A ping asks the real system, layer by layer, and changes nothing there.")
    return Step("ping", title, True, "All of them work.")


def _integrate(integration: Integration | None, tenant: Tenant | None) -> Step:
    title = "An integration, switched on"
    if integration is None:
        says = "It says which records go from which connection to which."
        button = Button("Make an integration", "connector_integration_add", right="operate", tenant=tenant.pk if tenant else None)
        return Step("integration", title, False, says, button if tenant else None)
    dry_run = Button("See what would be sent", "connector_integration_mappings", (integration.pk,))
    if integration.enabled:
        button = Button("Open", "connector_integration_change", (integration.pk,))
        return Step("integration", title, True, f"{integration} is on.", button, dry_run)
    button = Button(
        "Switch it on", "connector_integration_do", (integration.pk, "on"), "operate", True, tenant=integration.tenant_id
    )
    says = f"{integration} is there and off. Switched on, it first notes what stands ready: nothing of that ships by itself."
    return Step("integration", title, False, says, button, dry_run)


def _soon(integration: Integration) -> bool:
    """Whether it was changed so lately that the workers may not have come to it yet."""
    return bool(integration.updated_at > clock.now() - dt.timedelta(seconds=EXPECTED_WITHIN_S))


def _run(integration: Integration) -> Button:
    return Button("Run now", "connector_integration_do", (integration.pk, "run"), "operate", True, integration.tenant_id)


def _first_look(integration: Integration | None) -> Step:
    title = "The first look at the ERP"
    if integration is None or not integration.enabled:
        return Step("look", title, False, "What stands ready is listed and left alone; what becomes ready from then on is work.")
    state = FlowState.objects.filter(integration=integration, flow=FLOW).first()
    page = Button("Open", "connector_integration_change", (integration.pk,))
    if state is not None and state.last_good_poll_at and Baseline.objects.filter(integration=integration).exists():
        before = SourceRecord.objects.filter(integration=integration, before_start=True)[: COUNT_CAP + 1].count()
        number = f"more than {COUNT_CAP}" if before > COUNT_CAP else str(before)
        return Step("look", title, True, f"Done. Documents from before the start, left alone: {number}.", page)
    if state is not None and state.last_error:
        says = f"It failed: {state.last_error.get('message', '')} {state.last_error.get('remedy', '')}".strip()
        return Step("look", title, False, says, page, trouble=True)
    if _soon(integration):
        return Step("look", title, False, "It is under way …", moving=True)
    return Step("look", title, False, "It has not happened yet. Does the worker run?", _run(integration))


def _first_label(integration: Integration | None, connections: Iterable[Connection], looked: bool) -> Step:
    if integration is None:
        return Step("label", LABEL, False, AFTER_THE_LOOK)
    shipment = Shipment.objects.filter(integration=integration).order_by("pk").first()
    if shipment is not None:
        says = f"{shipment.master_tracking_number} was bought for {document(shipment.source_key)}."
        return Step("label", LABEL, True, says, Button("See it", "connector_shipment_change", (shipment.pk,)))
    if not looked:
        return Step("label", LABEL, False, AFTER_THE_LOOK)
    transfers = Transfer.objects.filter(integration=integration)
    waiting = Button("See what to do", "connector_transfer_changelist")
    if transfers.filter(state__in=(Transfer.State.FAILED, Transfer.State.NEEDS_APPROVAL)).exists():
        return Step("label", LABEL, False, "A record waits for you; it says what to do.", waiting, trouble=True)
    if transfers.filter(state__in=(Transfer.State.WAITING, Transfer.State.RUNNING, Transfer.State.IN_DOUBT)).exists():
        moving = _soon(integration)
        return Step("label", LABEL, False, "A record is on its way …", None if moving else waiting, moving=moving)
    says = "Nothing has become ready since the start. Make a document ready in the ERP, then press Run now."
    simulated = any(c.environment == simulator_console.ENVIRONMENT for c in connections)
    if simulated:
        button = Button("Make a shipment in the simulator", "connector_simulators", right="operate", tenant=integration.tenant_id)
        return Step("label", LABEL, False, says, button)
    return Step("label", LABEL, False, says, _run(integration))

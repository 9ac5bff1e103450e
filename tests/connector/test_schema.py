"""Does the schema hold what all five integrations will need? Rows by hand, without any vendor's code."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from connector import triggers
from connector.models import (
    AuditEntry,
    Baseline,
    Connection,
    Effect,
    EffectSend,
    Integration,
    Package,
    Pause,
    Reference,
    Shipment,
    Slot,
    SourceRecord,
    Tenant,
    Transfer,
)
from connector.services import audit

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
OPEN_STATES = ("waiting", "running", "in_doubt", "needs_approval", "failed")
ENDED_STATES = ("done", "skipped", "cancelled")


class Rows:
    """One tenant with two connections and an integration, and short ways to make rows."""

    def __init__(self, slug: str = "acme", source: str = "ifs_cloud", target: str = "shipbob", kind: str = "ifs_shipbob") -> None:
        self.tenant = Tenant.objects.create(slug=slug, name=slug)
        self.source = self.account(f"{slug}-source", source)
        self.target = self.account(f"{slug}-target", target)
        self.integration = self.link(f"{slug}-link", kind)

    def account(self, slug: str, vendor: str) -> Connection:
        return Connection.objects.create(tenant=self.tenant, slug=slug, name=slug, vendor=vendor)

    def link(self, slug: str, kind: str, **changes: Any) -> Integration:
        values: dict[str, Any] = {"tenant": self.tenant, "source": self.source, "target": self.target, "kind": kind}
        return Integration.objects.create(slug=slug, name=slug, **values | changes)

    def record(self, key: str, flow: str = "fulfil", **changes: Any) -> SourceRecord:
        values: dict[str, Any] = {"tenant": self.tenant, "integration": self.integration, "flow": flow, "source_key": key}
        values |= {"document_kind": key.partition(":")[0], "first_seen_at": NOW, "last_seen_at": NOW}
        return SourceRecord.objects.create(**values | changes)

    def transfer(self, record: SourceRecord, revision: int = 1, state: str = "done", **changes: Any) -> Transfer:
        values: dict[str, Any] = {"flow": record.flow, "source_key": record.source_key, "due_at": NOW}
        values |= {"created_at": NOW, "updated_at": NOW, "tenant": self.tenant, "integration": record.integration}
        return Transfer.objects.create(record=record, revision=revision, state=state, **values | changes)

    def effect(self, transfer: Transfer, kind: str = "order", generation: int = 1, key: str = "", **changes: Any) -> Effect:
        values: dict[str, Any] = {"tenant": self.tenant, "record": transfer.record, "transfer": transfer, "created_at": NOW}
        values |= {"source_connection": self.source, "document_key": transfer.source_key}
        return Effect.objects.create(kind=kind, generation=generation, key=key, **values | changes)

    def send(self, effect: Effect, number: int = 1, **changes: Any) -> EffectSend:
        values: dict[str, Any] = {"tenant": self.tenant, "transfer": effect.transfer, "connection": self.target}
        values |= {"reference": f"ML{effect.pk}N{number}", "sent_at": NOW, "deadline_at": NOW, "outcome": "done"}
        return EffectSend.objects.create(effect=effect, number=number, **values | changes)

    def shipment(self, transfer: Transfer, number: str, carrier: Connection | None = None, **changes: Any) -> Shipment:
        values: dict[str, Any] = {"tenant": self.tenant, "integration": transfer.integration, "record": transfer.record}
        values |= {"transfer": transfer, "carrier": carrier or self.target, "source_key": transfer.source_key, "created_at": NOW}
        made = Shipment.objects.create(master_tracking_number=number, **values | changes)
        package = {"tenant": self.tenant, "shipment": made, "carrier": made.carrier, "voided": made.state == "voided"}
        Package.objects.create(sequence=1, tracking_number=number, ship_date=made.ship_date, **package)
        return made


@pytest.fixture
def rows(db: None) -> Rows:
    return Rows()


def refused(act: Any, match: str | None = None) -> None:
    """The database says no, and the rest of the test goes on."""
    with pytest.raises(DatabaseError, match=match), transaction.atomic():
        act()


# -- documents of all kinds --------------------------------------------------------------------------


def test_an_order_edited_after_fulfilment_began(rows: Rows) -> None:
    """IB-2: the edit is a second piece of work on the same document; the order at the warehouse stays the first and only."""
    record = rows.record("customer_order:C100", revision=2)
    first = rows.transfer(record, 1)
    made = rows.send(rows.effect(first, "order"), result={"id": "SB-1"})
    second = rows.transfer(record, 2, "waiting")
    assert (record.revision, record.generation) == (2, 1)
    refused(lambda: rows.effect(second, "order"))
    assert EffectSend.objects.get(effect__record=record, effect__generation=record.generation) == made
    update = rows.effect(second, "order update", key="2")
    assert rows.send(update).effect.record == record
    refused(lambda: rows.transfer(record, 3, "waiting"))
    Transfer.objects.filter(pk=second.pk).update(state="done")
    assert rows.transfer(record, 3, "waiting").revision == 3


def test_a_shipment_voided_and_made_again_with_another_carrier(db: None) -> None:
    """SI-7: both stay in the history; only the new one is live, and the old number can still be found."""
    rows = Rows(source="shipstation", target="ifs_cloud", kind="shipstation_ifs")
    ups, fedex = rows.account("acme-ups", "ups"), rows.account("acme-fedex", "fedex")
    record = rows.record("shipstation_order:SS-9", flow="confirm", generation=2, revision=3)
    shipped, voided, again = (rows.transfer(record, n, flow=f) for n, f in ((1, "confirm"), (2, "void"), (3, "confirm")))
    old = rows.shipment(shipped, "1Z999", ups, generation=1, state="voided", voided_at=NOW, service="ups_ground")
    new = rows.shipment(again, "794600000011", fedex, generation=2, service="fedex_2day", cost=Decimal("9.10"), currency="USD")
    for shipment in (old, new):
        value = shipment.master_tracking_number
        Reference.objects.create(tenant=rows.tenant, shipment=shipment, kind="tracking", value=value, normalised=value)
    assert [s.carrier.vendor for s in record.shipments.order_by("generation")] == ["ups", "fedex"]
    assert record.shipments.get(state="active") == new and voided.flow == "void"
    assert Reference.objects.get(normalised="1Z999").shipment == old


def test_an_order_shipped_in_three_parts(rows: Rows) -> None:
    """Each delivery is a document of its own, with its own work, purchase and number."""
    parts = [rows.record(f"customer_order:C100/{n}", flow="ship") for n in (1, 2, 3)]
    for n, part in enumerate(parts, 1):
        transfer = rows.transfer(part)
        effect = rows.effect(transfer, "label", buys=True)
        shipment = rows.shipment(transfer, f"7946{n}", send=rows.send(effect))
        Reference.objects.create(tenant=rows.tenant, shipment=shipment, kind="order", value="C100", normalised="C100")
    assert Shipment.objects.filter(references__normalised="C100").count() == 3
    refused(lambda: rows.record("customer_order:C100/2", flow="ship"))
    assert rows.record("customer_order:C100/2", flow="track").pk, "another flow keeps its own view of a document"


def test_two_receipts_of_one_receiving_order(rows: Rows) -> None:
    """IB-5: goods arrive twice; each receipt is posted once."""
    for n in (1, 2):
        transfer = rows.transfer(rows.record(f"receiving_order:R7/{n}", flow="confirm"))
        rows.send(rows.effect(transfer, "receipt"))
    assert EffectSend.objects.filter(effect__kind="receipt").count() == 2
    refused(lambda: rows.record("receiving_order:R7/1", flow="confirm"))


def test_one_charge_per_order_of_a_shared_shipment(rows: Rows) -> None:
    """Freight split over several orders: each part is an effect of its own, told apart by its key."""
    transfer = rows.transfer(rows.record("shipment:19", flow="ship"))
    for order in ("C100", "C200"):
        rows.send(rows.effect(transfer, "freight charge", key=order))
    refused(lambda: rows.effect(transfer, "freight charge", key="C200"))
    rows.effect(transfer, "freight charge", key="C200", generation=2)


def test_several_packages_with_numbers_of_their_own(rows: Rows) -> None:
    shipment = rows.shipment(rows.transfer(rows.record("shipment:19", flow="ship")), "7946-1")
    values: dict[str, Any] = {"tenant": rows.tenant, "shipment": shipment, "carrier": rows.target}
    Package.objects.create(sequence=2, tracking_number="7946-2", **values)
    refused(lambda: Package.objects.create(sequence=2, tracking_number="7946-3", **values))


# -- what must hold whoever writes -------------------------------------------------------------------


@pytest.mark.parametrize("first", OPEN_STATES)
@pytest.mark.parametrize("second", OPEN_STATES)
def test_one_unfinished_transfer_per_record(rows: Rows, first: str, second: str) -> None:
    record = rows.record("shipment:19")
    transfer = rows.transfer(record, 1, first)
    refused(lambda: rows.transfer(record, 2, second))
    for n, state in enumerate(ENDED_STATES, 2):
        rows.transfer(record, n, state)
    Transfer.objects.filter(pk=transfer.pk).update(state="done")
    rows.transfer(record, 9, second)
    refused(lambda: Transfer.objects.filter(pk=transfer.pk).update(state=first))


def test_a_revision_comes_once(rows: Rows) -> None:
    record = rows.record("shipment:19")
    rows.transfer(record, 1)
    refused(lambda: rows.transfer(record, 1))


def test_two_integrations_cannot_both_buy_for_one_document(rows: Rows) -> None:
    twin = rows.link("acme-twin", "ifs_shipbob")
    mine = rows.transfer(rows.record("shipment:19", flow="ship"))
    theirs = rows.transfer(rows.record("shipment:19", flow="ship", integration=twin))
    rows.effect(mine, "label", buys=True)
    refused(lambda: rows.effect(theirs, "label", buys=True))
    rows.effect(theirs, "label", generation=2, buys=True)
    rows.effect(mine, "note"), rows.effect(theirs, "note")
    other = Rows("globex")
    other.effect(other.transfer(other.record("shipment:19", flow="ship")), "label", buys=True)


def test_a_reference_is_used_once_per_connection_and_a_send_number_once_per_effect(rows: Rows) -> None:
    transfer = rows.transfer(rows.record("shipment:19"))
    effect, second = rows.effect(transfer, "label"), rows.effect(transfer, "label", generation=2)
    rows.send(effect, reference="MLAAAAAAAAAAAA")
    refused(lambda: rows.send(second, reference="MLAAAAAAAAAAAA"))
    refused(lambda: rows.send(effect, 1, reference="MLBBBBBBBBBBBB"))
    rows.send(effect, 2, reference="MLBBBBBBBBBBBB")
    rows.send(second, reference="MLAAAAAAAAAAAA", connection=rows.source)


def test_a_number_is_held_once_per_carrier_and_day_among_the_living(rows: Rows) -> None:
    day, later = dt.date(2026, 3, 2), dt.date(2027, 3, 2)
    transfer = rows.transfer(rows.record("shipment:19"))
    held = rows.shipment(transfer, "794600000011", ship_date=day)
    refused(lambda: rows.shipment(transfer, "794600000011", ship_date=day))
    rows.shipment(transfer, "794600000011", ship_date=later)  # carriers use numbers again
    rows.shipment(transfer, "794600000011", rows.source, ship_date=day)
    Package.objects.filter(shipment=held).update(voided=True)
    rows.shipment(transfer, "794600000011", ship_date=day)
    refused(lambda: Package.objects.filter(shipment=held).update(voided=False))


def test_one_open_pause_per_scope(rows: Rows) -> None:
    def pause(**changes: Any) -> Pause:
        values: dict[str, Any] = {"tenant": rows.tenant, "scope": "connection", "connection": rows.source, "code": "x"}
        return Pause.objects.create(message="m", since=NOW, **values | changes)

    first = pause()
    refused(pause)
    refused(lambda: pause(state="probing"))
    pause(kind="rest"), pause(scope="site", scope_name="S1"), pause(scope="site", scope_name="S2"), pause(connection=rows.target)
    refused(lambda: pause(scope="site", scope_name="S1"))
    whole = {"scope": "integration", "connection": None, "integration": rows.integration}
    pause(**whole)
    refused(lambda: pause(**whole))
    Pause.objects.filter(pk=first.pk).update(state="ended")
    pause()
    pause(state="ended"), pause(state="ended")


def test_slots_and_baselines_come_once(rows: Rows) -> None:
    owner = uuid.uuid4()
    slot: dict[str, Any] = {"tenant": rows.tenant, "connection": rows.source, "owner": owner, "count": 2, "expires_at": NOW}
    Slot.objects.create(**slot)
    refused(lambda: Slot.objects.create(**slot))
    line: dict[str, Any] = {"tenant": rows.tenant, "integration": rows.integration, "flow": "ship", "document_kind": "shipment"}
    line |= {"site": "S1", "rule_hash": "a" * 64, "completed_at": NOW}
    Baseline.objects.create(**line)
    refused(lambda: Baseline.objects.create(**line))
    Baseline.objects.create(**line | {"rule_hash": "b" * 64})
    Baseline.objects.create(**line | {"document_kind": "customer_order"})


# -- tenants -----------------------------------------------------------------------------------------

ONE_TENANT = "must belong to its tenant"


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_integration_cannot_reach_into_another_tenant(rows: Rows, end: str) -> None:
    other = Rows("globex")
    refused(lambda: rows.link("acme-spy", "ifs_shipbob", **{end: getattr(other, end)}), ONE_TENANT)
    refused(lambda: Integration.objects.filter(pk=rows.integration.pk).update(**{end: getattr(other, end)}), ONE_TENANT)
    refused(lambda: Integration.objects.filter(pk=rows.integration.pk).update(tenant=other.tenant), ONE_TENANT)
    candidate = Integration(tenant=rows.tenant, slug="x", name="x", kind="ifs_shipbob", source=rows.source, target=rows.target)
    setattr(candidate, end, getattr(other, end))
    with pytest.raises(ValidationError, match="another tenant"):
        candidate.clean()


def test_the_refusal_is_an_integrity_error_for_the_console(rows: Rows) -> None:
    other = Rows("globex")
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.link("acme-spy", "ifs_shipbob", source=other.source)


def test_raw_sql_is_refused_too(rows: Rows) -> None:
    other = Rows("globex")

    def reach() -> None:
        with connection.cursor() as cursor:
            statement = "UPDATE connector_integration SET source_id = %s WHERE id = %s"
            cursor.execute(statement, [other.source.pk, rows.integration.pk])

    refused(reach, ONE_TENANT)


def test_a_connection_in_use_cannot_move_to_another_tenant(rows: Rows) -> None:
    """The other way round: the integration stays, its connection goes to somebody else."""
    other = Rows("globex")
    refused(lambda: Connection.objects.filter(pk=rows.source.pk).update(tenant=other.tenant), ONE_TENANT)


def test_a_migrate_puts_back_triggers_that_a_rebuilt_table_lost():
    """SQLite rebuilds a table for most changes of a field and drops its triggers with it."""
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    audit.append(tenant, audit.Draft("ping"))
    triggers.remove(connection)
    call_command("migrate", verbosity=0)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(tenant=tenant).update(act="other")

"""Evidence: chains that verify after much trouble, changes that are found, and a database that refuses them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from connector import triggers
from connector.models import AuditDetail, AuditEntry, Exchange, Shipment, SourceRecord
from connector.models.audit import AppendOnly
from connector.services import audit, shipments, switches, transfers
from tests.flows.support import CREATE_LINE, due_now, edit, later, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def troubled(world: World, settings: Any) -> World:
    """A world with a past: lost answers, conflicts, refusals, decisions, voids, brakes."""
    small(settings)
    world.ready(12)
    world.ready(1, ShipViaCode="ROAD-X")
    world.fedex.fault("lost_answer", CREATE_LINE, skip=3)
    world.fedex.fault("reset", CREATE_LINE, skip=4)
    world.ifs.fault("412_once", "PATCH", skip=2)
    world.ifs.fault("lost_answer", "PATCH", skip=5)
    world.sync(wait_s=0.5)
    settle(world, wait_s=0.2)
    switches.stop_buying("integration", world.integration, True, "ann", "a reason")
    switches.stop_buying("integration", world.integration, False, "ann")
    later(world, 100)
    for transfer in world.integration.transfers.filter(state="in_doubt"):
        transfers.decide_not_made(transfer, actor="ann", reason="asked FedEx")
    shipments.void_request(Shipment.objects.filter(adopted=False)[0], then="rebuy", actor="ann", reason="wrong box")
    world.work()
    due_now(world)
    # Which shipment met which fault depends on the threads: one that is bought and unmarked is there in any case.
    plain = Shipment.objects.filter(state="active", adopted=False, generation=1, transfer__attention=None)[0]
    edit(world, int(plain.document_number), ReceiverZipCode="99501")
    world.sync()
    return world


def findings() -> list[audit.Finding]:
    return list(audit.verify())


def raw(statement: str, *values: Any) -> int:
    """Somebody with a database shell who has removed the triggers; how many rows it touched."""
    triggers.remove(connection)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.rowcount
    finally:
        triggers.install(connection)


def test_the_chains_of_a_troubled_past_verify(troubled: World) -> None:
    acts = set(AuditEntry.objects.values_list("act", flat=True))
    wanted = {"intent", "bought", "adopted", "in_doubt", "decided_not_made", "voided", "buy_again", "written", "failed"}
    assert wanted | {"attention"} <= acts, wanted - acts
    assert findings() == []
    out = io.StringIO()
    call_command("verify_audit", json=True, stdout=out)
    assert json.loads(out.getvalue())["ok"] is True


@pytest.mark.parametrize("column", ["actor", "act", "object_name", "hash", "previous", "detail_digest"])
def test_one_changed_byte_of_an_entry_is_named(troubled: World, column: str) -> None:
    entry = AuditEntry.objects.filter(chain__startswith="record:").exclude(previous="").order_by("pk")[5]
    changed = getattr(entry, column)
    changed = ("x" if not changed.startswith("x") else "y") + changed[1:]
    assert raw(f"UPDATE connector_auditentry SET {column} = %s WHERE id = %s", changed, entry.pk) == 1
    named = {(f.chain, f.sequence) for f in findings()}
    assert (entry.chain, entry.sequence) in named


def test_changed_facts_are_named(troubled: World) -> None:
    entry = AuditEntry.objects.filter(act="bought").order_by("pk")[0]
    facts = json.dumps({**entry.facts, "cost": "0.01 USD"})
    assert raw("UPDATE connector_auditentry SET facts = %s WHERE id = %s", facts, entry.pk) == 1
    [found] = findings()
    assert (found.chain, found.sequence, found.message) == (entry.chain, entry.sequence, "was changed after it was written")


def test_a_changed_exchange_is_named(troubled: World) -> None:
    exchange = Exchange.objects.filter(operation="create shipment", status=200).order_by("pk")[0]
    raw("UPDATE connector_exchange SET response_body = response_body || ' ' WHERE id = %s", exchange.pk)
    assert f"exchange {exchange.pk}" in {f.chain for f in findings()}


def test_an_exchange_changed_together_with_its_digest_is_missed_by_its_step(troubled: World) -> None:
    """Whoever also mends the digest beside the exchange is found by the entry that rests on it."""
    exchange = Exchange.objects.filter(operation="create shipment", status=200).order_by("pk")[0]
    exchange.response_body += " "
    digest = audit.exchange_digest(exchange)
    statement = "UPDATE connector_exchange SET response_body = %s, digest = %s WHERE id = %s"
    raw(statement, exchange.response_body, digest, exchange.pk)
    assert any("exchange it rests on is missing" in f.message for f in findings())


def test_a_deleted_exchange_is_named(troubled: World) -> None:
    exchange = Exchange.objects.filter(operation="create shipment", status=200).order_by("pk")[0]
    raw("DELETE FROM connector_exchange WHERE id = %s", exchange.pk)
    assert any("exchange it rests on is missing" in f.message for f in findings())


def test_a_changed_and_a_deleted_detail_are_named(troubled: World) -> None:
    first, second = AuditDetail.objects.select_related("entry").order_by("pk")[:2]
    raw("UPDATE connector_auditdetail SET detail = %s WHERE id = %s", json.dumps({"forged": True}), first.pk)
    raw("DELETE FROM connector_auditdetail WHERE id = %s", second.pk)
    told = {(f.chain, f.sequence): f.message for f in findings()}
    assert told[(first.entry.chain, first.entry.sequence)] == "its detail was changed"
    assert "missing" in told[(second.entry.chain, second.entry.sequence)]


def test_entries_missing_in_the_middle_or_at_the_end_are_found(troubled: World) -> None:
    detailed = {
        int(c.partition(":")[2]) for c in AuditDetail.objects.values_list("entry__chain", flat=True) if c.startswith("record:")
    }
    record = SourceRecord.objects.filter(audit_sequence__gte=4).exclude(pk__in=detailed).order_by("pk")[0]
    chain = f"record:{record.pk}"
    raw("DELETE FROM connector_auditentry WHERE chain = %s AND sequence = %s", chain, record.audit_sequence)
    [found] = findings()
    assert found.chain == chain and "at the end are missing" in found.message
    raw("DELETE FROM connector_auditentry WHERE chain = %s AND sequence = 2", chain)
    assert any(f.message == "entry 2 is missing" for f in findings())
    raw("DELETE FROM connector_auditentry WHERE chain = %s", chain)
    assert any(f.chain == chain and "no entries" in f.message for f in findings())


def test_the_end_of_a_tenants_chain_is_guarded_by_its_head(troubled: World) -> None:
    last = AuditEntry.objects.filter(chain__startswith="tenant:").order_by("-sequence")[0]
    raw("DELETE FROM connector_auditdetail WHERE entry_id = %s", last.pk)
    raw("DELETE FROM connector_auditentry WHERE id = %s", last.pk)
    assert any(f.chain == last.chain and "at the end are missing" in f.message for f in findings())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE connector_auditentry SET actor = 'nobody'",
        "UPDATE connector_auditentry SET actor = actor WHERE id = {id}",
        "DELETE FROM connector_auditentry WHERE id = {id}",
        "DELETE FROM connector_auditentry",
        "replace",
        "truncate",
    ],
)
def test_the_database_refuses_to_change_or_delete_entries(world: World, statement: str) -> None:
    entry = AuditEntry.objects.order_by("pk")[0]
    names = [f.column for f in AuditEntry._meta.concrete_fields]
    columns = ", ".join(names)
    sqlite = connection.vendor == "sqlite"
    forged = ", ".join("'forged'" if name == "actor" else name for name in names)
    upsert = f"INSERT INTO connector_auditentry ({columns}) SELECT {columns} FROM connector_auditentry WHERE id = {entry.pk}"
    statements = {
        "replace": f"INSERT OR REPLACE INTO connector_auditentry ({columns}) SELECT {forged} FROM connector_auditentry"
        f" WHERE id = {entry.pk}"
        if sqlite
        else f"{upsert} ON CONFLICT (id) DO UPDATE SET actor = 'forged'",
        "truncate": "DELETE FROM connector_auditentry WHERE 1 = 1" if sqlite else "TRUNCATE connector_auditentry CASCADE",
    }
    before = list(AuditEntry.objects.order_by("pk").values_list("pk", "actor", "hash"))
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statements.get(statement, statement).format(id=entry.pk))
    assert list(AuditEntry.objects.order_by("pk").values_list("pk", "actor", "hash")) == before


def test_the_model_refuses_too(world: World) -> None:
    entry = AuditEntry.objects.order_by("pk")[0]
    with pytest.raises(AppendOnly):
        entry.save()
    with pytest.raises(AppendOnly):
        entry.delete()


def test_erasing_by_rule_is_told_from_missing(troubled: World) -> None:
    """What an entry of its own says was erased is not reported as missing."""
    exchange = Exchange.objects.filter(operation="create shipment", status=200).order_by("pk")[0]
    audit.append(None, audit.Draft("erased_by_rule", {"digests": [exchange.digest]}))
    exchange.delete()
    assert findings() == []

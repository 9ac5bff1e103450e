"""Comparisons: every seeded discrepancy is found, nothing false is reported, remedies help, a killed one goes on."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command

from connector.models import (
    EffectSend,
    FreightCharge,
    Integration,
    ReconciliationFinding,
    ReconciliationRun,
    Shipment,
    SourceRecord,
    Transfer,
)
from connector.services import audit, clock, shipments, transfers
from connector.services.engine import watching
from connector.services.reconcile import kinds, phases, remedies, runs
from connector.services.shipments import NotPossible
from integrations.fedex.simulator import twelve_digits
from integrations.flows.specs import FLOWS
from tests.flows.support import CREATE_LINE, due_now, edit, later, options, quick_logins, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0
OUTSIDE = twelve_digits(12345678901)
CLEAN = 100


def compare(world: World) -> ReconciliationRun:
    """A comparison from beginning to end."""
    begun = runs.start(world.integration, actor="ann")
    while begun.state == "running":
        told = runs.work(world.integration, FLOWS, within_s=60, gives_way=False)
        assert told is not None and not told.waits_for, told and told.waits_for
        begun = told
    return begun


def open_findings() -> dict[str, list[str]]:
    """Documents by kind of what is open."""
    found: dict[str, list[str]] = {}
    for row in ReconciliationFinding.objects.filter(state="open").order_by("pk"):
        found.setdefault(row.kind, []).append(row.source_key)
    return found


def finding(kind: str) -> ReconciliationFinding:
    return ReconciliationFinding.objects.get(kind=kind, state="open")


def of(number: int) -> Shipment:
    return Shipment.objects.get(source_key=f"shipment:{number}")


def void(world: World, number: int) -> None:
    shipments.void_request(of(number), then="clear", actor="ann", reason="damaged")
    world.work()
    assert of(number).state == "voided"


def fedex_facts(world: World, number: int) -> dict[str, Any]:
    """What the simulated FedEx keeps of a shipment."""
    facts: dict[str, Any] = world.fedex.state["shipments"][of(number).master_tracking_number]
    return facts


def refuse_then_find(world: World) -> int:
    """A label that FedEx made, of which a person said that it was not."""
    [number] = world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.fedex.options(references_visible_after_s=10)
    world.sync()
    later(world, 400)
    Transfer.objects.filter(state="in_doubt").update(due_at=clock.at(HOUR))
    edit(world, number, Objstate="Preliminary")
    assert transfers.decide_not_made(world.transfer(number), actor="ann", reason="I think so").done
    world.work()
    assert world.transfer(number).state == "cancelled"
    return number


def in_doubt(world: World) -> int:
    """A request whose answer was lost; FedEx made nothing."""
    [number] = world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    assert world.transfer(number).state == "in_doubt"
    return number


def seed(world: World) -> dict[str, str]:
    """One discrepancy of every kind among a hundred clean shipments; the document by kind."""
    doubtful = {"label_extra": refuse_then_find(world), "in_doubt": in_doubt(world)}
    numbers = world.ready(CLEAN + 11)
    world.sync()
    assert world.states()["done"] == CLEAN + 11
    names = [k.name for k in kinds.ALL if k.name not in ("erp_extra", "erp_unseen", *doubtful)]
    chosen = dict(zip(names, numbers, strict=False))
    for kind in ("erp_voided", "carrier_moving"):
        void(world, chosen[kind])
    later(world, 25 * HOUR)
    world.poll()
    edit(world, chosen["erp_empty"], AirwayBillNo=None)
    edit(world, chosen["erp_other"], AirwayBillNo="TYPED-BY-CLERK")
    edit(world, chosen["erp_cancelled"], Objstate="Cancelled")
    edit(world, chosen["erp_gone"], Contract="S9")
    edit(world, chosen["erp_voided"], AirwayBillNo=of(chosen["erp_voided"]).master_tracking_number)
    del world.fedex.state["packages"][of(chosen["carrier_unknown"]).master_tracking_number]
    world.fedex.scan(of(chosen["carrier_cancelled"]).master_tracking_number, "CA")
    world.fedex.scan(of(chosen["carrier_moving"]).master_tracking_number, "PU")
    fedex_facts(world, chosen["carrier_packages"])["numbers"].append("0")
    fedex_facts(world, chosen["carrier_destination"])["recipient"]["address"]["postalCode"] = "99999"
    charged = of(chosen["charge_planned"])
    FreightCharge.objects.create(
        tenant=charged.tenant,
        shipment=charged,
        order="C1",
        amount=5,
        currency="USD",
        created_at=clock.now() - dt.timedelta(hours=2),
    )
    [outside] = world.ready(1, Objstate="Closed", AirwayBillNo=OUTSIDE)
    [unseen] = world.ready(1, PlannedShipDate=f"{clock.local_now() - dt.timedelta(days=3):%Y-%m-%d}T00:00:00Z")
    chosen |= {"erp_extra": outside, "erp_unseen": unseen, **doubtful}
    # Things that are in order: another carrier's number, a document cancelled before it had a label, one just ready.
    world.ready(1, Objstate="Closed", AirwayBillNo="1Z999AA10123456784")
    world.ready(1, Objstate="Closed", AirwayBillNo=OUTSIDE, ForwardAgentId="DHL")
    world.ready(1)
    return {kind: f"shipment:{number}" for kind, number in chosen.items()}


def test_every_kind_is_found_once_nothing_false_and_remedies_help(world: World, settings: Any) -> None:
    small(settings)
    quick_logins(world)
    expected = seed(world)
    assert set(expected) == set(kinds.KIND), "a kind that nothing seeds is a kind that nobody has tested"
    world.ifs.counts.clear()
    world.fedex.counts.clear()
    first = compare(world)
    assert (first.state, first.left_out, first.error) == ("done", [], None)
    assert open_findings() == {kind: [key] for kind, key in expected.items()}
    asked = sum(n for counts in (world.ifs.counts, world.fedex.counts) for n in counts.values())
    # 113 labels: 6 calls for 20 numbers each, 4 for 30 parcels each, pages, two look-ups, logins.
    assert first.calls == asked <= 20

    again = compare(world)
    assert open_findings() == {kind: [key] for kind, key in expected.items()}
    assert (again.found, again.appeared, again.gone) == (len(expected), 0, 0)
    assert ReconciliationFinding.objects.count() == len(expected), "the same ones, not others beside them"
    assert list(audit.verify()) == []
    _press_all(world)
    last = compare(world)
    left = open_findings()
    # The carrier goes on not knowing a number, and nobody but a person can tell what is in doubt.
    taken_over = left.pop("erp_empty")
    assert set(left) == {"carrier_unknown", "in_doubt", "charge_planned"}, left
    assert taken_over == [expected["label_extra"]] and last.appeared == 1, "its transfer had ended"
    remedies.apply(finding("erp_empty"), actor="ann")
    world.work()
    assert compare(world).gone == 1
    assert Counter(ReconciliationFinding.objects.values_list("state", flat=True)) == {"open": 3, "known": 4, "closed": 9}
    assert list(audit.verify()) == []


def _press_all(world: World) -> None:
    for row in ReconciliationFinding.objects.filter(state="open").order_by("pk"):
        if row.kind == "charge_planned":
            with pytest.raises(NotPossible, match="Write freight cost to the orders"):
                remedies.apply(row, actor="ann")
            continue
        if row.remedy in ("known", "look"):
            with pytest.raises(NotPossible, match="reason"):
                remedies.apply(row, actor="ann", reason=" ")
        remedies.apply(row, actor="ann", reason="seen")
    watching.watch(world.integration, FLOWS)
    world.poll()
    due_now(world)
    world.work()


def test_a_number_is_written_again_and_nothing_is_bought(world: World) -> None:
    [number] = world.ready()
    world.sync()
    mine = of(number).master_tracking_number
    for typed, remedy in ((None, "write"), ("TYPED", "overwrite")):
        edit(world, number, AirwayBillNo=typed)
        assert compare(world).appeared == 1
        row = ReconciliationFinding.objects.get(state="open")
        assert row.remedy == remedy
        remedies.apply(row, actor="ann")
        world.work()
        assert world.numbers() == {number: mine}
        assert compare(world).gone == 1
    assert world.fedex.creates == 1


def test_what_is_known_stays_off_the_list_until_it_changes(world: World) -> None:
    world.ready()
    world.sync()
    [outside] = world.ready(1, Objstate="Closed", AirwayBillNo=OUTSIDE)
    compare(world)
    remedies.apply(finding("erp_extra"), actor="ann", reason="shipped from the desk")
    told = compare(world)
    assert (told.found, told.appeared, open_findings()) == (1, 0, {})
    edit(world, outside, AirwayBillNo=twelve_digits(12345678902))
    compare(world)
    assert open_findings() == {"erp_extra": [f"shipment:{outside}"]}
    edit(world, outside, AirwayBillNo=None)
    assert compare(world).gone == 1 and open_findings() == {}


def test_what_was_there_before_the_start_is_nobodys_business(transactional_db: None) -> None:
    world = World.build(start_from=None)
    try:
        [before] = world.ready(1, AirwayBillNo=OUTSIDE)
        world.ready(1, AirwayBillNo=twelve_digits(12345678903), Objstate="Closed", PlannedShipDate="2026-01-01T00:00:00Z")
        world.sync()
        assert SourceRecord.objects.get(source_key=f"shipment:{before}").before_start
        compare(world)
        assert open_findings() == {}
    finally:
        world.close()


def test_a_label_that_is_too_young_is_not_called_unknown(world: World) -> None:
    world.fedex.options(track_visible_after_s=20 * HOUR)
    world.ready(2)
    world.sync()
    compare(world)
    assert open_findings() == {}
    later(world, 10 * HOUR)
    compare(world)
    assert open_findings() == {}


class Killed(BaseException):
    """The process is gone."""


def test_a_killed_comparison_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "KEYS", 2)
    world.ready(5)
    world.sync()
    # In the order in which they are compared; they were bought side by side.
    numbers = [int(s.document_number) for s in Shipment.objects.order_by("pk")]
    for number in (numbers[0], numbers[2], numbers[4]):
        edit(world, number, AirwayBillNo=None)
    run = runs.start(world.integration, actor="ann")
    kept, settle = [], runs.findings.settle

    def dies(*args: Any) -> Any:
        kept.append(args)
        if len(kept) == 3:
            raise Killed
        return settle(*args)

    monkeypatch.setattr(runs.findings, "settle", dies)
    with pytest.raises(Killed):
        runs.work(world.integration, FLOWS, within_s=60, gives_way=False)
    monkeypatch.setattr(runs.findings, "settle", settle)
    run.refresh_from_db()
    assert (run.state, run.phase, run.compared, len(open_findings()["erp_empty"])) == ("running", "erp", 4, 2)
    calls = world.calls("ShipmentSet")
    done = compare(world)
    assert done.pk == run.pk and done.state == "done" and len(open_findings()["erp_empty"]) == 3
    # The third batch once more, a page of numbers with the empty one after it, the ready ones: nothing from the beginning.
    assert world.calls("ShipmentSet") - calls == 4


def test_only_a_dead_owner_loses_his_turn(world: World) -> None:
    run = runs.start(world.integration, actor="ann")
    alive = {"lease_owner": "00000000-0000-0000-0000-000000000001", "lease_until": clock.at(60)}
    ReconciliationRun.objects.filter(pk=run.pk).update(lease_process="elsewhere:boot:1", **alive)
    assert runs.work(world.integration, FLOWS, within_s=5, gives_way=False) is None
    assert runs.start_due() == []
    ReconciliationRun.objects.filter(pk=run.pk).update(lease_until=clock.at(-1))
    assert runs.start_due() == [world.integration.pk]
    assert runs.start(world.integration, actor="bob").pk == run.pk, "one at a time"


def test_a_limit_on_calls_is_kept_and_what_is_left_out_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "KEYS", 1)
    numbers = world.ready(8)
    world.sync()
    edit(world, numbers[0], AirwayBillNo=None)
    compare(world)
    assert len(open_findings()["erp_empty"]) == 1
    ReconciliationFinding.objects.update(subject="shipment:0")
    options(world, reconcile_calls=10)
    later(world, 1)
    told = compare(world)
    assert told.state == "done" and told.calls <= 10
    assert "numbers in the ERP" in told.left_out
    assert ReconciliationFinding.objects.filter(subject="shipment:0", state="open").exists(), "not looked at, not concluded"


def test_it_gives_way_to_documents_that_wait(world: World) -> None:
    world.ready(1)
    world.poll()
    runs.start(world.integration, actor="ann")
    told = runs.work(world.integration, FLOWS, within_s=5)
    assert told is not None and "Gives way" in told.waits_for and told.calls == 0
    world.work()
    done = runs.work(world.integration, FLOWS, within_s=60)
    assert done is not None and done.state == "done"


def test_a_vendor_that_is_away_is_asked_again_later(world: World) -> None:
    world.ready(1)
    world.sync()
    world.fedex.fault("status", "POST /track/", times=None, status=503, body={})
    runs.start(world.integration, actor="ann")
    told = runs.work(world.integration, FLOWS, within_s=60, gives_way=False)
    assert told is not None and told.state == "running" and told.attempts == 1 and told.phase == "carrier"
    assert told.due_at > clock.now()
    world.fedex.no_faults()
    assert compare(world).state == "done" and open_findings() == {}


def test_every_night_once_at_its_time(world: World) -> None:
    assert runs.start_due() == []
    options(world, reconcile_at="02:30")
    Integration.objects.update(updated_at=clock.now())
    assert runs.start_due() == [] and not ReconciliationRun.objects.exists()
    later(world, 24 * HOUR)
    assert runs.start_due() == [world.integration.pk]
    assert compare(world).scheduled
    assert runs.start_due() == [] and ReconciliationRun.objects.count() == 1
    later(world, 24 * HOUR)
    assert len(runs.start_due()) == 1 and ReconciliationRun.objects.count() == 2


def test_a_send_that_was_refused_and_stands_at_the_carrier_is_taken_over(world: World) -> None:
    """A refusal is proof enough not to wait, not enough to forget: what it made after all is found."""
    number = refuse_then_find(world)
    EffectSend.objects.update(outcome="refused")
    compare(world)
    row = finding("label_extra")
    assert row.source_key == f"shipment:{number}" and row.remedy == "adopt"
    remedies.apply(row, actor="ann")
    assert watching.watch(world.integration, FLOWS) == 1
    assert of(number).adopted
    assert compare(world).gone == 1


def test_the_command_says_what_is_open_and_leaves_with_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    [number] = world.ready()
    world.sync()
    call_command("reconcile", world.integration.slug, "--json")
    assert json.loads(capsys.readouterr().out)["open"] == {}
    edit(world, number, AirwayBillNo=None)
    with pytest.raises(SystemExit) as left:
        call_command("reconcile", world.integration.slug, "--json")
    told = json.loads(capsys.readouterr().out)
    assert left.value.code == 1 and told["ok"] is False and told["open"] == {"erp_empty": 1}
    assert told["findings"][0]["remedy"] == "Write the number again"

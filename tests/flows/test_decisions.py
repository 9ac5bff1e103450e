"""What a person decides is kept with the act, or neither is; a later decision takes nothing back of an earlier one."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, EffectSend, ReconciliationFinding, Shipment, Step, Transfer
from connector.services import audit, transfers
from connector.services.reconcile import remedies
from tests.flows.support import change, edit, options, settle, small
from tests.flows.test_conflicts import BY_HAND, between_read_and_write
from tests.flows.test_freight import POST, on
from tests.flows.test_in_doubt import past_deadline
from tests.flows.test_reconcile import compare
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


class Died(BaseException):
    """The process ends here: nobody catches this."""


def dies_while_noting(monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """The process ends when the audit entry of an act is to be kept."""
    keep = audit.append_to_record

    def dying(record: Any, drafts: Any, **changes: Any) -> None:
        if any(draft.act == act for draft in drafts):
            raise Died
        keep(record, drafts, **changes)

    monkeypatch.setattr(audit, "append_to_record", dying)


@pytest.mark.parametrize("typed", [None, "TYPED"], ids=["write again", "write ours"])
def test_a_remedy_without_its_audit_entry_was_not_applied(
    world: World, monkeypatch: pytest.MonkeyPatch, typed: str | None
) -> None:
    [number] = world.ready()
    world.sync()
    mine = Shipment.objects.get().master_tracking_number
    edit(world, number, AirwayBillNo=typed)
    compare(world)
    row = ReconciliationFinding.objects.get(state="open")
    with monkeypatch.context() as dying:
        dies_while_noting(dying, "remedied")
        with pytest.raises(Died):
            remedies.apply(row, actor="ann")
    world.work()
    assert world.numbers().get(number) == typed, "done, and nobody is named for it"
    assert Transfer.objects.count() == 1 and ReconciliationFinding.objects.get().remedied_at is None
    remedies.apply(row, actor="ann")
    world.work()
    assert world.numbers() == {number: mine} and world.fedex.creates == 1
    assert AuditEntry.objects.filter(act="remedied", actor="ann").count() == 1
    assert list(audit.verify()) == []


def test_a_void_by_a_remedy_is_pressed_once_and_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    [number] = world.ready()
    world.sync()
    edit(world, number, Objstate="Cancelled")
    compare(world)
    row = ReconciliationFinding.objects.get(state="open")
    assert row.remedy == "void"
    with monkeypatch.context() as dying:
        dies_while_noting(dying, "remedied")
        with pytest.raises(Died):
            remedies.apply(row, actor="ann")
    world.work()
    assert world.labels() == 1 and Shipment.objects.get().state == "active"
    remedies.apply(row, actor="ann")
    with pytest.raises(transfers.NotPossible):
        remedies.apply(row, actor="bob")
    world.work()
    assert world.labels() == 0 and world.calls("PUT /ship/v1/shipments/cancel") == 1
    assert [entry.actor for entry in AuditEntry.objects.filter(act="remedied")] == ["ann"]


def test_a_stated_number_takes_back_no_earlier_decision(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann keeps the ERP's number; then a charge's answer is lost, and Bob names it. The ERP's number must stay."""
    small(settings)
    on(world)
    # Nobody looks before Bob does: a slow machine takes longer to ask for the state than the first look waits.
    change(world, "ifs", in_doubt={"look_up_after_s": [3600], "resend_after_s": None})
    [number] = world.ready()
    between_read_and_write(monkeypatch, lambda: edit(world, number, AirwayBillNo=BY_HAND))
    world.sync()
    assert world.transfer(number).code == "field_conflict"
    transfers.decide_field(world.transfer(number), keep="theirs", actor="ann", reason="shipped by hand")
    world.ifs.fault("lost_answer", POST, count=1)
    world.work()
    transfer = world.transfer(number)
    assert transfer.state == "in_doubt" and EffectSend.objects.filter(outcome="unknown").count() == 1
    past_deadline(world)
    [charge] = world.ifs.charges()
    transfers.decide_made(transfer, number=str(charge["SequenceNo"]), actor="bob", reason="seen on the order")
    settle(world)
    assert world.transfer(number).state == "done", world.transfer(number).message
    assert world.numbers() == {number: BY_HAND}, "never overwritten without a decision"
    assert len(world.ifs.charges()) == 1 and world.fedex.creates == 1
    note = Step.objects.filter(name="write tracking", state="skipped").latest("pk").note
    assert note.startswith("ann decided") and AuditEntry.objects.get(act="adopted").facts["by"] == "bob"


def test_an_address_decided_on_takes_back_no_approval(world: World, settings: Any) -> None:
    """More was approved than the ceiling allows; a doubt about the address that comes later is another matter."""
    small(settings)
    options(world, address_check="block", max_purchases_per_hour=1)
    first, second = world.ready(2)
    world.sync()
    waits = Transfer.objects.get(state="needs_approval")
    transfers.approve(waits, actor="ann", reason="a large order")
    failed = {"code": "address_doubtful", "message": "Doubtful.", "error": {"mark": "M", "proposed": {}}}
    Transfer.objects.filter(pk=waits.pk).update(state="failed", **failed)
    waits.refresh_from_db()
    transfers.decide_address(waits, choice="as_written", actor="bob", reason="known to us")
    waits.refresh_from_db()
    assert (waits.decision["approved"], waits.decision["address"], waits.decision["address_by"]) == (True, "as_written", "bob")
    world.work()
    assert set(world.numbers()) == {first, second} and world.labels() == 2


def test_the_void_of_a_cancelled_document_ends_well_and_takes_its_cost_back(world: World, settings: Any) -> None:
    """IFS lets nobody change a cancelled shipment (its number stays), but the order must not go on bearing the label's cost."""
    small(settings)
    on(world)
    [number] = world.ready()
    world.sync()
    edit(world, number, Objstate="Cancelled")
    compare(world)
    remedies.apply(ReconciliationFinding.objects.get(state="open"), actor="ann")
    world.work()
    done = world.transfer(number)
    assert (done.flow, done.state, done.message) == ("void", "done", "")
    assert world.labels() == 0 and [charge["ChargeCost"] for charge in world.ifs.charges()] == [0]
    step = Step.objects.get(name="clear tracking")
    assert (step.state, step.result["skipped"]) == ("done", ["cancelled"])
    assert number in world.numbers() and compare(world).found == 0, "nobody ships a cancelled document by it"

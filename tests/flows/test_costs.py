"""Corrected freight costs: the same charges are changed, never others; what cannot be changed is left for a person.

What stands on the orders is read at the simulator.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connector.models import AuditEntry, CostChange, FreightCharge, Shipment, Transfer
from connector.services import audit, costs, freight, invoices, transfers
from connector.services.shipments import NotPossible
from connector.tasks import invoices as invoices_task
from connector.tasks import tick
from tests.flows.support import change, due_now, options, small
from tests.flows.test_freight import costs_of, on, posts, several, void
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def correct(amount: str, reason: str = "the carrier's bill") -> CostChange:
    return costs.correct(Shipment.objects.get(state="active"), Decimal(amount), actor="user:ann", reason=reason)


def the_charge(world: World) -> Decimal:
    [charge] = world.ifs.charges()
    return Decimal(str(charge["ChargeCost"]))


def test_a_corrected_cost_changes_the_same_charge_and_is_kept(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    before = Shipment.objects.get().cost
    change = correct("99.99")
    assert change.state == "waiting" and change.before == before
    world.work()
    shipment, row = Shipment.objects.get(), FreightCharge.objects.get()
    assert the_charge(world) == Decimal("99.99") and posts(world) == 1, "changed, not posted again"
    assert (shipment.cost, shipment.cost_kind, shipment.rated_cost) == (Decimal("99.99"), "entered", before)
    assert (row.amount, row.rated, row.sent) == (Decimal("99.99"), before, [])
    change.refresh_from_db()
    assert change.state == "done" and change.ended_at
    said = AuditEntry.objects.get(act="cost_changed")
    assert said.facts["reason"] == "the carrier's bill" and said.actor == "user:ann"
    # And back, and forth again: a correction is never taken for one that was made before.
    for amount in ("12.00", "99.99"):
        correct(amount)
        world.work()
        assert the_charge(world) == Decimal(amount)
    assert [c.state for c in costs.history(shipment)] == ["done"] * 3
    assert Shipment.objects.get().rated_cost == before


def test_several_orders_share_the_correction_as_they_shared_the_cost(world: World) -> None:
    on(world)
    number = several(world, [1.0, 2.0, 4.0])
    world.sync()
    key = {"OrderNo": f"M{number}1", "LineNo": "1", "RelNo": "1", "LineItemNo": 0}
    world.ifs.edit("standard", "CustomerOrderLineSet", key, {"AdjustedWeightGross": 500, "AdjustedWeightNet": 500})
    correct("70.03")
    world.work()
    found = {order: parts for order, parts in costs_of(world).items()}
    assert sum(sum(parts) for parts in found.values()) == Decimal("70.03")
    assert [found[f"M{number}{line}"] for line in (1, 2, 3)] == [[Decimal("10.00")], [Decimal("20.01")], [Decimal("40.02")]]


def test_another_currency_keeps_its_first_rate(world: World) -> None:
    on(world)
    [number] = world.ready()
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"C{number}"}, {"CurrencyCode": "EUR"})
    world.configure(lambda doc: doc["integrations"][0]["value_maps"].update(exchange_rate={"USD-EUR": "0.5"}))
    world.sync()
    world.configure(lambda doc: doc["integrations"][0]["value_maps"].update(exchange_rate={"USD-EUR": "0.9"}))
    correct("30.01")
    world.work()
    assert the_charge(world) == Decimal("15.01"), "half a cent goes up; the difference is the carrier's, not the rate's"


@pytest.mark.parametrize(
    ("columns", "said"), [({"InvoicedQty": 1}, "invoiced"), ({"ChargeCost": 1.5}, "Somebody else"), (None, "not in the ERP")]
)
def test_a_charge_that_cannot_be_changed_is_left_for_a_person(world: World, columns: dict[str, float] | None, said: str) -> None:
    on(world)
    [number] = world.ready()
    world.sync()
    rated, key = Shipment.objects.get().cost, {"OrderNo": f"C{number}", "SequenceNo": 1}
    if columns is None:
        world.ifs.state["tenants"]["standard"]["rows"]["CustomerOrderCharge"].clear()
    else:
        world.ifs.edit("standard", "CustomerOrderChargeSet", key, columns)
    correct("50.00")
    world.work()
    transfer, change = Transfer.objects.get(flow="cost"), CostChange.objects.get()
    assert (transfer.state, transfer.attention) == ("done", "cost_left")
    assert change.state == "left" and said in change.note
    assert Shipment.objects.get().cost == Decimal("50.00") and FreightCharge.objects.get().amount == rated
    if columns and "ChargeCost" in columns:
        assert the_charge(world) == Decimal("1.5")


def test_what_was_left_stays_left_when_another_order_has_to_wait(world: World) -> None:
    on(world)
    several(world, [1.0, 3.0])
    world.sync()
    first, second = FreightCharge.objects.order_by("pk")
    world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": first.order, "SequenceNo": 1}, {"InvoicedQty": 1})
    world.ifs.fault("status", f"PATCH .*{second.order}", times=1, status=400, body='{"error":{"code":"X","message":"no"}}')
    correct("50.00")
    world.work()
    stopped = Transfer.objects.get(flow="cost")
    assert stopped.state == "failed"
    transfers.replay(stopped, actor="ann")
    world.work()
    rated = first.amount
    first.refresh_from_db()
    assert (first.amount, "invoiced" in first.note) == (rated, True), "the ERP still holds the rated cost"
    assert Transfer.objects.get(flow="cost").attention == "cost_left" and CostChange.objects.get().state == "left"


def test_a_lost_answer_is_compared_and_a_void_knows_the_amount_as_ours(world: World, settings: object) -> None:
    small(settings)
    on(world)
    world.ready()
    world.sync()
    world.ifs.fault("lost_answer", r"PATCH .*ChargeArray", times=1)
    correct("50.00")
    world.poll()
    Transfer.objects.filter(flow="cost").update(attempts=0)
    world.work()
    assert the_charge(world) == Decimal("50.00")
    FreightCharge.objects.update(amount=Decimal("1.23"), sent=["50.00"])  # as it stands before the next try
    void(world)
    due_now(world)
    assert the_charge(world) == 0 and FreightCharge.objects.get().state == "taken_back"


def test_before_the_first_writing_is_through_it_waits(world: World) -> None:
    on(world, freight_charge_type="NOSUCH")
    world.ready()
    world.sync()
    first = Shipment.objects.get().cost
    correct("50.00")
    world.work()
    cost = Transfer.objects.get(flow="cost")
    assert (cost.state, cost.code) == ("waiting", "cost_not_written_yet")
    world.ifs.set_options("standard", charge_types={"NOSUCH": "6499"})
    transfers.replay(Transfer.objects.get(flow="ship"), actor="ann")
    world.work()
    assert the_charge(world) == first
    due_now(world)
    assert the_charge(world) == Decimal("50.00") and CostChange.objects.get().state == "done"


def test_a_cost_that_was_unknown_is_written_now(world: World) -> None:
    on(world)
    world.ready()
    options(world, freight_charge=False)
    world.sync()
    Shipment.objects.update(cost=None, cost_kind="unknown", currency="")
    options(world, freight_charge=True)
    shipment = Shipment.objects.get()
    with pytest.raises(NotPossible, match="ISO code"):
        costs.correct(shipment, Decimal("20"), actor="ann", reason="x")
    costs.correct(shipment, Decimal("20"), actor="ann", reason="the bill", currency="USD")
    world.work()
    assert the_charge(world) == 20 and posts(world) == 1


def test_with_the_option_off_it_is_kept_and_nobody_is_called(world: World) -> None:
    world.ready()
    world.sync()
    assert correct("50.00").state == "kept"
    world.work()
    tick()
    assert world.calls("CustomerOrder") == 0 and not Transfer.objects.filter(flow="cost").exists()


def test_what_came_while_one_was_written_is_not_forgotten(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    correct("50.00")
    transfers.cancel(Transfer.objects.get(flow="cost"), actor="ann")
    assert CostChange.objects.get().state == "dropped", "given up: not begun again by itself"
    assert costs.begin_waiting() == 0
    correct("60.00")
    Transfer.objects.filter(flow="cost").update(state="done")
    assert costs.begin_waiting() == 1 and costs.begin_waiting() == 0
    world.work()
    assert the_charge(world) == 60


@pytest.mark.parametrize(("amount", "reason", "said"), [("5", " ", "reason"), ("-1", "x", "amount"), ("NaN", "x", "amount")])
def test_what_is_refused(world: World, amount: str, reason: str, said: str) -> None:
    world.ready()
    world.sync()
    with pytest.raises(NotPossible, match=said):
        correct(amount, reason)
    void(world)
    with pytest.raises(NotPossible, match="taken back"):
        costs.correct(Shipment.objects.get(), Decimal(5), actor="ann", reason="x")
    assert not CostChange.objects.exists()


def test_an_invoice_file_reaches_the_charges_once(world: World) -> None:
    on(world)
    several(world, [1.0, 3.0])
    world.sync()
    shipment = Shipment.objects.get()
    head = "Invoice Number,Tracking Number,Net Charge Amount,Currency,Charge Description"
    rows = [
        f"I-1,{shipment.master_tracking_number},{amount},USD,{kind}" for kind, amount in (("Freight", "30.02"), ("Fuel", "10.01"))
    ]
    data = "\n".join([head, *rows]).encode()
    for _ in range(2):
        file = invoices.take(world.integration.target, "bill.csv", data, actor="user:ann")
        if file.lines.filter(state="ready").exists():
            invoices.apply(file, actor="user:ann", reason="November")
        invoices_task()
        world.work()
    found = sorted(part for parts in costs_of(world).values() for part in parts)
    assert found == [Decimal("10.01"), Decimal("30.02")] and posts(world) == 2
    assert sorted(FreightCharge.objects.values_list("invoiced", flat=True)) == found
    assert [c.kind for c in costs.history(Shipment.objects.get())] == ["invoice"]


# -- killed between a row and its history ----------------------------------------------------------------


def killed_after(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    """The process ends right after the first call of `owner.name`; the list tells whether it did."""
    real, done = getattr(owner, name), list[int]()

    def last(*args: Any, **named: Any) -> None:
        real(*args, **named)
        if not done and (name != "corrected" or "amount" in named or named.get("note")):
            done.append(1)
            raise RuntimeError("killed")

    monkeypatch.setattr(owner, name, last)
    return done


@pytest.mark.parametrize(
    ("columns", "act", "state"), [({}, "charge_taken_back", "taken_back"), ({"InvoicedQty": 1}, "charge_left", "left")]
)
def test_a_kill_after_taking_back_loses_no_line_of_the_history(
    world: World, settings: object, monkeypatch: pytest.MonkeyPatch, columns: dict[str, int], act: str, state: str
) -> None:
    small(settings)
    on(world)
    [number] = world.ready()
    world.sync()
    if columns:
        world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": f"C{number}", "SequenceNo": 1}, columns)
    killed = killed_after(monkeypatch, freight, "ended")
    void(world)
    assert killed and FreightCharge.objects.get().state == "posted" and not AuditEntry.objects.filter(act=act).exists()
    transfers.replay(Transfer.objects.get(flow="void"), actor="ann")
    world.work()
    assert FreightCharge.objects.get().state == state
    assert AuditEntry.objects.filter(act=act).count() == 1 and list(audit.verify()) == []


@pytest.mark.parametrize(("columns", "act"), [({}, "charge_corrected"), ({"InvoicedQty": 1}, "charge_not_corrected")])
def test_a_kill_after_a_correction_loses_no_line_of_the_history(
    world: World, settings: object, monkeypatch: pytest.MonkeyPatch, columns: dict[str, int], act: str
) -> None:
    small(settings)
    on(world)
    [number] = world.ready()
    world.sync()
    if columns:
        world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": f"C{number}", "SequenceNo": 1}, columns)
    killed = killed_after(monkeypatch, costs, "corrected")
    correct("50.00")
    world.work()
    row = FreightCharge.objects.get()
    assert killed and (row.amount, row.note) != (Decimal("50.00"), "") and not row.note, "not without its line"
    transfers.replay(Transfer.objects.get(flow="cost"), actor="ann")
    world.work()
    assert AuditEntry.objects.filter(act=act).count() == 1 and list(audit.verify()) == []
    assert (FreightCharge.objects.get().amount == 50) is not bool(columns)


# -- accounting ----------------------------------------------------------------------------------------


def pre_posting(world: World, number: int, **more: str) -> None:
    """The order's pre-posting, and where to read it."""
    row = {"PreAccountingId": 500000 + number, "Company": "10", "CodenoB": "CC-SALES", "AccountNo": "4711", **more}
    world.ifs.add_rows("standard", "PreAccountingSet", [row])
    change(world, "ifs", accounting={"pre_posting": {"service": "PreAccountingHandling"}})


@pytest.mark.parametrize("writes", [False, True])
def test_account_and_cost_centre_of_the_order_are_kept_with_the_shipment(world: World, writes: bool) -> None:
    options(world, document_accounting=True, freight_charge=writes)
    [number] = world.ready()
    pre_posting(world, number, CodenoC="C-9")
    world.sync()
    assert world.states() == {"done": 1}, Transfer.objects.get().error
    shipment = Shipment.objects.get()
    assert (shipment.cost_center, shipment.freight_account) == ("CC-SALES", "4711")
    [told] = shipment.accounting or []
    assert told["order"] == f"C{number}" and told["code_parts"] == {"CodeB": "CC-SALES", "CodeC": "C-9"}
    assert world.calls("CustomerOrder") == (3 if writes else 1), "read once"
    assert shipment.written_at


def test_orders_that_disagree_leave_the_company_codes_accounting(world: World) -> None:
    options(world, document_accounting=True)
    number = several(world, [1.0, 1.0])
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"M{number}1"}, {"PreAccountingId": 500000 + number})
    pre_posting(world, number)
    world.sync()
    shipment = Shipment.objects.get()
    assert (shipment.cost_center, shipment.freight_account) == ("CC-100", "6400")
    assert [order["cost_center"] for order in shipment.accounting or []] == ["CC-SALES", ""]


def test_without_the_option_no_order_is_read(world: World) -> None:
    [number] = world.ready()
    pre_posting(world, number)
    world.sync()
    assert world.calls("CustomerOrder") == 0 and Shipment.objects.get().accounting is None

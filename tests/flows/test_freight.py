"""Freight cost as charges of customer orders (IF-5, G-11): off by default, once, shared to the cent, taken back when voided.

What stands on the orders is counted at the simulator, never from our own tables.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from connector.models import EffectSend, Exchange, FreightCharge, Shipment, Step, Transfer
from connector.services import shipments, transfers
from integrations.base.errors import Rejected
from integrations.base.records import ChargeOrder, Money
from integrations.base.shares import costs as shared_costs
from integrations.base.shares import split
from tests.flows.support import change, creates, due_now, later, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

POST = r"POST .*CustomerOrderChargeArray$"
POSTED = "POST CustomerOrderHandling.svc/CustomerOrderChargeArray"


def on(world: World, **more: Any) -> None:
    """Switch freight cost on, with quick look-ups at IFS."""
    options(world, freight_charge=True, **more)
    change(world, "ifs", in_doubt={"look_up_after_s": [0.05, 0.05, 0.1, 1, 1, 1], "resend_after_s": 1})


def costs_of(world: World) -> dict[str, list[Decimal]]:
    """What each order bears."""
    found: dict[str, list[Decimal]] = {}
    for row in world.ifs.charges():
        found.setdefault(row["OrderNo"], []).append(Decimal(str(row["ChargeCost"])))
    return found


def posts(world: World) -> int:
    return world.ifs.counts[POSTED]


def several(world: World, weights: list[float | None], **orders: Any) -> int:
    """A shipment that delivers for one order a line; weights are those of the order lines."""
    [number] = world.ready(lines=len(weights))
    for line, weight in enumerate(weights, 1):
        order, values = f"M{number}{line}", {"CurrencyCode": "USD", "Contract": "S1", "Company": "10", **orders}
        world.ifs.add_rows(
            "standard", "CustomerOrderSet", [{"OrderNo": order, "Objstate": "Picked", "ShipAddrNo": "01", **values}]
        )
        key = {"OrderNo": order, "LineNo": str(line), "RelNo": "1", "LineItemNo": 0}
        made = {"BuyQtyDue": 1, "ConvFactor": 1, "InvertedConvFactor": 1, "SaleUnitPrice": 10 * line}
        made |= {} if weight is None else {"AdjustedWeightGross": weight, "AdjustedWeightNet": weight}
        made |= {"AdjustedWeightNet": None, "AdjustedWeightGross": None} if weight is None else {}
        world.ifs.add_rows("standard", "CustomerOrderLineSet", [{**key, **made}])
        place = {"ShipmentId": number, "ShipmentLineNo": line}
        world.ifs.edit("standard", "ShipmentLineSet", place, {"SourceRef1": order, "InventoryQty": 1})
    return number


def test_off_nothing_is_called_or_kept(world: World) -> None:
    world.ready(2)
    world.sync()
    assert world.states() == {"done": 2}
    assert world.calls("CustomerOrder") == 0
    assert not FreightCharge.objects.exists() and not Step.objects.filter(name__contains="freight").exists()


def test_the_rated_cost_becomes_one_charge_of_the_order(world: World) -> None:
    """Sheet 9.3: our cost, nothing for the customer, the shipment as its mark; account and cost centre are IFS's business."""
    on(world)
    [number] = world.ready()
    pre = {"PreAccountingId": 500000 + number, "Company": "10", "CodenoB": "CC-SALES", "AccountNo": "4711"}
    world.ifs.add_rows("standard", "PreAccountingSet", [pre])
    change(world, "ifs", accounting={"pre_posting": {"service": "PreAccountingHandling"}})
    world.sync()
    assert world.states() == {"done": 1}
    shipment = Shipment.objects.get()
    [charge] = world.ifs.charges()
    assert Decimal(str(charge["ChargeCost"])) == shipment.cost and shipment.cost
    assert (charge["OrderNo"], charge["ChargeType"], charge["ChargedQty"], charge["ChargeAmount"]) == (
        f"C{number}",
        "FREIGHT",
        1,
        0,
    )
    [sent] = Exchange.objects.filter(method="POST", url__endswith="CustomerOrderChargeArray").values_list(
        "request_body", flat=True
    )
    assert json.loads(sent)["InvoicedQty"] == 0, "as in the sheet's body"
    assert charge["ShipmentId"] == number and charge["DeliveryAddress"] == "01"
    assert "PreAccountingId" not in charge
    row = FreightCharge.objects.get()
    assert (row.state, row.number, row.amount, row.currency) == ("posted", "1", shipment.cost, "USD")
    assert (row.company_code, row.cost_center, row.account, row.from_order) == ("10", "CC-SALES", "4711", True)
    rows = world.ifs.state["tenants"]["standard"]["rows"]["VoucherRow"].values()
    assert [(r["Account"], r["CodeB"]) for r in rows] == [("6400", "CC-SALES"), ("2440", "CC-SALES")], (
        "it landed on the cost centre"
    )
    assert world.calls("CustomerOrder") == 3, "the order, the look before the post, the post"


def test_without_pre_posting_the_company_codes_accounting_is_kept(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    row = FreightCharge.objects.get()
    assert (row.cost_center, row.account, row.from_order) == ("CC-100", "6400", False)


def test_several_orders_share_by_weight_to_the_cent(world: World) -> None:
    on(world)
    several(world, [1.0, 1.0, 1.0])
    world.sync()
    assert world.states() == {"done": 1}
    cost = Shipment.objects.get().cost
    shares = [part for parts in costs_of(world).values() for part in parts]
    assert len(shares) == 3 and sum(shares) == cost and max(shares) - min(shares) <= Decimal("0.01")
    references = set(EffectSend.objects.filter(effect__kind="charge").values_list("reference", flat=True))
    assert len(references) == 3, "each share is done once by itself, under its own mark"


@pytest.mark.parametrize(("by", "bearing"), [("value", 3), ("first_order", 1)])
def test_other_ways_to_share(world: World, by: str, bearing: int) -> None:
    on(world, freight_charge_split=by)
    number = several(world, [1.0, 2.0, 3.0])
    world.sync()
    found = costs_of(world)
    assert len(found) == bearing and sum(sum(parts) for parts in found.values()) == Shipment.objects.get().cost
    if by == "value":
        first, _, last = (found[f"M{number}{line}"][0] for line in (1, 2, 3))
        assert abs(last - 3 * first) <= Decimal("0.03")
    else:
        assert list(found) == [f"M{number}1"]


def test_an_unknown_weight_waits_for_a_person_and_nothing_is_posted(world: World) -> None:
    on(world)
    number = several(world, [1.0, None])
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == ("failed", "charge_share_unknown")
    assert world.numbers() and posts(world) == 0
    key = {"OrderNo": f"M{number}2", "LineNo": "2", "RelNo": "1", "LineItemNo": 0}
    world.ifs.edit("standard", "CustomerOrderLineSet", key, {"AdjustedWeightGross": 3})
    transfers.replay(transfer, actor="ann")
    world.work()
    assert world.states() == {"done": 1} and creates(world) == 1
    assert sum(sum(parts) for parts in costs_of(world).values()) == Shipment.objects.get().cost


def test_refused_the_number_stays_and_the_step_alone_is_replayed(world: World, settings: Any) -> None:
    small(settings)
    on(world, freight_charge_type="NOSUCH")
    world.ready()
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code, transfer.step) == ("failed", "refused", "write freight cost")
    assert len(world.numbers()) == 1 and world.ifs.charges() == []
    shipment = Shipment.objects.get()
    assert shipment.written_at and shipment.next_track_at, "the parcel is followed all the same"
    patches = world.calls("PATCH")
    world.ifs.set_options("standard", charge_types={"NOSUCH": "6499"})
    transfers.replay(transfer, actor="ann")
    world.work()
    assert world.states() == {"done": 1} and creates(world) == 1 and world.calls("PATCH") == patches
    assert [c["ChargeType"] for c in world.ifs.charges()] == ["NOSUCH"]


def test_no_right_to_charges_stops_no_shipping(world: World) -> None:
    on(world)
    world.ifs.set_options("standard", read_only_projections=["CustomerOrderHandling"])
    world.ready(3)
    world.sync()
    assert world.states() == {"failed": 3} and len(world.numbers()) == 3
    assert set(Transfer.objects.values_list("code", flat=True)) == {"forbidden"}


def test_one_of_two_refused_only_that_one_is_written_later(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    number = several(world, [1.0, 1.0])
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"M{number}2"}, {"Objstate": "Invoiced"})
    world.sync()
    assert Transfer.objects.get().code == "charge_order_closed" and posts(world) == 0
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"M{number}2"}, {"Objstate": "Picked"})
    world.ifs.fault("status", rf"POST .*M{number}2.*ChargeArray$", status=400, body='{"error": {"code": "X", "message": "no"}}')
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert Transfer.objects.get().state == "failed" and len(world.ifs.charges()) == 1
    # What the orders say by now changes nothing: the shares were kept.
    key = {"OrderNo": f"M{number}2", "LineNo": "2", "RelNo": "1", "LineItemNo": 0}
    world.ifs.edit("standard", "CustomerOrderLineSet", key, {"AdjustedWeightGross": 9, "AdjustedWeightNet": 9})
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    found = costs_of(world)
    assert world.states() == {"done": 1} and all(len(parts) == 1 for parts in found.values()) and len(found) == 2
    assert sum(sum(parts) for parts in found.values()) == Shipment.objects.get().cost


def test_an_answer_lost_after_the_post_is_found_and_not_posted_again(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    several(world, [1.0, 2.0])
    lost = world.ifs.fault("lost_answer", POST, times=2)
    world.sync(wait_s=3)
    settle(world, wait_s=1)
    for _ in range(3):
        due_now(world)
    assert lost.used == 2 and posts(world) == 2
    assert world.states() == {"done": 1}
    assert all(len(parts) == 1 for parts in costs_of(world).values())


def test_what_never_arrived_is_proven_absent_and_posted_once(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1})
    world.ready()
    world.ifs.fault("reset", POST)
    world.sync()
    assert world.states() == {"in_doubt": 1} and world.ifs.charges() == []
    later(world, 30)
    due_now(world)
    assert world.states() == {"done": 1} and len(world.ifs.charges()) == 1


def test_a_person_speaks_of_one_share_only(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1}, in_doubt={"resend_after_s": None})
    number = several(world, [1.0, 1.0])
    world.ifs.fault("reset", POST, times=2)
    world.sync()
    later(world, 30)
    transfers.decide_made(Transfer.objects.get(), number="5", actor="ann", reason="seen in IFS")
    world.work()
    later(world, 30)
    due_now(world)
    assert Transfer.objects.get().state == "in_doubt"
    assert dict(FreightCharge.objects.values_list("order", "number")) == {f"M{number}1": "5", f"M{number}2": ""}


def test_a_charge_that_stands_there_already_is_taken_over(world: World) -> None:
    """The look before the post, as after a restore: the same shipment, charge type and cost."""
    on(world, freight_charge_type="NOSUCH")
    [number] = world.ready()
    world.sync()
    cost = float(Shipment.objects.get().cost or 0)
    there = {
        "OrderNo": f"C{number}",
        "SequenceNo": 7,
        "Contract": "S1",
        "ShipmentId": number,
        "ChargeType": "NOSUCH",
        "ChargeCost": cost,
    }
    world.ifs.add_rows("standard", "CustomerOrderChargeSet", [there])
    before = posts(world)
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert world.states() == {"done": 1}, Transfer.objects.get().error
    assert posts(world) == before
    assert FreightCharge.objects.get().number == "7"


def test_another_currency_needs_a_rate(world: World) -> None:
    on(world)
    [number] = world.ready()
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"C{number}"}, {"CurrencyCode": "EUR"})
    world.sync()
    assert Transfer.objects.get().code == "charge_currency" and posts(world) == 0
    world.configure(lambda doc: doc["integrations"][0]["value_maps"].update(exchange_rate={"USD-EUR": "0.5"}))
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    row, shipment = FreightCharge.objects.get(), Shipment.objects.get()
    assert row.currency == "EUR" and abs(row.amount * 2 - shipment.cost) <= Decimal("0.01")
    assert Decimal(str(world.ifs.charges()[0]["ChargeCost"])) == row.amount
    assert shipment.currency == "USD", "what the carrier charges stays as it was"


def test_the_currency_of_costs_may_be_the_companys(world: World) -> None:
    on(world, freight_charge_currency="USD")
    [number] = world.ready()
    world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"C{number}"}, {"CurrencyCode": "EUR"})
    world.sync()
    assert world.states() == {"done": 1} and FreightCharge.objects.get().currency == "USD"


def test_who_does_not_pay_posts_nothing(world: World) -> None:
    on(world, payment_type="RECIPIENT", payment_account="987654321")
    world.ready()
    world.sync()
    assert world.states() == {"done": 1} and posts(world) == 0
    assert Step.objects.get(name="write freight cost").note == "the carrier bills somebody else"


def test_the_mark_may_stand_in_a_field_of_the_tenants_own(world: World, settings: Any) -> None:
    """Sheet 13, customised tenant: our reference, so that an equal charge of somebody else is never mistaken for ours."""
    small(settings)
    on(world)

    def custom(doc: dict[str, Any]) -> None:
        ifs = doc["connections"][0]
        ifs["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}
        ifs["settings"] |= {"realm": "custom1", "shipment": {"service": "CShipmentHandling"}}
        ifs["settings"] |= {"customer_order_charge": {"marker_field": "Cf_Freight_Ref"}}

    world.configure(custom)
    [number] = world.ifs.make_shipments("custom")
    world.ifs.fault("lost_answer", POST)
    world.sync(wait_s=3)
    settle(world, wait_s=1)
    for _ in range(3):
        due_now(world)
    [charge] = world.ifs.charges("custom")
    assert charge["Cf_Freight_Ref"] == EffectSend.objects.get(effect__kind="charge").reference
    assert charge["OrderNo"] == f"C{number}" and posts(world) == 1 and world.states() == {"done": 1}


# -- voids -------------------------------------------------------------------------------------------


def void(world: World, then: str = "clear") -> None:
    shipments.void_request(Shipment.objects.get(state="active"), then=then, actor="ann", reason="wrong box")
    world.work()


def test_a_void_takes_the_cost_back(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    void(world)
    [charge] = world.ifs.charges()
    assert charge["ChargeCost"] == 0 and world.numbers() == {}
    assert FreightCharge.objects.get().state == "taken_back"
    rows = world.ifs.state["tenants"]["standard"]["rows"]["VoucherRow"].values()
    assert round(sum(r["Amount"] for r in rows if r["Account"] == "6400"), 2) == 0
    assert set(Transfer.objects.values_list("state", "attention")) == {("done", None)}


def test_void_and_buy_again_corrects_the_same_charge(world: World) -> None:
    """ENGINE 5: a charge of a voided generation is corrected, never posted beside."""
    on(world)
    world.ready()
    world.sync()
    void(world, "rebuy")
    world.work()
    assert creates(world) == 2 and posts(world) == 1
    [charge] = world.ifs.charges()
    live = Shipment.objects.get(state="active")
    assert Decimal(str(charge["ChargeCost"])) == live.cost
    assert live.freight_charges.get().number == "1"


def test_a_charge_left_behind_is_told_when_another_order_has_to_wait(world: World) -> None:
    on(world)
    several(world, [1.0, 3.0])
    world.sync()
    first, second = FreightCharge.objects.order_by("pk")
    world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": first.order, "SequenceNo": 1}, {"InvoicedQty": 1})
    world.ifs.fault("status", f"PATCH .*{second.order}", times=1, status=400, body='{"error":{"code":"X","message":"no"}}')
    void(world)
    world.work()
    stopped = Transfer.objects.get(flow="void")
    assert stopped.state == "failed"
    transfers.replay(stopped, actor="ann")
    world.work()
    stopped.refresh_from_db()
    assert (stopped.state, stopped.attention) == ("done", "freight_left")


def test_an_invoiced_charge_is_listed_and_the_next_label_gets_its_own(world: World) -> None:
    on(world)
    [number] = world.ready()
    world.sync()
    world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": f"C{number}", "SequenceNo": 1}, {"InvoicedQty": 1})
    void(world, "rebuy")
    world.work()
    first, second = FreightCharge.objects.order_by("pk")
    assert (first.state, second.state, second.number) == ("left", "posted", "2")
    assert Transfer.objects.get(flow="void").attention == "freight_left"
    assert len(world.ifs.charges()) == 2


def test_a_cost_that_somebody_changed_is_not_overwritten(world: World) -> None:
    on(world)
    [number] = world.ready()
    world.sync()
    world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": f"C{number}", "SequenceNo": 1}, {"ChargeCost": 99})
    void(world)
    assert world.ifs.charges()[0]["ChargeCost"] == 99
    assert FreightCharge.objects.get().state == "left" and world.numbers() == {}


# -- sharing, without any system ---------------------------------------------------------------------


def parts(cost: str, *shares: str, currency: str = "USD") -> list[str]:
    return [str(p) for p in split(Money(Decimal(cost), currency), [Decimal(s) for s in shares])]


def test_the_largest_remainders_get_the_cents_left_over() -> None:
    assert parts("10.00", "1", "1", "1") == ["3.34", "3.33", "3.33"]
    assert parts("0.05", "1", "2", "3") == ["0.01", "0.02", "0.02"]
    assert parts("0.01", "1", "99") == ["0.00", "0.01"]
    assert parts("100.01", "0.1", "0.2", "0.7") == ["10.00", "20.00", "70.01"]
    assert parts("1000", "1", "1", "1", currency="JPY") == ["334", "333", "333"]


def test_no_cent_is_lost_or_made() -> None:
    for cents in range(1, 400, 7):
        cost = Money(Decimal(cents) / 100, "USD")
        for shares in ([1, 1], [1, 2, 4], [3, 3, 3, 1], [1, 1000, 7, 13, 29]):
            found = split(cost, [Decimal(s) for s in shares])
            assert sum(found) == cost.amount and min(found) >= 0


def test_orders_in_different_currencies_bear_each_in_its_own() -> None:
    orders = [ChargeOrder("A", "10", "S1", "USD", weight=Decimal(1)), ChargeOrder("B", "10", "S1", "EUR", weight=Decimal(1))]
    found = shared_costs(Money(Decimal("10.01"), "USD"), orders, "weight", "", {"USD-EUR": "0.9"})
    assert found == [Money(Decimal("5.01"), "USD"), Money(Decimal("4.50"), "EUR")]
    with pytest.raises(Rejected):
        shared_costs(Money(Decimal("10.01"), "USD"), orders, "weight", "", {"USD-EUR": "none"})
    whole = shared_costs(Money(Decimal("10.01"), "USD"), orders, "weight", "EUR", {"USD-EUR": "0.9"})
    assert sum(part.amount for part in whole) == Decimal("9.01")


def test_the_shipments_page_tells_each_share(world: World, client: Any, django_user_model: Any) -> None:
    on(world)
    number = several(world, [1.0, 1.0])
    world.sync()
    client.force_login(django_user_model.objects.create_superuser("root", "root@example.com", "x"))
    page = client.get(f"/admin/connector/shipment/{Shipment.objects.get().pk}/change/").content.decode()
    assert "Freight cost on orders" in page and "Written to the order" in page
    assert f"M{number}1" in page and f"M{number}2" in page

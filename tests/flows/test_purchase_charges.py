"""Freight cost on purchase orders (IF-5, sheet 9.6): off by default, once; counted at the simulator."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from connector.models import CostChange, EffectSend, FreightCharge, Shipment, Step, Transfer
from connector.services import costs, freight, month_end, shipments, transfers
from integrations.base.records import Money
from integrations.fedex.adapter import Fedex
from tests.flows.support import change, due_now, options, settle, small
from tests.flows.test_purchase_orders import ACCOUNT, edit_order, header, inbound, make
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

ARRAY = "PurchaseOrderHandling.svc/PurchaseOrderChargeArray"


@pytest.fixture(autouse=True)
def rated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A carrier that also rates what somebody else than the sender pays; Fedex often does not."""
    real = Fedex.create_shipment

    def create(self: Fedex, *args: Any, **named: Any) -> Any:
        return dataclasses.replace(real(self, *args, **named), cost=Money(Decimal("31.45"), "USD"))

    monkeypatch.setattr(Fedex, "create_shipment", create)


def on(world: World, tenant: str = "standard", *, charge: dict[str, Any] | None = None, **told: Any) -> None:
    """Purchase orders ship and bear their cost, with quick look-ups at IFS."""
    inbound(world, tenant, freight_charge=True, **told)

    def edit(doc: dict[str, Any]) -> None:
        settings = copy.deepcopy(doc["connections"][0]["settings"])
        settings.setdefault("purchase_order", {})["charge"] = {"enabled": True, **(charge or {})}
        settings["in_doubt"] = {"look_up_after_s": [0.05, 0.05, 0.1, 1, 1, 1], "resend_after_s": 1}
        doc["connections"][0]["settings"] = settings

    world.configure(edit)


def the_charge(world: World) -> dict[str, Any]:
    [found] = world.ifs.purchase_charges(world.tenant)
    return found


def posts(world: World) -> int:
    return world.ifs.counts[f"POST {ARRAY}"]


def test_off_nothing_is_read_or_posted(world: World) -> None:
    inbound(world, "standard", freight_charge=True)
    make(world)
    world.sync()
    assert world.states() == {"done": 1} and world.calls("ChargeArray") == 0
    assert Step.objects.get(name="write freight cost").note == "switched off in the settings of the ERP connection"


@pytest.mark.parametrize("tenant", ["standard", "custom"])
def test_the_rated_cost_becomes_one_charge_owed_to_the_carrier(world: World, tenant: str) -> None:
    on(world, tenant, charge={"vendor": "FEDEX"})
    [number] = make(world)
    pre = {"PreAccountingId": header(world, number)["PreAccountingId"], "Company": "10", "CodenoB": "CC-BUY", "AccountNo": "5100"}
    world.ifs.add_rows(tenant, "PreAccountingSet", [pre])
    change(world, "ifs", accounting={"pre_posting": {"service": "PreAccountingHandling"}})
    world.sync()
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    shipment, charge = Shipment.objects.get(), the_charge(world)
    assert Decimal(str(charge["ChargeAmount"])) == shipment.cost and shipment.cost
    assert (charge["OrderNo"], charge["ChargeType"], charge["ChargedQty"], charge["VendorNo"]) == (number, "FREIGHT", 1, "FEDEX")
    assert "PreAccountingId" not in charge, "IFS's own"
    row = FreightCharge.objects.get()
    assert (row.state, row.number, row.order, row.amount) == ("posted", "1", number, shipment.cost)
    assert (row.cost_center, row.account, row.from_order) == ("CC-BUY", "5100", True)
    assert (world.ifs.counts[f"GET {ARRAY}"], posts(world)) == (1, 1), "the look before the post, and the post"
    assert world.ifs.charges(tenant) == []
    rows = world.ifs.state["tenants"][tenant]["rows"]["VoucherRow"].values()
    assert [(r["Account"], r["CodeB"]) for r in rows] == [("6420", "CC-BUY"), ("2440", "CC-BUY")]


def test_a_cost_that_the_carrier_does_not_tell_is_written_when_its_bill_is_entered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    on(world)
    make(world)
    world.sync()
    assert world.states() == {"done": 1} and Shipment.objects.get().cost is None and posts(world) == 0
    costs.correct(Shipment.objects.get(), Decimal("20.00"), actor="ann", reason="the bill", currency="USD")
    world.work()
    assert the_charge(world)["ChargeAmount"] == 20 and posts(world) == 1


def test_month_end_shows_it_as_that_of_any_order(world: World) -> None:
    on(world)
    [number] = make(world)
    world.sync()
    shipment = Shipment.objects.get()
    today = shipment.created_at.date()
    wanted = month_end.Wanted(shipment.tenant, today - dt.timedelta(days=1), today + dt.timedelta(days=1))
    [line] = month_end.page(wanted).lines
    assert (line.order, line.figures.posted, line.state) == (number, shipment.cost, "agrees")
    [total] = month_end.totals(wanted)
    assert (total.cost_center, total.account, total.figures.posted) == ("CC-100", "6400", shipment.cost)


def test_a_correction_changes_the_same_charge_and_a_void_takes_it_back(world: World) -> None:
    on(world)
    make(world)
    world.sync()
    costs.correct(Shipment.objects.get(), Decimal("50.00"), actor="ann", reason="the bill")
    world.work()
    assert the_charge(world)["ChargeAmount"] == 50 and CostChange.objects.get().state == "done"
    shipments.void_request(Shipment.objects.get(), then="rebuy", actor="ann", reason="wrong box")
    world.work()
    world.work()
    live = Shipment.objects.get(state="active")
    assert Decimal(str(the_charge(world)["ChargeAmount"])) == live.cost and posts(world) == 1
    assert set(FreightCharge.objects.values_list("state", flat=True)) == {"taken_back", "posted"}


def test_by_our_mark_a_lost_answer_is_found_and_not_posted_again(world: World, settings: Any) -> None:
    small(settings)
    on(world, "custom", charge={"marker_field": "Cf_Freight_Ref"})
    make(world)
    lost = world.ifs.fault("lost_answer", r"POST .*PurchaseOrderChargeArray$")
    world.sync(wait_s=3)
    settle(world, wait_s=1)
    for _ in range(3):
        due_now(world)
    assert lost.used == 1 and posts(world) == 1 and world.states() == {"done": 1}
    assert the_charge(world)["Cf_Freight_Ref"] == EffectSend.objects.get(effect__kind="charge").reference


def test_without_a_mark_one_that_stands_there_is_taken_over(world: World) -> None:
    on(world, charge={"charge_type": "NOSUCH"})
    [number] = make(world)
    world.sync()
    assert Transfer.objects.get().code == "refused"
    there = {"OrderNo": number, "SequenceNo": 7, "ChargeType": "NOSUCH", "ChargedQty": 1}
    there |= {"ChargeAmount": float(Shipment.objects.get().cost or 0), "Contract": "S1", "Company": "10"}
    world.ifs.add_rows("standard", "PurchaseOrderChargeSet", [there])
    before = posts(world)
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert world.states() == {"done": 1} and posts(world) == before and FreightCharge.objects.get().number == "7"


@pytest.mark.parametrize("status", [404, 501])
def test_a_tenant_without_such_charges_is_told_in_words_and_the_number_stands(world: World, status: int) -> None:
    on(world, "custom")
    world.ifs.set_options("custom", purchase_charges=status)
    [number] = make(world)
    world.sync()
    transfer, bought = Transfer.objects.get(), len(world.fedex.shipments())
    assert (transfer.state, transfer.code, transfer.step) == ("failed", "charges_not_offered", "write freight cost")
    assert "purchase_order.charge.nav" in transfer.message and "purchase_order.charge.enabled" in transfer.remedy
    assert header(world, number)["Cf_Tracking_No"] == Shipment.objects.get().master_tracking_number
    assert posts(world) == 0 and Shipment.objects.get().written_at
    patches = world.calls("PATCH")
    world.ifs.set_options("custom", purchase_charges=None)
    transfers.replay(transfer, actor="ann")
    world.work()
    assert world.states() == {"done": 1} and posts(world) == 1
    assert world.calls("PATCH") == patches and len(world.fedex.shipments()) == bought == 1


def test_charges_of_other_names_are_not_posted_beside(world: World) -> None:
    """The members are a guess: a charge that may be ours and cannot be compared keeps us from posting another."""
    on(world)
    make(world)
    body = '{"value": [{"ChargeType": "FREIGHT", "ChargePrice": 12.5, "SeqNo": 1}]}'
    world.ifs.fault("status", r"GET .*PurchaseOrderChargeArray", status=200, body=body)
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == ("failed", "charges_unreadable") and posts(world) == 0
    assert "ChargePrice" in transfer.remedy


def test_a_closed_order_takes_none(world: World, settings: Any) -> None:
    small(settings)
    on(world, charge={"charge_type": "NOSUCH"})
    [number] = make(world)
    world.sync()
    edit_order(world, number, Objstate="Closed")
    before = posts(world)
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert Transfer.objects.get().code == "charge_order_closed" and posts(world) == before


def test_it_is_charged_in_the_orders_own_currency(world: World) -> None:
    on(world, freight_charge_currency="USD")
    [number] = make(world, CurrencyCode="EUR")
    world.sync()
    assert Transfer.objects.get().code == "charge_currency" and posts(world) == 0
    world.configure(lambda doc: doc["integrations"][0].setdefault("value_maps", {}).update(exchange_rate={"USD-EUR": "0.5"}))
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    row = FreightCharge.objects.get()
    assert (row.order, row.currency) == (number, "EUR")
    assert Decimal(str(the_charge(world)["ChargeAmount"])) == row.amount < (Shipment.objects.get().cost or 0)


@pytest.mark.parametrize(("account", "written"), [(ACCOUNT, 1), ("987654321", 0)])
def test_who_does_not_pay_posts_nothing(world: World, account: str, written: int) -> None:
    on(world, inbound_payment_type="THIRD_PARTY", inbound_payment_account=account, payment_type="RECIPIENT", payment_account="1")
    make(world)
    world.sync()
    assert world.states() == {"done": 1} and posts(world) == written


def test_a_customer_order_of_the_same_number_is_another_matter(world: World) -> None:
    on(world)
    [number] = make(world)
    world.sync()
    source = world.integration.source
    assert freight.numbers(source, f"purchase_order:{number}/2", number) == {"1"}
    assert freight.numbers(source, f"customer_order:{number}/1", number) == frozenset()
    assert freight.numbers(source, "shipment:19", number) == frozenset()


def test_twenty_orders_cost_two_calls_each_besides_their_number(world: World) -> None:
    on(world)
    make(world, 20)
    world.ifs.counts.clear()
    world.sync()
    assert world.states() == {"done": 20} and posts(world) == world.ifs.counts[f"GET {ARRAY}"] == 20
    headers = world.ifs.counts["GET PurchaseOrderHandling.svc/PurchaseOrderSet"]
    options(world, freight_charge=False)
    make(world, 20)
    world.ifs.counts.clear()
    world.sync()
    assert world.ifs.counts["GET PurchaseOrderHandling.svc/PurchaseOrderSet"] == headers, "the header is read once"

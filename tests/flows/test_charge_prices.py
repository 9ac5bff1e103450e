"""Freight that the customer pays (sheet 9.3, section 11): `amount_mode`, to the cent, kept by corrections and by a void.

What stands on the orders is read at the simulator.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from connector.models import FreightCharge, Shipment, Transfer
from connector.services import costs, shipments, transfers
from tests.flows.support import change, due_now, small
from tests.flows.test_freight import on, posts, several, void
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
PRICES = ("ChargeAmount", "ChargeAmountInclTax", "BaseChargeAmount", "BaseChargeAmtInclTax")


def pays(world: World, **mode: Any) -> None:
    """What the customer pays, from now on."""
    change(world, "ifs", customer_order_charge=mode)


def stands(world: World) -> list[tuple[Decimal, Decimal]]:
    """Cost and price of each charge; all members of the price agree."""
    found = []
    for row in world.ifs.charges():
        [price] = {Decimal(str(row[name])) for name in PRICES}
        found.append((Decimal(str(row["ChargeCost"])), price))
    return found


def correct(world: World, amount: str) -> None:
    costs.correct(Shipment.objects.get(state="active"), Decimal(amount), actor="user:ann", reason="the bill")
    world.work()


@pytest.mark.parametrize(
    ("mode", "price"),
    [
        ({}, "0"),
        ({"amount_mode": "zero", "amount_percent": 15}, "0"),
        ({"amount_mode": "cost"}, "10.35"),
        ({"amount_mode": "cost_plus_percent", "amount_percent": 15}, "11.90"),  # 11.9025
        ({"amount_mode": "cost_plus_percent", "amount_percent": "10"}, "11.39"),  # 11.385: half a cent goes up
        ({"amount_mode": "cost_plus_percent", "amount_percent": 0}, "10.35"),
    ],
)
def test_a_correction_prices_as_the_charge_began(world: World, mode: dict[str, Any], price: str) -> None:
    on(world)
    pays(world, **mode)
    world.ready()
    world.sync()
    assert world.states() == {"done": 1}
    pays(world, amount_mode="cost_plus_percent", amount_percent=77)
    correct(world, "10.35")
    assert stands(world) == [(Decimal("10.35"), Decimal(price))] and posts(world) == 1
    void(world)
    assert stands(world) == [(0, 0)] and FreightCharge.objects.get().state == "taken_back"
    shipments.buy_again(Shipment.objects.get().record, actor="ann", reason="once more")
    world.work()
    correct(world, "10.35")
    assert stands(world) == [(Decimal("10.35"), Decimal(price))] and posts(world) == 1, "the same charge, in its own mode"


def test_each_order_pays_for_its_own_share(world: World) -> None:
    on(world)
    pays(world, amount_mode="cost_plus_percent", amount_percent=12.5)
    several(world, [1.0, 1.0, 1.0])
    world.sync()
    found = stands(world)
    assert sum(cost for cost, _ in found) == Shipment.objects.get().cost and len(found) == 3
    wanted = [(cost * Decimal("1.125")).quantize(Decimal("0.01"), ROUND_HALF_UP) for cost, _ in found]
    assert [price for _, price in found] == wanted


def test_a_lost_answer_posts_no_second_price(world: World, settings: object) -> None:
    small(settings)
    on(world)
    pays(world, amount_mode="cost")
    world.ready()
    world.ifs.fault("lost_answer", r"POST .*ChargeArray", times=1)
    world.sync()
    due_now(world)
    world.work(2)
    cost = Shipment.objects.get().cost
    assert stands(world) == [(cost, cost)] and posts(world) == 1


def test_a_price_that_somebody_changed_in_ifs_is_left_to_a_person(world: World) -> None:
    on(world)
    pays(world, amount_mode="cost")
    [number] = world.ready()
    world.sync()
    rated = Shipment.objects.get().cost
    world.ifs.edit("standard", "CustomerOrderChargeSet", {"OrderNo": f"C{number}", "SequenceNo": 1}, dict.fromkeys(PRICES, 5))
    correct(world, "50.00")
    assert stands(world) == [(rated, 5)] and Transfer.objects.get(flow="cost").attention == "cost_left"
    assert "what the customer pays" in FreightCharge.objects.get().note


def test_no_price_is_taken_from_a_cost_in_another_currency(world: World) -> None:
    on(world, freight_charge_currency="EUR")
    world.configure(lambda doc: doc["integrations"][0]["value_maps"].update(exchange_rate={"USD-EUR": "0.5"}))
    pays(world, amount_mode="cost")
    world.ready()
    world.sync()
    [stopped] = Transfer.objects.all()
    assert (stopped.state, stopped.code) == ("failed", "charge_price_currency") and posts(world) == 0
    pays(world, amount_mode="zero")
    transfers.replay(stopped, actor="ann")
    world.work()
    assert world.states() == {"done": 1} and posts(world) == 1 and world.labels() == 1

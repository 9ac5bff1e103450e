"""Freight cost tied to the lines of customer orders (IF-5, sheet 9.3): off by default, by weight, to the cent, each line once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from connector.models import EffectSend, FreightCharge, Shipment, Transfer
from connector.services import costs, transfers
from tests.flows.support import due_now, options, settle, small
from tests.flows.test_freight import POST, on, posts, void
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def of_lines(world: World, weights: list[list[float | None]]) -> int:
    """A shipment that delivers for an order each, with so many lines of these weights."""
    [number] = world.ready(lines=sum(len(some) for some in weights))
    place = 0
    for nth, some in enumerate(weights, 1):
        order = f"M{number}{nth}"
        head = {
            "OrderNo": order,
            "Objstate": "Picked",
            "ShipAddrNo": "01",
            "CurrencyCode": "USD",
            "Contract": "S1",
            "Company": "10",
        }
        world.ifs.add_rows("standard", "CustomerOrderSet", [head])
        for line, weight in enumerate(some, 1):
            place += 1
            key = {"OrderNo": order, "LineNo": str(line), "RelNo": "1", "LineItemNo": 0}
            made = {"BuyQtyDue": 1, "ConvFactor": 1, "InvertedConvFactor": 1, "SaleUnitPrice": 10}
            made |= {"AdjustedWeightGross": weight, "AdjustedWeightNet": weight}
            world.ifs.add_rows("standard", "CustomerOrderLineSet", [{**key, **made}])
            ref = {"SourceRef1": order, "SourceRef2": str(line), "SourceRef3": "1", "SourceRef4": "0", "InventoryQty": 1}
            world.ifs.edit("standard", "ShipmentLineSet", {"ShipmentId": number, "ShipmentLineNo": place}, ref)
    return number


def borne(world: World) -> dict[tuple[str, str, str, int], Decimal]:
    """What each line bears; a line with two charges fails the test."""
    found: dict[tuple[str, str, str, int], Decimal] = {}
    for row in world.ifs.charges():
        key = (row["OrderNo"], row["LineNo"], row["RelNo"], row["LineItemNo"])
        assert key not in found
        found[key] = Decimal(str(row["ChargeCost"]))
    return found


def test_off_the_order_bears_it_as_a_whole(world: World) -> None:
    on(world)
    of_lines(world, [[1.0, 3.0]])
    world.sync()
    [charge] = world.ifs.charges()
    assert charge.get("LineNo") is None and FreightCharge.objects.get().line == ""


def test_each_line_bears_its_weight_to_the_cent(world: World) -> None:
    on(world, freight_charge_lines=True)
    number = of_lines(world, [[1.0, 1.0, 1.0], [3.0]])
    world.sync()
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    found, cost = borne(world), Shipment.objects.get().cost or Decimal(0)
    assert sum(found.values()) == cost and len(found) == 4
    heavy = found[f"M{number}2", "1", "1", 0]
    assert abs(heavy - cost / 2) <= Decimal("0.01") and max(found.values()) == heavy
    rows = {row.key: row for row in FreightCharge.objects.all()}
    assert set(rows) == {f"M{number}1/{line}/1/0" for line in (1, 2, 3)} | {f"M{number}2/1/1/0"}
    assert {row.state for row in rows.values()} == {"posted"}
    assert world.ifs.counts["GET CustomerOrderHandling.svc/CustomerOrderLineSet"] == 1


def test_a_correction_and_a_void_reach_every_line(world: World) -> None:
    on(world, freight_charge_lines=True)
    of_lines(world, [[1.0, 2.0, 4.0]])
    world.sync()
    costs.correct(Shipment.objects.get(), Decimal("70.03"), actor="ann", reason="the bill")
    world.work()
    assert sorted(borne(world).values()) == [Decimal("10.00"), Decimal("20.01"), Decimal("40.02")] and posts(world) == 3
    void(world, "rebuy")
    world.work()
    assert sum(borne(world).values()) == Shipment.objects.get(state="active").cost and posts(world) == 3


def test_lost_answers_are_told_apart_by_their_lines(world: World, settings: Any) -> None:
    """Lines of equal weight bear equal costs: without a mark only the line tells one charge from the other."""
    small(settings)
    on(world, freight_charge_lines=True)
    of_lines(world, [[1.0, 1.0]])
    lost = world.ifs.fault("lost_answer", POST, times=2)
    world.sync(wait_s=3)
    settle(world, wait_s=1)
    for _ in range(3):
        due_now(world)
    assert lost.used == 2 and posts(world) == 2 and world.states() == {"done": 1}
    assert len(borne(world)) == 2 and EffectSend.objects.filter(effect__kind="charge", outcome="done").count() == 2


def test_a_line_without_a_weight_waits_for_a_person(world: World) -> None:
    on(world, freight_charge_lines=True)
    number = of_lines(world, [[1.0, None]])
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == (
        "failed",
        "charge_share_unknown",
    ) and f"2/1/0 of order M{number}1" in transfer.message
    options(world, freight_charge_lines=False)
    transfers.replay(transfer, actor="ann")
    world.work()
    assert world.states() == {"done": 1} and posts(world) == 1


def test_a_customer_order_that_ships_by_itself_bears_it_on_its_lines(world: World) -> None:
    options(world, documents=["customer_order"], freight_charge=True, freight_charge_lines=True)
    [number] = world.ifs.make_orders(lines=2)
    world.sync()
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    found = borne(world)
    assert set(found) == {(number, line, "1", 0) for line in ("1", "2")}
    assert sum(found.values()) == Shipment.objects.get().cost


def test_a_replay_writes_what_was_planned_and_reads_its_orders_alone(world: World) -> None:
    options(world, documents=["customer_order"], freight_charge=True, freight_charge_lines=True, freight_charge_type="NOSUCH")
    [number] = world.ifs.make_orders(lines=2)
    world.sync()
    assert Transfer.objects.get().code == "refused" and world.ifs.charges() == []
    planned = dict(FreightCharge.objects.values_list("line", "amount"))
    world.ifs.set_options("standard", charge_types={"NOSUCH": "6499"})
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    assert borne(world) == {(number, line[0], "1", 0): amount for line, amount in planned.items()}

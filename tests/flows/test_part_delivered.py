"""A delivery of an order of which some left before we saw it: nobody ships the rest by itself, and the operator is told once."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, Shipment, Transfer
from connector.services import transfers
from tests.flows.support import creates, small
from tests.flows.test_customer_orders import as_orders, edit_line, edit_order, of
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
DELIVERED = {"Objstate": "Delivered", "QtyShipped": 1}


@pytest.fixture
def part(world: World, settings: Any) -> str:
    """An order of one delivery with two lines, the first of which left before our first look."""
    small(settings)
    as_orders(world, "standard")
    [number] = world.ifs.make_orders("standard", lines=2)
    edit_line(world, number, **DELIVERED)
    edit_order(world, number, Objstate="PartiallyDelivered")
    found: str = number
    return found


def test_the_operator_is_told_once_and_nothing_ships(world: World, part: str) -> None:
    for _ in range(3):
        world.sync()
        world.poll(sweep=True)
        world.work()
    [told] = Transfer.objects.all()
    assert (told.state, told.code, creates(world)) == ("failed", "part_delivered", 0)
    assert "delivered without us" in told.message and "Split" in told.remedy and "by hand" in told.remedy
    assert AuditEntry.objects.filter(act="failed").count() == 1, "once, not at every poll"
    transfers.replay(told, actor="ann")
    world.work()
    assert of(world, f"{part}/1").code == "part_delivered" and creates(world) == 0


def test_what_is_split_off_ships_by_itself(world: World, settings: Any) -> None:
    small(settings)
    as_orders(world, "standard")
    [number] = world.ifs.make_orders("standard", lines=2, releases=2)
    for place in ("1", "2"):
        edit_line(world, number, "2", place, Objstate="Planned")
    edit_line(world, number, **DELIVERED)
    edit_order(world, number, Objstate="PartiallyDelivered")
    world.sync()
    assert of(world, f"{number}/1").code == "part_delivered" and creates(world) == 0
    # Now what is left is a delivery of its own.
    edit_line(world, number, "1", "2", Objstate="Cancelled")
    for place in ("1", "2"):
        edit_line(world, number, "2", place, Objstate="Released")
    world.sync()
    assert (of(world, f"{number}/2").state, creates(world)) == ("done", 1)
    transfers.cancel(of(world, f"{number}/1"), actor="ann", reason="the rest is a delivery of its own")
    world.sync()
    assert (of(world, f"{number}/1").code, creates(world), Transfer.objects.count()) == ("cancelled_by_person", 1, 2)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"Objstate": "PartiallyDelivered", "QtyShipped": 1}, "part_delivered"),  # some pieces of the other line, too
        ({"Objstate": "Planned"}, None),  # not to be shipped yet
        ({"Objstate": "Cancelled"}, None),
        ({"ShipmentConnectedDb": True}, None),  # goes by a shipment
        (DELIVERED, None),
    ],
)
def test_what_needs_nobody_is_not_told(world: World, part: str, line: dict[str, Any], code: str | None) -> None:
    edit_line(world, part, place="2", **line)
    world.sync()
    assert [t.code for t in Transfer.objects.all()] == ([code] if code else []) and creates(world) == 0


def test_another_carriers_order_is_not_ours_to_tell_of(world: World, part: str) -> None:
    edit_order(world, part, ForwardAgentId="UPS")
    world.sync()
    assert (Transfer.objects.get().state, Transfer.objects.get().code) == ("skipped", "other_carrier")


def test_an_order_that_we_shipped_is_delivered_line_by_line_without_a_word(world: World, settings: Any) -> None:
    small(settings)
    as_orders(world, "standard")
    [number] = world.ifs.make_orders("standard", lines=2)
    world.sync()
    edit_line(world, number, **DELIVERED)
    edit_order(world, number, Objstate="PartiallyDelivered")
    world.sync()
    world.poll(sweep=True)
    world.work()
    [done] = Transfer.objects.all()
    assert (done.state, done.attention, creates(world)) == ("done", None, 1) and Shipment.objects.count() == 1

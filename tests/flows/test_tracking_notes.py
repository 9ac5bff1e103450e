"""A purchase order's number in its NoteText, on a tenant without a field for it (sheet 9.6); what others wrote there stays."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import Shipment
from connector.services import shipments, written
from connector.services.pinging import ping
from integrations.ifs_cloud import notes
from tests.flows.support import change, creates, masters, settle, small
from tests.flows.test_purchase_orders import edit_order, header, inbound, make
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
OURS = "Tracking no. {}"


@pytest.fixture
def noted(world: World, settings: Any) -> World:
    """Purchase orders of a tenant that has no Cf_Tracking_No."""
    small(settings)
    inbound(world, "standard")
    change(world, "ifs", purchase_order={"tracking_note_field": "NoteText"})
    return world


def void(world: World, then: str = "clear") -> None:
    shipments.void_request(Shipment.objects.get(state="active"), then=then, actor="ann", reason="wrong box")
    world.work()


def test_off_by_default_no_text_is_touched(world: World, settings: Any) -> None:
    small(settings)
    inbound(world, "standard")
    [number] = make(world)
    world.sync()
    assert world.states() == {"done": 1} and not header(world, number).get("NoteText")


def test_the_number_is_added_and_a_void_takes_only_our_line(noted: World) -> None:
    [number] = make(noted, NoteText="call the gate\r\nask for Jim")
    noted.sync()
    [master] = masters(noted)
    assert header(noted, number)["NoteText"] == "call the gate\r\nask for Jim\n" + OURS.format(master)
    assert not written.without_number([Shipment.objects.get().record_id])
    edit_order(noted, number, NoteText=header(noted, number)["NoteText"] + "\nthanks")
    void(noted, then="rebuy")
    settle(noted)
    new = Shipment.objects.get(state="active").master_tracking_number
    assert new != master
    assert header(noted, number)["NoteText"] == "call the gate\r\nask for Jim\nthanks\n" + OURS.format(new)
    void(noted)
    assert header(noted, number)["NoteText"] == "call the gate\r\nask for Jim\nthanks" and creates(noted) == 2


def test_a_text_of_ours_alone_is_emptied(noted: World) -> None:
    [number] = make(noted)
    noted.sync()
    assert header(noted, number)["NoteText"] == OURS.format(*masters(noted))
    void(noted)
    assert not header(noted, number)["NoteText"]


def test_a_lost_answer_adds_no_second_line(noted: World) -> None:
    [number] = make(noted)
    noted.ifs.fault("lost_answer", "PATCH .*PurchaseOrderSet", times=1)
    noted.sync()
    settle(noted)
    assert noted.states() == {"done": 1} and header(noted, number)["NoteText"] == OURS.format(*masters(noted))


def test_deliveries_of_one_order_stand_below_each_other(noted: World) -> None:
    [number] = make(noted, releases=2)
    noted.sync()
    assert sorted(header(noted, number)["NoteText"].split("\n")) == sorted(OURS.format(n) for n in masters(noted))


def test_a_full_text_is_left_and_told(noted: World) -> None:
    [number] = make(noted, NoteText="x" * 1990)
    noted.sync()
    assert noted.states() == {"done": 1} and header(noted, number)["NoteText"] == "x" * 1990
    assert "no room" in written.left_out(Shipment.objects.get())
    assert written.without_number([Shipment.objects.get().record_id])


def test_a_tenant_with_the_field_uses_the_field(world: World, settings: Any) -> None:
    small(settings)
    inbound(world, "custom")
    world.configure(lambda doc: doc["connections"][0]["settings"]["purchase_order"].update(tracking_note_field="NoteText"))
    [number] = make(world)
    world.sync()
    assert header(world, number)["Cf_Tracking_No"] == masters(world)[0] and not header(world, number).get("NoteText")


def test_the_ping_does_not_miss_the_field(noted: World) -> None:
    make(noted)
    states = {layer.layer: layer.state for layer in ping(noted.integration.source).layers}
    assert states["purchase orders: profile"] != "failed"


@pytest.mark.parametrize(
    ("text", "number", "made"),
    [
        ("", "123", "Tracking no. 123"),
        ("see 123.", "123", "see 123."),  # it stands there already, in somebody's own words
        ("see 1234", "123", "see 1234\nTracking no. 123"),
        ("x" * 2000, "123", None),
    ],
)
def test_it_is_added_once(text: str, number: str, made: str | None) -> None:
    assert notes.added(text, number) == made


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Tracking no. 1", ""),
        ("a\nTracking no. 1", "a"),
        ("a\r\nTracking no. 1\r\nb", "a\r\nb"),
        ("Tracking no. 1\nb", "b"),
        ("a\n\nTracking no. 1", "a\n"),
        ("old: Tracking no. 1", "old: Tracking no. 1"),
        ("Tracking no. 12\nTracking no. 2", "Tracking no. 12"),
        ("a\n", "a\n"),
    ],
)
def test_only_our_own_lines_go(text: str, left: str) -> None:
    assert notes.without(text, {"1", "2"}) == left

"""News that the ERP does not take: a closed shipment ends calmly; and a delivery that was none after all is taken back there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.models import Shipment, Step, Transfer
from connector.services import audit, tracking, transfers, webhooks
from integrations.base.records import StatusWrite
from integrations.ifs_cloud.profile import profile_of
from integrations.ifs_cloud.writing import StatusDecision
from tests.flows.parcels import answer, follow, note, post, set_out, shipment
from tests.flows.support import change, later, options
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
DELIVERED_AT = "ActualShipDate"
"""Any field for instants: the standard tenant has none of its own for it."""


@pytest.fixture
def one(world: World, settings: Any) -> tuple[World, str, int]:
    """A parcel under way: its number, and its shipment's in IFS."""
    set_out(world, settings, 1)
    options(world, track_statuses=["picked_up", "delivered", "returning"])
    [(key, number)] = world.numbers().items()
    world.fedex.scan(number, "PU")
    follow(world)
    assert note(world, key) == "picked_up"
    return world, number, key


def close(world: World, key: int, state: str = "Closed") -> None:
    world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": key}, {"Objstate": state})


def scan(world: World, number: str, event: str) -> None:
    """As FedEx tells it by itself: what is delivered is asked for no more."""
    later(world, 3600)
    world.fedex.scan(number, event)
    assert post(json.dumps(answer(world, number)).encode()) == 200
    webhooks.take_in()
    world.work()


def test_news_of_a_closed_shipment_end_calmly_and_once(one: tuple[World, str, int]) -> None:
    world, number, key = one
    close(world, key)
    scan(world, number, "DL")
    told = Transfer.objects.filter(flow="track").latest("pk")
    assert (told.state, told.code, told.attention) == ("skipped", "erp_closed", None)
    assert "closed" in told.message and "Closed" in Step.objects.filter(transfer=told).latest("pk").note
    assert note(world, key) == "picked_up" and shipment(number).status == "delivered"
    # The same again, however often it is told or asked for, opens nothing and calls nobody.
    before, calls = Transfer.objects.count(), world.calls("PATCH")
    for _ in range(3):
        later(world, 3600)
        follow(world)
    assert tracking.open_write_back(shipment(number), tracking.status_targets(world.integration, "shipment")) is None
    assert (Transfer.objects.count(), world.calls("PATCH")) == (before, calls)
    # Something else is news again, and refused once more.
    scan(world, number, "RS")
    assert Transfer.objects.count() == before + 1
    assert Transfer.objects.filter(flow="track", state="skipped").count() == 2
    assert not Transfer.objects.filter(state="failed").exists() and list(audit.verify()) == []


def test_opened_again_a_replay_writes_what_was_refused(one: tuple[World, str, int]) -> None:
    world, number, key = one
    close(world, key)
    scan(world, number, "DL")
    close(world, key, "Completed")
    transfers.replay(Transfer.objects.filter(flow="track").latest("pk"), actor="ann")
    world.work()
    assert note(world, key) == "delivered" and Shipment.objects.get().picture_refused is None
    assert Transfer.objects.filter(flow="track").latest("pk").state == "done"


def test_another_refusal_still_asks_a_person(one: tuple[World, str, int]) -> None:
    world, number, _ = one
    body = '{"error":{"code":"DATABASE_ERROR","message":"ORA-20110: Shipment.NOTE: too long"}}'
    world.ifs.fault("status", "PATCH .*ShipmentSet", times=1, status=400, body=body)
    scan(world, number, "DL")
    assert Transfer.objects.filter(flow="track").latest("pk").state == "failed"


def test_a_delivery_that_was_none_is_emptied_in_the_erp(one: tuple[World, str, int]) -> None:
    world, number, key = one
    change(world, "ifs", shipment={"status_field": "NoteText", "delivered_field": DELIVERED_AT})
    scan(world, number, "DL")
    assert world.ifs.shipment("standard", key)[DELIVERED_AT]
    scan(world, number, "RS")
    row = world.ifs.shipment("standard", key)
    assert row[DELIVERED_AT] is None and row["NoteText"] == shipment(number).status != "delivered"
    patches = world.calls("PATCH")
    follow(world)
    assert world.calls("PATCH") == patches, "once"


def test_a_time_that_somebody_else_entered_stays(one: tuple[World, str, int]) -> None:
    world, number, key = one
    change(world, "ifs", shipment={"status_field": "NoteText", "delivered_field": DELIVERED_AT})
    scan(world, number, "DL")
    theirs = "2026-01-02T03:04:05Z"
    world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": key}, {DELIVERED_AT: theirs})
    scan(world, number, "RS")
    assert world.ifs.shipment("standard", key)[DELIVERED_AT] == theirs
    assert Transfer.objects.filter(flow="track").latest("pk").state == "done"


@pytest.mark.parametrize(
    ("stands", "body"),
    [
        ("2026-11-20T22:30:00Z", {"Cf_At": None}),
        ("2026-11-20", {"Cf_At": None}),  # a field of days holds the day of the place
        ("2026-11-21", {}),
        ("2026-11-20T22:31:00Z", {}),
        ("", {}),
    ],
)
def test_only_what_we_told_is_emptied(stands: str, body: dict[str, Any]) -> None:
    shipment = profile_of({"realm": "r", "shipment": {"delivered_field": "Cf_At"}}).shipment
    decide = StatusDecision(StatusWrite(taken_back={"delivered_at": "2026-11-20T16:30:00-06:00"}), shipment)
    assert decide({"Cf_At": stands}) == body
    assert decide.skipped == (("Cf_At",) if stands and not body else ())

"""Shuffled, doubled, late, poisoned: the same end state and the same single write-back as in order."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from django_q.models import OrmQ

from connector.models import Package, Shipment, Step, TrackingEvent, Transfer, WebhookDelivery
from connector.services import clock, tracking, webhooks
from integrations.fedex.tracking import read_push
from tests.flows.parcels import TRACK, answer, follow, note, post, shipment
from tests.flows.support import later, masters
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = 10


def pushes_of(world: World, number: str) -> list[bytes]:
    """A parcel's way, push by push: a failed delivery, estimates that change, a name that comes with a second push."""
    made = []
    for day, event in enumerate(("PU", "DP", "OD", "DE", "OD", "DL"), start=4):
        later(world, 3600)
        world.fedex.scan(number, event)
        told = answer(world, number)
        result = told["output"]["completeTrackResults"][0]["trackResults"][0]
        result["dateAndTimes"] = [t for t in result["dateAndTimes"] if t["type"] != "ESTIMATED_DELIVERY"]
        if event != "DL":
            result["dateAndTimes"].append({"type": "ESTIMATED_DELIVERY", "dateTime": f"2026-12-{day:02d}T17:00:00-06:00"})
        result["scanEvents"] = result["scanEvents"][: 2 if day % 2 else None]  # some carry the history, some the news
        made.append(json.dumps(told).encode())
    again = copy.deepcopy(told)  # the proof of delivery comes as a push of its own, with the name (sheet 16)
    again["output"]["completeTrackResults"][0]["trackResults"][0]["deliveryDetails"]["signedByName"] = "J. DOE"
    return [*made, json.dumps(again).encode()]


def end_state(one: Shipment) -> dict[str, Any]:
    """All that the carrier's news decide."""
    one.refresh_from_db()
    facts = ("status", "status_at", "delivered_at", "signed_by", "estimated_delivery")
    events = TrackingEvent.objects.filter(package__shipment=one).order_by("occurred_at", "event_key")
    return {
        **{name: getattr(one, name) for name in facts},
        "packages": list(Package.objects.filter(shipment=one).values_list("status", "status_at", "told")),
        "events": list(events.values_list("occurred_at", "code", "status")),
        "picture": tracking.picture(one, ("delivered", "in_transit")),
    }


def forget(one: Shipment) -> None:
    """As before the first push; and nobody remembers having written the same."""
    Step.objects.filter(transfer__flow="track").delete()
    TrackingEvent.objects.all().delete()
    WebhookDelivery.objects.all().delete()
    Package.objects.update(status="", status_at=None, told={})
    Shipment.objects.filter(pk=one.pk).update(
        status="label_created", status_at=None, delivered_at=None, signed_by="", estimated_delivery=None, picture_written=None
    )


def test_any_order_with_duplicates_ends_the_same_and_is_written_once(under_way: World) -> None:
    number = masters(under_way)[0]
    [document] = [k for k, v in under_way.numbers().items() if v == number]
    pushes = pushes_of(under_way, number)
    one = shipment(number)
    chance = random.Random(11)
    orders = [pushes, pushes[::-1], *([*pushes, *pushes[::3]] for _ in range(ORDERS))]
    for order in orders[2:]:
        chance.shuffle(order)
    ends = []
    for order in orders:
        forget(one)
        under_way.ifs.edit("standard", "ShipmentSet", {"ShipmentId": document}, {"NoteText": "", "PlannedDeliveryDate": None})
        for raw in order:
            assert post(raw) == 200
        webhooks.take_in()
        before = under_way.calls("PATCH")
        assert Transfer.objects.filter(flow="track", state="waiting").count() == 1
        under_way.work()
        assert under_way.calls("PATCH") == before + 1, "one write-back for all of it"
        row = under_way.ifs.shipment("standard", document)
        ends.append(end_state(one) | {"erp": (row["NoteText"], row["PlannedDeliveryDate"])})
    assert all(end == ends[0] for end in ends), ends
    assert ends[0]["status"] == "delivered" and ends[0]["signed_by"] == "J. DOE"
    assert ends[0]["estimated_delivery"].isoformat() == "2026-12-08"
    assert Transfer.objects.filter(flow="track", state="done").count() == len(orders)


def test_news_that_come_while_a_write_back_runs_are_written_too(under_way: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The news find a running transfer and open none; it has its picture already."""
    number = masters(under_way)[0]
    [document] = [k for k, v in under_way.numbers().items() if v == number]
    under_way.fedex.scan(number, "PU")
    assert post(json.dumps(answer(under_way, number)).encode()) == 200
    webhooks.take_in()
    picture = tracking.picture

    def overtaken(one: Shipment, wanted: Any) -> Any:
        made = picture(one, wanted)
        if Transfer.objects.filter(flow="track", state="running").exists():
            monkeypatch.setattr(tracking, "picture", picture)
            later(under_way, 60)
            under_way.fedex.scan(number, "OD")
            tracking.merge(under_way.integration.target_id, read_push(json.dumps(answer(under_way, number)).encode()))
        return made

    monkeypatch.setattr(tracking, "picture", overtaken)
    under_way.work()
    assert shipment(number).status == "out_for_delivery"
    assert note(under_way, document) == "out_for_delivery"


def test_a_status_that_nobody_wants_opens_no_write_back(under_way: World) -> None:
    under_way.configure(
        lambda doc: doc["integrations"][0].setdefault("options", {}).update(track_statuses=["in_transit", "delivered"])
    )
    number = masters(under_way)[0]
    [document] = [k for k, v in under_way.numbers().items() if v == number]
    under_way.fedex.scan(number, "DP")
    follow(under_way)
    assert note(under_way, document) == "in_transit"
    transfers = Transfer.objects.filter(flow="track").count()
    for event in ("DE", "OD"):
        later(under_way, 3600)
        under_way.fedex.scan(number, event)
        follow(under_way)
    assert shipment(number).status == "out_for_delivery" and note(under_way, document) == "in_transit"
    assert Transfer.objects.filter(flow="track").count() == transfers
    under_way.fedex.scan(number, "DL")
    follow(under_way)
    assert note(under_way, document) == "delivered"


def test_one_parcel_that_we_fail_on_stands_alone(under_way: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = masters(under_way)
    poisoned = shipment(second).pk
    recompute = tracking._recompute

    def fails(one: Shipment, *args: Any, **more: Any) -> None:
        if one.pk == poisoned:
            raise ValueError("as a bug would")
        recompute(one, *args, **more)

    monkeypatch.setattr(tracking, "_recompute", fails)
    for number in (first, second, third):
        under_way.fedex.scan(number, "OD")
    told = answer(under_way, first)
    told["output"]["completeTrackResults"] += answer(under_way, second)["output"]["completeTrackResults"]
    assert post(json.dumps(told).encode()) == 200
    for _ in range(webhooks.TRIES + 1):
        webhooks.take_in()
    assert shipment(first).status == "out_for_delivery" and shipment(second).status == "label_created"
    kept = WebhookDelivery.objects.get()
    assert kept.state == "failed" and kept.attempts == webhooks.TRIES and kept.result["failed"] == 1
    follow(under_way)
    assert shipment(third).status == "out_for_delivery"
    assert not tracking.due(under_way.integration).filter(pk=poisoned).exists(), "not at the head of every round"


def test_an_unreadable_body_among_many_stands_alone(under_way: World) -> None:
    first, *_ = masters(under_way)
    under_way.fedex.scan(first, "OD")
    for raw in (b"\xff", b"[]", json.dumps(answer(under_way, first)).encode(), b"{}"):
        assert post(raw) == 200
    assert webhooks.take_in() == 4
    assert shipment(first).status == "out_for_delivery"
    assert sorted(WebhookDelivery.objects.values_list("state", flat=True)) == ["done", "done", "failed", "failed"]


def test_one_number_that_fedex_refuses_does_not_stop_the_others(under_way: World) -> None:
    """A request is refused as a whole for one number of a wrong form (sheet 11.4)."""
    first, second, third = masters(under_way)
    for number in (first, third):
        under_way.fedex.scan(number, "OD")
    Package.objects.filter(tracking_number=second).update(tracking_number="no number")
    told = follow(under_way)
    assert told.error is None and told.refused == 1
    assert {shipment(n).status for n in (first, third)} == {"out_for_delivery"}


def test_a_calendar_behind_ours_is_asked_until_its_own_day(under_way: World) -> None:
    """Ours is UTC; in an American evening our day has begun and FedEx's has not."""
    first, *_ = masters(under_way)
    under_way.fedex.scan(first, "PU")
    under_way.fedex.clock_offset_s -= 86400
    before = under_way.fedex.counts[TRACK]
    assert follow(under_way).error is None
    assert under_way.fedex.counts[TRACK] - before == 2
    assert shipment(first).last_asked_at


def test_many_write_backs_are_few_wake_ups(under_way: World, settings: Any) -> None:
    settings.WORKER_PROCESSES = 2
    for number in masters(under_way):
        under_way.fedex.scan(number, "OD")
        assert post(json.dumps(answer(under_way, number)).encode()) == 200
    OrmQ.objects.all().delete()
    webhooks.take_in()
    assert Transfer.objects.filter(flow="track", state="waiting").count() == 3 and OrmQ.objects.count() == 2
    for number in masters(under_way):
        under_way.fedex.scan(number, "DL")
    OrmQ.objects.all().delete()
    Shipment.objects.update(next_track_at=clock.at(-1))
    tracking.track(under_way.integration)
    assert OrmQ.objects.count() == 2


def test_a_scan_of_next_year_counts_when_its_time_has_come(under_way: World) -> None:
    number = masters(under_way)[0]
    under_way.fedex.scan(number, "OD")
    told = answer(under_way, number)
    events = told["output"]["completeTrackResults"][0]["trackResults"][0]["scanEvents"]
    events.insert(0, events[0] | {"date": "2099-01-01T00:00:00-06:00", "eventType": "DP", "derivedStatusCode": "IT"})
    assert post(json.dumps(told).encode()) == 200
    webhooks.take_in()
    assert shipment(number).status == "out_for_delivery"

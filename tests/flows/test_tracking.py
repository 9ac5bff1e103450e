"""From label to delivery: polls and pushes, in any order, twice, late; and what of it reaches the ERP."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import html
import json
import random
import re
from typing import Any

import pytest
from django.db import connection as database
from django.test import Client
from django.urls import reverse

from connector.models import Exchange, Package, Shipment, TrackingEvent, Transfer, WebhookDelivery
from connector.services import audit, clock, shipments, tracking, transfers, vendors, webhooks
from integrations.base.errors import ConfigurationError
from tests.connector.admin_support import client_of, owner
from tests.flows.parcels import DAY, TOKEN, TRACK, answer, follow, note, post, shipment
from tests.flows.support import change, later, masters, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


# -- polling -----------------------------------------------------------------------------------------


def test_a_parcel_is_followed_from_label_to_delivery(under_way: World) -> None:
    first, *_ = masters(under_way)
    [one] = [k for k, v in under_way.numbers().items() if v == first]
    for event, status in (("PU", "picked_up"), ("DP", "in_transit"), ("OD", "out_for_delivery"), ("DL", "delivered")):
        later(under_way, 3600)
        under_way.fedex.scan(first, event, **({"received_by": "J. DOE"} if event == "DL" else {}))
        assert follow(under_way).news >= 1
        assert shipment(first).status == status and note(under_way, one) == status
    done = shipment(first)
    assert done.signed_by == "J. DOE" and done.delivered_at and done.next_track_at is None
    assert under_way.ifs.shipment("standard", one)["PlannedDeliveryDate"]
    assert list(audit.verify()) == []


def test_a_hundred_numbers_cost_four_calls_and_nothing_new_costs_no_row(under_way: World, settings: Any) -> None:
    under_way.ready(97)
    under_way.sync()
    before = under_way.fedex.counts[TRACK]
    told = follow(under_way)
    assert told.asked == 100 and under_way.fedex.counts[TRACK] - before == 4
    rows = TrackingEvent.objects.count()
    follow(under_way)
    assert TrackingEvent.objects.count() == rows
    assert under_way.calls("PATCH") == 100 + 100, "one number and one first picture each, nothing for nothing new"


def test_turns_depend_on_state_and_silence_and_end(under_way: World) -> None:
    hour = 3600.0
    assert tracking.next_ask_s("out_for_delivery", 0) == hour
    assert tracking.next_ask_s("in_transit", 0) == 3 * hour
    assert tracking.next_ask_s("in_transit", 100 * hour) == 10 * hour
    assert tracking.next_ask_s("in_transit", 20 * DAY) == 12 * hour
    assert tracking.next_ask_s("in_transit", 31 * DAY) is None
    assert tracking.next_ask_s("delivered", 0) is None
    assert not tracking.due(under_way.integration).exists(), "an hour after the label at the earliest"
    later(under_way, 3700)
    assert tracking.due(under_way.integration).count() == 3


def test_a_parcel_that_comes_back_was_never_delivered_to_the_customer(under_way: World) -> None:
    first, *_ = masters(under_way)
    for event in ("PU", "DE", "RS", "DL"):
        later(under_way, 3600)
        under_way.fedex.scan(first, event, at_shipper=True)
    follow(under_way)
    assert shipment(first).status == "returned" and shipment(first).delivered_at is None


def test_a_voided_shipment_is_followed_no_more(under_way: World) -> None:
    first, *_ = masters(under_way)
    shipments.void_request(shipment(first), then="clear", actor="ann", reason="wrong")
    under_way.work()
    assert follow(under_way).asked == 2


def test_an_erp_without_fields_for_it_gets_no_transfers(world: World, settings: Any) -> None:
    small(settings)
    world.ready(1)
    world.sync()
    world.fedex.scan(masters(world)[0], "PU")
    assert follow(world).news == 1
    assert shipment(masters(world)[0]).status == "picked_up"
    assert not Transfer.objects.filter(flow="track").exists() and world.calls("PATCH") == 1


def test_only_wanted_statuses_reach_the_erp(under_way: World) -> None:
    under_way.configure(lambda doc: doc["integrations"][0].setdefault("options", {}).update(track_statuses=["delivered"]))
    first, *_ = masters(under_way)
    [one] = [k for k, v in under_way.numbers().items() if v == first]
    before = note(under_way, one)
    under_way.fedex.scan(first, "PU")
    follow(under_way)
    assert note(under_way, one) == before
    under_way.fedex.scan(first, "DL")
    follow(under_way)
    assert note(under_way, one) == "delivered"


# -- pushes ------------------------------------------------------------------------------------------


def history(world: World, number: str) -> list[bytes]:
    """The pushes of a parcel's whole way, one after each scan."""
    pushes = []
    for event in ("PU", "DP", "AR", "OD", "DE", "OD", "DL"):
        later(world, 3600)
        world.fedex.scan(number, event)
        pushes.append(json.dumps(answer(world, number)).encode())
    return pushes


def test_shuffled_doubled_and_late_pushes_end_as_pushes_in_order(under_way: World) -> None:
    first, second, _ = masters(under_way)
    for number, seed in ((first, None), (second, 7)):
        pushes = history(under_way, number)
        if seed is not None:
            pushes = [*pushes, *pushes[::2]]
            random.Random(seed).shuffle(pushes)
            later(under_way, 3 * DAY)
        for raw in pushes:
            assert post(raw) == 200
            webhooks.take_in()
    one, two = shipment(first), shipment(second)
    assert (one.status, two.status) == ("delivered", "delivered")
    codes = [
        list(TrackingEvent.objects.filter(package__shipment=s).order_by("occurred_at").values_list("code", flat=True))
        for s in (one, two)
    ]
    assert codes[0] == codes[1] == ["OC", "PU", "DP", "AR", "OD", "DE", "OD", "DL"]
    under_way.work()
    assert {note(under_way, k) for k, v in under_way.numbers().items() if v in (first, second)} == {"delivered"}
    assert list(audit.verify()) == []


def test_forged_unsigned_strange_and_oversized_posts(under_way: World) -> None:
    raw = json.dumps(answer(under_way, masters(under_way)[0])).encode()
    assert post(raw, "Another-secret-of-somebody1") == 401
    assert post(raw, signature="") == 401
    assert post(raw + b" ", signature=hmac.new(TOKEN.encode(), raw, hashlib.sha256).hexdigest()) == 401
    assert post(raw, slug="nobody") == 404
    assert post(raw, slug="acme-ifs") == 404, "IFS posts nothing here"
    assert post(b"x" * (webhooks.MAX_BYTES + 1)) == 413
    assert Client().get("/hooks/acme-fedex/").status_code == 405
    assert WebhookDelivery.objects.count() == 0
    assert post(b"not json") == 200, "signed, so it is kept, and the sender does not come again"
    webhooks.take_in()
    kept = WebhookDelivery.objects.get()
    assert kept.state == "failed" and kept.result == {"error": "unreadable"}, "not claimed to have been taken in"


def test_the_signature_of_the_sheet_in_both_forms_and_during_a_change_of_tokens(under_way: World) -> None:
    body = b'{"a":1}'
    assert post(body, signature="Q/BIhOs0pre0tm/IIGyUtoIxnuKdRPPfmUndZ4GYhB8=") == 200
    assert post(body, signature="43F04884EB34A6B7B4B66FC8206C94B682319EE29D44F3DF9949DD678198841F") == 200
    assert post(b'{"b":2}', f"Old-{TOKEN}") == 200
    assert WebhookDelivery.objects.count() == 2, "the same body is one delivery"


def test_a_post_for_another_tenants_number_changes_nothing(under_way: World) -> None:
    """A secret proves who posts, not whose the parcel is: only packages of that connection are touched."""
    first, *_ = masters(under_way)
    Package.objects.filter(tracking_number=first).update(carrier=under_way.integration.source)
    under_way.fedex.scan(first, "DL")
    assert post(json.dumps(answer(under_way, first)).encode()) == 200
    webhooks.take_in()
    assert shipment(first).status == "label_created"


def test_a_body_that_is_stored_but_was_not_taken_in_is_found_by_the_minutes_look(under_way: World) -> None:
    """The process died right after the answer."""
    first, *_ = masters(under_way)
    under_way.fedex.scan(first, "OD")
    assert post(json.dumps(answer(under_way, first)).encode()) == 200
    assert webhooks.waiting() and shipment(first).status == "label_created"
    assert webhooks.take_in() == 1 and not webhooks.waiting()
    assert webhooks.take_in() == 0
    assert shipment(first).status == "out_for_delivery"


def test_posts_for_a_connection_that_cannot_be_opened_do_not_hold_up_the_others(
    under_way: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for their connection; the queue is not kept spinning for them."""
    monkeypatch.setattr(webhooks, "GROUP", 3)
    shut = under_way.integration.target
    shut.pk, shut.slug = None, "shut"
    shut.save()
    with database.cursor() as cursor:  # as after a restore with another key
        cursor.execute("UPDATE connector_connection SET secrets_text = 'gAAAAAnot-ours' WHERE slug = 'shut'")
    for n in range(4):
        body = b'{"n": %d}' % n
        WebhookDelivery.objects.create(
            tenant=shut.tenant, connection=shut, digest=f"{n:064d}", body=body, received_at=clock.now() - dt.timedelta(hours=1)
        )
    first, *_ = masters(under_way)
    under_way.fedex.scan(first, "OD")
    assert post(json.dumps(answer(under_way, first)).encode()) == 200
    assert webhooks.take_in() == 1
    assert shipment(first).status == "out_for_delivery"
    assert webhooks.take_in() == 0, "nothing that would be worth coming again for at once"
    assert WebhookDelivery.objects.filter(connection=shut, state="received").count() == 4


def test_a_number_that_is_used_again_years_later_is_not_ours(under_way: World) -> None:
    first, *_ = masters(under_way)
    told = answer(under_way, first)
    [result] = told["output"]["completeTrackResults"][0]["trackResults"]
    result["trackingNumberInfo"]["trackingNumberUniqueId"] = "2457821000~x~FX"
    for row in result["dateAndTimes"]:
        row["dateTime"] = "2020-08-15T00:00:00-06:00"
    result["scanEvents"][0] |= {"eventType": "DL", "derivedStatusCode": "DL", "date": "2020-08-17T10:00:00-06:00"}
    result["latestStatusDetail"] |= {"code": "DL", "derivedCode": "DL"}
    assert post(json.dumps(told).encode()) == 200
    webhooks.take_in()
    assert shipment(first).status == "label_created" and shipment(first).last_news_at is None


def test_pushes_before_the_number_is_written_reach_the_erp_after_it(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=3000.0, RETRY_CAP_S=3000.0)
    change(world, "ifs", shipment={"status_field": "NoteText"})
    [one] = world.ready(1)
    world.ifs.fault("status", "PATCH", status=503, body="")
    world.sync()
    number = masters(world)[0]
    world.fedex.scan(number, "PU")
    tracking.merge(world.integration.target_id, _news(world, number))
    assert shipment(number).status == "picked_up" and not Transfer.objects.filter(flow="track").exists()
    Transfer.objects.update(due_at=clock.at(-1))
    world.work()
    assert world.numbers() == {one: number}
    follow(world)
    assert note(world, one) == "picked_up"


def _news(world: World, number: str) -> tuple[Any, ...]:
    from integrations.fedex.tracking import read_push

    return read_push(json.dumps(answer(world, number)).encode())


def test_a_write_of_news_that_fails_takes_the_newest_picture_when_it_works_again(under_way: World) -> None:
    first, *_ = masters(under_way)
    [one] = [k for k, v in under_way.numbers().items() if v == first]
    under_way.fedex.scan(first, "PU")
    under_way.ifs.fault("status", "PATCH", times=None, status=400, body='{"error":{"code":"X","message":"no"}}')
    follow(under_way)
    assert Transfer.objects.filter(flow="track", source_key=f"shipment:{one}", state="failed").exists()
    under_way.ifs.no_faults()
    under_way.fedex.scan(first, "OD")
    follow(under_way)
    assert note(under_way, one) == "out_for_delivery"
    assert not Transfer.objects.filter(flow="track", record__source_key=f"shipment:{one}").exclude(state="done").exists()


def test_dates_of_delivery_are_days_where_the_parcel_is() -> None:
    from integrations.fedex.tracking import day

    assert day("2026-03-05T00:00:00-06:00") == dt.date(2026, 3, 5)


def test_the_table_offers_the_statuses_that_there_are() -> None:
    from integrations.base.tracking import STATUSES
    from integrations.flows.table import TRACK_STATUSES

    assert sorted(TRACK_STATUSES) == sorted(STATUSES)


# -- what the history tells --------------------------------------------------------------------------


def page_of(number: str) -> str:
    """The words of a shipment's line of time."""
    answer = client_of(owner()).get(reverse("admin:connector_shipment_change", args=[shipment(number).pk]))
    text = answer.content.decode()
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text[text.index("What happened") :])).split())


def test_news_that_the_erp_has_no_field_for_are_said_not_to_be_written(world: World, settings: Any) -> None:
    small(settings)
    world.ready(1)
    world.sync()
    [number] = masters(world)
    later(world, 3600)
    world.fedex.scan(number, "PU")
    follow(world)
    told = page_of(number)
    assert "News of the parcel Picked up; not written" in told
    assert "not written: status (the profile names no field); time of the status (the profile names no field)" in told
    assert not Transfer.objects.filter(flow="track").exists() and world.calls("PATCH") == 1


def test_the_line_of_time_holds_the_news_that_reached_the_erp_and_their_calls(under_way: World) -> None:
    [number, *_] = masters(under_way)
    later(under_way, 3600)
    under_way.fedex.scan(number, "PU")
    follow(under_way)
    told = page_of(number)
    assert "Picked up; not written: time of the status (the profile names no field)" in told
    assert told.count("Written into the ERP") == 2, "the number, and the news"
    link = Exchange.objects.get(transfer__flow="track", method="PATCH", transfer__record__source_key=shipment(number).source_key)
    url = reverse("admin:connector_exchange", args=[link.transfer_id, link.pk])
    client = client_of(owner())
    assert url in client.get(reverse("admin:connector_shipment_change", args=[shipment(number).pk])).content.decode()
    assert client.get(url).status_code == 200


def test_the_last_news_are_not_lost_while_the_erp_connection_cannot_be_opened(
    under_way: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered is the end: no later poll would tell it again."""
    [number, *_] = masters(under_way)
    [one] = [k for k, v in under_way.numbers().items() if v == number]
    later(under_way, 3600)
    under_way.fedex.scan(number, "DL", received_by="J. DOE")

    def closed(connection: Any) -> Any:
        if connection.vendor == "ifs_cloud":
            raise ConfigurationError("The secrets cannot be read.", code="secret_unreadable", scope="connection")
        return opened(connection)

    opened = vendors.open_adapter
    monkeypatch.setattr(vendors, "open_adapter", closed)
    Shipment.objects.filter(next_track_at__isnull=False).update(next_track_at=clock.at(-1))
    tracking.track(under_way.integration)
    assert shipment(number).status == "delivered" and shipment(number).next_track_at is None
    monkeypatch.undo()
    follow(under_way)
    assert note(under_way, one) == "delivered"


def test_a_parcel_is_followed_again_when_its_void_is_given_up(under_way: World) -> None:
    """It was picked up: the void is refused, and the news that came meanwhile had nobody to go to."""
    [number, *_] = masters(under_way)
    [one] = [k for k, v in under_way.numbers().items() if v == number]
    later(under_way, 3600)
    under_way.fedex.scan(number, "PU")
    told = shipments.void_request(shipment(number), then="clear", actor="ann", reason="wrong box")
    under_way.work()
    assert post(json.dumps(answer(under_way, number)).encode()) == 200
    webhooks.take_in()
    held = shipment(number)
    assert (held.state, held.status, held.next_track_at) == ("voiding", "picked_up", None)
    page = client_of(owner()).get(reverse("admin:connector_shipment_change", args=[held.pk])).content.decode()
    assert reverse("admin:connector_transfer_change", args=[told.pk]) in page and "cancel it: then the label counts" in page
    told.refresh_from_db()
    assert transfers.cancel(told, actor="ann", reason="too late").done
    assert shipment(number).next_track_at is not None
    follow(under_way)
    assert note(under_way, one) == "picked_up"

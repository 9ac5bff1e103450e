"""Trouble is found and grouped: counted once, however often and by however many it is looked for."""

from __future__ import annotations

import datetime as dt
import threading
import zoneinfo

import pytest
from django.db.models import F
from django.urls import reverse

from connector.models import (
    Alert,
    EffectSend,
    FlowState,
    Integration,
    LimitBucket,
    Pause,
    Transfer,
)
from connector.services import clock, switches, vendors
from connector.services.alerts import looking, telling
from integrations import registry
from tests.connector.alerts_support import FLOWS, Receiver, fail, hook, house_of, pause, tell

pytestmark = pytest.mark.django_db(transaction=True)


def test_things_of_one_kind_are_one_alert_with_a_count() -> None:
    house = house_of()
    for number in range(3):
        fail(house, number)
    fail(house, 3, code="address_refused")
    fail(house, 4, "needs_approval", code="purchases_per_hour")
    assert looking.look(FLOWS) == 5
    assert sorted(Alert.objects.values_list("cause", "count")) == [("failed", 1), ("failed", 3), ("needs_approval", 1)]
    assert looking.look(FLOWS) == 0, "nothing is counted twice"
    fail(house, 5)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("cause", "count")) == [("failed", 1), ("failed", 4), ("needs_approval", 1)]


def test_the_same_code_elsewhere_is_another_alert() -> None:
    for house in (house_of("alpha"), house_of("omega")):
        fail(house, 1)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("tenant__slug", "count")) == [("alpha", 1), ("omega", 1)]


def test_a_replay_that_fails_again_counts_again_and_standing_failures_do_not() -> None:
    house = house_of()
    looking.look(FLOWS)
    failed = fail(house, 1)
    looking.look(FLOWS)
    Transfer.objects.filter(pk=failed.pk).update(epoch=F("epoch") + 1, updated_at=clock.now())
    looking.look(FLOWS)
    assert Alert.objects.get().count == 2


def test_what_is_in_doubt_is_told_once_however_often_it_is_looked_up() -> None:
    house = house_of()
    doubt = house.transfers["in_doubt"]
    for look in range(3):
        Transfer.objects.filter(pk=doubt.pk).update(epoch=look + 1, code=f"looked_{look}", updated_at=clock.now())
        looking.look(FLOWS)
    assert list(Alert.objects.values_list("cause", "count")) == [("in_doubt", 1)]
    EffectSend.objects.filter(transfer=doubt).update(outcome="absent")
    old = EffectSend.objects.get(transfer=doubt)
    old.pk, old.number, old.reference, old.outcome = None, 2, "ML-second", "unknown"
    old.save()
    Transfer.objects.filter(pk=doubt.pk).update(updated_at=clock.now())
    looking.look(FLOWS)
    assert sum(Alert.objects.values_list("count", flat=True)) == 2, "the next request in doubt is news"


def test_finished_work_that_needs_a_look_is_told() -> None:
    house = house_of()
    Transfer.objects.filter(pk=house.transfers["done"].pk).update(attention="bought_twice", updated_at=clock.now())
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert alert.cause == "look" and "bought twice" in alert.title


def test_a_pause_is_told_even_if_it_ended_before_we_looked() -> None:
    house = house_of()
    looking.look(FLOWS)
    found = pause(house)
    Pause.objects.filter(pk=found.pk).update(state="ended", ended_at=clock.now())
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert alert.cause == "paused" and str(house.target) in alert.title and alert.detail == "Enter the secret again."
    assert alert.link == reverse("admin:connector_connection_change", args=[house.target.pk])


def test_nothing_that_a_vendor_or_a_document_says_leaves_the_house() -> None:
    house = house_of()
    pause(house)
    fail(house, 1)
    looking.look(FLOWS)
    text = " ".join(f"{a.title} {a.detail} {a.link}" for a in Alert.objects.all())
    assert "vendor's own words" not in text and "message" not in text and "shipment:" not in text


def test_two_who_look_at_once_count_once() -> None:
    house = house_of()
    for number in range(20):
        fail(house, number)
    threads = [threading.Thread(target=_look_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Alert.objects.get().count == 20


def _look_and_close() -> None:
    from django.db import connection

    try:
        looking.look(FLOWS)
    finally:
        connection.close()


def test_after_a_day_of_silence_a_new_alert_begins() -> None:
    house = house_of()
    fail(house, 1)
    looking.look(FLOWS)
    clock.offset_s = 25 * 3600.0
    Integration.objects.update(enabled=False)  # this is not about lateness
    looking.look(FLOWS)
    assert Alert.objects.get().state == "closed"
    fail(house, 2)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("state", "count")) == [("closed", 1), ("open", 1)]


def test_a_schedule_is_late_after_two_periods_and_told_once() -> None:
    house = house_of()
    house.integration.schedule = {"ship": {"every_minutes": 60}, "track": {"every_minutes": 100_000}}
    house.integration.save()
    polled = FlowState.objects.create(
        tenant=house.tenant, integration=house.integration, flow="ship", last_good_poll_at=clock.now()
    )
    clock.offset_s = 115 * 60.0
    assert looking.look(FLOWS) == 0
    clock.offset_s = 125 * 60.0
    FlowState.objects.filter(pk=polled.pk).update(lease_until=clock.at(60))
    assert looking.look(FLOWS) == 0, "somebody is at it"
    FlowState.objects.filter(pk=polled.pk).update(lease_until=None)
    held = pause(house)
    looking.look(FLOWS)
    assert not Alert.objects.filter(cause="late").exists(), "a pause explains it and is told itself"
    Pause.objects.filter(pk=held.pk).update(state="ended")
    looking.look(FLOWS)
    looking.look(FLOWS)
    assert Alert.objects.get(cause="late").count == 1


def test_a_schedule_outside_its_window_is_not_late() -> None:
    house = house_of()
    now = clock.now()
    local = now.astimezone(zoneinfo.ZoneInfo(house.tenant.timezone))
    yesterday = (local.weekday() - 1) % 7
    house.integration.schedule = {
        "ship": {"every_minutes": 5, "weekdays": [yesterday]},
        "track": {"every_minutes": 5, "weekdays": [yesterday]},
    }
    house.integration.save()
    for flow in FLOWS:
        FlowState.objects.create(
            tenant=house.tenant, integration=house.integration, flow=flow, last_good_poll_at=now - dt.timedelta(hours=30)
        )
    assert looking.look(FLOWS) == 0


def test_eighty_per_cent_of_a_daily_limit_is_told_once_a_day() -> None:
    house = house_of()
    vendor = registry.get(house.target.vendor)
    key, limit = vendors.buckets_of(house.target, vendor, vendors.credentials_of(house.target))["track"]
    today = clock.now().date()
    bucket = LimitBucket.objects.create(key=key, day=today, used_today=int(limit.calls * 0.79))
    assert looking.look(FLOWS) == 0
    LimitBucket.objects.filter(pk=bucket.pk).update(used_today=int(limit.calls * 0.8))
    looking.look(FLOWS)
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert (alert.cause, alert.count, alert.tenant) == ("budget", 1, house.tenant) and "80%" in alert.title
    LimitBucket.objects.filter(pk=bucket.pk).update(day=today - dt.timedelta(days=1))
    assert looking.look(FLOWS) == 0, "yesterday's count is over"


def test_a_brake_is_told_to_those_it_stops(receiver: Receiver) -> None:
    mine, theirs = house_of("alpha"), house_of("omega")
    here, there = hook(mine.tenant, receiver), hook(theirs.tenant, receiver)
    switches.stop_buying("integration", mine.integration, True, "user:jo", "stocktaking")
    assert [n.alert.cause for n in telling.untold(here, clock.now())] == ["brake"] and telling.untold(there, clock.now()) == []
    switches.stop_buying("installation", None, True, "user:boss", "fire")
    assert len(telling.untold(here, clock.now())) == 2 and len(telling.untold(there, clock.now())) == 1
    tell()
    assert any("the whole installation" in text for text in receiver.texts())

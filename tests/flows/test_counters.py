"""Numbers per day: every event once, stored and fresh ones together, money with voids taken off."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from connector.models import AuditEntry, CountMark, DayCount, Integration, Pause, Shipment
from connector.services import clock, counters, pulse, shipments
from tests.flows.support import later, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def week(tenants: list[int] | None = None) -> pulse.Week:
    return pulse.week(tenants, dt.UTC)


def numbers() -> dict[str, int]:
    found: dict[str, int] = {}
    for place, (count, _) in counters.by_day(None, clock.local_now().date() - dt.timedelta(days=10)).items():
        found[place.what] = found.get(place.what, 0) + count
    return found


def test_events_are_there_at_once_and_counted_once_when_stored(world: World, settings: Any) -> None:
    small(settings)
    world.ready(3)
    world.ready(2, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    world.sync()
    fresh = numbers()
    assert (fresh["done"], fresh["failed"], fresh["bought"]) == (3, 2, 3), "before any tick"
    cost = sum((s.cost for s in Shipment.objects.all() if s.cost), Decimal(0))
    assert sum(s.amount for s in week().spend) == cost
    counters.catch_up()
    assert not DayCount.objects.exists(), "an earlier number may still be on its way"
    later(world, 61)
    counters.catch_up()
    assert CountMark.objects.get().value == AuditEntry.objects.order_by("-pk")[0].pk
    assert numbers() == fresh and DayCount.objects.exists()
    counters.catch_up()
    assert numbers() == fresh, "nothing twice"
    world.ready(1)
    world.sync()
    assert numbers()["done"] == 4, "stored and fresh together"
    assert (week().done, week().failed) == (4, 2)


def test_two_ticks_at_once_count_once(world: World) -> None:
    world.ready(4)
    world.sync()
    later(world, 61)

    def tick() -> None:
        try:
            counters.catch_up()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=tick) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(c.count for c in DayCount.objects.filter(what="done")) == 4


def test_a_void_takes_the_money_off_the_day_it_was_spent(world: World) -> None:
    world.ready(2)
    world.sync()
    first = Shipment.objects.order_by("pk")[0]
    shipments.void_request(first, then="clear", actor="ann", reason="stays here")
    world.work()
    assert Shipment.objects.get(pk=first.pk).state == "voided"
    kept = Shipment.objects.exclude(pk=first.pk).get()
    [spend] = week().spend
    assert (spend.amount, spend.labels, spend.cost_center) == (kept.cost, 1, "CC-100")
    later(world, 61)
    counters.catch_up()
    assert week().spend == [spend]


def test_flows_are_judged_against_their_schedule(world: World) -> None:
    integration = Integration.objects.select_related("tenant").get()

    def states() -> dict[str, str]:
        return {f.flow.name: f.state for f in pulse.flows([Integration.objects.select_related("tenant").get()])}

    world.poll()
    assert states()["ship"] == "on time"
    later(world, 3 * 3600)
    assert states()["ship"] == "late"
    Pause.objects.create(
        tenant=integration.tenant, scope="connection", connection=integration.source, code="x", message="m", since=clock.now()
    )
    assert states() == {"ship": "paused", "track": "paused"}
    Pause.objects.all().delete()
    Integration.objects.update(enabled=False)
    assert set(states().values()) == {"off"}


def test_a_tenant_sees_only_its_own_numbers(world: World) -> None:
    world.ready(1)
    world.sync()
    tenant = Integration.objects.get().tenant_id
    assert week([tenant]).done == 1
    assert week([tenant + 1]).done == 0 and week([tenant + 1]).spend == []

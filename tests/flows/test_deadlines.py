"""Deadlines: each miss is found, told once, leaves when it is made up for; nothing else is called late."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import Alert, Integration, Pause, Shipment, Site, Transfer, User
from connector.services import clock, deadlines, shipments, tracking
from connector.services.alerts import looking
from tests.connector.admin_support import build, client_of, owner
from tests.flows.support import change, later, masters, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0
DAY = 24 * HOUR
MONDAY = dt.datetime(2027, 3, 1, 9, tzinfo=zoneinfo.ZoneInfo("America/Chicago"))
"""A week without holidays."""


@pytest.fixture
def monday(world: World, settings: Any) -> World:
    """Monday at nine at a site whose carrier comes until four; IFS has a field for the status."""
    small(settings)
    change(world, "ifs", shipment={"status_field": "NoteText"})
    world.doc["connections"][0]["company_codes"][0]["sites"][0]["cut_off"] = "16:00"
    world.configure()
    later(world, (MONDAY - clock.local_now()).total_seconds())
    return world


def missed(world: World, kind: str) -> list[deadlines.Missed]:
    [found] = deadlines.find(Integration.objects.filter(pk=world.integration.pk), [kind])
    assert not found.more
    return list(found.rows)


def late(world: World) -> dict[str, int]:
    """How many of each kind, none left out."""
    found = deadlines.find(Integration.objects.all())
    return {f.kind.name: len(f.rows) for f in found if f.rows}


def follow(world: World) -> None:
    Shipment.objects.filter(next_track_at__isnull=False).update(next_track_at=clock.at(-1))
    tracking.track(world.integration)


def shipment(number: str) -> Shipment:
    return Shipment.objects.get(master_tracking_number=number)


def test_nothing_is_late_while_all_goes_well(monday: World) -> None:
    monday.ready(2)
    monday.sync()
    for event in ("PU", "DP", "OD", "DL"):
        later(monday, 5 * HOUR)
        for number in masters(monday):
            monday.fedex.scan(number, event)
        follow(monday)
        monday.work()
        assert late(monday) == {}


def test_a_document_without_a_label_is_late_from_two_hours_before_the_cut_off(monday: World) -> None:
    [broken] = monday.ready(1, ShipViaCode="UNKNOWN")
    monday.ready(1)
    monday.sync()
    assert monday.states() == {"done": 1, "failed": 1}
    assert late(monday) == {}
    later(monday, 5 * HOUR + 120)
    [row] = missed(monday, "no_label")
    assert (row.transfer, row.document, row.site) == (monday.transfer(broken).pk, f"shipment:{broken}", "S1")
    later(monday, DAY)
    assert len(missed(monday, "no_label")) == 1, "still, the day after"
    Site.objects.update(cut_off=None)
    assert late(monday) == {}, "no cut-off, no claim"


def test_what_is_planned_for_later_need_not_ship_today(monday: World) -> None:
    later_day = (MONDAY + dt.timedelta(days=4)).date()
    monday.ready(1, ShipViaCode="UNKNOWN", PlannedShipDate=f"{later_day}T00:00:00Z")
    monday.sync()
    later(monday, 6 * HOUR)
    assert missed(monday, "no_label") == []
    later(monday, 4 * DAY)
    assert len(missed(monday, "no_label")) == 1


def test_what_has_its_label_is_not_without_one(monday: World) -> None:
    monday.ready(1)
    monday.sync()
    Transfer.objects.update(state="failed")
    later(monday, 6 * HOUR)
    assert missed(monday, "no_label") == []


def test_a_label_that_nobody_scans(monday: World) -> None:
    monday.ready(2)
    monday.sync()
    first, second = masters(monday)
    later(monday, 23 * HOUR)
    follow(monday)
    assert missed(monday, "no_scan") == []
    later(monday, 2 * HOUR)
    assert missed(monday, "no_scan") == [], "the carrier has not been asked since"
    follow(monday)
    assert {row.number for row in missed(monday, "no_scan")} == {first, second}
    monday.fedex.scan(first, "PU")
    follow(monday)
    assert [row.number for row in missed(monday, "no_scan")] == [second]
    shipments.void_request(shipment(second), then="clear", actor="ann", reason="not needed")
    settle(monday)
    assert late(monday) == {}


def test_a_weekend_is_not_counted(monday: World) -> None:
    later(monday, 4 * DAY + 6 * HOUR)  # Friday at three
    monday.ready(1)
    monday.sync()
    later(monday, 2 * DAY)
    follow(monday)
    assert missed(monday, "no_scan") == []
    later(monday, DAY + HOUR)
    follow(monday)
    assert len(missed(monday, "no_scan")) == 1


def test_or_more_is_said_only_where_more_may_be_late(monday: World, monkeypatch: pytest.MonkeyPatch) -> None:
    later(monday, 4 * DAY + 6 * HOUR)  # Friday at three
    monday.ready(2)
    monday.sync()
    monkeypatch.setattr(deadlines, "SCANNED", 1)
    chosen = Integration.objects.all()
    for days, expected in ((2, (0, False)), (1.05, (1, True))):
        later(monday, days * DAY)
        follow(monday)
        [found] = deadlines.find(chosen, ["no_scan"])
        assert (len(found.rows), found.more) == expected


def test_a_carrier_that_falls_silent_and_one_that_was_never_asked(monday: World) -> None:
    monday.ready(2)
    monday.sync()
    first, second = masters(monday)
    monday.fedex.scan(first, "PU")
    Shipment.objects.filter(master_tracking_number=first).update(next_track_at=clock.at(-1))
    Shipment.objects.filter(master_tracking_number=second).update(next_track_at=None)
    tracking.track(monday.integration)
    later(monday, 71 * HOUR)
    assert missed(monday, "no_news") == []
    later(monday, 2 * HOUR)
    assert {row.number for row in missed(monday, "no_news")} == {first, second}
    monday.fedex.scan(first, "DP")
    follow(monday)
    assert [row.number for row in missed(monday, "no_news")] == [second]
    options(monday, news_within_hours=0)
    assert late(monday) == {}, "0 is never"


def test_delivered_and_the_erp_does_not_know(monday: World) -> None:
    monday.ready(2)
    monday.sync()
    first, second = masters(monday)
    for number in (first, second):
        monday.fedex.scan(number, "PU")
        later(monday, HOUR)
        monday.fedex.scan(number, "DL")
    follow(monday)
    keep = Transfer.objects.get(flow="track", source_key=shipment(first).source_key, state="waiting")
    Transfer.objects.filter(pk=keep.pk).update(state="failed")
    monday.work()
    assert late(monday) == {}, "not yet four hours"
    later(monday, 5 * HOUR)
    assert [(row.number, row.shipment) for row in missed(monday, "not_in_erp")] == [(first, shipment(first).pk)]
    Transfer.objects.filter(pk=keep.pk).update(state="waiting", due_at=clock.at(-1))
    monday.work()
    assert late(monday) == {}
    Shipment.objects.filter(master_tracking_number=second).update(written_at=None)
    assert [row.number for row in missed(monday, "not_in_erp")] == [second], "not even its number was written"


def test_each_miss_is_told_once(monday: World) -> None:
    monday.ready(2, ShipViaCode="UNKNOWN")
    monday.sync()
    later(monday, 6 * HOUR)
    for _ in range(3):
        looking.look()
    [alert] = Alert.objects.filter(cause="deadline")
    assert alert.count == 2 and "Must ship today" in alert.title and "kind=no_label" in alert.link
    assert "shipment:" not in alert.title + alert.detail, "what leaves the house names no document"
    later(monday, HOUR)
    looking.look()
    assert Alert.objects.get(cause="deadline").count == 2


def test_an_integration_that_is_off_misses_nothing(monday: World) -> None:
    monday.ready(1, ShipViaCode="UNKNOWN")
    monday.sync()
    later(monday, 6 * HOUR)
    Integration.objects.update(enabled=False)
    assert late(monday) == {}


def test_a_person_sees_the_deadlines_of_his_tenants_only() -> None:
    mine, theirs = build("alpha"), build("omega")
    Pause.objects.all().delete()
    Shipment.objects.update(last_asked_at=None, created_at=clock.now() - dt.timedelta(days=20))
    [count] = deadlines.summary(mine.person("viewer"))
    assert (count.kind.name, count.number, count.more) == ("no_news", 1, False)
    assert deadlines.summary(owner())[0].number == 2
    assert deadlines.summary(User.objects.create_user("nobody", password="x")) == []
    client = client_of(mine.person("viewer"))
    page = client.get(reverse("admin:connector_deadlines")).content.decode()
    assert mine.shipment.master_tracking_number in page and theirs.shipment.master_tracking_number not in page
    page = client.get(reverse("admin:connector_deadlines"), {"integration": theirs.integration.pk, "kind": "no_news"})
    assert theirs.shipment.master_tracking_number not in page.content.decode()
    assert "Nothing is late" in client.get(count.link.split("?")[0], {"kind": "no_scan"}).content.decode()
    assert client_of(User.objects.get(username="nobody")).get(reverse("admin:connector_deadlines")).status_code in (302, 403)


def test_a_summary_costs_a_few_queries_whatever_there_is() -> None:
    house = build("alpha")
    Site.objects.update(cut_off=dt.time(16))
    old = clock.now() - dt.timedelta(days=20)
    Shipment.objects.update(created_at=old)
    Transfer.objects.update(created_at=old, company_code="10", site="S1")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        found = deadlines.summary(house.person("viewer"))
    assert {c.kind.name for c in found} == {"no_label", "no_news"}
    assert len(asked) <= 12, [q["sql"][:90] for q in asked]


def test_the_cut_off_is_set_by_file_and_comes_back(monday: World) -> None:
    from connector.services.configuration import exporting, findings

    assert Site.objects.get(code="S1").cut_off == dt.time(16)
    text = str(exporting.export("acme"))
    assert "'cut_off': '16:00'" in text
    page = client_of(owner()).get(reverse("admin:connector_connection_change", args=[monday.integration.source_id]))
    assert "the carrier comes until 16:00" in page.content.decode()
    monday.doc["connections"][0]["company_codes"][0]["sites"][0]["cut_off"] = "4 pm"
    with pytest.raises(findings.InvalidConfiguration, match="16:00"):
        monday.configure()

"""When flows poll: intervals, daily times, windows, and the two odd days of the year."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from connector.services.schedules import (
    Schedule,
    is_inside_window,
    merged_schedule,
    next_due,
    next_runs,
    overdue_s,
    schedule_of,
)

CHICAGO = ZoneInfo("America/Chicago")
UTC = dt.UTC


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def chicago(text: str, fold: int = 0) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=CHICAGO, fold=fold).astimezone(UTC)


def daily(*times: str, **rest: object) -> Schedule:
    return schedule_of({"daily_at": list(times), **rest}, 5)


# -- reading ----------------------------------------------------------------------------------------


def test_without_a_block_the_flow_has_its_own_interval():
    integration = SimpleNamespace(kind="ifs_fedex", schedule={})
    assert merged_schedule(integration, "ship") == Schedule(every_minutes=5)
    assert merged_schedule(integration, "track") == Schedule(every_minutes=60)


def test_a_block_with_a_window_only_keeps_the_interval():
    integration = SimpleNamespace(kind="ifs_fedex", schedule={"ship": {"hours": [6, 20], "weekdays": [0, 4]}})
    assert merged_schedule(integration, "ship") == Schedule(every_minutes=5, weekdays=frozenset({0, 4}), hours=(6, 20))


def test_daily_times_are_sorted_and_take_the_place_of_the_interval():
    made = daily("14:30", "02:00")
    assert made.every_minutes is None
    assert made.daily_at == (dt.time(2), dt.time(14, 30))


def test_a_flow_that_the_kind_does_not_have_is_an_error():
    with pytest.raises(KeyError):
        merged_schedule(SimpleNamespace(kind="ifs_fedex", schedule={}), "stock")


# -- windows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-03-02 05:59:59", False),
        ("2026-03-02 06:00", True),
        ("2026-03-02 19:59:59", True),
        ("2026-03-02 20:00", False),
        ("2026-03-07 12:00", False),  # a Saturday
    ],
)
def test_the_window_is_local_and_its_end_is_outside(local: str, inside: bool):
    office = Schedule(every_minutes=5, weekdays=frozenset(range(5)), hours=(6, 20))
    assert is_inside_window(office, CHICAGO, chicago(local)) is inside


def test_weekdays_are_those_of_the_zone():
    monday_only = Schedule(every_minutes=5, weekdays=frozenset({0}))
    at = utc("2026-03-02 03:00")  # Monday in UTC, still Sunday evening in Chicago
    assert not is_inside_window(monday_only, CHICAGO, at)
    assert is_inside_window(monday_only, UTC, at)


# -- intervals --------------------------------------------------------------------------------------


def test_the_first_poll_of_an_interval_is_due_at_once():
    now = utc("2026-03-02 12:00")
    assert next_due(Schedule(every_minutes=5), UTC, now, None) == now


def test_an_interval_counts_from_the_last_poll():
    assert next_due(Schedule(every_minutes=30), UTC, utc("2026-03-02 12:00"), utc("2026-03-02 11:50")) == utc("2026-03-02 12:20")


def test_an_overdue_interval_is_due_now_and_not_in_the_past():
    now = utc("2026-03-02 12:00")
    assert next_due(Schedule(every_minutes=5), UTC, now, utc("2026-02-01 00:00")) == now


def test_an_interval_that_leaves_the_window_waits_for_the_next_opening():
    office = Schedule(every_minutes=60, weekdays=frozenset(range(5)), hours=(6, 20))
    friday = chicago("2026-03-06 19:30")
    assert next_due(office, CHICAGO, friday, friday) == chicago("2026-03-09 06:00")


def test_a_window_across_the_clock_change_opens_at_the_local_hour():
    office = Schedule(every_minutes=60, hours=(6, 20))
    before = chicago("2026-03-07 20:30")  # the night to 8 March the clocks jump: UTC-6 becomes UTC-5
    assert next_due(office, CHICAGO, before, before) == utc("2026-03-08 11:00")
    before = chicago("2026-10-31 20:30")  # the night to 1 November they fall back
    assert next_due(office, CHICAGO, before, before) == utc("2026-11-01 12:00")


def test_a_window_in_the_skipped_hour_opens_the_day_after():
    night = Schedule(every_minutes=5, hours=(2, 3))
    assert next_due(night, CHICAGO, chicago("2026-03-08 00:30"), None) == chicago("2026-03-09 02:00")


def test_a_window_in_the_doubled_hour_is_open_both_times():
    night = Schedule(every_minutes=5, hours=(1, 2))
    assert next_due(night, CHICAGO, chicago("2026-11-01 00:30"), None) == utc("2026-11-01 06:00")
    again = chicago("2026-11-01 01:30", fold=1)
    assert next_due(night, CHICAGO, again, None) == again


def test_a_window_that_never_opens_gives_nothing():
    assert next_due(Schedule(every_minutes=5, weekdays=frozenset()), UTC, utc("2026-03-02 12:00"), None) is None
    never = Schedule(daily_at=(dt.time(2),), weekdays=frozenset())
    assert next_due(never, UTC, utc("2026-03-02 12:00"), utc("2026-03-01 02:00")) is None


# -- daily times ------------------------------------------------------------------------------------


def test_a_daily_time_is_local():
    assert next_due(daily("02:00"), CHICAGO, utc("2026-01-10 12:00"), None) == utc("2026-01-11 08:00")
    assert next_due(daily("02:00"), CHICAGO, utc("2026-07-10 12:00"), None) == utc("2026-07-11 07:00")


def test_a_daily_time_that_is_now_is_due_now():
    now = chicago("2026-01-10 02:00")
    assert next_due(daily("02:00"), CHICAGO, now, None) == now
    assert next_due(daily("02:00"), CHICAGO, now, now) == chicago("2026-01-11 02:00")


def test_the_nearest_of_several_daily_times_comes_first():
    times = daily("14:00", "02:00")
    assert next_due(times, UTC, utc("2026-01-10 03:00"), utc("2026-01-10 02:00")) == utc("2026-01-10 14:00")


def test_a_missed_daily_time_is_made_up_for_once():
    now = utc("2026-01-10 09:00")
    assert next_due(daily("02:00"), UTC, now, utc("2026-01-05 02:00")) == now
    assert next_due(daily("02:00"), UTC, now, now) == utc("2026-01-11 02:00")


def test_what_was_missed_is_made_up_for_on_an_allowed_day_only():
    mondays = daily("02:00", weekdays=[0])
    assert next_due(mondays, UTC, utc("2026-01-07 09:00"), utc("2025-12-29 02:00")) == utc("2026-01-12 00:00")


def test_daily_times_keep_to_their_weekdays():
    mondays = daily("02:00", weekdays=[0])
    assert next_due(mondays, UTC, utc("2026-01-06 00:00"), utc("2026-01-05 02:00")) == utc("2026-01-12 02:00")


def test_a_skipped_local_time_runs_after_the_gap():
    found = next_due(daily("02:30"), CHICAGO, chicago("2026-03-08 00:00"), chicago("2026-03-07 02:30"))
    assert found == utc("2026-03-08 08:30")
    assert found.astimezone(CHICAGO).time() == dt.time(3, 30)


def test_a_doubled_local_time_runs_once():
    first = next_due(daily("01:30"), CHICAGO, chicago("2026-11-01 00:00"), chicago("2026-10-31 01:30"))
    assert first == utc("2026-11-01 06:30")
    assert next_due(daily("01:30"), CHICAGO, first, first) == utc("2026-11-02 07:30")


def test_two_times_that_fall_on_one_instant_run_once():
    assert next_runs(daily("02:30", "03:30"), CHICAGO, 2, chicago("2026-03-08 00:00"), chicago("2026-03-07 12:00")) == [
        chicago("2026-03-08 03:30"),
        chicago("2026-03-09 02:30"),
    ]


def test_every_result_is_utc_and_lies_neither_before_now_nor_outside_the_window():
    office = Schedule(every_minutes=7, weekdays=frozenset({5, 6}), hours=(1, 4))
    for hour in range(0, 24 * 60, 5):  # every five hours over 60 days with the spring change
        now = utc("2026-02-10 00:00") + dt.timedelta(hours=hour)
        found = next_due(office, CHICAGO, now, now - dt.timedelta(minutes=3))
        assert found is not None
        assert found >= now
        assert found.tzinfo is UTC
        assert is_inside_window(office, CHICAGO, found)


# -- display ----------------------------------------------------------------------------------------


def test_the_next_runs_follow_each_other():
    office = Schedule(every_minutes=120, weekdays=frozenset(range(5)), hours=(6, 10))
    assert next_runs(office, CHICAGO, 4, chicago("2026-03-06 06:00")) == [
        chicago("2026-03-06 06:00"),
        chicago("2026-03-06 08:00"),
        chicago("2026-03-09 06:00"),
        chicago("2026-03-09 08:00"),
    ]
    assert next_runs(daily("02:00"), UTC, 2, utc("2026-01-10 03:00")) == [utc("2026-01-11 02:00"), utc("2026-01-12 02:00")]


def test_a_schedule_that_never_opens_has_no_runs():
    assert next_runs(Schedule(every_minutes=5, weekdays=frozenset()), UTC, 3, utc("2026-01-10 03:00")) == []


# -- how late ---------------------------------------------------------------------------------------


def late_minutes(schedule: Schedule, now: str, last: str) -> float:
    return overdue_s(schedule, CHICAGO, chicago(now), chicago(last)) / 60


def test_nothing_is_overdue_before_it_is_due():
    every = schedule_of({"every_minutes": 15}, 5)
    assert late_minutes(every, "2026-03-02T12:10", "2026-03-02T12:00") == 0
    assert late_minutes(every, "2026-03-02T12:25", "2026-03-02T12:00") == 10
    assert late_minutes(every, "2026-03-12T12:15", "2026-03-02T12:00") == 10 * 24 * 60 - 60, "ten days, one of them an hour short"
    assert late_minutes(daily("02:00"), "2026-03-02T12:00", "2026-03-02T02:05") == 0
    assert late_minutes(daily("02:00"), "2026-03-02T12:00", "2026-03-01T02:05") == 600


def test_a_closed_window_does_not_make_late():
    office = schedule_of({"every_minutes": 15, "weekdays": [0, 1, 2, 3, 4], "hours": [6, 20]}, 5)
    assert late_minutes(office, "2026-03-07T12:00", "2026-03-06T19:50") == 0, "a Saturday"
    assert late_minutes(office, "2026-03-09T06:03", "2026-03-06T19:50") == 3, "Monday morning"
    assert late_minutes(office, "2026-03-02T19:00", "2026-03-02T12:00") == 405


def test_days_that_follow_each_other_are_one_window():
    workdays = schedule_of({"every_minutes": 60, "weekdays": [0, 1, 2, 3, 4]}, 5)
    assert late_minutes(workdays, "2026-03-05T00:05", "2026-03-03T12:00") == 35 * 60 + 5
    assert late_minutes(workdays, "2026-03-05T00:05", "2026-02-27T12:00") == 3 * 24 * 60 + 5

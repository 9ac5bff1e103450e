"""When a flow polls: every n minutes or daily at given times, within weekdays and hours of the tenant's zone.

Pure functions over aware datetimes. "Local" is always the tenant's zone. A local time that the clocks skip
in spring counts as the same number of minutes after the last hour that existed (02:30 is 03:30 that day);
one that comes twice in autumn counts once, the first time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integrations.flows.table import KINDS

if TYPE_CHECKING:
    from connector.models import Integration

EVERY_DAY = frozenset(range(7))
ALL_HOURS = (0, 24)
SCHEDULE_KEYS = ("every_minutes", "daily_at", "weekdays", "hours")
LOOK_AHEAD_DAYS = 15
"""A week, and another one for a window that falls into the hour that the clocks skip."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Exactly one of `every_minutes` (minutes between polls) and `daily_at` (local times, sorted) is set.

    `weekdays`: 0 is Monday. `hours`: from the first (inclusive) to the second (exclusive) local hour.
    """

    every_minutes: int | None = None
    daily_at: tuple[dt.time, ...] = ()
    weekdays: frozenset[int] = EVERY_DAY
    hours: tuple[int, int] = ALL_HOURS


def schedule_of(data: Mapping[str, Any], default_minutes: int) -> Schedule:
    """The schedule that a (validated) block describes; one that names neither form polls every `default_minutes`."""
    daily = tuple(sorted({dt.time.fromisoformat(text) for text in data.get("daily_at", ())}))
    first, last = data.get("hours", ALL_HOURS)
    return Schedule(
        every_minutes=None if daily else int(data.get("every_minutes", default_minutes)),
        daily_at=daily,
        weekdays=frozenset(data.get("weekdays", EVERY_DAY)),
        hours=(first, last),
    )


def merged_schedule(integration: Integration, flow: str) -> Schedule:
    """The schedule of one flow: the integration's own block over the flow's default. Raises KeyError for a strange flow."""
    default = KINDS[integration.kind].flow(flow)
    return schedule_of(integration.schedule.get(flow, {}), default.every_minutes)


def is_inside_window(schedule: Schedule, tz: dt.tzinfo, at: dt.datetime) -> bool:
    """Whether `at` lies within the schedule's weekdays and hours."""
    local = at.astimezone(tz)
    return local.weekday() in schedule.weekdays and schedule.hours[0] <= local.hour < schedule.hours[1]


def _instant(day: dt.date, time: dt.time, tz: dt.tzinfo) -> dt.datetime:
    """The instant of a local time. fold=0: the first of two, and past the gap by as much as it stands in it."""
    return dt.datetime.combine(day, time, tzinfo=tz).astimezone(dt.UTC)


def _days(first: dt.date) -> Iterator[dt.date]:
    return (first + dt.timedelta(days=n) for n in range(LOOK_AHEAD_DAYS))


def _window_from(schedule: Schedule, tz: dt.tzinfo, at: dt.datetime) -> dt.datetime | None:
    """The first moment not before `at` that lies inside the window; None for a window that never opens."""
    if is_inside_window(schedule, tz, at):
        return at
    for day in _days(at.astimezone(tz).date()):
        opening = _instant(day, dt.time(schedule.hours[0]), tz)
        # The skipped hour of spring may be the whole window: it does not open that day.
        if opening >= at and is_inside_window(schedule, tz, opening):
            return opening
    return None


def _next_daily(schedule: Schedule, tz: dt.tzinfo, after: dt.datetime) -> dt.datetime | None:
    """The first daily time later than `after`."""
    # A day early: a time late in the skipped hour of one day may lie in the next.
    for day in _days(after.astimezone(tz).date() - dt.timedelta(days=1)):
        if day.weekday() in schedule.weekdays:
            times = sorted(_instant(day, time, tz) for time in schedule.daily_at)
            for at in times:
                if at > after:
                    return at
    return None


def next_due(schedule: Schedule, tz: dt.tzinfo, after: dt.datetime, last: dt.datetime | None) -> dt.datetime | None:
    """When to poll next, not before `after` (now); `last` is the last poll, None before the first.

    What is overdue is due at once, inside the window: a missed daily time is made up for once, however many
    were missed. Without a last poll an interval is due at once, a daily time when it comes.
    Returns aware UTC; None when the window never opens.
    """
    after = after.astimezone(dt.UTC)
    if schedule.every_minutes is not None:
        due = after if last is None else max(after, last.astimezone(dt.UTC) + dt.timedelta(minutes=schedule.every_minutes))
        return _window_from(schedule, tz, due)
    if last is None:
        return _next_daily(schedule, tz, after - dt.timedelta(microseconds=1))
    due_at = _next_daily(schedule, tz, last)
    if due_at is None or due_at >= after:
        return due_at
    coming = _next_daily(schedule, tz, after - dt.timedelta(microseconds=1))
    made_up = _window_from(schedule, tz, after)
    return min((at for at in (coming, made_up) if at is not None), default=None)


def _open_since(schedule: Schedule, tz: dt.tzinfo, now: dt.datetime) -> dt.datetime:
    """When the window that is open at `now` opened. Days that follow each other without a gap are one window."""
    whole_days = schedule.hours == ALL_HOURS
    if whole_days and schedule.weekdays == EVERY_DAY:
        return dt.datetime.min.replace(tzinfo=dt.UTC)
    day = now.astimezone(tz).date()
    while whole_days and (day - dt.timedelta(days=1)).weekday() in schedule.weekdays:
        day -= dt.timedelta(days=1)
    return _instant(day, dt.time(schedule.hours[0]), tz)


def overdue_s(schedule: Schedule, tz: dt.tzinfo, now: dt.datetime, last: dt.datetime) -> float:
    """For how many seconds a poll could have been made and was not; 0 if none is due. Closed windows do not count."""
    due = next_due(schedule, tz, now, last)
    if due is None or due > now:
        return 0.0
    first = next_due(schedule, tz, last, last) or now
    return max(0.0, (now - max(first, _open_since(schedule, tz, now))).total_seconds())


def next_runs(
    schedule: Schedule, tz: dt.tzinfo, count: int, after: dt.datetime, last: dt.datetime | None = None
) -> list[dt.datetime]:
    """The next `count` polls as planned now, for display; fewer when the window never opens."""
    found: list[dt.datetime] = []
    while len(found) < count:
        at = next_due(schedule, tz, found[-1] if found else after, found[-1] if found else last)
        if at is None:
            break
        found.append(at)
    return found

"""Budgets people can see: what each limit allows, what is used of it, when it refills, when the waiting work is through.

Limits may be shared by several tenants (one login, one internet address). Their use in numbers is told only to those
who may see everybody who counts on them; others are told that a shared limit rests, and what their own calls were.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection as database
from django.db.models import Count, Exists, Max, OuterRef, Sum

from connector.models import Connection, EffectSend, Exchange, Integration, LimitBucket, Pause, Slot, Transfer
from connector.models.connections import UnreadableSecret
from connector.services import clock, vendors
from connector.services.engine import pauses
from connector.services.throttle import Pace
from integrations import registry
from integrations.base.vendor import Limit
from integrations.flows.table import STAGES, stages_of

DAY_S = 86_400.0
MOST = 100
COUNTED = 5000
RECENT = 50
USUAL_CALL_S = 0.5
"""How long a call takes, where none was made yet."""
CALLS = "calls"
"""The limit that every call counts on but those for tokens."""
TOKEN = "token"


# -- arithmetic --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """How full a limit is: `taken` of the `room` calls that may be made at once; they come back one by one."""

    taken: float
    room: int
    interval_s: float

    @property
    def at_once(self) -> int:
        """Calls that may be made this moment."""
        return max(0, math.floor(self.room - self.taken + 1e-9))

    @property
    def refilled_s(self) -> float:
        """Seconds until all of them are back, if nobody calls."""
        return self.taken * self.interval_s

    @property
    def refilled_in(self) -> str:
        """The same in words, "" where it is a moment."""
        seconds = self.refilled_s
        return "" if seconds < 1 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def level(limit: Limit, arrival: float, now: float) -> Level:
    """The level of a bucket; `arrival` and `now` in seconds since 1970, as the throttle keeps them."""
    pace = Pace.of(limit)
    taken = max(0.0, arrival - now) / pace.interval_s
    return Level(min(taken, float(pace.burst)), pace.burst, pace.interval_s)


def wait_s(calls: int, now: Level, rest_s: float = 0.0) -> float:
    """Seconds from now until the last of `calls` may be made, when nobody else makes any and nobody calls for `rest_s`."""
    if calls <= 0:
        return 0.0
    # While it rests the taken calls come back.
    left = max(0.0, now.taken - rest_s / now.interval_s)
    return rest_s + max(0.0, (left + calls - now.room) * now.interval_s)


@dataclass(frozen=True, slots=True)
class Span:
    """At least and at most."""

    least: int = 0
    most: int = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.least + other.least, self.most + other.most)

    @property
    def told(self) -> str:
        """ "7", or "3 to 7"."""
        return str(self.most) if self.least == self.most else f"{self.least} to {self.most}"


def calls_for(flow: str, fresh: int, bought: int, options: Mapping[str, Any]) -> dict[str, Span]:
    """Calls at each end ("source", "target") for documents that go all the way, and for those whose label is bought already.

    `options` are the integration's: they switch stages on.
    """
    found: dict[str, Span] = {"source": Span(), "target": Span()}
    stages = stages_of(flow, options)
    once = next((i for i, stage in enumerate(stages) if stage.effect), -1)
    for place, stage in enumerate(stages):
        if not stage.end:
            continue
        groups = math.ceil((fresh + (bought if place > once else 0)) / stage.per)
        found[stage.end] += Span(0 if stage.optional else groups * stage.calls[0], groups * stage.calls[1])
    return found


# -- limits ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Budget:
    """One limit of a connection as somebody may see it. `level` and `today` are None where the numbers are not his to see."""

    key: str
    limit: Limit
    level: Level | None
    today: int | None
    own_today: int | None
    rest_until: dt.datetime | None
    rest_reason: str
    rest_s: float
    shared: bool

    @property
    def by_day(self) -> bool:
        """Whether the limit is one of days: its share is of today's calls, not of those at once."""
        return self.limit.per_s >= DAY_S

    @property
    def share(self) -> int | None:
        """Per cent used."""
        if self.level is None or self.today is None:
            return None
        used = self.today / self.limit.calls if self.by_day else self.level.taken / self.level.room
        return max(0, min(100, round(100 * used)))

    @property
    def allows(self) -> str:
        """What was declared, in words."""
        return f"{self.limit.calls} {'call' if self.limit.calls == 1 else 'calls'} in {span_of(self.limit.per_s)}"

    @property
    def counted_over(self) -> str:
        """Over whom it is counted, in words."""
        return {"host": "this installation's internet address", "credential": "the login", "connection": "the connection"}[
            self.limit.scope
        ]


def span_of(seconds: float) -> str:
    """ "1 second", "5 minutes", "1 day"."""
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {word}{'' if seconds == size else 's'}"
    return f"{seconds:g} second{'' if seconds == 1 else 's'}"


@dataclass(slots=True)
class Account:
    """A connection with its budgets, and how many calls at a time it is given."""

    connection: Connection
    budgets: list[Budget] = field(default_factory=list)
    parallel: int = 0
    under_way: int = 0
    problem: str = ""

    def budget(self, name: str) -> Budget | None:
        """The budget of that limit."""
        return next((b for b in self.budgets if b.limit.name == name), None)


def accounts(
    connections: Sequence[Connection], tenants: Collection[int] | None, *, now: dt.datetime | None = None, own_calls: bool = True
) -> list[Account]:
    """Budgets of these connections for somebody who may see these tenants (None: all). Calls no vendor.

    `own_calls`: count the connection's own calls of today where the limit is shared with strangers (a query for each of them).
    """
    now = now or clock.now()
    keys = {c.pk: _keys(c) for c in connections}
    strangers = _strangers(connections, tenants)
    counted_on = {key for own in keys.values() for key, _ in (own or {}).values()}
    buckets = {b.key: b for b in LimitBucket.objects.filter(key__in=counted_on)}
    busy = dict(
        Slot.objects.filter(connection__in=keys, expires_at__gt=clock.at()).values_list("connection").annotate(n=Sum("count"))
    )
    found = []
    for connection in connections:
        vendor = registry.get(connection.vendor)
        account = Account(connection, [], vendors.max_parallel_of(vendor, connection.settings), busy.get(connection.pk) or 0)
        found.append(account)
        own = keys[connection.pk]
        if own is None:
            account.problem = "Its secrets cannot be read with the present keys, so its limits cannot be told."
            continue
        for key, limit in own.values():
            account.budgets.append(_budget(connection, key, limit, buckets.get(key), key in strangers, now, own_calls))
    return found


def _keys(connection: Connection) -> dict[str, tuple[str, Limit]] | None:
    try:
        return vendors.buckets_of(connection, registry.get(connection.vendor), vendors.credentials_of(connection))
    except UnreadableSecret:
        return None


def _strangers(connections: Sequence[Connection], tenants: Collection[int] | None) -> set[str]:
    """Keys that connections of other tenants count on, too."""
    if tenants is None:
        return set()
    others = Connection.objects.filter(vendor__in={c.vendor for c in connections}).exclude(tenant__in=tenants)
    return {key for other in others for key, limit in (_keys(other) or {}).values() if limit.scope != "connection"}


def _budget(
    connection: Connection, key: str, limit: Limit, bucket: LimitBucket | None, foreign: bool, now: dt.datetime, own_calls: bool
) -> Budget:
    rest_s = max(0.0, (bucket.rest_until if bucket is not None else 0.0) - now.timestamp())
    today = bucket.used_today if bucket is not None and bucket.day == now.date() else 0
    return Budget(
        key,
        limit,
        None if foreign else level(limit, bucket.arrival if bucket is not None else 0.0, now.timestamp()),
        None if foreign else today,
        _own_today(connection, limit, now) if foreign and own_calls else None,
        now + dt.timedelta(seconds=rest_s) if rest_s else None,
        bucket.rest_reason if bucket is not None and rest_s else "",
        rest_s,
        foreign,
    )


def _own_today(connection: Connection, limit: Limit, now: dt.datetime) -> int:
    """Calls of this connection on record since midnight UTC; at most COUNTED."""
    since = now.replace(hour=0, minute=0, second=0, microsecond=0)
    made = Exchange.objects.filter(tenant=connection.tenant_id, connection=connection, started_at__gte=since)
    made = made.filter(operation=TOKEN) if limit.name == TOKEN else made.exclude(operation=TOKEN)
    return made[:COUNTED].count()


# -- backlog -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Need:
    """Calls that the waiting work needs at a connection."""

    connection: Connection
    calls: Span


@dataclass(slots=True)
class Backlog:
    """What waits in an integration, what it costs, and when it will be through (None: `held` says why nobody knows)."""

    integration: Integration
    waiting: int
    running: int
    labels: int
    needs: list[Need]
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    slowest: str = ""
    held: str = ""


def backlogs(
    integrations: Sequence[Integration],
    found: Sequence[Account],
    *,
    now: dt.datetime | None = None,
    open_pauses: Sequence[Pause] | None = None,
) -> list[Backlog]:
    """Waiting work of these integrations (tenant, source and target loaded). Their calls at one limit add up.

    `now` (the database's) and `open_pauses` (those that concern them) where they were asked for already.
    """
    now = now or clock.now()
    counts, dues = _counts(integrations)
    if open_pauses is None:
        both = {pk for i in integrations for pk in (i.source_id, i.target_id)}
        open_pauses = pauses.standing(both, [i.pk for i in integrations]) if counts else ()
    made: list[Backlog] = []
    load: dict[int, Span] = defaultdict(Span)
    for integration in integrations:
        told = _backlog(integration, counts.get(integration.pk, {}))
        told.held = _held(integration, pauses.concerning(integration, open_pauses)) if told.waiting + told.running else ""
        made.append(told)
        if not told.held:
            for need in told.needs:
                load[need.connection.pk] += need.calls
    paces = _paces(found, load)
    for backlog in made:
        if backlog.held or not backlog.waiting + backlog.running:
            continue
        ends = [paces[n.connection.pk] for n in backlog.needs if n.connection.pk in paces]
        slowest = max(ends, key=lambda pace: pace[1], default=None)
        if slowest is None:
            backlog.held = "The limits of its connections cannot be told."
            continue
        due = dues.get(backlog.integration.pk)
        backlog.first, backlog.last = (
            max(now + dt.timedelta(seconds=s), due or now) for s in (max(p[0] for p in ends), slowest[1])
        )
        backlog.slowest = slowest[2]
    return made


def _counts(integrations: Sequence[Integration]) -> tuple[dict[int, dict[tuple[str, bool, bool], int]], dict[int, dt.datetime]]:
    """By integration: (flow, bought, running) -> transfers; and when the last of the waiting ones is due."""
    bought = EffectSend.objects.filter(
        effect__record=OuterRef("record"), effect__generation=OuterRef("record__generation"), outcome=EffectSend.Outcome.DONE
    )
    rows = (
        Transfer.objects.filter(integration__in=[i.pk for i in integrations], state__in=("waiting", "running"))
        .order_by()
        .annotate(bought=Exists(bought))
        .values_list("integration", "flow", "bought", "state")
        .annotate(n=Count("pk"), due=Max("due_at"))
    )
    counts: dict[int, dict[tuple[str, bool, bool], int]] = defaultdict(dict)
    dues: dict[int, dt.datetime] = {}
    for integration, flow, has_label, state, n, due in rows:
        counts[integration][(flow, has_label, state == "running")] = n
        if state == "waiting" and due is not None:
            dues[integration] = max(due, dues.get(integration, due))
    return counts, dues


def _backlog(integration: Integration, counts: Mapping[tuple[str, bool, bool], int]) -> Backlog:
    by_flow: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    labels = 0
    for (flow, has_label, _), n in counts.items():
        by_flow[flow][1 if has_label else 0] += n
        if not has_label and any(stage.effect for stage in STAGES.get(flow, ())):
            labels += n
    ends = {"source": Span(), "target": Span()}
    for flow, (fresh, after) in by_flow.items():
        for end, calls in calls_for(flow, fresh, after, integration.options).items():
            ends[end] += calls
    running = sum(n for (_, _, is_running), n in counts.items() if is_running)
    needs = [Need(integration.source, ends["source"]), Need(integration.target, ends["target"])]
    return Backlog(integration, sum(counts.values()) - running, running, labels, needs)


def _held(integration: Integration, open_pauses: Iterable[Pause]) -> str:
    """Why nobody can say when the work will be through, or ""."""
    if not integration.enabled:
        return "The integration is switched off."
    if integration.stop_buying or integration.tenant.stop_buying:
        return "Buying is stopped."
    for pause in open_pauses:
        name = f"{pause.get_scope_display()} {pause.scope_name}".strip()
        again = f"One record tries again at {pause.probe_at:%H:%M} UTC." if pause.probe_at is not None else ""
        return " ".join(text for text in (f"{name} stands still: {pause.message}", pause.remedy, again) if text)
    return ""


def _paces(found: Sequence[Account], load: Mapping[int, Span]) -> dict[int, tuple[float, float, str]]:
    """By connection: seconds until its load is through, at least and at most, and what makes it so."""
    together: dict[str, Span] = defaultdict(Span)  # several connections may count on one limit
    for account in found:
        if (budget := account.budget(CALLS)) is not None:
            together[budget.key] += load.get(account.connection.pk, Span())
    made = {}
    # Without a load nobody asks for its pace.
    wanted = [a for a in found if a.connection.pk in load and not a.problem]
    call_s = _call_s([a.connection.pk for a in wanted])
    for account in wanted:
        calls = load.get(account.connection.pk, Span())
        each = call_s.get(account.connection.pk, USUAL_CALL_S) / max(1, account.parallel)
        least, most = calls.least * each, calls.most * each
        name = account.connection.name
        why = f"how fast {name} answers"
        budget = account.budget(CALLS)
        if budget is not None and calls.most:
            # Of a limit shared with strangers the level is theirs, too: reckoned as if it were fresh.
            now = budget.level or level(budget.limit, 0.0, 0.0)
            by_limit = wait_s(together[budget.key].most, now, budget.rest_s)
            if by_limit > most:
                why = f"the rest of {name}" if budget.rest_s > by_limit / 2 else f"the limit “{CALLS}” of {name}"
            least = max(budget.rest_s + least, wait_s(together[budget.key].least, now, budget.rest_s))
            most = max(budget.rest_s + most, by_limit)
        # While logging in rests, work goes on as long as there is a good token: nobody can say for how long.
        login = max((b.rest_s for b in account.budgets if b.limit.name == TOKEN), default=0.0)
        if login and calls.most and login + calls.most * each > most:
            most, why = login + calls.most * each, f"the rest of {name}"
        made[account.connection.pk] = (least, most, why)
    return made


def _call_s(connections: Sequence[int]) -> dict[int, float]:
    """Seconds that a call to each of these connections took lately; without those that were never called. One query.

    Each one's newest by its own index: together in one IN they would all be read and sorted.
    """
    parts: list[str] = []
    values: list[Any] = []
    for number, pk in enumerate(connections):
        recent = Exchange.objects.filter(connection=pk).order_by("-pk").values("connection_id", "duration_ms")[:RECENT]
        sql, told = recent.query.sql_with_params()
        parts.append(f"SELECT * FROM ({sql}) AS c{number}")
        values += told
    if not parts:
        return {}
    with database.cursor() as cursor:
        every = " UNION ALL ".join(parts)
        cursor.execute(f"SELECT a.connection_id, AVG(a.duration_ms) FROM ({every}) AS a GROUP BY a.connection_id", values)
        return {pk: float(average) / 1000 for pk, average in cursor.fetchall()}


__all__ = ["Account", "Backlog", "Budget", "Level", "Span", "accounts", "backlogs", "calls_for", "level", "span_of", "wait_s"]

"""What the first page tells at a glance: health, flows against their schedules, the last seven days, money."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from connector.models import Connection, FlowState, Integration, Pause, TokenRow
from connector.services import clock, counters, lateness, schedules
from connector.services.engine import pauses
from integrations.flows.table import KINDS, FlowDef

DAYS = 7
MOST = 50
LARGEST = 10
"""Cost centres listed by name."""
LOGINS = 2
"""A connection logs in with one set of credentials, or with a second one for tracking."""
LATE_S = 90.0
"""A tick comes every minute; only what misses more than one is late."""


@dataclass(frozen=True, slots=True)
class FlowNow:
    """One flow against its schedule. `state`: on time, late, looking, resting, paused, off."""

    integration: Integration
    flow: FlowDef
    state: str
    says: str
    last_good: dt.datetime | None
    next_run: dt.datetime | None


@dataclass(slots=True)
class Day:
    """One day's numbers, and the share of the week's largest, for a bar."""

    day: dt.date
    done: int = 0
    failed: int = 0
    in_doubt: int = 0
    share: int = 0


@dataclass(frozen=True, slots=True)
class Spend:
    """Freight of the week on a cost centre, labels that were voided taken off."""

    cost_center: str
    currency: str
    amount: Decimal
    labels: int


@dataclass(slots=True)
class Week:
    """Seven days up to today."""

    days: list[Day] = field(default_factory=list)
    spend: list[Spend] = field(default_factory=list)

    @property
    def largest(self) -> list[Spend]:
        """The cost centres that most was spent on."""
        return self.spend[:LARGEST]

    @property
    def others(self) -> list[Spend]:
        """All others together, by currency; as cost centre stands how many they are."""
        found: dict[str, list[Spend]] = defaultdict(list)
        for one in self.spend[LARGEST:]:
            found[one.currency].append(one)
        return [
            Spend(f"{len(several)} more", currency, sum((s.amount for s in several), Decimal(0)), sum(s.labels for s in several))
            for currency, several in found.items()
        ]

    @property
    def done(self) -> int:
        return sum(d.done for d in self.days)

    @property
    def failed(self) -> int:
        return sum(d.failed for d in self.days)


def week(tenants: list[int] | None, zone: dt.tzinfo) -> Week:
    """The last seven days of these tenants (None: all), from counters."""
    today = clock.local_now().astimezone(zone).date()
    first = today - dt.timedelta(days=DAYS - 1)
    days = {first + dt.timedelta(days=n): Day(first + dt.timedelta(days=n)) for n in range(DAYS)}
    spend: dict[tuple[str, str], list[Any]] = defaultdict(lambda: [Decimal(0), 0])
    for place, (count, amount) in counters.by_day(tenants, first).items():
        if place.what == "spend":
            spend[(place.key, place.currency)][0] += amount
            spend[(place.key, place.currency)][1] += count
        elif place.day in days and place.what in ("done", "failed", "in_doubt"):
            day = days[place.day]
            setattr(day, place.what, getattr(day, place.what) + count)
    most = max((d.done + d.failed for d in days.values()), default=0)
    for day in days.values():
        day.share = round(100 * (day.done + day.failed) / most) if most else 0
    spent = [Spend(k or "no cost centre", c, a, n) for (k, c), (a, n) in spend.items() if n or a]
    return Week(list(days.values()), sorted(spent, key=lambda s: -s.amount))


def flows(
    integrations: Sequence[Integration], *, held: Sequence[Pause] | None = None, db_now: dt.datetime | None = None
) -> list[FlowNow]:
    """Every flow of these integrations (tenants loaded) against its schedule.

    `held` (pauses that are not ended) and `db_now` (the database's time) where they were asked for already.
    """
    now = clock.local_now()
    known = list(FlowState.objects.filter(integration__in=[i.pk for i in integrations]))
    states = {(s.integration_id, s.flow): s for s in known}
    told = list(Pause.objects.filter(lateness.WHOLE).exclude(state="ended")) if held is None else held
    open_pauses = [p for p in told if p.scope in ("connection", "integration")]
    late = {(p.integration, p.flow): p.late_s for p in lateness.judged(integrations, known, told, db_now or clock.now())}
    found = []
    for integration in integrations:
        zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
        mine = pauses.concerning(integration, open_pauses)
        for flow in KINDS[integration.kind].flows if integration.kind in KINDS else ():
            if not flow.available:
                continue
            state = states.get((integration.pk, flow.name))
            word, says, run = _judge(integration, flow, state, late.get((integration.slug, flow.name), 0.0), mine, zone, now)
            found.append(FlowNow(integration, flow, word, says, state.last_good_poll_at if state else None, run))
    return found


def _judge(
    integration: Integration,
    flow: FlowDef,
    state: FlowState | None,
    late_s: float,
    pauses: Sequence[Pause],
    zone: dt.tzinfo,
    now: dt.datetime,
) -> tuple[str, str, dt.datetime | None]:
    if not integration.enabled:
        return "off", "switched off", None
    for pause in pauses:
        if pause.kind == Pause.Kind.REST:
            return "resting", pause.message, pause.probe_at
        return "paused", f"{pause.message} {pause.remedy}".strip(), None
    schedule = schedules.merged_schedule(integration, flow.name)
    runs = schedules.next_runs(schedule, zone, 1, now, state.last_poll_at if state else None)
    run = runs[0] if runs else None
    if state is not None and state.lease_until is not None and state.lease_until > now:
        return "looking", "it is looking this moment", run
    if late_s > LATE_S:
        return "late", f"{int(late_s // 60)} min late: is a worker running?", run
    if state is not None and state.last_error:
        return "failed", str(state.last_error.get("message", "the last look failed")), run
    if not schedules.is_inside_window(schedule, zone, now):
        return "resting", "outside its hours", run
    return "on time", "", run


@dataclass(frozen=True, slots=True)
class Login:
    """A token of a connection, without the token. `state`: good, renewed at the next call, refused, resting."""

    state: str
    issued_at: dt.datetime | None
    until: dt.datetime | None
    """Good: when it is renewed; refused and resting: when it is asked for again."""
    requests_today: int


@dataclass(frozen=True, slots=True)
class Health:
    """One connection at a glance."""

    connection: Connection
    pauses: list[Pause]
    logins: list[Login]


def connections(found: Sequence[Connection], open_pauses: Sequence[Pause] | None = None) -> list[Health]:
    """Each connection with what stands still there, and why, and how its logins stand."""
    keys = [c.pk for c in found]
    held: dict[int, list[Pause]] = defaultdict(list)
    for pause in pauses.standing(keys, ()) if open_pauses is None else open_pauses:
        if pause.connection_id is not None:
            held[pause.connection_id].append(pause)
    logins: dict[int, list[Login]] = defaultdict(list)
    now = clock.local_now()
    columns = ("connections", "issued_at", "renew_after", "refused_until", "cool_until", "requests_day", "requests_today")
    # A login that was replaced long ago stands still in the table; only what was good or refused lately says something.
    for row in TokenRow.objects.filter(connections__in=keys).order_by("-issued_at", "pk").values(*columns):
        if len(logins[row["connections"]]) < LOGINS:
            logins[row["connections"]].append(_login(row, now))
    return [Health(c, held[c.pk], logins[c.pk]) for c in found]


def _login(row: dict[str, Any], now: dt.datetime) -> Login:
    today = row["requests_today"] if row["requests_day"] == now.astimezone(dt.UTC).date() else 0
    for state, until in (("resting", row["cool_until"]), ("refused", row["refused_until"]), ("good", row["renew_after"])):
        if until and until > now:
            return Login(state, row["issued_at"], until, today)
    return Login("asked for at the next call", row["issued_at"], None, today)

"""Limits shared by all processes: at most `calls` in any `per_s` seconds, per host, credential or connection.

One row per limit, moved by a short UPDATE (generic cell rate algorithm). A process draws a slice of at most
a quarter second's worth, so that a fast limit does not cost a commit per call. The rate is set so low that
burst plus steady flow never exceed the declared count in any window.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection, transaction

from connector.services import clock
from connector.services.database import release_connection
from integrations.base.errors import RateLimited
from integrations.base.vendor import Limit

PATIENCE_S = 5.0
SLICE_S = 0.25
SLICE_LIFE_S = 1.0

_allowance: dict[str, tuple[int, float]] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Pace:
    """A limit as the algorithm needs it: seconds between calls, calls at once, calls drawn at once."""

    interval_s: float
    burst: int
    slice: int

    @classmethod
    def of(cls, limit: Limit) -> Pace:
        """burst + rate × window never exceeds `calls`, whichever window one looks at."""
        if limit.calls <= 1:
            return cls(limit.per_s / max(limit.calls, 1), 1, 1)
        burst = max(1, limit.calls // 10)
        rate = (limit.calls - burst) / limit.per_s
        drawn = max(1, min(burst, int(rate * SLICE_S)))
        # A slice may be used up to SLICE_LIFE_S after it was drawn: that much less burst is left.
        return cls(1 / rate, burst, drawn)


def _now_sql() -> str:
    if connection.vendor == "sqlite":
        return f"((julianday('now') - 2440587.5) * 86400.0 + {clock.offset_s:.3f})"
    return f"(EXTRACT(EPOCH FROM statement_timestamp())::float8 + {clock.offset_s:.3f})"


def _quick_commit() -> None:
    """Losing the last counts in a crash is harmless here, waiting for the disk on every call is not."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")


def _draw(key: str, pace: Pace) -> float:
    """Take one slice. 0.0 when taken, else the seconds to wait."""
    now = _now_sql()
    greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    today = "date('now')" if connection.vendor == "sqlite" else "CURRENT_DATE"
    insert = "INSERT OR IGNORE INTO" if connection.vendor == "sqlite" else "INSERT INTO"
    ignore = "" if connection.vendor == "sqlite" else " ON CONFLICT DO NOTHING"
    room = (pace.burst - pace.slice) * pace.interval_s
    update = f"""UPDATE connector_limitbucket
        SET arrival = {greatest}(arrival, {now}) + %s, used = used + %s,
            used_today = CASE WHEN day = {today} THEN used_today + %s ELSE %s END, day = {today}
        WHERE key = %s AND rest_until <= {now} AND arrival <= {now} + %s"""
    for fresh in (False, True):
        with transaction.atomic(), connection.cursor() as cursor:
            _quick_commit()
            if fresh:
                cursor.execute(
                    f"{insert} connector_limitbucket (key, arrival, rest_until, rest_reason, used, used_today)"
                    f" VALUES (%s, 0, 0, '', 0, 0){ignore}",
                    [key],
                )
            cursor.execute(update, [pace.slice * pace.interval_s, pace.slice, pace.slice, pace.slice, key, room])
            if cursor.rowcount:
                return 0.0
            cursor.execute(
                f"SELECT {greatest}(arrival - {now} - %s, rest_until - {now}) FROM connector_limitbucket WHERE key = %s",
                [room, key],
            )
            row = cursor.fetchone()
            if row is not None:
                return max(float(row[0]), 0.001)
    return 0.001


class DatabaseThrottle:
    """The limits of one connection. `keys` maps limit names to bucket keys (scope resolved by the caller)."""

    def __init__(self, limits: Mapping[str, tuple[str, Limit]], vendor: str = "") -> None:
        self._limits = {name: (key, Pace.of(limit)) for name, (key, limit) in limits.items()}
        self._vendor = vendor

    def take(self, names: tuple[str, ...]) -> None:
        """One call of each named limit; waits up to PATIENCE_S, then raises RateLimited. Undeclared names are free."""
        for name in names:
            if name in self._limits:
                self._take(name, *self._limits[name])
        # Every vendor call passes here first: the right place to let go of the database.
        release_connection()

    def _take(self, name: str, key: str, pace: Pace) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with _lock:
                left, until = _allowance.get(key, (0, 0.0))
                if left > 0 and time.monotonic() < until:
                    _allowance[key] = (left - 1, until)
                    return
            wait = _draw(key, pace)
            if wait == 0.0:
                if pace.slice > 1:
                    with _lock:
                        _allowance[key] = (pace.slice - 1, time.monotonic() + SLICE_LIFE_S)
                return
            if time.monotonic() + wait > deadline:
                raise RateLimited(
                    f"The limit “{name}” is used up.",
                    retry_after_s=wait,
                    code="our_limit",
                    vendor=self._vendor,
                    remedy="Nothing to do: work goes on by itself when the limit allows it.",
                )
            release_connection()
            time.sleep(wait * (1 + random.random() * 0.2))

    def rest(self, name: str, seconds: float) -> None:
        """Nobody calls under this limit for `seconds` (the vendor said so)."""
        if name not in self._limits:
            return
        key = self._limits[name][0]
        with _lock:
            _allowance.pop(key, None)
        now = _now_sql()
        greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO connector_limitbucket (key, arrival, rest_until, rest_reason, used, used_today)"
                f" VALUES (%s, 0, {now} + %s, 'the vendor said: too many', 0, 0)"
                " ON CONFLICT (key) DO UPDATE"
                f" SET rest_until = {greatest}(connector_limitbucket.rest_until, excluded.rest_until),"
                " rest_reason = excluded.rest_reason",
                [key, seconds],
            )


def forget() -> None:
    """Drop this process's slices (tests; after a fork)."""
    with _lock:
        _allowance.clear()


def bucket_key(limit: Limit, *, host: str, login: str, connection_id: int) -> str:
    """The row that a limit counts on, by its scope."""
    scope = {"host": f"host:{host}", "credential": f"login:{login}", "connection": f"connection:{connection_id}"}[limit.scope]
    return f"{scope}:{limit.name}"[:200]

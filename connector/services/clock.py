"""The database's clock: leases and due times of several machines must not depend on any one machine's.

`Now()` is the expression for queries, `now()` reads it. Tests and drills shift both with `offset_s`
(or the environment's DRILL_CLOCK_OFFSET_S, honoured under DEBUG only).
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Expression, ExpressionWrapper, F, Func, Value
from django.db.models.functions import Now as DatabaseNow

offset_s: float = float(os.environ.get("DRILL_CLOCK_OFFSET_S", "0")) if settings.DEBUG else 0.0


class _SqliteAt(Func):
    """SQLite: the present moment shifted by seconds, written as Django writes datetimes (six digits; it compares text)."""

    function = "STRFTIME"
    template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW', %(expressions)s) || '000'"
    output_field = models.DateTimeField()


def at(seconds: float | Expression = 0.0) -> Any:
    """The database's time `seconds` from now, as an expression for updates and filters."""
    if isinstance(seconds, Expression):
        raise TypeError("give seconds as a number")
    shift = float(seconds) + offset_s
    if connection.vendor == "sqlite":
        return _SqliteAt(Value(f"{shift:+.3f} seconds"))
    if shift == 0:
        return DatabaseNow()
    return ExpressionWrapper(DatabaseNow() + Value(dt.timedelta(seconds=shift)), output_field=models.DateTimeField())


def now() -> dt.datetime:
    """The database's time, aware UTC (one short query)."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT STRFTIME('%Y-%m-%d %H:%M:%f', 'NOW')")
            found = dt.datetime.fromisoformat(cursor.fetchone()[0]).replace(tzinfo=dt.UTC)
        else:
            cursor.execute("SELECT statement_timestamp()")
            found = cursor.fetchone()[0]
    return found + dt.timedelta(seconds=offset_s)


def local_now() -> dt.datetime:
    """This machine's time with the tests' shift: for display, dates in a site's zone and time stamps of evidence."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=offset_s)


def ahead_s() -> float:
    """How far the database's clock is ahead of this machine's, in seconds; the way there and back is taken out."""
    before = local_now()
    found = now()
    after = local_now()
    return (found - before - (after - before) / 2).total_seconds()


__all__ = ["F", "ahead_s", "at", "local_now", "now", "offset_s"]

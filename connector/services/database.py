"""Manners towards the database: nothing is held while waiting for others (ENGINE 5), and no page asks without an end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from django.db import OperationalError, connection, transaction


class CalledInsideTransaction(RuntimeError):
    """A vendor was about to be called while a database transaction is open."""


def release_connection() -> None:
    """Give a pooled connection back before waiting for a vendor. Raises CalledInsideTransaction.

    An open transaction would hold locks for as long as the vendor takes, and what it wrote could still
    be rolled back after the vendor acted.
    """
    if connection.in_atomic_block:
        raise CalledInsideTransaction("a vendor is called inside a database transaction")
    if connection.vendor == "postgresql" and connection.settings_dict.get("OPTIONS", {}).get("pool"):
        connection.close()


class TookTooLong(RuntimeError):
    """A question to the database was broken off: it took longer than it was given."""


CANCELLED = "57014"
"""PostgreSQL's code of a statement that was broken off."""
STEPS = 5000
"""SQLite looks at the clock after so many of its instructions."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Each reading statement in the block is given so long. Raises TookTooLong; the connection is good afterwards."""
    try:
        with _postgres(seconds) if connection.vendor == "postgresql" else _sqlite(seconds):
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") == CANCELLED or str(error) == "interrupted":
            raise TookTooLong(f"no answer within {seconds} s") from error
        raise


@contextlib.contextmanager
def _postgres(seconds: float) -> Iterator[None]:
    inside = connection.in_atomic_block
    limit = "SELECT current_setting('statement_timeout'), set_config('statement_timeout', %s, true)"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(limit, [str(max(1, round(1000 * seconds)))])
        before = cursor.fetchone()[0]
        yield
        if inside:  # the setting ends with the outermost transaction
            cursor.execute(limit, [before])


@contextlib.contextmanager
def _sqlite(seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    until = time.monotonic() + seconds
    connection.connection.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(None, 0)

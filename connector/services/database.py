"""Manners towards the database while waiting for others (ENGINE 5)."""

from __future__ import annotations

from django.db import connection


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

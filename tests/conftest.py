"""What all tests share: triggers step aside while tables are flushed, what a process remembers is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings

from tests import machine

PROCESS_FOLDERS = ("drills", "browser")
PROCESS_FILES = ("test_runner.py", "test_first_minute.py", "test_demo.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this machine or this database cannot run, and say why; what is required fails instead."""
    reasons = {"browser": machine.browser_problem()}
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        reasons["postgres"] = "this run is on SQLite (TEST_DATABASE_URL)"
    if reasons["browser"] and "browser" in machine.required():
        raise pytest.UsageError(f"tests in a browser are required (MLC_REQUIRE), but there is {reasons['browser']}")
    for item in items:
        if item.path.parent.name in PROCESS_FOLDERS or item.path.name in PROCESS_FILES:
            item.add_marker(pytest.mark.processes)
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _forget_process_memory() -> Iterator[None]:
    """Tokens and slices that a process remembers must not leak from one test's database into the next."""
    from connector.services import clock, throttle, tokens
    from integrations.ifs_cloud import learning

    yield
    tokens.forget_memory()
    throttle.forget()
    learning.forget()
    clock.offset_s = 0.0


LASTING_TABLES = {"django_migrations", "django_content_type", "auth_permission"}
"""What `migrate` fills and no test changes: a flush that emptied them would have to fill them again each time."""


@pytest.fixture(scope="session", autouse=True)
def _flush_only_what_is_full() -> Iterator[None]:
    """After a transactional test, empty the tables that hold something, past the triggers that refuse it.

    Django's flush truncates all tables and makes every permission anew: that took longer than most tests.
    """
    from django.core.management.commands import flush

    original = flush.Command.handle
    flush.Command.handle = lambda self, **options: _empty(options["database"])
    yield
    flush.Command.handle = original


def _empty(alias: str) -> None:
    from django.db import connections, transaction

    from connector import triggers
    from connector.services import heartbeat

    connection = connections[alias]
    tables = sorted({*connection.introspection.django_table_names(only_existing=True, include_views=False)} - LASTING_TABLES)
    quoted = [connection.ops.quote_name(table) for table in tables]
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM {table})" for table in quoted))
        full = [table for table, filled in zip(quoted, cursor.fetchone(), strict=True) if filled]
        if connection.vendor == "postgresql":
            with transaction.atomic(using=alias):
                cursor.execute("SET LOCAL session_replication_role = replica")  # neither triggers nor foreign keys
                for table in full:
                    cursor.execute(f"DELETE FROM {table}")
        else:
            triggers.remove(connection)
            with connection.constraint_checks_disabled(), transaction.atomic(using=alias):
                for table in full:
                    cursor.execute(f"DELETE FROM {table}")
            triggers.ensure(alias)
    heartbeat.ensure(using=alias)

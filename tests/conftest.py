"""What all tests share: triggers step aside while tables are flushed, what a process remembers is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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

    yield
    tokens.forget_memory()
    throttle.forget()
    clock.offset_s = 0.0


@pytest.fixture(scope="session", autouse=True)
def _flush_past_triggers() -> Iterator[None]:
    """The audit refuses DELETE and TRUNCATE; Django's flush after a transactional test must be allowed to."""
    from django.core.management.commands import flush
    from django.db import connections

    from connector import triggers

    original = flush.Command.handle

    def handle(self: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        triggers.remove(connection)
        try:
            original(self, **options)
        finally:
            triggers.ensure(options["database"])

    flush.Command.handle = handle
    yield
    flush.Command.handle = original

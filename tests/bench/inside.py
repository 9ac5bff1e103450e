"""What runs inside an installation, with Django: counting statements and commits, a profile, a poll into the queue.

    python -m tests.bench.inside count INTEGRATION      one process, one JSON object
    python -m tests.bench.inside profile INTEGRATION    the same work under cProfile, as text
    python -m tests.bench.inside poll INTEGRATION       enqueue a poll
    python -m tests.bench.inside ship INTEGRATION       poll and work; what stopped, as one JSON object

Statements and commits are counted where Django hands them to the driver, in every thread of this process.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import django

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
SHAPE = re.compile(r'\s*(INSERT INTO|UPDATE|DELETE FROM|SELECT\b.*?\bFROM)\s+"?(\w+)', re.IGNORECASE | re.DOTALL)
TOP = 45


class Counting:
    """Counts what passes between Django and the database while it is installed (for the life of the process)."""

    def __init__(self) -> None:
        self.statements: Counter[str] = Counter()
        self.commits = 0
        self._lock = threading.Lock()
        self._dirty: set[int] = set()

    def install(self) -> None:
        """On every connection, those of threads to come included."""
        from django.db import connection
        from django.db.backends.base.base import BaseDatabaseWrapper
        from django.db.backends.signals import connection_created

        def hook(connection: Any, **kwargs: Any) -> None:
            if self._wrap not in connection.execute_wrappers:
                connection.execute_wrappers.append(self._wrap)

        self._hook = hook  # signals keep weak references
        connection_created.connect(hook)
        connection.ensure_connection()
        hook(connection)
        commit = BaseDatabaseWrapper._commit

        def counted(wrapper: Any) -> Any:
            with self._lock:
                if id(wrapper) in self._dirty:
                    self._dirty.discard(id(wrapper))
                    self.commits += 1
            return commit(wrapper)

        BaseDatabaseWrapper._commit = counted

    def _wrap(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        shape = SHAPE.match(sql)
        name = f"{shape[1].split()[0].upper()} {shape[2]}" if shape else sql.strip().split()[0].upper()
        if name == "BEGIN":  # on PostgreSQL the driver sends it, unseen; it is counted on neither
            return execute(sql, params, many, context)
        connection = context["connection"]
        with self._lock:
            self.statements[name] += 1
            if WRITES.match(sql):
                if connection.in_atomic_block:
                    self._dirty.add(id(connection))
                else:
                    self.commits += 1
        return execute(sql, params, many, context)

    def take(self) -> tuple[Counter[str], int]:
        """What was counted since the last time."""
        with self._lock:
            taken = self.statements, self.commits
            self.statements, self.commits = Counter(), 0
            return taken


def _integration(slug: str) -> Any:
    from connector.models import Integration

    return Integration.objects.select_related("source", "target", "tenant").get(slug=slug)


def count(slug: str) -> dict[str, Any]:
    """Poll, work, then poll idly; statements and commits of each. Documents must be ready in the ERP."""
    from connector.management.commands.sync import drain
    from connector.services.engine import polling
    from integrations.flows.specs import POLLS

    counting = Counting()
    counting.install()
    told: dict[str, Any] = {}
    integration = _integration(slug)
    counting.take()
    told["new"] = polling.poll(integration, POLLS["ship"]).new
    told["poll"] = _facts(counting)
    drain(integration)
    told["work"] = _facts(counting)
    polling.poll(integration, POLLS["ship"])  # the first one after our own writes may look at what moved
    counting.take()
    result = polling.poll(_integration(slug), POLLS["ship"])
    told["idle"] = _facts(counting) | {"seen": result.seen}
    return told


def _facts(counting: Counting) -> dict[str, Any]:
    statements, commits = counting.take()
    return {"statements": sum(statements.values()), "commits": commits, "by_shape": dict(statements.most_common())}


def profile(slug: str) -> str:
    """The same work in one slot under cProfile: the loop's thread and the slot's thread together."""
    from connector.services.engine import polling, work
    from integrations.flows.specs import FLOWS, POLLS

    integration = _integration(slug)
    new = polling.poll(integration, POLLS["ship"]).new
    profiles = [cProfile.Profile()]
    attempt = work._attempt

    def profiled(*args: Any) -> None:
        made = cProfile.Profile()
        made.runcall(attempt, *args)
        profiles.append(made)

    work._attempt = profiled
    while profiles[0].runcall(work.process, integration, FLOWS, threads=1).states:
        continue
    text = io.StringIO()
    stats = pstats.Stats(*profiles, stream=text)
    text.write(f"{new} shipments\n")
    for order in ("cumulative", "tottime"):
        stats.sort_stats(order).print_stats(TOP)
    return text.getvalue()


def ship(slug: str) -> dict[str, int]:
    """Poll once and work until nothing is left to do; what stopped, by code (of a pause or of a transfer)."""
    from connector.management.commands.sync import drain
    from connector.models import Pause, Transfer
    from connector.services.engine import polling
    from integrations.flows.specs import POLLS

    integration = _integration(slug)
    polling.poll(integration, POLLS["ship"])
    drain(integration)
    stopped = Transfer.objects.filter(integration=integration).exclude(state__in=("done", "cancelled"))
    codes = [*stopped.values_list("code", flat=True), *Pause.objects.exclude(state="ended").values_list("code", flat=True)]
    return dict(Counter(codes))


def poll(slug: str) -> None:
    """Into the queue, for a running cluster."""
    from connector.services import wake

    wake.poll(_integration(slug).pk, "ship")


def main() -> None:
    """One of these; results on stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.inside", description=__doc__)
    parser.add_argument("act", choices=("count", "profile", "poll", "ship"))
    parser.add_argument("integration")
    told = parser.parse_args()
    django.setup()
    if told.act == "count":
        json.dump(count(told.integration), sys.stdout)
    elif told.act == "profile":
        sys.stdout.write(profile(told.integration))
    elif told.act == "ship":
        json.dump(ship(told.integration), sys.stdout)
    else:
        poll(told.integration)


if __name__ == "__main__":
    main()

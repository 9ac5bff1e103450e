"""Is this installation ready to serve? Asked by load balancers and by people in a hurry."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from connector.services import clock, heartbeat, keys, lateness

LATE_S = 300.0
CLOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: its name, whether it holds, and what to do if not. Tells nothing about tenants.

    `web` False: a fault of workers or machines, which takes no web process out of service.
    """

    name: str
    ok: bool
    message: str = ""
    web: bool = True


def readiness() -> list[Check]:
    """Database, migrations and keys, in this order; what cannot be asked any more is left out.

    Where these are in order: whether workers live, whether polls are late, and how the clocks differ.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return [Check("database", False, "The database does not answer.")]
    found = [Check("database", True)]
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return [*found, Check("migrations", False, "Run manage.py migrate.")]
    found.append(Check("migrations", True))
    problem = keys.problem()
    if problem:
        return [*found, Check("keys", False, f"{problem} {keys.REMEDY}")]
    return [*found, Check("keys", True), _worker(), _schedules(), _clock()]


def _minutes(seconds: float) -> str:
    count = int(seconds // 60)
    return "1 minute" if count == 1 else f"{count} minutes"


def _worker() -> Check:
    age = heartbeat.age_s()
    if age is None:
        told = "No worker has looked for work yet. Start manage.py qcluster."
    elif age > heartbeat.STALE_S:
        told = f"No worker has looked for work for {_minutes(age)}. Is manage.py qcluster running?"
    else:
        told = ""
    return Check("worker", not told, told, web=False)


def _schedules() -> Check:
    late = [pulse.late_s for pulse in lateness.pulses() if pulse.late_s > LATE_S]
    told = ""
    if late:
        flows = "1 poll is" if len(late) == 1 else f"{len(late)} polls are"
        told = f"{flows} late, by {_minutes(max(late))} at most."
    return Check("schedules", not told, told, web=False)


def _clock() -> Check:
    ahead = clock.ahead_s()
    told = ""
    if abs(ahead) > CLOCK_S:
        side = "ahead of" if ahead > 0 else "behind"
        told = f"The database's clock is {abs(ahead):.0f} s {side} this machine's. Set both by a time server (NTP)."
    return Check("clock", not told, told, web=False)

"""Is this installation ready to serve? Asked by load balancers and by people in a hurry."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from connector.services import keys


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: its name, whether it holds, and what to do if not. Tells nothing about tenants."""

    name: str
    ok: bool
    message: str = ""


def readiness() -> list[Check]:
    """Database, migrations and keys, in this order; what cannot be asked any more is left out."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return [Check("database", False, "The database does not answer.")]
    found = [Check("database", True)]
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return [*found, Check("migrations", False, "Run manage.py migrate.")]
    problem = keys.problem()
    return [*found, Check("migrations", True), Check("keys", not problem, f"{problem} {keys.REMEDY}" if problem else "")]

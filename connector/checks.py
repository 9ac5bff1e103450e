"""System checks: bad configuration is said at start, not at the first label."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from integrations import registry


@register()
def check_pool(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """django-q2 forks; a connection pool made before the fork hands one process another's rows (ENGINE 5)."""
    if settings.DATABASES["default"].get("OPTIONS", {}).get("pool"):
        return [
            Error(
                "DATABASES['default']['OPTIONS']['pool'] is set.",
                hint="Remove it: workers open a pool of their own after the fork.",
                id="connector.E001",
            )
        ]
    return []


@register()
def check_manifests(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every vendor's manifest can be imported and its slug is its name in the registry."""
    found: list[CheckMessage] = []
    for slug in registry.slugs():
        vendor = registry.get(slug)
        if vendor.slug != slug:
            found.append(Error(f"The manifest of {slug} calls itself {vendor.slug}.", id="connector.E002"))
    return found


@register()
def check_sqlite_workers(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """SQLite has one writer: more than one cluster of two workers only waits."""
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3") and settings.WORKER_PROCESSES > 2:
        return [
            Warning(
                f"WORKER_PROCESSES={settings.WORKER_PROCESSES} on SQLite.",
                hint="SQLite serves one cluster of at most 2 workers. Use PostgreSQL for more.",
                id="connector.W001",
            )
        ]
    return []


@register("database")
def check_encryption_key(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """The configured keys open what this installation stored (run by `check --database default` and at start)."""
    from connector.services import keys

    problem = keys.problem()
    if problem:
        return [Error(problem, hint=keys.REMEDY, id="connector.E003")]
    return []

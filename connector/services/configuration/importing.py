"""Importing a configuration document: everything is checked before anything is written, all or nothing.

What is written and its audit entries share one transaction. Secrets appear in no message and no entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from connector.models import (
    Installation,
)
from connector.services import keys
from connector.services.configuration.findings import ConfigError, InvalidConfiguration
from connector.services.configuration.plan import plan
from connector.services.configuration.writing import channel_write, connection_write, integration_write, tenant_write


@dataclass(slots=True)
class Summary:
    """What an import did, and remarks for a person.

    Slugs by table ("tenants", "connections", "integrations"); an alert channel ("alert_channels") is tenant/name.
    """

    created: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    unchanged: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, outcome: str, table: str, slug: str) -> None:
        """Count one entry as "created", "changed" or "unchanged"."""
        getattr(self, outcome).setdefault(table, []).append(slug)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"created": self.created, "changed": self.changed, "unchanged": self.unchanged, "notes": self.notes}


def validate(document: Any) -> list[ConfigError]:
    """Everything that is wrong with a document, against itself and against what the database holds. Writes nothing."""
    return plan(document).findings.errors


def apply(document: Any, actor: str) -> Summary:
    """Import a document: all or nothing, in one transaction. The same document again changes nothing.

    Raises InvalidConfiguration, with every error, when it is not valid or the stored secrets cannot be read.
    """
    with transaction.atomic():
        lock()
        made = plan(document)
        made.findings.stop_if_any()
        summary = Summary()
        for tenant in made.tenants.values():
            summary.note(tenant_write(tenant, actor), "tenants", tenant.slug)
        for connection in made.connections.values():
            summary.note(connection_write(connection, actor), "connections", connection.slug)
        for integration in made.integrations.values():
            summary.note(integration_write(integration, actor, summary.notes), "integrations", integration.slug)
        for channel in made.channels:
            summary.note(channel_write(channel, actor), "alert_channels", channel.label)
    return summary


def lock() -> None:
    """One change of the configuration at a time. Raises InvalidConfiguration when the keys are not this installation's.

    A secret encrypted with a strange key would be lost when the right key comes back.
    """
    problem = keys.problem()
    if problem:
        raise InvalidConfiguration([ConfigError("", f"{problem} {keys.REMEDY}")])
    _wait_for_turn()


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else changes the configuration in here: what a form compares with is what it is saved over."""
    with transaction.atomic():
        _wait_for_turn()
        yield


def _wait_for_turn() -> None:
    keys.installation()
    Installation.objects.select_for_update().get(pk=1)

"""Saving what a form was given: it becomes a document with one entry and takes the file's way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from connector.models import (
    Connection,
    Integration,
    Tenant,
)
from connector.services import audit
from connector.services.audit import Draft
from connector.services.configuration.findings import ConfigError, InvalidConfiguration
from connector.services.configuration.importing import apply, lock, validate
from connector.services.configuration.plan import VERSION

# -- forms -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectionInput:
    """A connection as a form gives it. `tenant` is a slug.

    `credentials`: empty or None keeps what is stored; `remove` names what is to be removed. An empty URL
    means the environment's own. `settings` None keeps; `company_codes` (as in the file) None keeps.
    """

    slug: str
    tenant: str
    vendor: str
    name: str
    environment: str = "production"
    urls: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str | None] = field(default_factory=dict)
    remove: frozenset[str] = frozenset()
    settings: Mapping[str, Any] | None = None
    company_codes: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class IntegrationInput:
    """An integration as a form gives it; slugs for tenant, source and target. None keeps a block."""

    slug: str
    tenant: str
    kind: str
    name: str
    source: str
    target: str
    company_codes: Sequence[str] | None = None
    enabled: bool | None = None
    start_from: dt.datetime | None = None
    schedule: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    mappings: Sequence[Mapping[str, Any]] | None = None
    value_maps: Mapping[str, Mapping[str, str]] | None = None


def _save(table: str, entry: Mapping[str, Any], actor: str, taken: bool) -> None:
    """Apply one entry. Raises InvalidConfiguration with paths relative to the entry ("urls.base")."""
    if taken:
        raise InvalidConfiguration([ConfigError("slug", f'"{entry["slug"]}" is taken; slugs are unique in the installation')])
    try:
        apply({"version": VERSION, table: [dict(entry)]}, actor)
    except InvalidConfiguration as error:
        prefix = f"{table}[0]"
        raise InvalidConfiguration(
            [ConfigError(e.path.removeprefix(prefix).lstrip("."), e.message) for e in error.errors]
        ) from error


def tenant_save(slug: str, name: str, timezone: str, actor: str, existing: Tenant | None = None) -> Tenant:
    """Create or change a tenant. Raises InvalidConfiguration."""
    slug = existing.slug if existing else slug
    with transaction.atomic():
        taken = existing is None and Tenant.objects.filter(slug=slug).exists()
        _save("tenants", {"slug": slug, "name": name, "timezone": timezone}, actor, taken)
        return Tenant.objects.get(slug=slug)


def connection_save(entered: ConnectionInput, actor: str, existing: Connection | None = None) -> Connection:
    """Create or change a connection. Slug, tenant and vendor of an existing one stay. Raises InvalidConfiguration."""
    given: dict[str, Any] = {key: value for key, value in entered.credentials.items() if value}
    entry: dict[str, Any] = {
        "slug": existing.slug if existing else entered.slug,
        "tenant": entered.tenant,
        "vendor": entered.vendor,
        "name": entered.name,
        "environment": entered.environment,
        "urls": {key: value for key, value in entered.urls.items() if value},
        "credentials": given | dict.fromkeys(sorted(entered.remove)),
    }
    if entered.settings is not None:
        entry["settings"] = entered.settings
    if entered.company_codes is not None:
        entry["company_codes"] = list(entered.company_codes)
    with transaction.atomic():
        taken = existing is None and Connection.objects.filter(slug=entry["slug"]).exists()
        _save("connections", entry, actor, taken)
        return Connection.objects.get(slug=entry["slug"])


def integration_save(entered: IntegrationInput, actor: str, existing: Integration | None = None) -> Integration:
    """Create or change an integration. Slug and tenant of an existing one stay. Raises InvalidConfiguration."""
    entry: dict[str, Any] = {
        "slug": existing.slug if existing else entered.slug,
        "tenant": entered.tenant,
        "kind": entered.kind,
        "name": entered.name,
        "source": entered.source,
        "target": entered.target,
        "start_from": entered.start_from.isoformat() if entered.start_from else None,
    }
    blocks = ("company_codes", "enabled", "schedule", "options", "mappings", "value_maps")
    entry |= {name: getattr(entered, name) for name in blocks if getattr(entered, name) is not None}
    with transaction.atomic():
        taken = existing is None and Integration.objects.filter(slug=entry["slug"]).exists()
        _save("integrations", entry, actor, taken)
        return Integration.objects.get(slug=entry["slug"])


# -- mappings ----------------------------------------------------------------------------------------


def mappings_mark(mappings: Sequence[Mapping[str, Any]], value_maps: Mapping[str, Any]) -> str:
    """Tells one version of an integration's mappings from another; the order in which slots are listed does not count."""
    return audit.digest([sorted(mappings, key=lambda row: str(row.get("slot"))), value_maps])


def _mappings_entry(integration: Integration, mappings: Sequence[Mapping[str, Any]], value_maps: Mapping[str, Any]) -> Any:
    return {"slug": integration.slug, "mappings": [dict(row) for row in mappings], "value_maps": dict(value_maps)}


def mappings_check(
    integration: Integration, mappings: Sequence[Mapping[str, Any]], value_maps: Mapping[str, Any]
) -> list[ConfigError]:
    """What would be wrong with these mappings, by paths below the integration ("mappings[0].source"). Writes nothing."""
    entry = _mappings_entry(integration, mappings, value_maps)
    errors = validate({"version": VERSION, "integrations": [entry]})
    return [ConfigError(e.path.removeprefix("integrations[0]").lstrip("."), e.message) for e in errors]


def mappings_save(
    integration: Integration,
    mappings: Sequence[Mapping[str, Any]],
    value_maps: Mapping[str, Any],
    *,
    actor: str,
    base: str,
    back_to: int | None = None,
) -> Integration:
    """Put new mappings and value maps in force; everything else of the integration stays.

    `base` is the mark of the version that the change was made on: when somebody else has changed them meanwhile,
    nothing is written. `back_to` names the audit entry of the version that a person went back to.
    Raises InvalidConfiguration.
    """
    with transaction.atomic():
        lock()
        stored = Integration.objects.select_related("tenant").get(pk=integration.pk)
        if mappings_mark(stored.mappings, stored.value_maps) != base:
            raise InvalidConfiguration(
                [
                    ConfigError(
                        "", "Somebody changed these mappings while you had them open. Nothing was saved: look at them again."
                    )
                ]
            )
        _save("integrations", _mappings_entry(stored, mappings, value_maps), actor, False)
        if back_to is not None:
            audit.append(stored.tenant, Draft("mappings_restored", {"to_entry": back_to}, stored, None, actor))
        return Integration.objects.select_related("source", "target", "tenant").get(pk=integration.pk)


def options_save(
    integration: Integration,
    changes: Mapping[str, Any],
    *,
    actor: str,
    reason: str,
    act: str,
    unchanged: Callable[[Integration], bool],
) -> Integration:
    """Put some options in force (None: as usual); the others stay. What changed is kept with the reason, as `act`.

    Nothing is written where `unchanged` says that the stored integration is not what the person looked at.
    Raises InvalidConfiguration.
    """
    with transaction.atomic():
        lock()
        stored = Integration.objects.select_related("tenant").get(pk=integration.pk)
        if not unchanged(stored):
            told = "Somebody changed this while you had it open. Nothing was saved: look at it again."
            raise InvalidConfiguration([ConfigError("", told)])
        options = {name: value for name, value in {**stored.options, **changes}.items() if value is not None}
        before = {name: stored.options.get(name) for name in changes if stored.options.get(name) != options.get(name)}
        _save("integrations", {"slug": stored.slug, "options": options}, actor, False)
        if before:
            facts = {"before": before, "after": {name: options.get(name) for name in before}, "reason": reason}
            audit.append(stored.tenant, Draft(act, facts, stored, None, actor))
        return Integration.objects.select_related("source", "target", "tenant").get(pk=integration.pk)

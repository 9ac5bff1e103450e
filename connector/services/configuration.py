"""Setting up tenants, connections and integrations: from a file, from a form, with one validation and one audit.

A form's input becomes a document with one entry and takes the file's way. Everything is checked before
anything is written; what is written and its audit entries share one transaction. Secrets appear in no
message, no entry and no export.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q

from connector.models import (
    Baseline,
    CompanyCode,
    Connection,
    FlowState,
    Installation,
    Integration,
    Pause,
    Site,
    Tenant,
    Transfer,
)
from connector.services import alerts, audit, clock, keys, wake
from connector.services.audit import Draft
from connector.services.configuration_checks import (
    CompanyData,
    ConfigError,
    InvalidConfiguration,
    SiteData,
    json_copy,
    nearest,
    read_document,
)
from connector.services.configuration_plan import VERSION, ConnectionPlan, IntegrationPlan, TenantPlan, plan
from connector.services.engine import pauses
from connector.services.schedules import merged_schedule, next_due
from integrations import registry
from integrations.base.vendor import Vendor
from integrations.flows.table import KINDS

__all__ = [
    "ConfigError",
    "ConnectionInput",
    "IntegrationInput",
    "InvalidConfiguration",
    "Summary",
    "apply",
    "connection_save",
    "export",
    "integration_save",
    "integration_switch",
    "mappings_check",
    "mappings_mark",
    "mappings_save",
    "read_document",
    "stop_buying",
    "tenant_save",
    "validate",
]

REASON_CAP = 300
BRAKE_CODE = "stop_buying"
SWITCHED_OFF_CODE = "switched_off"
"""Codes of waiting transfers that are held; they are due at once when they are let go."""

Level = Literal["installation", "tenant", "integration"]


@dataclass(slots=True)
class Summary:
    """What an import did: slugs by table ("tenants", "connections", "integrations"), and remarks for a person."""

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
        _lock()
        made = plan(document)
        made.findings.stop_if_any()
        summary = Summary()
        for tenant in made.tenants.values():
            summary.note(_tenant_write(tenant, actor), "tenants", tenant.slug)
        for connection in made.connections.values():
            summary.note(_connection_write(connection, actor), "connections", connection.slug)
        for integration in made.integrations.values():
            summary.note(_integration_write(integration, actor, summary.notes), "integrations", integration.slug)
    return summary


def _lock() -> None:
    """One change of the configuration at a time. Raises InvalidConfiguration when the keys are not this installation's.

    A secret encrypted with a strange key would be lost when the right key comes back.
    """
    problem = keys.problem()
    if problem:
        raise InvalidConfiguration([ConfigError("", f"{problem} {keys.REMEDY}")])
    keys.installation()
    Installation.objects.select_for_update().get(pk=1)


# -- what changed ------------------------------------------------------------------------------------

_ABSENT = object()


def _flat(value: Any, path: str = "", depth: int = 6) -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by dotted path; below `depth` names an object is a leaf."""
    if isinstance(value, Mapping) and value and depth:
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}" if path else str(key), depth - 1)
    else:
        yield path, value


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], depth: int = 6) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves that differ, as they were and as they are. Compared as canonical JSON (true is not 1)."""
    old, new = dict(_flat(before, depth=depth)), dict(_flat(after, depth=depth))
    paths = [
        path
        for path in dict.fromkeys((*old, *new))
        if audit.canonical([old.get(path)] if path in old else []) != audit.canonical([new.get(path)] if path in new else [])
    ]
    return {p: old[p] for p in paths if p in old}, {p: new[p] for p in paths if p in new}


def _changed_draft(act: str, actor: str, obj: Any, before: Mapping[str, Any], after: Mapping[str, Any], **facts: Any) -> Draft:
    """Names of what changed in the facts, the values (never secrets) in the detail, which may be erased."""
    names = sorted({*before, *after})
    return Draft(act, {"changed": names, **facts}, obj, {"before": dict(before), "after": dict(after)}, actor)


# -- tenants -----------------------------------------------------------------------------------------


def _tenant_write(made: TenantPlan, actor: str) -> str:
    values = {"name": made.name, "timezone": made.timezone}
    if made.existing is None:
        tenant = Tenant.objects.create(slug=made.slug, **values)
        audit.append(tenant, Draft("tenant_created", {"slug": made.slug}, tenant, {"after": values}, actor))
        return "created"
    tenant = made.existing
    before, after = _differences({"name": tenant.name, "timezone": tenant.timezone}, values)
    if not before:
        return "unchanged"
    tenant.name, tenant.timezone = made.name, made.timezone
    tenant.save(update_fields=["name", "timezone"])
    audit.append(tenant, _changed_draft("tenant_changed", actor, tenant, before, after))
    if "timezone" in after:
        for integration in Integration.objects.filter(tenant=tenant):
            _plan_polls(integration, tenant)
    return "changed"


# -- connections -------------------------------------------------------------------------------------


def _masked(vendor: Vendor, plain: Mapping[str, str]) -> dict[str, str]:
    """Plain credentials for the audit; what identifies money shows its last four characters."""
    masked = {c.key for c in vendor.credentials if c.masked}
    return {key: f"…{value[-4:]}" if key in masked else value for key, value in plain.items()}


def _credential_changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """ "changed" or "removed" per credential; never a value."""
    return {key: "changed" if key in new else "removed" for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


def _connection_write(made: ConnectionPlan, actor: str) -> str:
    tenant = Tenant.objects.get(slug=made.tenant)
    if made.existing is None:
        connection = Connection(
            tenant=tenant,
            slug=made.slug,
            name=made.name,
            vendor=made.vendor.slug,
            environment=made.environment,
            urls=made.urls,
            plain=made.plain,
            settings=made.settings,
        )
        connection.set_secrets(made.secrets or {})
        connection.save()
        companies = made.company_codes or ()
        _companies_write(connection, companies)
        detail = {"after": _shown(made) | {"company_codes": _companies_shown(companies)}}
        new: dict[str, Any] = {"slug": made.slug, "vendor": made.vendor.slug}
        new["credentials"] = dict.fromkeys(sorted({*made.plain, *(made.secrets or {})}), "set")
        audit.append(tenant, Draft("connection_created", new, connection, detail, actor))
        return "created"

    connection = made.existing
    stored = _companies_stored(connection)
    companies = stored if made.company_codes is None else made.company_codes
    old = _stored(connection, made.vendor) | {"company_codes": _companies_shown(stored)}
    before, after = _differences(old, _shown(made) | {"company_codes": _companies_shown(companies)})
    old_secrets = connection.secrets() if made.secrets is not None and connection.secrets_readable else {}
    credentials = _credential_changes(connection.plain, made.plain)
    if made.secrets is not None:
        credentials |= _credential_changes(old_secrets, made.secrets)
    if not before and not after and not credentials:
        return "unchanged"
    names = {*before, *after}
    learned = bool(credentials) or any(name.split(".")[0] in ("environment", "urls", "settings") for name in names)
    _connection_update(connection, made, learned)
    if made.company_codes is not None:
        _companies_write(connection, made.company_codes)
    scopes = [*Pause.Scope.values] if learned else [Pause.Scope.COMPANY, Pause.Scope.SITE]
    facts: dict[str, Any] = {"credentials": credentials} if credentials else {}
    if learned or any(name.startswith("company_codes") for name in names):
        integrations = Q(integration__source=connection) | Q(integration__target=connection)
        retried = _retry_pauses(Q(connection=connection, scope__in=scopes) | integrations)
        facts |= {"pauses_retried": retried} if retried else {}
    audit.append(tenant, _changed_draft("connection_changed", actor, connection, before, after, **facts))
    return "changed"


def _connection_update(connection: Connection, made: ConnectionPlan, learned: bool) -> None:
    """Write the row. `learned`: what was found out with the old address, secret or settings no longer counts."""
    connection.name, connection.environment = made.name, made.environment
    connection.urls, connection.plain, connection.settings = made.urls, made.plain, made.settings
    fields = ["name", "environment", "urls", "plain", "settings", "updated_at"]
    if made.secrets is not None:
        connection.set_secrets(made.secrets)
        fields.append("secrets_text")
    if learned:
        connection.version += 1
        connection.health = Connection.Health.UNKNOWN
        connection.last_ping = connection.last_ping_at = connection.unavailable_transfer = None
        connection.unavailable_in_a_row = 0
        fields += ["version", "health", "last_ping", "last_ping_at", "unavailable_in_a_row", "unavailable_transfer"]
    connection.save(update_fields=fields)


def _shown(made: ConnectionPlan) -> dict[str, Any]:
    return {
        "name": made.name,
        "environment": made.environment,
        "urls": made.urls,
        "credentials": _masked(made.vendor, made.plain),
        "settings": made.settings,
    }


def _stored(connection: Connection, vendor: Vendor) -> dict[str, Any]:
    return {
        "name": connection.name,
        "environment": connection.environment,
        "urls": connection.urls,
        "credentials": _masked(vendor, connection.plain),
        "settings": connection.settings,
    }


def _companies_stored(connection: Connection) -> tuple[CompanyData, ...]:
    return tuple(
        CompanyData(
            company.code,
            company.name,
            company.cost_center,
            company.freight_account,
            tuple(SiteData(site.code, site.timezone, site.address, site.cut_off) for site in company.sites.all()),
        )
        for company in connection.company_codes.prefetch_related("sites")
    )


def _companies_shown(companies: Sequence[CompanyData]) -> dict[str, Any]:
    return {
        company.code: {
            "name": company.name,
            "cost_center": company.cost_center,
            "freight_account": company.freight_account,
            "sites": {site.code: site.as_given() for site in company.sites},
        }
        for company in companies
    }


def _companies_write(connection: Connection, companies: Sequence[CompanyData]) -> None:
    """Make the stored company codes and sites these; rows that stay keep their ids."""
    connection.company_codes.exclude(code__in=[c.code for c in companies]).delete()
    for company in companies:
        values = {
            "tenant_id": connection.tenant_id,
            "name": company.name,
            "cost_center": company.cost_center,
            "freight_account": company.freight_account,
        }
        row, _ = CompanyCode.objects.update_or_create(connection=connection, code=company.code, defaults=values)
        row.sites.exclude(code__in=[s.code for s in company.sites]).delete()
        for site in company.sites:
            entered = {"tenant_id": connection.tenant_id, "timezone": site.timezone, "address": site.address}
            entered["cut_off"] = site.cut_off
            Site.objects.update_or_create(company_code=row, code=site.code, defaults=entered)


def _retry_pauses(which: Q) -> int:
    """Something was changed: let one transfer try what these pauses hold. Returns how many pauses."""
    found = list(Pause.objects.filter(which).exclude(state=Pause.State.ENDED))
    pauses.try_again(found, "configuration changed")
    return len(found)


# -- integrations ------------------------------------------------------------------------------------


def _integration_write(made: IntegrationPlan, actor: str, notes: list[str]) -> str:
    tenant = Tenant.objects.get(slug=made.tenant)
    ends = {end: Connection.objects.get(slug=getattr(made, end)) for end in ("source", "target")}
    values: dict[str, Any] = {
        "name": made.name,
        "kind": made.kind.slug,
        "company_codes": made.company_codes,
        "start_from": made.start_from,
        "schedule": made.schedule,
        "options": made.options,
        "mappings": made.mappings,
        "value_maps": made.value_maps,
    }
    shown = values | {end: connection.slug for end, connection in ends.items()}
    if made.existing is None:
        integration = Integration.objects.create(tenant=tenant, slug=made.slug, enabled=False, **values, **ends)
        facts = {"slug": made.slug, "kind": made.kind.slug, "source": made.source, "target": made.target}
        audit.append(tenant, Draft("integration_created", facts, integration, {"after": shown}, actor))
        if made.enabled:
            _switch(integration, tenant, True, actor, "")
        return "created"

    integration = made.existing
    old = {name: getattr(integration, name) for name in values} | {end: getattr(integration, end).slug for end in ends}
    before, after = _differences(old, shown, depth=2)
    for name, value in (values | ends).items():
        setattr(integration, name, value)
    names = {*before, *after}
    if names:
        integration.save(update_fields=[*values, *ends, "updated_at"])
        retried = _retry_pauses(Q(integration=integration))
        told: dict[str, Any] = {"pauses_retried": retried} if retried else {}
        audit.append(tenant, _changed_draft("integration_changed", actor, integration, before, after, **told))
    if any(name.split(".")[0] == "schedule" for name in names):
        _plan_polls(integration, tenant)
    if "start_from" in names and Baseline.objects.filter(integration=integration).exists():
        notes.append(
            f'"{made.slug}": start_from counts where a baseline is yet to be made (a new site or company code); '
            "for what has been listed before, use backfill"
        )
    switched = made.enabled != integration.enabled
    if switched:
        _switch(integration, tenant, made.enabled, actor, "")
    return "changed" if names or switched else "unchanged"


def _plan_polls(integration: Integration, tenant: Tenant) -> None:
    """The schedule or its zone changed: say anew when each flow that has polled before is due."""
    zone, now = zoneinfo.ZoneInfo(tenant.timezone), clock.now()
    flows = {flow.name for flow in KINDS[integration.kind].flows}
    for state in FlowState.objects.filter(integration=integration, flow__in=flows):
        due_at = next_due(merged_schedule(integration, state.flow), zone, now, state.last_poll_at)
        FlowState.objects.filter(pk=state.pk).update(next_due_at=due_at)


def _switch(integration: Integration, tenant: Tenant, on: bool, actor: str, reason: str) -> None:
    integration.enabled = on
    integration.save(update_fields=["enabled", "updated_at"])
    detail = {"reason": reason} if reason else None
    act = "integration_on" if on else "integration_off"
    audit.append(tenant, Draft(act, {"slug": integration.slug}, integration, detail, actor))
    if on:
        held = Transfer.objects.filter(integration=integration, state=Transfer.State.WAITING, code=SWITCHED_OFF_CODE)
        held.update(due_at=clock.now())
        # At once, whatever the hours: the first poll is the baseline, and what becomes ready after it is work.
        for flow in KINDS[integration.kind].flows:
            if flow.available:
                wake.poll(integration.pk, flow.name)
        wake.work()


def integration_switch(integration: Integration, on: bool, actor: str, reason: str = "") -> bool:
    """Switch an integration on or off; cursors are kept. Returns whether anything changed.

    Raises InvalidConfiguration when this release cannot run it.
    """
    with transaction.atomic():
        locked = Integration.objects.select_for_update().get(pk=integration.pk)
        kind = KINDS.get(locked.kind)
        if on and (kind is None or not kind.available):
            raise InvalidConfiguration([ConfigError("kind", f'this release cannot run "{locked.kind}"')])
        if locked.enabled == on:
            integration.enabled = on
            return False
        _switch(locked, locked.tenant, on, actor, reason.strip())
    integration.enabled = on
    return True


# -- brakes ------------------------------------------------------------------------------------------


def stop_buying(level: Level, obj: Tenant | Integration | None, on: bool, actor: str, reason: str = "") -> bool:
    """Put the brake on all purchases on or off: for the installation (`obj` None), a tenant or an integration.

    Look-ups and write-backs go on. On release, what it held is due at once. Returns whether anything changed.
    Raises InvalidConfiguration for a reason longer than REASON_CAP characters.
    """
    reason = reason.strip()
    if len(reason) > REASON_CAP:
        raise InvalidConfiguration([ConfigError("reason", f"is longer than {REASON_CAP} characters")])
    with transaction.atomic():
        row: Installation | Tenant | Integration
        held = Transfer.objects.filter(state=Transfer.State.WAITING, code=BRAKE_CODE)
        if level == "installation":
            keys.installation()
            row, tenant = Installation.objects.select_for_update().get(pk=1), None
        elif level == "tenant" and isinstance(obj, Tenant):
            row = tenant = Tenant.objects.select_for_update().get(pk=obj.pk)
            held = held.filter(tenant=row)
        elif level == "integration" and isinstance(obj, Integration):
            row = Integration.objects.select_for_update().get(pk=obj.pk)
            tenant = row.tenant
            held = held.filter(integration=row)
        else:
            raise TypeError(f"stop_buying({level!r}) does not go with {obj!r}")
        stored_reason = reason if on else ""
        if row.stop_buying == on and (not reason or row.stop_buying_reason == stored_reason):
            return False
        row.stop_buying, row.stop_buying_reason = on, stored_reason
        row.save(update_fields=["stop_buying", "stop_buying_reason"])
        detail = {"reason": reason} if reason else None
        audit.append(tenant, Draft("stop_buying_on" if on else "stop_buying_off", {"level": level}, row, detail, actor))
        alerts.brake_switched(level, row, tenant.pk if tenant else None, on, actor)
        if not on:
            held.update(due_at=clock.now())
            wake.work()
    if obj is not None:
        obj.stop_buying, obj.stop_buying_reason = on, stored_reason
    return True


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
        _lock()
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
        _lock()
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


# -- export ------------------------------------------------------------------------------------------


def export(tenant_slug: str | None = None) -> dict[str, Any]:
    """The configuration in the file's format, without secrets; importing it where it came from changes nothing.

    Raises InvalidConfiguration for an unknown tenant.
    """
    tenants = Tenant.objects.order_by("slug")
    if tenant_slug is not None:
        tenants = tenants.filter(slug=tenant_slug)
        if not tenants:
            known = list(Tenant.objects.values_list("slug", flat=True))
            raise InvalidConfiguration([ConfigError("tenant", f'no tenant "{tenant_slug}"{nearest(tenant_slug, known)}')])
    connections = Connection.objects.filter(tenant__in=tenants).select_related("tenant").order_by("slug")
    integrations = Integration.objects.filter(tenant__in=tenants).select_related("tenant", "source", "target").order_by("slug")
    return {
        "version": VERSION,
        "tenants": [{"slug": t.slug, "name": t.name, "timezone": t.timezone} for t in tenants],
        "connections": [_connection_out(c) for c in connections],
        "integrations": [_integration_out(i) for i in integrations],
    }


def _connection_out(connection: Connection) -> dict[str, Any]:
    known = registry.get(connection.vendor).secret_keys
    return {
        "slug": connection.slug,
        "tenant": connection.tenant.slug,
        "vendor": connection.vendor,
        "name": connection.name,
        "environment": connection.environment,
        "urls": dict(connection.urls),
        # A key that a later release declares secret is none of this file's business any more.
        "credentials": {key: value for key, value in connection.plain.items() if key not in known},
        "settings": json_copy(connection.settings),
        "company_codes": [_company_out(c, connection.tenant.timezone) for c in _companies_stored(connection)],
    }


def _company_out(company: CompanyData, zone: str) -> dict[str, Any]:
    sites: list[Any] = []
    for site in company.sites:
        if site.address is None and site.timezone == zone and site.cut_off is None:
            sites.append(site.code)
        else:
            sites.append({"code": site.code} | site.as_given())
    named = {"name": company.name, "cost_center": company.cost_center, "freight_account": company.freight_account}
    return {"code": company.code} | {key: value for key, value in named.items() if value} | {"sites": sites}


def _integration_out(integration: Integration) -> dict[str, Any]:
    start_from = integration.start_from
    return {
        "slug": integration.slug,
        "tenant": integration.tenant.slug,
        "kind": integration.kind,
        "name": integration.name,
        "source": integration.source.slug,
        "target": integration.target.slug,
        "company_codes": list(integration.company_codes),
        "enabled": integration.enabled,
        "start_from": start_from.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if start_from else None,
        "schedule": json_copy(integration.schedule),
        "options": json_copy(integration.options),
        "mappings": json_copy(integration.mappings),
        "value_maps": json_copy(integration.value_maps),
    }

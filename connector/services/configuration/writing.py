"""Writing what was planned: tenants, connections with their company codes, integrations; each with its audit entry.

What a change means for what has been learned (health, pauses, the next poll) is decided here too.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db.models import Q

from connector.models import (
    Baseline,
    CompanyCode,
    Connection,
    FlowState,
    Integration,
    Pause,
    Site,
    Tenant,
)
from connector.services import audit, clock, second_factor
from connector.services.alerts import channels
from connector.services.audit import Draft
from connector.services.configuration.changes import changed_draft, differences
from connector.services.configuration.channel_plan import ChannelPlan
from connector.services.configuration.connection_checks import CompanyData, SiteData
from connector.services.configuration.plan import ConnectionPlan, IntegrationPlan, TenantPlan
from connector.services.engine import pauses
from connector.services.schedules import merged_schedule, next_due
from connector.services.switches import switch
from integrations.base.vendor import Vendor
from integrations.flows.table import KINDS

# -- tenants -----------------------------------------------------------------------------------------


def tenant_write(made: TenantPlan, actor: str) -> str:
    values = {"name": made.name, "timezone": made.timezone}
    if made.existing is None:
        tenant = Tenant.objects.create(slug=made.slug, **values)
        audit.append(tenant, Draft("tenant_created", {"slug": made.slug}, tenant, {"after": values}, actor))
        second_factor.require(tenant, made.second_factor_required, actor)
        return "created"
    tenant = made.existing
    required = second_factor.require(tenant, made.second_factor_required, actor)
    before, after = differences({"name": tenant.name, "timezone": tenant.timezone}, values)
    if not before:
        return "changed" if required else "unchanged"
    tenant.name, tenant.timezone = made.name, made.timezone
    tenant.save(update_fields=["name", "timezone"])
    audit.append(tenant, changed_draft("tenant_changed", actor, tenant, before, after))
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


def connection_write(made: ConnectionPlan, actor: str) -> str:
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
            invoice_columns=made.invoice_columns,
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
    stored = companies_stored(connection)
    companies = stored if made.company_codes is None else made.company_codes
    old = _stored(connection, made.vendor) | {"company_codes": _companies_shown(stored)}
    before, after = differences(old, _shown(made) | {"company_codes": _companies_shown(companies)})
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
    audit.append(tenant, changed_draft("connection_changed", actor, connection, before, after, **facts))
    return "changed"


def _connection_update(connection: Connection, made: ConnectionPlan, learned: bool) -> None:
    """Write the row. `learned`: what was found out with the old address, secret or settings no longer counts."""
    connection.name, connection.environment = made.name, made.environment
    connection.urls, connection.plain, connection.settings = made.urls, made.plain, made.settings
    connection.invoice_columns = made.invoice_columns
    fields = ["name", "environment", "urls", "plain", "settings", "invoice_columns", "updated_at"]
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
        "invoice_columns": made.invoice_columns,
    }


def _stored(connection: Connection, vendor: Vendor) -> dict[str, Any]:
    return {
        "name": connection.name,
        "environment": connection.environment,
        "urls": connection.urls,
        "credentials": _masked(vendor, connection.plain),
        "settings": connection.settings,
        "invoice_columns": connection.invoice_columns,
    }


def companies_stored(connection: Connection) -> tuple[CompanyData, ...]:
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


def integration_write(made: IntegrationPlan, actor: str, notes: list[str]) -> str:
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
            switch(integration, tenant, True, actor, "")
        return "created"

    integration = made.existing
    old = {name: getattr(integration, name) for name in values} | {end: getattr(integration, end).slug for end in ends}
    before, after = differences(old, shown, depth=2)
    for name, value in (values | ends).items():
        setattr(integration, name, value)
    names = {*before, *after}
    if names:
        integration.save(update_fields=[*values, *ends, "updated_at"])
        retried = _retry_pauses(Q(integration=integration))
        told: dict[str, Any] = {"pauses_retried": retried} if retried else {}
        audit.append(tenant, changed_draft("integration_changed", actor, integration, before, after, **told))
    if any(name.split(".")[0] == "schedule" for name in names):
        _plan_polls(integration, tenant)
    if "start_from" in names and Baseline.objects.filter(integration=integration).exists():
        notes.append(
            f'"{made.slug}": start_from counts where a baseline is yet to be made (a new site or company code); '
            "for what has been listed before, use backfill"
        )
    switched = made.enabled != integration.enabled
    if switched:
        switch(integration, tenant, made.enabled, actor, "")
    return "changed" if names or switched else "unchanged"


def _plan_polls(integration: Integration, tenant: Tenant) -> None:
    """The schedule or its zone changed: say anew when each flow that has polled before is due."""
    zone, now = zoneinfo.ZoneInfo(tenant.timezone), clock.now()
    flows = {flow.name for flow in KINDS[integration.kind].flows}
    for state in FlowState.objects.filter(integration=integration, flow__in=flows):
        due_at = next_due(merged_schedule(integration, state.flow), zone, now, state.last_poll_at)
        FlowState.objects.filter(pk=state.pk).update(next_due_at=due_at)


# -- alert channels ----------------------------------------------------------------------------------


def channel_write(made: ChannelPlan, actor: str) -> str:
    """Create, change or leave alone one alert channel."""
    existing, changed = made.existing, "created"
    if existing is not None:
        stored = existing.secrets() if existing.secrets_readable else {}
        same = made.entered.secret in ("", stored.get("secret", "")) and made.entered.url in ("", stored.get("url", ""))
        same = same and not (made.entered.remove_secret and "secret" in stored)
        changed = (
            "unchanged"
            if same and channels.entered_of(existing) == replace(made.entered, url="", secret="", remove_secret=False)
            else "changed"
        )
    channel = existing
    if changed != "unchanged" or channel is None:
        tenant = Tenant.objects.get(slug=made.tenant) if made.tenant else None
        channel = channels.channel_save(made.kind, tenant, made.entered, actor, existing)
    if channel.enabled == made.enabled:
        return changed
    channels.channel_switch(channel, made.enabled, actor)
    return "created" if existing is None else "changed"

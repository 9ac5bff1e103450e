"""The configuration as one document in the file's format, without secrets."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import F, Q

from connector.models import (
    AlertChannel,
    Connection,
    Integration,
    Tenant,
)
from connector.services.configuration.connection_checks import CompanyData
from connector.services.configuration.findings import ConfigError, InvalidConfiguration, nearest
from connector.services.configuration.plan import VERSION
from connector.services.configuration.reading import json_copy
from connector.services.configuration.writing import companies_stored
from integrations import registry


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
    # The installation's own channels concern no single tenant.
    whose = Q(tenant__in=tenants) if tenant_slug is not None else Q()
    channels = (
        AlertChannel.objects.filter(whose)
        .select_related("tenant")
        .order_by(F("tenant__slug").asc(nulls_first=True), "name", "pk")
    )
    return {
        "version": VERSION,
        "tenants": [_tenant_out(t) for t in tenants],
        "connections": [_connection_out(c) for c in connections],
        "integrations": [_integration_out(i) for i in integrations],
        "alert_channels": [_channel_out(c) for c in channels],
    }


def _tenant_out(tenant: Tenant) -> dict[str, Any]:
    named = {"slug": tenant.slug, "name": tenant.name, "timezone": tenant.timezone}
    return named | {"second_factor_required": tenant.second_factor_required}


def _channel_out(channel: AlertChannel) -> dict[str, Any]:
    times = {key: f"{at:%H:%M}" if (at := getattr(channel, key)) else None for key in ("quiet_from", "quiet_until")}
    mail = {"addresses": list(channel.addresses)} if channel.kind == AlertChannel.Kind.MAIL else {}
    return {
        "tenant": channel.tenant.slug if channel.tenant else None,
        "name": channel.name,
        "kind": channel.kind,
        **mail,
        "causes": list(channel.causes),
        **times,
        "enabled": channel.enabled,
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
        "company_codes": [_company_out(c, connection.tenant.timezone) for c in companies_stored(connection)],
    } | ({"invoice_columns": dict(connection.invoice_columns)} if connection.invoice_columns else {})


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

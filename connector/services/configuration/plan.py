"""From a configuration document to what should stand in the database afterwards, or to what is wrong with it.

Reads the database (for references, kept values and rules about what may no longer change), writes nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.models import Connection, EffectSend, Integration, SourceRecord, Tenant
from connector.services.configuration.channel_plan import ChannelPlan, channels_of
from connector.services.configuration.connection_checks import CompanyData, companies_of, invoice_columns_of, settings_of
from connector.services.configuration.connection_plan import credentials_of, environment_of, urls_of, vendor_of
from connector.services.configuration.findings import Findings, joined, nearest
from connector.services.configuration.integration_checks import mappings_of, options_of, schedules_of, start_of, value_maps_of
from connector.services.configuration.reading import MISSING, Block, check_plain, items_of, text_of
from integrations.base.vendor import Vendor
from integrations.flows.table import KINDS, Kind

VERSION = 1

TENANT_KEYS = ("slug", "name", "timezone", "second_factor_required")
CONNECTION_KEYS = (
    *("slug", "tenant", "vendor", "name", "environment", "urls", "credentials", "settings", "company_codes", "invoice_columns"),
)
INTEGRATION_KEYS = (
    "slug",
    "tenant",
    "kind",
    "name",
    "source",
    "target",
    "company_codes",
    "enabled",
    "start_from",
    "schedule",
    "options",
    "mappings",
    "value_maps",
)


@dataclass(frozen=True, slots=True)
class TenantPlan:
    """A tenant as it should be."""

    slug: str
    existing: Tenant | None
    name: str
    timezone: str
    second_factor_required: bool


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """A connection as it should be. `secrets` None: leave what is stored; `company_codes` None: likewise."""

    slug: str
    existing: Connection | None
    tenant: str
    vendor: Vendor
    name: str
    environment: str
    urls: dict[str, str]
    plain: dict[str, str]
    secrets: dict[str, str] | None
    settings: dict[str, Any]
    company_codes: tuple[CompanyData, ...] | None
    invoice_columns: dict[str, str]


@dataclass(frozen=True, slots=True)
class IntegrationPlan:
    """An integration as it should be."""

    slug: str
    existing: Integration | None
    tenant: str
    kind: Kind
    name: str
    source: str
    target: str
    company_codes: list[str]
    enabled: bool
    start_from: dt.datetime | None
    schedule: dict[str, Any]
    options: dict[str, Any]
    mappings: list[dict[str, Any]]
    value_maps: dict[str, dict[str, str]]


@dataclass(slots=True)
class Plan:
    """The whole document, understood. `findings` empty: it may be applied."""

    findings: Findings = field(default_factory=Findings)
    tenants: dict[str, TenantPlan] = field(default_factory=dict)
    connections: dict[str, ConnectionPlan] = field(default_factory=dict)
    integrations: dict[str, IntegrationPlan] = field(default_factory=dict)
    channels: list[ChannelPlan] = field(default_factory=list)


def plan(document: Any) -> Plan:
    """Understand a configuration document. Never raises for what stands in it: see `Plan.findings`."""
    return _Planner(document).plan


class _Planner:
    """One pass over one document. `named` are the slugs that a list names, also where their entry is wrong."""

    def __init__(self, document: Any) -> None:
        self.plan = Plan()
        self.found = self.plan.findings
        self.found.errors += check_plain(document).errors
        if self.found.errors:
            return
        top = Block(self.found, document, "", ("version", "tenants", "connections", "integrations", "alert_channels"))
        if not isinstance(document, Mapping):
            return
        if isinstance(top.data.get("version"), bool) or top.data.get("version") != VERSION:
            self.found.add("version", f"must be {VERSION}: the only version of this format")
        self.tenants = {t.slug: t for t in Tenant.objects.all()}
        self.connections = {c.slug: c for c in Connection.objects.select_related("tenant")}
        self.integrations = {i.slug: i for i in Integration.objects.select_related("tenant", "source", "target")}
        self.zones = {slug: t.timezone for slug, t in self.tenants.items()}
        self.named: dict[str, set[str]] = {}
        # Slugs first: a reference to an entry that is wrong for another reason is no second error.
        lists = {name: self._slugs(top, name) for name in ("tenants", "connections", "integrations")}
        for path, row, slug in lists["tenants"]:
            self._tenant(path, row, slug)
        for path, row, slug in lists["connections"]:
            self._connection(path, row, slug)
        self.places = {slug: path for path, _, slug in lists["connections"]}
        for path, row, slug in lists["integrations"]:
            self._integration(path, row, slug)
        self._company_codes_in_use()
        self.plan.channels = channels_of(self.found, top, {*self.tenants, *self.named["tenants"]})

    def _slugs(self, top: Block, name: str) -> list[tuple[str, Mapping[str, Any], str]]:
        rows: list[tuple[str, Mapping[str, Any], str]] = []
        seen: dict[str, str] = {}
        for path, row in top.items(name):
            if not isinstance(row, Mapping):
                self.found.add(path, "must be an object { … }")
                continue
            slug = Block(self.found, row, path, row.keys()).slug()
            if slug is None:
                continue
            if slug in seen:
                self.found.add(joined(path, "slug"), f'"{slug}" stands twice, first at {seen[slug]}')
                continue
            seen[slug] = path
            rows.append((path, row, slug))
        self.named[name] = set(seen)
        return rows

    # -- tenants -----------------------------------------------------------------------------------

    def _tenant(self, path: str, row: Mapping[str, Any], slug: str) -> None:
        block = Block(self.found, row, path, TENANT_KEYS)
        existing = self.tenants.get(slug)
        made = TenantPlan(
            slug,
            existing,
            name=block.text("name", existing.name if existing else slug, empty=False),
            timezone=block.zone("timezone", existing.timezone if existing else "UTC"),
            second_factor_required=block.flag("second_factor_required", existing.second_factor_required if existing else False),
        )
        self.zones[slug] = made.timezone
        self.plan.tenants[slug] = made

    def _tenant_of(self, block: Block, existing: Connection | Integration | None, what: str) -> str | None:
        slug: str | None = block.text("tenant", existing.tenant.slug if existing else MISSING, limit=60, empty=False)
        if slug is None:
            return None
        if existing is not None and slug != existing.tenant.slug:
            self.found.add(block.at("tenant"), f'this {what} belongs to another tenant; "{existing.slug}" is taken')
            return None
        if slug not in self.tenants and slug not in self.named["tenants"]:
            self.found.add(block.at("tenant"), f'no tenant "{slug}"{nearest(slug, self.named["tenants"])}')
            return None
        return slug

    # -- connections -------------------------------------------------------------------------------

    def _connection(self, path: str, row: Mapping[str, Any], slug: str) -> None:
        before = len(self.found.errors)
        block = Block(self.found, row, path, CONNECTION_KEYS)
        existing = self.connections.get(slug)
        tenant = self._tenant_of(block, existing, "connection")
        vendor = vendor_of(self.found, block, existing)
        zone = self.zones.get(tenant or "", "UTC")
        companies = None
        if block.has("company_codes"):
            companies = companies_of(self.found, row["company_codes"], block.at("company_codes"), zone)
        name = block.text("name", existing.name if existing else slug, empty=False)
        if vendor is None:
            return
        environment = environment_of(self.found, block, vendor, existing)
        urls = urls_of(self.found, block, vendor, existing, environment)
        plain, secrets = credentials_of(self.found, block, vendor, existing, urls)
        settings: dict[str, Any] | None = existing.settings if existing else {}
        if block.has("settings") or existing is None:
            settings = settings_of(self.found, vendor, row.get("settings", {}), block.at("settings"))
        columns: dict[str, str] = existing.invoice_columns if existing else {}
        if block.has("invoice_columns"):
            columns = invoice_columns_of(self.found, vendor, row["invoice_columns"], block.at("invoice_columns"))
        if len(self.found.errors) > before or tenant is None or settings is None:
            return
        self.plan.connections[slug] = ConnectionPlan(
            slug, existing, tenant, vendor, name, environment, urls, plain, secrets, settings, companies, columns
        )

    # -- integrations ------------------------------------------------------------------------------

    def _integration(self, path: str, row: Mapping[str, Any], slug: str) -> None:
        before = len(self.found.errors)
        block = Block(self.found, row, path, INTEGRATION_KEYS)
        existing = self.integrations.get(slug)
        tenant = self._tenant_of(block, existing, "integration")
        kind = self._kind(block, existing)
        ends = {end: self._end(block, end, existing, tenant, kind) for end in ("source", "target")}
        name = block.text("name", existing.name if existing else slug, empty=False)
        enabled = block.flag("enabled", existing.enabled if existing else False)
        start_from = existing.start_from if existing else None
        if block.has("start_from"):
            start_from = start_of(self.found, row["start_from"], block.at("start_from"))
        codes = self._integration_codes(block, existing, ends)
        if kind is None:
            return
        made = IntegrationPlan(
            slug=slug,
            existing=existing,
            tenant=tenant or "",
            kind=kind,
            name=name,
            source=ends["source"] or "",
            target=ends["target"] or "",
            company_codes=codes,
            enabled=enabled,
            start_from=start_from,
            schedule=self._part(block, "schedule", existing, kind, schedules_of, {}),
            options=self._part(block, "options", existing, kind, options_of, {}),
            mappings=self._part(block, "mappings", existing, kind, mappings_of, []),
            value_maps=self._part(block, "value_maps", existing, kind, value_maps_of, {}),
        )
        if len(self.found.errors) == before and tenant and made.source and made.target:
            self._settled(block, made)
            self.plan.integrations[slug] = made

    def _part(self, block: Block, key: str, existing: Integration | None, kind: Kind, read: Any, empty: Any) -> Any:
        """A block that replaces when present and is kept when absent."""
        if block.has(key):
            return read(self.found, kind, block.data[key], block.at(key))
        return getattr(existing, key) if existing is not None else empty

    def _kind(self, block: Block, existing: Integration | None) -> Kind | None:
        slug = block.text("kind", existing.kind if existing else MISSING, limit=40, empty=False)
        if slug is None:
            return None
        available = [k.slug for k in KINDS.values() if k.available]
        kind = KINDS.get(slug)
        if kind is None:
            self.found.add(block.at("kind"), f'no kind "{slug}"{nearest(slug, available)}')
        elif not kind.available:
            self.found.add(block.at("kind"), f'this release has no "{slug}" yet; it has {", ".join(available)}')
        else:
            return kind
        return None

    def _end(self, block: Block, end: str, existing: Integration | None, tenant: str | None, kind: Kind | None) -> str | None:
        stored = getattr(existing, end).slug if existing is not None else MISSING
        slug: str | None = block.text(end, stored, limit=60, empty=False)
        if slug is None or tenant is None:
            return None
        planned, known = self.plan.connections.get(slug), self.connections.get(slug)
        if planned is None and known is None:
            if slug not in self.named["connections"]:
                own = [c.slug for c in self.connections.values() if c.tenant.slug == tenant]
                self.found.add(
                    block.at(end), f'no connection "{slug}"{nearest(slug, sorted({*own, *self.named["connections"]}))}'
                )
            return None
        owner = planned.tenant if planned else known.tenant.slug if known else ""
        vendor = planned.vendor.slug if planned else known.vendor if known else ""
        if owner != tenant:
            self.found.add(block.at(end), f'the connection "{slug}" belongs to another tenant')
            return None
        if kind is not None and vendor != getattr(kind, end):
            self.found.add(
                block.at(end), f'"{slug}" is a connection to {vendor}; the {end} of {kind.slug} must be {getattr(kind, end)}'
            )
            return None
        return slug

    def _integration_codes(self, block: Block, existing: Integration | None, ends: Mapping[str, str | None]) -> list[str]:
        if not block.has("company_codes"):
            return list(existing.company_codes) if existing else []
        known = self._known_codes(slug for slug in ends.values() if slug)
        made: list[str] = []
        for path, item in items_of(self.found, block.data["company_codes"], block.at("company_codes")):
            code = text_of(self.found, item, path, limit=40, empty=False)
            if code is None:
                continue
            if code in made:
                self.found.add(path, f'the company code "{code}" stands here twice')
            elif all(ends.values()) and code not in known:
                self.found.add(path, f'neither connection has the company code "{code}"{nearest(code, sorted(known))}')
            made.append(code)
        return made

    def _known_codes(self, slugs: Iterable[str]) -> set[str]:
        """The company codes that these connections will have."""
        made: set[str] = set()
        for slug in slugs:
            planned, known = self.plan.connections.get(slug), self.connections.get(slug)
            if planned is not None and planned.company_codes is not None:
                made |= {c.code for c in planned.company_codes}
            elif known is not None:
                made |= set(known.company_codes.values_list("code", flat=True))
        return made

    def _settled(self, block: Block, made: IntegrationPlan) -> None:
        """What an integration has already carried ties it to its systems: record keys and references are those systems'."""
        existing = made.existing
        if existing is None:
            return
        changed = made.kind.slug != existing.kind or made.source != existing.source.slug
        if changed and SourceRecord.objects.filter(integration=existing).exists():
            at = block.at("kind" if made.kind.slug != existing.kind else "source")
            self.found.add(
                at, "this integration has carried records of its present source: make a new integration for another one"
            )
        if made.target != existing.target.slug:
            open_sends = EffectSend.objects.filter(transfer__integration=existing, outcome__in=EffectSend.OPEN).count()
            if open_sends:
                self.found.add(
                    block.at("target"), f"{open_sends} answer(s) of the present target are still open: settle them first"
                )

    def _company_codes_in_use(self) -> None:
        """A company code that an integration names is not taken away under it."""
        for slug, connection in self.plan.connections.items():
            if connection.existing is None or connection.company_codes is None:
                continue
            for integration in self.integrations.values():
                planned = self.plan.integrations.get(integration.slug)
                codes = planned.company_codes if planned else integration.company_codes
                ends = (planned.source, planned.target) if planned else (integration.source.slug, integration.target.slug)
                if slug not in ends or integration.slug in self.named["integrations"] - set(self.plan.integrations):
                    continue
                for code in sorted(set(codes) - self._known_codes(ends)):
                    at = joined(self.places[slug], "company_codes")
                    self.found.add(
                        at, f'the company code "{code}" is missing here, but the integration "{integration.slug}" names it'
                    )

"""Open a connection for work: the vendor's adapter with credentials, settings, limits, tokens and recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from requests.auth import AuthBase

from connector.models import Connection, Integration, Site
from connector.models.connections import UnreadableSecret
from connector.services import clock, keys, logs
from connector.services.throttle import DatabaseThrottle, bucket_key
from connector.services.tokens import DatabaseTokenCache, fingerprint
from integrations import registry
from integrations.base.context import Company, CompanySite, Context
from integrations.base.errors import ConfigurationError
from integrations.base.http import Http
from integrations.base.outbound import OutboundPolicy
from integrations.base.records import Address
from integrations.base.redact import Redactor, secret_headers
from integrations.base.vendor import InDoubt, Limit, Timeouts, Vendor


def merge(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`, key by key, nested objects too. Neither is changed."""
    made: dict[str, Any] = _copied(defaults)
    for key, value in given.items():
        if isinstance(value, Mapping) and isinstance(made.get(key), Mapping):
            made[key] = merge(made[key], value)
        else:
            made[key] = _copied(value)
    return made


def _copied(value: Any) -> Any:
    """A copy of settings, which are plain JSON data: several times as quick as copying what may be anything."""
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def settings_of(connection: Connection) -> dict[str, Any]:
    """A connection's settings over its vendor's defaults, to read and not to change; made once for each row loaded."""
    kept: tuple[Any, dict[str, Any]] | None = connection.__dict__.get("_settings_merged")
    if kept is None or kept[0] is not connection.settings:
        kept = connection.settings, merge(registry.get(connection.vendor).settings_defaults, connection.settings)
        connection.__dict__["_settings_merged"] = kept
    return kept[1]


def limits_of(vendor: Vendor, given: Mapping[str, Any]) -> dict[str, Limit]:
    """The manifest's limits with the connection's own (`settings.limits`) over them, by name."""
    made = {limit.name: limit for limit in vendor.limits}
    for row in given.get("limits", []):
        known = made.get(row["name"])
        scope = row.get("scope", known.scope if known else "connection")
        made[row["name"]] = Limit(row["name"], scope, int(row["calls"]), float(row["per_s"]))
    return made


def timeouts_of(vendor: Vendor, given: Mapping[str, Any]) -> Timeouts:
    """Seconds, the connection's own over the manifest's."""
    told = given.get("timeouts", {})
    base = vendor.timeouts
    return Timeouts(
        connect_s=float(told.get("connect_s", base.connect_s)),
        read_s=float(told.get("read_s", base.read_s)),
        total_s=float(told.get("total_s", base.total_s)),
    )


def in_doubt_of(vendor: Vendor, given: Mapping[str, Any]) -> InDoubt:
    """How a lost answer is settled here."""
    told = given.get("in_doubt", {})
    return InDoubt(
        look_up_after_s=tuple(told.get("look_up_after_s", vendor.in_doubt.look_up_after_s)),
        resend_after_s=told.get("resend_after_s", vendor.in_doubt.resend_after_s),
    )


def max_parallel_of(vendor: Vendor, given: Mapping[str, Any]) -> int:
    """Calls in parallel over all processes."""
    return int(given.get("max_parallel", vendor.max_parallel))


def address_of(data: Mapping[str, Any] | None) -> Address | None:
    """A site's address as the operator entered it."""
    if not data:
        return None
    return Address(
        company=data.get("company", ""),
        name=data.get("name", ""),
        phone=data.get("phone", ""),
        email=data.get("email", ""),
        lines=tuple(data.get("lines", ())),
        city=data.get("city", ""),
        state=data.get("state", ""),
        postal_code=data.get("postal_code", ""),
        country=data.get("country", ""),
    )


def companies_of(connection: Connection) -> tuple[Company, ...]:
    """The connection's company codes with their sites (two queries)."""
    sites: dict[int, list[CompanySite]] = {}
    for site in Site.objects.filter(company_code__connection=connection):
        sites.setdefault(site.company_code_id, []).append(CompanySite(site.code, site.timezone, address_of(site.address)))
    return tuple(
        Company(c.code, tuple(sites.get(c.pk, ())), c.cost_center, c.freight_account) for c in connection.company_codes.all()
    )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def policy() -> OutboundPolicy:
    """Where this installation may call."""
    return OutboundPolicy(settings.ALLOW_PRIVATE_HOSTS)


def login_of(connection: Connection, vendor: Vendor, credentials: Mapping[str, str]) -> str:
    """Fingerprint of host and credentials: what a login's limits and tokens are counted on."""
    host = urlsplit(next(iter(connection.urls.values()), "")).netloc.lower()
    named = [credentials.get(k, "") for k in (*vendor.credential_identity, *sorted(vendor.secret_keys))]
    return fingerprint(host, *named)


def credentials_of(connection: Connection) -> dict[str, str]:
    """Everything that was entered, secret or not. Raises UnreadableSecret."""
    return {k: v for k, v in {**connection.plain, **connection.secrets()}.items() if v not in (None, "")}


def buckets_of(connection: Connection, vendor: Vendor, credentials: Mapping[str, str]) -> dict[str, tuple[str, Limit]]:
    """The connection's limits by name, each with the row it counts on."""
    host = urlsplit(next(iter(connection.urls.values()), "")).netloc.lower()
    login = login_of(connection, vendor, credentials)
    limits = limits_of(vendor, connection.settings)
    return {n: (bucket_key(x, host=host, login=login, connection_id=connection.pk), x) for n, x in limits.items()}


def context_of(connection: Connection, *, ask_anew: bool = False) -> Context:
    """Everything the vendor's adapter needs. With `ask_anew` a remembered refusal of the login does not count.

    Raises ConfigurationError when the secrets cannot be read.
    """
    vendor = registry.get(connection.vendor)
    problem = keys.problem()
    credentials: dict[str, str] = {}
    try:
        credentials = credentials_of(connection)
    except UnreadableSecret as error:
        problem = problem or str(error)
    if problem:
        raise ConfigurationError(problem, code="unreadable_secret", remedy=keys.REMEDY, vendor=vendor.slug)
    given = connection.settings
    merged = merge(vendor.settings_defaults, given)
    host = urlsplit(next(iter(connection.urls.values()), "")).netloc.lower()
    throttle = DatabaseThrottle(buckets_of(connection, vendor, credentials), vendor.slug)
    redactor = Redactor(
        [v for k, v in credentials.items() if k in vendor.secret_keys] + secret_headers(merged.get("extra_headers")),
        vendor.redact_keys,
        vendor.bulky_keys,
        identities=[v for k, v in credentials.items() if k not in vendor.secret_keys],
    )
    logs.know(redactor)
    hosts = frozenset(_origin(u) for u in connection.urls.values() if u)
    timeouts = timeouts_of(vendor, given)

    def http(url_key: str, auth: AuthBase | None) -> Http:
        made = Http(
            vendor=vendor,
            base_url=connection.urls[url_key],
            hosts=hosts,
            auth=auth,
            timeouts=timeouts,
            throttle=throttle,
            redactor=redactor,
            policy=policy(),
            extra_headers=merged.get("extra_headers") or {},
        )
        made.connection = connection.slug
        return made

    def token_cache(*identity: str) -> DatabaseTokenCache:
        return DatabaseTokenCache(fingerprint(host, *identity), host, connection=connection.pk, ask_anew=ask_anew)

    return Context(
        connection=connection.slug,
        vendor=vendor,
        urls=dict(connection.urls),
        credentials=credentials,
        settings=merged,
        companies=companies_of(connection),
        now=clock.local_now,
        http=http,
        token_cache=token_cache,
        throttle=throttle,
        documents=lambda: documents_of(connection),
    )


def documents_of(connection: Connection) -> frozenset[str]:
    """The kinds of documents that integrations take from this connection."""
    chosen = Integration.objects.filter(source=connection).values_list("options", flat=True)
    return frozenset(kind for options in chosen for kind in options.get("documents") or ["shipment"])


def open_adapter(connection: Connection, *, ask_anew: bool = False) -> Any:
    """The vendor's adapter for this connection, ready to work; `ask_anew` as in `context_of`. Raises ConfigurationError."""
    return registry.adapter_class(connection.vendor)(context_of(connection, ask_anew=ask_anew))

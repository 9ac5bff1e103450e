"""Reading the parts of a connection: address, settings, company codes and sites. Nothing here touches the database."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pycountry
from django.conf import settings

from connector.services import invoice_reading
from connector.services.configuration.findings import Findings, joined, nearest
from connector.services.configuration.integration_checks import DAILY_TIME
from connector.services.configuration.reading import MISSING, Block, items_of, json_copy, number_of, text_of, whole_of
from connector.services.shipments import NotPossible
from connector.services.vendors import merge, policy
from integrations.base.errors import ConfigurationError
from integrations.base.redact import ANTI_FORGERY_HEADERS
from integrations.base.vendor import COMMON_SETTINGS, Vendor

HEADER_NAME = re.compile(r"[0-9A-Za-z._-]+")
"""Narrower than the standard: names stand in the commands that people copy, where a back-quote would be run."""
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
SECRET_HEADER = re.compile(r"auth|cookie|secret|token|passw|passphrase|key|credential|signature|session|bearer", re.IGNORECASE)
SECRET_VALUE = re.compile(r"\s*(basic|bearer|digest|negotiate)\s", re.IGNORECASE)
OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "if-match"}
)
SECONDS_CAP = 300.0
TOTAL_SECONDS = 100.0
"""A whole exchange may always take that long; longer ones only as far as the lease of a transfer outlives them."""
PARALLEL_CAP = 64
LOOKS_CAP = 50
ADDRESS_TEXTS = ("company", "name", "phone", "email", "city", "state", "postal_code", "country")


def url_of(found: Findings, vendor: Vendor, key: str, value: Any, path: str) -> str | None:
    """A base URL as it is stored: complete, without trailing slash, allowed by the outbound policy."""
    text = text_of(found, value, path, limit=500, empty=False)
    if text is None:
        return None
    try:
        if vendor.normalise_url is not None:
            text = vendor.normalise_url(key, text)
        elif "://" not in text:
            text = f"https://{text}"
        text = text.rstrip("/")
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it is what validates it
    except ValueError as error:
        found.add(path, str(error))
        return None
    if parts.username is not None or parts.password is not None:
        found.add(path, "user name and password do not belong into a URL")
        return None
    if parts.query or parts.fragment or re.search(r"[\s?#]", text):
        found.add(path, "must be a base address without blanks, question mark or #")
        return None
    return text if url_allowed(found, text, path) else None


def url_allowed(found: Findings, url: str, path: str) -> bool:
    """Whether this installation may call `url` at all (DNS is not asked here)."""
    try:
        policy().check_url(url)
    except ConfigurationError as error:
        found.add(path, f"{error.message} {error.remedy}".strip())
        return False
    return True


def settings_of(found: Findings, vendor: Vendor, value: Any, path: str) -> dict[str, Any] | None:
    """A connection's `settings` as entered; the vendor judges them merged over its defaults. None when wrong."""
    if not isinstance(value, Mapping):
        found.add(path, "must be an object { … }")
        return None
    before = len(found.errors)
    _common_settings(found, vendor, value, path)
    if vendor.check_settings is not None:
        for wrong in vendor.check_settings(merge(vendor.settings_defaults, value)):
            found.add(joined(path, wrong.path), wrong.message)
    else:
        Block(found, value, path, [*vendor.settings_defaults, *sorted(COMMON_SETTINGS)])
    return json_copy(value) if len(found.errors) == before else None


def _common_settings(found: Findings, vendor: Vendor, value: Mapping[str, Any], path: str) -> None:
    if "max_parallel" in value:
        whole_of(found, value["max_parallel"], joined(path, "max_parallel"), 1, PARALLEL_CAP)
    if "timeouts" in value:
        block = Block(found, value["timeouts"], joined(path, "timeouts"), ("connect_s", "read_s", "total_s"))
        for key in block.data:
            number_of(found, block.data[key], block.at(key), _total_cap() if key == "total_s" else SECONDS_CAP)
    if "limits" in value:
        _limits(found, vendor, value["limits"], joined(path, "limits"))
    if "in_doubt" in value:
        block = Block(found, value["in_doubt"], joined(path, "in_doubt"), ("look_up_after_s", "resend_after_s"))
        if block.has("look_up_after_s"):
            waits = list(block.items("look_up_after_s"))
            if len(waits) > LOOKS_CAP or (not waits and isinstance(block.data["look_up_after_s"], list)):
                found.add(block.at("look_up_after_s"), f"must name 1 to {LOOKS_CAP} waits in seconds")
            for place, wait in waits:
                number_of(found, wait, place, 7 * 86400)
        if block.data.get("resend_after_s") is not None:
            number_of(found, block.data["resend_after_s"], block.at("resend_after_s"), 30 * 86400)
    if "extra_headers" in value:
        _extra_headers(found, value["extra_headers"], joined(path, "extra_headers"))


def _total_cap() -> float:
    """Seconds. A send whose deadline the lease (renewed by heartbeats) does not outlive would never be allowed."""
    engine = settings.ENGINE
    return max(TOTAL_SECONDS, float(engine["LEASE_S"] - engine["MARGIN_S"] - engine["HEARTBEAT_S"]))


def _limits(found: Findings, vendor: Vendor, value: Any, path: str) -> None:
    known = {limit.name: limit for limit in vendor.limits}
    seen: set[str] = set()
    for place, row in items_of(found, value, path):
        block = Block(found, row, place, ("name", "scope", "calls", "per_s"))
        if not block.data:
            continue
        name = block.text("name", MISSING, empty=False)
        if name is not None and name not in known:
            found.add(block.at("name"), f'{vendor.label} has no limit "{name}"{nearest(name, known)}')
        elif name in seen:
            found.add(block.at("name"), f'the limit "{name}" stands here twice')
        seen.add(name)
        scope = block.text("scope", None)
        if scope is not None and scope not in ("host", "credential", "connection"):
            found.add(block.at("scope"), "must be host, credential or connection")
        elif scope is not None and name in known and "host" in (known[name].scope, scope) and scope != known[name].scope:
            found.add(block.at("scope"), f"this limit counts per {known[name].scope}, and others share it")
        whole_of(found, block.data.get("calls"), block.at("calls"), 1, 1_000_000_000)
        number_of(found, block.data.get("per_s"), block.at("per_s"), 31 * 86400)


def _extra_headers(found: Findings, value: Any, path: str) -> None:
    if not isinstance(value, Mapping):
        found.add(path, "must be an object { … }")
        return
    for name, text in value.items():
        place = joined(path, name)
        if not HEADER_NAME.fullmatch(name):
            found.add(place, "is no header name")
        elif (SECRET_HEADER.search(name) and name.lower() not in ANTI_FORGERY_HEADERS) or (
            isinstance(text, str) and SECRET_VALUE.match(text)
        ):
            found.add(place, "settings are shown and exported: a header that may hold a secret does not belong here")
        elif name.lower() in OWN_HEADERS:
            found.add(place, "this header is set by the product")
        elif not isinstance(text, str) or not HEADER_VALUE.fullmatch(text):
            found.add(place, "must be a text of plain ASCII characters")


@dataclass(frozen=True, slots=True)
class SiteData:
    """One site as entered. `address` None for a bare code."""

    code: str
    timezone: str
    address: dict[str, Any] | None
    cut_off: dt.time | None = None

    def as_given(self) -> dict[str, Any]:
        """As it is entered and shown; without a cut-off none is named."""
        made: dict[str, Any] = {"timezone": self.timezone, "address": self.address}
        return made | ({"cut_off": f"{self.cut_off:%H:%M}"} if self.cut_off is not None else {})


@dataclass(frozen=True, slots=True)
class CompanyData:
    """One company code as entered, with its sites."""

    code: str
    name: str
    cost_center: str
    freight_account: str
    sites: tuple[SiteData, ...]


def invoice_columns_of(found: Findings, vendor: Vendor, value: Any, path: str) -> dict[str, str]:
    """Which column, by its heading, of the carrier's invoice files holds what; {} leaves it to the usual headings."""
    before = len(found.errors)
    block = Block(found, value, path, (*invoice_reading.TARGETS, "point", "fixed_currency"))
    told = {key: block.text(key) for key in block.data}
    if not told or len(found.errors) > before:
        return {}
    if not vendor.invoice_columns:
        found.add(path, f"{vendor.label} sends no invoice files: leave this out")
    elif told.get("point", ".") not in invoice_reading.POINTS:
        found.add(joined(path, "point"), 'must be "." or ","')
    else:
        try:
            return invoice_reading.check_mapping(told, list(told.values()))
        except NotPossible as error:
            found.add(path, str(error))
    return {}


def companies_of(found: Findings, value: Any, path: str, zone: str) -> tuple[CompanyData, ...]:
    """The block `company_codes`. A site without a zone of its own has the tenant's (`zone`)."""
    made: dict[str, CompanyData] = {}
    site_of: dict[str, str] = {}
    for place, row in items_of(found, value, path):
        block = Block(found, row, place, ("code", "name", "cost_center", "freight_account", "sites"))
        if not isinstance(row, Mapping):
            continue
        code = block.text("code", MISSING, limit=40, empty=False)
        sites = []
        for spot, entry in block.items("sites"):
            site = _site(found, entry, spot, zone)
            if site is None:
                continue
            if site.code in site_of:
                found.add(spot, f'the site "{site.code}" stands here twice (company code {site_of[site.code]})')
            site_of[site.code] = code or ""
            sites.append(site)
        if code is None:
            continue
        if code in made:
            found.add(block.at("code"), f'the company code "{code}" stands here twice')
        made[code] = CompanyData(
            code,
            block.text("name", "", limit=200),
            block.text("cost_center", "", limit=40),
            block.text("freight_account", "", limit=40),
            tuple(sites),
        )
    return tuple(made.values())


def _site(found: Findings, value: Any, path: str, zone: str) -> SiteData | None:
    if isinstance(value, str):
        code = text_of(found, value, path, limit=40, empty=False)
        return SiteData(code, zone, None) if code is not None else None
    if not isinstance(value, Mapping):
        found.add(path, "must be a site code or an object { … }")
        return None
    block = Block(found, value, path, ("code", "timezone", "address", "cut_off"))
    code = block.text("code", MISSING, limit=40, empty=False)
    address = _address(found, value["address"], block.at("address")) if value.get("address") is not None else None
    timezone = block.zone("timezone", zone)
    cut_off = time_of_day(found, block.data.get("cut_off"), block.at("cut_off"))
    return SiteData(code, timezone, address, cut_off) if code is not None else None


def time_of_day(found: Findings, value: Any, path: str) -> dt.time | None:
    if value is None:
        return None
    if isinstance(value, str) and DAILY_TIME.fullmatch(value):
        return dt.time.fromisoformat(value)
    found.add(path, "must be a time such as 16:00")
    return None


def _address(found: Findings, value: Any, path: str) -> dict[str, Any]:
    """A site's address. What is incomplete stops that site when it ships, not the import; what is wrong is refused."""
    block = Block(found, value, path, (*ADDRESS_TEXTS, "lines"))
    made: dict[str, Any] = {key: block.text(key) for key in ADDRESS_TEXTS if block.has(key)}
    if block.has("lines"):
        lines = [text_of(found, line, place) for place, line in block.items("lines")]
        made["lines"] = [line for line in lines if line]
    country = made.get("country")
    if country:
        made["country"] = country.upper()
        if len(country) != 2 or pycountry.countries.get(alpha_2=country.upper()) is None:
            found.add(block.at("country"), f'"{country}" is no country code: two letters as in ISO 3166, such as US or DE')
    return made

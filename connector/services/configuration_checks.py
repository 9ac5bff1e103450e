"""Reading a configuration document piece by piece: every piece is checked, every error says where it stands.

Nothing here touches the database. A reader returns a usable value (or None) and notes what is wrong in
`Findings`, so that one import names all errors at once. Values of credentials are never repeated in a message.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import math
import re
import zoneinfo
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import jmespath
import pycountry
from django.conf import settings
from jmespath.exceptions import JMESPathError

from connector.services.schedules import SCHEDULE_KEYS
from connector.services.vendors import merge, policy
from integrations.base.errors import ConfigurationError
from integrations.base.vendor import COMMON_SETTINGS, Vendor
from integrations.flows.table import Kind, Option

SLUG = re.compile(r"[-a-zA-Z0-9_]{1,60}")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
DAILY_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
SECRET_HEADER = re.compile(r"auth|cookie|secret|token|password|key", re.IGNORECASE)
OWN_HEADERS = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "if-match"}
)
JMESPATH_CAP = 500
"""Characters; a longer expression is refused."""
DEPTH_CAP = 40
SECONDS_CAP = 300.0
TOTAL_SECONDS = 100.0
"""A whole exchange may always take that long; longer ones only as far as the lease of a transfer outlives them."""
PARALLEL_CAP = 64
MINUTES_PER_DAY = 1440
LOOKS_CAP = 50
ADDRESS_TEXTS = ("company", "name", "phone", "email", "city", "state", "postal_code", "country")
MISSING = object()


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong: where (`connections[0].urls.base`), and what, in a sentence."""

    path: str
    message: str


class InvalidConfiguration(Exception):
    """What was given is not valid; nothing was changed. `errors` names every place."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("; ".join(f"{e.path}: {e.message}" if e.path else e.message for e in errors))
        self.errors = list(errors)


@dataclass(slots=True)
class Findings:
    """What is wrong so far."""

    errors: list[ConfigError] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        self.errors.append(ConfigError(path, message))

    def stop_if_any(self) -> None:
        """Raise InvalidConfiguration when something was found."""
        if self.errors:
            raise InvalidConfiguration(self.errors)


def nearest(word: str, known: Collection[str]) -> str:
    """ "; did you mean …" or "; known are …", for the end of a message."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are {', '.join(known)}" if known else ""


def joined(path: str, key: str) -> str:
    """The path of `key` below `path`."""
    return f"{path}.{key}" if path else key


# -- the file as text --------------------------------------------------------------------------------


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys stood in it more than once."""

    repeated: list[str]


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    seen: set[str] = set()
    made.repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read_document(raw: bytes) -> Any:
    """The JSON document in `raw` (UTF-8). Raises InvalidConfiguration: not UTF-8, not JSON, a key that stands twice."""
    try:
        document = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidConfiguration([ConfigError("", f"The file is not UTF-8 text (byte {error.start}).")]) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidConfiguration([ConfigError("", f"The file is not JSON: {error.msg} ({place}).")]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidConfiguration([ConfigError("", f"The file is not JSON that can be read: {error}.")]) from error
    check_plain(document).stop_if_any()
    return document


def check_plain(document: Any) -> Findings:
    """What no database can hold or no reader survives, anywhere: doubled keys, control codes, endless depth, infinite numbers."""
    found = Findings()
    pending: list[tuple[str, Any, int]] = [("", document, 0)]
    while pending:
        path, value, depth = pending.pop()
        if depth > DEPTH_CAP:
            found.add(path, f"blocks are nested more than {DEPTH_CAP} deep")
        elif isinstance(value, Mapping):
            for key in getattr(value, "repeated", ()):
                found.add(joined(path, key), f'the key "{key}" stands here twice')
            for key, below in value.items():
                if not isinstance(key, str) or not _storable(key):
                    found.add(path, "a key here holds a character that cannot be stored")
                else:
                    pending.append((joined(path, key), below, depth + 1))
        elif isinstance(value, list | tuple):
            pending.extend((f"{path}[{n}]", below, depth + 1) for n, below in enumerate(value))
        elif isinstance(value, str) and not _storable(value):
            found.add(path, "this text holds a character that cannot be stored")
        elif isinstance(value, float) and not math.isfinite(value):
            found.add(path, "this number is too large")
    return found


def _storable(text: str) -> bool:
    return "\x00" not in text and not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


# -- one object of the document ------------------------------------------------------------------------


class Block:
    """One JSON object: refuses unknown keys at once, hands out checked members."""

    def __init__(self, found: Findings, data: Any, path: str, known: Collection[str]) -> None:
        self.found = found
        self.path = path
        self.data: Mapping[str, Any] = {}
        if not isinstance(data, Mapping):
            found.add(path, "must be an object { … }")
            return
        self.data = data
        for key in data:
            if key not in known:
                where = f" in {path}" if path else " at the top"
                found.add(self.at(key), f'unknown key "{key}"{where}{nearest(key, known)}')

    def at(self, key: str) -> str:
        """The path of a member."""
        return joined(self.path, key)

    def has(self, key: str) -> bool:
        """Whether the member stands there, null included."""
        return key in self.data

    def text(self, key: str, default: Any = "", *, limit: int = 200, empty: bool = True) -> Any:
        """A text without surrounding blanks, or `default` when absent; MISSING as default makes it required."""
        value = self.data.get(key, MISSING)
        if value is MISSING:
            if default is MISSING:
                self.found.add(self.at(key), "is required")
                return None
            return default
        checked = text_of(self.found, value, self.at(key), limit=limit, empty=empty)
        return default if checked is None and default is not MISSING else checked

    def slug(self, key: str = "slug") -> str | None:
        """A required slug."""
        value = self.text(key, MISSING, limit=60, empty=False)
        if isinstance(value, str) and not SLUG.fullmatch(value):
            self.found.add(self.at(key), f'"{value}" is no slug: letters, digits, hyphen and underscore, at most 60')
            return None
        return value if isinstance(value, str) else None

    def zone(self, key: str, default: str) -> str:
        """An IANA zone name, or `default` when absent."""
        value: str = self.text(key, default, limit=64, empty=False)
        if self.has(key) and value not in zoneinfo.available_timezones():
            hint = difflib.get_close_matches(value, zoneinfo.available_timezones(), n=1, cutoff=0.7)
            example = f'; did you mean "{hint[0]}"?' if hint else "; use a name such as America/Chicago or Europe/Berlin"
            self.found.add(self.at(key), f'"{value}" is not a time zone{example}')
            return default
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self.found.add(self.at(key), "must be true or false")
            return default
        return value

    def items(self, key: str) -> Iterator[tuple[str, Any]]:
        """The members of a list with their paths; nothing when absent."""
        return items_of(self.found, self.data.get(key, []), self.at(key))


def text_of(found: Findings, value: Any, path: str, *, limit: int = 200, empty: bool = True) -> str | None:
    """`value` as text without surrounding blanks; None and a finding when it is none."""
    if not isinstance(value, str):
        found.add(path, "must be a text")
        return None
    text: str = value.strip()
    if not text and not empty:
        found.add(path, "must not be empty")
        return None
    if len(text) > limit:
        found.add(path, f"is longer than {limit} characters")
        return None
    return text


def items_of(found: Findings, value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The members of a list with their paths; a finding when it is none."""
    if not isinstance(value, list | tuple):
        found.add(path, "must be a list [ … ]")
        return
    for n, item in enumerate(value):
        yield f"{path}[{n}]", item


def whole_of(found: Findings, value: Any, path: str, low: int, high: int) -> int | None:
    """`value` as a whole number within the bounds (both included)."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        found.add(path, f"must be a whole number from {low} to {high}")
        return None
    return value


def number_of(found: Findings, value: Any, path: str, high: float) -> float | None:
    """`value` as a number above 0 and not above `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
        found.add(path, f"must be a number above 0, at most {high:g}")
        return None
    return value


# -- connections ---------------------------------------------------------------------------------------


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
        elif SECRET_HEADER.search(name):
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
    cut_off = _time_of_day(found, block.data.get("cut_off"), block.at("cut_off"))
    return SiteData(code, timezone, address, cut_off) if code is not None else None


def _time_of_day(found: Findings, value: Any, path: str) -> dt.time | None:
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


# -- integrations --------------------------------------------------------------------------------------


def schedules_of(found: Findings, kind: Kind, value: Any, path: str) -> dict[str, Any]:
    """The block `schedule`, keyed by flow; one without flow names is repeated for every flow of the kind."""
    flows = [flow.name for flow in kind.flows]
    if not isinstance(value, Mapping):
        found.add(path, "must be an object { … }")
        return {}
    if any(key in SCHEDULE_KEYS for key in value):
        for key in value:
            if key in flows:
                found.add(joined(path, key), "name either flows or one schedule for all of them, not both")
        entry = schedule_entry(found, {k: v for k, v in value.items() if k not in flows}, path)
        return {flow: json_copy(entry) for flow in flows}
    block = Block(found, value, path, [*flows, *SCHEDULE_KEYS])
    return {key: schedule_entry(found, below, block.at(key)) for key, below in block.data.items() if key in flows}


def schedule_entry(found: Findings, value: Any, path: str) -> dict[str, Any]:
    """One schedule: `every_minutes` 1 to 1440, or `daily_at` ["HH:MM", …]; `weekdays` (0 Monday), `hours` [from, to)."""
    block = Block(found, value, path, SCHEDULE_KEYS)
    made: dict[str, Any] = {}
    if block.has("every_minutes"):
        made["every_minutes"] = whole_of(found, block.data["every_minutes"], block.at("every_minutes"), 1, MINUTES_PER_DAY)
        if block.has("daily_at"):
            found.add(block.at("daily_at"), "either every_minutes or daily_at, not both")
    if block.has("hours"):
        made["hours"] = _hours(found, block.data["hours"], block.at("hours"))
    if block.has("daily_at"):
        times = list(block.items("daily_at"))
        if not times and isinstance(block.data["daily_at"], list):
            found.add(block.at("daily_at"), "must name at least one time")
        for place, time in times:
            if not isinstance(time, str) or not DAILY_TIME.fullmatch(time):
                found.add(place, "must be a time such as 02:00")
            elif made.get("hours") and not made["hours"][0] <= int(time[:2]) < made["hours"][1]:
                found.add(place, f"{time} lies outside the hours {made['hours'][0]} to {made['hours'][1]}: it would never run")
        made["daily_at"] = sorted({time for _, time in times if isinstance(time, str)})
    if block.has("weekdays"):
        days = [whole_of(found, day, place, 0, 6) for place, day in block.items("weekdays")]
        if not days and isinstance(block.data["weekdays"], list):
            found.add(block.at("weekdays"), "must name at least one day, 0 (Monday) to 6 (Sunday); leave it out for every day")
        made["weekdays"] = sorted({day for day in days if day is not None})
    return made


def _hours(found: Findings, value: Any, path: str) -> list[int] | None:
    fits = isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) and not isinstance(n, bool) for n in value)
    if not fits or not 0 <= value[0] < value[1] <= 24:
        found.add(path, "must be two whole hours [from, to] with 0 <= from < to <= 24, for instance [6, 20]")
        return None
    return list(value)


def options_of(found: Findings, kind: Kind, value: Any, path: str) -> dict[str, Any]:
    """The block `options` against the kind's table. null is "not set" where that is the default."""
    table = {option.name: option for option in kind.options}
    block = Block(found, _present_names(kind, value), path, list(table))
    made = {key: _option(found, table[key], below, block.at(key)) for key, below in block.data.items() if key in table}
    for name, chosen in made.items():
        if (fits := table[name].fits) and chosen:
            other = made.get(fits[0]) or table[fits[0]].default
            if chosen not in fits[1].get(other, ()):
                found.add(block.at(name), f"{chosen} does not go with {fits[0]} {other}: {', '.join(fits[1].get(other, ()))}")
        if (needs := table[name].needs) and chosen not in (None, table[name].default) and not made.get(needs):
            found.add(block.at(name), f"does nothing unless {needs} is on")
    return made


def _present_names(kind: Kind, value: Any) -> Any:
    """Options of an earlier release under the names they have now; a name that stands there already goes first."""
    if not isinstance(value, Mapping):
        return value
    renamed = {option.formerly: option.name for option in kind.options if option.formerly}
    kept = {key: below for key, below in value.items() if key not in renamed}
    return {renamed[key]: below for key, below in value.items() if key in renamed} | kept


def _option(found: Findings, option: Option, value: Any, path: str) -> Any:
    if value is None:
        if option.default is not None:
            found.add(path, "must not be null; leave it out for the default")
        return None
    judge: dict[str, Callable[[], Any]] = {
        "text": lambda: text_of(found, value, path, limit=500, empty=option.default is None),
        "choice": lambda: _one_of(found, value, path, option.choices),
        "boolean": lambda: value if isinstance(value, bool) else found.add(path, "must be true or false"),
        "integer": lambda: whole_of(found, value, path, option.minimum or 0, 1_000_000_000),
        "list": lambda: _list_option(found, option, value, path),
    }
    made = judge[option.kind]()
    if option.pattern and made and not re.fullmatch(option.pattern, made):
        found.add(path, f'must look like "{option.example}"')
    return made or None if option.kind == "text" else made


def _one_of(found: Findings, value: Any, path: str, choices: Sequence[str]) -> str | None:
    if isinstance(value, str) and value in choices:
        return value
    found.add(path, f"must be one of {', '.join(choices)}")
    return None


def _list_option(found: Findings, option: Option, value: Any, path: str) -> list[str]:
    made: list[str] = []
    for place, item in items_of(found, value, path):
        taken = _one_of(found, item, place, option.choices) if option.choices else text_of(found, item, place, empty=False)
        if taken is not None and taken in made:
            found.add(place, f'"{taken}" stands here twice')
        elif taken is not None:
            made.append(taken)
    return made


def mappings_of(found: Findings, kind: Kind, value: Any, path: str) -> list[dict[str, Any]]:
    """The block `mappings`: per slot a `source` (JMESPath) or a `constant`, and a `default`."""
    slots = [slot.name for slot in kind.slots]
    made: dict[str, dict[str, Any]] = {}
    for place, row in items_of(found, value, path):
        block = Block(found, row, place, ("slot", "source", "constant", "default"))
        if not isinstance(row, Mapping):
            continue
        slot = block.text("slot", MISSING, empty=False)
        if slot is None:
            continue
        if slot not in slots:
            found.add(block.at("slot"), f'no slot "{slot}"{nearest(slot, slots)}')
        elif slot in made:
            found.add(block.at("slot"), f'the slot "{slot}" is mapped twice')
        if block.has("source") and block.has("constant"):
            found.add(block.at("constant"), "either source or constant, not both")
        if not any(block.has(key) for key in ("source", "constant", "default")):
            found.add(place, "needs a source, a constant or a default")
        entry: dict[str, Any] = {"slot": slot}
        if block.has("source"):
            entry["source"] = jmespath_of(found, block.data["source"], block.at("source"))
        entry |= {key: block.text(key, limit=500) for key in ("constant", "default") if block.has(key)}
        made[slot] = entry
    return list(made.values())


def jmespath_of(found: Findings, value: Any, path: str) -> str | None:
    """A JMESPath expression that compiles, at most JMESPATH_CAP characters."""
    text = text_of(found, value, path, limit=JMESPATH_CAP, empty=False)
    if text is None:
        return None
    try:
        jmespath.compile(text)
    except JMESPathError as error:
        # The first line says what is wrong; the rest draws an arrow under the expression.
        found.add(path, f"is no JMESPath expression: {str(error).splitlines()[0]}")
        return None
    except RecursionError:
        found.add(path, "is nested too deeply")
        return None
    return text


def value_maps_of(found: Findings, kind: Kind, value: Any, path: str) -> dict[str, dict[str, str]]:
    """The block `value_maps`: map name to {text of the source: text for the target}."""
    block = Block(found, value, path, kind.value_maps)
    made: dict[str, dict[str, str]] = {}
    for name, below in block.data.items():
        if name not in kind.value_maps:
            continue
        if not isinstance(below, Mapping):
            found.add(block.at(name), "must be an object { … } from text to text")
            continue
        entries = {key: text_of(found, text, joined(block.at(name), key), empty=False) for key, text in below.items()}
        made[name] = {key: text for key, text in entries.items() if text is not None}
    return made


def start_of(found: Findings, value: Any, path: str) -> dt.datetime | None:
    """`start_from`: an ISO instant with a zone, as UTC; null for none."""
    if value is None:
        return None
    try:
        at = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        found.add(path, "must be a date and time with zone, such as 2026-01-01T00:00:00Z")
        return None
    try:
        return at.astimezone(dt.UTC)
    except OverflowError:
        found.add(path, "lies outside the calendar")
        return None


def json_copy(value: Any) -> Any:
    """`value` as plain JSON data of its own."""
    return json.loads(json.dumps(value))

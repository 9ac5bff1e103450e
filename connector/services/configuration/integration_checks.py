"""Reading the parts of an integration: schedule, options, mappings, value maps. Nothing here touches the database."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jmespath.exceptions import JMESPathError

from connector.services.configuration.findings import Findings, joined, nearest
from connector.services.configuration.reading import MISSING, Block, items_of, json_copy, text_of, whole_of
from connector.services.schedules import SCHEDULE_KEYS
from integrations.base import expressions
from integrations.flows.table import Kind, Option

DAILY_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
JMESPATH_CAP = 500
"""Characters; a longer expression is refused."""
MINUTES_PER_DAY = 1440


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
    """A JMESPath expression that compiles, at most JMESPATH_CAP characters, and makes no document endless."""
    text = text_of(found, value, path, limit=JMESPATH_CAP, empty=False)
    if text is None:
        return None
    try:
        expressions.compiled(text)
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

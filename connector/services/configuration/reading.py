"""Reading a document piece by piece: every piece is checked, every error says where it stands.

Nothing here touches the database. A reader returns a usable value (or None) and notes what is wrong in
`Findings`, so that one import names all errors at once.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import zoneinfo
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from connector.services.configuration.findings import ConfigError, Findings, InvalidConfiguration, joined, nearest

SLUG = re.compile(r"[-a-zA-Z0-9_]{1,60}")
DEPTH_CAP = 40
MISSING = object()


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


def read_json(text: str) -> Any:
    """JSON as the standard has it, doubled keys remembered for `check_plain`. Raises ValueError or RecursionError."""
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)


def read_document(raw: bytes) -> Any:
    """The JSON document in `raw` (UTF-8). Raises InvalidConfiguration: not UTF-8, not JSON, a key that stands twice."""
    try:
        document = read_json(raw.decode("utf-8-sig"))
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


def secret_of(found: Findings, value: Any, path: str) -> str | None:
    """A text, or {"env": NAME} resolved now. Messages never repeat the value."""
    if isinstance(value, str):
        return text_of(found, value, path, limit=10_000, empty=False)
    if not isinstance(value, Mapping):
        found.add(path, 'must be a text, {"env": NAME} or null')
        return None
    block = Block(found, value, path, ("env",))
    name = block.text("env", MISSING, empty=False)
    if name is None:
        return None
    told = os.environ.get(name, "").strip()
    if not told:
        found.add(path, f"the environment variable {name} is {'empty' if name in os.environ else 'not set'}")
        return None
    if check_plain(told).errors:
        found.add(path, f"the environment variable {name} holds a character that cannot be stored")
        return None
    return told


def json_copy(value: Any) -> Any:
    """`value` as plain JSON data of its own."""
    return json.loads(json.dumps(value))

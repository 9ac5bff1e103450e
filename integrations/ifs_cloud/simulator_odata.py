"""The OData of IFS as the simulator understands it: literals, key predicates, `$select`, `$orderby`, `$expand`, errors.

Grammar after sheet 4.1 and 4.3; `$filter` has a module of its own.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from integrations.base.simulator import SimRequest
from integrations.ifs_cloud.simulator_schema import BOOLEAN, DATE, DECIMAL, INSTANT, STRING, Entity, plain_number

Row = dict[str, Any]

TIME = "Edm.TimeOfDay"
NULL = "null"


class ODataError(Exception):
    """An answer in the error shape of sheet 6."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: list[tuple[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON body; `details` is left out where there is none."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = [{"code": code, "message": text} for code, text in self.details]
        return {"error": error}


def malformed(detail: str) -> ODataError:
    """400 "Malformed Request."; the real code was redacted in the recordings (sheet 15.5), so ours is invented."""
    return ODataError(400, "ODP_MALFORMED_REQUEST", "Malformed Request.", [("ODP_MALFORMED_DETAIL", detail)])


def not_implemented(what: str) -> ODataError:
    """501 for what IFS documents as unsupported (sheet 4.3) or this simulator does not serve."""
    return ODataError(501, "ODP_NOT_IMPLEMENTED", f"Not implemented: {what}.")


def database_error(status: int, ora: str, text: str) -> ODataError:
    """Sheet 6: the human text is in the details, prefixed by its ORA code."""
    return ODataError(status, "DATABASE_ERROR", "Database Error occurred.", [(ora, f"ORA-{ora}: {text}")])


def json_object(request: SimRequest) -> dict[str, Any]:
    """Sheet 5.1: a JSON object with its content type, else ODP_DESERIALIZATION_ERROR."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        body = request.json() if kind == "application/json" else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ODataError(400, "ODP_DESERIALIZATION_ERROR", "The request body could not be read as JSON.")
    return body


def undefined(name: str, type_name: str) -> ODataError:
    """400 naming an unknown property and the type that lacks it (sheet 6)."""
    return malformed(f"The property '{name}', used in a query expression, is not defined in type '{type_name}'.")


def raw_query(target: str) -> dict[str, str]:
    """The query of a request target. A plus sign stays one: IFS wants spaces as %20 (sheet 4.1)."""
    options: dict[str, str] = {}
    for pair in target.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        name = unquote(name)
        if not name:
            continue
        if name in options:
            raise malformed(f"The query option '{name}' is given twice.")
        options[name] = unquote(value)
    return options


# -- tokens ------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s*(?:(?P<enum>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+'(?:[^']|'')*')"
    r"|(?P<string>'(?:[^']|'')*')"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))"
    r"|(?P<date>\d{4}-\d\d-\d\d(?![\dT]))"
    r"|(?P<time>\d\d:\d\d(?::\d\d)?)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?!\w))"
    r"|(?P<name>[A-Za-z_$][\w]*(?:/[A-Za-z_$]\w*)*)"
    r"|(?P<punct>[(),:=+*/-]))"
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


def tokens(text: str) -> list[Token]:
    """Raises ODataError at the first character that fits nothing."""
    found: list[Token] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match or match.lastgroup is None:
            raise malformed(f"Syntax error at position {position} in '{text}'.")
        found.append(Token(match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    return found


@dataclass(frozen=True, slots=True)
class Literal:
    """A value with its Edm type; enumerations carry the qualified type name."""

    type: str
    value: Any


def literal(token: Token) -> Literal | None:
    """The literal a token stands for, None if it is none. Raises ODataError for an impossible date."""
    match token.kind:
        case "string":
            return Literal(STRING, token.text[1:-1].replace("''", "'"))
        case "number":
            return Literal(DECIMAL, plain_number(token.text))
        case "enum":
            name, _, member = token.text.partition("'")
            return Literal(name, member[:-1])
        case "name" if token.text in ("true", "false"):
            return Literal(BOOLEAN, token.text == "true")
        case "name" if token.text == "null":
            return Literal(NULL, None)
        case "date" | "instant" | "time":
            try:
                if token.kind == "date":
                    return Literal(DATE, dt.date.fromisoformat(token.text).isoformat())
                if token.kind == "time":
                    return Literal(TIME, dt.time.fromisoformat(token.text).isoformat())
                return Literal(INSTANT, instant_text(dt.datetime.fromisoformat(token.text)))
            except ValueError as error:
                raise malformed(f"'{token.text}' is not a valid literal.") from error
    return None


def instant_text(moment: dt.datetime) -> str:
    """How instants are compared: ISO text in UTC without zone, so that text order is time order."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None).isoformat()


# -- keys in paths -----------------------------------------------------------------------------------


def split_path(path: str) -> Iterator[tuple[str, str | None]]:
    """`Set(Key='a/b')/Nav` as ("Set", "Key='a/b'"), ("Nav", None). Quotes and brackets are respected."""
    segments: list[str] = re.findall(r"(?:[^/'(]|'(?:[^']|'')*'|\((?:[^')]|'(?:[^']|'')*')*\))+", path)
    if "/".join(segments) != path:
        raise malformed(f"The path '{path}' is not understood.")
    for segment in segments:
        match = re.fullmatch(r"([\w.$]+)(?:\((.*)\))?", segment, re.DOTALL)
        if not match:
            raise malformed(f"The path segment '{segment}' is not understood.")
        yield match.group(1), match.group(2)


def parse_key(entity: Entity, text: str, namespace: str) -> Row:
    """`OrderNo='C1',LineNo='1'` as key values (sheet 4.1: names always written). Raises ODataError."""
    found = tokens(text)
    key: Row = {}
    while found:
        if len(found) < 3 or found[0].kind != "name" or found[1].text != "=":
            raise malformed(f"The key '{text}' is not understood; key names must be written.")
        name, value, found = found[0].text, found[2], found[3:]
        if value.text == "-" and found:
            value, found = Token(found[0].kind, "-" + found[0].text), found[1:]
        given = literal(value)
        if name not in entity.keys or given is None or name in key:
            raise malformed(f"'{name}' is not a key of type '{namespace}.{entity.name}'.")
        expected = entity.columns[name].edm(namespace)
        if given.type != expected:
            raise malformed(f"The key property '{name}' is of type '{expected}', not '{given.type}'.")
        key[name] = given.value
        if found:
            if found[0].text != "," or len(found) == 1:
                raise malformed(f"The key '{text}' is not understood.")
            found = found[1:]
    if set(key) != set(entity.keys):
        raise malformed(f"The key of type '{namespace}.{entity.name}' consists of {', '.join(entity.keys)}.")
    return key


# -- the other options -------------------------------------------------------------------------------


def parse_select(entity: Entity, namespace: str, text: str) -> list[str]:
    """Scalar columns only; a navigation property is a 400 (sheet 4.3)."""
    names = [part.strip() for part in text.split(",")]
    if names == ["*"]:
        return list(entity.columns)
    for name in names:
        if name not in entity.columns:
            raise undefined(name, f"{namespace}.{entity.name}")
    return list(dict.fromkeys(names))


def parse_order(entity: Entity, namespace: str, text: str) -> list[tuple[str, bool]]:
    """`A desc,B` as [("A", True), ("B", False)]."""
    order: list[tuple[str, bool]] = []
    for part in text.split(","):
        name, *direction = part.split() or [""]
        if direction not in ([], ["asc"], ["desc"]):
            raise malformed(f"The sort order '{part.strip()}' is not understood.")
        if name not in entity.columns:
            raise undefined(name, f"{namespace}.{entity.name}")
        order.append((name, direction == ["desc"]))
    return order


def parse_expand(entity: Entity, namespace: str, text: str) -> list[tuple[str, str | None]]:
    """`ARef($select=X,Y),BRef` as [("ARef", "X,Y"), ("BRef", None)]; arrays are a 501 (sheet 4.3)."""
    wanted: list[tuple[str, str | None]] = []
    for part in re.findall(r"(?:[^,(]|\([^)]*\))+", text):
        match = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*(?:\$select=([^;)]*))?\s*\))?\s*", part)
        if not match:
            raise not_implemented(f"$expand={part.strip()}")
        name = match.group(1)
        if name in entity.arrays:
            raise not_implemented(f"$expand of the collection {name}")
        if name not in entity.references:
            raise undefined(name, f"{namespace}.{entity.name}")
        wanted.append((name, match.group(2)))
    return wanted


def whole_number(name: str, text: str) -> int:
    """A `$top` or `$skip` value."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise malformed(f"The value '{text}' of the query option '{name}' is invalid.")
    return int(text)

"""The OData of IFS as the simulator understands it: key predicates, `$filter`, `$select`, `$orderby`, and errors.

Grammar after sheet 4.1 and 4.3. Types are checked while parsing, so that a wrong literal is refused whatever the
data. A filter becomes one Python function of a row; columns that only an equality can satisfy are reported as
`pins`, with which the caller can look rows up instead of reading all of them.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from integrations.base.simulator import SimRequest
from integrations.ifs_cloud.simulator_schema import BOOLEAN, DATE, DECIMAL, ENUMS, INSTANT, STRING, Column, Entity, plain_number

Row = dict[str, Any]
Getter = Callable[[Row], Any]

TIME = "Edm.TimeOfDay"
NULL = "null"
_ORDERED = (STRING, DECIMAL, DATE, INSTANT, TIME)


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


# -- filters -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Expr:
    """A parsed expression. `point` is set for `column eq literal`, `pins` for what must hold for a row to match."""

    type: str
    get: Getter
    column: str | None = None
    constant: Literal | None = None
    point: tuple[str, Any] | None = None
    pins: dict[str, frozenset[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Filter:
    """`matches` tells whether a row belongs to the answer; `pins` gives for some columns all values possible."""

    matches: Callable[[Row], bool]
    pins: dict[str, frozenset[Any]]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
_SUM: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "add": operator.add, "sub": operator.sub}
_PRODUCT: dict[str, Callable[[Any, Any], Any]] = {
    "*": operator.mul,
    "/": operator.truediv,
    "mul": operator.mul,
    "div": operator.truediv,
}

# Sheet 4.3, second row of "not supported in $filter".
_UNSUPPORTED_FUNCTIONS = frozenset(
    (
        "cast",
        "ceiling",
        "floor",
        "fractionalseconds",
        "isof",
        "maxdatetime",
        "mindatetime",
        "round",
        "totaloffsetminutes",
        "totalseconds",
    )
)


def _substring(text: str, start: Any, length: Any = None) -> str:
    begin = int(start)
    return text[begin:] if length is None else text[begin : begin + int(length)]


# name -> (argument types, result type, function); "instant or date" functions are listed apart.
_FUNCTIONS: dict[str, tuple[tuple[str, ...], str, Callable[..., Any]]] = {
    "contains": ((STRING, STRING), BOOLEAN, lambda a, b: b in a),
    "startswith": ((STRING, STRING), BOOLEAN, lambda a, b: a.startswith(b)),
    "endswith": ((STRING, STRING), BOOLEAN, lambda a, b: a.endswith(b)),
    "tolower": ((STRING,), STRING, str.lower),
    "toupper": ((STRING,), STRING, str.upper),
    "length": ((STRING,), DECIMAL, len),
    "indexof": ((STRING, STRING), DECIMAL, lambda a, b: a.find(b)),
    "substring": ((STRING, DECIMAL, DECIMAL), STRING, _substring),
    "trim": ((STRING,), STRING, str.strip),
    "concat": ((STRING, STRING), STRING, operator.add),
    "date": ((INSTANT,), DATE, lambda a: a[:10]),
    "time": ((INSTANT,), TIME, lambda a: a[11:19]),
    "hour": ((INSTANT,), DECIMAL, lambda a: int(a[11:13])),
    "minute": ((INSTANT,), DECIMAL, lambda a: int(a[14:16])),
    "second": ((INSTANT,), DECIMAL, lambda a: int(a[17:19])),
    "year": ((INSTANT,), DECIMAL, lambda a: int(a[:4])),
    "month": ((INSTANT,), DECIMAL, lambda a: int(a[5:7])),
    "day": ((INSTANT,), DECIMAL, lambda a: int(a[8:10])),
}
_ON_DATES_TOO = frozenset({"year", "month", "day"})


class _Parser:
    """Recursive descent over one `$filter`."""

    def __init__(self, entity: Entity, namespace: str, text: str, now: dt.datetime, *, lenient_enums: bool) -> None:
        self.entity = entity
        self.namespace = namespace
        self.text = text
        self.now = now
        self.lenient_enums = lenient_enums
        self.found = tokens(text)
        self.at = 0

    # tokens

    def peek(self) -> Token | None:
        return self.found[self.at] if self.at < len(self.found) else None

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise malformed(f"The expression '{self.text}' ends too early.")
        self.at += 1
        return token

    def word(self, *names: str) -> str | None:
        token = self.peek()
        if token and token.kind in ("name", "punct") and token.text in names:
            self.at += 1
            return token.text
        return None

    def expect(self, text: str) -> None:
        if self.take().text != text:
            raise malformed(f"'{text}' expected in '{self.text}'.")

    # grammar

    def parse(self) -> Expr:
        expr = self.either()
        rest = self.peek()
        if rest is not None:
            if rest.text in ("has", "mod"):
                raise not_implemented(f"operator {rest.text} in $filter")
            raise malformed(f"Unexpected '{rest.text}' in '{self.text}'.")
        return self.boolean(expr)

    def boolean(self, expr: Expr) -> Expr:
        if expr.type not in (BOOLEAN, NULL):
            raise malformed(f"The types 'Edm.Boolean' and '{expr.type}' are not compatible.")
        return expr

    def either(self) -> Expr:
        parts = [self.both()]
        while self.word("or"):
            parts.append(self.boolean(self.both()))
        if len(parts) == 1:
            return parts[0]
        self.boolean(parts[0])
        pins = {c: frozenset().union(*(p.pins[c] for p in parts)) for c in parts[0].pins if all(c in p.pins for p in parts)}
        points = [p.point for p in parts]
        columns = {point[0] if point else None for point in points}
        if len(columns) == 1 and None not in columns:
            # `K eq 1 or K eq 2 or ...` is one look-up in a set, however long the list.
            column = points[0][0] if points[0] else ""
            read, wanted = self.reader(self.entity.columns[column]), pins[column]
            return Expr(BOOLEAN, lambda row: read(row) in wanted, pins=pins)
        getters = [p.get for p in parts]

        def any_of(row: Row) -> bool | None:
            unknown = False
            for get in getters:
                value = get(row)
                if value:
                    return True
                unknown = unknown or value is None
            return None if unknown else False

        return Expr(BOOLEAN, any_of, pins=pins)

    def both(self) -> Expr:
        parts = [self.negated()]
        while self.word("and"):
            parts.append(self.boolean(self.negated()))
        if len(parts) == 1:
            return parts[0]
        self.boolean(parts[0])
        pins: dict[str, frozenset[Any]] = {}
        for part in parts:
            for column, values in part.pins.items():
                pins[column] = pins[column] & values if column in pins else values
        getters = [p.get for p in parts]

        def all_of(row: Row) -> bool | None:
            unknown = False
            for get in getters:
                value = get(row)
                if value is None:
                    unknown = True
                elif not value:
                    return False
            return None if unknown else True

        return Expr(BOOLEAN, all_of, pins=pins)

    def negated(self) -> Expr:
        if not self.word("not"):
            return self.comparison()
        inner = self.boolean(self.negated()).get

        def reverse(row: Row) -> bool | None:
            value = inner(row)
            return None if value is None else not value

        return Expr(BOOLEAN, reverse)

    def comparison(self) -> Expr:
        left = self.sum()
        name = self.word(*_COMPARE)
        return self.compare(left, name, self.sum()) if name else left

    def sum(self) -> Expr:
        left = self.product()
        while name := self.word(*_SUM):
            left = self.arithmetic(left, _SUM[name], self.product())
        return left

    def product(self) -> Expr:
        left = self.primary()
        while name := self.word(*_PRODUCT):
            left = self.arithmetic(left, _PRODUCT[name], self.primary())
        return left

    def primary(self) -> Expr:
        if self.word("("):
            inner = self.either()
            self.expect(")")
            return inner
        if self.word("-"):
            inner = self.primary()
            if inner.constant and inner.constant.type == DECIMAL:
                return self.constant(Literal(DECIMAL, -inner.constant.value))
            return self.arithmetic(self.constant(Literal(DECIMAL, 0)), operator.sub, inner)
        token = self.take()
        given = literal(token)
        if given is not None:
            return self.constant(given)
        if token.kind != "name":
            raise malformed(f"Unexpected '{token.text}' in '{self.text}'.")
        if self.word("("):
            return self.call(token.text)
        if token.text.rpartition("/")[2] == "$count":
            raise not_implemented("$count in $filter")
        column = self.entity.columns.get(token.text)
        if column is None:
            raise undefined(token.text, f"{self.namespace}.{self.entity.name}")
        return Expr(column.edm(self.namespace), self.reader(column), column=column.name)

    def call(self, name: str) -> Expr:
        if name.rpartition("/")[2] in ("any", "all") or name in _UNSUPPORTED_FUNCTIONS:
            raise not_implemented(f"{name.rpartition('/')[2]}() in $filter")
        arguments: list[Expr] = []
        if not self.word(")"):
            arguments.append(self.either())
            while self.word(","):
                arguments.append(self.either())
            self.expect(")")
        if name == "now" and not arguments:
            return self.constant(Literal(INSTANT, instant_text(self.now)))
        if name not in _FUNCTIONS:
            raise malformed(f"The function '{name}' is not known.")
        types, result, function = _FUNCTIONS[name]
        given = tuple(a.type for a in arguments)
        accepted = [types] + ([types[:2]] if name == "substring" else []) + ([(DATE,)] if name in _ON_DATES_TOO else [])
        if given not in accepted:
            raise malformed(f"The function '{name}' cannot be applied to ({', '.join(given)}).")
        getters = [a.get for a in arguments]

        def apply(row: Row) -> Any:
            values = [get(row) for get in getters]
            return None if None in values else function(*values)

        return Expr(result, apply)

    # pieces

    def constant(self, given: Literal) -> Expr:
        value = given.value
        return Expr(given.type, lambda row: value, constant=given)

    def reader(self, column: Column) -> Getter:
        name = column.name
        if column.type == INSTANT:

            def read(row: Row) -> Any:
                value = row.get(name)
                return value and value[:19]

            return read
        return lambda row: row.get(name)

    def arithmetic(self, left: Expr, function: Callable[[Any, Any], Any], right: Expr) -> Expr:
        if left.type != DECIMAL or right.type != DECIMAL:
            raise malformed(f"The types '{left.type}' and '{right.type}' are not compatible.")
        a, b = left.get, right.get

        def compute(row: Row) -> Any:
            x, y = a(row), b(row)
            try:
                return None if x is None or y is None else function(x, y)
            except ZeroDivisionError as error:
                raise ODataError(
                    400, "DATABASE_ERROR", "Database error.", [("01476", "ORA-01476: divisor is equal to zero")]
                ) from error

        return Expr(DECIMAL, compute)

    def check_types(self, name: str, left: Expr, right: Expr) -> None:
        """Sheet 4.3: a value of the wrong Edm type is a 400, an enumeration needs its qualified literal."""
        for side in (left, right):
            if side.constant and not side.type.startswith(("Edm.", NULL)):
                prefix, _, enum = side.type.rpartition(".")
                if prefix != self.namespace or enum not in ENUMS or side.constant.value not in ENUMS[enum]:
                    raise malformed(f"{side.type}'{side.constant.value}' is not a known enumeration literal.")
        if left.type == right.type:
            if name in ("eq", "ne") or left.type in _ORDERED:
                return
            raise malformed(f"The operator '{name}' cannot be applied to '{left.type}'.")
        if NULL in (left.type, right.type):
            return
        enums = {t for t in (left.type, right.type) if not t.startswith("Edm.")}
        if self.lenient_enums and enums and STRING in (left.type, right.type) and name in ("eq", "ne"):
            return
        raise malformed(f"The types '{left.type}' and '{right.type}' are not compatible.")

    def compare(self, left: Expr, name: str, right: Expr) -> Expr:
        self.check_types(name, left, right)
        if left.constant and not right.constant:
            left, right = right, left
            name = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}.get(name, name)
        function = _COMPARE[name]
        a, b = left.get, right.get
        if left.column and right.constant:
            value = right.constant.value
            if name == "eq":
                pins = {left.column: frozenset({value})}
                return Expr(BOOLEAN, lambda row: a(row) == value, point=(left.column, value), pins=pins)
            if name == "ne":
                return Expr(BOOLEAN, lambda row: a(row) != value)

            def against_constant(row: Row) -> bool:
                x = a(row)
                return x is not None and value is not None and function(x, value)

            return Expr(BOOLEAN, against_constant)
        if name in ("eq", "ne"):
            return Expr(BOOLEAN, lambda row: function(a(row), b(row)))

        def between(row: Row) -> bool:
            x, y = a(row), b(row)
            return x is not None and y is not None and function(x, y)

        return Expr(BOOLEAN, between)


def parse_filter(entity: Entity, namespace: str, text: str, now: dt.datetime, *, lenient_enums: bool = False) -> Filter:
    """Compile a `$filter` (sheet 4.3). Raises ODataError 400, or 501 for what IFS does not support.

    A comparison with null by gt, ge, lt, le is false; eq and ne treat null as a value.
    """
    expr = _Parser(entity, namespace, text, now, lenient_enums=lenient_enums).parse()
    get = expr.get
    return Filter(lambda row: bool(get(row)), expr.pins)


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

"""`$filter` of IFS as the simulator understands it (sheet 4.1 and 4.3).

Types are checked while parsing, so that a wrong literal is refused whatever the data. A filter becomes one Python
function of a row; columns that only an equality can satisfy are reported as `pins`, with which the caller can look
rows up instead of reading all of them.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from integrations.ifs_cloud.simulator_odata import (
    NULL,
    TIME,
    Literal,
    ODataError,
    Row,
    Token,
    instant_text,
    literal,
    malformed,
    not_implemented,
    tokens,
    undefined,
)
from integrations.ifs_cloud.simulator_schema import BOOLEAN, DATE, DECIMAL, ENUMS, INSTANT, STRING, Column, Entity

Getter = Callable[[Row], Any]
_ORDERED = (STRING, DECIMAL, DATE, INSTANT, TIME)


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

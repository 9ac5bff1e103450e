"""The shipment history at a million rows: page by page from where the last one ended, never by counting.

Every order is one that an index of `Shipment` walks within a tenant. A page begins after (or before) a row that the
address names, so that page 20,000 costs what the first one costs, and nothing is shown twice or left out when new
shipments arrive in between.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import BooleanField, DateField, DateTimeField, DecimalField, F, Func, Q, QuerySet, Value
from django.db.models.expressions import RawSQL

from connector.models import Reference, Shipment
from connector.services import database

MERGED = 20
"""Up to so many tenants are read one by one and merged; beyond, the database sorts what it may."""

SUGGESTED = ("service", "company_code", "site", "cost_center")
"""Columns whose values are proposed while typing."""


LOOKED_AHEAD = 12_000
"""So many hits of a search are read before the page is asked for; of more the database walks the newest shipments first."""


GIVEN_S = 0.1
"""So long a page may look for its rows by whatever index the database chooses. Then it walks, and says how far it came:
no set of indexes answers every pair of common values that never meet."""
WALKED = 10_000
"""Rows of each tenant on the first part of that walk; how fast it went says how long the second part is."""
WALK_S = 0.06
LONGEST = 200_000
_PARTS = 2


@dataclass(frozen=True, slots=True)
class Order:
    """A way to sort. `column` "" is the order in which shipments were made; rows without a value of `column` are left out."""

    column: str
    descending: bool
    title: str
    hint: str = ""


_NO_DATE = "Shipments without a ship date are left out of this order."
_NO_COST = "Shipments whose cost is unknown are left out of this order."
ORDERS = {
    "newest": Order("", True, "Newest first"),
    "oldest": Order("", False, "Oldest first"),
    "created_latest": Order("created_at", True, "Newest first"),
    "created_earliest": Order("created_at", False, "Oldest first"),
    "shipped_latest": Order("ship_date", True, "Ship date, latest first", _NO_DATE),
    "shipped_earliest": Order("ship_date", False, "Ship date, earliest first", _NO_DATE),
    "cost_highest": Order("cost", True, "Cost, highest first", _NO_COST),
    "cost_lowest": Order("cost", False, "Cost, lowest first", _NO_COST),
}
OFFERED = ("newest", "oldest", "shipped_latest", "shipped_earliest", "cost_highest", "cost_lowest")
"""Orders a person may ask for; the others follow from a filter."""

FIXED = "master_tracking_number"
"""The column that is always there: it leads to the shipment."""

COLUMNS = {
    "master_tracking_number": "Tracking number",
    "document_number": "Document",
    "source_key": "Document key",
    "tenant": "Tenant",
    "integration": "Integration",
    "carrier": "Carrier",
    "company_code": "Company code",
    "site": "Site",
    "state": "State",
    "status": "Carrier's status",
    "service": "Service",
    "recipient_name": "Recipient",
    "recipient_city": "City",
    "recipient_postal_code": "Postal code",
    "recipient_country": "Country",
    "cost": "Cost",
    "cost_kind": "Kind of cost",
    "cost_center": "Cost centre",
    "freight_account": "Account",
    "ship_date": "Ship date",
    "estimated_delivery": "Expected",
    "delivered_at": "Delivered",
    "signed_by": "Signed by",
    "last_news_at": "Last news",
    "written_at": "In the ERP",
    "created_at": "Created",
    "voided_at": "Voided",
    "transaction_id": "Carrier's transaction",
}
"""What a list or a file can show, in this order: column of Shipment -> its name on the screen."""

USUAL = (
    *("master_tracking_number", "document_number", "state", "service", "recipient_name", "cost", "ship_date"),
    *("written_at", "created_at"),
)
_NAMED = ("tenant", "integration", "carrier")

_FIELDS: dict[str, Any] = {
    "created_at": DateTimeField(),
    "ship_date": DateField(),
    "cost": DecimalField(max_digits=12, decimal_places=2),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page and where its neighbours begin ("" where there is none).

    `reached`: the shipment as far as which was looked; what lies behind it was not looked at. None: the page is whole.
    """

    rows: list[Shipment]
    newer: str = ""
    older: str = ""
    reached: Shipment | None = None


def _row(*parts: Any) -> Func:
    return Func(*parts, template="(%(expressions)s)", output_field=BooleanField())


def _beyond(order: Order, value: Any, pk: int, sign: str) -> Func:
    """(column, id) < (value, pk), as one comparison of rows: an index finds its place at once, however many are equal."""
    field = _FIELDS[order.column]
    ours, theirs = _row(F(order.column), F("pk")), _row(Value(value, output_field=field), Value(pk))
    return Func(ours, theirs, arg_joiner=f" {sign} ", template="(%(expressions)s)", output_field=BooleanField())


_Place = tuple[Any, int]


def _place_of(order: Order, row: Shipment) -> _Place:
    return (getattr(row, order.column) if order.column else None, row.pk)


def cursor_of(order: Order, row: Shipment) -> str:
    """How an address names a place in this order."""
    if not order.column:
        return str(row.pk)
    value = getattr(row, order.column)
    return f"{format(value, 'f') if isinstance(value, Decimal) else value.isoformat()}~{row.pk}"


def _read_cursor(order: Order, text: str) -> _Place | None:
    """The place an address names; None when it names none in this order."""
    value, _, pk = text.rpartition("~")
    if not pk.isascii() or not pk.isdigit() or len(pk) > 18:
        return None
    try:
        if not order.column:
            return (None, int(pk)) if text == pk else None
        if order.column == "cost":
            cost = Decimal(value)
            return (cost, int(pk)) if cost.is_finite() and abs(cost) < 10**10 else None
        if order.column == "ship_date":
            return dt.date.fromisoformat(value), int(pk)
        at = dt.datetime.fromisoformat(value)
        return (at, int(pk)) if at.tzinfo else None
    except (ValueError, InvalidOperation):
        return None


def _ordered(rows: QuerySet[Shipment], order: Order, *, backwards: bool = False) -> QuerySet[Shipment]:
    sign = "-" if order.descending != backwards else ""
    if not order.column:
        return rows.order_by(f"{sign}pk")
    return rows.filter(**{f"{order.column}__isnull": False}).order_by(f"{sign}{order.column}", f"{sign}pk")


def _from(
    rows: QuerySet[Shipment], order: Order, place: _Place | None, *, backwards: bool, until: _Place | None = None
) -> QuerySet[Shipment]:
    """The rows behind a place, up to another one (with it)."""
    found = _ordered(rows, order, backwards=backwards)
    descending = order.descending != backwards
    bounds = (
        (place, "lt", "<") if descending else (place, "gt", ">"),
        (until, "gte", ">=") if descending else (until, "lte", "<="),
    )
    for bound, lookup, sign in bounds:
        if bound is not None:
            found = found.filter(_beyond(order, *bound, sign) if order.column else Q(**{f"pk__{lookup}": bound[1]}))
    return found


def _first(
    rows: QuerySet[Shipment],
    order: Order,
    place: _Place | None,
    count: int,
    tenants: Sequence[int],
    columns: Iterable[str],
    *,
    backwards: bool = False,
    until: _Place | None = None,
) -> list[Shipment]:
    """The first rows from a place on, up to another one where it is given.

    Indexes begin with the tenant, so that an order over several tenants has no index: each tenant gives its first rows by
    its own, and the first of these are the first of all. Only ids are looked for, which an index often tells alone; the
    rows are read for those that are shown.
    """
    if not 1 <= len(tenants) <= MERGED:
        return list(with_columns(_from(rows, order, place, backwards=backwards, until=until), columns, order)[:count])
    mine = [rows.filter(tenant=tenant) for tenant in tenants]
    # Without the filters: they hold for the ids already, and asked again they cost as much again.
    found = _merged(_from(one, order, place, backwards=backwards, until=until)[:count] for one in mine)
    return list(with_columns(_ordered(found, order, backwards=backwards), columns, order)[:count])


def _merged(several: Iterable[QuerySet[Shipment]]) -> QuerySet[Shipment]:
    """The shipments in any of these, each of which may be cut off at some number."""
    parts: list[str] = []
    values: list[Any] = []
    for number, one in enumerate(several):
        try:
            sql, told = one.values("pk").query.sql_with_params()
        except EmptyResultSet:
            continue
        parts.append(f"SELECT * FROM ({sql}) AS t{number}")
        values += told
    return Shipment.objects.filter(pk__in=RawSQL(" UNION ALL ".join(parts), values)) if parts else Shipment.objects.none()


def _looked(
    rows: QuerySet[Shipment],
    order: Order,
    place: _Place | None,
    count: int,
    tenants: Sequence[int],
    columns: Iterable[str],
    *,
    backwards: bool = False,
) -> tuple[list[Shipment], Shipment | None]:
    """The first rows from a place on, and how far was looked; None: as far as was needed.

    Where the database does not find them soon, the rows of the order itself are walked, so many that it takes no time.
    """
    try:
        with database.at_most(GIVEN_S):
            return _first(rows, order, place, count, tenants, columns, backwards=backwards), None
    except database.TookTooLong:
        pass
    found: list[Shipment] = []
    end, length = None, WALKED
    begun = time.perf_counter()
    for _ in range(_PARTS):
        end = _end(order, place, length, tenants, backwards=backwards)
        until = _place_of(order, end) if end is not None else None
        wanted = count - len(found)
        found += _first(rows, order, place, wanted, tenants, columns, backwards=backwards, until=until)
        if end is None or len(found) >= count:
            break
        took = time.perf_counter() - begun
        length = min(LONGEST, int(WALKED * (WALK_S - took) / took))
        if length < WALKED:
            break
        place = until
    return found, end


def _end(order: Order, place: _Place | None, length: int, tenants: Sequence[int], *, backwards: bool) -> Shipment | None:
    """Where so many rows of each tenant have been walked, whether they fit or not; None: that is behind the last one."""
    theirs = [{"tenant": tenant} for tenant in tenants] if len(tenants) <= MERGED else [{"tenant__in": tenants}]
    mine = (Shipment.objects.filter(**one) for one in theirs)
    ends = (_from(one, order, place, backwards=backwards)[length - 1 : length] for one in mine)
    return _ordered(_merged(ends), order, backwards=backwards).first()


def page(
    rows: QuerySet[Shipment],
    order: Order,
    *,
    after: str = "",
    before: str = "",
    size: int = 50,
    tenants: Sequence[int] = (),
    columns: Collection[str] = tuple(COLUMNS),
    whole: bool = False,
) -> Page:
    """The page after or before a place; the first one when the place cannot be read. `tenants`: whose rows these are.

    `whole`: look until the page is full, however long it takes.
    """

    def look(place: _Place | None, *, backwards: bool = False) -> tuple[list[Shipment], Shipment | None]:
        if whole:
            return _first(rows, order, place, size + 1, tenants, columns, backwards=backwards), None
        return _looked(rows, order, place, size + 1, tenants, columns, backwards=backwards)

    place = _read_cursor(order, before) if before else None
    if place is not None:
        found, reached = look(place, backwards=True)
        if len(found) > size:
            found = found[:size][::-1]
            return Page(found, cursor_of(order, found[0]), cursor_of(order, found[-1]))
        if reached is not None:
            found = found[::-1]
            return Page(found, cursor_of(order, reached), cursor_of(order, found[-1] if found else reached), reached)
        # Less than a page lies before it: that is the first page, and it is shown in full.
    place = _read_cursor(order, after) if after and not before else None
    found, reached = look(place)
    more = len(found) > size
    found, reached = found[:size], None if more else reached
    last = found[-1] if more else reached
    return Page(
        found,
        cursor_of(order, found[0]) if place is not None and found else "",
        cursor_of(order, last) if last is not None else "",
        reached,
    )


def batches(
    rows: QuerySet[Shipment],
    order: Order,
    *,
    size: int = 2000,
    tenants: Sequence[int] = (),
    columns: Collection[str] = tuple(COLUMNS),
) -> Iterator[list[Shipment]]:
    """All rows in their order, read batch by batch: nothing is held open while a slow reader reads."""
    place: _Place | None = None
    while True:
        found = _first(rows, order, place, size, tenants, columns)
        if found:
            yield found
        if len(found) < size:
            return
        last = found[-1]
        place = _place_of(order, last)


def bearing(rows: QuerySet[Shipment], references: QuerySet[Reference]) -> QuerySet[Shipment]:
    """Those of these shipments to which any of these references (narrowed by tenant and number) leads; nothing is left out.

    Asked in one piece, the database guesses whether few or many fit, and where it guesses wrong it walks through the
    references of all newer shipments to find the first that fits. So they are looked up by their own index before; where they
    turn out to be very many, the first ones are found soon by walking.
    """
    found = list(references.order_by().values_list("shipment_id", flat=True)[: LOOKED_AHEAD + 1])
    if len(found) > LOOKED_AHEAD:
        return rows.filter(pk__in=references.values("shipment"))
    return rows.filter(_one_of(sorted(set(found))))


def _one_of(pks: Sequence[int]) -> Func:
    """Whether the row's id is among these, given in one piece: as thousands of parameters they cost more than the query."""
    text = ",".join(map(str, pks))
    if connection.vendor == "postgresql":
        listed, joiner, template = f"{{{text}}}", " = ANY(", "(%(expressions)s::bigint[]))"
    else:
        listed, joiner, template = f"[{text}]", " IN (SELECT value FROM json_each(", "(%(expressions)s)))"
    return Func(F("pk"), Value(listed), arg_joiner=joiner, template=template, output_field=BooleanField())


def with_columns(rows: QuerySet[Shipment], columns: Iterable[str], order: Order) -> QuerySet[Shipment]:
    """The rows with what these columns need and no more: of a carrier its name, never its secrets."""
    # A document is named by its key, which tells its kind, too.
    wanted = {name for name in columns if name in COLUMNS} | {"id", FIXED, "source_key"}
    wanted |= {order.column} if order.column else set()
    named = [name for name in _NAMED if name in wanted]
    extra = {"currency", "cost_kind"} if "cost" in wanted else set()
    extra |= {"record"} if "written_at" in wanted else set()
    only = (wanted - set(named)) | extra | {f"{name}__name" for name in named}
    rows = rows.select_related(None)
    return (rows.select_related(*named) if named else rows).only(*only)


def chosen_columns(told: Iterable[str]) -> list[str]:
    """The known ones among these, in the list's order, with the column that is always there."""
    wanted = {*told, FIXED}
    return [name for name in COLUMNS if name in wanted]


def suggestions(tenants: Sequence[int], limit: int = 50) -> dict[str, list[str]]:
    """Values that occur in columns people filter by, for these tenants (the first five), by one query.

    Steps from value to next value along the index instead of reading all rows, as DISTINCT would.
    """
    found: dict[str, set[str]] = {name: set() for name in SUGGESTED}
    if not tenants:
        return {name: [] for name in SUGGESTED}
    table = Shipment._meta.db_table
    parts: list[str] = []
    values: list[Any] = []
    for tenant in list(tenants)[:5]:
        for name in SUGGESTED:
            first = f"SELECT min({name}) FROM {table} WHERE tenant_id = %s AND {name} > ''"
            following = f"SELECT min(s.{name}) FROM {table} s WHERE s.tenant_id = %s AND s.{name} > walk.v"
            parts.append(
                f"SELECT '{name}', v FROM (WITH RECURSIVE walk(v, n) AS (SELECT ({first}), 1 UNION ALL "
                f"SELECT ({following}), n + 1 FROM walk WHERE v IS NOT NULL AND n < %s) SELECT v FROM walk) AS w "
                "WHERE v IS NOT NULL"
            )
            values += [tenant, tenant, limit]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), values)
        for name, value in cursor.fetchall():
            found[name].add(value)
    return {name: sorted(kept) for name, kept in found.items()}

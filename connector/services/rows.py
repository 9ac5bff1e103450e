"""The writes that every shipment needs, without the ORM's work for each: rows inserted, rows changed by conditions.

Django makes the SQL of every statement anew, which costs five times what the database needs for it, and a shipment
has some twenty. Here it is made once for each shape (model, columns, number of rows) from the models' own columns, so that a
new column needs no care; values, errors, transactions and whoever counts statements are Django's. On PostgreSQL the
statement is sent apart from its values and, in workers, prepared (connector.workers sets the threshold).

    rows.insert([step, other_step])
    hit = rows.update(Transfer, {"pk": 7, "epoch": 3, "lease_until__gt": Moment(60)}, {"updated_at": Moment()})

For anything that is not in the way of every shipment, take the ORM.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.expressions import BaseExpression

from connector.services import clock

MANY = 12
"""More rows than this at once are the ORM's: each number of rows is a statement of its own."""
_OPERATORS = {"": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SAME = frozenset({str, int, bool, type(None)})

M = TypeVar("M", bound=models.Model)


@dataclass(frozen=True, slots=True)
class Moment:
    """The database's time, `seconds` from now, as a value to write or to compare with (see `clock.at`)."""

    seconds: float = 0.0


def insert(new: Iterable[M]) -> list[M]:
    """Insert rows of one model, as `bulk_create` does, and give them their ids. Raises IntegrityError, DataError."""
    rows = list(new)
    if rows:
        _insert(rows, "")
    return rows


def upsert(new: Iterable[M], unique: tuple[str, ...], change: tuple[str, ...]) -> None:
    """Insert rows of one model; where one of them exists (by `unique`), its columns `change` are overwritten."""
    rows = list(new)
    if rows:
        _insert(rows, _on_conflict(type(rows[0]), unique, change), unique=unique, change=change)


def update(model: type[models.Model], where: Mapping[str, Any], values: Mapping[str, Any], *, also: str = "") -> int:
    """Change the rows that fulfil all of `where`; how many there were.

    Names are those of columns ("epoch", "transfer_id"; "pk"), in `where` with "__gt", "__gte", "__lt" or "__lte";
    a tuple means any of these, None that nothing stands there. `also` is a further condition as SQL, without values.
    """
    shape = (
        tuple((name, type(value) is Moment) for name, value in values.items()),
        tuple((name, _kind(value)) for name, value in where.items()),
    )
    db = connections[DEFAULT_DB_ALIAS]
    sql = _update_sql(db.vendor, model, *shape, also)
    table = _table(db.vendor, model)
    params: list[Any] = []
    for name, value in values.items():
        params.append(_shift(value) if type(value) is Moment else table.write(name, value))
    for name, value in where.items():
        if type(value) is Moment:
            params.append(_shift(value))
        elif type(value) is tuple:
            params += [table.write(name.partition("__")[0], one) for one in value]
        elif value is not None:
            params.append(table.write(name.partition("__")[0], value))
    with _cursor(db) as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


# -- SQL, once per shape ---------------------------------------------------------------------------------


class _Table:
    """A model's columns and how the values of each are handed to this database."""

    def __init__(self, vendor: str, model: type[models.Model]) -> None:
        meta = model._meta
        quote = connections[DEFAULT_DB_ALIAS].ops.quote_name
        self.name = quote(meta.db_table)
        assert meta.pk is not None
        self.fields = tuple(f for f in meta.concrete_fields if not f.primary_key)
        for field in self.fields:
            if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
                raise TypeError(f"{meta.label}.{field.name} fills itself in: write it by the ORM")
        convert = _for_postgresql if vendor == "postgresql" else _for_django
        self.writers: dict[str, Callable[[Any], Any]] = {f.attname: convert(f) for f in meta.concrete_fields}
        self.columns = {f.attname: quote(f.column or "") for f in meta.concrete_fields}
        self.writers["pk"], self.columns["pk"] = self.writers[meta.pk.attname], self.columns[meta.pk.attname]
        self.in_order = tuple((f.attname, self.writers[f.attname]) for f in self.fields)

    def write(self, name: str, value: Any) -> Any:
        """A value as a parameter for column `name`."""
        return self.writers[name](value)


@cache
def _table(vendor: str, model: type[models.Model]) -> _Table:
    return _Table(vendor, model)


def _for_django(field: Any) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if type(value) in _SAME and not isinstance(field, models.JSONField):
            return value
        _refuse_expression(field, value)
        return field.get_db_prep_save(value, connections[DEFAULT_DB_ALIAS])

    return write


def _for_postgresql(field: Any) -> Callable[[Any], Any]:
    """Everything but bytes goes as text without a type: the server knows the column's, and the shape stays one."""
    if isinstance(field, models.JSONField):
        return lambda value: None if value is None else json.dumps(value, cls=field.encoder)
    if isinstance(field, models.BinaryField):
        return lambda value: None if value is None else bytes(value)

    def write(value: Any) -> Any:
        kind = type(value)
        if kind is str or value is None:
            return value
        if kind is int or kind is uuid.UUID:
            return str(value)
        if kind is bool:
            return "t" if value else "f"
        if kind is dt.datetime or kind is dt.date:
            return value.isoformat()
        _refuse_expression(field, value)
        value = field.get_db_prep_save(value, connections[DEFAULT_DB_ALIAS])
        return None if value is None else str(value)

    return write


def _refuse_expression(field: Any, value: Any) -> None:
    if isinstance(value, BaseExpression | Moment) or hasattr(value, "resolve_expression"):
        raise TypeError(f"{field.name}: an expression has no place here")


def _shift(moment: Moment) -> str:
    return f"{moment.seconds + clock.offset_s:+.3f} seconds"


def _moment_sql(vendor: str) -> str:
    if vendor == "postgresql":
        return "(STATEMENT_TIMESTAMP() + %s::interval)"
    return "(STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', %s) || '000')"


def _kind(value: Any) -> str | int:
    """What of a condition's value shapes its SQL."""
    if type(value) is Moment:
        return "moment"
    return "null" if value is None else len(value) if type(value) is tuple else "value"


@lru_cache(maxsize=512)
def _update_sql(
    vendor: str,
    model: type[models.Model],
    values: tuple[tuple[str, bool], ...],
    where: tuple[tuple[str, str | int], ...],
    also: str,
) -> str:
    table = _table(vendor, model)
    changes = [f"{table.columns[name]} = {_moment_sql(vendor) if moment else '%s'}" for name, moment in values]
    conditions = []
    for name, kind in where:
        column, _, operator = name.partition("__")
        if kind == "null":
            conditions.append(f"{table.columns[column]} IS NULL")
        elif isinstance(kind, int):
            conditions.append(f"{table.columns[column]} IN ({', '.join(['%s'] * kind)})")
        else:
            told = _moment_sql(vendor) if kind == "moment" else "%s"
            conditions.append(f"{table.columns[column]} {_OPERATORS[operator]} {told}")
    if also:
        conditions.append(f"({also})")
    return f"UPDATE {table.name} SET {', '.join(changes)} WHERE {' AND '.join(conditions)}"


@lru_cache(maxsize=512)
def _insert_sql(vendor: str, model: type[models.Model], shapes: tuple[tuple[int, ...], ...], conflict: str) -> str:
    table = _table(vendor, model)
    columns = ", ".join(table.columns[name] for name, _ in table.in_order)
    moment = _moment_sql(vendor)
    told = ", ".join(
        "(" + ", ".join(moment if place in shape else "%s" for place in range(len(table.in_order))) + ")" for shape in shapes
    )
    return f"INSERT INTO {table.name} ({columns}) VALUES {told}{conflict} RETURNING {table.columns['pk']}"


@cache
def _on_conflict(model: type[models.Model], unique: tuple[str, ...], change: tuple[str, ...]) -> str:
    table = _table(connections[DEFAULT_DB_ALIAS].vendor, model)
    told = ", ".join(f"{table.columns[name]} = EXCLUDED.{table.columns[name]}" for name in change)
    return f" ON CONFLICT ({', '.join(table.columns[name] for name in unique)}) DO UPDATE SET {told}"


def _insert(rows: Sequence[models.Model], conflict: str, **by_orm: Any) -> None:
    db = connections[DEFAULT_DB_ALIAS]
    if len(rows) > MANY or not db.features.can_return_rows_from_bulk_insert:
        _insert_by_orm(rows, **by_orm)
        return
    model = type(rows[0])
    vendor = db.vendor
    table = _table(vendor, model)
    params: list[Any] = []
    shapes = []
    for row in rows:
        moments = []
        state = row.__dict__
        for place, (name, write) in enumerate(table.in_order):
            value = state[name]
            if type(value) is Moment:
                moments.append(place)
                params.append(_shift(value))
            else:
                params.append(write(value))
        shapes.append(tuple(moments))
    with _cursor(db) as cursor:
        cursor.execute(_insert_sql(vendor, model, tuple(shapes), conflict), params)
        made = cursor.fetchall()
    for row, (pk,) in zip(rows, made, strict=True):
        row.pk = pk
        row._state.adding = False
        row._state.db = DEFAULT_DB_ALIAS


def _insert_by_orm(rows: Sequence[models.Model], unique: tuple[str, ...] = (), change: tuple[str, ...] = ()) -> None:
    model = type(rows[0])
    for row in rows:
        for name, value in row.__dict__.items():
            if type(value) is Moment:
                setattr(row, name, clock.at(value.seconds))
    if not unique:
        model._default_manager.bulk_create(rows)
        return
    names = {f.attname: f.name for f in model._meta.concrete_fields}
    model._default_manager.bulk_create(
        rows, update_conflicts=True, unique_fields=[names[n] for n in unique], update_fields=[names[n] for n in change]
    )


# -- the cursor ------------------------------------------------------------------------------------------


@cache
def _prepared_cursor() -> type[Any]:
    import psycopg  # only where it is used: an installation on SQLite does without

    class Prepared(psycopg.RawCursor[Any]):
        """Values apart from the statement, which is prepared where the connection allows it."""

        def execute(self, query: Any, params: Any = None, **rest: Any) -> Any:
            return super().execute(_numbered(query), params, prepare=True, **rest)

    return Prepared


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> str:
    """A statement of ours with the server's own marks for values ($1); the driver would look for Django's each time."""
    first, *others = sql.split("%s")
    return (first + "".join(f"${place}{part}" for place, part in enumerate(others, 1))).replace("%%", "%")


def _cursor(db: Any) -> Any:
    """A cursor with all that Django puts around one (errors, broken transactions, counting)."""
    if db.vendor != "postgresql":
        return db.cursor()
    db.validate_thread_sharing()
    db.ensure_connection()
    with db.wrap_database_errors:
        cursor = _prepared_cursor()(db.connection)
    return db.make_debug_cursor(cursor) if db.queries_logged else db.make_cursor(cursor)


__all__ = ["MANY", "Moment", "insert", "update", "upsert"]

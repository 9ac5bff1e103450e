"""What a simulated entity is made of: columns and their types (sheet 4.2), navigation, keys; values as IFS takes them."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

STRING = "Edm.String"
DECIMAL = "Edm.Decimal"
BOOLEAN = "Edm.Boolean"
DATE = "Edm.Date"
INSTANT = "Edm.DateTimeOffset"

_PURCHASE_STATES = ("Planned", "Released", "Confirmed", "Arrived", "Received", "Invoiced", "Closed", "Cancelled", "Stopped")

ENUMS: dict[str, tuple[str, ...]] = {
    "ShipmentState": ("Preliminary", "Completed", "Closed", "Cancelled"),
    "CustomerOrderState": (
        "Planned",
        "Released",
        "Reserved",
        "Picked",
        "PartiallyDelivered",
        "Delivered",
        "Invoiced",
        "Cancelled",
        "Blocked",
    ),
    "PurchaseOrderState": _PURCHASE_STATES,
    "PurchaseOrderLineState": _PURCHASE_STATES,
}

# Members IFS adds to every record; they are of use for attachments only (sheet 4.2).
META_COLUMNS = ("luname", "keyref", "Objgrants")


class BadValue(ValueError):
    """A value that does not fit its column. `ora` is the database's code, None where the JSON type is wrong."""

    def __init__(self, message: str, ora: str | None = None) -> None:
        super().__init__(message)
        self.ora = ora


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is an Edm type or the bare name of one of `ENUMS`; `max_length` in characters."""

    name: str
    type: str
    max_length: int | None = None
    writable: bool = True

    @property
    def is_enum(self) -> bool:
        return not self.type.startswith("Edm.")

    def edm(self, namespace: str) -> str:
        """The type name as `$metadata` and error texts write it."""
        return f"{namespace}.{self.type}" if self.is_enum else self.type

    def accept(self, value: Any, *, numbers_as_text: bool = False) -> Any:
        """The value as stored (sheet 4.2). Raises BadValue.

        Instants are kept as UTC seconds with Z. An empty text becomes null, as in every Oracle column.
        """
        if value is None:
            return None
        match self.type:
            case "Edm.Decimal":
                if numbers_as_text and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
                    return plain_number(value)
                if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                    return plain_number(str(value))
            case "Edm.Boolean":
                if isinstance(value, bool):
                    return value
            case "Edm.Date":
                if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
                    try:
                        return dt.date.fromisoformat(value).isoformat()
                    except ValueError as error:
                        raise BadValue(f"Invalid value for property '{self.name}'.") from error
            case "Edm.DateTimeOffset":
                if isinstance(value, str) and re.search(r"T.*(Z|[+-]\d\d:\d\d)$", value):
                    try:
                        return stamp(dt.datetime.fromisoformat(value))
                    except ValueError as error:
                        raise BadValue(f"Invalid value for property '{self.name}'.") from error
            case "Edm.String":
                if isinstance(value, str):
                    if self.max_length is not None and len(value) > self.max_length:
                        raise BadValue(
                            f'value too large for column "{upper_snake(self.name)}" '
                            f"(actual: {len(value)}, maximum: {self.max_length})",
                            "12899",
                        )
                    return value or None
            case _:
                if isinstance(value, str) and value in ENUMS[self.type]:
                    return value
        raise BadValue(f"Invalid value for property '{self.name}'.")


@dataclass(frozen=True, slots=True)
class Navigation:
    """From one entity to another: `on` pairs own column with the target's column."""

    target: str
    on: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """A logical unit. `final` names states in which no update is allowed; `touch` is a column other users change."""

    name: str
    keys: tuple[str, ...]
    columns: dict[str, Column]
    references: dict[str, Navigation] = field(default_factory=dict)
    arrays: dict[str, Navigation] = field(default_factory=dict)
    final: frozenset[str] = frozenset()
    writable: bool = True
    touch: str = "NoteText"

    def keyref(self, row: dict[str, Any]) -> str:
        """The record's key as IFS writes it, `SHIPMENT_ID=19^` (sheet 7.2)."""
        return "".join(f"{upper_snake(k)}={row[k]}^" for k in self.keys)


@dataclass(frozen=True, slots=True)
class Schema:
    """One tenant's model: entities by name, projections as {service: {set: entity}}, the same for Entity Services."""

    entities: dict[str, Entity]
    projections: dict[str, dict[str, str]]
    entity_services: dict[str, dict[str, str]]
    overviews: dict[str, frozenset[str]] = field(default_factory=dict)
    """Projections that show some columns only."""

    def shown(self, service: str, name: str) -> Entity:
        """An entity as one projection shows it."""
        entity, kept = self.entities[name], self.overviews.get(service)
        return entity if kept is None else replace(entity, columns={n: c for n, c in entity.columns.items() if n in kept})

    def entity_of(self, name: str) -> Entity | None:
        """An entity by its own name or by any of its set names."""
        if name in self.entities:
            return self.entities[name]
        for sets in self.projections.values():
            if name in sets:
                return self.entities[sets[name]]
        return None


def upper_snake(name: str) -> str:
    """`ShipmentId` to `SHIPMENT_ID`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def plain_number(text: str) -> int | float:
    """An IFS number as JSON writes it: whole where it is whole."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def stamp(moment: dt.datetime) -> str:
    """`2026-03-01T08:00:00Z` from an aware instant."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

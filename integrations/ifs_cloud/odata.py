"""What is said to IFS in OData: literals, filters, keys, query strings; and what its `$metadata` says.

Pure functions. Filters are put together from names of the checked profile and from values turned into
literals here; the only free text is the operator's own `ready_filter` (sheet 11).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import quote
from xml.parsers import expat


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A value of an enumeration, written `IfsApp.ShipmentHandling.ShipmentState'Completed'` (sheet 4.3)."""

    namespace: str
    enum: str
    name: str


Value = str | int | Decimal | bool | dt.date | dt.datetime | EnumMember | None


def literal(value: Value) -> str:
    """A value as IFS writes it in filters and keys (sheet 4.1, 4.3), not yet percent-encoded.

    Raises ValueError for a datetime without a zone.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case EnumMember():
            return f"{value.namespace}.{value.enum}{literal(value.name)}"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case dt.datetime():
            return instant(value)
        case dt.date():
            return value.isoformat()
        case _:
            return format(value, "f") if isinstance(value, Decimal) else str(value)


class Instant(str):
    """An instant as IFS takes it, with its calendar day in the zone in which it was told: fields may hold days only."""

    day: str


def instant(value: dt.datetime) -> Instant:
    """An instant as IFS takes it: UTC, whole seconds, `Z` (sheet 4.2). Raises ValueError without a zone."""
    if value.tzinfo is None:
        raise ValueError("an instant for IFS needs a time zone")
    made = Instant(value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    made.day = value.date().isoformat()
    return made


def compare(field_name: str, operator: str, value: Value) -> str:
    """One comparison, `ShipmentId eq 19`."""
    return f"{field_name} {operator} {literal(value)}"


def any_of(parts: Iterable[str]) -> str:
    """Alternatives in brackets; one alone stays as it is."""
    several = list(parts)
    return several[0] if len(several) == 1 else "(" + " or ".join(several) + ")"


def all_of(parts: Iterable[str]) -> str:
    """Conditions that must all hold; empty ones fall away."""
    return " and ".join(part for part in parts if part)


def key_predicate(key: Mapping[str, Value]) -> str:
    """`(ShipmentId=19)`, `(OrderNo='C100',LineNo='1')`: names always written (sheet 4.1), percent-encoded."""
    return "(" + ",".join(f"{name}={quote(literal(value), safe=chr(39))}" for name, value in key.items()) + ")"


def query_string(options: Mapping[str, str | int | None]) -> str:
    """`?$top=200&$filter=...` without the options that are None; spaces as %20, never as a plus (sheet 4.1)."""
    given = [
        f"{name}={quote(str(value), safe='(),' + chr(39) + '*:/@$')}" for name, value in options.items() if value is not None
    ]
    return "?" + "&".join(given) if given else ""


# -- $metadata -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class EntityType:
    """Properties with their EDM types; `base` is the qualified name of the type this one extends."""

    properties: dict[str, str] = field(default_factory=dict)
    base: str = ""


@dataclass(slots=True)
class Metadata:
    """What a projection serves: sets with the qualified name of their type, types, members of enumerations."""

    sets: dict[str, str] = field(default_factory=dict)
    types: dict[str, EntityType] = field(default_factory=dict)
    enums: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def properties(self, set_name: str) -> dict[str, str]:
        """Property names of a set's type, inherited ones too, with their EDM types."""
        found: dict[str, str] = {}
        name, seen = self.sets.get(set_name, ""), set[str]()
        while name in self.types and name not in seen:
            seen.add(name)
            found = self.types[name].properties | found
            name = self.types[name].base
        return found


class NotMetadata(ValueError):
    """The text is no EDMX document, or one that we do not read (it declares a document type)."""


def parse_metadata(content: bytes) -> Metadata:
    """Read an EDMX document (sheet 2). Raises NotMetadata; declared entities are never expanded."""
    found = Metadata()
    namespace, type_name, enum_name = "", "", ""
    aliases: dict[str, str] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal namespace, type_name, enum_name
        name = attributes.get("Name", "")
        match tag.rpartition(" ")[2]:
            case "Schema":
                namespace = attributes.get("Namespace", "")
                if attributes.get("Alias"):
                    aliases[attributes["Alias"]] = namespace
            case "EntityType":
                type_name = f"{namespace}.{name}"
                found.types[type_name] = EntityType(base=attributes.get("BaseType", ""))
            case "ComplexType" | "Action" | "Function":
                type_name = ""
            case "Property" if type_name:
                found.types[type_name].properties[name] = attributes.get("Type", "")
            case "EnumType":
                enum_name = f"{namespace}.{name}"
                found.enums[enum_name] = ()
            case "Member" if enum_name:
                found.enums[enum_name] += (name,)
            case "EntitySet":
                found.sets[name] = attributes.get("EntityType", "")

    def refuse(*_: object) -> None:
        raise NotMetadata("the answer declares a document type; $metadata never does")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise NotMetadata(f"the answer is no XML ({error})") from error
    if not found.sets:
        raise NotMetadata("the answer names no entity set")

    def full(name: str) -> str:
        alias, _, rest = name.rpartition(".")
        return f"{aliases[alias]}.{rest}" if alias in aliases else name

    found.sets = {name: full(type_) for name, type_ in found.sets.items()}
    for entity in found.types.values():
        entity.base = full(entity.base)
        entity.properties = {name: full(type_) for name, type_ in entity.properties.items()}
    return found

"""What the mapping of one document works with: its context, its slots, and how a value map answers. No I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jmespath.exceptions import JMESPathError

from connector.services.engine import codec
from integrations.base import expressions
from integrations.base.errors import Rejected
from integrations.base.records import (
    Address,
    Document,
)
from integrations.flows.table import Kind, Slot


@dataclass(frozen=True)
class ShipContext:
    """What the mapping of one document needs beside the document; all of it plain values.

    `services` are the carrier's service codes, for "the ship-via itself if it is one". `today` is the date
    in the site's `zone`.
    """

    kind: Kind
    carrier: str
    options: Mapping[str, Any]
    mappings: Sequence[Mapping[str, Any]]
    value_maps: Mapping[str, Mapping[str, str]]
    erp_settings: Mapping[str, Any]
    services: frozenset[str]
    site_code: str
    site_address: Address | None
    today: dt.date
    zone: dt.tzinfo = dt.UTC

    def option(self, name: str) -> Any:
        """An option, or its default."""
        value = self.options.get(name)
        return self.kind.defaults().get(name) if value is None else value


@dataclass(frozen=True)
class Slots:
    """Evaluates the slots of a document: the operator's source, constant or default over the flow's own."""

    context: ShipContext
    data: Mapping[str, Any]
    _own: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, context: ShipContext, document: Document) -> Slots:
        """The slots of one document."""
        return cls(context, codec.encode(document), {m["slot"]: m for m in context.mappings})

    def value(self, name: str) -> Any:
        """The slot's value before any value map. Raises Rejected for an expression that fails on this document."""
        slot = next(s for s in self.context.kind.slots if s.name == name)
        own = self._own.get(name, {})
        if own.get("constant") not in (None, ""):
            return own["constant"]
        found = _search(own.get("source") or slot.source, self.data, slot)
        return own.get("default") if found in (None, "", []) else found

    def text(self, name: str) -> str:
        """The slot's value as text, "" for nothing."""
        value = self.value(name)
        return "" if value is None else str(value).strip()


def _search(expression: str, data: Mapping[str, Any], slot: Slot) -> Any:
    try:
        return expressions.compiled(expression).search(data)
    except JMESPathError as error:
        raise Rejected(
            f"The mapping of “{slot.label}” fails on this document: {error}",
            code="mapping_failed",
            field=slot.name,
            remedy="Correct the slot's source in the integration's mappings, then replay.",
        ) from error


def mapped_value(table: Mapping[str, str], value: str) -> str:
    """A value map's answer: exact first, then without regard to case."""
    if value in table:
        return table[value]
    lowered = {k.casefold(): v for k, v in table.items()}
    return lowered.get(value.casefold(), "")

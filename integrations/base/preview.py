"""What a mapping makes of one document, for people to look at before it counts. Nothing here is sent."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.base.records import Document, Goods, ShipmentRequest, WriteBack


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """One slot on one document: what its source gave, and what became of it ("" for nothing).

    Where the document would ship, `mapped` is what the carrier is told, options and fallbacks included; else what
    the value map makes of it.
    """

    name: str
    value: Any
    mapped: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """A document's slots and, if it would go so far, what the carrier would be asked for; else why not."""

    slots: tuple[SlotSeen, ...]
    request: ShipmentRequest | None = None
    wanted_date: dt.date | None = None
    code: str = ""
    message: str = ""
    remedy: str = ""

    def slot(self, name: str) -> SlotSeen | None:
        """The slot of that name."""
        return next((seen for seen in self.slots if seen.name == name), None)


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """A change of a record as it would be sent, were the record still as it was read. Nothing of it is sent.

    `call` is method and address; an empty `body` means that all of it stands there already. `left`: fields that the
    connection's profile does not name, or that somebody else has filled.
    """

    call: str
    headers: dict[str, str]
    body: dict[str, Any]
    left: tuple[str, ...] = ()
    note: str = ""


class Previewer(Protocol):
    """Shows one integration's mapping; made once for many documents. `integration` may differ from what is stored."""

    def __init__(self, integration: Any) -> None: ...

    def show(self, record: Any, document: Document, goods: Goods | None = None) -> Preview:
        """What the mapping makes of a document of this source record. Raises nothing that a document can cause.

        `goods` as read just now; without them those that the flow read last.
        """

    def needs(self, stage: str, record: Any, document: Document) -> bool:
        """Whether a document goes through an optional stage of the flow. Raises nothing that a document can cause."""

    def write_back(self, record: Any, preview: Preview, number: str) -> WriteBack:
        """What would be written into the ERP after `preview`'s request has bought a label with this number."""

    def sample(self) -> Document:
        """An invented document, for looking before there is a real one."""


__all__ = ["PlannedWrite", "Preview", "Previewer", "SlotSeen"]

"""Labels that hang in the ERP: told from the sends that made their places and the writes that filled them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from connector.models import EffectSend, Label, Package, Shipment, Step

KIND = "attachment"
"""The kind of a send that makes a label's place in the ERP; its key is the package's tracking number."""
LAST = {"document": "connect label", "media": "upload label"}
"""The step that completes a place."""


@dataclass(frozen=True, slots=True)
class Attached:
    """One label's place in the ERP. `complete`: the file is there, and hangs on its record."""

    number: str
    named: str
    complete: bool


def packages_of(shipment: Shipment) -> list[Package]:
    """A shipment's packages with their labels, without the bytes."""
    return list(shipment.packages.select_related("label").defer("label__data"))


def bytes_of(package: Package) -> bytes:
    """A label as the carrier made it."""
    return bytes(Label.objects.only("data").get(package=package).data)


def of(shipment: Shipment, sends: Iterable[EffectSend] | None = None) -> list[Attached]:
    """The places of a shipment's labels, in the order in which they were made.

    `sends`: those of the record with their effects, the oldest first, where they were read already.
    """
    record, generation = shipment.record_id, shipment.generation
    if sends is None:
        mine = EffectSend.objects.filter(effect__record=record, effect__kind=KIND, effect__generation=generation, outcome="done")
        sends = mine.select_related("effect").order_by("pk")
    made = [s for s in sends if s.effect.kind == KIND and s.effect.generation == generation and s.outcome == "done"]
    found = [(send.effect.key, send.result or {}) for send in made]
    if not found:
        return []
    steps = Step.objects.filter(record=record, generation=generation, name__in=LAST.values(), state__in=("done", "skipped"))
    ended = set(steps.values_list("name", "key"))
    return [Attached(key, told.get("named", ""), (LAST.get(told.get("place", "")), key) in ended) for key, told in found]

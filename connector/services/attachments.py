"""Labels that hang in the ERP: told from the sends that made their places and the writes that filled them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction

from connector.models import EffectSend, Label, Package, Shipment, SourceRecord, Step, Transfer
from connector.services import audit, wake
from connector.services.shipments import NotPossible, open_transfer
from integrations.flows.table import is_on

KIND = "attachment"
"""The kind of a send that makes a label's place in the ERP; its key is the package's tracking number."""
FLOW = "attach"
LAST = {"document": "connect label", "media": "upload label"}
"""The step that completes a place."""


@dataclass(frozen=True, slots=True)
class Attached:
    """One label's place in the ERP. `complete`: the file is there, and hangs on its record."""

    number: str
    named: str
    complete: bool


def why_not(shipment: Shipment, place: str, hung: Sequence[Attached], labelled: Collection[str]) -> str:
    """Why a shipment's labels cannot be attached on a person's word, or "".

    `place` is what the integration's option `attach_label` says, `hung` what `of` tells of the shipment, `labelled` the
    numbers of the packages that have a label file.
    """
    if shipment.state != Shipment.State.ACTIVE:
        return f"This shipment is {shipment.get_state_display().lower()}."
    if not is_on(place):
        return "The integration attaches no labels: switch “Attach the label in the ERP” on first."
    if shipment.written_at is None:
        return "Its number is not in the ERP yet; its label follows by itself."
    if not labelled:
        return "There is no label file."
    if set(labelled) <= {one.number for one in hung if one.complete}:
        return "Its labels hang in the ERP already."
    return ""


def place_of(shipment: Shipment) -> str:
    """Where the integration attaches labels: "document", "media", or what says that it does not."""
    return str(shipment.integration.options.get("attach_label") or "")


def check(shipment: Shipment, record: SourceRecord) -> None:
    """Whether its labels can be attached on a person's word now. Raises NotPossible."""
    labels = Label.objects.filter(package__shipment=shipment).values_list("package__tracking_number", flat=True)
    if told := why_not(shipment, place_of(shipment), of(shipment), labels):
        raise NotPossible(told)
    if shipment.generation != record.generation:
        raise NotPossible("A newer label was bought for this document.")
    if Transfer.objects.filter(record=record, state__in=Transfer.UNFINISHED).exists():
        raise NotPossible("Work on this document is unfinished. Finish that first: it may attach the label by itself.")


def request(shipment: Shipment, *, actor: str, reason: str) -> Transfer:
    """Have the labels of a shipment attached that was bought before the option was on. Raises NotPossible.

    Work of the document's own record, with the sends that made places before: no place is made twice, however often it is
    asked for.
    """
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with the shipment.")
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        shipment.refresh_from_db()
        check(shipment, record)
        transfer = open_transfer(record, flow=FLOW)
        told_of = {"reason": reason.strip(), "place": place_of(shipment)}
        audit.append_to_record(record, [audit.Draft("attach_requested", told_of, obj=shipment, actor=actor)])
        wake.work()
    return transfer


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

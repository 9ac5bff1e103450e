"""The label in the ERP: each package's label hangs on the ERP's record as a document, or in its media library.

ship    … write tracking (which tells where files hang; else: find place for label) → look before attaching
        → for each package: make place for label (once) → upload label → connect label
attach  the same from “find place for label” on, for a shipment that was bought before the option was on

Off unless the option `attach_label` says where. A place is made once and carries our reference in its title: killed or
cut off between any two of these, the next run finds it again and goes on. What fails here leaves label and tracking
number as they are, and is replayed alone. A voided label stays where it hangs; the history says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.models import EffectSend, Package, Shipment, SourceRecord, Transfer
from connector.services import attachments
from connector.services.engine.effects import Stored
from connector.services.engine.run import Run
from connector.services.engine.signals import Skipped
from connector.services.shipments import MEDIA_SUFFIX
from integrations import registry
from integrations.base.errors import Rejected
from integrations.base.records import Anchor, AttachedFile, FilePart, LookUp, Problem
from integrations.base.roles import Carrier, Erp, SendTicket
from integrations.flows.erp_once import ErpOnce
from integrations.flows.table import is_on

FIND = "find place for label"
LOOK = "look before attaching"
MAKE = "make place for label"
UPLOAD = "upload label"
CONNECT = "connect label"
DOCUMENT = "document"
_ONCE: Any = "once"


def wanted(run: Run) -> bool:
    """Whether the integration attaches labels."""
    return is_on(run.options.get("attach_label"))


def attach_labels(run: Run, erp: Erp, shipment: Shipment | None, known: Anchor | None = None) -> None:
    """Hang each package's label on the record. Every line may run again: no place is ever made twice.

    `known` is where it hangs by what the write of the number has just told: then the record is not read once more.
    """
    packages = attachments.packages_of(shipment) if shipment is not None else []
    labelled = [package for package in packages if hasattr(package, "label")]
    reason = _why_not(erp, shipment, labelled)
    if reason:
        run.skip_step(MAKE, _ONCE, reason)
        return
    made = {p.pk: run.settled(MAKE, AttachFile(run, erp), key=key_of(p)) for p in labelled}
    anchor: Anchor | None = None
    # Found again after a restore, a place does not say on what it hangs.
    if any(stands is None or not stands.anchor.key for stands in made.values()):
        anchor = run.read(FIND, _Places(run, erp, known), after=True)
        run.guard(_still_bought, shipment, name=LOOK)
    for package in labelled:
        stands = made[package.pk] or (_make(run, erp, package, anchor) if anchor is not None else None)
        if stands is not None and not stands.anchor.key and anchor is not None:
            stands = replace(stands, anchor=anchor)
        if stands is not None:
            _fill(run, erp, package, stands)


def attach_now(run: Run, erp: Erp, carrier: Carrier) -> None:
    """On a person's word, the labels of a shipment that was bought before they were attached. Nothing else is written."""
    record = run.source_record
    shipment = Shipment.objects.filter(record=record, generation=record.generation, state=Shipment.State.ACTIVE).first()
    if shipment is None:
        raise Skipped("The shipment has been voided.", "shipment_voided")
    if not wanted(run):
        raise Skipped("Labels are not attached any more (option attach_label).", "attach_off")
    attach_labels(run, erp, shipment)


def tell_left(run: Run, shipment: Shipment) -> None:
    """A voided label's file stays in the ERP, where others may have worked with it: the history says which."""
    left = attachments.of(shipment)
    if left:
        run.note("label_left_in_erp", places=[row.named for row in left])


def key_of(package: Package) -> str:
    """What tells a package's label from others of its document, also after a restore: its own number."""
    return package.tracking_number[:60]


class _Places:
    """Asks where the run's files hang, by what is known of it already."""

    def __init__(self, run: Run, erp: Erp, known: Anchor | None) -> None:
        self.adapter = erp
        self._ask = erp.document_anchors if run.options["attach_label"] == DOCUMENT else erp.media_anchors
        self._known = {run.source_key: known} if known is not None else {}

    def __call__(self, keys: Sequence[str]) -> Mapping[str, Anchor | Problem]:
        return self._ask(keys, self._known)


# -- steps ---------------------------------------------------------------------------------------------


def _why_not(erp: Erp, shipment: Shipment | None, labelled: list[Package]) -> str:
    """Why there is nothing to attach, or ""."""
    if shipment is None:
        return "the label is not stored as a shipment of ours"
    if not erp.takes_labels:
        return "switched off in the settings of the ERP connection"
    if not labelled:
        return "there is no label file"
    return ""


def _still_bought(run: Run, shipment: Shipment) -> None:
    """It has not been voided meanwhile. Raises Rejected."""
    if not Shipment.objects.filter(pk=shipment.pk, state=Shipment.State.ACTIVE).exists():
        raise Rejected("The label is being voided; it is not attached any more.", code="label_voided")


def _make(run: Run, erp: Erp, package: Package, anchor: Anchor) -> AttachedFile | None:
    """The label's place, made now; None (and the reason in the history) where the ERP takes no such file."""
    suffix = MEDIA_SUFFIX.get(package.label.media_type, "")
    reason = anchor.closed
    if not reason and (not package.label.readable or not suffix):
        reason = "the label file is not readable"
    if not reason and suffix not in anchor.takes:
        reason = f"the label is {suffix.upper()}; the ERP takes {', '.join(anchor.takes) or 'no files'} there"
    if reason:
        run.skip_step(MAKE, _ONCE, reason, key=key_of(package))
        return None
    carrier = registry.get(run.job.target.vendor).label
    title = f"{carrier} label {package.tracking_number}"
    part = FilePart(run.source_key, run.options["attach_label"], title, suffix, anchor)
    return run.once(MAKE, AttachFile(run, erp, part), part, key=key_of(package))


def _fill(run: Run, erp: Erp, package: Package, made: AttachedFile) -> None:
    suffix = MEDIA_SUFFIX.get(package.label.media_type, "bin")
    name = f"label-{package.tracking_number}.{suffix}"
    run.write(UPLOAD, erp.upload_file, made, name, attachments.bytes_of(package), key=key_of(package))
    if made.place == DOCUMENT:
        run.write(CONNECT, erp.connect_file, made, key=key_of(package))


class AttachFile(ErpOnce[FilePart, AttachedFile]):
    """The place of one label in the ERP."""

    kind = attachments.KIND
    act = "place_made"
    attention = "attached_twice"
    named_by = "key"
    payload_type = FilePart
    result_type = AttachedFile

    def describe(self, payload: FilePart, reference: str) -> dict[str, object]:
        """The exact body."""
        return self.adapter.describe_file(payload, reference)

    def send(self, body: dict[str, object], payload: FilePart, ticket: SendTicket) -> AttachedFile:
        """Make it."""
        return self.adapter.create_file(body, payload, ticket)

    def parse(self, answer: str, status: int | None, payload: FilePart) -> AttachedFile:
        """Read a committed answer again."""
        return self.adapter.parse_file(answer, payload, status=status)

    def find(self, reference: str, payload: FilePart | None, *, wide: bool = False) -> LookUp:
        """What carries our reference in its title."""
        return self.adapter.find_file(payload or self._own or self._guess(), reference)

    def _guess(self) -> FilePart:
        """After a restore nothing is known of what was sent, but where such things are sent."""
        return FilePart(self.run.source_key, self.run.options.get("attach_label") or DOCUMENT, "", "", Anchor("", ""))

    def several(self, numbers: Sequence[str], payload: FilePart | None) -> str:
        """Which places they are."""
        return f"{len(numbers)} of them stand in the ERP: {', '.join(numbers)}."

    def by_hand(self, number: str, payload: FilePart | None) -> AttachedFile:
        """The ERP's key."""
        return replace(self.adapter.file_of(number, payload or self._own or self._guess()), adopted=True)

    def store(
        self,
        transfer: Transfer,
        record: SourceRecord,
        send: EffectSend,
        payload: FilePart | None,
        result: AttachedFile,
        *,
        clash: bool,
    ) -> Stored:
        """Nothing beside the send itself, which holds the result."""
        return Stored({"place": result.named, "found_there": result.adopted})


__all__ = ["AttachFile", "attach_labels", "attach_now", "key_of", "tell_left", "wanted"]

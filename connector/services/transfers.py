"""What staff do with transfers: replay, cancel, decide. One function for the button, the command and the bulk action."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from connector.models import EffectSend, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, costs, quotes, wake
from connector.services.engine.run import WATCH_AFTER_S
from connector.services.shipments import NotPossible, open_transfer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act did to a transfer: its state before and now, or why nothing was done."""

    transfer: Transfer
    before: str
    done: bool
    message: str = ""


NO_REPLAY = {
    "running": "It is running already.",
    "done": "It is done: there is nothing to do.",
    "needs_approval": "It needs a person's word, not another try: approve or cancel it.",
}


def replay(transfer: Transfer, *, actor: str) -> Outcome:
    """Run it again, safely: done steps are not repeated, a bought label is never bought again.

    failed, cancelled, skipped: run again. in doubt: look now. waiting: now instead of later. done: nothing to do.
    """
    before = transfer.state
    with transaction.atomic():
        if before != "in_doubt":
            _lock_record(transfer)
        if before in ("failed", "waiting", "in_doubt"):
            keep = {"state": "waiting", "attempts": 0} if before == "failed" else {}
            hit = _move(transfer, before, due_at=clock.at(), **keep)
        elif before in ("cancelled", "skipped"):
            hit = _reopen(transfer)
        else:
            return Outcome(transfer, before, False, NO_REPLAY[before])
        if hit:
            audit.append_to_record(transfer.record, [audit.Draft("replay", {"before": before}, obj=transfer, actor=actor)])
            wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, bool(hit), "" if hit else "It changed this instant; look again.")


def _lock_record(transfer: Transfer) -> None:
    """Records before transfers that stand still, as cancel and void do: two orders would wait for each other.

    Not where a send may be open: a worker that settles it goes from the send to the record.
    """
    SourceRecord.objects.select_for_update().get(pk=transfer.record_id)


def _move(transfer: Transfer, before: str, **values: Any) -> int:
    return Transfer.objects.filter(pk=transfer.pk, state=before, epoch=transfer.epoch).update(updated_at=clock.at(), **values)


def _reopen(transfer: Transfer) -> int:
    others = Transfer.objects.filter(record=transfer.record_id, state__in=Transfer.UNFINISHED).exclude(pk=transfer.pk)
    if others.exists():
        raise NotPossible("Newer work on this document is unfinished; replay that instead.")
    if Transfer.objects.filter(record=transfer.record_id, revision__gt=transfer.revision).exists() and transfer.flow == "void":
        raise NotPossible("Newer work on this document exists; start the void anew from the shipment.")
    return _move(transfer, transfer.state, state="waiting", attempts=0, due_at=clock.at(), finished_at=None, attention=None)


PRICES = ("cost_above_ceiling", "cost_in_other_currency", "cost_not_quoted")
"""Why a person is asked about a quoted price."""


def approve(transfer: Transfer, *, actor: str, reason: str, quote: str | None = None) -> Outcome:
    """A person agrees, with a reason, that this is bought although a ceiling holds it. The ceiling goes on for all others.

    About a price he agrees to the quote that he was shown, `quote` ("": none; None: the newest): what is bought later may
    not cost more. Raises NotPossible.
    """
    before = transfer.state
    if before != "needs_approval":
        return Outcome(transfer, before, False, "It does not wait for approval.")
    _must_give(reason)
    with transaction.atomic():
        _lock_record(transfer)
        told = {"code": transfer.code, "reason": reason.strip()}
        agreed: dict[str, Any] = {"approved": True}
        if transfer.code in PRICES:
            agreed = {"approved_quote": _quote_agreed(transfer, quote, actor)}
            told |= {"service": agreed["approved_quote"]["service"], "cost": agreed["approved_quote"]["cost"]}
        decision = {**(transfer.decision or {}), **agreed, "actor": actor, "reason": reason.strip()}
        hit = _move(transfer, before, state="waiting", due_at=clock.at(), attempts=0, decision=decision)
        if hit:
            audit.append_to_record(transfer.record, [audit.Draft("approved", told, obj=transfer, actor=actor)])
            wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, bool(hit), "" if hit else "It changed this instant; look again.")


def _must_give(reason: str) -> None:
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept.")


def _quote_agreed(transfer: Transfer, shown: str | None, actor: str) -> dict[str, Any]:
    row = quotes.to_approve(transfer)
    if row is None or (shown is not None and shown != str(row.pk)):
        raise NotPossible("The carrier has quoted anew since you looked. Look at the price, then approve it.")
    return {
        "quote": row.pk,
        "service": row.chosen,
        "amount": str(row.amount) if row.amount is not None else "",
        "currency": row.currency,
        "cost": quotes.price(row),
        "actor": actor,
    }


def cancel(transfer: Transfer, *, actor: str, reason: str = "") -> Outcome:
    """End it without doing more. Refused while a send is open or work is under way; what is bought stays bought."""
    before = transfer.state
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=transfer.record_id)
        if EffectSend.objects.filter(effect__record=record, outcome__in=EffectSend.OPEN).exists():
            raise NotPossible(
                "A request to the carrier is in doubt. Settle it first: look, or decide with one of its two buttons."
            )
        if before not in ("waiting", "failed", "needs_approval"):
            raise NotPossible(
                f"It is {transfer.get_state_display().lower()}; only waiting and failed transfers can be cancelled."
            )
        hit = _move(
            transfer,
            before,
            state="cancelled",
            code="cancelled_by_person",
            message=f"Cancelled by {actor}." + (f" {reason.strip()}" if reason.strip() else ""),
            remedy="Replay runs it again.",
            finished_at=clock.at(),
            error=None,
        )
        if hit:
            if transfer.flow == "void" and transfer.decision:
                _undo_void(record, transfer.decision["shipment"])
            if transfer.flow == costs.FLOW:
                costs.drop(transfer)
            audit.append_to_record(
                record, [audit.Draft("cancel", {"before": before, "reason": reason}, obj=transfer, actor=actor)]
            )
    transfer.refresh_from_db()
    return Outcome(transfer, before, bool(hit), "" if hit else "It changed this instant; look again.")


def _undo_void(record: SourceRecord, shipment_id: int) -> None:
    """A void was given up: the shipment counts again, and what was still to be written into the ERP is."""
    shipment = Shipment.objects.filter(pk=shipment_id)
    if not shipment.filter(state=Shipment.State.VOIDING).update(state=Shipment.State.ACTIVE):
        return
    # What the carrier told while it was being voided reached nobody: it is asked at once, and followed again.
    shipment.filter(written_at__isnull=False).update(next_track_at=clock.at())
    if shipment.filter(written_at__isnull=True).exists():
        open_transfer(record)
        wake.work()


def acknowledge(transfer: Transfer, *, actor: str, reason: str = "") -> Outcome:
    """Somebody has looked: the attention mark goes, the fact stays in the history."""
    with transaction.atomic():
        mark = transfer.attention
        hit = (
            Transfer.objects.filter(pk=transfer.pk, attention=mark)
            .exclude(attention=None)
            .update(attention=None, updated_at=clock.at())
        )
        if hit:
            told = {"attention": mark, "reason": reason}
            audit.append_to_record(transfer.record, [audit.Draft("looked_at", told, obj=transfer, actor=actor)])
    transfer.refresh_from_db()
    return Outcome(transfer, transfer.state, bool(hit))


# -- decisions ---------------------------------------------------------------------------------------


def open_send(transfer: Transfer) -> EffectSend | None:
    """The send of this transfer's record whose outcome is open, if there is one."""
    return (
        EffectSend.objects.filter(effect__record=transfer.record_id, outcome__in=EffectSend.OPEN)
        .select_related("effect")
        .order_by("-number")
        .first()
    )


def open_among(sends: Iterable[EffectSend]) -> EffectSend | None:
    """The same among sends of the record that were read already."""
    return max((send for send in sends if send.outcome in EffectSend.OPEN), key=lambda send: send.number, default=None)


def _decidable(transfer: Transfer, reason: str) -> EffectSend:
    _must_give(reason)
    send = open_send(transfer)
    if send is None:
        raise NotPossible("Nothing is in doubt here.")
    if transfer.state == "running":
        raise NotPossible("It is being looked up this moment. Try again in a minute.")
    if clock.now() <= send.deadline_at:
        raise NotPossible("The request may still be under way. Try again in a minute.")
    return send


def decide_not_made(transfer: Transfer, *, actor: str, reason: str) -> Outcome:
    """“It was not made, send again”: a person vouches for it. The next send has a number and a reference of its own."""
    before = transfer.state
    with transaction.atomic():
        send = _decidable(transfer, reason)
        hit = EffectSend.objects.filter(pk=send.pk, outcome__in=EffectSend.OPEN).update(
            outcome="absent",
            outcome_at=clock.at(),
            watch_at=clock.at(WATCH_AFTER_S),
            decided_by=actor[:150],
            decided_reason=reason.strip(),
        )
        if not hit or not _move(transfer, before, state="waiting", due_at=clock.at(), attempts=0):
            raise NotPossible("It was settled this instant; look again.")
        told = {"reference": send.reference, "reason": reason.strip()}
        audit.append_to_record(transfer.record, [audit.Draft("decided_not_made", told, obj=transfer, actor=actor)])
        wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, True)


def decide_made(transfer: Transfer, *, number: str, actor: str, reason: str) -> Outcome:
    """“It was made, this is the number”: taken over as adopted, without a label, cost unknown."""
    number = "".join(number.split())
    if not number or len(number) > 40 or not number.isalnum():
        raise NotPossible("Enter the tracking number as the carrier shows it: letters and digits only.")
    before = transfer.state
    with transaction.atomic():
        send = _decidable(transfer, reason)
        # Beside what was decided before: that the ERP keeps its number, above all.
        made = {"made": number, "reference": send.reference, "made_by": actor}
        decision = {**(transfer.decision or {}), **made, "actor": actor, "reason": reason.strip()}
        EffectSend.objects.filter(pk=send.pk).update(decided_by=actor[:150], decided_reason=reason.strip())
        if not _move(transfer, before, state="waiting", due_at=clock.at(), attempts=0, decision=decision):
            raise NotPossible("It was settled this instant; look again.")
        told = {"reference": send.reference, "number": number, "reason": reason.strip()}
        audit.append_to_record(transfer.record, [audit.Draft("decided_made", told, obj=transfer, actor=actor)])
        wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, True)


def decide_field(transfer: Transfer, *, keep: str, actor: str, reason: str) -> Outcome:
    """A field conflict: “keep theirs” or “write ours”, with a reason. Raises NotPossible."""
    if keep not in ("theirs", "ours"):
        raise ValueError("keep is “theirs” or “ours”")
    before = transfer.state
    if before != "failed" or transfer.code != "field_conflict":
        raise NotPossible("There is no field conflict to decide here.")
    _must_give(reason)
    with transaction.atomic():
        _lock_record(transfer)
        # Beside what was decided before: that it is to be written again, above all.
        decision = {**(transfer.decision or {}), "field_conflict": keep, "field_by": actor, "actor": actor, "reason": reason}
        hit = _move(transfer, before, state="waiting", due_at=clock.at(), attempts=0, decision=decision)
        if hit:
            error = transfer.error or {}
            told = {"keep": keep, "theirs": error.get("theirs", ""), "ours": error.get("ours", ""), "reason": reason}
            audit.append_to_record(transfer.record, [audit.Draft("decided_field", told, obj=transfer, actor=actor)])
            wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, bool(hit))


ADDRESS_CODES = ("address_doubtful", "address_corrected")


def decide_address(transfer: Transfer, *, choice: str, actor: str, reason: str) -> Outcome:
    """A doubtful address: ship to the “proposed” one, or “as_written”, with a reason. It holds for this address only.

    Raises NotPossible.
    """
    if choice not in ("proposed", "as_written"):
        raise ValueError("choice is “proposed” or “as_written”")
    before = transfer.state
    error = transfer.error or {}
    if before != "failed" or transfer.code not in ADDRESS_CODES or not error.get("mark"):
        raise NotPossible("There is no address to decide on here.")
    if choice == "proposed" and not error.get("proposed"):
        raise NotPossible("The carrier proposes no other address.")
    _must_give(reason)
    with transaction.atomic():
        _lock_record(transfer)
        chosen = {"address": choice, "mark": error["mark"], "address_by": actor, "proposed": None}
        if choice == "proposed":
            chosen["proposed"] = error["proposed"]
        # Beside what was approved before.
        decision = {**(transfer.decision or {}), **chosen, "actor": actor, "reason": reason.strip()}
        hit = _move(transfer, before, state="waiting", due_at=clock.at(), attempts=0, decision=decision)
        if hit:
            # Not the addresses: they stand with the transfer, and this entry is kept for ever.
            told = {"choice": choice, "code": transfer.code, "reason": reason.strip()}
            audit.append_to_record(transfer.record, [audit.Draft("decided_address", told, obj=transfer, actor=actor)])
            wake.work()
    transfer.refresh_from_db()
    return Outcome(transfer, before, bool(hit), "" if hit else "It changed this instant; look again.")


def needing_attention(transfers: Any) -> Any:
    """Failed, in doubt, needs approval, or finished work that needs a look."""
    return transfers.filter(Q(state__in=("failed", "in_doubt", "needs_approval")) | Q(attention__isnull=False))


__all__ = [
    "NotPossible",
    "Outcome",
    "acknowledge",
    "approve",
    "cancel",
    "decide_address",
    "decide_field",
    "decide_made",
    "decide_not_made",
    "needing_attention",
    "open_send",
    "replay",
]

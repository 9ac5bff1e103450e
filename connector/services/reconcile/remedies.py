"""The one remedy of a finding: acts that exist already, pressed from here. Each looks again before it does anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from connector.models import EffectSend, FreightCharge, ReconciliationFinding, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, cursors, shipments, tracking, transfers, wake
from connector.services.reconcile import kinds
from connector.services.reconcile.kinds import KIND, REMEDIES
from connector.services.shipments import NotPossible
from integrations.base.drill import boundary

State = ReconciliationFinding.State
REASON_CAP = 300
GONE = "It is gone already: nothing is to be done."
MOVED = "It has changed since the comparison. Compare again."


def apply(finding: ReconciliationFinding, *, actor: str, reason: str = "") -> str:
    """Do what helps; what to say about it. Raises NotPossible."""
    remedy = REMEDIES[finding.remedy]
    reason = " ".join(reason.split())
    if finding.state == State.CLOSED:
        raise NotPossible(GONE)
    if remedy.reason and not reason:
        raise NotPossible("Give a reason: it is kept.")
    if len(reason) > REASON_CAP:
        raise NotPossible(f"The reason is longer than {REASON_CAP} characters.")
    with transaction.atomic():
        # The act and who did it are one commit: a process that dies leaves both or neither. The finding comes first, as
        # in a comparison; two who press at once act one after the other, and each act looks again.
        now = ReconciliationFinding.objects.select_for_update(of=("self",)).get(pk=finding.pk)
        if now.state == State.CLOSED:
            raise NotPossible(GONE)
        if finding.record_id:  # before transfers, sends and shipments, which some acts change
            SourceRecord.objects.select_for_update().get(pk=finding.record_id)
        said = ACTS[remedy.name](finding, actor, reason or f"Comparison: {KIND[finding.kind].title}")
        boundary("acted")
        ReconciliationFinding.objects.filter(pk=finding.pk).update(
            remedied_at=clock.at(), remedied_by=actor[:150], reason=reason[:500]
        )
        told = {"kind": finding.kind, "subject": finding.subject, "remedy": remedy.name, "reason": reason}
        draft = audit.Draft("remedied", told, obj=finding, actor=actor)
        if finding.record_id:
            audit.append_to_record(SourceRecord.objects.get(pk=finding.record_id), [draft])
        else:
            audit.append(finding.tenant, draft)
    return said


def _shipment(finding: ReconciliationFinding, *states: str) -> Shipment:
    found = Shipment.objects.filter(pk=finding.shipment_id or 0, state__in=states).first()
    if found is None:
        raise NotPossible(MOVED)
    return found


def _locked(finding: ReconciliationFinding) -> SourceRecord:
    """The record, locked: records before transfers and shipments, everywhere."""
    found = SourceRecord.objects.select_for_update().filter(pk=finding.record_id or 0).first()
    if found is None:
        raise NotPossible(MOVED)
    return found


def _write(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    _write_back(finding, actor, reason, {})
    return "Our number is written into the ERP in a moment."


def _overwrite(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    _write_back(finding, actor, reason, {"field_conflict": "ours"})
    return "Our number replaces the one in the ERP in a moment."


def _write_back(finding: ReconciliationFinding, actor: str, reason: str, more: Mapping[str, Any]) -> None:
    """New work on the document: its label is bought already, so that only what comes after it runs."""
    with transaction.atomic():
        record = _locked(finding)
        shipment = _shipment(finding, Shipment.State.ACTIVE)
        if record.held or shipment.generation != record.generation:
            raise NotPossible("The label was voided or replaced since. Compare again.")
        settled = EffectSend.objects.filter(pk=shipment.send_id or 0, outcome="done")
        if not settled.exists():
            raise NotPossible("What was bought is not settled yet: open the transfer.")
        decision = {"write_again": True, "actor": actor, "reason": reason, **more}
        _open(record, actor, "", decision)


def _open(record: SourceRecord, actor: str, flow: str, decision: dict[str, Any]) -> Transfer:
    shipments.close_unfinished(record, actor)
    made = shipments.open_transfer(record, flow=flow, decision=decision)
    wake.work()
    return made


def _clear(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    with transaction.atomic():
        record = _locked(finding)
        shipment = _shipment(finding, Shipment.State.VOIDED)
        if Shipment.objects.filter(record=record, state=Shipment.State.ACTIVE).exists():
            raise NotPossible("A newer label took its place: its number belongs there. Compare again.")
        decision = {"shipment": shipment.pk, "then": "clear", "write_again": True, "actor": actor, "reason": reason}
        _open(record, actor, "void", decision)
    return "The voided number is taken out of the ERP in a moment."


def _void(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    shipments.void_request(_shipment(finding, Shipment.State.ACTIVE), then="clear", actor=actor, reason=reason)
    return "The label is voided in a moment."


def _ask(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    shipment = _shipment(finding, Shipment.State.ACTIVE)
    Shipment.objects.filter(pk=shipment.pk).update(next_track_at=clock.at())
    wake.poll(finding.integration_id, tracking.FLOW)
    return "The carrier is asked in a moment; the next comparison sees what it said."


def _look(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    cursors.look_again(finding.integration, "ship", None, actor=actor, reason=reason)
    return "The next poll looks at everything that is ready."


def _adopt(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    late = EffectSend.objects.filter(pk=finding.send_id or 0, outcome__in=("absent", "refused"))
    if not late.update(watch_at=clock.at()):
        raise NotPossible(MOVED)
    wake.watch(finding.integration_id)
    return "It is looked up once more and taken over in a moment."


def _replay(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    transfer = _newest(finding)
    outcome = transfers.replay(transfer, actor=actor)
    if not outcome.done:
        raise NotPossible(outcome.message)
    return "It is looked up now."


def _newest(finding: ReconciliationFinding) -> Transfer:
    """The newest work that ships. Never a void: one that somebody gave up would cancel a label that counts."""
    found = Transfer.objects.filter(record=finding.record_id, flow="ship").select_related("record").order_by("-revision").first()
    if found is None:
        raise NotPossible(MOVED)
    return found


def _charge(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    if not FreightCharge.objects.filter(pk=finding.charge_id or 0, state=FreightCharge.State.PLANNED).exists():
        raise NotPossible(MOVED)
    if not finding.integration.options.get("freight_charge"):
        raise NotPossible(
            "The integration does not write freight cost. Switch on “Write freight cost to the orders” in its form first."
        )
    transfer = _newest(finding)
    if transfer.state != "done":
        outcome = transfers.replay(transfer, actor=actor)
        if not outcome.done:
            raise NotPossible(outcome.message)
    else:
        with transaction.atomic():
            record = _locked(finding)
            if _shipment(finding, Shipment.State.ACTIVE).generation != record.generation:
                raise NotPossible(MOVED)
            _open(record, actor, "", {"actor": actor, "reason": reason})
    return "The freight cost is written in a moment."


def _known(finding: ReconciliationFinding, actor: str, reason: str) -> str:
    if not ReconciliationFinding.objects.filter(pk=finding.pk, state=State.OPEN).update(state=State.KNOWN):
        raise NotPossible("It is marked already.")
    return "Marked as known. It comes back if it changes."


ACTS: Mapping[str, Callable[[ReconciliationFinding, str, str], str]] = {
    kinds.WRITE: _write,
    kinds.OVERWRITE: _overwrite,
    kinds.CLEAR: _clear,
    kinds.VOID: _void,
    kinds.ASK: _ask,
    kinds.LOOK: _look,
    kinds.ADOPT: _adopt,
    kinds.REPLAY: _replay,
    kinds.CHARGE: _charge,
    kinds.KNOWN: _known,
}

__all__ = ["apply"]

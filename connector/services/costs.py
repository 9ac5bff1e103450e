"""Corrections of freight cost after the label: kept with who, why, from what to what; then the same charges are changed.

A correction is one commit: the shipment's cost, its history, and the work that carries it to the ERP (flow `cost`, on a
record of its own, so that it holds up neither a void nor the purchase). Nothing is posted anew where a charge stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from connector.models import CostChange, FreightCharge, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, wake
from connector.services.shipments import NotPossible, open_transfer, work_beside
from integrations.base.currencies import unit_of
from integrations.base.errors import Rejected
from integrations.base.records import Money
from integrations.base.shares import in_parts, rates_of
from integrations.flows.table import KINDS

FLOW = "cost"


class Busy(NotPossible):
    """Not now: work on the document is under way."""


LARGEST = Decimal("9999999.99")
State = CostChange.State


def correct(shipment: Shipment, amount: Decimal, *, actor: str, reason: str, currency: str = "") -> CostChange:
    """A person says what the carrier charges for a shipment; `currency` counts where none is known. Raises NotPossible."""
    with transaction.atomic():
        found = _locked(shipment)
        found.currency = found.currency or currency
        if not reason.strip():
            raise NotPossible("Give a reason: it is kept with the shipment.")
        if found.cost == amount:
            raise NotPossible(f"The cost is {found.cost} {found.currency} already.")
        return _change(found, amount, kind=CostChange.Kind.PERSON, actor=actor, reason=reason)


def invoiced(shipment: Shipment, total: Decimal, currency: str, *, actor: str, reason: str) -> CostChange:
    """The carrier's invoices say `total` for a shipment, in all. Raises NotPossible. Inside the caller's transaction."""
    found = _locked(shipment)
    if not found.currency:
        found.currency = currency
    if found.currency != currency:
        raise NotPossible(f"It is invoiced in {currency}, its cost is kept in {found.currency}.")
    if found.state == Shipment.State.VOIDED and total >= 0:
        return _of_void(found, total, actor=actor, reason=reason)
    return _change(found, total, kind=CostChange.Kind.INVOICE, actor=actor, reason=reason)


def check(shipment: Shipment, amount: Decimal) -> None:
    """Whether this can be the cost of the shipment now. Raises NotPossible, naming what to do."""
    if shipment.state != Shipment.State.ACTIVE:
        raise NotPossible(f"This shipment is {shipment.get_state_display().lower()}: its charges are taken back, not corrected.")
    if not re.fullmatch("[A-Z]{3}", shipment.currency):
        raise NotPossible("Enter the currency as its ISO code, such as USD.")
    if not amount.is_finite() or amount < 0 or amount > LARGEST:
        raise NotPossible(f"Enter an amount from 0 to {LARGEST}.")
    if amount != amount.quantize(unit_of(shipment.currency)):
        raise NotPossible(f"{shipment.currency} has no smaller unit than {unit_of(shipment.currency)}.")


def _locked(shipment: Shipment) -> Shipment:
    """The row as it is now; records before shipments, everywhere."""
    SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
    found: Shipment = Shipment.objects.select_for_update().get(pk=shipment.pk)
    return found


def _change(shipment: Shipment, amount: Decimal, *, kind: CostChange.Kind, actor: str, reason: str) -> CostChange:
    check(shipment, amount)
    before = shipment.cost
    if shipment.cost_kind == Shipment.CostKind.RATED and shipment.rated_cost is None:
        shipment.rated_cost = before
    by_invoice = kind == CostChange.Kind.INVOICE
    shipment.cost = amount
    shipment.cost_kind = Shipment.CostKind.INVOICED if by_invoice else Shipment.CostKind.ENTERED
    if by_invoice:
        shipment.invoiced_cost = amount
    shipment.save(update_fields=["cost", "cost_kind", "rated_cost", "invoiced_cost", "currency"])
    _share(shipment)
    state = _carry(shipment, before)
    return _keep(shipment, before, kind=kind, actor=actor, reason=reason, state=state)


def _of_void(shipment: Shipment, total: Decimal, *, actor: str, reason: str) -> CostChange:
    """The carrier invoices a voided label: kept for the month end; no order bears it."""
    before = shipment.cost
    shipment.cost = shipment.invoiced_cost = total
    if shipment.cost_kind == Shipment.CostKind.RATED and shipment.rated_cost is None:
        shipment.rated_cost = before
    shipment.cost_kind = Shipment.CostKind.INVOICED
    shipment.save(update_fields=["cost", "cost_kind", "rated_cost", "invoiced_cost", "currency"])
    return _keep(shipment, before, kind=CostChange.Kind.INVOICE, actor=actor, reason=reason, state=State.KEPT)


def _share(shipment: Shipment) -> None:
    """Each order's part of what the carrier charges and has invoiced, where its rate is kept; else the work does it."""
    rows = list(FreightCharge.objects.filter(shipment=shipment).order_by("pk"))
    try:
        charged = parts_of(rows, Money(shipment.cost or Decimal(0), shipment.currency), {})
        invoiced = shipment.invoiced_cost
        parts = parts_of(rows, Money(invoiced, shipment.currency), {}) if invoiced is not None else {}
    except Rejected:
        return
    for row in rows:
        corrected(row, charged=charged[row.pk], invoiced=parts.get(row.pk))


def _keep(
    shipment: Shipment, before: Decimal | None, *, kind: CostChange.Kind, actor: str, reason: str, state: CostChange.State
) -> CostChange:
    """The history's entry, and the audit's."""
    change = CostChange.objects.create(
        tenant_id=shipment.tenant_id,
        shipment=shipment,
        kind=kind,
        before=before,
        after=shipment.cost or Decimal(0),
        currency=shipment.currency,
        reason=reason.strip()[:300],
        actor=actor[:150],
        state=state,
        created_at=clock.at(),
    )
    told = {
        "from": f"{before} {shipment.currency}" if before is not None else "unknown",
        "cost": f"{shipment.cost} {shipment.currency}",
        "by": kind.value,
        "reason": change.reason,
    }
    audit.append_to_record(shipment.record, [audit.Draft("cost_changed", told, obj=shipment, actor=actor)])
    return change


def preview(shipment: Shipment, amount: Decimal) -> list[tuple[FreightCharge, Decimal]]:
    """The charges that orders bear and what each would bear of another cost, as far as it can be told without a rate."""
    rows = list(FreightCharge.objects.filter(shipment=shipment, state__in=("planned", "posted")).order_by("pk"))
    try:
        parts = parts_of(rows, Money(amount, shipment.currency), {})
    except Rejected:
        return []
    return [(row, parts[row.pk]) for row in rows]


def parts_of(rows: Sequence[FreightCharge], cost: Money, rates: Mapping[str, str]) -> dict[int, Decimal]:
    """What each row of a shipment bears of an amount, shared as it was the first time; by row id.

    Raises Rejected where a rate is neither kept with the rows nor among `rates`.
    """
    if not rows:
        return {}
    kept = [row.measure for row in rows]
    # Rows of an earlier release hold no measure: what they bear says it as well.
    found = [measure or Decimal(0) for measure in kept] if None not in kept else [row.amount for row in rows]
    found = found if sum(found) else [Decimal(1), *[Decimal(0)] * (len(rows) - 1)]
    to = [row.currency for row in rows]
    known: list[Decimal | None] = [row.rate for row in rows]
    if None in known:
        known = rates_of(cost, found, to, rates)
    return {row.pk: part.amount for row, part in zip(rows, in_parts(cost, found, to, known), strict=True)}


# -- carrying it to the ERP --------------------------------------------------------------------------------


def _carry(shipment: Shipment, before: Decimal | None) -> CostChange.State:
    """Open the work that brings the new cost to the orders, where orders bear it; how the correction stands now."""
    if FreightCharge.objects.filter(shipment=shipment).exists():
        stands = FreightCharge.objects.filter(shipment=shipment, state=FreightCharge.State.POSTED, amount=F("charged"), sent=[])
        others = FreightCharge.objects.filter(shipment=shipment).exclude(pk__in=stands.values("pk"))
        if before == shipment.cost and not others.exists():
            return State.DONE  # the carrier's bill agrees with what the orders bear
        _begin(shipment)
        return State.WAITING
    if before is None and shipment.written_at is not None and _wanted(shipment):
        # Its cost was not known when it shipped, so nothing was written to the orders: now it can be.
        unfinished = Transfer.objects.filter(record=shipment.record_id, state__in=Transfer.UNFINISHED).first()
        if unfinished is not None and unfinished.state == Transfer.State.RUNNING:
            raise Busy("Work on this document is under way. Try again in a moment.")
        if unfinished is None:
            open_transfer(shipment.record)
            wake.work()
    return State.KEPT


def _wanted(shipment: Shipment) -> bool:
    integration = shipment.integration
    default = KINDS[integration.kind].defaults().get("freight_charge")
    return bool(integration.options.get("freight_charge", default))


def _begin(shipment: Shipment) -> None:
    """The work on the shipment's charges: the open one serves, too, since it writes whatever the cost is by then."""
    work_beside(shipment, FLOW, again=("failed", "waiting"))
    wake.work()


def begin_waiting(limit: int = 200) -> int:
    """The minute's look: corrections that came while an earlier one was being written. How many were begun."""
    busy = Transfer.objects.filter(
        integration=OuterRef("shipment__integration"),
        source_key=OuterRef("shipment__source_key"),
        flow=FLOW,
        state__in=Transfer.UNFINISHED,
    )
    found = CostChange.objects.filter(~Exists(busy), state=State.WAITING, shipment__integration__enabled=True)
    shipments = list(Shipment.objects.filter(pk__in=list(found.values_list("shipment", flat=True)[:limit])))
    for shipment in shipments:
        with transaction.atomic():
            _begin(_locked(shipment))
    return len(shipments)


# -- what the flow asks and tells --------------------------------------------------------------------------


def shipment_of(transfer: Transfer) -> Shipment | None:
    """The live shipment whose charges a transfer of this flow corrects."""
    live = Shipment.objects.filter(
        integration=transfer.integration_id, source_key=transfer.source_key, state=Shipment.State.ACTIVE
    )
    return live.order_by("-generation", "-pk").first()


def is_being_voided(transfer: Transfer) -> bool:
    """Whether the shipment whose charges a transfer of this flow corrects is being voided, which may be given up."""
    return Shipment.objects.filter(
        integration=transfer.integration_id, source_key=transfer.source_key, state=Shipment.State.VOIDING
    ).exists()


def catch_up(shipment: Shipment) -> None:
    """A correction that came before the first shares were kept, and after `shipment` was read for them, is to be written.

    Inside the commit that keeps the shares, which has locked the record: a later correction finds them.
    """
    if Shipment.objects.filter(pk=shipment.pk, cost=shipment.cost, currency=shipment.currency).exists():
        return
    CostChange.objects.filter(shipment=shipment, state=State.KEPT).update(state=State.WAITING)


def waiting(shipment: Shipment) -> int | None:
    """The newest correction of a shipment that the ERP does not have yet."""
    found: int | None = CostChange.objects.filter(shipment=shipment, state=State.WAITING).values_list("pk", flat=True).last()
    return found


def settle(shipment: Shipment, newest: int | None, note: str) -> None:
    """What became of the corrections up to `newest`: in the ERP, or left to a person for the reason `note`."""
    state = State.LEFT if note else State.DONE
    if newest is not None:
        mine = CostChange.objects.filter(shipment=shipment, pk__lte=newest, state=State.WAITING)
        mine.update(state=state, note=note[:300], ended_at=clock.at())
    if not note:
        # What a person was to look at is overtaken.
        CostChange.objects.filter(shipment=shipment, state=State.LEFT).update(state=State.DONE, ended_at=clock.at())


def drop(transfer: Transfer) -> None:
    """The corrections that this work was to carry will not be written (voided, or given up by a person)."""
    mine = CostChange.objects.filter(shipment__integration=transfer.integration_id, shipment__source_key=transfer.source_key)
    mine.filter(state=State.WAITING).update(state=State.DROPPED, ended_at=clock.at())


def history(shipment: Shipment) -> list[CostChange]:
    """All corrections of a shipment, the oldest first. Whoever corrects makes the cost another kind, so most have none."""
    kinds = Shipment.CostKind
    if shipment.cost_kind in (kinds.RATED, kinds.QUOTED, kinds.UNKNOWN):
        return []
    return list(CostChange.objects.filter(shipment=shipment))


def corrected(row: FreightCharge, **values: Any) -> None:
    """What a share is by now."""
    FreightCharge.objects.filter(pk=row.pk).update(**values)
    for name, value in values.items():
        setattr(row, name, value)


__all__ = [
    "FLOW",
    "Busy",
    "begin_waiting",
    "catch_up",
    "check",
    "correct",
    "corrected",
    "drop",
    "history",
    "invoiced",
    "is_being_voided",
    "parts_of",
    "preview",
    "settle",
    "shipment_of",
    "waiting",
]

"""One shipment against what the ERP or the carrier says of it: pure functions, no calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from connector.models import Package, Shipment
from connector.services.reconcile import kinds
from connector.services.tracking import is_ours
from integrations.base import tracking as state
from integrations.base.errors import IntegrationError
from integrations.base.places import same_postal_code
from integrations.base.records import Problem, Standing
from integrations.base.tracking import ParcelNews

KNOWN_AFTER = dt.timedelta(hours=24)
"""A carrier may not know a new label for so long (sheet 11.4 of FedEx)."""
HANDED_OVER = frozenset(
    {
        *(state.PICKED_UP, state.IN_TRANSIT, state.OUT_FOR_DELIVERY, state.READY_FOR_PICKUP),
        *(state.RETURNING, state.DELIVERED, state.RETURNED),
    }
)
"""The carrier has, or had, the parcel."""


@dataclass(frozen=True, slots=True)
class Found:
    """A discrepancy before it is stored. `mark` is what makes it the same one at the next look."""

    kind: str
    subject: str
    source_key: str = ""
    number: str = ""
    ours: str = ""
    erp: str = ""
    carrier: str = ""
    mark: str = ""
    remedy: str = ""
    shipment: int | None = None
    transfer: int | None = None
    record: int | None = None
    send: int | None = None
    charge: int | None = None


def subject_of(shipment: Shipment) -> str:
    """What a finding about a shipment is about."""
    return f"shipment:{shipment.pk}"


def _found(
    kind: str, shipment: Shipment, *, ours: str = "", erp: str = "", carrier: str = "", mark: str = "", remedy: str = ""
) -> Found:
    return Found(
        kind,
        subject_of(shipment),
        shipment.source_key,
        shipment.master_tracking_number,
        ours=ours or f"{shipment.master_tracking_number}, {shipment.get_state_display().lower()}",
        erp=erp,
        carrier=carrier,
        mark=mark,
        remedy=remedy or kinds.KIND[kind].remedy,
        shipment=shipment.pk,
        record=shipment.record_id,
        transfer=shipment.transfer_id,
    )


def _void_or_known(shipment: Shipment) -> str:
    """A parcel that the carrier has cannot be voided any more."""
    return kinds.KNOWN if shipment.status in HANDED_OVER else kinds.VOID


def with_erp(shipment: Shipment, told: Standing | Problem, ours: Collection[str], *, replaced: bool) -> list[Found] | None:
    """A shipment against the ERP's header. None: nothing can be concluded.

    `ours` are all numbers that were ever bought for the document; `replaced` says that a newer label is active.
    """
    active = shipment.state == Shipment.State.ACTIVE
    if isinstance(told, Problem):
        if not isinstance(told.error, IntegrationError) or told.error.code != "document_gone":
            return None
        gone = _found("erp_gone", shipment, erp="not there", remedy=_void_or_known(shipment))
        return [gone] if active else []
    if told.tracking_number is None:  # the ERP has no field for it: its state is all that can be compared
        shown = f"no field for a number, {told.state}"
        cancelled = _found("erp_cancelled", shipment, erp=shown, remedy=_void_or_known(shipment))
        return [cancelled] if active and told.cancelled else []
    stands = told.tracking_number.strip()
    mine = {shipment.master_tracking_number, *(p.tracking_number for p in shipment.packages.all())}
    shown = f"{stands or 'no number'}, {told.state}"
    if not active:
        # A cancelled document ships no more, and the ERP would not let us empty it.
        matters = stands in mine and not replaced and not told.cancelled
        return [_found("erp_voided", shipment, erp=shown, mark=stands)] if matters else []
    if told.cancelled:
        return [_found("erp_cancelled", shipment, erp=shown, remedy=_void_or_known(shipment))]
    if stands in mine:
        return []
    if not stands:
        return [_found("erp_empty", shipment, erp=shown)]
    # An earlier label of this document is ours to replace; anything else somebody has entered.
    return [_found("erp_other", shipment, erp=shown, mark=stands, remedy=kinds.WRITE if stands in ours else kinds.OVERWRITE)]


def with_carrier(
    shipment: Shipment, packages: Sequence[Package], told: Mapping[str, ParcelNews | Problem], now: dt.datetime
) -> list[Found] | None:
    """A shipment against the carrier's news of its packages. None: nothing can be concluded."""
    news: list[ParcelNews] = []
    for package in packages:
        item = told.get(package.tracking_number)
        if not isinstance(item, ParcelNews):
            return None
        news.append(item)
    known = [n for n, p in zip(news, packages, strict=True) if n.known and is_ours(p, n)]
    says = state.state_of_all(_state(n) for n in known) if known else ""
    if shipment.state == Shipment.State.VOIDED:
        moving = sorted({_state(n) for n in known} & HANDED_OVER)
        return [_found("carrier_moving", shipment, carrier=_words(", ".join(moving)))] if moving else []
    if len(known) < len(packages):
        if shipment.created_at > now - KNOWN_AFTER:
            return None
        lost = [p.tracking_number for n, p in zip(news, packages, strict=True) if n not in known]
        return [_found("carrier_unknown", shipment, carrier=f"not found: {', '.join(lost)}"[:300])]
    if any(_state(n) == state.CANCELLED for n in known):
        return [_found("carrier_cancelled", shipment, carrier=_words(says))]
    return [*_count(shipment, packages, known), *_place(shipment, known)]


def _state(news: ParcelNews) -> str:
    return state.state_of((scan.at, scan.status) for scan in news.scans)[0]


def _words(status: str) -> str:
    return status.replace("_", " ") or "known"


def _count(shipment: Shipment, packages: Sequence[Package], known: Sequence[ParcelNews]) -> list[Found]:
    counts = {n.package_count for n in known if n.package_count}
    if not counts or counts == {len(packages)}:
        return []
    theirs = max(counts - {len(packages)})
    ours = f"{len(packages)} package{'' if len(packages) == 1 else 's'}"
    return [_found("carrier_packages", shipment, ours=ours, carrier=f"{theirs} packages", mark=str(theirs))]


def _place(shipment: Shipment, known: Sequence[ParcelNews]) -> list[Found]:
    for item in known:
        country, postal = item.recipient_country, item.recipient_postal_code
        other = bool(country and shipment.recipient_country and country.upper() != shipment.recipient_country.upper())
        if other or not same_postal_code(postal, shipment.recipient_postal_code, shipment.recipient_country):
            place = f"{postal} {country}".strip()
            ours = f"{shipment.recipient_postal_code} {shipment.recipient_country}"
            return [_found("carrier_destination", shipment, ours=ours, carrier=place, mark=place)]
    return []


__all__ = ["HANDED_OVER", "KNOWN_AFTER", "Found", "subject_of", "with_carrier", "with_erp"]

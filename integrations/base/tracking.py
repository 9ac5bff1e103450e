"""What carriers report about a parcel, in one vocabulary, and the rules that make a state of it.

The state of a parcel is a function of the set of its scans: the order in which they arrive does not matter,
nor how often. Terminal states win over anything later; a return wins over "delivered" (the parcel came back).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LABEL_CREATED: Final = "label_created"
PICKED_UP: Final = "picked_up"
IN_TRANSIT: Final = "in_transit"
OUT_FOR_DELIVERY: Final = "out_for_delivery"
READY_FOR_PICKUP: Final = "ready_for_pickup"
EXCEPTION: Final = "exception"
RETURNING: Final = "returning"
DELIVERED: Final = "delivered"
RETURNED: Final = "returned"
CANCELLED: Final = "cancelled"

PROGRESS: Final = (LABEL_CREATED, CANCELLED, PICKED_UP, IN_TRANSIT, EXCEPTION, OUT_FOR_DELIVERY, READY_FOR_PICKUP)
"""From the least to the most advanced: a shipment stands where its last parcel stands."""

FINAL: Final = frozenset({DELIVERED, RETURNED, CANCELLED})
STATUSES: Final = (*PROGRESS, RETURNING, DELIVERED, RETURNED)


@dataclass(frozen=True, slots=True)
class Scan:
    """One event. `key` is the same for the same event however it comes; `status` "" says nothing about the state."""

    key: str
    at: dt.datetime
    status: str
    code: str = ""
    text: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class TrackQuery:
    """One parcel to ask about. Carriers use numbers again: `ship_date` and `unique_id` tell which one is meant."""

    tracking_number: str
    ship_date: dt.date | None = None
    unique_id: str = ""


@dataclass(frozen=True, slots=True)
class ParcelNews:
    """What a carrier says of one number. `known` False: not in its system (yet). None and "" say nothing.

    `recipient_country` and `recipient_postal_code` are where it was to go when it was sent.
    """

    tracking_number: str
    scans: tuple[Scan, ...] = ()
    unique_id: str = ""
    ship_date: dt.date | None = None
    estimated_delivery: dt.date | None = None
    signed_by: str = ""
    known: bool = True
    recipient_country: str = ""
    recipient_postal_code: str = ""
    package_count: int | None = None


def state_of(scans: Iterable[tuple[dt.datetime, str]]) -> tuple[str, dt.datetime | None]:
    """State of one parcel from (time, status) pairs in any order, and since when; ("", None) where none says anything."""
    said = sorted((at, PROGRESS.index(status) if status in PROGRESS else 0, status) for at, status in scans if status)
    if not said:
        return "", None
    delivered = [at for at, _, status in said if status == DELIVERED]
    returned = [at for at, _, status in said if status == RETURNED]
    back = [at for at, _, status in said if status == RETURNING]
    if returned or (back and delivered):
        return RETURNED, max(returned or delivered)
    if delivered:
        return DELIVERED, min(delivered)
    if back:
        return RETURNING, min(back)
    at, _, status = said[-1]
    return status, at


def state_of_all(states: Iterable[str]) -> str:
    """State of a shipment from its parcels': final only when all are, an exception or a return as soon as one has it."""
    found = [state or LABEL_CREATED for state in states]
    if not found:
        return LABEL_CREATED
    if all(state in FINAL for state in found):
        kinds = set(found)
        return kinds.pop() if len(kinds) == 1 else RETURNED if RETURNED in kinds else DELIVERED
    for loud in (EXCEPTION, RETURNING):
        if loud in found:
            return loud
    going = [state for state in found if state not in FINAL]
    return min(going, key=lambda state: PROGRESS.index(state) if state in PROGRESS else len(PROGRESS))


__all__ = [
    "CANCELLED",
    "DELIVERED",
    "EXCEPTION",
    "FINAL",
    "IN_TRANSIT",
    "LABEL_CREATED",
    "OUT_FOR_DELIVERY",
    "PICKED_UP",
    "PROGRESS",
    "READY_FOR_PICKUP",
    "RETURNED",
    "RETURNING",
    "STATUSES",
    "ParcelNews",
    "Scan",
    "TrackQuery",
    "state_of",
    "state_of_all",
]

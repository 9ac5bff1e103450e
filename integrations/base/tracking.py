"""What carriers report about a parcel, in one vocabulary, and the rules that make a state of it.

The state of a parcel is a function of the set of its scans: the order in which they arrive does not matter,
nor how often. Terminal states win over anything later; a return wins over "delivered" (the parcel came back).
What is told beside the scans (an estimate, who signed) comes with how new it is; the newest that is not blank counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
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

MOVING: Final = frozenset({IN_TRANSIT, OUT_FOR_DELIVERY, READY_FOR_PICKUP})
"""Nothing is picked up after this, whatever a scan that was made late says."""
HELD: Final = frozenset({PICKED_UP, *MOVING})
"""The carrier has the parcel: it is no mere label any more."""

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
    `told_at`: when the carrier said so, where it tells: of two news with the same newest scan the later one counts.
    """

    tracking_number: str
    scans: tuple[Scan, ...] = ()
    unique_id: str = ""
    ship_date: dt.date | None = None
    estimated_delivery: dt.date | None = None
    delivered_at: dt.datetime | None = None
    signed_by: str = ""
    told_at: dt.datetime | None = None
    known: bool = True
    recipient_country: str = ""
    recipient_postal_code: str = ""
    package_count: int | None = None

    def beside(self) -> dict[str, str]:
        """What is told beside the scans, as text; blanks are left out."""
        parts = {"estimated_delivery": self.estimated_delivery, "delivered_at": self.delivered_at}
        told = {name: value.isoformat() for name, value in parts.items() if value is not None}
        return told | ({"signed_by": self.signed_by} if self.signed_by else {})


class UnreadablePush(ValueError):
    """A signed webhook body that is not what the carrier sends: trying again would not help."""


Told = dict[str, list[str]]
"""By what it is about: how new it is (newest scan, then when it was said), then the value. The greatest counts."""


def merge_told(known: Mapping[str, Sequence[str]], news: ParcelNews, not_after: dt.datetime) -> Told:
    """`known` with what is told beside the scans of `news`. Any order of merging gives the same.

    Scans dated after `not_after` make nothing newer: a carrier's clock may be wrong.
    """
    seen = [scan.at for scan in news.scans if scan.at <= not_after]
    rank = [_utc(max(seen)) if seen else "", _utc(news.told_at) if news.told_at is not None else ""]
    made = {name: list(entry) for name, entry in known.items()}
    for name, value in news.beside().items():
        made[name] = max([*rank, value], made.get(name, []))
    return made


def _utc(moment: dt.datetime) -> str:
    """An instant as text that sorts like the instant."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def state_of(scans: Iterable[tuple[dt.datetime, str]]) -> tuple[str, dt.datetime | None]:
    """State of one parcel from (time, status) pairs in any order, and since when; ("", None) where none says anything.

    The newest scan tells it, but only forward: once the carrier has the parcel no scan makes it a label again, once it
    moves none makes it picked up. A parcel on its way back is returned when a delivery follows (sheet 11.3).
    """
    said = sorted((at, PROGRESS.index(status) if status in PROGRESS else 0, status) for at, status in scans if status)
    if not said:
        return "", None
    delivered = [at for at, _, status in said if status == DELIVERED]
    returned = [at for at, _, status in said if status == RETURNED]
    back = [at for at, _, status in said if status == RETURNING]
    if returned or (back and delivered and max(delivered) >= min(back)):
        return RETURNED, max(returned or delivered)
    if back:
        return RETURNING, min(back)
    if delivered:
        return DELIVERED, min(delivered)
    there = {status for _, _, status in said}
    past = {LABEL_CREATED} if there & HELD else set()
    past |= {PICKED_UP} if there & MOVING else set()
    at, _, status = [one for one in said if one[2] not in past][-1]
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
    "Told",
    "TrackQuery",
    "UnreadablePush",
    "merge_told",
    "state_of",
    "state_of_all",
]

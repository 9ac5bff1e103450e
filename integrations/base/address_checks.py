"""What a carrier says about an address before anything is sent there. Advice, never a promise that it can be delivered."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from anyascii import anyascii

from integrations.base.records import Address

LINES = 3
"""Street lines that every carrier prints."""


class Verdict(StrEnum):
    """`good`: known as it is written. `corrected`: known, but spelled otherwise than it is written. `doubtful`: something
    is missing or open. `unknown`: the carrier does not find it. `not_covered`: the carrier cannot tell, for reasons
    that have nothing to do with this address (its country, a test system)."""

    GOOD = "good"
    CORRECTED = "corrected"
    DOUBTFUL = "doubtful"
    UNKNOWN = "unknown"
    NOT_COVERED = "not_covered"


class Premises(StrEnum):
    """Who lives there, as the carrier sorts it."""

    BUSINESS = "business"
    RESIDENTIAL = "residential"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AddressCheck:
    """One answer. `asked` is what was asked about, `proposed` what the carrier would write; both without people and phones.

    `messages` are the carrier's own words. `po_box`: a post office box, which most services do not reach.
    """

    verdict: Verdict
    asked: Address
    premises: Premises = Premises.UNKNOWN
    proposed: Address | None = None
    messages: tuple[str, ...] = ()
    po_box: bool = False
    request_id: str = ""


def place_of(address: Address) -> Address:
    """The place alone: no company, person, phone or e-mail."""
    return Address(
        lines=address.lines,
        city=address.city,
        state=address.state,
        postal_code=address.postal_code,
        country=address.country,
    )


def moved_to(address: Address, place: Address) -> Address:
    """The same people at another place."""
    return replace(
        address, lines=place.lines, city=place.city, state=place.state, postal_code=place.postal_code, country=place.country
    )


# -- the same place, spelled otherwise ---------------------------------------------------------------

_SHORT = {
    "STREET": "ST", "AVENUE": "AVE", "AV": "AVE", "ROAD": "RD", "BOULEVARD": "BLVD", "DRIVE": "DR", "LANE": "LN", "COURT": "CT",
    "PLACE": "PL", "SQUARE": "SQ", "TERRACE": "TER", "PARKWAY": "PKWY", "HIGHWAY": "HWY", "CIRCLE": "CIR", "TRAIL": "TRL",
    "NORTH": "N", "SOUTH": "S", "EAST": "E", "WEST": "W", "NORTHEAST": "NE", "NORTHWEST": "NW", "SOUTHEAST": "SE",
    "SOUTHWEST": "SW", "SAINT": "ST", "FORT": "FT", "MOUNT": "MT", "BUILDING": "BLDG", "FLOOR": "FL", "EXPRESSWAY": "EXPY",
    "PLAZA": "PLZ", "CENTER": "CTR", "CENTRE": "CTR", "HEIGHTS": "HTS", "CROSSING": "XING", "POINT": "PT", "STRASSE": "STR",
}  # fmt: skip
_UNITS = frozenset({"STE", "SUITE", "APT", "APARTMENT", "UNIT", "RM", "ROOM", "NO"})


def _words(text: str) -> list[str]:
    plain = re.sub(r"[^A-Z0-9]+", " ", re.sub(r"['.]", "", anyascii(text).upper()))
    return [_SHORT.get(word, word) for word in plain.split() if word not in _UNITS]


def _postal(address: Address) -> str:
    code = "".join(_words(address.postal_code))
    return code[:5] if address.country.upper() in ("US", "PR") else code


def same_place(one: Address, other: Address) -> bool:
    """Whether two addresses differ in spelling only: case, common abbreviations, line breaks, the last four digits of a ZIP."""
    return (
        _words(" ".join(one.lines)) == _words(" ".join(other.lines))
        and _words(one.city) == _words(other.city)
        and (not one.state or not other.state or _words(one.state) == _words(other.state))
        and _postal(one) == _postal(other)
        and one.country.upper() == other.country.upper()
    )


def with_lost_lines(written: Address, proposed: Address) -> Address | None:
    """The proposal, and below it the lines of which it kept nothing ("Dock 4", "c/o Miller"): a correction loses no word.

    None where that is more than fits on a label.
    """
    kept = set(_words(" ".join((*proposed.lines, proposed.city))))
    lost = [line for line in written.lines[1:] if not kept & set(_words(line))]
    lines = (*proposed.lines, *lost)
    return replace(proposed, lines=lines) if len(lines) <= LINES else None


__all__ = ["AddressCheck", "Premises", "Verdict", "moved_to", "place_of", "same_place", "with_lost_lines"]

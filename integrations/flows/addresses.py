"""Countries as ERPs spell them, to ISO codes. The names come from a library, not from us."""

from __future__ import annotations

import re
from functools import cache

import pycountry
from anyascii import anyascii

# What people write and the library does not know.
_SPELLINGS = {
    "USA": "US", "UNITEDSTATESOFAMERICA": "US", "GREATBRITAIN": "GB", "ENGLAND": "GB", "SCOTLAND": "GB", "WALES": "GB",
    "NORTHERNIRELAND": "GB", "UK": "GB", "RUSSIA": "RU", "TURKEY": "TR", "UAE": "AE", "HOLLAND": "NL",
    "IVORYCOAST": "CI", "SWAZILAND": "SZ", "MACEDONIA": "MK", "CAPEVERDE": "CV", "BRUNEI": "BN", "MACAU": "MO",
}  # fmt: skip


def _plain(text: str) -> str:
    """Letters and digits without accents: people and enum identifiers leave them out."""
    return re.sub(r"[^A-Z0-9]", "", anyascii(text).upper())


@cache
def _names() -> dict[str, str]:
    found: dict[str, str] = {}
    for country in pycountry.countries:
        for attribute in ("alpha_2", "alpha_3", "name", "official_name", "common_name"):
            value = getattr(country, attribute, "")
            if value:
                found.setdefault(_plain(value), country.alpha_2)
    for spelling, code in _SPELLINGS.items():
        found.setdefault(spelling, code)
    return found


def country_code(text: str) -> str:
    """ISO alpha-2 for a code, a name or an enum identifier ("UNITED_STATES", "UnitedStates"); "" when unknown."""
    return _names().get(_plain(text), "")


def subdivision_code(text: str, country: str) -> str:
    """The part after the dash of ISO 3166-2 for a name ("Tennessee"); what is unknown or a code already comes back as it is."""
    plain = _plain(text)
    return _subdivisions(country).get(plain, text.strip())


@cache
def _subdivisions(country: str) -> dict[str, str]:
    return {_plain(s.name): s.code.partition("-")[2] for s in pycountry.subdivisions if s.country_code == country}

"""Which borders mean customs. Countries are ISO 3166-1 alpha-2."""

from __future__ import annotations

EUROPEAN_UNION = frozenset(
    ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV", "MT")
    + ("NL", "PL", "PT", "RO", "SE", "SI", "SK")
)


def needs_customs(origin: str, destination: str) -> bool:
    """Whether goods between two countries are declared: not at home, and not inside the European Union."""
    origin, destination = origin.strip().upper(), destination.strip().upper()
    return origin != destination and not {origin, destination} <= EUROPEAN_UNION

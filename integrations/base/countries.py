"""Which borders mean that a carrier is told what is inside. Countries are ISO 3166-1 alpha-2."""

from __future__ import annotations


def crosses_border(origin: str, destination: str) -> bool:
    """Whether goods go to another country, inside the European Union or not: carriers want to know them at each border."""
    return origin.strip().upper() != destination.strip().upper()

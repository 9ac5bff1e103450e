"""What is common to money: the smallest unit of a currency (ISO 4217)."""

from __future__ import annotations

from decimal import Decimal

WHOLE_UNITS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)
"""Currencies without a smaller unit."""


def unit_of(currency: str) -> Decimal:
    """The smallest amount in which costs of a currency are kept."""
    return Decimal(1) if currency in WHOLE_UNITS else Decimal("0.01")

"""Numbers in addresses and forms: anybody may have written them."""

from __future__ import annotations

LONGEST = 18
"""Digits that surely fit the database's whole numbers."""


def number(text: str) -> int | None:
    """A whole number from 0, or None: other scripts' digits, signs like ² and numbers without end are none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST else None


__all__ = ["number"]

"""Members of FedEx's JSON as values, tolerant of what FedEx is not firm about. Pure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """A list as it is, a lone value as a list of one, nothing as none: FedEx is not firm about it (sheet 6, 11)."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else ""


def as_decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


def as_int(value: object) -> int | None:
    number = as_decimal(value)
    return int(number) if number is not None and number == number.to_integral_value() and abs(number) < 1_000_000 else None


def as_date(value: object) -> dt.date | None:
    """The date part of a date or time, not converted: FedEx writes dates as Memphis midnights (sheet 11.2)."""
    try:
        return dt.date.fromisoformat(as_text(value)[:10])
    except ValueError:
        return None

"""Whether two systems mean the same place."""

from __future__ import annotations


def letters(value: str) -> str:
    """A postal code or account as it is compared: letters and digits, upper case."""
    return "".join(c for c in value.upper() if c.isalnum())


def same_postal_code(left: str, right: str, country: str) -> bool:
    """Whether two postal codes are one; in the US the first five digits decide. What is not told is no difference."""
    if not left or not right:
        return True
    one, other = letters(left), letters(right)
    length = 5 if country.upper() == "US" else max(len(one), len(other))
    return one[:length] == other[:length]


__all__ = ["letters", "same_postal_code"]

"""A tracking number in a text of the record, where the tenant has no field for it (sheet 9.6). No I/O.

Ours is a line of its own, in words that nobody else uses, so that exactly this line can be taken away again. What others
wrote is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection

NOTE_CHARS = 2000
"""What IFS lets `NoteText` hold; a longer text would be refused."""
_LABEL = "Tracking no. "


def stands(text: str, number: str) -> bool:
    """Whether the number stands in the text, in whatever words, and not as a part of a longer one."""
    return re.search(rf"(?<!\w){re.escape(number)}(?!\w)", text) is not None


def without(text: str, numbers: Collection[str]) -> str:
    """The text without our lines about these numbers; a line that somebody has reworded is theirs and stays."""
    ours = {f"{_LABEL}{number}" for number in numbers}
    parts = re.split(r"(\r\n|\r|\n)", text)
    rows = list(zip(parts[::2], [*parts[1::2], ""], strict=True))
    kept = [(line, end) for line, end in rows if line.strip() not in ours]
    if kept and rows[-1][0].strip() in ours:
        kept[-1] = (kept[-1][0], "")  # the break before our last line came with it
    return "".join(line + end for line, end in kept)


def added(text: str, number: str) -> str | None:
    """The text with our line about a number; the same where the number stands there already, None where it has no room."""
    if stands(text, number):
        return text
    made = f"{text}\n{_LABEL}{number}" if text else f"{_LABEL}{number}"
    return made if len(made) <= NOTE_CHARS else None


__all__ = ["NOTE_CHARS", "added", "stands", "without"]

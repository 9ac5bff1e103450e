"""States as word and colour; the word alone says it, the colour only helps."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString

_BY_COLOUR = {
    "good": "done ok active",
    "calm": "looking off waiting running skipped cancelled voided unknown not_checked absent known closed applying discarded",
    "warn": "resting voiding look late deadline budget brake in_doubt needs_approval warning open sent pending probing"
    " columns ready",
    "bad": "failed refused paused",
}
COLOURS = {state: colour for colour, states in _BY_COLOUR.items() for state in states.split()} | {
    "on time": "good",
    "not yet": "calm",
}


def badge(state: str, label: str) -> SafeString:
    """A state as word and colour."""
    return format_html('<span class="mlc-badge mlc-{}">{}</span>', COLOURS.get(state, "calm"), label)

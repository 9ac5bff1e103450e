"""Times for people: in the zone that is active for the page, the same moment in UTC on hover, readable by machines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from django.contrib.admin import display
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

NEVER = "never"


def moment(value: dt.datetime | None, *, seconds: bool = False, never: str = NEVER) -> SafeString | str:
    """A moment as `<time>`; what to say instead when there is none. Anything but a moment is given back as it is."""
    if not value:
        return never
    if not isinstance(value, dt.datetime):
        return str(value)
    return _element(value, timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"))


def short(value: dt.datetime | None) -> SafeString | str:
    """A moment of these days as `<time>`: the hour, with the weekday unless it is today; nothing when there is none."""
    if not value:
        return ""
    local = timezone.localtime(value)
    today = local.date() == timezone.localtime().date()
    return _element(value, local.strftime("%H:%M" if today else "%a %H:%M"))


def age(value: dt.datetime | None, *, ago: bool = False) -> SafeString | str:
    """How long ago a moment was, as `<time>`; "never" when there is none."""
    if not value:
        return NEVER
    return _element(value, f"{timesince(value)} ago" if ago else timesince(value))


def _element(value: dt.datetime, shown: str) -> SafeString:
    utc = value.astimezone(dt.UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        shown,
    )


def column(field: str, title: str, never: str = NEVER) -> Callable[[Any], SafeString | str]:
    """A column of a list that shows a field's moment."""

    @display(description=title)
    def shown(obj: Any) -> SafeString | str:
        return moment(getattr(obj, field), never=never)

    shown.__name__ = field
    return shown

"""Template tags of the console."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_urls import admin_urlname
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from connector import permissions, times, words
from connector.badges import badge
from connector.services import overview

register = template.Library()


@register.simple_tag
def state_badge(state: str, label: str = "") -> SafeString:
    """A state as word and colour."""
    return badge(state, label or words.words(state))


@register.filter
def pretty(value: Any) -> str:
    """JSON for people; text as it is. Escaped by the template like everything a vendor said."""
    if isinstance(value, str):
        try:
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except ValueError:
            return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def shown(value: Any) -> str:
    """A value of a document as people read it: lists by commas, nothing as a dash."""
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@register.filter
def said(act: str) -> str:
    """What the history calls it, in words."""
    return words.said(act)


@register.filter
def when(value: Any) -> SafeString | str:
    """A moment to the minute, in the page's zone, with UTC on hover; "never" where there is none."""
    return times.moment(value)


@register.filter
def exactly(value: Any) -> SafeString | str:
    """A moment to the second, in the page's zone, with UTC on hover; "never" where there is none."""
    return times.moment(value, seconds=True)


@register.filter(name="clock")
def by_the_clock(value: Any) -> SafeString | str:
    """A moment of these days by hour and weekday, with UTC on hover."""
    return times.short(value)


@register.filter
def age(value: Any) -> SafeString | str:
    """How long ago, with the moment in UTC on hover."""
    return times.age(value)


@register.filter
def ago(value: Any) -> SafeString | str:
    """The same, said as "… ago"."""
    return times.age(value, ago=True)


@register.filter(name="words")
def in_words(name: Any) -> str:
    """A name of ours, such as `our_reference`, as people write it."""
    return words.words(str(name))


@register.filter
def document(key: Any) -> str:
    """A document's key in words, such as `Customer order S10023, delivery 2`."""
    return words.document(str(key))


@register.filter
def counted(result: Any) -> str:
    """What a look found, such as `3 new, 1 changed`."""
    found = result or {}
    return ", ".join(f"{n} {words.FOUND.get(name, name.replace('_', ' '))}" for name, n in found.items()) or "nothing yet"


@register.inclusion_tag("connector/crumbs.html", takes_context=True)
def crumbs(context: dict[str, Any]) -> dict[str, Any]:
    """Where the page stands: links to what is above it, and its own title as the heading."""
    title = str(context.get("title") or "")
    opts = context.get("opts")
    shown = context.get("original") or context.get("object")
    above: list[tuple[str, str]] = []
    if opts is not None:
        above.append((capfirst(str(opts.verbose_name_plural)), reverse(admin_urlname(opts, SafeString("changelist")))))
        if isinstance(shown, Model) and shown.pk and shown._meta.concrete_model is opts.model:
            above.append((str(shown), reverse(admin_urlname(opts, SafeString("change")), args=[quote(shown.pk)])))
    path = getattr(context.get("request"), "path", "")
    while above and (above[-1][0].casefold() == title.casefold() or above[-1][1] == path):
        above.pop()
    return {"above": above, "title": title}


@register.inclusion_tag("connector/brakes.html", takes_context=True)
def brakes(context: dict[str, Any]) -> dict[str, Any]:
    """Which brakes are on, for everybody they concern, on every page."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not permissions.can_somewhere(user, "view"):
        return {"brakes": []}
    return {"brakes": overview.brakes(permissions.tenants_for(user))}

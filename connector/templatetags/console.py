"""Template tags of the console."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.utils.safestring import SafeString

from connector import permissions
from connector.badges import badge
from connector.models import Installation, Integration, Tenant

register = template.Library()


@register.simple_tag
def state_badge(state: str, label: str = "") -> SafeString:
    """A state as word and colour."""
    return badge(state, label or state.replace("_", " "))


@register.filter
def pretty(value: Any) -> str:
    """JSON for people; text as it is. Escaped by the template like everything a vendor said."""
    if isinstance(value, str):
        try:
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except ValueError:
            return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.inclusion_tag("connector/brakes.html", takes_context=True)
def brakes(context: dict[str, Any]) -> dict[str, Any]:
    """Which brakes are on, for everybody they concern, on every page."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated or not permissions.can_somewhere(user, "view"):
        return {"brakes": []}
    found = []
    installation = Installation.objects.filter(stop_buying=True).first()
    if installation is not None:
        found.append(("the whole installation", installation.stop_buying_reason))
    for tenant in permissions.scope(Tenant.objects.filter(stop_buying=True), user, lookup="pk"):
        found.append((f"tenant {tenant}", tenant.stop_buying_reason))
    for integration in permissions.scope(Integration.objects.filter(stop_buying=True), user):
        found.append((f"{integration}", integration.stop_buying_reason))
    return {"brakes": found}

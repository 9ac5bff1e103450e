"""What the first page shows: what needs a person, what stands still, and what to do first on an empty installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest

from connector import permissions
from connector.models import Connection, FlowState, Integration, Pause, Tenant, Transfer
from connector.services.transfers import needing_attention


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Context of the index page (unfold's DASHBOARD_CALLBACK)."""
    user = request.user
    attention = needing_attention(permissions.scope(Transfer.objects.all(), user))
    groups = attention.values("state", "code", "attention").annotate(n=Count("pk")).order_by("-n")[:20]
    integrations = list(permissions.scope(Integration.objects.select_related("tenant"), user)[:50])
    states = {s.integration_id: s for s in FlowState.objects.filter(integration__in=[i.pk for i in integrations], flow="ship")}
    context |= {
        "attention_groups": groups,
        "connections": permissions.scope(Connection.objects.order_by("name"), user)[:50],
        "integrations": [(i, states.get(i.pk)) for i in integrations],
        "pauses": permissions.scope(Pause.objects.exclude(state="ended").select_related("connection", "integration"), user)[:20],
        "tenants_exist": permissions.scope(Tenant.objects.all(), user, lookup="pk").exists(),
        "may_own": user.is_superuser,
    }
    return context


def environment(request: HttpRequest) -> list[str] | None:
    """The badge beside the title: development installations are marked."""
    return ["Development", "warning"] if settings.DEBUG else None


def can_administer(request: HttpRequest) -> bool:
    """Sidebar: users."""
    return permissions.can_somewhere(request.user, "administer")


def is_owner(request: HttpRequest) -> bool:
    """Sidebar: the queue."""
    return bool(request.user.is_superuser)

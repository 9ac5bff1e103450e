"""What the first page shows: what needs a person, what stands still, and what to do first on an empty installation."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from connector import permissions, words
from connector.models import Connection, Integration, Transfer
from connector.services import attention, budgets, clock, deadlines, demo, pulse, simulators, tour
from connector.services.engine import pauses
from connector.services.reconcile import findings

SHOWN = 8


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Context of the index page (unfold's DASHBOARD_CALLBACK)."""
    context |= first_steps(request)
    context |= live(request)
    return context


def live(request: HttpRequest) -> dict[str, Any]:
    """The part that the page asks for again every ten seconds. Counters and indexed rows only: cheap at any size."""
    user = request.user
    tenants = permissions.tenants_for(user)
    mine = Integration.objects.select_related("tenant", "source", "target").order_by("name")
    integrations = list(permissions.scope(mine, user)[: pulse.MOST])
    zones = {i.tenant.timezone for i in integrations}
    zone = zoneinfo.ZoneInfo(zones.pop()) if len(zones) == 1 else dt.UTC
    causes = attention.groups(permissions.scope(Transfer.objects.all(), user))
    connections = list(permissions.scope(Connection.objects.select_related("tenant").order_by("name"), user)[: pulse.MOST])
    now = clock.now()
    ends = {pk for i in integrations for pk in (i.source_id, i.target_id)}
    held = pauses.standing({c.pk for c in connections} | ends, [i.pk for i in integrations])
    accounts = budgets.accounts(connections, tenants, now=now, own_calls=False)
    backlogs = budgets.backlogs(integrations, accounts, now=now, open_pauses=held)
    return {
        "accounts": accounts,
        "backlogs": [b for b in backlogs if b.waiting or b.running],
        "deadlines": deadlines.summary(user, now, integrations if len(integrations) < pulse.MOST else None),
        "findings": findings.counts(permissions.scope(Integration.objects.all(), user).order_by().values("pk")),
        "causes": [(g, words.ATTENTION.get(g.cause.attention, "")) for g in causes[:SHOWN]],
        "more_causes": max(0, len(causes) - SHOWN),
        "connections": pulse.connections(connections, held),
        "flows": pulse.flows(integrations, held=held, db_now=now),
        "week": pulse.week(tenants, zone),
        "zone": str(zone),
        "as_of": clock.local_now(),
    }


def first_steps(request: HttpRequest) -> dict[str, Any]:
    """The tour's part of the page: every step with the button that this person may press."""
    user = request.user
    if not (user.is_superuser or permissions.can_somewhere(user, "view")):
        return {"tour": None}
    found = tour.take(permissions.tenants_for(user))
    if found is None:
        return {"tour": None}
    steps = []
    for step in found.steps:
        button = step.button
        row: dict[str, Any] = {name: getattr(step, name) for name in ("name", "title", "says", "state", "moving")}
        allowed = button is not None and (button.right == "view" or permissions.can(user, button.right, button.tenant))
        if button and allowed:
            row |= {"label": button.label, "post": button.post, "url": reverse(f"admin:{button.page}", args=button.args)}
        if step.also:
            row |= {"also": step.also.label, "also_url": reverse(f"admin:{step.also.page}", args=step.also.args)}
        steps.append(row)
    offered = user.is_superuser and not found.moving and not demo.exists() and simulators.answer(simulators.port())
    return {
        "tour": found,
        "steps": steps,
        "offer": offered,
        "simulators_url": reverse("admin:connector_simulators") if has_simulators(request) else "",
    }


def environment(request: HttpRequest) -> list[str] | None:
    """The badge beside the title: development installations are marked."""
    return ["Development", "warning"] if settings.DEBUG else None


def can_administer(request: HttpRequest) -> bool:
    """Sidebar: users."""
    return permissions.can_somewhere(request.user, "administer")


def has_simulators(request: HttpRequest) -> bool:
    """Sidebar: simulators, for those who may play with one."""
    return permissions.standing(request.user).plays if request.user.is_authenticated else False


def is_owner(request: HttpRequest) -> bool:
    """Sidebar: the queue."""
    return bool(request.user.is_superuser)

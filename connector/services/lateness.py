"""Are the flows polled when they should be? For readiness and metrics; says nothing about what a poll found."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Q

from connector.models import FlowState, Integration, Pause
from connector.services import clock, schedules
from integrations.flows.table import KINDS


@dataclass(frozen=True, slots=True)
class FlowPulse:
    """One flow of an integration that is on. Ages are None before the first poll.

    `late_s` is 0 while a poll is under way, and while a pause keeps it from being made: neither is a fault of the workers.
    """

    integration: str
    flow: str
    poll_age_s: float | None
    good_poll_age_s: float | None
    late_s: float


def _age(now: dt.datetime, at: dt.datetime | None) -> float | None:
    return max(0.0, (now - at).total_seconds()) if at is not None else None


def pulses() -> Iterator[FlowPulse]:
    """Every flow that the tick polls, in four queries."""
    now = clock.now()
    states = {(s.integration_id, s.flow): s for s in FlowState.objects.filter(integration__enabled=True)}
    whole = Q(scope="connection") | Q(scope="integration")
    held = set(Pause.objects.filter(whole).exclude(state="ended").values_list("connection_id", "integration_id"))
    paused_connections = {connection for connection, _ in held if connection is not None}
    paused_integrations = {integration for _, integration in held if integration is not None}
    for integration in Integration.objects.select_related("tenant").filter(enabled=True).order_by("slug"):
        zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
        resting = integration.pk in paused_integrations or not paused_connections.isdisjoint(
            (integration.source_id, integration.target_id)
        )
        for flow in KINDS[integration.kind].flows:
            if not flow.available:
                continue
            state = states.get((integration.pk, flow.name))
            last = state.last_poll_at if state is not None else None
            under_way = state is not None and state.lease_until is not None and state.lease_until > now
            late = 0.0
            if not resting and not under_way:
                schedule = schedules.merged_schedule(integration, flow.name)
                late = schedules.overdue_s(schedule, zone, now, last or integration.created_at)
                # It may have been switched on a moment ago: before that nothing was due.
                late = min(late, max(0.0, (now - integration.updated_at).total_seconds()))
            yield FlowPulse(
                integration.slug,
                flow.name,
                _age(now, last),
                _age(now, state.last_good_poll_at if state is not None else None),
                late,
            )

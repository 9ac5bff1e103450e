"""Are the flows polled when they should be? For readiness and metrics; says nothing about what a poll found."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db.models import Q

from connector.models import FlowState, Integration, Pause
from connector.services import clock, schedules
from integrations.flows.table import KINDS

WHOLE = Q(scope="connection") | Q(scope="integration")
"""Pauses that keep all of a flow from being polled, not one company code or site of it."""


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
    integrations = Integration.objects.select_related("tenant").filter(enabled=True).order_by("slug")
    states = FlowState.objects.filter(integration__enabled=True)
    return judged(integrations, states, Pause.objects.filter(WHOLE).exclude(state="ended"), clock.now())


def judged(
    integrations: Iterable[Integration], told: Iterable[FlowState], held: Iterable[Pause], now: dt.datetime
) -> Iterator[FlowPulse]:
    """The flows of these integrations that are on, from what is known of them; `held`: pauses that are not ended."""
    states = {(s.integration_id, s.flow): s for s in told}
    whole = [p for p in held if p.scope in ("connection", "integration")]
    paused_connections = {p.connection_id for p in whole if p.connection_id is not None}
    paused_integrations = {p.integration_id for p in whole if p.integration_id is not None}
    for integration in integrations:
        if not integration.enabled:
            continue
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

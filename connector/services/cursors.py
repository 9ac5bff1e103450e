"""Where a flow's poll stands, and a person's word that it look further back once (ENGINE 3).

A look again finds what regular polls have missed. What stood ready before the start stays where it is: it was listed
by the baseline, and only a back-fill makes work of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from connector.models import FlowState, Integration
from connector.services import audit, clock, vendors, wake
from connector.services.engine.polling import LOOK
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.flows.table import KINDS, FlowDef

MOST_DAYS = 3650
REASON_CAP = 300
USUAL_WINDOW_DAYS = 30
FOLLOWING = "track"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a regular poll asks for, when everything was asked for last, and what somebody has asked for once."""

    window_days: int
    since: dt.date
    last_sweep: dt.datetime | None
    next_sweep: dt.datetime | None
    asked: Mapping[str, Any] | None


def polls(flow: FlowDef) -> bool:
    """Whether a flow looks for documents by date (following parcels goes by number)."""
    return flow.available and flow.name != FOLLOWING


def window_days(merged_settings: Mapping[str, Any], kind: str) -> int:
    """How many days a regular poll looks back for documents of a kind."""
    return int(merged_settings.get(kind, {}).get("poll", {}).get("window_days", USUAL_WINDOW_DAYS))


def standing(integration: Integration, state: FlowState | None) -> Standing:
    """Where a flow stands; `state` is None before its first poll."""
    source = integration.source
    merged = vendors.merge(registry.get(source.vendor).settings_defaults, source.settings)
    days = max(window_days(merged, kind) for kind in integration.options.get("documents") or ["shipment"])
    swept = state.last_sweep_at if state is not None else None
    return Standing(
        days,
        (clock.local_now() - dt.timedelta(days=days)).date(),
        swept,
        swept + dt.timedelta(seconds=settings.ENGINE["SWEEP_EVERY_S"]) if swept is not None else None,
        state.cursor.get(LOOK) if state is not None else None,
    )


def look_again(integration: Integration, flow: str, days: int | None, *, actor: str, reason: str) -> None:
    """Have the next poll that works look back `days` days once (None: at everything), and wake it.

    Raises NotPossible.
    """
    reason = reason.strip()
    known = [one for one in KINDS[integration.kind].flows if one.name == flow and polls(one)]
    if not known:
        raise NotPossible("This flow does not look for documents by date.")
    if not integration.enabled:
        raise NotPossible("It is switched off. Switch it on first.")
    if not reason:
        raise NotPossible("Give a reason; it is kept in the history.")
    if len(reason) > REASON_CAP:
        raise NotPossible(f"The reason is longer than {REASON_CAP} characters.")
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise NotPossible(f"Enter from 1 to {MOST_DAYS} days.")
    FlowState.objects.get_or_create(integration=integration, flow=flow, defaults={"tenant_id": integration.tenant_id})
    with transaction.atomic():
        state = FlowState.objects.select_for_update().get(integration=integration, flow=flow)
        state.cursor = state.cursor | {LOOK: {"days": days, "by": actor, "at": clock.now().isoformat()}}
        state.save(update_fields=["cursor"])
        facts = {"flow": flow, "days": days, "slug": integration.slug}
        audit.append(integration.tenant, audit.Draft("look_again", facts, integration, {"reason": reason}, actor))
        wake.poll(integration.pk, flow)

"""Finding trouble once a minute: what stands now (pauses, transfers, polls, limits) against what was counted before.

The engine writes nothing for it.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max, Q
from django.urls import reverse

from connector import words
from connector.models import (
    Alert,
    AlertSeen,
    Connection,
    EffectSend,
    FlowState,
    Installation,
    Integration,
    LimitBucket,
    Pause,
    Transfer,
)
from connector.models.alerts import Cause
from connector.models.secrets import UnreadableSecret
from connector.services import clock, deadlines, keys, schedules, vendors, webhooks
from connector.services.alerts.raising import SILENCE, raise_alert
from connector.services.reconcile import findings
from connector.services.reconcile.kinds import KIND
from integrations import registry
from integrations.flows.table import KINDS

OVERLAP = dt.timedelta(minutes=2)
"""A transaction that ends a run may commit a moment after its time stamp: look back so far."""
KEEP = dt.timedelta(days=100)
LATE_GRACE = dt.timedelta(minutes=2)
BUDGET_SHARE = 0.8
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _Found:
    """One thing to tell. `key` makes sure that it is counted once."""

    key: str
    tenant_id: int | None
    cause: Cause
    kind: str
    about: str
    title: str
    detail: str
    link: str


def look(polled: Collection[str] = ()) -> int:
    """Find what is new since the last look and count it. `polled` are the flows that poll. Returns how many things.

    Two processes may look at once: each thing is counted by one of them.
    """
    now = clock.now()
    mark = Installation.objects.filter(pk=1).values_list("alerts_looked_at", flat=True).first()
    since = (mark or now) - OVERLAP
    found = [
        *_pauses(since),
        *_transfers(since),
        *_late(now, polled),
        *_budgets(now),
        *_deadlines(),
        *_findings(since),
        *_posts(since),
    ]
    keys.installation()
    with transaction.atomic():
        if found:
            Installation.objects.select_for_update().get(pk=1)
            found = _unseen(found, now)
        groups: dict[tuple[Cause, str, str], list[_Found]] = {}
        for one in found:
            groups.setdefault((one.cause, one.kind, one.about), []).append(one)
        for (cause, kind, about), several in groups.items():
            last = several[-1]
            told = {"title": last.title, "detail": last.detail, "link": last.link}
            raise_alert(cause, kind, about, tenant_id=last.tenant_id, count=len(several), at=now, **told)
        Installation.objects.filter(pk=1).update(alerts_looked_at=now)
    Alert.objects.filter(state=Alert.State.OPEN, last_at__lt=now - SILENCE).update(state=Alert.State.CLOSED)
    Alert.objects.filter(last_at__lt=now - KEEP).delete()
    AlertSeen.objects.filter(at__lt=now - KEEP).delete()
    return len(found)


def _unseen(found: Sequence[_Found], now: dt.datetime) -> list[_Found]:
    """Those not counted before, marked as counted."""
    by_key = {one.key: one for one in found}
    names = list(by_key)
    for start in range(0, len(names), 500):
        for key in AlertSeen.objects.filter(key__in=names[start : start + 500]).values_list("key", flat=True):
            del by_key[key]
    AlertSeen.objects.bulk_create([AlertSeen(key=key, at=now) for key in by_key], batch_size=500)
    return list(by_key.values())


def _pauses(since: dt.datetime) -> Iterable[_Found]:
    open_or_new = ~Q(state=Pause.State.ENDED) | Q(since__gte=since)
    for pause in Pause.objects.filter(open_or_new).select_related("connection", "integration").order_by("pk"):
        if pause.integration is not None:
            about, owner, page = f"integration:{pause.integration_id}", str(pause.integration), "integration"
        else:
            about, owner, page = f"connection:{pause.connection_id}", str(pause.connection), "connection"
        part = f", {pause.get_scope_display().lower()} {pause.scope_name}" if pause.scope_name else ""
        yield _Found(
            f"pause:{pause.pk}",
            pause.tenant_id,
            Cause.PAUSED,
            pause.code,
            f"{about}:{pause.scope_name}" if pause.scope_name else about,
            f"{owner}{part}: {words.words(pause.code).lower()}",
            pause.remedy,
            reverse(f"admin:connector_{page}_change", args=[pause.integration_id or pause.connection_id]),
        )


def _transfers(since: dt.datetime) -> Iterable[_Found]:
    touched = Transfer.objects.filter(updated_at__gte=since).select_related("integration").defer("error", "decision", "message")
    # Two queries, each with a partial index of its own: few rows stand there, however many are done.
    rows = list(touched.filter(state__in=("failed", "in_doubt", "needs_approval")).order_by("pk"))
    rows += touched.filter(attention__isnull=False).exclude(pk__in=[t.pk for t in rows]).order_by("pk")
    sends = _open_sends([t.record_id for t in rows if t.state == "in_doubt"])
    for transfer in rows:
        link = reverse("admin:connector_transfer_changelist") + f"?integration={transfer.integration_id}"
        if transfer.state in ("failed", "in_doubt", "needs_approval"):
            cause, kind, detail = Cause(transfer.state), transfer.code, transfer.remedy
            # Every look at what is in doubt is a run of its own: the request in doubt is the same.
            mark = sends.get(transfer.record_id, 0) if cause == Cause.IN_DOUBT else transfer.epoch
            link += f"&state__exact={transfer.state}"
        else:
            kind = transfer.attention or ""
            cause, detail = Cause.LOOK, words.ATTENTION.get(kind, "Its page says what was found and what to do.")
            mark = 0
        yield _Found(
            f"{cause}:{transfer.pk}:{mark}" + (f":{kind}" if cause == Cause.LOOK else ""),
            transfer.tenant_id,
            cause,
            kind,
            f"integration:{transfer.integration_id}",
            f"{transfer.integration}" + (f": {words.words(kind).lower()}" if kind else ""),
            detail,
            link,
        )


def _open_sends(records: Sequence[int]) -> dict[int, int]:
    """The latest request without a known outcome by source record."""
    found: dict[int, int] = {}
    for start in range(0, len(records), 500):
        chosen = EffectSend.objects.filter(effect__record__in=records[start : start + 500], outcome__in=EffectSend.OPEN)
        found |= dict(chosen.values_list("effect__record").annotate(last=Max("pk")))
    return found


def _late(now: dt.datetime, polled: Collection[str]) -> Iterable[_Found]:
    """Flows whose last good poll lies more than one period too far back. Not those that are paused: that is told already."""
    states = {(s.integration_id, s.flow): s for s in FlowState.objects.all()}
    still = Pause.objects.exclude(state=Pause.State.ENDED).filter(scope__in=("connection", "integration"))
    stopped = set(still.values_list("connection_id", "integration_id"))
    for integration in Integration.objects.filter(enabled=True).select_related("tenant").order_by("pk"):
        if integration.kind not in KINDS or stopped & {
            (integration.source_id, None),
            (integration.target_id, None),
            (None, integration.pk),
        }:
            continue
        zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
        for flow in KINDS[integration.kind].flows:
            if not flow.available or flow.name not in polled:
                continue
            state = states.get((integration.pk, flow.name))
            if state is not None and state.lease_until is not None and state.lease_until > now:
                continue  # somebody is at it
            last = (state.last_good_poll_at if state else None) or integration.created_at
            # Switching on and editing begin a new count.
            last = max(last, integration.updated_at)
            schedule = schedules.merged_schedule(integration, flow.name)
            first = schedules.next_due(schedule, zone, last, last)
            second = schedules.next_due(schedule, zone, first, first) if first is not None else None
            if second is None or now <= second + LATE_GRACE:
                continue
            yield _Found(
                f"late:{integration.pk}:{flow.name}:{last.isoformat()}",
                integration.tenant_id,
                Cause.LATE,
                flow.name,
                f"integration:{integration.pk}",
                f"{integration}, {flow.label}",
                f"Nothing has been fetched since {last.astimezone(zone):%Y-%m-%d %H:%M}; it was to be fetched twice since then. "
                "Ping both connections; do workers run?",
                reverse("admin:connector_integration_change", args=[integration.pk]),
            )


def _budgets(now: dt.datetime) -> Iterable[_Found]:
    """Declared daily limits of which 80 % are used today (UTC)."""
    used = dict(LimitBucket.objects.filter(day=now.date(), used_today__gt=0).values_list("key", "used_today"))
    if not used:
        return
    for connection in Connection.objects.select_related("tenant").order_by("pk"):
        if connection.vendor not in registry.VENDORS:
            continue
        vendor = registry.get(connection.vendor)
        if not any(limit.per_s >= DAY_S for limit in vendors.limits_of(vendor, connection.settings).values()):
            continue
        try:
            buckets = vendors.buckets_of(connection, vendor, vendors.credentials_of(connection))
        except UnreadableSecret:
            continue
        for name, (key, limit) in buckets.items():
            count = used.get(key, 0)
            if limit.per_s < DAY_S or count < limit.calls * BUDGET_SHARE:
                continue
            shared = limit.scope == "host"  # counted for all tenants together: the owner's affair
            yield _Found(
                f"budget:{key if shared else connection.pk}:{name}:{now.date()}"[:200],
                None if shared else connection.tenant_id,
                Cause.BUDGET,
                name,
                f"host:{vendor.slug}" if shared else f"connection:{connection.pk}",
                f"{vendor.label if shared else connection}: {BUDGET_SHARE:.0%} of today's “{name}” ({limit.calls}) are used",
                "Beyond the limit calls wait until it refills. The count begins anew at midnight UTC.",
                reverse("admin:connector_connection_change", args=[connection.pk]),
            )


def _deadlines() -> Iterable[_Found]:
    """What should have happened by now; each miss once, however long it lasts."""
    page = reverse("admin:connector_deadlines")
    for found in deadlines.find(Integration.objects.all()):
        for missed in found.rows:
            yield _Found(
                missed.key,
                missed.tenant_id,
                Cause.DEADLINE,
                missed.kind,
                f"integration:{missed.integration.pk}",
                f"{missed.integration}: {found.kind.title}",
                f"{found.kind.says} {found.kind.remedy}",
                f"{page}?kind={missed.kind}&integration={missed.integration.pk}",
            )


def _findings(since: dt.datetime) -> Iterable[_Found]:
    """What comparisons have newly found."""
    page = reverse("admin:connector_findings")
    for finding in findings.untold(since):
        kind = KIND[finding.kind]
        yield _Found(
            f"finding:{finding.pk}",
            finding.tenant_id,
            Cause.FINDING,
            finding.kind,
            f"integration:{finding.integration_id}",
            f"{finding.integration}: {kind.title}",
            kind.says,
            f"{page}?kind={finding.kind}&integration={finding.integration_id}",
        )


def _posts(since: dt.datetime) -> Iterable[_Found]:
    """What vendors posted and nobody could read. One that was tried again and given up again counts again."""
    for post in webhooks.given_up_since(since):
        yield _Found(
            f"post:{post.pk}:{post.ended_at:%Y%m%d%H%M%S}",
            post.tenant_id,
            Cause.POST,
            "",
            f"connection:{post.connection_id}",
            f"{post.connection}: a webhook post could not be read",
            "Nothing is lost: it is kept, and what it told comes with the next poll. An administrator may have it tried again.",
            reverse("admin:connector_connection_change", args=[post.connection_id]),
        )

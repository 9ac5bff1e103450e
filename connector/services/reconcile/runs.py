"""Comparisons under way: begun by a person or by the clock, carried in slices, giving way to the real work.

One at a time for an integration. Each batch is one commit: what it found, and from where to go on; killed in between,
the batch is made again and finds the same. A limit on calls ends a comparison early; what it left out is said, and
nothing is concluded about it.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
import zoneinfo
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from connector import workers
from connector.models import Exchange, Integration, LimitBucket, Pause, ReconciliationRun, Transfer
from connector.services import audit, clock, keys, schedules, vendors, wake
from connector.services.engine.recorder import ExchangeBuffer
from connector.services.engine.work import Flows
from connector.services.reconcile import findings
from connector.services.reconcile.phases import PHASES, WORDS, Batch, Round, total
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base import drill
from integrations.base.drill import boundary
from integrations.base.errors import ConfigurationError, IntegrationError, RateLimited, Unavailable
from integrations.base.http import recording
from integrations.flows.table import KINDS

logger = logging.getLogger(__name__)

State = ReconciliationRun.State
LEASE_S = 300.0
GIVES_WAY_S = 30.0
GIVES_WAY_FOR = dt.timedelta(hours=2)
"""After so long of giving way it goes on beside the other work: the limits of the vendors still hold."""
PAUSED_S = 300.0
GIVES_UP = dt.timedelta(hours=20)
"""A comparison that could not be ended for so long is given up; the next night begins another."""
ATTEMPTS = 10
RETRY_BASE_S, RETRY_CAP_S = 30.0, 900.0
DAILY_SHARE = 0.5
"""Comparisons leave at least this share of a vendor's daily limit to the work."""
RESERVE = 8
"""Calls that one batch may take: none is begun with fewer left."""


class NotMine(Exception):
    """Another process has taken the comparison over."""


def start(integration: Integration, *, actor: str, days: int | None = None, scheduled: bool = False) -> ReconciliationRun:
    """Begin a comparison, or give the one that runs. Raises NotPossible."""
    kind = KINDS.get(integration.kind)
    if kind is None or not kind.available:
        raise NotPossible("This kind of integration is not in this release.")
    problem = keys.problem()
    if problem:
        raise NotPossible(f"{problem} {keys.REMEDY}")
    options = kind.defaults() | {name: value for name, value in integration.options.items() if value is not None}
    now = clock.now()
    zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
    try:
        with transaction.atomic():
            run = ReconciliationRun.objects.create(
                tenant_id=integration.tenant_id,
                integration=integration,
                asked_by=actor[:150],
                scheduled=scheduled,
                since=now.astimezone(zone).date() - dt.timedelta(days=days or options["reconcile_days"]),
                phase=next(iter(PHASES)),
                call_limit=options["reconcile_calls"],
                due_at=now,
                started_at=now,
            )
            facts = {"slug": integration.slug, "since": run.since.isoformat()}
            audit.append(integration.tenant, audit.Draft("compare", facts, obj=integration, actor=actor))
    except IntegrityError:
        return ReconciliationRun.objects.get(integration=integration, state=State.RUNNING)
    wake.reconcile(integration.pk)
    return run


def start_due() -> list[int]:
    """Begin what the clock asks for; ids of integrations that have a comparison to go on with."""
    now = clock.now()
    chosen = Integration.objects.filter(enabled=True, options__reconcile_at__isnull=False).select_related("tenant")
    for integration in chosen.order_by("pk"):
        at = integration.options.get("reconcile_at")
        if at and _due_daily(integration, at, now):
            try:
                start(integration, actor=audit.SYSTEM, scheduled=True)
            except NotPossible as error:
                logger.warning("%s is not compared: %s", integration.slug, error)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=clock.at()) | Q(lease_process__in=_dead())
    waiting = ReconciliationRun.objects.filter(free, state=State.RUNNING, due_at__lte=clock.at())
    return list(waiting.order_by("due_at").values_list("integration_id", flat=True)[:100])


def _due_daily(integration: Integration, at: str, now: dt.datetime) -> bool:
    schedule = schedules.schedule_of({"daily_at": [at]}, 0)
    begun = ReconciliationRun.objects.filter(integration=integration, scheduled=True).order_by("-pk")
    # Editing begins a new count: a time that lay before the option was set is not made up for.
    last = max([integration.updated_at, *begun.values_list("started_at", flat=True)[:1]])
    due = schedules.next_due(schedule, zoneinfo.ZoneInfo(integration.tenant.timezone), now, last)
    return due is not None and due <= now


def _dead() -> list[str]:
    names = ReconciliationRun.objects.filter(state=State.RUNNING, lease_until__isnull=False)
    return [name for name in names.values_list("lease_process", flat=True) if workers.is_dead(name)]


# -- carrying it -------------------------------------------------------------------------------------


def work(integration: Integration, flows: Flows, *, within_s: float, gives_way: bool = True) -> ReconciliationRun | None:
    """Go on with the comparison of an integration for about `within_s` seconds; the run as it stands then.

    None where there is none, or another process is at it. `gives_way` False: somebody waits for it. A vendor's error
    ends up in the run.
    """
    run = _take(integration)
    if run is None:
        return None
    slugs = {end.slug: end for end in (integration.source, integration.target)}
    recorder = ExchangeBuffer(slugs, batch=uuid.uuid4())
    recorder.step = "compare"
    round_ = Round(run, integration, flows, clock.now(), recorder)
    until = time.monotonic() + within_s
    try:
        if not run.total and not run.compared:
            _save(run, total=total(round_))
        while run.state == State.RUNNING and time.monotonic() < until:
            wait = _should_wait(round_, gives_way)
            if wait is not None:
                _save(run, due_at=clock.at(wait[0]), waits_for=wait[1])
                break
            _one(round_)
    except NotMine:
        logger.info("comparison %s: another process has it", run.pk)
    except IntegrationError as error:
        _stumbled(run, error)
    finally:
        ReconciliationRun.objects.filter(pk=run.pk, lease_owner=run.lease_owner).update(
            lease_owner=None, lease_until=None, lease_process=""
        )
    run.refresh_from_db()
    return run


def _take(integration: Integration) -> ReconciliationRun | None:
    owner = uuid.uuid4()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=clock.at()) | Q(lease_process__in=_dead())
    mine = ReconciliationRun.objects.filter(free, integration=integration, state=State.RUNNING)
    hit = mine.update(lease_owner=owner, lease_process=workers.process_name(), lease_until=clock.at(LEASE_S))
    return ReconciliationRun.objects.get(integration=integration, lease_owner=owner) if hit else None


def _save(run: ReconciliationRun, **values: Any) -> None:
    """Change the run if it is still ours; the lease goes on. Raises NotMine."""
    mine = ReconciliationRun.objects.filter(pk=run.pk, lease_owner=run.lease_owner)
    if not mine.update(lease_until=clock.at(LEASE_S), **values):
        raise NotMine
    owner = run.lease_owner
    run.refresh_from_db()
    run.lease_owner = owner


def _should_wait(round_: Round, gives_way: bool) -> tuple[float, str] | None:
    """Seconds to wait and why; None to go on."""
    run, integration = round_.run, round_.integration
    ends = Q(connection__in=(integration.source_id, integration.target_id)) | Q(integration=integration)
    paused = Pause.objects.filter(ends, scope__in=("connection", "integration")).exclude(state="ended").first()
    if paused is not None:
        if clock.now() > run.started_at + GIVES_UP:
            raise ConfigurationError(paused.message, code=paused.code, remedy=paused.remedy)
        return PAUSED_S, f"Stands still: {paused.message}"[:300]
    if not gives_way or clock.now() > run.started_at + GIVES_WAY_FOR:
        return None
    near = Q(integration__source=integration.source_id) | Q(integration__target=integration.target_id)
    due = Transfer.objects.filter(near, integration__enabled=True, state="waiting", due_at__lte=clock.at())
    return (GIVES_WAY_S, "Gives way to documents that wait.") if due.exists() else None


def _one(round_: Round) -> None:
    """One batch: ask, judge, keep. Raises what the vendor raised, NotMine."""
    run = round_.run
    phase = run.phase
    if phase != "charges" and (run.calls + RESERVE > run.call_limit or _day_is_used(round_.integration)):
        _next(run, left_out=[*run.left_out, WORDS[phase]])
        return
    try:
        with recording(round_.recorder):
            batch = PHASES[phase](round_, run.cursor)
    finally:
        taken = round_.recorder.take()
        # What went well would fill the table every night.
        Exchange.objects.bulk_create([row for row in taken if row.status is None or row.status >= 400])
        ReconciliationRun.objects.filter(pk=run.pk).update(calls=F("calls") + len(taken))
    drill.at(phase)
    boundary("compared")
    with transaction.atomic():
        tally = findings.settle(run, batch.kinds, batch.subjects, batch.found)
        values = _progress(run, batch, tally)
        if batch.cursor is None:
            _next(run, left_out=[*run.left_out, WORDS[phase]] if batch.left_out else run.left_out, **values)
        else:
            _save(run, cursor=dict(batch.cursor), **values)
    boundary("batch_committed")


def _progress(run: ReconciliationRun, batch: Batch, tally: findings.Tally) -> dict[str, Any]:
    return {
        "compared": F("compared") + batch.compared,
        "found": F("found") + tally.found,
        "appeared": F("appeared") + tally.appeared,
        "gone": F("gone") + tally.gone,
        "unreadable": F("unreadable") + batch.unreadable,
        "unseen": dict(batch.unseen) if batch.unseen else run.unseen,
        "attempts": 0,
        "waits_for": "",
        "error": None,
    }


def _next(run: ReconciliationRun, *, left_out: list[str], **values: Any) -> None:
    """The next phase, or the end. One commit."""
    names = list(PHASES)
    place = names.index(run.phase) + 1
    if place < len(names):
        _save(run, phase=names[place], cursor={}, left_out=left_out, **values)
        return
    with transaction.atomic():
        ended = values | {"phase": "", "cursor": {}, "state": State.DONE, "waits_for": "", "error": None}
        _save(run, ended_at=clock.at(), left_out=left_out, **ended)
        facts = {name: getattr(run, name) for name in ("compared", "found", "appeared", "gone", "calls", "left_out")}
        audit.append(run.tenant, audit.Draft("compared", facts, obj=run.integration))


def _day_is_used(integration: Integration) -> bool:
    """Whether half of a vendor's daily limit has gone today: the rest belongs to the work."""
    today = clock.now().date()
    for connection in (integration.source, integration.target):
        vendor = registry.get(connection.vendor)
        daily = [
            (key, limit.calls)
            for key, limit in vendors.buckets_of(connection, vendor, vendors.credentials_of(connection)).values()
            if limit.per_s >= 86_400
        ]
        used = dict(LimitBucket.objects.filter(day=today, key__in=[k for k, _ in daily]).values_list("key", "used_today"))
        if any(used.get(key, 0) >= calls * DAILY_SHARE for key, calls in daily):
            return True
    return False


def _stumbled(run: ReconciliationRun, error: IntegrationError) -> None:
    """A vendor did not answer as it should: later again, or the end."""
    told = error.as_dict()
    passing = isinstance(error, RateLimited | Unavailable)
    give_up = run.attempts + 1 >= ATTEMPTS or clock.now() > run.started_at + GIVES_UP
    if passing and not give_up:
        wait = min(RETRY_BASE_S * 2**run.attempts, RETRY_CAP_S)
        if isinstance(error, RateLimited):
            wait = max(wait, error.retry_after_s)
        values = {"attempts": F("attempts") + 1, "due_at": clock.at(wait), "error": told, "waits_for": error.message[:300]}
    else:
        values = {"state": State.FAILED, "ended_at": clock.at(), "error": told, "waits_for": ""}
    try:
        _save(run, **values)
    except NotMine:
        logger.info("comparison %s: another process has it", run.pk)


__all__ = ["start", "start_due", "work"]

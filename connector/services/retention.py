"""Erase by rule what may hold personal data and is old: exchanges, details of audit entries (DESIGN 7), webhook posts.

Each batch goes in one commit with an audit entry that names what went, so that `verify_audit` tells "erased by rule"
from "missing". Kept, whatever their age: what belongs to a record whose work is not finished, and what does not fit
its digest any more: that is evidence of a change, and erasing it would hide it.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from connector.models import AuditDetail, AuditEntry, Exchange, Step, Tenant, Transfer, WebhookDelivery
from connector.services import audit, clock, heartbeat

RULE = "EXCHANGE_RETENTION_DAYS"
POSTS_RULE = "WEBHOOK_RETENTION_DAYS"
JOB = "retention"
EVERY_S = 86400.0
BATCH = 200


@dataclass(slots=True)
class Retention:
    """What one call did; `posts` are webhook posts that were taken in or given up.

    `more`: time was up before the end. `altered`: what was kept because it does not fit its digest.
    """

    before: dt.datetime | None
    posts_before: dt.datetime | None = None
    exchanges: int = 0
    details: int = 0
    posts: int = 0
    altered: list[str] = field(default_factory=list)
    more: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "days": settings.EXCHANGE_RETENTION_DAYS,
            "before": self.before.isoformat() if self.before else None,
            "exchanges": self.exchanges,
            "details": self.details,
            "posts": self.posts,
            "altered": self.altered,
        }


def cutoff(rule: str = RULE) -> dt.datetime | None:
    """What is older than this goes; None: everything is kept."""
    days: int = getattr(settings, rule)
    return clock.now() - dt.timedelta(days=days) if days else None


def due() -> bool:
    """Whether today's turn is to be taken; true for one caller a day, the first time a day after installation."""
    return bool(settings.EXCHANGE_RETENTION_DAYS or settings.WEBHOOK_RETENTION_DAYS) and heartbeat.take_turn(JOB, EVERY_S)


def erase(*, within_s: float | None = None, dry_run: bool = False, actor: str = audit.SYSTEM) -> Retention:
    """Erase what the rule lets go, in small batches, for `within_s` seconds (None: to the end). Count only with `dry_run`.

    May be stopped at any moment and run again, beside workers and beside itself.
    """
    told = Retention(cutoff(), cutoff(POSTS_RULE))
    until = None if within_s is None else time.monotonic() + within_s
    for tenant in [*Tenant.objects.order_by("pk"), None]:
        batches: list[tuple[_Batch, dt.datetime | None]] = [(_erase_details, told.before)]
        if tenant is not None:
            batches = [(_erase_posts, told.posts_before), (_erase_exchanges, told.before), *batches]
        for batch, before in batches:
            after: Any = None
            if before is None:
                continue
            while True:
                if until is not None and time.monotonic() > until:
                    told.more = True
                    return told
                with transaction.atomic():
                    after = batch(told, tenant, before, after, dry_run, actor)
                if after is None:
                    break
    return told


_Batch = Callable[[Retention, Tenant | None, dt.datetime, Any, bool, str], Any]
"""Erases one batch behind `after` and returns where it ended; None at the end."""


def _locked(rows: Any) -> Any:
    """Not those that another process is erasing this moment."""
    if connection.features.has_select_for_update_skip_locked:
        return rows.select_for_update(skip_locked=True, of=("self",))
    return rows


def _facts(before: dt.datetime, rule: str = RULE) -> dict[str, Any]:
    return {"rule": rule, "days": getattr(settings, rule), "before": before}


def _erase_posts(told: Retention, tenant: Tenant | None, before: dt.datetime, after: Any, dry_run: bool, actor: str) -> Any:
    """Posts that are through. What they told stands with the parcels; the same post once more would change nothing."""
    through = WebhookDelivery.objects.filter(tenant=tenant, ended_at__lt=before, pk__gt=after or 0)
    rows = through.exclude(state=WebhookDelivery.State.RECEIVED).order_by("pk")
    found = [row.pk for row in _locked(rows.only("pk"))[:BATCH]]
    if not found:
        return None
    if not dry_run:
        WebhookDelivery.objects.filter(pk__in=found).delete()
        audit.append(tenant, audit.Draft("erased_by_rule", _facts(before, POSTS_RULE) | {"count": len(found)}, actor=actor))
    told.posts += len(found)
    return found[-1]


def _erase_exchanges(told: Retention, tenant: Tenant | None, before: dt.datetime, after: Any, dry_run: bool, actor: str) -> Any:
    rows = Exchange.objects.filter(tenant=tenant, started_at__lt=before)
    if after is not None:
        rows = rows.filter(Q(started_at__gt=after[0]) | Q(started_at=after[0], pk__gt=after[1]), started_at__gte=after[0])
    unfinished = Transfer.objects.filter(record=OuterRef("transfer__record"), state__in=Transfer.UNFINISHED)
    found = list(_locked(rows.exclude(Exists(unfinished)).order_by("started_at", "pk"))[:BATCH])
    if not found:
        return None
    batches = {row.batch for row in found if row.batch is not None}
    open_batches = _open_batches(batches) if batches else frozenset()
    doomed = []
    for row in found:
        if audit.exchange_digest(row) != row.digest:
            told.altered.append(f"exchange {row.pk}")
        elif row.batch not in open_batches:
            doomed.append(row)
    if doomed and not dry_run:
        Exchange.objects.filter(pk__in=[row.pk for row in doomed]).delete()
        facts = _facts(before) | {"count": len(doomed), "digests": sorted({row.digest for row in doomed})}
        audit.append(tenant, audit.Draft("erased_by_rule", facts, actor=actor))
    told.exchanges += len(doomed)
    return found[-1].started_at, found[-1].pk


def _open_batches(batches: Collection[uuid.UUID]) -> frozenset[uuid.UUID | None]:
    """Those of these batches (read ahead for several records) that a step of an unfinished record came from.

    A step knows the batch of its last attempt; what was read ahead for an earlier one belongs to nobody any more.
    """
    records = Transfer.objects.filter(state__in=Transfer.UNFINISHED).order_by().values("record")
    return frozenset(Step.objects.filter(record__in=records, batch__in=batches).values_list("batch", flat=True))


def _erase_details(told: Retention, tenant: Tenant | None, before: dt.datetime, after: Any, dry_run: bool, actor: str) -> Any:
    # Entries are numbered as they are written: behind a whole batch that is younger nothing is old (what a slow transaction
    # wrote late goes another day). Asked for by age, the database would read all details that stay, every day.
    rows = AuditDetail.objects.filter(tenant=tenant, entry_id__gt=after or 0)
    batch = list(_locked(rows.order_by("entry_id"))[:BATCH])
    # Not joined: the database would walk all entries up to the first one that has a detail left.
    entries = AuditEntry.objects.in_bulk([row.entry_id for row in batch])
    for row in batch:
        row.entry = entries[row.entry_id]
    found = [row for row in batch if row.entry.at < before]
    if not found:
        return None
    records = {int(row.entry.chain.partition(":")[2]) for row in found if row.entry.chain.startswith("record:")}
    unfinished = Transfer.objects.filter(record__in=records, state__in=Transfer.UNFINISHED)
    kept = {f"record:{pk}" for pk in unfinished.values_list("record", flat=True)}
    doomed = []
    for row in found:
        if audit.digest(row.detail) != row.entry.detail_digest:
            told.altered.append(f"detail of {row.entry.chain} entry {row.entry.sequence}")
        elif row.entry.chain not in kept:
            doomed.append(row)
    if doomed and not dry_run:
        AuditDetail.objects.filter(pk__in=[row.pk for row in doomed]).delete()
        places = [[row.entry.chain, row.entry.sequence] for row in doomed]
        audit.append(
            tenant, audit.Draft("erased_by_rule", _facts(before) | {"count": len(doomed), "details": places}, actor=actor)
        )
    told.details += len(doomed)
    return batch[-1].entry_id

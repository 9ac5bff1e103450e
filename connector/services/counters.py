"""Add up what the audit tells, by day: cheap to read at any size, and never more than seconds behind.

Stored counts reach up to a mark; what was written since is few rows and is added while reading. Every entry is
counted once, because the mark moves in the same transaction as the counts.
"""

from __future__ import annotations

import datetime as dt
import time
import zoneinfo
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet, Subquery
from django.db.models.functions import Coalesce

from connector.models import AuditEntry, CountMark, DayCount, Shipment, Tenant, Transfer
from connector.services import clock

ACTS = {"done": "done", "failed": "failed", "in_doubt": "in_doubt", "bought": "bought", "adopted": "bought", "voided": "voided"}
SETTLED_S = 60.0
"""Older than any transaction that may still hold an earlier number."""
AT_ONCE = 5000
SLICE_S = 20.0
FRESH = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """What a number is about."""

    tenant: int
    integration: int
    day: dt.date
    what: str
    key: str = ""
    currency: str = ""


Sums = dict[Place, tuple[int, Decimal]]


def catch_up() -> int:
    """Count what has settled since the last time; how many entries were looked at. Called by the tick.

    About 20 s at most: a long history (the first time after an upgrade) is added up over several ticks.
    """
    looked = 0
    until = time.monotonic() + SLICE_S
    while time.monotonic() < until:
        with transaction.atomic():
            CountMark.objects.get_or_create(name="audit")
            mark = CountMark.objects.select_for_update().get(name="audit")
            batch, upto = _settled(mark.value)
            if upto == mark.value:
                return looked
            # The row's lock keeps others out; on SQLite the transaction itself does (it begins IMMEDIATE).
            CountMark.objects.filter(pk=mark.pk).update(value=upto)
            _add(collect(batch))
        looked += upto - mark.value
    return looked


def _settled(mark: int) -> tuple[list[AuditEntry], int]:
    fresh = AuditEntry.objects.filter(pk__gt=mark).order_by("pk")
    rows = list(fresh.values_list("pk", "at")[:AT_ONCE])
    cutoff = clock.local_now() - dt.timedelta(seconds=SETTLED_S)
    upto = mark
    for pk, at in rows:
        if at >= cutoff:
            break
        upto = pk
    return list(fresh.filter(pk__lte=upto, act__in=ACTS)), upto


def _add(sums: Sums) -> None:
    for place, (count, amount) in sorted(sums.items(), key=lambda item: str(item)):
        where: dict[str, Any] = {
            "tenant_id": place.tenant,
            "integration_id": place.integration,
            "day": place.day,
            "what": place.what,
            "key": place.key,
            "currency": place.currency,
        }
        if not DayCount.objects.filter(**where).update(count=F("count") + count, amount=F("amount") + amount):
            DayCount.objects.create(**where, count=count, amount=amount)


def collect(entries: Sequence[AuditEntry]) -> Sums:
    """What these entries add up to. A label's cost belongs to the day it was bought; a void takes it away there."""
    sums: dict[Place, list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    zones = _zones({e.tenant_id for e in entries if e.tenant_id})
    transfers = _integrations(e.object_id for e in entries if e.object_type == "transfer")
    shipments = _shipments(entries)
    for entry in entries:
        shipment = shipments.get(entry.pk)
        integration = shipment.integration_id if shipment is not None else transfers.get(entry.object_id or 0)
        if entry.tenant_id is None or integration is None:
            continue
        zone = zones[entry.tenant_id]
        what = ACTS[entry.act]
        sums[Place(entry.tenant_id, integration, entry.at.astimezone(zone).date(), what)][0] += 1
        if shipment is not None and shipment.cost is not None:
            sign = -1 if what == "voided" else 1
            day = shipment.created_at.astimezone(zone).date()
            spent = sums[Place(entry.tenant_id, integration, day, "spend", shipment.cost_center, shipment.currency)]
            spent[0] += sign
            spent[1] += sign * shipment.cost
    return {place: (count, amount) for place, (count, amount) in sums.items()}


def _zones(tenants: set[int]) -> dict[int, zoneinfo.ZoneInfo]:
    rows = Tenant.objects.filter(pk__in=tenants).values_list("pk", "timezone")
    return {pk: zoneinfo.ZoneInfo(name) for pk, name in rows}


def _integrations(transfers: Iterable[int | None]) -> dict[int, int]:
    wanted = {pk for pk in transfers if pk is not None}
    return dict(Transfer.objects.filter(pk__in=wanted).values_list("pk", "integration_id"))


def _shipments(entries: Sequence[AuditEntry]) -> dict[int, Shipment]:
    """The shipment that an entry bought or voided, by entry."""
    voided = {e.object_id for e in entries if e.act == "voided"}
    numbers = {str(n) for e in entries if ACTS[e.act] == "bought" for n in e.facts.get("tracking_numbers", [])[:1]}
    by_pk = Shipment.objects.in_bulk([pk for pk in voided if pk is not None])
    bought = {
        (s.transfer_id, s.master_tracking_number): s
        for s in Shipment.objects.filter(
            transfer__in={e.object_id for e in entries if ACTS[e.act] == "bought"}, master_tracking_number__in=numbers
        )
    }
    found: dict[int, Shipment] = {}
    for entry in entries:
        if entry.act == "voided":
            made = by_pk.get(entry.object_id or 0)
        elif ACTS[entry.act] == "bought":
            made = bought.get((entry.object_id or 0, str((entry.facts.get("tracking_numbers") or [""])[0])))
        else:
            continue
        if made is not None:
            found[entry.pk] = made
    return found


def by_day(tenants: list[int] | None, first: dt.date) -> Sums:
    """All numbers from `first` on, up to this moment, for these tenants (None: all)."""
    # The mark in the same statement as the counts: nothing can move from the one to the other in between.
    upto = Coalesce(Subquery(CountMark.objects.filter(name="audit").values("value")[:1]), 0)
    counts: QuerySet[Any] = DayCount.objects.filter(day__gte=first).annotate(upto=upto)
    counted = list(counts if tenants is None else counts.filter(tenant__in=tenants))
    fresh = AuditEntry.objects.filter(pk__gt=counted[0].upto if counted else upto, act__in=ACTS)
    fresh = fresh if tenants is None else fresh.filter(tenant__in=tenants)
    sums: Sums = {Place(c.tenant_id, c.integration_id, c.day, c.what, c.key, c.currency): (c.count, c.amount) for c in counted}
    for place, (count, amount) in collect(list(fresh.order_by("pk")[:FRESH])).items():
        if place.day >= first:
            before = sums.get(place, (0, Decimal(0)))
            sums[place] = (before[0] + count, before[1] + amount)
    return sums

"""Back-fill: documents that stood ready before the start become work, by a period and a person's word (ENGINE 4).

They are begun in small portions, when nothing newer is due: an old backlog never stands in the way of today's
documents. Each is read afresh and looked at like any other; what is no longer ready buys nothing.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Avg, Count, F, Q

from connector.models import Backfill, Integration, Pause, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, wake
from connector.services.engine.polling import new_transfer
from connector.services.shipments import NotPossible

IN_HAND = 100
"""Transfers of a back-fill that may wait at a time."""

READS_PER_GROUP = 4
GROUP = 20
COST_SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """A currency's share of the estimate: `amount` for all records, from the average of `based_on` recent shipments."""

    currency: str
    amount: Decimal
    based_on: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a back-fill would do: records to begin, those without a date (never begun), calls at most, cost if known."""

    records: int
    undated: int
    erp_calls: int
    carrier_calls: int
    costs: tuple[Cost, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the command prints it; amounts as text."""
        return {
            "records": self.records,
            "undated": self.undated,
            "calls": {"erp": self.erp_calls, "carrier": self.carrier_calls},
            "estimated_cost": [{"currency": c.currency, "amount": str(c.amount), "based_on": c.based_on} for c in self.costs],
        }


def candidates(integration: Integration, flow: str, first: dt.date, last: dt.date) -> Any:
    """Source records before the start, never worked on, dated within these days of the tenant's time zone (inclusive)."""
    zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
    begin = dt.datetime.combine(first, dt.time(), tzinfo=zone)
    end = dt.datetime.combine(last + dt.timedelta(days=1), dt.time(), tzinfo=zone)
    return _before_start(integration, flow).filter(document_date__gte=begin, document_date__lt=end)


def _before_start(integration: Integration, flow: str) -> Any:
    return SourceRecord.objects.filter(integration=integration, flow=flow, before_start=True, revision=0)


def preview(integration: Integration, first: dt.date, last: dt.date, flow: str = "ship") -> Preview:
    """What `start` would begin. Raises NotPossible for a period that ends before it begins."""
    if last < first:
        raise NotPossible("The period ends before it begins: give the earlier day first.")
    records = candidates(integration, flow, first, last).count()
    groups = -(-records // GROUP)
    return Preview(
        records=records,
        undated=_before_start(integration, flow).filter(document_date__isnull=True).count(),
        # One compare and one write each, beside the batched reads.
        erp_calls=groups * READS_PER_GROUP + 2 * records,
        carrier_calls=records,
        costs=_costs(integration, records),
    )


def _costs(integration: Integration, records: int) -> tuple[Cost, ...]:
    """By currency, from recent shipments; each currency's share as it was among them. Empty where nothing is known."""
    recent = Shipment.objects.filter(integration=integration, cost__isnull=False).order_by("-pk").values("pk")[:COST_SAMPLE]
    rows = list(
        Shipment.objects.filter(pk__in=list(recent.values_list("pk", flat=True)))
        .values("currency")
        .annotate(mean=Avg("cost"), n=Count("pk"))
        .order_by("currency")
    )
    known = sum(row["n"] for row in rows)
    return tuple(
        Cost(row["currency"], (Decimal(row["mean"]) * records * row["n"] / known).quantize(Decimal("0.01")), row["n"])
        for row in rows
    )


def start(
    integration: Integration, first: dt.date, last: dt.date, *, actor: str, reason: str = "", flow: str = "ship"
) -> Backfill:
    """Begin. Raises NotPossible: switched off, one under way already, nothing to begin."""
    if not integration.enabled:
        raise NotPossible("The integration is switched off. Switch it on first: its first look notes what stands ready.")
    expected = preview(integration, first, last, flow)
    if not expected.records:
        raise NotPossible("No document from before the start is dated within these days.")
    try:
        with transaction.atomic():
            made = Backfill.objects.create(
                tenant_id=integration.tenant_id,
                integration=integration,
                flow=flow,
                date_from=first,
                date_to=last,
                total=expected.records,
                reason=reason.strip(),
                created_by=actor[:150],
                created_at=clock.at(),
            )
            told = {"from": str(first), "to": str(last), "records": expected.records, "reason": reason.strip()}
            audit.append(integration.tenant, audit.Draft("backfill_started", told, obj=integration, actor=actor))
    except IntegrityError as error:
        raise NotPossible("A back-fill of this integration is under way already. Wait for it, or stop it.") from error
    feed(integration)
    wake.work(2)
    return made


def stop(found: Backfill, *, actor: str, reason: str = "") -> None:
    """Begin no more. What has been begun is finished; the rest stays as it was. Raises NotPossible when it is over."""
    with transaction.atomic():
        hit = Backfill.objects.filter(pk=found.pk, state=Backfill.State.RUNNING).update(
            state=Backfill.State.STOPPED, finished_at=clock.at()
        )
        if not hit:
            raise NotPossible("It is over already.")
        audit.append(
            found.tenant, audit.Draft("backfill_stopped", {"reason": reason.strip()}, obj=found.integration, actor=actor)
        )


def feed(integration: Integration) -> int:
    """Begin the next portion of the integration's running back-fill, if few of it wait; how many were begun."""
    begun = 0
    for found in Backfill.objects.filter(integration=integration, state=Backfill.State.RUNNING, integration__enabled=True):
        begun += _feed(found)
    return begun


def _feed(found: Backfill) -> int:
    with transaction.atomic():
        locked = Backfill.objects.select_for_update().select_related("integration__tenant").get(pk=found.pk)
        if locked.state != Backfill.State.RUNNING:
            return 0
        room = IN_HAND - Transfer.objects.filter(record__backfill=locked, state="waiting").count()
        if room <= 0:
            return 0
        left = candidates(locked.integration, locked.flow, locked.date_from, locked.date_to)
        records = list(left.order_by("document_date", "pk")[:room])
        if not records:
            Backfill.objects.filter(pk=locked.pk).update(state=Backfill.State.DONE, finished_at=clock.at())
            return 0
        SourceRecord.objects.filter(pk__in=[r.pk for r in records]).update(
            before_start=False, backfill=locked, revision=F("revision") + 1
        )
        Transfer.objects.bulk_create(new_transfer(record, record.revision + 1) for record in records)
        Backfill.objects.filter(pk=locked.pk).update(begun=F("begun") + len(records))
    return len(records)


def feed_all() -> int:
    """The minute's look: portions for back-fills whose workers found nothing else to do, and whose way is free."""
    begun = 0
    running = Backfill.objects.filter(state=Backfill.State.RUNNING, integration__enabled=True).select_related("integration")
    for found in running:
        ends = (found.integration.source_id, found.integration.target_id)
        held = Q(connection_id__in=ends, scope="connection") | Q(integration=found.integration)
        if not Pause.objects.filter(held).exclude(state="ended").exists():
            begun += _feed(found)
    return begun


def progress(found: Backfill) -> dict[str, int]:
    """Transfers of the back-fill by state, and how many are yet to begin (`to_come`)."""
    rows = Transfer.objects.filter(record__backfill=found).values_list("state").annotate(n=Count("pk"))
    running = found.state == Backfill.State.RUNNING
    return dict(rows) | {"to_come": max(0, found.total - found.begun) if running else 0}


__all__ = ["Cost", "Preview", "candidates", "feed", "feed_all", "preview", "progress", "start", "stop"]

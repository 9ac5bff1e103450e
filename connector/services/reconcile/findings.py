"""What comparisons have found: keep it, once for each thing; close it when it is gone; count it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count as CountOf
from django.db.models import Min
from django.urls import reverse

from connector.models import Integration, ReconciliationFinding, ReconciliationRun
from connector.services import clock
from connector.services.reconcile.compare import Found
from connector.services.reconcile.kinds import ALL, KIND, Kind

State = ReconciliationFinding.State
STANDING = (State.OPEN, State.KNOWN)
CHUNK = 400


@dataclass(slots=True)
class Tally:
    """What one batch did to the findings."""

    found: int = 0
    appeared: int = 0
    gone: int = 0


def settle(run: ReconciliationRun, kinds: Collection[str], subjects: Iterable[str], found: Sequence[Found]) -> Tally:
    """Take in what was found about `subjects` (inside the caller's transaction).

    What stood for one of them, of one of `kinds`, and was not found again, is closed. Repeating it changes nothing.
    """
    tally = Tally()
    now = clock.now()
    by_key = {(one.kind, one.subject): one for one in found}
    standing: dict[tuple[str, str], ReconciliationFinding] = {}
    for some in _chunks(dict.fromkeys(subjects)):
        rows = ReconciliationFinding.objects.select_for_update().filter(
            integration=run.integration_id, kind__in=kinds, subject__in=some, state__in=STANDING
        )
        standing |= {(row.kind, row.subject): row for row in rows.order_by("pk")}
    for key, row in standing.items():
        again = by_key.pop(key, None)
        if again is None:
            ReconciliationFinding.objects.filter(pk=row.pk).update(state=State.CLOSED, closed_at=now, last_run=run)
            tally.gone += 1
            continue
        # One that this run has met already (another page, a batch made again) counts once.
        tally.found += row.last_run_id != run.pk
        changed: dict[str, Any] = {"state": State.OPEN} if row.state == State.KNOWN and row.mark != again.mark else {}
        ReconciliationFinding.objects.filter(pk=row.pk).update(last_seen_at=now, last_run=run, **_values(again), **changed)
    ReconciliationFinding.objects.bulk_create(
        ReconciliationFinding(
            tenant_id=run.tenant_id,
            integration_id=run.integration_id,
            first_run=run,
            last_run=run,
            kind=one.kind,
            subject=one.subject,
            first_seen_at=now,
            last_seen_at=now,
            **_values(one),
        )
        for one in by_key.values()
    )
    tally.appeared = len(by_key)
    tally.found += len(by_key)
    return tally


def _values(one: Found) -> dict[str, Any]:
    return {
        "remedy": one.remedy or KIND[one.kind].remedy,
        "record_id": one.record,
        "transfer_id": one.transfer,
        "shipment_id": one.shipment,
        "send_id": one.send,
        "charge_id": one.charge,
        "source_key": one.source_key[:120],
        "number": one.number[:60],
        "ours": one.ours[:300],
        "erp": one.erp[:300],
        "carrier": one.carrier[:300],
        "mark": one.mark[:200],
    }


def _chunks(items: Iterable[str]) -> Iterator[list[str]]:
    several = list(items)
    for start in range(0, len(several), CHUNK):
        yield several[start : start + CHUNK]


def standing(integration: Integration, kinds: Collection[str]) -> Any:
    """What stands, open or known, of some kinds."""
    return ReconciliationFinding.objects.filter(integration=integration, kind__in=kinds, state__in=STANDING)


# -- counting ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Count:
    """How many findings of one kind are open, since when, and where they are listed."""

    kind: Kind
    number: int
    since: Any
    link: str


def counts(integrations: Any) -> list[Count]:
    """Open findings of these integrations (a queryset or ids) by kind, in the order in which people read them."""
    rows = (
        ReconciliationFinding.objects.filter(integration__in=integrations, state=State.OPEN)
        .order_by()
        .values("kind")
        .annotate(n=CountOf("pk"), since=Min("first_seen_at"))
    )
    by_kind = {row["kind"]: row for row in rows}
    page = reverse("admin:connector_findings")
    return [
        Count(kind, by_kind[kind.name]["n"], by_kind[kind.name]["since"], f"{page}?kind={kind.name}")
        for kind in ALL
        if kind.name in by_kind
    ]


def untold(since: Any) -> Any:
    """Open findings that came up since a moment: what alerts tell."""
    fresh = ReconciliationFinding.objects.filter(first_seen_at__gte=since, state=State.OPEN)
    return fresh.select_related("integration").order_by("pk")


__all__ = ["STANDING", "Count", "State", "Tally", "counts", "settle", "standing", "untold"]

"""Who may work on what: slots, due transfers, claims with a lease, what dead processes held, whose turn it is (ENGINE 4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, Sum

from connector import workers
from connector.models import Connection, EffectSend, FlowState, Integration, Pause, Slot, SourceRecord, Step, Transfer
from connector.services import clock, vendors
from connector.services.engine import pauses
from connector.services.engine.job import Job
from integrations import registry

# -- slots -------------------------------------------------------------------------------------------


def reserve(job: Job, threads: int) -> int:
    """Reserve parallel calls at both connections; the number granted (0: come again later).

    The rows of both connections are locked in id order: counting without the lock lets everybody in.
    """
    ends = sorted({job.source.pk, job.target.pk})
    with transaction.atomic():
        rows = list(Connection.objects.select_for_update().filter(pk__in=ends).order_by("pk"))
        granted = threads
        Slot.objects.filter(connection_id__in=ends, expires_at__lt=clock.at()).delete()
        for row in rows:
            limit = vendors.max_parallel_of(registry.get(row.vendor), row.settings)
            held = Slot.objects.filter(connection=row).aggregate(n=Sum("count"))["n"] or 0
            granted = min(granted, limit - held)
        if granted <= 0:
            return 0
        Slot.objects.bulk_create(
            Slot(
                tenant_id=job.integration.tenant_id,
                connection=row,
                owner=job.owner,
                owner_process=workers.process_name(),
                count=granted,
                expires_at=clock.at(settings.ENGINE["LEASE_S"]),
            )
            for row in rows
        )
    return granted


# -- claiming ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Group:
    """Claimed transfers with what the runs need, and the pause that one of them may go first for."""

    transfers: list[Transfer] = field(default_factory=list)
    were: dict[int, str] = field(default_factory=dict)
    probes: dict[int, Pause] = field(default_factory=dict)


def due(integration: Integration, only: Sequence[int] | None = None) -> Any:
    """Transfers that may run now (pauses not considered).

    A switched-off integration still looks up what is in doubt: it buys nothing, and money may be out there.
    """
    waiting = Q(state__in=("waiting", "in_doubt"), due_at__lte=clock.at())
    lapsed = Q(state="running", lease_until__lt=clock.at())
    found = Transfer.objects.filter(waiting | lapsed, integration=integration)
    found = found.filter(integration__enabled=True) if integration.enabled else found.filter(_open_send())
    return found.filter(pk__in=only) if only is not None else found


def _open_send() -> Exists:
    """A request of the transfer's record whose outcome is open."""
    return Exists(EffectSend.objects.filter(effect__record=OuterRef("record"), outcome__in=EffectSend.OPEN))


def free_dead() -> list[str]:
    """Let go of what processes hold that are provably gone from this host: runs, slots, turns to poll. Their names.

    Leases would free it too, but a killed worker's successor should go on at once, not after minutes.
    """
    holders = (
        Transfer.objects.filter(state="running").order_by().values_list("owner_process"),
        Slot.objects.order_by().values_list("owner_process"),
        FlowState.objects.filter(lease_until__isnull=False).order_by().values_list("lease_process"),
    )
    names = {name for (name,) in holders[0].union(holders[1], holders[2])}
    dead = sorted(name for name in names if name and workers.is_dead(name))
    if dead:
        Slot.objects.filter(owner_process__in=dead).delete()
        FlowState.objects.filter(lease_process__in=dead).update(lease_owner=None, lease_until=None, lease_process="")
        Transfer.objects.filter(state="running", owner_process__in=dead).update(lease_until=clock.at(-1))
    return dead


def claim(job: Job, only: Sequence[int] | None) -> Group:
    """Claim up to a group; which rows are ours is read back by our owner id."""
    open_pauses = pauses.open_pauses(job.integration)
    limit, candidates, probes = _candidates(job, due(job.integration, only), open_pauses)
    group = Group()
    if candidates is None:
        return group
    candidates = candidates.order_by("due_at", "pk")
    if connection.features.has_select_for_update_skip_locked:
        candidates = candidates.select_for_update(skip_locked=True, of=("self",))
    with transaction.atomic():
        found = list(candidates.values_list("pk", "state")[:limit])
        if not found:
            return group
        # The whole condition again: on PostgreSQL several claimers may have read the same candidates.
        due(job.integration, [pk for pk, _ in found]).update(
            state="running",
            owner=job.owner,
            owner_process=workers.process_name(),
            epoch=F("epoch") + 1,
            lease_until=clock.at(settings.ENGINE["LEASE_S"]),
            updated_at=clock.at(),
        )
        mine = Transfer.objects.filter(owner=job.owner, state="running", pk__in=[pk for pk, _ in found])
        group.transfers = list(mine.select_related("record").order_by("due_at", "pk"))
    group.were = dict(found)
    for transfer in group.transfers:
        transfer.integration = job.integration
        if transfer.pk in probes:
            group.probes[transfer.pk] = probes[transfer.pk]
    return group


def _candidates(job: Job, candidates: Any, open_pauses: list[Pause]) -> tuple[int, Any, dict[int, Pause]]:
    """Leave out paused scopes; where one transfer may go first, only that one. None: nothing may run."""
    limit = settings.ENGINE["GROUP"]
    probes: dict[int, Pause] = {}
    now = clock.now() if open_pauses else None
    for found in open_pauses:
        whole = found.scope in ("connection", "integration")
        within = Q() if whole else (Q(site=found.scope_name) if found.scope == "site" else Q(company_code=found.scope_name))
        resting_over = (
            found.kind == Pause.Kind.REST and found.state == "active" and now and found.probe_at and found.probe_at <= now
        )
        if found.state == "probing" or resting_over:
            probe = _probe(found, candidates.filter(within))
            if probe is None:
                if whole:
                    return limit, None, {}
                candidates = candidates.exclude(within)
                continue
            probes[probe] = found
            if whole:
                limit, candidates = 1, candidates.filter(pk=probe)
            else:
                candidates = candidates.filter(~within | Q(pk=probe))
        elif whole:
            return limit, None, {}
        else:
            candidates = candidates.exclude(within)
    return limit, candidates, probes


def _probe(found: Pause, candidates: Any) -> int | None:
    """The one transfer that goes first for a pause; the same for everybody until it is back."""
    if found.probe_transfer is not None:
        if candidates.filter(pk=found.probe_transfer).exists():
            return found.probe_transfer
        # Only one that really runs keeps the others waiting: its integration may be off or paused meanwhile.
        if Transfer.objects.filter(pk=found.probe_transfer, state="running", lease_until__gte=clock.at()).exists():
            return None
        Pause.objects.filter(pk=found.pk, probe_transfer=found.probe_transfer).update(probe_transfer=None)
    # Those that wait come before those in doubt: a look-up that works says nothing about buying.
    chosen: int | None = candidates.order_by("-state", "due_at", "pk").values_list("pk", flat=True).first()
    if chosen is None:
        return None
    won = (
        Pause.objects.filter(pk=found.pk, probe_transfer__isnull=True)
        .exclude(state="ended")
        .update(probe_transfer=chosen, state="probing")
    )
    return chosen if won else None


def memory_of(transfers: Sequence[Transfer]) -> tuple[dict[int, list[EffectSend]], dict[int, dict[tuple[str, str], Step]]]:
    """What earlier attempts left: the newest send of each effect and the writes done, of the present generations."""
    records = {t.record_id: t.record for t in transfers}
    sends: dict[int, dict[tuple[str, str], EffectSend]] = {}
    rows = EffectSend.objects.filter(effect__record__in=records, effect__generation=F("effect__record__generation"))
    for send in rows.select_related("effect").order_by("number"):
        kept = sends.setdefault(send.effect.record_id, {})
        place = (send.effect.kind, send.effect.key)
        # An earlier one that turned up after all counts for more than what was refused since.
        if place not in kept or kept[place].outcome != "done" or send.outcome == "done":
            kept[place] = send
    writes: dict[int, dict[tuple[str, str], Step]] = {}
    fresh = {pk for pk, r in records.items() if r.audit_sequence > 1}
    if fresh:
        steps = Step.objects.filter(record__in=fresh, kind="write", state="done", generation=F("record__generation"))
        for step in steps.order_by("id"):
            writes.setdefault(step.record_id, {})[(step.name, step.key)] = step
    return {pk: list(found.values()) for pk, found in sends.items()}, writes


# -- whose turn it is --------------------------------------------------------------------------------


def record_has_open_send(record: SourceRecord) -> bool:
    """Whether a send of this record has an open outcome."""
    return EffectSend.objects.filter(effect__record=record, outcome__in=EffectSend.OPEN).exists()


def _workable() -> Any:
    """Integrations with due work that are not paused as a whole; of those switched off only what is in doubt counts."""
    something = Transfer.objects.filter(
        Q(state__in=("waiting", "in_doubt"), due_at__lte=clock.at()) | Q(state="running", lease_until__lt=clock.at()),
        integration=OuterRef("pk"),
    )
    in_doubt = something.filter(_open_send())
    blocked = Pause.objects.filter(
        Q(connection=OuterRef("source")) | Q(connection=OuterRef("target")) | Q(integration=OuterRef("pk")),
        scope__in=("connection", "integration"),
        state="active",
    ).filter(Q(kind="configuration") | Q(probe_at__gt=clock.at()))
    return Integration.objects.filter(Q(Exists(something), enabled=True) | Q(Exists(in_doubt), enabled=False), ~Exists(blocked))


def next_due_s(within_s: float) -> float | None:
    """Seconds until the next transfer comes due, if that is within `within_s` (0.0: one is due already)."""
    coming = Transfer.objects.filter(
        state__in=("waiting", "in_doubt"), integration__enabled=True, due_at__gt=clock.at(), due_at__lte=clock.at(within_s)
    )
    found = coming.annotate(db_now=clock.at()).order_by("due_at").values_list("due_at", "db_now").first()
    return max(0.0, (found[0] - found[1]).total_seconds()) if found else None


def idle_processes() -> int:
    """How many more processes could usefully work now: 0 when nobody has due work, or enough are at it already."""
    if not _workable().exists():
        return 0
    busy = Slot.objects.filter(expires_at__gt=clock.at()).values("owner").distinct().count()
    return max(0, int(settings.WORKER_PROCESSES) - busy)


def alone(integration: Integration) -> bool:
    """Whether no other integration has due work that can move."""
    return not _workable().exclude(pk=integration.pk).exists()


def next_integration(but: Collection[int] = ()) -> Integration | None:
    """The integration with due work whose tenant, then itself, was served least recently. Marks it as served.

    `but` names those that have just shown that nothing of theirs can move (a paused site, no free slot).
    """
    found: Integration | None = (
        _workable()
        .exclude(pk__in=but)
        .select_related("source", "target", "tenant")
        .order_by(F("tenant__last_served_at").asc(nulls_first=True), F("last_served_at").asc(nulls_first=True), "pk")
        .first()
    )
    if found is not None:
        type(found.tenant).objects.filter(pk=found.tenant_id).update(last_served_at=clock.at())
        Integration.objects.filter(pk=found.pk).update(last_served_at=clock.at())
    return found


__all__ = [
    "Group",
    "alone",
    "claim",
    "due",
    "free_dead",
    "idle_processes",
    "memory_of",
    "next_due_s",
    "next_integration",
    "record_has_open_send",
    "reserve",
]

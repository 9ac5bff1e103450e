"""The one loop: reserve slots, claim a group, read ahead, run it (ENGINE 4). Task, `sync` and `replay` call the same."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, Sum

from connector import workers
from connector.models import Connection, EffectSend, Exchange, FlowState, Integration, Pause, Slot, SourceRecord, Step, Transfer
from connector.services import backfill, clock, keys, logs, vendors
from connector.services.database import release_connection
from connector.services.engine import outcomes, pauses
from connector.services.engine.recorder import ExchangeBuffer, boottime
from connector.services.engine.run import Job, Prefetched, Run
from connector.services.engine.signals import LeaseLost, RunEnds, StaleRead
from integrations import registry
from integrations.base.drill import boundary
from integrations.base.errors import IntegrationError
from integrations.base.http import recording
from integrations.base.records import Problem

logger = logging.getLogger(__name__)

FlowCode = Callable[[Run, Any, Any], None]
MAX_STALE = 3


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow as the loop needs it: its code, and the one read that is done ahead for a claimed group.

    `operations` makes what it does once only, by kind, from a run and the target's adapter: for look-ups outside the flow.
    """

    name: str
    code: FlowCode
    prefetch: Callable[[Any], Callable[[Sequence[str]], Mapping[str, Any]]] | None = None
    operations: Mapping[str, Callable[[Run, Any], Any]] = field(default_factory=dict)


Flows = Mapping[str, FlowSpec]


@dataclass(slots=True)
class Tally:
    """What one `process` call did, by the state transfers ended in."""

    states: dict[str, int] = field(default_factory=dict)
    more: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, state: str) -> None:
        with self.lock:
            self.states[state] = self.states.get(state, 0) + 1


def process(
    integration: Integration,
    flows: Flows,
    *,
    only: Sequence[int] | None = None,
    buying: bool = True,
    stop: threading.Event | None = None,
    threads: int | None = None,
) -> Tally:
    """Work on what is due of one integration for about 20 s, or until nothing is due.

    `only` limits to these transfers (replay in the foreground). `Tally.more` says that due work is left.
    Raises nothing for faults of single records; database errors propagate.
    """
    tally = Tally()
    problem = keys.problem()
    if problem:
        logger.error("%s %s", problem, keys.REMEDY)
        return tally
    stop = stop or threading.Event()
    until = time.monotonic() + settings.ENGINE["SLICE_S"]
    job = Job(
        integration=integration,
        installation=keys.installation(),
        owner=uuid.uuid4(),
        buying=buying and integration.enabled,
    )
    job.options = flow_options(integration)
    free_dead()
    slots = _reserve(job, threads or settings.WORKER_THREADS)
    if not slots:
        tally.more = due(integration).exists()
        return tally
    heart = _Heart(job)
    line = _Line(job, flows, only, slots, until, stop, tally, heart)
    try:
        if line.fill():
            with ThreadPoolExecutor(max_workers=slots, thread_name_prefix="slot") as pool:
                busy = [pool.submit(line.serve) for _ in range(slots)]
                if not connection.in_atomic_block:
                    release_connection()
                for future in busy:
                    future.result()
        tally.more = line.cut_short and due(integration).exists()
    finally:
        heart.stop()
        line.give_back()
        Slot.objects.filter(owner=job.owner).delete()
    return tally


def flow_options(integration: Integration) -> dict[str, Any]:
    """The integration's options as stored; flows merge their defaults."""
    return dict(integration.options)


# -- slots -------------------------------------------------------------------------------------------


def _reserve(job: Job, threads: int) -> int:
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


def _claim(job: Job, only: Sequence[int] | None) -> Group:
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


class _Heart(threading.Thread):
    """Renews the leases of claimed transfers and of the slots while their calls run."""

    def __init__(self, job: Job) -> None:
        super().__init__(daemon=True, name="heartbeat")
        self.job = job
        self.over = threading.Event()

    def begin(self) -> None:
        """From the first claim on."""
        if not self.is_alive():
            self.start()

    def stop(self) -> None:
        self.over.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        while not self.over.wait(settings.ENGINE["HEARTBEAT_S"]):
            try:
                until = clock.at(settings.ENGINE["LEASE_S"])
                Transfer.objects.filter(owner=self.job.owner, state="running").update(lease_until=until)
                Slot.objects.filter(owner=self.job.owner).update(expires_at=until)
            except Exception:  # the lease says who owns what; a missed beat only shortens it
                logger.exception("heartbeat failed")
            finally:
                connection.close()


# -- running -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Claimed:
    """One claimed transfer with all that its run needs."""

    transfer: Transfer
    was: str
    sends: Collection[EffectSend]
    writes: Mapping[tuple[str, str], Step]
    ahead: Prefetched | None
    probe: Pause | None


class _Line:
    """The line that a process's threads work on. Whoever finds it short claims and reads the next group meanwhile.

    Reading ahead takes a thread's turn, not one more: calls in parallel never exceed the slots. The others go on with
    what stands in the line, so that nobody waits for the last document of a group.
    """

    def __init__(
        self,
        job: Job,
        flows: Flows,
        only: Sequence[int] | None,
        slots: int,
        until: float,
        stop: threading.Event,
        tally: Tally,
        heart: _Heart,
    ) -> None:
        self.job, self.flows, self.only, self.tally, self.heart = job, flows, only, tally, heart
        self.cut_short = False
        self._low, self._until, self._stop = slots, until, stop
        self._claimed: deque[Claimed] = deque()
        self._turn = threading.Condition()
        self._feeding = self._dry = False

    def fill(self) -> bool:
        """The first group, by the caller's thread: False when there is nothing to do, and no thread is needed."""
        self._claimed.extend(self._feed())
        self._dry = self.only is not None
        return bool(self._claimed)

    def serve(self) -> None:
        """What each thread does until the time is over, the line is dry or something failed."""
        close_old_connections()
        try:
            while (claimed := self._next()) is not None:
                self._run(claimed)
        except BaseException:
            with self._turn:
                self._dry = True
                self._turn.notify_all()
            raise
        finally:
            connection.close()

    def give_back(self) -> None:
        """What was claimed and not begun is as it was."""
        self._return({c.transfer.pk: c.was for c in self._claimed})

    def _return(self, were: Mapping[int, str]) -> None:
        for state in ("in_doubt", "waiting"):
            left = [pk for pk, was in were.items() if (was == "in_doubt") == (state == "in_doubt")]
            if left:
                Transfer.objects.filter(pk__in=left, owner=self.job.owner, state="running").update(
                    state=state, owner=None, owner_process="", lease_until=None
                )

    def _over(self) -> bool:
        if time.monotonic() < self._until and not self._stop.is_set() and not self.job.halted.is_set():
            return False
        self.cut_short = True
        return True

    def _next(self) -> Claimed | None:
        while True:
            # Whoever waits here holds no connection: the pool is smaller than the threads are many, and the one that
            # reads ahead needs one. One that has broken goes with it, and does not spoil the next document.
            release_connection()
            with self._turn:
                while True:
                    if self._over():
                        return None
                    if len(self._claimed) < self._low and not self._feeding and not self._dry:
                        self._feeding = True
                        break
                    if self._claimed:
                        return self._claimed.popleft()
                    if not self._feeding:
                        return None
                    self._turn.wait(1.0)
            found: list[Claimed] = []
            try:
                found = self._feed()
            finally:
                with self._turn:
                    self._claimed.extend(found)
                    self._feeding = False
                    self._dry = self._dry or not found or self.only is not None
                    self._turn.notify_all()

    def _feed(self) -> list[Claimed]:
        while not (group := _claim(self.job, self.only)).transfers:
            if self.only is not None or not backfill.feed(self.job.integration):
                return []
        try:
            return self._with_all_it_needs(group)
        except BaseException:
            # Nobody would begin these, and as long as this process lives nobody else could before their lease lapses.
            with suppress(DatabaseError):
                if not connection.in_atomic_block:
                    connection.close()  # it may be what failed
                self._return({t.pk: group.were.get(t.pk, "waiting") for t in group.transfers})
            raise

    def _with_all_it_needs(self, group: Group) -> list[Claimed]:
        boundary("claimed")
        self.heart.begin()
        sends, writes = memory_of(group.transfers)
        ahead = _prefetch(self.job, self.flows, group, sends)
        return [
            Claimed(
                transfer,
                group.were.get(transfer.pk, "waiting"),
                sends.get(transfer.record_id, ()),
                writes.get(transfer.record_id, {}),
                ahead.get(transfer.pk),
                group.probes.get(transfer.pk),
            )
            for transfer in group.transfers
        ]

    def _run(self, claimed: Claimed) -> None:
        run = Run(
            self.job,
            claimed.transfer,
            claimed.transfer.record,
            sends=list(claimed.sends),
            done_writes=dict(claimed.writes),
            prefetched=claimed.ahead,
        )
        transfer = claimed.transfer
        slug = self.job.integration.slug
        with logs.about(integration=slug, flow=transfer.flow, transfer=transfer.pk, correlation=run.correlation_id):
            _attempt(run, self.flows, claimed.probe)
        self.tally.add(claimed.transfer.state)
        if claimed.probe is not None and self.only is None:
            with self._turn:
                self._dry = False  # those that waited for the one that went first may be due now


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


def _prefetch(job: Job, flows: Flows, group: Group, sends: Mapping[int, list[EffectSend]]) -> dict[int, Prefetched]:
    """Read ahead, in one batch per flow, for the transfers that will read; its exchanges are stored once.

    A batch that fails as a whole is no error of any record: each reads for itself.
    """
    made: dict[int, Prefetched] = {}
    for name in {t.flow for t in group.transfers}:
        spec = flows.get(name)
        if spec is None or spec.prefetch is None:
            continue
        reading = [
            t
            for t in group.transfers
            if t.flow == name and not any(s.outcome in ("done", "sent", "unknown", "pending") for s in sends.get(t.record_id, ()))
        ]
        if len(reading) < 2:
            continue
        batch = uuid.uuid4()
        buffer = ExchangeBuffer(job.connections, batch=batch)
        buffer.step = "read"
        at = boottime()
        values: Mapping[str, Any] = {}
        try:
            with recording(buffer):
                values = spec.prefetch(job.adapter(job.source))([t.source_key for t in reading])
        except IntegrationError as error:
            logger.info("reading %s documents ahead failed (%s); each is read alone", len(reading), error.code)
        except Exception:
            logger.exception("reading ahead failed; each document is read alone")
        Exchange.objects.bulk_create(buffer.take())
        for transfer in reading:
            value = values.get(transfer.source_key)
            if value is not None and not isinstance(value, Problem):
                made[transfer.pk] = Prefetched(value, at, batch)
    return made


def _attempt(run: Run, flows: Flows, probe: Pause | None) -> None:
    """One attempt, whatever happens in it; the transfer leaves `running` unless somebody else has it."""
    try:
        try:
            _carry(run, flows)
        except LeaseLost:
            raise
        except RunEnds as end:
            outcomes.ended(run, end)
        except IntegrationError as error:
            outcomes.errored(run, error, probe if probe is not None and probe.kind == Pause.Kind.REST else None)
            if probe is not None:
                _after_probe(run, probe, error)
                return
        except Exception as error:
            outcomes.crashed(run, error)
        else:
            outcomes.finish(run)
            _vendor_answers(run)
        if probe is not None:
            _after_probe(run, probe, None)
    except LeaseLost:
        logger.info("transfer %s is somebody else's now", run.transfer.pk)
    except Exception:
        # Not even the failure could be saved: the lease lapses and somebody tries again.
        logger.exception("transfer %s: its end could not be saved", run.transfer.pk)
        _give_up(run)


def _give_up(run: Run) -> None:
    """What happened cannot be stored (a text that the database refuses): say so without it, or it would go round for ever."""
    try:
        Transfer.objects.filter(pk=run.transfer.pk, epoch=run.transfer.epoch, state="running").update(
            state="in_doubt" if record_has_open_send(run.source_record) else "failed",
            due_at=clock.at(900),
            owner=None,
            owner_process="",
            lease_until=None,
            code="internal_error",
            message="The end of this attempt could not be stored; the log tells why.",
            remedy="Report the number of this transfer.",
            updated_at=clock.at(),
        )
    except Exception:  # the database is away: the lease lapses and somebody tries again
        logger.exception("transfer %s stays claimed until its lease lapses", run.transfer.pk)


def _carry(run: Run, flows: Flows) -> None:
    spec = flows.get(run.transfer.flow)
    if spec is None:
        raise RuntimeError(f"no flow {run.transfer.flow}")
    for _ in range(MAX_STALE):
        try:
            run.calling = run.job.source
            source = run.job.adapter(run.job.source)
            run.calling = run.job.target
            target = run.job.adapter(run.job.target)
            run.calling = None
            spec.code(run, source, target)
            return
        except StaleRead:
            run.restart()
    raise RuntimeError("the document grew stale three times before it could be acted on")


def _vendor_answers(run: Run) -> None:
    """Both ends answered: their row of failures, if there was one, is over."""
    for end in (run.job.source, run.job.target):
        if end.unavailable_in_a_row or end.pk in run.job.flaky:
            run.job.flaky.discard(end.pk)
            end.unavailable_in_a_row = 0
            pauses.answered(end)


def _after_probe(run: Run, probe: Pause, error: IntegrationError | None) -> None:
    """The one that went first is back: did it pass the wall?"""
    now = Pause.objects.filter(pk=probe.pk).first()
    if now is None or now.state == "ended" or now.probe_transfer not in (None, run.transfer.pk):
        return
    if now.state == "active":  # it hit the same wall and paused the scope again
        return
    if probe.kind == Pause.Kind.REST:
        if run.lost or error is not None and type(error).__name__ in ("Unavailable", "NotSent", "OutcomeUnknown"):
            pauses.probe_failed(now)
        else:
            pauses.end(now, f"transfer {run.transfer.pk} passed")
        return
    if error is None and (run.transfer.state == "done" or not probe.step or probe.step in run.passed):
        pauses.end(now, f"transfer {run.transfer.pk} passed")
        return
    if probe.step and probe.step in run.passed:
        pauses.end(now, f"transfer {run.transfer.pk} passed the step that had failed")
        return
    Pause.objects.filter(pk=probe.pk, state="probing").update(probe_transfer=None)


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

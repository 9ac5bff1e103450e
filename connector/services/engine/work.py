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
from django.db import DatabaseError, close_old_connections, connection

from connector.models import Connection, EffectSend, Integration, Pause, Slot, Step, Transfer
from connector.services import audit, backfill, clock, keys, logs, rows
from connector.services.database import release_connection
from connector.services.engine import outcomes, pauses
from connector.services.engine.claiming import (
    Group,
    alone,
    claim,
    due,
    free_dead,
    idle_processes,
    memory_of,
    next_due_s,
    next_integration,
    record_has_open_send,
    reserve,
)
from connector.services.engine.recorder import ExchangeBuffer, boottime
from connector.services.engine.run import Job, Prefetched, Run
from connector.services.engine.signals import LeaseLost, RunEnds, StaleRead
from integrations.base import drill
from integrations.base.drill import boundary
from integrations.base.errors import IntegrationError
from integrations.base.http import recording
from integrations.base.records import Problem

logger = logging.getLogger(__name__)

FlowCode = Callable[[Run, Any, Any], None]
MAX_STALE = 3
LONGEST_SLICES = 6
"""Turns that one process may take in a row while nobody else wants one."""


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow as the loop needs it: its code, and the one read that is done ahead for a claimed group.

    Each of `look_ahead` may ask one end about several documents that were read ahead, in one call: from the job, the
    transfers with their documents, when these were read (`boottime`), and the batch its exchanges belong to. It keeps the
    answers itself, and what it could not learn each run asks for.
    `operations` makes what it does once only, by kind, from a run and the target's adapter: for look-ups outside the flow.
    `another_carrier` tells whether a forwarder on a document belongs to another carrier than the integration's.
    """

    name: str
    code: FlowCode
    prefetch: Callable[[Any], Callable[[Sequence[str]], Mapping[str, Any]]] | None = None
    operations: Mapping[str, Callable[[Run, Any], Any]] = field(default_factory=dict)
    look_ahead: Sequence[Callable[[Job, Sequence[tuple[Transfer, Any]], float, uuid.UUID], None]] = ()
    another_carrier: Callable[[Integration, str], bool] | None = None


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
    ask_for_help: Callable[[], None] | None = None,
    may_go_on: Callable[[], bool] | None = None,
) -> Tally:
    """Work on what is due of one integration for about 20 s, or until nothing is due.

    `only` limits to these transfers (replay in the foreground). `Tally.more` says that due work is left.
    `ask_for_help` is called at the beginning where a whole group was due: there may be more than one process can carry.
    `may_go_on` is asked when the 20 s are over: whether nobody waits for this process. It then goes on, six times as long
    at most, while no other integration has due work and nothing was configured meanwhile: ending a turn and beginning the
    next one leaves all slots empty for a second.
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
        configured=audit.heads(integration.tenant_id) if may_go_on is not None else frozenset(),
    )
    job.options = flow_options(integration)
    free_dead()
    slots = reserve(job, threads or settings.WORKER_THREADS)
    if not slots:
        tally.more = due(integration).exists()
        return tally
    heart = _Heart(job)
    line = _Line(job, flows, only, slots, until, stop, tally, heart, may_go_on)
    try:
        if line.fill():
            if ask_for_help is not None and line.full:
                ask_for_help()
            with ThreadPoolExecutor(max_workers=slots, thread_name_prefix="slot") as pool:
                busy = [pool.submit(line.serve) for _ in range(slots)]
                if not connection.in_atomic_block:
                    release_connection()
                for future in busy:
                    future.result()
        if job.answered:
            Connection.objects.filter(pk__in=job.answered).update(last_good_at=clock.at())
        tally.more = line.cut_short and due(integration).exists()
    finally:
        heart.stop()
        line.give_back()
        Slot.objects.filter(owner=job.owner).delete()
    return tally


def flow_options(integration: Integration) -> dict[str, Any]:
    """The integration's options as stored; flows merge their defaults."""
    return dict(integration.options)


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
        may_go_on: Callable[[], bool] | None,
    ) -> None:
        self.job, self.flows, self.only, self.tally, self.heart = job, flows, only, tally, heart
        self.cut_short = False
        self._low, self._until, self._stop = slots, until, stop
        self._may_go_on, self._longest = may_go_on, until + (LONGEST_SLICES - 1) * settings.ENGINE["SLICE_S"]
        self._claimed: deque[Claimed] = deque()
        self._turn = threading.Condition()
        self._feeding = self._dry = False

    def fill(self) -> bool:
        """The first group, by the caller's thread: False when there is nothing to do, and no thread is needed."""
        self._claimed.extend(self._feed())
        self._dry = self.only is not None
        return bool(self._claimed)

    @property
    def full(self) -> bool:
        """Whether a whole group stands in the line."""
        return bool(len(self._claimed) >= settings.ENGINE["GROUP"])

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
        if not self._stop.is_set() and not self.job.halted.is_set():
            if time.monotonic() < self._until:
                return False
            if not self.cut_short and self._goes_on():
                self._until += settings.ENGINE["SLICE_S"]
                return False
        self.cut_short = True
        return True

    def _goes_on(self) -> bool:
        if self._may_go_on is None or self._until >= self._longest:
            return False
        try:
            return self._may_go_on() and self.job.is_current() and alone(self.job.integration)
        finally:
            release_connection()  # nobody who waits for the line holds one

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
        while not (group := claim(self.job, self.only)).transfers:
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
        drill.at("")
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
        rows.insert(buffer.take())
        got = [(t, v) for t in reading if (v := values.get(t.source_key)) is not None and not isinstance(v, Problem)]
        made |= {transfer.pk: Prefetched(value, at, batch) for transfer, value in got}
        for look in spec.look_ahead if len(got) > 1 else ():
            _look_ahead(job, look, got, at)
    return made


def _look_ahead(job: Job, look: Callable[..., None], got: Sequence[tuple[Transfer, Any]], at: float) -> None:
    """Ask one end about documents read ahead; what goes wrong is no error of any of them."""
    batch = uuid.uuid4()
    buffer = ExchangeBuffer(job.connections, batch=batch)
    buffer.step = "look ahead"
    try:
        with recording(buffer):
            look(job, got, at, batch)
    except IntegrationError as error:
        logger.info("asking about %s documents ahead failed (%s)", len(got), error.code)
    except Exception:
        logger.exception("asking about documents ahead failed; each asks for itself")
    rows.insert(buffer.take())


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
    stale = 0
    while stale < MAX_STALE:
        made = run.made
        try:
            run.calling = run.job.source
            source = run.job.adapter(run.job.source)
            run.calling = run.job.target
            target = run.job.adapter(run.job.target)
            run.calling = None
            spec.code(run, source, target)
            return
        except StaleRead:
            # Many charges one after another take longer than a look holds: what comes forward is not given up.
            stale = 0 if run.made > made else stale + 1
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


__all__ = [
    "FlowSpec",
    "Flows",
    "Tally",
    "due",
    "flow_options",
    "free_dead",
    "idle_processes",
    "memory_of",
    "next_due_s",
    "next_integration",
    "process",
]

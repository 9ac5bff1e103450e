"""Steps of one attempt, how they are remembered, and the one way in which they are saved (ENGINE 1)."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.conf import settings
from django.db import transaction

from connector.models import Connection, EffectSend, Site, SourceRecord, Step, Transfer
from connector.services import audit, clock, rows
from connector.services.engine import codec
from connector.services.engine.job import Job, Prefetched
from connector.services.engine.recorder import ExchangeBuffer, boottime
from connector.services.engine.signals import LeaseLost, StaleRead, Stuck
from connector.services.rows import Moment
from integrations.base import drill
from integrations.base.drill import boundary
from integrations.base.errors import Rejected
from integrations.base.http import recording
from integrations.base.records import Problem

T = TypeVar("T")

_STEP_PLACE = ("transfer_id", "name", "key", "generation")
_STEP_CONTENT = (
    *("kind", "state", "position", "attempt", "fingerprint", "result", "schema"),
    *("note", "error", "batch", "started_at", "ended_at"),
)
_TIMELESS = frozenset({"version", "base", "ours", "overwrite"})


class Steps(ExchangeBuffer):
    """One attempt. Steps are remembered on the transfer; a run may be repeated at any time.

    `effects` and `done_writes` are what earlier attempts left for this record's generation.
    """

    def __init__(
        self,
        job: Job,
        transfer: Transfer,
        record: SourceRecord,
        *,
        sends: Sequence[EffectSend] = (),
        done_writes: Mapping[tuple[str, str], Step] | None = None,
        prefetched: Prefetched | None = None,
    ) -> None:
        super().__init__(job.connections, transfer=transfer)
        self.job = job
        self.transfer: Transfer = transfer
        self.source_record: SourceRecord = record
        self.options = job.options
        self.passed: set[str] = set()
        self.document_version: str | None = None
        self.attention = ""
        self.lost = False
        self.finishers: list[Callable[[], None]] = []
        self.calling: Connection | None = None
        self._sends = {(s.effect.kind, s.effect.key): s for s in sends}
        self._done_writes = dict(done_writes or {})
        self._prefetched = prefetched
        self._steps: dict[tuple[str, str], Step] = {}
        self._digests: list[str] = []
        self._told: set[str] = set()
        self._owes_commit = False
        self._drafts: list[audit.Draft] = []
        self._position = 0
        self._read_at = 0.0
        self._document_at = 0.0
        self._guarded = False
        self._send: EffectSend | None = None
        self._looked_first: set[tuple[str, str]] = set()
        self._send_deadline = 0.0

    def restart(self) -> None:
        """Begin again from the first read, in the same attempt."""
        self._steps.clear()
        self._drafts.clear()
        self._position = 0
        self._guarded = False
        self._prefetched = None
        self._document_at = 0.0

    # -- what flows ask ------------------------------------------------------------------------------

    @property
    def source_key(self) -> str:
        return self.transfer.source_key

    @property
    def in_doubt(self) -> bool:
        """Whether a send's outcome is unknown."""
        return any(s.outcome in (EffectSend.Outcome.SENT, EffectSend.Outcome.UNKNOWN) for s in self._sends.values())

    @property
    def made(self) -> int:
        """How many once-only steps of this record's generation are done."""
        return sum(s.outcome == EffectSend.Outcome.DONE for s in self._sends.values())

    def setting(self, connection: Connection, name: str) -> Any:
        """A connection's setting, defaults included."""
        return self.job.merged_settings(connection).get(name)

    def site(self) -> Site | None:
        """The operator's row of this record's site (asked once per `process` call and site)."""
        return self.job.site(self.source_record.company_code, self.source_record.site)

    def today(self, zone: str) -> dt.date:
        """The date in a time zone, now."""
        return clock.local_now().astimezone(zoneinfo.ZoneInfo(zone)).date()

    def note(self, act: str, **facts: Any) -> None:
        """A statement for the record's history, saved with the next commit."""
        self._drafts.append(audit.Draft(act, facts, obj=self.transfer))

    # -- steps ---------------------------------------------------------------------------------------

    def read(
        self,
        name: str,
        many: Callable[[Sequence[str]], Mapping[str, Any]],
        *items: str,
        beside: bool = False,
        after: bool = False,
    ) -> Any:
        """Read afresh; a group's prefetched value counts while it is fresh. Raises what the vendor raised.

        `beside`: something that belongs to the document read before; that one's version and age stay what counts.
        `after`: what the next once-only step rests on; its age counts from now on, the document's version stays.
        """
        keys = items or (self.source_key,)
        step = self._begin(name, "", Step.Kind.READ)
        ahead = None if beside or after else self._prefetched
        if ahead is not None and boottime() - ahead.at < settings.ENGINE["FRESH_S"]:
            value, self._read_at, step.batch = ahead.value, ahead.at, ahead.batch
        else:
            if not beside:
                self._read_at = boottime()
            with self._call(many):
                value = many(keys).get(keys[0])
            if isinstance(value, Prefetched):  # a call made for several documents told it
                if not beside:
                    self._read_at = value.at
                value, step.batch = value.value, value.batch
        self._prefetched = None
        if value is None:
            value = Problem(
                Rejected("The document was not in the answer.", code="document_gone", remedy="Look it up in the ERP.")
            )
        if isinstance(value, Problem):
            raise value.error
        boundary("read")
        self._end(step, codec.encode(value))
        if after:
            self._guarded = False
        if not beside and not after:
            self.document_version = getattr(value, "version", None)
            self._document_at = self._read_at
        return value

    def taken_ahead(self, name: str) -> Prefetched | None:
        """What was asked ahead for this step of this transfer, once, while it is young enough to act on."""
        found = self.job.ahead.pop((name, self.transfer.pk), None)
        return found if found is not None and boottime() - found.at < settings.ENGINE["FRESH_S"] else None

    def of_document(self, value: Any) -> Any:
        """A value told by the document that this attempt has read: as old as that."""
        return Prefetched(value, self._document_at, None)

    @property
    def document_is_young(self) -> bool:
        """Whether the document that this attempt has read is young enough to act on."""
        return bool(self._document_at) and boottime() - self._document_at < settings.ENGINE["FRESH_S"]

    def map(self, name: str, make: Callable[..., T], *args: Any) -> T:
        """A pure step: mappings, value maps, rounding. Raises Rejected or a signal."""
        step = self._begin(name, "", Step.Kind.MAP)
        value = make(self, *args)
        self._end(step, codec.encode(value))
        return value

    def guard(self, check: Callable[..., None], *args: Any, name: str = "last look") -> None:
        """The last look before a send, on the fresh read. `check` raises Cancelled, Skipped or Rejected."""
        step = self._begin(name, "", Step.Kind.GUARD)
        if boottime() - self._read_at > settings.ENGINE["FRESH_S"]:
            raise StaleRead
        check(self, *args)
        self._guarded = True
        boundary("guarded")
        self._end(step, None)

    def write(self, name: str, do: Callable[..., T], *args: Any, key: str = "", again: bool = False) -> T | None:
        """A repeatable write. Skipped (None) when the same thing was written before; its result otherwise.

        `again`: a person has seen that it does not stand there any more, so what was written before does not count.
        Committed before the next step begins, or together with the end of the run when it was the last one:
        killed in between, it is compared and found written.
        """
        step = self._begin(name, key, Step.Kind.WRITE)
        mark = fingerprint(args)
        before = self._done_writes.get((name, key))
        if before is not None and before.fingerprint == mark and not again:
            if before.transfer_id != self.transfer.pk:
                step.fingerprint = mark
                self._end(step, before.result, state=Step.State.SKIPPED, note="written before")
            else:
                self._steps.pop((name, key))
            self.passed.add(name)
            return None
        with self._call(do):
            value = do(*args)
        step.fingerprint = mark
        self._end(step, codec.encode(value))
        exchanges = self._digests + [row.digest for row in self.waiting]
        told = {"step": name, "key": key, "result": codec.encode(value), "exchanges": exchanges}
        self._drafts.append(audit.Draft("written", told, obj=self.transfer))
        self._digests.clear()
        self._told.update(exchanges)
        self._owes_commit = True
        return value

    def skip_step(self, name: str, kind: Step.Kind, reason: str, key: str = "") -> None:
        """A step that is switched off or decided away; saved with the reason."""
        self._end(self._begin(name, key, kind), None, state=Step.State.SKIPPED, note=reason)

    # -- saving --------------------------------------------------------------------------------------

    def _begin(self, name: str, key: str, kind: Step.Kind) -> Step:
        if self._owes_commit:
            self.commit()
            boundary("write_committed")
        self.step = name
        drill.at(name)
        boundary("begun")
        step = self._steps.get((name, key))
        if step is None:
            self._position += 1
            step = Step(
                tenant_id=self.transfer.tenant_id,
                transfer=self.transfer,
                record=self.source_record,
                generation=self.source_record.generation,
                name=name,
                key=key,
                kind=kind,
                state=Step.State.OPEN,
                position=self._position,
                attempt=self.transfer.epoch,
                started_at=clock.local_now(),
                schema=codec.SCHEMA,
            )
            self._steps[(name, key)] = step
        return step

    def _end(
        self, step: Step, result: Any, *, state: Step.State = Step.State.DONE, note: str = "", error: dict[str, Any] | None = None
    ) -> None:
        step.state, step.result, step.note, step.error = state, result, note, error
        step.ended_at = clock.local_now()
        self._steps[(step.name, step.key)] = step
        if state in (Step.State.DONE, Step.State.SKIPPED):
            self.passed.add(step.name)

    def fail_step(self, error: dict[str, Any]) -> None:
        """The step under way failed; saved with the transfer's new state."""
        for step in self._steps.values():
            if step.name == self.step and step.state == Step.State.OPEN:
                self._end(step, None, state=Step.State.FAILED, error=error)

    def commit(self, *drafts: audit.Draft, also: Sequence[Callable[[], None]] = ()) -> None:
        """Save steps, exchanges and audit in one commit, if the lease is still ours. Raises LeaseLost.

        `also` is done in the same commit: what must be kept before the flow goes on.
        """
        wrote = self._owes_commit and bool(also)
        boundary("saving")
        with transaction.atomic():
            self.check_lease()
            self._save(*drafts)
            for more in also:
                more()
        if wrote:
            boundary("write_committed")

    def check_lease(self) -> None:
        """Raises LeaseLost unless this transfer is still ours."""
        mine = {"pk": self.transfer.pk, "epoch": self.transfer.epoch, "state": "running"}
        if not rows.update(Transfer, mine, {"updated_at": Moment()}):
            raise LeaseLost

    def flush(self, *drafts: audit.Draft, **record_changes: Any) -> None:
        """What waits, inside the caller's transaction (the end of a run)."""
        self._save(*drafts, **record_changes)

    @property
    def owes_commit(self) -> bool:
        """Whether a write waits to be committed with what comes next."""
        return self._owes_commit

    def _save(self, *drafts: audit.Draft, **record_changes: Any) -> None:
        exchanges = rows.insert(self.take())
        self.job.answered_by(exchanges)
        self._digests += [e.digest for e in exchanges if e.digest not in self._told]
        self._owes_commit = False
        rows.upsert(self._steps.values(), _STEP_PLACE, _STEP_CONTENT)
        told = [*self._drafts, *drafts]
        if told and self._digests:
            told[-1].facts["exchanges"] = list(self._digests)
        if told or record_changes:
            audit.append_to_record(self.source_record, told, **record_changes)
        if told:
            self._digests.clear()
        self._drafts.clear()
        self._steps.clear()

    # -- small ---------------------------------------------------------------------------------------

    def _decode(self, data: Any, cls: type[T], schema: int) -> T:
        try:
            return codec.decode(data, cls, schema)
        except codec.Undecodable as error:
            raise Stuck(
                f"A saved result cannot be read by this release ({error}).",
                "saved_result_unreadable",
                "Nothing is repeated. Look the number up at the carrier and decide by hand.",
            ) from error

    def _call(self, target: Any) -> Any:
        """Context of a vendor call: exchanges come here, and errors know whose they are."""
        adapter = getattr(target, "adapter", None) or getattr(target, "__self__", None)
        adapter = getattr(adapter, "adapter", adapter)
        self.calling = self._connection_of(adapter)
        return recording(self)

    def _connection_of(self, adapter: Any) -> Connection | None:
        for end in (self.job.source, self.job.target):
            if self.job.adapter(end) is adapter:
                return end
        return None


def fingerprint(args: Sequence[Any]) -> str:
    """SHA-256 over what is written, without versions, bytes and times: the same content gives the same mark."""
    return audit.digest([_plain(codec.encode(a), a) for a in args])


def _plain(data: Any, value: Any) -> Any:
    if isinstance(value, bytes | dt.datetime):
        return None
    if isinstance(data, dict):
        fields = getattr(type(value), "__dataclass_fields__", {})
        return {k: _plain(v, getattr(value, k, v) if k in fields else v) for k, v in data.items() if k not in _TIMELESS}
    return data


__all__ = ["Steps", "fingerprint"]

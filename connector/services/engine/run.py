"""One attempt at one transfer: what a flow's straight-line code speaks to (ENGINE 1 and 2)."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Exists, QuerySet

from connector.models import (
    Connection,
    Effect,
    EffectSend,
    Exchange,
    Installation,
    Integration,
    Site,
    SourceRecord,
    Step,
    Transfer,
)
from connector.services import audit, clock, vendors
from connector.services.engine import codec, pauses
from connector.services.engine.effects import Operation, next_look_s, reference_of
from connector.services.engine.recorder import ExchangeBuffer, boottime
from connector.services.engine.signals import AskAgain, Held, InDoubt, LeaseLost, NeedsApproval, StaleRead, Stuck
from integrations import registry
from integrations.base.context import Company, ExchangeRecord
from integrations.base.drill import boundary
from integrations.base.errors import (
    ConfigurationError,
    IntegrationError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.base.http import recording
from integrations.base.records import Pending, Problem
from integrations.base.roles import SendTicket

logger = logging.getLogger(__name__)
T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

ANSWER_PATIENCE_S = 60.0
PENDING_PATIENCE_S = 3600.0
WATCH_AFTER_S = 3600.0
"""What counts as not made is looked up again after this, then ever more rarely, for seven days."""
_TIMELESS = frozenset({"version", "base", "ours", "overwrite"})


@dataclass(slots=True)
class Prefetched:
    """A value read ahead for a claimed group: when (boot time), and in which batch its exchanges are stored."""

    value: Any
    at: float
    batch: uuid.UUID


@dataclass(slots=True)
class Job:
    """What all runs of one `process` call share: the integration, its ends, adapters per thread, who we are."""

    integration: Integration
    installation: Installation
    owner: uuid.UUID
    buying: bool = True
    companies: tuple[Company, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    flaky: set[int] = field(default_factory=set)
    halted: threading.Event = field(default_factory=threading.Event)
    """A whole connection or the integration has just been paused: what is claimed but not begun goes back."""
    _local: threading.local = field(default_factory=threading.local)
    _sites: dict[tuple[str, str], Site | None] = field(default_factory=dict)

    @property
    def source(self) -> Connection:
        return self.integration.source

    @property
    def target(self) -> Connection:
        return self.integration.target

    @property
    def connections(self) -> dict[str, Connection]:
        """Both ends by slug."""
        return {self.source.slug: self.source, self.target.slug: self.target}

    def adapter(self, connection: Connection) -> Any:
        """This thread's adapter for a connection. Raises ConfigurationError."""
        made: dict[int, Any] = self._local.__dict__.setdefault("adapters", {})
        if connection.pk not in made:
            made[connection.pk] = vendors.open_adapter(connection)
        return made[connection.pk]

    def site(self, company_code: str, code: str) -> Site | None:
        """The operator's row of a site of the source, with its company code."""
        key = (company_code, code)
        if key not in self._sites:
            found = Site.objects.filter(company_code__connection=self.source, company_code__code=company_code, code=code)
            self._sites[key] = found.select_related("company_code").first()
        return self._sites[key]

    def merged_settings(self, connection: Connection) -> dict[str, Any]:
        """The connection's settings over its vendor's defaults."""
        return vendors.merge(registry.get(connection.vendor).settings_defaults, connection.settings)


class Run(ExchangeBuffer):
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

    # -- what flows ask ------------------------------------------------------------------------------

    @property
    def source_key(self) -> str:
        return self.transfer.source_key

    @property
    def in_doubt(self) -> bool:
        """Whether a send's outcome is unknown."""
        return any(s.outcome in (EffectSend.Outcome.SENT, EffectSend.Outcome.UNKNOWN) for s in self._sends.values())

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
        return value

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

    def write(self, name: str, do: Callable[..., T], *args: Any, key: str = "") -> T | None:
        """A repeatable write. Skipped (None) when the same thing was written before; its result otherwise.

        Committed before the next step begins, or together with the end of the run when it was the last one:
        killed in between, it is compared and found written.
        """
        step = self._begin(name, key, Step.Kind.WRITE)
        mark = fingerprint(args)
        before = self._done_writes.get((name, key))
        if before is not None and before.fingerprint == mark:
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

    def settled(self, name: str, operation: Operation[P, R], key: str = "") -> R | None:
        """What became of earlier sends: the result if done, None if nothing stands in the way of a (new) send.

        Settles a lost answer by its committed raw answer or a look-up. Raises InDoubt, AskAgain, Stuck.
        """
        send = self._sends.get((operation.kind, key))
        if send is None:
            return self._look_first(name, operation, key)
        if send.outcome == EffectSend.Outcome.DONE:
            self.passed.add(name)
            return self._decode(send.result, operation.result_type, send.schema)
        if send.outcome in (EffectSend.Outcome.REFUSED, EffectSend.Outcome.ABSENT):
            # A restored row may be older than what became of it.
            return self._look_first(name, operation, key)
        step = self._begin(name, key, Step.Kind.ONCE)
        payload = self._decode(send.context, operation.payload_type, send.schema) if send.context else None
        decision = self.transfer.decision or {}
        stated = decision.get("made")
        # Said of one request; a later one is another matter.
        if stated and decision.get("reference", send.reference) == send.reference:
            return self._take_statement(step, operation, send, payload, stated)
        if payload is None:  # a send taken over after a restore: only its look-up is possible
            return self._look(step, operation, send, payload)
        if send.answer and send.outcome == EffectSend.Outcome.SENT:
            return self._finish_send(
                step, operation, send, payload, lambda: operation.parse(send.answer, send.answer_status, payload)
            )
        if send.outcome == EffectSend.Outcome.PENDING:
            try:
                with self._call(operation):
                    return self._finish_send(step, operation, send, payload, lambda: operation.ask(send.ticket, payload))
            except AskAgain:
                if clock.now() <= send.deadline_at + dt.timedelta(seconds=PENDING_PATIENCE_S):
                    raise
            except InDoubt:
                # The vendor cannot tell what became of the job: the look-up may. The job is asked again next time.
                send.outcome = EffectSend.Outcome.PENDING
            # A job that never ends must not be asked for in silence for ever: it is in doubt, with its look-ups and buttons.
        return self._look(step, operation, send, payload)

    def once(self, name: str, operation: Operation[P, R], payload: P, key: str = "", *, buys: bool = False) -> R:
        """Do what must not be done twice, or return its result. The guard must have looked in this attempt."""
        before = self.settled(name, operation, key)
        if before is not None:
            return before
        if not self._guarded:
            raise RuntimeError(f"{name}: the guard has not looked in this attempt")
        if boottime() - self._read_at > settings.ENGINE["FRESH_S"]:
            raise StaleRead
        step = self._begin(name, key, Step.Kind.ONCE)
        if buys and not self.job.buying:
            self._raise_brake()
            raise Held("Nothing is bought in this run.", "not_buying")
        with self._call(operation):
            operation.prepare()
        send, body = self._intend(step, operation, payload, key, buys=buys)
        boundary("intent_committed")
        ticket = SendTicket(send.reference, send.number, self._total_s(operation.connection))
        self._send = send
        with self._call(operation):
            return self._finish_send(step, operation, send, payload, lambda: operation.send(body, payload, ticket))

    # -- the once-only send --------------------------------------------------------------------------

    def _total_s(self, connection: Connection) -> float:
        return vendors.timeouts_of(registry.get(connection.vendor), connection.settings).total_s

    def _intend(
        self, step: Step, operation: Operation[P, R], payload: P, key: str, *, buys: bool
    ) -> tuple[EffectSend, dict[str, Any]]:
        """Commit 1: the intent, in the transaction that proves our lease outlives the deadline and no brake is on."""
        total_s = self._total_s(operation.connection)
        old = self._sends.get((operation.kind, key))
        again = old is not None and old.outcome == EffectSend.Outcome.REFUSED
        number = 1 if old is None else old.number + (0 if again else 1)
        reference = self._reference(operation.kind, key, self.source_record.generation, number)
        body = operation.describe(payload, reference)
        self._send_deadline = boottime() + total_s
        try:
            with transaction.atomic():
                self._claim_still_mine(total_s, buys=buys)
                facts = {"step": step.name, "reference": reference, "number": number, "generation": self.source_record.generation}
                values = {
                    "transfer": self.transfer,
                    "request": body,
                    "context": codec.encode(payload),
                    "epoch": self.transfer.epoch,
                    "sent_at": clock.at(),
                    "deadline_at": clock.at(total_s),
                    "schema": codec.SCHEMA,
                }
                if again and old is not None:
                    fresh = {
                        "reference": reference,  # another integration's, where its attempt was taken over
                        "outcome": "sent",
                        "outcome_at": None,
                        "answer": "",
                        "answer_status": None,
                        "answered_at": None,
                        "result": None,
                    }
                    # The transfer, too: another integration may have taken this refused attempt over meanwhile.
                    refused = EffectSend.objects.filter(pk=old.pk, outcome="refused", transfer_id=old.transfer_id)
                    if not refused.update(**values, **fresh):
                        raise LeaseLost
                    for name, value in (values | fresh).items():
                        if name not in ("sent_at", "deadline_at"):
                            setattr(old, name, value)
                    send = old
                else:
                    effect = old.effect if old is not None else self._effect(operation, key, buys=buys)
                    send = EffectSend.objects.create(
                        tenant_id=self.transfer.tenant_id,
                        effect=effect,
                        connection=operation.connection,
                        number=number,
                        reference=reference,
                        **values,
                    )
                self._save(audit.Draft("intent", facts, obj=self.transfer))
        except IntegrityError as error:
            if self._take_over_refused(operation, key):
                raise AskAgain("Another integration's refused attempt was taken over.", "taken_over", in_s=0.0) from error
            raise self._already_bought(operation, error) from error
        self._sends[(operation.kind, key)] = send
        return send, body

    def _effect(self, operation: Operation[Any, Any], key: str, *, buys: bool) -> Effect:
        return Effect.objects.create(
            tenant_id=self.transfer.tenant_id,
            record=self.source_record,
            transfer=self.transfer,
            kind=operation.kind,
            key=key,
            generation=self.source_record.generation,
            buys=buys,
            source_connection=self.job.source,
            document_key=self.source_record.source_key,
            created_at=clock.at(),
        )

    def _take_over_refused(self, operation: Operation[Any, Any], key: str) -> bool:
        """Make another integration's effect for this document ours, if every request of it was proven not to be done.

        Its sends are locked and change hands with it, so that the other one cannot send under it any more.
        """
        with transaction.atomic():
            effect = (
                Effect.objects.select_for_update()
                .filter(
                    source_connection=self.job.source,
                    document_key=self.source_record.source_key,
                    kind=operation.kind,
                    key=key,
                    generation=self.source_record.generation,
                )
                .exclude(record=self.source_record)
                .first()
            )
            if effect is None:
                return False
            sends = list(EffectSend.objects.select_for_update().filter(effect=effect))
            if not sends or any(s.outcome not in (EffectSend.Outcome.REFUSED, EffectSend.Outcome.ABSENT) for s in sends):
                return False
            EffectSend.objects.filter(effect=effect).update(transfer=self.transfer)
            Effect.objects.filter(pk=effect.pk).update(record=self.source_record, transfer=self.transfer)
            self._save(audit.Draft("taken_over", {"step": self.step, "from_record": effect.record_id}, obj=self.transfer))
        return True

    def _already_bought(self, operation: Operation[Any, Any], error: IntegrityError) -> Exception:
        other = (
            Effect.objects.filter(
                source_connection=self.job.source,
                document_key=self.source_record.source_key,
                kind=operation.kind,
                generation=self.source_record.generation,
            )
            .exclude(record=self.source_record)
            .select_related("record__integration")
            .first()
        )
        if other is None:
            return error
        return Rejected(
            f"The integration “{other.record.integration.name}” has already bought for this document.",
            code="bought_by_other_integration",
            remedy="Switch one of the two integrations off for these documents, or cancel this transfer.",
        )

    def _reference(self, kind: str, key: str, generation: int, number: int) -> str:
        told = f"{kind}/{key}" if key else kind
        return reference_of(
            self.job.installation.uid, self.job.integration.slug, self.source_record.source_key, told, generation, number
        )

    def references(self, kind: str, key: str) -> tuple[str, ...]:
        """Under which references a once-only step of this generation may have been sent, whatever this database knows."""
        return tuple(self._reference(kind, key, self.source_record.generation, number) for number in (1, 2, 3))

    def _claim_still_mine(self, total_s: float, *, buys: bool) -> None:
        """Our lease outlives the deadline, and (for purchases) no brake is on; one statement, else say which."""
        mine = Transfer.objects.filter(
            pk=self.transfer.pk,
            epoch=self.transfer.epoch,
            state=Transfer.State.RUNNING,
            lease_until__gt=clock.at(total_s + settings.ENGINE["MARGIN_S"]),
        )
        if buys:
            braked = Installation.objects.filter(stop_buying=True)
            mine = mine.filter(
                ~Exists(braked), integration__stop_buying=False, integration__tenant__stop_buying=False, integration__enabled=True
            )
        if buys:
            self._check_ceiling()
        if mine.update(updated_at=clock.at()):
            return
        if buys:
            self._raise_brake()
        raise LeaseLost

    def _check_ceiling(self) -> None:
        """Raises NeedsApproval above the purchases per hour that the integration allows (inside the intent's transaction).

        The integration's row is locked while its purchases are counted: two workers must not both be the last
        one that is allowed. Only integrations with a ceiling pay for this.
        """
        ceiling = self.options.get("max_purchases_per_hour")
        if ceiling is None or (self.transfer.decision or {}).get("approved"):
            return
        Integration.objects.select_for_update(no_key=True).get(pk=self.job.integration.pk)
        bought = EffectSend.objects.filter(
            connection=self.job.target,
            sent_at__gt=clock.at(-3600),
            effect__buys=True,
            transfer__integration=self.job.integration,
        ).exclude(outcome__in=(EffectSend.Outcome.REFUSED, EffectSend.Outcome.ABSENT))
        if bought.count() >= ceiling:
            raise NeedsApproval(
                f"{ceiling} purchases were made within the last hour; more need a person's word.",
                "purchases_per_hour",
                "If this many is right, press Approve. The ceiling stands in the integration's options.",
            )

    def braked(self) -> bool:
        """Whether a brake holds purchases of this integration now."""
        if not self.job.buying:
            return True
        try:
            self._raise_brake()
        except Held:
            return True
        return False

    def _raise_brake(self) -> None:
        integration = Integration.objects.select_related("tenant").get(pk=self.job.integration.pk)
        if not integration.enabled:
            raise Held("The integration is switched off.", "switched_off", "Switch it on to go on.")
        for level, stopped, reason in (
            ("this installation", *Installation.objects.values_list("stop_buying", "stop_buying_reason").get(pk=1)),
            (f"{integration.tenant}", integration.tenant.stop_buying, integration.tenant.stop_buying_reason),
            (f"{integration}", integration.stop_buying, integration.stop_buying_reason),
        ):
            if stopped:
                told = f": {reason}" if reason else ""
                raise Held(
                    f"Buying is stopped for {level}{told}.", "stop_buying", "It goes on by itself when buying is allowed again."
                )

    def may_send(self, ticket: SendTicket) -> None:
        """After TLS, before the first byte: a process that was frozen since the intent must not send late."""
        if self._send is None or ticket.reference != self._send.reference:
            raise NotSent("a once-only send outside its step", code="no_run")
        if boottime() > self._send_deadline:
            raise NotSent("The time for this request had passed before it could be sent.", code="deadline_passed")

    def answer_received(self, ticket: SendTicket, exchange: ExchangeRecord, raw: str, status: int) -> None:
        """Commit 2: the raw answer, before anything is made of it. With or without a lease."""
        send = self._send
        if send is None:
            raise RuntimeError("an answer outside a once-only send")
        row = self.row(exchange)
        send.answer, send.answer_status = raw.replace("\x00", "\\x00"), status
        until = boottime() + ANSWER_PATIENCE_S
        while True:
            try:
                with transaction.atomic():
                    EffectSend.objects.filter(pk=send.pk, number=send.number).update(
                        answer=send.answer, answer_status=status, answered_at=clock.at()
                    )
                    Exchange.objects.bulk_create([row])
                break
            except (OperationalError, InterfaceError):
                # Only this process has the label: a database that is away for a moment must not lose it.
                if boottime() > until:
                    raise
                connection.close()
                time.sleep(0.5)
        self._digests.append(row.digest)
        boundary("answer_committed")

    def _finish_send(
        self, step: Step, operation: Operation[P, R], send: EffectSend, payload: P, get: Callable[[], R | Pending]
    ) -> R:
        """Turn an answer, or the lack of one, into an outcome, and commit it (commit 3)."""
        try:
            result = get()
        except (RateLimited, ConfigurationError, Rejected, NotSent) as error:
            # While a result is pending only the vendor's own "no" ends it; not reaching the vendor says nothing.
            if send.outcome != EffectSend.Outcome.PENDING or isinstance(error, Rejected):
                self._refused(step, send, error)
            raise
        except OutcomeUnknown as error:
            self._unknown(step, operation, send, error)
        except Unavailable as error:
            if send.outcome == EffectSend.Outcome.PENDING:
                raise
            self._unknown(step, operation, send, error)
        except IntegrationError as error:
            self._unknown(step, operation, send, error)
        except Exception as error:
            # An answer that we fail to read may still have bought something: never lost, never "not done".
            logger.exception("transfer %s: the answer to %s could not be read", self.transfer.pk, send.reference)
            self._unknown(
                step,
                operation,
                send,
                OutcomeUnknown(f"The answer could not be read ({type(error).__name__}).", code="unreadable_answer"),
            )
        else:
            if isinstance(result, Pending):
                self._pending(step, send, result)
            else:
                self._done(step, operation, send, payload, result, act=operation.act)
                return operation.remember(result)
        raise AssertionError("unreachable")

    @staticmethod
    def _same_request(send: EffectSend) -> QuerySet[EffectSend]:
        """The send's row, unless it has taken another request since: whoever wakes up late must not speak for that one."""
        return EffectSend.objects.filter(pk=send.pk, transfer_id=send.transfer_id, epoch=send.epoch)

    def _refused(self, step: Step, send: EffectSend, error: IntegrationError) -> None:
        """Proven: it was not done. The same row may take a request built afresh."""
        told = error.as_dict()
        with transaction.atomic():
            self._same_request(send).filter(outcome__in=EffectSend.OPEN).update(
                outcome="refused", outcome_at=clock.at(), result={"error": told}
            )
            self._end(step, None, state=Step.State.FAILED, error=told)
            self._save(
                audit.Draft("refused", {"step": step.name, "reference": send.reference, "code": error.code}, obj=self.transfer)
            )
        send.outcome = EffectSend.Outcome.REFUSED
        boundary("outcome_committed")

    def _unknown(self, step: Step, operation: Operation[Any, Any], send: EffectSend, error: IntegrationError) -> None:
        """In doubt from now on. Always raises InDoubt."""
        told = error.as_dict()
        with transaction.atomic():
            self._same_request(send).filter(outcome="sent").update(
                outcome="unknown", outcome_at=clock.at(), unknown_since=clock.at(), last_look={"error": told}
            )
            self._end(step, None, state=Step.State.OPEN, error=told)
            self._save(
                audit.Draft("in_doubt", {"step": step.name, "reference": send.reference, "code": error.code}, obj=self.transfer)
            )
        send.outcome = EffectSend.Outcome.UNKNOWN
        if self._send is send and error.code != "unreadable_answer":
            # A vendor that loses our answers would put everything that waits in doubt, one by one: let it rest.
            self.lost = True
            self.job.flaky.add(operation.connection.pk)
            if pauses.count_unavailable(operation.connection, self.transfer.pk, self.transfer.tenant_id):
                self.job.halted.set()
        boundary("outcome_committed")
        waits = self._in_doubt(operation.connection).look_up_after_s
        raise InDoubt(
            f"The answer to the request {send.reference} was lost: {error.message}",
            "in_doubt",
            f"It is looked up under {send.reference} by itself; nothing is sent again.",
            look_in_s=next_look_s(waits, 0, 0.0),
        )

    def _in_doubt(self, connection: Connection) -> Any:
        return vendors.in_doubt_of(registry.get(connection.vendor), connection.settings)

    def _pending(self, step: Step, send: EffectSend, result: Pending) -> None:
        with transaction.atomic():
            self._same_request(send).filter(outcome__in=EffectSend.OPEN).update(
                outcome="pending", outcome_at=clock.at(), ticket=result.ticket, answer=""
            )
            self._end(step, None, state=Step.State.OPEN, note="accepted, result to come")
            self._save(
                audit.Draft(
                    "pending", {"step": step.name, "reference": send.reference, "ticket": result.ticket}, obj=self.transfer
                )
            )
        send.outcome = EffectSend.Outcome.PENDING
        raise AskAgain("Accepted by the vendor; the result is asked for.", "pending", in_s=result.ask_after_s)

    def _done(
        self, step: Step, operation: Operation[P, R], send: EffectSend, payload: P | None, result: R, *, act: str, **facts: Any
    ) -> None:
        """Commit 3: outcome, shipment, packages, labels, references, step and audit together. Needs no lease."""
        for clash in (False, True):
            saved = (dict(self._steps), list(self._drafts), list(self.waiting), list(self._digests))
            try:
                with transaction.atomic():
                    self._done_once(step, operation, send, payload, result, act, facts, clash=clash)
                break
            except IntegrityError:
                if clash:
                    raise
                self._steps, self._drafts, self.waiting, self._digests = saved
        send.outcome = EffectSend.Outcome.DONE
        boundary("outcome_committed")

    def _done_once(
        self,
        step: Step,
        operation: Operation[P, R],
        send: EffectSend,
        payload: P | None,
        result: R,
        act: str,
        facts: dict[str, Any],
        *,
        clash: bool,
    ) -> None:
        kept = codec.encode(operation.remember(result))
        values = {"outcome": "done", "outcome_at": clock.at(), "result": kept, "schema": codec.SCHEMA}
        if not clash:  # a clash stores no label: its bytes stay in the answer
            values["answer"] = ""
        hit = EffectSend.objects.filter(pk=send.pk, outcome__in=EffectSend.OPEN).update(**values)
        if not hit:
            self._late(operation, send, payload, result, values, clash=clash)
            return
        stored = operation.store(self.transfer, self.source_record, send, payload, result, clash=clash)
        if stored.attention:
            # Now, and not at the end of the run: another run may finish what this one bought.
            Transfer.objects.filter(pk=self.transfer.pk).update(attention=stored.attention)
        self._end(step, kept)
        told = {"step": step.name, "reference": send.reference, **stored.facts, **facts}
        digest = operation.digest(payload) if payload is not None else ""
        changes = {"bought_digest": digest} if digest else {}
        self._save(audit.Draft(act, told, obj=self.transfer), **changes)
        send.result = kept

    def _late(
        self, operation: Operation[P, R], send: EffectSend, payload: P | None, result: R, values: dict[str, Any], *, clash: bool
    ) -> None:
        """Somebody settled this send while we were away (a frozen worker wakes up with an answer)."""
        now = EffectSend.objects.select_for_update().get(pk=send.pk)
        if now.outcome == EffectSend.Outcome.DONE and operation.same(now.result, result):
            operation.complete(now, result)
            self._save(audit.Draft("late_answer", {"reference": send.reference, "agrees": True}, obj=self.transfer))
            return
        if now.outcome != EffectSend.Outcome.DONE:
            EffectSend.objects.filter(pk=send.pk).update(**values)
        stored = operation.store(self.transfer, self.source_record, send, payload, result, clash=clash)
        Transfer.objects.filter(pk=self.transfer.pk).update(attention=operation.attention, updated_at=clock.at())
        self.attention = operation.attention
        self._save(audit.Draft(operation.attention, {"reference": send.reference, **stored.facts}, obj=self.transfer))

    def _take_statement(self, step: Step, operation: Operation[P, R], send: EffectSend, payload: P | None, number: str) -> R:
        """A person said: it was made, this is the number."""
        result = operation.by_hand(number, payload)
        self._done(step, operation, send, payload, result, act="adopted", by=(self.transfer.decision or {}).get("actor", ""))
        return operation.remember(result)

    # -- looking up ----------------------------------------------------------------------------------

    def _look(self, step: Step, operation: Operation[P, R], send: EffectSend, payload: P | None) -> R | None:
        """Settle an open send by looking under its reference. None when it is proven absent."""
        rule = self._in_doubt(operation.connection)
        now = clock.now()
        if send.outcome == EffectSend.Outcome.SENT:
            if now <= send.deadline_at:
                raise InDoubt(
                    "Another process may still be sending.", "in_doubt", look_in_s=(send.deadline_at - now).total_seconds() + 1
                )
            self._unknown(
                step, operation, send, OutcomeUnknown("The process that sent it ended without an answer.", code="process_lost")
            )
        since = send.unknown_since or (send.deadline_at if send.outcome == EffectSend.Outcome.PENDING else now)
        age = (now - since).total_seconds()
        wait = next_look_s(rule.look_up_after_s, send.looks + 1, age)
        try:
            with self._call(operation):
                found = operation.find(send.reference, payload)
        except IntegrationError as error:
            self._looked(step, send, {"error": error.as_dict()}, "look_failed")
            if isinstance(error, ConfigurationError):
                raise
            if isinstance(error, RateLimited):
                wait = max(error.retry_after_s, 1.0)
            raise InDoubt(
                f"The look-up under {send.reference} failed: {error.message}", "in_doubt", error.remedy, look_in_s=wait
            ) from error
        verdict = operation.adopt(found, payload, self.source_record, send)
        if verdict.result is not None:
            self._done(step, operation, send, payload, verdict.result, act="adopted", looks=send.looks + 1)
            return operation.remember(verdict.result)
        told = {"found": len(found.matches), "ambiguous": found.ambiguous, "text": found.text, "refusal": verdict.refusal}
        proven = (
            not found.matches
            and not found.ambiguous
            and rule.resend_after_s is not None
            and send.outcome != EffectSend.Outcome.PENDING
            and now > send.deadline_at + dt.timedelta(seconds=rule.resend_after_s)
        )
        if proven:
            with transaction.atomic():
                if not EffectSend.objects.filter(pk=send.pk, outcome__in=EffectSend.OPEN).update(
                    outcome="absent", outcome_at=clock.at(), last_look=told, watch_at=clock.at(WATCH_AFTER_S)
                ):
                    raise InDoubt("It was settled while we looked.", "in_doubt", look_in_s=0.1)
                self._save(audit.Draft("proven_absent", {"reference": send.reference}, obj=self.transfer))
            send.outcome = EffectSend.Outcome.ABSENT
            return None
        self._looked(step, send, told, "looked")
        if verdict.refusal:
            raise InDoubt(
                f"Looked up {send.reference}: {verdict.refusal}",
                "in_doubt",
                "Compare with the carrier and decide: “it was made, this is the number” or “it was not made, send again”.",
                look_in_s=wait,
            )
        raise InDoubt(
            (f"It was accepted as job {send.ticket}, which shows no result. " if send.ticket else "")
            + f"Nothing is found under {send.reference} yet; that is no proof that nothing was made.",
            "in_doubt",
            "It is looked up again by itself. Whoever knows better can decide with the two buttons.",
            look_in_s=wait,
        )

    def _looked(self, step: Step, send: EffectSend, told: dict[str, Any], act: str) -> None:
        with transaction.atomic():
            EffectSend.objects.filter(pk=send.pk).update(looks=send.looks + 1, last_look=told)
            self._end(step, None, state=Step.State.OPEN, note="looked up, not settled")
            self._save(audit.Draft(act, {"reference": send.reference, "look": send.looks + 1}, obj=self.transfer, detail=told))

    def _look_first(self, name: str, operation: Operation[P, R], key: str) -> R | None:
        """After a restore: what this database does not know may have been bought all the same (ENGINE 2)."""
        until = self.job.installation.look_first_until
        if until is None or until < clock.now() or (operation.kind, key) in self._looked_first:
            return None
        step = self._begin(name, key, Step.Kind.ONCE)
        for generation in (self.source_record.generation, self.source_record.generation + 1):
            for number in (1, 2, 3):
                reference = self._reference(operation.kind, key, generation, number)
                with self._call(operation):
                    found = operation.find(reference, None, wide=True)
                verdict = operation.adopt(found, None, self.source_record, None)
                if verdict.refusal:
                    raise InDoubt(
                        f"Looked up {reference} after a restore: {verdict.refusal}",
                        "in_doubt_after_restore",
                        "Compare with the carrier; then void the wrong one there, or end the period with a new after_restore.",
                        look_in_s=3600,
                    )
                if verdict.result is not None:
                    return self._adopt_restored(step, operation, key, generation, number, verdict.result)
        self._steps.pop((name, key), None)
        self._looked_first.add((operation.kind, key))
        return None

    def _adopt_restored(self, step: Step, operation: Operation[P, R], key: str, generation: int, number: int, result: R) -> R:
        with transaction.atomic():
            if generation != self.source_record.generation:
                audit.append_to_record(self.source_record, [], generation=generation)
                step.generation = generation
            known = Effect.objects.filter(record=self.source_record, kind=operation.kind, key=key, generation=generation)
            effect = known.first() or self._effect(operation, key, buys=operation.buys)
            values = {
                "transfer": self.transfer,
                "epoch": self.transfer.epoch,
                "sent_at": clock.at(),
                "deadline_at": clock.at(),
                "outcome": "unknown",
                "answer": "",
                "context": {},
            }
            made = {
                "tenant_id": self.transfer.tenant_id,
                "connection": operation.connection,
                "reference": self._reference(operation.kind, key, generation, number),
            }
            send, _ = EffectSend.objects.update_or_create(
                effect=effect, number=number, defaults=values, create_defaults=values | made
            )
        self._sends[(operation.kind, key)] = send
        self._done(step, operation, send, None, result, act="adopted", after_restore=True)
        return operation.remember(result)

    def watch(self, operation: Operation[Any, Any], send: EffectSend) -> None:
        """Look once more for a send that counts as not made; what turns up is stored and shown to a person.

        Needs no lease: it only moves an outcome forward. Raises what the vendor raised.
        """
        payload = self._decode(send.context, operation.payload_type, send.schema) if send.context else None
        try:
            with self._call(operation):
                found = operation.find(send.reference, payload)
        finally:
            if self.waiting:
                Exchange.objects.bulk_create(self.take())
        verdict = operation.adopt(found, payload, self.source_record, send)
        if verdict.known or (verdict.result is None and not verdict.refusal):
            return
        with transaction.atomic():
            record = SourceRecord.objects.select_for_update().get(pk=self.source_record.pk)
            self.source_record = record
            now = EffectSend.objects.select_for_update().get(pk=send.pk)
            if now.outcome != EffectSend.Outcome.ABSENT:
                return
            others = EffectSend.objects.filter(effect__record=record, effect__kind=operation.kind).exclude(pk=send.pk)
            others = others.filter(effect__key=send.effect.key)
            twice = others.filter(outcome__in=(*EffectSend.OPEN, EffectSend.Outcome.DONE)).exists()
            attention = operation.attention if twice or verdict.result is None else "label_missing"
            told = {"reference": send.reference, "refusal": verdict.refusal}
            if verdict.result is not None:
                kept = codec.encode(operation.remember(verdict.result))
                EffectSend.objects.filter(pk=send.pk).update(
                    outcome="done", outcome_at=clock.at(), result=kept, schema=codec.SCHEMA, watch_at=None
                )
                stored = operation.store(self.transfer, record, now, payload, verdict.result, clash=False)
                told |= stored.facts
            last = Transfer.objects.filter(record=record).order_by("-revision").first() or self.transfer
            Transfer.objects.filter(pk=last.pk).update(attention=attention, updated_at=clock.at())
            if verdict.result is not None and not twice:
                # The number still has to reach the ERP; nothing is bought for it again.
                Transfer.objects.filter(pk=last.pk, state__in=("waiting", "failed", "needs_approval")).update(
                    state="waiting", due_at=clock.at(), attempts=0
                )
            audit.append_to_record(record, [audit.Draft("turned_up_late", told, obj=last)])

    # -- saving --------------------------------------------------------------------------------------

    def _begin(self, name: str, key: str, kind: Step.Kind) -> Step:
        if self._owes_commit:
            self.commit()
            boundary("write_committed")
        self.step = name
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
        with transaction.atomic():
            self.check_lease()
            self._save(*drafts)
            for more in also:
                more()
        if wrote:
            boundary("write_committed")

    def check_lease(self) -> None:
        """Raises LeaseLost unless this transfer is still ours."""
        if not Transfer.objects.filter(pk=self.transfer.pk, epoch=self.transfer.epoch, state="running").update(
            updated_at=clock.at()
        ):
            raise LeaseLost

    def flush(self, *drafts: audit.Draft, **record_changes: Any) -> None:
        """What waits, inside the caller's transaction (the end of a run)."""
        self._save(*drafts, **record_changes)

    @property
    def owes_commit(self) -> bool:
        """Whether a write waits to be committed with what comes next."""
        return self._owes_commit

    def _save(self, *drafts: audit.Draft, **record_changes: Any) -> None:
        rows = self.take()
        if rows:
            Exchange.objects.bulk_create(rows)
            self._digests += [r.digest for r in rows if r.digest not in self._told]
        self._owes_commit = False
        steps = list(self._steps.values())
        if steps:
            Step.objects.bulk_create(
                steps,
                update_conflicts=True,
                unique_fields=["transfer", "name", "key", "generation"],
                update_fields=[
                    *("kind", "state", "position", "attempt", "fingerprint", "result", "schema"),
                    *("note", "error", "batch", "started_at", "ended_at"),
                ],
            )
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


__all__ = ["Job", "Prefetched", "Run", "fingerprint"]

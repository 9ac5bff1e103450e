"""What became of a once-only send: its outcome from an answer, or from a look-up when the answer is lost (ENGINE 2.3 to 2.5)."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from connector.models import Connection, Effect, EffectSend, Exchange, SourceRecord, Step, Transfer
from connector.services import audit, clock, rows, vendors
from connector.services.engine import codec, pauses
from connector.services.engine.effects import Operation, next_look_s
from connector.services.engine.intents import Intents
from connector.services.engine.signals import AskAgain, InDoubt
from connector.services.rows import Moment
from integrations import registry
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
from integrations.base.records import Pending

logger = logging.getLogger(__name__)
P = TypeVar("P")
R = TypeVar("R")

WATCH_AFTER_S = 3600.0
"""What counts as not made is looked up again after this, then ever more rarely, for seven days."""


class Settling(Intents):
    """A run that turns answers and look-ups into outcomes. Outcomes only move forward."""

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
        values = {"outcome": "done", "outcome_at": Moment(), "result": kept, "schema": codec.SCHEMA}
        if not clash:  # a clash stores no label: its bytes stay in the answer
            values["answer"] = ""
        if not rows.update(EffectSend, {"pk": send.pk, "outcome": EffectSend.OPEN}, values):
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
            rows.update(EffectSend, {"pk": send.pk}, values)
        stored = operation.store(self.transfer, self.source_record, send, payload, result, clash=clash)
        Transfer.objects.filter(pk=self.transfer.pk).update(attention=operation.attention, updated_at=clock.at())
        self.attention = operation.attention
        self._save(audit.Draft(operation.attention, {"reference": send.reference, **stored.facts}, obj=self.transfer))

    def _take_statement(self, step: Step, operation: Operation[P, R], send: EffectSend, payload: P | None, number: str) -> R:
        """A person said: it was made, this is the number."""
        result = operation.by_hand(number, payload)
        told = self.transfer.decision or {}
        by = told.get("made_by", told.get("actor", ""))
        self._done(step, operation, send, payload, result, act="adopted", by=by)
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

    def payload_of(self, operation: Operation[P, Any], send: EffectSend) -> P | None:
        """What was sent, if it was kept. Raises Stuck for what this release cannot read."""
        return self._decode(send.context, operation.payload_type, send.schema) if send.context else None

    def watch(self, operation: Operation[Any, Any], send: EffectSend) -> None:
        """Look once more for a send that counts as not made, or as refused; what turns up is stored and shown to a person.

        Needs no lease: it only moves an outcome forward. Raises what the vendor raised.
        """
        payload = self.payload_of(operation, send)
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
            if now.outcome not in (EffectSend.Outcome.ABSENT, EffectSend.Outcome.REFUSED):
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


__all__ = ["WATCH_AFTER_S", "Settling"]

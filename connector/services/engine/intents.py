"""The once-only send: its intent, what may hold it back, and its raw answer (ENGINE 2.1 and 2.2)."""

from __future__ import annotations

import time
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, connection, transaction

from connector.models import Connection, Effect, EffectSend, Installation, Integration, Step, Tenant, Transfer
from connector.services import audit, clock, rows, vendors
from connector.services.engine import codec
from connector.services.engine.effects import Operation, reference_of
from connector.services.engine.recorder import boottime
from connector.services.engine.signals import AskAgain, Held, LeaseLost, NeedsApproval
from connector.services.engine.steps import Steps
from connector.services.rows import Moment
from integrations import registry
from integrations.base.context import ExchangeRecord
from integrations.base.drill import boundary
from integrations.base.errors import NotSent, Rejected
from integrations.base.roles import SendTicket

P = TypeVar("P")
R = TypeVar("R")

ANSWER_PATIENCE_S = 60.0
_NO_BRAKE = f"""NOT EXISTS (SELECT 1 FROM {Installation._meta.db_table} WHERE stop_buying)
    AND EXISTS (
        SELECT 1 FROM {Integration._meta.db_table} i JOIN {Tenant._meta.db_table} t ON t.id = i.tenant_id
        WHERE i.id = {Transfer._meta.db_table}.integration_id AND i.enabled AND NOT i.stop_buying AND NOT t.stop_buying
    )"""
"""That nobody has stopped buying: here, for the tenant or for the integration, which is switched on."""


class Intents(Steps):
    """A run that may send: what is committed before a request leaves, and what is committed of its answer."""

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
                    "sent_at": Moment(),
                    "deadline_at": Moment(total_s),
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
                    refused = {"pk": old.pk, "outcome": "refused", "transfer_id": old.transfer_id}
                    changes = {name: value for name, value in (values | fresh).items() if name != "transfer"}
                    if not rows.update(EffectSend, refused, changes | {"transfer_id": self.transfer.pk}):
                        raise LeaseLost
                    for name, value in (values | fresh).items():
                        if name not in ("sent_at", "deadline_at"):
                            setattr(old, name, value)
                    send = old
                else:
                    # What counts as not made may have turned up since this attempt began: then nothing more is sent.
                    if old is not None and not rows.update(
                        EffectSend, {"pk": old.pk, "outcome": "absent"}, {"outcome": "absent"}
                    ):
                        raise LeaseLost
                    effect = old.effect if old is not None else self._effect(operation, key, buys=buys)
                    send = EffectSend(
                        tenant_id=self.transfer.tenant_id,
                        effect=effect,
                        connection=operation.connection,
                        number=number,
                        reference=reference,
                        **values,
                    )
                    rows.insert([send])
                self._save(audit.Draft("intent", facts, obj=self.transfer))
        except IntegrityError as error:
            if self._take_over_refused(operation, key):
                raise AskAgain("Another integration's refused attempt was taken over.", "taken_over", in_s=0.0) from error
            raise self._already_bought(operation, error) from error
        self._sends[(operation.kind, key)] = send
        return send, body

    def _effect(self, operation: Operation[Any, Any], key: str, *, buys: bool) -> Effect:
        effect = Effect(
            tenant_id=self.transfer.tenant_id,
            record=self.source_record,
            transfer=self.transfer,
            kind=operation.kind,
            key=key,
            generation=self.source_record.generation,
            buys=buys,
            source_connection=self.job.source,
            document_key=self.source_record.source_key,
            created_at=Moment(),  # type: ignore[misc]  # the database's, as written by `rows`
        )
        rows.insert([effect])
        return effect

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
        mine = {
            "pk": self.transfer.pk,
            "epoch": self.transfer.epoch,
            "state": "running",
            "lease_until__gt": Moment(total_s + settings.ENGINE["MARGIN_S"]),
        }
        if buys:
            self._check_ceiling()
        if rows.update(Transfer, mine, {"updated_at": Moment()}, also=_NO_BRAKE if buys else ""):
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
                    rows.update(
                        EffectSend,
                        {"pk": send.pk, "number": send.number},
                        {"answer": send.answer, "answer_status": status, "answered_at": Moment()},
                    )
                    rows.insert([row])
                break
            except (OperationalError, InterfaceError):
                # Only this process has the label: a database that is away for a moment must not lose it.
                if boottime() > until:
                    raise
                connection.close()
                time.sleep(0.5)
        self.job.answered_by([row])
        self._digests.append(row.digest)
        boundary("answer_committed")


__all__ = ["Intents"]

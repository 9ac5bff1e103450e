"""One attempt at one transfer: what a flow's straight-line code speaks to (ENGINE 1 and 2).

In layers, each in a file of its own: `steps` (reads, maps, guards, writes and how they are saved), `intents` (what is
committed before and with a once-only request), `settling` (outcomes and look-ups); `job` is what runs share.
"""

from __future__ import annotations

import datetime as dt
from typing import TypeVar

from django.conf import settings

from connector.models import EffectSend, Step
from connector.services import clock
from connector.services.engine.effects import Operation
from connector.services.engine.job import Job, Prefetched
from connector.services.engine.recorder import boottime
from connector.services.engine.settling import WATCH_AFTER_S, Settling
from connector.services.engine.signals import AskAgain, Held, InDoubt, StaleRead
from connector.services.engine.steps import fingerprint
from integrations.base.drill import boundary
from integrations.base.roles import SendTicket

P = TypeVar("P")
R = TypeVar("R")

PENDING_PATIENCE_S = 3600.0


class Run(Settling):
    """One attempt, with the step that must not be repeated. Nothing is bought twice, however often this runs."""

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


__all__ = ["WATCH_AFTER_S", "Job", "Prefetched", "Run", "fingerprint"]

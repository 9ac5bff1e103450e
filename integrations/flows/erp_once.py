"""What an ERP is asked to make once: what charges and places for labels have in common as the engine's `Operation`.

A subclass says what is sent (`describe`, `send`, `parse`), how it is found again (`find`), and which rows it means (`store`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

from connector.models import Connection, EffectSend, SourceRecord
from connector.services.engine.effects import Adoption
from connector.services.engine.run import Run
from integrations.base.records import LookUp
from integrations.base.roles import Erp

P = TypeVar("P")
R = TypeVar("R")


class ErpOnce(Generic[P, R]):
    """Nothing is bought, nothing is ever pending, and what was made is known by the ERP's own name of it.

    `own` is what this attempt would send; look-ups outside an attempt have none.
    """

    kind: str
    act: str
    attention: str
    payload_type: type[P]
    result_type: type[R]
    named_by: str
    """The member of the result that holds the ERP's own name of it."""
    buys = False

    def __init__(self, run: Run, erp: Erp, own: P | None = None) -> None:
        self.run = run
        self.adapter = erp
        self.connection: Connection = run.job.source
        self._own = own

    @classmethod
    def outside(cls, run: Run, carrier: Any) -> Self:
        """The operation for look-ups outside the flow; it is about the ERP, whatever the carrier's adapter is."""
        return cls(run, run.job.adapter(run.job.source))

    def prepare(self) -> None:
        """A token, before the intent."""
        self.adapter.prepare()

    def ask(self, ticket: str, payload: P) -> R:
        """The ERP answers at once."""
        raise RuntimeError(f"{self.kind} was taken for pending: the ERP answers at once")

    def by_hand(self, number: str, payload: P | None) -> R:
        """As a person states it, or a look-up tells it: the ERP's own name."""
        raise NotImplementedError

    def several(self, numbers: Sequence[str], payload: P | None) -> str:
        """Why none is taken where the ERP holds more than one."""
        raise NotImplementedError

    def adopt(self, found: LookUp, payload: P | None, record: SourceRecord, send: EffectSend | None) -> Adoption[R]:
        """The one that was found."""
        if found.ambiguous:
            return Adoption(refusal=found.text)
        if not found.matches:
            return Adoption()
        numbers = [match.master_tracking_number for match in found.matches]
        if len(numbers) > 1:
            return Adoption(refusal=self.several(numbers, payload or self._own))
        return Adoption(self.by_hand(numbers[0], payload or self._own))

    def digest(self, payload: P) -> str:
        """Nothing is bought with it."""
        return ""

    def remember(self, result: R) -> R:
        """All of it."""
        return result

    def complete(self, send: EffectSend, result: R) -> None:
        """Nothing was lacking."""

    def same(self, stored: Any, result: R) -> bool:
        """Whether both name the same thing."""
        return isinstance(stored, Mapping) and stored.get(self.named_by) == getattr(result, self.named_by)


__all__ = ["ErpOnce"]

"""What must not be done twice: references, the operations a flow sends, adoption after a lost answer (ENGINE 2)."""

from __future__ import annotations

import base64
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from connector.models import Connection, EffectSend, SourceRecord, Transfer
from integrations.base.records import LookUp, Pending
from integrations.base.roles import SendTicket

P = TypeVar("P")
R = TypeVar("R")

HOURLY_FOR_S = 7 * 86400.0


def reference_of(installation: uuid.UUID, integration: str, source_key: str, kind: str, generation: int, number: int) -> str:
    """Our reference at the vendor: short, unique across installations, the same again after a restore.

    "ML" and 12 base32 characters (60 bits) of SHA-256 over everything that tells one send from another.
    """
    told = "\x00".join((str(installation), integration, source_key, kind, str(generation), str(number)))
    return "ML" + base64.b32encode(hashlib.sha256(told.encode()).digest()).decode()[:12]


@dataclass(frozen=True, slots=True)
class Adoption(Generic[R]):
    """Verdict on what a look-up found: `result` to adopt, or the reason why not (empty: nothing was found).

    `known`: what was found is another shipment of ours already, so that it is no news.
    """

    result: R | None = None
    refusal: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """What storing a result did: `attention` for the transfer (or ""), plain facts for the audit."""

    facts: dict[str, Any]
    attention: str = ""


class Operation(Protocol[P, R]):
    """One kind of thing done once, over payload P with result R. Flows write these; the engine drives them.

    Payload and result must survive the codec: both are read again hours later by another process.
    """

    kind: str
    act: str
    """The word of the audit for a send that was done."""
    buys: bool
    """Whether it costs money at the carrier: at most one per document and generation, and brakes hold it."""
    attention: str
    """The mark of a transfer under which it was done twice."""
    payload_type: type[P]
    result_type: type[R]
    connection: Connection
    adapter: Any

    def prepare(self) -> None:
        """What can fail before anything is at stake."""

    def describe(self, payload: P, reference: str) -> dict[str, Any]:
        """The exact request body; Rejected when it cannot be made."""

    def send(self, body: dict[str, Any], payload: P, ticket: SendTicket) -> R | Pending:
        """Send it, once."""

    def parse(self, answer: str, status: int | None, payload: P) -> R | Pending:
        """Read a committed raw answer again."""

    def ask(self, ticket: str, payload: P) -> R | Pending:
        """Ask for a pending result."""

    def find(self, reference: str, payload: P | None, *, wide: bool = False) -> LookUp:
        """Look under our reference; `wide`: over the longest period the vendor allows (after a restore)."""

    def adopt(self, found: LookUp, payload: P | None, record: SourceRecord, send: EffectSend | None) -> Adoption[R]:
        """May what was found be taken as ours?"""

    def digest(self, payload: P) -> str:
        """What it is bought with, as a digest: a later edit of the document is compared with it. "" where nothing is."""

    def by_hand(self, number: str, payload: P | None) -> R:
        """The result as a person states it."""

    def remember(self, result: R) -> R:
        """The result without what is stored elsewhere (label bytes)."""

    def store(
        self, transfer: Transfer, record: SourceRecord, send: EffectSend, payload: P | None, result: R, *, clash: bool
    ) -> Stored:
        """Make the rows that the result means, inside the outcome's transaction.

        An IntegrityError is a number clash: called again with `clash`. No payload: adopted after a restore.
        """

    def complete(self, send: EffectSend, result: R) -> None:
        """A late answer brings what the adopted result lacked (labels)."""

    def same(self, stored: Any, result: R) -> bool:
        """Whether a stored result and this one are the same thing at the vendor."""


def next_look_s(waits: tuple[int, ...], looks: int, age_s: float) -> float:
    """Seconds until the next look-up: the listed waits, then hourly for 7 days, then daily."""
    if looks < len(waits):
        return float(waits[looks])
    return 3600.0 if age_s < HOURLY_FOR_S else 86400.0

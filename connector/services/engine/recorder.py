"""Where exchanges go: rows of `Exchange`, written with the step they belong to."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Mapping

from connector.models import Connection, Exchange, Transfer
from connector.services.audit import exchange_digest
from integrations.base.context import ExchangeRecord
from integrations.base.errors import NotSent
from integrations.base.roles import SendTicket


def boottime() -> float:
    """Seconds that go on while this process is stopped or the machine sleeps."""
    clock_id = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock_id) if clock_id is not None else time.monotonic()


class ExchangeBuffer:
    """Collects finished exchanges until they are saved with a step; a `Recorder` for reads and repeatable writes.

    `connections` maps slugs to rows: an exchange knows the slug of the connection it went over.
    """

    def __init__(
        self, connections: Mapping[str, Connection], *, transfer: Transfer | None = None, batch: uuid.UUID | None = None
    ) -> None:
        self.connections = connections
        self.transfer = transfer
        self.batch = batch
        self.correlation_id = f"t{transfer.pk}-{transfer.epoch}" if transfer is not None else str(batch or uuid.uuid4())
        self.step = ""
        self.waiting: list[Exchange] = []

    def record(self, exchange: ExchangeRecord) -> None:
        """Keep one exchange for the next save."""
        self.waiting.append(self.row(exchange))

    def row(self, exchange: ExchangeRecord) -> Exchange:
        """The exchange as an unsaved row."""
        connection = self.connections[exchange.connection]
        made = Exchange(
            tenant_id=connection.tenant_id,
            connection=connection,
            transfer=self.transfer,
            batch=self.batch,
            correlation_id=self.correlation_id,
            step=self.step,
            operation=exchange.operation[:80],
            method=exchange.method,
            url=exchange.url,
            request_headers=exchange.request_headers,
            request_body=_storable(exchange.request_body),
            status=exchange.status,
            response_headers=exchange.response_headers,
            response_body=_storable(exchange.response_body),
            error=_storable(exchange.error),
            started_at=exchange.started_at.astimezone(dt.UTC),
            duration_ms=exchange.duration_ms,
        )
        made.digest = exchange_digest(made)
        return made

    def take(self) -> list[Exchange]:
        """What waits, and forget it."""
        taken, self.waiting = self.waiting, []
        return taken

    def answer_received(self, ticket: SendTicket, exchange: ExchangeRecord, raw: str, status: int) -> None:
        """Only runs make once-only sends; see `Run`."""
        raise RuntimeError("a once-only send outside a run")

    def may_send(self, ticket: SendTicket) -> None:
        """Only runs make once-only sends; see `Run`."""
        raise NotSent("a once-only send outside a run", code="no_run")


def _storable(text: str) -> str:
    """PostgreSQL text cannot hold NUL; a hostile answer may contain it."""
    return text.replace("\x00", "\\x00")

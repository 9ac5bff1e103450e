"""Ping: check a connection against the real system, layer by layer, and let go of what a good answer frees."""

from __future__ import annotations

import logging
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db.models import Q

from connector.models import Connection, Exchange
from connector.services import audit, clock, keys, vendors, wake
from connector.services.engine import pauses
from connector.services.engine.recorder import ExchangeBuffer
from integrations.base.errors import IntegrationError
from integrations.base.http import recording
from integrations.base.records import PingLayer

logger = logging.getLogger(__name__)

PING_LEASE_S = 120.0


@dataclass(slots=True)
class PingResult:
    """What a ping found: every layer in the order tried. `busy`: another ping of this connection is under way."""

    connection: Connection
    layers: list[PingLayer] = field(default_factory=list)
    busy: bool = False

    @property
    def ok(self) -> bool:
        """No layer failed, and something was checked."""
        states = {layer.state for layer in self.layers}
        return "failed" not in states and bool(states & {"ok", "warning"})

    def as_dict(self) -> dict[str, Any]:
        return {"connection": self.connection.slug, "ok": self.ok, "layers": [asdict(layer) for layer in self.layers]}


def ping_request(connection: Connection, *, actor: str) -> bool:
    """Have a worker ping it soon; False when a ping is under way."""
    if not _take(connection):
        return False
    audit.append(connection.tenant, audit.Draft("ping_requested", {}, obj=connection, actor=actor))
    wake.ping(connection.pk)
    return True


def _take(connection: Connection) -> bool:
    free = Q(ping_started_at__isnull=True) | Q(ping_started_at__lt=clock.at(-PING_LEASE_S))
    return bool(Connection.objects.filter(free, pk=connection.pk).update(ping_started_at=clock.at()))


def ping(connection: Connection, *, actor: str = audit.SYSTEM, requested: bool = False) -> PingResult:
    """Ping now. One at a time per connection, also from other processes (`requested`: the turn is taken already).

    Ends the pauses of this connection when nothing failed: one transfer goes first.
    """
    result = PingResult(connection)
    if not requested and not _take(connection):
        result.busy = True
        result.layers.append(
            PingLayer("ping", "not_checked", "Another ping of this connection is under way.", "Wait for its result.")
        )
        return result
    buffer = ExchangeBuffer({connection.slug: connection}, batch=uuid.uuid4())
    buffer.step = "ping"
    try:
        _check(connection, result, buffer)
    finally:
        Exchange.objects.bulk_create(buffer.take())
        _store(connection, result, actor)
    return result


def _check(connection: Connection, result: PingResult, buffer: ExchangeBuffer) -> None:
    problem = keys.problem()
    if problem:
        result.layers.append(PingLayer("secrets", "failed", problem, keys.REMEDY))
        return
    try:
        # A person may have mended it at the vendor a moment ago: a refusal of before proves nothing now.
        adapter = vendors.open_adapter(connection, ask_anew=True)
        with recording(buffer):
            for layer in adapter.ping():
                result.layers.append(layer)
    except IntegrationError as error:
        result.layers.append(PingLayer("connection", "failed", error.message, error.remedy))
    except Exception as error:
        logger.exception("the ping of %s failed", connection.slug)
        told = f"ml-connector itself failed while checking ({type(error).__name__})."
        result.layers.append(PingLayer("ping", "failed", told, "Report this with the log."))


def _store(connection: Connection, result: PingResult, actor: str) -> None:
    warned = any(layer.state == "warning" for layer in result.layers)
    health = (
        Connection.Health.WARNING if result.ok and warned else Connection.Health.OK if result.ok else Connection.Health.FAILED
    )
    good = {"last_good_at": clock.at()} if result.ok else {}
    Connection.objects.filter(pk=connection.pk).update(
        health=health, last_ping=result.as_dict(), last_ping_at=clock.at(), ping_started_at=None, **good
    )
    facts = {"ok": result.ok, "layers": {layer.layer: layer.state for layer in result.layers}}
    audit.append(connection.tenant, audit.Draft("ping", facts, obj=connection, actor=actor))
    if result.ok:
        pauses.try_again(pauses.of_connection(connection), "good ping")


__all__ = ["PingResult", "ping", "ping_request"]

"""What vendors post: verified over the raw bytes, stored, answered, taken in afterwards, each body once.

A process may die right after the answer: the body is in the database, and the minute's look finds it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.db.models import F

from connector.models import Connection, WebhookDelivery
from connector.services import clock, tracking, vendors, wake
from integrations.base.errors import IntegrationError

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
GROUP = 200
TRIES = 5


class _Last:
    """When this process last woke the workers."""

    def __init__(self) -> None:
        self._at = -1e9

    def older_than(self, seconds: float) -> bool:
        """True once, and then not again for `seconds`."""
        now = time.monotonic()
        if now - self._at < seconds:
            return False
        self._at = now
        return True


_woken = _Last()


def receive(slug: str, raw: bytes, headers: Mapping[str, str]) -> int:
    """Verify and store one body for the connection named `slug`; the HTTP status to answer.

    200: stored, or known already. 401: not signed by one of the connection's secrets. 404: no such door.
    """
    connection = Connection.objects.filter(slug=slug).first()
    if connection is None:
        return 404
    try:
        adapter = vendors.open_adapter(connection)
        signed = getattr(adapter, "push_is_signed", None)
        if signed is None:
            return 404
        if not signed(raw, headers):
            logger.warning("a post for %s was not signed by its secret", slug)
            return 401
    except IntegrationError as error:
        # Our own trouble (a key that does not fit): the vendor should keep it and come again.
        logger.error("a post for %s could not be checked: %s", slug, error.code)
        return 503
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(
                tenant_id=connection.tenant_id,
                connection=connection,
                digest=hashlib.sha256(raw).hexdigest(),
                body=raw,
                received_at=clock.at(),
            )
        ],
        ignore_conflicts=True,
    )
    # One wake-up a second is enough for a storm; the minute's look is the safety net.
    if _woken.older_than(1.0):
        wake.hooks()
    return 200


def waiting() -> bool:
    """Whether something is stored that has not been taken in."""
    return WebhookDelivery.objects.filter(state=WebhookDelivery.State.RECEIVED).exists()


def take_in() -> int:
    """Take in up to `GROUP` bodies, oldest first, each in a commit of its own; how many were looked at.

    What came for a connection that cannot be opened now waits, does not count, and does not stand in the way of others.
    """
    seen: list[int] = []
    adapters: dict[int, Any] = {}
    shut: set[int] = set()
    while len(seen) < GROUP:
        left = _received().exclude(pk__in=seen).exclude(connection__in=shut).order_by("received_at", "pk")
        found = list(left.values_list("pk", "connection_id")[: GROUP - len(seen)])
        if not found:
            break
        for pk, connection_id in found:
            if connection_id in shut:
                continue
            try:
                _take_one(pk, adapters)
            except IntegrationError as error:
                logger.warning("webhook deliveries of connection %s wait: %s", connection_id, error.code)
                shut.add(connection_id)
                continue
            except Exception as error:
                # One body that we fail to read must not hold up the others; it is kept.
                logger.exception("webhook delivery %s could not be taken in", pk)
                _received().filter(pk=pk).update(attempts=F("attempts") + 1, result={"error": type(error).__name__})
                _received().filter(pk=pk, attempts__gte=TRIES).update(state=WebhookDelivery.State.FAILED, ended_at=clock.at())
            seen.append(pk)
    return len(seen)


def _received() -> Any:
    return WebhookDelivery.objects.filter(state=WebhookDelivery.State.RECEIVED)


def _take_one(pk: int, adapters: dict[int, Any]) -> None:
    """Merge one body's news and mark it, in one commit; somebody else's is left alone."""
    with transaction.atomic():
        locked = _received().filter(pk=pk).select_related("connection")
        if database.features.has_select_for_update_skip_locked:
            locked = locked.select_for_update(skip_locked=True, of=("self",))
        found = locked.first()
        if found is None:
            return
        if found.connection_id not in adapters:
            adapters[found.connection_id] = vendors.open_adapter(found.connection)
        news = adapters[found.connection_id].read_push(bytes(found.body))
        changed = tracking.merge(found.connection_id, news)
        WebhookDelivery.objects.filter(pk=pk).update(
            state=WebhookDelivery.State.DONE, ended_at=clock.at(), result={"parcels": len(news), "changed": changed}
        )


__all__ = ["GROUP", "MAX_BYTES", "receive", "take_in", "waiting"]

"""What vendors post: verified over the raw bytes, stored, answered, taken in afterwards, each body once.

A process may die right after the answer: the body is in the database, and the minute's look finds it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection as database
from django.db import transaction
from django.db.models import Count, F, Min, Q
from django.db.models.constants import OnConflict

from connector.models import Connection, WebhookDelivery
from connector.models.connections import UnreadableSecret
from connector.services import audit, clock, tracking, vendors, wake
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base.errors import IntegrationError
from integrations.base.tracking import UnreadablePush

logger = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
GROUP = 200
TRIES = 5
AGAIN = 1000
"""So many posts are tried again by one press, and told of at once."""
WAKE_UPS = 100
"""A queue as long as this is not being served, or a look for posts stands in it already: nothing is added."""


_COLUMNS = [field for field in WebhookDelivery._meta.concrete_fields if not field.primary_key]


class _Last:
    """When this process last did something that it should not do for every post."""

    def __init__(self) -> None:
        self._at = -1e9

    def older_than(self, seconds: float) -> bool:
        """True once, and then not again for `seconds`."""
        now = time.monotonic()
        if now - self._at < seconds:
            return False
        self._at = now
        return True


class _Complaints:
    """Log lines about posts that are refused, one a minute for each door: whoever posts rubbish must not fill the log."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], _Last] = {}

    def say(self, level: int, slug: str, line: str) -> None:
        """Log `line` (with one %s for the slug), if it was not said for this door within a minute."""
        if self._last.setdefault((slug, line), _Last()).older_than(60.0):
            logger.log(level, line + " (said once a minute)", slug)


_woken = _Last()
_complaints = _Complaints()


def receive(slug: str, raw: bytes, headers: Mapping[str, str]) -> int:
    """Verify and store one body for the connection named `slug`; the HTTP status to answer.

    200: stored, or known already. 401: not signed by one of the connection's secrets. 404: no such door.
    503: our own trouble (a key that does not fit): the vendor should keep the post and come again.

    Two statements, each a transaction of its own: a storm of posts waits for this, and nothing more is needed to
    know who posted and to lose nothing.
    """
    connection = Connection.objects.only("tenant_id", "name", "vendor", "plain", "secrets_text").filter(slug=slug).first()
    if connection is None:
        return 404
    signed = getattr(registry.adapter_class(connection.vendor), "is_signed_push", None)
    if signed is None:
        return 404
    try:
        good = signed(vendors.credentials_of(connection), raw, headers)
    except UnreadableSecret:
        _complaints.say(logging.ERROR, slug, "a post for %s could not be checked: its secrets cannot be read")
        return 503
    if not good:
        _complaints.say(logging.WARNING, slug, "a post for %s was not signed by its secret")
        return 401
    _store(connection, raw)
    # One wake-up a second is enough for a storm; the minute's look is the safety net.
    if _woken.older_than(1.0) and wake.queue_is_below(WAKE_UPS):
        wake.hooks()
    return 200


def _store(connection: Connection, raw: bytes) -> None:
    """Keep a body, once: one statement, committed when this returns."""
    row = WebhookDelivery(
        tenant_id=connection.tenant_id,
        connection_id=connection.pk,
        digest=hashlib.sha256(raw).hexdigest(),
        body=raw,
        received_at=clock.at(),
    )
    rows: Any = WebhookDelivery.objects.all()
    # The statement of `bulk_create` without the transaction around it: BEGIN and COMMIT are round trips of their own.
    rows._insert([row], fields=_COLUMNS, using=database.alias, on_conflict=OnConflict.IGNORE)


def waiting() -> bool:
    """Whether something is stored that has not been taken in."""
    return WebhookDelivery.objects.filter(state=WebhookDelivery.State.RECEIVED).exists()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Posts of one connection that nobody has taken in: those that wait, since when, and those given up as unreadable."""

    pk: int
    connection: str
    waiting: int
    oldest: dt.datetime | None
    failed: int


def backlog() -> list[Backlog]:
    """By connection, where there are any (one query)."""
    state = WebhookDelivery.State
    waits, failed = Q(state=state.RECEIVED), Q(state=state.FAILED)
    rows = WebhookDelivery.objects.filter(waits | failed).order_by("connection__slug").values("connection__slug", "connection")
    counted = rows.annotate(
        waiting=Count("pk", filter=waits), oldest=Min("received_at", filter=waits), failed=Count("pk", filter=failed)
    )
    return [Backlog(r["connection"], r["connection__slug"], r["waiting"], r["oldest"], r["failed"]) for r in counted]


def unreadable(connection: Connection) -> int:
    """How many posts of this connection were given up; at most `AGAIN` are counted."""
    return WebhookDelivery.objects.filter(connection=connection, state=WebhookDelivery.State.FAILED)[:AGAIN].count()


def given_up_since(moment: dt.datetime) -> Any:
    """Posts that were given up since then, oldest first, `AGAIN` at most: what alerts tell."""
    found = WebhookDelivery.objects.filter(state=WebhookDelivery.State.FAILED, ended_at__gte=moment)
    return found.select_related("connection").defer("body").order_by("ended_at", "pk")[:AGAIN]


def read_again(connection: Connection, *, actor: str) -> int:
    """Have the posts of this connection that were given up tried once more, the oldest `AGAIN`; how many. Raises NotPossible.

    News that are known by now, or are older than what is known, change nothing when they are taken in.
    """
    state = WebhookDelivery.State
    with transaction.atomic():
        oldest = WebhookDelivery.objects.filter(connection=connection, state=state.FAILED).order_by("pk").values("pk")[:AGAIN]
        again = WebhookDelivery.objects.filter(pk__in=list(oldest.values_list("pk", flat=True)), state=state.FAILED)
        number: int = again.update(state=state.RECEIVED, attempts=0, ended_at=None, result=None)
        if not number:
            raise NotPossible("No post of this connection was given up.")
        audit.append(connection.tenant, audit.Draft("posts_read_again", {"posts": number}, obj=connection, actor=actor))
        wake.hooks()
    return number


def take_in() -> int:
    """Take in up to `GROUP` bodies, oldest first, each in a commit of its own; how many were looked at.

    What came for a connection that cannot be opened now waits, does not count, and does not stand in the way of others.
    """
    seen: list[int] = []
    adapters: dict[int, Any] = {}
    shut: set[int] = set()
    done = tracking.Merged()
    try:
        while len(seen) < GROUP:
            left = _received().exclude(pk__in=seen).exclude(connection__in=shut).order_by("received_at", "pk")
            found = list(left.values_list("pk", "connection_id")[: GROUP - len(seen)])
            if not found:
                break
            for pk, connection_id in found:
                if connection_id in shut:
                    continue
                try:
                    done += _take_one(pk, adapters)
                except IntegrationError as error:
                    logger.warning("webhook deliveries of connection %s wait: %s", connection_id, error.code)
                    shut.add(connection_id)
                    continue
                except Exception as error:
                    # One body that we fail to read must not hold up the others; it is kept.
                    logger.exception("webhook delivery %s could not be taken in", pk)
                    _try_again(pk, {"error": type(error).__name__})
                seen.append(pk)
    finally:
        # One call for the write-backs of all: two hundred pushes must not be two hundred wake-ups.
        done.wake()
    return len(seen)


def _received() -> Any:
    return WebhookDelivery.objects.filter(state=WebhookDelivery.State.RECEIVED)


def _try_again(pk: int, why: dict[str, Any]) -> None:
    """Count a try; after `TRIES` of them a person has to look."""
    _received().filter(pk=pk).update(attempts=F("attempts") + 1, result=why)
    _received().filter(pk=pk, attempts__gte=TRIES).update(state=WebhookDelivery.State.FAILED, ended_at=clock.at())


def _take_one(pk: int, adapters: dict[int, Any]) -> tracking.Merged:
    """Merge one body's news and mark it, in one commit; somebody else's is left alone."""
    with transaction.atomic():
        locked = _received().filter(pk=pk).select_related("connection")
        if database.features.has_select_for_update_skip_locked:
            locked = locked.select_for_update(skip_locked=True, of=("self",))
        found = locked.first()
        if found is None:
            return tracking.Merged()
        if found.connection_id not in adapters:
            adapters[found.connection_id] = vendors.open_adapter(found.connection)
        try:
            news = adapters[found.connection_id].read_push(bytes(found.body))
        except UnreadablePush:
            _end(pk, WebhookDelivery.State.FAILED, {"error": "unreadable"})
            return tracking.Merged()
        merged = tracking.merge(found.connection_id, news)
        told = {"parcels": len(news), "changed": merged.changed}
        if merged.failed:
            _try_again(pk, told | {"failed": merged.failed})
        else:
            _end(pk, WebhookDelivery.State.DONE, told)
    return merged


def _end(pk: int, state: str, told: dict[str, Any]) -> None:
    WebhookDelivery.objects.filter(pk=pk).update(state=state, ended_at=clock.at(), result=told)


__all__ = [
    "AGAIN",
    "GROUP",
    "MAX_BYTES",
    "Backlog",
    "backlog",
    "given_up_since",
    "read_again",
    "receive",
    "take_in",
    "unreadable",
    "waiting",
]

"""Wake the workers. Losing a wake-up loses nothing: the tick looks every minute (ENGINE 4)."""

from __future__ import annotations

import logging

from django.db import transaction
from django_q.tasks import async_task

logger = logging.getLogger(__name__)


def _enqueue(name: str, *args: int | str) -> None:
    try:
        async_task(name, *args)
    except Exception:  # a broker that is down must not undo what was just committed; the tick will find the work
        logger.exception("could not wake the workers for %s; the next tick will", name)


def work(count: int = 1) -> None:
    """Somebody should look for due transfers, after the present transaction has committed."""
    for _ in range(count):
        transaction.on_commit(lambda: _enqueue("connector.tasks.work_due"))


def tick() -> None:
    """Look at once for polls that are due and for due work."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.tick"))


def poll(integration_id: int, flow: str) -> None:
    """Poll one flow soon."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.poll", integration_id, flow))


def hooks() -> None:
    """Take in soon what vendors have posted."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.hooks"))


def watch(integration_id: int) -> None:
    """Look soon for what was declared not made."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.watch", integration_id))


def ping(connection_id: int) -> None:
    """Ping one connection soon."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.ping", connection_id))

"""Wake the workers. Losing a wake-up loses nothing: the tick looks every minute (ENGINE 4)."""

from __future__ import annotations

import logging
import threading
import time

from django.db import connections, transaction
from django_q.brokers import get_broker
from django_q.tasks import async_task

logger = logging.getLogger(__name__)

MIN_DELAY_S = 0.1


def _enqueue(name: str, *args: int | str) -> None:
    try:
        async_task(name, *args)
    except Exception:  # a broker that is down must not undo what was just committed; the tick will find the work
        logger.exception("could not wake the workers for %s; the next tick will", name)


def queue_is_below(count: int) -> bool:
    """Whether fewer than `count` wake-ups wait; true where the broker does not tell."""
    try:
        return bool(get_broker().queue_size() < count)
    except Exception:
        logger.exception("the broker does not tell how long its queue is")
        return True


def work(count: int = 1) -> None:
    """Somebody should look for due transfers, after the present transaction has committed."""
    for _ in range(count):
        transaction.on_commit(lambda: _enqueue("connector.tasks.work_due"))


class _Alarm:
    """One look for due work at a later time: a look-up that is due in two seconds should not wait for the tick.

    A process keeps one; the earlier time wins, for whoever looks then sets the next one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._at = 0.0

    def set(self, delay_s: float) -> None:
        at = time.monotonic() + delay_s
        with self._lock:
            if self._timer is not None and self._timer.is_alive() and self._at <= at:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._at, self._timer = at, threading.Timer(delay_s, self._ring)
            self._timer.daemon = True
            self._timer.start()

    def _ring(self) -> None:
        with self._lock:
            self._timer = None
        try:
            _enqueue("connector.tasks.work_due")
        finally:
            connections.close_all()  # of this thread


_alarm = _Alarm()


def work_in(delay_s: float) -> None:
    """This process looks for due transfers again after `delay_s` seconds, if it lives."""
    _alarm.set(max(delay_s, MIN_DELAY_S))


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


def retention() -> None:
    """Erase soon what the rule lets go."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.retention"))


def alerts(channel_id: int) -> None:
    """Tell one channel soon what is due."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.alerts", channel_id))


def quote(quote_id: int) -> None:
    """Ask soon for prices that somebody wants to see."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.quote", quote_id))


def reconcile(integration_id: int) -> None:
    """Go on soon with the comparison of an integration."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.reconcile", integration_id))


def invoices() -> None:
    """Apply soon what invoice files say."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.invoices"))


def ping(connection_id: int) -> None:
    """Ping one connection soon."""
    transaction.on_commit(lambda: _enqueue("connector.tasks.ping", connection_id))

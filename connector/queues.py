"""The queue between a cluster's processes, made to outlive a reader that is killed.

django-q2's queue holds its reading lock for as long as a worker waits for a task. A worker that is killed
while it has nothing to do takes the lock with it: the others, and the one started in its place, then wait
for ever, and nothing says so. Here the lock is held only while a task is taken out.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from queue import Empty
from typing import Any

from django_q import queues

logger = logging.getLogger(__name__)

LOOK_S = 5.0
LOCK_S = 30.0


class SteadyQueue(queues.Queue):  # type: ignore[misc]  # django-q2 has no types
    """django-q2's queue, waiting without the lock."""

    # Set by the base class, which has no annotations.
    _reader: Any
    _rlock: Any
    _sem: Any
    size: Any

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next object; raises `queue.Empty` as the standard queue does."""
        if not block:
            timeout = 0.0
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LOOK_S if until is None else min(LOOK_S, max(0.0, until - time.monotonic()))
            if connection.wait([self._reader], left):
                found, raw = self._take()
                if found:
                    self.size.increment(-1)
                    return ForkingPickler.loads(raw)
            if until is not None and time.monotonic() >= until:
                raise Empty

    def _take(self) -> tuple[bool, bytes]:
        """Take one object out, if no other reader was quicker."""
        if not self._rlock.acquire(timeout=LOCK_S):
            # The holder was killed within the instant of taking. Nobody will read again: end, and be restarted.
            logger.critical("a worker was killed while it took a task; the cluster ends, its supervisor starts it again")
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(1)
        try:
            if not self._reader.poll(0):
                return False, b""
            raw = self._reader.recv_bytes()
            self._sem.release()
            return True, raw
        finally:
            self._rlock.release()


def use_in_clusters() -> None:
    """Let every cluster of this process use it. Call before one is made."""
    from django_q import cluster

    cluster.Queue = SteadyQueue

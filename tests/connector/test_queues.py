"""The queue between a cluster's processes outlives its readers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from queue import Empty
from typing import Any

import pytest

from connector.queues import SteadyQueue

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="clusters fork")

context: Any = multiprocessing.get_context("fork")


def _read(queue: SteadyQueue, found: Any) -> None:
    for item in iter(queue.get, "STOP"):
        found.send((os.getpid(), item))


def test_a_reader_killed_while_it_waits_does_not_stop_the_others() -> None:
    queue = SteadyQueue(maxsize=2)
    mine, theirs = context.Pipe(duplex=False)
    readers = [context.Process(target=_read, args=(queue, theirs), daemon=True) for _ in range(3)]
    for reader in readers:
        reader.start()
    time.sleep(0.5)  # all of them wait
    for victim in readers[:2]:
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    queue.put("a")
    queue.put("b")
    for wanted in ("a", "b"):
        assert mine.poll(10), "nobody reads any more"
        assert mine.recv() == (readers[2].pid, wanted)
    queue.put("STOP")
    readers[2].join(10)
    assert readers[2].exitcode == 0
    assert queue.qsize() == 0


def test_it_is_bounded_and_empty_as_a_queue_is() -> None:
    queue = SteadyQueue(maxsize=1)
    queue.put(1)
    assert queue.get(timeout=5) == 1
    with pytest.raises(Empty):
        queue.get(block=False)
    with pytest.raises(Empty):
        queue.get(timeout=0.05)


def test_clusters_use_it() -> None:
    from django_q import cluster

    from connector import queues

    before = cluster.Queue
    try:
        queues.use_in_clusters()
        assert cluster.Queue is SteadyQueue
    finally:
        cluster.Queue = before

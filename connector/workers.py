"""What a django-q2 cluster's processes do beyond django-q2: die with their parent, own their pool, refuse strange tasks.

All three were learned by killing things (ENGINE 5): orphans go on working, a pool made before the fork
mixes up results between processes, and a queue row's function may be any dotted path.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from django.db import connections
from django.dispatch import receiver
from django_q.signals import post_spawn, pre_execute

logger = logging.getLogger(__name__)

ALLOWED_TASKS = frozenset(
    f"connector.tasks.{name}"
    for name in ("tick", "work_due", "poll", "ping", "watch", "hooks", "retention", "alerts", "quote", "reconcile", "invoices")
)
PR_SET_PDEATHSIG = 1
POOL_SIZE = 5  # four workers, with what pusher, monitor and sentinel hold, stay within 24 connections (ENGINE 5)


class TaskRefused(Exception):
    """A queue row named a function that is not one of our tasks."""


def die_with_parent() -> None:
    """After a fork inside a cluster: let the kernel kill this process when its parent dies (Linux)."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died between the fork and now
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def prepare_cluster() -> None:
    """Called at start of a `qcluster` process, before anything forks."""
    if sys.platform == "linux":
        os.register_at_fork(after_in_child=die_with_parent)


def open_pool(max_size: int) -> None:
    """Give this process a connection pool of its own (PostgreSQL): threads borrow a connection only while they query."""
    default = connections["default"]
    if default.vendor != "postgresql":
        return
    default.close()
    default.settings_dict["CONN_MAX_AGE"] = 0
    default.settings_dict["CONN_HEALTH_CHECKS"] = False
    default.settings_dict["OPTIONS"] = {
        **default.settings_dict.get("OPTIONS", {}),
        "prepare_threshold": 0,
        "pool": {"min_size": 1, "max_size": max_size, "timeout": 30, "max_idle": 60},
    }


@receiver(post_spawn)
def worker_spawned(sender: Any, proc_name: str, **kwargs: Any) -> None:
    """A worker is there: own pool, parent watch where the kernel does not do it, and a look for waiting work."""
    open_pool(max_size=POOL_SIZE)
    if sys.platform != "linux":
        threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    from connector.services import wake

    # What a killed predecessor left behind, and polls that came due while nobody worked, should not wait a minute.
    wake.tick()


@receiver(pre_execute)
def refuse_strange_tasks(sender: Any, func: Any, task: dict[str, Any], **kwargs: Any) -> None:
    """Only our own tasks run. The row is removed and this worker ends (django-q2 starts another)."""
    name = task.get("func")
    if isinstance(name, str) and name in ALLOWED_TASKS:
        return
    label = name if isinstance(name, str) else f"{getattr(name, '__module__', '?')}.{getattr(name, '__name__', '?')}"
    if label in ALLOWED_TASKS:
        return
    from django_q.brokers import get_broker

    if task.get("ack_id"):
        get_broker().delete(task["ack_id"])
    logger.critical("refused the queued task %r: not one of ours", label)
    raise TaskRefused(f"refused the queued task {label!r}: not one of ours")


def process_name() -> str:
    """host:boot:pid, so that a lease of a process that no longer exists can be recognised on the same host."""
    return f"{HOST}:{BOOT}:{os.getpid()}"


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as handle:
            boot = handle.read().strip()[:8]
        # Containers of one machine may carry one name: a process number means something in its own space only.
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "unknown"


HOST = os.uname().nodename[:60]
BOOT = _boot_id()


def is_dead(name: str) -> bool:
    """Whether `name` (of `process_name`) is provably a process of this host and boot that no longer exists."""
    parts = name.split(":")
    if len(parts) != 3 or parts[0] != HOST or parts[1] != BOOT or BOOT == "unknown":
        return False
    try:
        os.kill(int(parts[2]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError):
        return False
    try:
        with open(f"/proc/{int(parts[2])}/stat") as handle:
            return handle.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False

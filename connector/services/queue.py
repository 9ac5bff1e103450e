"""The queue in words: what wake-ups wait and since when, which processes are there, what failed and what then.

No task is unpickled here: of a waiting one only the name is read out of its signed package, of a failed one neither
arguments nor result. (What a cluster tells of itself is a signed package, too, kept for seconds in the cache; django-q2
opens it.) The queue only wakes workers; the work itself stands in the transfers.
"""

from __future__ import annotations

import datetime as dt
import logging
import pickletools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.utils import timezone
from django_q import core_signing
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Failure, OrmQ
from django_q.status import Stat

from connector.models import Heartbeat, Slot, Transfer
from connector.services import clock, heartbeat, webhooks

logger = logging.getLogger(__name__)

MOST = 1000
SHOWN = 20
LOOKED_AGAIN = "Nothing is lost: the look of every minute does it again. If it comes back, see the workers' log at that time."
TASKS: dict[str, tuple[str, str]] = {
    "tick": ("Look what is due (every minute)", LOOKED_AGAIN),
    "work_due": ("Work on due transfers", LOOKED_AGAIN),
    "poll": ("Look for documents", "The flow looks again at its next time; “Run now” on the integration does it at once."),
    "ping": ("Ping a connection", "Press Ping on the connection again."),
    "watch": ("Look up what was declared not made", LOOKED_AGAIN),
    "hooks": ("Take in what vendors have posted", LOOKED_AGAIN),
    "retention": (
        "Erase what is old enough",
        "It goes on tomorrow; “manage.py retention” does it at once.",
    ),
    "alerts": ("Tell people of trouble", "It is told at the next try. “Try” on the alert channel shows what is wrong with it."),
}
UNKNOWN = ("A task that is not ours", "Workers refuse it. Find out who may write into the queue.")


def words_of(name: str) -> tuple[str, str]:
    """What a task does, and what to do when it failed; `name` is its dotted path."""
    module, _, own = name.rpartition(".")
    if module != "connector.tasks":
        return UNKNOWN
    return TASKS.get(own, (own.replace("_", " ").capitalize(), LOOKED_AGAIN))


class _FuncOnly:
    """A "serializer" that takes the function's name out of a pickle without carrying the pickle out."""

    @staticmethod
    def loads(data: bytes) -> str:
        texts = (value for _, value, _ in pickletools.genops(data) if isinstance(value, str))
        for text in texts:
            if text == "func":
                return next(texts, "")
        return ""


def func_of(payload: str) -> str:
    """The function that a queue row names; "" where its signature is not ours or it names none."""
    try:
        return str(core_signing.loads(payload, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=_FuncOnly))
    except (core_signing.BadSignature, ValueError, TypeError, IndexError):
        return ""


@dataclass(slots=True)
class Waiting:
    """Wake-ups of one kind."""

    label: str
    waiting: int = 0
    taken: int = 0
    oldest: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A worker cluster as it told of itself seconds ago."""

    host: str
    pid: int
    status: str
    workers: int
    since: dt.datetime | None
    restarts: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds work, by its leases."""

    name: str
    transfers: int
    calls: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that failed, and what to do."""

    label: str
    remedy: str
    started: dt.datetime
    stopped: dt.datetime


@dataclass(slots=True)
class Queue:
    """All of it. `length` is None while the broker is away; `listed` False where the broker keeps its rows to itself."""

    length: int | None
    listed: bool
    waiting: list[Waiting] = field(default_factory=list)
    more: bool = False
    clusters: list[Cluster] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    beat: dt.datetime | None = None
    beat_by: str = ""
    silent: bool = False
    failed: list[Failed] = field(default_factory=list)
    posts: list[webhooks.Backlog] = field(default_factory=list)


def look() -> Queue:
    """How the queue stands now. Changes nothing."""
    listed = "orm" in settings.Q_CLUSTER
    told = Queue(_length(), listed)
    if listed:
        told.waiting, told.more = _waiting()
    told.clusters = _clusters()
    told.processes = _processes()
    row = Heartbeat.objects.filter(name=heartbeat.BEAT).first()
    if row is not None:
        told.beat, told.beat_by = row.at, row.process
        told.silent = (clock.now() - row.at).total_seconds() > heartbeat.STALE_S
    rows = Failure.objects.order_by("-stopped").values_list("func", "started", "stopped")[:SHOWN]
    told.failed = [Failed(*words_of(func), started, stopped) for func, started, stopped in rows]
    told.posts = webhooks.backlog()
    return told


def _length() -> int | None:
    try:
        return int(get_broker().queue_size())
    except Exception as error:  # the broker's own errors, of whatever library it speaks with
        logger.warning("the broker does not tell its length: %s", type(error).__name__)
        return None


def _waiting() -> tuple[list[Waiting], bool]:
    now = timezone.now()
    found: dict[str, Waiting] = {}
    rows = list(OrmQ.objects.order_by("pk").values_list("payload", "lock")[: MOST + 1])
    for payload, lock in rows[:MOST]:
        label = words_of(func_of(payload))[0]
        entry = found.setdefault(label, Waiting(label))
        # A row's lock is when it was put there; once taken, when it may be given to another worker.
        if lock is not None and lock > now:
            entry.taken += 1
            continue
        entry.waiting += 1
        if lock is not None and (entry.oldest is None or lock < entry.oldest):
            entry.oldest = lock
    return sorted(found.values(), key=lambda w: w.oldest or now), len(rows) > MOST


def _clusters() -> list[Cluster]:
    try:
        stats: list[Any] = Stat.get_all()
    except Exception as error:  # as above
        logger.warning("the clusters' own figures cannot be read: %s", type(error).__name__)
        return []
    return [Cluster(s.host, s.pid, str(s.status), len(s.workers), s.tob, s.reincarnations) for s in stats]


def _processes() -> list[Process]:
    held: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    running = Transfer.objects.filter(state=Transfer.State.RUNNING, lease_until__gt=clock.at()).order_by()
    for name, n in running.values_list("owner_process").annotate(n=Count("pk")):
        held[name][0] += n
    for name, n in Slot.objects.filter(expires_at__gt=clock.at()).order_by().values_list("owner_process", "count"):
        held[name][1] += n
    return [Process(name, *numbers) for name, numbers in sorted(held.items()) if name]

"""The one row in django-q2's clock, `connector.tasks.tick` every minute, and the proof that somebody carries it out."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django_q.models import Schedule

from connector import workers
from connector.models import Heartbeat
from connector.services import clock

TICK = "connector.tasks.tick"
BEAT = "tick"
STALE_S = 180.0
"""A tick comes every minute: three without one are no accident."""


def ensure(using: str = "default", **kwargs: Any) -> None:
    """Make the row if there is none. Called after every `migrate`; a row that somebody changed stays as it is.

    Does nothing while django-q2's own tables are missing (a `migrate` of a single app).
    """
    if Schedule._meta.db_table not in connections[using].introspection.table_names():
        return
    schedules = Schedule.objects.using(using)
    if not schedules.filter(func=TICK).exists():
        schedules.create(name="tick", func=TICK, schedule_type=Schedule.MINUTES, minutes=1, repeats=-1)


def beat(name: str = BEAT) -> None:
    """A regular job has been done, now, by this process."""
    values = {"at": clock.at(), "process": workers.process_name()}
    if not Heartbeat.objects.filter(name=name).update(**values):
        Heartbeat.objects.get_or_create(name=name, defaults=values)


def take_turn(name: str, every_s: float) -> bool:
    """Whether a job that is done every so often is to be begun now; true for one caller. The first time counts as done."""
    values = {"at": clock.at(), "process": workers.process_name()}
    if Heartbeat.objects.filter(name=name, at__lt=clock.at(-every_s)).update(**values):
        return True
    Heartbeat.objects.get_or_create(name=name, defaults=values)
    return False


def age_s(name: str = BEAT) -> float | None:
    """Seconds since the job was last done; None if it never was."""
    row: Any = Heartbeat.objects.filter(name=name).annotate(db_now=clock.at()).first()
    return max(0.0, float((row.db_now - row.at).total_seconds())) if row is not None else None

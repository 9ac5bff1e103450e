"""The one row in django-q2's clock: `connector.tasks.tick`, every minute, in every installation."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django_q.models import Schedule

TICK = "connector.tasks.tick"


def ensure(using: str = "default", **kwargs: Any) -> None:
    """Make the row if there is none. Called after every `migrate`; a row that somebody changed stays as it is.

    Does nothing while django-q2's own tables are missing (a `migrate` of a single app).
    """
    if Schedule._meta.db_table not in connections[using].introspection.table_names():
        return
    schedules = Schedule.objects.using(using)
    if not schedules.filter(func=TICK).exists():
        schedules.create(name="tick", func=TICK, schedule_type=Schedule.MINUTES, minutes=1, repeats=-1)

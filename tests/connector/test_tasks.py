"""The doors of the queue: who is served next, and that nothing spins."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django_q.models import OrmQ

from connector import tasks
from connector.models import Heartbeat, Pause, Transfer
from connector.services.engine import claiming, work
from tests.connector.admin_support import NOW, build

pytestmark = pytest.mark.django_db


def queued() -> int:
    return OrmQ.objects.count()


def test_due_work_that_cannot_move_does_not_keep_the_workers_spinning(django_capture_on_commit_callbacks: Any) -> None:
    house = build("alpha")
    Pause.objects.all().delete()
    Pause.objects.create(
        tenant=house.tenant, scope="site", connection=house.source, scope_name="S1", code="x", message="m", since=NOW
    )
    Transfer.objects.update(site="S1")
    assert work.next_integration() is not None, "there is due work"
    before = queued()
    with django_capture_on_commit_callbacks(execute=True):
        tasks.work_due()
    assert queued() == before
    assert set(Transfer.objects.values_list("state", flat=True)) == set(Transfer.State.values), "nothing moved"


def test_the_tenant_served_least_recently_goes_first() -> None:
    alpha, omega = build("alpha"), build("omega")
    Pause.objects.all().delete()
    first, second, third = (work.next_integration() for _ in range(3))
    assert [first, second, third] == [alpha.integration, omega.integration, alpha.integration]


def test_a_tick_wakes_no_more_processes_than_there_are(django_capture_on_commit_callbacks: Any, settings: Any) -> None:
    house = build("alpha")
    Pause.objects.all().delete()
    Transfer.objects.filter(integration=house.integration, state="waiting").update(due_at=NOW - dt.timedelta(days=1))
    settings.WORKER_PROCESSES = 3
    assert work.idle_processes() == 3
    with django_capture_on_commit_callbacks(execute=True):
        tasks.tick()
    assert queued() == 3
    Transfer.objects.all().update(state="done")
    assert work.idle_processes() == 0


def test_adding_up_and_sealing_are_never_in_the_way_of_work(
    django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tick is the safety net of all work: an audit that cannot be added up must not keep the workers asleep."""

    def broken() -> None:
        raise ValueError("cannot be added up")

    house = build("alpha")
    Pause.objects.all().delete()
    Transfer.objects.filter(integration=house.integration, state="waiting").update(due_at=NOW - dt.timedelta(days=1))
    sealed: list[bool] = []
    monkeypatch.setattr("connector.services.counters.catch_up", broken)
    monkeypatch.setattr("connector.services.seals.seal_if_due", lambda: sealed.append(True))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.tick()
    assert queued() > 0, "nobody was woken"
    assert Heartbeat.objects.filter(name="tick").exists()
    assert sealed == [True], "one does not wait for the other"
    assert "cannot be added up" in caplog.text, "and it is said"


def test_whose_turn_it_is_is_alone_until_another_one_has_due_work() -> None:
    alpha, omega = build("alpha"), build("omega")
    Pause.objects.all().delete()
    assert not claiming.alone(alpha.integration)
    Transfer.objects.filter(integration=omega.integration).update(state="done")
    assert claiming.alone(alpha.integration) and not claiming.alone(omega.integration)

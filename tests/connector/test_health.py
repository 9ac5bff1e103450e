"""/healthz and /readyz."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.test import Client

from connector import tasks
from connector.models import FlowState, Heartbeat, Installation, Integration, Pause, Tenant
from connector.services import clock, health, heartbeat, keys, lateness, tracking
from integrations.flows.specs import POLLS
from integrations.flows.table import KINDS
from tests.connector.admin_support import build


def test_healthz_answers_without_a_database(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"


@pytest.mark.django_db
def test_readyz_is_ready_when_database_migrations_and_keys_are(client: Client) -> None:
    keys.installation()
    answer = client.get("/readyz")
    assert answer.status_code == 200
    checks = answer.json()["checks"]
    assert [c["name"] for c in checks] == ["database", "migrations", "keys", "worker", "schedules", "clock"]
    assert [c["name"] for c in checks if c["web"]] == ["database", "migrations", "keys"]


@pytest.mark.django_db
def test_readyz_says_that_the_keys_are_wrong(client: Client) -> None:
    keys.installation()
    Installation.objects.update(key_check=Fernet(Fernet.generate_key()).encrypt(b"ml-connector").decode())
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "FIELD_ENCRYPTION_KEY" in answer.json()["checks"][-1]["message"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_safe_methods(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


def told(client: Client, path: str = "/readyz") -> tuple[int, bool, dict[str, str]]:
    """Status, `ok`, and the messages of what does not hold."""
    answer = client.get(path)
    found = answer.json()
    return answer.status_code, found["ok"], {c["name"]: c["message"] for c in found["checks"] if not c["ok"]}


@pytest.mark.django_db
def test_silent_workers_are_told_but_keep_the_web_in_service(client: Client) -> None:
    keys.installation()
    status, ok, faults = told(client)
    assert (status, ok) == (200, True)
    assert faults == {"worker": "No worker has looked for work yet. Start manage.py qcluster."}
    assert told(client, "/readyz?worker=1")[:2] == (503, False)
    heartbeat.beat()
    assert told(client, "/readyz?worker=1") == (200, True, {})
    Heartbeat.objects.update(at=clock.at(-179))
    assert told(client, "/readyz?worker=1") == (200, True, {})
    Heartbeat.objects.update(at=clock.at(-185))
    status, ok, faults = told(client, "/readyz?worker=1")
    assert (status, ok) == (503, False)
    assert faults["worker"].startswith("No worker has looked for work for 3 minutes.")
    assert told(client)[:2] == (200, True)


@pytest.mark.django_db
def test_a_tick_is_a_heartbeat_and_one_that_fails_is_none() -> None:
    house = build("alpha")
    Tenant.objects.update(timezone="Nowhere/Land")
    with pytest.raises(zoneinfo.ZoneInfoNotFoundError):
        tasks.tick()
    assert heartbeat.age_s() is None
    Tenant.objects.filter(pk=house.tenant.pk).update(timezone="UTC")
    tasks.tick()
    age = heartbeat.age_s()
    assert age is not None and age < 60


def due_house() -> Integration:
    """An integration that has been on for a day, with nothing paused and a poll each five minutes."""
    house = build("alpha")
    Pause.objects.all().delete()
    Integration.objects.update(updated_at=clock.at(-86400), created_at=clock.at(-86400), schedule={"ship": {"every_minutes": 5}})
    heartbeat.beat()
    return house.integration


def state(integration: Integration, flow: str = "ship", **values: Any) -> None:
    FlowState.objects.update_or_create(
        integration=integration, flow=flow, defaults={"tenant_id": integration.tenant_id, **values}
    )


@pytest.mark.django_db
def test_late_polls_are_told_without_naming_anybody(client: Client) -> None:
    keys.installation()
    integration = due_house()
    for flow in KINDS[integration.kind].flows:
        state(integration, flow.name, last_poll_at=clock.at(-60))
    assert told(client, "/readyz?worker=1") == (200, True, {})
    state(integration, last_poll_at=clock.at(-3600))
    status, ok, faults = told(client)
    assert (status, ok) == (200, True)
    assert faults == {"schedules": "1 poll is late, by 55 minutes at most."}
    assert told(client, "/readyz?worker=1")[:2] == (503, False)


@pytest.mark.django_db
def test_what_is_no_fault_of_the_workers_is_not_late() -> None:
    integration = due_house()
    state(integration, last_poll_at=clock.at(-3600))

    def late() -> float:
        return next(p.late_s for p in lateness.pulses() if p.flow == "ship")

    assert 3290 < late() < 3400
    state(integration, lease_until=clock.at(60))
    assert late() == 0, "a poll is under way"
    state(integration, lease_until=None)
    held = Pause.objects.create(
        tenant=integration.tenant, scope="connection", connection=integration.source, code="x", message="m", since=clock.at()
    )
    assert late() == 0, "a pause keeps it"
    held.delete()
    Integration.objects.update(updated_at=clock.at(-20))
    assert late() < 30, "it was switched on a moment ago"
    Integration.objects.update(enabled=False)
    assert list(lateness.pulses()) == []


@pytest.mark.django_db
def test_clocks_that_differ_are_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.installation()
    heartbeat.beat()
    assert abs(clock.ahead_s()) < health.CLOCK_S
    right = clock.local_now
    monkeypatch.setattr(clock, "local_now", lambda: right() - dt.timedelta(seconds=40))
    status, ok, faults = told(client)
    assert (status, ok) == (200, True)
    assert faults["clock"].startswith("The database's clock is 40 s ahead of this machine's.")


def test_every_flow_that_can_be_scheduled_is_polled_by_the_tick() -> None:
    """Lateness counts the available flows; one that the tick passes over would be late for ever."""
    available = {flow.name for kind in KINDS.values() for flow in kind.flows if flow.available}
    assert available <= {*POLLS, tracking.FLOW}

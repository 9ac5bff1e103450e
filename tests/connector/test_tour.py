"""The first steps on the dashboard: every state of the way from nothing to the first label, and the demo in one click."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from connector.models import AuditEntry, Connection, FlowState, Integration, Membership, Tenant, Transfer, User
from connector.services import clock, demo, simulators, switches, tour
from connector.services.configuration import importing
from tests.connector.admin_support import build, client_of, owner
from tests.world import World, document

pytestmark = pytest.mark.django_db
STEPS = ["tenant", "connection", "ping", "integration", "look", "label"]


@pytest.fixture
def world(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[World]:
    """Simulators that run where this installation expects them."""
    settings.SIMULATOR_STATE_DIR = tmp_path / "state"
    made = World.build(apply=False)
    monkeypatch.setenv("SIMULATOR_PORT", made.server.url.rpartition(":")[2])
    yield made
    made.close()


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """No simulators run."""
    monkeypatch.setenv("SIMULATOR_PORT", "9")


def page(user: User | None = None) -> str:
    return client_of(user or owner()).get(reverse("admin:index")).content.decode()


def states(text: str) -> dict[str, str]:
    """What the page says of every step."""
    return dict(re.findall(r'data-step="(\w+)" data-state="(\w+)"', text))


def configured(**integration: Any) -> Integration:
    importing.apply(document("http://127.0.0.1:9", "acme", **integration), "test")
    return Integration.objects.select_related("source", "target").get()


def test_an_empty_installation_begins_with_a_tenant(silence: None) -> None:
    text = page()
    assert states(text) == dict(zip(STEPS, ["now", *["later"] * 5], strict=True))
    assert reverse("admin:connector_tenant_add") in text
    assert "Try it with simulators" not in text


def test_only_part_of_the_way(silence: None) -> None:
    doc = document("http://127.0.0.1:9", "acme")
    importing.apply({"version": 1, "tenants": doc["tenants"]}, "test")
    text = page()
    assert states(text) == dict(zip(STEPS, ["done", "now", *["later"] * 4], strict=True))
    assert "Missing: the ERP and the carrier." in text
    importing.apply({"version": 1, "connections": doc["connections"][:1]}, "test")
    text = page()
    assert "Missing: the carrier." in text and "Ping acme IFS" in text, "what is there can be pinged already"
    importing.apply({"version": 1, "connections": doc["connections"][1:]}, "test")
    Connection.objects.update(health="ok")
    text = page()
    assert states(text) == dict(zip(STEPS, ["done"] * 3 + ["now"] + ["later"] * 2, strict=True))
    assert reverse("admin:connector_integration_add") in text


def test_ping_has_one_button_at_a_time(silence: None) -> None:
    made = configured(enabled=False)
    text = page()
    assert reverse("admin:connector_connection_do", args=[made.source.pk, "ping"]) in text
    assert reverse("admin:connector_connection_do", args=[made.target.pk, "ping"]) not in text
    Connection.objects.filter(pk=made.source.pk).update(ping_started_at=clock.at())
    text = page()
    assert "the ping is under way" in text and 'data-running="1"' in text
    again = page()
    [mark], [same] = (re.findall(r'data-mark="([0-9a-f]+)"', shown) for shown in (text, again))
    assert mark == same, "a card in which nothing changed stays: somebody may be about to press a button"
    Connection.objects.filter(pk=made.source.pk).update(ping_started_at=None, health="failed")
    text = page()
    assert states(text)["ping"] == "trouble" and "See what to do at acme IFS" in text


def test_an_integration_is_switched_on_and_then_looks(silence: None) -> None:
    made = configured(enabled=False)
    Connection.objects.update(health="ok")
    text = page()
    assert reverse("admin:connector_integration_do", args=[made.pk, "on"]) in text
    assert reverse("admin:connector_integration_mappings", args=[made.pk]) in text, "the dry run"
    switches.integration_switch(made, True, "test")
    text = page()
    assert states(text)["integration"] == "done" and "It is under way" in text and 'data-running="1"' in text
    Integration.objects.update(updated_at=clock.at(-1000))
    text = page()
    assert "Does the worker run?" in text and 'data-running="0"' in text
    assert reverse("admin:connector_integration_do", args=[made.pk, "run"]) in text
    FlowState.objects.create(
        tenant=made.tenant, integration=made, flow="ship", last_error={"message": "No such realm.", "remedy": "Correct it."}
    )
    text = page()
    assert states(text)["look"] == "trouble" and "It failed: No such realm. Correct it." in text


def test_a_viewer_sees_steps_without_buttons(silence: None) -> None:
    made = configured(enabled=False)
    for role in ("viewer", "operator"):
        user = User.objects.create_user(role, password="long enough for tests", is_staff=True)
        Membership.objects.create(tenant=made.tenant, user=user, role=role)
    ping = reverse("admin:connector_connection_do", args=[made.source.pk, "ping"])
    text = page(User.objects.get(username="viewer"))
    assert states(text)["ping"] == "now" and ping not in text
    assert ping in page(User.objects.get(username="operator"))


def test_the_demo_is_made_with_one_click_by_the_owner_only(world: World) -> None:
    boss = client_of(owner())
    url = reverse("admin:connector_tenant_demo")
    assert "Try it with simulators" in page() and url in page()
    assert boss.get(url).status_code == 405
    plain = User.objects.create_user("plain", password="long enough for tests", is_staff=True)
    assert client_of(plain).post(url).status_code == 403
    assert client_of(owner(), enforce_csrf_checks=True).post(url).status_code == 403
    assert not Tenant.objects.exists()

    text = boss.post(url, follow=True).content.decode()
    assert "The demo is made." in text and "Try it with simulators" not in text
    assert states(text)["tenant"] == states(text)["connection"] == states(text)["integration"] == "done"
    assert len(world.ifs.state["tenants"]["standard"]["rows"]["Shipment"]) == 25
    assert {e.actor for e in AuditEntry.objects.filter(act__endswith="_created")} == {"user:owner"}
    assert not User.objects.filter(username=demo.ADMIN).exists(), "somebody is signed in: nobody else is needed"
    entries = AuditEntry.objects.count()
    assert "It is there." in boss.post(url, follow=True).content.decode()
    assert AuditEntry.objects.count() == entries


def test_without_simulators_nothing_of_the_demo_is_made(silence: None, settings: Any, tmp_path: Any) -> None:
    settings.SIMULATOR_STATE_DIR = tmp_path / "state"
    assert not simulators.answer(9)
    text = client_of(owner()).post(reverse("admin:connector_tenant_demo"), follow=True).content.decode()
    assert "port 9 did not load the samples" in text
    assert not Tenant.objects.exists() and not (tmp_path / "state").exists()


def test_a_demo_that_may_not_call_this_machine_says_so(world: World, settings: Any) -> None:
    settings.ALLOW_PRIVATE_HOSTS = []
    text = client_of(owner()).post(reverse("admin:connector_tenant_demo"), follow=True).content.decode()
    assert "The demo was not made" in text and "ALLOW_PRIVATE_HOSTS" in text
    assert not Tenant.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_demo_goes_the_whole_way(world: World) -> None:
    demo.create(simulators.port(), running=True)
    Connection.objects.update(health="ok")
    world.slug = "demo"
    Integration.objects.update(updated_at=clock.at(-1000))
    world.sync()
    assert Transfer.objects.filter(state="failed").count() == 3
    text = page()
    assert states(text) == dict.fromkeys(STEPS, "done") and "First steps: all done" in text
    assert reverse("admin:connector_simulators") in text
    # A tenant of one's own begins at the beginning, whatever the demo has done.
    importing.apply({"version": 1, "tenants": [{"slug": "own", "name": "Own", "timezone": "UTC"}]}, "test")
    found = tour.take(None)
    assert found is not None and [s.state for s in found.steps] == ["done", "now", *["later"] * 4]
    assert "Own: one company" in page()


def test_the_tour_is_over_with_the_first_shipment_of_ones_own(silence: None) -> None:
    build("alpha")
    assert tour.take(None) is None and "First steps" not in page()
    assert client_of(owner()).get(reverse("admin:connector_tenant_tour")).status_code == 200

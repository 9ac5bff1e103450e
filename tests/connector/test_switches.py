"""Switching an integration on and off, and stopping all buying at every level."""

from __future__ import annotations

import pytest

from connector.models import (
    AuditEntry,
    Installation,
    Integration,
    Tenant,
    Transfer,
)
from connector.services import audit, switches
from connector.services.configuration.findings import InvalidConfiguration
from tests.connector.configuration_support import acts, imported, waiting, with_integration

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("acme_environment")]


def test_switching_on_polls_at_once_and_lets_go_what_was_held(django_capture_on_commit_callbacks, woken):
    imported(with_integration(enabled=False))
    integration = Integration.objects.get()
    held = waiting(code="switched_off")
    with django_capture_on_commit_callbacks(execute=True):
        assert switches.integration_switch(integration, True, "anna")
        assert not switches.integration_switch(integration, True, "anna")
    assert ("connector.tasks.poll", integration.pk, "ship") in woken
    assert ("connector.tasks.poll", integration.pk, "track") in woken
    assert Transfer.objects.get(pk=held.pk).due_at < held.due_at
    assert acts().count("integration_on") == 1
    assert switches.integration_switch(integration, False, "anna", "stocktaking")
    entry = AuditEntry.objects.get(act="integration_off")
    assert (entry.actor, entry.detail.detail) == ("anna", {"reason": "stocktaking"})


def test_an_integration_that_this_release_cannot_run_is_not_switched_on():
    imported(with_integration(enabled=False))
    Integration.objects.update(kind="ifs_ups")
    with pytest.raises(InvalidConfiguration, match="cannot run"):
        switches.integration_switch(Integration.objects.get(), True, "anna")
    assert not Integration.objects.get().enabled


@pytest.mark.parametrize("level", ["installation", "tenant", "integration"])
def test_buying_is_stopped_and_allowed_again_at_every_level(level, django_capture_on_commit_callbacks, woken):
    imported()
    obj = {"installation": None, "tenant": Tenant.objects.get(), "integration": Integration.objects.get()}[level]
    held = waiting(code="stop_buying")
    assert switches.stop_buying(level, obj, True, "anna", "fire drill")
    assert not switches.stop_buying(level, obj, True, "anna")
    row = {"installation": Installation, "tenant": Tenant, "integration": Integration}[level].objects.get()
    assert (row.stop_buying, row.stop_buying_reason) == (True, "fire drill")
    assert Transfer.objects.get(pk=held.pk).due_at == held.due_at
    with django_capture_on_commit_callbacks(execute=True):
        assert switches.stop_buying(level, obj, False, "anna")
    row.refresh_from_db()
    assert (row.stop_buying, row.stop_buying_reason) == (False, "")
    assert Transfer.objects.get(pk=held.pk).due_at < held.due_at
    assert any(name.startswith("connector.tasks.work") for name, *_ in woken)
    entries = AuditEntry.objects.filter(act__startswith="stop_buying")
    assert [e.act for e in entries.order_by("pk")] == ["stop_buying_on", "stop_buying_off"]
    assert {e.chain for e in entries} == {"installation" if level == "installation" else f"tenant:{Tenant.objects.get().pk}"}
    assert list(audit.verify()) == []


def test_a_level_goes_with_its_object():
    with pytest.raises(TypeError):
        switches.stop_buying("tenant", None, True, "anna")
    assert not Installation.objects.filter(stop_buying=True).exists()

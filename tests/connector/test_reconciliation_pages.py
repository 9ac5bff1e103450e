"""Reconciliation in the console, by command, on the dashboard and as alerts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse

from connector.models import Alert, AuditEntry, FlowState, ReconciliationFinding, ReconciliationRun
from connector.services import clock
from connector.services.alerts import looking
from connector.services.configuration import findings, importing
from connector.services.reconcile import kinds
from tests.connector.admin_support import House, build, client_of, owner
from tests.world import document

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return build("alpha")


def press(house: House, role: str, reason: str = "", **changes: Any) -> Any:
    ReconciliationFinding.objects.filter(pk=house.finding.pk).update(**changes)
    url = reverse("admin:connector_reconciliationfinding_do", args=[house.finding.pk, "remedy"])
    return client_of(house.person(role)).post(url, {"reason": reason, "back": "open"}, follow=True)


def test_the_page_shows_what_is_open_with_one_button(house: House) -> None:
    page = reverse("admin:connector_findings")
    text = client_of(house.person("operator")).get(page).content.decode()
    assert "Shipped outside this system (1)" in text and "mark-alpha ours" in text
    assert text.count("Mark as known …") == 1
    assert "<script>alert(1)" not in text and "&lt;script&gt;alert(1)" in text
    assert "Mark as known …" not in client_of(house.person("viewer")).get(page).content.decode()
    assert "?kind=erp_extra" in client_of(owner()).get(reverse("admin:index")).content.decode()


def test_marking_as_known_needs_a_reason_and_is_kept(house: House) -> None:
    assert "Give a reason" in press(house, "operator").content.decode()
    press(house, "operator", "shipped from the desk")
    row = ReconciliationFinding.objects.get(pk=house.finding.pk)
    assert (row.state, row.remedied_by, row.reason) == ("known", "user:operator-alpha", "shipped from the desk")
    entry = AuditEntry.objects.get(act="remedied")
    assert entry.actor == "user:operator-alpha" and entry.facts["remedy"] == "known"
    assert "1 marked as known" in client_of(owner()).get(reverse("admin:connector_findings")).content.decode()


def test_looking_at_everything_is_for_administrators(house: House) -> None:
    changes = {"kind": "erp_unseen", "remedy": "look"}
    assert press(house, "operator", "where are they", **changes).status_code == 403
    assert not FlowState.objects.filter(cursor__has_key="look").exists()
    assert press(house, "administrator", "where are they", **changes).status_code == 200
    assert FlowState.objects.get(integration=house.integration, flow="ship").cursor["look"]["by"] == "user:administrator-alpha"


def test_what_has_moved_is_left_alone(house: House) -> None:
    for remedy in (r for r in kinds.REMEDIES.values() if r.name not in ("known", "look")):
        text = press(house, "administrator", "x", remedy=remedy.name).content.decode()
        assert "It has changed since the comparison" in text or "freight cost" in text or "not be found" in text, remedy.name


def test_compare_now_begins_one_comparison(house: House) -> None:
    url = reverse("admin:connector_integration_do", args=[house.integration.pk, "compare"])
    client = client_of(house.person("operator"))
    for _ in range(2):
        assert "are compared" in client.post(url, follow=True).content.decode()
    run = ReconciliationRun.objects.get(state="running")
    assert run.asked_by == "user:operator-alpha" and run.call_limit == 2000
    page = client.get(reverse("admin:connector_comparison_progress", args=[run.pk])).content.decode()
    assert "compared, now our labels with the ERP" in page


def test_a_new_finding_is_an_alert_once(house: House) -> None:
    ReconciliationFinding.objects.update(first_seen_at=clock.now())
    looking.look()
    looking.look()
    alert = Alert.objects.get(cause="finding")
    assert alert.count == 1 and "Shipped outside this system" in alert.title
    assert "mark-alpha" not in alert.title + alert.detail, "nothing of a document leaves the house"


def test_the_command_refuses_what_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call_command("reconcile", "nothing", "--json")
    assert left.value.code == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_the_time_is_checked_as_it_is_entered() -> None:
    doc = document("http://127.0.0.1:9", "beta", options={"reconcile_at": "2:30"})
    with pytest.raises(findings.InvalidConfiguration, match="02:30"):
        importing.apply(doc, "test")
    doc["integrations"][0]["options"]["reconcile_at"] = "02:30"
    importing.apply(doc, "test")

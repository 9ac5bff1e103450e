"""The pages of a back-fill: period, preview, confirm, progress, stop; by role."""

from __future__ import annotations

import pytest
from django.urls import reverse

from connector.models import Backfill, SourceRecord
from tests.connector.admin_support import NOW, House, build, client_of

pytestmark = pytest.mark.django_db

PERIOD = {"first": "2026-01-01", "last": "2026-12-31"}


@pytest.fixture
def house() -> House:
    """A tenant with three documents from before the start and no back-fill under way."""
    made = build("alpha")
    Backfill.objects.all().delete()
    for number in range(3):
        SourceRecord.objects.create(
            tenant=made.tenant,
            integration=made.integration,
            flow="ship",
            source_key=f"shipment:9{number}",
            document_kind="shipment",
            before_start=True,
            document_date=NOW,
            first_seen_at=NOW,
            last_seen_at=NOW,
        )
    return made


def test_preview_confirm_progress_stop(house: House) -> None:
    operator = client_of(house.person("operator"))
    page = reverse("admin:connector_backfill_new", args=[house.integration.pk])
    shown = operator.get(page, PERIOD).content.decode()
    assert "Ship these 3 documents" in shown and "unknown: nothing has been bought" not in shown.replace("9.50", "")
    assert Backfill.objects.count() == 0
    answer = operator.post(page, PERIOD | {"reason": "go-live"})
    made = Backfill.objects.get()
    assert answer.url == reverse("admin:connector_backfill_change", args=[made.pk])
    assert (made.begun, made.reason, made.created_by) == (3, "go-live", "user:operator-alpha")
    assert "3 of 3 begun" in operator.get(answer.url).content.decode()
    operator.post(reverse("admin:connector_backfill_do", args=[made.pk, "stop"]), {"reason": "enough"})
    made.refresh_from_db()
    assert made.state == "stopped"


def test_a_period_that_ends_before_it_begins_is_told_at_its_field(house: House) -> None:
    page = reverse("admin:connector_backfill_new", args=[house.integration.pk])
    shown = client_of(house.person("operator")).get(page, {"first": "2026-02-01", "last": "2026-01-01"}).content.decode()
    assert "It lies before the first day" in shown and "Ship these" not in shown


def test_a_viewer_and_a_stranger_begin_nothing(house: House) -> None:
    page = reverse("admin:connector_backfill_new", args=[house.integration.pk])
    assert client_of(house.person("viewer")).post(page, PERIOD).status_code == 403
    stranger = build("omega").person("administrator")
    assert client_of(stranger).post(page, PERIOD).status_code == 404
    assert Backfill.objects.filter(tenant=house.tenant).count() == 0

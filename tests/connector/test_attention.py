"""Causes: one row for equal faults, pages and acts within the tenant, people who take care."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from connector.models import AuditDetail, AuditEntry, Handling, Pause, Transfer
from connector.services import attention
from connector.services.attention import Cause
from tests.connector.admin_support import NOW, House, build, client_of, transfer

pytestmark = pytest.mark.django_db


@pytest.fixture
def houses() -> tuple[House, House]:
    made = build("alpha"), build("omega")
    for house in made:
        for number in range(20, 24):
            one = transfer(house, number, "failed")
            Transfer.objects.filter(pk=one.pk).update(
                error={"vendor_code": "X.1", "vendor_text": "bad", "field": "city"}, code="refused"
            )
    return made


def cause_of(house: House, code: str = "refused") -> Cause:
    found = attention.groups(Transfer.objects.filter(tenant=house.tenant))
    return next(g.cause for g in found if g.cause.code == code)


def test_equal_faults_are_one_row(houses: tuple[House, House], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        found = attention.groups(Transfer.objects.filter(tenant=houses[0].tenant))
    by_code = {g.cause.code: g for g in found}
    assert by_code["refused"].count == 4
    assert (by_code["refused"].cause.vendor_code, by_code["refused"].cause.field) == ("X.1", "city")
    assert by_code["unmapped_service"].count == 1
    assert {g.cause.state for g in found} == {"failed", "in_doubt", "needs_approval"}


def test_what_is_paused_stands_among_what_needs_a_person(houses: tuple[House, House]) -> None:
    """Documents behind a refused login wait, and are on no list of faults: the login needs the person."""
    alpha, omega = houses
    client = client_of(alpha.person("viewer"))
    url = reverse("admin:connector_causes")
    text = client.get(url).content.decode()
    assert f"{alpha.mark} paused" in text and f"{omega.mark} paused" not in text
    assert reverse("admin:connector_connection_change", args=[alpha.target.pk]) in text
    Transfer.objects.update(state="done", attention=None)
    assert "Nothing needs a person" not in client.get(url).content.decode()
    Pause.objects.update(state="ended")
    text = client.get(url).content.decode()
    assert "Nothing needs a person" in text and 'id="pauses"' not in text


@pytest.mark.parametrize("page", ["connector_causes", "index"])
def test_a_cause_names_whose_words_it_shows(houses: tuple[House, House], page: str) -> None:
    alpha = houses[0]
    text = client_of(alpha.person("viewer")).get(reverse(f"admin:{page}")).content.decode()
    assert f"Shipment {alpha.mark}23 and 3 more" in text, "the newest of four"
    alone = alpha.transfers["needs_approval"].source_key.partition(":")[2]
    assert f"Shipment {alone}" in text and f"Shipment {alone} and" not in text


def test_the_page_shows_only_the_tenants_own(houses: tuple[House, House]) -> None:
    alpha, omega = houses
    client = client_of(alpha.person("viewer"))
    text = client.get(reverse("admin:connector_causes")).content.decode()
    assert alpha.mark in text and omega.mark not in text
    url = reverse("admin:connector_cause")
    own = client.get(f"{url}?{cause_of(alpha).query}").content.decode()
    assert "Calls to alpha IFS" in own and "Replay these" not in own, "a viewer may look"
    assert client.get(f"{url}?{cause_of(omega).query}").status_code == 404
    assert client.get(f"{url}?integration=x").status_code == 404


def test_one_press_replays_what_was_shown(houses: tuple[House, House]) -> None:
    alpha, omega = houses
    client = client_of(alpha.person("operator"))
    page = client.get(f"{reverse('admin:connector_cause')}?{cause_of(alpha).query}").content.decode()
    assert 'id="mlc-labels">4<' in page
    ids = [t.pk for t in attention.members(Transfer.objects.all(), cause_of(alpha))]
    assert f'value="{",".join(map(str, ids))}"' in page
    foreign = [t.pk for t in attention.members(Transfer.objects.all(), cause_of(omega))]
    act = reverse("admin:connector_cause_act")
    assert client.get(act).status_code == 405
    told = ",".join(map(str, [*ids, *foreign]))
    client.post(act, {"do": "replay", "ids": told})
    assert set(Transfer.objects.filter(pk__in=ids).values_list("state", flat=True)) == {"waiting"}
    assert set(Transfer.objects.filter(pk__in=foreign).values_list("state", flat=True)) == {"failed"}, "not his"
    again = client.post(act, {"do": "replay", "ids": told}, follow=True).content.decode()
    assert "4 left out" in again
    assert client_of(alpha.person("viewer")).post(act, {"do": "replay", "ids": told}).status_code == 403


def test_a_person_takes_care_and_the_history_keeps_it(houses: tuple[House, House]) -> None:
    alpha, omega = houses
    operator = alpha.person("operator")
    client = client_of(operator)
    ids = ",".join(str(t.pk) for t in attention.members(Transfer.objects.all(), cause_of(alpha)))
    act = reverse("admin:connector_cause_act")
    client.post(act, {"do": "take", "ids": ids, "assignee": str(omega.person("operator").pk), "note": "n"})
    assert not Handling.objects.exists(), "not a person of the tenant"
    client.post(act, {"do": "take", "ids": ids, "assignee": str(operator.pk), "note": "asked the customer"})
    assert Handling.objects.filter(assignee=operator, note="asked the customer").count() == 4
    assert "operator-alpha" in client.get(reverse("admin:connector_causes")).content.decode()
    entry = AuditEntry.objects.filter(act="handled_by").first()
    assert entry is not None and entry.facts == {"assignee": "operator-alpha"}
    assert AuditDetail.objects.get(entry=entry).detail == {"note": "asked the customer"}
    client.post(act, {"do": "take", "ids": ids, "assignee": "", "note": ""})
    assert not Handling.objects.exclude(assignee=None).exists()


def test_what_succeeded_meanwhile_is_gone(houses: tuple[House, House]) -> None:
    alpha, _ = houses
    cause = cause_of(alpha)
    Transfer.objects.filter(tenant=alpha.tenant, code="refused").update(state="done", updated_at=NOW)
    page = client_of(alpha.person("operator")).get(f"{reverse('admin:connector_cause')}?{cause.query}").content.decode()
    assert "Nothing stands here any more" in page

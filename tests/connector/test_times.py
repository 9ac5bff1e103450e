"""Times on the console's pages: in the tenant's zone, UTC on hover; lists and pages say what they are."""

from __future__ import annotations

import datetime as dt

import pytest
from django.urls import reverse
from django.utils import timezone

from connector import times
from connector.models import Tenant
from tests.connector.admin_support import House, build, client_of, owner

pytestmark = pytest.mark.django_db
MOMENT = dt.datetime(2026, 1, 5, 17, 30, 12, tzinfo=dt.UTC)


@pytest.fixture
def house() -> House:
    return build("alpha")


def test_a_moment_is_local_with_utc_on_hover() -> None:
    with timezone.override("America/Chicago"):
        shown = times.moment(MOMENT)
        assert shown == '<time datetime="2026-01-05T17:30:12Z" title="2026-01-05 17:30:12 UTC">2026-01-05 11:30</time>'
        assert ">2026-01-05 11:30:12<" in times.moment(MOMENT, seconds=True)
    assert times.moment(None) == "never" and times.moment(None, never="not yet") == "not yet"


def test_a_page_shows_the_zone_of_its_tenant(house: House) -> None:
    """To the owner as well, who has no tenant and so no zone of his own; a list over several zones stays in UTC."""
    build("beta")
    Tenant.objects.filter(slug="beta").update(timezone="Europe/Berlin")
    Tenant.objects.filter(slug="alpha").update(timezone="Asia/Tokyo")
    client = client_of(owner())
    page = client.get(reverse("admin:connector_transfer_change", args=[house.transfers["failed"].pk])).content.decode()
    assert "Times: Asia/Tokyo" in page
    local = house.transfers["failed"].updated_at.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert f">{local:%Y-%m-%d %H:%M}</time>" in page
    listed = client.get(reverse("admin:connector_transfer_changelist") + "?show=all").content.decode()
    assert "Times: UTC" in listed


def test_the_owner_sees_the_zone_that_all_tenants_share(house: House) -> None:
    Tenant.objects.update(timezone="Asia/Tokyo")
    page = client_of(owner()).get(reverse("admin:connector_transfer_changelist")).content.decode()
    assert "Times: Asia/Tokyo" in page


def test_every_list_has_a_title_of_its_own_and_says_why_it_is_empty() -> None:
    client = client_of(owner())
    for name in ("transfer", "shipment", "alert", "integration", "connection", "alertchannel", "backfill", "tenant"):
        page = client.get(reverse(f"admin:connector_{name}_changelist")).content.decode()
        assert "to view |" not in page, name
        assert "No results found" not in page and "mlc-empty" in page and "Nothing here yet" not in page, name
    page = client.get(reverse("admin:connector_tenant_changelist") + "?q=zzz").content.decode()
    assert "mlc-empty" in page


def test_a_list_shows_its_buttons_only_to_those_who_may_press_them(house: House) -> None:
    for name, query, button in (
        ("transfer", "?show=all", "Replay"),
        ("integration", "", "Run now"),
        ("connection", "", "Ping"),
    ):
        address = reverse(f"admin:connector_{name}_changelist") + query
        pages = {role: client_of(house.person(role)).get(address).content.decode() for role in ("viewer", "operator")}
        assert 'form="mlc-row"' not in pages["viewer"], name
        assert f">{button}</button>" in pages["operator"] or "Switch on" in pages["operator"], name


def test_the_audit_is_searched_by_the_words_it_shows(house: House) -> None:
    client = client_of(house.person("viewer"))
    for term in ("ping", "Ping"):
        page = client.get(reverse("admin:connector_auditentry_changelist"), {"q": term}).content.decode()
        assert "mlc-empty" not in page and ">Ping<" in page

"""Two people have one form open: nothing of either is lost without a word."""

from __future__ import annotations

import datetime as dt
import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from connector.models import AlertChannel, Connection, Integration, Tenant
from connector.services.alerts import channels
from connector.services.alerts.channels import ChannelInput
from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_setup_forms import edit_url, untouched

pytestmark = pytest.mark.django_db
ADDRESS = {"company": "Acme", "lines": ["1 Dock Rd"], "city": "Memphis", "state": "TN", "postal_code": "38116", "country": "US"}


@pytest.fixture
def house() -> House:
    return build("alpha")


@pytest.fixture(autouse=True)
def own_zone() -> Iterator[None]:
    """A request leaves the zone of its page behind."""
    yield
    timezone.deactivate()


class Person:
    """Somebody who opens a form, and saves it later."""

    def __init__(self, client: Client, url: str) -> None:
        self.client, self.url = client, url
        page = client.get(url).content.decode()
        found = re.search(r'name="seen" value="([^"]*)"', page)
        self.entered = untouched(client, url) | ({"seen": html.unescape(found[1])} if found else {})

    def saves(self, **changes: Any) -> Any:
        """What the console answers; where it asks again, the next save has seen that page."""
        answer = self.client.post(self.url, self.entered | changes, follow=False)
        if answer.status_code == 200:
            found = re.search(r'name="seen" value="([^"]*)"', answer.content.decode())
            self.entered |= changes | ({"seen": html.unescape(found[1])} if found else {})
        return answer


def two(house: House, kind: str, obj: Any) -> tuple[Person, Person]:
    """Both have the form open."""
    url = edit_url(kind, obj)
    return Person(client_of(house.person("administrator")), url), Person(client_of(owner()), url)


def test_different_fields_of_an_integration_both_stay(house: House) -> None:
    ann, bob = two(house, "integration", house.integration)
    assert ann.saves(option_label_format="ZPLII", schedule_ship_every="9").status_code == 302
    assert bob.saves(name="Renamed").status_code == 302
    now = Integration.objects.get(pk=house.integration.pk)
    assert (now.name, now.options["label_format"], now.schedule["ship"]["every_minutes"]) == ("Renamed", "ZPLII", 9)


def test_the_same_field_is_shown_with_both_values_and_saved_on_a_second_word(house: House) -> None:
    ann, bob = two(house, "integration", house.integration)
    assert ann.saves(option_label_format="ZPLII").status_code == 302
    answer = bob.saves(option_label_format="PNG", name="Renamed")
    assert answer.status_code == 200
    errors = answer.context["form"].errors
    assert list(errors) == ["option_label_format"] and "ZPLII" in str(errors)
    assert answer.context["form"]["option_label_format"].value() == "PNG", "what was entered is still there"
    now = Integration.objects.get(pk=house.integration.pk)
    assert (now.options["label_format"], now.name) == ("ZPLII", house.integration.name), "nothing was saved"
    assert bob.saves().status_code == 302
    now = Integration.objects.get(pk=house.integration.pk)
    assert (now.options["label_format"], now.name) == ("PNG", "Renamed")


def test_the_same_value_from_both_is_no_conflict(house: House) -> None:
    ann, bob = two(house, "integration", house.integration)
    assert ann.saves(name="Renamed").status_code == 302
    assert bob.saves(name="Renamed").status_code == 302


def test_different_sites_and_fields_of_a_connection_both_stay(house: House) -> None:
    first = house.source.company_codes.get(code="10").sites.order_by("code")[0]
    first.address = ADDRESS
    first.save()
    ann, bob = two(house, "connection", house.source)
    place = place_of(ann, first.code)
    assert ann.saves(**{f"{place}-address_city": "Nashville"}, setting_max_parallel="3").status_code == 302
    assert bob.saves(**{f"{place}-address_phone": "9015550100", "companies-0-cost_center": "CC-9"}).status_code == 302
    first.refresh_from_db()
    assert (first.address["city"], first.address["phone"], first.company_code.cost_center) == ("Nashville", "9015550100", "CC-9")
    assert Connection.objects.get(pk=house.source.pk).settings["max_parallel"] == 3


def place_of(person: Person, code: str) -> str:
    """Where the row of a site stands in the form."""
    return next(k for k, v in person.entered.items() if v == code and k.endswith("-code")).rpartition("-")[0]


def test_a_site_that_one_adds_and_one_that_the_other_adds_are_both_there(house: House) -> None:
    ann, bob = two(house, "connection", house.source)
    place = f"sites-{int(ann.entered['sites-TOTAL_FORMS']) - 1}"
    assert ann.saves(**{f"{place}-company": "10", f"{place}-code": "A9"}).status_code == 302
    assert bob.saves(**{f"{place}-company": "10", f"{place}-code": "B9"}).status_code == 302
    assert {"A9", "B9"} <= set(house.source.company_codes.get(code="10").sites.values_list("code", flat=True))


def test_the_same_field_of_a_site_is_told_at_its_row(house: House) -> None:
    site = house.source.company_codes.get(code="10").sites.order_by("code")[0]
    ann, bob = two(house, "connection", house.source)
    place = place_of(ann, site.code)
    assert ann.saves(**{f"{place}-cut_off": "15:00"}).status_code == 302
    answer = bob.saves(**{f"{place}-cut_off": "17:30"})
    assert answer.status_code == 200
    row = next(r for r in answer.context["rows"].sites if r.prefix == place)
    assert "15:00" in str(row.errors["cut_off"])
    site.refresh_from_db()
    assert site.cut_off == dt.time(15)
    assert bob.saves().status_code == 302
    site.refresh_from_db()
    assert site.cut_off == dt.time(17, 30)


def test_a_row_that_one_removes_and_the_other_changes_is_not_lost_in_silence(house: House) -> None:
    company = house.source.company_codes.get(code="10")
    company.sites.create(tenant=house.tenant, code="Z1", timezone="UTC")
    company.sites.create(tenant=house.tenant, code="Z2", timezone="UTC")
    ann, bob = two(house, "connection", house.source)
    first, second = place_of(ann, "Z1"), place_of(ann, "Z2")
    assert ann.saves(**{f"{first}-DELETE": "on", f"{second}-cut_off": "15:00"}).status_code == 302
    answer = bob.saves(**{f"{first}-cut_off": "16:00", f"{second}-DELETE": "on"})
    assert answer.status_code == 200
    text = answer.content.decode()
    assert "removed this while you had the page open" in text and "remove it all the same" in text
    assert set(company.sites.values_list("code", flat=True)) >= {"Z2"} and not company.sites.filter(code="Z1").exists()
    again = answer.context["rows"].sites
    assert any(row.data.get(f"{row.prefix}-code") == "Z1" for row in again), "what bob entered is still there"


def test_a_row_that_one_removes_and_the_other_leaves_alone_is_gone(house: House) -> None:
    company = house.source.company_codes.get(code="10")
    company.sites.create(tenant=house.tenant, code="Z1", timezone="UTC")
    ann, bob = two(house, "connection", house.source)
    assert ann.saves(**{f"{place_of(ann, 'Z1')}-DELETE": "on"}).status_code == 302
    assert bob.saves(name="Renamed").status_code == 302
    assert not company.sites.filter(code="Z1").exists()


def test_a_secret_that_both_enter_is_asked_for_again_and_never_shown(house: House) -> None:
    ann, bob = two(house, "connection", house.source)
    assert "secret-of-alpha" not in ann.entered["seen"]
    assert ann.saves(credential_client_secret="of-ann").status_code == 302
    answer = bob.saves(credential_client_secret="of-bob")
    assert list(answer.context["form"].errors) == ["credential_client_secret"] and "of-ann" not in answer.content.decode()
    assert Connection.objects.get(pk=house.source.pk).secrets()["client_secret"] == "of-ann"
    assert bob.saves(credential_client_secret="of-bob").status_code == 302
    assert Connection.objects.get(pk=house.source.pk).secrets()["client_secret"] == "of-bob"


def test_tenants_and_channels_too(house: House) -> None:
    ann, bob = (Person(client_of(owner()), edit_url("tenant", house.tenant)) for _ in range(2))
    assert ann.saves(timezone="Europe/Berlin").status_code == 302
    assert bob.saves(name="Renamed").status_code == 302
    tenant = Tenant.objects.get(pk=house.tenant.pk)
    assert (tenant.name, tenant.timezone) == ("Renamed", "Europe/Berlin")
    channel = channels.channel_save("mail", tenant, ChannelInput("post", ("failed",), addresses=("a@x.test",)), "test")
    ann, bob = two(house, "alertchannel", channel)
    assert ann.saves(addresses="b@x.test").status_code == 302
    assert bob.saves(causes=["failed", "paused"]).status_code == 302
    channel = AlertChannel.objects.get(pk=channel.pk)
    assert channel.addresses == ["b@x.test"] and set(channel.causes) == {"failed", "paused"}


def test_what_somebody_else_changed_is_told_after_saving(house: House) -> None:
    ann, bob = two(house, "integration", house.integration)
    assert ann.saves(name="Renamed").status_code == 302
    answer = bob.client.post(bob.url, bob.entered | {"option_label_format": "PNG"}, follow=True)
    assert "Somebody else changed this meanwhile, and that stays: Name" in answer.content.decode()


def test_an_owner_of_many_zones_saves_the_start_that_was_shown(house: House) -> None:
    Tenant.objects.filter(pk=house.tenant.pk).update(timezone="America/Chicago")
    start = dt.datetime(2026, 1, 2, 6, tzinfo=dt.UTC)
    Integration.objects.filter(pk=house.integration.pk).update(start_from=start)
    Tenant.objects.filter(pk=build("beta").tenant.pk).update(timezone="Asia/Tokyo")
    client = client_of(owner())
    bob = Person(client, edit_url("integration", house.integration))
    timezone.deactivate()  # a request begins without the zone of the one before
    assert bob.saves(name="Renamed").status_code == 302
    assert Integration.objects.get(pk=house.integration.pk).start_from == start

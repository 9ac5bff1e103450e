"""The forms of connections and integrations: fields instead of JSON, and nothing changed that nobody touched."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connector.forms.setting_fields import settings_initial
from connector.forms.setup import CompanyRows, IntegrationForm, integration_initial
from connector.models import AuditEntry, Connection, Integration
from integrations import registry
from integrations.flows.table import KINDS, OPTION_TOPICS
from tests.connector.admin_support import House, build, client_of

pytestmark = pytest.mark.django_db
KIND = KINDS["ifs_fedex"]


@pytest.fixture
def house() -> House:
    return build("alpha")


def posted(form: Any) -> dict[str, Any]:
    """What a browser sends for a form nobody touched."""
    made: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if value is None or (value == [] and not bound.field.widget.allow_multiple_selected):
            value = ""
        made[bound.html_name] = bound.field.prepare_value(value) if hasattr(bound.field, "prepare_value") else value
    return made


def untouched(client: Client, url: str) -> dict[str, Any]:
    answer = client.get(url)
    context = answer.context
    made = posted(context["form"])
    if shown := re.search(r'name="start_from" value="([^"]*)"', answer.content.decode()):
        made["start_from"] = shown[1]  # in the page's time zone, which is over by now
    rows = context.get("rows")
    for formset in (rows.companies, rows.sites) if rows is not None else ():
        made |= posted(formset.management_form)
        for row in formset:
            made |= {k: v for k, v in posted(row).items() if not k.endswith("DELETE")}
    return made


def edit_url(kind: str, obj: Any) -> str:
    return reverse(f"admin:connector_{kind}_edit", args=[obj.pk])


def test_an_integration_saved_untouched_is_unchanged(house: House) -> None:
    stored = house.integration
    stored.options = {"label_format": "PDF", "residential": False, "default_service": "FEDEX_GROUND", "documents": ["shipment"]}
    stored.schedule = {"ship": {"daily_at": ["06:00"], "weekdays": [0, 1], "hours": [5, 20]}, "track": {"every_minutes": 7}}
    stored.company_codes = ["10"]
    stored.start_from = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)  # what "now" left: the field shows whole seconds
    stored.save()
    client = client_of(house.person("operator"))
    before = AuditEntry.objects.count()
    answer = client.post(edit_url("integration", stored), untouched(client, edit_url("integration", stored)))
    assert answer.status_code == 302, answer.context["form"].errors
    now = Integration.objects.get(pk=stored.pk)
    assert (now.options, now.schedule, now.company_codes) == (stored.options, stored.schedule, stored.company_codes)
    assert now.start_from == stored.start_from
    assert AuditEntry.objects.count() == before, [(e.act, e.facts) for e in AuditEntry.objects.order_by("pk")][before:]


def test_options_and_schedules_are_entered_field_by_field(house: House) -> None:
    url = edit_url("integration", house.integration)
    client = client_of(house.person("operator"))
    entered = untouched(client, url) | {
        "option_label_format": "ZPLII",
        "option_residential": "true",
        "option_write_ship_date": "",
        "option_scan_within_hours": "12",
        "option_track_statuses": ["delivered"],
        "schedule_ship_every": "",
        "schedule_ship_daily": "06:00, 14:30",
        "schedule_ship_days": ["0", "4"],
        "schedule_ship_from": "6",
        "schedule_ship_until": "",
    }
    answer = client.post(url, entered)
    assert answer.status_code == 302, answer.context["form"].errors
    now = Integration.objects.get(pk=house.integration.pk)
    wanted = {"label_format": "ZPLII", "residential": True, "scan_within_hours": 12, "track_statuses": ["delivered"]}
    assert {k: v for k, v in now.options.items() if k in (*wanted, "write_ship_date")} == wanted
    assert now.schedule["ship"] == {"daily_at": ["06:00", "14:30"], "weekdays": [0, 4], "hours": [6, 24]}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("schedule_ship_daily", "6 o'clock", "02:00"),
        ("schedule_ship_every", "0", "1"),
        ("schedule_track_daily", "06:00", "not both"),
        ("schedule_ship_days", [], "day"),
        ("option_label_stock_type", "STOCK_4X6", "label_format"),
        ("option_scan_within_hours", "-1", "0"),
        ("company_codes", "99", "99"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(house: House, field: str, value: Any, said: str) -> None:
    url = edit_url("integration", house.integration)
    client = client_of(house.person("operator"))
    answer = client.post(url, untouched(client, url) | {"schedule_track_every": "30", field: value})
    errors = answer.context["form"].errors
    assert list(errors) == [field] and said in str(errors[field]), errors
    [section] = [s for s in answer.context["form"].sections if field in s.names]
    assert section.open, "the group with the error is not folded"
    assert Integration.objects.get(pk=house.integration.pk).schedule == house.integration.schedule


def test_every_option_stands_under_one_topic() -> None:
    names = [name for topic in OPTION_TOPICS.values() for name in topic]
    assert len(names) == len(set(names))
    assert set(names) == {o.name for kind in KINDS.values() for o in kind.options}


def test_a_connection_saved_untouched_is_unchanged(house: House) -> None:
    stored = house.source
    stored.settings = {"realm": "standard1", "max_parallel": 3, "page_size": 50}
    stored.save()
    client = client_of(house.person("administrator"))
    url = edit_url("connection", stored)
    before = AuditEntry.objects.count()
    answer = client.post(url, untouched(client, url))
    assert answer.status_code == 302, (answer.context["form"].errors, answer.context["rows"].sites.errors)
    assert Connection.objects.get(pk=stored.pk).settings == stored.settings
    assert AuditEntry.objects.count() == before


def test_company_codes_and_sites_are_rows(house: House) -> None:
    client = client_of(house.person("administrator"))
    url = edit_url("connection", house.source)
    entered = untouched(client, url)
    last_company, last_site = (int(entered[f"{kind}-TOTAL_FORMS"]) - 1 for kind in ("companies", "sites"))
    entered |= {f"companies-{last_company}-code": "30", f"companies-{last_company}-cost_center": "CC-300"}
    place = f"sites-{last_site}-"
    entered |= {f"{place}company": "30", f"{place}code": "S9", f"{place}timezone": "America/Chicago", f"{place}cut_off": "16:00"}
    entered |= {f"{place}address_lines": "1 Dock Rd\n\n Door 3", f"{place}address_country": "us"}
    answer = client.post(url, entered)
    assert answer.status_code == 302, (answer.context["rows"].companies.errors, answer.context["rows"].sites.errors)
    company = house.source.company_codes.get(code="30")
    site = company.sites.get()
    assert (company.cost_center, site.code, site.timezone, str(site.cut_off)) == ("CC-300", "S9", "America/Chicago", "16:00:00")
    assert site.address == {"lines": ["1 Dock Rd", "Door 3"], "country": "US"}
    again = untouched(client, url)
    at = next(k for k, v in again.items() if v == "S9").rpartition("-")[0]
    assert client.post(url, again | {f"{at}-DELETE": "on"}).status_code == 302
    assert not company.sites.exists()


def test_a_wrong_row_is_told_at_the_row_and_nothing_is_lost(house: House) -> None:
    client = client_of(house.person("administrator"))
    url = edit_url("connection", house.source)
    entered = untouched(client, url)
    place = f"sites-{int(entered['sites-TOTAL_FORMS']) - 1}"
    for added, field, said in (
        ({"company": "nope", "code": "S9"}, "company", "no such company code"),
        ({"company": "10", "code": "S9", "timezone": "Moon/Base"}, "timezone", "Moon/Base"),
        ({"company": "10", "code": "S9", "address_country": "ZZ"}, "address_country", "country code"),
    ):
        answer = client.post(url, entered | {f"{place}-{k}": v for k, v in added.items()} | {"name": "new name"})
        row = answer.context["rows"].sites[int(place.partition("-")[2])]
        assert said in str(row.errors.get(field)), row.errors
        text = answer.content.decode()
        assert "Nothing was saved." in text and 'value="S9"' in text and 'value="new name"' in text
    assert Connection.objects.get(pk=house.source.pk).name == house.source.name


def test_settings_with_a_field_of_their_own_leave_the_json() -> None:
    vendor = registry.get("ifs_cloud")
    stored = {
        "realm": "r1",
        "max_parallel": 2,
        "shipment": {"ready_filter": "x", "weight_field": None},
        "labels": {"doc_class": "L"},
    }
    shown = settings_initial(vendor, stored)
    assert shown.pop("settings") == {"shipment": {"weight_field": None}}
    assert shown == {
        "setting_realm": "r1",
        "setting_max_parallel": 2,
        "setting_shipment__ready_filter": "x",
        "setting_labels__doc_class": "L",
    }


@pytest.mark.parametrize(
    "stored",
    [
        {
            "realm": "standard1",
            "shipment": {"ready_states": ["Completed", "Closed"], "cancelled_states": [], "tracking_field": None},
        },
        {"realm": "standard1", "shipment": {"status_field": None, "poll": {"window_days": 9}}, "customer_order": {}},
        {"realm": "standard1", "customer_order_charge": {"charge_type": "FRT", "enabled": False}, "labels": {"storage": "none"}},
    ],
)
def test_settings_saved_untouched_are_unchanged(house: House, stored: dict[str, Any]) -> None:
    Connection.objects.filter(pk=house.source.pk).update(settings=stored)
    client, url = client_of(house.person("administrator")), edit_url("connection", house.source)
    answer = client.post(url, untouched(client, url))
    assert answer.status_code == 302, answer.context["form"].errors
    assert Connection.objects.get(pk=house.source.pk).settings == stored


def test_the_profiles_most_used_settings_are_entered_in_fields(house: House) -> None:
    client, url = client_of(house.person("administrator")), edit_url("connection", house.source)
    entered = untouched(client, url) | {
        "setting_shipment__ready_states": "Completed, Closed",
        "setting_shipment__ready_filter": "Cf_Ready_To_Ship eq true",
        "setting_shipment__tracking_field": "-",
        "setting_customer_order__tracking_field": "Cf_Tracking_No",
        "setting_customer_order_charge__charge_type": "FRT",
        "setting_labels__storage": "media",
        "settings": '{"shipment": {"poll": {"window_days": 9}}}',
    }
    answer = client.post(url, entered)
    assert answer.status_code == 302, answer.context["form"].errors
    now = Connection.objects.get(pk=house.source.pk).settings
    assert now["shipment"] == {
        "ready_states": ["Completed", "Closed"],
        "ready_filter": "Cf_Ready_To_Ship eq true",
        "tracking_field": None,
        "poll": {"window_days": 9},
    }
    assert now["customer_order"] == {"tracking_field": "Cf_Tracking_No"}
    assert (now["customer_order_charge"], now["labels"]) == ({"charge_type": "FRT"}, {"storage": "media"})


@pytest.mark.parametrize(
    ("entered", "field", "said"),
    [
        ({"setting_shipment__tracking_field": "two words"}, "setting_shipment__tracking_field", "must be a name"),
        ({"setting_shipment__ready_states": "Ready!"}, "setting_shipment__ready_states", "list of names"),
        (
            {"setting_labels__doc_class": "A", "settings": '{"labels": {"doc_class": "B"}}'},
            "settings",
            "labels.doc_class has a field",
        ),
        ({"setting_labels__doc_class": "A", "settings": '{"labels": 5}'}, "settings", "labels.doc_class has a field"),
        ({"settings": '{"shipment": {"poll": '}, "settings", "not JSON"),
    ],
)
def test_wrong_settings_lose_nothing_that_was_entered(house: House, entered: dict[str, str], field: str, said: str) -> None:
    client, url = client_of(house.person("administrator")), edit_url("connection", house.source)
    entered = {"name": "new name", "setting_customer_order__ready_states": "Released, Picked"} | entered
    answer = client.post(url, untouched(client, url) | entered)
    form = answer.context["form"]
    assert list(form.errors) == [field] and said in str(form.errors[field]), form.errors
    assert {name: form[name].value() for name in entered} == entered
    assert Connection.objects.get(pk=house.source.pk).settings == house.source.settings


def test_rows_read_both_forms_of_a_site() -> None:
    rows = CompanyRows(None, [{"code": "10", "sites": ["S1", {"code": "S2", "address": {"lines": ["a", "b"]}}]}])
    shown = [row.initial for row in rows.sites if row.initial]
    assert [(s["company"], s["code"], s["address_lines"]) for s in shown] == [("10", "S1", ""), ("10", "S2", "a\nb")]


def test_a_new_integration_starts_with_the_defaults(house: House) -> None:
    form = IntegrationForm(kind=KIND, tenant=house.tenant, existing=None, initial=integration_initial(KIND, None))
    data = posted(form) | {"name": "n", "slug": "s", "source": house.source.slug, "target": house.target.slug}
    bound = IntegrationForm(data, kind=KIND, tenant=house.tenant, existing=None)
    assert bound.is_valid(), bound.errors
    assert (bound.cleaned_data["options"], bound.cleaned_data["schedule"]) == ({}, {})


def test_an_integrations_page_tells_its_options_in_words(house: House) -> None:
    given = {"rates": True, "documents": ["shipment", "customer_order"], "payment_account": None, "of_a_newer_release": "<b>"}
    Integration.objects.filter(pk=house.integration.pk).update(options=given)
    page = reverse("admin:connector_integration_change", args=[house.integration.pk])
    text = client_of(house.person("viewer")).get(page).content.decode()
    for label, value in (
        ("Ask for prices before buying", "yes"),
        ("Documents that ship", "shipment, customer_order"),
        ("Account that pays", "not set"),
        ("of_a_newer_release", "&lt;b&gt;"),
    ):
        assert f"<dt>{label}</dt><dd>{value}</dd>" in text

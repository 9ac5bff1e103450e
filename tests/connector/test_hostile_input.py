"""What somebody sends who does not use our forms, or has more than we thought of: odd signs, others' ids, long lists."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from connector import asked
from connector.models import CompanyCode, LabelLink, Site
from connector.services import invoice_reading
from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_admin import everything
from tests.connector.test_setup_forms import edit_url, untouched

pytestmark = pytest.mark.django_db

NO_NUMBERS = ("²", "٣", "-1", "9" * 19, "9" * 4400, "' OR 1=1 --", "")
LISTS = ("transfer", "shipment", "connection", "alert", "reconciliationrun", "reconciliationfinding", "invoicefile")


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


def test_a_number_is_digits_that_fit() -> None:
    assert [asked.number(text) for text in ("0", "17", "9" * 18)] == [0, 17, 10**18 - 1]
    assert {asked.number(text) for text in NO_NUMBERS} == {None}


@pytest.mark.parametrize("value", ["²", "9" * 4400, "\x00"])
def test_odd_words_in_an_address_break_no_page(houses: tuple[House, House], value: str) -> None:
    mine = houses[0]
    client = client_of(owner())
    urls = [reverse(f"admin:connector_{name}_changelist") for name in LISTS]
    urls += [reverse(f"admin:connector_{name}") for name in ("findings", "deadlines", "costs", "find")]
    urls += [reverse("admin:connector_integration_mappings", args=[mine.integration.pk])]
    urls += [reverse("admin:connector_transfer_quotes", args=[mine.transfers["done"].pk])]
    urls += [reverse("admin:connector_invoicefile_change", args=[mine.invoice.pk])]
    names = ("q", "after", "before", "tenant", "integration", "kind", "state", "shipment", "version")
    for url in urls:
        assert client.get(url, dict.fromkeys(names, value)).status_code in (200, 302, 400), url


def test_odd_words_in_an_act_break_nothing(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    shipment, cause = mine.shipment.pk, reverse("admin:connector_cause_act")
    revoke = reverse("admin:connector_shipment_do", args=[shipment, "revoke-link"])
    for value in NO_NUMBERS:
        assert client.post(cause, {"do": "take", "ids": value, "assignee": value}).status_code == 302
        assert client.post(revoke, {"link": value}).status_code == 302
    before = everything()
    for act in ("void", "buy-again"):
        answer = client.post(reverse("admin:connector_shipment_do", args=[shipment, act]), {"reason": "wrong\x00box"})
        assert answer.status_code == 400
        assert "NUL" in answer.content.decode()
    assert everything() == before


def test_a_mail_address_that_does_not_fit_is_refused_before_a_link_is_made(houses: tuple[House, House]) -> None:
    mine = houses[0]
    address = "a" * 60 + "@" + ".".join(["b" * 60] * 4) + ".com"
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_shipment_links", args=[mine.shipment.pk])
    answer = client.post(url, {"how": "mail", "days": "14", "mail_to": address}, follow=True)
    assert "at most 254 characters" in answer.content.decode()
    assert not LabelLink.objects.exists()


def test_a_connection_with_many_sites_can_be_saved_by_its_form(houses: tuple[House, House]) -> None:
    mine = houses[0]
    company = CompanyCode.objects.get(connection=mine.source)
    before = company.sites.count()
    more = [Site(tenant=mine.tenant, company_code=company, code=f"X{n}", timezone="UTC", address=None) for n in range(120)]
    Site.objects.bulk_create(more)
    client = client_of(mine.person("administrator"))
    url = edit_url("connection", mine.source)
    answer = client.post(url, untouched(client, url) | {"name": "Renamed"})
    assert answer.status_code == 302
    mine.source.refresh_from_db()
    assert (mine.source.name, company.sites.count()) == ("Renamed", before + 120)


def test_a_tampered_number_of_rows_saves_nothing(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("administrator"))
    url = edit_url("connection", mine.source)
    told = untouched(client, url) | {"name": "Renamed"}
    for total in ("100000", "-1", "", "²"):
        before = everything()
        assert client.post(url, told | {"sites-TOTAL_FORMS": total}).status_code == 200
        assert everything() == before


def test_a_form_that_stood_open_does_not_remove_a_site_that_was_added_meanwhile(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("administrator"))
    url = edit_url("connection", mine.source)
    told = untouched(client, url)
    company = CompanyCode.objects.get(connection=mine.source)
    added = Site.objects.create(tenant=mine.tenant, company_code=company, code="NEW", timezone="UTC")
    answer = client.post(url, told | {"name": "Renamed"})
    assert "somebody has added or removed rows" in answer.content.decode()
    assert Site.objects.filter(pk=added.pk).exists()


def test_a_company_code_in_use_is_not_removed_by_tampering(houses: tuple[House, House]) -> None:
    mine = houses[0]
    mine.integration.company_codes = ["10"]
    mine.integration.save(update_fields=["company_codes"])
    client = client_of(mine.person("administrator"))
    url = edit_url("connection", mine.source)
    told = untouched(client, url)
    none = {f"{name}-{part}_FORMS": "0" for name in ("companies", "sites") for part in ("TOTAL", "INITIAL")}
    before = everything()
    assert client.post(url, told | none).status_code == 200
    assert everything() == before


def test_forms_beside_the_acts_know_no_other_tenant(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    client = client_of(mine.person("administrator"))
    file = SimpleUploadedFile("x.csv", b"Tracking ID,Net Charge\n1,2\n")
    posts: list[tuple[str, int, dict[str, object]]] = [
        ("connector_shipment_links", theirs.shipment.pk, {"how": "show", "days": "14"}),
        ("connector_shipment_cost", theirs.shipment.pk, {"amount": "1.00", "reason": "mine now"}),
        ("connector_integration_rates", theirs.integration.pk, {"rate_rule": "cheapest", "reason": "mine now"}),
        ("connector_invoicefile_new", theirs.target.pk, {"file": file}),
        ("connector_connection_edit", theirs.source.pk, {"name": "mine now"}),
        ("connector_integration_edit", theirs.integration.pk, {"name": "mine now"}),
        ("connector_integration_mappings", theirs.integration.pk, {"base": "x"}),
    ]
    before = everything()
    for name, pk, told in posts:
        assert client.post(reverse(f"admin:{name}", args=[pk]), told).status_code in (403, 404), name
    client.post(
        reverse("admin:connector_cause_act"), {"do": "take", "ids": str(theirs.transfers["failed"].pk), "note": "mine now"}
    )
    client.post(reverse("admin:connector_cause_act"), {"do": "replay", "ids": str(theirs.transfers["failed"].pk)})
    assert everything() == before


def test_pages_with_choices_show_no_other_tenant(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    client = client_of(mine.person("viewer"))
    told = {"tenant": theirs.tenant.pk, "integration": theirs.integration.pk, "carrier": theirs.target.pk}
    told |= {"first": "2026-01-01", "last": "2026-12-31", "shipment": theirs.shipment.pk}
    for name in ("findings", "deadlines", "costs", "find"):
        text = client.get(reverse(f"admin:connector_{name}"), told).content.decode()
        assert theirs.mark not in text, name
        assert theirs.shipment.master_tracking_number not in text, name
        assert theirs.tenant.name not in text, name
    query = "&".join(f"{name}={value}" for name, value in told.items())
    answer = client.post(reverse("admin:connector_costs_export"), {"query": query})
    text = b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()  # type: ignore[attr-defined]
    assert theirs.shipment.master_tracking_number not in text
    answer = client.get(reverse("admin:connector_transfer_quotes", args=[mine.transfers["done"].pk]), told)
    assert theirs.mark not in answer.content.decode()


def test_headings_are_told_apart_whatever_they_are_called() -> None:
    table = invoice_reading.read(b"A (3),A,A,A (3)\n1,2,3,4\n")
    assert len(set(table.header)) == 4


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "needs a row"),
        (b"a,b\n" + b'"never closed' + b"x" * 200_000, "cannot be read as CSV"),
        (b"a,b\n1,\x00\n", "no text file"),
        ("a,b\n1,2\n".encode("utf-16-le"), "no text file"),
        (b"a," * 1_000_000 + b"\n1\n", "more than 400 columns"),
        (b"x" * 10_000_001, "larger than 10 MB"),
    ],
)
def test_what_is_no_invoice_is_refused_in_words(houses: tuple[House, House], data: bytes, said: str) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_invoicefile_new", args=[mine.target.pk])
    answer = client.post(url, {"file": SimpleUploadedFile("x.csv", data)})
    assert answer.status_code == 200
    assert said in answer.content.decode()


DEEP = "[" * 100_000
SEEN = (
    *("[]", "5", '"x"', "{}", DEEP, '{"a":' * 5000, "9" * 5000),
    '{"fields": [], "marks": [], "rows": []}',
    '{"fields": {"name": 5}, "marks": {}, "rows": {}}',
    '{"fields": {"name": [5]}, "marks": {}, "rows": {}}',
    '{"fields": {"name": null}, "marks": {}, "rows": {}}',
    '{"fields": {}, "marks": {"credential_client_secret": [1]}, "rows": 5}',
    '{"fields": {}, "marks": {}, "rows": {"companies": 5, "sites": [[1]]}}',
    '{"fields": {}, "marks": {}, "rows": {"companies": [[["10"], {"code": 5}]], "sites": [[[["a"]], {}], [5, {}]]}}',
)


@pytest.mark.parametrize("kind", ["connection", "integration"])
def test_a_forged_word_of_what_a_page_showed_breaks_nothing(houses: tuple[House, House], kind: str) -> None:
    mine = houses[0]
    obj = mine.source if kind == "connection" else mine.integration
    client = client_of(mine.person("administrator"))
    url = edit_url(kind, obj)
    told = untouched(client, url)
    for n, seen in enumerate(SEEN):
        answer = client.post(url, told | {"seen": seen, "name": f"Name {n}"})
        assert answer.status_code == 302, seen[:80]
        obj.refresh_from_db()
        assert obj.name == f"Name {n}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (DEEP, "nested too deeply"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than"),
        ('{"realm": "a", "realm": "b"}', "stands here twice"),
        ('{"realm": "\\u0000"}', "cannot be stored"),
        ('{"realm": "\\ud800"}', "cannot be stored"),
        ('{"timeouts": {"connect_s": 1e999}}', "too large"),
        ('{"max_parallel": NaN}', "not JSON"),
    ],
)
def test_odd_json_in_a_form_is_told_at_its_field(houses: tuple[House, House], settings: str, said: str) -> None:
    mine = houses[0]
    client = client_of(mine.person("administrator"))
    url = edit_url("connection", mine.source)
    told = untouched(client, url) | {"settings": settings}
    before = everything()
    answer = client.post(url, told)
    assert answer.status_code == 200
    assert said in " ".join(answer.context["form"].errors["settings"])
    assert everything() == before


def test_forms_for_a_tenant_that_is_not_there_are_not_there() -> None:
    client = client_of(owner())
    for name, first in (("connection", "fedex"), ("integration", "ifs_fedex"), ("alertchannel", "mail")):
        for tenant in (99_999, 10**30):
            assert client.get(reverse(f"admin:connector_{name}_new", args=[first, tenant])).status_code == 404, name


@pytest.mark.parametrize("path", ["/admin/", "/healthz", "/label/" + "a" * 43])
def test_a_cookie_with_the_sign_nul_reaches_no_database(path: str) -> None:
    answer = Client().get(path, headers={"cookie": 'sessionid="\\000abcdefghijklmnop"'})
    assert answer.status_code == 400
    assert "cookie" in answer.content.decode()


def test_what_is_kept_of_a_refused_form_stays_small(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("operator"))
    url = reverse("admin:connector_shipment_do", args=[mine.shipment.pk, "void"])
    told = {"reason": "", "then": "clear"} | {f"{n}{'x' * 5000}": "y" * 5000 for n in range(50)}
    told |= {f"z{n}": "y" * 1000 for n in range(900)}
    assert client.post(url, urlencode(told), content_type="application/x-www-form-urlencoded").status_code == 302
    assert len(str(dict(client.session.items()))) < 20_000

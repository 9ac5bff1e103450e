"""The first page: what it shows to whom, at what price."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import Label, Package, TokenRow, Transfer
from connector.services import clock, tokens
from integrations.base.context import Token
from tests.connector.admin_support import NOW, build, client_of, owner, transfer

pytestmark = pytest.mark.django_db


def test_it_leads_to_the_causes_and_shows_only_the_tenants_own() -> None:
    alpha, omega = build("alpha"), build("omega")
    for url in (reverse("admin:index"), reverse("admin:connector_live")):
        text = client_of(alpha.person("viewer")).get(url).content.decode()
        assert alpha.mark in text and omega.mark not in text
        assert reverse("admin:connector_cause") in text
        assert "alpha FedEx" in text and "omega FedEx" not in text
        assert f"{alpha.mark} paused" in text, "what stands still, and why"
        assert "All budgets" in text and "All deadlines" in text


def test_its_price_does_not_grow_with_what_there_is() -> None:
    house = build("alpha")
    url = reverse("admin:connector_live")

    def asked(client: Client, page: str = url) -> CaptureQueriesContext:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(page).status_code == 200
        return seen

    people = [client_of(owner()), client_of(house.person("viewer"))]
    before = [len(asked(client)) for client in people]
    for number in range(40, 70):
        transfer(house, number, "failed")
    for slug in ("beta", "gamma", "omega"):  # more integrations and connections, and limits shared with strangers
        build(slug)
    after = asked(people[0])
    assert len(after) <= before[0] <= 22
    assert len(asked(people[1])) <= before[1] <= 23, "who else counts on a limit is one question"
    assert len(asked(people[0], reverse("admin:index"))) <= 26
    assert not [q["sql"] for q in after if "COUNT(*)" in q["sql"] and "connector_shipment" in q["sql"]]


def test_a_documents_pages_cost_the_same_however_much_there_is() -> None:
    house = build("alpha")
    build("omega")
    shipment = house.shipment
    pages = [("shipment", shipment.pk, 18), ("transfer", shipment.transfer_id, 16)]
    for more in (0, 1):
        for person in (owner(), house.person("viewer")):
            client = client_of(person)
            for name, pk, most in pages:
                with CaptureQueriesContext(connection) as seen:
                    text = client.get(reverse(f"admin:connector_{name}_change", args=[pk])).content.decode()
                assert house.mark in text
                told = [q["sql"][:90] for q in seen]
                assert len(seen) <= most, f"{name}, {more}: {told}"
        for number in range(2 + 10 * more, 12 + 10 * more):
            parcel = Package.objects.create(
                tenant=house.tenant, shipment=shipment, carrier=house.target, sequence=number, tracking_number=f"7947{number:08d}"
            )
            label = {"media_type": "application/pdf", "data": b"%PDF", "sha256": "0", "size": 4, "created_at": NOW}
            Label.objects.create(tenant=house.tenant, package=parcel, **label)
        transfer(house, 90 + more, "failed")


def test_a_documents_page_finds_what_another_transfer_read() -> None:
    house = build("alpha")
    failed = house.transfers["failed"]
    later = Transfer.objects.create(
        tenant=house.tenant,
        integration=house.integration,
        record=failed.record,
        flow="void",
        source_key=failed.source_key,
        revision=2,
        state="done",
        due_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    )
    text = client_of(owner()).get(reverse("admin:connector_transfer_change", args=[later.pk])).content.decode()
    assert "It has not begun yet." in text, "steps of the other transfer are not its own"


def test_the_sidebar_marks_one_page_as_the_present_one() -> None:
    house = build("alpha")
    client = client_of(house.person("viewer"))
    finding = reverse("admin:connector_reconciliationfinding_change", args=[house.finding.pk])
    pages = {
        reverse("admin:connector_causes"): "Needs attention",
        reverse("admin:connector_transfer_changelist"): "Transfers",
        reverse("admin:connector_transfer_change", args=[house.transfers["failed"].pk]): "Transfers",
        reverse("admin:connector_shipment_changelist"): "Shipments",
        reverse("admin:connector_deadlines"): "Deadlines",
        reverse("admin:connector_costs"): "Month end",
        reverse("admin:connector_findings"): "Reconciliation",
        finding: "Reconciliation",
        reverse("admin:connector_reconciliationrun_changelist"): "Reconciliation",
        reverse("admin:connector_invoicefile_changelist"): "Carrier invoices",
    }
    for address, title in pages.items():
        groups = client.get(address).context["sidebar_navigation"]
        assert [page["title"] for group in groups for page in group["items"] if page["active"]] == [title], address


def test_an_empty_installation_has_no_dead_end() -> None:
    text = client_of(owner()).get(reverse("admin:index")).content.decode()
    assert "Nothing. Everything is done or on its way." in text
    assert "First steps" in text or "tenant" in text
    assert clock.local_now() > NOW


@pytest.mark.django_db(transaction=True)
def test_it_tells_how_old_a_token_is_and_never_the_token() -> None:
    house = build("alpha")
    connection = house.source

    def told() -> str:
        return client_of(house.person("viewer")).get(reverse("admin:connector_live")).content.decode()

    assert "token asked" not in told() and " old, renewed" not in told(), "nothing is claimed before the first login"
    cache = tokens.DatabaseTokenCache("k", "host", connection=connection.pk)
    assert cache.token(lambda: Token("the-secret-token", 3600.0)) == "the-secret-token"
    text = told()
    assert "0\xa0minutes</time> old, renewed at" in text and "1 login today" in text and "the-secret-token" not in text
    tokens.forget_memory()
    TokenRow.objects.update(issued_at=clock.at(-7200), renew_after=clock.at(-3600))
    assert "token asked for at the next call" in told()
    TokenRow.objects.update(refused_until=clock.at(600))
    assert "login refused, asked for again at" in told()
    other = build("omega")
    assert "login refused" not in client_of(other.person("viewer")).get(reverse("admin:connector_live")).content.decode()


def test_strangers_see_nothing(client: Any) -> None:
    assert client.get(reverse("admin:connector_live")).status_code == 302

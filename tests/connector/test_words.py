"""Documents as people name them: on every page in words, and found by those words."""

from __future__ import annotations

import pytest
from django.urls import reverse

from connector import words
from connector.models import Reference, Transfer
from connector.services.shipments import normalise
from tests.connector.admin_support import House, build, client_of

KINDS = ("shipment", "customer_order", "purchase_order")


@pytest.fixture
def house() -> House:
    return build("alpha")


@pytest.mark.parametrize(
    ("named", "keys"),
    [
        ("Shipment 1014", ["shipment:1014"]),
        ("  shipment   1014 ", ["shipment:1014"]),
        ("shipment:1014", ["shipment:1014"]),
        ("Customer order S10023, delivery 2", ["customer_order:S10023/2"]),
        ("customer_order:S10023/2", ["customer_order:S10023/2"]),
        ("order S10023 delivery 2", ["customer_order:S10023/2", "purchase_order:S10023/2"]),
        ("Purchase order p100", ["purchase_order:p100", "purchase_order:P100"]),
        ("1014", ["shipment:1014", "customer_order:1014", "purchase_order:1014"]),
        ("S10023/", ["shipment:S10023/", "customer_order:S10023/", "purchase_order:S10023/"]),
        ("A: B/c", ["shipment:A: B/c", "customer_order:A: B/c", "purchase_order:A: B/c"]),
        ("return order 7", []),
    ],
)
def test_a_name_means_keys(named: str, keys: list[str]) -> None:
    assert words.keys_meant(named, KINDS) == keys


@pytest.mark.parametrize("key", ["shipment:1014", "customer_order:S10023/2", "purchase_order:P100/1"])
def test_what_pages_say_means_the_document(key: str) -> None:
    assert words.keys_meant(words.document(key), KINDS) == [key]
    assert words.number_meant(words.document(key)) == key.partition(":")[2]


@pytest.mark.django_db
def test_lists_name_documents_in_words_and_find_them_by_these(house: House) -> None:
    client = client_of(house.person("viewer"))
    failed = house.transfers["failed"]
    Transfer.objects.filter(pk=failed.pk).update(source_key="customer_order:S10023/2")
    rows = reverse("admin:connector_transfer_changelist")
    text = client.get(rows).content.decode()
    assert "Customer order S10023, delivery 2</a>" in text and "customer_order:" not in text
    assert f"Shipment {house.mark}" in text and "shipment:mark" not in text
    for term in ("Customer order S10023, delivery 2", "order s10023 delivery 2", "S10023/2", "customer_order:S10023/2"):
        found = client.get(rows, {"q": term, "show": "all"}).content.decode()
        assert "Customer order S10023, delivery 2</a>" in found and f"Shipment {house.mark}" not in found, term
        own = reverse("admin:connector_transfer_change", args=[failed.pk])
        assert client.get(reverse("admin:connector_find"), {"q": term}).headers["Location"] == own, term
    page = client.get(reverse("admin:connector_transfer_change", args=[failed.pk])).content.decode()
    assert "<h1" in page and "Customer order S10023, delivery 2</h1>" in page


@pytest.mark.django_db
def test_the_history_is_searched_by_the_words_it_shows(house: House) -> None:
    shipment = house.shipment
    type(shipment).objects.update(source_key="customer_order:S10023/2")
    Reference.objects.create(
        tenant=house.tenant, shipment=shipment, kind="document", value="S10023/2", normalised=normalise("S10023/2")
    )
    rows = reverse("admin:connector_shipment_changelist")
    client = client_of(house.person("viewer"))
    text = client.get(rows, {"q": "Customer order S10023, delivery 2"}).content.decode()
    assert "Customer order S10023, delivery 2" in text.split('id="result_list"')[1]
    assert shipment.master_tracking_number not in client.get(rows, {"q": "Customer order S10023, delivery 3"}).content.decode()

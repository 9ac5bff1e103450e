"""Void, void and buy again, buy again: each shows first what it would do, wants a reason, and is kept with it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.urls import reverse

from connector.models import AuditEntry, Exchange, Integration, Shipment, SourceRecord, Transfer
from connector.services import label_links
from tests.connector.admin_support import House, build, client_of
from tests.connector.test_cost_pages import share

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    made = build("alpha")
    Shipment.objects.filter(pk=made.shipment.pk).update(written_at="2026-11-20T12:00:00Z", status="label_created")
    return made


def page(house: House, then: str) -> str:
    return reverse("admin:connector_shipment_void", args=[house.shipment.pk]) + f"?then={then}"


def seen(house: House, then: str, person: str = "operator") -> str:
    answer = client_of(house.person(person)).get(page(house, then))
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_preview_says_what_becomes_of_label_number_cost_and_links(house: House) -> None:
    share(house, "C1", "4.34", number="7")
    share(house, "C2", "8.00", state="planned", number="")
    label_links.make(house.shipment, actor="test")
    client = client_of(house.person("operator"))
    before = Transfer.objects.count(), Exchange.objects.count(), AuditEntry.objects.count()
    text = client.get(page(house, "clear")).content.decode()
    assert house.shipment.master_tracking_number in text
    for told in (
        "taken out of the ERP",
        "Charge 7 of order C1: 4.34 USD becomes 0",
        "Order C2: 8.00 USD is not written any more",
    ):
        assert told in text, told
    assert "One link to the label ends" in text
    assert "does not ship again by itself" in text
    assert (Transfer.objects.count(), Exchange.objects.count(), AuditEntry.objects.count()) == before, "looking changes nothing"


def test_buying_again_says_what_is_bought_with_and_what_holds_it(house: House) -> None:
    Integration.objects.filter(pk=house.integration.pk).update(
        stop_buying=True, options={"rates": True, "rate_rule": "cheapest", "cost_ceiling": "20.00 USD"}
    )
    text = seen(house, "rebuy")
    assert "as it stands in the ERP by then" in text and "12.34 USD" in text
    assert "Cheapest" in text and "20.00 USD" in text
    assert "Buying is stopped" in text
    assert "replaces" in text and "taken out of the ERP" not in text


def test_a_parcel_on_its_way_is_warned_of(house: House) -> None:
    Shipment.objects.filter(pk=house.shipment.pk).update(status="in_transit", invoiced_cost=Decimal("15.00"))
    text = seen(house, "clear")
    assert "The carrier has it already (in transit)" in text
    assert "15.00 USD" in text, "what is invoiced stays invoiced"


def test_the_preview_leads_to_the_act_which_wants_a_reason_and_is_kept(house: House) -> None:
    client = client_of(house.person("operator"))
    act = reverse("admin:connector_shipment_do", args=[house.shipment.pk, "void"])
    assert act in client.get(page(house, "rebuy")).content.decode()
    client.post(act, {"then": "rebuy", "reason": " "})
    assert not AuditEntry.objects.filter(act="void_requested").exists()
    client.post(act, {"then": "rebuy", "reason": "wrong box"})
    entry = AuditEntry.objects.get(act="void_requested")
    assert entry.actor == "user:operator-alpha"
    assert "being voided" in client.get(page(house, "clear"), follow=True).content.decode().lower(), (
        "back to the shipment, told why"
    )


def test_a_held_document_shows_what_buying_again_does(house: House) -> None:
    Shipment.objects.filter(pk=house.shipment.pk).update(state="voided")
    SourceRecord.objects.filter(pk=house.shipment.record_id).update(held=True)
    text = seen(house, "again")
    act = reverse("admin:connector_shipment_do", args=[house.shipment.pk, "buy-again"])
    assert act in text and "as it stands in the ERP by then" in text
    assert "asked to cancel" not in text


def test_whoever_may_only_look_gets_no_preview_and_no_link_to_it(house: House) -> None:
    viewer = client_of(house.person("viewer"))
    assert viewer.get(page(house, "clear")).status_code == 403
    shown = viewer.get(reverse("admin:connector_shipment_change", args=[house.shipment.pk])).content.decode()
    assert "Void and buy again" not in shown
    stranger = client_of(build("omega").person("administrator"))
    assert stranger.get(page(house, "clear")).status_code in (302, 404)

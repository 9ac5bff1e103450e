"""The pages about freight cost: preview before the act, a reason, the history; nothing of other tenants."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.urls import reverse

from connector.models import CostChange, FreightCharge, Shipment
from tests.connector.admin_support import NOW, House, build, client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return build("alpha")


def share(house: House, order: str, amount: str, **more: object) -> FreightCharge:
    values = {"state": "posted", "number": "1", "currency": "USD", "created_at": NOW, "measure": Decimal(amount)} | more
    values |= {"tenant": house.tenant, "shipment": house.shipment, "order": order, "amount": Decimal(amount)}
    return FreightCharge.objects.create(**values)


def test_a_preview_changes_nothing_and_the_act_wants_a_reason(house: House) -> None:
    share(house, "C1", "4.34")
    share(house, "C2", "8.00")
    client, url = client_of(house.person("operator")), reverse("admin:connector_shipment_cost", args=[house.shipment.pk])
    text = client.get(url + "?amount=24.68").content.decode()
    assert "8.68 USD" in text and "16.00 USD" in text and "12.34 USD more" in text
    assert Shipment.objects.get(pk=house.shipment.pk).cost == Decimal("12.34")
    assert "Give a reason" in client.post(url, {"amount": "24.68"}, follow=True).content.decode()
    shown = client.post(url, {"amount": "24.68", "reason": "<b>reweighed</b>"}, follow=True).content.decode()
    assert "&lt;b&gt;reweighed" in shown and "24.68 USD" in shown and "On its way to the ERP" in shown
    assert CostChange.objects.get().actor == f"user:operator-{house.tenant.slug}"


@pytest.mark.parametrize("amount", ["", "x", "-1", "1.234", "1e9", "NaN", "99999999999"])
def test_what_is_no_amount_is_said_and_nothing_is_done(house: House, amount: str) -> None:
    client, url = client_of(house.person("operator")), reverse("admin:connector_shipment_cost", args=[house.shipment.pk])
    assert client.get(url, {"amount": amount}).status_code == 200
    assert client.post(url, {"amount": amount, "reason": "x"}).status_code == 200
    assert not CostChange.objects.exists()


def test_only_who_may_operate_corrects(house: House) -> None:
    other = build("omega")
    url = reverse("admin:connector_shipment_cost", args=[house.shipment.pk])
    for person, status in ((house.person("viewer"), 403), (other.person("administrator"), 404)):
        client = client_of(person)
        assert client.get(url).status_code in (status, 302)
        assert client.post(url, {"amount": "1", "reason": "mine now"}).status_code in (status, 302)
    page = client_of(house.person("viewer")).get(reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    assert "Correct the cost" not in page.content.decode()
    assert not CostChange.objects.exists()

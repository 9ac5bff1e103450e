"""The link that a flow mails to the supplier: for inbound documents, once, and never in the way."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail

from connector.models import AuditEntry, LabelLink, Shipment, Step, Transfer
from connector.services import clock
from integrations.flows import supplier
from tests.flows.support import change, options
from tests.flows.test_purchase_orders import inbound as purchase_orders
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inbound(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which suppliers ship, at an address with an e-mail address."""
    settings.PUBLIC_URL = "https://console.example.com"
    monkeypatch.setattr(supplier, "INBOUND", frozenset({"shipment"}))

    def change(doc: dict[str, Any]) -> None:
        address = doc["connections"][0]["company_codes"][0]["sites"][0]["address"]
        doc["connections"][0]["company_codes"][0]["sites"][0]["address"] = address | {"email": "dock@supplier.example"}

    world.configure(change)
    options(world, supplier_mail=True)
    return world


def again(world: World) -> None:
    Transfer.objects.update(state="waiting", due_at=clock.at(-1))
    world.work()


def test_outbound_documents_mail_nothing(world: World) -> None:
    options(world, supplier_mail=True)
    world.ready()
    world.sync()
    assert world.states() == {"done": 1} and mail.outbox == []
    assert Step.objects.get(name="mail link").note == "not an inbound document"


def test_the_supplier_gets_one_mail_whatever_is_repeated(inbound: World) -> None:
    inbound.ready()
    inbound.sync()
    assert inbound.states() == {"done": 1}
    [message] = mail.outbox
    assert message.to == ["dock@supplier.example"] and "https://console.example.com/label/" in message.body
    again(inbound)
    Step.objects.filter(name="mail link").delete()
    again(inbound)
    assert len(mail.outbox) == 1 and LabelLink.objects.count() == 1
    assert AuditEntry.objects.filter(act="link_mailed").count() == 1
    secret = message.body.partition("/label/")[2].split()[0]
    assert secret not in str(list(Step.objects.values("result", "fingerprint", "note")))


def test_mail_that_fails_fails_nothing_else(inbound: World, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_PORT = 9
    options(inbound, attach_label="document")
    [number] = inbound.ready()
    inbound.sync()
    assert inbound.states() == {"done": 1} and list(inbound.numbers()) == [number] and len(inbound.ifs.documents()) == 1
    assert LabelLink.objects.get().mail_state == "failed"
    assert "cannot be reached" in AuditEntry.objects.get(act="link_mail_failed").facts["reason"]


def test_a_supplier_without_an_address_is_told_of(inbound: World) -> None:
    def change(doc: dict[str, Any]) -> None:
        doc["connections"][0]["company_codes"][0]["sites"][0]["address"].pop("email")

    inbound.configure(change)
    inbound.ready()
    inbound.sync()
    assert Step.objects.get(name="mail link").note == "the document names no e-mail address of the supplier"
    assert Shipment.objects.count() == 1 and mail.outbox == []


def test_a_purchase_orders_supplier_is_mailed_and_its_label_hangs_on_the_order(world: World, settings: Any) -> None:
    """The customised tenant (sheet 13) keeps its suppliers' e-mail addresses in a field of its own."""
    settings.PUBLIC_URL = "https://console.example.com"
    purchase_orders(world, "custom", supplier_mail=True, attach_label="document")
    change(world, "ifs", supplier_address={"fields": {"phone": "Cf_Phone", "email": "Cf_Email"}})
    [number] = world.ifs.make_orders("custom", 1, kind="purchase_order")
    for supplier_id in ("V2001", "V2002", "V2003"):
        key = {"SupplierId": supplier_id, "AddressId": "01"}
        world.ifs.edit("custom", "SupplierInfoAddressPublic", key, {"Cf_Email": "dock@supplier.example"})
    world.sync()
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    [message] = mail.outbox
    assert message.to == ["dock@supplier.example"] and number in message.body
    [document] = world.ifs.documents("custom")
    assert document["on"] == [f"ORDER_NO={number}^"] and len(world.ifs.files("custom")) == 1

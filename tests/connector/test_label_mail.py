"""Mailing a link to a label: noted before it goes, once by itself, and what became of it is said."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.urls import reverse

from connector.models import AuditEntry, LabelLink
from connector.services import label_links
from tests.connector.admin_support import House, build, client_of
from tests.connector.test_label_links import SECRET, ask, get

pytestmark = pytest.mark.django_db(transaction=True)
"""Mail never leaves inside a transaction: what sends it refuses that."""


@pytest.fixture
def house() -> House:
    return build("alpha")


@pytest.fixture
def reachable(settings: Any) -> None:
    settings.PUBLIC_URL = "https://console.example.com"


def test_the_link_is_mailed_and_shown_to_nobody(house: House, reachable: None) -> None:
    answer = ask(house, how="mail", mail_to="dock@supplier.example")
    assert answer.status_code == 302
    [message] = mail.outbox
    assert message.to == ["dock@supplier.example"] and house.shipment.master_tracking_number in message.subject
    [secret] = SECRET.findall(message.body)
    assert f"https://console.example.com/label/{secret}" in message.body
    assert get(f"/label/{secret}/1").status_code == 200
    link = LabelLink.objects.get()
    assert (link.mail_state, link.mail_to) == ("sent", "dock@supplier.example")
    entries = str(list(AuditEntry.objects.filter(act__startswith="link_").values("facts", "object_name")))
    assert "dock@" not in entries and AuditEntry.objects.filter(act="link_mailed").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"PUBLIC_URL": "", "CSRF_TRUSTED_ORIGINS": []}, "PUBLIC_URL"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}, "EMAIL_URL"),
        ({"EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend", "EMAIL_PORT": 9}, "cannot be reached"),
    ],
)
def test_mail_that_cannot_go_is_said_and_can_go_again(
    house: House, reachable: None, settings: Any, capfd: Any, change: dict[str, Any], told: str
) -> None:
    usual = {name: getattr(settings, name) for name in change}
    for name, value in change.items():
        setattr(settings, name, value)
    ask(house, how="mail", mail_to="dock@supplier.example")
    link = LabelLink.objects.get()
    assert link.mail_state == "failed" and told in link.mail_note
    assert AuditEntry.objects.get(act="link_mail_failed").facts["link"] == link.pk
    assert "/label/" not in capfd.readouterr().out, "a link was printed to the log"
    page = client_of(house.person("operator")).get(reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    assert "Send again" in page.content.decode() and 'value="dock@supplier.example"' in page.content.decode()
    for name, value in usual.items():
        setattr(settings, name, value)
    ask(house, how="mail", mail_to="dock@supplier.example")
    assert LabelLink.objects.first().mail_state == "sent" and len(mail.outbox) == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("address", ["", "nobody", "a@b.example\nBcc: x@y.example", "a@b.example, c@d.example"])
def test_what_is_no_address_gets_no_mail(house: House, reachable: None, address: str) -> None:
    ask(house, how="mail", mail_to=address)
    assert mail.outbox == [] and not LabelLink.objects.exists()


def test_the_flows_own_mail_goes_once(house: House, reachable: None) -> None:
    first = label_links.mail_once(house.shipment.pk, "dock@supplier.example")
    again = label_links.mail_once(house.shipment.pk, "dock@supplier.example")
    assert first.pk == again.pk and len(mail.outbox) == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        label_links.make(house.shipment, actor="x", mail_to="a@b.example", automatic=True)


def test_a_process_that_died_while_mailing_leaves_a_link_of_which_nobody_knows(house: House, reachable: None) -> None:
    label_links.make(house.shipment, actor="system", mail_to="dock@supplier.example", automatic=True)
    assert label_links.mail_once(house.shipment.pk, "dock@supplier.example").mail_state == "sending"
    assert mail.outbox == []
    page = client_of(house.person("operator")).get(reverse("admin:connector_shipment_change", args=[house.shipment.pk]))
    assert "Not known whether it was mailed" in page.content.decode() and "Send again" in page.content.decode()

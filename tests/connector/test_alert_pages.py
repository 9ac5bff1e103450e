"""Setting up alert channels and reading alerts in the console."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.urls import reverse

from connector.models import (
    Alert,
    AlertChannel,
    AuditEntry,
    Tenant,
)
from connector.services.alerts import channels, looking, sending
from connector.services.configuration import exporting, importing
from tests.connector.admin_support import client_of, owner
from tests.connector.alerts_support import FLOWS, Receiver, fail, hook, house_of, tell

pytestmark = pytest.mark.django_db(transaction=True)


def new_page(kind: str, tenant: Tenant | None) -> str:
    return reverse("admin:connector_alertchannel_new", args=[kind, tenant.pk if tenant else 0])


def test_an_administrator_sets_up_a_channel_and_tries_it(receiver: Receiver) -> None:
    house = house_of()
    client = client_of(house.person("administrator"))
    assert house.tenant.name in client.get(new_page("webhook", house.tenant)).content.decode()
    form = {"name": "Slack", "url": receiver.url, "secret": "a very secret word", "causes": ["failed", "paused"]}
    answer = client.post(new_page("webhook", house.tenant), form | {"quiet_from": "22:00", "quiet_until": "06:00"})
    assert answer.status_code == 302, answer.context["form"].errors
    channel = AlertChannel.objects.get()
    assert (channel.tenant, channel.quiet_from, channel.causes) == (house.tenant, dt.time(22), ["paused", "failed"])
    told = client.post(reverse("admin:connector_alertchannel_do", args=[channel.pk, "test"]), follow=True).content.decode()
    assert "The trial message was sent" in told and len(receiver.got) == 1
    receiver.status = 404
    told = client.post(reverse("admin:connector_alertchannel_do", args=[channel.pk, "test"]), follow=True).content.decode()
    assert "was not sent" in told and "answered 404" in told
    channel.refresh_from_db()
    assert channel.test_ok is False and "answered 404" in channel.test_result


def test_secrets_of_a_channel_are_never_shown(receiver: Receiver) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver, secret="a very secret word")
    receiver.status, receiver.answer = 400, b"bad a very secret word at /services/path-secret-77?sig=query-secret-88"
    client = client_of(house.person("administrator"))
    client.post(reverse("admin:connector_alertchannel_do", args=[channel.pk, "test"]))
    edit = reverse("admin:connector_alertchannel_edit", args=[channel.pk])
    pages = [
        client.get(edit),
        client.post(edit, {"name": "", "url": receiver.url, "secret": "a very secret word"}),
        client.get(reverse("admin:connector_alertchannel_change", args=[channel.pk])),
        client.get(reverse("admin:connector_alertchannel_changelist")),
    ]
    channel.refresh_from_db()
    texts = [page.content.decode() for page in pages] + [channel.test_result, channel.last_error]
    texts += [f"{e.facts} {e.object_name}" for e in AuditEntry.objects.all()]
    for secret in ("a very secret word", "path-secret-77", "query-secret-88"):
        assert not [text for text in texts if secret in text], secret
    with_key = AlertChannel.objects.values_list("secrets_text", flat=True).get()
    assert "path-secret-77" in with_key, "the right key opens it"
    client.post(edit, {"name": "renamed", "url": "", "secret": "", "causes": ["failed"]})
    channel.refresh_from_db()
    assert channel.name == "renamed" and channel.secrets() == {"url": receiver.url, "secret": "a very secret word"}


def test_unreadable_secrets_send_nothing_and_are_not_saved_again(receiver: Receiver) -> None:
    from django.db import connection

    house = house_of()
    channel = hook(house.tenant, receiver)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE connector_alertchannel SET secrets_text = %s", ["gAAAAABunreadable"])
    fail(house, 1)
    [sent] = tell()
    assert not sent.ok and "FIELD_ENCRYPTION_KEY" in sent.note and receiver.got == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets_text FROM connector_alertchannel")
        assert cursor.fetchone() == ("gAAAAABunreadable",)
    client = client_of(house.person("administrator"))
    for name in ("change", "edit"):
        page = client.get(reverse(f"admin:connector_alertchannel_{name}", args=[channel.pk])).content.decode()
        assert "nreadable with the present keys" in page
    answer = client.post(
        reverse("admin:connector_alertchannel_edit", args=[channel.pk]),
        {"name": "hook", "url": receiver.url, "causes": ["failed"]},
    )
    assert answer.status_code == 302
    assert AlertChannel.objects.get().secrets() == {"url": receiver.url}


def test_only_administrators_set_up_and_only_the_owner_for_the_installation(receiver: Receiver) -> None:
    house, other = house_of("alpha"), house_of("omega")
    form = {"name": "x", "addresses": "a@example.com", "causes": ["failed"]}
    for person, tenant in (
        (house.person("operator"), house.tenant),
        (house.person("viewer"), house.tenant),
        (house.person("administrator"), other.tenant),
        (house.person("administrator"), None),
    ):
        assert client_of(person).post(new_page("mail", tenant), form).status_code == 403
    assert not AlertChannel.objects.exists()
    assert client_of(owner()).post(new_page("mail", None), form).status_code == 302
    installation = AlertChannel.objects.get()
    page = reverse("admin:connector_alertchannel_change", args=[installation.pk])
    assert client_of(owner()).get(page).status_code == 200
    assert client_of(house.person("administrator")).get(page).status_code in (302, 403, 404)
    trial = reverse("admin:connector_alertchannel_do", args=[installation.pk, "test"])
    assert client_of(house.person("administrator")).post(trial).status_code == 404
    first = client_of(house.person("administrator")).get(reverse("admin:connector_alertchannel_add")).content.decode()
    assert "The whole installation" not in first and other.tenant.name not in first


def test_a_form_says_what_is_wrong() -> None:
    house = house_of()
    client = client_of(house.person("administrator"))
    form = {"name": "x", "addresses": "a@example.com\nnobody", "causes": ["failed"], "quiet_from": "22:00"}
    text = client.post(new_page("mail", house.tenant), form).content.decode()
    assert "“nobody” is not an e-mail address" in text and "give both ends of the quiet hours" in text
    assert client.get(new_page("carrier_pigeon", house.tenant)).status_code == 404


def test_the_list_and_the_page_of_an_alert_say_who_was_told(receiver: Receiver) -> None:
    house = house_of()
    hook(house.tenant, receiver)
    fail(house, 1)
    looking.look(FLOWS)
    client = client_of(house.person("viewer"))
    page = reverse("admin:connector_alert_change", args=[Alert.objects.get().pk])
    assert "nobody yet" in client.get(reverse("admin:connector_alert_changelist")).content.decode()
    assert "0 of 1" in client.get(page).content.decode()
    tell()
    text = client.get(page).content.decode()
    assert "1 of 1" in text and "All of it is told." in text


def test_a_channel_is_switched_off_and_removed(receiver: Receiver) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver)
    client = client_of(house.person("administrator"))
    fail(house, 1)
    tell()
    for act in ("off", "on", "remove"):
        assert client.post(reverse("admin:connector_alertchannel_do", args=[channel.pk, act]), follow=True).status_code == 200
    assert not AlertChannel.objects.exists() and Alert.objects.count() == 1
    acts = set(AuditEntry.objects.filter(tenant=house.tenant, act__startswith="alert_channel").values_list("act", flat=True))
    assert acts == {f"alert_channel_{what}" for what in ("created", "off", "on", "removed")}


def test_quiet_hours_go_through_a_configuration_file_and_back() -> None:
    house = house_of()
    client = client_of(house.person("administrator"))
    form = {"name": "Desk", "addresses": "desk@acme.test", "causes": ["failed"]}
    times = {"quiet_from": "22:00:30", "quiet_until": "06:00:59"}
    assert client.post(new_page("mail", house.tenant), form | times).status_code == 302
    told = {"version": 1, "alert_channels": exporting.export(house.tenant.slug)["alert_channels"]}
    assert importing.apply(told, "test").unchanged == {"alert_channels": [f"{house.tenant.slug}/Desk"]}
    same = client.post(new_page("mail", house.tenant), form | {"name": "B", "quiet_from": "22:00:10", "quiet_until": "22:00:20"})
    assert "is the same as the beginning" in same.content.decode()


def test_whoever_removes_a_channel_second_notes_nothing(receiver: Receiver) -> None:
    house = house_of()
    first = hook(house.tenant, receiver)
    second = AlertChannel.objects.get(pk=first.pk)
    channels.channel_remove(first, "user:ann")
    channels.channel_remove(second, "user:bob")
    assert AuditEntry.objects.filter(act="alert_channel_removed").count() == 1


def test_a_channel_may_be_removed_while_its_trial_goes_out(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver)
    deliver = sending._deliver

    def meanwhile(*args: Any) -> sending.Sent:
        AlertChannel.objects.all().delete()
        return deliver(*args)

    monkeypatch.setattr(sending, "_deliver", meanwhile)
    client = client_of(house.person("operator"))
    answer = client.post(reverse("admin:connector_alertchannel_do", args=[channel.pk, "test"]))
    assert answer.status_code == 302 and len(receiver.got) == 1

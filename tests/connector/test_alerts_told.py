"""Alerts reach the channels that want them, when they want them, and are not lost when that fails."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import zoneinfo
from typing import Any

import pytest
from django.urls import reverse
from django_q.models import OrmQ

from connector import tasks
from connector.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
    Integration,
    Tenant,
    Transfer,
    WebhookDelivery,
)
from connector.services import clock, switches
from connector.services.alerts import channels, looking, sending, telling
from connector.services.alerts.channels import ChannelInput
from connector.services.configuration.findings import InvalidConfiguration
from tests.connector.admin_support import client_of
from tests.connector.alerts_support import ALL, FLOWS, Mailbox, Receiver, fail, hook, house_of, mail_to, pause, tell

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_first_at_once_the_rest_once_an_hour_with_a_count(receiver: Receiver) -> None:
    house = house_of()
    hook(house.tenant, receiver)
    Integration.objects.update(enabled=False)
    fail(house, 1)
    tell()
    assert len(receiver.got) == 1 and "unmapped service" in receiver.texts()[0]
    for number in range(2, 6):
        fail(house, number)
    tell()
    assert len(receiver.got) == 1, "the hour is not over"
    fail(house, 9, code="address_refused")
    tell()
    assert len(receiver.got) == 2 and "address refused" in receiver.texts()[1], "another group does not wait for it"
    clock.offset_s = 3700.0
    tell()
    assert len(receiver.got) == 3 and "4 new, 5 since" in receiver.texts()[2]
    tell()
    assert len(receiver.got) == 3
    assert Alert.objects.get(title__contains="unmapped service").sent_at is not None


def test_several_groups_at_once_are_one_message(receiver: Receiver) -> None:
    house = house_of()
    hook(house.tenant, receiver)
    for number in range(30):
        fail(house, number, code=f"code_{number}")
    tell()
    [text] = receiver.texts()
    assert "30 alerts" in text and "and 10 more" in text
    assert AlertDelivery.objects.count() == 30


def test_quiet_hours_hold_back_all_but_what_is_urgent(receiver: Receiver) -> None:
    house = house_of()
    Integration.objects.update(enabled=False)
    local = clock.now().astimezone(zoneinfo.ZoneInfo(house.tenant.timezone))
    begin, end = (local - dt.timedelta(hours=1)).time(), (local + dt.timedelta(hours=2)).time()
    channel = hook(house.tenant, receiver, quiet_from=begin, quiet_until=end)
    assert telling.is_quiet(channel, clock.now())
    fail(house, 1)
    tell()
    assert receiver.got == []
    pause(house)
    fail(house, 2, "in_doubt", code="outcome_unknown")
    tell()
    [text] = receiver.texts()
    assert "Stands still" in text and "In doubt" in text and "unmapped_service" not in text
    clock.offset_s = 2.1 * 3600
    tell()
    assert "unmapped service" in receiver.texts()[1], "the rest follows when they end"


@pytest.mark.parametrize(
    ("first", "last", "hour", "quiet"),
    [(22, 6, 23, True), (22, 6, 5, True), (22, 6, 6, False), (22, 6, 12, False), (12, 14, 12, True), (12, 14, 14, False)],
)
def test_quiet_hours_go_over_midnight_in_the_tenants_zone(first: int, last: int, hour: int, quiet: bool) -> None:
    tenant = Tenant(slug="x", name="X", timezone="America/Chicago")
    channel = AlertChannel(tenant=tenant, quiet_from=dt.time(first), quiet_until=dt.time(last))
    at = dt.datetime(2026, 7, 1, hour, tzinfo=zoneinfo.ZoneInfo("America/Chicago")).astimezone(dt.UTC)
    assert telling.is_quiet(channel, at) is quiet


def test_a_channel_hears_of_its_tenant_and_the_owners_of_all(receiver: Receiver) -> None:
    mine, theirs = house_of("alpha"), house_of("omega")
    own = Receiver()
    hook(mine.tenant, receiver)
    hook(None, own)
    fail(mine, 1)
    fail(theirs, 1)
    tell()
    [text] = receiver.texts()
    assert "alpha: IFS" in text and "omega" not in text.lower()
    [told] = own.texts()
    assert f"{mine.tenant}: " in told and f"{theirs.tenant}: " in told
    own.server.shutdown()
    own.server.server_close()


def test_a_channel_hears_only_of_what_it_wants_and_of_what_happens_from_now_on(receiver: Receiver) -> None:
    house = house_of()
    fail(house, 1)
    looking.look(FLOWS)
    channel = hook(house.tenant, receiver, ("paused", "failed"))
    fail(house, 2, "needs_approval", code="purchases_per_hour")
    tell()
    assert receiver.got == []
    channels.channel_switch(channel, False, "test")
    fail(house, 3)
    tell()
    channels.channel_switch(channel, True, "test")
    tell()
    assert receiver.got == [], "what happened while it was off is not told afterwards"
    pause(house)
    tell()
    assert len(receiver.got) == 1


def test_a_webhook_is_signed_and_chat_tools_get_text_alone(receiver: Receiver, settings: Any) -> None:
    settings.PUBLIC_URL = "https://connector.example.com/"
    house = house_of()
    channel = hook(house.tenant, receiver, secret="a shared secret")
    fail(house, 1)
    tell()
    path, headers, body = receiver.got[0]
    assert path.endswith("?sig=query-secret-88")
    expected = hmac.new(b"a shared secret", headers["X-Connector-Timestamp"].encode() + b"." + body, hashlib.sha256)
    assert headers["X-Connector-Signature"] == f"sha256={expected.hexdigest()}"
    told = json.loads(body)
    assert told["alerts"][0]["cause"] == "failed" and told["alerts"][0]["count"] == 1
    link = f"https://connector.example.com/admin/connector/transfer/?integration={house.integration.pk}&state__exact=failed"
    assert told["alerts"][0]["url"] == link and link in told["text"]
    channels.channel_save("webhook", None, ChannelInput("hook", ALL, remove_secret=True), "test", channel)
    fail(house, 2, code="other")
    tell()
    _, headers, body = receiver.got[1]
    assert "X-Connector-Signature" not in headers and set(json.loads(body)) == {"text"}


def test_links_in_messages_lead_to_pages(receiver: Receiver) -> None:
    house = house_of()
    pause(house)
    fail(house, 1)
    switches.stop_buying("tenant", house.tenant, True, "user:jo")
    looking.look(FLOWS)
    client = client_of(house.person("viewer"))
    links = set(Alert.objects.values_list("link", flat=True))
    assert len(links) == 3
    for link in links:
        assert client.get(link).status_code == 200, link


def test_a_failed_delivery_is_shown_waits_and_loses_nothing(receiver: Receiver) -> None:
    house = house_of()
    Integration.objects.update(enabled=False)
    channel = hook(house.tenant, receiver)
    receiver.status, receiver.answer = 500, b"no room at path-secret-77 <b>today</b>"
    fail(house, 1)
    [sent] = tell()
    assert not sent.ok
    channel.refresh_from_db()
    assert channel.attempts == 1 and channel.next_try_at is not None and "answered 500: no room" in channel.last_error
    assert "path-secret-77" not in channel.last_error
    page = client_of(house.person("viewer")).get(reverse("admin:connector_alertchannel_change", args=[channel.pk]))
    assert "answered 500" in page.content.decode() and "<b>today" not in page.content.decode()
    assert tell() == [], "not before its time"
    fail(house, 2)
    clock.offset_s = 70.0
    tell()
    channel.refresh_from_db()
    assert channel.attempts == 2
    receiver.status = 200
    clock.offset_s = 300.0
    tell()
    assert "2 new" in receiver.texts()[-1]
    channel.refresh_from_db()
    assert (channel.attempts, channel.last_error, channel.next_try_at) == (0, "", None)


def test_only_one_process_sends_at_a_time(receiver: Receiver) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver)
    fail(house, 1)
    looking.look(FLOWS)
    AlertChannel.objects.filter(pk=channel.pk).update(sending_until=clock.at(100))
    assert sending.send_due(channel.pk) is None and receiver.got == []
    clock.offset_s = 101.0  # it was killed: its turn lapses
    assert sending.send_due(channel.pk) is not None and len(receiver.got) == 1
    assert sending.send_due(channel.pk) is None and len(receiver.got) == 1


def test_a_webhook_goes_nowhere_that_vendors_may_not_be(receiver: Receiver, settings: Any) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver)
    settings.ALLOW_PRIVATE_HOSTS = []
    fail(house, 1)
    [sent] = tell()
    assert not sent.ok and receiver.got == []
    for url in (
        "http://example.com/x",
        "https://169.254.169.254/x",
        "https://127.0.0.1/x",
        "ftp://example.com",
        "https://u:p@e.com/",
    ):
        with pytest.raises(InvalidConfiguration) as refused:
            channels.channel_save("webhook", house.tenant, ChannelInput("x", ALL, url=url), "test")
        assert refused.value.errors[0].path == "url", url
    channel.refresh_from_db()
    assert channel.last_error


def test_mail_arrives_at_each_address(mailbox: Mailbox) -> None:
    house = house_of()
    channel = mail_to(house.tenant, "a@example.com", "b@example.com")
    fail(house, 1)
    [sent] = tell()
    assert sent.ok and sent.note == ""
    assert [to for to, _ in mailbox.mails] == [["a@example.com"], ["b@example.com"]]
    told = mailbox.mails[0][1]
    assert told["Subject"].startswith("ml-connector: Failed: alpha: IFS to FedEx: unmapped service")
    assert told["Auto-Submitted"] == "auto-generated" and "do this" in told.get_content()
    channel.refresh_from_db()
    assert channel.last_sent_at is not None


def test_one_refused_address_does_not_keep_the_others_from_being_told(mailbox: Mailbox) -> None:
    house = house_of()
    channel = mail_to(house.tenant, "gone@example.com", "here@example.com")
    mailbox.refused = {"gone@example.com"}
    fail(house, 1)
    [sent] = tell()
    assert sent.ok and [to for to, _ in mailbox.mails] == [["here@example.com"]]
    channel.refresh_from_db()
    assert channel.last_error == "Not accepted for gone@example.com: 550 no such person" and channel.attempts == 0


def test_a_mail_server_that_is_away_keeps_the_alert(mailbox: Mailbox, settings: Any) -> None:
    house = house_of()
    Integration.objects.update(enabled=False)
    channel = mail_to(house.tenant, "a@example.com")
    right, settings.EMAIL_PORT = settings.EMAIL_PORT, 1
    fail(house, 1)
    [sent] = tell()
    assert not sent.ok and "cannot be reached" in sent.note
    settings.EMAIL_PORT = right
    clock.offset_s = 100.0
    tell()
    assert len(mailbox.mails) == 1
    channel.refresh_from_db()
    assert channel.last_error == ""


def test_without_a_mail_server_nothing_is_claimed(settings: Any, capsys: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    house = house_of()
    channel = mail_to(house.tenant, "a@example.com")
    assert "no mail server is set" in sending.send_trial(channel, "test").note
    assert "trial message" in capsys.readouterr().out


def test_trouble_with_alerts_never_stops_the_tick(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    house = house_of()
    Transfer.objects.filter(pk=house.transfers["waiting"].pk).update(due_at=clock.now())
    monkeypatch.setattr(looking, "look", lambda polled: 1 / 0)
    tasks.tick()
    assert OrmQ.objects.count() and "could not look for what to tell people" in caplog.text


def test_a_tick_finds_and_wakes_and_the_task_sends(receiver: Receiver) -> None:
    house = house_of()
    channel = hook(house.tenant, receiver)
    fail(house, 1)
    tasks.tick()
    assert ("connector.tasks.alerts", (channel.pk,)) in [(row.task["func"], row.task["args"]) for row in OrmQ.objects.all()]
    tasks.alerts(channel.pk)
    assert len(receiver.got) == 1


def test_unreadable_posts_are_told_once_and_together(receiver: Receiver) -> None:
    house = house_of()
    hook(house.tenant, receiver)
    looking.look(FLOWS)
    for n in range(3):
        WebhookDelivery.objects.create(
            tenant=house.tenant,
            connection=house.target,
            digest=f"{n:064d}",
            body=b"the recipient lives in Elm Street",
            state="failed",
            received_at=clock.now(),
            ended_at=clock.now(),
        )
    looking.look(FLOWS)
    looking.look(FLOWS)
    alert = Alert.objects.get(cause="post")
    assert (alert.count, alert.tenant) == (3, house.tenant) and str(house.target) in alert.title
    assert "Elm Street" not in alert.title + alert.detail
    assert alert.link == reverse("admin:connector_connection_change", args=[house.target.pk])
    WebhookDelivery.objects.filter(digest=f"{0:064d}").update(ended_at=clock.now() + dt.timedelta(seconds=5))
    looking.look(FLOWS)
    assert Alert.objects.get(cause="post").count == 4, "given up again after another try"


def test_an_idle_look_is_cheap(django_assert_max_num_queries: Any) -> None:
    house_of()
    looking.look(FLOWS)
    with django_assert_max_num_queries(29):
        looking.look(FLOWS)

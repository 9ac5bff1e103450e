"""Alerts: found once, grouped, told over real SMTP and real HTTP, held back in quiet hours, never another tenant's."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import hashlib
import hmac
import json
import socket
import threading
import zoneinfo
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.db.models import F
from django.urls import reverse
from django_q.models import OrmQ

from connector import tasks
from connector.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
    AuditEntry,
    EffectSend,
    FlowState,
    Integration,
    LimitBucket,
    Pause,
    Shipment,
    Tenant,
    Transfer,
    WebhookDelivery,
)
from connector.models.alerts import Cause
from connector.services import clock, switches, vendors
from connector.services.alerts import channels, looking, sending, telling
from connector.services.alerts.channels import ChannelInput
from connector.services.configuration.findings import InvalidConfiguration
from integrations import registry
from tests.connector.admin_support import House, build, client_of, owner, transfer

pytestmark = pytest.mark.django_db(transaction=True)

FLOWS = ("ship", "track")
ALL = tuple(Cause.values)


class Mailbox:
    """A mail server that keeps what it is given; addresses in `refused` are turned away."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refused: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refused:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 kept"


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """A real mail server over loopback; the product's settings point at it."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield box
    server.stop()


class Receiver:
    """A web server that keeps what is posted and answers `status` with `answer`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.answer = 200, b"ok"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/services/path-secret-77?sig=query-secret-88"

    def texts(self) -> list[str]:
        return [json.loads(body)["text"] for _, _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def house_of(slug: str = "alpha") -> House:
    """A tenant where nothing is wrong yet, as far as alerts go."""
    house = build(slug)
    Pause.objects.filter(tenant=house.tenant).delete()
    Alert.objects.filter(tenant=house.tenant).delete()
    AlertChannel.objects.filter(tenant=house.tenant).delete()
    Shipment.objects.filter(tenant=house.tenant).update(created_at=clock.now())
    Integration.objects.filter(tenant=house.tenant).update(updated_at=clock.now())
    return house


def hook(tenant: Tenant | None, receiver: Receiver, causes: tuple[str, ...] = ALL, **more: Any) -> AlertChannel:
    return channels.channel_save("webhook", tenant, ChannelInput("hook", causes, url=receiver.url, **more), "test")


def mail_to(tenant: Tenant, *addresses: str, **more: Any) -> AlertChannel:
    return channels.channel_save("mail", tenant, ChannelInput("post", ALL, addresses=addresses, **more), "test")


def fail(house: House, number: int, state: str = "failed", **values: Any) -> Transfer:
    """One more transfer that has come to stand this moment."""
    made = transfer(house, 1000 + number, state)
    Transfer.objects.filter(pk=made.pk).update(updated_at=clock.now(), **values)
    made.refresh_from_db()
    return made


def pause(house: House, kind: str = "token_refused") -> Pause:
    return Pause.objects.create(
        tenant=house.tenant,
        scope="connection",
        connection=house.target,
        code=kind,
        message="vendor's own words",
        remedy="Enter the secret again.",
        since=clock.now(),
    )


def tell() -> list[Any]:
    """What a minute does: look, then send what is due."""
    looking.look(FLOWS)
    return [sending.send_due(pk) for pk in telling.due_channels()]


# -- finding and grouping ------------------------------------------------------------------------------------


def test_things_of_one_kind_are_one_alert_with_a_count() -> None:
    house = house_of()
    for number in range(3):
        fail(house, number)
    fail(house, 3, code="address_refused")
    fail(house, 4, "needs_approval", code="purchases_per_hour")
    assert looking.look(FLOWS) == 5
    assert sorted(Alert.objects.values_list("cause", "count")) == [("failed", 1), ("failed", 3), ("needs_approval", 1)]
    assert looking.look(FLOWS) == 0, "nothing is counted twice"
    fail(house, 5)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("cause", "count")) == [("failed", 1), ("failed", 4), ("needs_approval", 1)]


def test_the_same_code_elsewhere_is_another_alert() -> None:
    for house in (house_of("alpha"), house_of("omega")):
        fail(house, 1)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("tenant__slug", "count")) == [("alpha", 1), ("omega", 1)]


def test_a_replay_that_fails_again_counts_again_and_standing_failures_do_not() -> None:
    house = house_of()
    looking.look(FLOWS)
    failed = fail(house, 1)
    looking.look(FLOWS)
    Transfer.objects.filter(pk=failed.pk).update(epoch=F("epoch") + 1, updated_at=clock.now())
    looking.look(FLOWS)
    assert Alert.objects.get().count == 2


def test_what_is_in_doubt_is_told_once_however_often_it_is_looked_up() -> None:
    house = house_of()
    doubt = house.transfers["in_doubt"]
    for look in range(3):
        Transfer.objects.filter(pk=doubt.pk).update(epoch=look + 1, code=f"looked_{look}", updated_at=clock.now())
        looking.look(FLOWS)
    assert list(Alert.objects.values_list("cause", "count")) == [("in_doubt", 1)]
    EffectSend.objects.filter(transfer=doubt).update(outcome="absent")
    old = EffectSend.objects.get(transfer=doubt)
    old.pk, old.number, old.reference, old.outcome = None, 2, "ML-second", "unknown"
    old.save()
    Transfer.objects.filter(pk=doubt.pk).update(updated_at=clock.now())
    looking.look(FLOWS)
    assert sum(Alert.objects.values_list("count", flat=True)) == 2, "the next request in doubt is news"


def test_finished_work_that_needs_a_look_is_told() -> None:
    house = house_of()
    Transfer.objects.filter(pk=house.transfers["done"].pk).update(attention="bought_twice", updated_at=clock.now())
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert alert.cause == "look" and "bought twice" in alert.title


def test_a_pause_is_told_even_if_it_ended_before_we_looked() -> None:
    house = house_of()
    looking.look(FLOWS)
    found = pause(house)
    Pause.objects.filter(pk=found.pk).update(state="ended", ended_at=clock.now())
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert alert.cause == "paused" and str(house.target) in alert.title and alert.detail == "Enter the secret again."
    assert alert.link == reverse("admin:connector_connection_change", args=[house.target.pk])


def test_nothing_that_a_vendor_or_a_document_says_leaves_the_house() -> None:
    house = house_of()
    pause(house)
    fail(house, 1)
    looking.look(FLOWS)
    text = " ".join(f"{a.title} {a.detail} {a.link}" for a in Alert.objects.all())
    assert "vendor's own words" not in text and "message" not in text and "shipment:" not in text


def test_two_who_look_at_once_count_once() -> None:
    house = house_of()
    for number in range(20):
        fail(house, number)
    threads = [threading.Thread(target=_look_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Alert.objects.get().count == 20


def _look_and_close() -> None:
    from django.db import connection

    try:
        looking.look(FLOWS)
    finally:
        connection.close()


def test_after_a_day_of_silence_a_new_alert_begins() -> None:
    house = house_of()
    fail(house, 1)
    looking.look(FLOWS)
    clock.offset_s = 25 * 3600.0
    Integration.objects.update(enabled=False)  # this is not about lateness
    looking.look(FLOWS)
    assert Alert.objects.get().state == "closed"
    fail(house, 2)
    looking.look(FLOWS)
    assert sorted(Alert.objects.values_list("state", "count")) == [("closed", 1), ("open", 1)]


def test_a_schedule_is_late_after_two_periods_and_told_once() -> None:
    house = house_of()
    house.integration.schedule = {"ship": {"every_minutes": 60}, "track": {"every_minutes": 100_000}}
    house.integration.save()
    polled = FlowState.objects.create(
        tenant=house.tenant, integration=house.integration, flow="ship", last_good_poll_at=clock.now()
    )
    clock.offset_s = 115 * 60.0
    assert looking.look(FLOWS) == 0
    clock.offset_s = 125 * 60.0
    FlowState.objects.filter(pk=polled.pk).update(lease_until=clock.at(60))
    assert looking.look(FLOWS) == 0, "somebody is at it"
    FlowState.objects.filter(pk=polled.pk).update(lease_until=None)
    held = pause(house)
    looking.look(FLOWS)
    assert not Alert.objects.filter(cause="late").exists(), "a pause explains it and is told itself"
    Pause.objects.filter(pk=held.pk).update(state="ended")
    looking.look(FLOWS)
    looking.look(FLOWS)
    assert Alert.objects.get(cause="late").count == 1


def test_a_schedule_outside_its_window_is_not_late() -> None:
    house = house_of()
    now = clock.now()
    local = now.astimezone(zoneinfo.ZoneInfo(house.tenant.timezone))
    yesterday = (local.weekday() - 1) % 7
    house.integration.schedule = {
        "ship": {"every_minutes": 5, "weekdays": [yesterday]},
        "track": {"every_minutes": 5, "weekdays": [yesterday]},
    }
    house.integration.save()
    for flow in FLOWS:
        FlowState.objects.create(
            tenant=house.tenant, integration=house.integration, flow=flow, last_good_poll_at=now - dt.timedelta(hours=30)
        )
    assert looking.look(FLOWS) == 0


def test_eighty_per_cent_of_a_daily_limit_is_told_once_a_day() -> None:
    house = house_of()
    vendor = registry.get(house.target.vendor)
    key, limit = vendors.buckets_of(house.target, vendor, vendors.credentials_of(house.target))["track"]
    today = clock.now().date()
    bucket = LimitBucket.objects.create(key=key, day=today, used_today=int(limit.calls * 0.79))
    assert looking.look(FLOWS) == 0
    LimitBucket.objects.filter(pk=bucket.pk).update(used_today=int(limit.calls * 0.8))
    looking.look(FLOWS)
    looking.look(FLOWS)
    alert = Alert.objects.get()
    assert (alert.cause, alert.count, alert.tenant) == ("budget", 1, house.tenant) and "80%" in alert.title
    LimitBucket.objects.filter(pk=bucket.pk).update(day=today - dt.timedelta(days=1))
    assert looking.look(FLOWS) == 0, "yesterday's count is over"


def test_a_brake_is_told_to_those_it_stops(receiver: Receiver) -> None:
    mine, theirs = house_of("alpha"), house_of("omega")
    here, there = hook(mine.tenant, receiver), hook(theirs.tenant, receiver)
    switches.stop_buying("integration", mine.integration, True, "user:jo", "stocktaking")
    assert [n.alert.cause for n in telling.untold(here, clock.now())] == ["brake"] and telling.untold(there, clock.now()) == []
    switches.stop_buying("installation", None, True, "user:boss", "fire")
    assert len(telling.untold(here, clock.now())) == 2 and len(telling.untold(there, clock.now())) == 1
    tell()
    assert any("the whole installation" in text for text in receiver.texts())


# -- telling -------------------------------------------------------------------------------------------------


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


# -- the pages -----------------------------------------------------------------------------------------------


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

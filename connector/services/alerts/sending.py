"""Sending what is due to one channel, by mail or webhook. What cannot be sent is tried again; work never waits for it."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from connector.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
)
from connector.models.secrets import UnreadableSecret
from connector.services import audit, clock, keys, mailing, vendors
from connector.services.alerts.telling import News, due, zone_of
from connector.services.database import release_connection
from connector.services.public_url import page_url
from connector.services.throttle import DatabaseThrottle
from integrations.base.errors import IntegrationError
from integrations.base.http import Http, encode_json
from integrations.base.redact import Redactor
from integrations.base.vendor import Timeouts, Vendor

logger = logging.getLogger(__name__)
LINES = 20
"""Alerts spelled out in one message; the rest are counted."""
TURN_S = 300.0
RETRY_BASE_S = 60.0
RETRY_CAP_S = 3600.0
SEND_S = 10.0

SIGNATURE_HEADER = "X-Connector-Signature"
TIMESTAMP_HEADER = "X-Connector-Timestamp"
WEBHOOK = Vendor(
    slug="alerts",
    label="Webhook",
    roles=frozenset(),
    adapter="",
    simulator="",
    credentials=(),
    url_keys=("url",),
    environments=(),
    limits=(),
)
"""The HTTP layer wants to know on whose behalf it calls."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a subject, a text that says everything, and the same as data."""

    subject: str
    text: str
    alerts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it. `note` says what went wrong, also where a part of it was sent."""

    ok: bool
    note: str = ""


def compose(channel: AlertChannel, news: Sequence[News]) -> Message:
    """One message about all of it."""
    zone = zone_of(channel)
    lines: list[str] = []
    data: list[dict[str, Any]] = []
    for one in news:
        alert = one.alert
        whose = f"{alert.tenant}: " if channel.tenant_id is None and alert.tenant is not None else ""
        line = f"{whose}{alert}"
        if alert.count > 1:
            line += f" · {one.new} new, {alert.count} since {alert.first_at.astimezone(zone):%Y-%m-%d %H:%M}"
        url = page_url(alert.link)
        if len(lines) < LINES:
            lines.append("\n".join(part for part in (line, alert.detail, url) if part))
        data.append(
            {
                "cause": alert.cause,
                "tenant": alert.tenant.slug if alert.tenant is not None else None,
                "title": alert.title,
                "detail": alert.detail,
                "new": one.new,
                "count": alert.count,
                "first_at": alert.first_at.isoformat(),
                "last_at": alert.last_at.isoformat(),
                "url": url,
            }
        )
    if len(news) > LINES:
        lines.append(f"and {len(news) - LINES} more: {page_url(reverse('admin:connector_alert_changelist'))}")
    first = lines[0].partition("\n")[0] if lines else ""
    subject = first if len(news) == 1 else f"{len(news)} alerts, first: {first}"
    return Message(f"ml-connector: {subject}"[:200], "\n\n".join(lines), data[:100])


def send_due(channel_id: int) -> Sent | None:
    """Tell one channel what is due. None: nothing is, or another process is at it.

    A process that is killed between sending and noting it tells the same again: twice rather than never.
    """
    turn = AlertChannel.objects.filter(Q(sending_until=None) | Q(sending_until__lt=clock.at()), pk=channel_id, enabled=True)
    if not turn.update(sending_until=clock.at(TURN_S)):
        return None
    sent: Sent | None = None
    news: list[News] = []
    try:
        channel = AlertChannel.objects.select_related("tenant").get(pk=channel_id)
        news = due(channel, clock.now())
        if news:
            sent = _deliver(channel, compose(channel, news))
    finally:
        _note(channel_id, news, sent)
    return sent


def _note(channel_id: int, news: Sequence[News], sent: Sent | None) -> None:
    now = clock.now()
    with transaction.atomic():
        channel = AlertChannel.objects.select_for_update().filter(pk=channel_id).first()
        if channel is None:  # removed meanwhile
            return
        channel.sending_until = None
        changed = ["sending_until"]
        if sent is not None:
            if sent.note:
                channel.last_error, channel.last_error_at = sent.note, now
            elif sent.ok:
                channel.last_error = ""
            if sent.ok:
                channel.attempts, channel.next_try_at, channel.last_sent_at = 0, None, now
                for one in news:
                    told = {"told": one.alert.count, "told_at": now}
                    AlertDelivery.objects.update_or_create(alert=one.alert, channel=channel, defaults=told)
                Alert.objects.filter(pk__in=[one.alert.pk for one in news]).update(sent_at=now)
            else:
                wait = min(RETRY_BASE_S * 2**channel.attempts, RETRY_CAP_S) * random.uniform(0.5, 1.0)
                channel.attempts = min(channel.attempts + 1, 30)
                channel.next_try_at = now + dt.timedelta(seconds=wait)
            changed += ["last_error", "last_error_at", "attempts", "next_try_at", "last_sent_at"]
        channel.save(update_fields=changed)


def send_trial(channel: AlertChannel, actor: str) -> Sent:
    """Send a trial message now, whatever the quiet hours; the result is kept on the channel."""
    text = f"This is a trial message of ml-connector to “{channel.name}”. Nothing is wrong."
    url = page_url(reverse("admin:connector_alertchannel_change", args=[channel.pk]))
    sent = _deliver(channel, Message("ml-connector: trial message", "\n".join((text, url))))
    channel.tested_at, channel.test_ok = clock.now(), sent.ok
    channel.test_result = sent.note or f"Handed over to {_whereto(channel)}."
    with transaction.atomic():
        told = {"tested_at": channel.tested_at, "test_ok": channel.test_ok, "test_result": channel.test_result}
        AlertChannel.objects.filter(pk=channel.pk).update(**told)  # none, where it was removed while the message went out
        if sent.ok:  # whatever was wrong is mended: what waits need not wait longer
            AlertChannel.objects.filter(pk=channel.pk).update(next_try_at=None, attempts=0)
        audit.append(channel.tenant, audit.Draft("alert_channel_tested", {"ok": sent.ok}, channel, actor=actor))
    return sent


def _whereto(channel: AlertChannel) -> str:
    return "the mail server" if channel.kind == AlertChannel.Kind.MAIL else channel.host


def _deliver(channel: AlertChannel, message: Message) -> Sent:
    """Over the wire; never raises for what the other side does."""
    release_connection()
    try:
        if channel.kind == AlertChannel.Kind.MAIL:
            return _mail(channel, message)
        return _post(channel, message)
    except UnreadableSecret as error:
        return Sent(False, f"{error} {keys.REMEDY}")
    except IntegrationError as error:
        return Sent(False, error.message[:500])
    except Exception as error:  # a fault of ours must not lose the alert or stop the worker
        logger.exception("alert channel %s", channel.pk)
        return Sent(False, f"Internal error ({type(error).__name__}); the log tells more.")


def _mail(channel: AlertChannel, message: Message) -> Sent:
    text = message.text + "\n\nYou get this because your address stands in an alert channel of ml-connector."
    try:
        faults = mailing.send(channel.addresses, message.subject, text)
    except mailing.Unreachable as error:
        return Sent(False, str(error))
    note = f"Not accepted for {'; '.join(faults)}"[:500] if faults else ""
    if not faults and mailing.prints_only():
        note = "Printed to the log only: no mail server is set (EMAIL_URL)."
    return Sent(len(faults) < len(channel.addresses), note)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 (hex) over timestamp, a full stop and the body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post(channel: AlertChannel, message: Message) -> Sent:
    secrets = channel.secrets()
    url, secret = secrets["url"], secrets.get("secret", "")
    parts = urlsplit(url)
    payload: dict[str, Any] = {"text": f"{message.subject}\n\n{message.text}"}
    if secret:  # a receiver of somebody's own; chat tools do not check signatures, and some refuse what they do not know
        payload["alerts"] = message.alerts
    body = encode_json(payload)
    timestamp = str(int(time.time()))
    headers = {"Content-Type": "application/json", TIMESTAMP_HEADER: timestamp}
    if secret:
        headers[SIGNATURE_HEADER] = f"sha256={sign(secret, timestamp, body)}"
    hidden = [part for part in (secret, url, parts.path, parts.query, *parts.path.split("/")) if len(part) >= 6]
    http = Http(
        vendor=WEBHOOK,
        base_url=f"{parts.scheme}://{parts.netloc}",
        hosts=(),
        auth=None,
        timeouts=Timeouts(connect_s=5.0, read_s=SEND_S, total_s=SEND_S),
        throttle=DatabaseThrottle({}),
        redactor=Redactor(hidden),
        policy=vendors.policy(),
        max_body_bytes=64 * 1024,
    )
    answer = http.request("POST", url, operation="send alert", data=body, headers=headers, limits=())
    if 200 <= answer.status < 300:
        return Sent(True)
    said = http.redactor.text(" ".join(answer.text.split()))[:200]
    return Sent(False, f"{channel.host} answered {answer.status}{': ' + said if said else ''}.")

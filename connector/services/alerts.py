"""Tell people of trouble without being asked: find it, group it, send it to the channels that want it.

Once a minute `look` compares what stands now (pauses, transfers, polls, limits) with what it has counted before; the
engine writes nothing for it. Things of one kind (same cause, code and connection or integration) form one alert with
a count. A channel is told of a group's first at once, of more at most once an hour, in quiet hours only of what is
urgent. What cannot be sent is tried again and shown on the channel; work never waits for it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import logging
import random
import time
import zoneinfo
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q
from django.urls import reverse

from connector import words
from connector.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
    AlertSeen,
    Connection,
    EffectSend,
    FlowState,
    Installation,
    Integration,
    LimitBucket,
    Pause,
    Tenant,
    Transfer,
)
from connector.models.alerts import URGENT, Cause
from connector.models.secrets import UnreadableSecret
from connector.services import audit, clock, deadlines, keys, mailing, schedules, vendors, webhooks
from connector.services.configuration.findings import ConfigError, InvalidConfiguration
from connector.services.database import release_connection
from connector.services.reconcile import findings
from connector.services.reconcile.kinds import KIND
from connector.services.throttle import DatabaseThrottle
from integrations import registry
from integrations.base.errors import IntegrationError
from integrations.base.http import Http, encode_json
from integrations.base.redact import Redactor
from integrations.base.vendor import Timeouts, Vendor
from integrations.flows.table import KINDS

logger = logging.getLogger(__name__)

OVERLAP = dt.timedelta(minutes=2)
"""A transaction that ends a run may commit a moment after its time stamp: look back so far."""
SILENCE = dt.timedelta(days=1)
"""After so long without news an alert is closed."""
KEEP = dt.timedelta(days=100)
AGAIN = dt.timedelta(hours=1)
"""A channel is told of one group at most so often."""
TOO_OLD = dt.timedelta(days=7)
"""What could not be told for so long is given up; it stands in the list."""
LATE_GRACE = dt.timedelta(minutes=2)
BUDGET_SHARE = 0.8
DAY_S = 86_400.0
LINES = 20
"""Alerts spelled out in one message; the rest are counted."""
TURN_S = 300.0
RETRY_BASE_S = 60.0
RETRY_CAP_S = 3600.0
MAX_ADDRESSES = 20
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


# -- raising -----------------------------------------------------------------------------------------


def raise_alert(
    cause: Cause,
    kind: str,
    about: str,
    *,
    tenant_id: int | None,
    title: str,
    detail: str = "",
    link: str = "",
    count: int = 1,
    at: dt.datetime | None = None,
) -> None:
    """Count `count` more into the open alert of this group, or begin one: one UPDATE, or that and one INSERT.

    `kind` is the vendor's or our code, `about` what it concerns ("integration:5"). `title` and `detail` leave the
    house: our own words, codes and names only.
    """
    group = f"{cause}:{kind}:{about}"[:200]
    now = at or clock.now()
    title, detail = " ".join(title.split())[:300], detail.strip()
    news = {"last_at": now, "title": title, "detail": detail, "link": link[:300]}
    alive = Alert.objects.filter(group_key=group, state=Alert.State.OPEN)
    if alive.filter(last_at__gt=now - SILENCE).update(count=F("count") + count, **news):
        return
    try:
        with transaction.atomic():
            alive.filter(last_at__lte=now - SILENCE).update(state=Alert.State.CLOSED)
            Alert.objects.create(tenant_id=tenant_id, cause=cause, group_key=group, first_at=now, count=count, **news)
    except IntegrityError:  # another process began it this instant
        alive.update(count=F("count") + count, **news)


def brake_switched(level: str, row: Installation | Tenant | Integration, tenant_id: int | None, on: bool, actor: str) -> None:
    """Somebody stopped or allowed buying. Never stands in the way of the brake itself."""
    try:
        with transaction.atomic():
            whom = "the whole installation" if isinstance(row, Installation) else f"{level} {row}"
            raise_alert(
                Cause.BRAKE,
                "on" if on else "off",
                f"{level}:{row.pk}",
                tenant_id=tenant_id,
                title=f"Buying is {'stopped' if on else 'allowed again'} for {whom}",
                detail=f"By {actor}. " + ("Nothing is bought until it is allowed again." if on else ""),
                link=reverse("admin:index") if tenant_id is None else reverse(f"admin:connector_{level}_change", args=[row.pk]),
            )
    except Exception:
        logger.exception("could not note that a brake was switched")


@dataclass(frozen=True, slots=True)
class _Found:
    """One thing to tell. `key` makes sure that it is counted once."""

    key: str
    tenant_id: int | None
    cause: Cause
    kind: str
    about: str
    title: str
    detail: str
    link: str


def look(polled: Collection[str] = ()) -> int:
    """Find what is new since the last look and count it. `polled` are the flows that poll. Returns how many things.

    Two processes may look at once: each thing is counted by one of them.
    """
    now = clock.now()
    mark = Installation.objects.filter(pk=1).values_list("alerts_looked_at", flat=True).first()
    since = (mark or now) - OVERLAP
    found = [
        *_pauses(since),
        *_transfers(since),
        *_late(now, polled),
        *_budgets(now),
        *_deadlines(),
        *_findings(since),
        *_posts(since),
    ]
    keys.installation()
    with transaction.atomic():
        if found:
            Installation.objects.select_for_update().get(pk=1)
            found = _unseen(found, now)
        groups: dict[tuple[Cause, str, str], list[_Found]] = {}
        for one in found:
            groups.setdefault((one.cause, one.kind, one.about), []).append(one)
        for (cause, kind, about), several in groups.items():
            last = several[-1]
            told = {"title": last.title, "detail": last.detail, "link": last.link}
            raise_alert(cause, kind, about, tenant_id=last.tenant_id, count=len(several), at=now, **told)
        Installation.objects.filter(pk=1).update(alerts_looked_at=now)
    Alert.objects.filter(state=Alert.State.OPEN, last_at__lt=now - SILENCE).update(state=Alert.State.CLOSED)
    Alert.objects.filter(last_at__lt=now - KEEP).delete()
    AlertSeen.objects.filter(at__lt=now - KEEP).delete()
    return len(found)


def _unseen(found: Sequence[_Found], now: dt.datetime) -> list[_Found]:
    """Those not counted before, marked as counted."""
    by_key = {one.key: one for one in found}
    names = list(by_key)
    for start in range(0, len(names), 500):
        for key in AlertSeen.objects.filter(key__in=names[start : start + 500]).values_list("key", flat=True):
            del by_key[key]
    AlertSeen.objects.bulk_create([AlertSeen(key=key, at=now) for key in by_key], batch_size=500)
    return list(by_key.values())


def _pauses(since: dt.datetime) -> Iterable[_Found]:
    open_or_new = ~Q(state=Pause.State.ENDED) | Q(since__gte=since)
    for pause in Pause.objects.filter(open_or_new).select_related("connection", "integration").order_by("pk"):
        if pause.integration is not None:
            about, owner, page = f"integration:{pause.integration_id}", str(pause.integration), "integration"
        else:
            about, owner, page = f"connection:{pause.connection_id}", str(pause.connection), "connection"
        part = f", {pause.get_scope_display().lower()} {pause.scope_name}" if pause.scope_name else ""
        yield _Found(
            f"pause:{pause.pk}",
            pause.tenant_id,
            Cause.PAUSED,
            pause.code,
            f"{about}:{pause.scope_name}" if pause.scope_name else about,
            f"{owner}{part}: {words.words(pause.code).lower()}",
            pause.remedy,
            reverse(f"admin:connector_{page}_change", args=[pause.integration_id or pause.connection_id]),
        )


def _transfers(since: dt.datetime) -> Iterable[_Found]:
    touched = Transfer.objects.filter(updated_at__gte=since).select_related("integration").defer("error", "decision", "message")
    # Two queries, each with a partial index of its own: few rows stand there, however many are done.
    rows = list(touched.filter(state__in=("failed", "in_doubt", "needs_approval")).order_by("pk"))
    rows += touched.filter(attention__isnull=False).exclude(pk__in=[t.pk for t in rows]).order_by("pk")
    sends = _open_sends([t.record_id for t in rows if t.state == "in_doubt"])
    for transfer in rows:
        link = reverse("admin:connector_transfer_changelist") + f"?integration={transfer.integration_id}"
        if transfer.state in ("failed", "in_doubt", "needs_approval"):
            cause, kind, detail = Cause(transfer.state), transfer.code, transfer.remedy
            # Every look at what is in doubt is a run of its own: the request in doubt is the same.
            mark = sends.get(transfer.record_id, 0) if cause == Cause.IN_DOUBT else transfer.epoch
            link += f"&state__exact={transfer.state}"
        else:
            kind = transfer.attention or ""
            cause, detail = Cause.LOOK, words.ATTENTION.get(kind, "Its page says what was found and what to do.")
            mark = 0
        yield _Found(
            f"{cause}:{transfer.pk}:{mark}" + (f":{kind}" if cause == Cause.LOOK else ""),
            transfer.tenant_id,
            cause,
            kind,
            f"integration:{transfer.integration_id}",
            f"{transfer.integration}" + (f": {words.words(kind).lower()}" if kind else ""),
            detail,
            link,
        )


def _open_sends(records: Sequence[int]) -> dict[int, int]:
    """The latest request without a known outcome by source record."""
    found: dict[int, int] = {}
    for start in range(0, len(records), 500):
        chosen = EffectSend.objects.filter(effect__record__in=records[start : start + 500], outcome__in=EffectSend.OPEN)
        found |= dict(chosen.values_list("effect__record").annotate(last=Max("pk")))
    return found


def _late(now: dt.datetime, polled: Collection[str]) -> Iterable[_Found]:
    """Flows whose last good poll lies more than one period too far back. Not those that are paused: that is told already."""
    states = {(s.integration_id, s.flow): s for s in FlowState.objects.all()}
    still = Pause.objects.exclude(state=Pause.State.ENDED).filter(scope__in=("connection", "integration"))
    stopped = set(still.values_list("connection_id", "integration_id"))
    for integration in Integration.objects.filter(enabled=True).select_related("tenant").order_by("pk"):
        if integration.kind not in KINDS or stopped & {
            (integration.source_id, None),
            (integration.target_id, None),
            (None, integration.pk),
        }:
            continue
        zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
        for flow in KINDS[integration.kind].flows:
            if not flow.available or flow.name not in polled:
                continue
            state = states.get((integration.pk, flow.name))
            if state is not None and state.lease_until is not None and state.lease_until > now:
                continue  # somebody is at it
            last = (state.last_good_poll_at if state else None) or integration.created_at
            # Switching on and editing begin a new count.
            last = max(last, integration.updated_at)
            schedule = schedules.merged_schedule(integration, flow.name)
            first = schedules.next_due(schedule, zone, last, last)
            second = schedules.next_due(schedule, zone, first, first) if first is not None else None
            if second is None or now <= second + LATE_GRACE:
                continue
            yield _Found(
                f"late:{integration.pk}:{flow.name}:{last.isoformat()}",
                integration.tenant_id,
                Cause.LATE,
                flow.name,
                f"integration:{integration.pk}",
                f"{integration}, {flow.label}",
                f"Nothing has been fetched since {last.astimezone(zone):%Y-%m-%d %H:%M}; it was to be fetched twice since then. "
                "Ping both connections; do workers run?",
                reverse("admin:connector_integration_change", args=[integration.pk]),
            )


def _budgets(now: dt.datetime) -> Iterable[_Found]:
    """Declared daily limits of which 80 % are used today (UTC)."""
    used = dict(LimitBucket.objects.filter(day=now.date(), used_today__gt=0).values_list("key", "used_today"))
    if not used:
        return
    for connection in Connection.objects.select_related("tenant").order_by("pk"):
        if connection.vendor not in registry.VENDORS:
            continue
        vendor = registry.get(connection.vendor)
        if not any(limit.per_s >= DAY_S for limit in vendors.limits_of(vendor, connection.settings).values()):
            continue
        try:
            buckets = vendors.buckets_of(connection, vendor, vendors.credentials_of(connection))
        except UnreadableSecret:
            continue
        for name, (key, limit) in buckets.items():
            count = used.get(key, 0)
            if limit.per_s < DAY_S or count < limit.calls * BUDGET_SHARE:
                continue
            shared = limit.scope == "host"  # counted for all tenants together: the owner's affair
            yield _Found(
                f"budget:{key if shared else connection.pk}:{name}:{now.date()}"[:200],
                None if shared else connection.tenant_id,
                Cause.BUDGET,
                name,
                f"host:{vendor.slug}" if shared else f"connection:{connection.pk}",
                f"{vendor.label if shared else connection}: {BUDGET_SHARE:.0%} of today's “{name}” ({limit.calls}) are used",
                "Beyond the limit calls wait until it refills. The count begins anew at midnight UTC.",
                reverse("admin:connector_connection_change", args=[connection.pk]),
            )


def _deadlines() -> Iterable[_Found]:
    """What should have happened by now; each miss once, however long it lasts."""
    page = reverse("admin:connector_deadlines")
    for found in deadlines.find(Integration.objects.all()):
        for missed in found.rows:
            yield _Found(
                missed.key,
                missed.tenant_id,
                Cause.DEADLINE,
                missed.kind,
                f"integration:{missed.integration.pk}",
                f"{missed.integration}: {found.kind.title}",
                f"{found.kind.says} {found.kind.remedy}",
                f"{page}?kind={missed.kind}&integration={missed.integration.pk}",
            )


def _findings(since: dt.datetime) -> Iterable[_Found]:
    """What comparisons have newly found."""
    page = reverse("admin:connector_findings")
    for finding in findings.untold(since):
        kind = KIND[finding.kind]
        yield _Found(
            f"finding:{finding.pk}",
            finding.tenant_id,
            Cause.FINDING,
            finding.kind,
            f"integration:{finding.integration_id}",
            f"{finding.integration}: {kind.title}",
            kind.says,
            f"{page}?kind={finding.kind}&integration={finding.integration_id}",
        )


def _posts(since: dt.datetime) -> Iterable[_Found]:
    """What vendors posted and nobody could read. One that was tried again and given up again counts again."""
    for post in webhooks.given_up_since(since):
        yield _Found(
            f"post:{post.pk}:{post.ended_at:%Y%m%d%H%M%S}",
            post.tenant_id,
            Cause.POST,
            "",
            f"connection:{post.connection_id}",
            f"{post.connection}: a webhook post could not be read",
            "Nothing is lost: it is kept, and what it told comes with the next poll. An administrator may have it tried again.",
            reverse("admin:connector_connection_change", args=[post.connection_id]),
        )


# -- who is told what --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class News:
    """One alert for one channel, and how much of it the channel has not been told."""

    alert: Alert
    new: int


def zone_of(channel: AlertChannel) -> zoneinfo.ZoneInfo:
    """The tenant's zone; UTC for a channel of the installation."""
    return zoneinfo.ZoneInfo(channel.tenant.timezone if channel.tenant is not None else settings.TIME_ZONE)


def is_quiet(channel: AlertChannel, now: dt.datetime) -> bool:
    """Whether `now` lies within the channel's quiet hours (which may go over midnight)."""
    first, last = channel.quiet_from, channel.quiet_until
    if first is None or last is None:
        return False
    local = now.astimezone(zone_of(channel)).time()
    return first <= local < last if first < last else local >= first or local < last


def untold(channel: AlertChannel, now: dt.datetime) -> list[News]:
    """Alerts of which the channel has not been told everything, whether or not it is their time, oldest first."""
    mine = Q()
    if channel.tenant_id is not None:
        # The installation's brake stops this tenant, too.
        mine = Q(tenant=channel.tenant_id) | Q(tenant=None, cause=Cause.BRAKE)
    wanted = Alert.objects.filter(mine, cause__in=channel.causes, last_at__gte=max(channel.since, now - TOO_OLD))
    told = dict(AlertDelivery.objects.filter(channel=channel, alert__in=wanted).values_list("alert_id", "told"))
    rows = [News(a, a.count - told.get(a.pk, 0)) for a in wanted.select_related("tenant").order_by("first_at", "pk")]
    return [news for news in rows if news.new > 0]


def due(channel: AlertChannel, now: dt.datetime) -> list[News]:
    """What the channel should be told now."""
    if not channel.enabled or (channel.next_try_at is not None and channel.next_try_at > now):
        return []
    waiting = untold(channel, now)
    if not waiting:
        return []
    just = AlertDelivery.objects.filter(channel=channel, told_at__gt=now - AGAIN)
    recent = set(just.values_list("alert__group_key", flat=True))
    quiet = is_quiet(channel, now)
    return [n for n in waiting if n.alert.group_key not in recent and (not quiet or n.alert.cause in URGENT)]


def due_channels() -> list[int]:
    """Channels that have something to be told now."""
    now = clock.now()
    channels = AlertChannel.objects.filter(enabled=True).select_related("tenant").order_by("pk")
    return [channel.pk for channel in channels if due(channel, now)]


def waits_for(alert: Alert, channel: AlertChannel, now: dt.datetime) -> str:
    """In words, how an alert stands with a channel of its tenant."""
    if not channel.enabled:
        return "The channel is switched off."
    if alert.cause not in channel.causes:
        return "The channel does not want this cause."
    if alert.last_at < channel.since:
        return "It is older than the channel."
    if not any(news.alert.pk == alert.pk for news in untold(channel, now)):
        return "All of it is told." if alert.last_at >= now - TOO_OLD else "Given up after a week without success."
    if channel.next_try_at is not None and channel.next_try_at > now:
        return "The last attempt failed; it is tried again."
    if is_quiet(channel, now) and alert.cause not in URGENT:
        return "Held back until the quiet hours end."
    return "It is told within a minute, and at most once an hour."


# -- sending -----------------------------------------------------------------------------------------


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


def page_url(path: str) -> str:
    """A page of the console as people outside can open it; the bare path where nobody told us our address."""
    base = settings.PUBLIC_URL or next((o for o in settings.CSRF_TRUSTED_ORIGINS if "*" not in o), "")
    return base.rstrip("/") + path if path else ""


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
        channel.save(update_fields=["tested_at", "test_ok", "test_result"])
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


# -- channels ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChannelInput:
    """A channel as a form gives it. An empty `url` or `secret` keeps what is stored; `remove_secret` takes it away."""

    name: str
    causes: Sequence[str]
    addresses: Sequence[str] = ()
    url: str = ""
    secret: str = ""
    remove_secret: bool = False
    quiet_from: dt.time | None = None
    quiet_until: dt.time | None = None


def _check(kind: str, entered: ChannelInput, stored: Mapping[str, str]) -> list[ConfigError]:
    found = []
    if strange := sorted(set(entered.causes) - set(Cause.values)):
        found.append(ConfigError("causes", f"unknown: {', '.join(strange)}"))
    if (entered.quiet_from is None) != (entered.quiet_until is None):
        found.append(ConfigError("quiet_until", "give both ends of the quiet hours, or none"))
    elif entered.quiet_from is not None and entered.quiet_from == entered.quiet_until:
        found.append(ConfigError("quiet_until", "is the same as the beginning"))
    if kind == AlertChannel.Kind.MAIL:
        if not 0 < len(entered.addresses) <= MAX_ADDRESSES:
            found.append(ConfigError("addresses", f"give 1 to {MAX_ADDRESSES} addresses"))
        for address in entered.addresses:
            try:
                validate_email(address)
            except ValidationError:
                found.append(ConfigError("addresses", f"“{address}” is not an e-mail address"))
    else:
        found += _check_url(entered.url or stored.get("url", ""))
    return found


def _check_url(url: str) -> list[ConfigError]:
    if not url:
        return [ConfigError("url", "is needed")]
    try:
        if urlsplit(url).fragment or any(c.isspace() for c in url):
            return [ConfigError("url", "holds a blank or a #")]
        vendors.policy().check_url(url)
    except (ValueError, IntegrationError) as error:
        return [ConfigError("url", getattr(error, "message", "cannot be read"))]
    return []


def channel_save(
    kind: str, tenant: Tenant | None, entered: ChannelInput, actor: str, existing: AlertChannel | None = None
) -> AlertChannel:
    """Create or change a channel; kind and tenant of an existing one stay. Raises InvalidConfiguration."""
    with transaction.atomic():
        channel = existing or AlertChannel(tenant=tenant, kind=kind, since=clock.now(), created_at=clock.now())
        stored = channel.secrets() if existing is None or existing.secrets_readable else {}
        if errors := _check(channel.kind, entered, stored):
            raise InvalidConfiguration(errors)
        channel.name, channel.addresses = entered.name, list(dict.fromkeys(entered.addresses))
        channel.causes = [cause for cause in Cause.values if cause in entered.causes]
        channel.quiet_from, channel.quiet_until = entered.quiet_from, entered.quiet_until
        secrets = dict(stored)
        if channel.kind == AlertChannel.Kind.WEBHOOK:
            secrets |= {name: value for name, value in (("url", entered.url), ("secret", entered.secret)) if value}
            if entered.remove_secret:
                secrets.pop("secret", None)
            channel.host = urlsplit(secrets["url"]).netloc[:255]
        if secrets != stored or existing is None:
            channel.set_secrets(secrets)
        channel.next_try_at, channel.attempts = None, 0
        channel.save()
        facts = {
            "kind": channel.kind,
            "causes": channel.causes,
            "host": channel.host,
            "addresses": len(channel.addresses),
            "signed": bool(secrets.get("secret")),
            "quiet": f"{channel.quiet_from:%H:%M} to {channel.quiet_until:%H:%M}" if channel.quiet_from else "",
        }
        act = "alert_channel_changed" if existing else "alert_channel_created"
        audit.append(channel.tenant, audit.Draft(act, facts, channel, {"addresses": channel.addresses}, actor))
    return channel


def channel_switch(channel: AlertChannel, on: bool, actor: str) -> None:
    """On or off. What happened while it was off is not told afterwards."""
    with transaction.atomic():
        if not AlertChannel.objects.filter(pk=channel.pk, enabled=not on).update(enabled=on):
            return
        if on:
            AlertChannel.objects.filter(pk=channel.pk).update(since=clock.at(), next_try_at=None, attempts=0)
        draft = audit.Draft("alert_channel_on" if on else "alert_channel_off", {}, channel, actor=actor)
        audit.append(channel.tenant, draft)


def channel_remove(channel: AlertChannel, actor: str) -> None:
    """Take a channel away; the alerts stay."""
    with transaction.atomic():
        audit.append(channel.tenant, audit.Draft("alert_channel_removed", {"kind": channel.kind}, channel, actor=actor))
        channel.delete()

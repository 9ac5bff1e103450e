"""Who is told what, and when: a group's first at once, more of it at most once an hour, quiet hours apart."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q

from connector.models import (
    Alert,
    AlertChannel,
    AlertDelivery,
)
from connector.models.alerts import URGENT, Cause
from connector.services import clock

AGAIN = dt.timedelta(hours=1)
"""A channel is told of one group at most so often."""
TOO_OLD = dt.timedelta(days=7)
"""What could not be told for so long is given up; it stands in the list."""


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

"""Setting up the channels that alerts go to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from connector.models import (
    AlertChannel,
    Tenant,
)
from connector.models.alerts import Cause
from connector.services import audit, clock, vendors
from connector.services.configuration.findings import ConfigError, InvalidConfiguration
from integrations.base.errors import IntegrationError

MAX_ADDRESSES = 20


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


def problems(kind: str, entered: ChannelInput, stored: Mapping[str, str]) -> list[ConfigError]:
    """What is wrong with a channel, by its fields. `stored` are its secrets."""
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


def entered_of(channel: AlertChannel) -> ChannelInput:
    """A channel as it would be entered, without its secrets."""
    return ChannelInput(
        name=channel.name,
        causes=tuple(channel.causes),
        addresses=tuple(channel.addresses),
        quiet_from=channel.quiet_from,
        quiet_until=channel.quiet_until,
    )


def channel_save(
    kind: str, tenant: Tenant | None, entered: ChannelInput, actor: str, existing: AlertChannel | None = None
) -> AlertChannel:
    """Create or change a channel; kind and tenant of an existing one stay. Raises InvalidConfiguration."""
    with transaction.atomic():
        channel = existing or AlertChannel(tenant=tenant, kind=kind, since=clock.now(), created_at=clock.now())
        stored = channel.secrets() if existing is None or existing.secrets_readable else {}
        errors = problems(channel.kind, entered, stored)
        same = AlertChannel.objects.filter(tenant=channel.tenant, name=entered.name).exclude(pk=channel.pk)
        if entered.name != channel.name and same.exists():
            # Configuration files know a channel by its name.
            errors.append(ConfigError("name", f"there is a channel “{entered.name}” already: give this one another name"))
        if errors:
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
    """Take a channel away; the alerts stay. Whoever presses second, too, finds it gone, and nothing more is noted."""
    with transaction.atomic():
        if not AlertChannel.objects.select_for_update().filter(pk=channel.pk).exists():
            channel.pk = None
            return
        audit.append(channel.tenant, audit.Draft("alert_channel_removed", {"kind": channel.kind}, channel, actor=actor))
        channel.delete()

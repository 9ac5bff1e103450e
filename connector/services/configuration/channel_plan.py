"""Alert channels of a configuration document: whose, where to, of what, when not.

A channel is known by its tenant (null: the whole installation) and its name. URL and secret of a webhook are secrets:
absent keeps them, and they are never exported.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connector.models import AlertChannel
from connector.models.alerts import Cause
from connector.services.alerts import channels
from connector.services.alerts.channels import ChannelInput
from connector.services.configuration.connection_checks import time_of_day
from connector.services.configuration.findings import Findings, joined, nearest
from connector.services.configuration.reading import MISSING, Block, items_of, secret_of, text_of

LONGEST = 320
"""Characters of an e-mail address, as the console takes it."""
CHANNEL_KEYS = ("tenant", "name", "kind", "addresses", "url", "secret", "causes", "quiet_from", "quiet_until", "enabled")


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """A channel as it should be. `tenant` "" is the installation."""

    existing: AlertChannel | None
    tenant: str
    kind: str
    entered: ChannelInput
    enabled: bool

    @property
    def label(self) -> str:
        """For the summary."""
        return f"{self.tenant or 'installation'}/{self.entered.name}"


def channels_of(found: Findings, top: Block, tenants: Collection[str]) -> list[ChannelPlan]:
    """The list `alert_channels`. `tenants` are the slugs that there are or will be."""
    stored: dict[tuple[str, str], list[AlertChannel]] = {}
    for channel in AlertChannel.objects.select_related("tenant") if top.has("alert_channels") else ():
        stored.setdefault((channel.tenant.slug if channel.tenant else "", channel.name), []).append(channel)
    made: dict[tuple[str, str], ChannelPlan] = {}
    for path, row in top.items("alert_channels"):
        block = Block(found, row, path, CHANNEL_KEYS)
        tenant, name = _tenant(block, tenants), block.text("name", MISSING, limit=100, empty=False)
        if tenant is None or name is None:
            continue
        same = stored.get((tenant, name), [])
        if (tenant, name) in made:
            found.add(block.at("name"), f'"{name}" stands here twice for the same tenant')
        elif len(same) > 1:
            found.add(block.at("name"), f'{len(same)} channels are called "{name}": rename all but one in the console')
        elif (channel_plan := _channel(found, block, tenant, name, same[0] if same else None)) is not None:
            made[tenant, name] = channel_plan
    return list(made.values())


def _tenant(block: Block, tenants: Collection[str]) -> str | None:
    """A slug; "" for the installation, which a file names by null so that nobody means it by leaving a line out."""
    if block.has("tenant") and block.data["tenant"] is None:
        return ""
    slug: str | None = block.text("tenant", MISSING, limit=60, empty=False)
    if slug is not None and slug not in tenants:
        block.found.add(block.at("tenant"), f'no tenant "{slug}"{nearest(slug, tenants)}')
        return None
    return slug


def _channel(found: Findings, block: Block, tenant: str, name: str, existing: AlertChannel | None) -> ChannelPlan | None:
    before = len(found.errors)
    kind = block.text("kind", existing.kind if existing else MISSING, limit=10, empty=False)
    if kind is not None and kind not in AlertChannel.Kind.values:
        found.add(block.at("kind"), f'no kind "{kind}"{nearest(kind, AlertChannel.Kind.values)}')
    elif existing is not None and kind != existing.kind:
        found.add(block.at("kind"), f"the kind of a channel never changes (it is {existing.kind}); give the new one another name")
    was = channels.entered_of(existing) if existing else ChannelInput(name, tuple(Cause.values))
    secrets = {key: _secret(found, block, key) for key in ("url", "secret")}
    entered = ChannelInput(
        name=name,
        causes=_texts(found, block, "causes", was.causes),
        addresses=tuple(dict.fromkeys(_texts(found, block, "addresses", was.addresses))),
        url=secrets["url"],
        secret=secrets["secret"],
        remove_secret=block.has("secret") and block.data["secret"] is None,
        quiet_from=_time(found, block, "quiet_from", was.quiet_from),
        quiet_until=_time(found, block, "quiet_until", was.quiet_until),
    )
    enabled = block.flag("enabled", existing.enabled if existing else True)
    for key in ("addresses",) if kind == AlertChannel.Kind.WEBHOOK else ("url", "secret"):
        if block.data.get(key):
            found.add(block.at(key), f"does not go with the kind {kind}")
    if len(found.errors) > before or kind is None:
        return None
    stored: Mapping[str, str] = existing.secrets() if existing is not None and existing.secrets_readable else {}
    for problem in channels.problems(kind, entered, stored):
        found.add(joined(block.path, problem.path), problem.message)
    entered = replace(entered, causes=tuple(cause for cause in Cause.values if cause in entered.causes))
    return ChannelPlan(existing, tenant, kind, entered, enabled)


def _secret(found: Findings, block: Block, key: str) -> str:
    value = block.data.get(key)
    if value is None and block.has(key) and key == "url":
        found.add(block.at(key), "cannot be taken away: switch the channel off, or remove it in the console")
    return (secret_of(found, value, block.at(key)) or "") if value is not None else ""


def _texts(found: Findings, block: Block, key: str, kept: Any) -> tuple[str, ...]:
    if not block.has(key):
        return tuple(kept)
    told = [
        text_of(found, item, path, limit=LONGEST, empty=False) for path, item in items_of(found, block.data[key], block.at(key))
    ]
    return tuple(text for text in told if text is not None)


def _time(found: Findings, block: Block, key: str, kept: dt.time | None) -> dt.time | None:
    if not block.has(key):
        return kept
    return time_of_day(found, block.data[key], block.at(key))

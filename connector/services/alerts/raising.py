"""Raising an alert: things of one kind (same cause, code and connection or integration) are one alert with a count."""

from __future__ import annotations

import datetime as dt
import logging

from django.db import IntegrityError, transaction
from django.db.models import F
from django.urls import reverse

from connector.models import (
    Alert,
    Installation,
    Integration,
    Tenant,
)
from connector.models.alerts import Cause
from connector.services import clock

logger = logging.getLogger(__name__)

SILENCE = dt.timedelta(days=1)
"""After so long without news an alert is closed."""


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

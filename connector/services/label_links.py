"""Links by which a supplier gets the labels of a shipment without an account: made, mailed, used, ended.

The secret in a link is shown once or stands in one mail; here only its digest is kept. A link ends by time, by being
revoked, by being used up, and with its label: who voids it ends all its links.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from connector.models import Label, LabelLink, Shipment, SourceRecord
from connector.services import audit, clock, mailing
from connector.services.database import release_connection
from connector.services.public_url import page_url
from connector.services.shipments import NotPossible
from integrations.base.drill import boundary

USUAL_DAYS = 14
MOST_DAYS = 60
MOST_DOWNLOADS = 100
"""After so many a link is used up: each stands in the audit, and nobody prints a label that often."""
MOST_LIVE = 20
"""Live links of one shipment."""
LONGEST_ADDRESS = 254
PER_MINUTE = 30
"""Requests that one address (of IPv6: one network) may make; counted per web process where there is no Redis."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

LIVE, EXPIRED, REVOKED, USED_UP, VOIDED = "live", "expired", "revoked", "used up", "voided"


@dataclass(frozen=True, slots=True)
class Made:
    """A new link with its address: the only place where the secret stands. `path` below the console's address."""

    link: LabelLink
    path: str = field(repr=False)


def standing(link: LabelLink, now: dt.datetime) -> str:
    """Whether a link opens anything, else why not."""
    if link.shipment.state != Shipment.State.ACTIVE:
        return VOIDED
    if link.revoked_at is not None:
        return REVOKED
    if now >= link.expires_at:
        return EXPIRED
    return USED_UP if link.downloads >= MOST_DOWNLOADS else LIVE


def of(shipment: Shipment) -> list[tuple[LabelLink, str]]:
    """The links of a shipment, newest first, each with its standing."""
    found: Any = LabelLink.objects.filter(shipment=shipment).select_related("shipment").annotate(db_now=clock.at())
    return [(link, standing(link, link.db_now)) for link in found]


# -- making and ending ---------------------------------------------------------------------------------


def make(shipment: Shipment, *, actor: str, days: int = USUAL_DAYS, mail_to: str = "", automatic: bool = False) -> Made:
    """A new link to a shipment's labels, good for `days` days. With `mail_to` it is about to be mailed. Raises NotPossible."""
    if not 1 <= days <= MOST_DAYS:
        raise NotPossible(f"A link is good for 1 to {MOST_DAYS} days.")
    if mail_to:
        check_address(mail_to)
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        shipment.refresh_from_db(fields=["state"])
        if shipment.state != Shipment.State.ACTIVE:
            raise NotPossible("The label is voided, or is being voided: nobody should print it any more.")
        if not labels_of(shipment):
            raise NotPossible("This shipment has no label file that could be given away.")
        now = clock.now()
        if sum(state == LIVE for _, state in of(shipment)) >= MOST_LIVE:
            raise NotPossible(f"{MOST_LIVE} links to this label are good already. Revoke what is not needed.")
        link = LabelLink.objects.create(
            tenant_id=shipment.tenant_id,
            shipment=shipment,
            digest=digest_of(secret),
            made_by=actor[:150],
            created_at=now,
            expires_at=now + dt.timedelta(days=days),
            automatic=automatic,
            mail_to=mail_to,
            mail_state=LabelLink.Mail.SENDING if mail_to else LabelLink.Mail.NONE,
        )
        told = {"link": link.pk, "days": days, "mail": bool(mail_to)}
        detail = {"mail_to": mail_to} if mail_to else None
        audit.append_to_record(record, [audit.Draft("link_made", told, obj=shipment, actor=actor, detail=detail)])
    return Made(link, reverse("label_link", args=[secret]))


def revoke(shipment: Shipment, link_id: int, *, actor: str) -> None:
    """End a link now. Raises NotPossible where there is none that is good."""
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        found = LabelLink.objects.filter(pk=link_id, shipment=shipment, revoked_at=None)
        if not found.update(revoked_at=clock.at(), revoked_by=actor[:150]):
            raise NotPossible("This link is revoked already.")
        audit.append_to_record(record, [audit.Draft("link_revoked", {"link": link_id}, obj=shipment, actor=actor)])


def check_address(address: str) -> None:
    """Raises NotPossible for what is no e-mail address."""
    try:
        validate_email(address)
    except ValidationError as error:
        raise NotPossible(f"“{address[:100]}” is not an e-mail address.") from error
    if len(address) > LONGEST_ADDRESS:
        raise NotPossible(f"An e-mail address has at most {LONGEST_ADDRESS} characters.")


# -- mail ------------------------------------------------------------------------------------------------


def mail(made: Made, *, actor: str) -> LabelLink:
    """Mail a link to where it was made for; the row tells what became of it. Never inside a transaction.

    The row says "sending" since it was made: whoever dies on the way leaves a link of which nobody knows.
    """
    link = made.link
    shipment = link.shipment
    url = page_url(made.path)
    problem = ""
    if not url.startswith(("http://", "https://")):
        problem = "The console does not know its own address: set PUBLIC_URL."
    elif mailing.prints_only():
        problem = "No mail server is set (EMAIL_URL)."
    else:
        message = _message(shipment, link, url)
        release_connection()  # a mail server may take its time
        boundary("saving")
        try:
            faults = mailing.send([link.mail_to], *message)
            boundary("write_sent")
            problem = "; ".join(faults).replace(link.mail_to, "the address")
        except mailing.Unreachable as error:
            problem = str(error)
    state = LabelLink.Mail.FAILED if problem else LabelLink.Mail.SENT
    act = "link_mail_failed" if problem else "link_mailed"
    told = {"link": link.pk} | ({"reason": problem[:300]} if problem else {})
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        LabelLink.objects.filter(pk=link.pk).update(mail_state=state, mail_note=problem[:300])
        audit.append_to_record(record, [audit.Draft(act, told, obj=shipment, actor=actor)])
    link.mail_state, link.mail_note = state, problem[:300]
    return link


def _message(shipment: Shipment, link: LabelLink, url: str) -> tuple[str, str]:
    count = len(labels_of(shipment))
    what = "label" if count == 1 else f"{count} labels"
    return (
        f"Shipping {what} for {shipment.master_tracking_number}",
        f"{shipment.tenant.name} has prepared the shipping {what} for tracking number {shipment.master_tracking_number} "
        f"(document {shipment.document_number}).\n\n"
        f"Open this page to print {'it' if count == 1 else 'them'}:\n\n{url}\n\n"
        f"It is good until {link.expires_at:%Y-%m-%d %H:%M} UTC and needs no sign-in: whoever has it can print the {what}. "
        "Pass it on only to those who pack and ship.\n\n"
        "This message was sent by a machine; answers to it are not read.",
    )


def mail_once(shipment_id: int, address: str, actor: str = "system") -> LabelLink:
    """The flow's own mail: one per shipment, whatever happens to this process. Raises NotPossible before anything is kept."""
    before = LabelLink.objects.filter(shipment=shipment_id, automatic=True).first()
    if before is not None:
        return before
    shipment = Shipment.objects.select_related("tenant").get(pk=shipment_id)
    return mail(make(shipment, actor=actor, mail_to=address, automatic=True), actor=actor)


# -- the public side ------------------------------------------------------------------------------------


def digest_of(secret: str) -> str:
    """What is kept of a secret: it is random and long, so that a plain digest cannot be turned back."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find(secret: str) -> LabelLink | None:
    """The link with this secret, whatever its standing."""
    if not _SECRET.fullmatch(secret):
        return None
    digest = digest_of(secret)
    link = LabelLink.objects.select_related("shipment__tenant").filter(digest=digest).first()
    return link if link is not None and constant_time_compare(link.digest, digest) else None


def labels_of(shipment: Shipment) -> list[Label]:
    """The label files of a shipment, package by package, without their bytes."""
    found = Label.objects.filter(package__shipment=shipment).select_related("package").defer("data")
    return list(found.order_by("package__sequence"))


def take(link: LabelLink, sequence: int, *, address: str | None) -> Label | None:
    """One label for whoever holds the link, counted and kept in the history; None where the link opens nothing (any more)."""
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=link.shipment.record_id)
        now = LabelLink.objects.select_for_update(of=("self",)).select_related("shipment").get(pk=link.pk)
        label = Label.objects.filter(package__shipment=now.shipment, package__sequence=sequence).select_related("package").first()
        if label is None or standing(now, clock.now()) != LIVE:
            return None
        LabelLink.objects.filter(pk=now.pk).update(downloads=F("downloads") + 1, last_download_at=clock.at())
        told = {"link": now.pk, "tracking_number": label.package.tracking_number}
        draft = audit.Draft("link_used", told, obj=now.shipment, actor="link", detail={"address": address or "unknown"})
        audit.append_to_record(record, [draft])
    return label


def may_ask(address: str | None) -> bool:
    """Whether an address may ask once more within this minute."""
    minute = int(clock.local_now().timestamp() // 60)
    told = hashlib.sha256(f"{settings.SECRET_KEY}:{address or 'unknown'}".encode()).hexdigest()[:24]
    key = f"label-door:{told}:{minute}"
    if cache.add(key, 1, 120):
        return True
    try:
        return bool(cache.incr(key) <= PER_MINUTE)
    except ValueError:  # it was dropped this instant
        return True


__all__ = ["LIVE", "Made", "find", "mail", "mail_once", "make", "may_ask", "of", "revoke", "standing", "take"]

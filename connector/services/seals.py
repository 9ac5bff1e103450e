"""Seals over the audit: what stood there at a time cannot be rewritten later by whoever lacks the key (DESIGN 7).

The chains show a changed or missing entry. Whoever can write to the database could compute a whole new history,
though; a seal is keyed with AUDIT_KEY, which the database does not hold, is printed to the log and can be
downloaded, so that a copy outside bears witness.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import logging
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from connector.models import AuditEntry, AuditSeal, Tenant
from connector.services import clock
from connector.services.audit import Finding, canonical

logger = logging.getLogger(__name__)

EVERY_S = 300.0
SETTLED_S = 60.0
"""An entry is sealed when it is older than any transaction that might still hold an earlier number."""
LATE_S = 1800.0
AT_ONCE = 200_000


def key_mark() -> str:
    """Which key this installation seals with, without telling it; empty without one."""
    key = settings.AUDIT_KEY
    return hashlib.sha256(b"mark:" + key.encode()).hexdigest()[:12] if key else ""


def stamp(at: dt.datetime) -> str:
    """A time as seals and exports write it."""
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _mac(seal: AuditSeal) -> str:
    told = [seal.number, seal.from_id, seal.to_id, seal.entries, seal.digest, stamp(seal.at), seal.previous]
    return hmac.new(settings.AUDIT_KEY.encode(), canonical(told).encode(), hashlib.sha256).hexdigest()


def _digest(from_id: int, to_id: int) -> tuple[int, str]:
    """How many entries the range holds, and the digest over their ids and hashes."""
    found, count = hashlib.sha256(), 0
    rows = AuditEntry.objects.filter(pk__gt=from_id, pk__lte=to_id).order_by("pk").values_list("pk", "hash")
    for pk, hashed in rows.iterator(chunk_size=2000):
        found.update(f"{pk}:{hashed}\n".encode())
        count += 1
    return count, found.hexdigest()


def seal_if_due() -> AuditSeal | None:
    """Seal what has been written since the last seal, every five minutes. Nothing without AUDIT_KEY or without news."""
    if not settings.AUDIT_KEY:
        return None
    last = AuditSeal.objects.order_by("-number").first()
    if last is not None and (clock.local_now() - last.at).total_seconds() < EVERY_S:
        return None
    return seal(last)


def seal(last: AuditSeal | None) -> AuditSeal | None:
    """Make the seal that follows `last`; None when there is nothing to seal or somebody else was quicker."""
    now = clock.local_now()
    from_id = last.to_id if last else 0
    fresh = AuditEntry.objects.filter(pk__gt=from_id).order_by("pk")
    young = fresh.filter(at__gte=now - dt.timedelta(seconds=SETTLED_S)).values_list("pk", flat=True).first()
    settled = fresh.filter(pk__lt=young) if young is not None else fresh
    pks = settled.values_list("pk", flat=True)
    to_id = pks[AT_ONCE : AT_ONCE + 1].first() or settled.order_by("-pk").values_list("pk", flat=True).first()
    if to_id is None:
        return None
    count, told = _digest(from_id, to_id)
    made = AuditSeal(
        number=last.number + 1 if last else 1,
        from_id=from_id,
        to_id=to_id,
        entries=count,
        at=now,
        digest=told,
        previous=last.mac if last else "",
        key_mark=key_mark(),
    )
    made.mac = _mac(made)
    try:
        with transaction.atomic():
            made.save()
    except IntegrityError:
        return None
    logger.info("audit seal %s: %s entries up to %s, %s", made.number, count, to_id, made.mac)
    return made


def verify() -> Iterator[Finding]:
    """Check every seal against the entries, the seal before it and the key; and that sealing has not stopped."""
    previous: AuditSeal | None = None
    for seal in AuditSeal.objects.order_by("number").iterator():
        expected = previous.number + 1 if previous else 1
        if seal.number != expected:
            yield Finding("seals", seal.number, f"seal {expected} is missing")
        elif seal.previous != (previous.mac if previous else "") or seal.from_id != (previous.to_id if previous else 0):
            yield Finding("seals", seal.number, "does not follow from the seal before it")
        if seal.key_mark != key_mark():
            yield Finding("seals", seal.number, "was made with another AUDIT_KEY and cannot be checked with the present one")
        elif not hmac.compare_digest(_mac(seal), seal.mac):
            yield Finding("seals", seal.number, "was changed, or made without the key")
        if (seal.entries, seal.digest) != _digest(seal.from_id, seal.to_id):
            yield Finding("seals", seal.number, "does not fit the entries: some were added, removed or changed after it was made")
        previous = seal
    yield from _stopped(previous)


def _stopped(last: AuditSeal | None) -> Iterator[Finding]:
    if not settings.AUDIT_KEY or last is None:
        return
    cutoff = clock.local_now() - dt.timedelta(seconds=LATE_S)
    if AuditEntry.objects.filter(pk__gt=last.to_id, at__lt=cutoff).exists():
        yield Finding("seals", last.number, "is the last one, although entries were written since: sealing has stopped")


# -- export ------------------------------------------------------------------------------------------


def export(tenants: list[Tenant] | None) -> Iterator[str]:
    """The audit as lines of JSON: a head, entries, and, for the whole installation (None), the seals.

    A tenant's part cannot be checked against the seals, which cover all; its chains can. Nothing is held in memory.
    """
    rows = AuditEntry.objects.order_by("pk")
    if tenants is not None:
        rows = rows.filter(tenant__in=tenants)
    scope = "installation" if tenants is None else [t.slug for t in tenants]
    yield _line(type="audit", version=1, scope=scope, at=stamp(clock.local_now()), key_mark=key_mark())
    for entry in rows.iterator(chunk_size=1000):
        yield _line(
            type="entry",
            id=entry.pk,
            chain=entry.chain,
            sequence=entry.sequence,
            tenant=entry.tenant_id,
            at=stamp(entry.at),
            actor=entry.actor,
            act=entry.act,
            object_type=entry.object_type,
            object_id=entry.object_id,
            object_name=entry.object_name,
            facts=entry.facts,
            detail_digest=entry.detail_digest,
            previous=entry.previous,
            hash=entry.hash,
        )
    if tenants is None:
        for seal in AuditSeal.objects.order_by("number").iterator():
            yield seal_line(seal)


def seal_line(seal: AuditSeal) -> str:
    """One seal as a line of an export."""
    return _line(
        type="seal",
        number=seal.number,
        from_id=seal.from_id,
        to_id=seal.to_id,
        entries=seal.entries,
        digest=seal.digest,
        at=stamp(seal.at),
        previous=seal.previous,
        mac=seal.mac,
        key_mark=seal.key_mark,
    )


def _line(**told: Any) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")) + "\n"

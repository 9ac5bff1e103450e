"""Evidence: append entries to a chain, verify the chains (DESIGN 7).

Every entry's hash covers its own columns and the previous entry's hash. The head of a record's chain
stands on the source record, so that a step's result and its entry need no extra row; the heads of the
tenants' and the installation's chains stand in `AuditChain`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Model

from connector.models import AuditChain, AuditDetail, AuditEntry, Exchange, SourceRecord, Tenant
from connector.services import clock, rows

SYSTEM = "system"


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks; decimals and times as text. The same value gives the same text everywhere."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no canonical form")


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


@dataclass(slots=True)
class Draft:
    """An entry to be: `facts` hold nothing personal; `detail` may and can be erased later."""

    act: str
    facts: dict[str, Any] = field(default_factory=dict)
    obj: Model | None = None
    detail: dict[str, Any] | None = None
    actor: str = SYSTEM


def _entry_hash(entry: AuditEntry) -> str:
    return digest(
        [
            entry.chain,
            entry.sequence,
            entry.tenant_id,
            entry.at.astimezone(dt.UTC).isoformat(timespec="microseconds"),
            entry.actor,
            entry.act,
            entry.object_type,
            entry.object_id,
            entry.object_name,
            entry.facts,
            entry.detail_digest,
            entry.previous,
        ]
    )


def _build(chain: str, tenant_id: int | None, sequence: int, previous: str, drafts: Sequence[Draft]) -> list[AuditEntry]:
    made = []
    at = clock.local_now()
    for draft in drafts:
        sequence += 1
        entry = AuditEntry(
            tenant_id=tenant_id,
            chain=chain,
            sequence=sequence,
            at=at,
            actor=draft.actor[:150],
            act=draft.act,
            object_type=draft.obj._meta.model_name or "" if draft.obj is not None else "",
            object_id=draft.obj.pk if draft.obj is not None else None,
            object_name=str(draft.obj)[:200] if draft.obj is not None else "",
            facts=json.loads(canonical(draft.facts)),
            detail_digest=digest(draft.detail) if draft.detail is not None else "",
            previous=previous,
        )
        entry.hash = previous = _entry_hash(entry)
        made.append(entry)
    return made


def _store(entries: list[AuditEntry], drafts: Sequence[Draft]) -> None:
    rows.insert(entries)
    details = [
        AuditDetail(entry=e, tenant_id=e.tenant_id, detail=json.loads(canonical(d.detail)))
        for e, d in zip(entries, drafts, strict=True)
        if d.detail is not None
    ]
    if details:
        AuditDetail.objects.bulk_create(details)


def append_to_record(record: SourceRecord, drafts: Sequence[Draft], **changes: Any) -> None:
    """Append to a source record's chain; must run inside a transaction.

    `changes` are further columns of the record, written by the same UPDATE. `record` is brought up to date.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("audit entries are written inside the transaction of what they report")
    while True:
        entries = _build(f"record:{record.pk}", record.tenant_id, record.audit_sequence, record.audit_hash, drafts)
        head = {"audit_sequence": entries[-1].sequence, "audit_hash": entries[-1].hash} if entries else {}
        if not head and not changes:
            return
        # The hash, too: what we hold may come from a transaction that was rolled back.
        mine = {"pk": record.pk, "audit_sequence": record.audit_sequence, "audit_hash": record.audit_hash}
        if rows.update(SourceRecord, mine, head | changes):
            break
        record.refresh_from_db(fields=["audit_sequence", "audit_hash"])
    for name, value in (head | changes).items():
        setattr(record, name, value)
    if entries:
        _store(entries, drafts)


def append(tenant: Tenant | None, *drafts: Draft) -> None:
    """Append to a tenant's chain (configuration and staff actions), or to the installation's for None."""
    name = f"tenant:{tenant.pk}" if tenant else "installation"
    with transaction.atomic():
        AuditChain.objects.get_or_create(name=name)
        chain = AuditChain.objects.select_for_update().get(name=name)
        entries = _build(name, tenant.pk if tenant else None, chain.sequence, chain.hash, drafts)
        AuditChain.objects.filter(pk=chain.pk).update(sequence=entries[-1].sequence, hash=entries[-1].hash)
        _store(entries, drafts)


def heads(tenant: int) -> frozenset[tuple[str, int]]:
    """How far the chains of a tenant and of the installation have come: the same as before, nothing was configured since."""
    chains = AuditChain.objects.filter(name__in=("installation", f"tenant:{tenant}"))
    return frozenset(chains.values_list("name", "sequence"))


# -- verification ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit: which chain, which entry, what."""

    chain: str
    sequence: int | None
    message: str


def exchange_digest(exchange: Exchange) -> str:
    """Digest over what an exchange says; stands in the facts of the step that made it."""
    return digest(
        [
            exchange.method,
            exchange.url,
            exchange.request_headers,
            exchange.request_body,
            exchange.status,
            exchange.response_headers,
            exchange.response_body,
            exchange.error,
        ]
    )


def verify() -> Iterator[Finding]:
    """Check every chain: numbering, hashes, heads, details and exchanges. Yields what does not fit."""
    heads = {c.name: (c.sequence, c.hash) for c in AuditChain.objects.all()}
    for pk, sequence, hashed in (
        SourceRecord.objects.filter(audit_sequence__gt=0).values_list("pk", "audit_sequence", "audit_hash").iterator()
    ):
        heads[f"record:{pk}"] = (sequence, hashed)
    details = dict(AuditDetail.objects.values_list("entry_id", "detail"))
    exchanges: set[str] = set()
    for exchange in Exchange.objects.iterator(chunk_size=500):
        if exchange_digest(exchange) != exchange.digest:
            yield Finding(f"exchange {exchange.pk}", None, "was changed after it was recorded")
        exchanges.add(exchange.digest)
    # After what is there: the rule may be at work meanwhile, and what it takes from now on has been seen.
    erased, erased_details = _erased()
    last: tuple[str, int, str] = ("", 0, "")
    for entry in AuditEntry.objects.order_by("chain", "sequence").iterator(chunk_size=1000):
        if entry.chain != last[0]:
            yield from _check_head(last, heads)
            last = (entry.chain, 0, "")
        if entry.sequence != last[1] + 1:
            yield Finding(entry.chain, entry.sequence, f"entry {last[1] + 1} is missing")
        if entry.previous != last[2] and entry.sequence == last[1] + 1:
            yield Finding(entry.chain, entry.sequence, "does not follow from the entry before it")
        if _entry_hash(entry) != entry.hash:
            yield Finding(entry.chain, entry.sequence, "was changed after it was written")
        if entry.detail_digest:
            detail = details.get(entry.pk)
            if detail is None:
                by_rule = (entry.chain, entry.sequence) in erased_details or erased.get(entry.detail_digest, 0) > entry.pk
                if not by_rule:
                    yield Finding(entry.chain, entry.sequence, "its detail is missing and no rule erased it")
            elif digest(detail) != entry.detail_digest:
                yield Finding(entry.chain, entry.sequence, "its detail was changed")
        for told in entry.facts.get("exchanges", []):
            # Only what was there when the rule ran: the same answer, heard again later, is another exchange.
            if told not in exchanges and erased.get(told, 0) < entry.pk:
                yield Finding(entry.chain, entry.sequence, "an exchange it rests on is missing and no rule erased it")
        last = (entry.chain, entry.sequence, entry.hash)
    yield from _check_head(last, heads)
    for name, (sequence, _) in heads.items():
        if sequence:
            yield Finding(name, sequence, "the chain has a head but no entries")


def _check_head(last: tuple[str, int, str], heads: dict[str, tuple[int, str]]) -> Iterable[Finding]:
    if not last[0]:
        return
    head = heads.pop(last[0], None)
    if head is None:
        yield Finding(last[0], last[1], "the chain has entries but no head")
    elif head != (last[1], last[2]):
        yield Finding(
            last[0], last[1], f"the chain ends at entry {last[1]}, its head says {head[0]}: entries at the end are missing"
        )


def _erased() -> tuple[dict[str, int], set[tuple[str, int]]]:
    """What a rule erased: digests, each with the last entry that says so, and places of entries whose detail went."""
    digests: dict[str, int] = {}
    details: set[tuple[str, int]] = set()
    for pk, facts in AuditEntry.objects.filter(act="erased_by_rule").order_by("pk").values_list("pk", "facts"):
        digests.update(dict.fromkeys(facts.get("digests", []), pk))
        details.update((chain, sequence) for chain, sequence in facts.get("details", []))
    return digests, details

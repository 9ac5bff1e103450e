"""What needs a person, grouped by cause; who takes care of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import CharField, Count, Max, Min, QuerySet, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from connector.models import Handling, RateQuote, Transfer, User
from connector.services import audit, clock, forecast, transfers, wake
from connector.services.shipments import NotPossible

GROUPS = 200
BULK = 500
"""Replayed by one press; a longer list takes another one."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What puts transfers into one group: one remedy helps all of them."""

    integration: int
    flow: str
    state: str
    attention: str
    code: str
    vendor_code: str
    field: str

    @property
    def query(self) -> str:
        """As the query of its page."""
        return urlencode(asdict(self))

    @classmethod
    def read(cls, given: Any) -> Cause:
        """From the query of a page. Raises ValueError."""
        values = {f.name: str(given.get(f.name, ""))[:200] for f in fields(cls)}
        return cls(**values | {"integration": int(values["integration"])})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Group:
    """Transfers that stand for one cause; the newest one's words stand for all."""

    cause: Cause
    integration: Any
    count: int
    oldest: Any
    message: str
    remedy: str
    vendor_text: str
    handled_by: str = ""
    document: str = ""
    """The newest one's key: whose words these are."""


def _keyed(found: QuerySet[Transfer]) -> QuerySet[Any]:
    text = Cast(Value(""), CharField())
    return found.annotate(
        why=Coalesce("attention", text),
        vendor_code=Coalesce(Cast(KT("error__vendor_code"), CharField()), text),
        field=Coalesce(Cast(KT("error__field"), CharField()), text),
    )


def groups(found: QuerySet[Transfer]) -> list[Group]:
    """Causes among these transfers that need a person, oldest first. Two queries, whatever the number."""
    rows = list(
        _keyed(transfers.needing_attention(found))
        .values("integration", "flow", "state", "why", "code", "vendor_code", "field")
        .annotate(n=Count("pk"), oldest=Min("updated_at"), newest=Max("pk"), hands=Count("handling__assignee", distinct=True))
        .order_by("oldest")[:GROUPS]
    )
    shown = Transfer.objects.select_related("integration", "handling__assignee").in_bulk([row["newest"] for row in rows])
    made = []
    for row in rows:
        example = shown[row["newest"]]
        cause = Cause(
            row["integration"], row["flow"], row["state"], row["why"], row["code"], row["vendor_code"] or "", row["field"] or ""
        )
        handling = getattr(example, "handling", None)
        handled_by = f"{row['hands']} people" if row["hands"] > 1 else str(handling.assignee or "") if handling else ""
        text = str((example.error or {}).get("vendor_text", ""))
        told = (example.message, example.remedy, text, handled_by, example.source_key)
        made.append(Group(cause, example.integration, row["n"], row["oldest"], *told))
    return made


def members(found: QuerySet[Transfer], cause: Cause) -> QuerySet[Any]:
    """The transfers of a group, oldest first."""
    return (
        _keyed(transfers.needing_attention(found))
        .filter(
            integration_id=cause.integration,
            flow=cause.flow,
            state=cause.state,
            why=cause.attention,
            code=cause.code,
            vendor_code=cause.vendor_code,
            field=cause.field,
        )
        .select_related("record", "integration__source", "integration__target", "handling__assignee")
        .order_by("updated_at", "pk")
    )


@dataclass(frozen=True, slots=True)
class Done:
    """What a bulk act did: how many, and left out by reason."""

    done: int
    left_out: dict[str, int]


def replay_many(found: QuerySet[Transfer], pks: list[int], *, actor: str) -> Done:
    """Replay exactly those that a preview showed, if they still stand as it showed them. What is in doubt never is."""
    done, left = 0, dict[str, int]()
    for transfer in found.filter(pk__in=pks[:BULK]).select_related("record").order_by("pk"):
        reason = "" if transfer.state in forecast.REPLAYABLE else forecast.LEFT_OUT.get(transfer.state, "cannot be replayed")
        if not reason:
            try:
                outcome = transfers.replay(transfer, actor=actor)
                reason = "" if outcome.done else outcome.message
            except NotPossible as error:
                reason = str(error)
        if reason:
            left[reason] = left.get(reason, 0) + 1
        else:
            done += 1
    if done:
        wake.work()
    return Done(done, left)


def to_approve(shown: Sequence[Transfer]) -> list[tuple[Transfer, RateQuote | None]]:
    """Transfers that wait for approval, each with the quote it waits with; None where it is not about a price. One query."""
    priced = [t.pk for t in shown if t.code in transfers.PRICES]
    newest: dict[int, RateQuote] = {}
    for row in RateQuote.objects.filter(transfer__in=priced, to_buy=True).order_by("pk") if priced else ():
        newest[row.transfer_id] = row  # type: ignore[index]  # filtered by it
    return [(t, newest.get(t.pk)) for t in shown]


def totals(waiting: Sequence[tuple[Transfer, RateQuote | None]]) -> dict[str, Decimal]:
    """What they would cost together, by currency; those whose price is not known are left out."""
    found: dict[str, Decimal] = {}
    for _, row in waiting:
        if row is not None and row.amount is not None:
            found[row.currency] = found.get(row.currency, Decimal(0)) + row.amount
    return found


def approve_many(found: QuerySet[Transfer], shown: Mapping[int, str], *, actor: str, reason: str) -> Done:
    """Approve exactly what a page showed: transfers with the quote that stood beside each ("" for none). Raises NotPossible."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with each of them.")
    done, left = 0, dict[str, int]()
    for transfer in found.filter(pk__in=list(shown)[:BULK]).select_related("record").order_by("pk"):
        try:
            outcome = transfers.approve(transfer, actor=actor, reason=reason, quote=shown[transfer.pk])
            why = "" if outcome.done else outcome.message
        except NotPossible as error:
            why = str(error)
        if why:
            left[why] = left.get(why, 0) + 1
        else:
            done += 1
    return Done(done, left)


def take_care(found: QuerySet[Transfer], pks: list[int], *, assignee: User | None, note: str, actor: str) -> int:
    """Put a person's name and a note on transfers; how many. Each record's history keeps it."""
    number = 0
    for transfer in found.filter(pk__in=pks[:BULK]).select_related("record").order_by("record_id"):
        with transaction.atomic():
            Handling.objects.update_or_create(
                transfer=transfer,
                defaults={
                    "tenant_id": transfer.tenant_id,
                    "assignee": assignee,
                    "note": note.strip()[:500],
                    "changed_by": actor[:150],
                    "changed_at": clock.now(),
                },
            )
            told = {"assignee": assignee.get_username() if assignee else ""}
            draft = audit.Draft("handled_by", told, obj=transfer, actor=actor, detail={"note": note.strip()[:500]})
            audit.append_to_record(transfer.record, [draft])
        number += 1
    return number


__all__ = [
    "BULK",
    "Cause",
    "Done",
    "Group",
    "approve_many",
    "groups",
    "members",
    "replay_many",
    "take_care",
    "to_approve",
    "totals",
]

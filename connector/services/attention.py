"""What needs a person, grouped by cause; who takes care of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

from django.db import transaction
from django.db.models import CharField, Count, Max, Min, QuerySet, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from connector.models import Handling, Transfer, User
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
        made.append(Group(cause, example.integration, row["n"], row["oldest"], example.message, example.remedy, text, handled_by))
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
class Replayed:
    """What a bulk replay did: run again, and left out by reason."""

    done: int
    left_out: dict[str, int]


def replay_many(found: QuerySet[Transfer], pks: list[int], *, actor: str) -> Replayed:
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
    return Replayed(done, left)


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


__all__ = ["BULK", "Cause", "Group", "Replayed", "groups", "members", "replay_many", "take_care"]

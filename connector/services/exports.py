"""The history as a CSV file of any length: read in batches, written while it is downloaded, told in the audit.

The audit says at each tenant what left it: an entry before its first row leaves, another with the count at the end.
A file that ends too early ends as a broken download, never as a short file that looks complete.
"""

from __future__ import annotations

import csv
import datetime as dt
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from connector.models import Export, Shipment, Tenant
from connector.services import audit, clock, history
from connector.services.shipments import NotPossible

PAGE = "shipments"
STALE_S = 300
"""Nobody has read on for so long: the download is given up, by whoever wants the next one."""
KEPT = 20
TELL_S = 1.0
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class BrokenOff(Exception):
    """The file cannot be completed; the download breaks, so that nobody takes it for complete."""


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula: what begins like one gets an apostrophe in front."""
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


def begin(user: Any, *, query: str, columns: Sequence[str], page: str = PAGE) -> Export:
    """Note an export. Raises NotPossible while another one of this person is being written."""
    running = Export.objects.filter(user=user, state=Export.State.RUNNING)
    running.filter(updated_at__lt=clock.at(-STALE_S)).update(state=Export.State.BROKEN)
    try:
        with transaction.atomic():
            export = Export.objects.create(
                user=user,
                page=page,
                query=query,
                columns=list(columns),
                started_at=clock.at(),
                updated_at=clock.at(),
            )
    except IntegrityError:
        raise NotPossible("Another file of yours is still being written. Wait for its end, or cancel its download.") from None
    old = Export.objects.filter(user=user).order_by("-pk").values_list("pk", flat=True)[KEPT:]
    Export.objects.filter(pk__in=list(old)).delete()
    return export


class _Line:
    """What csv writes to: keeps the last piece."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def take(self) -> bytes:
        taken, self.pieces = "".join(self.pieces).encode(), []
        return taken


def write(
    export: Export,
    rows: QuerySet[Shipment],
    order: history.Order,
    *,
    actor: str,
    zone: dt.tzinfo,
    tenants: Sequence[int] = (),
    size: int = 2000,
) -> Iterator[bytes]:
    """The list as a file, piece by piece. Reads on only as fast as somebody downloads."""
    names: list[str] = export.columns
    groups = (
        [(row.tenant_id, _values(row, names, zone)) for row in batch]
        for batch in history.batches(rows, order, size=size, tenants=tenants, columns=[*names, "tenant"])
    )
    return stream(export, header(names, zone), groups, actor=actor)


def stream(
    export: Export, head: Sequence[str], groups: Iterable[Sequence[tuple[int, Sequence[str]]]], *, actor: str
) -> Iterator[bytes]:
    """Any file, piece by piece: `groups` are batches of (tenant, cells), read on only as fast as somebody downloads."""
    counted: Counter[int] = Counter()
    complete = False
    told_at = time.monotonic()
    line = _Line()
    writer = csv.writer(line)
    try:
        writer.writerow(head)
        # The mark at the front tells Excel that this is UTF-8.
        yield "\ufeff".encode() + line.take()
        for batch in groups:
            for tenant in {tenant for tenant, _ in batch} - counted.keys():
                _note(export, tenant, actor, "export_begun", {"columns": export.columns}, {"filters": export.query})
                counted[tenant] = 0
            for _, cells in batch:
                writer.writerow(cells)
            yield line.take()
            # They have been taken from us: what was only read does not count.
            counted.update(tenant for tenant, _ in batch)
            if time.monotonic() - told_at > TELL_S:
                told_at = time.monotonic()
                if not _progress(export, counted.total()):
                    raise BrokenOff("given up in favour of a newer one")
        complete = True
    finally:
        state = Export.State.DONE if complete else Export.State.BROKEN
        _progress(export, counted.total(), state=state)
        for tenant, count in counted.items():
            _note(export, tenant, actor, "export_ended", {"rows": count, "complete": complete})


def _progress(export: Export, rows: int, **changes: Any) -> int:
    mine = Export.objects.filter(pk=export.pk, state=Export.State.RUNNING)
    return mine.update(rows=rows, updated_at=clock.at(), **changes)


def _note(export: Export, tenant: int, actor: str, act: str, facts: dict[str, Any], detail: dict[str, Any] | None = None) -> None:
    told = {"export": export.pk, "list": export.page} | facts
    audit.append(Tenant.objects.get(pk=tenant), audit.Draft(act, told, detail=detail, actor=actor))


def header(names: Sequence[str], zone: dt.tzinfo) -> list[str]:
    """The first line: times say in which zone they are."""
    found = []
    for name in names:
        title = history.COLUMNS[name]
        found.append(f"{title} ({zone})" if name.endswith("_at") else title)
        if name == "cost":
            found.append("Currency")
    return found


def _values(row: Shipment, names: Sequence[str], zone: dt.tzinfo) -> list[str]:
    found = []
    for name in names:
        found.append(_text(row, name, zone))
        if name == "cost":
            found.append(guarded(row.currency))
    return found


def _text(row: Shipment, name: str, zone: dt.tzinfo) -> str:
    value = getattr(row, name)
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return timezone.localtime(value, zone).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dt.date):
        return value.isoformat()
    if name in ("state", "cost_kind"):
        return str(getattr(row, f"get_{name}_display")())
    return guarded(str(value))

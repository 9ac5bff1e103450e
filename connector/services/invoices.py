"""Carrier invoice files: kept as rows, matched with our parcels, looked at, applied. What was applied once never counts again.

A shipment's invoiced cost is the sum of all its applied lines, of whatever file: charges are added, credits taken off.
Each shipment is applied in one commit with its history, so that applying may stop and go on at any moment.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Sum

from connector.models import Connection, Integration, InvoiceFile, InvoiceLine, Package, Shipment, SourceRecord
from connector.services import audit, clock, costs, invoice_reading, wake
from connector.services.shipments import NotPossible
from integrations import registry

CHUNK = 500
BUSY = "Work on its document is under way; it is tried again in a minute."
Line = InvoiceLine.State
File = InvoiceFile.State


# -- reading -----------------------------------------------------------------------------------------------


def take(carrier: Connection, name: str, data: bytes, *, actor: str) -> InvoiceFile:
    """Keep a file's rows, and read them where its columns are known. Raises NotPossible."""
    table = invoice_reading.read(data)
    usual = registry.get(carrier.vendor).invoice_columns
    chosen = Connection.objects.values_list("invoice_columns", flat=True).get(pk=carrier.pk)
    mapping = invoice_reading.propose(table.header, usual, chosen, table.delimiter)
    shown = "".join(sign for sign in name.rpartition("/")[2].rpartition("\\")[2] if sign.isprintable())
    with transaction.atomic():
        file = InvoiceFile.objects.create(
            tenant_id=carrier.tenant_id,
            carrier=carrier,
            name=shown[-120:] or "invoice.csv",
            sha256=hashlib.sha256(data).hexdigest(),
            encoding=table.encoding,
            delimiter=table.delimiter,
            header=table.header,
            mapping=mapping,
            rows=len(table.rows),
            created_by=actor[:150],
            created_at=clock.at(),
        )
        lines = [
            InvoiceLine(tenant_id=carrier.tenant_id, file=file, carrier=carrier, row=number, cells=cells)
            for number, cells in enumerate(table.rows, 1)
        ]
        InvoiceLine.objects.bulk_create(lines, batch_size=CHUNK)
        _note(file, "invoice_read", actor, rows=file.rows, sha256=file.sha256)
    file.refresh_from_db()
    with suppress(NotPossible):  # then a person chooses the columns first
        _choose(file, mapping, actor=actor)
    return file


def choose(file: InvoiceFile, mapping: Mapping[str, str], *, actor: str) -> None:
    """Say which column holds what, read the rows by it, and keep it for the carrier's next file. Raises NotPossible."""
    with transaction.atomic():
        kept = _choose(file, mapping, actor=actor)
        Connection.objects.filter(pk=file.carrier_id).update(invoice_columns=kept)


def _choose(file: InvoiceFile, mapping: Mapping[str, str], *, actor: str) -> dict[str, str]:
    kept = invoice_reading.check_mapping(mapping, file.header)
    with transaction.atomic():
        found = _locked(file, File.COLUMNS, File.READY)
        accounts = _accounts(found.carrier)
        lines = list(found.lines.exclude(state=Line.APPLIED).exclude(cells=None))
        seen: dict[tuple[str, str, str], InvoiceLine] = {}
        for line in lines:
            _read(line, found, kept, accounts, seen)
        _match(found, lines)
        fields = ["account", "invoice_number", "invoice_date", "tracking_number", "charge", "amount", "currency", "shipment"]
        InvoiceLine.objects.bulk_update(lines, [*fields, "state", "note"], batch_size=CHUNK)
        InvoiceFile.objects.filter(pk=file.pk).update(mapping=kept, state=File.READY)
        _judge(found)
        _note(found, "invoice_columns", actor, columns={name: kept[name] for name in kept if name in invoice_reading.TARGETS})
    file.refresh_from_db()
    return kept


def _accounts(carrier: Connection) -> frozenset[str]:
    """The accounts whose bills concern us: the connection's, and those its integrations have pay."""
    key = registry.get(carrier.vendor).account_credential
    named = [str(options.get("payment_account") or "") for options in _options(carrier)]
    own = str(carrier.plain.get(key, "")) if key else ""
    return frozenset("".join(number.split()).replace("-", "") for number in (own, *named) if number)


def _options(carrier: Connection) -> Iterable[dict[str, Any]]:
    return Integration.objects.filter(target=carrier).values_list("options", flat=True)


def _read(
    line: InvoiceLine,
    file: InvoiceFile,
    mapping: Mapping[str, str],
    accounts: frozenset[str],
    seen: dict[tuple[str, str, str], InvoiceLine],
) -> None:
    told = invoice_reading.values(line.cells or [], file.header, mapping)
    line.tracking_number, line.amount, line.currency = told.tracking_number, told.amount, told.currency
    line.invoice_number, line.invoice_date, line.account = told.invoice_number, told.invoice_date, told.account
    line.charge, line.shipment, line.state, line.note = told.charge, None, Line.NEW, told.problem
    if told.problem:
        line.state = Line.WRONG
    elif accounts and told.account and told.account.lstrip("0") not in {number.lstrip("0") for number in accounts}:
        line.state, line.note = Line.WRONG, "It is billed to another account than this connection's."
    else:
        key = (line.invoice_number, line.tracking_number, line.charge)
        first = seen.setdefault(key, line)
        if first is not line:
            same = first.amount == line.amount
            line.state = Line.DUPLICATE if same else Line.WRONG
            line.note = f"The same invoice, parcel and charge as in row {first.row}" + ("." if same else ", with another amount.")


def _match(file: InvoiceFile, lines: Sequence[InvoiceLine]) -> None:
    """Whose parcel each line names; what was applied before, of whatever file, is marked."""
    new = [line for line in lines if line.state == Line.NEW]
    for start in range(0, len(new), CHUNK):
        part = new[start : start + CHUNK]
        numbers = {line.tracking_number for line in part}
        found = _shipments(file.carrier, numbers)
        before = {
            (line.invoice_number, line.tracking_number, line.charge)
            for line in InvoiceLine.objects.filter(carrier=file.carrier, tracking_number__in=numbers, state=Line.APPLIED)
        }
        for line in part:
            candidates = found.get(line.tracking_number, set())
            if (line.invoice_number, line.tracking_number, line.charge) in before:
                line.state, line.note = Line.DUPLICATE, "Applied before."
            elif not candidates:
                line.state, line.note = Line.UNKNOWN, ""
            elif len(candidates) > 1:
                line.state, line.note = Line.WRONG, "Several shipments of ours had this number. Correct the right one by hand."
            else:
                line.shipment_id, line.state = next(iter(candidates)), Line.READY


def _shipments(carrier: Connection, numbers: Iterable[str]) -> dict[str, set[int]]:
    """Shipments by the numbers of their parcels; live ones before voided ones of the same number."""
    wanted = list(numbers)
    live: dict[str, set[int]] = {}
    void: dict[str, set[int]] = {}
    packages = Package.objects.filter(carrier=carrier, tracking_number__in=wanted)
    masters = Shipment.objects.filter(carrier=carrier, master_tracking_number__in=wanted)
    told = [(number, pk, voided) for number, pk, voided in packages.values_list("tracking_number", "shipment", "voided")]
    told += [
        (number, pk, state == "voided") for number, pk, state in masters.values_list("master_tracking_number", "pk", "state")
    ]
    for number, pk, voided in told:
        (void if voided else live).setdefault(number, set()).add(pk)
    return void | live


# -- judging -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """A shipment of a file: what it costs now, what it costs with the file's lines, and why a person should look."""

    shipment: Shipment
    total: Decimal
    currency: str
    lines: int
    state: str
    note: str

    @property
    def difference(self) -> Decimal | None:
        """Invoiced less the cost now; None where the cost is not known."""
        return None if self.shipment.cost is None else self.total - self.shipment.cost


def set_rule(file: InvoiceFile, rule: str, tolerance: Decimal | None, *, actor: str) -> None:
    """Which differences are applied, and which are listed for a person. Raises NotPossible."""
    if rule not in InvoiceFile.Rule.values:
        raise NotPossible("Choose a rule.")
    if rule == InvoiceFile.Rule.TOLERANCE and (tolerance is None or not tolerance.is_finite() or tolerance < 0):
        raise NotPossible("Enter the largest difference that is applied, as an amount from 0.")
    with transaction.atomic():
        found = _locked(file, File.READY)
        found.rule, found.tolerance = InvoiceFile.Rule(rule), tolerance if rule == InvoiceFile.Rule.TOLERANCE else None
        found.save(update_fields=["rule", "tolerance"])
        _judge(found)
        _note(found, "invoice_rule", actor, rule=rule, tolerance=str(found.tolerance or ""))
    file.refresh_from_db()


def _judge(file: InvoiceFile) -> None:
    """Sort the lines that fit a shipment into those that will be applied and those a person looks at first."""
    mine = file.lines.filter(state__in=(Line.READY, Line.HELD), shipment__isnull=False)
    keys = list(mine.order_by().values_list("shipment", flat=True).distinct())
    for start in range(0, len(keys), CHUNK):
        for found in _differences(file, keys[start : start + CHUNK]):
            mine.filter(shipment=found.shipment).update(state=found.state, note=found.note)


def _differences(file: InvoiceFile, keys: Sequence[int]) -> list[Difference]:
    lines: dict[int, list[InvoiceLine]] = {}
    for line in file.lines.filter(shipment__in=keys, state__in=(Line.READY, Line.HELD)):
        lines.setdefault(line.shipment_id or 0, []).append(line)
    before = _applied(keys)
    parcels = _by_shipment(Package.objects.filter(shipment__in=keys))
    applied = InvoiceLine.objects.filter(shipment__in=keys, state=Line.APPLIED)
    named = _by_shipment(applied)
    others: dict[int, list[InvoiceLine]] = {}
    for line in applied.exclude(file=file):
        others.setdefault(line.shipment_id or 0, []).append(line)
    found = []
    for shipment in Shipment.objects.filter(pk__in=keys).order_by("pk"):
        mine = lines.get(shipment.pk, [])
        if not mine:
            continue
        total = before.get(shipment.pk, Decimal(0)) + sum((line.amount or Decimal(0) for line in mine), Decimal(0))
        missing = parcels.get(shipment.pk, set()) - named.get(shipment.pk, set()) - {line.tracking_number for line in mine}
        note = _billed_elsewhere(mine, others.get(shipment.pk, ())) or _why_look(file, shipment, mine, total, len(missing))
        state = Line.HELD if note else Line.READY
        found.append(Difference(shipment, total, mine[0].currency, len(mine), state, note))
    return found


def _by_shipment(rows: Any) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for pk, number in rows.order_by().values_list("shipment", "tracking_number"):
        found.setdefault(pk, set()).add(number)
    return found


def _applied(keys: Sequence[int]) -> dict[int, Decimal]:
    rows = InvoiceLine.objects.filter(shipment__in=keys, state=Line.APPLIED).order_by()
    return {pk: total for pk, total in rows.values_list("shipment").annotate(total=Sum("amount"))}


def _billed_elsewhere(lines: Iterable[InvoiceLine], others: Iterable[InvoiceLine]) -> str:
    """Why a person should look at lines of an invoice that another file has brought for the same parcel, or "".

    One invoice comes in several layouts (a row for a parcel, a row for each of its charges): the same money, told otherwise.
    """
    before = {(line.invoice_number, line.tracking_number) for line in others}
    again = next((line for line in lines if (line.invoice_number, line.tracking_number) in before), None)
    if again is None:
        return ""
    return f"Invoice {again.invoice_number} was applied to this parcel from another file. Are these further charges?"


def _why_look(file: InvoiceFile, shipment: Shipment, lines: Sequence[InvoiceLine], total: Decimal, missing: int) -> str:
    """Why a person should look before this is applied, or ""."""
    if len({line.currency for line in lines}) > 1 or (shipment.currency and lines[0].currency != shipment.currency):
        return f"Invoiced in {lines[0].currency}, the cost is kept in {shipment.currency or 'several currencies'}."
    if shipment.state != Shipment.State.ACTIVE:
        return "The label was voided. Ask the carrier for a credit."
    if total < 0:
        return "The credits are larger than the charges."
    if missing and shipment.cost is not None and total < shipment.cost:
        return f"{missing} of its parcels {'is' if missing == 1 else 'are'} not on an invoice yet."
    if file.rule == InvoiceFile.Rule.TOLERANCE and file.tolerance is not None:
        if shipment.cost is None:
            return "The cost was not known before."
        if abs(total - shipment.cost) > file.tolerance:
            return f"The difference is larger than {file.tolerance}."
    return ""


def differences(file: InvoiceFile, state: str, *, after: int = 0, size: int = 50) -> list[Difference]:
    """The shipments of a file in a state, by id, from a place on; up to one more than `size`, which says there are more."""
    mine = file.lines.filter(state=state, shipment__gt=after).order_by("shipment")
    keys = list(mine.values_list("shipment", flat=True).distinct()[: size + 1])
    return _differences(file, [key for key in keys if key is not None])


def counts(file: InvoiceFile) -> dict[str, tuple[int, int]]:
    """Lines and shipments of a file, by state."""
    rows = file.lines.order_by().values_list("state").annotate(lines=Count("pk"), shipments=Count("shipment", distinct=True))
    return {state: (lines, shipments) for state, lines, shipments in rows}


# -- applying ----------------------------------------------------------------------------------------------


def apply(file: InvoiceFile, *, actor: str, reason: str) -> None:
    """Have the lines that will be applied be applied by the workers. Raises NotPossible."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with every shipment.")
    with transaction.atomic():
        found = _locked(file, File.READY)
        if not found.lines.filter(state=Line.READY).exists():
            raise NotPossible("Nothing in this file is to be applied.")
        values = {"reason": reason.strip()[:300], "applied_by": actor[:150], "applied_at": clock.at()}
        InvoiceFile.objects.filter(pk=file.pk).update(state=File.APPLYING, **values)
        # What addresses and names the file holds is needed no more.
        found.lines.update(cells=None)
        told = {state: lines for state, (lines, _) in counts(found).items()}
        _note(found, "invoice_apply", actor, reason=values["reason"], lines=told)
        wake.invoices()
    file.refresh_from_db()


def accept(file: InvoiceFile, shipment_id: int, *, actor: str, reason: str) -> None:
    """Apply what a person was to look at, for one shipment. Raises NotPossible."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with the shipment.")
    try:
        with transaction.atomic():
            # The file's lock keeps out whoever puts it away, applies it or reads its rows anew this moment.
            found = _locked(file, File.READY, File.DONE)
            applied = _apply_shipment(found, shipment_id, (Line.HELD, Line.READY), actor=actor, reason=reason.strip())
    except IntegrityError:
        raise NotPossible("One of these charges counts for another shipment already, from another file.") from None
    if not applied:
        raise NotPossible("Nothing of this shipment is left to apply.")


def discard(file: InvoiceFile, *, actor: str, reason: str) -> None:
    """Put a file away: nothing more of it is applied; what was applied stays. Raises NotPossible."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with the file.")
    with transaction.atomic():
        found = _locked(file, File.COLUMNS, File.READY)
        found.lines.update(cells=None)
        InvoiceFile.objects.filter(pk=file.pk).update(state=File.DISCARDED, ended_at=clock.at())
        _note(found, "invoice_discarded", actor, reason=reason.strip()[:300])
    file.refresh_from_db()


def due() -> bool:
    """Whether a file is being applied."""
    return InvoiceFile.objects.filter(state=File.APPLYING).exists()


def work(within_s: float = 20.0) -> bool:
    """Apply files for a while; whether there is more to do at once. May run beside itself: a shipment is applied once."""
    until = time.monotonic() + within_s
    for file in InvoiceFile.objects.filter(state=File.APPLYING).select_related("tenant", "carrier").order_by("pk"):
        after, busy = 0, False
        while True:
            mine = file.lines.filter(state=Line.READY, shipment__gt=after).order_by("shipment")
            keys = [key for key in mine.values_list("shipment", flat=True).distinct()[:CHUNK] if key is not None]
            if not keys:
                break
            for key in keys:
                busy |= not _try(file, key)
                after = key
                if time.monotonic() > until:
                    return True
        if not busy:
            _finish(file)
    return False


def _try(file: InvoiceFile, shipment_id: int) -> bool:
    """Apply one shipment of a file; False where it has to wait. What is refused goes to a person."""
    try:
        reason = f"{file.reason} (invoice file {file.pk})"
        _apply_shipment(file, shipment_id, (Line.READY,), actor=file.applied_by, reason=reason[:300])
    except costs.Busy:
        file.lines.filter(shipment=shipment_id, state=Line.READY).update(note=BUSY)
        return False
    except NotPossible as error:
        file.lines.filter(shipment=shipment_id, state=Line.READY).update(state=Line.HELD, note=str(error)[:300])
    except IntegrityError:
        # Another file brought the same charge this moment; the next look finds it as a duplicate.
        return False
    return True


def _apply_shipment(file: InvoiceFile, shipment_id: int, states: Sequence[str], *, actor: str, reason: str) -> int:
    """One commit: lines, cost, history. How many lines counted. Raises NotPossible."""
    with transaction.atomic():
        shipment = Shipment.objects.get(pk=shipment_id, tenant=file.tenant_id)
        # Records before shipments, everywhere; this also makes two files wait for each other.
        SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        lines = list(file.lines.select_for_update().filter(shipment=shipment, state__in=states))
        before = list(InvoiceLine.objects.filter(shipment=shipment, state=Line.APPLIED))
        known = {(line.invoice_number, line.tracking_number, line.charge) for line in before}
        fresh = [line for line in lines if (line.invoice_number, line.tracking_number, line.charge) not in known]
        again = [line.pk for line in lines if line not in fresh]
        InvoiceLine.objects.filter(pk__in=again).update(state=Line.DUPLICATE, note="Applied before.")
        if not fresh:
            return 0
        if Line.HELD not in states and (look := _billed_elsewhere(fresh, [one for one in before if one.file_id != file.pk])):
            raise NotPossible(look)
        if len({line.currency for line in [*fresh, *before]}) > 1:
            raise NotPossible("Its lines are in several currencies. Correct the cost by hand.")
        total = sum((line.amount or Decimal(0) for line in [*fresh, *before]), Decimal(0))
        costs.invoiced(shipment, total, fresh[0].currency, actor=actor, reason=reason)
        InvoiceLine.objects.filter(pk__in=[line.pk for line in fresh]).update(state=Line.APPLIED, note="")
    return len(fresh)


def _finish(file: InvoiceFile) -> None:
    with transaction.atomic():
        found = _locked(file)
        if found.state != File.APPLYING or found.lines.filter(state=Line.READY, shipment__isnull=False).exists():
            return
        InvoiceFile.objects.filter(pk=file.pk).update(state=File.DONE, ended_at=clock.at())
        _note(found, "invoice_applied", found.applied_by, lines={state: lines for state, (lines, _) in counts(found).items()})


def _locked(file: InvoiceFile, *states: str) -> InvoiceFile:
    found: InvoiceFile = InvoiceFile.objects.select_for_update().get(pk=file.pk)
    if states and found.state not in states:
        raise NotPossible(f"This file is {found.get_state_display().lower()}.")
    return found


def _note(file: InvoiceFile, act: str, actor: str, **facts: Any) -> None:
    audit.append(file.tenant, audit.Draft(act, {"carrier": file.carrier.slug, **facts}, obj=file, actor=actor))


__all__ = ["Difference", "accept", "apply", "choose", "counts", "differences", "discard", "due", "set_rule", "take", "work"]

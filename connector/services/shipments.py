"""Shipments: the rows that a purchase means, voiding, buying again, labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction
from django.db.models import F

from connector.models import Connection, EffectSend, Label, Package, Reference, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, rows, wake
from connector.services.engine.polling import new_transfer
from integrations.base.records import BoughtPackage, BoughtShipment, Money, ShipmentRequest

QUOTE = "the quote before buying; the carrier named no cost with the label"
"""Where a cost is known from that the carrier did not rate."""
MEDIA_SUFFIX = {"application/pdf": "pdf", "image/png": "png", "application/zpl": "zpl", "application/epl": "epl"}


class NotPossible(Exception):
    """The act is refused in this state. The message says why and what to do instead."""


def normalise(value: str) -> str:
    """A number as people search for it: upper case, letters and digits only."""
    return re.sub(r"[^0-9A-Z]", "", value.upper())


def shipment_store(
    *,
    transfer: Transfer,
    record: SourceRecord,
    send: EffectSend,
    carrier: Connection,
    request: ShipmentRequest | None,
    bought: BoughtShipment,
    accounting: tuple[str, str] = ("", ""),
    clash: bool = False,
) -> tuple[Shipment | None, dict[str, Any]]:
    """Make shipment, packages, labels and references inside the caller's transaction.

    With `clash` (another live shipment holds one of the numbers) nothing is made: the number stays on the
    send. Returns the shipment and plain facts for the audit. Raises IntegrityError for a clash.
    """
    cost, kind = cost_of(bought, request)
    facts: dict[str, Any] = {
        "tracking_numbers": [p.tracking_number for p in bought.packages] or [bought.master_tracking_number],
        "transaction_id": bought.transaction_id,
        "cost": f"{cost.amount} {cost.currency}" if cost else "unknown",
    }
    if kind == Shipment.CostKind.QUOTED:
        facts["cost_from"] = QUOTE
    if clash:
        return None, facts | {"clash": True}
    now = clock.local_now()
    shipment = Shipment(
        tenant_id=record.tenant_id,
        integration_id=record.integration_id,
        record=record,
        transfer=transfer,
        send=send,
        carrier=carrier,
        source_key=record.source_key,
        document_number=record.source_key.partition(":")[2][:60],
        company_code=record.company_code,
        site=record.site,
        generation=record.generation,
        master_tracking_number=bought.master_tracking_number[:60],
        service=(bought.service or (request.service if request else ""))[:60],
        ship_date=bought.ship_date or (request.ship_date if request else None),
        cost=cost.amount if cost else None,
        currency=cost.currency[:3] if cost else "",
        quoted_cost=request.quoted.amount if request and request.quoted else None,
        quoted_currency=request.quoted.currency[:3] if request and request.quoted else "",
        cost_kind=kind,
        cost_center=accounting[0],
        freight_account=accounting[1],
        estimated_delivery=bought.estimated_delivery,
        transaction_id=bought.transaction_id[:128],
        alerts=list(bought.alerts),
        adopted=bought.adopted,
        status_at=now,
        created_at=now,
        **_recipient(request),
    )
    rows.insert([shipment])
    _packages(shipment, bought, request, now)
    _references(shipment, send, bought, request)
    return shipment, facts


def cost_of(bought: BoughtShipment, request: ShipmentRequest | None) -> tuple[Money | None, Shipment.CostKind]:
    """What a purchase cost and where that is known from: as rated with the label, else as quoted for it (FedEx sheet 6).

    The quote counts only for the service that was bought, and never for a label that was found again: what FedEx said
    with that one is lost, and may have been another price.
    """
    if bought.cost is not None:
        return bought.cost, Shipment.CostKind.RATED
    if request is None or bought.adopted or not request.quote_counts or request.quoted is None:
        return None, Shipment.CostKind.UNKNOWN
    if bought.service not in ("", request.service):
        return None, Shipment.CostKind.UNKNOWN
    return request.quoted, Shipment.CostKind.QUOTED


def _recipient(request: ShipmentRequest | None) -> dict[str, str]:
    if request is None:
        return {}
    to = request.recipient
    return {
        "recipient_name": (to.company or to.name)[:120],
        "recipient_city": to.city[:80],
        "recipient_postal_code": to.postal_code[:20],
        "recipient_country": to.country[:2],
        "sender_country": request.sender.country[:2],
    }


def _packages(shipment: Shipment, bought: BoughtShipment, request: ShipmentRequest | None, now: Any) -> None:
    specs = {p.package_id: p for p in request.packages} if request else {}
    pieces = bought.packages or (BoughtPackage(bought.master_tracking_number, 1),)
    packages = [
        Package(
            tenant_id=shipment.tenant_id,
            shipment=shipment,
            carrier_id=shipment.carrier_id,
            sequence=place,
            package_id=piece.package_id[:60],
            tracking_number=piece.tracking_number[:60],
            ship_date=shipment.ship_date,
            weight=specs[piece.package_id].weight.value if piece.package_id in specs else None,
            weight_unit=specs[piece.package_id].weight.unit if piece.package_id in specs else "",
        )
        for place, piece in enumerate(sorted(pieces, key=lambda p: p.sequence), 1)
    ]
    rows.insert(packages)
    labels_store(zip(packages, sorted(pieces, key=lambda p: p.sequence), strict=True), now)


def labels_store(pairs: Iterable[tuple[Package, BoughtPackage]], now: Any) -> int:
    """Keep the label bytes of packages; how many there were."""
    labels = [
        Label(
            tenant_id=package.tenant_id,
            package=package,
            media_type=piece.label.media_type[:60],
            data=piece.label.data,
            sha256=hashlib.sha256(piece.label.data).hexdigest(),
            size=len(piece.label.data),
            readable=piece.label.readable,
            problem=piece.label.problem[:300],
            created_at=now,
        )
        for package, piece in pairs
        if piece.label is not None
    ]
    return len(rows.insert(labels))


def _references(shipment: Shipment, send: EffectSend, bought: BoughtShipment, request: ShipmentRequest | None) -> None:
    told = [
        ("document", shipment.document_number),
        ("our_reference", send.reference),
        ("tracking", bought.master_tracking_number),
    ]
    told += [("tracking", p.tracking_number) for p in bought.packages]
    told.append(("transaction", bought.transaction_id))
    if request is not None:
        told += list(request.references)
        told += [pair for package in request.packages for pair in package.references]
    seen = dict.fromkeys((kind[:30], value[:120]) for kind, value in told if value)
    rows.insert(
        Reference(tenant_id=shipment.tenant_id, shipment=shipment, kind=kind, value=value, normalised=normalise(value))
        for kind, value in seen
    )


def numbers_of(record: SourceRecord) -> frozenset[str]:
    """Every number of any package of any generation of this record: ours, whatever became of it."""
    return frozenset(Package.objects.filter(shipment__record=record).values_list("tracking_number", flat=True)) | frozenset(
        Shipment.objects.filter(record=record).values_list("master_tracking_number", flat=True)
    )


def work_beside(shipment: Shipment, flow: str, *, again: Collection[str]) -> Transfer:
    """The open work of another flow on a shipment, or a new one; an open one in a state of `again` is due at once.

    On a record of its own, so that it never holds up the document's. Inside the caller's transaction; the caller wakes
    the workers.
    """
    now = clock.now()
    record, _ = SourceRecord.objects.get_or_create(
        integration_id=shipment.integration_id,
        flow=flow,
        source_key=shipment.source_key,
        defaults={
            "tenant_id": shipment.tenant_id,
            "document_kind": shipment.source_key.partition(":")[0],
            "company_code": shipment.company_code,
            "site": shipment.site,
            "first_seen_at": now,
            "last_seen_at": now,
        },
    )
    record = SourceRecord.objects.select_for_update().get(pk=record.pk)
    unfinished = Transfer.objects.filter(record=record, state__in=Transfer.UNFINISHED).first()
    if unfinished is None:
        SourceRecord.objects.filter(pk=record.pk).update(revision=F("revision") + 1)
        unfinished = new_transfer(record, record.revision + 1)
        unfinished.save()
    else:
        Transfer.objects.filter(pk=unfinished.pk, state__in=again).update(state="waiting", due_at=clock.at(), attempts=0)
    return unfinished


def shipped_as(record: SourceRecord, keys: Collection[str]) -> Shipment | None:
    """A live label bought for one of these documents of the same ERP connection."""
    if not keys:
        return None
    records = SourceRecord.objects.filter(tenant_id=record.tenant_id, source_key__in=keys)
    records = records.filter(integration__source=record.integration.source_id)
    live = Shipment.objects.filter(record__in=records, state=Shipment.State.ACTIVE)
    return live.select_related("record").first()


def numbers_of_siblings(record: SourceRecord) -> frozenset[str]:
    """Every number of the other deliveries of the same order ("customer_order:S1/1" and ".../2"), from this ERP connection.

    Empty for documents that are not deliveries of an order.
    """
    ids = _siblings(record)
    if not ids:
        return frozenset()
    packages = Package.objects.filter(shipment__record__in=ids).values_list("tracking_number", flat=True)
    return frozenset(packages) | frozenset(
        Shipment.objects.filter(record__in=ids).values_list("master_tracking_number", flat=True)
    )


def standing_sibling(record: SourceRecord) -> str:
    """The master number of the latest label of another delivery of the same order that is not voided; "" where there is none."""
    ids = _siblings(record)
    latest = Shipment.objects.filter(record__in=ids, state=Shipment.State.ACTIVE).order_by("-pk").first() if ids else None
    return latest.master_tracking_number if latest is not None else ""


def _siblings(record: SourceRecord) -> list[int]:
    """The records of the other deliveries of the same order."""
    order, slash, _ = record.source_key.rpartition("/")
    if not slash:
        return []
    others = SourceRecord.objects.filter(
        integration__source=record.integration.source_id, flow="ship", source_key__startswith=f"{order}/"
    ).exclude(source_key=record.source_key)
    # `startswith` alone would take an order whose own number goes on after a slash.
    return [pk for pk, key in others.values_list("pk", "source_key") if key.rpartition("/")[0] == order]


def holds_number(carrier: Connection, numbers: Iterable[str], *, but_send: EffectSend | None) -> bool:
    """Whether another live shipment of ours has one of these numbers."""
    held = Package.objects.filter(carrier=carrier, tracking_number__in=list(numbers), voided=False)
    if but_send is not None:
        held = held.exclude(shipment__send=but_send)
    return held.exists()


# -- voiding -----------------------------------------------------------------------------------------


def void_request(shipment: Shipment, *, then: str, actor: str, reason: str) -> Transfer:
    """Ask for a shipment to be cancelled at its carrier. `then`: "clear" our number in the ERP, or "rebuy".

    Makes a transfer of flow `void` (so that it is retried, leased and seen like all work). Raises NotPossible.
    """
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with the shipment.")
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        shipment.refresh_from_db()
        if shipment.state != Shipment.State.ACTIVE:
            raise NotPossible(f"This shipment is {shipment.get_state_display().lower()} already.")
        close_unfinished(record, actor)
        transfer = open_transfer(
            record, flow="void", decision={"shipment": shipment.pk, "then": then, "actor": actor, "reason": reason.strip()}
        )
        Shipment.objects.filter(pk=shipment.pk).update(state=Shipment.State.VOIDING)
        told = {"then": then, "reason": reason.strip(), "tracking_number": shipment.master_tracking_number}
        audit.append_to_record(record, [audit.Draft("void_requested", told, obj=shipment, actor=actor)])
        wake.work()
    return transfer


def close_unfinished(record: SourceRecord, actor: str) -> None:
    """End the record's unfinished transfer so that another may begin. Raises NotPossible while a send is open or it runs."""
    open_send = EffectSend.objects.filter(effect__record=record, outcome__in=EffectSend.OPEN).exists()
    if open_send:
        raise NotPossible("A request to the carrier is in doubt. Settle it first: look, or decide with one of its two buttons.")
    unfinished = Transfer.objects.filter(record=record, state__in=Transfer.UNFINISHED).first()
    if unfinished is None:
        return
    hit = Transfer.objects.filter(
        pk=unfinished.pk, epoch=unfinished.epoch, state__in=("waiting", "failed", "needs_approval")
    ).update(state="cancelled", code="superseded", message=f"Ended by {actor}.", finished_at=clock.at(), updated_at=clock.at())
    if not hit:
        raise NotPossible("Work on this document is under way. Try again in a moment.")


def open_transfer(record: SourceRecord, *, flow: str = "", decision: dict[str, Any] | None = None) -> Transfer:
    """A new transfer with the record's next revision (inside a transaction)."""
    SourceRecord.objects.filter(pk=record.pk).update(revision=F("revision") + 1)
    record.refresh_from_db(fields=["revision"])
    transfer = new_transfer(record, record.revision, flow=flow, decision=decision)
    transfer.save()
    return transfer


def voided(shipment: Shipment, record: SourceRecord, *, actor: str, already: bool) -> None:
    """The carrier has cancelled it: proven. One commit; repeating it changes nothing."""
    with transaction.atomic():
        SourceRecord.objects.select_for_update().get(pk=record.pk)  # records before shipments, everywhere
        hit = (
            Shipment.objects.filter(pk=shipment.pk)
            .exclude(state=Shipment.State.VOIDED)
            .update(state=Shipment.State.VOIDED, voided_at=clock.at(), status="cancelled", next_track_at=None)
        )
        if not hit:
            return
        Package.objects.filter(shipment=shipment).update(voided=True)
        told = {"tracking_number": shipment.master_tracking_number, "already": already}
        audit.append_to_record(record, [audit.Draft("voided", told, obj=shipment, actor=actor)], held=True, bought_digest="")


def buy_again(record: SourceRecord, *, actor: str, reason: str) -> Transfer:
    """A voided document ships again: next generation, new transfer, with guard and fresh read. Raises NotPossible."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept with the document.")
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=record.pk)
        if not record.held:
            raise NotPossible("This document has not been voided: there is nothing to buy again.")
        close_unfinished(record, actor)
        transfer = _next_generation(record, actor, reason.strip())
    return transfer


def _next_generation(record: SourceRecord, actor: str, reason: str) -> Transfer:
    transfer = open_transfer(record)
    audit.append_to_record(
        record,
        [audit.Draft("buy_again", {"generation": record.generation + 1, "reason": reason}, obj=transfer, actor=actor)],
        generation=record.generation + 1,
        held=False,
        bought_digest="",
    )
    wake.work()
    return transfer


def rebuy_after_void(record: SourceRecord, actor: str, reason: str) -> None:
    """The second half of "void and buy again" (inside the commit that ends the void)."""
    _next_generation(record, actor, reason)

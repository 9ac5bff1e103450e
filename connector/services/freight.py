"""The shares of orders in a shipment's freight cost: planned once, then written to the ERP, taken back when voided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q

from connector.models import Connection, EffectSend, FreightCharge, Shipment, SourceRecord
from connector.services import clock
from integrations.base.records import ChargeOrder

State = FreightCharge.State
PURCHASE = "purchase_order"
"""Source keys of documents that bear their cost on purchase orders begin with it; all others are about customer orders."""


def of(shipment: Shipment) -> list[FreightCharge]:
    """The shares of a shipment, in the order of its lines."""
    return list(FreightCharge.objects.filter(shipment=shipment).order_by("pk"))


def keep_accounting(shipment: Shipment, orders: Sequence[ChargeOrder]) -> bool:
    """Keep what the document's orders say of account and cost centre, once; whether this was the first time.

    The shipment's own are replaced only where all orders that it delivers for name the same.
    """
    told = [
        {
            "order": order.order,
            "company_code": order.company_code,
            "pre_posting": order.pre_posting,
            "cost_center": order.cost_center,
            "account": order.account,
            "code_parts": dict(order.code_parts),
        }
        for order in orders
    ]
    centers, accounts = {order.cost_center for order in orders}, {order.account for order in orders}
    found: dict[str, Any] = {"accounting": told}
    if len(centers) == 1 and "" not in centers:
        found["cost_center"] = centers.pop()[:40]
    if len(accounts) == 1 and "" not in accounts:
        found["freight_account"] = accounts.pop()[:40]
    hit = Shipment.objects.filter(pk=shipment.pk, accounting__isnull=True).update(**found)
    if hit:
        for name, value in found.items():
            setattr(shipment, name, value)
    return bool(hit)


def plan(rows: Sequence[FreightCharge]) -> None:
    """Keep the shares before the first one is written (inside the caller's transaction)."""
    for row in rows:
        row.created_at = clock.local_now()
    FreightCharge.objects.bulk_create(rows)


def posted(row: FreightCharge, number: str, **told: Any) -> bool:
    """The share stands in the ERP under this number. False where it stood there under another one already."""
    fresh = FreightCharge.objects.filter(pk=row.pk).exclude(state=State.POSTED)
    if not fresh.update(state=State.POSTED, number=number, posted_at=clock.at(), note="", **told):
        return FreightCharge.objects.filter(pk=row.pk, number=number).exists()
    row.state, row.number = State.POSTED, number
    return True


def ended(row: FreightCharge, state: FreightCharge.State, note: str = "") -> None:
    """What became of a share when its label was voided, or its charge closed."""
    FreightCharge.objects.filter(pk=row.pk).update(state=state, note=note[:300], ended_at=clock.at())
    row.state = state


def row_of(record: SourceRecord, key: str) -> FreightCharge | None:
    """The share of that key in the newest shipment of a record's present generation."""
    rows = FreightCharge.objects.filter(shipment__record=record, shipment__generation=record.generation)
    return next((row for row in rows.order_by("-shipment") if row.key == key), None)


def earlier(row: FreightCharge) -> FreightCharge | None:
    """The charge that an earlier, voided label of the same document left on the order: it is corrected, none is added."""
    shipment = row.shipment
    same = {"order": row.order, "line": row.line, "currency": row.currency}
    rows = FreightCharge.objects.filter(shipment__record=shipment.record_id, **same)
    rows = rows.filter(shipment__generation__lt=shipment.generation, state__in=(State.TAKEN_BACK, State.POSTED))
    return rows.exclude(number="").order_by("-shipment__generation").first()


def others_open(record: SourceRecord, source: Connection, order: str, outcomes: Sequence[str] = EffectSend.OPEN) -> bool:
    """Whether another document's charge on the same order is under way or in doubt: its number is not known as ours yet."""
    sends = EffectSend.objects.filter(outcome__in=outcomes, effect__kind="charge", connection=source)
    sends = sends.filter(Q(effect__key=order) | Q(effect__key__startswith=f"{order}/"))
    return sends.filter(_same_side("effect__record__source_key", record.source_key)).exclude(effect__record=record).exists()


def numbers(source: Connection, key: str, order: str) -> frozenset[str]:
    """Numbers of charges on an order behind a document that are known as ours already."""
    rows = FreightCharge.objects.filter(shipment__integration__source=source, order=order).exclude(number="")
    return frozenset(rows.filter(_same_side("shipment__source_key", key)).values_list("number", flat=True))


def is_of_another(row: FreightCharge, source: Connection, number: str) -> bool:
    """Whether another document's share, or another line's, has that charge of the order. Inside the caller's transaction."""
    rows = FreightCharge.objects.filter(shipment__integration__source=source, order=row.order, number=number)
    same = Q(shipment__record=row.shipment.record_id, line=row.line)  # of an earlier label of the same document
    return rows.filter(_same_side("shipment__source_key", row.shipment.source_key)).exclude(same).exists()


def _same_side(field: str, key: str) -> Q:
    """A customer order and a purchase order may have one number: documents of the one never speak of the other."""
    bought = Q(**{f"{field}__startswith": f"{PURCHASE}:"})
    return bought if key.startswith(f"{PURCHASE}:") else ~bought

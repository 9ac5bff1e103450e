"""What a write-back left out, in words for the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connector.models import Shipment, Step

STEP = "write tracking"
"""The step that tells the ERP the number."""

NOT_WRITTEN = {
    "status": "status (the profile names no field)",
    "status_at": "time of the status (the profile names no field)",
    "estimated_delivery": "estimated arrival (the profile names no field)",
    "delivered_at": "time of delivery (the profile names no field)",
    "signed_by": "who signed (the profile names no field)",
    "tracking_field": "tracking number (the profile names no field)",
    "note_full": "tracking number (the note has no room for it)",
    "lines.tracking_field": "tracking number on the lines (the profile names no field)",
    "forwarder_field": "carrier (the profile names no field)",
    "carrier_field": "carrier (the profile names no field)",
    "ship_date_field": "ship date (the profile names no field)",
    "status_field": "status (the profile names no field)",
    "status_time_field": "time of the status (the profile names no field)",
    "estimated_delivery_field": "estimated arrival (the profile names no field)",
    "delivered_field": "time of delivery (the profile names no field)",
    "cancelled": "the number is left in the document, which is cancelled: the ERP takes no change of it any more",
    "mail": "the link by mail (the entry before says why)",
    "quote_field": "quoted price (the profile names no field)",
    "quote_currency_field": "currency of the quoted price (the profile names no field)",
    "signed_by_field": "who signed (the profile names no field)",
}


def not_written(skipped: Sequence[str]) -> str:
    """What a write-back left out, and why; another name is a field that somebody else has filled."""
    return "; ".join(NOT_WRITTEN.get(name) or (name if _ABSENT in name else f"{name} (left as it is)") for name in skipped)


_ABSENT = "no field "
"""How an adapter names a field that the ERP turned out not to have."""


def without_number(records: Iterable[int]) -> set[int]:
    """Which of these records the last write-back told no tracking number, since there is no place for it; one query."""
    steps = Step.objects.filter(record__in=list(records), name=STEP, state=Step.State.DONE).order_by("pk")
    last = dict(steps.values_list("record_id", "result__skipped"))
    return {record for record, skipped in last.items() if {"tracking_field", "note_full"} & set(skipped or ())}


def left_out(shipment: Shipment, writes: Iterable[Step] | None = None) -> str:
    """What the last write-back of a shipment's number left out, "" for nothing. `writes`: its record's, where they are known."""
    if writes is None:
        writes = Step.objects.filter(record=shipment.record_id, name=STEP, state=Step.State.DONE)
    last = max(writes, key=lambda step: step.pk, default=None)
    return not_written((last.result or {}).get("skipped") or ()) if last is not None else ""

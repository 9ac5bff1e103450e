"""Deliveries of one order: documents of their own, which share their order's header in the ERP and so its tracking field."""

from __future__ import annotations

from dataclasses import replace

from connector.services import shipments
from connector.services.engine.run import Run
from connector.services.engine.signals import Cancelled
from integrations.base.errors import FieldConflict
from integrations.base.records import Document, WriteBack, WriteResult
from integrations.base.roles import Erp


def check_numbers(run: Run, document: Document) -> None:
    """Nobody else has shipped it. Raises Cancelled.

    What stands in a field that all deliveries of the order share may be another delivery's number, bought by us.
    """
    own, shared = document.tracking_number.strip(), document.shared_tracking_number.strip()
    if not own and not shared:
        return
    ours = shipments.numbers_of(run.source_record)
    foreign = own if own not in ours else ""
    if not foreign and shared and shared not in ours and shared not in shipments.numbers_of_siblings(run.source_record):
        foreign = shared
    if foreign:
        raise Cancelled(
            f"The ERP already holds the tracking number {foreign}, which is not ours.",
            "has_tracking_number",
            "If it should ship with us all the same, empty the field in the ERP, then replay.",
        )


def check_orders(run: Run, document: Document) -> None:
    """Its lines have not shipped before as deliveries of their orders. Raises Cancelled.

    An order that is on a shipment is never ready; somebody may still put it on one after its label was bought.
    """
    if "customer_order" not in (run.options.get("documents") or ()):
        return
    keys = {line.delivery for line in document.lines if line.delivery} - {run.source_key}
    if shipped := shipments.shipped_as(run.source_record, keys):
        order, _, delivery = shipped.record.source_key.partition(":")[2].rpartition("/")
        raise Cancelled(
            f"Its lines have a label already, as order {order}, delivery {delivery}: {shipped.master_tracking_number}.",
            "shipped_as_order",
            "If the goods leave once more, void that label first, or ship this one by hand.",
        )


class Writer:
    """`erp.write_tracking` for one run; a number of a sibling in a shared field gives way to the later one."""

    def __init__(self, run: Run, erp: Erp) -> None:
        self.run = run
        self.adapter = erp

    def __call__(self, key: str, write: WriteBack) -> WriteResult:
        """Raises as `Erp.write_tracking` does."""
        try:
            return self.adapter.write_tracking(key, write)
        except FieldConflict as conflict:
            # Asked only now: most orders have one delivery, and a sibling may have been bought a moment ago.
            siblings = shipments.numbers_of_siblings(self.run.source_record)
            if conflict.theirs not in siblings or conflict.theirs in write.shared:
                raise
            return self.adapter.write_tracking(key, replace(write, shared=siblings))

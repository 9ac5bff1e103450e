"""What attaching the labels of a shipment would do: worked out from what is stored. Asks nobody and changes nothing."""

from __future__ import annotations

from connector.models import Shipment
from connector.services import attachments, budgets
from connector.services.shipments import MEDIA_SUFFIX
from connector.services.void_preview import Preview

ATTACH = "attach"
PLACES = {"document": "as a document", "media": "in its media library"}


def preview(shipment: Shipment) -> Preview:
    """For a shipment whose labels do not all hang in the ERP. Raises NotPossible."""
    attachments.check(shipment, shipment.record)
    made = Preview(ATTACH)
    options = shipment.integration.options
    where = PLACES.get(attachments.place_of(shipment), "")
    hung = {one.number: one for one in attachments.of(shipment)}
    wanted = 0
    for package in attachments.packages_of(shipment):
        number, there = package.tracking_number, hung.get(package.tracking_number)
        if there is not None and there.complete:
            made.kept.append(f"The label of {number} hangs there already: {there.named}.")
        elif not hasattr(package, "label"):
            made.warnings.append(f"There is no label file of {number}: nothing is attached for it.")
        elif not package.label.readable or package.label.media_type not in MEDIA_SUFFIX:
            made.warnings.append(f"The label file of {number} is not readable: nothing is attached for it.")
        elif there is not None:
            wanted += 1
            made.erp.append(f"The place of the label of {number} is there ({there.named}): the file is put into it.")
        else:
            wanted += 1
            kind = MEDIA_SUFFIX[package.label.media_type].upper()
            made.erp.append(f"The label of {number} ({kind}) is hung on the record of the document {where}, once.")
    made.kept.append("Number, charges and everything else: nothing else is written. The carrier is not asked.")
    made.calls = budgets.calls_for(attachments.FLOW, wanted, 0, options)
    if not shipment.integration.enabled:
        made.warnings.append("The integration is switched off: the label waits until it is switched on.")
    return made


__all__ = ["ATTACH", "preview"]

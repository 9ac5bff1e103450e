"""Track: what the carrier says of a shipment's way reaches the ERP record. The news themselves come in batches beside."""

from __future__ import annotations

from connector.models import Shipment
from connector.services import tracking
from connector.services.engine.run import Run
from connector.services.engine.signals import Skipped
from integrations.base.roles import Carrier, Erp

WRITE = "write status"


def track(run: Run, erp: Erp, carrier: Carrier) -> None:
    """Write the latest picture, whatever it was when the transfer was opened."""
    shipment = (
        Shipment.objects.filter(
            integration=run.job.integration, source_key=run.source_key, state=Shipment.State.ACTIVE, written_at__isnull=False
        )
        .order_by("-generation", "-pk")
        .first()
    )
    if shipment is None:
        raise Skipped("The shipment has been voided.", "shipment_voided")
    picture = tracking.picture(shipment, tracking.wanted_statuses(run.job.integration))
    run.write(WRITE, erp.write_status, run.source_key, picture)
    targets = erp.status_targets(run.source_record.document_kind)
    told = tracking.plain(picture, targets)

    def remember() -> None:
        tracking.remember(shipment.pk, told, targets)

    run.finishers.append(remember)


__all__ = ["WRITE", "track"]

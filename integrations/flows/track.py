"""Track: what the carrier says of a shipment's way reaches the ERP record. The news themselves come in batches beside."""

from __future__ import annotations

from typing import Any

from connector.models import Shipment
from connector.services import tracking
from connector.services.engine.run import Run
from connector.services.engine.signals import Skipped
from integrations.base.errors import Rejected
from integrations.base.roles import Carrier, Erp

WRITE = "write status"
CLOSED = "state_refused"
"""What an ERP's refusal is called whose reason is the state of the document."""
_WRITE_KIND: Any = "write"


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
    targets = erp.status_targets(run.source_record.document_kind)
    told = tracking.plain(picture, targets)
    try:
        run.write(WRITE, erp.write_status, run.source_key, picture)
    except Rejected as refused:
        if refused.code != CLOSED:
            raise
        # No news will change the document's state, and every parcel ends in such a one: nobody has to be asked.
        run.skip_step(WRITE, _WRITE_KIND, refused.message[:300])
        raise Skipped(
            "The ERP takes no change of the document in its present state (as a rule it is closed): the news stand here only.",
            "erp_closed",
            "Nothing to do. If the ERP should show them, open the document there again, then replay.",
            also=[lambda: tracking.refused(shipment.pk, told, targets)],
        ) from refused

    def remember() -> None:
        tracking.remember(shipment.pk, told, targets)

    run.finishers.append(remember)


__all__ = ["WRITE", "track"]

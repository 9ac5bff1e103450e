"""Proof of delivery: the carrier's signed document, fetched once after a delivery and kept with the parcel.

A parcel wants one when it is delivered and its integration says so, or when a person asks. The round of tracking
fetches what is due, a few at a time; where the carrier has none yet it is asked again, ever more rarely, for 14 days.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import time
import uuid
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Q

from connector.models import Exchange, Integration, Package, Proof, Shipment, SourceRecord
from connector.services import audit, clock, wake
from connector.services.engine.recorder import ExchangeBuffer
from connector.services.shipments import NotPossible
from integrations.base import tracking as state
from integrations.base.errors import IntegrationError, Rejected
from integrations.base.http import recording
from integrations.base.records import LabelFile
from integrations.base.tracking import TrackQuery

logger = logging.getLogger(__name__)

PER_ROUND = 30
FIRST_WAIT_S = 3600.0
LONGEST_WAIT_S = 86400.0
GIVE_UP_S = 14 * 86400.0
OPTION = "proof_of_delivery"


def want(packages: Iterable[Package], integration: Integration, now: dt.datetime) -> None:
    """Parcels that have just been delivered get their turn, where the integration wants proofs. The caller saves nothing."""
    if integration.options.get(OPTION):
        due = [p.pk for p in packages if p.status == state.DELIVERED and not p.voided]
        Package.objects.filter(pk__in=due, proof=None, proof_due_at=None).update(proof_due_at=now)


def request(shipment: Shipment, *, actor: str) -> int:
    """A person asks for the proofs of a shipment's parcels; how many there are to fetch. Raises NotPossible."""
    delivered = Package.objects.filter(shipment=shipment, status=state.DELIVERED, voided=False)
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=shipment.record_id)
        if not delivered.exists():
            raise NotPossible("No parcel of this shipment has been delivered yet, as far as the carrier has told.")
        number = delivered.filter(proof=None).update(proof_due_at=clock.at())
        if not number:
            raise NotPossible("The proofs of all its parcels are here already.")
        audit.append_to_record(record, [audit.Draft("proof_requested", {"parcels": number}, obj=shipment, actor=actor)])
    wake.poll(shipment.integration_id, "track")
    return number


def next_wait_s(since_delivery_s: float) -> float | None:
    """Seconds until a proof that was not there is asked for again; None: no more."""
    if since_delivery_s >= GIVE_UP_S:
        return None
    return min(max(FIRST_WAIT_S, since_delivery_s), LONGEST_WAIT_S)


def fetch(integration: Integration, carrier: Any, *, until: float) -> int:
    """Fetch what is due, up to `until` (monotonic); how many came. A carrier's fault ends the round, nothing else.

    Above all no pause: keys that may not fetch proofs may still buy and track.
    """
    found = 0
    which = Q(shipment__integration=integration, carrier=integration.target_id, voided=False, proof=None)
    due = Package.objects.filter(which, proof_due_at__lte=clock.at()).select_related("shipment").order_by("proof_due_at", "pk")
    for package in list(due[:PER_ROUND]):
        if time.monotonic() >= until:
            break
        try:
            found += _fetch_one(integration, carrier, package)
        except IntegrationError as error:
            logger.warning("%s: no proof of delivery could be fetched (%s)", integration.slug, error.code)
            Package.objects.filter(pk=package.pk).update(proof_due_at=clock.at(FIRST_WAIT_S))
            break
    return found


def _fetch_one(integration: Integration, carrier: Any, package: Package) -> int:
    buffer = ExchangeBuffer({integration.target.slug: integration.target}, batch=uuid.uuid4())
    buffer.step = "proof of delivery"
    document: LabelFile | None = None
    query = TrackQuery(package.tracking_number, package.ship_date, package.carrier_unique_id)
    try:
        with recording(buffer):
            document = carrier.proof_of_delivery(query)
    except Rejected:
        pass  # this parcel only: it is asked for again like one that has none
    except IntegrationError:
        Exchange.objects.bulk_create(buffer.take())
        raise
    Exchange.objects.bulk_create(buffer.take())
    with transaction.atomic():
        record = SourceRecord.objects.select_for_update().get(pk=package.shipment.record_id)
        now = clock.now()
        if document is None:
            wait = next_wait_s((now - (package.status_at or now)).total_seconds())
            again = now + dt.timedelta(seconds=wait) if wait is not None else None
            Package.objects.filter(pk=package.pk).update(proof_due_at=again)
            return 0
        Package.objects.filter(pk=package.pk).update(proof_due_at=None)
        digest = hashlib.sha256(document.data).hexdigest()
        _, made = Proof.objects.get_or_create(
            package=package,
            defaults={
                "tenant_id": package.tenant_id,
                "media_type": document.media_type[:60],
                "data": document.data,
                "sha256": digest,
                "size": len(document.data),
                "created_at": now,
            },
        )
        if made:
            told = {"tracking_number": package.tracking_number, "sha256": digest}
            audit.append_to_record(record, [audit.Draft("proof_stored", told, obj=package.shipment)])
    return int(made)


__all__ = ["fetch", "next_wait_s", "request", "want"]

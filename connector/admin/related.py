"""What else concerns a document, for its pages: findings of comparisons, and lines of carrier invoices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from connector.models import InvoiceLine, ReconciliationFinding, Shipment, SourceRecord
from connector.services.reconcile import findings
from connector.services.reconcile.kinds import KIND

SHOWN = 20


def related_context(record: SourceRecord, shipments: Sequence[Shipment]) -> dict[str, Any]:
    """Findings that stand, and lines of invoices that name one of these shipments of the document; two queries."""
    standing = ReconciliationFinding.objects.filter(record=record, state__in=findings.STANDING).order_by("first_seen_at", "pk")
    lines = InvoiceLine.objects.filter(shipment__in=[shipment.pk for shipment in shipments]).select_related("file")
    return {
        "related_findings": [(finding, KIND[finding.kind]) for finding in standing[:SHOWN]],
        "related_lines": list(lines.defer("cells", "file__header", "file__mapping").order_by("file", "row")[:SHOWN]),
    }

"""Shipments: found by any number, with their labels; void and buy again."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import TenantAdmin, TenantFilter, actor_of, badge
from connector.admin.transfers import IntegrationFilter
from connector.filters import ShipmentFilters
from connector.models import AuditEntry, Label, Reference, Shipment
from connector.services import shipments
from connector.services.shipments import MEDIA_SUFFIX, normalise

SENTENCES = {
    "active": "The carrier has made it and charges for it.",
    "voiding": "The carrier has been asked to cancel it and has not confirmed yet.",
    "voided": "The carrier has confirmed the cancellation.",
}
FILTER_NAMES = tuple(ShipmentFilters.base_filters)


@admin.register(Shipment)
class ShipmentAdmin(TenantAdmin):
    """The history of what was bought."""

    list_display = (
        "master_tracking_number", "document_number", "display_state", "service", "recipient_name", "display_cost", "ship_date",
        "display_written", "created_at",
    )  # fmt: skip
    list_filter = (IntegrationFilter, TenantFilter)
    search_fields = ("master_tracking_number",)
    search_help_text = "Tracking, document, order or reference number, from its beginning (at least 3 characters)"
    list_before_template = "connector/shipment_filters.html"
    list_select_related = ("tenant",)
    detail_template = "connector/shipment.html"
    acts = {"void": ("operate", "do_void"), "buy-again": ("operate", "do_buy_again")}

    def get_urls(self) -> list[URLPattern]:
        label = path(
            "<int:shipment_id>/label/<int:package_id>/", self.admin_site.admin_view(self.label_view), name="connector_label"
        )
        return [label, *super().get_urls()]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in FILTER_NAMES or super().lookup_allowed(lookup, value, request)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Any number, through References: equality or prefix, never a scan."""
        number = normalise(search_term)
        if not search_term.strip():
            return queryset, False
        if len(number) < 3:
            return queryset.none(), False
        found = permissions.scope(Reference.objects.filter(normalised__startswith=number), request.user)
        return queryset.filter(pk__in=found.values("shipment")), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        told = {name: request.GET.get(name, "") for name in FILTER_NAMES}
        request.mlc_filters = ShipmentFilters({k: v for k, v in told.items() if v})  # type: ignore[attr-defined]
        if any(told.values()) or any(name in request.GET for name in FILTER_NAMES):
            kept = request.GET.copy()
            for name in FILTER_NAMES:
                kept.pop(name, None)
            request.GET = kept  # type: ignore[assignment]
        return super().changelist_view(request, {"filters": request.mlc_filters, **(extra_context or {})})  # type: ignore[attr-defined]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        filters = getattr(request, "mlc_filters", None)
        if filters is not None and filters.is_valid():
            found = filters.filter_queryset(found)
        return found

    @display(description="State")
    def display_state(self, obj: Shipment) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    @display(description="Cost")
    def display_cost(self, obj: Shipment) -> str:
        return f"{obj.cost} {obj.currency}" if obj.cost is not None else "unknown"

    @display(description="In the ERP")
    def display_written(self, obj: Shipment) -> str:
        return "written" if obj.written_at else "not yet"

    # -- acts ------------------------------------------------------------------------------------------

    def do_void(self, request: HttpRequest, obj: Shipment) -> str:
        then = "rebuy" if request.POST.get("then") == "rebuy" else "clear"
        shipments.void_request(obj, then=then, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "The carrier is asked to cancel it." + (" A new label is bought afterwards." if then == "rebuy" else "")

    def do_buy_again(self, request: HttpRequest, obj: Shipment) -> str:
        shipments.buy_again(obj.record, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "A new label is bought as soon as the document has been read again."

    # -- pages -----------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: Shipment) -> dict[str, Any]:
        return {
            "sentence": SENTENCES[obj.state],
            "packages": obj.packages.select_related("label").defer("label__data"),
            "references": obj.references.order_by("kind", "value"),
            "entries": AuditEntry.objects.filter(chain=f"record:{obj.record_id}", tenant=obj.tenant_id).order_by("sequence")[
                :300
            ],
            "held": obj.record.held,
        }

    def label_view(self, request: HttpRequest, shipment_id: int, package_id: int) -> HttpResponse:
        """The label's bytes, with a type of our choosing and nothing that could act in the browser."""
        shipment = self.row(request, str(shipment_id))
        label = Label.objects.filter(package_id=package_id, package__shipment=shipment, tenant=shipment.tenant_id).first()
        if label is None:
            raise Http404
        known = label.readable and label.media_type in ("application/pdf", "image/png")
        response = HttpResponse(bytes(label.data), content_type=label.media_type if known else "application/octet-stream")
        name = re.sub(r"[^0-9A-Za-z]", "", shipment.master_tracking_number) or "label"
        suffix = MEDIA_SUFFIX.get(label.media_type, "bin")
        way = "inline" if known and "download" not in request.GET else "attachment"
        response["Content-Disposition"] = f'{way}; filename="label-{name}-{package_id}.{suffix}"'
        response["X-Content-Type-Options"] = "nosniff"
        response["Content-Security-Policy"] = "default-src 'none'; sandbox"
        response["Cache-Control"] = "private, no-store"
        response._csp_exempt = True  # type: ignore[attr-defined]
        return response

"""Shipments: found by any number, with their labels; void and buy again."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils import timezone
from unfold.views import ChangeList

from connector import asked, permissions
from connector.admin.base import TenantAdmin, actor_of, badge
from connector.admin.costs import CostPages, cost_context
from connector.admin.label_links import LinkPages, link_context
from connector.admin.month_end import MonthEndPages, csv_response
from connector.admin.rates import ask_for, quote_context
from connector.admin.related import related_context
from connector.admin.story import story_context
from connector.admin.voids import VoidPages
from connector.filters import ShipmentFilters
from connector.models import Export, Integration, Label, Proof, Reference, SavedFilter, Shipment, Transfer
from connector.services import attachments, deadlines, exports, history, lists, proofs, shipments, written
from connector.services.shipments import MEDIA_SUFFIX, NotPossible, normalise
from connector.times import moment
from connector.words import ATTENTION, document, number_meant
from integrations.base.tracking import FINAL

SENTENCES = {
    "active": "The carrier has made it and charges for it.",
    "voiding": "The carrier has been asked to cancel it and has not confirmed yet.",
    "voided": "The carrier has confirmed the cancellation.",
}
SHOWN_BY_BROWSERS = ("application/pdf", "image/png")
PRINTER_COMMANDS = ("application/zpl", "application/epl")
PLACES = ("after", "before")
WHOLE = "whole"
"""Look until the page is full, however long that takes."""


def query_of(told: QueryDict) -> str:
    """What of an address narrows or sorts the list, in one order; places and strange words left out."""
    names = sorted(["q", *ShipmentFilters.base_filters])
    return urlencode([(name, told[name]) for name in names if told.get(name)])


def shown(name: str) -> Any:
    """How a column of the history is shown in a list."""

    @display(description=history.COLUMNS[name])
    def column(obj: Shipment) -> Any:
        match name:
            case "state":
                return badge(obj.state, obj.get_state_display())
            case "status":
                return obj.status.replace("_", " ")
            case "cost":
                quoted = " (quoted)" if obj.cost_kind == Shipment.CostKind.QUOTED else ""
                return f"{obj.cost} {obj.currency}{quoted}" if obj.cost is not None else "unknown"
            case "cost_kind":
                return obj.get_cost_kind_display()
            case "written_at":
                told = "no field for the number" if getattr(obj, "without_number", False) else "written"
                return told if obj.written_at else "not yet"
            case "document_number":
                return document(obj.source_key)
        value = getattr(obj, name)
        return moment(value) if isinstance(value, dt.datetime) else value

    column.__name__ = name  # names the cell for the style sheet
    return column


class HistoryList(ChangeList):  # type: ignore[misc]
    """The list, narrowed by our own filters and turned page by page from where the last one ended."""

    def get_filters_params(self, params: Any = None) -> Any:
        """What Django's own list filters see: nothing of ours."""
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in ShipmentFilters.base_filters}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        self.places = {name: self.params.pop(name, "") for name in PLACES}
        self.whole = self.params.pop(WHOLE, "") == "1"
        for name in (*PLACES, WHOLE):
            self.filter_params.pop(name, None)
        self.filters = self.model_admin.filters_of(request, request.GET)
        self.tenants = self.filters.tenants
        self.known = history.suggestions(self.tenants)
        found: QuerySet[Any] = self.filters.narrowed(super().get_queryset(request, exclude_parameters))
        # The scope of all tenants names none: where one is shown, its indexes must lead.
        return found.filter(tenant=self.tenants[0]) if len(self.tenants) == 1 else found

    def get_results(self, request: HttpRequest) -> None:
        self.order = self.filters.order
        chosen = self.model_admin.columns_of(request)
        told = {"size": self.list_per_page, "tenants": self.tenants, "columns": chosen, "whole": self.whole}
        found = history.page(self.queryset, self.order, **told, **self.places)
        self.result_list = found.rows
        if "written_at" in chosen:
            unsaid = written.without_number(row.record_id for row in found.rows if row.written_at)
            for row in found.rows:
                row.without_number = row.record_id in unsaid  # type: ignore[attr-defined]
        self.reached = found.reached
        self.looking_back = bool(found.reached and self.places["before"])
        self.whole_url = self.get_query_string({**self.places, WHOLE: "1"}) if found.reached is not None else ""
        self.newer_url = self.get_query_string({"before": found.newer}) if found.newer else ""
        self.older_url = self.get_query_string({"after": found.older}) if found.older else ""
        self.first_url = self.get_query_string() if found.newer or (self.places["after"] and not found.rows) else ""
        # Django's own words for a page without counts.
        self.result_count = len(found.rows)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        # What the page keeps for this person.
        self.columns = [(name, title, name in chosen, name == history.FIXED) for name, title in history.COLUMNS.items()]
        self.saved = list(SavedFilter.objects.filter(user=request.user.pk, page=exports.PAGE))
        self.told = query_of(request.GET)


@admin.register(Shipment)
class ShipmentAdmin(CostPages, LinkPages, MonthEndPages, VoidPages, TenantAdmin):
    """The history of what was bought."""

    list_display = tuple(shown(name) for name in history.USUAL)
    change_list_template = "connector/shipment_list.html"
    search_fields = ("master_tracking_number",)
    search_help_text = "Tracking, document, order or reference number, from its beginning (at least 3 characters)"
    list_before_template = "connector/shipment_filters.html"
    detail_template = "connector/shipment.html"
    row_related = ("tenant", "record", "transfer__record", "transfer__integration")
    empty_title = "Nothing has been bought yet"
    empty_hint = "Labels appear here as soon as an integration is on and a document becomes ready in the ERP."
    empty_link = ("Integrations", reverse_lazy("admin:connector_integration_changelist"))
    acts = {
        "void": ("operate", "do_void"),
        "buy-again": ("operate", "do_buy_again"),
        "proof": ("operate", "do_proof"),
        "attach": ("operate", "do_attach"),
        "revoke-link": ("operate", "do_revoke_link"),
        "quote": ("operate", "do_quote"),
    }

    def get_urls(self) -> list[URLPattern]:
        label = path(
            "<int:shipment_id>/label/<int:package_id>/", self.admin_site.admin_view(self.label_view), name="connector_label"
        )
        kept = [
            path(way, self.admin_site.admin_view(view), name=f"connector_shipment_{name}")
            for way, view, name in (
                ("filters/save/", self.save_filter_view, "save_filter"),
                ("filters/<int:saved_id>/delete/", self.delete_filter_view, "delete_filter"),
                ("columns/", self.columns_view, "columns"),
                ("export/", self.export_view, "export"),
                ("exports/", self.exports_view, "exports"),
            )
        ]
        late = path("deadlines/", self.admin_site.admin_view(self.deadlines_view), name="connector_deadlines")
        proof = path(
            "<int:shipment_id>/proof/<int:package_id>/", self.admin_site.admin_view(self.proof_view), name="connector_proof"
        )
        return [label, proof, late, *kept, *super().get_urls()]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Any number, through References: equality or prefix, never a scan."""
        number = normalise(number_meant(search_term))
        if not search_term.strip():
            return queryset, False
        if len(number) < 3:
            return queryset.none(), False
        found = permissions.scope(Reference.objects.filter(normalised__startswith=number), request.user)
        # Named, because the index begins with the tenant: the owner's scope names none.
        tenants = getattr(request, "_mlc_tenants", None)
        found = found.filter(tenant__in=tenants) if tenants is not None and len(tenants) <= history.MERGED else found
        return history.bearing(queryset, found), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[HistoryList]:
        return HistoryList

    def filters_of(self, request: HttpRequest, told: Mapping[str, Any]) -> ShipmentFilters:
        """The filters that an address names, with choices of the user's tenants only."""
        given = {name: told.get(name, "") for name in ShipmentFilters.base_filters}
        filters = ShipmentFilters({k: v for k, v in given.items() if v}, tenants=permissions.tenants_for(request.user))
        request._mlc_tenants = filters.tenants  # type: ignore[attr-defined]
        return filters

    # -- what a person keeps -----------------------------------------------------------------------------

    def columns_of(self, request: HttpRequest) -> list[str]:
        """The columns this person chose; asked once per request."""
        found: list[str] | None = getattr(request, "_mlc_columns", None)
        if found is None:
            found = lists.columns_of(request.user, exports.PAGE, history.COLUMNS, history.USUAL)
            request._mlc_columns = found  # type: ignore[attr-defined]
        return found

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [shown(name) for name in self.columns_of(request)]

    def _kept(self, request: HttpRequest, query: str = "") -> HttpResponse:
        address = reverse("admin:connector_shipment_changelist")
        return HttpResponseRedirect(f"{address}?{query}" if query else address)

    def _told(self, request: HttpRequest) -> QueryDict:
        """The filters of the page that a button was pressed on. Raises PermissionDenied for whoever may not see it."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return QueryDict(query_of(QueryDict(request.POST.get("query", "")[: lists.LONGEST])))

    def save_filter_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the filters of this page under a name."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        told = self._told(request)
        try:
            if not self.filters_of(request, told).is_valid():
                raise NotPossible("A filter is wrong. Mend it first; then it can be kept.")
            kept = lists.save_filter(request.user, exports.PAGE, request.POST.get("name", ""), told.urlencode())
            messages.success(request, f"Kept as “{kept.name}”.")
        except NotPossible as error:
            messages.error(request, str(error))
        return self._kept(request, told.urlencode())

    def delete_filter_view(self, request: HttpRequest, saved_id: int) -> HttpResponse:
        """Forget a kept filter of this person."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        told = self._told(request)
        try:
            name = lists.delete_filter(request.user, exports.PAGE, saved_id)
        except SavedFilter.DoesNotExist:
            raise Http404 from None
        messages.success(request, f"“{name}” is deleted.")
        return self._kept(request, told.urlencode())

    def columns_view(self, request: HttpRequest) -> HttpResponse:
        """Choose the columns."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        told = self._told(request)
        usual = "usual" in request.POST
        chosen = [] if usual else history.chosen_columns(request.POST.getlist("column"))
        lists.choose_columns(request.user, exports.PAGE, chosen)
        messages.success(request, "The usual columns are shown." if usual else "These columns are shown from now on.")
        return self._kept(request, told.urlencode())

    # -- the file ----------------------------------------------------------------------------------------

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The list as a CSV file: every row that fits, written while it is downloaded."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        told = self._told(request)
        filters = self.filters_of(request, told)
        if not filters.is_valid():
            messages.error(request, "A filter is wrong. Mend it first; then the list can be downloaded.")
            return self._kept(request, told.urlencode())
        found, _ = self.get_search_results(request, self.get_queryset(request), told.get("q", ""))
        tenants = filters.tenants
        found = filters.narrowed(found.filter(tenant=tenants[0]) if len(tenants) == 1 else found)
        columns = list(history.COLUMNS) if "all_columns" in request.POST else self.columns_of(request)
        try:
            export = exports.begin(request.user, query=told.urlencode(), columns=columns)
        except NotPossible as error:
            messages.error(request, str(error))
            return self._kept(request, told.urlencode())
        zone = timezone.get_current_timezone()
        pieces = exports.write(export, found, filters.order, actor=actor_of(request), zone=zone, tenants=tenants)
        return csv_response(pieces, f"shipments-{timezone.localtime():%Y%m%d-%H%M%S}.csv")

    def exports_view(self, request: HttpRequest) -> HttpResponse:
        """How far this person's files are, as a piece of the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = list(Export.objects.filter(user=request.user.pk, page=exports.PAGE)[:5])
        return TemplateResponse(request, "connector/exports.html", {"exports": found})

    # -- acts ------------------------------------------------------------------------------------------

    def do_void(self, request: HttpRequest, obj: Shipment) -> str:
        then = "rebuy" if request.POST.get("then") == "rebuy" else "clear"
        shipments.void_request(obj, then=then, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "The carrier is asked to cancel it." + (" A new label is bought afterwards." if then == "rebuy" else "")

    def do_buy_again(self, request: HttpRequest, obj: Shipment) -> str:
        shipments.buy_again(obj.record, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "A new label is bought as soon as the document has been read again."

    def do_attach(self, request: HttpRequest, obj: Shipment) -> str:
        attachments.request(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "The label is hung on the ERP's record; nothing else is written. Look again in a moment."

    def do_proof(self, request: HttpRequest, obj: Shipment) -> str:
        number = proofs.request(obj, actor=actor_of(request))
        return f"The carrier is asked for {number} proof{'' if number == 1 else 's'} of delivery; look again in a minute."

    # -- pages -----------------------------------------------------------------------------------------

    def deadlines_view(self, request: HttpRequest) -> HttpResponse:
        """What should have happened by now, of all integrations this person sees or of one; all kinds or one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mine = permissions.scope(Integration.objects.all(), request.user)
        wanted = asked.number(request.GET.get("integration", ""))
        one = mine.filter(pk=wanted).first() if wanted is not None else None
        kind = request.GET.get("kind", "")
        found = deadlines.find(
            mine.filter(pk=one.pk) if one else mine, [kind] if kind in deadlines.KIND else list(deadlines.KIND)
        )
        response: HttpResponse = self.page(
            request,
            "connector/deadlines.html",
            title="Deadlines",
            found=[(f, f.rows[: deadlines.SHOWN], max(0, len(f.rows) - deadlines.SHOWN)) for f in found],
            nothing=not any(f.rows for f in found),
            kinds=deadlines.ALL,
            kind=kind,
            integration=one,
        )
        return response

    def do_quote(self, request: HttpRequest, obj: Shipment) -> str:
        return ask_for(obj.transfer, actor_of(request))

    def detail_context(self, request: HttpRequest, obj: Shipment) -> dict[str, Any]:
        told = story_context(obj.transfer)
        packages = list(obj.packages.select_related("label", "proof").defer("label__data", "proof__data"))
        unproven = (p for p in packages if p.status == "delivered" and not p.voided and getattr(p, "proof", None) is None)
        hung, labelled = attachments.of(obj, told["sends"]), [p.tracking_number for p in packages if hasattr(p, "label")]
        # The transfer's integration is the shipment's, and read already.
        place = str(obj.transfer.integration.options.get("attach_label") or "")
        return (
            told
            | cost_context(obj)
            | link_context(obj, packages)
            | quote_context(obj.transfer, obj)
            | related_context(obj.record, [obj])
            | {
                "sentence": SENTENCES[obj.state],
                "attention": ATTENTION.get(obj.transfer.attention or "", ""),
                "packages": packages,
                "proof_missing": any(unproven),
                "over": obj.state != Shipment.State.ACTIVE or obj.status in FINAL,
                "attached": hung,
                "may_attach": not attachments.why_not(obj, place, hung, labelled),
                "printer_commands": PRINTER_COMMANDS,
                "references": obj.references.order_by("kind", "value"),
                "held": obj.record.held,
                "void_at_work": _void_of(obj),
                "left_out": written.left_out(obj, told["writes"]) if obj.written_at else "",
            }
        )

    def label_view(self, request: HttpRequest, shipment_id: int, package_id: int) -> HttpResponse:
        """The label's bytes, with a type of our choosing and nothing that could act in the browser."""
        shipment = self.row(request, str(shipment_id))
        label = Label.objects.filter(package_id=package_id, package__shipment=shipment, tenant=shipment.tenant_id).first()
        if label is None:
            raise Http404
        number = re.sub(r"[^0-9A-Za-z]", "", shipment.master_tracking_number) or "label"
        return file_response(request, label, f"label-{number}-{package_id}", readable=label.readable)

    def proof_view(self, request: HttpRequest, shipment_id: int, package_id: int) -> HttpResponse:
        """The proof of delivery of one parcel, as careful as a label."""
        shipment = self.row(request, str(shipment_id))
        proof = Proof.objects.filter(package_id=package_id, package__shipment=shipment, tenant=shipment.tenant_id).first()
        if proof is None:
            raise Http404
        number = re.sub(r"[^0-9A-Za-z]", "", shipment.master_tracking_number) or "proof"
        return file_response(request, proof, f"delivery-{number}-{package_id}", readable=True)


def _void_of(shipment: Shipment) -> Transfer | None:
    """The unfinished work that voids this shipment: the only one there can be on its document."""
    if shipment.state != Shipment.State.VOIDING:
        return None
    return Transfer.objects.filter(record=shipment.record_id, flow="void", state__in=Transfer.UNFINISHED).first()


def file_response(request: HttpRequest, row: Label | Proof, name: str, *, readable: bool) -> HttpResponse:
    """A file of ours with a type of our choosing, and nothing that could act in the browser."""
    known = readable and row.media_type in SHOWN_BY_BROWSERS
    # Printer commands are text that no browser draws: they go to the printer as a file.
    text = readable and row.media_type in PRINTER_COMMANDS
    kind = row.media_type if known else "text/plain; charset=utf-8" if text else "application/octet-stream"
    response = HttpResponse(bytes(row.data), content_type=kind)
    suffix = MEDIA_SUFFIX.get(row.media_type, "bin")
    way = "inline" if known and "download" not in request.GET else "attachment"
    response["Content-Disposition"] = f'{way}; filename="{name}.{suffix}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    response._csp_exempt = True  # type: ignore[attr-defined]
    return response

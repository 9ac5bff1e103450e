"""Carrier invoice files: read, choose columns, look at the differences, apply, watch."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from connector import asked, permissions
from connector.admin.base import TenantAdmin, TenantFilter, actor_of, badge
from connector.models import Connection, InvoiceFile, InvoiceLine
from connector.services import invoice_reading, invoices
from connector.services.shipments import NotPossible
from connector.times import column
from integrations import registry
from integrations.base.vendor import Role

Line = InvoiceLine.State
SHOWN = 50


class UploadForm(forms.Form):
    """The file."""

    file = forms.FileField(label="Invoice file (CSV)", allow_empty_file=True, max_length=255)


def carriers(request: HttpRequest, act: permissions.Act = "operate") -> Any:
    """The carrier connections of this person's tenants whose invoices can be read."""
    carrying = [slug for slug in registry.slugs() if Role.CARRIER in registry.get(slug).roles]
    return permissions.scope(Connection.objects.filter(vendor__in=carrying), request.user, act).order_by("name", "pk")


@admin.register(InvoiceFile)
class InvoiceFileAdmin(TenantAdmin):
    """Each file is read once, looked at, and applied or put away."""

    list_display = ("name", "carrier", "display_state", "rows", "display_by", column("created_at", "Read"))
    list_filter = ("state", TenantFilter)
    list_select_related = ("carrier", "tenant")
    list_before_template = "connector/invoice_start.html"
    detail_template = "connector/invoice.html"
    empty_title = "No invoice file yet"
    empty_hint = (
        "Download the invoice as CSV from the carrier's billing pages and read it here: nothing is applied before you confirm."
    )
    acts = {
        "columns": ("operate", "do_columns"),
        "rule": ("operate", "do_rule"),
        "apply": ("operate", "do_apply"),
        "accept": ("operate", "do_accept"),
        "discard": ("operate", "do_discard"),
    }

    def get_urls(self) -> list[URLPattern]:
        new = path("new/<int:connection_id>/", self.admin_site.admin_view(self.new_view), name="connector_invoicefile_new")
        now = path("<int:pk>/progress/", self.admin_site.admin_view(self.progress_view), name="connector_invoicefile_progress")
        return [new, now, *super().get_urls()]

    @display(description="State")
    def display_state(self, obj: InvoiceFile) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    @display(description="By")
    def display_by(self, obj: InvoiceFile) -> str:
        return obj.created_by.removeprefix("user:")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a way to read a file for each carrier."""
        shown = {"carriers": list(carriers(request)[:20])} | (extra_context or {})
        return super().changelist_view(request, shown)

    # -- acts ------------------------------------------------------------------------------------------

    def do_columns(self, request: HttpRequest, obj: InvoiceFile) -> str:
        names = (*invoice_reading.TARGETS, "point", "fixed_currency")
        invoices.choose(obj, {name: request.POST.get(name, "")[:100] for name in names}, actor=actor_of(request))
        return "The rows are read by these columns. Nothing is applied yet."

    def do_rule(self, request: HttpRequest, obj: InvoiceFile) -> str:
        told = request.POST.get("tolerance", "").strip()
        try:
            tolerance = Decimal(told) if told else None
        except InvalidOperation:
            raise NotPossible("Enter the largest difference as an amount, such as 5.00.") from None
        if tolerance is not None and (not tolerance.is_finite() or abs(tolerance) > invoice_reading.LARGEST):
            raise NotPossible("Enter the largest difference as an amount, such as 5.00.")
        invoices.set_rule(obj, request.POST.get("rule", ""), tolerance, actor=actor_of(request))
        return "The differences are sorted by this rule. Nothing is applied yet."

    def do_apply(self, request: HttpRequest, obj: InvoiceFile) -> str:
        invoices.apply(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "It is being applied; the page shows how far it is."

    def do_accept(self, request: HttpRequest, obj: InvoiceFile) -> str:
        shipment = asked.number(request.POST.get("shipment", ""))
        if shipment is None:
            raise NotPossible("Choose a shipment.")
        mine = InvoiceLine.objects.filter(file=obj, shipment=shipment, state__in=(Line.HELD, Line.READY))
        if not mine.exists():
            raise NotPossible("Nothing of this shipment is left to apply.")
        invoices.accept(obj, shipment, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Applied."

    def do_discard(self, request: HttpRequest, obj: InvoiceFile) -> str:
        invoices.discard(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Put away. Nothing more of it is applied."

    # -- pages -----------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: InvoiceFile) -> dict[str, Any]:
        found = invoices.counts(obj)
        chosen = request.GET.get("state", "")
        chosen = chosen if chosen in Line.values else next((s for s in ("held", "ready", "applied") if s in found), "wrong")
        place = asked.number(request.GET.get("after", "")) or 0
        shown: dict[str, Any] = {"chosen": chosen, "chosen_words": Line(chosen).label}
        if chosen in (Line.HELD, Line.READY):
            told = invoices.differences(obj, chosen, after=place, size=SHOWN)
            shown |= {"differences": told[:SHOWN], "more": told[SHOWN - 1].shipment.pk if len(told) > SHOWN else None}
        else:
            mine = obj.lines.filter(state=chosen, row__gt=place).select_related("shipment").defer("cells")
            lines = list(mine.order_by("row")[: SHOWN + 1])
            shown |= {"lines": lines[:SHOWN], "more": lines[SHOWN - 1].row if len(lines) > SHOWN else None}
        return shown | self.progress_of(obj, found) | self.columns_of(obj)

    def progress_of(self, obj: InvoiceFile, found: dict[str, tuple[int, int]]) -> dict[str, Any]:
        """How many lines stand where."""
        ready, applied = (found.get(state, (0, 0))[0] for state in (Line.READY, Line.APPLIED))
        counts = [(state, Line(state).label, *found[state]) for state in Line.values if state in found]
        return {
            "counts": counts,
            "held": Line.HELD in found,
            "ready": ready,
            "applied": applied,
            "moving": obj.state == InvoiceFile.State.APPLYING,
        }

    def columns_of(self, obj: InvoiceFile) -> dict[str, Any]:
        """The choice of columns, with what the first rows hold, while the rows are still there."""
        if obj.state not in (InvoiceFile.State.COLUMNS, InvoiceFile.State.READY):
            return {}
        first = [line.cells or [] for line in obj.lines.order_by("row")[:3]]
        samples = {
            heading: ", ".join(cells[place][:30] for cells in first if place < len(cells) and cells[place])
            for place, heading in enumerate(obj.header)
        }
        fields = [
            (name, title, name in invoice_reading.REQUIRED, obj.mapping.get(name, ""))
            for name, title in invoice_reading.TARGETS.items()
        ]
        return {
            "fields": fields,
            "headings": [(heading, samples[heading][:80]) for heading in obj.header],
            "points": invoice_reading.POINTS.items(),
            "point": obj.mapping.get("point", "."),
            "fixed_currency": obj.mapping.get("fixed_currency", ""),
            "delimiter": invoice_reading.DELIMITERS.get(obj.delimiter, obj.delimiter),
        }

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The moving part of the page alone."""
        obj = self.row(request, str(pk))
        return self.page(request, "connector/invoice_progress.html", obj, **self.progress_of(obj, invoices.counts(obj)))

    def new_view(self, request: HttpRequest, connection_id: int) -> HttpResponseBase:
        """GET: the form. POST: read a file; nothing of it is applied."""
        scoped = carriers(request, "view").select_related("tenant")
        connection = get_object_or_404(scoped, pk=connection_id)
        if not permissions.can(request.user, "operate", connection.tenant_id):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_bound and form.is_valid():
            given = form.cleaned_data["file"]
            try:
                if given.size > invoice_reading.MOST_BYTES:
                    raise NotPossible(f"The file is larger than {invoice_reading.MOST_BYTES // 1_000_000} MB.")
                made = invoices.take(connection, given.name, given.read(), actor=actor_of(request))
            except NotPossible as error:
                messages.error(request, str(error))
            else:
                messages.success(request, "Read. Nothing is applied yet.")
                return HttpResponseRedirect(reverse("admin:connector_invoicefile_change", args=[made.pk]))
        return self.page(
            request,
            "connector/invoice_new.html",
            form=form,
            connection=connection,
            most=invoice_reading.MOST_BYTES // 1_000_000,
            rows=invoice_reading.MOST_ROWS,
            title=f"Read an invoice of {connection}",
        )

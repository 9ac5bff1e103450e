"""Freight cost at month end: the page and its file; mixed into the shipments' admin."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from connector import permissions
from connector.admin.base import actor_of
from connector.models import Connection, Export, Integration, Tenant
from connector.services import clock, exports, lists, month_end
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base.vendor import Role

PAGE = "costs"
SUMS = 100
"""Groups shown; those of all are in what stands below them."""
DAY = forms.DateInput(attrs={"type": "date"})


class MonthEndForm(forms.Form):
    """Which lines: one tenant, a period of at most a year, and equality on what finance sorts by."""

    tenant = forms.ChoiceField(label="Tenant", required=False)
    first = forms.DateField(label="From", widget=DAY)
    last = forms.DateField(label="To", widget=DAY)
    by = forms.ChoiceField(label="Period of", choices=[("made", "Labels made"), ("shipped", "Ship dates")], required=False)
    company_code = forms.CharField(label="Company code", max_length=40, required=False)
    account = forms.CharField(label="Account", max_length=40, required=False)
    cost_center = forms.CharField(label="Cost centre", max_length=40, required=False)
    carrier = forms.ChoiceField(label="Carrier", required=False)
    integration = forms.ChoiceField(label="Integration", required=False)
    state = forms.ChoiceField(label="State", choices=[("", "Any"), *month_end.STATES.items()], required=False)

    def __init__(self, told: Any, tenants: list[Tenant], tenant: Tenant) -> None:
        super().__init__(told)
        self.chosen = tenant
        if len(tenants) > 1:
            self.fields["tenant"].choices = [(str(t.pk), t.name) for t in tenants]  # type: ignore[attr-defined]
        else:
            del self.fields["tenant"]
        carrying = [slug for slug in registry.slugs() if Role.CARRIER in registry.get(slug).roles]
        carriers = Connection.objects.filter(tenant=tenant, vendor__in=carrying).order_by("name")
        flows = Integration.objects.filter(tenant=tenant).order_by("name")
        for name, rows in (("carrier", carriers), ("integration", flows)):
            found = [("", "Any"), *((str(pk), title) for pk, title in rows.values_list("pk", "name"))]
            self.fields[name].choices = found  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any] | None:
        told = super().clean() or {}
        first, last = told.get("first"), told.get("last")
        if first and last and last < first:
            self.add_error("last", "It lies before the first day. Enter the same day or a later one.")
        elif first and last and (last - first).days >= month_end.LONGEST_DAYS:
            self.add_error("last", f"At most {month_end.LONGEST_DAYS} days at once.")
        elif first and last and not dt.date(1970, 1, 2) <= first <= last <= dt.date(9000, 1, 1):
            self.add_error("first", "Nothing was made then.")
        return told

    @property
    def wanted(self) -> month_end.Wanted:
        """What a valid form asks for."""
        told = self.cleaned_data
        return month_end.Wanted(
            self.chosen,
            told["first"],
            told["last"],
            told.get("by") or "made",
            company_code=told.get("company_code", "").strip(),
            account=told.get("account", "").strip(),
            cost_center=told.get("cost_center", "").strip(),
            carrier=int(told["carrier"]) if told.get("carrier") else None,
            integration=int(told["integration"]) if told.get("integration") else None,
            state=told.get("state") or "",
        )


NAMES = tuple(MonthEndForm.base_fields)


def last_month(tenant: Tenant) -> tuple[dt.date, dt.date]:
    """First and last day of the month before the present one, in the tenant's zone."""
    today = clock.local_now().astimezone(zoneinfo.ZoneInfo(tenant.timezone)).date()
    last = today.replace(day=1) - dt.timedelta(days=1)
    return last.replace(day=1), last


def this_month(tenant: Tenant) -> tuple[dt.date, dt.date]:
    """First day of the present month and today, in the tenant's zone."""
    today = clock.local_now().astimezone(zoneinfo.ZoneInfo(tenant.timezone)).date()
    return today.replace(day=1), today


class MonthEndPages:
    """The month-end page; mixed into the shipments' admin."""

    admin_site: Any
    page: Any
    has_view_permission: Any

    def get_urls(self) -> list[URLPattern]:
        views = (
            ("costs/", self.costs_view, "costs"),
            ("costs/export/", self.costs_export_view, "costs_export"),
            ("costs/exports/", self.costs_exports_view, "costs_exports"),
        )
        found = [path(way, self.admin_site.admin_view(view), name=f"connector_{name}") for way, view, name in views]
        return [*found, *super().get_urls()]  # type: ignore[misc]

    def _form(self, request: HttpRequest, told: QueryDict) -> MonthEndForm | None:
        """The filters an address names, for a tenant that the user may see; None where he sees none."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        tenants = list(permissions.scope(Tenant.objects.order_by("name", "pk"), request.user, lookup="pk"))
        if not tenants:
            return None
        asked = told.get("tenant", "")
        tenant = next((t for t in tenants if str(t.pk) == asked), tenants[0])
        first, last = last_month(tenant)
        given = {"first": first.isoformat(), "last": last.isoformat(), "by": "made", "tenant": str(tenant.pk)}
        given |= {name: str(told[name]) for name in NAMES if told.get(name)}
        return MonthEndForm(given, tenants, tenant)

    def costs_view(self, request: HttpRequest) -> HttpResponseBase:
        """Lines and sums of a period."""
        form = self._form(request, request.GET)
        shown: dict[str, Any] = {}
        if form is not None and form.is_valid():
            wanted = form.wanted
            timezone.activate(wanted.zone)
            after, before = (request.GET.get(name, "")[:60] for name in ("after", "before"))
            shown = {"found": month_end.page(wanted, after=after, before=before), "wanted": wanted}
            first, today = this_month(form.chosen)
            shown["this_month"] = urlencode({"first": first.isoformat(), "last": today.isoformat(), "tenant": form.chosen.pk})
            if not after and not before:
                totals = month_end.totals(wanted)
                shown |= {"totals": totals[:SUMS], "together": month_end.together(totals) if len(totals) > 1 else []}
                shown["more_totals"] = max(0, len(totals) - SUMS)
        told = [(name, value) for name, value in form.data.items() if value] if form is not None else []
        response: HttpResponseBase = self.page(
            request, "connector/month_end.html", title="Month end", form=form, query=urlencode(told), **shown
        )
        return response

    def costs_export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Every line that fits as a CSV file, written while it is downloaded."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        told = QueryDict(request.POST.get("query", "")[: lists.LONGEST])
        form = self._form(request, told)
        back = HttpResponseRedirect(f"{reverse('admin:connector_costs')}?{told.urlencode()}")
        if form is None or not form.is_valid():
            messages.error(request, "A filter is wrong. Mend it first; then the list can be downloaded.")
            return back
        wanted = form.wanted
        try:
            export = exports.begin(request.user, query=told.urlencode(), columns=month_end.HEADER, page=PAGE)
        except NotPossible as error:
            messages.error(request, str(error))
            return back
        pieces = exports.stream(export, month_end.header(wanted.zone), month_end.file_lines(wanted), actor=actor_of(request))
        return csv_response(pieces, f"freight-cost-{wanted.first:%Y%m%d}-{wanted.last:%Y%m%d}.csv")

    def costs_exports_view(self, request: HttpRequest) -> HttpResponse:
        """How far this person's files are, as a piece of the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = list(Export.objects.filter(user=request.user.pk, page=PAGE)[:5])
        return TemplateResponse(request, "connector/exports.html", {"exports": found})


def csv_response(pieces: Any, name: str) -> StreamingHttpResponse:
    """A file that is written while it is downloaded, and kept by nobody on the way."""
    response = StreamingHttpResponse(pieces, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    # A proxy that collects the whole file first would hide how far it is, and that it broke off.
    response["X-Accel-Buffering"] = "no"
    return response

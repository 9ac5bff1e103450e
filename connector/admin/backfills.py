"""Back-fills: preview a period, confirm, watch, stop."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import TenantAdmin, TenantFilter, actor_of, badge
from connector.models import Backfill, Integration
from connector.services import backfill
from connector.services.shipments import NotPossible
from connector.times import column


class PeriodForm(forms.Form):
    """First and last document date, both included."""

    first = forms.DateField(label="From document date", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="To document date", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any] | None:
        told = super().clean()
        if told and told.get("first") and told.get("last") and told["last"] < told["first"]:
            self.add_error("last", "It lies before the first day. Enter the same day or a later one.")
        return told


@admin.register(Backfill)
class BackfillAdmin(TenantAdmin):
    """Begun from an integration's page."""

    list_display = (
        "display_period",
        "integration",
        "display_state",
        "begun",
        "total",
        "display_by",
        column("created_at", "Begun"),
    )
    list_display_links = ("display_period",)
    list_filter = ("state", TenantFilter)
    list_select_related = ("integration", "tenant")
    detail_template = "connector/backfill.html"
    empty_title = "No back-fill yet"
    empty_hint = "A back-fill ships documents from before an integration's start. It begins on the integration's page."
    empty_link = ("Integrations", reverse_lazy("admin:connector_integration_changelist"))
    acts = {"stop": ("operate", "do_stop")}

    def get_urls(self) -> list[URLPattern]:
        new = path("new/<int:integration_id>/", self.admin_site.admin_view(self.new_view), name="connector_backfill_new")
        now = path("<int:pk>/progress/", self.admin_site.admin_view(self.progress_view), name="connector_backfill_progress")
        return [new, now, *super().get_urls()]

    @display(description="Document dates")
    def display_period(self, obj: Backfill) -> str:
        return str(obj)

    @display(description="State")
    def display_state(self, obj: Backfill) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    @display(description="By")
    def display_by(self, obj: Backfill) -> str:
        return obj.created_by.removeprefix("user:")

    def do_stop(self, request: HttpRequest, obj: Backfill) -> str:
        backfill.stop(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Stopped. What had begun is finished; the rest stays as it was."

    def detail_context(self, request: HttpRequest, obj: Backfill) -> dict[str, Any]:
        told = backfill.progress(obj)
        return {
            "progress": told,
            "moving": obj.state == Backfill.State.RUNNING or bool({"waiting", "running"} & set(told)),
            "settled": sum(n for state, n in told.items() if state in ("done", "skipped", "cancelled")),
        }

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The moving part of the page alone."""
        obj = self.row(request, str(pk))
        return self.page(request, "connector/backfill_progress.html", obj, **self.detail_context(request, obj))

    def new_view(self, request: HttpRequest, integration_id: int) -> HttpResponseBase:
        """GET: the period, and what it would do. POST: begin."""
        scoped = permissions.scope(Integration.objects.select_related("tenant"), request.user)
        integration = get_object_or_404(scoped, pk=integration_id)
        if not permissions.can(request.user, "operate", integration.tenant_id):
            raise PermissionDenied
        given = request.POST if request.method == "POST" else request.GET if "first" in request.GET else None
        form = PeriodForm(given)
        expected = None
        if form.is_bound and form.is_valid():
            period = (form.cleaned_data["first"], form.cleaned_data["last"])
            if request.method == "POST":
                try:
                    made = backfill.start(
                        integration, *period, actor=actor_of(request), reason=request.POST.get("reason", "")[:300]
                    )
                except NotPossible as error:
                    messages.error(request, str(error))
                else:
                    messages.success(request, "Begun. Newer documents go first.")
                    return HttpResponseRedirect(reverse("admin:connector_backfill_change", args=[made.pk]))
            expected = backfill.preview(integration, *period)
        return self.page(
            request,
            "connector/backfill_new.html",
            form=form,
            integration=integration,
            expected=expected,
            title=f"Ship older documents: {integration}",
        )

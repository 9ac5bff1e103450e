"""Reconciliation: what comparisons of ERP, carrier and our own books found, with the one remedy of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.safestring import SafeString

from connector import asked, permissions
from connector.admin.base import TenantAdmin, TenantFilter, actor_of, badge
from connector.models import Integration, ReconciliationFinding, ReconciliationRun
from connector.services.reconcile import findings, remedies
from connector.services.reconcile.kinds import ALL, KIND, REMEDIES
from connector.services.reconcile.phases import WORDS
from connector.times import column, moment
from connector.words import document

SHOWN = 100
INTEGRATIONS = reverse_lazy("admin:connector_integration_changelist")


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(TenantAdmin):
    """Begun from an integration's page, by the clock, or by the command."""

    list_display = ("display_begun", "integration", "display_state", "compared", "found", "appeared", "gone", "calls", "asked")
    list_display_links = ("display_begun",)
    list_filter = ("state", TenantFilter)
    list_select_related = ("integration", "tenant")
    detail_template = "connector/comparison.html"
    empty_title = "Nothing has been compared yet"
    empty_hint = "A comparison begins on an integration's page, or every day at the time given among its options."
    empty_link = ("Integrations", INTEGRATIONS)

    def get_urls(self) -> list[URLPattern]:
        now = path("<int:pk>/progress/", self.admin_site.admin_view(self.progress_view), name="connector_comparison_progress")
        return [now, *super().get_urls()]

    @display(description="Begun")
    def display_begun(self, obj: ReconciliationRun) -> SafeString | str:
        return moment(obj.started_at)

    @display(description="State")
    def display_state(self, obj: ReconciliationRun) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    @display(description="By")
    def asked(self, obj: ReconciliationRun) -> str:
        return "the clock" if obj.scheduled else obj.asked_by.removeprefix("user:")

    def detail_context(self, request: HttpRequest, obj: ReconciliationRun) -> dict[str, Any]:
        return {
            "title": f"Comparison of {obj.integration}",
            "moving": obj.state == ReconciliationRun.State.RUNNING,
            "phase": WORDS.get(obj.phase, ""),
            "most": max(obj.total, obj.compared),
            "counts": findings.counts([obj.integration_id]),
        }

    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The moving part of the page alone."""
        obj = self.row(request, str(pk))
        return self.page(request, "connector/comparison_progress.html", obj, **self.detail_context(request, obj))


@admin.register(ReconciliationFinding)
class ReconciliationFindingAdmin(TenantAdmin):
    """One page for all that is open, by kind; one for each finding, which shows the three values and the remedy."""

    list_display = (
        "display_title",
        "number",
        "display_document",
        "integration",
        "display_state",
        column("first_seen_at", "First seen"),
    )
    list_display_links = ("display_title",)
    list_filter = ("state", TenantFilter)
    list_select_related = ("integration", "tenant")
    detail_template = "connector/finding.html"
    empty_title = "No finding"
    empty_hint = "Findings come from comparisons, which begin on an integration's page."
    empty_link = ("Integrations", INTEGRATIONS)
    acts = {"remedy": ("operate", "do_remedy")}

    def get_urls(self) -> list[URLPattern]:
        return [path("open/", self.admin_site.admin_view(self.open_view), name="connector_findings"), *super().get_urls()]

    @display(description="What")
    def display_title(self, obj: ReconciliationFinding) -> str:
        return KIND[obj.kind].title

    @display(description="Document")
    def display_document(self, obj: ReconciliationFinding) -> str:
        return document(obj.source_key)

    @display(description="State")
    def display_state(self, obj: ReconciliationFinding) -> SafeString:
        return badge(obj.state, obj.get_state_display())

    def do_remedy(self, request: HttpRequest, obj: ReconciliationFinding) -> str:
        if not self.may(request, REMEDIES[obj.remedy].right, obj):
            raise PermissionDenied
        return remedies.apply(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        if request.POST.get("back") == "open":
            return reverse("admin:connector_findings")
        return super().after_act(request, obj)

    def detail_context(self, request: HttpRequest, obj: ReconciliationFinding) -> dict[str, Any]:
        remedy = REMEDIES[obj.remedy]
        return {
            "title": KIND[obj.kind].title,
            "kind": KIND[obj.kind],
            "remedy": remedy,
            "may": self.may(request, remedy.right, obj),
            "standing": obj.state in findings.STANDING,
        }

    def open_view(self, request: HttpRequest) -> HttpResponse:
        """What is open, by kind, of all integrations this person sees or of one."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mine = permissions.scope(Integration.objects.select_related("tenant").order_by("name"), request.user)
        wanted, kind = asked.number(request.GET.get("integration", "")), request.GET.get("kind", "")
        one = mine.filter(pk=wanted).first() if wanted is not None else None
        chosen = mine.filter(pk=one.pk) if one is not None else mine
        counts = findings.counts(chosen.order_by().values("pk"))
        sections = []
        for count in counts:
            if kind in KIND and count.kind.name != kind:
                continue
            rows = ReconciliationFinding.objects.filter(integration__in=chosen, kind=count.kind.name, state=findings.State.OPEN)
            shown = list(
                rows.select_related("integration", "tenant", "shipment", "transfer").order_by("first_seen_at", "pk")[:SHOWN]
            )
            lines = [(row, REMEDIES[row.remedy], self.may(request, REMEDIES[row.remedy].right, row)) for row in shown]
            does = list(dict.fromkeys(remedy for _, remedy, _ in lines))
            sections.append((count, lines, does, max(0, count.number - len(shown))))
        return self.page(
            request,
            "connector/findings.html",
            title="Reconciliation",
            sections=sections,
            kinds=[count.kind for count in counts],
            kind=kind if kind in KIND else "",
            integration=one,
            all_kinds=ALL,
            known=ReconciliationFinding.objects.filter(integration__in=chosen, state=findings.State.KNOWN).count(),
            last=ReconciliationRun.objects.filter(integration__in=chosen).order_by("-pk").first(),
            may_compare=permissions.can_somewhere(request.user, "operate"),
        )

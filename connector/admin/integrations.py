"""Integrations: on, off, run now, stop buying; what they do when."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import ROW_FORM, TenantFilter, actor_of, badge
from connector.admin.mappings import MappingPages
from connector.admin.rates import RatePages
from connector.forms import KindForm
from connector.forms.fields import place_errors
from connector.forms.meanwhile import Merged, Seen, merge
from connector.forms.setup import IntegrationForm, integration_initial
from connector.models import Baseline, FlowState, Integration, Pause, ReconciliationRun, SourceRecord, Tenant
from connector.services import audit, clock, cursors, overview, schedules, switches, wake
from connector.services.configuration import saving
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.configuration.saving import IntegrationInput
from connector.services.reconcile import findings, runs
from connector.services.shipments import NotPossible
from connector.times import moment
from integrations.flows.table import KINDS


def chosen_options(obj: Integration) -> list[tuple[str, str]]:
    """The options that were set, by the words of their fields and in the form's order; what a newer release knew, by its name."""
    labels = {option.name: option.label for option in KINDS[obj.kind].options}
    names = [*(name for name in labels if name in obj.options), *(name for name in obj.options if name not in labels)]
    return [(labels.get(name, name), option_words(obj.options[name])) for name in names]


def option_words(value: Any) -> str:
    """An option's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value in (None, "") else str(value)


@admin.register(Integration)
class IntegrationAdmin(RatePages, MappingPages):
    """What moves between which connections."""

    list_display = ("name", "display_kind", "display_state", "display_open", "display_last", "display_run")
    list_display_links = ("name",)
    list_filter = (TenantFilter,)
    ordering = ("name",)
    list_before_template = ROW_FORM
    list_select_related = ("source", "target", "tenant")
    hints = ("A new integration starts from now: what stood ready before is never shipped by itself.",)
    detail_template = "connector/integration.html"
    act_columns = frozenset({"display_run"})
    empty_title = "No integration yet"
    empty_hint = "An integration says which records go from which connection to which. It needs two connections first."
    empty_link = ("Connections", reverse_lazy("admin:connector_connection_changelist"))
    acts = {
        "on": ("operate", "do_on"),
        "off": ("operate", "do_off"),
        "run": ("operate", "do_run"),
        "stop-buying": ("operate", "do_stop"),
        "allow-buying": ("operate", "do_allow"),
        "compare": ("operate", "do_compare"),
        "map-value": ("operate", "do_map_value"),
        "look-again": ("administer", "do_look_again"),
    }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/edit/", view(self.edit_view), name="connector_integration_edit"),
            path("<int:pk>/mappings/", view(self.mappings_view), name="connector_integration_mappings"),
            path("add/<slug:kind>/<int:tenant_id>/", view(self.new_view), name="connector_integration_new"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can_somewhere(request.user, "operate")

    @display(description="What")
    def display_kind(self, obj: Integration) -> str:
        return KINDS[obj.kind].label if obj.kind in KINDS else obj.kind

    @display(description="State")
    def display_state(self, obj: Integration) -> SafeString:
        if not obj.enabled:
            return badge("skipped", "Off")
        if overview.paused_scopes(obj):
            return badge("paused", "Paused")
        return badge("warning", "On, buying stopped") if obj.stop_buying else badge("ok", "On")

    @display(description="Unfinished")
    def display_open(self, obj: Integration) -> str:
        return ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in overview.open_counts(obj).items() if n) or "none"

    @display(description="Last look")
    def display_last(self, obj: Integration) -> Any:
        return moment(FlowState.objects.filter(integration=obj, flow="ship").values_list("last_good_poll_at", flat=True).first())

    @display(description="")
    def display_run(self, obj: Integration) -> SafeString | str:
        return self.row_button(obj, "run", "Run now") if obj.enabled else self.row_button(obj, "on", "Switch on")

    # -- acts ------------------------------------------------------------------------------------------

    def do_on(self, request: HttpRequest, obj: Integration) -> str:
        switches.integration_switch(obj, True, actor_of(request), request.POST.get("reason", ""))
        return "Switched on. It first notes what stands ready already."

    def do_off(self, request: HttpRequest, obj: Integration) -> str:
        switches.integration_switch(obj, False, actor_of(request), request.POST.get("reason", ""))
        return "Switched off. Nothing is forgotten."

    def do_run(self, request: HttpRequest, obj: Integration) -> str:
        if not obj.enabled:
            raise NotPossible("It is switched off. Switch it on first.")
        for flow in KINDS[obj.kind].flows:
            if flow.available:
                wake.poll(obj.pk, flow.name)
        wake.work()
        audit.append(obj.tenant, audit.Draft("run_now", {}, obj=obj, actor=actor_of(request)))
        return "It runs now."

    def do_stop(self, request: HttpRequest, obj: Integration) -> str:
        switches.stop_buying("integration", obj, True, actor_of(request), request.POST.get("reason", ""))
        return "Buying is stopped. Look-ups and write-backs go on."

    def do_allow(self, request: HttpRequest, obj: Integration) -> str:
        switches.stop_buying("integration", obj, False, actor_of(request), request.POST.get("reason", ""))
        return "Buying is allowed again; what was held goes on."

    def do_compare(self, request: HttpRequest, obj: Integration) -> str:
        run = runs.start(obj, actor=actor_of(request))
        return f"ERP, carrier and this system are compared, back to {run.since}. It goes on by itself."

    def do_look_again(self, request: HttpRequest, obj: Integration) -> str:
        days = request.POST.get("days", "").strip()
        if request.POST.get("how") != "days":
            wanted = None
        elif days.isdecimal() and len(days) < 6:
            wanted = int(days)
        else:
            raise NotPossible("Enter the number of days to look back.")
        flow, reason = request.POST.get("flow", ""), request.POST.get("reason", "")
        cursors.look_again(obj, flow, wanted, actor=actor_of(request), reason=reason)
        return "It looks again now. What stood ready before the start stays where it is."

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        if request.POST.get("back") == "simulators":
            return reverse("admin:connector_simulators")
        return super().after_act(request, obj)

    # -- pages -----------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: Integration) -> dict[str, Any]:
        zone = zoneinfo.ZoneInfo(obj.tenant.timezone)
        now = clock.local_now()
        states = {s.flow: s for s in FlowState.objects.filter(integration=obj)}
        flows = []
        for flow in KINDS[obj.kind].flows:
            state = states.get(flow.name)
            runs: list[Any] = []
            if flow.available and obj.enabled:
                runs = schedules.next_runs(
                    schedules.merged_schedule(obj, flow.name), zone, 5, now, state.last_poll_at if state else None
                )
            flows.append((flow, state, runs, cursors.standing(obj, state) if cursors.polls(flow) else None))
        concerned = Q(connection_id__in=(obj.source_id, obj.target_id)) | Q(integration=obj)
        return {
            "kind": KINDS[obj.kind],
            "options": chosen_options(obj),
            "flows": flows,
            "open": overview.open_counts(obj),
            "pauses": Pause.objects.filter(concerned).exclude(state="ended"),
            "baselines": Baseline.objects.filter(integration=obj).order_by("-completed_at")[:20],
            "comparison": ReconciliationRun.objects.filter(integration=obj).order_by("-pk").first(),
            "findings": findings.counts([obj.pk]),
            "backfills": obj.backfills.order_by("-pk")[:5],
            "before_start": SourceRecord.objects.filter(integration=obj, before_start=True)[:1001].count(),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Which kind, which tenant."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        tenants = permissions.scope(Tenant.objects.order_by("name"), request.user, "operate", "pk")
        form = KindForm(request.GET if "kind" in request.GET else None, tenants=tenants)
        if form.is_bound and form.is_valid():
            chosen = form.cleaned_data
            return HttpResponseRedirect(reverse("admin:connector_integration_new", args=[chosen["kind"], chosen["tenant"].pk]))
        return self.page(request, "connector/first_question.html", form=form, title="New integration")

    def new_view(self, request: HttpRequest, kind: str, tenant_id: int) -> HttpResponseBase:
        """The form of a new integration."""
        if kind not in KINDS or not KINDS[kind].available or not permissions.can(request.user, "operate", tenant_id):
            raise PermissionDenied
        return self._form(request, kind, get_object_or_404(Tenant, pk=tenant_id), None)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form of an existing one."""
        obj = self.row(request, str(pk))
        if not self.may(request, "operate", obj):
            raise PermissionDenied
        return self.edited(request, obj, lambda fresh: self._form(request, fresh.kind, fresh.tenant, fresh))

    def _form(self, request: HttpRequest, kind: str, tenant: Tenant, existing: Integration | None) -> HttpResponseBase:
        # Mappings have a page of their own, which shows first what a change does.
        blocks = ("company_codes", "schedule", "options")
        built: dict[str, Any] = {"kind": KINDS[kind], "tenant": tenant, "existing": existing}
        built["initial"] = integration_initial(KINDS[kind], existing)
        form = IntegrationForm(None, **built)
        seen = Seen(form) if existing is not None else None
        merged = Merged(request.POST)
        if request.method == "POST":
            merged = merge(request.POST, seen) if seen is not None else merged
            form = IntegrationForm(merged.data, **built)
            form.full_clean()
            merged.tell(form)
        if form.is_bound and form.is_valid():
            told = form.cleaned_data
            entered = IntegrationInput(
                slug=told.get("slug", ""),
                tenant=tenant.slug,
                kind=kind,
                name=told["name"],
                source=told["source"].slug,
                target=told["target"].slug,
                start_from=told["start_from"],
                **{name: told[name] for name in blocks},
            )
            try:
                saved = saving.integration_save(entered, actor_of(request), existing)
            except InvalidConfiguration as error:
                place_errors(form, error.errors, form.error_places)
            else:
                messages.success(request, f"Saved. {merged.news}" if existing else "Saved. It is off until you switch it on.")
                return HttpResponseRedirect(reverse("admin:connector_integration_change", args=[saved.pk]))
        return self.page(
            request,
            "connector/form.html",
            existing,
            form=form,
            seen=seen,
            title=f"Edit {existing}" if existing else "New integration",
        )

"""Connections: forms from the manifest, secrets written and never shown, ping."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import ROW_FORM, TenantAdmin, TenantFilter, actor_of, badge
from connector.admin.budgets import BudgetPages
from connector.forms import VendorForm
from connector.forms.fields import place_errors
from connector.forms.meanwhile import Merged, Seen, merge
from connector.forms.setting_fields import settings_initial
from connector.forms.setup import CompanyRows, ConnectionForm
from connector.models import CompanyCode, Connection, Exchange, Integration, Pause, Tenant
from connector.services import pinging, simulator_console, webhooks
from connector.services.configuration import saving
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.configuration.saving import ConnectionInput
from connector.services.shipments import NotPossible
from connector.times import column
from integrations import registry
from integrations.base.vendor import Role

SIMULATORS_SHOWN = 12


def company_codes_as_given(connection: Connection) -> list[dict[str, Any]]:
    """Company codes and sites as they are entered."""
    found = []
    for company in CompanyCode.objects.filter(connection=connection).prefetch_related("sites"):
        entry: dict[str, Any] = {"code": company.code}
        entry |= {k: v for k in ("name", "cost_center", "freight_account") if (v := getattr(company, k))}
        entry["sites"] = [
            {"code": s.code, "timezone": s.timezone}
            | ({"address": s.address} if s.address else {})
            | ({"cut_off": f"{s.cut_off:%H:%M}"} if s.cut_off else {})
            for s in company.sites.all()
        ]
        found.append(entry)
    return found


@admin.register(Connection)
class ConnectionAdmin(BudgetPages, TenantAdmin):
    """Accounts at vendors."""

    list_display = (
        "name",
        "display_vendor",
        "environment",
        "display_health",
        "display_paused",
        column("last_good_at", "Last good answer"),
        "display_ping",
    )
    list_display_links = ("name",)
    list_filter = (TenantFilter,)
    ordering = ("name",)
    list_before_template = ROW_FORM
    hints = ("Ping asks the real system, layer by layer, and changes nothing there.",)
    detail_template = "connector/connection.html"
    act_columns = frozenset({"display_ping"})
    empty_title = "No connection yet"
    empty_hint = "A connection is one account at the ERP or at a carrier. An administrator adds one for each."
    acts = {
        "ping": ("operate", "do_ping"),
        "read-posts": ("administer", "do_read_posts"),
        "simulator": ("operate", "do_simulator"),
        "simulator-fault": ("operate", "do_simulator_fault"),
        "simulator-behave": ("operate", "do_simulator_behave"),
    }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/edit/", view(self.edit_view), name="connector_connection_edit"),
            path("simulators/", view(self.simulators_view), name="connector_simulators"),
            path("<int:pk>/simulator-calls/", view(self.simulator_calls_view), name="connector_connection_simulator_calls"),
            path("<int:pk>/ping-result/", view(self.ping_result_view), name="connector_connection_ping_result"),
            path("add/<slug:vendor>/<int:tenant_id>/", view(self.new_view), name="connector_connection_new"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can_somewhere(request.user, "administer")

    @display(description="System")
    def display_vendor(self, obj: Connection) -> str:
        return registry.get(obj.vendor).label if obj.vendor in registry.VENDORS else obj.vendor

    @display(description="Health")
    def display_health(self, obj: Connection) -> SafeString:
        return badge(obj.health, obj.get_health_display())

    @display(description="Paused")
    def display_paused(self, obj: Connection) -> SafeString | str:
        found = Pause.objects.filter(connection=obj).exclude(state="ended").first()
        return badge("paused", found.message[:60]) if found else ""

    @display(description="")
    def display_ping(self, obj: Connection) -> SafeString:
        return self.row_button(obj, "ping", "Ping")

    def do_ping(self, request: HttpRequest, obj: Connection) -> str:
        if not pinging.ping_request(obj, actor=actor_of(request)):
            raise NotPossible("A ping of this connection is under way; its result appears on the connection's page.")
        return "The ping is under way."

    def do_read_posts(self, request: HttpRequest, obj: Connection) -> str:
        number = webhooks.read_again(obj, actor=actor_of(request))
        return f"{number} post{'' if number == 1 else 's'} of {obj} will be read once more, within a minute."

    def do_simulator(self, request: HttpRequest, obj: Connection) -> str:
        entered = {key: str(value) for key, value in request.POST.items()}
        return simulator_console.act(obj, entered.get("what", ""), entered, actor=actor_of(request))

    def do_simulator_fault(self, request: HttpRequest, obj: Connection) -> str:
        fault, place, times = (request.POST.get(name, "-") for name in ("fault", "place", "times"))
        return simulator_console.fault_on(obj, fault, place, times, actor=actor_of(request))

    def do_simulator_behave(self, request: HttpRequest, obj: Connection) -> str:
        return simulator_console.faults_off(obj, request.POST.get("fault", ""), actor=actor_of(request))

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        if request.POST.get("back") == "queue" and request.user.is_superuser:
            return reverse("admin:django_q_ormq_changelist")
        if "/do/simulator" in request.path:
            return f"{reverse('admin:connector_simulators')}#c{obj.pk}"
        return reverse("admin:connector_connection_change", args=[obj.pk])

    # -- pages -----------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: Connection) -> dict[str, Any]:
        vendor = registry.get(obj.vendor)
        readable = obj.secrets_readable
        stored = obj.secrets() if readable else {}
        rows = []
        for credential in vendor.credentials:
            value = str(obj.plain.get(credential.key, ""))
            if credential.secret:
                state = "set" if stored.get(credential.key) else "not set"
                shown = state if readable else "unreadable with the present keys"
            else:
                shown = (f"…{value[-4:]}" if credential.masked else value) if value else "not set"
            rows.append((credential.label, shown))
        return {
            "vendor": vendor,
            "credentials": rows,
            "companies": obj.company_codes.prefetch_related("sites"),
            "pauses": Pause.objects.filter(connection=obj).exclude(state="ended"),
            "exchanges": Exchange.objects.filter(connection=obj).order_by("-pk")[:20],
            "running": obj.ping_started_at is not None,
            "unreadable": webhooks.unreadable(obj),
            "most": webhooks.AGAIN,
        }

    def ping_result_view(self, request: HttpRequest, pk: int) -> TemplateResponse:
        """The last ping's layers as a fragment; changes nothing."""
        obj = self.row(request, str(pk))
        return TemplateResponse(request, "connector/ping.html", {"object": obj, "running": obj.ping_started_at is not None})

    def simulators_view(self, request: HttpRequest) -> TemplateResponse:
        """Everything about the simulators that the user's connections lead to."""
        if not permissions.can_somewhere(request.user, "operate"):
            raise PermissionDenied
        scoped = permissions.scope(
            Connection.objects.select_related("tenant").order_by("tenant", "-name"), request.user, "operate"
        )
        found = list(simulator_console.connections(scoped)[:SIMULATORS_SHOWN])
        integrations = Integration.objects.filter(Q(source__in=found) | Q(target__in=found)).order_by("name")
        rows = [
            {
                "object": connection,
                "console": simulator_console.console_of(connection),
                "suggestions": simulator_console.suggestions(connection),
                "look": simulator_console.look(connection),
            }
            for connection in found
        ]
        return self.page(
            request,
            "connector/simulators.html",
            title="Simulators",
            rows=rows,
            integrations=integrations,
            times=simulator_console.TIMES,
        )

    def simulator_calls_view(self, request: HttpRequest, pk: int) -> TemplateResponse:
        """What one simulator saw, as a fragment; changes nothing."""
        obj = self.row(request, str(pk))
        if not self.may(request, "operate", obj):
            raise PermissionDenied
        try:
            seen = simulator_console.look(obj)
        except NotPossible as error:
            raise Http404(str(error)) from error
        return TemplateResponse(request, "connector/simulator_calls.html", {"object": obj, "look": seen})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Which vendor, which tenant."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        tenants = permissions.scope(Tenant.objects.order_by("name"), request.user, "administer", "pk")
        form = VendorForm(request.GET if "vendor" in request.GET else None, tenants=tenants)
        if form.is_bound and form.is_valid():
            chosen = form.cleaned_data
            return HttpResponseRedirect(reverse("admin:connector_connection_new", args=[chosen["vendor"], chosen["tenant"].pk]))
        return self.page(request, "connector/first_question.html", form=form, title="New connection", submit="Go on")

    def new_view(self, request: HttpRequest, vendor: str, tenant_id: int) -> HttpResponseBase:
        """The form of a new connection."""
        if vendor not in registry.VENDORS or not permissions.can(request.user, "administer", tenant_id):
            raise PermissionDenied
        return self._form(request, vendor, get_object_or_404(Tenant, pk=tenant_id), None)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form of an existing one; where it points is an administrator's."""
        obj = self.row(request, str(pk))
        if not self.may(request, "operate", obj):
            raise PermissionDenied
        return self.edited(request, obj, lambda fresh: self._form(request, fresh.vendor, fresh.tenant, fresh))

    def _form(self, request: HttpRequest, slug: str, tenant: Tenant, existing: Connection | None) -> HttpResponseBase:
        vendor = registry.get(slug)
        may_move = permissions.can(request.user, "administer", tenant.pk)
        initial = settings_initial(vendor, existing.settings if existing else {})
        if existing is not None:
            initial |= {"name": existing.name, "environment": existing.environment}
            initial |= {f"url_{key}": existing.urls.get(key, "") for key in vendor.url_keys}
        # Only an ERP has company codes and sites; other systems' connections work for all of them.
        given = (company_codes_as_given(existing) if existing else []) if Role.ERP in vendor.roles else None
        built: dict[str, Any] = {"vendor": vendor, "existing": existing, "may_move": may_move, "initial": initial}
        now = ConnectionForm(None, **built)
        rows = CompanyRows(None, given) if given is not None else None
        seen = Seen(now, rows.lists if rows is not None else (), now.unseen) if existing is not None else None
        form = now
        if request.method == "POST":
            merged = merge(request.POST, seen) if seen is not None else Merged(request.POST)
            form = ConnectionForm(merged.data, **built)
            rows = CompanyRows(merged.data, given) if given is not None else None
            valid = all([form.is_valid(), rows is None or rows.is_valid()])
            if not merged.tell(form, rows.lists if rows is not None else ()) and valid:
                companies = rows.entered() if rows is not None else None
                try:
                    saved = saving.connection_save(self._entered(form, slug, tenant, companies), actor_of(request), existing)
                except InvalidConfiguration as error:
                    errors = rows.place_errors(error.errors) if rows is not None else error.errors
                    place_errors(form, errors, form.error_places)
                else:
                    messages.success(request, f"Saved. Press Ping to see whether it works. {merged.news}")
                    return HttpResponseRedirect(reverse("admin:connector_connection_change", args=[saved.pk]))
        title = f"Edit {existing}" if existing else f"New connection to {vendor.label} for {tenant}"
        return self.page(
            request,
            "connector/form.html",
            existing,
            form=form,
            rows=rows,
            seen=seen,
            title=title,
            setup_help=vendor.setup_help,
            vendor_label=vendor.label,
        )

    @staticmethod
    def _entered(form: ConnectionForm, slug: str, tenant: Tenant, companies: list[dict[str, Any]] | None) -> ConnectionInput:
        told = form.cleaned_data
        return ConnectionInput(
            slug=told.get("slug", ""),
            tenant=tenant.slug,
            vendor=slug,
            name=told["name"],
            environment=told["environment"],
            urls={key: told[f"url_{key}"] for key in form.vendor.url_keys},
            credentials={c.key: told[f"credential_{c.key}"] or None for c in form.vendor.credentials},
            remove=frozenset(c.key for c in form.vendor.credentials if told.get(f"remove_{c.key}")),
            settings=told["settings"],
            company_codes=companies,
        )

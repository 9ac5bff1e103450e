"""Tenants: made by the installation owner, seen by their people; stop buying for all of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from connector.admin.base import TenantAdmin, actor_of, badge
from connector.dashboard import first_steps
from connector.forms import TenantForm
from connector.forms.fields import place_errors
from connector.forms.meanwhile import Merged, Seen, merge
from connector.models import Connection, Integration, Membership, Tenant
from connector.services import demo, second_factor, simulators, switches
from connector.services.configuration import saving
from connector.services.configuration.findings import InvalidConfiguration


@admin.register(Tenant)
class TenantRowAdmin(TenantAdmin):
    """One customer organisation each. It cannot be deleted: its history belongs to it."""

    tenant_lookup = "pk"
    list_display = ("name", "display_slug", "display_zone", "display_brake")
    ordering = ("name",)
    empty_title = "No tenant yet"
    empty_hint = "A tenant is one company with its connections, records and people."
    detail_template = "connector/tenant.html"
    acts = {
        "stop-buying": ("operate", "do_stop"),
        "allow-buying": ("operate", "do_allow"),
        "require-second-factor": ("administer", "do_require"),
        "waive-second-factor": ("administer", "do_waive"),
    }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/edit/", view(self.edit_view), name="connector_tenant_edit"),
            path("demo/", view(self.demo_view), name="connector_tenant_demo"),
            path("first-steps/", view(self.tour_view), name="connector_tenant_tour"),
            *super().get_urls(),
        ]

    @display(description="Short name")
    def display_slug(self, obj: Tenant) -> str:
        return obj.slug

    @display(description="Time zone")
    def display_zone(self, obj: Tenant) -> str:
        return obj.timezone

    def demo_view(self, request: HttpRequest) -> HttpResponseBase:
        """Make the demo at the simulators that run. POST only; the installation owner's."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_add_permission(request):
            raise PermissionDenied
        try:
            made = demo.create(simulators.port(), actor=actor_of(request), running=True)
        except simulators.SimulatorsUnreachable as error:
            messages.error(request, str(error))
        except InvalidConfiguration as error:
            messages.error(request, f"The demo was not made: {error}")
        else:
            messages.success(request, "The demo is made. Its shipments are on their way." if made.created else "It is there.")
        return HttpResponseRedirect(reverse("admin:index"))

    def tour_view(self, request: HttpRequest) -> HttpResponse:
        """The first steps as a fragment of the dashboard; changes nothing."""
        return TemplateResponse(request, "connector/tour.html", first_steps(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    @display(description="Buying")
    def display_brake(self, obj: Tenant) -> SafeString:
        return badge("paused", "Stopped") if obj.stop_buying else badge("ok", "Allowed")

    def do_stop(self, request: HttpRequest, obj: Tenant) -> str:
        switches.stop_buying("tenant", obj, True, actor_of(request), request.POST.get("reason", ""))
        return "Buying is stopped for this tenant."

    def do_allow(self, request: HttpRequest, obj: Tenant) -> str:
        switches.stop_buying("tenant", obj, False, actor_of(request), request.POST.get("reason", ""))
        return "Buying is allowed again."

    def do_require(self, request: HttpRequest, obj: Tenant) -> str:
        second_factor.require(obj, True, actor_of(request))
        return "Everybody with a role here needs a second factor now. Who has none sets it up at the next click."

    def do_waive(self, request: HttpRequest, obj: Tenant) -> str:
        second_factor.require(obj, False, actor_of(request))
        return "A second factor is no longer required here. Who has one keeps it."

    def detail_context(self, request: HttpRequest, obj: Tenant) -> dict[str, Any]:
        return {
            "connections": Connection.objects.filter(tenant=obj),
            "integrations": Integration.objects.filter(tenant=obj),
            "members": Membership.objects.filter(tenant=obj).select_related("user").order_by("user__username"),
            "without_factor": self._without_factor(obj),
            "may_edit": self.has_add_permission(request),
        }

    @staticmethod
    def _without_factor(obj: Tenant) -> int:
        """How many people of this tenant have no second factor."""
        people = Membership.objects.filter(tenant=obj, user__is_active=True)
        return people.exclude(user__second_factor__confirmed=True).count()

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form of a new tenant."""
        return self._form(request, None)  # type: ignore[return-value]

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form of an existing one."""
        return self.edited(request, self.row(request, str(pk)), lambda fresh: self._form(request, fresh))

    def _form(self, request: HttpRequest, existing: Tenant | None) -> HttpResponseBase:
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {"name": existing.name, "timezone": existing.timezone} if existing else None
        form = TenantForm(None, existing=existing, initial=initial)
        seen = Seen(form) if existing is not None else None
        merged = Merged(request.POST)
        if request.method == "POST":
            merged = merge(request.POST, seen) if seen is not None else merged
            form = TenantForm(merged.data, existing=existing, initial=initial)
            form.full_clean()
            merged.tell(form)
        if form.is_bound and form.is_valid():
            told = form.cleaned_data
            try:
                saved = saving.tenant_save(told.get("slug", ""), told["name"], told["timezone"], actor_of(request), existing)
            except InvalidConfiguration as error:
                place_errors(form, error.errors, TenantForm.error_places)
            else:
                messages.success(request, f"Saved. Next: a connection. {merged.news}")
                return HttpResponseRedirect(reverse("admin:connector_tenant_change", args=[saved.pk]))
        return self.page(
            request,
            "connector/form.html",
            existing,
            form=form,
            seen=seen,
            title=f"Edit {existing}" if existing else "New tenant",
        )

"""Tenants: made by the installation owner, seen by their people; stop buying for all of one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from connector.admin.base import TenantAdmin, actor_of, badge
from connector.forms import TenantForm, place_errors
from connector.models import Connection, Integration, Membership, Tenant
from connector.services import configuration
from connector.services.configuration import InvalidConfiguration


@admin.register(Tenant)
class TenantRowAdmin(TenantAdmin):
    """One customer organisation each. It cannot be deleted: its history belongs to it."""

    tenant_lookup = "pk"
    list_display = ("name", "slug", "timezone", "display_brake")
    ordering = ("name",)
    detail_template = "connector/tenant.html"
    acts = {"stop-buying": ("operate", "do_stop"), "allow-buying": ("operate", "do_allow")}

    def get_urls(self) -> list[URLPattern]:
        edit = path("<int:pk>/edit/", self.admin_site.admin_view(self.edit_view), name="connector_tenant_edit")
        return [edit, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    @display(description="Buying")
    def display_brake(self, obj: Tenant) -> SafeString:
        return badge("paused", "Stopped") if obj.stop_buying else badge("ok", "Allowed")

    def do_stop(self, request: HttpRequest, obj: Tenant) -> str:
        configuration.stop_buying("tenant", obj, True, actor_of(request), request.POST.get("reason", ""))
        return "Buying is stopped for this tenant."

    def do_allow(self, request: HttpRequest, obj: Tenant) -> str:
        configuration.stop_buying("tenant", obj, False, actor_of(request), request.POST.get("reason", ""))
        return "Buying is allowed again."

    def detail_context(self, request: HttpRequest, obj: Tenant) -> dict[str, Any]:
        return {
            "connections": Connection.objects.filter(tenant=obj),
            "integrations": Integration.objects.filter(tenant=obj),
            "members": Membership.objects.filter(tenant=obj).select_related("user").order_by("user__username"),
            "may_edit": self.has_add_permission(request),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form of a new tenant."""
        return self._form(request, None)  # type: ignore[return-value]

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form of an existing one."""
        return self._form(request, self.row(request, str(pk)))

    def _form(self, request: HttpRequest, existing: Tenant | None) -> HttpResponseBase:
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {"name": existing.name, "timezone": existing.timezone} if existing else None
        form = TenantForm(request.POST if request.method == "POST" else None, existing=existing, initial=initial)
        if form.is_bound and form.is_valid():
            told = form.cleaned_data
            try:
                saved = configuration.tenant_save(
                    told.get("slug", ""), told["name"], told["timezone"], actor_of(request), existing
                )
            except InvalidConfiguration as error:
                place_errors(form, error.errors, TenantForm.error_places)
            else:
                messages.success(request, "Saved. Next: a connection.")
                return HttpResponseRedirect(reverse("admin:connector_tenant_change", args=[saved.pk]))
        return self.page(
            request, "connector/form.html", existing, form=form, title=f"Edit {existing}" if existing else "New tenant"
        )

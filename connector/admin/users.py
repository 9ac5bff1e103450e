"""Users and their roles per tenant. Nobody gives more than he has, or edits his equal."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from connector import permissions
from connector.admin.base import TenantAdmin, actor_of
from connector.forms import UserForm
from connector.models import Membership, Tenant, User
from connector.models.tenants import Role
from connector.services import audit


@admin.register(User)
class UserAdmin(TenantAdmin):
    """Who may sign in, and as what."""

    tenant_lookup = "memberships__tenant"
    list_display = ("username", "first_name", "last_name", "display_roles", "is_active", "last_login")
    ordering = ("username",)
    search_fields = ("username",)
    search_help_text = "Beginning of the user name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Everybody at tenants that the user administers."""
        found = User.objects.all()
        allowed = permissions.tenants_for(request.user, "administer")
        if allowed is None:
            return found
        return found.filter(pk__in=Membership.objects.filter(tenant__in=allowed).values("user"), is_superuser=False)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(Q(username__startswith=term)) if term else queryset), False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return permissions.can_somewhere(request.user, "administer")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return self.has_module_permission(request)
        return self.get_queryset(request).filter(pk=obj.pk).exists()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_module_permission(request)

    @display(description="Roles")
    def display_roles(self, obj: User) -> str:
        if obj.is_superuser:
            return "Installation owner"
        allowed = permissions.tenants_for(self.request.user, "administer") if hasattr(self, "request") else []
        found = obj.memberships.select_related("tenant")
        if allowed is not None:
            found = found.filter(tenant__in=allowed)
        return ", ".join(f"{m.get_role_display()} at {m.tenant}" for m in found)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form of a new user."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        return self._form(request, None)  # type: ignore[return-value]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The form of an existing one, for those above him."""
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if not permissions.may_edit_user(request.user, obj):
            raise PermissionDenied
        return self._form(request, obj)  # type: ignore[return-value]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The history of users stands in the audit."""
        raise Http404

    def _form(self, request: HttpRequest, existing: User | None) -> HttpResponseBase:
        owner = bool(request.user.is_superuser)
        tenants = list(permissions.scope(Tenant.objects.order_by("name"), request.user, "administer", "pk"))
        roles = list(Role) if owner else [Role.OPERATOR, Role.VIEWER]
        initial: dict[str, Any] = {}
        if existing is not None:
            initial = {
                n: getattr(existing, n) for n in ("username", "first_name", "last_name", "email", "is_active", "is_superuser")
            }
            initial |= {f"role_{m.tenant_id}": m.role for m in existing.memberships.all()}
        form = UserForm(
            request.POST if request.method == "POST" else None,
            existing=existing,
            tenants=tenants,
            roles=roles,
            owner=owner,
            initial=initial,
        )
        if form.is_bound and form.is_valid():
            saved = self._save(request, form, existing, tenants, owner)
            messages.success(request, f"{saved} is saved.")
            return HttpResponseRedirect(reverse("admin:connector_user_changelist"))
        title = f"Edit {existing}" if existing else "New user"
        return self.page_of(request, form, title)

    def page_of(self, request: HttpRequest, form: UserForm, title: str) -> HttpResponseBase:
        """The form's page (users have no single tenant)."""
        return self.page(request, "connector/form.html", None, form=form, title=title)

    @staticmethod
    def _save(request: HttpRequest, form: UserForm, existing: User | None, tenants: list[Tenant], owner: bool) -> User:
        told = form.cleaned_data
        with transaction.atomic():
            user = existing or User(username=told["username"])
            for name in ("first_name", "last_name", "email", "is_active"):
                setattr(user, name, told[name])
            if owner:
                user.is_superuser = told.get("is_superuser", False)
            user.is_staff = True
            if told["password"]:
                user.set_password(told["password"])
            user.save()
            for tenant in tenants:
                role = told.get(f"role_{tenant.pk}")
                if role:
                    Membership.objects.update_or_create(tenant=tenant, user=user, defaults={"role": role})
                else:
                    Membership.objects.filter(tenant=tenant, user=user).delete()
                draft = audit.Draft(
                    "user_changed" if existing else "user_created",
                    {"role": role or "none", "password": "changed" if told["password"] else "kept", "active": user.is_active},
                    obj=user,
                    actor=actor_of(request),
                )
                audit.append(tenant, draft)
        return user

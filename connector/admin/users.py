"""Users and their roles per tenant. Nobody gives more than he has, or edits his equal."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import TenantAdmin, actor_of, badge
from connector.forms import UserForm
from connector.models import Membership, SecondFactor, Tenant, User
from connector.models.tenants import Role
from connector.services import audit, second_factor, sign_in
from connector.times import moment


@admin.register(User)
class UserAdmin(TenantAdmin):
    """Who may sign in, and as what."""

    tenant_lookup = "memberships__tenant"
    list_display = (
        "username",
        "first_name",
        "last_name",
        "display_roles",
        "display_sign_in",
        "display_second_factor",
        "last_sign_in",
    )
    acts = {
        "unlock": ("administer", "do_unlock"),
        "sign-out": ("administer", "do_sign_out"),
        "reset-second-factor": ("administer", "do_reset"),
    }
    list_before_template = "connector/users_hint.html"
    ordering = ("username",)
    search_fields = ("username",)
    search_help_text = "Beginning of the user name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Everybody at tenants that the user administers; of their roles (`shown_roles`) those at these tenants."""
        allowed = permissions.tenants_for(request.user, "administer")
        roles = permissions.scope(Membership.objects.select_related("tenant").order_by("pk"), request.user, "administer")
        found = User.objects.prefetch_related(Prefetch("memberships", roles, to_attr="shown_roles"))
        found = found.annotate(
            rests=Q(username__in=sign_in.resting_names()),
            has_factor=Exists(SecondFactor.objects.filter(user=OuterRef("pk"), confirmed=True)),
            needs_factor=Exists(Tenant.objects.filter(memberships__user=OuterRef("pk"), second_factor_required=True))
            | Q(Exists(Tenant.objects.filter(second_factor_required=True)), is_superuser=True),
        )
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
        return ", ".join(f"{m.get_role_display()} at {m.tenant}" for m in obj.shown_roles)  # type: ignore[attr-defined]

    @display(description="Sign-in")
    def display_sign_in(self, obj: User) -> SafeString:
        if not obj.is_active:
            return badge("skipped", "Not allowed")
        return badge("paused", "Rests after failures") if obj.rests else badge("ok", "Allowed")  # type: ignore[attr-defined]

    @display(description="Second factor")
    def display_second_factor(self, obj: User) -> SafeString:
        if obj.has_factor:  # type: ignore[attr-defined]
            return badge("ok", "On")
        return badge("warning", "Required, not set up") if obj.needs_factor else badge("skipped", "Off")  # type: ignore[attr-defined]

    @display(description="Last sign-in")
    def last_sign_in(self, obj: User) -> Any:
        return moment(obj.last_login)

    def may(self, request: HttpRequest, act: permissions.Act, obj: Any) -> bool:
        """Whoever may edit this person may also let him in or send him out."""
        return permissions.may_edit_user(request.user, obj)

    def row(self, request: HttpRequest, object_id: str) -> Any:
        """The person, for those who administer users at all."""
        if not self.has_module_permission(request):
            raise PermissionDenied
        return super().row(request, object_id)

    def do_unlock(self, request: HttpRequest, obj: User) -> str:
        sign_in.unlock(obj, actor_of(request))
        return f"{obj} may sign in again."

    def do_sign_out(self, request: HttpRequest, obj: User) -> str:
        sign_in.end_sessions(obj, actor_of(request), "administrator")
        return f"{obj} is signed out everywhere."

    def do_reset(self, request: HttpRequest, obj: User) -> str:
        if not second_factor.remove(obj, actor_of(request)):
            return f"{obj} has no second factor."
        return f"The second factor of {obj} is taken away, and all sessions have ended. A password alone opens the account now."

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
        return self.page_of(request, form, existing)

    def page_of(self, request: HttpRequest, form: UserForm, person: User | None) -> HttpResponseBase:
        """The form's page (users have no single tenant), below it what can be done about the person's sign-in."""
        title = f"Edit {person}" if person else "New user"
        locks = sign_in.locks(person.get_username()) if person else []
        factor = second_factor.of(person) if person else None
        return self.page(request, "connector/user.html", None, form=form, title=title, person=person, locks=locks, factor=factor)

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

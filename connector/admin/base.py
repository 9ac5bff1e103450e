"""What every page shares: the tenant's scope, roles instead of model permissions, acts by POST only."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from connector import asked, permissions
from connector.badges import badge
from connector.models import Tenant
from connector.services.configuration import importing
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.shipments import NotPossible

Act = Callable[[HttpRequest, Any], str]


def actor_of(request: HttpRequest) -> str:
    """How the history names whoever is signed in."""
    return f"user:{request.user.get_username()}"


TYPED = "mlc-typed"
TYPED_FIELDS = 20
"""More than any form of an act has: a session is read with every request."""


def kept_for(request: HttpRequest, obj: Model, act: str) -> None:
    """Keep what was typed into a form whose act was refused until the row's page is shown again: nobody types it twice."""
    told = {name: value[:500] for name, value in request.POST.items() if name != "csrfmiddlewaretoken" and len(name) <= 100}
    kept = dict(list(told.items())[:TYPED_FIELDS])
    request.session[TYPED] = {"row": f"{obj._meta.label}:{obj.pk}", "act": act, "told": kept}


def typed_before(request: HttpRequest, obj: Model | None) -> dict[str, dict[str, str]]:
    """What was typed into a refused form of this row's page just now, by act (with _ for -) and field; told once."""
    kept = request.session.get(TYPED) if obj is not None else None
    if kept is None or obj is None or kept["row"] != f"{obj._meta.label}:{obj.pk}":
        return {}
    del request.session[TYPED]
    return {kept["act"].replace("-", "_"): kept["told"]}


class TenantFilter(SimpleListFilter):
    """By tenant, for those who see several."""

    title = "tenant"
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = permissions.scope(Tenant.objects.order_by("name"), request.user, lookup="pk")
        rows = [(str(t.pk), t.name) for t in found[:200]]
        return rows if len(rows) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = asked.number(self.value() or "")
        return queryset if wanted is None else queryset.filter(tenant_id=wanted)


class TenantAdmin(ModelAdmin):  # type: ignore[misc]
    """Base of every registered model that belongs to a tenant.

    Scopes the rows, the choices of foreign keys and the filters by the user's tenants. Nothing is added,
    changed or deleted through Django's own forms: pages have acts, and acts are POST (`acts`).
    """

    tenant_lookup: ClassVar[str] = "tenant"
    detail_template: ClassVar[str] = ""
    row_related: ClassVar[tuple[str, ...]] = ()
    """What a row's page shows of other tables, read together with the row."""
    empty_title: ClassVar[str] = ""
    empty_hint: ClassVar[str] = ""
    """What an empty list says: why it is empty, and what to do first."""
    empty_link: ClassVar[tuple[str, Any] | None] = None
    """Words and address of where to go from an empty list."""
    act_columns: ClassVar[frozenset[str]] = frozenset()
    """Columns that hold nothing but a button, for those who may press it."""
    acts: ClassVar[Mapping[str, tuple[permissions.Act, str]]] = {}
    """Name of an act: (right it needs, name of the method that does it and returns what to say)."""

    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by: Sequence[str] = ()
    ordering: Sequence[str] = ("-pk",)
    list_filter_submit = False
    actions: Any = ()
    compressed_fields = True

    # -- scope -----------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = permissions.scope(super().get_queryset(request), request.user, lookup=self.tenant_lookup)
        return found

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        model = db_field.remote_field.model
        if model is Tenant:
            kwargs["queryset"] = permissions.scope(Tenant.objects.all(), request.user, lookup="pk")
        elif any(f.name == "tenant" for f in model._meta.get_fields()):
            kwargs["queryset"] = permissions.scope(model.objects.all(), request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def tenant_of(self, obj: Model) -> int | None:
        """The tenant id that a row belongs to."""
        found: Any = obj
        for part in self.tenant_lookup.split("__"):
            found = getattr(found, part)
        tenant: int | None = found.pk if isinstance(found, Model) else found
        return tenant

    # -- rights ----------------------------------------------------------------------------------------

    def has_module_permission(self, request: HttpRequest) -> bool:
        return permissions.can_somewhere(request.user, "view")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if obj is None:
            return permissions.can_somewhere(request.user, "view")
        return permissions.can(request.user, "view", self.tenant_of(obj))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def may(self, request: HttpRequest, act: permissions.Act, obj: Any) -> bool:
        """Whether the user may do this at the row's tenant."""
        return permissions.can(request.user, act, self.tenant_of(obj))

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """Whoever may only look sees no buttons in the rows."""
        shown = super().get_list_display(request)
        if self.act_columns and not permissions.can_somewhere(request.user, "operate"):
            return [name for name in shown if name not in self.act_columns]
        return list(shown)

    def get_actions(self, request: HttpRequest) -> Any:
        return super().get_actions(request) if permissions.can_somewhere(request.user, "operate") else {}

    # -- pages -----------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        act = path("<path:object_id>/do/<slug:act>/", self.admin_site.admin_view(self.act_view), name=f"{name}_do")
        return [act, *super().get_urls()]

    def row(self, request: HttpRequest, object_id: str) -> Any:
        """The row, if it is the user's to see. Raises Http404."""
        found = self.get_object(request, object_id) if not self.row_related else self._with_related(request, object_id)
        if found is None or not self.has_view_permission(request, found):
            raise Http404
        return found

    def _with_related(self, request: HttpRequest, object_id: str) -> Any:
        try:
            return self.get_queryset(request).select_related(*self.row_related).get(pk=self.opts.pk.to_python(object_id))
        except (self.model.DoesNotExist, ValidationError, ValueError, OverflowError):
            return None

    def act_view(self, request: HttpRequest, object_id: str, act: str) -> HttpResponseBase:
        """Do one act. POST only; what cannot be done is said on the page it was asked from."""
        if act not in self.acts:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj = self.row(request, object_id)
        right, method = self.acts[act]
        if not self.may(request, right, obj):
            raise PermissionDenied
        try:
            messages.success(request, getattr(self, method)(request, obj))
        except (NotPossible, InvalidConfiguration) as error:
            messages.error(request, str(error))
            kept_for(request, obj, act)
        return HttpResponseRedirect(self.after_act(request, obj))

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        """Where to go after an act: back to the list, or the row's page."""
        if request.POST.get("back") == "list":
            return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk])

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The row's own page; there is no Django form behind it."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET"])
        obj = self.row(request, object_id)
        return self.page(request, self.detail_template, obj, **self.detail_context(request, obj))

    def page(self, request: HttpRequest, template: str, obj: Any = None, **context: Any) -> TemplateResponse:
        """A page inside the console's frame; a row's page shows the times of the row's tenant."""
        if obj is not None:
            self.use_zone_of(request, obj)
        shown = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "object": obj,
            "original": obj,
            "title": str(obj) if obj is not None else capfirst(str(self.opts.verbose_name_plural)),
            "may_operate": obj is not None and self.may(request, "operate", obj),
            "may_administer": obj is not None and self.may(request, "administer", obj),
            "has_view_permission": True,
            "typed": typed_before(request, obj),
        }
        return TemplateResponse(request, template, shown | context)

    def edited(self, request: HttpRequest, obj: Any, form: Callable[[Any], HttpResponseBase]) -> HttpResponseBase:
        """Show or save a form of `obj`. Saving compares with what is stored, and nobody else saves meanwhile."""
        self.use_zone_of(request, obj)  # before the form is read: it shows times in that zone
        if request.method != "POST":
            return form(obj)
        with importing.alone():
            try:
                obj.refresh_from_db()
            except ObjectDoesNotExist as error:
                raise Http404 from error
            return form(obj)

    def use_zone_of(self, request: HttpRequest, obj: Any) -> None:
        """Show the times of the rest of this request in the zone of the row's tenant."""
        tenant_id = self.tenant_of(obj)
        if tenant_id is None or list(permissions.roles(request.user)) == [tenant_id]:
            return  # the middleware has chosen that zone already
        if self.tenant_lookup == "tenant":
            zone = obj.tenant.timezone
        else:
            zone = Tenant.objects.filter(pk=tenant_id).values_list("timezone", flat=True).first()
        if zone:
            timezone.activate(zoneinfo.ZoneInfo(zone))

    def detail_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """What the row's page shows."""
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list. One ModelAdmin serves all threads: nothing of a request may be kept on it."""
        shown = {"title": capfirst(str(self.opts.verbose_name_plural))} | (extra_context or {})
        response: HttpResponse = super().changelist_view(request, shown)
        return response

    def row_button(self, obj: Any, act: str, label: str) -> SafeString:
        """A button in a list row that acts at once: it submits the form outside the list's own (POST, with token)."""
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_do", args=[obj.pk, act])
        return format_html(
            '<button type="submit" form="mlc-row" formaction="{}" class="mlc-button mlc-small">{}</button>', url, label
        )


ROW_FORM = "connector/row_form.html"

__all__ = ["ROW_FORM", "Act", "TenantAdmin", "TenantFilter", "actor_of", "badge"]

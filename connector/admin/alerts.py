"""Alerts and the channels they are sent to: see what was told whom; set up, try, switch off."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse, reverse_lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import ROW_FORM, TenantAdmin, TenantFilter, actor_of, badge
from connector.forms import ChannelForm, ChannelKindForm
from connector.forms.fields import place_errors
from connector.forms.meanwhile import Merged, Seen, merge
from connector.models import Alert, AlertChannel, Tenant
from connector.models.alerts import Cause
from connector.services import clock
from connector.services.alerts import channels, sending, telling
from connector.services.alerts.channels import ChannelInput
from connector.services.configuration.findings import InvalidConfiguration
from connector.services.shipments import NotPossible
from connector.times import column, moment

INSTALLATION = "The whole installation"


def _minute(at: dt.time | None) -> dt.time | None:
    """Pages and configuration files tell hours and minutes: a second more would be lost on the way."""
    return at.replace(second=0, microsecond=0) if at is not None else None


@admin.register(Alert)
class AlertAdmin(TenantAdmin):
    """What happened, in groups, and who was told."""

    list_display = (
        "display_title",
        "display_cause",
        "display_count",
        column("last_at", "Last"),
        column("first_at", "First"),
        "display_sent",
        "display_tenant",
    )
    list_display_links = ("display_title",)
    list_filter = ("cause", TenantFilter)
    list_select_related = ("tenant",)
    ordering = ("-last_at", "-pk")
    list_before_template = ROW_FORM
    hints = ("Same cause, same code, same connection or integration are one alert. Alert channels say who is told.",)
    detail_template = "connector/alert.html"
    empty_title = "No trouble has been reported"
    empty_hint = "Alert channels tell people of trouble by e-mail or in a chat, so that nobody has to look here."
    empty_link = ("Alert channels", reverse_lazy("admin:connector_alertchannel_changelist"))

    @display(description="What")
    def display_title(self, obj: Alert) -> str:
        return obj.title

    @display(description="How often")
    def display_count(self, obj: Alert) -> int:
        return obj.count

    @display(description="Cause")
    def display_cause(self, obj: Alert) -> SafeString:
        return badge(obj.cause, obj.get_cause_display())

    @display(description="Last told")
    def display_sent(self, obj: Alert) -> Any:
        return moment(obj.sent_at, never="nobody yet")

    @display(description="Tenant")
    def display_tenant(self, obj: Alert) -> str:
        return str(obj.tenant or INSTALLATION)

    def detail_context(self, request: HttpRequest, obj: Alert) -> dict[str, Any]:
        now = clock.now()
        reached = permissions.scope(AlertChannel.objects.select_related("tenant"), request.user)
        reached = reached.filter(Q(tenant=obj.tenant_id) | Q(tenant=None)).order_by("name")
        told = {d.channel_id: d for d in obj.deliveries.all()}
        rows = [(c, told.get(c.pk), telling.waits_for(obj, c, now)) for c in reached[:50]]
        return {"channels": rows, "tenant_name": obj.tenant or INSTALLATION}


@admin.register(AlertChannel)
class AlertChannelAdmin(TenantAdmin):
    """Where alerts are sent. Administrators set them up: they point outwards."""

    list_display = ("name", "display_kind", "display_state", column("last_sent_at", "Last sent"), "display_tenant")
    list_display_links = ("name",)
    list_filter = (TenantFilter,)
    list_select_related = ("tenant",)
    ordering = ("name",)
    list_before_template = ROW_FORM
    hints = ("A channel sends alerts by e-mail or to a chat tool. Without one nobody is told; the list of alerts has them.",)
    detail_template = "connector/alertchannel.html"
    empty_title = "Nobody is told of trouble yet"
    empty_hint = "A channel says who is told, of what, and in which hours not. An administrator adds one."
    acts = {
        "test": ("operate", "do_test"),
        "on": ("administer", "do_on"),
        "off": ("administer", "do_off"),
        "remove": ("administer", "do_remove"),
    }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/edit/", view(self.edit_view), name="connector_alertchannel_edit"),
            path("add/<slug:kind>/<int:tenant_id>/", view(self.new_view), name="connector_alertchannel_new"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can_somewhere(request.user, "administer")

    @display(description="Kind")
    def display_kind(self, obj: AlertChannel) -> str:
        return obj.get_kind_display()

    @display(description="State")
    def display_state(self, obj: AlertChannel) -> SafeString:
        return format_html("{} {}", badge(*self.state(obj)), obj.last_error)

    @display(description="Of")
    def display_tenant(self, obj: AlertChannel) -> str:
        return str(obj.tenant or INSTALLATION)

    @staticmethod
    def state(obj: AlertChannel) -> tuple[str, str]:
        """Its badge: switched off, failing, partly failing, working, or not used yet."""
        if not obj.enabled:
            return "skipped", "Off"
        if obj.attempts:
            return "failed", "Last attempt failed"
        if obj.last_error:
            return "warning", "Sent with trouble"
        return ("ok", "Working") if obj.last_sent_at or obj.test_ok else ("unknown", "On, nothing sent yet")

    # -- acts ------------------------------------------------------------------------------------------

    def do_test(self, request: HttpRequest, obj: AlertChannel) -> str:
        sent = sending.send_trial(obj, actor_of(request))
        if not sent.ok:
            raise NotPossible(f"The trial message was not sent. {sent.note}")
        return f"The trial message was sent. {obj.test_result}"

    def do_on(self, request: HttpRequest, obj: AlertChannel) -> str:
        channels.channel_switch(obj, True, actor_of(request))
        return "Switched on. What happens from now on is told."

    def do_off(self, request: HttpRequest, obj: AlertChannel) -> str:
        channels.channel_switch(obj, False, actor_of(request))
        return "Switched off. What happens meanwhile stands in the list of alerts only."

    def do_remove(self, request: HttpRequest, obj: AlertChannel) -> str:
        channels.channel_remove(obj, actor_of(request))
        return "Removed. The alerts themselves stay."

    def after_act(self, request: HttpRequest, obj: AlertChannel) -> str:
        if obj.pk is None:
            return reverse("admin:connector_alertchannel_changelist")
        return super().after_act(request, obj)

    # -- pages -----------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: AlertChannel) -> dict[str, Any]:
        now = clock.now()
        readable = obj.secrets_readable
        return {
            "state": self.state(obj),
            "tenant_name": obj.tenant or INSTALLATION,
            "zone": telling.zone_of(obj),
            "quiet_now": telling.is_quiet(obj, now),
            "causes": [label for value, label in Cause.choices if value in obj.causes],
            "readable": readable,
            "signed": readable and bool(obj.secrets().get("secret")),
            "waiting": telling.untold(obj, now)[:50] if obj.enabled else [],
            "deliveries": obj.deliveries.select_related("alert").order_by("-told_at")[:20],
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Which kind, for whom."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        tenants = permissions.scope(Tenant.objects.order_by("name"), request.user, "administer", "pk")
        owner = permissions.can(request.user, "administer", None)
        form = ChannelKindForm(request.GET if "kind" in request.GET else None, tenants=tenants, owner=owner)
        if form.is_bound and form.is_valid():
            chosen = form.cleaned_data
            tenant = chosen["tenant"].pk if chosen["tenant"] else 0
            return HttpResponseRedirect(reverse("admin:connector_alertchannel_new", args=[chosen["kind"], tenant]))
        return self.page(request, "connector/first_question.html", form=form, title="New alert channel")

    def new_view(self, request: HttpRequest, kind: str, tenant_id: int) -> HttpResponseBase:
        """The form of a new channel; tenant 0 stands for the installation."""
        if not permissions.can(request.user, "administer", tenant_id or None):
            raise PermissionDenied
        if kind not in AlertChannel.Kind.values:
            raise Http404
        tenant = get_object_or_404(Tenant, pk=tenant_id) if tenant_id else None
        return self._form(request, kind, tenant, None)

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """The form of an existing one."""
        obj = self.row(request, str(pk))
        if not self.may(request, "administer", obj):
            raise PermissionDenied
        return self.edited(request, obj, lambda fresh: self._form(request, fresh.kind, fresh.tenant, fresh))

    def _form(self, request: HttpRequest, kind: str, tenant: Tenant | None, existing: AlertChannel | None) -> HttpResponseBase:
        initial: dict[str, Any] = {}
        if existing is not None:
            initial = {name: getattr(existing, name) for name in ("name", "causes", "quiet_from", "quiet_until")}
            initial["addresses"] = "\n".join(existing.addresses)
        built: dict[str, Any] = {"kind": kind, "whose": str(tenant or INSTALLATION), "existing": existing, "initial": initial}
        built["zone"] = tenant.timezone if tenant else "UTC"
        form = ChannelForm(None, **built)
        stored = existing.secrets() if existing is not None and existing.secrets_readable else {}
        seen = Seen(form, unseen={name: stored.get(name, "") for name in ("url", "secret")}) if existing is not None else None
        merged = Merged(request.POST)
        if request.method == "POST":
            merged = merge(request.POST, seen) if seen is not None else merged
            form = ChannelForm(merged.data, **built)
            form.full_clean()
            merged.tell(form)
        if form.is_bound and form.is_valid():
            told = form.cleaned_data
            entered = ChannelInput(
                name=told["name"],
                causes=told["causes"],
                addresses=told.get("addresses", ()),
                url=told.get("url", ""),
                secret=told.get("secret", ""),
                remove_secret=told.get("remove_secret", False),
                quiet_from=_minute(told["quiet_from"]),
                quiet_until=_minute(told["quiet_until"]),
            )
            try:
                saved = channels.channel_save(kind, tenant, entered, actor_of(request), existing)
            except InvalidConfiguration as error:
                place_errors(form, error.errors, ChannelForm.error_places)
            else:
                messages.success(request, f"Saved. Send a trial message to see that it arrives. {merged.news}")
                return HttpResponseRedirect(reverse("admin:connector_alertchannel_change", args=[saved.pk]))
        title = f"Edit {existing}" if existing else f"New channel for {tenant or INSTALLATION.lower()}"
        return self.page(request, "connector/form.html", existing, form=form, seen=seen, title=title)

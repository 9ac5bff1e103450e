"""What needs a person, by cause: one row for four hundred equal faults, a preview, one press for all."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from connector import asked, dashboard, permissions
from connector.admin.base import actor_of
from connector.models import Integration, Membership, Pause, Transfer, User
from connector.services import attention, forecast
from connector.services.attention import Cause
from connector.services.shipments import NotPossible
from connector.words import ATTENTION

SHOWN = 100
LISTS = {
    "in_doubt": "In doubt: did the carrier make it?",
    "needs_approval": "Waiting for approval",
    "failed": "Failed",
    "": "Done, but look at it",
}


def _list_of(group: attention.Group) -> str:
    return LISTS.get(group.cause.state, LISTS[""])


class CausePages:
    """Pages of the transfers' admin; mixed into it."""

    admin_site: Any
    page: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("live/", view(self.live_view), name="connector_live"),
            path("causes/", view(self.causes_view), name="connector_causes"),
            path("cause/", view(self.cause_view), name="connector_cause"),
            path("cause/act/", view(self.cause_act_view), name="connector_cause_act"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def _mine(self, request: HttpRequest, act: permissions.Act = "view") -> Any:
        return permissions.scope(Transfer.objects.all(), request.user, act)

    def live_view(self, request: HttpRequest) -> HttpResponseBase:
        """The moving part of the dashboard."""
        return TemplateResponse(request, "connector/live.html", dashboard.live(request))

    def causes_view(self, request: HttpRequest) -> HttpResponseBase:
        """All causes, oldest first; what is in doubt has a list of its own."""
        found = attention.groups(self._mine(request))
        paused = permissions.scope(Pause.objects.exclude(state="ended"), request.user)
        pauses = list(paused.select_related("connection", "integration").order_by("since", "pk")[:SHOWN])
        response: HttpResponseBase = self.page(
            request,
            "connector/causes.html",
            title="Needs attention",
            lists=[
                (title, [(g, ATTENTION.get(g.cause.attention, "")) for g in found if _list_of(g) == title])
                for title in LISTS.values()
            ],
            pauses=pauses,
            total=len(found) + len(pauses),
        )
        return response

    def cause_view(self, request: HttpRequest) -> HttpResponseBase:
        """One cause: its transfers, and exactly what replaying them would do."""
        try:
            cause = Cause.read(request.GET)
        except ValueError:
            raise Http404 from None
        integration = permissions.scope(Integration.objects.select_related("tenant"), request.user).filter(pk=cause.integration)
        here = integration.first()
        if here is None:
            raise Http404
        found = list(attention.members(self._mine(request), cause)[: attention.BULK + 1])
        shown = found[: attention.BULK]
        waiting = attention.to_approve(shown) if cause.state == "needs_approval" else []
        people = User.objects.filter(is_active=True, pk__in=Membership.objects.filter(tenant=here.tenant_id).values("user"))
        response: HttpResponseBase = self.page(
            request,
            "connector/cause.html",
            title="Needs attention",
            cause=cause,
            integration=here,
            members=shown[:SHOWN],
            ids=",".join(str(t.pk) for t in shown),
            count=len(shown),
            more=len(found) > attention.BULK,
            hidden=max(0, len(shown) - SHOWN),
            example=shown[-1] if shown else None,
            word=ATTENTION.get(cause.attention, ""),
            preview=forecast.preview(shown) if shown and cause.state in forecast.REPLAYABLE else None,
            waiting=waiting[:SHOWN],
            shown_quotes=",".join(f"{t.pk}:{quote.pk if quote is not None else ''}" for t, quote in waiting),
            totals=attention.totals(waiting),
            people=people.order_by("username"),
            may_operate=permissions.can(request.user, "operate", here.tenant_id),
        )
        return response

    def cause_act_view(self, request: HttpRequest) -> HttpResponseBase:
        """Replay what the preview showed, or put a name and a note on it. POST only."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not permissions.can_somewhere(request.user, "operate"):
            raise PermissionDenied
        parts = (asked.number(part.strip()) for part in request.POST.get("ids", "").split(","))
        pks = [pk for pk in parts if pk is not None]
        found = self._mine(request, "operate")
        if request.POST.get("do") == "replay":
            told = attention.replay_many(found, pks, actor=actor_of(request))
            if told.done:
                messages.success(request, f"{told.done} run again.")
            for reason, number in told.left_out.items():
                messages.warning(request, f"{number} left out: {reason}.")
        elif request.POST.get("do") == "approve":
            self._approve(request, found)
        elif request.POST.get("do") == "take":
            self._take(request, found, pks)
        else:
            raise Http404
        return HttpResponseRedirect(reverse("admin:connector_causes"))

    def _approve(self, request: HttpRequest, found: Any) -> None:
        shown: dict[int, str] = {}
        for part in request.POST.get("quotes", "").split(","):
            pk, _, quote = part.partition(":")
            number = asked.number(pk.strip())
            if number is not None:
                shown[number] = quote.strip()
        try:
            told = attention.approve_many(found, shown, actor=actor_of(request), reason=request.POST.get("reason", ""))
        except NotPossible as error:
            messages.error(request, str(error))
            return
        if told.done:
            messages.success(request, f"{told.done} approved.")
        for reason, number in told.left_out.items():
            messages.warning(request, f"{number} left out: {reason}")

    def _take(self, request: HttpRequest, found: Any, pks: list[int]) -> None:
        wanted = asked.number(request.POST.get("assignee", ""))
        assignee = User.objects.filter(pk=wanted, is_active=True).first() if wanted is not None else None
        tenants = set(found.filter(pk__in=pks).values_list("tenant_id", flat=True))
        if assignee is not None and not all(permissions.can(assignee, "view", tenant) for tenant in tenants):
            messages.error(request, "Assigned to: this person may not see these transfers. Choose somebody of the tenant.")
            return
        note = request.POST.get("note", "")
        number = attention.take_care(found, pks, assignee=assignee, note=note, actor=actor_of(request))
        messages.success(request, f"Noted on {number}.")

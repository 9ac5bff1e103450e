"""Transfers: what needs a person first; replay, cancel, decide; the story of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter, action, display
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from connector import asked, permissions
from connector.admin.attention import CausePages
from connector.admin.base import ROW_FORM, TenantAdmin, TenantFilter, actor_of, badge
from connector.admin.rates import QuotePages, quote_context
from connector.admin.related import related_context
from connector.admin.story import CallPages, story_context
from connector.models import Integration, Shipment, Transfer
from connector.services import addresses, clock, story, transfers
from connector.services.shipments import NotPossible
from connector.times import moment
from connector.words import ATTENTION, SENTENCES, document, words


class ShowFilter(SimpleListFilter):
    """What needs a person is shown unless asked otherwise."""

    title = "what to show"
    parameter_name = "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "All unfinished"), ("done", "Finished"), ("all", "Everything")]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "Needs attention",
        }
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "open":
                return queryset.filter(state__in=Transfer.UNFINISHED)
            case "done":
                return queryset.exclude(state__in=Transfer.UNFINISHED)
            case "all":
                return queryset
        found: QuerySet[Any] = transfers.needing_attention(queryset)
        return found


class IntegrationFilter(SimpleListFilter):
    """By integration of the user's tenants."""

    title = "integration"
    parameter_name = "integration"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = permissions.scope(Integration.objects.order_by("name"), request.user)
        return [(str(i.pk), i.name) for i in found[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = asked.number(self.value() or "")
        return queryset if wanted is None else queryset.filter(integration_id=wanted)


BESIDE = {"void": " (void)", "attach": " (label into the ERP)", "cost": " (cost)"}
"""Work on a document beside shipping it -> how its key is marked in lists."""


@admin.register(Transfer)
class TransferAdmin(QuotePages, CausePages, CallPages, TenantAdmin):
    """Needs attention first."""

    list_display = (
        "display_document",
        "display_state",
        "display_message",
        "display_handling",
        "display_step",
        "display_when",
        "display_replay",
    )
    list_display_links = ("display_document",)
    act_columns = frozenset({"display_replay"})
    empty_title = "Nothing needs a person"
    empty_hint = "Everything is done or on its way."
    empty_link = ("Show all transfers", "?show=all")
    list_filter = (ShowFilter, "state", IntegrationFilter, TenantFilter)
    search_fields = ("source_key",)
    search_help_text = "Document, order, tracking or reference number, from its beginning"
    list_before_template = ROW_FORM
    list_select_related = ("integration", "tenant", "handling__assignee")
    hints = ("Replay never repeats what is done: a label that was bought is never bought again.",)
    detail_template = "connector/transfer.html"
    row_related = ("tenant", "record", "integration")
    actions = ("replay_selected",)
    acts = {
        "replay": ("operate", "do_replay"),
        "approve": ("operate", "do_approve"),
        "cancel": ("operate", "do_cancel"),
        "not-made": ("operate", "do_not_made"),
        "made": ("operate", "do_made"),
        "keep-theirs": ("operate", "do_keep_theirs"),
        "write-ours": ("operate", "do_write_ours"),
        "ship-proposed": ("operate", "do_ship_proposed"),
        "ship-as-written": ("operate", "do_ship_as_written"),
        "looked": ("operate", "do_looked"),
        "quote": ("operate", "do_quote"),
    }

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """By document key or any number of its shipment: equality or prefix, both indexed."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = story.records_with(permissions.tenant_ids(request.user), term)
        return queryset.filter(record__in=found), False

    @display(description="Document")
    def display_document(self, obj: Transfer) -> str:
        return document(obj.source_key) + BESIDE.get(obj.flow, "")

    @display(description="State")
    def display_state(self, obj: Transfer) -> SafeString:
        if obj.attention and obj.state not in ("failed", "in_doubt"):
            return badge("warning", f"{obj.get_state_display()}: {words(obj.attention)}")
        return badge(obj.state, obj.get_state_display())

    @display(description="What, and what to do")
    def display_message(self, obj: Transfer) -> str:
        if obj.attention and obj.state not in ("failed", "in_doubt"):
            return ATTENTION.get(obj.attention, obj.attention)
        return f"{obj.message} {obj.remedy}".strip()

    @display(description="Step")
    def display_step(self, obj: Transfer) -> str:
        step = words(obj.step) if obj.step else ""
        return f"{step} ({obj.attempts} tries)" if obj.attempts > 1 else step

    @display(description="Changed, or due")
    def display_when(self, obj: Transfer) -> SafeString:
        """When it last changed; when its turn is, where it waits for one."""
        if obj.state in ("waiting", "in_doubt"):
            # What is overdue waits for a worker, or for a pause to end.
            return format_html("due since {}" if obj.due_at <= clock.now() else "due {}", moment(obj.due_at))
        return format_html("{}", moment(obj.updated_at))

    @display(description="Taken by")
    def display_handling(self, obj: Transfer) -> str:
        handling = getattr(obj, "handling", None)
        return str(handling.assignee or "") if handling else ""

    @display(description="")
    def display_replay(self, obj: Transfer) -> SafeString | str:
        if obj.state in ("failed", "cancelled", "skipped"):
            return self.row_button(obj, "replay", "Replay")
        return self.row_button(obj, "replay", "Look now") if obj.state == "in_doubt" else ""

    @action(description="Replay the selected (those in doubt are left out)")
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """In bulk, each as its own button; what is in doubt is never part of a bulk act."""
        done = refused = doubt = 0
        for transfer in permissions.scope(queryset, request.user, "operate").select_related("record"):
            if transfer.state == "in_doubt":
                doubt += 1
                continue
            try:
                done += transfers.replay(transfer, actor=actor_of(request)).done
            except NotPossible:
                refused += 1
        if done:
            messages.success(request, f"{done} run again.")
        if doubt:
            messages.warning(request, f"{doubt} in doubt left out: look at each and decide.")
        if refused:
            messages.warning(request, f"{refused} could not be replayed; open them to see why.")

    # -- acts ------------------------------------------------------------------------------------------

    def do_replay(self, request: HttpRequest, obj: Transfer) -> str:
        outcome = transfers.replay(obj, actor=actor_of(request))
        if not outcome.done:
            raise NotPossible(outcome.message)
        return "It is looked up now." if outcome.before == "in_doubt" else "It runs again."

    def do_approve(self, request: HttpRequest, obj: Transfer) -> str:
        told = request.POST
        outcome = transfers.approve(obj, actor=actor_of(request), reason=told.get("reason", ""), quote=told.get("quote", ""))
        if not outcome.done:
            raise NotPossible(outcome.message)
        return "Approved: it is bought now." if "quote" not in told else "Approved: it is quoted once more, and bought."

    def do_cancel(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.cancel(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Cancelled. What was bought before stays bought."

    def do_not_made(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.decide_not_made(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Taken as not made; it is sent again under a new reference."

    def do_made(self, request: HttpRequest, obj: Transfer) -> str:
        number = request.POST.get("number", "")
        transfers.decide_made(obj, number=number, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Taken over with this number; it is written to the ERP now."

    def do_keep_theirs(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.decide_field(obj, keep="theirs", actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "The ERP's value stays."

    def do_write_ours(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.decide_field(obj, keep="ours", actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Our value is written."

    def do_ship_proposed(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.decide_address(obj, choice="proposed", actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "It ships to the proposed address. The ERP keeps its own."

    def do_ship_as_written(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.decide_address(obj, choice="as_written", actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "It ships as written."

    def do_looked(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.acknowledge(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Marked as looked at; the history keeps it."

    def after_act(self, request: HttpRequest, obj: Any) -> str:
        if request.POST.get("back") == "shipment" and (bought := Shipment.objects.filter(transfer=obj).first()) is not None:
            return reverse("admin:connector_shipment_change", args=[bought.pk])
        return super().after_act(request, obj)

    # -- the page --------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: Transfer) -> dict[str, Any]:
        told = story_context(obj)
        open_send = transfers.open_among(told["sends"])
        shipments = list(Shipment.objects.filter(record=obj.record_id).order_by("pk"))
        return (
            told
            | quote_context(obj)
            | related_context(obj.record, shipments)
            | {
                "title": self.display_document(obj),
                "address": addresses.seen(told["steps"]),
                "address_doubt": obj.error if obj.state == "failed" and obj.code in transfers.ADDRESS_CODES else None,
                "sentence": SENTENCES[obj.state],
                "attention": ATTENTION.get(obj.attention or "", ""),
                "open_send": open_send,
                "may_act": obj.state not in ("done", "running") or bool(obj.attention) or open_send is not None,
                "conflict": obj.error if obj.code == "field_conflict" and obj.state == "failed" else None,
                "shipments": shipments,
                "others": Transfer.objects.filter(record=obj.record_id).exclude(pk=obj.pk).order_by("revision"),
            }
        )

"""Transfers: what needs a person first; replay, cancel, decide; the story of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter, action, display
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from connector import permissions
from connector.admin.base import ROW_FORM, TenantAdmin, TenantFilter, actor_of, badge
from connector.models import AuditEntry, EffectSend, Exchange, Integration, Reference, Shipment, Step, Transfer
from connector.services import transfers
from connector.services.shipments import NotPossible, normalise

SENTENCES = {
    "waiting": "It has its turn when it is due, by itself.",
    "running": "A worker has it this moment.",
    "in_doubt": "A request was sent and its answer was lost. It may or may not have been done; nothing is sent again.",
    "needs_approval": "A person has to agree before anything is bought.",
    "failed": "It stopped. Nothing happens until somebody replays it or the document is mended.",
    "done": "Every step is done; the evidence stands below.",
    "skipped": "Nothing was to be done, for the reason given.",
    "cancelled": "It ended without buying anything more.",
}
ATTENTION = {
    "label_missing": "The shipment was found again at the carrier, but its label file was lost with the answer. "
    "Print it from the carrier's own tools, or void it and buy again.",
    "label_unreadable": "The carrier's label is not what it says it is. The number is good; void and buy again, "
    "or print it elsewhere.",
    "changed_after_label": "The document was changed in the ERP after its label was bought. Compare; void and buy "
    "again if it matters.",
    "cancelled_after_label": "The document was cancelled in the ERP after its label was bought. Void the label if "
    "the goods stay.",
    "number_clash": "Another shipment of ours holds the same tracking number. Ask the carrier.",
    "bought_twice": "Two labels exist for this document. Void one of them.",
}


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
        value = self.value()
        return queryset.filter(integration_id=int(value)) if value and value.isdigit() else queryset


@admin.register(Transfer)
class TransferAdmin(TenantAdmin):
    """Needs attention first."""

    list_display = (
        "display_document",
        "display_state",
        "display_message",
        "step",
        "attempts",
        "due_at",
        "updated_at",
        "display_replay",
    )
    list_display_links = ("display_document",)
    list_filter = (ShowFilter, "state", IntegrationFilter, TenantFilter)
    search_fields = ("source_key",)
    search_help_text = "Document, order, tracking or reference number, from its beginning"
    list_before_template = ROW_FORM
    list_select_related = ("integration", "tenant")
    hints = ("Replay never repeats what is done: a label that was bought is never bought again.",)
    detail_template = "connector/transfer.html"
    actions = ("replay_selected",)
    acts = {
        "replay": ("operate", "do_replay"),
        "approve": ("operate", "do_approve"),
        "cancel": ("operate", "do_cancel"),
        "not-made": ("operate", "do_not_made"),
        "made": ("operate", "do_made"),
        "keep-theirs": ("operate", "do_keep_theirs"),
        "write-ours": ("operate", "do_write_ours"),
        "looked": ("operate", "do_looked"),
    }

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """By document key or any number of its shipment: equality or prefix, both indexed."""
        term = search_term.strip()
        if not term:
            return queryset, False
        key = Q(source_key__startswith=term) | Q(source_key=f"shipment:{term}")
        number = normalise(term)
        if len(number) >= 3:
            found = permissions.scope(Reference.objects.filter(normalised__startswith=number), request.user)
            key |= Q(record__in=found.values("shipment__record")[:200])
        return queryset.filter(key), False

    @display(description="Document")
    def display_document(self, obj: Transfer) -> str:
        void = " (void)" if obj.flow == "void" else ""
        return f"{obj.source_key}{void}"

    @display(description="State")
    def display_state(self, obj: Transfer) -> SafeString:
        if obj.attention and obj.state not in ("failed", "in_doubt"):
            return badge("warning", f"{obj.get_state_display()}: {obj.attention.replace('_', ' ')}")
        return badge(obj.state, obj.get_state_display())

    @display(description="What, and what to do")
    def display_message(self, obj: Transfer) -> str:
        if obj.attention and obj.state not in ("failed", "in_doubt"):
            return ATTENTION.get(obj.attention, obj.attention)
        return f"{obj.message} {obj.remedy}".strip()

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
        outcome = transfers.approve(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        if not outcome.done:
            raise NotPossible(outcome.message)
        return "Approved: it is bought now."

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

    def do_looked(self, request: HttpRequest, obj: Transfer) -> str:
        transfers.acknowledge(obj, actor=actor_of(request), reason=request.POST.get("reason", ""))
        return "Marked as looked at; the history keeps it."

    # -- the page --------------------------------------------------------------------------------------

    def detail_context(self, request: HttpRequest, obj: Transfer) -> dict[str, Any]:
        steps = list(Step.objects.filter(transfer=obj))
        batches = {s.batch for s in steps if s.batch}
        exchanges = Exchange.objects.filter(Q(transfer=obj) | Q(batch__in=batches), tenant=obj.tenant_id).order_by(
            "started_at", "pk"
        )
        sends = EffectSend.objects.filter(effect__record=obj.record_id).select_related("effect").order_by("pk")
        return {
            "sentence": SENTENCES[obj.state],
            "attention": ATTENTION.get(obj.attention or "", ""),
            "steps": steps,
            "exchanges": exchanges[:200],
            "sends": sends,
            "open_send": transfers.open_send(obj),
            "conflict": obj.error if obj.code == "field_conflict" and obj.state == "failed" else None,
            "shipments": Shipment.objects.filter(record=obj.record_id).order_by("pk"),
            "entries": AuditEntry.objects.filter(chain=f"record:{obj.record_id}", tenant=obj.tenant_id).order_by("sequence")[
                :300
            ],
            "others": Transfer.objects.filter(record=obj.record_id).exclude(pk=obj.pk).order_by("revision"),
        }

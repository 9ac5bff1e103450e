"""One story, seen from the transfer and from the shipment; and each call with its detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector import permissions
from connector.models import EffectSend, Exchange, Step, Transfer
from connector.services import overview, story, written
from connector.services.stages import READ
from connector.words import document

CALLS = 200


def exchanges_of(transfer: Transfer, steps: list[Step], work: Sequence[int] = ()) -> Any:
    """Calls made for a transfer, those of a batch read ahead for several documents included.

    `work`: also those of these transfers, of the same document.
    """
    batches = {s.batch for s in steps if s.batch}
    found = Exchange.objects.filter(Q(transfer__in=[transfer.pk, *work]) | Q(batch__in=batches), tenant=transfer.tenant_id)
    return found.order_by("started_at", "pk")


def story_context(transfer: Transfer) -> dict[str, Any]:
    """Progress, next action and everything that happened."""
    # What was read of the document last, and what was written, may have been the work of another transfer.
    others = Q(record=transfer.record_id, name__in=(READ, written.STEP), state=Step.State.DONE)
    found = list(Step.objects.filter(Q(transfer=transfer) | others))
    reads = [step for step in found if step.transfer_id == transfer.pk or (step.name == READ and step.result is not None)]
    steps = [step for step in reads if step.transfer_id == transfer.pk]
    sends = list(EffectSend.objects.filter(effect__record=transfer.record_id).select_related("effect").order_by("pk"))
    present = [send for send in sends if send.effect.generation == transfer.record.generation]
    waits = transfer.state == Transfer.State.WAITING
    paused = [str(p["message"]) for p in overview.paused_scopes(transfer.integration)] if waits else []
    records, work = story.work_on(transfer.record)
    calls = exchanges_of(transfer, steps, work).defer("request_body", "response_body", "request_headers", "response_headers")
    told = story.events(records, transfer.tenant_id, list(calls[:CALLS]))
    return {
        "steps": steps,
        "writes": [step for step in found if step.name == written.STEP and step.state == Step.State.DONE],
        "sends": sends,
        "progress": story.progress(transfer, steps, present, reads),
        "next_action": story.next_action(transfer, paused),
        "events": told,
        # Evidence names calls, but none is left: a rule has erased them.
        "calls_gone": any(e.rests_on_calls for e in told) and not any(e.kind == "call" for e in told),
    }


class CallPages:
    """The page of one call; mixed into the transfers' admin."""

    admin_site: Any
    page: Any
    row: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.exchange_view)
        return [
            path("<int:transfer_id>/call/<int:exchange_id>/", view, name="connector_exchange"),
            path("find/", self.admin_site.admin_view(self.find_view), name="connector_find"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def find_view(self, request: HttpRequest) -> HttpResponseBase:
        """Any number: a document, an order, a parcel, a reference of ours. One hit opens its page."""
        term = request.GET.get("q", "").strip()[:100]
        records = story.find(permissions.tenant_ids(request.user), term) if term else []
        if len(records) == 1:
            return HttpResponseRedirect(reverse("admin:connector_transfer_change", args=[records[0].pk]))
        response: HttpResponseBase = self.page(
            request, "connector/find.html", title="Find", term=term, found=records[: story.HITS], more=len(records) > story.HITS
        )
        return response

    def exchange_view(self, request: HttpRequest, transfer_id: int, exchange_id: int) -> HttpResponseBase:
        """Request and answer without secrets, as a command, and what differs from the time before."""
        transfer = self.row(request, str(transfer_id))
        found = exchanges_of(transfer, list(Step.objects.filter(transfer=transfer))).select_related("connection", "transfer")
        exchange = found.filter(pk=exchange_id).first()
        if exchange is None:
            raise Http404
        before = story.before(exchange)
        response: HttpResponseBase = self.page(
            request,
            "connector/exchange.html",
            transfer,
            title=f"{document(transfer.source_key)}: {exchange.operation}",
            exchange=exchange,
            curl=story.curl(exchange),
            before=before,
            difference=story.difference(before, exchange) if before else [],
        )
        return response

"""Prices that carriers quoted: kept with the document, and asked for by a button.

A quote buys nothing. What a purchase rests on is asked by the flow itself (`integrations.flows.rates`).
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction

from connector.models import Connection, Exchange, Integration, RateQuote, Shipment, SourceRecord, Transfer
from connector.services import audit, clock, vendors, wake
from connector.services.engine import codec
from connector.services.engine.recorder import ExchangeBuffer
from connector.services.shipments import NotPossible
from integrations import registry
from integrations.base.errors import IntegrationError, Rejected
from integrations.base.http import recording
from integrations.base.preview import Previewer
from integrations.base.rates import Choice, Offer, Quote, Rules, ceiling_of
from integrations.base.rates import choose as by_rule
from integrations.base.records import Document, Goods, Problem
from integrations.flows.table import KINDS

logger = logging.getLogger(__name__)

State = RateQuote.State
ASK_LEASE_S = 120.0
SHOWN = 20
OPTIONS = ("rates", "rate_rule", "rate_services", "cost_ceiling")


def rules_of(integration: Integration, options: dict[str, Any] | None = None) -> Rules:
    """The rules in force, or those of other options."""
    defaults = KINDS[integration.kind].defaults()
    told = {name: defaults.get(name) for name in OPTIONS}
    told |= {k: v for k, v in (integration.options if options is None else options).items() if k in OPTIONS and v is not None}
    return Rules(str(told["rate_rule"]), tuple(told["rate_services"] or ()), ceiling_of(str(told["cost_ceiling"] or "")))


# -- keeping -----------------------------------------------------------------------------------------


def fill(row: RateQuote, transfer: Transfer, carrier: Connection, quote: Quote | None) -> None:
    """Whose quote it is, and what was offered. Not saved."""
    record = transfer.record
    row.tenant_id, row.integration_id, row.record, row.transfer = record.tenant_id, record.integration_id, record, transfer
    row.carrier, row.company_code, row.generation = carrier, record.company_code, record.generation
    row.created_at = row.created_at or clock.local_now()
    if quote is not None:
        row.answered_at = clock.local_now()
        row.state = State.ANSWERED
        row.offers = codec.encode(quote.offers)
        row.alerts = list(quote.alerts)
        row.request_id = quote.request_id[:128]


def choose(row: RateQuote, choice: Choice) -> None:
    """What was chosen, and why. Not saved."""
    row.chosen, row.reason = choice.offer.service[:60], choice.reason[:300]
    row.code = row.message = row.remedy = ""
    if choice.offer.cost is not None:
        row.amount, row.currency = choice.offer.cost.amount, choice.offer.cost.currency[:3]


def fail(row: RateQuote, error: IntegrationError, *, answered: bool = False) -> None:
    """Why there is no choice; `answered`: there are offers all the same. Not saved."""
    row.state = State.ANSWERED if answered else State.FAILED
    row.answered_at = row.answered_at or clock.local_now()
    row.code, row.message, row.remedy = error.code[:60], error.message[:500], error.remedy[:500]


def price(row: RateQuote) -> str:
    """The price of the choice as people read it."""
    return f"{row.amount} {row.currency}" if row.amount is not None else "not named" if row.chosen else ""


def offers_of(row: RateQuote) -> tuple[Offer, ...]:
    """The offers of a stored quote; empty where an earlier release wrote them otherwise."""
    try:
        return codec.decode(row.offers, tuple[Offer, ...])
    except codec.Undecodable:
        return ()


def bought(shipment: Shipment, service: str) -> None:
    """The quote that a purchase rested on belongs to its shipment from now on (inside the purchase's transaction)."""
    mine = RateQuote.objects.filter(record=shipment.record_id, generation=shipment.generation, to_buy=True, shipment=None)
    newest = mine.filter(chosen=service[:60]).order_by("-pk").first()
    if newest is not None:
        RateQuote.objects.filter(pk=newest.pk).update(shipment=shipment)


def of_record(record_id: int) -> list[RateQuote]:
    """The newest quotes of a document, newest first."""
    return list(RateQuote.objects.filter(record=record_id).order_by("-pk")[:SHOWN])


def asking(rows: Sequence[RateQuote]) -> bool:
    """Whether an answer is still to be expected: a worker that died gives none."""
    since = clock.local_now() - dt.timedelta(seconds=ASK_LEASE_S)
    return any(row.state == State.ASKED and row.created_at > since for row in rows)


def to_approve(transfer: Transfer, newest: Sequence[RateQuote] = ()) -> RateQuote | None:
    """The quote that a transfer waits with. `newest`: the record's newest ones, where they were read already."""
    for row in newest:
        if row.transfer_id == transfer.pk and row.to_buy:
            return row
    return RateQuote.objects.filter(transfer=transfer, to_buy=True).order_by("-pk").first()


# -- by a button -------------------------------------------------------------------------------------


def ask(transfer: Transfer, *, actor: str) -> RateQuote:
    """Have a worker ask for prices soon; nothing is bought. Raises NotPossible."""
    if transfer.flow != "ship":
        raise NotPossible("Prices are asked for on the transfer that ships the document.")
    row = RateQuote(asked_by=actor[:150])
    fill(row, transfer, transfer.integration.target, None)
    late = RateQuote.objects.filter(record=transfer.record_id, state=State.ASKED, created_at__lt=clock.at(-ASK_LEASE_S))
    late.update(state=State.FAILED, code="no_answer", message="No worker answered in time.", remedy="Ask again.")
    try:
        with transaction.atomic():
            SourceRecord.objects.select_for_update().get(pk=transfer.record_id)
            row.save()
            audit.append_to_record(transfer.record, [audit.Draft("quote_requested", {}, obj=transfer, actor=actor)])
            wake.quote(row.pk)
    except IntegrityError as error:
        raise NotPossible("Prices are being asked for this moment.") from error
    return row


def answer(row: RateQuote) -> None:
    """Ask now, for a row that `ask` made. A fault of anybody is kept on the row."""
    integration = row.integration
    ends = {end.slug: end for end in (integration.source, integration.target)}
    buffer = ExchangeBuffer(ends, transfer=row.transfer)
    buffer.step = "quote"
    try:
        with recording(buffer):
            _answer(row, integration)
    except IntegrationError as error:
        fail(row, error)
    except Exception as error:
        logger.exception("quote %s failed", row.pk)
        told = f"ml-connector itself failed while asking ({type(error).__name__})."
        fail(row, Rejected(told, code="internal_error", remedy="Report this with the log."))
    facts = {"cost": price(row), "service": row.chosen, "offers": len(row.offers), "reason": row.reason or row.message}
    with transaction.atomic():
        calls = buffer.take()
        Exchange.objects.bulk_create(calls)
        record = SourceRecord.objects.select_for_update().get(pk=row.record_id)
        row.save()
        facts["exchanges"] = [call.digest for call in calls]
        audit.append_to_record(record, [audit.Draft("quoted", facts, obj=row.transfer)])


def _answer(row: RateQuote, integration: Integration) -> None:
    assert row.transfer is not None
    erp, carrier = vendors.open_adapter(integration.source), vendors.open_adapter(integration.target)
    key = row.record.source_key
    document: Document = _one(erp.read_documents([key]), key)
    flow = KINDS[integration.kind].flow(row.record.flow)
    previewer: Previewer = registry.load(flow.preview)(integration)
    goods: Goods | None = _one(erp.read_goods([key]), key) if previewer.needs("read goods", row.record, document) else None
    seen = previewer.show(row.record, document, goods)
    if seen.request is None:
        raise Rejected(seen.message, code=seen.code, remedy=seen.remedy)
    row.wished = seen.request.service[:60]
    found: Quote = _one(carrier.quote([seen.request]), seen.request.document_key)
    fill(row, row.transfer, integration.target, found)
    rules = rules_of(integration)
    row.rule, row.wanted_date = rules.rule, seen.wanted_date
    try:
        choose(row, by_rule(found.offers, rules, row.wished, row.wanted_date))
    except Rejected as error:
        fail(row, error, answered=True)


def _one(found: Any, key: str) -> Any:
    """One answer of a plural read. Raises its problem."""
    value = found.get(key)
    if isinstance(value, Problem):
        raise value.error
    if value is None:
        raise Rejected("The document was not in the answer.", code="document_gone", remedy="Look it up in the ERP.")
    return value


# -- for pages ---------------------------------------------------------------------------------------


def shown(rows: Sequence[RateQuote]) -> list[tuple[RateQuote, tuple[Offer, ...]]]:
    """Quotes with their offers, for a page."""
    return [(row, offers_of(row)) for row in rows]


__all__ = [
    "OPTIONS",
    "answer",
    "ask",
    "asking",
    "bought",
    "choose",
    "fail",
    "fill",
    "of_record",
    "offers_of",
    "price",
    "rules_of",
    "shown",
    "to_approve",
]

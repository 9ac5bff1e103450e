"""Prices before buying: every offer is kept, a rule chooses one, and above a ceiling a person agrees first.

ship    … → map → quote → choose service → last look → buy label …

Off unless the option `rates` is on. A quote costs nothing and is asked for anew in every attempt; what a person approved is
bought as long as the carrier asks no more for it than he was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from connector.models import RateQuote
from connector.services import quotes
from connector.services.engine.run import Run
from connector.services.engine.signals import NeedsApproval
from integrations.base.errors import Rejected
from integrations.base.rates import Choice, Quote, Rules, choose, of_service
from integrations.base.records import Document, Money, ShipmentRequest
from integrations.base.roles import Carrier
from integrations.flows import mapping
from integrations.flows.slots import ShipContext

QUOTE = "quote"
CHOOSE = "choose service"


def wanted(run: Run) -> bool:
    """Whether the integration asks for prices before it buys."""
    return bool(run.options.get("rates"))


def best(run: Run, carrier: Carrier, request: ShipmentRequest, document: Document, context: ShipContext) -> ShipmentRequest:
    """The request with the service that the rule chooses, and its price. Raises NeedsApproval and Rejected."""
    quote: Quote = run.read(QUOTE, _Ask(carrier, request), beside=True)
    rules = quotes.rules_of(run.job.integration)
    row = RateQuote(to_buy=True, rule=rules.rule, wished=request.service[:60])
    quotes.fill(row, run.transfer, run.job.target, quote)
    told: Choice | Rejected
    try:
        row.wanted_date = mapping.wanted_date_of(context, document)
        told = _choice(run, quote, rules, request.service, row)
        quotes.choose(row, told)
    except Rejected as error:
        told = error
        quotes.fail(row, error, answered=True)
    facts = {"cost": quotes.price(row), "service": row.chosen, "offers": len(quote.offers), "reason": row.reason or row.message}
    run.note("quoted", **facts)
    run.commit(also=[row.save])  # whatever comes of it: what was offered is kept
    chosen = run.map(CHOOSE, _agreed, told, rules, row)
    by_rule = mapping.chosen_by_rule(context)
    return replace(
        request,
        service=chosen.offer.service,
        wished=request.service if by_rule else None,
        quoted=chosen.offer.cost,
        quote_counts=quote.of_payer and chosen.offer.rate_type == "account",
    )


class _Ask:
    """The question for one request, as the engine reads: by key."""

    def __init__(self, adapter: Carrier, request: ShipmentRequest) -> None:
        self.adapter = adapter
        self._request = request

    def __call__(self, keys: Sequence[str]) -> Mapping[str, Any]:
        found = self.adapter.quote([self._request])
        return {keys[0]: found.get(self._request.document_key)}


def _choice(run: Run, quote: Quote, rules: Rules, wished: str, row: RateQuote) -> Choice:
    """What a person approved, if it costs no more than he was shown; else what the rule chooses."""
    approved = _approved(run)
    offer = of_service(quote.offers, str(approved.get("service"))) if approved else None
    if offer is not None and not _dearer(offer.cost, approved):
        return Choice(offer, f"Approved by {approved.get('actor', 'a person')}.")
    return choose(quote.offers, rules, wished, row.wanted_date)


def _approved(run: Run) -> dict[str, Any]:
    return (run.transfer.decision or {}).get("approved_quote") or {}


def _dearer(cost: Money | None, approved: Mapping[str, Any]) -> bool:
    """Whether a price is not covered by what was approved: higher, or in another currency, or known only now."""
    if cost is None:
        return bool(approved.get("amount"))
    if not approved.get("amount") or approved.get("currency") != cost.currency:
        return True
    return cost.amount > Decimal(str(approved["amount"]))


def _agreed(run: Run, told: Choice | Rejected, rules: Rules, row: RateQuote) -> Choice:
    """The choice, if it needs nobody's word. Raises what stood in its way, and NeedsApproval."""
    if isinstance(told, Rejected):
        raise told
    cost, ceiling, approved = told.offer.cost, rules.ceiling, _approved(run)
    if ceiling is None:
        return told
    if approved.get("service") == told.offer.service and not _dearer(cost, approved):
        return told
    before = f" {approved['amount']} {approved['currency']} was approved before." if approved.get("amount") else ""
    if cost is None:
        raise NeedsApproval(
            f"The carrier names no price for {told.offer.service}, and there is a ceiling of {_told(ceiling)}.{before}",
            "cost_not_quoted",
            "If it may be bought all the same, press Approve. The ceiling stands in the integration's rates.",
        )
    if cost.currency != ceiling.currency:
        raise NeedsApproval(
            f"{told.offer.service} is quoted at {_told(cost)}; the ceiling is {_told(ceiling)}, "
            f"and amounts of different currencies are not compared.{before}",
            "cost_in_other_currency",
            "If it may be bought at this price, press Approve. The ceiling stands in the integration's rates.",
        )
    if cost.amount > ceiling.amount:
        raise NeedsApproval(
            f"{told.offer.service} is quoted at {_told(cost)}, above the ceiling of {_told(ceiling)}.{before}",
            "cost_above_ceiling",
            "If it may be bought at this price, press Approve. The ceiling stands in the integration's rates.",
        )
    return told


def _told(money: Money) -> str:
    return f"{money.amount} {money.currency}"


__all__ = ["best", "wanted"]

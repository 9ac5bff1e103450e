"""What carriers offer for a parcel before it is bought, and the rules that choose among the offers. Pure.

Amounts of different currencies are never compared: where that would be needed, a person is asked.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from integrations.base.errors import Rejected
from integrations.base.records import Money

FIXED: Final = "fixed"
CHEAPEST: Final = "cheapest"
CHEAPEST_IN_TIME: Final = "cheapest_by_wanted_date"
RULES: Final = (FIXED, CHEAPEST, CHEAPEST_IN_TIME)

_CEILING = re.compile(r"(\d{1,8}(?:\.\d{1,2})?) ?([A-Z]{3})")
"""How a ceiling is written: an amount and its currency, "150.00 USD"."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One price of one service. `cost` None: the carrier named none; never taken as 0.

    `charged` tells the price that the account would be charged from list prices shown beside it. The delivery date is the
    recipient's local date, `delivery_time` ("17:00") too; both empty where the carrier promises none. `transit_days` as the
    carrier counts them (working days, as a rule).
    """

    service: str
    name: str = ""
    cost: Money | None = None
    rate_type: str = ""
    charged: bool = True
    delivery_date: dt.date | None = None
    delivery_time: str = ""
    transit_days: int | None = None
    packaging: str = ""
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quote:
    """A carrier's answer to one question for prices: all its offers, in its own order.

    `of_payer` False: they are the prices of another account than the one that will pay.
    """

    offers: tuple[Offer, ...]
    alerts: tuple[str, ...] = ()
    request_id: str = ""
    of_payer: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """How an offer is chosen. `services` empty: all that are offered; `ceiling` None: no price needs a person's word."""

    rule: str = FIXED
    services: tuple[str, ...] = ()
    ceiling: Money | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The offer that a rule chose, and why in one sentence."""

    offer: Offer
    reason: str


LARGEST: Final = Decimal(1_000_000_000)
"""Of prices from here on nothing is believed; no row of ours holds them."""


def price_of(amount: Decimal, currency: str) -> Money | None:
    """A carrier's price as it is kept, in cents and an ISO currency; None for what can be none."""
    if not amount.is_finite() or not 0 < amount < LARGEST or not re.fullmatch(r"[A-Z]{3}", currency):
        return None
    cents = amount.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return Money(cents, currency) if cents else None


def ceiling_of(text: str) -> Money | None:
    """A ceiling as it is written in the options; None for none. Raises ValueError for what is neither."""
    if not text.strip():
        return None
    found = _CEILING.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"“{text}” is not an amount with its currency, such as 150.00 USD")
    return Money(Decimal(found[1]), found[2])


def choose(offers: Sequence[Offer], rules: Rules, wished: str, wanted: dt.date | None) -> Choice:
    """The offer to buy. `wished` is the service that the document asks for, `wanted` when it is to arrive.

    Raises Rejected with code no_offers, service_not_offered, wanted_date_missing, wanted_date_unmet, offers_without_price
    or offers_in_several_currencies.
    """
    ours = [offer for offer in offers if offer.charged]
    if not ours:
        raise _refused("The carrier offers nothing for this document.", "no_offers", "Check address, weight and packaging.")
    if rules.rule == FIXED:
        return _fixed(ours, wished)
    allowed = [offer for offer in ours if not rules.services or offer.service in rules.services]
    if not allowed:
        raise _refused(
            f"None of the services allowed ({', '.join(rules.services)}) is offered; offered: {_services(ours)}.",
            "service_not_offered",
            "Allow another service in the integration's rates, or change the document in the ERP.",
        )
    among = "of the services allowed" if rules.services else "of all offers"
    if rules.rule == CHEAPEST:
        return Choice(_cheapest(allowed), f"The cheapest {among}.")
    if wanted is None:
        raise _refused(
            "The document names no wanted date, and the rule chooses by it.",
            "wanted_date_missing",
            "Enter the date in the ERP, or map the slot “Wanted date” to the field that holds it.",
        )
    in_time = [offer for offer in allowed if offer.delivery_date is not None and offer.delivery_date <= wanted]
    if not in_time:
        earliest = min((offer.delivery_date for offer in allowed if offer.delivery_date), default=None)
        told = f"the earliest arrives {earliest.isoformat()}" if earliest else "the carrier promises no date"
        raise _refused(
            f"No service {among} arrives by {wanted.isoformat()}: {told}.",
            "wanted_date_unmet",
            "Change the wanted date in the ERP, allow a quicker service, or choose another rule.",
        )
    return Choice(_cheapest(in_time), f"The cheapest {among} that arrives by {wanted.isoformat()}.")


def of_service(offers: Sequence[Offer], service: str) -> Offer | None:
    """What a service would be charged; None where it is not offered."""
    return next((offer for offer in offers if offer.charged and offer.service == service), None)


def _fixed(offers: Sequence[Offer], wished: str) -> Choice:
    found = of_service(offers, wished)
    if found is None:
        raise _refused(
            f"The carrier does not offer {wished} for this document; offered: {_services(offers)}.",
            "service_not_offered",
            "Change the ship-via in the ERP or the value map “service”.",
        )
    return Choice(found, "The service that the document asks for.")


def _cheapest(offers: Sequence[Offer]) -> Offer:
    """The lowest price; of equal ones what arrives first, then in the carrier's order. Raises Rejected."""
    priced = [(offer.cost, offer) for offer in offers if offer.cost is not None]
    if not priced:
        raise _refused(
            "The carrier names no price for any service that could be chosen.",
            "offers_without_price",
            "Try again later, or choose the rule “fixed”.",
        )
    currencies = sorted({cost.currency for cost, _ in priced})
    if len(currencies) > 1:
        raise _refused(
            f"The offers are in several currencies ({', '.join(currencies)}), which are not compared.",
            "offers_in_several_currencies",
            "Allow services of one currency only, or choose the rule “fixed”.",
        )
    return min(priced, key=lambda pair: (pair[0].amount, pair[1].delivery_date or dt.date.max))[1]


def _services(offers: Sequence[Offer]) -> str:
    return ", ".join(dict.fromkeys(offer.service for offer in offers))


def _refused(message: str, code: str, remedy: str) -> Rejected:
    return Rejected(message, code=code, field="service", remedy=f"{remedy} Then replay.")


__all__ = ["RULES", "Choice", "Offer", "Quote", "Rules", "ceiling_of", "choose", "of_service", "price_of"]

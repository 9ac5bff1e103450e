"""Rates (sheet 10): the question built from what would be bought, the answer read with all its variations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from integrations.base.rates import Offer, Quote, price_of
from integrations.base.records import Money, ShipmentRequest
from integrations.fedex import answers, codes, mapping
from integrations.fedex.mapping import Body
from integrations.fedex.reading import as_date, as_decimal, as_dict, as_list, as_text

ANY_SERVICE: Final = "ANY"
"""Stands in for the service while the request is built where every service is asked for; never sent."""
NOT_THE_PAYER: Final = (
    "These are the prices of this connection's account. The label is billed to another account, whose prices FedEx does not tell."
)
_DAYS: Final = (
    *("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN", "ELEVEN", "TWELVE", "THIRTEEN"),
    *("FOURTEEN", "FIFTEEN", "SIXTEEN", "SEVENTEEN", "EIGHTEEN", "NINETEEN", "TWENTY"),
)
TRANSIT: Final = {f"{word}_DAY{'S' if place > 1 else ''}": place for place, word in enumerate(_DAYS, 1)}


def build_quote(request: ShipmentRequest, account: str) -> Body:
    """The body of POST /rate/v1/rates/quotes (sheet 10) for what would be bought; asks for every service.

    Made from the purchase's own body, so that what is quoted is what is bought. Raises Rejected as that one does.
    """
    service = request.service.strip()
    made = mapping.build_shipment(replace(request, service=service or ANY_SERVICE), "QUOTE", account).body
    bought = as_dict(made["requestedShipment"])
    shipment: Body = {
        "shipper": {"address": _place(bought["shipper"])},
        # One recipient here, a list at Ship.
        "recipient": {"address": _place(bought["recipients"][0])},
        "pickupType": bought["pickupType"],
        "packagingType": bought["packagingType"],
        # A capital S in Stamp, unlike Ship. LIST adds list rates, it never replaces those of the account.
        "shipDateStamp": bought["shipDatestamp"],
        "rateRequestType": ["ACCOUNT", "LIST"],
        "requestedPackageLineItems": [
            {key: value for key, value in row.items() if key not in ("sequenceNumber", "customerReferences")}
            for row in bought["requestedPackageLineItems"]
        ],
    }
    for name in ("totalPackageCount", "totalWeight", "shipmentSpecialServices", "smartPostInfoDetail"):
        if name in bought:
            shipment[name] = bought[name]
    if "customsClearanceDetail" in bought:
        shipment["customsClearanceDetail"] = _customs(bought["customsClearanceDetail"])
    # Beside the shipment: within it FedEx ignores it without a word.
    control: Body = {"returnTransitTimes": True}
    return {"accountNumber": {"value": account}, "rateRequestControlParameters": control, "requestedShipment": shipment}


def _place(party: Mapping[str, Any]) -> Body:
    """An address without street and person: rates do not depend on them."""
    return {key: value for key, value in party["address"].items() if key != "streetLines"}


def _customs(detail: Mapping[str, Any]) -> Body:
    """What the official description of rates knows of customs: no invoice number, no terms, no total.

    It also lets nobody but the sender pay duties in a quote; who pays them in the end moves no price that is read here.
    """
    return {
        "commercialInvoice": {"shipmentPurpose": detail["commercialInvoice"]["shipmentPurpose"]},
        "commodities": detail["commodities"],
        "dutiesPayment": {"paymentType": "SENDER"},
    }


def read_quote(payload: object) -> Quote | None:
    """The offers of an answer; None where it is no answer to a quote. An odd entry costs that entry, not the others."""
    answer = as_dict(payload)
    output = as_dict(answer.get("output"))
    if "rateReplyDetails" not in output:
        return None
    offers = [offer for row in as_list(output["rateReplyDetails"]) for offer in _offers(as_dict(row))]
    return Quote(tuple(offers), _notices(answer, output), _plain(answers.transaction_id(answer)))


def _plain(value: object) -> str:
    """A text as it can be kept: what no page shows (NUL among it) is left out."""
    return "".join(c for c in as_text(value) if c.isprintable())


def _notices(*holders: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_plain(line)[:500] for line in answers.notices(*holders)))


def _offers(row: Mapping[str, Any]) -> list[Offer]:
    """One offer per rate type of a service; the account's first, and it alone is what is charged (sheet 10)."""
    service = _plain(row.get("serviceType"))
    if not service:
        return []
    date, time = _delivery(row)
    bare = Offer(
        service=service[:60],
        name=_plain(row.get("serviceName"))[:100],
        delivery_date=as_date(date),
        delivery_time=time,
        transit_days=_transit(row),
        packaging=_plain(row.get("packagingType"))[:40],
        alerts=_notices(row),
    )
    found = [
        replace(bare, cost=_cost(rated), rate_type=_rate_type(rated))
        for rated in map(as_dict, as_list(row.get("ratedShipmentDetails")))
    ]
    if not found:
        return [bare]
    # Take the account's entry, else the first one.
    charged = next((place for place, offer in enumerate(found) if offer.rate_type == "account"), 0)
    found = [replace(offer, charged=place == charged) for place, offer in enumerate(found)]
    return sorted(found, key=lambda offer: not offer.charged)


def _rate_type(rated: Mapping[str, Any]) -> str:
    told = as_text(rated.get("rateType")).upper()
    if "PREFERRED" in told:
        return "preferred"
    return "account" if "ACCOUNT" in told else "list" if "LIST" in told else _plain(told).lower()[:30]


def _cost(rated: Mapping[str, Any]) -> Money | None:
    """Freight with surcharges and tax, without duties. The currency stands at one of three places (sheet 10)."""
    packages = [as_dict(as_dict(p).get("packageRateDetail")) for p in as_list(rated.get("ratedPackages"))]
    holders = [rated, as_dict(rated.get("shipmentRateDetail")), *packages]
    amount = as_decimal(rated.get("totalNetCharge"))
    if amount is None:
        amount = as_decimal(rated.get("totalNetFedExCharge"))
    currency = next(filter(None, (as_text(holder.get("currency")) for holder in holders)), "")
    return price_of(amount, codes.iso_currency(currency)) if amount is not None else None


def _delivery(row: Mapping[str, Any]) -> tuple[str, str]:
    """Date and time of day of the promise; empty where FedEx says that there is none (sheet 10: `label`)."""
    operation, commit = as_dict(row.get("operationalDetail")), as_dict(row.get("commit"))
    told = [as_dict(commit.get("dateDetail")).get("dayFormat"), operation.get("deliveryDate"), operation.get("commitDate")]
    stamp = next((text for text in map(as_text, told) if as_date(text)), "")
    time = stamp[11:16] if re.fullmatch(r".{10}T\d\d:\d\d.*", stamp) else ""
    return stamp, time


def _transit(row: Mapping[str, Any]) -> int | None:
    operation, commit = as_dict(row.get("operationalDetail")), as_dict(row.get("commit"))
    days = as_dict(commit.get("transitDays"))
    told = [operation.get("transitTime"), commit.get("daysInTransit"), days.get("minimumTransitTime")]
    return next((TRANSIT[word] for word in map(as_text, told) if word in TRANSIT), None)

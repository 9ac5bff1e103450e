"""From an ERP document to what a carrier is asked to ship: whose it is, service, addresses, the whole request. No I/O.

Rules and their order are those of the interface page ("Defaults of the ship flow").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector.services import audit
from connector.services.engine import codec
from connector.services.engine.signals import Skipped
from integrations.base import countries
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.rates import CHEAPEST_IN_TIME, FIXED
from integrations.base.records import (
    Address,
    Document,
    Goods,
    ShipmentRequest,
)
from integrations.flows.addresses import country_code, subdivision_code
from integrations.flows.customs import customs_of
from integrations.flows.packages import packages_of
from integrations.flows.slots import ShipContext, Slots, mapped_value
from integrations.flows.table import INCOTERMS, Slot

CARRIER_PREFIXES = {"fedex": ("FEDEX", "FDX")}
SERVICES_SEEN_AS = {"fedex": "FedEx"}


def check_ours(context: ShipContext, slots: Slots) -> None:
    """Whose document it is. Raises Skipped when another carrier's forwarder stands on it."""
    forwarder = slots.text("carrier")
    if not forwarder:
        if _service(context, slots):
            return
        raise Skipped(
            "No forwarder, and the ship-via is not mapped to a service.",
            "not_ours",
            "Map the ship-via in the integration's value map “service”, or enter the forwarder in the ERP.",
        )
    if carrier_of(context.value_maps, context.carrier, forwarder).casefold() != context.carrier:
        raise Skipped(
            f"For another carrier: {forwarder}.", "other_carrier", "If it is ours, map the forwarder in the value map “carrier”."
        )


def check_whose(context: ShipContext, document: Document) -> None:
    """Whose document it is, as far as its own fields tell. Raises Skipped as the mapping does."""
    check_ours(context, Slots.of(context, document))


def carrier_of(value_maps: Mapping[str, Mapping[str, Any]], ours: str, forwarder: str) -> str:
    """The carrier behind a forwarder, "" for one that nobody has mapped; `ours` is the integration's."""
    carrier = mapped_value(value_maps.get("carrier", {}), forwarder)
    if not carrier and "carrier" not in value_maps:
        prefixes = CARRIER_PREFIXES.get(ours, ())
        carrier = ours if forwarder.upper().startswith(prefixes) else ""
    return carrier


def _service(context: ShipContext, slots: Slots) -> str:
    ship_via = slots.text("service")
    found = mapped_value(context.value_maps.get("service", {}), ship_via) if ship_via else ""
    return found or (ship_via if ship_via in context.services else "")


def mapped(context: ShipContext, slots: Slots, slot: Slot) -> str:
    """What a slot's value map makes of its value, with the rule that holds where the map has no entry; "" for nothing."""
    if slot.value_map == "carrier":
        forwarder = slots.text(slot.name)
        return carrier_of(context.value_maps, context.carrier, forwarder) if forwarder else ""
    if slot.value_map == "service":
        return _service(context, slots)
    value = slots.text(slot.name)
    found = mapped_value(context.value_maps.get(slot.value_map, {}), value) if slot.value_map and value else ""
    if slot.value_map == "terms_of_sale":
        found = (found or value).upper()
        return found if found in INCOTERMS else ""
    return found


def service_of(context: ShipContext, slots: Slots) -> str:
    """The carrier's service. Raises Rejected code unmapped_service: never a guess."""
    found = wished_service(context, slots)
    if found:
        return found
    name = SERVICES_SEEN_AS.get(context.carrier, context.carrier)
    ship_via = slots.text("service")
    raise Rejected(
        f"No {name} service for ship-via {ship_via}." if ship_via else f"No ship-via, and no default {name} service.",
        code="unmapped_service",
        field="service",
        vendor_text=ship_via,
        remedy="Map the ship-via in the integration's value map “service”, or change it in the ERP; then replay.",
    )


def chosen_by_rule(context: ShipContext) -> bool:
    """Whether the service is chosen among quoted offers, whatever the document asks for."""
    return bool(context.option("rates")) and context.option("rate_rule") != FIXED


def wished_service(context: ShipContext, slots: Slots) -> str:
    """The service that the document asks for; "" where it asks for none."""
    return _service(context, slots) or str(context.option("default_service") or "")


def wanted_date_of(context: ShipContext, document: Document) -> dt.date | None:
    """When the document is to arrive, as a day in the site's zone; None where it does not say.

    Midnight UTC, like a time without a zone, is the day that is written: so a date without a clock arrives.
    Raises Rejected for what is no date, where the rule chooses by it.
    """
    told = Slots.of(context, document).text("wanted_date")
    if not told:
        return None
    try:
        return _day(told, context.zone)
    except (ValueError, OverflowError):
        if not chosen_by_rule(context) or context.option("rate_rule") != CHEAPEST_IN_TIME:
            return None
        raise Rejected(
            f"“{told[:40]}” is no date.",
            code="wanted_date_invalid",
            field="wanted_date",
            remedy="Correct it in the ERP, or map the slot “Wanted date” to a field that holds a date; then replay.",
        ) from None


def _day(told: str, zone: dt.tzinfo) -> dt.date:
    """Raises ValueError for what is no date, OverflowError for one at the end of the calendar."""
    try:
        at = dt.datetime.fromisoformat(told)
    except ValueError:
        return dt.date.fromisoformat(told[:10])
    as_written = at.tzinfo is None or (at.time() == dt.time() and not at.utcoffset())
    return at.date() if as_written else at.astimezone(zone).date()


# -- addresses ---------------------------------------------------------------------------------------


def sender_of(context: ShipContext, document: Document) -> Address:
    """The site's address, else the document's sender fields. Raises ConfigurationError of the site when incomplete.

    Of an inbound document the supplier's address; Rejected when that is incomplete.
    """
    if document.inbound:
        return _supplier(context, document)
    address = context.site_address or document.sender
    missing = ["address"] if address is None else _missing(address, phone=True)
    if address is None or missing:
        raise ConfigurationError(
            f"The sender address of site {context.site_code} lacks: {', '.join(missing)}.",
            code="sender_incomplete",
            scope="site",
            scope_name=context.site_code,
            remedy="Complete the site's address in the connection, then press Ping.",
        )
    return _normal(address, "sender")


def _supplier(context: ShipContext, document: Document) -> Address:
    address = document.sender or Address()
    address = replace(address, phone=address.phone or str(context.option("supplier_phone") or ""))
    missing = _missing(address, phone=True)
    if missing:
        raise Rejected(
            f"The supplier's address lacks: {', '.join(missing)}.",
            code="supplier_incomplete",
            field="sender",
            remedy="Complete the supplier's address in the ERP (for a phone, the option “Phone when the supplier has none” "
            "serves too), then replay.",
        )
    return _normal(address, "supplier")


def _check_delivery_site(context: ShipContext) -> None:
    """An inbound parcel goes to the site as the operator entered it, or nowhere. Raises ConfigurationError of the site."""
    address = context.site_address
    missing = ["address"] if address is None else _missing(address, phone=True)
    if missing:
        raise ConfigurationError(
            f"Purchase orders are delivered to site {context.site_code}, whose address lacks: {', '.join(missing)}.",
            code="delivery_site_incomplete",
            scope="site",
            scope_name=context.site_code,
            remedy="Complete the site's address in the connection, then press Ping.",
        )


def _missing(address: Address, *, phone: bool) -> list[str]:
    checks = {
        "company or name": address.company or address.name,
        "street": [line for line in address.lines if line.strip()],
        "city": address.city,
        "country": address.country,
        "phone": address.phone or not phone,
    }
    return [name for name, value in checks.items() if not value]


def _normal(address: Address, whose: str) -> Address:
    code = country_code(address.country)
    if not code:
        raise Rejected(
            f"“{address.country}” is not a country." if address.country else f"The {whose}'s address has no country.",
            code="unknown_country",
            field=f"{whose}.country",
            remedy="Enter the country in the ERP as ISO code or English name, then replay.",
        )
    return replace(
        address,
        country=code,
        state=subdivision_code(address.state, code) if address.state else "",
        lines=tuple(line.strip() for line in address.lines if line.strip()),
    )


def recipient_of(context: ShipContext, document: Document, slots: Slots) -> Address:
    """Recipient with the mapped fields; the phone from document, option, site in this order. Raises Rejected.

    Of an inbound document the delivery site; ConfigurationError of the site when that is incomplete.
    """
    if document.inbound:
        _check_delivery_site(context)
    phone = slots.text("recipient_phone") or str(context.option("recipient_phone") or "")
    if not phone and context.site_address is not None:
        phone = context.site_address.phone
    address = replace(
        document.recipient,
        company=slots.text("recipient_company"),
        name=slots.text("recipient_name"),
        email=slots.text("recipient_email"),
        phone=phone,
        residential=False if document.inbound else context.option("residential"),
    )
    missing = _missing(address, phone=False)
    if missing:
        raise Rejected(
            f"The recipient's address lacks: {', '.join(missing)}.",
            code="address_incomplete",
            field=f"recipient.{missing[0].split()[0]}",
            remedy="Complete the receiver's address in the ERP, then replay.",
        )
    if not phone:
        raise Rejected(
            "The recipient has no phone number, and the carrier demands one.",
            code="phone_missing",
            field="recipient.phone",
            remedy="Enter it in the ERP, or set “Phone when the document has none” in the integration's options.",
        )
    return _normal(address, "recipient")


# -- the whole ---------------------------------------------------------------------------------------


def ship_date_of(context: ShipContext) -> dt.date:
    """Today in the site's zone, also for `ship_date: planned`.

    A planned date in the past counts as today for the carrier, and one in the future cannot be found by
    reference after a lost answer.
    """
    return context.today


def crosses_border(context: ShipContext, document: Document) -> bool:
    """Whether a document of ours goes where customs wants to know what is inside; False where that cannot be told."""
    slots = Slots.of(context, document)
    try:
        check_ours(context, slots)
        sender, recipient = sender_of(context, document), recipient_of(context, document, slots)
    except (Skipped, Rejected, ConfigurationError):
        return False
    return countries.crosses_border(sender.country, recipient.country)


def request_of(context: ShipContext, document: Document, goods: Goods | None = None) -> ShipmentRequest:
    """Everything about a document that a label is bought with. Raises Rejected, Skipped or ConfigurationError.

    Without `goods` a parcel that crosses a border comes without customs data: enough to compare, not to buy.
    """
    slots = Slots.of(context, document)
    check_ours(context, slots)
    # Where a rule chooses among what is offered, the document need not name a service.
    service = service_of(context, slots) if not chosen_by_rule(context) else wished_service(context, slots)
    orders = slots.value("order_numbers") or []
    numbers = [str(n) for n in ([orders] if isinstance(orders, str) else orders) if n not in (None, "")]
    return ShipmentRequest(
        document_key=document.key,
        sender=sender_of(context, document),
        recipient=recipient_of(context, document, slots),
        service=service,
        ship_date=ship_date_of(context),
        packages=packages_of(context, document),
        references=tuple(("order", n) for n in dict.fromkeys(numbers)),
        options=_carrier_options(context, inbound=document.inbound),
        customs=customs_of(context, slots, goods) if goods is not None else None,
    )


def _carrier_options(context: ShipContext, *, inbound: bool) -> dict[str, object]:
    made: dict[str, object] = {
        "pickup_type": context.option("pickup_type"),
        "packaging_type": context.option("packaging_type"),
        "label": {"image_type": context.option("label_format"), "stock_type": context.option("label_stock_type")},
        "rate_type": context.option("rate_type"),
        **_payer(context, inbound=inbound),
    }
    if context.option("sub_packaging_type"):
        made["sub_packaging_type"] = context.option("sub_packaging_type")
    return made


def _payer(context: ShipContext, *, inbound: bool) -> dict[str, object]:
    """Who pays. The sender of an inbound parcel is the supplier, who never does: without an account named, ours is told."""
    if not inbound:
        account = context.option("payment_account")
        return {"payment_type": context.option("payment_type")} | ({"payment_account": account} if account else {})
    kind, account = context.option("inbound_payment_type"), str(context.option("inbound_payment_account") or "").strip()
    return {"payment_type": kind} | ({"payment_account": account} if account else {"payment_by_own_account": True})


def bought_digest(request: ShipmentRequest) -> str:
    """Digest over what was bought with: recipient, packages, weight, service, references. Not the date, not the price.

    Recipient and service are the document's own: a corrected address, or a service that a rule over prices chose, is no
    change of the document.
    """
    recipient = request.written_recipient or request.recipient
    service = request.service if request.wished is None else request.wished
    return audit.digest(codec.encode([recipient, request.packages, service, request.references]))

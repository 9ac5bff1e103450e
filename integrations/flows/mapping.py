"""From an ERP document to what a carrier is asked to ship: slots, value maps, weights, dates. No I/O.

Rules and their order are those of the interface page ("Defaults of the ship flow").
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from connector.services import audit
from connector.services.engine import codec
from connector.services.engine.signals import Skipped
from integrations.base.countries import needs_customs
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.rates import CHEAPEST_IN_TIME, FIXED
from integrations.base.records import (
    Address,
    Commodity,
    Customs,
    Dimensions,
    Document,
    Goods,
    GoodsLine,
    HandlingUnit,
    LengthUnit,
    Money,
    PackageSpec,
    ShipmentRequest,
    Weight,
    WeightUnit,
)
from integrations.flows.addresses import country_code, subdivision_code
from integrations.flows.table import INCOTERMS, Kind, Slot

WEIGHT_UNITS = {
    "kg": WeightUnit.KG, "kgs": WeightUnit.KG, "kilogram": WeightUnit.KG, "kilograms": WeightUnit.KG,
    "lb": WeightUnit.LB, "lbs": WeightUnit.LB, "pound": WeightUnit.LB, "pounds": WeightUnit.LB,
    "g": WeightUnit.G, "gram": WeightUnit.G, "grams": WeightUnit.G,
    "oz": WeightUnit.OZ, "ounce": WeightUnit.OZ, "ounces": WeightUnit.OZ,
}  # fmt: skip
LENGTH_UNITS = {
    "cm": LengthUnit.CM, "centimeter": LengthUnit.CM, "centimetre": LengthUnit.CM,
    "in": LengthUnit.IN, "inch": LengthUnit.IN, "inches": LengthUnit.IN, "\"": LengthUnit.IN,
    "mm": LengthUnit.MM, "millimeter": LengthUnit.MM, "m": LengthUnit.M, "meter": LengthUnit.M,
}  # fmt: skip

CARRIER_PREFIXES = {"fedex": ("FEDEX", "FDX")}
SERVICES_SEEN_AS = {"fedex": "FedEx"}


@dataclass(frozen=True)
class ShipContext:
    """What the mapping of one document needs beside the document; all of it plain values.

    `services` are the carrier's service codes, for "the ship-via itself if it is one". `today` is the date
    in the site's zone.
    """

    kind: Kind
    carrier: str
    options: Mapping[str, Any]
    mappings: Sequence[Mapping[str, Any]]
    value_maps: Mapping[str, Mapping[str, str]]
    erp_settings: Mapping[str, Any]
    services: frozenset[str]
    site_code: str
    site_address: Address | None
    today: dt.date

    def option(self, name: str) -> Any:
        """An option, or its default."""
        value = self.options.get(name)
        return self.kind.defaults().get(name) if value is None else value


@dataclass(frozen=True)
class Slots:
    """Evaluates the slots of a document: the operator's source, constant or default over the flow's own."""

    context: ShipContext
    data: Mapping[str, Any]
    _own: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, context: ShipContext, document: Document) -> Slots:
        """The slots of one document."""
        return cls(context, codec.encode(document), {m["slot"]: m for m in context.mappings})

    def value(self, name: str) -> Any:
        """The slot's value before any value map. Raises Rejected for an expression that fails on this document."""
        slot = next(s for s in self.context.kind.slots if s.name == name)
        own = self._own.get(name, {})
        if own.get("constant") not in (None, ""):
            return own["constant"]
        found = _search(own.get("source") or slot.source, self.data, slot)
        return own.get("default") if found in (None, "", []) else found

    def text(self, name: str) -> str:
        """The slot's value as text, "" for nothing."""
        value = self.value(name)
        return "" if value is None else str(value).strip()


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Any:
    return jmespath.compile(expression)


def _search(expression: str, data: Mapping[str, Any], slot: Slot) -> Any:
    try:
        return _compiled(expression).search(data)
    except JMESPathError as error:
        raise Rejected(
            f"The mapping of “{slot.label}” fails on this document: {error}",
            code="mapping_failed",
            field=slot.name,
            remedy="Correct the slot's source in the integration's mappings, then replay.",
        ) from error


# -- whose document, which service -------------------------------------------------------------------


def _mapped(table: Mapping[str, str], value: str) -> str:
    """A value map's answer: exact first, then without regard to case."""
    if value in table:
        return table[value]
    lowered = {k.casefold(): v for k, v in table.items()}
    return lowered.get(value.casefold(), "")


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


def carrier_of(value_maps: Mapping[str, Mapping[str, Any]], ours: str, forwarder: str) -> str:
    """The carrier behind a forwarder, "" for one that nobody has mapped; `ours` is the integration's."""
    carrier = _mapped(value_maps.get("carrier", {}), forwarder)
    if not carrier and "carrier" not in value_maps:
        prefixes = CARRIER_PREFIXES.get(ours, ())
        carrier = ours if forwarder.upper().startswith(prefixes) else ""
    return carrier


def _service(context: ShipContext, slots: Slots) -> str:
    ship_via = slots.text("service")
    found = _mapped(context.value_maps.get("service", {}), ship_via) if ship_via else ""
    return found or (ship_via if ship_via in context.services else "")


def mapped(context: ShipContext, slots: Slots, slot: Slot) -> str:
    """What a slot's value map makes of its value, with the rule that holds where the map has no entry; "" for nothing."""
    if slot.value_map == "carrier":
        forwarder = slots.text(slot.name)
        return carrier_of(context.value_maps, context.carrier, forwarder) if forwarder else ""
    if slot.value_map == "service":
        return _service(context, slots)
    value = slots.text(slot.name)
    found = _mapped(context.value_maps.get(slot.value_map, {}), value) if slot.value_map and value else ""
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
    """When the document is to arrive, as a date; None where it does not say.

    Raises Rejected for what is no date, where the rule chooses by it.
    """
    told = Slots.of(context, document).text("wanted_date")
    if not told:
        return None
    try:
        return dt.date.fromisoformat(told[:10])
    except ValueError:
        if not chosen_by_rule(context) or context.option("rate_rule") != CHEAPEST_IN_TIME:
            return None
        raise Rejected(
            f"“{told[:40]}” is no date.",
            code="wanted_date_invalid",
            field="wanted_date",
            remedy="Correct it in the ERP, or map the slot “Wanted date” to a field that holds a date; then replay.",
        ) from None


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


# -- packages ----------------------------------------------------------------------------------------


def packages_of(context: ShipContext, document: Document) -> tuple[PackageSpec, ...]:
    """Top handling units with weights, else the header's weight as one package, else the default package. Raises Rejected."""
    units = document.handling_units
    weighed = [u for u in units if u.weight]
    if units and len(weighed) == len(units):
        return tuple(
            PackageSpec(u.unit_id, _weight(context, u.weight, u.weight_unit, u.unit_id), _size(context, u)) for u in units
        )
    if weighed:
        without = ", ".join(u.unit_id for u in units if not u.weight)
        raise Rejected(
            f"Handling unit {without} has no weight, others have one.",
            code="weight_missing",
            field="handling_unit.weight",
            remedy="Weigh it in the ERP, then replay.",
        )
    default = context.erp_settings.get("default_package")
    if document.header_weight:
        size = _size(context, units[0]) if len(units) == 1 else None
        weight = _weight(context, document.header_weight, document.header_weight_unit, "header")
        return (PackageSpec(units[0].unit_id if len(units) == 1 else "1", weight, size),)
    if default:
        return tuple(_default_package(context, default, u.unit_id) for u in units) or (_default_package(context, default, "1"),)
    raise Rejected(
        "No weight: neither on handling units nor on the header, and no default package is set.",
        code="weight_missing",
        field="weight",
        remedy="Enter the gross weight in the ERP, or set a default package in the connection's settings; then replay.",
    )


def _weight(context: ShipContext, value: Decimal | None, unit: str, where: str) -> Weight:
    told = unit or str(context.erp_settings.get("weight_unit") or "kg")
    known = WEIGHT_UNITS.get(told.strip().casefold())
    if known is None:
        raise Rejected(
            f"“{told}” is not a unit of weight we know (at {where}).",
            code="unknown_unit",
            field="weight_unit",
            remedy="Use kg, g, lb or oz in the ERP, then replay.",
        )
    return Weight(Decimal(value or 0), known)


def _size(context: ShipContext, unit: HandlingUnit) -> Dimensions | None:
    if not (unit.length and unit.width and unit.height):
        return None
    told = unit.length_unit or str(context.erp_settings.get("length_unit") or "cm")
    known = LENGTH_UNITS.get(told.strip().casefold())
    if known is None:
        raise Rejected(
            f"“{told}” is not a unit of length we know (handling unit {unit.unit_id}).",
            code="unknown_unit",
            field="length_unit",
            remedy="Use cm, mm, m or in in the ERP, then replay.",
        )
    return Dimensions(unit.length, unit.width, unit.height, known)


def _default_package(context: ShipContext, default: Mapping[str, Any], package_id: str) -> PackageSpec:
    length, width, height = (Decimal(str(default.get(k) or 0)) for k in ("length", "width", "height"))
    unit = LENGTH_UNITS.get(str(default.get("dim_unit") or "cm").casefold(), LengthUnit.CM)
    size = Dimensions(length, width, height, unit) if length and width and height else None
    weight = _weight(context, Decimal(str(default["weight"])), str(default.get("unit") or ""), "default package")
    return PackageSpec(package_id, weight, size)


# -- customs -----------------------------------------------------------------------------------------


def customs_of(context: ShipContext, slots: Slots, goods: Goods) -> Customs:
    """What customs wants to know. Raises Rejected naming the line and the field: nothing is guessed or left at 0."""
    if not goods.lines:
        raise _customs_lacks("The shipment has no lines, so there is nothing to declare.", code="goods_missing", field="lines")
    currencies = {line.currency.upper() or str(context.option("customs_currency") or "").upper() for line in goods.lines}
    if len(currencies) > 1:
        raise _customs_lacks(
            f"The lines are priced in several currencies: {', '.join(sorted(currencies))}.",
            code="currency_mixed",
            field="currency",
        )
    commodities = tuple(_commodity(context, line, currencies.copy().pop()) for line in goods.lines)
    terms = terms_of_sale(context, slots)
    # By the definition of the terms: delivered duty paid is the only one where the seller pays duties.
    payer = context.option("duties_payment_type") or ("SENDER" if terms == "DDP" else "RECIPIENT")
    return Customs(
        commodities=commodities,
        value=Money(sum((c.value.amount for c in commodities), Decimal()), commodities[0].value.currency),
        purpose=str(context.option("shipment_purpose")),
        terms_of_sale=terms,
        duties_payer=str(payer),
        duties_account=str(context.option("duties_account") or ""),
    )


def terms_of_sale(context: ShipContext, slots: Slots) -> str:
    """The Incoterm: the document's delivery terms through the value map, if they are one; else the option. Raises Rejected."""
    told = slots.text("terms_of_sale")
    mapped = (_mapped(context.value_maps.get("terms_of_sale", {}), told) or told).upper() if told else ""
    found = mapped if mapped in INCOTERMS else str(context.option("terms_of_sale") or "")
    if found:
        return found
    raise Rejected(
        f"“{told}” is no Incoterm, and none is set for such documents." if told else "The document has no delivery terms.",
        code="terms_missing",
        field="terms_of_sale",
        vendor_text=told,
        remedy="Map the delivery terms in the integration's value map “terms_of_sale”, or set the option “Incoterm”; replay.",
    )


def _commodity(context: ShipContext, line: GoodsLine, currency: str) -> Commodity:
    where = f"line {line.line_id}" + (f" ({line.part_no})" if line.part_no else "")
    if not line.description.strip():
        raise _customs_lacks(f"{where}: there is no description.", code="description_missing", field="description")
    if line.quantity is None or line.quantity <= 0 or line.quantity != line.quantity.to_integral_value():
        told = "no quantity" if line.quantity is None else f"the quantity {line.quantity.normalize():f} {line.unit}"
        raise _customs_lacks(
            f"{where}: {told}; customs is told whole units, one or more.",
            code="quantity_invalid",
            field="quantity",
            remedy="Ship this one by hand, or sell it in a unit that is whole.",
        )
    unit = _mapped(context.value_maps.get("unit", {}), line.unit) or line.unit
    if not unit:
        raise _customs_lacks(f"{where}: there is no unit of quantity.", code="unit_missing", field="unit")
    if not line.unit_price or line.unit_price <= 0:
        raise _customs_lacks(
            f"{where}: there is no price, and goods without value are not declared.",
            code="value_missing",
            field="unit_price",
            remedy="Enter the price (or the customs value) on the order line in the ERP, then replay.",
        )
    if not re.fullmatch(r"[A-Z]{3}", currency):
        raise _customs_lacks(
            f"{where}: its price has no currency.",
            code="currency_missing",
            field="currency",
            remedy="Enter the order's currency in the ERP, or set “Currency when the document has none”; then replay.",
        )
    if not line.weight:
        raise _customs_lacks(
            f"{where}: there is no net weight.",
            code="weight_missing",
            field="commodity.weight",
            remedy="Enter the weight of the part in the ERP, then replay.",
        )
    cents = Decimal("0.01")
    value = (line.quantity * line.unit_price).quantize(cents, ROUND_HALF_UP)
    price = line.unit_price.quantize(cents, ROUND_HALF_UP)
    if not value or not price:
        # Prices are told in whole cents: this one would stand on the invoice as 0.00.
        raise _customs_lacks(
            f"{where}: {'the price of one' if value else 'its value'} is less than a cent.",
            code="value_missing",
            field="unit_price",
            remedy="Ship this one by hand, or sell it in a larger unit." if value else "Complete it in the ERP, then replay.",
        )
    return Commodity(
        description=line.description.strip(),
        quantity=int(line.quantity),
        unit=unit,
        unit_price=Money(price, currency),
        value=Money(value, currency),
        weight=_weight(context, line.weight, line.weight_unit, where),
        origin_country=_origin(context, line, where),
        harmonized_code=line.harmonized_code.strip(),
        part_no=line.part_no.strip(),
    )


def _origin(context: ShipContext, line: GoodsLine, where: str) -> str:
    told = line.origin_country.strip() or str(context.option("country_of_manufacture") or "")
    found = country_code(told) if told else ""
    if found:
        return found
    raise _customs_lacks(
        f"{where}: “{told}” is not a country." if told else f"{where}: the country of manufacture is not known.",
        code="origin_missing",
        field="origin_country",
        remedy="Enter it in the ERP and name its field in the connection's settings, or set “Country of manufacture”; replay.",
    )


def _customs_lacks(message: str, *, code: str, field: str, remedy: str = "Complete it in the ERP, then replay.") -> Rejected:
    return Rejected(message, code=code, field=field, remedy=remedy)


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
    return needs_customs(sender.country, recipient.country)


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

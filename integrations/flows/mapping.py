"""From an ERP document to what a carrier is asked to ship: slots, value maps, weights, dates. No I/O.

Rules and their order are those of the interface page ("Defaults of the ship flow").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from connector.services import audit
from connector.services.engine import codec
from connector.services.engine.signals import Skipped
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.records import (
    Address,
    Dimensions,
    Document,
    HandlingUnit,
    LengthUnit,
    PackageSpec,
    ShipmentRequest,
    Weight,
    WeightUnit,
)
from integrations.flows.addresses import country_code, subdivision_code
from integrations.flows.table import Kind, Slot

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


@cache
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
    table = context.value_maps.get("carrier", {})
    carrier = _mapped(table, forwarder)
    if not carrier and "carrier" not in context.value_maps:
        prefixes = CARRIER_PREFIXES.get(context.carrier, ())
        carrier = context.carrier if forwarder.upper().startswith(prefixes) else ""
    if carrier.casefold() != context.carrier:
        raise Skipped(
            f"For another carrier: {forwarder}.", "other_carrier", "If it is ours, map the forwarder in the value map “carrier”."
        )


def _service(context: ShipContext, slots: Slots) -> str:
    ship_via = slots.text("service")
    mapped = _mapped(context.value_maps.get("service", {}), ship_via) if ship_via else ""
    return mapped or (ship_via if ship_via in context.services else "")


def service_of(context: ShipContext, slots: Slots) -> str:
    """The carrier's service. Raises Rejected code unmapped_service: never a guess."""
    found = _service(context, slots) or str(context.option("default_service") or "")
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


# -- addresses ---------------------------------------------------------------------------------------


def sender_of(context: ShipContext, document: Document) -> Address:
    """The site's address, else the document's sender fields. Raises ConfigurationError of the site when incomplete."""
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
    """Recipient with the mapped fields; the phone from document, option, site in this order. Raises Rejected."""
    phone = slots.text("recipient_phone") or str(context.option("recipient_phone") or "")
    if not phone and context.site_address is not None:
        phone = context.site_address.phone
    address = replace(
        document.recipient,
        company=slots.text("recipient_company"),
        name=slots.text("recipient_name"),
        email=slots.text("recipient_email"),
        phone=phone,
        residential=context.option("residential"),
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


# -- the whole ---------------------------------------------------------------------------------------


def ship_date_of(context: ShipContext) -> dt.date:
    """Today in the site's zone, also for `ship_date: planned`.

    A planned date in the past counts as today for the carrier, and one in the future cannot be found by
    reference after a lost answer.
    """
    return context.today


def request_of(context: ShipContext, document: Document) -> ShipmentRequest:
    """Everything about a document that a label is bought with. Raises Rejected, Skipped or ConfigurationError."""
    slots = Slots.of(context, document)
    check_ours(context, slots)
    service = service_of(context, slots)
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
        options=_carrier_options(context),
    )


def _carrier_options(context: ShipContext) -> dict[str, object]:
    made: dict[str, object] = {
        "pickup_type": context.option("pickup_type"),
        "packaging_type": context.option("packaging_type"),
        "label": {"image_type": context.option("label_image_type"), "stock_type": context.option("label_stock_type")},
        "rate_type": context.option("rate_type"),
        "payment_type": context.option("payment_type"),
    }
    if context.option("payment_account"):
        made["payment_account"] = context.option("payment_account")
    return made


def bought_digest(request: ShipmentRequest) -> str:
    """Digest over what was bought with: recipient, packages, weight, service, references. Not the date."""
    return audit.digest(codec.encode([request.recipient, request.packages, request.service, request.references]))

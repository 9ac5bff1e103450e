"""What customs wants to know about a document's goods: nothing is guessed or left at 0. No I/O."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from integrations.base.errors import Rejected
from integrations.base.records import (
    Commodity,
    Customs,
    Goods,
    GoodsLine,
    Money,
)
from integrations.flows.addresses import country_code
from integrations.flows.packages import weight_of
from integrations.flows.slots import ShipContext, Slots, mapped_value
from integrations.flows.table import INCOTERMS


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
    mapped = (mapped_value(context.value_maps.get("terms_of_sale", {}), told) or told).upper() if told else ""
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
    unit = mapped_value(context.value_maps.get("unit", {}), line.unit) or line.unit
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
        weight=weight_of(context, line.weight, line.weight_unit, where),
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

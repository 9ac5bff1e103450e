"""Freight cost as charges of customer orders: their bodies, how ours is told, what may be corrected (sheet 9.3). No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from integrations.base.errors import Rejected
from integrations.base.records import ChargeOrder, FoundShipment, FreightPart
from integrations.ifs_cloud.mapping import Row, measure, number, same_state, shipment_of, shipped, text
from integrations.ifs_cloud.odata import key_predicate
from integrations.ifs_cloud.order_profile import ORDER_KINDS
from integrations.ifs_cloud.orders import kind_of
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.targets import Target


def charges_of(order: str, profile: Profile) -> Target:
    """The charges of one customer order, as a set."""
    orders = profile.orders
    place = f"{orders.set}{key_predicate({profile.order_key: order})}/{profile.charge.nav}"
    return Target(orders.service, place, "customer_order_charge", orders.entity)


@dataclass(frozen=True, slots=True)
class Ships:
    """What ships of one order line: its weight and its value, None where IFS does not hold them."""

    weight: Decimal | None
    value: Decimal | None

    @classmethod
    def of(cls, quantity: Decimal | None, ordered: Row, profile: Profile) -> Ships:
        """From a shipment line's quantity, in inventory units, and the order line. Raises Rejected for what cannot be read."""
        names = profile.order_line
        sold, weight = shipped(quantity, ordered, profile)
        price = measure(ordered, names["customs_value_field"]) or measure(ordered, names["price_field"])
        return cls(weight, price * sold if price is not None and sold else None)


def charge_order(row: Row, before: Row | None, ships: Sequence[Ships], profile: Profile) -> ChargeOrder:
    """A customer order as freight cost sees it. `before` is its pre-posting, `ships` what of it ships, where it is asked for.

    Raises Rejected for what cannot be read.
    """
    names = profile.charge
    state = text(row, profile.order_state_field)
    return ChargeOrder(
        order=text(row, profile.order_key),
        company_code=text(row, names.company_field),
        site=text(row, names.site_field),
        currency=text(row, profile.order_currency_field),
        state=state,
        open=not any(same_state(state, closed) for closed in CLOSED_ORDERS),
        address_id=text(row, names.address_field),
        pre_posting=text(row, names.pre_posting_field),
        cost_center=text(before or {}, names.cost_center_field),
        account=text(before or {}, names.account_field),
        weight=_sum([one.weight for one in ships]),
        value=_sum([one.value for one in ships]),
        code_parts={f"Code{part}": found for part in "BCDEFGHIJ" if (found := text(before or {}, f"{names.part_prefix}{part}"))},
    )


def _sum(parts: Sequence[Decimal | None]) -> Decimal | None:
    """None where one part is not known: a sum without it would be too small."""
    known = [part for part in parts if part is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(parts) else None


CLOSED_ORDERS = ("Invoiced", "Cancelled")
"""States of an order in which IFS takes no charge."""


def charge_body(part: FreightPart, reference: str, profile: Profile) -> dict[str, Any]:
    """The charge as it is posted: our cost, and nothing for the customer to pay. Raises Rejected (code `charge_mode`).

    Never an account or a cost centre: IFS takes them from the charge type and the order's pre-posting.
    """
    names = profile.charge
    if names.amount_mode != "zero":
        raise Rejected(
            f"Charges that invoice the customer ({names.amount_mode}) are not offered yet.",
            code="charge_mode",
            remedy='Set customer_order_charge.amount_mode to "zero" in the settings of the connection, then replay.',
            vendor="ifs_cloud",
        )
    body: dict[str, Any] = {
        profile.order_key: part.order,
        "Contract": part.site,
        "Company": part.company_code,
        "ChargeType": part.charge_type or names.charge_type,
        "ChargedQty": 1,
        "SalesUnitMeas": names.unit,
        **dict.fromkeys(("ChargeAmount", "ChargeAmountInclTax", "BaseChargeAmount", "BaseChargeAmtInclTax"), 0),
        names.cost_field: part.cost.amount,
        "CurrencyRate": 1,
        **({names.invoiced_field: 0} if names.invoiced_field else {}),
        "StatisticalChargeDiff": 0,
        **dict.fromkeys(("CollectDb", "MultipleTaxLines", "PrintChargeTypeDb", "PrintCollectChargeDb"), False),
        "IntrastatExempt": False,
        "UnitCharge": False,
    }
    if shipment := _shipment_mark(part.document_key):
        body["ShipmentId"] = int(shipment)
    if part.address_id:
        body["DeliveryAddress"] = part.address_id
    if names.marker_field:
        body[names.marker_field] = reference
    return body


def _shipment_mark(key: str) -> str:
    """The shipment that a charge is tied to; "" for a delivery of an order, which has none. Raises Rejected."""
    return "" if kind_of(key) in ORDER_KINDS else str(shipment_of(key))


def is_charge(row: Row, part: FreightPart, references: Sequence[str], profile: Profile) -> bool:
    """Whether a charge of the order may be this part: by our own mark, else by shipment, charge type and cost (sheet 9.3)."""
    names = profile.charge
    if names.marker_field:
        return text(row, names.marker_field) in references
    return (
        text(row, "ShipmentId") == _shipment_mark(part.document_key)
        and text(row, "ChargeType") == (part.charge_type or names.charge_type)
        and number(row, names.cost_field) == part.cost.amount
    )


def found_charge(row: Row, profile: Profile) -> FoundShipment:
    """A charge as a look-up tells it: its number within the order."""
    found = text(row, profile.charge.number_field)
    return FoundShipment(found, (found,))


class ChargeCorrection:
    """Decides whether a charge's cost is to be set; `skipped` says what stands in the way."""

    def __init__(self, cost: Decimal, ours: Sequence[Decimal], profile: Profile) -> None:
        self._cost, self._ours, self._names = cost, ours, profile.charge
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """{cost field: cost} where it is to be changed, else {}."""
        names, stands = self._names, number(row, self._names.cost_field)
        self.skipped = ()
        if stands == self._cost:
            return {}
        if number(row, names.invoiced_field):
            self.skipped = ("invoiced",)
        elif stands not in self._ours:
            self.skipped = ("changed",)
        return {} if self.skipped else {names.cost_field: self._cost}

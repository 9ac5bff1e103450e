"""Freight cost as charges of orders: their bodies, how ours is told, what may be corrected (sheet 9.3, 9.6). No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from integrations.base.errors import Rejected
from integrations.base.records import ChargeLine, ChargeOrder, FoundShipment, FreightPart, Price
from integrations.ifs_cloud.mapping import Row, measure, number, same_state, shipment_of, shipped, text
from integrations.ifs_cloud.odata import Value, key_predicate
from integrations.ifs_cloud.order_profile import CUSTOMER_ORDER, ORDER_KINDS, PURCHASE_ORDER
from integrations.ifs_cloud.orders import kind_of
from integrations.ifs_cloud.profile import ChargeProfile, Profile
from integrations.ifs_cloud.targets import Target


def names_of(key: str, profile: Profile) -> ChargeProfile:
    """How charges are kept on the orders behind a document: a purchase order bears its own, customer orders all else."""
    return profile.charges[PURCHASE_ORDER if kind_of(key) == PURCHASE_ORDER else CUSTOMER_ORDER]


def charges_of(order: str, names: ChargeProfile) -> Target:
    """The charges of one order, as a set."""
    place = f"{names.orders.set}{key_predicate({names.order_key: order})}/{names.nav}"
    return Target(names.orders.service, place, names.path, names.orders.entity)


@dataclass(frozen=True, slots=True)
class Ships:
    """What ships of one order line: its weight and its value, None where IFS does not hold them."""

    weight: Decimal | None
    value: Decimal | None

    @classmethod
    def of(cls, quantity: Decimal | None, ordered: Row, profile: Profile) -> Ships:
        """From a shipment line's quantity, in inventory units, and the order line. Raises Rejected for what cannot be read.

        Without a quantity the whole line ships, as a delivery of the order.
        """
        names = profile.order_line
        sold, weight = shipped(quantity, ordered, profile)
        if quantity is None:
            sold = number(ordered, names["quantity_field"])
            weight = measure(ordered, names["net_weight_field"]) or measure(ordered, names["gross_weight_field"])
        price = measure(ordered, names["customs_value_field"]) or measure(ordered, names["price_field"])
        return cls(weight, price * sold if price is not None and sold else None)


def lines_of(ships: Sequence[tuple[tuple[str, ...], Ships]]) -> tuple[ChargeLine, ...]:
    """The order lines that ship, each once: several shipment lines may come from one."""
    found: dict[tuple[str, ...], list[Ships]] = {}
    for line, one in ships:
        found.setdefault(line, []).append(one)
    return tuple(ChargeLine(line, _sum([s.weight for s in some]), _sum([s.value for s in some])) for line, some in found.items())


def charge_order(row: Row, before: Row | None, ships: Sequence[Ships], names: ChargeProfile) -> ChargeOrder:
    """An order as freight cost sees it. `before` is its pre-posting, `ships` what of it ships, where it is asked for.

    Raises Rejected for what cannot be read.
    """
    state = text(row, names.state_field)
    return ChargeOrder(
        order=text(row, names.order_key),
        company_code=text(row, names.company_field),
        site=text(row, names.site_field),
        currency=text(row, names.currency_field),
        state=state,
        open=not any(same_state(state, closed) for closed in names.closed_states),
        address_id=text(row, names.address_field),
        pre_posting=text(row, names.pre_posting_field),
        cost_center=text(before or {}, names.cost_center_field),
        account=text(before or {}, names.account_field),
        weight=_sum([one.weight for one in ships]),
        value=_sum([one.value for one in ships]),
        code_parts={f"Code{part}": found for part in "BCDEFGHIJ" if (found := text(before or {}, f"{names.part_prefix}{part}"))},
        inbound=names.kind == PURCHASE_ORDER,
    )


def _sum(parts: Sequence[Decimal | None]) -> Decimal | None:
    """None where one part is not known: a sum without it would be too small."""
    known = [part for part in parts if part is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(parts) else None


def charge_body(part: FreightPart, reference: str, names: ChargeProfile) -> dict[str, Any]:
    """The charge as it is posted.

    Never an account or a cost centre: IFS takes them from the charge type and the order's pre-posting.
    """
    body: dict[str, Any] = {
        names.order_key: part.order,
        "Contract": part.site,
        "Company": part.company_code,
        "ChargeType": _type_of(part, names),
        "ChargedQty": 1,
    }
    body |= _purchase(part, names) if names.kind == PURCHASE_ORDER else _sale(part, names)
    if names.marker_field:
        body[names.marker_field] = reference
    return body


def _type_of(part: FreightPart, names: ChargeProfile) -> str:
    """Purchase orders have charge types of their own: the integration's option speaks of sales charge types."""
    return names.charge_type if names.kind == PURCHASE_ORDER else part.charge_type or names.charge_type


def _purchase(part: FreightPart, names: ChargeProfile) -> dict[str, Any]:
    """Landed cost, owed to the carrier where the profile names it as a supplier (sheet 9.6)."""
    owed = {names.vendor_field: names.vendor} if names.vendor_field and names.vendor else {}
    return {names.cost_field: part.cost.amount, **owed}


def markup_of(names: ChargeProfile) -> Decimal | None:
    """Per cent that the customer pays above the cost (`amount_mode`, sheet 9.3); None: nothing at all."""
    if names.amount_mode == "cost_plus_percent":
        return names.amount_percent
    return Decimal(0) if names.amount_mode == "cost" else None


PRICES = ("ChargeAmount", "ChargeAmountInclTax", "BaseChargeAmount", "BaseChargeAmtInclTax")
"""What the customer pays. All four hold one amount: whether IFS goes by the net or the gross one is the order's business."""


def _sale(part: FreightPart, names: ChargeProfile) -> dict[str, Any]:
    """Our cost, and what the customer pays for it: nothing, unless the part has a price (sheet 9.3)."""
    body: dict[str, Any] = {
        "SalesUnitMeas": names.unit,
        **dict.fromkeys(PRICES, part.price.of(part.cost.amount) if part.price else 0),
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
    if part.line:
        line, release, item = part.line
        body |= {"LineNo": line, "RelNo": release, "LineItemNo": int(item)}
    return body


def _shipment_mark(key: str) -> str:
    """The shipment that a charge is tied to; "" for a delivery of an order, which has none. Raises Rejected."""
    return "" if kind_of(key) in ORDER_KINDS else str(shipment_of(key))


def is_charge(row: Row, part: FreightPart, references: Sequence[str], names: ChargeProfile) -> bool:
    """Whether a charge of the order may be this part: by our own mark, else by what it is for, its type and its cost.

    Raises Rejected (code `charges_unreadable`) where a charge of a purchase order does not tell: the names of its members
    are a guess (sheet 9.6), and a charge of ours that is not recognised would be posted twice.
    """
    if names.marker_field:
        return text(row, names.marker_field) in references
    if names.kind != PURCHASE_ORDER:
        return (
            text(row, "ShipmentId") == _shipment_mark(part.document_key)
            and text(row, "ChargeType") == _type_of(part, names)
            and number(row, names.cost_field) == part.cost.amount
            and (not part.line or _line_of(row) == part.line)
        )
    if text(row, "ChargeType") not in ("", _type_of(part, names)):
        return False
    if names.cost_field not in row or "ChargeType" not in row:
        told = ", ".join(sorted(name for name in row if not name.startswith("@") and name not in ("luname", "keyref")))
        raise Rejected(
            f"A charge of {part.order} has no {names.cost_field} or no ChargeType, so it cannot be told whether it is ours.",
            code="charges_unreadable",
            remedy=f"Name the member that holds the amount in {names.path}.cost_field (or a field of your own in "
            f"{names.path}.marker_field), then replay. The charge has: {told}.",
            vendor="ifs_cloud",
            field=names.cost_field,
        )
    return number(row, names.cost_field) == part.cost.amount


def _line_of(row: Row) -> tuple[str, ...]:
    """The order line that a charge is tied to."""
    return text(row, "LineNo"), text(row, "RelNo"), text(row, "LineItemNo") or "0"


def number_of(row: Row, names: ChargeProfile) -> str:
    """A charge's number within its order; where the profile's field is not there, the rest of IFS's own key of it."""
    if found := text(row, names.number_field):
        return found
    pairs = re.findall(r"([A-Z_]+)=([^^]*)\^", text(row, "keyref"))
    return "".join(f"{column}={value}^" for column, value in pairs if _name(column) != names.order_key)


def key_of(order: str, told: str, names: ChargeProfile) -> dict[str, Value]:
    """The key of a charge for its own address. Raises Rejected for a number that is none."""
    pairs = re.findall(r"([A-Z_]+)=([^^]*)\^", told) or [("", told)]
    key: dict[str, Value] = {names.order_key: order}
    for column, value in pairs:
        if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
            raise Rejected(f"{told!r} is no number of a charge.", code="bad_key", vendor="ifs_cloud")
        key[_name(column) if column else names.number_field] = int(value)
    return key


def _name(column: str) -> str:
    """`SEQUENCE_NO` as `SequenceNo`."""
    return "".join(word.capitalize() for word in column.split("_"))


def found_charge(row: Row, names: ChargeProfile) -> FoundShipment:
    """A charge as a look-up tells it: its number within the order. Raises Rejected where it has none."""
    found = number_of(row, names)
    if not found:
        raise Rejected(
            "A charge that may be ours does not tell its number.",
            code="charges_unreadable",
            remedy=f"Name the member that holds it in {names.path}.number_field, then replay.",
            vendor="ifs_cloud",
            field=names.number_field,
        )
    return FoundShipment(found, (found,))


def on_the_wire(body: Mapping[str, object], part: FreightPart, names: ChargeProfile) -> dict[str, object]:
    """A frozen body, whose amounts are text, as it is sent: with numbers."""
    priced = dict.fromkeys(PRICES, part.price.of(part.cost.amount)) if part.price else {}
    return {**body, names.cost_field: part.cost.amount, **priced}


class ChargeCorrection:
    """Decides whether a charge's cost is to be set, and its price along with it; `skipped` says what stands in the way."""

    def __init__(self, cost: Decimal, ours: Sequence[Decimal], names: ChargeProfile, price: Price | None = None) -> None:
        self._cost, self._ours, self._names, self._price = cost, ours, names, price
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """{cost field: cost} where it is to be changed, and the price where there is one, else {}."""
        names, stands = self._names, number(row, self._names.cost_field)
        self.skipped = ()
        if stands == self._cost:
            return {}
        if number(row, names.invoiced_field):
            self.skipped = ("invoiced",)
        elif stands is None or stands not in self._ours:
            self.skipped = ("changed",)
        elif self._price and self._price.of(stands) not in (number(row, "ChargeAmount"), number(row, "ChargeAmountInclTax")):
            self.skipped = ("repriced",)  # by somebody in IFS: a price of theirs is not ours to correct
        if self.skipped:
            return {}
        return {names.cost_field: self._cost} | (dict.fromkeys(PRICES, self._price.of(self._cost)) if self._price else {})

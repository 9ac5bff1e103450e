"""What is written to IFS: which fields of a record have to be sent, decided on every fresh read. No I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol

from integrations.base.errors import FieldConflict, Rejected
from integrations.base.records import (
    ChargeOrder,
    FoundShipment,
    FreightPart,
    GoodsLine,
    StatusWrite,
    WriteBack,
)
from integrations.ifs_cloud.mapping import Row, moment, number, same_state, shipment_of, text
from integrations.ifs_cloud.odata import instant, key_predicate
from integrations.ifs_cloud.order_profile import ORDER_KINDS, OrderProfile
from integrations.ifs_cloud.orders import kind_of
from integrations.ifs_cloud.profile import Profile, ShipmentProfile, Target

# -- the write-back ----------------------------------------------------------------------------------------


class Decision(Protocol):
    """Says on every fresh read which fields have to be sent, {} for none."""

    skipped: tuple[str, ...]

    def __call__(self, row: Row) -> dict[str, Any]: ...


class TrackingTargets(Protocol):
    """Where the number goes, with carrier and ship date: a shipment, an order, a line. None: the tenant has no field."""

    @property
    def tracking_field(self) -> str | None: ...
    @property
    def forwarder_field(self) -> str | None: ...
    @property
    def ship_date_field(self) -> str | None: ...
    @property
    def quote_field(self) -> str | None: ...
    @property
    def quote_currency_field(self) -> str | None: ...


class TrackingWrite:
    """Decides, on every fresh read, which fields of a record have to be sent for a `WriteBack`.

    `shared`: the record's field also shows the numbers of other deliveries of the same order; the latest one stands there.

    One object serves one write: it remembers which foreign number stood there when a person's "write ours"
    was carried out, so that a number that somebody enters in the meantime is not overwritten too. After a
    call `skipped` names the targets that the profile does not have and the fields that were left alone.
    """

    def __init__(self, write: WriteBack, shipment: TrackingTargets, *, shared: bool = False) -> None:
        self._write = write
        self._shipment = shipment
        self._ours = write.ours | write.shared if shared else write.ours
        self._overruled: str | None = None
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """The fields to send, {} for none. Raises FieldConflict when the tracking field is somebody else's."""
        shipment, write = self._shipment, self._write
        body: dict[str, Any] = {}
        skipped: list[str] = []
        if write.tracking_number is not None:
            if shipment.tracking_field is None:
                skipped.append("tracking_field")
            elif self._must_write(text(row, shipment.tracking_field), write.tracking_number):
                body[shipment.tracking_field] = write.tracking_number
        date = instant(write.ship_date) if write.ship_date is not None else None
        extras = (
            ("forwarder_field", shipment.forwarder_field, write.carrier),
            ("ship_date_field", shipment.ship_date_field, date),
        )
        for setting, name, value in extras:
            if not value:
                continue
            if name is None:
                skipped.append(setting)
            elif not text(row, name):
                body[name] = value
            elif not self._equal(row, name, value):
                skipped.append(name)
        body |= self._quote(row, skipped)
        self.skipped = tuple(skipped)
        return body

    def _quote(self, row: Row, skipped: list[str]) -> dict[str, Any]:
        """The quoted price, where the profile names fields of its own for it: what stands there is an earlier quote."""
        shipment, quoted = self._shipment, self._write.quoted
        if quoted is None:
            return {}
        if shipment.quote_field is None:
            skipped.append("quote_field")
            return {}
        body: dict[str, Any] = {}
        try:
            stands = number(row, shipment.quote_field)
        except Rejected:  # no number stands there: it is replaced
            stands = None
        if stands != quoted.amount:
            body[shipment.quote_field] = quoted.amount
        currency = shipment.quote_currency_field
        if currency is not None and text(row, currency) != quoted.currency:
            body[currency] = quoted.currency
        return body

    def _must_write(self, theirs: str, ours: str) -> bool:
        if theirs == ours:
            return False
        if not theirs or theirs == self._write.base or theirs in self._ours:
            return True
        if self._write.overwrite and self._overruled in (None, theirs):
            self._overruled = theirs
            return True
        raise field_conflict(self._shipment.tracking_field, theirs, ours)

    def _equal(self, row: Row, name: str, value: str) -> bool:
        if name != self._shipment.ship_date_field:
            return text(row, name) == value
        try:
            return moment(row, name) == dt.datetime.fromisoformat(value)
        except Rejected:
            return False  # something else stands there; it is left alone and named, as any other value


STATUS_TARGETS = {
    "status": "status_field",
    "status_at": "status_time_field",
    "estimated_delivery": "estimated_delivery_field",
    "delivered_at": "delivered_field",
    "signed_by": "signed_by_field",
}
"""Part of a `StatusWrite`: setting of the profile that names its field (sheet 9.4, 11)."""


class StatusDecision:
    """Decides which fields tell something else than the carrier's news; `skipped` names parts without a field."""

    def __init__(self, write: StatusWrite, shipment: ShipmentProfile | OrderProfile) -> None:
        self._write = write
        self._shipment = shipment
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """The fields to send, {} for none. A date goes as midnight UTC, as IFS stores a day in a time column."""
        body: dict[str, Any] = {}
        skipped: list[str] = []
        for part, setting in STATUS_TARGETS.items():
            value = getattr(self._write, part)
            name = getattr(self._shipment, setting)
            if value is None:
                continue
            if name is None:
                skipped.append(setting)
            elif isinstance(value, dt.date):
                at = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time(), tzinfo=dt.UTC)
                if not self._same_instant(row, name, at):
                    body[name] = instant(at)
            elif text(row, name) != value:
                body[name] = value
        self.skipped = tuple(skipped)
        return body

    @staticmethod
    def _same_instant(row: Row, name: str, at: dt.datetime) -> bool:
        try:
            return moment(row, name) == at.replace(microsecond=0)
        except Rejected:
            return False


class TrackingClear:
    """Decides whether the tracking field holds one of our numbers and must be emptied; `skipped` says when not."""

    def __init__(self, ours: frozenset[str], shipment: TrackingTargets) -> None:
        self._ours = ours
        self._field = shipment.tracking_field
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """{field: None} where the number is ours, else {}."""
        if self._field is None:
            self.skipped = ("tracking_field",)
            return {}
        theirs = text(row, self._field)
        self.skipped = (self._field,) if theirs and theirs not in self._ours else ()
        return {self._field: None} if theirs in self._ours and theirs else {}


def field_conflict(name: str | None, theirs: str, ours: str) -> FieldConflict:
    """Our field holds somebody else's value: both are shown, a person decides."""
    return FieldConflict(
        f"{name} in IFS holds {theirs}, which is not ours; we would write {ours}.",
        theirs=theirs,
        ours=ours,
        remedy="Decide which number is right: keep theirs, or write ours.",
        vendor="ifs_cloud",
        field=name or "",
    )


# -- freight cost on customer orders (sheet 9.3) ----------------------------------------------------------------


def charges_of(order: str, profile: Profile) -> Target:
    """The charges of one customer order, as a set."""
    orders = profile.orders
    place = f"{orders.set}{key_predicate({profile.order_key: order})}/{profile.charge.nav}"
    return Target(orders.service, place, "customer_order_charge", orders.entity)


def charge_order(row: Row, before: Row | None, goods: Sequence[GoodsLine] | None, profile: Profile) -> ChargeOrder:
    """A customer order as freight cost sees it. `before` is its pre-posting, `goods` what of it ships.

    Raises Rejected for what cannot be read.
    """
    names = profile.charge
    state = text(row, profile.order_state_field)
    weights = [line.weight for line in goods or ()]
    values = [line.unit_price * line.quantity for line in goods or () if line.unit_price is not None and line.quantity]
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
        weight=sum((w for w in weights if w is not None), Decimal(0)) if weights and None not in weights else None,
        value=sum(values, Decimal(0)) if goods and len(values) == len(goods) else None,
        code_parts={f"Code{part}": found for part in "BCDEFGHIJ" if (found := text(before or {}, f"{names.part_prefix}{part}"))},
    )


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


# -- the profile against $metadata ---------------------------------------------------------------------------

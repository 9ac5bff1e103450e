"""IFS rows to the product's records, and the product's write-back to the fields of one PATCH. No I/O.

Tolerant in what is read (numbers as text, states in any spelling, absent members), but a value that is there
and cannot be understood is refused with its field's name, never dropped.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from integrations.base.context import Company
from integrations.base.errors import ConfigurationError, FieldConflict, Rejected
from integrations.base.records import (
    Address,
    ChargeOrder,
    Document,
    DocumentHead,
    DocumentLine,
    FoundShipment,
    FreightPart,
    GoodsLine,
    HandlingUnit,
    StatusWrite,
    WriteBack,
)
from integrations.ifs_cloud.odata import EnumMember, Value, all_of, any_of, compare, instant, key_predicate
from integrations.ifs_cloud.profile import Poll, Profile, ShipmentProfile, Target, date_literal_value

Row = Mapping[str, Any]

SHIPMENT = "shipment"
"""The document kind of this adapter; source keys read "shipment:19"."""


# -- single values -----------------------------------------------------------------------------------------


def text(row: Row, name: str | None) -> str:
    """A field as text without outer blanks; "" for null, absent, or a field that the tenant does not have."""
    value = row.get(name) if name else None
    if value is None:
        return ""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return format(value, ".0f")
    return str(value).strip()


def number(row: Row, name: str | None) -> Decimal | None:
    """A field as a number, also from text (IEEE754Compatible, sheet 4.2); None where it is empty. Raises Rejected."""
    value = row.get(name) if name else None
    if value is None or value == "":
        return None
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if isinstance(value, bool) or not found.is_finite():
        raise _unreadable(name, value, "a number")
    return found


def measure(row: Row, name: str | None) -> Decimal | None:
    """A weight or length; 0 is what IFS holds where nobody entered one, so it counts as unknown. Raises Rejected."""
    found = number(row, name)
    if found is not None and found < 0:
        raise _unreadable(name, found, "a weight or length")
    return found or None


def moment(row: Row, name: str | None) -> dt.datetime | None:
    """A DateTimeOffset, or an Edm.Date as midnight UTC (sheet 4.2); None where it is empty. Raises Rejected."""
    value = text(row, name)
    if not value:
        return None
    try:
        # Python reads at most six digits of a fraction; Oracle can give nine.
        found = dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError as error:
        raise _unreadable(name, value, "a date") from error
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)


def day(row: Row, name: str | None, zone: dt.tzinfo) -> dt.date | None:
    """The calendar day of a date or instant in the site's zone. Raises Rejected.

    Midnight UTC is read as the day that is written there: that is how a date without a clock arrives, and
    converting it would move it to the day before, west of Greenwich.
    """
    found = moment(row, name)
    if found is None:
        return None
    return found.date() if found.time() == dt.time() else found.astimezone(zone).date()


def shipment_number(row: Row, name: str) -> int:
    """A shipment's number, a Decimal on the wire (sheet 4.2). Raises Rejected."""
    found = number(row, name)
    if found is None or found != found.to_integral_value():
        raise _unreadable(name, row.get(name), "a shipment number")
    return int(found)


def same_state(left: str, right: str) -> bool:
    """Whether two spellings name one state: PartiallyDelivered, "Partially Delivered", PARTIALLY_DELIVERED."""
    return _letters(left) == _letters(right)


def _letters(value: str) -> str:
    return re.sub(r"[^a-z0-9]", "", value.lower())


def _unreadable(name: str | None, value: object, expected: str) -> Rejected:
    return Rejected(
        f"The field {name} holds {str(value)[:80]!r}, which is not {expected}.",
        code="unreadable_field",
        remedy="Correct the field in IFS, or name another one in the connection's settings, then replay.",
        vendor="ifs_cloud",
        field=name or "",
    )


# -- keys and queries --------------------------------------------------------------------------------------


def source_key(shipment: int) -> str:
    """The source key of a shipment, "shipment:19"."""
    return f"{SHIPMENT}:{shipment}"


def shipment_of(key: str) -> int:
    """The shipment's number in a source key. Raises Rejected (code `bad_key`)."""
    kind, _, rest = key.partition(":")
    if kind != SHIPMENT or not re.fullmatch(r"\d{1,38}", rest, re.ASCII):
        raise Rejected(f"{key!r} is not the key of an IFS shipment (shipment:19).", code="bad_key", vendor="ifs_cloud")
    return int(rest)


def state_value(profile: Profile, state: str) -> Value:
    """A state for a filter: a qualified enumeration member, or plain text where `state_literal` says so (sheet 4.3)."""
    shipment = profile.shipment
    if profile.state_literal == "string":
        return state
    return EnumMember(shipment.header.namespace, shipment.state_enum, state)


def ready_clause(profile: Profile) -> str:
    """The ready rule as a filter: any of the ready states, and the operator's own filter in brackets."""
    shipment = profile.shipment
    states = any_of(compare(shipment.state_field, "eq", state_value(profile, state)) for state in shipment.ready_states)
    return all_of([states, f"({shipment.ready_filter})" if shipment.ready_filter else ""])


def ready_rule(profile: Profile) -> str:
    """The ready rule as canonical text: independent of order, blanks and of how literals are spelled."""
    shipment = profile.shipment
    rule = f"{shipment.state_field} in ({', '.join(sorted(set(shipment.ready_states)))})"
    return f"{rule} and ({' '.join(shipment.ready_filter.split())})" if shipment.ready_filter else rule


def list_clause(profile: Profile, sites: Sequence[str], since: dt.date | None, poll: Poll) -> str:
    """The filter of a poll: these sites, the ready rule, and the date window, in which a null date is inside."""
    where = [any_of(compare(profile.shipment.site_field, "eq", site) for site in sites), ready_clause(profile)]
    if since is not None:
        column = poll.stamp_field or poll.date_field
        where.append(any_of([compare(column, "ge", date_literal_value(poll, since)), compare(column, "eq", None)]))
    return all_of(where)


def history_clause(poll: Poll, since: dt.date) -> str:
    """The filter of the history log: what happened to shipments since that day (sheet 8, S3)."""
    names, begin = poll.history_names, dt.datetime(since.year, since.month, since.day, tzinfo=dt.UTC)
    return all_of([compare(names["unit_field"], "eq", names["unit"]), compare(names["time_field"], "ge", begin)])


def logged_shipment(row: Row, profile: Profile) -> int | None:
    """The shipment that a row of the history log is about ("SHIPMENT_ID=19^"); None where it names none."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", profile.shipment.key).upper()
    found = re.search(rf"(?:^|\^){re.escape(name)}=(\d{{1,38}})\^", text(row, profile.shipment.poll.history_names["keys_field"]))
    return int(found.group(1)) if found else None


def site_map(companies: Iterable[Company]) -> dict[str, Company]:
    """Company by site code. A site belongs to one company (sheet 9.1); entered twice, the first one counts."""
    found: dict[str, Company] = {}
    for company in companies:
        for site in company.sites:
            found.setdefault(site.code, company)
    return found


def zone_of(company: Company, site: str) -> dt.tzinfo:
    """The site's time zone. Raises ConfigurationError of the site for a name that is none."""
    name = next((s.timezone for s in company.sites if s.code == site), "UTC")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"{name!r} is no time zone.",
            code="bad_timezone",
            remedy=f"Correct the time zone of site {site}, for instance America/Chicago.",
            scope="site",
            scope_name=site,
            vendor="ifs_cloud",
        ) from error


# -- rows to records ---------------------------------------------------------------------------------------


def version(row: Row, shipment: ShipmentProfile) -> str:
    """The version stamp of a row; where rows of lists carry none (sheet 4.4), a digest of what every read has."""
    stamp = row.get("@odata.etag")
    if isinstance(stamp, str) and stamp:
        return stamp
    names = list_fields(shipment, shipment.poll)
    return "row:" + hashlib.sha256(json.dumps([text(row, name) for name in names]).encode()).hexdigest()[:32]


def list_fields(shipment: ShipmentProfile, poll: Poll) -> tuple[str, ...]:
    """The fields that a poll selects, in a fixed order, each once."""
    return tuple(dict.fromkeys((shipment.key, shipment.state_field, shipment.site_field, poll.stamp_field or poll.date_field)))


def head(row: Row, profile: Profile, companies: Mapping[str, str], poll: Poll) -> DocumentHead:
    """One row of a poll. `companies` is company code by site. Raises Rejected for a row that makes no sense."""
    shipment = profile.shipment
    site = text(row, shipment.site_field)
    if site not in companies:
        raise Rejected(
            f"The site {site!r} was not asked for.", code="site_not_configured", vendor="ifs_cloud", field=shipment.site_field
        )
    return DocumentHead(
        key=source_key(shipment_number(row, shipment.key)),
        kind=SHIPMENT,
        version=version(row, shipment),
        company_code=companies[site],
        site=site,
        state=text(row, shipment.state_field),
        date=moment(row, poll.stamp_field or poll.date_field),
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """All rows of one shipment. `address` is the customer's address where the shipment holds none itself."""

    header: Row
    lines: Sequence[Row] = ()
    units: Sequence[Row] = ()
    address: Row | None = None


def document(parts: Parts, profile: Profile, companies: Mapping[str, Company], *, passes_filter: bool = True) -> Document:
    """One shipment as a document. `companies` is by site; `passes_filter`: the operator's ready filter holds.

    Raises Rejected for a site that the connection does not name, and for values that cannot be understood.
    """
    shipment, header = profile.shipment, parts.header
    site = text(header, shipment.site_field)
    company = companies.get(site)
    if company is None:
        raise Rejected(
            f"The shipment belongs to site {site!r}, which this connection does not name.",
            code="site_not_configured",
            remedy="Add the site to its company code at the connection, then replay.",
            vendor="ifs_cloud",
            field=shipment.site_field,
        )
    zone = zone_of(company, site)
    state = text(header, shipment.state_field)
    key = shipment_number(header, shipment.key)
    weight = measure(header, shipment.weight_field)
    sender = address(header, shipment.sender)
    return Document(
        key=source_key(key),
        kind=SHIPMENT,
        number=str(key),
        version=version(header, shipment),
        state=state,
        ready=passes_filter and any(same_state(state, ready) for ready in shipment.ready_states),
        cancelled=any(same_state(state, cancelled) for cancelled in shipment.cancelled_states),
        company_code=company.code,
        site=site,
        recipient=recipient(parts, profile),
        sender=None if sender == Address() else sender,
        ship_via=text(header, shipment.ship_via_field),
        forwarder=text(header, shipment.forwarder_field),
        tracking_number=text(header, shipment.tracking_field),
        planned_ship_date=day(header, shipment.planned_date_field, zone),
        actual_ship_date=day(header, shipment.ship_date_field, zone),
        lines=tuple(line(row, shipment.line) for row in parts.lines),
        handling_units=handling_units(parts.units, profile),
        header_weight=weight,
        header_weight_unit=profile.weight_unit if weight is not None else "",
        delivery_terms=text(header, shipment.delivery_terms_field),
        raw=dict(header),
    )


def line(row: Row, names: Mapping[str, str | None]) -> DocumentLine:
    """A shipment line (sheet 9.4). The order is named by the source reference of lines that come from one."""
    from_order = same_state(text(row, names["source_type_field"]), "CustomerOrder")
    return DocumentLine(
        line_id=text(row, names["line_field"]),
        part_no=text(row, names["part_field"]),
        description=text(row, names["description_field"]),
        quantity=number(row, names["quantity_field"]),
        unit=text(row, names["unit_field"]),
        order_ref=text(row, names["order_field"]) if from_order else "",
    )


OrderLine = tuple[str, str, str, str]
"""Order, line, release and item number of a customer order line, as text."""


def order_line_of(row: Row, profile: Profile) -> OrderLine | None:
    """The customer order line that a shipment line comes from; None where it comes from something else."""
    names = profile.shipment.line
    if not same_state(text(row, names["source_type_field"]), "CustomerOrder") or not text(row, names["order_field"]):
        return None
    parts = (text(row, names[f"{part}_field"]) for part in ("order", "order_line", "order_release", "order_item"))
    return _order_line(*parts)


def order_line_key(row: Row, profile: Profile) -> OrderLine:
    """The key of a customer order line's own row."""
    return _order_line(*(text(row, name) for name in profile.order_line_key))


def _order_line(order: str, line: str, release: str, item: str) -> OrderLine:
    return order, line, release, item or "0"


def goods_line(row: Row, ordered: Row | None, currency: str, profile: Profile) -> GoodsLine:
    """What customs wants to know of a shipment line, in sales units: price, weight and origin stand on the order line.

    The order line's weight is that of its whole quantity (sheet 9.2). Raises Rejected for what cannot be read.
    """
    own, names, order = profile.shipment.line, profile.order_line, ordered or {}
    quantity = number(row, own["quantity_field"])
    factor, inverted = (
        number(order, names["factor_field"]) or Decimal(1),
        number(order, names["inverted_factor_field"]) or Decimal(1),
    )
    if quantity is not None:
        quantity = quantity * inverted / factor
    whole = number(order, names["quantity_field"])
    weight = measure(order, names["net_weight_field"]) or measure(order, names["gross_weight_field"])
    if weight is not None:
        weight = weight * quantity / whole if whole and quantity else None
    return GoodsLine(
        line_id=text(row, own["line_field"]),
        part_no=text(order, names["sku_field"]) or text(row, own["part_field"]),
        description=text(row, own["description_field"]) or text(order, names["description_field"]),
        quantity=quantity,
        unit=text(order, names["unit_field"]) or text(row, own["unit_field"]),
        unit_price=measure(order, names["customs_value_field"]) or measure(order, names["price_field"]),
        currency=currency,
        weight=weight,
        weight_unit=profile.weight_unit if weight is not None else "",
        origin_country=text(order, names["origin_field"]),
        harmonized_code=text(order, names["harmonized_field"]),
    )


def handling_units(rows: Sequence[Row], profile: Profile) -> tuple[HandlingUnit, ...]:
    """The top-level units, which are the carrier's packages (sheet 9.5): weight Operative, else Manual gross.

    A unit whose parent does not belong to this shipment stands at the top of what is shipped.
    """
    names = profile.unit
    ids = {text(row, names["id_field"]) for row in rows}
    return tuple(_handling_unit(row, profile) for row in rows if text(row, names["parent_field"]) not in ids)


def _handling_unit(row: Row, profile: Profile) -> HandlingUnit:
    names = profile.unit
    weight = measure(row, names["operative_weight_field"]) or measure(row, names["manual_weight_field"])
    # Width x Depth x Height (sheet 9.5): what IFS calls depth is the length of a package.
    length, width, height = (measure(row, names[f"{side}_field"]) for side in ("depth", "width", "height"))
    sized = length is not None or width is not None or height is not None
    return HandlingUnit(
        unit_id=text(row, names["id_field"]),
        weight=weight,
        weight_unit=(text(row, names["weight_unit_field"]) or profile.weight_unit) if weight is not None else "",
        length=length,
        width=width,
        height=height,
        length_unit=(text(row, names["length_unit_field"]) or profile.length_unit) if sized else "",
    )


def address(row: Row, names: Mapping[str, str | None]) -> Address:
    """An address from the fields that the profile names; empty street lines fall away, their order stays."""
    street = (text(row, names[f"address{n}"]) for n in range(1, 7))
    return Address(
        company=text(row, names["name"]),
        name=text(row, names["contact"]),
        phone=text(row, names["phone"]),
        email=text(row, names["email"]),
        lines=tuple(part for part in street if part),
        city=text(row, names["city"]),
        state=text(row, names["state"]),
        postal_code=text(row, names["postal_code"]),
        country=text(row, names["country"]),
    )


def recipient(parts: Parts, profile: Profile) -> Address:
    """The receiver's address: the shipment's own, else the customer's (sheet 9.2). Never a mix of two places."""
    own = address(parts.header, profile.shipment.receiver)
    if own.lines or parts.address is None:
        return own
    other = address(parts.address, profile.customer_address)
    return Address(
        company=own.company or other.company,
        name=own.name or other.name,
        phone=own.phone or other.phone,
        email=own.email or other.email,
        lines=other.lines,
        city=other.city,
        state=other.state,
        postal_code=other.postal_code,
        country=other.country,
    )


def address_wanted(row: Row, profile: Profile) -> tuple[str, str] | None:
    """(customer, address id) to look up for a shipment without a street line of its own; None where it is not needed.

    Only receivers that are customers: a supplier's or site's id could name a customer by chance.
    """
    shipment = profile.shipment
    kind = text(row, shipment.receiver_type_field)
    customer, place = text(row, shipment.receiver_id_field), text(row, shipment.receiver_address_id_field)
    if address(row, shipment.receiver).lines or (kind and not same_state(kind, "Customer")) or not customer or not place:
        return None
    return customer, place


def address_clause(profile: Profile, wanted: Iterable[tuple[str, str]]) -> str:
    """The filter for several customer addresses at once."""
    return any_of(
        "(" + all_of([compare(profile.customer_field, "eq", customer), compare(profile.address_field, "eq", place)]) + ")"
        for customer, place in wanted
    )


def any_shipment(target_field: str, numbers: Iterable[int]) -> str:
    """The filter for the rows of several shipments."""
    return any_of(compare(target_field, "eq", shipment) for shipment in numbers)


# -- the write-back ----------------------------------------------------------------------------------------


class Decision(Protocol):
    """Says on every fresh read which fields have to be sent, {} for none."""

    skipped: tuple[str, ...]

    def __call__(self, row: Row) -> dict[str, Any]: ...


class TrackingWrite:
    """Decides, on every fresh read, which fields of a shipment have to be sent for a `WriteBack`.

    One object serves one write: it remembers which foreign number stood there when a person's "write ours"
    was carried out, so that a number that somebody enters in the meantime is not overwritten too. After a
    call `skipped` names the targets that the profile does not have and the fields that were left alone.
    """

    def __init__(self, write: WriteBack, shipment: ShipmentProfile) -> None:
        self._write = write
        self._shipment = shipment
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
        self.skipped = tuple(skipped)
        return body

    def _must_write(self, theirs: str, ours: str) -> bool:
        if theirs == ours:
            return False
        if not theirs or theirs == self._write.base or theirs in self._write.ours:
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

    def __init__(self, write: StatusWrite, shipment: ShipmentProfile) -> None:
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

    def __init__(self, ours: frozenset[str], shipment: ShipmentProfile) -> None:
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
        "StatisticalChargeDiff": 0,
        **dict.fromkeys(("CollectDb", "MultipleTaxLines", "PrintChargeTypeDb", "PrintCollectChargeDb"), False),
        "IntrastatExempt": False,
        "UnitCharge": False,
        "ShipmentId": shipment_of(part.document_key),
    }
    if part.address_id:
        body["DeliveryAddress"] = part.address_id
    if names.marker_field:
        body[names.marker_field] = reference
    return body


def is_charge(row: Row, part: FreightPart, references: Sequence[str], profile: Profile) -> bool:
    """Whether a charge of the order may be this part: by our own mark, else by shipment, charge type and cost (sheet 9.3)."""
    names = profile.charge
    if names.marker_field:
        return text(row, names.marker_field) in references
    return (
        text(row, "ShipmentId") == str(shipment_of(part.document_key))
        and text(row, "ChargeType") == (part.charge_type or names.charge_type)
        and number(row, names.cost_field) == part.cost.amount
    )


def found_charge(row: Row, profile: Profile) -> FoundShipment:
    """A charge as a look-up tells it: its number within the order."""
    found = text(row, profile.charge.number_field)
    return FoundShipment(found, (found,))


class ChargeCorrection:
    """Decides whether a charge's cost is to be set; `skipped` says what stands in the way."""

    def __init__(self, cost: Decimal, ours: Decimal, profile: Profile) -> None:
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
        elif stands != self._ours:
            self.skipped = ("changed",)
        return {} if self.skipped else {names.cost_field: self._cost}


# -- the profile against $metadata ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """One field that the profile names: its setting, and whether the flow cannot work without it."""

    setting: str
    name: str
    needed: bool


def uses(profile: Profile) -> list[tuple[Target, list[Use]]]:
    """Every set of the shipment flow with the fields that are read or written there."""
    shipment = profile.shipment
    header = [
        Use("shipment.key", shipment.key, True),
        Use("shipment.state_field", shipment.state_field, True),
        Use("shipment.site_field", shipment.site_field, True),
        Use("shipment.poll.date_field", shipment.poll.date_field, True),
    ]
    written = ("tracking_field", "forwarder_field", "ship_date_field", *STATUS_TARGETS.values())
    read = (
        "ship_via_field",
        "planned_date_field",
        "weight_field",
        "receiver_type_field",
        "receiver_id_field",
        "receiver_address_id_field",
    )
    header += [Use(f"shipment.{key}", name, key in written) for key in written + read if (name := getattr(shipment, key))]
    for block in ("receiver", "sender"):
        header += [Use(f"shipment.{block}.{key}", name, False) for key, name in getattr(shipment, block).items() if name]
    lines = [Use("shipment.key", shipment.key, True), *_named("shipment.lines", shipment.line, {"line_field"})]
    poll = shipment.poll
    names = {key: name for key, name in poll.history_names.items() if key != "unit"}
    logged = [(poll.history, _named("shipment.poll.history", names, set(names)))] if poll.history else []
    return [
        *logged,
        (shipment.header, header),
        (shipment.lines, lines),
        (profile.units, _named("handling_unit", profile.unit, {"shipment_field", "id_field"})),
        (
            profile.customer_addresses,
            [
                Use("customer_address.customer_field", profile.customer_field, True),
                Use("customer_address.address_field", profile.address_field, True),
                *_named("customer_address.fields", profile.customer_address, set()),
            ],
        ),
    ]


def uses_abroad(profile: Profile) -> list[tuple[Target, list[Use]]]:
    """The sets that are read only for parcels that cross a border, with their fields."""
    key = [Use("customer_order.lines.key", name, True) for name in profile.order_line_key]
    currency = [Use("customer_order.currency_field", profile.order_currency_field, False)] if profile.order_currency_field else []
    return [
        (profile.order_lines, key + _named("customer_order.lines", profile.order_line, set())),
        (profile.orders, [Use("customer_order.key", profile.order_key, True), *currency]),
    ]


def _named(block: str, names: Mapping[str, str | None], needed: set[str]) -> list[Use]:
    return [Use(f"{block}.{key}", name, key in needed) for key, name in names.items() if name]

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
from typing import Any

from integrations.base.context import Company
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.records import (
    Address,
    Anchor,
    Document,
    DocumentHead,
    DocumentLine,
    GoodsLine,
    HandlingUnit,
)
from integrations.ifs_cloud.learning import state_literal
from integrations.ifs_cloud.odata import Value, all_of, any_of, compare
from integrations.ifs_cloud.profile import Profile, ShipmentProfile
from integrations.ifs_cloud.targets import Poll, date_literal_value

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
    return state_literal(profile.state_literal, shipment.header.namespace, shipment.state_enum, state)


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
    order, release = text(row, names["order_field"]), text(row, names["order_release_field"])
    return DocumentLine(
        line_id=text(row, names["line_field"]),
        part_no=text(row, names["part_field"]),
        description=text(row, names["description_field"]),
        quantity=number(row, names["quantity_field"]),
        unit=text(row, names["unit_field"]),
        order_ref=order if from_order else "",
        delivery=f"customer_order:{order}/{release}" if from_order and order and release else "",
        order_line=_order_line(order, *(text(row, names[name]) for name in _LINE_FIELDS))[1:] if from_order and order else (),
    )


def anchor(row: Row) -> Anchor | None:
    """Where files hang on a record, by its own words (sheet 4.2, 7); None where it does not say."""
    unit, keyref = text(row, "luname"), text(row, "keyref")
    return Anchor(unit, keyref) if unit and keyref else None


_LINE_FIELDS = ("order_line_field", "order_release_field", "order_item_field")

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


def shipped(quantity: Decimal | None, ordered: Row, profile: Profile) -> tuple[Decimal | None, Decimal | None]:
    """What ships of an order line, in sales units, and its weight, from a shipment line's quantity in inventory units.

    The order line's weight is that of its whole quantity (sheet 9.2).
    """
    names = profile.order_line
    factor, inverted = (
        number(ordered, names["factor_field"]) or Decimal(1),
        number(ordered, names["inverted_factor_field"]) or Decimal(1),
    )
    if quantity is not None:
        quantity = quantity * inverted / factor
    whole = number(ordered, names["quantity_field"])
    weight = measure(ordered, names["net_weight_field"]) or measure(ordered, names["gross_weight_field"])
    if weight is not None:
        weight = weight * quantity / whole if whole and quantity else None
    return quantity, weight


def goods_line(row: Row, ordered: Row | None, currency: str, profile: Profile) -> GoodsLine:
    """What customs wants to know of a shipment line, in sales units: price, weight and origin stand on the order line.

    The order line's weight is that of its whole quantity (sheet 9.2). Raises Rejected for what cannot be read.
    """
    own, names, order = profile.shipment.line, profile.order_line, ordered or {}
    quantity, weight = shipped(number(row, own["quantity_field"]), order, profile)
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

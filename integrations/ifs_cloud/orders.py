"""Customer orders and purchase orders as documents that ship: keys, ready rule, rows to records. No I/O.

A document is one *delivery* of an order: the lines that share their release (`RelNo`, `ReleaseNo`), the only name that
IFS itself gives to a part of an order that is delivered by itself (sheet 9.2, 9.6). Its key never is the order's number alone.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from integrations.base.context import Company
from integrations.base.errors import Rejected
from integrations.base.records import Address, Document, DocumentHead, DocumentLine, Goods, GoodsLine
from integrations.base.records import Standing as HeaderStanding
from integrations.ifs_cloud.learning import state_literal
from integrations.ifs_cloud.mapping import Row, address, day, measure, moment, number, same_state, shipment_of, text, zone_of
from integrations.ifs_cloud.odata import Value, all_of, any_of, compare
from integrations.ifs_cloud.order_profile import ORDER_KINDS, LineProfile, OrderProfile
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.targets import Poll, Target, date_literal_value

# -- keys --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one order."""

    kind: str
    order: str
    release: str

    @property
    def key(self) -> str:
        """The source key, "customer_order:S10023/2"."""
        return f"{self.kind}:{self.order}/{self.release}"


def kind_of(key: str) -> str:
    """The document kind in a source key."""
    return key.partition(":")[0]


def delivery_of(key: str) -> Delivery:
    """The delivery in a source key. Raises Rejected (code `bad_key`)."""
    kind, _, rest = key.partition(":")
    order, slash, release = rest.rpartition("/")
    if kind not in ORDER_KINDS or not slash or not order or not release:
        raise Rejected(
            f"{key!r} is not the key of a delivery of an IFS order (customer_order:S10023/1).", code="bad_key", vendor="ifs_cloud"
        )
    return Delivery(kind, order, release)


# -- ready rule and queries --------------------------------------------------------------------------------


def listed_states(order: OrderProfile) -> tuple[str, ...]:
    """States of orders that may hold a delivery that is ready: the ready ones, and those of orders delivered in part."""
    return tuple(dict.fromkeys(order.ready_states + order.partial_states))


def state_value(profile: Profile, order: OrderProfile, state: str) -> Value:
    """A state for a filter of the list (sheet 4.3)."""
    return state_literal(profile.state_literal, order.listed.namespace, order.state_enum, state)


def ready_rule(order: OrderProfile) -> str:
    """The ready rule as canonical text: what it lets in is baselined when the text changes."""
    rule = f"{order.state_field} in ({', '.join(sorted(set(order.ready_states)))})"
    if order.partial_states:
        rule += f" or in ({', '.join(sorted(set(order.partial_states)))}) with ready lines"
    names = order.lines
    not_in = ", ".join(sorted({*names.begun_states, *names.waiting_states}))
    rule += f"; lines not in ({not_in})"
    for name in (names.name("shipped_field"), names.name("shipment_field")):
        rule += f", not {name}" if name else ""
    return f"{rule} and ({' '.join(order.ready_filter.split())})" if order.ready_filter else rule


def list_clause(profile: Profile, order: OrderProfile, sites: Sequence[str], since: dt.date | None, poll: Poll) -> str:
    """The filter of a poll: these sites, the states, the operator's own filter, and the window, a null date inside."""
    where = [
        any_of(compare(order.site_field, "eq", site) for site in sites),
        any_of(compare(order.state_field, "eq", state_value(profile, order, state)) for state in listed_states(order)),
        f"({order.ready_filter})" if order.ready_filter else "",
    ]
    if since is not None:
        column = poll.stamp_field or poll.date_field
        where.append(any_of([compare(column, "ge", date_literal_value(poll, since)), compare(column, "eq", None)]))
    return all_of(where)


def any_order(field: str, orders: Iterable[str]) -> str:
    """The filter for the rows of several orders."""
    return any_of(compare(field, "eq", order) for order in orders)


def list_fields(order: OrderProfile, poll: Poll) -> tuple[str, ...]:
    """The fields of an order that a poll selects, each once."""
    return tuple(dict.fromkeys((order.key, order.state_field, order.site_field, poll.stamp_field or poll.date_field)))


def line_list_fields(lines: LineProfile) -> tuple[str, ...]:
    """The fields of a line that a poll selects."""
    given = (lines.name("shipped_field"), lines.name("shipment_field"))
    return tuple(dict.fromkeys((*lines.key, lines.state_field, *(name for name in given if name))))


def version(header: Row, lines: Sequence[Row], order: OrderProfile) -> str:
    """One stamp over the order and the lines of the delivery: a line's change does not move the header's (sheet 8)."""
    marks = [_mark(header, (order.key, order.state_field, order.site_field))]
    marks += sorted(_mark(row, line_list_fields(order.lines)) for row in lines)
    return "order:" + hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:24]


def _mark(row: Row, names: Sequence[str]) -> str:
    """A row's own version stamp; where it carries none (sheet 4.4), what every read of it has."""
    stamp = row.get("@odata.etag")
    return stamp if isinstance(stamp, str) and stamp else json.dumps([text(row, name) for name in names])


def by_release(rows: Iterable[Row], lines: LineProfile) -> dict[tuple[str, str], list[Row]]:
    """Lines by order and release, in the order given."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((text(row, lines.key[0]), text(row, lines.release_field)), []).append(row)
    return found


# -- how a delivery stands ---------------------------------------------------------------------------------


def is_true(row: Row, name: str | None) -> bool:
    """A yes in any of the ways in which IFS writes it (sheet 4.2)."""
    return text(row, name).lower() in ("true", "y", "yes", "1")


def is_one_of(state: str, states: Iterable[str]) -> bool:
    """Whether a state is among these, however it is spelled."""
    return any(same_state(state, one) for one in states)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a delivery is to be shipped; `state` says why not, in IFS's words, where a line is the reason.

    `part`: some of it has been delivered, and some could still ship if it were a delivery of its own.
    """

    ready: bool
    cancelled: bool
    state: str
    part: bool = False


def standing(header: Row, lines: Sequence[Row], order: OrderProfile) -> Standing:
    """How a delivery stands by its order and its own lines.

    An order that was delivered in part still ships its other deliveries; one that has begun to be delivered itself, and one
    that goes by a shipment of its own (sheet 9.4), is never shipped as an order: its goods would go twice.
    """
    state, names = text(header, order.state_field), order.lines
    live = [row for row in lines if not is_one_of(text(row, names.state_field), order.cancelled_states)]
    if is_one_of(state, order.cancelled_states) or (lines and not live):
        return Standing(False, True, state)
    whole = is_one_of(state, order.ready_states)
    if not live or not (whole or is_one_of(state, order.partial_states)):
        return Standing(False, False, state)
    for row in live:
        if hindrance := _hindrance(row, order, whole=whole):
            part = _is_part_delivered(live, order, whole=whole)
            return Standing(False, False, f"{state}; line {line_id(row, names)} {hindrance}", part)
    return Standing(True, False, state)


def _is_part_delivered(lines: Sequence[Row], order: OrderProfile, *, whole: bool) -> bool:
    """Whether some of a customer's delivery is gone and some is not, no shipment of IFS taking it.

    Of purchase orders this says nothing: receipts do not tell what the supplier has still to send.
    """
    names = order.lines
    if order.inbound or any(is_true(row, names.name("shipment_field")) for row in lines):
        return False
    states = [text(row, names.state_field) for row in lines]
    begun = [is_one_of(s, names.begun_states) or bool(_shipped(row, order)) for s, row in zip(states, lines, strict=True)]
    still = any(is_one_of(state, order.partial_states) for state in states) or any(
        not gone and not _hindrance(row, order, whole=whole) for gone, row in zip(begun, lines, strict=True)
    )
    return any(begun) and still


def _shipped(row: Row, order: OrderProfile) -> Decimal | None:
    return number(row, order.lines.name("shipped_field"))


def _hindrance(row: Row, order: OrderProfile, *, whole: bool) -> str:
    """What keeps one line from shipping, or ""."""
    names, state = order.lines, text(row, order.lines.state_field)
    if is_true(row, names.name("shipment_field")):
        return "goes by a shipment"
    shipped = _shipped(row, order)
    if is_one_of(state, names.begun_states) or shipped:
        return f"is {state}" if not shipped else "has been delivered, in part at least"
    if is_one_of(state, names.waiting_states) or not (whole or is_one_of(state, order.ready_states)):
        return f"is {state}"
    return ""


def header_standing(header: Row, lines: Sequence[Row], delivery: Delivery, order: OrderProfile, *, alone: bool) -> HeaderStanding:
    """What IFS shows of a delivery's shipping; the header's number speaks for it only if it is the order's only one (`alone`)."""
    stands, own = standing(header, lines, order), order.lines.tracking_field
    told = next((n for row in live_lines(lines, order) if (n := text(row, own))), "") if own else None
    shared = text(header, order.tracking_field)
    if told is None and alone and order.tracking_field in header:
        told, shared = shared, ""
    return HeaderStanding(
        key=delivery.key,
        number=f"{delivery.order}/{delivery.release}",
        state=stands.state,
        cancelled=stands.cancelled,
        site=text(header, order.site_field),
        tracking_number=told,
        forwarder=text(header, order.forwarder_field),
        date=moment(header, order.poll.date_field),
        shared_number=shared,
    )


def numbered_clause(order: OrderProfile, sites: Sequence[str], since: dt.date | None, after: str) -> str:
    """The filter for orders of these sites whose header holds a number, in any state (sheet 4.3), behind an order's number."""
    assert order.tracking_field is not None
    where = [any_of(compare(order.site_field, "eq", site) for site in sites), compare(order.tracking_field, "ne", None)]
    if since is not None:
        # As for shipments: the date column, also where polls go by a stamp.
        where.append(compare(order.poll.date_field, "ge", date_literal_value(replace(order.poll, stamp_field=None), since)))
    if after:
        where.append(compare(order.key, "gt", after))
    return all_of(where)


def live_lines(lines: Sequence[Row], order: OrderProfile) -> list[Row]:
    """The lines that are not cancelled."""
    return [row for row in lines if not is_one_of(text(row, order.lines.state_field), order.cancelled_states)]


def line_id(row: Row, lines: LineProfile) -> str:
    """Line and release, and the item where it is one of several: "1/2", "1/2/3"."""
    parts = [text(row, name) for name in lines.key[1:]]
    return "/".join(parts[:2] if parts[2:] in ([], ["0"], [""]) else parts)


# -- rows to records ---------------------------------------------------------------------------------------


def heads(
    header: Row, lines: Mapping[tuple[str, str], Sequence[Row]], order: OrderProfile, companies: Mapping[str, str], poll: Poll
) -> list[DocumentHead]:
    """The deliveries of one order that are ready, or went out in part. Raises Rejected for a row that makes no sense."""
    name, site = text(header, order.key), text(header, order.site_field)
    if not name:
        raise Rejected("The order has no number.", code="unreadable_field", vendor="ifs_cloud", field=order.key)
    if site not in companies:
        raise Rejected(
            f"The site {site!r} was not asked for.", code="site_not_configured", vendor="ifs_cloud", field=order.site_field
        )
    return [
        DocumentHead(
            key=Delivery(order.kind, name, release).key,
            kind=order.kind,
            version=version(header, rows, order),
            company_code=companies[site],
            site=site,
            state=text(header, order.state_field),
            date=moment(header, poll.stamp_field or poll.date_field),
        )
        for (of, release), rows in lines.items()
        if of == name and release and ((stands := standing(header, rows, order)).ready or stands.part)
    ]


@dataclass(frozen=True, slots=True)
class Parts:
    """All rows of one delivery. `place` is the other party's address, or the order's single one where `is_single`."""

    header: Row
    lines: Sequence[Row]
    place: Row | None = None
    is_single: bool = False


def document(
    parts: Parts, delivery: Delivery, profile: Profile, companies: Mapping[str, Company], *, passes_filter: bool = True
) -> Document:
    """One delivery as a document. Raises Rejected for a site that is not named, and for what cannot be understood.

    A purchase order is inbound: the supplier sends, the delivery site receives, at the address that the operator entered.
    """
    order = profile.documents[delivery.kind]
    header = parts.header
    site = text(header, order.site_field)
    company = companies.get(site)
    if company is None:
        raise Rejected(
            f"The {order.noun} belongs to site {site!r}, which this connection does not name.",
            code="site_not_configured",
            remedy="Add the site to its company code at the connection, then replay.",
            vendor="ifs_cloud",
            field=order.site_field,
        )
    zone = zone_of(company, site)
    stands, lines = standing(header, parts.lines, order), live_lines(parts.lines, order)
    party = _party(parts, order)
    own = next((s.address for s in company.sites if s.code == site), None)
    planned = [d for row in lines if (d := day(row, order.lines.name("planned_date_field"), zone))]
    weight = _weight(header, lines, order)
    return Document(
        key=delivery.key,
        kind=order.kind,
        number=f"{delivery.order}/{delivery.release}",
        version=version(header, parts.lines, order),
        state=stands.state,
        ready=passes_filter and stands.ready,
        part_delivered=passes_filter and stands.part,
        cancelled=stands.cancelled,
        company_code=company.code,
        site=site,
        recipient=(own or Address()) if order.inbound else party,
        sender=party if order.inbound else None,
        ship_via=text(header, order.name("ship_via_field")),
        forwarder=text(header, order.forwarder_field),
        tracking_number=next((n for row in lines if (n := text(row, order.lines.tracking_field))), ""),
        shared_tracking_number=text(header, order.tracking_field),
        planned_ship_date=min(planned, default=None),
        actual_ship_date=day(header, order.ship_date_field, zone),
        lines=tuple(_line(row, delivery, order) for row in lines),
        header_weight=weight,
        header_weight_unit=profile.weight_unit if weight is not None else "",
        delivery_terms=text(header, order.name("delivery_terms_field")),
        inbound=order.inbound,
        raw=dict(header),
    )


def _line(row: Row, delivery: Delivery, order: OrderProfile) -> DocumentLine:
    names = order.lines
    return DocumentLine(
        line_id=line_id(row, names),
        part_no=text(row, names.name("sku_field")),
        description=text(row, names.name("description_field")),
        quantity=number(row, names.name("quantity_field")),
        unit=text(row, names.name("unit_field")),
        order_ref=delivery.order,
        order_line=() if order.inbound else tuple(text(row, name) or "0" for name in names.key[1:]),
    )


def _weight(header: Row, lines: Sequence[Row], order: OrderProfile) -> Decimal | None:
    """The header's weight where the profile names one and the order has one delivery's worth; else the lines' together.

    A line's weight is that of its whole quantity (sheet 9.2). None where a line has none: a sum without it would be too light.
    """
    if (told := measure(header, order.name("weight_field"))) is not None:
        return told
    weights = [line_weight(row, order, net=False) for row in lines]
    return sum((w for w in weights if w is not None), Decimal(0)) if weights and None not in weights else None


def line_weight(row: Row, order: OrderProfile, *, net: bool) -> Decimal | None:
    """Gross (or net) weight of a line, the other one where it is not held."""
    names = ("net_weight_field", "gross_weight_field") if net else ("gross_weight_field", "net_weight_field")
    return next((w for name in names if (w := measure(row, order.lines.name(name))) is not None), None)


def _party(parts: Parts, order: OrderProfile) -> Address:
    """The other party's address, with the contact of the order where the address names none."""
    names = order.single_fields if parts.is_single else order.place_fields
    found = address(parts.place, names) if parts.place is not None else Address()
    return replace(
        found,
        company=found.company or text(parts.header, order.name("party_name_field")),
        name=found.name or text(parts.header, order.name("contact_field")),
        phone=found.phone or text(parts.header, order.name("phone_field")),
        email=found.email or text(parts.header, order.name("email_field")),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Which address a delivery needs: that of a party (`party`, `place`; place "" = its only one), or the order's single one."""

    party: str = ""
    place: str = ""
    single: bool = False


def place_wanted(header: Row, lines: Sequence[Row], order: OrderProfile) -> Place:
    """The address that a delivery goes to or comes from (sheet 9.2). Raises Rejected where its lines name several."""
    if is_true(header, order.name("single_address_field")):
        return Place(single=True)
    usual = text(header, order.place_field)
    live = live_lines(lines, order)
    if any(is_true(row, order.lines.name("single_address_field")) for row in live):
        raise _address_differs("A line has an address of its own that is not the order's.")
    named = {text(row, order.lines.name("address_id_field")) or usual for row in live} or {usual}
    if len(named) > 1:
        raise _address_differs(f"Its lines go to several addresses: {', '.join(sorted(named))}.")
    return Place(text(header, order.party_field), named.pop())


def _address_differs(message: str) -> Rejected:
    return Rejected(
        message,
        code="address_differs",
        remedy="Give the lines of one delivery one address in IFS (or a delivery of their own), then replay.",
        vendor="ifs_cloud",
    )


def party_clause(order: OrderProfile, parties: Iterable[str]) -> str:
    """The filter for all addresses of these parties."""
    return any_order(order.place_party_field, parties)


def goods(header: Row, lines: Sequence[Row], profile: Profile, order: OrderProfile) -> Goods:
    """What customs wants to know of a delivery; all of it stands on the order's own lines. Raises Rejected."""
    currency, names = text(header, order.name("currency_field")), order.lines
    return Goods(
        tuple(
            GoodsLine(
                line_id=line_id(row, names),
                part_no=text(row, names.name("sku_field")),
                description=text(row, names.name("description_field")),
                quantity=number(row, names.name("quantity_field")),
                unit=text(row, names.name("unit_field")),
                unit_price=measure(row, names.name("customs_value_field")) or measure(row, names.name("price_field")),
                currency=text(row, names.name("currency_field")) or currency,
                weight=(weight := line_weight(row, order, net=True)),
                weight_unit=profile.weight_unit if weight is not None else "",
                origin_country=text(row, names.name("origin_field")),
                harmonized_code=text(row, names.name("harmonized_field")),
            )
            for row in live_lines(lines, order)
        )
    )


def line_key(row: Row, lines: LineProfile) -> dict[str, Value]:
    """The key of a line for its own address; the item is a number, the rest is text (sheet 9.2). Raises Rejected."""
    made: dict[str, Value] = {name: text(row, name) for name in lines.key[:3]}
    for name in lines.key[3:]:
        item = text(row, name) or "0"
        if not re.fullmatch(r"-?\d{1,9}", item):
            raise Rejected(f"{item!r} is no item number.", code="unreadable_field", vendor="ifs_cloud", field=name)
        made[name] = int(item)
    return made


def record_of(key: str, profile: Profile) -> tuple[Target, dict[str, Value]]:
    """Set and key of the record that a source key is about: a shipment, or the order of a delivery. Raises Rejected."""
    if kind_of(key) not in ORDER_KINDS:
        return profile.shipment.header, {profile.shipment.key: shipment_of(key)}
    order, delivery = profile.documents[kind_of(key)], delivery_of(key)
    return order.header, {order.key: delivery.order}

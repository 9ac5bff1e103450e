"""Frozen records that travel between vendors and flows. No vendor's word appears here.

Money is `Decimal` with an ISO 4217 code, weight and size carry their unit, instants are aware UTC,
countries are ISO 3166-1 alpha-2 and subdivisions the part after the dash of ISO 3166-2.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from integrations.base.currencies import unit_of


class WeightUnit(StrEnum):
    KG = "kg"
    LB = "lb"
    G = "g"
    OZ = "oz"


class LengthUnit(StrEnum):
    CM = "cm"
    IN = "in"
    MM = "mm"
    M = "m"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a currency. Never a float."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight with its unit; not yet rounded for any carrier."""

    value: Decimal
    unit: WeightUnit


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Outer size of one package, all three in one unit."""

    length: Decimal
    width: Decimal
    height: Decimal
    unit: LengthUnit


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address with its contact. `country` as the ERP wrote it until a flow has normalised it."""

    company: str = ""
    name: str = ""
    phone: str = ""
    email: str = ""
    lines: tuple[str, ...] = ()
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""
    residential: bool | None = None


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """One line of an ERP document. `order_ref` names the order it comes from, empty where there is none.

    `delivery` is the source key under which the line would ship as a delivery of that order, where orders ship themselves.
    `order_line` is the rest of the order line's key in the ERP; empty where the ERP's flow has no use for it.
    """

    line_id: str
    part_no: str = ""
    description: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    order_ref: str = ""
    delivery: str = ""
    order_line: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoodsLine:
    """What one line of a document means to customs, in the unit it is sold in; what the ERP does not hold is None or ""."""

    line_id: str
    part_no: str = ""
    description: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    unit_price: Decimal | None = None
    currency: str = ""
    weight: Decimal | None = None
    weight_unit: str = ""
    origin_country: str = ""
    harmonized_code: str = ""


@dataclass(frozen=True, slots=True)
class Goods:
    """The goods of one document, read only when they cross a border."""

    lines: tuple[GoodsLine, ...]


@dataclass(frozen=True, slots=True)
class HandlingUnit:
    """One top-level packed unit as the ERP knows it; what is unknown is None. 0 counts as unknown."""

    unit_id: str
    weight: Decimal | None = None
    weight_unit: str = ""
    length: Decimal | None = None
    width: Decimal | None = None
    height: Decimal | None = None
    length_unit: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One ERP document, as read a moment ago.

    `key` is the source key ("shipment:19"), `version` the opaque version stamp (ETag) of the header,
    `state` the ERP's own word, `ready` whether the connection's ready rule holds, `cancelled` whether
    the ERP calls it off. `tracking_number` is what stands in the field that we would write.
    `sender` is None where the ERP names none. `raw` is the header as the vendor sent it, for mappings.
    `shared_tracking_number` stands in a field that several deliveries of one order share, so it may be another one's.
    `inbound`: the goods come to us; `sender` is the other party and `recipient` our own site.
    `part_delivered`: some of it left without us, so that the rest of it is never ready.
    """

    key: str
    kind: str
    number: str
    version: str
    state: str
    ready: bool
    cancelled: bool
    company_code: str
    site: str
    recipient: Address
    sender: Address | None = None
    ship_via: str = ""
    forwarder: str = ""
    tracking_number: str = ""
    planned_ship_date: dt.date | None = None
    actual_ship_date: dt.date | None = None
    lines: tuple[DocumentLine, ...] = ()
    handling_units: tuple[HandlingUnit, ...] = ()
    header_weight: Decimal | None = None
    header_weight_unit: str = ""
    delivery_terms: str = ""
    raw: dict[str, object] = field(default_factory=dict, hash=False)
    shared_tracking_number: str = ""
    inbound: bool = False
    part_delivered: bool = False


@dataclass(frozen=True, slots=True)
class DocumentHead:
    """One row of a poll: enough to see whether a document is new or changed, nothing more.

    Listed are documents that are ready, and those that never will be although something of them is still to ship.
    """

    key: str
    kind: str
    version: str
    company_code: str
    site: str
    state: str = ""
    date: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the header of an ERP document shows of its shipping: enough to compare, too little to ship.

    `tracking_number` None: the connection has no field for it. `date` is the one that polls go by. `shared_number` stands in a
    field that several deliveries of one order share, so that it may be any delivery's.
    """

    key: str
    number: str
    state: str
    cancelled: bool
    site: str
    tracking_number: str | None
    forwarder: str = ""
    date: dt.datetime | None = None
    shared_number: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Stands in a batch answer where one item could not be read; the others are unharmed."""

    error: Exception


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """One package to buy a label for. `package_id` is the ERP row's own id, never a position."""

    package_id: str
    weight: Weight
    dimensions: Dimensions | None = None
    references: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Commodity:
    """One kind of goods as customs wants it. `value` is for all units together, `weight` too."""

    description: str
    quantity: int
    unit: str
    unit_price: Money
    value: Money
    weight: Weight
    origin_country: str
    harmonized_code: str = ""
    part_no: str = ""


@dataclass(frozen=True, slots=True)
class Customs:
    """What a parcel needs to cross a border. `duties_payer` and `purpose` are words of the product's options."""

    commodities: tuple[Commodity, ...]
    value: Money
    purpose: str
    terms_of_sale: str
    duties_payer: str
    duties_account: str = ""


@dataclass(frozen=True, slots=True)
class ShipmentRequest:
    """What a carrier is asked to ship: everything normalised, nothing of the ERP's spelling left.

    `references` are (kind, value) pairs of the product ("order", "invoice", ...) and stand on every package.
    `options` are carrier words chosen by the integration ("pickup_type": "USE_SCHEDULED_PICKUP", ...).
    Where a rule over quoted prices chose the service, `wished` is the one that the document asks for ("" for none),
    otherwise None; `quoted` is what the carrier said that it would cost. `quote_counts`: that is the price of the account that
    pays, so that it may stand for the cost where the carrier names none with the label.
    `written_recipient` is the recipient as the document has it, where it ships to another spelling of the address.
    """

    document_key: str
    sender: Address
    recipient: Address
    service: str
    ship_date: dt.date
    packages: tuple[PackageSpec, ...]
    references: tuple[tuple[str, str], ...] = ()
    options: dict[str, object] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    customs: Customs | None = None
    wished: str | None = None
    quoted: Money | None = None
    quote_counts: bool = False
    written_recipient: Address | None = None


@dataclass(frozen=True, slots=True)
class LabelFile:
    """One label as the carrier made it. `readable` is False when the bytes are not what `media_type` says."""

    media_type: str
    data: bytes
    readable: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BoughtPackage:
    """One piece of a bought shipment; `package_id` is the PackageSpec's, empty if the carrier did not tell."""

    tracking_number: str
    sequence: int
    package_id: str = ""
    label: LabelFile | None = None


@dataclass(frozen=True, slots=True)
class BoughtShipment:
    """What a carrier made for us: the fact that costs money. `cost` None means unknown, never zero."""

    master_tracking_number: str
    packages: tuple[BoughtPackage, ...]
    service: str = ""
    ship_date: dt.date | None = None
    cost: Money | None = None
    estimated_delivery: dt.date | None = None
    transaction_id: str = ""
    alerts: tuple[str, ...] = ()
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """Accepted by the vendor, result to be asked for later with `ticket`."""

    ticket: str
    ask_after_s: float = 5.0


@dataclass(frozen=True, slots=True)
class FoundShipment:
    """One shipment that the carrier lists under our reference; None = the carrier left the field out."""

    master_tracking_number: str
    tracking_numbers: tuple[str, ...]
    recipient_country: str | None = None
    recipient_postal_code: str | None = None
    ship_date: dt.date | None = None
    account: str | None = None
    package_count: int | None = None
    service: str | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class LookUp:
    """Answer of a look-up by reference. `ambiguous`: the carrier says there is more than one, without listing."""

    matches: tuple[FoundShipment, ...] = ()
    ambiguous: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class VoidResult:
    """Outcome of a cancel. `voided` True also where it was cancelled before."""

    voided: bool
    already: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What the ERP record should hold after shipping. None = leave alone.

    `base` is the tracking number that stood there when we looked before buying, `ours` every number of
    any package of any generation of this record: both may be overwritten, anything else is a conflict.
    With `overwrite` a person has decided "write ours". `quoted` is the price that was quoted before buying.
    `shared` are numbers of other deliveries of the same order, which
    may be overwritten in a field that all deliveries of the order share.
    """

    tracking_number: str | None
    carrier: str | None = None
    ship_date: dt.datetime | None = None
    base: str = ""
    ours: frozenset[str] = frozenset()
    overwrite: bool = False
    quoted: Money | None = None
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """What the ERP record should tell of the parcel's way. None = the carrier has not said.

    `taken_back` are parts that we once wrote and that hold no more, as instants by part: a parcel that comes back was not
    delivered. Their fields are emptied where they still hold that. `mark` tells one picture from another, times included (a
    write's own fingerprint leaves times out).
    """

    status: str | None = None
    status_at: dt.datetime | None = None
    estimated_delivery: dt.date | None = None
    delivered_at: dt.datetime | None = None
    signed_by: str | None = None
    mark: str = ""
    taken_back: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write-back did: the record's version after it, and which fields were sent (none = equal already).

    `anchor` is where files hang on the record, as it told when it was read for the write; None where it did not.
    """

    version: str
    written: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    anchor: Anchor | None = None


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """One line of an order that ships: the rest of its key in the ERP, with weight and value of what ships of it."""

    key: tuple[str, ...]
    weight: Decimal | None = None
    value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ChargeOrder:
    """One order that a shipment delivers for, as far as its freight cost is concerned.

    `weight` and `value` are those of what ships, None where the ERP does not hold them (or nobody asked).
    `cost_center` and `account` are the document's own, empty where it names none or they cannot be read; `code_parts` are all
    that it names, such as {"CodeB": "CC-1"}. Charges of an `inbound` order (one of ours at a supplier) are kept in the order's
    own currency, under charge types of their own. `lines` are those that ship, where they were asked for and can bear a charge.
    """

    order: str
    company_code: str
    site: str
    currency: str = ""
    state: str = ""
    open: bool = True
    address_id: str = ""
    pre_posting: str = ""
    cost_center: str = ""
    account: str = ""
    weight: Decimal | None = None
    value: Decimal | None = None
    code_parts: Mapping[str, str] = field(default_factory=dict)
    inbound: bool = False
    lines: tuple[ChargeLine, ...] = ()


@dataclass(frozen=True, slots=True)
class FreightBasis:
    """The orders among which the freight cost of one document is shared, in the order of its lines."""

    orders: tuple[ChargeOrder, ...]


@dataclass(frozen=True, slots=True)
class Price:
    """What a customer pays for freight: the cost and so many per cent of it, in the currency of both."""

    percent: Decimal
    currency: str

    def of(self, cost: Decimal) -> Decimal:
        """The price of a cost, to the currency's unit, half a unit up."""
        return (cost * (100 + self.percent) / 100).quantize(unit_of(self.currency), ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class FreightPart:
    """The share of one order, or of one `line` of it, in the freight cost of a document.

    `charge_type` empty: as the connection says. `line` is the rest of the line's key; empty: the whole order bears it.
    `price` is what the customer pays for it, None: nothing.
    """

    document_key: str
    order: str
    company_code: str
    site: str
    cost: Money
    charge_type: str = ""
    address_id: str = ""
    line: tuple[str, ...] = ()
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class PostedCharge:
    """A charge that stands in the ERP. `adopted`: it was found there, and not posted in this attempt."""

    order: str
    number: str
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a file hangs in the ERP: the record's kind and key as the ERP writes them. `takes`: file suffixes; empty: none.

    `closed` says why the ERP takes no file there, in words for people; empty where it does.
    """

    unit: str
    key: str
    takes: tuple[str, ...] = ()
    closed: str = ""


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file that is to hang on a record of the ERP. `place` is "document" or "media"; `suffix` without the dot."""

    document_key: str
    place: str
    title: str
    suffix: str
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """The file's place in the ERP, made once. `key` is the ERP's own key of it, `named` that key for people."""

    place: str
    key: str
    named: str
    anchor: Anchor
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class PingLayer:
    """One layer of a ping: "token", "gateway", "company 10", "shipments: read" ... in the order tried."""

    layer: str
    state: str  # ok | warning | failed | not_checked
    message: str = ""
    remedy: str = ""

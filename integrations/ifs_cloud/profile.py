"""The connection profile as the code uses it: which projection, set and field of this tenant plays which part (sheet 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from integrations.base.errors import ConfigurationError
from integrations.ifs_cloud.order_profile import CUSTOMER_ORDER, PURCHASE_ORDER, OrderProfile, order_profiles
from integrations.ifs_cloud.profile_checks import check_settings
from integrations.ifs_cloud.profile_defaults import merged
from integrations.ifs_cloud.targets import Poll, Target, poll_of, target_of


@dataclass(frozen=True, slots=True)
class ShipmentProfile:
    """The block `shipment` with its lines, ready to use. Field names; None = the tenant has none."""

    header: Target
    lines: Target
    key: str
    state_field: str
    site_field: str
    state_enum: str
    ready_states: tuple[str, ...]
    cancelled_states: tuple[str, ...]
    ready_filter: str
    poll: Poll
    tracking_field: str | None
    forwarder_field: str | None
    ship_via_field: str | None
    ship_date_field: str | None
    quote_field: str | None
    quote_currency_field: str | None
    status_field: str | None
    status_time_field: str | None
    estimated_delivery_field: str | None
    delivered_field: str | None
    signed_by_field: str | None
    planned_date_field: str | None
    weight_field: str | None
    delivery_terms_field: str | None
    receiver_type_field: str | None
    receiver_id_field: str | None
    receiver_address_id_field: str | None
    receiver: Mapping[str, str | None]
    sender: Mapping[str, str | None]
    line: Mapping[str, str | None]
    tracking_note_field: None = None


@dataclass(frozen=True, slots=True)
class ChargeProfile:
    """Charges of one kind of order, with what of the order goes into them. `pre_posting` None: it is not read.

    `path` is where the settings stand. What only one kind knows is empty for the other: `amount_mode` with its per cent
    and `unit` are of customer orders, `vendor` (the supplier whom the charge is owed to) of purchase orders.
    """

    kind: str
    path: str
    noun: str
    orders: Target
    order_key: str
    state_field: str
    currency_field: str | None
    closed_states: tuple[str, ...]
    nav: str
    charge_type: str
    cost_field: str
    enabled: bool
    number_field: str
    invoiced_field: str | None
    marker_field: str | None
    amount_mode: str
    amount_percent: Decimal
    unit: str
    vendor_field: str | None
    vendor: str
    company_field: str | None
    site_field: str
    address_field: str | None
    pre_posting_field: str | None
    pre_posting: Target | None
    pre_posting_key: str
    account_field: str | None
    cost_center_field: str
    part_prefix: str


@dataclass(frozen=True, slots=True)
class FileProfile:
    """Labels as documents or media items (sheet 7). A title field of None: places cannot be looked up by our reference."""

    enabled: bool
    doc_class: str
    file_types: tuple[str, ...]
    create: Target
    url: Target
    connect: Target
    documents: Target
    title_field: str | None
    connected: Target
    create_media: Target
    media: Target
    media_key: str
    media_title: str | None
    media_object: str


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything of `settings` that the shipment flow uses. `read_timeout_s` bounds a whole read; None: as all calls."""

    realm: str
    scope: str
    gateway: str
    projection_root: str
    entity_root: str
    page_size: int
    read_timeout_s: int | None
    state_literal: str
    weight_unit: str
    length_unit: str
    shipment: ShipmentProfile
    orders: Target
    order_key: str
    order_currency_field: str | None
    order_state_field: str | None
    order_lines: Target
    order_line_key: tuple[str, str, str, str]
    order_line: Mapping[str, str | None]
    units: Target
    unit: Mapping[str, str | None]
    customer_addresses: Target
    customer_address: Mapping[str, str | None]
    customer_field: str
    address_field: str
    sites: Target
    site_company_field: str
    site_field: str
    charges: Mapping[str, ChargeProfile]
    files: FileProfile
    documents: Mapping[str, OrderProfile]


def profile_of(settings: Mapping[str, Any]) -> Profile:
    """The usable profile. Raises ConfigurationError (code `settings`) naming the first wrong setting."""
    whole = merged(settings)
    wrong = check_settings(whole)
    if wrong:
        raise ConfigurationError(
            f"Setting {wrong[0].path}: {wrong[0].message}",
            code="settings",
            remedy="Correct the connection's settings.",
            vendor="ifs_cloud",
            field=wrong[0].path,
        )
    shipment, units, addresses, sites = whole["shipment"], whole["handling_unit"], whole["customer_address"], whole["site"]
    orders = whole["customer_order"]
    header = target_of(shipment, "shipment")
    lines = shipment["lines"]
    if lines["service"] is None:  # the lines live in the shipment's own projection, as in the standard one
        lines = lines | {"service": shipment["service"], "root": shipment.get("root", "projection")}
    poll = shipment["poll"]
    names = {key: shipment[key] for key in _SHIPMENT_FIELDS}
    return Profile(
        **{key: whole[key] for key in _TOP},
        shipment=ShipmentProfile(
            header=header,
            lines=target_of(lines, "shipment.lines"),
            key=shipment["key"][0],
            ready_states=tuple(shipment["ready_states"]),
            cancelled_states=tuple(shipment["cancelled_states"]),
            ready_filter=(shipment["ready_filter"] or "").strip(),
            poll=poll_of(poll, "shipment"),
            receiver=shipment["receiver"],
            sender=shipment["sender"],
            line={key: name for key, name in shipment["lines"].items() if key.endswith("_field")},
            **names,
        ),
        orders=target_of(orders, "customer_order"),
        order_key=orders["key"][0],
        order_currency_field=orders["currency_field"],
        order_state_field=orders["state_field"],
        order_lines=target_of(
            {"service": orders["service"], "root": orders.get("root", "projection")} | orders["lines"], "customer_order.lines"
        ),
        order_line_key=tuple(orders["lines"]["key"]),
        order_line={key: name for key, name in orders["lines"].items() if key.endswith("_field")},
        units=target_of(units, "handling_unit"),
        unit={key: name for key, name in units.items() if key.endswith("_field")},
        customer_addresses=target_of(addresses, "customer_address"),
        customer_address=addresses["fields"],
        customer_field=addresses["customer_field"],
        address_field=addresses["address_field"],
        sites=target_of(sites, "site"),
        site_company_field=sites["company_field"],
        site_field=sites["site_field"],
        charges={
            CUSTOMER_ORDER: _charge(whole, CUSTOMER_ORDER, "customer_order_charge", _CLOSED_SALES),
            PURCHASE_ORDER: _charge(whole, PURCHASE_ORDER, "purchase_order.charge", _CLOSED_PURCHASES),
        },
        files=_files(whole["labels"]),
        documents=order_profiles(whole),
    )


def _files(labels: Mapping[str, Any]) -> FileProfile:
    def act(block: Mapping[str, Any], action: str, path: str) -> Target:
        return target_of({**block, "set": block[action]}, path)

    media = labels["media"]
    return FileProfile(
        enabled=labels["storage"] != "none",
        doc_class=labels["doc_class"],
        file_types=tuple(suffix.lower().lstrip(".") for suffix in labels["file_types"]),
        create=act(labels, "create_action", "labels"),
        url=act(labels, "url_action", "labels"),
        connect=act(labels, "connect_action", "labels"),
        documents=target_of(labels["search"], "labels.search"),
        title_field=labels["search"]["title_field"],
        connected=target_of(labels["connected"], "labels.connected"),
        create_media=act(media, "create_action", "labels.media"),
        media=target_of(media, "labels.media"),
        media_key=media["key_field"],
        media_title=media["title_field"],
        media_object=media["object_field"],
    )


_CLOSED_SALES = ("Invoiced", "Cancelled")
_CLOSED_PURCHASES = ("Closed", "Cancelled")
"""States of an order in which IFS takes no charge."""


def _charge(whole: Mapping[str, Any], kind: str, path: str, closed: tuple[str, ...]) -> ChargeProfile:
    orders, accounting, charge = whole[kind], whole["accounting"], whole
    for name in path.split("."):
        charge = charge[name]
    before = accounting["pre_posting"]
    return ChargeProfile(
        kind=kind,
        path=path,
        noun=kind.replace("_", " "),
        orders=target_of(orders, kind),
        order_key=orders["key"][0],
        state_field=orders["state_field"],
        currency_field=orders["currency_field"],
        closed_states=closed,
        **{key: charge[key] for key in _CHARGE_FIELDS},
        amount_mode=charge.get("amount_mode", ""),
        amount_percent=Decimal(str(charge.get("amount_percent") or 0)),
        unit=charge.get("unit", ""),
        vendor_field=charge.get("vendor_field"),
        vendor=(charge.get("vendor") or "").strip(),
        company_field=orders["company_field"],
        site_field=orders["site_field"],
        address_field=orders["address_id_field"] if kind == CUSTOMER_ORDER else None,
        pre_posting_field=orders["pre_posting_field"],
        pre_posting=target_of(before, "accounting.pre_posting") if before["service"] else None,
        pre_posting_key=before["key_field"],
        account_field=before["account_field"],
        part_prefix=before["part_prefix"],
        cost_center_field=f"{before['part_prefix']}{accounting['cost_center_code_part'].removeprefix('Code')}",
    )


_CHARGE_FIELDS = ("nav", "charge_type", "cost_field", "enabled", "number_field", "invoiced_field", "marker_field")

_TOP = (
    "realm",
    "scope",
    "gateway",
    "projection_root",
    "entity_root",
    "page_size",
    "read_timeout_s",
    "state_literal",
    "weight_unit",
    "length_unit",
)
_SHIPMENT_FIELDS = (
    "state_field",
    "site_field",
    "state_enum",
    "tracking_field",
    "forwarder_field",
    "ship_via_field",
    "ship_date_field",
    "quote_field",
    "quote_currency_field",
    "status_field",
    "status_time_field",
    "estimated_delivery_field",
    "delivered_field",
    "signed_by_field",
    "planned_date_field",
    "weight_field",
    "delivery_terms_field",
    "receiver_type_field",
    "receiver_id_field",
    "receiver_address_id_field",
)

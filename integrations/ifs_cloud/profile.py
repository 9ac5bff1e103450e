"""The connection profile: which projection, set and field of this tenant plays which part (sheet 11).

No name of a projection, set or field stands as a constant in client, mapping or adapter: tenants rename
them. `DEFAULTS` is the vendor's own part of `settings`; an operator's values are merged over it key by key.
`check_settings` finds what cannot be right without asking IFS; what only the tenant's `$metadata` can tell
is found by the ping. A `null` target means: do not write it, say so in the result.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from integrations.base.errors import ConfigurationError
from integrations.base.records import LengthUnit, WeightUnit
from integrations.base.vendor import COMMON_SETTINGS, SettingError
from integrations.ifs_cloud.order_defaults import CUSTOMER_ORDER, FIELD_MAPS, PURCHASE_ORDER, STATE_LISTS, SUPPLIER_ADDRESS
from integrations.ifs_cloud.order_defaults import REQUIRED as ORDERS_REQUIRED
from integrations.ifs_cloud.order_profile import OrderProfile, order_profiles
from integrations.ifs_cloud.targets import Poll, Target, date_literal_value, poll_of, target_of

__all__ = ["Poll", "Target", "date_literal_value"]  # also from here, as before they had a file of their own

PAGE_SIZE_CAP = 1000
"""Rows; the largest `$top` that we send (sheet 4.4)."""

_RECEIVER = {f"address{n}": f"ReceiverAddress{n}" for n in range(1, 7)}
_SENDER = {f"address{n}": f"SenderAddress{n}" for n in range(1, 7)}

DEFAULTS: dict[str, Any] = {
    "realm": "",
    "scope": "openid microprofile-jwt",
    "gateway": "main",
    "projection_root": "/ifsapplications/projection/v1",
    "entity_root": "/int/ifsapplications/entity/v1",
    "page_size": 200,
    "read_timeout_s": None,
    "state_literal": "enum",
    "weight_unit": "kg",
    "length_unit": "cm",
    "default_package": None,
    "site": {"service": "SitesHandling", "set": "Reference_CompanySite", "company_field": "Company", "site_field": "Contract"},
    "shipment": {
        "service": "ShipmentHandling",
        "set": "ShipmentSet",
        "key": ["ShipmentId"],
        "state_field": "Objstate",
        "site_field": "Contract",
        "state_enum": "ShipmentState",
        "ready_states": ["Completed"],
        "cancelled_states": ["Cancelled"],
        "ready_filter": None,
        "poll": {
            "strategy": "etag_window",
            "stamp_field": None,
            "date_field": "PlannedShipDate",
            "date_type": "datetime",
            "window_days": 30,
            "history": {
                "service": "HistoryLogHandling",
                "set": "HistoryLogOverviewSet",
                "key_field": "LogId",
                "unit_field": "LuName",
                "unit": "Shipment",
                "time_field": "TimeStamp",
                "keys_field": "Keys",
            },
        },
        "tracking_field": "AirwayBillNo",
        "forwarder_field": "ForwardAgentId",
        "ship_via_field": "ShipViaCode",
        "ship_date_field": "ActualShipDate",
        "planned_date_field": "PlannedShipDate",
        "weight_field": "ManualGrossWeight",
        "delivery_terms_field": "DeliveryTerms",
        "quote_field": None,
        "quote_currency_field": None,
        "status_field": None,
        "status_time_field": None,
        "estimated_delivery_field": None,
        "delivered_field": None,
        "signed_by_field": None,
        "receiver_type_field": "ReceiverType",
        "receiver_id_field": "ReceiverId",
        "receiver_address_id_field": "ReceiverAddrId",
        "receiver": {
            "name": "ReceiverAddressName",
            **_RECEIVER,
            "city": "ReceiverCity",
            "state": "ReceiverState",
            "postal_code": "ReceiverZipCode",
            "country": "ReceiverCountry",
            "contact": "ReceiverContactName",
            "phone": None,
            "email": None,
        },
        "sender": {
            "name": "SenderName",
            **_SENDER,
            "city": "SenderCity",
            "state": "SenderState",
            "postal_code": "SenderZipCode",
            "country": "SenderCountry",
            "contact": None,
            "phone": None,
            "email": None,
        },
        "lines": {
            "service": None,
            "set": "ShipmentLineSet",
            "line_field": "ShipmentLineNo",
            "part_field": "SourcePartNo",
            "description_field": "SourcePartDescription",
            "quantity_field": "InventoryQty",
            "unit_field": "SourceUnitMeas",
            "source_type_field": "SourceRefType",
            "order_field": "SourceRef1",
            "order_line_field": "SourceRef2",
            "order_release_field": "SourceRef3",
            "order_item_field": "SourceRef4",
        },
        "actions": {"complete": None, "deliver": None, "close": None},
    },
    "handling_unit": {
        "service": "HandlingUnitsHandling",
        "set": "HandlingUnits",
        "shipment_field": "ShipmentId",
        "id_field": "HandlingUnitId",
        "parent_field": "ParentHandlingUnitId",
        "operative_weight_field": "OperativeGrossWeight",
        "manual_weight_field": "ManualGrossWeight",
        "weight_unit_field": "UomForWeight",
        "width_field": "Width",
        "height_field": "Height",
        "depth_field": "Depth",
        "length_unit_field": "UomForLength",
    },
    "customer_address": {
        "service": "CustomerHandling",
        "set": "Reference_CustomerInfoAddressPublic",
        "customer_field": "CustomerId",
        "address_field": "AddressId",
        "fields": {
            "name": "Name",
            "address1": "Address1",
            "address2": "Address2",
            "address3": None,
            "address4": None,
            "address5": None,
            "address6": None,
            "city": "City",
            "state": "State",
            "postal_code": "ZipCode",
            "country": "Country",
            "contact": None,
            "phone": None,
            "email": None,
        },
    },
    "customer_order": CUSTOMER_ORDER,
    "customer_order_charge": {
        "nav": "CustomerOrderChargeArray",
        "charge_type": "FREIGHT",
        "cost_field": "ChargeCost",
        "amount_mode": "zero",
        "enabled": True,
        "number_field": "SequenceNo",
        "invoiced_field": "InvoicedQty",
        "marker_field": None,
        "unit": "EA",
    },
    "purchase_order": PURCHASE_ORDER,
    "supplier_address": SUPPLIER_ADDRESS,
    "return": {
        "mode": "rma",
        "service": "ReturnMaterialAuthorizationHandling",
        "set": "ReturnMaterialSet",
        "lines_nav": "ReturnMaterialLinesArray",
        "default_reason": "RETURN",
    },
    "inventory": {
        "service": "InventoryPartInStockHandling",
        "set": "InventoryPartInStockSet",
        "qty_field": "AvailableQty",
        "exclude_availability": [],
        "write_mode": "report",
    },
    "accounting": {
        "service": "VoucherRowsAnalysis",
        "account_set": "Reference_Account",
        "code_part_set": "Reference_{part}",
        "cost_center_code_part": "CodeB",
        "pre_posting": {
            "service": None,
            "set": "PreAccountingSet",
            "key_field": "PreAccountingId",
            "account_field": "AccountNo",
            "part_prefix": "Codeno",
        },
    },
    "labels": {
        "storage": "document",
        "doc_class": "LABEL",
        "file_types": ["pdf"],
        "service": "CreateAndImportDocument",
        "create_action": "CreateDocument",
        "url_action": "GetDocumentUrl",
        "connect_action": "ConnectObject",
        "search": {"service": "DocReferenceObjectAttachmentHandling", "set": "DocIssueSet", "title_field": "Title"},
        "connected": {"service": "DocReferenceObjectAttachmentHandling", "set": "DocReferenceObjectSet"},
        "media": {
            "service": "MediaLibraryAttachmentHandling",
            "set": "MediaItemSet",
            "create_action": "CreateAndConnectMedia",
            "key_field": "ItemId",
            "title_field": "Name",
            "object_field": "MediaObject",
        },
    },
    "fulfillment": {"mode": "shipment_update"},
}

# -- checking what an operator entered -------------------------------------------------------------------

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SERVICE = re.compile(r"(entity:)?[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+")

_CHOICES: dict[str, tuple[str, ...]] = {
    "gateway": ("main", "int", "b2b"),
    "state_literal": ("enum", "string"),
    "weight_unit": tuple(WeightUnit),
    "length_unit": tuple(LengthUnit),
    **{f"{kind}.poll.date_type": ("datetime", "date") for kind in ("shipment", "customer_order", "purchase_order")},
    "customer_order_charge.amount_mode": ("zero", "cost", "cost_plus_percent"),
    "return.mode": ("rma", "custom_entity"),
    "inventory.write_mode": ("report", "action"),
    "accounting.cost_center_code_part": tuple(f"Code{letter}" for letter in "BCDEFGHIJ"),
    "labels.storage": ("document", "media", "none"),
    "fulfillment.mode": ("shipment_update", "shipment_deliver", "custom_entity"),
}
_RANGES = {"page_size": (1, PAGE_SIZE_CAP), "window_days": (1, 3660), "read_timeout_s": (1, 600)}
_STRATEGIES = ("etag_window", "stamp", "history_log")
# What must be named for the ship flow to work at all; every other `..._field` may be null.
_REQUIRED_FIELDS = frozenset(
    {
        "site.company_field",
        "site.site_field",
        "shipment.state_field",
        "shipment.site_field",
        "shipment.poll.date_field",
        "shipment.lines.line_field",
        "handling_unit.shipment_field",
        "handling_unit.id_field",
        "customer_address.customer_field",
        "customer_address.address_field",
        "shipment.poll.history.key_field",
        "shipment.poll.history.unit_field",
        "shipment.poll.history.time_field",
        "shipment.poll.history.keys_field",
        "customer_order.company_field",
        "customer_order.site_field",
        "customer_order_charge.cost_field",
        "customer_order_charge.number_field",
        "accounting.pre_posting.key_field",
        "labels.media.key_field",
        "labels.media.object_field",
        *ORDERS_REQUIRED,
    }
)
_ELSEWHERE = {
    "base_url": "the address is entered as the connection's URL",
    "client_id": "the client id is entered as a credential",
    "client_secret": "the client secret is entered as a credential",
    "companies": "company codes and sites are entered at the connection",
}


def check_settings(settings: Mapping[str, Any]) -> list[SettingError]:
    """What is wrong with the merged `settings` of a connection, each error with its dotted path.

    Unknown keys are named with the nearest known one. Keys that every vendor understands are the
    services' business and left alone.
    """
    return list(_check(settings, DEFAULTS, ""))


def _check(given: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> Iterator[SettingError]:
    for key, value in given.items():
        path = f"{prefix}{key}"
        if not prefix and key in COMMON_SETTINGS:
            continue
        if key == "root" and "service" in known:
            if value not in ("entity", "projection"):
                yield SettingError(path, 'must be "entity" or "projection"')
        elif key not in known:
            yield SettingError(path, _unknown(key, known, prefix))
        elif isinstance(known[key], dict):
            if isinstance(value, Mapping):
                yield from _check(value, known[key], f"{path}.")
            else:
                yield SettingError(path, f"must be a block of settings ({', '.join(known[key])})")
        elif path == "default_package":
            yield from _check_package(value)
        elif problem := _wrong(path, key, value, known[key]):
            yield SettingError(path, problem)
    missing = [key for key in known if key not in given]
    for key in missing:
        yield SettingError(f"{prefix}{key}", "is missing; remove the change that took it away, or set it")
    if prefix.endswith("poll.") and not missing and given["strategy"] == "stamp" and not given["stamp_field"]:
        yield SettingError(f"{prefix}stamp_field", 'strategy "stamp" needs the name of the field that holds the last change')


def _unknown(key: str, known: Mapping[str, Any], prefix: str) -> str:
    if not prefix and key in _ELSEWHERE:
        return f"is no setting: {_ELSEWHERE[key]}"
    where = f"in {prefix[:-1]}" if prefix else "at the top"
    candidates = [*known, *([] if prefix else sorted(COMMON_SETTINGS))]
    near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.5)
    return f'unknown key "{key}" {where}' + (f'; did you mean "{near[0]}"?' if near else f"; known are {', '.join(candidates)}")


def _wrong(path: str, key: str, value: Any, default: Any) -> str:
    """What is wrong with one value, judged by its path, the last part of it and the kind of its default; or ""."""
    if path in _CHOICES:
        return "" if isinstance(value, str) and value in _CHOICES[path] else f"must be one of {', '.join(_CHOICES[path])}"
    if key == "strategy":
        offered = _STRATEGIES if path == "shipment.poll.strategy" else _STRATEGIES[:2]
        return "" if value in offered else f"must be one of {', '.join(offered)}; others are not offered"
    if key in _RANGES:
        low, high = _RANGES[key]
        if value is None and default is None:
            return ""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and low <= value <= high else f"must be a whole number from {low} to {high}"
    if key in ("projection_root", "entity_root"):
        return "" if isinstance(value, str) and _PATH.fullmatch(value) else "must be a path like /ifsapplications/projection/v1"
    if key == "realm":
        fits = isinstance(value, str) and re.fullmatch(r"[^\s/?#]+", value)
        return "" if fits else "is required: the IAM realm, a name of its own and often not the subdomain (for instance acme1)"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "must be true or false"
    if isinstance(default, list):
        return _wrong_list(path, key, value)
    if key in ("service", "list_service"):
        fits = isinstance(value, str) and _SERVICE.fullmatch(value)
        return (
            ""
            if fits or (value is None and default is None)
            else 'must be the name of a projection, such as ShipmentHandling (or "entity:" and an entity service)'
        )
    if key in ("scope", "ready_filter", "default_reason", "code_part_set", "charge_type", "doc_class"):
        nullable = default is None
        return "" if isinstance(value, str) or (nullable and value is None) else "must be text"
    if value is None:
        may_be_null = (default is None or key.endswith("_field") or _in_field_map(path)) and path not in _REQUIRED_FIELDS
        return "" if may_be_null else "must not be null"
    # Bound actions are written with dots: IfsApp.ShipmentHandling.Shipment_Complete.
    pattern = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*") if ".actions." in path else _NAME
    return "" if isinstance(value, str) and pattern.fullmatch(value) else "must be a name (letters, digits, underscore)"


def _wrong_list(path: str, key: str, value: Any) -> str:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        return "must be a list of texts"
    if key in ("key", "ready_states", "cancelled_states", *STATE_LISTS) and not all(_NAME.fullmatch(v) for v in value):
        return "must be a list of names (letters, digits, underscore)"
    if path == "shipment.key" and len(value) != 1:
        return "must name exactly one field, the shipment's number"
    if path in ("customer_order.key", "purchase_order.key") and len(value) != 1:
        return "must name exactly one field, the order's number"
    if path == "customer_order.lines.key" and len(value) != 4:
        return "must name four fields: order, line, release and item"
    if path == "purchase_order.lines.key" and len(value) != 3:
        return "must name three fields: order, line and release"
    return "must not be empty" if key in ("key", "ready_states") and not value else ""


def _in_field_map(path: str) -> bool:
    return path.startswith(("shipment.receiver.", "shipment.sender.", "customer_address.fields.", *FIELD_MAPS))


def _check_package(value: Any) -> Iterator[SettingError]:
    """`default_package`: null, or {weight, unit, length, width, height, dim_unit} with all sizes or none."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield SettingError("default_package", "must be null or a block with weight, unit, length, width, height, dim_unit")
        return
    units = {"unit": tuple(WeightUnit), "dim_unit": tuple(LengthUnit)}
    known = dict.fromkeys(("weight", "unit", "length", "width", "height", "dim_unit"))
    for key, entered in value.items():
        path = f"default_package.{key}"
        if key not in known:
            yield SettingError(path, _unknown(key, known, "default_package."))
        elif key in units and entered not in units[key]:
            yield SettingError(path, f"must be one of {', '.join(units[key])}")
        elif key not in units and not _positive(entered):
            yield SettingError(path, "must be a number above 0")
    for key in ("weight", "unit"):
        if key not in value:
            yield SettingError(f"default_package.{key}", "is missing")
    sizes = ("length", "width", "height", "dim_unit")
    absent = [key for key in sizes if key not in value]
    if absent and len(absent) < len(sizes):
        yield SettingError("default_package", f"a size needs all of {', '.join(sizes)}; missing: {', '.join(absent)}")


def _positive(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return False
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    return number.is_finite() and number > 0


# -- the profile as the code uses it -----------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class ChargeProfile:
    """Charges of customer orders, with what of the order goes into them. `pre_posting` None: it is not read."""

    nav: str
    charge_type: str
    cost_field: str
    amount_mode: str
    enabled: bool
    number_field: str
    invoiced_field: str | None
    marker_field: str | None
    unit: str
    company_field: str
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
    charge: ChargeProfile
    files: FileProfile
    documents: Mapping[str, OrderProfile]


def merged(over: Mapping[str, Any], under: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
    """`over` laid over the defaults, blocks key by key, everything else replaced."""
    result = dict(under)
    for key, value in over.items():
        below = under.get(key)
        result[key] = merged(value, below) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


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
        charge=_charge(whole),
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


def _charge(whole: Mapping[str, Any]) -> ChargeProfile:
    charge, orders, accounting = whole["customer_order_charge"], whole["customer_order"], whole["accounting"]
    before = accounting["pre_posting"]
    return ChargeProfile(
        **{key: charge[key] for key in _CHARGE_FIELDS},
        company_field=orders["company_field"],
        site_field=orders["site_field"],
        address_field=orders["address_id_field"],
        pre_posting_field=orders["pre_posting_field"],
        pre_posting=target_of(before, "accounting.pre_posting") if before["service"] else None,
        pre_posting_key=before["key_field"],
        account_field=before["account_field"],
        part_prefix=before["part_prefix"],
        cost_center_field=f"{before['part_prefix']}{accounting['cost_center_code_part'].removeprefix('Code')}",
    )


_CHARGE_FIELDS = (
    *("nav", "charge_type", "cost_field", "amount_mode", "enabled"),
    *("number_field", "invoiced_field", "marker_field", "unit"),
)

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

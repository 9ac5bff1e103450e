"""What cannot be right in an operator's profile, without asking IFS.

What only the tenant's `$metadata` can tell is found by the ping.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from integrations.base.records import LengthUnit, WeightUnit
from integrations.base.vendor import COMMON_SETTINGS, SettingError
from integrations.ifs_cloud.order_defaults import FIELD_MAPS, STATE_LISTS
from integrations.ifs_cloud.order_defaults import REQUIRED as ORDERS_REQUIRED
from integrations.ifs_cloud.profile_defaults import DEFAULTS, PAGE_SIZE_CAP

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
        elif key == "amount_percent":
            yield from _check_percent(path, value, given)
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
    if key in ("scope", "ready_filter", "default_reason", "code_part_set", "charge_type", "doc_class", "vendor"):
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


def _check_percent(path: str, value: Any, block: Mapping[str, Any]) -> Iterator[SettingError]:
    """What the customer pays above the cost: needed for `cost_plus_percent` alone."""
    if value is None:
        if block.get("amount_mode") == "cost_plus_percent":
            yield SettingError(path, 'amount_mode "cost_plus_percent" needs the per cent, such as 15')
        return
    try:
        number = Decimal("NaN") if isinstance(value, bool) else Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= 1000 or number != round(number, 4):
        yield SettingError(path, "must be a number from 0 to 1000 with at most four decimals")


def _positive(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return False
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    return number.is_finite() and number > 0

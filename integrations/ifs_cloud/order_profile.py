"""The profile of the documents that are orders, ready to use: which sets and fields, which states, which targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from integrations.ifs_cloud.targets import Poll, Target, poll_of, target_of

CUSTOMER_ORDER = "customer_order"
PURCHASE_ORDER = "purchase_order"
ORDER_KINDS = (CUSTOMER_ORDER, PURCHASE_ORDER)
"""Document kinds beside "shipment"; their source keys name order and delivery: "customer_order:S10023/2"."""


@dataclass(frozen=True, slots=True)
class LineProfile:
    """The lines of an order. `key` is order, line, release (the delivery) and, for customer orders, item."""

    target: Target
    key: tuple[str, ...]
    state_field: str
    waiting_states: tuple[str, ...]
    begun_states: tuple[str, ...]
    tracking_field: str | None
    names: Mapping[str, str | None]

    # Carrier, ship date and price stand on the header only.
    tracking_note_field: None = None
    forwarder_field: None = None
    ship_date_field: None = None
    quote_field: None = None
    quote_currency_field: None = None

    @property
    def release_field(self) -> str:
        """The part of the key that tells one delivery of the order from another (sheet 9.2, 9.6)."""
        return self.key[2]

    def name(self, setting: str) -> str | None:
        """The field of a setting, None where it is null or this kind has no such setting."""
        return self.names.get(setting)


@dataclass(frozen=True, slots=True)
class OrderProfile:
    """One kind of order. Field names; None = the tenant has none. `noun` is what people call it."""

    kind: str
    noun: str
    header: Target
    listed: Target
    lines: LineProfile
    key: str
    state_field: str
    site_field: str
    state_enum: str
    ready_states: tuple[str, ...]
    partial_states: tuple[str, ...]
    cancelled_states: tuple[str, ...]
    ready_filter: str
    poll: Poll
    tracking_field: str | None
    tracking_note_field: str | None
    forwarder_field: str | None
    ship_date_field: str | None
    status_field: str | None
    status_time_field: str | None
    estimated_delivery_field: str | None
    delivered_field: str | None
    signed_by_field: str | None
    quote_field: str | None
    quote_currency_field: str | None
    names: Mapping[str, str | None]
    places: Target
    """Where the other party's addresses are: the customers' or the suppliers'."""
    place_party_field: str
    place_id_field: str
    place_fields: Mapping[str, str | None]
    single: Target | None
    single_order_field: str
    single_fields: Mapping[str, str | None]

    @property
    def inbound(self) -> bool:
        """Whether the goods come to us: the other party is the sender."""
        return self.kind == PURCHASE_ORDER

    @property
    def party_setting(self) -> str:
        """The setting of the header's field that names customer or supplier."""
        return "supplier_field" if self.inbound else "customer_field"

    @property
    def party_field(self) -> str:
        """The header's field that names customer or supplier."""
        return str(self.names[self.party_setting])

    @property
    def place_field(self) -> str | None:
        """The header's field that names the party's address."""
        return self.name("supplier_address_id_field" if self.inbound else "address_id_field")

    def name(self, setting: str) -> str | None:
        """The field of a setting of the header, None where it is null or this kind has no such setting."""
        return self.names.get(setting)


def order_profiles(whole: Mapping[str, Any]) -> dict[str, OrderProfile]:
    """The profiles of both kinds of order, from checked settings."""
    return {kind: _order_profile(kind, whole) for kind in ORDER_KINDS}


_OWN = (
    *("state_field", "site_field", "state_enum", "tracking_field", "ship_date_field"),
    *("status_field", "status_time_field", "estimated_delivery_field", "delivered_field", "signed_by_field"),
    *("quote_field", "quote_currency_field"),
)


def _order_profile(kind: str, whole: Mapping[str, Any]) -> OrderProfile:
    block = whole[kind]
    lines = {"service": block["service"], "root": block.get("root", "projection")} | block["lines"]
    inbound = kind == PURCHASE_ORDER
    places = whole["supplier_address" if inbound else "customer_address"]
    listed = block | {"service": block["list_service"] or block["service"], "set": block["list_set"] or block["set"]}
    single = block.get("single_address")
    return OrderProfile(
        kind=kind,
        noun=kind.replace("_", " "),
        header=target_of(block, kind),
        listed=target_of(listed, kind),
        lines=LineProfile(
            target=target_of(lines, f"{kind}.lines"),
            key=tuple(lines["key"]),
            state_field=lines["state_field"],
            waiting_states=tuple(lines["waiting_states"]),
            begun_states=tuple(lines["begun_states"]),
            tracking_field=lines["tracking_field"],
            names=_fields(lines),
        ),
        key=block["key"][0],
        ready_states=tuple(block["ready_states"]),
        partial_states=tuple(block["partial_states"]),
        cancelled_states=tuple(block["cancelled_states"]),
        ready_filter=(block["ready_filter"] or "").strip(),
        poll=poll_of(block["poll"], kind),
        forwarder_field=block["carrier_field"],
        tracking_note_field=block.get("tracking_note_field"),
        names=_fields(block),
        places=target_of(places, "supplier_address" if inbound else "customer_address"),
        place_party_field=places["supplier_field" if inbound else "customer_field"],
        place_id_field=places["address_field"],
        place_fields=places["fields"],
        single=target_of(single, f"{kind}.single_address") if single else None,
        single_order_field=single["order_field"] if single else "",
        single_fields=single["fields"] if single else {},
        **{name: block[name] for name in _OWN},
    )


def _fields(block: Mapping[str, Any]) -> dict[str, str | None]:
    return {key: name for key, name in block.items() if key.endswith("_field")}

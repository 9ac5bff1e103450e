"""Which sets and fields the profile makes us use, for the ping and the check against $metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.targets import Target
from integrations.ifs_cloud.writing import STATUS_TARGETS


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
    written = (
        "tracking_field",
        "forwarder_field",
        "ship_date_field",
        "quote_field",
        "quote_currency_field",
        *STATUS_TARGETS.values(),
    )
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


def uses_of(profile: Profile, kind: str) -> list[tuple[Target, list[Use]]]:
    """The sets of one document kind, with the fields that are read or written there."""
    if kind not in profile.documents:
        return uses(profile)
    order = profile.documents[kind]
    lines = order.lines
    # A number that has a note to go to can do without a field of its own (sheet 9.6).
    number = "tracking_note_field" if order.tracking_note_field else "tracking_field"
    written = (number, "carrier_field", "ship_date_field", *STATUS_TARGETS.values())
    written += ("quote_field", "quote_currency_field")
    header = [
        Use(f"{kind}.key", order.key, True),
        Use(f"{kind}.poll.date_field", order.poll.date_field, True),
        *_named(kind, order.names, {"state_field", "site_field", order.party_setting, *written}),
    ]
    line = [Use(f"{kind}.lines.key", name, True) for name in lines.key]
    party = "supplier" if order.inbound else "customer"
    place = order.places.path
    return [
        (order.header, header),
        (lines.target, line + _named(f"{kind}.lines", lines.names, {"state_field", "tracking_field"})),
        (
            order.places,
            [
                Use(f"{place}.{party}_field", order.place_party_field, True),
                Use(f"{place}.address_field", order.place_id_field, True),
                *_named(f"{place}.fields", order.place_fields, set()),
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

"""Settings of the profile that nearly every tenant meets, each with a field of its own in the form (sheet 11)."""

from __future__ import annotations

from collections.abc import Iterator

from integrations.base.records import LengthUnit, WeightUnit
from integrations.base.vendor import SettingField

CUSTOM = "A field of yours begins with Cf_. It must exist in the projection; the ping tells."
NOT_WRITTEN = "not written"

_NEWS = (
    ("status_field", "Status of the parcel is written to"),
    ("estimated_delivery_field", "Expected delivery is written to"),
    ("delivered_field", "Time of delivery is written to"),
    ("signed_by_field", "Who signed is written to"),
    ("quote_field", "Quoted price is written to"),
    ("quote_currency_field", "Its currency is written to"),
)


def _document(block: str, topic: str, states: str) -> Iterator[SettingField]:
    """When a document is ready, and where what we know of its parcel is written."""
    yield SettingField(f"{block}.ready_states", "Ready in state", "list", f"Names as IFS has them in {states}.", topic=topic)
    told = "A condition in IFS's own words, such as Cf_Ready_To_Ship eq true."
    yield SettingField(f"{block}.ready_filter", "And only where", help=told, topic=topic)
    yield SettingField(f"{block}.cancelled_states", "Cancelled in state", "list", topic=topic)
    written = NOT_WRITTEN if block == "shipment" else ""
    yield SettingField(f"{block}.tracking_field", "Tracking number is written to", help=CUSTOM, topic=topic, unset=written)
    yield SettingField(f"{block}.ship_date_field", "Ship date is written to", topic=topic, unset=written)
    for key, label in _NEWS:
        yield SettingField(f"{block}.{key}", label, topic=topic)


SETTING_FIELDS = (
    SettingField("realm", "Realm", help="As in the token address: /auth/realms/<realm>/. Often not the subdomain."),
    SettingField("gateway", "Door", "choice", "Leave it unless your IFS team says otherwise.", ("main", "int", "b2b")),
    SettingField("weight_unit", "Weights without a unit are in", "choice", choices=tuple(WeightUnit)),
    SettingField("length_unit", "Measures without a unit are in", "choice", choices=tuple(LengthUnit)),
    *_document("shipment", "Shipments", "ShipmentState"),
    SettingField("shipment.receiver.phone", "Receiver's phone stands in", help=CUSTOM, topic="Shipments"),
    SettingField("shipment.receiver.email", "Receiver's e-mail stands in", topic="Shipments"),
    *_document("customer_order", "Customer orders", "CustomerOrderState"),
    SettingField("customer_order.weight_field", "Gross weight stands in", topic="Customer orders"),
    SettingField("customer_order.phone_field", "Receiver's phone stands in", topic="Customer orders"),
    SettingField("customer_order.email_field", "Receiver's e-mail stands in", topic="Customer orders"),
    *_document("purchase_order", "Purchase orders", "PurchaseOrderState"),
    SettingField(
        "purchase_order.tracking_note_field",
        "Where there is no such field, the number is added to",
        help="A text of the order, such as NoteText. Empty: it is not written.",
        topic="Purchase orders",
    ),
    SettingField("customer_order_charge.charge_type", "Charge type", help="As IFS has it at the site.", topic="Freight charges"),
    SettingField(
        "customer_order_charge.amount_mode",
        "Amount that the customer is charged",
        "choice",
        "The cost is always written.",
        ("zero", "cost", "cost_plus_percent"),
        topic="Freight charges",
    ),
    SettingField(
        "customer_order_charge.amount_percent", "Per cent above the cost", help="For cost_plus_percent.", topic="Freight charges"
    ),
    SettingField("customer_order_charge.marker_field", "Our reference is written to", help=CUSTOM, topic="Freight charges"),
    SettingField("labels.storage", "Labels are kept as", "choice", choices=("document", "media", "none"), topic="Labels in IFS"),
    SettingField("labels.doc_class", "Document class", topic="Labels in IFS"),
)

"""Which integrations exist, with their flows, slots and options. Pure data: forms, import and docs derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

OptionKind = Literal["text", "choice", "boolean", "integer", "list"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A target field of a flow. `source` is JMESPath over the document; `value_map` names the map applied to it."""

    name: str
    label: str
    meaning: str
    source: str
    required: bool = False
    value_map: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """One choice an integration offers. `default` None means "not set"."""

    name: str
    label: str
    kind: OptionKind
    default: Any
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | None = None


@dataclass(frozen=True, slots=True)
class FlowDef:
    """A flow as data. `available` False: named by the interface, built later; schedules for it are kept."""

    name: str
    label: str
    available: bool = True
    every_minutes: int = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the flow table: which vendors, which flows, what can be set."""

    slug: str
    label: str
    source: str
    target: str
    flows: tuple[FlowDef, ...]
    slots: tuple[Slot, ...] = ()
    options: tuple[Option, ...] = ()
    value_maps: tuple[str, ...] = ()
    available: bool = True

    def flow(self, name: str) -> FlowDef:
        """The flow of that name. Raises KeyError."""
        for flow in self.flows:
            if flow.name == name:
                return flow
        raise KeyError(name)

    def defaults(self) -> dict[str, Any]:
        """All options with their defaults."""
        return {o.name: o.default for o in self.options}


SHIP_SLOTS = (
    Slot("carrier", "Carrier", "Whose document this is: a forwarder that maps to our carrier", "forwarder", value_map="carrier"),
    Slot("service", "Service", "The carrier's service", "ship_via", required=True, value_map="service"),
    Slot("recipient_company", "Recipient company", "Company on the label", "recipient.company"),
    Slot("recipient_name", "Recipient name", "Person on the label", "recipient.name"),
    Slot("recipient_phone", "Recipient phone", "Phone on the label; the carrier demands one", "recipient.phone"),
    Slot("recipient_email", "Recipient e-mail", "For the carrier's own notices", "recipient.email"),
    Slot("order_numbers", "Order numbers", "Printed as purchase order reference", "lines[].order_ref"),
)

TRACK_STATUSES = (
    *("label_created", "cancelled", "picked_up", "in_transit", "exception"),
    *("out_for_delivery", "ready_for_pickup", "returning", "delivered", "returned"),
)

SHIP_OPTIONS = (
    Option("documents", "Documents that ship", "list", ["shipment"], "Kinds of ERP documents.", choices=("shipment",)),
    Option(
        "default_service",
        "Service when nothing maps",
        "text",
        None,
        "Empty: a document without a mapped service waits for a person.",
    ),
    Option("recipient_phone", "Phone when the document has none", "text", None),
    Option(
        "pickup_type",
        "Pickup",
        "choice",
        "USE_SCHEDULED_PICKUP",
        choices=("USE_SCHEDULED_PICKUP", "CONTACT_FEDEX_TO_SCHEDULE", "DROPOFF_AT_FEDEX_LOCATION"),
    ),
    Option("packaging_type", "Packaging", "text", "YOUR_PACKAGING"),
    Option("label_image_type", "Label format", "choice", "PDF", choices=("PDF",)),
    Option(
        "label_stock_type", "Label size", "choice", "PAPER_4X6", choices=("PAPER_4X6", "PAPER_4X675", "PAPER_4X8", "PAPER_LETTER")
    ),
    Option("rate_type", "Rates", "choice", "ACCOUNT", choices=("ACCOUNT", "LIST")),
    Option("payment_type", "Who pays", "choice", "SENDER", choices=("SENDER", "RECIPIENT", "THIRD_PARTY")),
    Option("payment_account", "Account that pays", "text", None, "Needed unless the sender pays."),
    Option("residential", "Residential delivery", "boolean", None, "Not set: no, except for GROUND_HOME_DELIVERY."),
    Option(
        "ship_date", "Ship date", "choice", "today", "planned: the planned date, at most today.", choices=("today", "planned")
    ),
    Option("forwarder_to_write", "Forwarder to write when empty", "text", None, "The ERP's forwarder id for this carrier."),
    Option("write_ship_date", "Write the actual ship date", "boolean", False),
    Option(
        "adopted_label",
        "Label lost with the answer",
        "choice",
        "ask",
        "A shipment found again at the carrier has no label file.",
        choices=("ask", "void_and_rebuy", "accept"),
    ),
    Option(
        "on_change",
        "Document changed after the label",
        "choice",
        "note",
        choices=("ignore", "note", "cancel", "new_revision"),
    ),
    Option(
        "track_statuses",
        "Statuses that reach the ERP",
        "list",
        [status for status in TRACK_STATUSES if status not in ("label_created", "returning")],
        "Written to the status field of the ERP connection's profile, if it names one.",
        choices=TRACK_STATUSES,
    ),
    Option(
        "max_purchases_per_hour",
        "Purchases per hour",
        "integer",
        None,
        "Above it a person approves. Empty: no ceiling.",
        minimum=1,
    ),
)

KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            "ifs_fedex",
            "IFS Cloud to FedEx",
            source="ifs_cloud",
            target="fedex",
            flows=(FlowDef("ship", "Ship"), FlowDef("track", "Track", every_minutes=60)),
            slots=SHIP_SLOTS,
            options=SHIP_OPTIONS,
            value_maps=("carrier", "service"),
        ),
        Kind("ifs_ups", "IFS Cloud to UPS", source="ifs_cloud", target="ups", flows=(), available=False),
        Kind("ifs_shipbob", "IFS Cloud and ShipBob", source="ifs_cloud", target="shipbob", flows=(), available=False),
        Kind("shipstation_ifs", "ShipStation to IFS Cloud", source="shipstation", target="ifs_cloud", flows=(), available=False),
        Kind("acumatica_fedex", "Acumatica to FedEx", source="acumatica", target="fedex", flows=(), available=False),
    )
}

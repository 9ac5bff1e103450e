"""Which integrations exist, with their flows, slots and options. Pure data: forms, import and docs derive from it."""

from __future__ import annotations

from collections.abc import Mapping
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
    """One choice an integration offers. `default` None means "not set".

    `fits` ties the choices to another option: its name, and which of ours go with each of its values. `formerly` is
    a name under which files of an earlier release may still hold it. `needs` is
    a switch without which a choice of ours would do nothing. `pattern` is what a text must match, as in `example`.
    """

    name: str
    label: str
    kind: OptionKind
    default: Any
    help: str = ""
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    fits: tuple[str, Mapping[str, tuple[str, ...]]] | None = None
    formerly: str = ""
    needs: str = ""
    pattern: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class FlowDef:
    """A flow as data. `available` False: named by the interface, built later; schedules for it are kept.

    `preview` is the dotted path of what shows a document's mapping (`integrations.base.preview.Previewer`),
    imported on first use; empty where a flow maps nothing.
    """

    name: str
    label: str
    available: bool = True
    every_minutes: int = 5
    preview: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a flow as people see it, named as the saved step, with what it costs.

    `calls` is the least and the most it takes at its `end` for `per` documents together. `effect` names what it does
    once only: a stage that is never repeated. `optional`: only some documents go through it (the flow's previewer
    knows which). `option` names the option of the integration that must be on for it.
    """

    name: str
    label: str
    kind: Literal["read", "map", "guard", "once", "write"]
    end: Literal["", "source", "target"] = ""
    calls: tuple[int, int] = (0, 0)
    per: int = 1
    effect: str = ""
    optional: bool = False
    option: str = ""


_ATTACH = (
    Stage("find place for label", "Find the label's place in the ERP", "read", "source", (0, 3), option="attach_label"),
    Stage("look before attaching", "Last look before attaching", "guard", option="attach_label"),
    # For each package: the place is made, the bytes go there, it is connected.
    Stage(
        "make place for label",
        "Make a place for the label in the ERP",
        "once",
        "source",
        (1, 1),
        effect="attachment",
        option="attach_label",
    ),
    Stage("upload label", "Upload the label", "write", "source", (2, 2), option="attach_label"),
    Stage("connect label", "Connect the label with its record", "write", "source", (0, 2), option="attach_label"),
)

STAGES: dict[str, tuple[Stage, ...]] = {
    "ship": (
        Stage("read", "Read the document", "read", "source", (3, 5), per=20),
        Stage("read goods", "Read the goods for customs", "read", "source", (1, 3), optional=True),
        Stage("map", "Prepare the request", "map"),
        Stage("check address", "Check the address", "read", "target", (0, 1), per=20, option="address_check"),
        Stage("choose address", "Choose the address", "map", option="address_check"),
        Stage("quote", "Ask for prices", "read", "target", (1, 1), option="rates"),
        Stage("choose service", "Choose among the offers", "map", option="rates"),
        Stage("last look", "Last look before buying", "guard"),
        Stage("buy label", "Buy the label", "once", "target", (1, 1), effect="label"),
        Stage("write tracking", "Write the number into the ERP", "write", "source", (1, 3)),
        Stage("mail link", "Mail the link to the supplier", "write", option="supplier_mail"),
        *_ATTACH,
        Stage("read orders", "Read the orders for the freight cost", "read", "source", (0, 4), option="freight_charge"),
        Stage("look at orders", "Last look at the orders", "guard", option="freight_charge"),
        # For each order: a look whether it is there, and the charge. Nothing where the cost is not known.
        Stage(
            "write freight cost",
            "Write the freight cost to the orders",
            "once",
            "source",
            (0, 20),
            effect="charge",
            option="freight_charge",
        ),
        Stage(
            "read accounting",
            "Read account and cost centre of the orders",
            "read",
            "source",
            (0, 4),
            option="document_accounting",
        ),
    ),
    "void": (
        Stage("cancel at carrier", "Cancel at the carrier", "write", "target", (1, 1)),
        Stage("clear tracking", "Clear the number in the ERP", "write", "source", (1, 3)),
        Stage("take back freight cost", "Take the freight cost back", "write", "source", (0, 20), option="freight_charge"),
    ),
    "attach": _ATTACH,
    "cost": (Stage("correct freight cost", "Correct the freight cost on the orders", "write", "source", (0, 20)),),
    "track": (Stage("write status", "Write the news into the ERP", "write", "source", (1, 3)),),
}


OFF = "off"


def stages_of(flow: str, options: Mapping[str, Any]) -> tuple[Stage, ...]:
    """The stages of a flow with these options of the integration: those of options that are off do not exist."""
    return tuple(stage for stage in STAGES.get(flow, ()) if not stage.option or is_on(options.get(stage.option)))


def is_on(value: Any) -> bool:
    """Whether an option's value lets its stages exist: a choice may have "none" or "off" for that."""
    return bool(value) and value not in ("none", OFF)


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
    Slot(
        "terms_of_sale", "Delivery terms", "Incoterm, told to customs across borders", "delivery_terms", value_map="terms_of_sale"
    ),
    Slot("order_numbers", "Order numbers", "Printed as purchase order reference", "lines[].order_ref"),
    Slot(
        "wanted_date",
        "Wanted date",
        "When it is to arrive, for the rule that chooses by it",
        "raw.WantedDeliveryDate || raw.WantedReceiptDate || raw.PlannedDeliveryDate",
    ),
)

TRACK_STATUSES = (
    *("label_created", "cancelled", "picked_up", "in_transit", "exception"),
    *("out_for_delivery", "ready_for_pickup", "returning", "delivered", "returned"),
)

INCOTERMS = ("EXW", "FCA", "FAS", "FOB", "CFR", "CIF", "CPT", "CIP", "DAP", "DPU", "DDP", "DAT", "DDU", "DAF")
"""Terms of sale as invoices write them, the retired ones that are still in use at the end."""

SUB_PACKAGINGS = (
    *("BAG", "BARREL", "BASKET", "BOX", "BUCKET", "BUNDLE", "CAGE", "CARTON", "CASE", "CHEST", "CONTAINER", "CRATE", "CYLINDER"),
    *("DRUM", "ENVELOPE", "HAMPER", "OTHER", "PACKAGE", "PAIL", "PALLET", "PARCEL", "PIECE", "REEL", "ROLL", "SACK"),
    *("SHRINKWRAPPED", "SKID", "TANK", "TOTEBIN", "TUBE", "UNIT"),
)

PAPER_STOCKS = (
    *("PAPER_4X6", "PAPER_4X675", "PAPER_4X8", "PAPER_4X9", "PAPER_7X475"),
    *("PAPER_85X11_BOTTOM_HALF_LABEL", "PAPER_85X11_TOP_HALF_LABEL", "PAPER_LETTER"),
)
THERMAL_STOCKS = (
    *("STOCK_4X6", "STOCK_4X675", "STOCK_4X675_LEADING_DOC_TAB", "STOCK_4X675_TRAILING_DOC_TAB", "STOCK_4X8", "STOCK_4X9"),
    *("STOCK_4X9_LEADING_DOC_TAB", "STOCK_4X9_TRAILING_DOC_TAB", "STOCK_4X85_TRAILING_DOC_TAB", "STOCK_4X105_TRAILING_DOC_TAB"),
)
LABEL_STOCKS = {"PDF": PAPER_STOCKS, "PNG": PAPER_STOCKS, "ZPLII": THERMAL_STOCKS}
"""Label format -> the sizes that FedEx prints it on."""

DOCUMENT_KINDS = ("shipment", "customer_order", "purchase_order")
"""Kinds of ERP documents that can ship; the first part of their source keys ("shipment:19", "customer_order:S10023/2")."""

SHIP_OPTIONS = (
    Option(
        "documents",
        "Documents that ship",
        "list",
        ["shipment"],
        "Kinds of ERP documents. Purchase orders are inbound: the supplier sends, our site receives.",
        choices=DOCUMENT_KINDS,
    ),
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
    Option(
        "label_format",
        "Label format",
        "choice",
        "PDF",
        "ZPLII: commands for a Zebra label printer.",
        choices=tuple(LABEL_STOCKS),
        formerly="label_image_type",
    ),
    Option(
        "label_stock_type",
        "Label size",
        "choice",
        None,
        "Not set: 4 by 6 inches. PAPER sizes go with PDF and PNG, STOCK sizes with ZPLII.",
        choices=PAPER_STOCKS + THERMAL_STOCKS,
        fits=("label_format", LABEL_STOCKS),
    ),
    Option("rate_type", "Rates", "choice", "ACCOUNT", choices=("ACCOUNT", "LIST")),
    Option("payment_type", "Who pays", "choice", "SENDER", choices=("SENDER", "RECIPIENT", "THIRD_PARTY")),
    Option("payment_account", "Account that pays", "text", None, "Needed unless the sender pays."),
    Option(
        "inbound_payment_type",
        "Who pays for purchase orders",
        "choice",
        "RECIPIENT",
        "The supplier sends, and never pays: our site as the recipient does, or our account as a third party.",
        choices=("RECIPIENT", "THIRD_PARTY"),
    ),
    Option(
        "inbound_payment_account",
        "Account that pays for purchase orders",
        "text",
        None,
        "Empty: the account of the carrier connection.",
    ),
    Option("supplier_phone", "Phone when the supplier has none", "text", None, "The carrier demands one of the sender."),
    Option("terms_of_sale", "Incoterm", "choice", None, "Where the document's delivery terms are none.", choices=INCOTERMS),
    Option(
        "duties_payment_type",
        "Who pays duties",
        "choice",
        None,
        "Not set: the sender under DDP, else the recipient, as the Incoterms say.",
        choices=("SENDER", "RECIPIENT", "THIRD_PARTY"),
    ),
    Option("duties_account", "Account that pays duties", "text", None, "Needed where a third party pays them."),
    Option(
        "shipment_purpose",
        "Purpose told to customs",
        "choice",
        "SOLD",
        choices=("SOLD", "GIFT", "SAMPLE", "NOT_SOLD", "PERSONAL_EFFECTS", "REPAIR_AND_RETURN"),
    ),
    Option("customs_currency", "Currency when the document has none", "text", None, "ISO code, for prices told to customs."),
    Option(
        "country_of_manufacture",
        "Country of manufacture",
        "text",
        None,
        "ISO code, for goods whose country the ERP does not hold. Not set: such a shipment waits for a person.",
    ),
    Option(
        "sub_packaging_type",
        "Kind of package",
        "choice",
        "BOX",
        "Told into Canada, and from Canada or Mexico into the US and Puerto Rico.",
        choices=SUB_PACKAGINGS,
    ),
    Option("residential", "Residential delivery", "boolean", None, "Not set: no, except for GROUND_HOME_DELIVERY."),
    Option(
        "address_check",
        "Check addresses before buying",
        "choice",
        OFF,
        "The carrier's advice on the recipient's address. warn: it ships, and the advice is kept. "
        "block: a doubtful address waits for a person. While the check is down it ships in both cases; "
        "with block such a label asks for a look.",
        choices=(OFF, "warn", "block"),
    ),
    Option(
        "address_correction",
        "Correct addresses",
        "choice",
        "never",
        "Where the carrier knows the address in another spelling. never: it ships as written. ask: it waits for a person. "
        "apply: it ships to the carrier's spelling. The ERP is never changed.",
        choices=("never", "ask", "apply"),
    ),
    Option(
        "residential_from_check",
        "Tell homes by the address check",
        "boolean",
        False,
        "Residential delivery as the carrier sorts the address, where “Residential delivery” is not set.",
    ),
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
        choices=("ignore", "note"),
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
        "proof_of_delivery",
        "Keep the proof of delivery",
        "boolean",
        False,
        "Fetches the carrier's signed document of each delivered parcel: one more call for each, and again while there is none.",
    ),
    Option(
        "scan_within_hours",
        "Hours from label to first scan",
        "integer",
        24,
        "Counted on working days. Longer without a scan is a missed deadline. 0: never.",
        minimum=0,
    ),
    Option(
        "news_within_hours",
        "Hours between news of a parcel",
        "integer",
        72,
        "Counted on working days. A carrier that says nothing new for longer is a missed deadline. 0: never.",
        minimum=0,
    ),
    Option(
        "erp_within_hours",
        "Hours until the ERP shows a delivery",
        "integer",
        4,
        "Delivered and not in the ERP for longer is a missed deadline. 0: never.",
        minimum=0,
    ),
    Option(
        "attach_label",
        "Attach the label in the ERP",
        "choice",
        "none",
        "After the tracking number, each package's label is hung on the ERP's record: as a document of its document "
        "management, or in its media library.",
        choices=("none", "document", "media"),
    ),
    Option(
        "supplier_mail",
        "Mail the label's link to the supplier",
        "boolean",
        False,
        "For inbound documents: after the label is bought, a link to it, good for 14 days, is mailed to the supplier's address.",
    ),
    Option(
        "document_accounting",
        "Keep the orders' account and cost centre",
        "boolean",
        False,
        "After the label, account, cost centre and code parts are read from the orders' pre-posting, where the ERP connection's "
        "profile says where, and kept with the shipment. Writing freight cost does the same.",
    ),
    Option(
        "freight_charge",
        "Write freight cost to the orders",
        "boolean",
        False,
        "After the tracking number, the cost rated at ship time becomes a charge of each customer order, "
        "one unit with the whole cost, nothing for the customer to pay. Purchase orders bear theirs only where the ERP "
        "connection's settings say so.",
    ),
    Option("freight_charge_type", "Charge type", "text", None, "Empty: the charge type of the ERP connection's profile."),
    Option(
        "freight_charge_split",
        "Freight cost of several orders",
        "choice",
        "weight",
        "Shared by what ships of each order, to the cent; or all on the first one.",
        choices=("weight", "value", "first_order"),
    ),
    Option(
        "freight_charge_lines",
        "Tie freight cost to the order lines",
        "boolean",
        False,
        "Each line of a customer order that ships bears its part as a charge of its own, by weight (by value where orders share "
        "by it). Off: one charge for each order. Purchase orders bear theirs as a whole.",
        needs="freight_charge",
    ),
    Option(
        "freight_charge_currency",
        "Currency of freight cost",
        "text",
        None,
        "ISO code of the currency in which the ERP keeps costs. Empty: the order's. Another currency than the carrier's "
        "needs a rate in the value map exchange_rate, such as USD-EUR: 0.92; without one it waits for a person.",
    ),
    Option(
        "rates",
        "Ask for prices before buying",
        "boolean",
        False,
        "One more call for each document; all offers are kept with it.",
    ),
    Option(
        "rate_rule",
        "Which offer is bought",
        "choice",
        "fixed",
        "fixed: the service that the document asks for. The others choose among the offers, whatever it asks for.",
        choices=("fixed", "cheapest", "cheapest_by_wanted_date"),
        needs="rates",
    ),
    Option("rate_services", "Services that a rule may choose", "list", [], "Empty: all that are offered."),
    Option(
        "cost_ceiling",
        "Price above which a person approves",
        "text",
        None,
        "Amount and currency. A price in another currency needs a person, too. Empty: no ceiling.",
        needs="rates",
        pattern=r"\d{1,8}(?:\.\d{1,2})? ?[A-Z]{3}",
        example="150.00 USD",
    ),
    Option(
        "reconcile_at",
        "Compare every day at",
        "text",
        None,
        "A time in the tenant's zone, at which ERP, carrier and our own books are compared. Empty: only on demand.",
        pattern=r"(?:[01][0-9]|2[0-3]):[0-5][0-9]",
        example="02:30",
    ),
    Option("reconcile_days", "Days compared", "integer", 14, "How far back a comparison goes.", minimum=1),
    Option(
        "reconcile_calls",
        "Calls of one comparison, at most",
        "integer",
        2000,
        "To ERP and carrier together. What is left over is said, and nothing is concluded about it.",
        minimum=10,
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

OPTION_TOPICS = {
    "What ships": (
        *("documents", "default_service", "ship_date", "recipient_phone", "supplier_phone", "on_change", "adopted_label"),
    ),
    "Label": (
        "label_format",
        "label_stock_type",
        "pickup_type",
        "packaging_type",
        "residential",
        "attach_label",
        "supplier_mail",
    ),
    "Addresses": ("address_check", "address_correction", "residential_from_check"),
    "Rates": ("rates", "rate_rule", "rate_services", "cost_ceiling"),
    "Who pays": ("rate_type", "payment_type", "payment_account", "inbound_payment_type", "inbound_payment_account"),
    "Across borders": (
        *("terms_of_sale", "duties_payment_type", "duties_account", "shipment_purpose", "customs_currency"),
        *("country_of_manufacture", "sub_packaging_type"),
    ),
    "What is written into the ERP": ("forwarder_to_write", "write_ship_date", "track_statuses", "proof_of_delivery"),
    "Freight cost": (
        *("document_accounting", "freight_charge", "freight_charge_type", "freight_charge_split", "freight_charge_currency"),
        "freight_charge_lines",
    ),
    "Deadlines and limits": ("scan_within_hours", "news_within_hours", "erp_within_hours", "max_purchases_per_hour"),
    "Reconciliation": ("reconcile_at", "reconcile_days", "reconcile_calls"),
}
"""How the form groups the options of all kinds; an option that stands nowhere here comes last."""

KINDS: dict[str, Kind] = {
    kind.slug: kind
    for kind in (
        Kind(
            "ifs_fedex",
            "IFS Cloud to FedEx",
            source="ifs_cloud",
            target="fedex",
            flows=(
                FlowDef("ship", "Ship", preview="integrations.flows.preview.Ship"),
                FlowDef("track", "Track", every_minutes=60),
            ),
            slots=SHIP_SLOTS,
            options=SHIP_OPTIONS,
            value_maps=("carrier", "service", "terms_of_sale", "unit", "exchange_rate"),
        ),
        Kind("ifs_ups", "IFS Cloud to UPS", source="ifs_cloud", target="ups", flows=(), available=False),
        Kind("ifs_shipbob", "IFS Cloud and ShipBob", source="ifs_cloud", target="shipbob", flows=(), available=False),
        Kind("shipstation_ifs", "ShipStation to IFS Cloud", source="shipstation", target="ifs_cloud", flows=(), available=False),
        Kind("acumatica_fedex", "Acumatica to FedEx", source="acumatica", target="fedex", flows=(), available=False),
    )
}

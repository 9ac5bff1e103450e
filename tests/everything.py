"""Documents of every kind with every option on: how they are made, and what stands of each at both vendors.

The customised tenant of the simulated IFS has fields for all of it (sheet 13 of IFS).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.fedex.simulator import FedexSimulator, MadeShipment
from integrations.ifs_cloud.simulator import IfsCloudSimulator

TENANT = "custom"
SUPPLIER = "dock@supplier.example"
KINDS = ("shipment", "customer_order", "purchase_order")
_ENTITIES = {
    "customer_order": ("CustomerOrder", "CustomerOrderLine"),
    "purchase_order": ("PurchaseOrder", "PurchaseOrderLine"),
}
_NEWS = {
    "tracking_field": "Cf_Tracking_No",
    "status_field": "Cf_Delivery_Status",
    "ship_date_field": "Cf_Ship_Date",
    "estimated_delivery_field": "Cf_Estimated_Arrival",
}
OPTIONS = {
    "documents": list(KINDS),
    "adopted_label": "accept",
    "address_check": "warn",
    "residential_from_check": True,
    "rates": True,
    "rate_rule": "cheapest",
    "rate_services": ["FEDEX_GROUND", "FEDEX_2_DAY"],
    "supplier_mail": True,
    "attach_label": "document",
    "freight_charge": True,
    "document_accounting": True,
    "write_ship_date": True,
    "country_of_manufacture": "US",
}
ABROAD = {
    "ReceiverAddressName": "Muster GmbH",
    "ReceiverAddress1": "Hauptstr. 5",
    "ReceiverAddress2": None,
    "ReceiverCity": "Berlin",
    "ReceiverState": None,
    "ReceiverZipCode": "10115",
    "ReceiverCountry": "GERMANY",
    "ShipViaCode": "FDX-INTL",
}


def everything_on(doc: dict[str, Any], **more: Any) -> None:
    """A site's document with all of it on."""
    ifs, _ = doc["connections"]
    ifs["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}
    ifs["settings"] |= {
        "realm": "custom1",
        "in_doubt": {"look_up_after_s": [0.2, 0.5, 1, 1, 1, 1, 1, 1], "resend_after_s": 0.5},
        "shipment": {"service": "CShipmentHandling", "status_field": "NoteText"},
        "customer_order": {**_NEWS, "lines": {"tracking_field": "Cf_Tracking_No"}},
        "purchase_order": {
            **_NEWS,
            "lines": {"tracking_field": "Cf_Tracking_No", "gross_weight_field": "Cf_Gross_Weight"},
            "charge": {"enabled": True},
        },
        "supplier_address": {"fields": {"phone": "Cf_Phone", "email": "Cf_Email"}},
    }
    integration = doc["integrations"][0]
    integration["options"] = {**OPTIONS, **more}
    integration["value_maps"]["service"]["FDX-INTL"] = "FEDEX_INTERNATIONAL_PRIORITY"


class Vendors(Protocol):
    """Both simulators: of a drill's site, or of a flow test's world."""

    ifs: IfsCloudSimulator
    fedex: FedexSimulator


@dataclass(frozen=True, slots=True)
class Document:
    """A document in IFS: its kind and number, and the orders that bear its cost."""

    kind: str
    number: str
    orders: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """As our source keys are written; orders have one delivery."""
        return f"{self.kind}:{self.number}" + ("" if self.kind == "shipment" else "/1")

    @property
    def named(self) -> str:
        """As people read it."""
        return self.key.partition(":")[2]

    @property
    def keyref(self) -> str:
        """As IFS writes keys."""
        return f"SHIPMENT_ID={self.number}^" if self.kind == "shipment" else f"ORDER_NO={self.number}^"


def make(site: Vendors, kind: str, count: int, **values: Any) -> list[Document]:
    """Documents of a kind that are ready in IFS; a shipment delivers for two orders."""
    if not count:
        return []
    if kind != "shipment":
        numbers = site.ifs.make_orders(TENANT, count, kind=kind, lines=2, **values)
        # What the sender does not pay FedEx does not rate: a purchase order bears what was quoted, or what somebody enters.
        return [Document(kind, number, (number,)) for number in numbers]
    made = site.ifs.make_shipments(TENANT, count, lines=2, **values)
    return [Document(kind, str(number), (f"C{number}", _second_order(site, number))) for number in made]


def _second_order(site: Vendors, number: int) -> str:
    """The second line of a shipment comes from an order of its own."""
    name = f"M{number}"
    order = {"OrderNo": name, "Objstate": "Picked", "CurrencyCode": "USD", "Contract": "S1", "Company": "10"}
    site.ifs.add_rows(TENANT, "CustomerOrder", [order])
    line = {"OrderNo": name, "LineNo": "2", "RelNo": "1", "LineItemNo": 0, "BuyQtyDue": 1, "AdjustedWeightNet": 2}
    site.ifs.add_rows(TENANT, "CustomerOrderLine", [line])
    site.ifs.edit(TENANT, "ShipmentLine", {"ShipmentId": number, "ShipmentLineNo": 2}, {"SourceRef1": name})
    return name


def suppliers_have_mail(site: Vendors) -> None:
    """Where the links to labels of purchase orders go."""
    for supplier in ("V2001", "V2002", "V2003"):
        key = {"SupplierId": supplier, "AddressId": "01"}
        site.ifs.edit(TENANT, "SupplierInfoAddressPublic", key, {"Cf_Email": SUPPLIER})


# -- what stands at the vendors ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stands:
    """What both vendors hold of one document."""

    live: tuple[MadeShipment, ...]
    voided: tuple[MadeShipment, ...]
    numbers: frozenset[str | None]
    status: str | None
    costs: tuple[tuple[str, float], ...]
    files: int
    hung: int
    mails: int


def stands(site: Vendors, documents: Sequence[Document], mails: Sequence[tuple[str, str]]) -> dict[str, Stands]:
    """What the simulators hold of each document, by its key."""
    printed = {",".join(document.orders): document.key for document in documents}
    made: dict[str, list[MadeShipment]] = {}
    for shipment in site.fedex.shipments():
        key = printed.get(dict(shipment.references)["P_O_NUMBER"], "")
        made.setdefault(key, []).append(shipment)
    charges: dict[str, list[float]] = {}
    for charge in site.ifs.charges(TENANT):
        charges.setdefault(charge["OrderNo"], []).append(charge["ChargeCost"])
    for charge in site.ifs.purchase_charges(TENANT):
        charges.setdefault(charge["OrderNo"], []).append(charge["ChargeAmount"])
    places = [on for document in site.ifs.documents(TENANT) for on in document["on"]]
    hung = [*places, *(item["KeyRef"] for item in site.ifs.media(TENANT))]
    uploaded = _uploaded(site)
    found = {}
    for document in documents:
        mine = made.get(document.key, [])
        numbers, status = _written(site, document)
        found[document.key] = Stands(
            live=tuple(m for m in mine if not m.voided),
            voided=tuple(m for m in mine if m.voided),
            numbers=numbers,
            status=status,
            costs=tuple((order, cost) for order in document.orders for cost in charges.get(order, ())),
            files=sum(number in name for m in mine for number in m.tracking_numbers for name in uploaded),
            hung=hung.count(document.keyref),
            mails=sum(to == SUPPLIER and f"(document {document.named})" in _joined(text) for to, text in mails),
        )
    return found


def _joined(text: str) -> str:
    return " ".join(text.replace("=\r\n", "").split())


def _uploaded(site: Vendors) -> list[str]:
    return [json.dumps(file, default=str) for file in site.ifs.files(TENANT).values()]


def _written(site: Vendors, document: Document) -> tuple[frozenset[str | None], str | None]:
    """The numbers that stand in header and lines, and the carrier's news."""
    if document.kind == "shipment":
        row = site.ifs.shipment(TENANT, int(document.number))
        return frozenset({row["AirwayBillNo"]}), row["NoteText"]
    header, line = _ENTITIES[document.kind]
    rows = site.ifs.state["tenants"][TENANT]["rows"]
    mine = [row for name in (header, line) for row in rows[name].values() if row["OrderNo"] == document.number]
    [status] = {row.get("Cf_Delivery_Status") for row in rows[header].values() if row["OrderNo"] == document.number}
    return frozenset(row.get("Cf_Tracking_No") for row in mine), status

"""Invented records for the IFS simulator: sites, customers, and shipments that are ready for a carrier.

Row dictionaries are keyed by entity name and complete except for what the simulator fills in itself.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from integrations.ifs_cloud.simulator_schema import stamp

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Site:
    """A site with the address its shipments leave from."""

    contract: str
    company: str
    name: str
    street: str
    city: str
    state: str
    zip_code: str


SITES = (
    Site("S1", "10", "Memphis distribution", "3875 Airways Blvd", "Memphis", "TN", "38116"),
    Site("S2", "10", "Austin assembly", "9500 Metric Blvd Suite 120", "Austin", "TX", "78758"),
    Site("S9", "20", "Harrison subsidiary", "1000 Fed Ex Dr", "Moon Township", "PA", "15108"),
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A customer's delivery address; `phone` as somebody typed it."""

    customer: str
    name: str
    streets: tuple[str, ...]
    city: str
    state: str
    zip_code: str
    contact: str
    phone: str


RECEIVERS = (
    Receiver("C1001", "Harbor Tool Supply", ("410 Atlantic Ave",), "Boston", "MA", "02110", "Dana Whitfield", "617-555-0142"),
    Receiver(
        "C1002", "Lakeview Dental Group", ("233 S Wacker Dr", "Suite 4400"), "Chicago", "IL", "60606", "R. Osei", "(312) 555-0117"
    ),
    Receiver(
        "C1003", "Mesa Irrigation LLC", ("1150 N Country Club Dr",), "Mesa", "AZ", "85201", "Luis Ortega", "+1 480 555 0163"
    ),
    Receiver(
        "C1004",
        "Puget Marine Parts",
        ("2001 W Garfield St", "Bldg A-1"),
        "Seattle",
        "WA",
        "98119",
        "Ann Sorensen",
        "206.555.0188",
    ),
    Receiver("C1005", "Brightline Signs", ("750 Ponce De Leon Ave NE",), "Atlanta", "GA", "30306", "Tia Coleman", "4045550129"),
    Receiver(
        "C1006", "Front Range Cycles", ("1600 Champa St", "Dock 3"), "Denver", "CO", "80202", "Pete Lindqvist", "1-303-555-0171"
    ),
    Receiver(
        "C1007", "O'Malley & Sons Hardware", ("84 Water St",), "Portland", "ME", "04101", "Kevin O'Malley", "207 555 0106 ext 12"
    ),
    Receiver(
        "C1008", "Gulf Coast Valve Co", ("5718 Westheimer Rd", "Floor 9"), "Houston", "TX", "77057", "M. Tran", "713/555-0194"
    ),
    Receiver(
        "C1009", "Twin Cities Hydraulics", ("800 Nicollet Mall",), "Minneapolis", "MN", "55402-7014", "Inga Dahl", "(612)5550135"
    ),
    Receiver("C1010", "Bayfront Electronics", ("100 Biscayne Blvd",), "Miami", "FL", "33132", "Rosa Delgado", "+13055550158"),
    Receiver(
        "C1011", "Motor City Bearings", ("2000 Brush St", "Receiving"), "Detroit", "MI", "48226", "Jamal Price", "313-555-0110"
    ),
    Receiver("C1012", "Liberty Print Works", ("1735 Market St",), "Philadelphia", "PA", "19103", "Helen Krause", "215 555-0147"),
)

# A street that fills more than three lines of 35 characters however it is broken.
ENDLESS_STREETS = (
    "Northwestern Regional Consolidated Distribution and Returns Processing Campus",
    "Building Seventeen, Mezzanine Level, Receiving Corridor Behind Loading Dock Forty-Two",
)

# Part, description, price of one in USD.
PARTS = (
    ("HYD-4410", "Hydraulic seal kit", 38.5),
    ("BRG-6204", "Deep groove bearing 6204", 6.75),
    ("VLV-0150", "Ball valve 1-1/2 in", 52),
    ("CTL-2300", "Controller board rev C", 219.9),
    ("FLT-0900", "Filter cartridge 5 micron", 11.2),
)

DEMO_FIRST_ID = 1001
DEMO_COUNT = 25

# The demo shipments that cannot be shipped as they stand, and why.
DEMO_FAULTY: dict[int, str] = {
    1007: "ship-via ROAD-X is not mapped to any service",
    1014: "receiver address without postal code, and streets too long for three lines of 35 characters",
    1021: "no weight on the shipment, its handling unit or its order line",
}


def site_rows() -> list[dict[str, Any]]:
    """`CompanySite` rows (sheet 9.1)."""
    return [{"Company": s.company, "Contract": s.contract, "Description": f"{s.name}, {s.city} {s.state}"} for s in SITES]


def customer_rows() -> list[dict[str, Any]]:
    """`CustomerInfoAddressPublic` rows (sheet 9.2); the country is a name here, as the sheet warns."""
    return [
        {
            "CustomerId": r.customer,
            "AddressId": "01",
            "Name": r.name,
            "Address1": r.streets[0],
            "Address2": r.streets[1] if len(r.streets) > 1 else None,
            "ZipCode": r.zip_code,
            "City": r.city,
            "State": r.state,
            "Country": "UNITED STATES",
        }
        for r in RECEIVERS
    ]


def shipment_rows(
    shipment_id: int,
    *,
    site: str,
    state: str,
    planned: dt.datetime,
    lines: int = 1,
    handling_units: int = 1,
    own_address: bool = True,
    weights: bool = True,
    values: dict[str, Any] | None = None,
) -> Rows:
    """One shipment with its lines, handling units, customer order and order lines.

    `planned` is aware UTC. Weights alternate between kg and lb from shipment to shipment. Without `own_address` only
    receiver and address id are on the shipment, so that the customer's address has to be read. `values` are columns
    of the shipment that replace the made ones; without `weights` nothing was weighed. Raises KeyError for an unknown site.
    """
    sender = {s.contract: s for s in SITES}[site]
    receiver = RECEIVERS[shipment_id % len(RECEIVERS)]
    metric = shipment_id % 2 == 0
    order_no = f"C{shipment_id}"
    shipment: dict[str, Any] = {
        "ShipmentId": shipment_id,
        "Objstate": state,
        "Contract": site,
        "ReceiverType": "Customer",
        "ReceiverId": receiver.customer,
        "ReceiverAddrId": "01",
        "ReceiverReference": f"PO-{shipment_id}",
        "SenderId": site,
        "SenderName": sender.name,
        "SenderAddress1": sender.street,
        "SenderCity": sender.city,
        "SenderState": sender.state,
        "SenderZipCode": sender.zip_code,
        "SenderCountry": "US",
        "ShipViaCode": "FDX-GND",
        "ForwardAgentId": "FEDEX",
        "DeliveryTerms": "DAP",
        "ShipmentType": "NA",
        "CreatedDate": stamp(planned - dt.timedelta(days=2)),
        "PlannedShipDate": stamp(planned),
        "PlannedDeliveryDate": stamp(planned + dt.timedelta(days=3)),
        "NoteText": f"Call {receiver.contact} at {receiver.phone} before delivery",
    }
    if own_address:
        shipment |= {
            "ReceiverAddressName": receiver.name,
            "ReceiverContactName": receiver.contact,
            "ReceiverCity": receiver.city,
            "ReceiverState": receiver.state,
            "ReceiverZipCode": receiver.zip_code,
            "ReceiverCountry": "US",
        }
        shipment |= {f"ReceiverAddress{i}": street for i, street in enumerate(receiver.streets, 1)}
    shipment |= values or {}
    rows: Rows = {
        "Shipment": [shipment],
        "CustomerOrder": [
            {
                "OrderNo": order_no,
                "OrderId": "NO",
                "Contract": site,
                "Company": sender.company,
                "Objstate": "Picked",
                "CustomerNo": receiver.customer,
                "CustomerName": receiver.name,
                "CustomerPoNo": f"PO-{shipment_id}",
                "AuthorizeCode": "PLANNER",
                "BillAddrNo": "01",
                "ShipAddrNo": "01",
                "DeliveryTerms": "DAP",
                "ShipViaCode": shipment["ShipViaCode"],
                "ForwardAgentId": shipment["ForwardAgentId"],
                "CurrencyCode": "USD",
                "PayTermId": "30",
                "DeliveryCountryCode": "US",
                "PreAccountingId": 500000 + shipment_id,
                "AddrFlagDb": False,
                "ChargesExist": False,
                "DateEntered": stamp(planned - dt.timedelta(days=6)),
                "WantedDeliveryDate": stamp(planned + dt.timedelta(days=3)),
            }
        ],
        "ShipmentLine": [],
        "CustomerOrderLine": [],
        "HandlingUnit": [],
    }
    for number in range(1, lines + 1):
        part, description, price = PARTS[(shipment_id + number) % len(PARTS)]
        quantity = 1 + (shipment_id + number) % 4
        rows["ShipmentLine"].append(
            {
                "ShipmentId": shipment_id,
                "ShipmentLineNo": number,
                "InventoryPartNo": part,
                "SourcePartNo": part,
                "SourcePartDescription": description,
                "InventoryQty": quantity,
                "QtyAssigned": quantity,
                "QtyPicked": quantity,
                "QtyToReserve": 0,
                "SourceUnitMeas": "pcs",
                "SourceRefType": "CustomerOrder",
                "SourceRef1": order_no,
                "SourceRef2": str(number),
                "SourceRef3": "1",
                "SourceRef4": "0",
            }
        )
        rows["CustomerOrderLine"].append(
            {
                "OrderNo": order_no,
                "LineNo": str(number),
                "RelNo": "1",
                "LineItemNo": 0,
                "Objstate": "Picked",
                "Contract": site,
                "CatalogNo": part,
                "CatalogDesc": description,
                "PartNo": part,
                "BuyQtyDue": quantity,
                "QtyAssigned": quantity,
                "QtyPicked": quantity,
                "QtyShipped": 0,
                "SalesUnitMeas": "pcs",
                "SaleUnitPrice": price,
                "BaseSaleUnitPrice": price,
                "CurrencyRate": 1,
                "ConvFactor": 1,
                "InvertedConvFactor": 1,
                "AdjustedWeightNet": round(quantity * 0.3, 2),
                "AdjustedWeightGross": round(quantity * (0.9 if metric else 2.0), 2),
                "PreAccountingId": 600000 + shipment_id,
                "ShipmentConnectedDb": True,
                "PlannedShipDate": stamp(planned),
            }
        )
    for number in range(1, handling_units + 1):
        grams = 1400 + 370 * ((shipment_id + 3 * number) % 23)
        rows["HandlingUnit"].append(
            {
                # Room for 99 units per shipment keeps the numbers apart and guessable in tests.
                "HandlingUnitId": shipment_id * 100 + number,
                "HandlingUnitTypeId": "CARTON",
                "HandlingUnitCategoryId": "BOX",
                "ShipmentId": shipment_id,
                "Contract": site,
                "Width": 30 if metric else 12,
                "Height": 20 if metric else 8,
                "Depth": 40 if metric else 16,
                "UomForLength": "cm" if metric else "in",
                "OperativeGrossWeight": grams / 1000 if metric else round(grams / 453.59237, 2),
                "UomForWeight": "kg" if metric else "lb",
                "MixOfPartNumberBlocked": False,
            }
        )
    if not weights:
        _unweigh(rows)
    return rows


def _unweigh(rows: Rows) -> None:
    """Take every weight away."""
    for row in rows["HandlingUnit"]:
        row["OperativeGrossWeight"] = row["UomForWeight"] = None
    for row in rows["CustomerOrderLine"]:
        row["AdjustedWeightGross"] = row["AdjustedWeightNet"] = None


def demo_rows(date: dt.date) -> Rows:
    """Twenty-five shipments, ids from `DEMO_FIRST_ID`, in Completed, planned within three days of `date`.

    All go by forwarder FEDEX from S1 or S2; `DEMO_FAULTY` names the three that need a person.
    """
    noon = dt.datetime.combine(date, dt.time(15), dt.UTC)
    everything: Rows = {}
    for index in range(DEMO_COUNT):
        shipment_id = DEMO_FIRST_ID + index
        rows = shipment_rows(
            shipment_id,
            site="S2" if index % 4 == 3 else "S1",
            state="Completed",
            planned=noon + dt.timedelta(days=index % 7 - 3),
            lines=1 + index % 3,
            handling_units=2 if index % 6 == 2 else 1,
            values={"ShipViaCode": ("FDX-GND", "FDX-2DAY", "FEDEX_GROUND")[index % 3]},
        )
        _break(shipment_id, rows)
        for entity, more in rows.items():
            everything.setdefault(entity, []).extend(more)
    return everything


def _break(shipment_id: int, rows: Rows) -> None:
    """Put the three faults of `DEMO_FAULTY` into their records."""
    shipment = rows["Shipment"][0]
    match shipment_id:
        case 1007:
            shipment["ShipViaCode"] = rows["CustomerOrder"][0]["ShipViaCode"] = "ROAD-X"
        case 1014:
            shipment["ReceiverZipCode"] = None
            shipment["ReceiverAddress1"], shipment["ReceiverAddress2"] = ENDLESS_STREETS
        case 1021:
            _unweigh(rows)

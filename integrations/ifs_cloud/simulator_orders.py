"""Invented customer orders and purchase orders for the IFS simulator, with the suppliers that send the latter.

A delivery of an order is a release: the lines that share `RelNo` (customer orders) or `ReleaseNo` (purchase orders).
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from integrations.ifs_cloud.simulator_demo import PARTS, RECEIVERS, SITES, Rows
from integrations.ifs_cloud.simulator_schema import stamp

FIRST_ORDER = 10001
ORDER_ENTITIES = {"customer_order": "CustomerOrder", "purchase_order": "PurchaseOrder"}
LINE_ENTITIES = {"customer_order": "CustomerOrderLine", "purchase_order": "PurchaseOrderLine"}
READY = {"customer_order": "Released", "purchase_order": "Confirmed"}
_LETTER = {"customer_order": "S", "purchase_order": "P"}

# Supplier, name, street, city, state, postal code, phone.
SUPPLIERS = (
    ("V2001", "Ohio Castings Inc", "1501 Euclid Ave", "Cleveland", "OH", "44115", "216-555-0131"),
    ("V2002", "Blue Ridge Fasteners", "40 Battery Park Ave", "Asheville", "NC", "28801", "828-555-0170"),
    ("V2003", "Sierra Polymer Works", "1 E Liberty St", "Reno", "NV", "89501", "775-555-0164"),
)


def supplier_rows(*, custom: bool = False) -> list[dict[str, Any]]:
    """`SupplierInfoAddressPublic` rows, like those of customers (sheet 9.2); the customised tenant keeps a phone there."""
    rows = []
    for supplier, name, street, city, state, code, phone in SUPPLIERS:
        row = {"SupplierId": supplier, "AddressId": "01", "Name": name, "Address1": street, "City": city, "State": state}
        rows.append(row | {"ZipCode": code, "Country": "UNITED STATES"} | ({"Cf_Phone": phone} if custom else {}))
    return rows


def order_rows(
    kind: str,
    number: int,
    *,
    site: str,
    day: dt.datetime,
    state: str | None = None,
    lines: int = 1,
    releases: int = 1,
    weights: bool = True,
    custom: bool = False,
    values: dict[str, Any] | None = None,
) -> Rows:
    """One order of a kind with its lines; `values` are columns of the header that replace the made ones.

    Raises KeyError for an unknown kind or site.
    """
    company = {s.contract: s.company for s in SITES}[site]
    told = values or {}
    base = {
        "OrderNo": f"{_LETTER[kind]}{number}",
        "Contract": site,
        "Company": company,
        "Objstate": state or READY[kind],
        "AuthorizeCode": "PLANNER",
        "CurrencyCode": "USD",
        "DeliveryTerms": "DAP",
        "ShipViaCode": "FDX-GND",
        "ForwardAgentId": "FEDEX",
        "PreAccountingId": 700000 + number,
    }
    if custom:
        base["Cf_Ready_To_Ship"] = base["Objstate"] == READY[kind]
    header = base | (_sale(number, day) if kind == "customer_order" else _purchase(number, day)) | told
    made = [
        _line(kind, header, number, place, release, day, weights=weights, custom=custom)
        for place in range(1, lines + 1)
        for release in range(1, releases + 1)
    ]
    return {ORDER_ENTITIES[kind]: [header], LINE_ENTITIES[kind]: made}


def _sale(number: int, day: dt.datetime) -> dict[str, Any]:
    receiver = RECEIVERS[number % len(RECEIVERS)]
    return {
        "OrderId": "NO",
        "CustomerNo": receiver.customer,
        "CustomerName": receiver.name,
        "CustRef": receiver.contact,
        "CustomerPoNo": f"PO-{number}",
        "BillAddrNo": "01",
        "ShipAddrNo": "01",
        "PayTermId": "30",
        "DeliveryCountryCode": "US",
        "AddrFlagDb": False,
        "ChargesExist": False,
        "DateEntered": stamp(day - dt.timedelta(days=2)),
        "WantedDeliveryDate": stamp(day + dt.timedelta(days=3)),
    }


def _purchase(number: int, day: dt.datetime) -> dict[str, Any]:
    return {
        "VendorNo": SUPPLIERS[number % len(SUPPLIERS)][0],
        "AddrNo": "01",
        "BuyerCode": "BUYER",
        "OrderDate": stamp(day - dt.timedelta(days=2)),
        "WantedReceiptDate": stamp(day + dt.timedelta(days=5)),
    }


def _line(
    kind: str, header: dict[str, Any], number: int, place: int, release: int, day: dt.datetime, *, weights: bool, custom: bool
) -> dict[str, Any]:
    part, description, price = PARTS[(number + place) % len(PARTS)]
    quantity = 1 + (number + place + release) % 4
    row: dict[str, Any] = {
        "OrderNo": header["OrderNo"],
        "LineNo": str(place),
        "Contract": header["Contract"],
        "Objstate": header["Objstate"],
        "PartNo": part,
        "BuyQtyDue": quantity,
    }
    planned = stamp(day + dt.timedelta(days=7 * (release - 1)))
    if kind == "purchase_order":
        row |= {"ReleaseNo": str(release), "Description": description, "BuyUnitMeas": "pcs", "BuyUnitPrice": price}
        row |= {"CurrencyCode": "USD", "VendorNo": header["VendorNo"], "PlannedReceiptDate": planned}
        return row | ({"Cf_Gross_Weight": round(quantity * 0.9, 2)} if custom and weights else {})
    row |= {"RelNo": str(release), "LineItemNo": 0, "CatalogNo": part, "CatalogDesc": description, "SalesUnitMeas": "pcs"}
    row |= {"SaleUnitPrice": price, "BaseSaleUnitPrice": price, "CurrencyRate": 1, "ConvFactor": 1, "InvertedConvFactor": 1}
    row |= {"QtyAssigned": 0, "QtyPicked": 0, "QtyShipped": 0, "ShipmentConnectedDb": False, "PlannedShipDate": planned}
    row |= {"ShipAddrNo": header.get("ShipAddrNo"), "AddrFlag": "N", "PreAccountingId": 800000 + number}
    heavy = {"AdjustedWeightNet": round(quantity * 0.8, 2), "AdjustedWeightGross": round(quantity * 0.9, 2)}
    return row | (heavy if weights else {})


def demo_order_rows(date: dt.date) -> Rows:
    """Three ready customer orders, the second in two deliveries, and three ready purchase orders at S1 (numbers from 9001)."""
    noon = dt.datetime.combine(date, dt.time(15), dt.UTC)
    everything: Rows = {"SupplierInfoAddressPublic": supplier_rows()}
    for kind in ORDER_ENTITIES:
        for index in range(3):
            rows = order_rows(kind, 9001 + index, site="S1", day=noon, lines=1 + index % 2, releases=2 if index == 1 else 1)
            for entity, more in rows.items():
                everything.setdefault(entity, []).extend(more)
    return everything

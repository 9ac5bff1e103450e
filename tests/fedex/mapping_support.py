"""A shipment to build a FedEx request from, and pieces of FedEx's answers (recorded variations)."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from integrations.base.errors import Rejected
from integrations.base.records import (
    Address,
    BoughtShipment,
    PackageSpec,
    ShipmentRequest,
    Weight,
    WeightUnit,
)
from integrations.fedex import answers, mapping

REFERENCE = "MLABCDEFGHIJKL"
ACCOUNT = "123456789"

SENDER = Address(
    company="Acme Parts",
    phone="(512) 555-0100",
    lines=("1 Dock Rd",),
    city="Austin",
    state="TX",
    postal_code="78701",
    country="US",
)
RECIPIENT = Address(
    name="R Smith", phone="+1 615 555 0111", lines=("9 Elm St",), city="Nashville", state="TN", postal_code="37201", country="US"
)


def package(weight: str = "4.5", unit: WeightUnit = WeightUnit.LB, package_id: str = "hu-1", **rest) -> PackageSpec:
    return PackageSpec(package_id, Weight(Decimal(weight), unit), **rest)


def request(*packages: PackageSpec, **changes) -> ShipmentRequest:
    base = ShipmentRequest("shipment:19", SENDER, RECIPIENT, "FEDEX_GROUND", dt.date(2026, 3, 2), packages or (package(),))
    return replace(base, **changes)


def built(asked: ShipmentRequest) -> dict:
    return mapping.build_shipment(asked, REFERENCE, ACCOUNT).body["requestedShipment"]


def refusal(asked: ShipmentRequest) -> Rejected:
    with pytest.raises(Rejected) as caught:
        mapping.build_shipment(asked, REFERENCE, ACCOUNT)
    return caught.value


def to(**changes) -> ShipmentRequest:
    return request(recipient=replace(RECIPIENT, **changes))


# -- what is read ----------------------------------------------------------------------------------------


def read(answer, *packages: PackageSpec, **changes) -> BoughtShipment:
    made = answers.read_created(answers.parse_json(json.dumps(answer)), request(*packages, **changes))
    assert isinstance(made, BoughtShipment)
    return made


def changed(answer: dict, path: str, value) -> dict:
    """A copy of `answer` with the member at the dotted `path` replaced, or removed with `...`."""
    copied = copy.deepcopy(answer)
    node = copied
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in way:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return copied


S = "output.transactionShipments.0"
P = f"{S}.pieceResponses.0"
D = f"{S}.completedShipmentDetail"


# -- recorded variations -----------------------------------------------------------------------------------


def b64(data: bytes) -> str:
    """Bytes as FedEx writes them."""
    return base64.b64encode(data).decode()


PLAIN_BODY = {
    "labelResponseOptions": "LABEL",
    "accountNumber": {"value": ACCOUNT},
    "requestedShipment": {
        "shipDatestamp": "2026-03-02",
        "pickupType": "USE_SCHEDULED_PICKUP",
        "serviceType": "FEDEX_GROUND",
        "packagingType": "YOUR_PACKAGING",
        "shipper": {
            "contact": {"companyName": "Acme Parts", "phoneNumber": "5125550100"},
            "address": {
                "streetLines": ["1 Dock Rd"],
                "city": "Austin",
                "stateOrProvinceCode": "TX",
                "postalCode": "78701",
                "countryCode": "US",
            },
        },
        "recipients": [
            {
                "contact": {"personName": "R Smith", "phoneNumber": "6155550111"},
                "address": {
                    "streetLines": ["9 Elm St"],
                    "city": "Nashville",
                    "stateOrProvinceCode": "TN",
                    "postalCode": "37201",
                    "countryCode": "US",
                    "residential": False,
                },
            }
        ],
        "shippingChargesPayment": {"paymentType": "SENDER"},
        "rateRequestType": ["ACCOUNT"],
        "labelSpecification": {"imageType": "PDF", "labelStockType": "PAPER_4X6"},
        "requestedPackageLineItems": [
            {
                "sequenceNumber": 1,
                "groupPackageCount": 1,
                "weight": {"units": "LB", "value": 4.5},
                "customerReferences": [
                    {"customerReferenceType": "CUSTOMER_REFERENCE", "value": REFERENCE},
                    {"customerReferenceType": "P_O_NUMBER", "value": "SO004711"},
                    {"customerReferenceType": "INVOICE_NUMBER", "value": "INV000815"},
                ],
            }
        ],
    },
}

_RATED = {
    "actualRateType": "PAYOR_ACCOUNT_PACKAGE",
    "shipmentRateDetails": [
        {"rateType": "PAYOR_ACCOUNT_PACKAGE", "totalNetCharge": 14.22, "currency": "USD"},
        {"rateType": "PAYOR_LIST_SHIPMENT", "totalNetCharge": 19.99, "currency": "USD"},
    ],
}


def _piece(number: str, place: int, label: bytes) -> dict:
    return {
        "masterTrackingNumber": "794600000010",
        "trackingNumber": number,
        "packageSequenceNumber": place,
        "netChargeAmount": 0.0,
        "netRateAmount": 14.22,
        "codcollectionAmount": 0.0,
        "currency": "USD",
        "packageDocuments": [{"contentType": "LABEL", "copiesToPrint": 1, "docType": "PDF", "encodedLabel": b64(label)}],
    }


def _bought(*pieces: dict) -> dict:
    ids = [[{"trackingIdType": "FEDEX", "trackingNumber": p["trackingNumber"]}] for p in pieces]
    return {
        "transactionId": "0b1c-tx",
        "customerTransactionId": REFERENCE,
        "output": {
            "transactionShipments": [
                {
                    "masterTrackingNumber": "794600000010",
                    "serviceType": "FEDEX_GROUND",
                    "shipDatestamp": "2026-03-02",
                    "pieceResponses": list(pieces),
                    "shipmentDocuments": [],
                    "completedShipmentDetail": {
                        "masterTrackingId": {"trackingIdType": "FEDEX", "formId": "", "trackingNumber": "794600000010"},
                        "operationalDetail": {"deliveryDate": "2026-03-04", "transitTime": "TWO_DAYS"},
                        "shipmentRating": _RATED,
                        "completedPackageDetails": [
                            {"sequenceNumber": p["packageSequenceNumber"], "trackingIds": i}
                            for p, i in zip(pieces, ids, strict=True)
                        ],
                    },
                    "alerts": [],
                }
            ],
            "alerts": [],
        },
    }


BOUGHT = _bought(_piece("794600000010", 1, b"%PDF-1.4"))
# The second piece comes first, and each repeats the amount of the whole shipment.
TWO_PIECES = _bought(_piece("794600000021", 2, b"%PDF-two"), _piece("794600000010", 1, b"%PDF-one"))

TRACKED = {
    "trackingNumberInfo": {
        "trackingNumber": "794600000010",
        "trackingNumberUniqueId": "12028~794600000010~FDEG",
        "carrierCode": "FDXG",
    },
    "additionalTrackingInfo": {"packageIdentifiers": [{"type": "CUSTOMER_REFERENCE", "values": [REFERENCE.lower()]}]},
    "latestStatusDetail": {"code": "OC", "derivedCode": "IN"},
    "dateAndTimes": [{"type": "SHIP", "dateTime": "2026-03-02T00:00:00-06:00"}],
    "recipientInformation": {"address": {"city": "NASHVILLE", "postalCode": "37201", "countryCode": "US"}},
    "destinationLocation": {"locationContactAndAddress": {"address": {"postalCode": "37011", "countryCode": "US"}}},
    "packageDetails": {"sequenceNumber": "1", "count": "1"},
    "serviceDetail": {"type": "FEDEX_GROUND"},
}
NOT_FOUND = {
    "trackingNumberInfo": {"trackingNumber": REFERENCE},
    "error": {"code": "TRACKING.REFERENCENUMBER.NOTFOUND", "message": "Reference number cannot be found."},
}

"""Raw HTTP to the simulated FedEx, and bodies that it takes. Nothing here knows our client."""

from __future__ import annotations

import base64
import copy
import datetime as dt
from typing import Any

import requests

from integrations.fedex.simulator import FedexSimulator

SHIPPER = {
    "contact": {"companyName": "Acme Parts", "phoneNumber": "5125550100"},
    "address": {
        "streetLines": ["1 Dock Rd"],
        "city": "Austin",
        "stateOrProvinceCode": "TX",
        "postalCode": "78701",
        "countryCode": "US",
    },
}
RECIPIENT = {
    "contact": {"personName": "R (Bob) Smith", "phoneNumber": "6155550111"},
    "address": {
        "streetLines": ["9 Elm St"],
        "city": "Nashville",
        "stateOrProvinceCode": "TN",
        "postalCode": "37201",
        "countryCode": "US",
        "residential": False,
    },
}


class Wire:
    """A bare HTTP caller of one simulator: no client of ours, no retries, no cleverness."""

    def __init__(self, sim: FedexSimulator, url: str) -> None:
        self.sim, self.url, self.http, self.token = sim, f"{url}/fedex", requests.Session(), ""

    def login(self, key: str = "demo-key", secret: str = "demo-secret") -> requests.Response:
        form = {"grant_type": "client_credentials", "client_id": key, "client_secret": secret}
        answer = self.http.post(f"{self.url}/oauth/token", data=form, timeout=10)
        if answer.ok:
            self.token = answer.json()["access_token"]
        return answer

    def call(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> requests.Response:
        sent = {"authorization": f"Bearer {self.token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + path, json=body, headers=sent, timeout=10)

    def create(self, body: dict[str, Any] | None = None, **headers: str) -> requests.Response:
        return self.call("/ship/v1/shipments", body or ship_body(), **headers)

    def made(self, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self.create(body)
        assert answer.status_code == 200, answer.text
        shipment: dict[str, Any] = answer.json()["output"]["transactionShipments"][0]
        return shipment

    def cancel(self, number: str, account: str = "123456789") -> requests.Response:
        return self.call("/ship/v1/shipments/cancel", {"accountNumber": {"value": account}, "trackingNumber": number}, "PUT")

    def track(self, *numbers: str, **info: str) -> requests.Response:
        rows = [{"trackingNumberInfo": {"trackingNumber": number}} | info for number in numbers]
        return self.call("/track/v1/trackingnumbers", {"includeDetailedScans": True, "trackingInfo": rows})

    def look_up(self, **asked: str) -> requests.Response:
        today = self.sim.now().date()
        window = {"shipDateBegin": str(today - dt.timedelta(days=7)), "shipDateEnd": str(today)}
        body = {"includeDetailedScans": True, "referencesInformation": window | asked}
        return self.call("/track/v1/referencenumbers", body)

    def found(self, **asked: str) -> list[dict[str, Any]]:
        answer = self.look_up(**asked)
        assert answer.status_code == 200, answer.text
        results: list[dict[str, Any]] = answer.json()["output"]["completeTrackResults"]
        return results


def package(weight: float = 4.5, reference: str = "mlc-7f3a01", **rest: Any) -> dict[str, Any]:
    return {
        "sequenceNumber": 1,
        "groupPackageCount": 1,
        "weight": {"units": "LB", "value": weight},
        "dimensions": {"length": 10, "width": 8, "height": 4, "units": "IN"},
        "customerReferences": [
            {"customerReferenceType": "P_O_NUMBER", "value": "SO004711"},
            {"customerReferenceType": "CUSTOMER_REFERENCE", "value": reference},
        ],
    } | rest


def ship_body(*packages: dict[str, Any], **shipment: Any) -> dict[str, Any]:
    """The minimal domestic request of sheet 5.10."""
    return {
        "labelResponseOptions": "LABEL",
        "accountNumber": {"value": "123456789"},
        "requestedShipment": {
            "pickupType": "USE_SCHEDULED_PICKUP",
            "serviceType": "FEDEX_GROUND",
            "packagingType": "YOUR_PACKAGING",
            "shipper": copy.deepcopy(SHIPPER),
            "recipients": [copy.deepcopy(RECIPIENT)],
            "shippingChargesPayment": {"paymentType": "SENDER"},
            "labelSpecification": {"imageType": "PDF", "labelStockType": "PAPER_4X6"},
            "requestedPackageLineItems": list(packages) or [package()],
        }
        | shipment,
    }


def abroad(**shipment: Any) -> dict[str, Any]:
    """A shipment to Germany that is complete."""
    recipient = {
        "contact": {"companyName": "Muster GmbH", "phoneNumber": "4930123456"},
        "address": {"streetLines": ["Hauptstr. 5"], "city": "Berlin", "postalCode": "10115", "countryCode": "DE"},
    }
    commodity = {
        "description": "Steel bolts",
        "countryOfManufacture": "US",
        "quantity": 10,
        "quantityUnits": "PCS",
        "weight": {"units": "LB", "value": 4.5},
        "unitPrice": {"amount": 3.5, "currency": "USD"},
        "customsValue": {"amount": 35.0, "currency": "USD"},
    }
    settings = {
        "serviceType": "FEDEX_INTERNATIONAL_PRIORITY",
        "recipients": [recipient],
        "customsClearanceDetail": {"commodities": [commodity], "totalCustomsValue": {"amount": 35.0, "currency": "USD"}},
    }
    return ship_body(**(settings | shipment))


def rate_body(**shipment: Any) -> dict[str, Any]:
    """The smallest quote of sheet 10."""
    settings = {
        "shipper": {"address": {"postalCode": "78701", "countryCode": "US"}},
        "recipient": {"address": {"postalCode": "37201", "countryCode": "US"}},
        "pickupType": "USE_SCHEDULED_PICKUP",
        "requestedPackageLineItems": [{"weight": {"units": "LB", "value": 4.5}}],
    }
    return {"accountNumber": {"value": "123456789"}, "requestedShipment": settings | shipment}


def codes(answer: requests.Response) -> list[str]:
    return [entry["code"] for entry in answer.json()["errors"]]


def label_of(made: dict[str, Any]) -> bytes:
    """The first package's label of a shipment that was made."""
    return base64.b64decode(made["pieceResponses"][0]["packageDocuments"][0]["encodedLabel"], validate=True)

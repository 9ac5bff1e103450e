"""Answers of the simulated FedEx against FedEx's official OpenAPI files, where these are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fedex.simulator_wire import Wire, abroad, package, rate_body, ship_body

SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex"


class Spec:
    """A hand-made reader of the vendor's OpenAPI files: property names and types of answers, no more."""

    def __init__(self, name: str) -> None:
        file = SPECS / f"{name}-Resource.json"
        if not file.exists():
            pytest.skip(f"the official FedEx spec {file.name} is not beside this project ({SPECS})")
        self.schemas: dict[str, Any] = json.loads(file.read_text())["components"]["schemas"]
        self.checked = 0

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema with its reference followed and the parts of its `allOf` laid over each other."""
        if "$ref" in schema:
            return self.resolved(self.schemas[schema["$ref"].rpartition("/")[2]])
        whole = {key: value for key, value in schema.items() if key != "allOf"}
        for part in map(self.resolved, schema.get("allOf", [])):
            if "properties" in part:
                whole["properties"] = whole.get("properties", {}) | part["properties"]
            whole |= {key: part[key] for key in ("type", "items") if key in part}
        return whole

    def problems(self, value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
        """What in `value` the schema does not know or types otherwise."""
        schema = self.resolved(schema)
        self.checked += 1
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        match = {
            "object": lambda v: isinstance(v, dict),
            "array": lambda v: isinstance(v, list),
            "string": lambda v: isinstance(v, str),
            "boolean": lambda v: isinstance(v, bool),
            "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
            "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
        }
        if kind and not match[kind](value):
            return [f"{path}: not {kind}: {value!r}"]
        if isinstance(value, list):
            return [p for i, item in enumerate(value) for p in self.problems(item, schema.get("items", {}), f"{path}[{i}]")]
        if isinstance(value, dict) and "properties" in schema:
            found = [f"{path}.{key}: not in the schema" for key in value if key not in schema["properties"]]
            known = ((k, v) for k, v in value.items() if k in schema["properties"])
            return found + [p for k, v in known for p in self.problems(v, schema["properties"][k], f"{path}.{k}")]
        return []


@pytest.mark.parametrize(
    ("spec", "schema", "path", "method"),
    [
        ("Shipment", "SHPCResponseVO_ShipShipment", "/ship/v1/shipments", "POST"),
        ("Shipment", "SHPCResponseVO_Validate", "/ship/v1/shipments/packages/validate", "POST"),
        ("Shipment", "SHPCResponseVO_CancelShipment", "/ship/v1/shipments/cancel", "PUT"),
        ("Shipment", "SHPCResponseVO_GetOpenShipmentResults", "/ship/v1/shipments/results", "POST"),
        ("RateQuotes", "RatcResponseVO", "/rate/v1/rates/quotes", "POST"),
        ("TrackingNumbers", "TrkcResponseVO_TrackingNumber", "/track/v1/trackingnumbers", "POST"),
        ("ReferenceNumbers", "TrkcResponseVO_ReferenceNumber", "/track/v1/referencenumbers", "POST"),
    ],
)
def test_answers_fit_the_official_schema(wire: Wire, spec: str, schema: str, path: str, method: str) -> None:
    """Sheet 6: with `names: schema` nothing is named or typed otherwise than in the vendor's file."""
    official = Spec(spec)
    wire.sim.options(names="schema")
    made = wire.made(abroad(requestedPackageLineItems=[package(), package()], rateRequestType=["LIST"]))
    number = made["masterTrackingNumber"]
    big = ship_body(package(groupPackageCount=41)) | {"processingOptionType": "ALLOW_ASYNCHRONOUS"}
    job = wire.create(big).json()["output"]["jobId"]
    wire.sim.clock_offset_s += 5
    if "track" in path:
        wire.sim.scan(number, "DE", exception_code="08", exception_description="Recipient not in")
        wire.sim.scan(number, "DL", received_by="A.MUSTER")
    account = {"accountNumber": {"value": "123456789"}}
    bodies: dict[str, Any] = {
        "/ship/v1/shipments": ship_body(),
        "/ship/v1/shipments/packages/validate": ship_body(),
        "/ship/v1/shipments/cancel": account | {"trackingNumber": number},
        "/ship/v1/shipments/results": account | {"jobId": job},
        "/rate/v1/rates/quotes": rate_body() | {"rateRequestControlParameters": {"returnTransitTimes": True}},
        "/track/v1/trackingnumbers": {
            "includeDetailedScans": True,
            "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": n}} for n in (number, "794600009999")],
        },
        "/track/v1/referencenumbers": {
            "includeDetailedScans": True,
            "referencesInformation": {"value": "mlc-7f3a01", "accountNumber": "123456789"},
        },
    }
    answer = wire.call(path, bodies[path], method, x_customer_transaction_id="abc")
    assert answer.status_code == 200, answer.text
    if spec == "ReferenceNumbers":
        # The file for references describes scans unlike the file for numbers, yet both answers are the same (sheet 12).
        official.schemas |= {name: Spec("TrackingNumbers").schemas[name] for name in ("ScanEvent", "AddressVO1")}
    assert official.problems(answer.json(), official.schemas[schema]) == []
    assert official.checked > 6


def test_errors_and_tokens_fit_the_official_schema(wire: Wire) -> None:
    """Sheet 2 and 4: error envelope and token answer."""
    ship, auth = Spec("Shipment"), Spec("APIAuthorization")
    refused = wire.create({"accountNumber": {}}, x_customer_transaction_id="abc").json()
    assert ship.problems(refused, ship.schemas["ErrorResponseVO"]) == []
    assert auth.problems(wire.login().json(), auth.schemas["Response"]) == []
    assert auth.problems(wire.login(secret="no").json(), auth.schemas["ErrorResponseVO"]) == []
    assert auth.problems({"access_token": 1}, auth.schemas["Response"])  # the reader itself does find mistakes

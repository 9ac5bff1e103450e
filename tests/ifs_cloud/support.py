"""One tenant for the unit tests: its address, its profile, answers of its token endpoint, and shipment rows."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import responses

from integrations.base.context import Company, CompanySite
from integrations.base.testing import MemoryContext, context_for
from integrations.ifs_cloud.adapter import IfsCloud
from integrations.ifs_cloud.vendor import VENDOR

BASE = "https://acme.ifs.cloud"
TOKEN_URL = f"{BASE}/auth/realms/acme1/protocol/openid-connect/token"
ROOT = f"{BASE}/main/ifsapplications/projection/v1"
SHIPMENTS = f"{ROOT}/ShipmentHandling.svc/ShipmentSet"
LINES = f"{ROOT}/ShipmentHandling.svc/ShipmentLineSet"
UNITS = f"{ROOT}/HandlingUnitsHandling.svc/HandlingUnits"
ADDRESSES = f"{ROOT}/CustomerHandling.svc/Reference_CustomerInfoAddressPublic"
SITES = f"{ROOT}/SitesHandling.svc/Reference_CompanySite"
ORDERS = f"{ROOT}/CustomerOrderHandling.svc/CustomerOrderSet"
ORDER_LINES = f"{ROOT}/CustomerOrderHandling.svc/CustomerOrderLineSet"
ETAG = 'W/"Vy8iQUFBQmJDQUFFQUFBQWZBQUFBOjIwMjYwMzAxMDgxNTAwIg=="'
ETAG_2 = 'W/"Vy8iQUFBQmJDQUFFQUFBQWZBQUFBOjIwMjYwMzAxMDgxNTAxIg=="'
COMPANY = Company("10", (CompanySite("S1", "America/Chicago"), CompanySite("S2", "Europe/Berlin")))
TOKEN = {"access_token": "eyJ-token-one", "expires_in": 180, "token_type": "Bearer"}


def context(settings: dict[str, Any] | None = None, **rest: Any) -> MemoryContext:
    credentials = {"client_id": "MLC", "client_secret": "s3cret-value"}
    rest.setdefault("companies", [COMPANY])
    return context_for(VENDOR, {"base": rest.pop("base", BASE)}, credentials, {"realm": "acme1"} | (settings or {}), **rest)


def adapter(settings: dict[str, Any] | None = None, **rest: Any) -> IfsCloud:
    return IfsCloud(context(settings, **rest))


def give_token(mock: responses.RequestsMock, **over: Any) -> None:
    mock.post(TOKEN_URL, json=TOKEN | over)


def query_of(call: Any) -> dict[str, str]:
    """The query options of a recorded call, decoded; a plus stays a plus."""
    return dict(parse_qsl(urlsplit(call.request.url).query.replace("+", "%2B")))


def path_of(call: Any) -> str:
    return unquote(urlsplit(call.request.url).path)


def shipment(number: int = 19, **over: Any) -> dict[str, Any]:
    return {
        "@odata.etag": ETAG,
        "ShipmentId": number,
        "Objstate": "Completed",
        "Contract": "S1",
        "PlannedShipDate": "2026-03-02T15:00:00Z",
        "ActualShipDate": None,
        "ReceiverType": "Customer",
        "ReceiverId": "C-77",
        "ReceiverAddrId": "01",
        "ReceiverAddressName": "Recipient Inc",
        "ReceiverContactName": None,
        "ReceiverAddress1": "12 Elm St",
        "ReceiverAddress2": None,
        "ReceiverAddress3": "Dock 4",
        "ReceiverCity": "Austin",
        "ReceiverState": "TX",
        "ReceiverZipCode": "78701",
        "ReceiverCountry": "UnitedStates",
        "ShipViaCode": "FDX",
        "ForwardAgentId": None,
        "AirwayBillNo": None,
        "ManualGrossWeight": 0,
    } | over


def rows(*several: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"@odata.context": f"{ROOT}/ShipmentHandling.svc/$metadata#ShipmentSet", "value": list(several)} | more


def error(code: str, message: str, *details: tuple[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"code": code, "message": message}
    if details:
        body["details"] = [{"code": c, "message": m} for c, m in details]
    return {"error": body}

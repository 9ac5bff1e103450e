"""The judge of requests itself: it has to notice what is wrong, or whoever relies on it proves nothing."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pytest

from integrations.base.tracking import TrackQuery
from integrations.fedex import mapping, tracking
from tests.fedex import official
from tests.fedex.mapping_support import ACCOUNT, REFERENCE, request

pytestmark = pytest.mark.skipif(not official.present(), reason=official.MISSING)

SHIP = ("POST", "/ship/v1/shipments")


def body() -> dict[str, Any]:
    return copy.deepcopy(mapping.build_shipment(request(), REFERENCE, ACCOUNT).body)


def test_a_plain_shipment_is_as_described() -> None:
    assert official.problems(*SHIP, body()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b["requestedShipment"].pop("pickupType"), "requestedShipment.pickupType is missing"),
        (lambda b: b["requestedShipment"].update(pickupType="NEVER"), "requestedShipment.pickupType: 'NEVER' is none of"),
        (lambda b: b["requestedShipment"].update(shipDateStamp="2026-03-02"), "requestedShipment.shipDateStamp is unknown"),
        (lambda b: b["accountNumber"].update(value=123456789), "accountNumber.value: 123456789 is no string"),
        (lambda b: b["requestedShipment"]["shipper"]["contact"].update(companyName=""), "shipper.contact.companyName is empty"),
        (
            lambda b: b["requestedShipment"]["requestedPackageLineItems"][0]["weight"].update(value="4.5"),
            "requestedPackageLineItems[0].weight.value: '4.5' is no number",
        ),
        (lambda b: b["requestedShipment"]["recipients"][0]["address"].update(city="x" * 36), "is longer than 35"),
    ],
)
def test_what_is_not_as_described_is_said(change: Any, said: str) -> None:
    told = body()
    change(told)
    [line] = official.problems(*SHIP, told)
    assert said in line


def test_a_path_that_is_not_described_is_said() -> None:
    assert official.problems("DELETE", "/ship/v1/shipments", {}) == ["DELETE /ship/v1/shipments is described nowhere"]


def test_only_what_the_sheet_says_is_forgiven() -> None:
    told = tracking.build_proof(TrackQuery("794600000010"), dt.date(2026, 11, 3), ACCOUNT)
    assert official.problems("POST", "/track/v1/trackingdocuments", told) == []
    told["includeDetailedScans"] = True
    assert official.problems("POST", "/track/v1/trackingdocuments", told) != []

"""Prices of the simulated FedEx: on labels and as quotes (sheet 6 and 10)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.fedex.simulator_wire import RECIPIENT, Wire, codes, package, rate_body, ship_body

# -- Cost: sheet 6 and 10 -----------------------------------------------------------------------------------------


def money(value: float) -> Decimal:
    return Decimal(str(value))


def test_amounts_add_up_and_pieces_repeat_the_whole(wire: Wire) -> None:
    """Sheet 6 (freight cost rule) and 10 (arithmetic)."""
    recipient = RECIPIENT | {"address": RECIPIENT["address"] | {"residential": True}}
    made = wire.made(ship_body(package(4.5), package(20), recipients=[recipient], rateRequestType=["ACCOUNT", "LIST"]))
    rates = made["completedShipmentDetail"]["shipmentRating"]
    assert rates["actualRateType"] == "PAYOR_ACCOUNT_PACKAGE"
    assert [d["rateType"] for d in rates["shipmentRateDetails"]] == ["PAYOR_ACCOUNT_PACKAGE", "PAYOR_LIST_PACKAGE"]
    for rate in rates["shipmentRateDetails"]:
        net = money(rate["totalBaseCharge"]) - money(rate["totalFreightDiscounts"]) + money(rate["totalSurcharges"])
        assert net == money(rate["totalNetFedExCharge"])
        assert net + money(rate["totalTaxes"]) == money(rate["totalNetCharge"])
        assert sum(money(s["amount"]) for s in rate["surcharges"]) == money(rate["totalSurcharges"])
        assert {s["surchargeType"] for s in rate["surcharges"]} == {"FUEL", "RESIDENTIAL_DELIVERY"}
    account, listed = rates["shipmentRateDetails"]
    assert account["totalNetCharge"] < listed["totalNetCharge"]
    pieces = made["pieceResponses"]
    assert [p["netChargeAmount"] for p in pieces] == [0.0, 0.0]
    assert [p["netRateAmount"] for p in pieces] == [account["totalNetCharge"]] * 2
    assert {"codcollectionAmount", "netListRateAmount", "currency"} <= set(pieces[0])
    packages = made["completedShipmentDetail"]["completedPackageDetails"]
    each = [p["packageRating"]["packageRateDetails"][0]["netCharge"] for p in packages]
    assert sum(map(money, each)) == money(account["totalNetCharge"]) and each[0] < each[1]


def test_heavier_dearer_kilograms_convert_and_volume_counts(wire: Wire) -> None:
    """Sheet 6: cost depends on the billed weight."""

    def cost(**row: Any) -> tuple[float, str, float]:
        rate = wire.made(ship_body(package(**row)))["completedShipmentDetail"]["shipmentRating"]["shipmentRateDetails"][0]
        return rate["totalNetCharge"], rate["ratedWeightMethod"], rate["totalBillingWeight"]["value"]

    assert cost(weight=5)[0] < cost(weight=6)[0] < cost(weight=60)[0]
    row = package()
    row["weight"] = {"units": "KG", "value": 2.0}
    assert wire.made(ship_body(row))["completedShipmentDetail"]["shipmentRating"]["shipmentRateDetails"][0][
        "totalBillingWeight"
    ] == {
        "units": "LB",
        "value": 5.0,
    }
    assert cost(weight=1, dimensions={"length": 20, "width": 20, "height": 20, "units": "IN"})[1:] == ("DIM", 58.0)


def test_no_price_is_told_when_somebody_else_pays(wire: Wire) -> None:
    """Sheet 6: no shipmentRating when bill-to is RECIPIENT or THIRD_PARTY."""
    payor = {"responsibleParty": {"accountNumber": {"value": "555555555"}}}
    made = wire.made(ship_body(shippingChargesPayment={"paymentType": "THIRD_PARTY", "payor": payor}))
    assert "shipmentRating" not in made["completedShipmentDetail"]
    assert made["pieceResponses"][0]["netRateAmount"] == 0.0


def test_schema_names_can_be_had(wire: Wire) -> None:
    """Sheet 6: the schema's spelling."""
    wire.sim.options(names="schema")
    piece = wire.made()["pieceResponses"][0]
    assert {"codCollectionAmount", "listRateAmount"} <= set(piece) and piece["netChargeAmount"] > 0
    assert not {"codcollectionAmount", "netRateAmount", "currency"} & set(piece)


# -- Rate: sheet 10 -----------------------------------------------------------------------------------------------


def test_quote_shops_services_with_consistent_amounts(wire: Wire) -> None:
    """Sheet 10: no serviceType means all; ACCOUNT first, LIST beside it; arithmetic."""
    body = rate_body(rateRequestType=["LIST", "ACCOUNT"]) | {"rateRequestControlParameters": {"returnTransitTimes": True}}
    output = wire.call("/rate/v1/rates/quotes", body).json()["output"]
    services = [reply["serviceType"] for reply in output["rateReplyDetails"]]
    assert {"FEDEX_GROUND", "PRIORITY_OVERNIGHT"} <= set(services) and not any("INTERNATIONAL" in s for s in services)
    for reply in output["rateReplyDetails"]:
        assert reply["commit"]["daysInTransit"].endswith(("_DAY", "_DAYS"))
        assert {r["rateType"] for r in reply["ratedShipmentDetails"]} == {"ACCOUNT", "LIST"}
        for rated in reply["ratedShipmentDetails"]:
            detail = rated["shipmentRateDetail"]
            net = money(rated["totalBaseCharge"]) - money(rated["totalDiscounts"]) + money(detail["totalSurcharges"])
            assert net == money(rated["totalNetFedExCharge"])
            assert net + sum(money(t["amount"]) for t in detail["taxes"]) == money(rated["totalNetCharge"])
            assert rated["totalNetChargeWithDutiesAndTaxes"] == rated["totalNetCharge"]
            assert rated["currency"] == "USD" and "surCharges" in detail


def test_quote_agrees_with_the_price_of_the_label(wire: Wire) -> None:
    """Sheet 6, fallback 2: the quote taken just before is the price."""
    shipment = ship_body()["requestedShipment"]
    asked = rate_body(
        serviceType="FEDEX_2_DAY", requestedPackageLineItems=shipment["requestedPackageLineItems"], packagingType="YOUR_PACKAGING"
    )
    reply = wire.call("/rate/v1/rates/quotes", asked).json()["output"]["rateReplyDetails"]
    rates = wire.made(ship_body(serviceType="FEDEX_2_DAY"))["completedShipmentDetail"]["shipmentRating"]
    assert rates["actualRateType"] == "PAYOR_ACCOUNT_SHIPMENT"
    assert [reply[0]["ratedShipmentDetails"][0]["totalNetCharge"]] == [d["totalNetCharge"] for d in rates["shipmentRateDetails"]]


def test_quote_taxes_canada_and_uses_fedex_currency_codes(wire: Wire) -> None:
    """Sheet 10 (taxes) and 19.3 (GBP is UKL in money fields)."""
    inside = {
        "shipper": {"address": {"postalCode": "M5H 1A1", "countryCode": "CA"}},
        "recipient": {"address": {"postalCode": "V6B 1A1", "countryCode": "CA"}},
    }
    rated = wire.call("/rate/v1/rates/quotes", rate_body(**inside)).json()["output"]["rateReplyDetails"][0][
        "ratedShipmentDetails"
    ][0]
    taxes = sum(money(t["amount"]) for t in rated["shipmentRateDetail"]["taxes"])
    assert (
        taxes > 0 and money(rated["totalNetFedExCharge"]) + taxes == money(rated["totalNetCharge"]) and rated["currency"] == "CAD"
    )
    britain = {
        "shipper": {"address": {"postalCode": "SW1A 1AA", "countryCode": "GB"}},
        "recipient": {"address": {"postalCode": "M11AE", "countryCode": "GB"}},
    }
    rated = wire.call("/rate/v1/rates/quotes", rate_body(**britain)).json()["output"]["rateReplyDetails"][0][
        "ratedShipmentDetails"
    ][0]
    assert rated["currency"] == "UKL"


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ("000000001", "ACCOUNT.NUMBER.INVALID"),
        ("987654321", "ACCOUNT.NUMBERORKEY.INVALID"),
        ("12", "ACCOUNTNUMBER.REGISTRATION.REQUIRED"),
    ],
)
def test_quote_checks_the_account(wire: Wire, account: str, code: str) -> None:
    """Sheet 2 (ping) and 4.1."""
    assert codes(wire.call("/rate/v1/rates/quotes", rate_body() | {"accountNumber": {"value": account}})) == [code]


def test_nested_control_parameters_are_ignored(wire: Wire) -> None:
    """Sheet 10."""
    body = rate_body(rateRequestControlParameters={"returnTransitTimes": True})
    reply = wire.call("/rate/v1/rates/quotes", body).json()["output"]["rateReplyDetails"][0]
    assert reply["commit"] == {"label": "Delivery date unavailable"} and len(wire.sim.remarks) == 1

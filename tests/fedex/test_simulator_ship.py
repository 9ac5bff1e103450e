"""The simulated FedEx sells shipments, many packages, cancels and validates (sheet 5 to 9)."""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Any

import pytest
import requests

from integrations.fedex.simulator import fifteen_digits, twelve_digits
from tests.fedex.simulator_wire import Wire, abroad, codes, label_of, package, ship_body

# -- Create: sheet 5 and 6 --------------------------------------------------------------------------------------


def test_create_answers_with_number_label_and_cost(wire: Wire) -> None:
    """Sheet 5.10 and 6."""
    made = wire.made()
    number = made["masterTrackingNumber"]
    assert number == "794600000010"  # the sheet's own sample
    piece = made["pieceResponses"][0]
    assert (piece["trackingNumber"], piece["packageSequenceNumber"]) == (number, 1)
    assert piece["customerReferences"] == package()["customerReferences"]
    document = piece["packageDocuments"][0]
    assert (document["contentType"], document["docType"]) == ("LABEL", "PDF")
    detail = made["completedShipmentDetail"]
    assert detail["completedPackageDetails"][0]["trackingIds"][0]["trackingNumber"] == number
    assert (detail["carrierCode"], detail["usDomestic"]) == ("FDXG", True)
    assert made["shipDatestamp"] == str(wire.sim.now().date())


def test_identical_creates_each_make_and_bill_another_number(wire: Wire) -> None:
    """Sheet 17 and 18: nothing de-duplicates, not even the transaction id."""
    numbers = [
        wire.create(x_customer_transaction_id="same").json()["output"]["transactionShipments"][0]["masterTrackingNumber"]
        for _ in range(3)
    ]
    assert len(set(numbers)) == 3
    assert wire.sim.made_by_reference() == {"SO004711": numbers, "mlc-7f3a01": numbers}
    assert (wire.sim.creates, wire.sim.live_labels()) == (3, 3)


@pytest.mark.parametrize("known", ["713062653486", "568838414941", "794600000010"])
def test_check_digit_of_express_numbers_agrees_with_known_ones(known: str) -> None:
    """Sheet 18: numbers published by the vendor."""
    assert twelve_digits(int(known[:11])) == known


def test_check_digits_hold_over_many_numbers_and_for_ground() -> None:
    """Sheet 18: 449044304137821 is one of the vendor's mock Ground numbers."""
    assert fifteen_digits(int("449044304137821"[3:14])) == "449044304137821"
    assert len({twelve_digits(serial) for serial in range(79460000001, 79460001001)}) == 1000


def test_ground_may_have_fifteen_digits(wire: Wire) -> None:
    """Sheet 18."""
    wire.sim.options(ground_digits=15)
    assert re.fullmatch(r"\d{15}", wire.made()["masterTrackingNumber"])
    assert re.fullmatch(r"\d{12}", wire.made(ship_body(serviceType="FEDEX_2_DAY"))["masterTrackingNumber"])


def test_pieces_are_consecutive_and_the_master_is_the_first(wire: Wire) -> None:
    """Sheet 5.8 and 18: groups count as many packages as they hold."""
    made = wire.made(ship_body(package(), package(2, groupPackageCount=2)))
    numbers = [piece["trackingNumber"] for piece in made["pieceResponses"]]
    assert numbers == [twelve_digits(79460000001 + i) for i in range(3)]
    assert made["masterTrackingNumber"] == numbers[0]
    assert [p["packageSequenceNumber"] for p in made["pieceResponses"]] == [1, 2, 3]
    labels = [p["packageDocuments"][0]["encodedLabel"] for p in made["pieceResponses"]]
    assert len(set(labels)) == 3
    assert wire.sim.live_labels() == 3


def test_numbers_never_come_again_after_a_reset(wire: Wire) -> None:
    """Sheet 18."""
    first = wire.made()["masterTrackingNumber"]
    assert requests.post(f"{wire.url}/_sim/reset", timeout=10).ok
    assert wire.sim.creates == 0
    wire.login()
    assert wire.made()["masterTrackingNumber"] != first


def test_references_come_back_only_with_group_package_count(wire: Wire) -> None:
    """Sheet 5.7."""
    bare = package()
    del bare["groupPackageCount"]
    assert "customerReferences" not in wire.made(ship_body(bare))["pieceResponses"][0]


def test_errors_are_collected_in_the_vendors_order(wire: Wire) -> None:
    """Sheet 18: account, shipper, recipients, pickup, service, packaging, payment, label, packages; one body."""
    body = {"labelResponseOptions": "LABEL", "accountNumber": {"value": "12"}, "requestedShipment": {}}
    refused = wire.create(body)
    found = codes(refused)
    order = [
        "ACCOUNTNUMBER.REGISTRATION.REQUIRED",
        "CITY.REQUIRED",
        "SHIPPER.COUNTRY.INVALID",
        "RECIPIENTS.REQUIRED",
        "PICKUPTYPE.REQUIRED",
        "SERVICE.TYPE.NOTAVAILABLE",
        "PACKAGINGTYPE.MISSING.OR.INVALID",
        "PAYMENTTYPE.INVALID",
        "LABEL.IMAGETYPE.INVALID",
        "REQUESTEDPACKAGELINEITEMS.INVALID",
    ]
    assert refused.status_code == 400
    assert [code for code in found if code in order] == order
    assert wire.sim.state["counts"]["refused"] == 1 and wire.sim.shipments() == []


def change(path: str, value: Any) -> dict[str, Any]:
    """The minimal request with one member changed; `None` removes it. Digits in the path are list places."""
    body = ship_body()
    *way, last = path.split(".")
    place: Any = body
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return body


S, P = "requestedShipment", "requestedShipment.requestedPackageLineItems.0"
TO = f"{S}.recipients.0"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("accountNumber", "123456789", "ACCOUNTNUMBER.REGISTRATION.REQUIRED"),
        ("accountNumber.value", "000000001", "ACCOUNT.NUMBER.INVALID"),
        ("accountNumber.value", "987654321", "ACCOUNT.NUMBERORKEY.INVALID"),
        (f"{S}.shipper.address.city", None, "CITY.REQUIRED"),
        (f"{S}.shipper.address.postalCode", None, "POSTALCODE.ZIPCODE.REQUIRED"),
        (f"{TO}.address.postalCode", None, "DESTINATION.POSTALCODE.MISSING.ORINVALID"),
        (f"{TO}.address.postalCode", "K1A 0B1", "COUNTRY.POSTALCODEORZIP.INVALID"),
        (f"{TO}.address.stateOrProvinceCode", None, "RECIPIENT.STATEORPROVINCECODE.INVALID"),
        (f"{TO}.address.stateOrProvinceCode", "Tennessee", "RECIPIENT.STATEORPROVINCECODE.INVALID"),
        (f"{TO}.address.streetLines", ["x" * 36], "RECIPIENT.STREETLINES.INVALID"),
        (f"{TO}.address.streetLines", ["9 Elm St", ""], "RECIPIENT.STREETLINES.INVALID"),
        (f"{TO}.contact.phoneNumber", "555-0111", "RECIPIENTCONTACT.PHONENUMBER.INVALID"),
        (f"{TO}.contact.personName", None, "RECIPIENTCONTACT.NAME.INVALID"),
        (f"{S}.pickupType", "REGULAR_STOP", "PICKUPTYPE.NOT.AVAILABLE"),
        (f"{S}.serviceType", "INTERNATIONAL_ECONOMY", "SERVICETYPE.NOT.ALLOWED"),
        (f"{S}.serviceType", "GROUND", "SERVICE.TYPE.NOTAVAILABLE"),
        (f"{S}.packagingType", "FEDEX_BOX", "SERVICE.PACKAGECOMBINATION.INVALID"),
        (f"{S}.shippingChargesPayment", {"paymentType": "THIRD_PARTY"}, "ACCOUNTNUMBER.REGISTRATION.REQUIRED"),
        (
            f"{S}.shippingChargesPayment",
            {"paymentType": "SENDER", "payor": {"responsibleParty": {"accountNumber": {"value": "111111111"}}}},
            "ACCOUNT.NUMBER.MISMATCH",
        ),
        (f"{S}.labelSpecification.labelStockType", "STOCK_4X6", "LABEL.STOCKTYPE.INVALID"),
        (f"{P}.weight.value", 0, "PACKAGE.WEIGHT.INVALID"),
        (f"{P}.weight.value", "4.5", "PACKAGE.WEIGHT.INVALID"),
        (f"{P}.weight.value", 151, "MAXIMUM.WEIGHT.EXCEEDED"),
        (f"{P}.dimensions.length", 10.5, "PACKAGEDIMENSION.TYPE.ERROR"),
        (f"{P}.dimensions.length", 1000, "DIMENSIONS.EXCEEDS.LIMITS"),
        (f"{P}.customerReferences.0.value", "x" * 31, "CUSTOMERREFERENCE.VALUE.TOOLONG"),
        (f"{P}.customerReferences.0.customerReferenceType", "PURCHASE_ORDER", "CUSTOMERREFERENCE.TYPE.INVALID"),
        (f"{P}.declaredValue", {"amount": 5, "currency": "GBP"}, "CURRENCY.TYPE.INVALID"),
        (f"{S}.totalDeclaredValue", {"amount": 5, "currency": "USD"}, "REQUESTEDSHIPMENT.TOTALDECLAREDVALUE.MISMATCH"),
        (f"{S}.shipDatestamp", "02.03.2026", "SHIPMENT.SHIPDATESTAMP.INVALID"),
        (f"{S}.requestedPackageLineItems", [package()] * 31, "REQUESTEDPACKAGELINEITEMS.INVALID"),
    ],
)
def test_one_mistake_gives_its_code_and_no_other(wire: Wire, path: str, value: Any, code: str) -> None:
    """Sheet 4.1, 5.2 to 5.8, 19."""
    refused = wire.create(change(path, value))
    assert refused.status_code == 400 and codes(refused) == [code]
    assert wire.sim.creates == 0


def test_total_weight_is_not_demanded_and_odd_types_do_not_crash(wire: Wire) -> None:
    """Sheet 5.2; the fixture fails the test if the simulator itself breaks."""
    assert "totalWeight" not in ship_body()["requestedShipment"] and wire.create().status_code == 200
    for path in (
        "accountNumber",
        S,
        f"{S}.shipper",
        f"{S}.recipients",
        f"{S}.labelSpecification",
        f"{P}.weight",
        P.rpartition(".")[0],
    ):
        for value in (7, "x", [], [[]], {"a": [1]}, True):
            assert wire.create(change(path, value)).status_code == 400
    assert (
        wire.http.post(
            f"{wire.url}/ship/v1/shipments",
            data="{",
            headers={"authorization": f"Bearer {wire.token}", "content-type": "application/json"},
            timeout=10,
        ).status_code
        == 400
    )


@pytest.mark.parametrize(
    "shipment",
    [
        {"rateRequestType": "ACCOUNT"},
        {"rateRequestType": ["CHEAPEST"]},
        {"totalPackageCount": "1"},
        {"totalWeight": "4.5"},
        {"requestedPackageLineItems": [package(sequenceNumber="1")]},
        {"requestedPackageLineItems": [package() | {"customerReferences": {"value": "1"}}]},
    ],
)
def test_members_of_another_type_than_described_are_refused(wire: Wire, shipment: dict[str, Any]) -> None:
    """The official description: integers, numbers, lists and words of a list."""
    assert codes(wire.create(ship_body(**shipment))) == ["INVALID.INPUT.EXCEPTION"]
    assert wire.sim.shipments() == []


def test_tracking_says_whether_scans_are_wanted(wire: Wire) -> None:
    """Sheet 11.1: `includeDetailedScans` is demanded."""
    body = {"trackingInfo": [{"trackingNumberInfo": {"trackingNumber": "794600000010"}}]}
    assert codes(wire.call("/track/v1/trackingnumbers", body)) == ["INVALID.INPUT.EXCEPTION"]
    assert wire.call("/track/v1/trackingnumbers", body | {"includeDetailedScans": False}).status_code == 200


def test_canada_needs_province_and_its_own_postal_code(wire: Wire) -> None:
    """Sheet 5.3, 5.6: US to CA by Ground is international: commodities and sub-packaging."""
    address = {
        "streetLines": ["1 King St"],
        "city": "Toronto",
        "stateOrProvinceCode": "ON",
        "postalCode": "M5H 1A1",
        "countryCode": "CA",
    }
    recipient = {"contact": {"personName": "C Jones", "phoneNumber": "4165550199"}, "address": address}
    assert codes(wire.create(ship_body(recipients=[recipient]))) == [
        "SUBPACKAGINGTYPE.REQUIRED",
        "CUSTOMSCLEARANCEDETAIL.COMMODITIES.REQUIRED",
    ]
    customs = abroad()["requestedShipment"]["customsClearanceDetail"]
    row = package(subPackagingType="BOX")
    assert wire.create(ship_body(row, recipients=[recipient], customsClearanceDetail=customs)).status_code == 200
    wrong = recipient | {"address": address | {"postalCode": "12345", "stateOrProvinceCode": "TX"}}
    assert codes(wire.create(ship_body(row, recipients=[wrong], customsClearanceDetail=customs))) == [
        "RECIPIENT.STATEORPROVINCECODE.INVALID",
        "COUNTRY.POSTALCODEORZIP.INVALID",
    ]


def test_abroad_needs_commodities_in_the_packages_unit(wire: Wire) -> None:
    """Sheet 5.9, 19.3."""
    made = wire.made(abroad(shippingDocumentSpecification={"shippingDocumentTypes": ["COMMERCIAL_INVOICE"]}))
    assert made["completedShipmentDetail"]["usDomestic"] is False
    assert base64.b64decode(made["shipmentDocuments"][0]["encodedLabel"]).startswith(b"%PDF")
    without = abroad()
    del without["requestedShipment"]["customsClearanceDetail"]
    assert codes(wire.create(without)) == ["CUSTOMSCLEARANCEDETAIL.COMMODITIES.REQUIRED"]
    kilos = abroad()
    kilos["requestedShipment"]["customsClearanceDetail"]["commodities"][0]["weight"]["units"] = "KG"
    assert codes(wire.create(kilos)) == ["MIXED.MEASURING.UNITS.INCLUDED"]
    assert codes(wire.create(abroad(serviceType="FEDEX_2_DAY"))) == ["SERVICETYPE.NOT.ALLOWED"]


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        ("commodities.0.description", "", "COMMODITY.DESCRIPTION.INVALID"),
        ("commodities.0.description", "x" * 451, "COMMODITY.DESCRIPTION.INVALID"),
        ("commodities.0.countryOfManufacture", "Germany", "COMMODITY.COUNTRYOFMANUFACTURE.INVALID"),
        ("commodities.0.quantity", 1.5, "COMMODITY.QUANTITY.INVALID"),
        ("commodities.0.quantity", 0, "COMMODITY.QUANTITY.INVALID"),
        ("commodities.0.quantityUnits", "BOXES", "COMMODITY.QUANTITYUNITS.INVALID"),
        ("commodities.0.customsValue.currency", "GBP", "CURRENCY.TYPE.INVALID"),
        ("commodities.0.unitPrice.amount", "3.5", "AMOUNT.INVALID"),
        ("commercialInvoice.shipmentPurpose", "LOAN", "COMMERCIALINVOICE.PURPOSE.INVALID"),
        ("commercialInvoice.termsOfSale", "DAP1", "COMMERCIALINVOICE.TERMSOFSALE.INVALID"),
        ("dutiesPayment.paymentType", "NOBODY", "DUTIESPAYMENT.PAYMENTTYPE.INVALID"),
        ("dutiesPayment.paymentType", "THIRD_PARTY", "ACCOUNTNUMBER.REGISTRATION.REQUIRED"),
    ],
)
def test_what_customs_cannot_be_told(wire: Wire, place: str, value: Any, code: str) -> None:
    """Sheet 5.9: lengths, words, whole quantities, and FedEx's own currency codes in money (19.3)."""
    body = abroad()
    at = body["requestedShipment"]["customsClearanceDetail"]
    at["commercialInvoice"], at["dutiesPayment"] = {"shipmentPurpose": "SOLD", "termsOfSale": "FCA"}, {"paymentType": "SENDER"}
    assert wire.create(body).status_code == 200
    *way, last = (int(part) if part.isdigit() else part for part in place.split("."))
    for part in way:
        at = at[part]
    at[last] = value
    assert code in codes(wire.create(body))


def test_past_ship_date_becomes_today_with_a_warning(wire: Wire) -> None:
    """Sheet 5.2 and 4: WARNING means FedEx changed the input."""
    made = wire.made(ship_body(shipDatestamp="2020-01-02"))
    assert made["shipDatestamp"] == str(wire.sim.now().date())
    assert [(a["code"], a["alertType"]) for a in made["alerts"]] == [("SHIPMENT.SHIPDATESTAMP.INVALID", "WARNING")]
    ahead = str(wire.sim.now().date() + dt.timedelta(days=9))
    assert wire.made(ship_body(shipDatestamp=ahead))["shipDatestamp"] == ahead
    late = str(wire.sim.now().date() + dt.timedelta(days=15))
    assert codes(wire.create(ship_body(shipDatestamp=late))) == ["SHIPMENT.SHIPDATESTAMP.INVALID"]


def test_over_long_references_can_be_cut_instead(wire: Wire) -> None:
    """Sheet 5.7: unspecified by the vendor, so both behaviours can be had."""
    wire.sim.options(long_references="cut")
    wire.made(change(f"{P}.customerReferences.0.value", "y" * 35))
    assert ("P_O_NUMBER", "y" * 30) in wire.sim.shipments()[0].references


def test_breaches_of_advice_are_remarked_not_refused(wire: Wire) -> None:
    """Sheet 1: empty members, non-ASCII, more than two decimals."""
    body = change(f"{TO}.contact.personName", "Zoë")
    body["requestedShipment"]["recipients"][0]["address"]["streetLines"] = ["9 Elm St"]
    body["requestedShipment"]["shipper"]["contact"]["emailAddress"] = ""
    body["requestedShipment"]["requestedPackageLineItems"][0]["weight"]["value"] = 4.567
    assert wire.create(body).status_code == 200
    assert sorted(text.split(": ")[1] for text in wire.sim.remarks) == ["empty", "more than two decimals", "not ASCII"]
    wire.sim.state["remarks"].clear()
    wire.made()
    assert wire.sim.remarks == []


# -- Many packages: sheet 5.8 and 7 --------------------------------------------------------------------------------


def test_more_than_forty_packages_are_a_job(wire: Wire) -> None:
    """Sheet 5.8 and 7."""
    body = ship_body(package(groupPackageCount=41))
    assert codes(wire.create(body)) == ["PACKAGECOUNT.ASYNCHRONOUS.REQUIRED"]
    assert wire.create(ship_body(package(groupPackageCount=40))).status_code == 200
    output = wire.create(body | {"processingOptionType": "ALLOW_ASYNCHRONOUS"}).json()["output"]
    assert "transactionShipments" not in output
    ask = {"accountNumber": {"value": "123456789"}, "jobId": output["jobId"]}
    assert wire.call("/ship/v1/shipments/results", ask).json()["output"]["transactionShipments"] == []
    wire.sim.clock_offset_s += 2
    done = wire.call("/ship/v1/shipments/results", ask).json()["output"]["transactionShipments"][0]
    assert len(done["pieceResponses"]) == 41 and label_of(done).startswith(b"%PDF")
    assert codes(wire.call("/ship/v1/shipments/results", ask | {"jobId": "x"})) == ["SHIPMENT.JOBID.INVALID"]


# -- Cancel and validate: sheet 8 and 9 ------------------------------------------------------------------------------


def test_cancel_once_then_it_is_deleted_already(wire: Wire) -> None:
    """Sheet 8, 4.1, 18."""
    number = wire.made()["masterTrackingNumber"]
    output = wire.cancel(number).json()["output"]
    assert output["cancelledShipment"] is True and "successMessage" in output and "message" not in output
    again = wire.cancel(number)
    assert (again.status_code, codes(again)) == (400, ["CANCELSHIPMENT.TRACKINGNUMBER.DELETED"])
    assert wire.sim.live_labels() == 0 and wire.sim.shipments()[0].voided and wire.sim.creates == 1


def test_cancel_refuses_picked_up_unknown_child_and_foreign_numbers(wire: Wire) -> None:
    """Sheet 8, 4.1, 18."""
    made = wire.made(ship_body(package(), package()))
    master, child = (piece["trackingNumber"] for piece in made["pieceResponses"])
    assert codes(wire.cancel("794600009999")) == ["TRACKINGNUMBER.ENTERED.INVALID"]
    assert codes(wire.cancel(child)) == ["TRACKINGNUMBER.ENTERED.INVALID"]
    wire.login("demo-key-2", "demo-secret-2")
    assert codes(wire.cancel(master, "987654321")) == ["SHIPMENT.USER.UNAUTHORIZED"]
    wire.login()
    assert requests.post(f"{wire.url}/_sim/scan", json={"tracking_number": child, "event": "PU"}, timeout=10).ok
    assert codes(wire.cancel(master)) == ["TRACKINGIDS.TRACKINGNUMBER.CLOSED"]
    assert wire.sim.live_labels() == 2


def test_validate_makes_nothing(wire: Wire) -> None:
    """Sheet 9."""
    body = ship_body()
    del body["labelResponseOptions"]
    alerts = wire.call("/ship/v1/shipments/packages/validate", body).json()["output"]["alerts"]
    assert [(a["code"], a["alertType"]) for a in alerts] == [("SHIPMENT.VALIDATION.SUCCESS", "NOTE")]
    del body["accountNumber"]
    assert wire.call("/ship/v1/shipments/packages/validate", body).status_code == 200
    two = ship_body(package(), package())
    assert codes(wire.call("/ship/v1/shipments/packages/validate", two)) == ["REQUESTEDPACKAGELINEITEMS.INVALID"]
    assert wire.sim.shipments() == [] and wire.sim.state["packages"] == {}

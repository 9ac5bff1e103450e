"""The simulated FedEx against the vendor's facts (`apis/fedex.md`, "sheet") and official OpenAPI files.

Raw HTTP only: nothing of the client, the mapping or the adapter is imported, so that the simulator cannot
be right about our own habits. Each test names the place in the sheet.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import re
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator, fifteen_digits, twelve_digits

SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex"
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


@pytest.fixture
def sim() -> FedexSimulator:
    return FedexSimulator()


@pytest.fixture
def wire(sim: FedexSimulator) -> Iterator[Wire]:
    with SimulatorServer([sim]) as server:
        caller = Wire(sim, server.url)
        assert caller.login().status_code == 200
        yield caller
        caller.http.close()
        assert server.errors == []


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


# -- OAuth: sheet 2 and 3 ------------------------------------------------------------------------------------


def test_token_has_the_four_members_and_the_configured_life(wire: Wire) -> None:
    """Sheet 2: use `expires_in`, never assume 3600."""
    wire.sim.options(expires_in=120)
    assert wire.login().json() == {"access_token": wire.token, "token_type": "bearer", "expires_in": 120, "scope": "CXS"}


def test_token_refuses_bad_secret_json_missing_and_duplicate_parameters(wire: Wire) -> None:
    """Sheet 2, table of errors."""
    bad = wire.login(secret="wrong")
    assert (bad.status_code, codes(bad)) == (401, ["NOT.AUTHORIZED.ERROR"])
    good = {"grant_type": "client_credentials", "client_id": "demo-key", "client_secret": "demo-secret"}
    url = f"{wire.url}/oauth/token"
    pairs = [*good.items(), ("client_id", "demo-key")]
    refused = [
        wire.http.post(url, json=good, timeout=10),
        wire.http.post(url, data=pairs, timeout=10),
        wire.http.post(url, data={"grant_type": "client_credentials", "client_id": "demo-key"}, timeout=10),
        wire.http.post(url, data=good | {"grant_type": "password"}, timeout=10),
        wire.http.post(url, data=good | {"grant_type": "csp_credentials"}, timeout=10),
    ]
    assert [answer.status_code for answer in refused] == [400] * 5


def test_token_for_a_child_account_says_cxs_tp(wire: Wire) -> None:
    """Sheet 2: `child_Key` with a capital K."""
    form = {"grant_type": "csp_credentials", "client_id": "demo-key", "client_secret": "demo-secret"}
    child = {"child_Key": "child", "child_secret": "hush"}
    answer = wire.http.post(f"{wire.url}/oauth/token", data=form | child, timeout=10)
    assert (answer.status_code, answer.json()["scope"]) == (200, "CXS-TP")


def test_burst_of_logins_blocks_the_address_for_ten_minutes_and_again_if_repeated(wire: Wire) -> None:
    """Sheet 3: 3 a second over 5 s; a new violation during the penalty prolongs it."""
    assert [wire.login().status_code for _ in range(15)] == [200] * 13 + [403] * 2
    assert "html" in wire.login().headers["Content-Type"]
    wire.sim.clock_offset_s += 599
    assert wire.login().status_code == 403
    assert {wire.login().status_code for _ in range(14)} == {403}  # the second violation, in the last second
    wire.sim.clock_offset_s += 300
    assert wire.login().status_code == 403
    wire.sim.clock_offset_s += 301
    assert wire.login().status_code == 200
    assert wire.sim.token_requests == 1 + 15 + 1 + 1 + 14 + 1 + 1


def test_one_login_a_second_over_two_minutes_blocks_too(wire: Wire) -> None:
    """Sheet 3: average threshold."""
    statuses = []
    for _ in range(130):
        wire.sim.clock_offset_s += 0.99
        statuses.append(wire.login().status_code)
    assert statuses.index(403) == 118  # with the fixture's own login that is the 120th within two minutes


def test_slow_logins_are_never_punished(wire: Wire) -> None:
    """Sheet 3: below both thresholds; one login in five seconds is our own limit (sheet 20)."""
    for _ in range(60):
        wire.sim.clock_offset_s += 5
        assert wire.login().status_code == 200


# -- The door: sheet 1 to 4 -----------------------------------------------------------------------------------


def test_refused_tokens_come_in_three_shapes(wire: Wire) -> None:
    """Sheet 2: 401 shapes 1 to 3."""
    url = f"{wire.url}/ship/v1/shipments"
    none = wire.http.post(url, json={}, timeout=10)
    assert none.status_code == 401 and codes(none) == ["NOT.AUTHORIZED.ERROR"] and none.json()["transactionId"]
    good, wire.token = wire.token, "invented"
    malformed = wire.create()
    assert (malformed.status_code, malformed.json()) == (401, {"error_description": "Invalid CXS JWT"})
    wire.token = good
    wire.sim.clock_offset_s += 3601
    expired = wire.create()
    assert expired.status_code == 401
    assert expired.json() == {"error": "invalid_request", "error_description": "CXS JWT is expired"}
    wire.sim.options(unauthorized_shape=1)
    assert codes(wire.create()) == ["NOT.AUTHORIZED.ERROR"]
    assert wire.sim.shipments() == []


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_fault_401_once_does_no_work_and_ends(wire: Wire, shape: int) -> None:
    """Sheet 2: a 401 means nothing was executed, so one resend is safe."""
    wire.sim.fault("401_once", "POST /ship", shape=shape)
    first = wire.create()
    assert (first.status_code, "errors" in first.json(), "error" in first.json()) == (401, shape == 1, shape == 2)
    assert wire.create().status_code == 200
    assert wire.sim.creates == 1


def test_unknown_path_wrong_method_and_wrong_type(wire: Wire) -> None:
    """Sheet 18: 404, 405 (cancel by POST), 415."""
    assert codes(wire.call("/ship/v9/shipments", {})) == ["NOT.FOUND.ERROR"]
    by_post = wire.call("/ship/v1/shipments/cancel", {})
    assert (by_post.status_code, by_post.headers["Allow"]) == (405, "PUT")
    header = {"authorization": f"Bearer {wire.token}", "content-type": "text/plain"}
    assert wire.http.post(f"{wire.url}/ship/v1/shipments", data="{}", headers=header, timeout=10).status_code == 415


def test_customer_transaction_id_is_echoed_or_absent(wire: Wire) -> None:
    """Sheet 1 and 4: also on failures; absent key when the header was absent."""
    assert wire.create(x_customer_transaction_id="abc").json()["customerTransactionId"] == "abc"
    assert wire.create({"x": 1}, x_customer_transaction_id="abc").json()["customerTransactionId"] == "abc"
    assert "customerTransactionId" not in wire.create().json()


def test_a_track_project_may_not_ship(wire: Wire) -> None:
    """Sheet 2 and 3: separate projects; a resource 403 is a missing permission."""
    wire.login("track-key", "track-secret")
    refused = wire.create()
    assert (refused.status_code, codes(refused)) == (403, ["FORBIDDEN.ERROR"])
    assert wire.track("794600000010").status_code == 200
    wire.sim.options(split_projects=True)
    wire.login()
    assert wire.track("794600000010").status_code == 403


def test_window_quota_restarts_with_the_next_fixed_window(wire: Wire) -> None:
    """Sheet 3: per project, fixed window, 429 until its end, no Retry-After."""
    wire.sim.options(window_limit=3, window_s=1000)
    answers = [wire.call("/rate/v1/rates/quotes", rate_body()) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert "10 seconds" in answers[3].json()["errors"][0]["message"] and "Retry-After" not in answers[3].headers
    wire.login("demo-key-2", "demo-secret-2")
    assert wire.track("794600000010").status_code == 200  # another project, another counter
    wire.login()
    wire.sim.clock_offset_s += 1000
    assert wire.track("794600000010").status_code == 200


def test_daily_quotas_last_until_midnight_gmt(wire: Wire) -> None:
    """Sheet 3: organisation and per-capability quotas with their own words."""
    wire.sim.options(track_daily_limit=1)
    assert [wire.track("794600000010").status_code for _ in range(2)] == [200, 429]
    assert "Per project daily quota" in wire.track("794600000010").json()["errors"][0]["message"]
    assert wire.call("/rate/v1/rates/quotes", rate_body()).status_code == 200  # only Track is used up
    wire.sim.options(daily_limit=1)
    assert "Daily transaction quota exceeded" in wire.create().json()["errors"][0]["message"]
    wire.sim.clock_offset_s += 86400
    wire.login()
    assert wire.create().status_code == 200


@pytest.mark.parametrize(("fault", "words"), [("429_window", "10 seconds"), ("429_daily", "GMT")])
def test_fault_429_does_no_work(wire: Wire, fault: str, words: str) -> None:
    """Sheet 3."""
    wire.sim.fault(fault, "POST /ship")
    refused = wire.create()
    assert refused.status_code == 429 and words in refused.json()["errors"][0]["message"]
    assert wire.sim.creates == 0


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


# -- Labels: sheet 5.5 and 18 -------------------------------------------------------------------------------------


# The Code 128 symbols that the number 794600000010 and its check need, from the symbology's published table.
SYMBOLS = {"134111": 79, "113321": 46, "212222": 0, "221312": 10, "312212": 27}


def label_of(made: dict[str, Any]) -> bytes:
    return base64.b64decode(made["pieceResponses"][0]["packageDocuments"][0]["encodedLabel"], validate=True)


def test_pdf_is_valid_and_shows_number_recipient_and_service(wire: Wire) -> None:
    """Sheet 18: real PDF bytes, every cross-reference offset right, 4 by 6 inches."""
    made = wire.made()
    pdf = label_of(made)
    assert pdf.startswith(b"%PDF-1.") and pdf.endswith(b"%%EOF\n") and b"/MediaBox[0 0 288 432]" in pdf
    at = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    table = pdf[at:].split(b"\n")
    assert table[0] == b"xref" and table[1] == b"0 6"
    for number, entry in enumerate(table[3:8], 1):
        assert len(entry) == 19  # with its line feed 20 bytes, as the format demands
        assert pdf[int(entry[:10]) :].startswith(b"%d 0 obj" % number)
    length = int(re.search(rb"/Length (\d+)>>stream\n", pdf)[1])  # type: ignore[index]
    start = pdf.index(b">>stream\n") + 9
    assert pdf[start + length :].startswith(b"\nendstream")
    for words in (made["masterTrackingNumber"].encode(), rb"R \(Bob\) Smith", b"FedEx Ground", b"Nashville TN 37201"):
        assert words in pdf[start : start + length]
    assert pdf.count(b" re") > 25  # the bars


def test_code128_of_the_label_reads_back(wire: Wire) -> None:
    """Sheet 18: the bars on the PDF, measured, are a Code 128 symbol with the number in it and a right check symbol."""
    made = wire.made()
    bars = [(float(x), float(w)) for x, w in re.findall(rb"^([\d.]+) 20 ([\d.]+) 72 re$", label_of(made), re.MULTILINE)]
    module = min(width for _, width in bars)
    edges = [round((x - bars[0][0] + part) / module) for x, width in bars for part in (0, width)]
    widths = "".join(str(b - a) for a, b in zip(edges, edges[1:], strict=False))
    assert edges[-1] == 8 * 11 + 13  # start, six pairs of digits, check, stop
    assert widths.startswith("211232") and widths.endswith("2331112")  # start C, stop
    values = [SYMBOLS[widths[at : at + 6]] for at in range(6, 48, 6)]
    assert "".join(f"{value:02d}" for value in values[:6]) == made["masterTrackingNumber"]
    assert values[6] == (105 + sum(place * value for place, value in enumerate(values[:6], 1))) % 103


@pytest.mark.parametrize(
    ("image", "stock", "magic"),
    [("PNG", "PAPER_4X6", b"\x89PNG\r\n\x1a\n"), ("ZPLII", "STOCK_4X6", b"^XA"), ("EPL2", "STOCK_4X6", b"\nN\n")],
)
def test_other_label_formats_have_their_magic_and_the_number(wire: Wire, image: str, stock: str, magic: bytes) -> None:
    """Sheet 5.5 and 6 (label rule)."""
    made = wire.made(ship_body(labelSpecification={"imageType": image, "labelStockType": stock}))
    content = label_of(made)
    assert content.startswith(magic) and made["masterTrackingNumber"].encode() in content


def test_png_chunks_and_pixels_are_whole(wire: Wire) -> None:
    """Sheet 18: every chunk's checksum, and as many pixel rows as the header promises."""
    png = label_of(wire.made(ship_body(labelSpecification={"imageType": "PNG", "labelStockType": "PAPER_4X6"})))
    at, kinds, pixels = 8, [], b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + data) == int.from_bytes(png[at + 8 + size : at + 12 + size], "big")
        pixels += data if kind == b"IDAT" else b""
        kinds.append(kind)
        at += 12 + size
    assert kinds == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == 600 * 51


def test_links_live_for_a_day(wire: Wire) -> None:
    """Sheet 5.1: URL_ONLY; no token is needed for the link."""
    body = ship_body()
    body["labelResponseOptions"] = "URL_ONLY"
    document = wire.made(body)["pieceResponses"][0]["packageDocuments"][0]
    assert "encodedLabel" not in document
    fetched = requests.get(document["url"], timeout=10)
    assert fetched.headers["Content-Type"] == "application/pdf" and fetched.content.startswith(b"%PDF")
    assert b"794600000010" in fetched.content
    assert requests.get(document["url"] + "0", timeout=10).status_code == 404
    wire.sim.clock_offset_s += 86401
    assert requests.get(document["url"], timeout=10).status_code == 404


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


# -- Track: sheet 11 ------------------------------------------------------------------------------------------------


def test_track_tells_each_number_for_itself(wire: Wire) -> None:
    """Sheet 11.2 and 11.4: failures of single numbers inside a 200."""
    number = wire.made()["masterTrackingNumber"]
    results = wire.track(number, "794600009999").json()["output"]["completeTrackResults"]
    assert [r["trackingNumber"] for r in results] == [number, "794600009999"]
    assert results[1]["trackResults"][0]["error"]["code"] == "TRACKING.TRACKINGNUMBER.NOTFOUND"
    result = results[0]["trackResults"][0]
    assert result["latestStatusDetail"]["code"] == "OC"
    assert result["trackingNumberInfo"]["trackingNumberUniqueId"] == f"12028~{number}~FDEG"
    identifiers = {i["type"]: i["values"] for i in result["additionalTrackingInfo"]["packageIdentifiers"]}
    assert identifiers == {"PURCHASE_ORDER": ["SO004711"], "CUSTOMER_REFERENCE": ["mlc-7f3a01"]}


def test_track_limits_and_forms(wire: Wire) -> None:
    """Sheet 11.4: 30 at most; blank and malformed are refused as a whole."""
    assert wire.track(*["794600000010"] * 30).status_code == 200
    assert codes(wire.track(*["794600000010"] * 31)) == ["TRACKING.TRACKINGNUMBERS.LIMITEXCEEDED"]
    assert codes(wire.track("")) == ["TRACKING.TRACKINGNUMBER.EMPTY"]
    assert codes(wire.track("12-34")) == ["TRACKING.TRACKINGNUMBER.INVALID"]


def test_track_does_not_know_young_numbers(wire: Wire) -> None:
    """Sheet 11.4: NOTFOUND up to a day after the label was made."""
    wire.sim.options(track_visible_after_s=60, expires_in=9999)
    wire.login()
    number = wire.made()["masterTrackingNumber"]
    assert "error" in wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    wire.sim.clock_offset_s += 61
    assert "error" not in wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]


def test_scans_come_newest_first_and_delivery_has_time_and_signer(wire: Wire) -> None:
    """Sheet 11.2 and 11.3."""
    number = wire.made()["masterTrackingNumber"]
    for event in ("PU", "DP", "OD"):
        wire.sim.clock_offset_s += 60
        wire.sim.scan(number, event)
    wire.sim.clock_offset_s += 60
    wire.sim.scan(number, "DL", received_by="R.SMITH")
    result = wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    assert [scan["eventType"] for scan in result["scanEvents"]] == ["DL", "OD", "DP", "PU", "OC"]
    times = [dt.datetime.fromisoformat(scan["date"]) for scan in result["scanEvents"]]
    assert times == sorted(times, reverse=True) and all(t.utcoffset() is not None for t in times)
    dates = {entry["type"]: entry["dateTime"] for entry in result["dateAndTimes"]}
    assert dates["ACTUAL_DELIVERY"] == result["scanEvents"][0]["date"] and "ACTUAL_PICKUP" in dates
    assert dates["SHIP"].endswith("T00:00:00-06:00")
    assert result["deliveryDetails"]["receivedByName"] == "R.SMITH"
    assert result["scanEvents"][0]["scanLocation"]["city"] == "Nashville"
    assert result["availableImages"][0]["type"] == "SIGNATURE_PROOF_OF_DELIVERY"


def test_returned_parcel_ends_delivered_at_the_shipper(wire: Wire) -> None:
    """Sheet 11.3: RS, then DL at the shipper."""
    number = wire.made()["masterTrackingNumber"]
    wire.sim.scan(number, "RS")
    wire.sim.scan(number, "DL", at_shipper=True)
    result = wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    assert result["deliveryDetails"]["actualDeliveryAddress"]["city"] == "Austin"
    assert "RS" in [scan["eventType"] for scan in result["scanEvents"]]


def test_express_unique_id_carries_the_julian_day(wire: Wire) -> None:
    """Sheet 18: 2457821 is the day of the vendor's sample, 8 March 2017."""
    made = wire.made(ship_body(serviceType="FEDEX_2_DAY"))
    unique = wire.track(made["masterTrackingNumber"]).json()["output"]["completeTrackResults"][0]["trackResults"][0][
        "trackingNumberInfo"
    ]
    day = 2457821 + (dt.date.fromisoformat(made["shipDatestamp"]) - dt.date(2017, 3, 8)).days
    assert unique["trackingNumberUniqueId"] == f"{day}000~{made['masterTrackingNumber']}~FX"


# -- By reference: sheet 12 -------------------------------------------------------------------------------------------


def test_reference_finds_by_account_alone_and_with_tracks_type_names(wire: Wire) -> None:
    """Sheet 12 and 5.7."""
    number = wire.made()["masterTrackingNumber"]
    for asked in (
        {"value": "mlc-7f3a01"},
        {"value": "mlc-7f3a01", "type": "CUSTOMER_REFERENCE"},
        {"value": "SO004711", "type": "PURCHASE_ORDER", "carrierCode": "FDXG"},
    ):
        assert [r["trackingNumber"] for r in wire.found(accountNumber="123456789", **asked)] == [number]
    for asked in (
        {"value": "SO004711", "type": "INVOICE"},
        {"value": "so004711"},
        {"value": "mlc-7f3a01", "type": "SHIPPER_REFERENCE"},
    ):
        assert (
            wire.found(accountNumber="123456789", **asked)[0]["trackResults"][0]["error"]["code"]
            == "TRACKING.REFERENCENUMBER.NOTFOUND"
        )
    assert codes(wire.look_up(accountNumber="123456789", value="SO004711", type="P_O_NUMBER")) == [
        "TRACKING.REFERENCETYPE.INVALID"
    ]


def test_reference_of_express_is_a_shipper_reference_too(wire: Wire) -> None:
    """Sheet 5.7."""
    number = wire.made(ship_body(serviceType="FEDEX_2_DAY"))["masterTrackingNumber"]
    found = wire.found(accountNumber="123456789", value="mlc-7f3a01", type="SHIPPER_REFERENCE")
    assert [r["trackingNumber"] for r in found] == [number]


def test_reference_not_found_is_a_200_that_echoes_the_reference(wire: Wire) -> None:
    """Sheet 12: never to be taken for a package."""
    wire.made()
    found = wire.found(accountNumber="987654321", value="mlc-7f3a01")
    assert [r["trackingNumber"] for r in found] == ["mlc-7f3a01"]
    assert found[0]["trackResults"][0]["error"]["code"] == "TRACKING.REFERENCENUMBER.NOTFOUND"


def test_reference_lists_every_matching_package(wire: Wire) -> None:
    """Sheet 12: two purchases and a two-piece shipment under one reference."""
    numbers = [piece["trackingNumber"] for piece in wire.made(ship_body(package(), package()))["pieceResponses"]]
    numbers.append(wire.made()["masterTrackingNumber"])
    assert [r["trackingNumber"] for r in wire.found(accountNumber="123456789", value="mlc-7f3a01")] == numbers


def test_reference_is_invisible_at_first(wire: Wire) -> None:
    """Sheet 12 and 17: absence is weak evidence."""
    wire.sim.options(references_visible_after_s=30)
    number = wire.made()["masterTrackingNumber"]
    assert "error" in wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackResults"][0]
    wire.sim.clock_offset_s += 31
    assert wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackingNumber"] == number


def test_cancelled_shipments_show_as_cancelled(wire: Wire) -> None:
    """Sheet 18: CA."""
    number = wire.made()["masterTrackingNumber"]
    wire.cancel(number)
    result = wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackResults"][0]
    assert (result["latestStatusDetail"]["code"], result["scanEvents"][0]["eventType"]) == ("CA", "CA")


def test_reference_without_account_needs_all_the_rest(wire: Wire) -> None:
    """Sheet 12: type, carrier, dates, destination; two shippers with it are not unique."""
    number = wire.made()["masterTrackingNumber"]
    full = {"value": "mlc-7f3a01", "type": "CUSTOMER_REFERENCE", "carrierCode": "FDXG", "destinationCountryCode": "US"}
    assert [r["trackingNumber"] for r in wire.found(**full, destinationPostalCode="37201")] == [number]
    assert "error" in wire.found(**full, destinationPostalCode="37202")[0]["trackResults"][0]
    assert codes(wire.look_up(value="mlc-7f3a01", type="CUSTOMER_REFERENCE")) == ["TRACKING.REFERENCEDATA.INCOMPLETE"]
    assert codes(wire.look_up(accountNumber="123456789", value="")) == ["TRACKING.REFERENCEVALUE.EMPTY"]
    wire.login("demo-key-2", "demo-secret-2")
    wire.made(ship_body() | {"accountNumber": {"value": "987654321"}})
    assert wire.found(**full)[0]["trackResults"][0]["error"]["code"] == "TRACKING.DATA.NOTUNIQUE"


def day(offset: int) -> str:
    return str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=offset))


@pytest.mark.parametrize(
    ("dates", "code"),
    [
        ({"shipDateBegin": day(-1), "shipDateEnd": day(1)}, "TRACKING.SHIPDATEEND.FUTURE"),
        ({"shipDateBegin": day(-1), "shipDateEndDate": day(1)}, "TRACKING.SHIPDATEEND.FUTURE"),
        ({"shipDateBegin": day(-31), "shipDateEnd": day(0)}, "TRACKING.SHIPDATERANGE.TOOLONG"),
        ({"shipDateBegin": day(-31)}, "TRACKING.SHIPDATERANGE.TOOLONG"),
        ({"shipDateBegin": day(-800), "shipDateEnd": day(-790)}, "TRACKING.SHIPDATEBEGIN.TOOOLD"),
        ({"shipDateBegin": day(-1), "shipDateEnd": day(-2)}, "TRACKING.SHIPDATE.ENDDATEBEFOREBEGINDATE"),
        ({"shipDateBegin": "yesterday", "shipDateEnd": day(0)}, "TRACKING.SHIPDATEBEGIN.INVALID"),
        ({"shipDateBegin": day(-1), "shipDateEnd": "2026-02-30"}, "TRACKING.SHIPDATEEND.INVALID"),
        ({"shipDateBegin": day(-2), "shipDateEnd": day(0), "shipDateEndDate": day(-1)}, "TRACKING.SHIPDATEEND.INVALID"),
    ],
)
def test_reference_date_rules(wire: Wire, dates: dict[str, str], code: str) -> None:
    """Sheet 12 and 11.4."""
    asked = {"value": "mlc-7f3a01", "accountNumber": "123456789"} | dates
    assert codes(wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})) == [code]


def test_reference_dates_bound_the_search_and_default_to_a_month(wire: Wire) -> None:
    """Sheet 12: a shipment dated ahead is found only from that day on; both end keys together are fine."""
    asked: dict[str, str] = {"value": "mlc-7f3a01", "accountNumber": "123456789"}
    ahead = wire.sim.now().date() + dt.timedelta(days=3)
    number = wire.made(ship_body(shipDatestamp=str(ahead)))["masterTrackingNumber"]
    for dates in ({}, {"shipDateBegin": day(-30), "shipDateEnd": day(0), "shipDateEndDate": day(0)}):
        answer = wire.call("/track/v1/referencenumbers", {"referencesInformation": asked | dates})
        assert "error" in answer.json()["output"]["completeTrackResults"][0]["trackResults"][0]
    wire.sim.clock_offset_s += 3 * 86400
    wire.login()
    answer = wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})
    assert answer.json()["output"]["completeTrackResults"][0]["trackingNumber"] == number


# -- Faults on creates: sheet 17 and 18 ---------------------------------------------------------------------------------


def test_lost_answer_is_a_purchase_that_a_look_up_finds(wire: Wire) -> None:
    """Sheet 17 and 18: dropped after commit."""
    wire.sim.fault("lost_answer", "POST /ship/v1/shipments$")
    with pytest.raises(requests.ConnectionError):
        wire.create()
    assert wire.sim.creates == 1
    found = wire.found(accountNumber="123456789", value="mlc-7f3a01")
    assert [r["trackingNumber"] for r in found] == [wire.sim.shipments()[0].master]


def test_fault_no_tracking_number_is_billed_but_silent(wire: Wire) -> None:
    """Sheet 17: 2xx without masterTrackingNumber is unknown."""
    wire.sim.fault("no_tracking_number", "POST /ship")
    answer = wire.create()
    assert answer.status_code == 200 and "masterTrackingNumber" not in answer.text and "trackingNumber" not in answer.text
    assert wire.sim.creates == 1


def test_fault_error_in_200_is_a_refusal(wire: Wire) -> None:
    """Sheet 4."""
    wire.sim.fault("error_in_200", "POST /ship")
    answer = wire.create()
    assert answer.status_code == 200 and codes(answer) == ["SYSTEM.UNEXPECTED.ERROR"] and "output" not in answer.json()
    assert wire.sim.creates == 0


def test_fault_rating_missing_ships_without_a_price(wire: Wire) -> None:
    """Sheet 6, fallback 3."""
    wire.sim.fault("rating_missing", "POST /ship")
    made = wire.made()
    assert "shipmentRating" not in made["completedShipmentDetail"]
    assert "packageRating" not in made["completedShipmentDetail"]["completedPackageDetails"][0]
    assert [a["code"] for a in made["alerts"]] == ["RATING.IS.UNAVAILABLE"]
    wire.sim.fault("rating_missing", "POST /rate")
    assert codes(wire.call("/rate/v1/rates/quotes", rate_body())) == ["RATING.QUOTE.NOTAVAILABLE"]


def test_faults_of_labels_and_warnings(wire: Wire) -> None:
    """Sheet 6 (label rule), 4 (alerts), 18."""
    for fault in ("label_garbage", "label_missing", "warning_alert"):
        wire.sim.fault(fault, "POST /ship")
    wire.sim.faults[1].skip, wire.sim.faults[2].skip = 1, 2
    assert not label_of(wire.made()).startswith(b"%PDF")
    assert wire.made()["pieceResponses"][0]["packageDocuments"] == []
    assert [a["alertType"] for a in wire.made()["alerts"]] == ["WARNING"]
    assert wire.sim.creates == 3


def test_server_faults_html_gzip_and_status(wire: Wire) -> None:
    """Sheet 1 and 18."""
    wire.sim.fault("html", "POST /ship", status=503)
    html = wire.create()
    assert html.status_code == 503 and "html" in html.headers["Content-Type"] and wire.sim.creates == 0
    wire.sim.fault("gzip", "POST /ship")
    packed = wire.create()
    assert packed.headers["Content-Encoding"] == "gzip" and packed.json()["output"]


# -- State, threads, control plane --------------------------------------------------------------------------------------


def test_state_survives_a_restart_as_plain_json(tmp_path: Path) -> None:
    """Sheet 18: numbers never come again; label bytes are not kept but are the same."""
    file = tmp_path / "fedex.json"
    first = FedexSimulator(state_file=file)
    with SimulatorServer([first]) as server:
        wire = Wire(first, server.url)
        wire.login()
        body = ship_body()
        body["labelResponseOptions"] = "URL_ONLY"
        made = wire.made(body)
        link = made["pieceResponses"][0]["packageDocuments"][0]["url"].removeprefix(server.url)
        label = requests.get(server.url + link, timeout=10).content
        wire.http.close()
    assert "JVBER" not in file.read_text() and json.loads(file.read_text())["counts"]["made"] == 1
    second = FedexSimulator(state_file=file)
    assert second.shipments() == first.shipments()
    with SimulatorServer([second]) as server:
        wire = Wire(second, server.url)
        wire.login()
        assert requests.get(server.url + link, timeout=10).content == label
        assert wire.made()["masterTrackingNumber"] != made["masterTrackingNumber"]
        wire.http.close()


def test_parallel_creates_give_distinct_numbers(wire: Wire) -> None:
    """Sheet 18: never repeated, under threads too."""
    barrier = threading.Barrier(8)

    def work(_: int) -> list[str]:
        mine = Wire(wire.sim, wire.url.removesuffix("/fedex"))
        mine.token = wire.token
        barrier.wait()
        numbers = [mine.made()["masterTrackingNumber"] for _ in range(10)]
        mine.http.close()
        return numbers

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for part in pool.map(work, range(8)) for number in part]
    assert len(set(numbers)) == 80 == wire.sim.creates == wire.sim.live_labels()


def test_control_plane_refuses_what_it_does_not_know(wire: Wire) -> None:
    assert requests.post(f"{wire.url}/_sim/options", json={"expire_in": 1}, timeout=10).status_code == 400
    assert requests.post(f"{wire.url}/_sim/options", json={"timezone": "Mars/Base"}, timeout=10).status_code == 400
    assert requests.post(f"{wire.url}/_sim/scan", json={"tracking_number": "1", "event": "PU"}, timeout=10).status_code == 400
    with pytest.raises(KeyError):
        wire.sim.options(expire_in=1)
    assert requests.post(f"{wire.url}/_sim/expire_tokens", timeout=10).ok
    assert wire.create().status_code == 401


def test_future_is_measured_in_the_shippers_calendar(wire: Wire) -> None:
    """Sheet 12: end = today in the shipper's zone."""
    noon = wire.sim.now().replace(hour=3, minute=0)
    wire.sim.clock_offset_s += (noon - wire.sim.now()).total_seconds()
    wire.login()
    today = str(noon.date())
    asked = {"value": "x", "accountNumber": "123456789", "shipDateBegin": today, "shipDateEnd": today}
    wire.sim.options(timezone="America/Chicago")  # still yesterday there
    assert codes(wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})) == ["TRACKING.SHIPDATEEND.FUTURE"]
    wire.sim.options(timezone="UTC")
    assert wire.call("/track/v1/referencenumbers", {"referencesInformation": asked}).status_code == 200


# -- Against the official OpenAPI files -----------------------------------------------------------------------------------


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

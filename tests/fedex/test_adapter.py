"""FedEx as a carrier, over `responses`: the verbs of the flows and what they raise."""

from __future__ import annotations

import base64
import datetime as dt
import json
from decimal import Decimal

import pytest
import requests
import responses

from integrations import registry
from integrations.base.errors import ConfigurationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.base.http import recording
from integrations.base.records import Address, BoughtShipment, Money, PackageSpec, Pending, ShipmentRequest, Weight, WeightUnit
from integrations.base.roles import LookUpQuery, SendTicket
from integrations.base.testing import MemoryRecorder, context_for
from integrations.fedex.adapter import Fedex
from integrations.fedex.vendor import VENDOR

BASE = "https://apis-sandbox.fedex.com"
SHIP, RESULTS = f"{BASE}/ship/v1/shipments", f"{BASE}/ship/v1/shipments/results"
CANCEL, VALIDATE = f"{BASE}/ship/v1/shipments/cancel", f"{BASE}/ship/v1/shipments/packages/validate"
RATE, TRACK, LOOK_UP = f"{BASE}/rate/v1/rates/quotes", f"{BASE}/track/v1/trackingnumbers", f"{BASE}/track/v1/referencenumbers"
CREDENTIALS = {"client_id": "key-1", "client_secret": "hush-hush", "account_number": "1234-56789"}
NOW = dt.datetime(2026, 3, 3, 15, 0, tzinfo=dt.UTC)
REFERENCE = "MLABCDEFGHIJKL"
TICKET = SendTicket(REFERENCE, 1, 20)
REQUEST = ShipmentRequest(
    "shipment:19",
    Address(
        company="Acme", phone="5125550100", lines=("1 Dock Rd",), city="Austin", state="TX", postal_code="78701", country="US"
    ),
    Address(
        name="R Smith", phone="6155550111", lines=("9 Elm St",), city="Nashville", state="TN", postal_code="37201", country="US"
    ),
    "FEDEX_GROUND",
    dt.date(2026, 3, 2),
    (PackageSpec("hu-1", Weight(Decimal("4.5"), WeightUnit.LB)),),
)
QUERY = LookUpQuery(REFERENCE, "123456789", dt.date(2026, 3, 1), dt.date(2026, 3, 3), REQUEST)


@pytest.fixture
def fedex():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(f"{BASE}/oauth/token", json={"access_token": "tok-1", "token_type": "bearer", "expires_in": 3599})
        yield mock


@pytest.fixture
def carrier() -> Fedex:
    return Fedex(context_for(VENDOR, {"base": BASE}, CREDENTIALS, now=lambda: NOW))


def failure(code: str, message: str = "words") -> dict:
    return {"transactionId": "tx-9", "errors": [{"code": code, "message": message}]}


def sent(mock) -> dict:
    return json.loads(mock.calls[-1].request.body)


def test_the_registry_builds_this_adapter():
    assert registry.adapter_class("fedex") is Fedex


# -- buying ------------------------------------------------------------------------------------------------


def test_the_described_body_is_what_is_sent(fedex, carrier):
    ship = fedex.post(SHIP, json=BOUGHT)
    body = carrier.describe_request(REQUEST, REFERENCE)
    made = carrier.create_shipment(json.loads(json.dumps(body)), REQUEST, TICKET)
    assert sent(ship) == body
    assert body["accountNumber"] == {"value": "123456789"}
    assert isinstance(made, BoughtShipment)
    assert (made.master_tracking_number, made.cost) == ("794600000010", Money(Decimal("14.22"), "USD"))
    assert made.packages[0].label.data == b"%PDF-1.4"


def test_a_stored_answer_is_read_to_the_same_result(fedex, carrier):
    fedex.post(SHIP, json=BOUGHT)
    recorder = MemoryRecorder()
    with recording(recorder):
        made = carrier.create_shipment({}, REQUEST, TICKET)
    ((_, _, raw, status),) = recorder.answers
    assert carrier.parse_created(raw, REQUEST) == made
    assert carrier.parse_created(raw, REQUEST, status=status) == made


def test_a_stored_refusal_is_still_one(carrier):
    with pytest.raises(Rejected):
        carrier.parse_created(json.dumps(failure("COUNTRY.POSTALCODE.INVALID")), REQUEST)
    with pytest.raises(OutcomeUnknown):
        carrier.parse_created(json.dumps(failure("NEVER.HEARD.OF")), REQUEST)
    with pytest.raises(Rejected):
        carrier.parse_created(json.dumps(failure("NEVER.HEARD.OF")), REQUEST, status=400)
    with pytest.raises(OutcomeUnknown):
        carrier.parse_created(json.dumps(BOUGHT)[:200], REQUEST, status=200)


def test_what_was_changed_on_the_way_can_be_told(carrier):
    assert carrier.request_notes(REQUEST, REFERENCE) == ()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, failure("COUNTRY.POSTALCODE.INVALID"), Rejected),
        (400, failure("ACCOUNT.NUMBER.INVALID"), ConfigurationError),
        (403, failure("FORBIDDEN.ERROR"), ConfigurationError),
        (429, failure("TOO.MANY.REQUESTS"), RateLimited),
        (400, failure("SYSTEM.UNEXPECTED.ERROR"), OutcomeUnknown),
        (500, failure("INTERNAL.SERVER.ERROR"), OutcomeUnknown),
        (200, {"output": {"transactionShipments": []}}, OutcomeUnknown),
        (200, {}, OutcomeUnknown),
    ],
)
def test_a_purchase_that_fails_is_sent_once_and_says_how(fedex, carrier, status, body, error):
    ship = fedex.post(SHIP, status=status, json=body)
    with pytest.raises(error) as caught:
        carrier.create_shipment({}, REQUEST, TICKET)
    assert type(caught.value) is error
    assert ship.call_count == 1


def test_a_lost_answer_leaves_the_outcome_open(fedex, carrier):
    fedex.post(SHIP, body=requests.ReadTimeout("too slow"))
    with pytest.raises(OutcomeUnknown):
        carrier.create_shipment({}, REQUEST, TICKET)


def test_a_server_error_that_shows_a_number_is_no_proof(fedex, carrier):
    fedex.post(SHIP, status=500, json=BOUGHT)
    with pytest.raises(OutcomeUnknown):
        carrier.create_shipment({}, REQUEST, TICKET)


def test_without_an_account_nothing_is_described():
    bare = Fedex(context_for(VENDOR, {"base": BASE}, {"client_id": "a", "client_secret": "b"}))
    with pytest.raises(ConfigurationError) as caught:
        bare.describe_request(REQUEST, REFERENCE)
    assert caught.value.code == "account_missing"


# -- jobs --------------------------------------------------------------------------------------------------


def test_a_job_is_asked_for_until_it_is_done(fedex, carrier):
    fedex.post(SHIP, json={"output": {"jobId": "job-1"}})
    pending = carrier.create_shipment({}, REQUEST, TICKET)
    assert pending == Pending("job-1")
    fedex.post(RESULTS, json={"output": {"alerts": []}})
    results = fedex.post(RESULTS, json=BOUGHT)
    assert carrier.ask_pending("job-1", REQUEST) == Pending("job-1", 30.0)
    assert carrier.ask_pending("job-1", REQUEST).master_tracking_number == "794600000010"
    assert sent(results) == {"accountNumber": {"value": "123456789"}, "jobId": "job-1"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, failure("SHIPMENT.JOBID.INVALID"), OutcomeUnknown),
        (400, failure("NEVER.HEARD.OF"), OutcomeUnknown),
        (200, failure("NEVER.HEARD.OF"), OutcomeUnknown),
        (400, failure("MAXIMUM.WEIGHT.EXCEEDED"), Rejected),
        (500, failure("INTERNAL.SERVER.ERROR"), Unavailable),
        (400, failure("SYSTEM.UNEXPECTED.ERROR"), Unavailable),
    ],
)
def test_a_job_that_cannot_be_asked_for_proves_nothing(fedex, carrier, status, body, error):
    fedex.post(RESULTS, status=status, json=body)
    with pytest.raises(error) as caught:
        carrier.ask_pending("job-1", REQUEST)
    assert type(caught.value) is error


def test_an_unreadable_answer_about_a_job_is_asked_for_again(fedex, carrier):
    fedex.post(RESULTS, body="<html>?</html>")
    with pytest.raises(Unavailable):
        carrier.ask_pending("job-1", REQUEST)


# -- look-up -----------------------------------------------------------------------------------------------


def tracked(*entries) -> dict:
    return {"output": {"completeTrackResults": [{"trackingNumber": n, "trackResults": [r]} for n, r in entries]}}


def errored(code: str) -> dict:
    return tracked(
        (REFERENCE, {"trackingNumberInfo": {"trackingNumber": REFERENCE}, "error": {"code": code, "message": "words"}})
    )


def test_the_look_up_asks_as_track_wants_it(fedex, carrier):
    asked = fedex.post(LOOK_UP, json=tracked(("794600000010", {"packageDetails": {"count": "1"}})))
    found = carrier.find_shipment(QUERY)
    assert [m.master_tracking_number for m in found.matches] == ["794600000010"] and not found.ambiguous
    assert sent(asked)["referencesInformation"] == {
        "type": "CUSTOMER_REFERENCE",
        "value": REFERENCE,
        "accountNumber": "123456789",
        "shipDateBegin": "2026-03-01",
        "shipDateEnd": "2026-03-03",
        "shipDateEndDate": "2026-03-03",
    }


@pytest.mark.parametrize(
    ("begin", "end", "sent_begin", "sent_end"),
    [
        ((2026, 3, 2), (2026, 3, 9), "2026-03-02", "2026-03-04"),
        ((2026, 1, 1), (2026, 3, 3), "2026-01-01", "2026-01-31"),
        ((2026, 3, 8), (2026, 3, 9), "2026-03-04", "2026-03-04"),
    ],
)
def test_the_dates_are_neither_in_the_future_nor_too_far_apart(fedex, carrier, begin, end, sent_begin, sent_end):
    asked = fedex.post(LOOK_UP, json=errored("TRACKING.REFERENCENUMBER.NOTFOUND"))
    carrier.find_shipment(LookUpQuery(REFERENCE, "1", dt.date(*begin), dt.date(*end), REQUEST))
    told = sent(asked)["referencesInformation"]
    assert (told["shipDateBegin"], told["shipDateEnd"]) == (sent_begin, sent_end)


@pytest.mark.parametrize("status", [200, 400])
def test_a_day_that_has_not_begun_at_fedex_is_left_out(fedex, carrier, status):
    future = errored("TRACKING.SHIPDATEEND.FUTURE") if status == 200 else failure("TRACKING.SHIPDATEEND.FUTURE")
    fedex.post(LOOK_UP, status=status, json=future)
    again = fedex.post(LOOK_UP, json=tracked(("794600000010", {})))
    assert len(carrier.find_shipment(QUERY).matches) == 1
    assert sent(again)["referencesInformation"]["shipDateEnd"] == "2026-03-02"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, errored("TRACKING.REFERENCENUMBER.NOTFOUND")),
        (400, failure("TRACKING.REFERENCENUMBER.NOTFOUND")),
        (404, failure("TRACKING.REFERENCENUMBER.NOTFOUND")),
        (200, {"output": {"alerts": [{"code": "TRACKING.DATA.NOTFOUND", "alertType": "NOTE"}]}}),
        (200, {"output": {"completeTrackResults": []}}),
    ],
)
def test_not_found_is_no_match(fedex, carrier, status, body):
    fedex.post(LOOK_UP, status=status, json=body)
    found = carrier.find_shipment(QUERY)
    assert (found.matches, found.ambiguous) == ((), False)


@pytest.mark.parametrize(
    ("status", "body"), [(200, errored("TRACKING.DATA.NOTUNIQUE")), (400, failure("TRACKING.DATA.NOTUNIQUE"))]
)
def test_more_than_one_is_said_without_a_list(fedex, carrier, status, body):
    fedex.post(LOOK_UP, status=status, json=body)
    found = carrier.find_shipment(QUERY)
    assert (found.matches, found.ambiguous) == ((), True)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (403, failure("FORBIDDEN.ERROR"), ConfigurationError),
        (429, failure("TOO.MANY.REQUESTS"), RateLimited),
        (500, failure("INTERNAL.SERVER.ERROR"), Unavailable),
        (503, errored("TRACKING.REFERENCENUMBER.NOTFOUND"), Unavailable),
        (200, errored("SYSTEM.UNEXPECTED.ERROR"), Unavailable),
        (200, errored("TRACKING.REFERENCETYPE.INVALID"), Rejected),
        (400, failure("TRACKING.REFERENCEDATA.INCOMPLETE"), Rejected),
        (200, {}, Unavailable),
        (200, {"output": {}}, Unavailable),
    ],
)
def test_no_answer_is_not_taken_for_not_found(fedex, carrier, status, body, error):
    fedex.post(LOOK_UP, status=status, json=body)
    with pytest.raises(error) as caught:
        carrier.find_shipment(QUERY)
    assert type(caught.value) is error


# -- void --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "already"),
    [
        (200, {"output": {"cancelledShipment": True, "successMessage": "Success"}}, False),
        (200, {"output": {"cancelledShipment": "true", "message": "ok"}}, False),
        (400, failure("CANCELSHIPMENT.TRACKINGNUMBER.DELETED"), True),
        (400, failure("MASTERTRACKINGID.TRACKINGNUMBER.CANCELLED"), True),
        (400, failure("SHIPMENT.CANCELEDWITHOUTPICKUP.SUCCESS"), False),
        (200, failure("CANCELSHIPMENT.TRACKINGNUMBER.DELETED"), True),
    ],
)
def test_a_shipment_is_cancelled(fedex, carrier, status, body, already):
    cancel = fedex.put(CANCEL, status=status, json=body)
    result = carrier.void_shipment("794600000010", "us")
    assert (result.voided, result.already) == (True, already)
    assert sent(cancel) == {
        "accountNumber": {"value": "123456789"},
        "trackingNumber": "794600000010",
        "deletionControl": "DELETE_ALL_PACKAGES",
        "senderCountryCode": "US",
    }


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, failure("TRACKINGIDS.TRACKINGNUMBER.CLOSED"), Rejected, "void_too_late"),
        (400, failure("SHIPMENT.CANCELEDWITHOUTPICKUP.FAILURE"), Rejected, "void_refused"),
        (400, failure("TRACKINGNUMBER.ENTERED.INVALID"), Rejected, "tracking_number_invalid"),
        (400, failure("SHIPMENT.USER.UNAUTHORIZED"), ConfigurationError, "account_refused"),
        (200, {"output": {"cancelledShipment": False, "message": "Cannot"}}, Rejected, "void_refused"),
        (200, {}, Unavailable, "unavailable"),
        (500, failure("CANCELSHIPMENT.TRACKINGNUMBER.DELETED"), Unavailable, "unavailable"),
    ],
)
def test_a_cancel_that_did_not_happen_is_not_claimed(fedex, carrier, status, body, error, code):
    fedex.put(CANCEL, status=status, json=body)
    with pytest.raises(error) as caught:
        carrier.void_shipment("794600000010", "US")
    assert type(caught.value) is error
    assert caught.value.code == code


# -- ping --------------------------------------------------------------------------------------------------


def layers(carrier: Fedex) -> dict[str, str]:
    return {layer.layer: layer.state for layer in carrier.ping()}


def well(fedex) -> None:
    fedex.post(RATE, json={"output": {"rateReplyDetails": []}})
    fedex.post(VALIDATE, json={"output": {"alerts": [{"code": "SHIPMENT.VALIDATION.SUCCESS", "alertType": "NOTE"}]}})
    fedex.post(TRACK, json=errored("TRACKING.TRACKINGNUMBER.NOTFOUND"))


def test_a_good_ping_checks_four_layers_with_one_login_and_buys_nothing(fedex, carrier):
    well(fedex)
    assert layers(carrier) == {"token": "ok", "account": "ok", "ship": "ok", "track": "ok"}
    assert layers(carrier) == {"token": "ok", "account": "ok", "ship": "ok", "track": "ok"}
    called = [c.request.url for c in fedex.calls]
    assert called.count(f"{BASE}/oauth/token") == 1
    assert SHIP not in called


def test_a_refused_login_ends_the_ping(fedex, carrier):
    fedex.replace(responses.POST, f"{BASE}/oauth/token", status=401, json=failure("NOT.AUTHORIZED.ERROR"))
    (only,) = carrier.ping()
    assert (only.layer, only.state) == ("token", "failed")
    assert "Secret key" in only.remedy


@pytest.mark.parametrize(
    ("url", "status", "body", "layer", "state"),
    [
        (RATE, 400, failure("ACCOUNT.NUMBER.INVALID"), "account", "failed"),
        (RATE, 400, failure("RATING.QUOTE.NOTAVAILABLE"), "account", "warning"),
        (RATE, 403, failure("FORBIDDEN.ERROR"), "account", "warning"),
        (RATE, 500, failure("INTERNAL.SERVER.ERROR"), "account", "failed"),
        (VALIDATE, 403, failure("FORBIDDEN.ERROR"), "ship", "failed"),
        (VALIDATE, 400, failure("SERVICE.PACKAGECOMBINATION.INVALID"), "ship", "ok"),
        (VALIDATE, 404, failure("NOT.FOUND.ERROR"), "ship", "not_checked"),
        (TRACK, 403, failure("FORBIDDEN.ERROR"), "track", "failed"),
        (TRACK, 429, failure("TOO.MANY.REQUESTS"), "track", "not_checked"),
        (TRACK, 400, failure("TRACKING.TRACKINGNUMBER.INVALID"), "track", "ok"),
        (TRACK, 200, {}, "track", "failed"),
    ],
)
def test_a_ping_names_the_layer_at_fault_and_goes_on(fedex, carrier, url, status, body, layer, state):
    well(fedex)
    fedex.replace(responses.POST, url, status=status, json=body)
    expected = {"token": "ok", "account": "ok", "ship": "ok", "track": "ok"} | {layer: state}
    assert layers(carrier) == expected


def test_a_missing_track_permission_says_what_it_costs(fedex, carrier):
    well(fedex)
    fedex.replace(responses.POST, TRACK, status=403, json=failure("FORBIDDEN.ERROR"))
    last = list(carrier.ping())[-1]
    assert "could not be looked up" in last.message and "Track project" in last.remedy


# -- a recorded answer -------------------------------------------------------------------------------------

BOUGHT = {
    "transactionId": "0b1c-tx",
    "output": {
        "transactionShipments": [
            {
                "masterTrackingNumber": "794600000010",
                "serviceType": "FEDEX_GROUND",
                "shipDatestamp": "2026-03-02",
                "pieceResponses": [
                    {
                        "trackingNumber": "794600000010",
                        "packageSequenceNumber": 1,
                        "netRateAmount": 14.22,
                        "packageDocuments": [
                            {"contentType": "LABEL", "docType": "PDF", "encodedLabel": base64.b64encode(b"%PDF-1.4").decode()}
                        ],
                    }
                ],
                "completedShipmentDetail": {
                    "shipmentRating": {
                        "actualRateType": "PAYOR_ACCOUNT_PACKAGE",
                        "shipmentRateDetails": [
                            {"rateType": "PAYOR_ACCOUNT_PACKAGE", "totalNetCharge": 14.22, "currency": "USD"}
                        ],
                    }
                },
            }
        ]
    },
}

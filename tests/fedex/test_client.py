"""What FedEx's statuses and codes become, and how its login is treated (sheet 2, 3, 4, 17)."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from urllib.parse import parse_qs

import pytest
import responses

from integrations.base.errors import ConfigurationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.base.roles import SendTicket
from integrations.base.testing import context_for
from integrations.fedex import codes
from integrations.fedex.client import FedexClient, problem, wait_s
from integrations.fedex.vendor import VENDOR, check_settings

BASE = "https://apis-sandbox.fedex.com"
CREDENTIALS = {"client_id": "key-1", "client_secret": "hush-hush", "account_number": "123456789"}
TRACK = {"track_client_id": "key-2", "track_client_secret": "hush-track"}
NOW = dt.datetime(2026, 3, 2, 22, 0, tzinfo=dt.UTC)


@pytest.fixture
def fedex():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def context(**more):
    return context_for(VENDOR, {"base": BASE}, CREDENTIALS | more, now=lambda: NOW)


def grant(fedex, token="tok-1", **rest):
    return fedex.post(
        f"{BASE}/oauth/token", json={"access_token": token, "token_type": "bearer", "expires_in": 3599, "scope": "CXS"} | rest
    )


def failure(*codes_: str, message: str = "words") -> dict:
    return {"transactionId": "tx-9", "errors": [{"code": code, "message": message} for code in codes_]}


# -- login -----------------------------------------------------------------------------------------------


def test_the_login_is_a_form_without_basic_auth(fedex):
    login = grant(fedex)
    FedexClient(context()).login()
    sent = login.calls[0].request
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in sent.headers
    form = parse_qs(sent.body if isinstance(sent.body, str) else sent.body.decode())
    assert form == {"grant_type": ["client_credentials"], "client_id": ["key-1"], "client_secret": ["hush-hush"]}


def test_one_login_serves_many_calls_and_takes_from_the_host_s_limit(fedex):
    login = grant(fedex)
    fedex.put(f"{BASE}/ship/v1/shipments/cancel", json={})
    made = context()
    client = FedexClient(made)
    client.login()
    client.cancel_shipment({})
    FedexClient(made).cancel_shipment({})
    assert login.call_count == 1
    assert made.throttle.taken == {"token": 1, "calls": 2}


def test_the_token_lives_as_long_as_fedex_says(fedex):
    login = grant(fedex, expires_in=5)
    clock = [NOW]
    made = context_for(VENDOR, {"base": BASE}, CREDENTIALS, now=lambda: clock[0])
    client = FedexClient(made)
    client.login()
    clock[0] += dt.timedelta(seconds=3)
    client.login()
    assert login.call_count == 1
    clock[0] += dt.timedelta(seconds=2)
    client.login()
    assert login.call_count == 2


def test_a_penalty_rests_the_whole_host_for_ten_minutes(fedex):
    login = fedex.post(f"{BASE}/oauth/token", status=403, body="<html>Access denied</html>")
    made = context()
    for _ in range(2):
        with pytest.raises(RateLimited) as caught:
            FedexClient(made).login()
        assert caught.value.retry_after_s >= 600
    assert caught.value.code == "token_penalty"
    assert login.call_count == 1
    assert made.throttle.rests == [("token", 600.0)]


def test_a_refused_login_is_a_matter_of_configuration_and_not_tried_again_at_once(fedex):
    login = fedex.post(f"{BASE}/oauth/token", status=401, json=failure("NOT.AUTHORIZED.ERROR"))
    made = context()
    for _ in range(2):
        with pytest.raises(ConfigurationError) as caught:
            FedexClient(made).login()
    assert (caught.value.code, caught.value.scope, caught.value.vendor_code) == (
        "token_refused",
        "connection",
        "NOT.AUTHORIZED.ERROR",
    )
    assert login.call_count == 1
    assert "hush" not in str(caught.value.as_dict())


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, failure("BAD.REQUEST.ERROR"), ConfigurationError, "token_refused"),
        (404, {"error": "x"}, ConfigurationError, "base_url_wrong"),
        (429, failure("TOO.MANY.REQUESTS"), RateLimited, "rate_limited"),
        (500, failure("INTERNAL.SERVER.ERROR"), Unavailable, "token_unavailable"),
        (503, failure("SERVICE.UNAVAILABLE.ERROR"), Unavailable, "token_unavailable"),
        (200, {"access_token": ""}, Unavailable, "unavailable"),
        (200, {"access_token": "t"}, Unavailable, "unavailable"),
    ],
)
def test_what_a_login_can_answer(fedex, status, body, error, code):
    login = fedex.post(f"{BASE}/oauth/token", status=status, json=body)
    with pytest.raises(error) as caught:
        FedexClient(context()).login()
    assert caught.value.code == code
    # Never repeated by itself: each call counts towards the penalty.
    assert login.call_count == 1


@pytest.mark.parametrize(
    "body",
    [
        failure("NOT.AUTHORIZED.ERROR"),
        {"error": "invalid_request", "error_description": "CXS JWT is expired"},
        {"error_description": "Invalid CXS JWT"},
    ],
)
def test_an_expired_token_is_renewed_once_also_for_a_purchase(fedex, body):
    login = grant(fedex)
    grant(fedex, "tok-2")
    ship = fedex.post(f"{BASE}/ship/v1/shipments", status=401, json=body)
    fedex.post(f"{BASE}/ship/v1/shipments", json={"output": {}})
    answer = FedexClient(context()).create_shipment({}, SendTicket("MLX", 1, 20))
    assert answer.status == 200
    assert login.call_count == 1 and ship.call_count == 1
    assert [c.request.headers["Authorization"] for c in fedex.calls if "ship" in c.request.url] == [
        "Bearer tok-1",
        "Bearer tok-2",
    ]


@pytest.mark.parametrize(
    "body",
    [
        failure("NOT.AUTHORIZED.ERROR"),
        {"error": "invalid_request", "error_description": "x"},
        {"error_description": "Invalid CXS JWT"},
    ],
)
def test_a_token_refused_twice_ends_there(fedex, body):
    grant(fedex)
    ship = fedex.post(f"{BASE}/ship/v1/shipments", status=401, json=body)
    client = FedexClient(context())
    answer = client.create_shipment({}, SendTicket("MLX", 1, 20))
    error = client.problem(answer, "create shipment", "Ship", create=True)
    assert isinstance(error, ConfigurationError) and error.code == "token_refused"
    assert ship.call_count == 2


def test_track_has_its_own_login_where_given(fedex):
    login = grant(fedex)
    track = fedex.post(f"{BASE}/track/v1/referencenumbers", json={})
    made = context(**TRACK)
    FedexClient(made).track_reference({})
    assert "client_id=key-2" in str(login.calls[0].request.body)
    assert track.call_count == 1
    assert made.throttle.taken == {"token": 1, "calls": 1, "track": 1}
    assert list(made.tokens) == [(BASE, "key-2", "hush-track")]
    FedexClient(made).login()
    assert "client_id=key-1" in str(login.calls[1].request.body)


# -- requests --------------------------------------------------------------------------------------------


def test_a_purchase_carries_our_reference_and_locale_and_is_never_repeated(fedex):
    grant(fedex)
    ship = fedex.post(f"{BASE}/ship/v1/shipments", status=503, json=failure("SERVICE.UNAVAILABLE.ERROR"))
    FedexClient(context()).create_shipment({"a": 1}, SendTicket("MLABC", 1, 20))
    assert ship.call_count == 1
    sent = ship.calls[0].request
    assert sent.headers["x-customer-transaction-id"] == "MLABC"
    assert sent.headers["x-locale"] == "en_US"
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body) == {"a": 1}


def test_a_cancel_is_repeated_after_an_outage(fedex):
    grant(fedex)
    gone = fedex.put(f"{BASE}/ship/v1/shipments/cancel", status=503)
    fedex.put(f"{BASE}/ship/v1/shipments/cancel", json={"output": {"cancelledShipment": True}})
    assert FedexClient(context()).cancel_shipment({}).status == 200
    assert gone.call_count == 1


def test_a_packed_answer_is_unpacked(fedex):
    grant(fedex)
    packed = gzip.compress(json.dumps({"output": {"x": 1}}).encode())
    fedex.post(
        f"{BASE}/rate/v1/rates/quotes", body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"}
    )
    assert FedexClient(context()).quote({}).json() == {"output": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "headers", "low", "high", "rested"),
    [
        ("We have received too many requests in a short duration", {}, 10, 15, "calls"),
        ("", {}, 10, 15, "calls"),
        ("Per project daily quota exceeded, try after 12:00 AM GMT", {}, 7200, 7261, "track"),
        ("Rate limit threshold exceeded", {"Retry-After": "33"}, 33, 34, "calls"),
    ],
)
def test_too_many_requests_rest_the_limit_that_was_hit(fedex, text, headers, low, high, rested):
    grant(fedex)
    body = failure("TOO.MANY.REQUESTS", message=text)
    fedex.post(f"{BASE}/track/v1/trackingnumbers", status=429, json=body, headers=headers)
    made = context()
    client = FedexClient(made)
    error = client.problem(client.track_numbers({}), "track numbers", "Track")
    assert isinstance(error, RateLimited)
    assert low <= error.retry_after_s <= high
    name, seconds = made.throttle.rests[-1]
    assert name == rested and low <= seconds <= high


def test_a_daily_quota_ends_at_midnight_utc():
    late = dt.datetime(2026, 3, 2, 23, 59, tzinfo=dt.UTC)
    assert 60 < wait_s("Daily transaction quota exceeded", 0, late) < 121


# -- refusals ----------------------------------------------------------------------------------------------


def judge(status, body, *, create=False):
    text = body if isinstance(body, str) else json.dumps(body)
    return problem(status, text, "create shipment" if create else "something", "Ship", create=create)


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, failure("COUNTRY.POSTALCODE.INVALID"), Rejected, "address_postal_code"),
        (422, failure("MAXIMUM.WEIGHT.EXCEEDED"), Rejected, "weight_refused"),
        (400, failure("SERVICETYPE.NOT.ALLOWED"), Rejected, "service_not_available"),
        (400, failure("NEVER.HEARD.OF"), Rejected, "refused"),
        (422, failure("NEVER.HEARD.OF"), Rejected, "refused"),
        (400, "<html>Bad Request</html>", Rejected, "refused"),
        (400, failure("ACCOUNT.NUMBER.INVALID"), ConfigurationError, "account_refused"),
        (401, failure("NOT.AUTHORIZED.ERROR"), ConfigurationError, "token_refused"),
        (403, failure("FORBIDDEN.ERROR"), ConfigurationError, "permission_missing"),
        (403, "<html>denied</html>", ConfigurationError, "permission_missing"),
        (403, failure("CUSTOMER.USAGE.LOCKED"), ConfigurationError, "account_locked"),
        (404, {"error": "NOT.FOUND.ERROR", "error_detail": "no such path"}, ConfigurationError, "endpoint_missing"),
        (415, "", ConfigurationError, "endpoint_missing"),
        (429, failure("TOO.MANY.REQUESTS"), RateLimited, "rate_limited"),
        (200, failure("COUNTRY.POSTALCODE.INVALID"), Rejected, "address_postal_code"),
        (400, failure("SYSTEM.UNEXPECTED.ERROR"), OutcomeUnknown, "outcome_unknown"),
        (400, failure("SYSTEM.UNAVAILABLE"), OutcomeUnknown, "outcome_unknown"),
        (400, failure("CITY.REQUIRED", "SYSTEM.UNEXPECTED.ERROR"), OutcomeUnknown, "outcome_unknown"),
        (422, failure("INTERNAL.SERVER.ERROR"), OutcomeUnknown, "outcome_unknown"),
        (500, failure("CITY.REQUIRED"), OutcomeUnknown, "outcome_unknown"),
        (500, failure("INTERNAL.SERVER.ERROR"), OutcomeUnknown, "outcome_unknown"),
        (503, "<html>Gateway</html>", OutcomeUnknown, "outcome_unknown"),
        (409, failure("NEVER.HEARD.OF"), OutcomeUnknown, "outcome_unknown"),
        (200, "", OutcomeUnknown, "outcome_unknown"),
        (200, '{"output": {"transac', OutcomeUnknown, "outcome_unknown"),
        (200, {"output": {}}, OutcomeUnknown, "outcome_unknown"),
        (200, failure("NEVER.HEARD.OF"), OutcomeUnknown, "outcome_unknown"),
        (None, failure("COUNTRY.POSTALCODE.INVALID"), Rejected, "address_postal_code"),
        (None, failure("FORBIDDEN.ERROR"), ConfigurationError, "permission_missing"),
        (None, failure("NEVER.HEARD.OF"), OutcomeUnknown, "outcome_unknown"),
        (None, "<html>", OutcomeUnknown, "outcome_unknown"),
    ],
)
def test_only_proven_refusals_of_a_purchase_are_refusals(status, body, error, code):
    made = judge(status, body, create=True)
    assert type(made) is error
    assert made.code == code


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, failure("SYSTEM.UNEXPECTED.ERROR"), Unavailable, "fedex_fault"),
        (503, "<html>Gateway</html>", Unavailable, "unavailable"),
        (200, "", Unavailable, "unavailable"),
        (200, failure("NEVER.HEARD.OF"), Rejected, "refused"),
        (400, failure("TRACKINGIDS.TRACKINGNUMBER.CLOSED"), Rejected, "void_too_late"),
    ],
)
def test_other_calls_may_be_tried_again(status, body, error, code):
    made = judge(status, body)
    assert type(made) is error
    assert made.code == code


def test_fedex_s_own_words_are_kept():
    error = judge(400, failure("NEVER.HEARD.OF", "CITY.REQUIRED", message="Please mend."), create=True)
    assert error.message == "FedEx refuses: NEVER.HEARD.OF: Please mend; CITY.REQUIRED: Please mend."
    assert (error.vendor_code, error.request_id, error.status, error.field) == ("NEVER.HEARD.OF", "tx-9", 400, "city")
    assert error.code == "address_city"
    page = judge(503, "<html><body>Gateway <b>says</b> no</body></html>")
    assert page.vendor_text == "Gateway says no"


def test_a_useless_message_still_shows_its_code_and_parameters():
    body = {"errors": [{"code": "A.B", "parameterList": [{"key": "field", "value": "city"}]}]}
    assert judge(400, body).message == "FedEx refuses: A.B (field=city)."


def test_a_missing_permission_names_the_api():
    made = problem(403, json.dumps(failure("FORBIDDEN.ERROR")), "x", "Track")
    assert "Track API" in made.message and "Track API" in made.remedy


# -- tables and manifest -----------------------------------------------------------------------------------


def test_every_listed_code_has_advice():
    assert all(m.code and m.advice for m in codes.CATALOGUE.values())


def test_currencies_map_both_ways():
    assert codes.iso_currency("ukl") == "GBP" and codes.iso_currency("USD") == "USD"
    assert codes.fedex_currency("GBP") == "UKL" and codes.fedex_currency("EUR") == "EUR"
    assert all(codes.iso_currency(codes.fedex_currency(iso)) == iso for iso in codes.CURRENCIES.values())


def test_the_manifest_keeps_to_the_interface():
    assert [c.key for c in VENDOR.credentials] == [
        "client_id",
        "client_secret",
        "account_number",
        "track_client_id",
        "track_client_secret",
        "webhook_secret",
    ]
    assert VENDOR.secret_keys == {"client_secret", "track_client_secret", "webhook_secret"}
    assert {(x.name, x.scope, x.calls, x.per_s) for x in VENDOR.limits} == {
        ("token", "host", 1, 5),
        ("calls", "credential", 1400, 10),
        ("track", "credential", 100_000, 86_400),
        ("address", "credential", 100_000, 86_400),
    }


def test_settings_are_checked():
    assert check_settings({"locale": "en_US", "max_parallel": 4}) == []
    assert [e.path for e in check_settings({"locale": "english", "colour": "red"})] == ["colour", "locale"]

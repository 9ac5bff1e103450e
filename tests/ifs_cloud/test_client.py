"""The client: what it sends, what it makes of answers and errors (sheet 2 to 6)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import requests
import responses

from integrations.base.errors import (
    ConfigurationError,
    Conflict,
    IntegrationError,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.ifs_cloud import client as client_module
from integrations.ifs_cloud.client import IfsClient
from integrations.ifs_cloud.odata import EnumMember, NotMetadata, key_predicate, literal, parse_metadata, query_string
from integrations.ifs_cloud.profile import profile_of
from tests.ifs_cloud.support import ETAG, ETAG_2, ROOT, SHIPMENTS, TOKEN_URL, context, error, give_token, path_of, query_of, rows


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        yield mocked


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "pause", lambda number: None)
    monkeypatch.setattr("integrations.base.http.BACKOFF_S", 0.0)


def made(settings: dict[str, Any] | None = None, **rest: Any) -> IfsClient:
    ctx = context(settings, **rest)
    return IfsClient(ctx, profile_of(ctx.settings))


def listed(client: IfsClient, **rest: Any) -> list[dict[str, Any]]:
    pages = client.pages(client.profile.shipment.header, operation="list", orderby=["ShipmentId"], **rest)
    return [row for page in pages for row in page]


def api_calls(mock: responses.RequestsMock) -> list[Any]:
    return [call for call in mock.calls if call.request.url != TOKEN_URL]


# -- words of OData ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("C100", "'C100'"),
        ("O'Neil", "'O''Neil'"),
        (19, "19"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (None, "null"),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (dt.datetime(2026, 3, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))), "2026-03-01T01:00:00Z"),
        (EnumMember("IfsApp.ShipmentHandling", "ShipmentState", "Completed"), "IfsApp.ShipmentHandling.ShipmentState'Completed'"),
    ],
)
def test_literals_are_written_as_ifs_reads_them(value: Any, written: str) -> None:
    assert literal(value) == written


def test_an_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError):
        literal(dt.datetime(2026, 3, 1))


def test_keys_name_every_part_and_are_encoded() -> None:
    assert key_predicate({"ShipmentId": 19}) == "(ShipmentId=19)"
    assert key_predicate({"OrderNo": "O'N 1/2", "LineItemNo": 0}) == "(OrderNo='O''N%201%2F2',LineItemNo=0)"


def test_query_strings_use_no_plus_for_a_space() -> None:
    assert query_string({"$top": 5, "$select": None, "$filter": "A eq 'x+y & z'"}) == "?$top=5&$filter=A%20eq%20'x%2By%20%26%20z'"


# -- token ---------------------------------------------------------------------------------------------------


def test_the_token_request_carries_credentials_and_scope_in_the_form(mock: responses.RequestsMock) -> None:
    give_token(mock)
    token = made().fetch_token()
    assert (token.value, token.expires_in_s) == ("eyJ-token-one", 180.0)
    body = mock.calls[0].request.body
    text = body.decode() if isinstance(body, bytes) else str(body)
    assert dict(pair.split("=") for pair in text.split("&")) == {
        "grant_type": "client_credentials",
        "client_id": "MLC",
        "client_secret": "s3cret-value",
        "scope": "openid+microprofile-jwt",
    }
    assert mock.calls[0].request.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_an_empty_scope_is_left_out(mock: responses.RequestsMock) -> None:
    give_token(mock)
    made({"scope": ""}).fetch_token()
    assert b"scope" not in (mock.calls[0].request.body or b"")


@pytest.mark.parametrize(("told", "seconds"), [(3600, 3600.0), ("300", 300.0), (None, 60.0), ("soon", 60.0), (0, 60.0)])
def test_the_tokens_life_is_what_ifs_says(mock: responses.RequestsMock, told: Any, seconds: float) -> None:
    give_token(mock, expires_in=told)
    assert made().fetch_token().expires_in_s == seconds


@pytest.mark.parametrize(
    ("status", "body", "vendor_code", "says"),
    [
        (401, {"error": "invalid_client", "error_description": "Invalid client"}, "invalid_client", "client secret"),
        (400, {"error": "unauthorized_client"}, "unauthorized_client", "client secret"),
        (400, {"error": "invalid_scope"}, "invalid_scope", "scope"),
        (400, {"error": "unsupported_grant_type"}, "unsupported_grant_type", "client credentials"),
        (404, {"error": "Realm does not exist"}, "Realm does not exist", 'realm "acme1"'),
        (403, "<html>no</html>", "", "client secret"),
    ],
)
def test_a_refused_login_stops_the_connection(
    mock: responses.RequestsMock, status: int, body: Any, vendor_code: str, says: str
) -> None:
    told = {"body": body} if isinstance(body, str) else {"json": body}
    mock.post(TOKEN_URL, status=status, **told)
    client = made()
    for _ in range(2):  # the second is answered from memory: a wrong secret is not tried again and again
        with pytest.raises(ConfigurationError) as caught:
            listed(client)
        assert (caught.value.code, caught.value.scope, caught.value.vendor_code) == ("token_refused", "connection", vendor_code)
        assert says in caught.value.message
        assert caught.value.remedy
    assert len(mock.calls) == 1


def test_a_login_page_in_place_of_a_token_is_no_token(mock: responses.RequestsMock) -> None:
    mock.post(TOKEN_URL, body="<html>Welcome</html>")
    with pytest.raises(Unavailable) as caught:
        made().fetch_token()
    assert caught.value.code == "unreadable_answer"


def test_a_busy_realm_is_no_wrong_secret(mock: responses.RequestsMock) -> None:
    mock.post(TOKEN_URL, status=503)
    with pytest.raises(Unavailable):
        made().fetch_token()
    mock.replace(responses.POST, TOKEN_URL, status=429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimited) as caught:
        made().fetch_token()
    assert caught.value.retry_after_s == 7.0


def test_a_401_renews_the_token_once(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.post(TOKEN_URL, json={"access_token": "eyJ-token-two", "expires_in": 180})
    mock.get(SHIPMENTS, status=401, body="<html>expired</html>")
    mock.get(SHIPMENTS, json=rows())
    assert listed(made()) == []
    assert [call.request.headers["Authorization"] for call in api_calls(mock)] == ["Bearer eyJ-token-one", "Bearer eyJ-token-two"]


def test_a_second_401_is_a_matter_for_the_operator(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, status=401, body="")
    with pytest.raises(ConfigurationError) as caught:
        listed(made())
    assert caught.value.code == "unauthorized"


# -- lists -----------------------------------------------------------------------------------------------------


def test_a_list_always_asks_for_a_page_size_and_a_fixed_order(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 1}))
    assert listed(made(), where="Contract eq 'S 1'", select=["ShipmentId", "Contract"]) == [{"ShipmentId": 1}]
    call = api_calls(mock)[0]
    assert query_of(call) == {
        "$select": "ShipmentId,Contract",
        "$filter": "Contract eq 'S 1'",
        "$orderby": "ShipmentId",
        "$top": "200",
    }
    assert "Contract%20eq%20'S%201'" in call.request.url


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"gateway": "int"}, "/int/ifsapplications/projection/v1/ShipmentHandling.svc/ShipmentSet"),
        ({"projection_root": "/x/v2"}, "/main/x/v2/ShipmentHandling.svc/ShipmentSet"),
        ({"shipment": {"service": "entity:ShipmentEntity"}}, "/int/ifsapplications/entity/v1/ShipmentEntity.svc/ShipmentSet"),
        ({"shipment": {"root": "entity"}}, "/int/ifsapplications/entity/v1/ShipmentHandling.svc/ShipmentSet"),
    ],
)
def test_paths_follow_the_profile(mock: responses.RequestsMock, settings: dict[str, Any], path: str) -> None:
    give_token(mock)
    mock.get(f"https://acme.ifs.cloud{path}", json=rows())
    listed(made(settings))
    assert path_of(api_calls(mock)[0]) == path


def test_a_full_page_without_next_link_is_followed_by_skip(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 1}, {"ShipmentId": 2}))
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 3}, {"ShipmentId": 4}))
    mock.get(SHIPMENTS, json=rows())
    assert [row["ShipmentId"] for row in listed(made({"page_size": 2}))] == [1, 2, 3, 4]
    assert [query_of(call).get("$skip") for call in api_calls(mock)] == [None, "2", "4"]


def test_next_links_within_one_page_size_do_not_hide_what_comes_after_it(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 1}, {"ShipmentId": 2}, **{"@odata.nextLink": f"{SHIPMENTS}?$skiptoken=1"}))
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 3}))
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 4}))
    assert [row["ShipmentId"] for row in listed(made({"page_size": 3}))] == [1, 2, 3, 4]
    assert query_of(api_calls(mock)[-1])["$skip"] == "3"


@pytest.mark.parametrize(
    ("base", "link", "expected"),
    [
        ("https://acme.ifs.cloud", "ShipmentHandling.svc/ShipmentSet?$skiptoken=1", f"{SHIPMENTS}?$skiptoken=1"),
        ("https://acme.ifs.cloud", "ShipmentSet?$skiptoken=1", f"{SHIPMENTS}?$skiptoken=1"),
        ("https://acme.ifs.cloud", f"{SHIPMENTS}?$skiptoken=1", f"{SHIPMENTS}?$skiptoken=1"),
        (
            "https://acme.ifs.cloud/erp",
            "/erp/x/ShipmentSet?$skiptoken=1",
            "https://acme.ifs.cloud/erp/x/ShipmentSet?$skiptoken=1",
        ),
        ("https://acme.ifs.cloud/erp", "/x/ShipmentSet?$skiptoken=1", "https://acme.ifs.cloud/erp/x/ShipmentSet?$skiptoken=1"),
    ],
)
def test_next_links_of_every_form_are_followed(mock: responses.RequestsMock, base: str, link: str, expected: str) -> None:
    mock.post(TOKEN_URL.replace("https://acme.ifs.cloud", base), json={"access_token": "eyJ-token", "expires_in": 180})
    first = SHIPMENTS.replace("https://acme.ifs.cloud", base)
    mock.get(
        first,
        json=rows({"ShipmentId": 1}, **{"@odata.nextLink": link}),
        match=[responses.matchers.query_param_matcher({"$top": "200"}, strict_match=False)],
    )
    mock.get(
        expected.partition("?")[0],
        json=rows({"ShipmentId": 2}),
        match=[responses.matchers.query_param_matcher({"$skiptoken": "1"})],
    )
    assert [row["ShipmentId"] for row in listed(made(base=base))] == [1, 2]


def test_a_next_link_to_another_host_is_not_followed(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 1}, **{"@odata.nextLink": "https://evil.example/x?$skiptoken=1"}))
    with pytest.raises(ConfigurationError) as caught:
        listed(made())
    assert caught.value.code == "foreign_host"
    assert len(api_calls(mock)) == 1


def test_a_page_that_comes_twice_is_an_error_and_not_an_end(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, json=rows({"ShipmentId": 1}))
    with pytest.raises(Unavailable) as caught:
        listed(made({"page_size": 1}))
    assert caught.value.code == "paging_stuck"
    assert len(api_calls(mock)) == 2
    mock.replace(responses.GET, SHIPMENTS, json=rows({"ShipmentId": 1}, **{"@odata.nextLink": f"{SHIPMENTS}?$skiptoken=1"}))
    with pytest.raises(Unavailable):
        listed(made())


def test_a_list_without_end_is_cut_off(mock: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_PAGES", 3)
    give_token(mock)
    for number in range(4):
        mock.get(SHIPMENTS, json=rows({"ShipmentId": number}))
    with pytest.raises(ConfigurationError) as caught:
        listed(made({"page_size": 1}))
    assert caught.value.code == "too_many_pages"


@pytest.mark.parametrize("body", ["<html>login</html>", "", '{"value": 5}', "[]", '{"value": [', "null"])
def test_an_answer_that_is_no_list_is_not_an_empty_list(mock: responses.RequestsMock, body: str) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, body=body)
    with pytest.raises(Unavailable) as caught:
        listed(made())
    assert caught.value.code == "unreadable_answer"


# -- records, versions, writing ----------------------------------------------------------------------------------

RECORD = f"{SHIPMENTS}(ShipmentId=19)"


def get_record(client: IfsClient) -> Any:
    return client.get(client.profile.shipment.header, {"ShipmentId": 19}, operation="get")


def set_a(row: dict[str, Any]) -> dict[str, Any]:
    return {} if row.get("A") == "x" else {"A": "x"}


def change(client: IfsClient, decide: Any) -> Any:
    return client.change(client.profile.shipment.header, {"ShipmentId": 19}, decide, operation="change")


@pytest.mark.parametrize(
    ("body", "headers", "etag"),
    [
        ({"@odata.etag": ETAG, "A": 1}, {"ETag": ETAG_2}, ETAG),
        ({"A": 1}, {"ETag": ETAG_2}, ETAG_2),
        ({"A": 1}, {}, ""),
    ],
)
def test_the_version_stamp_is_taken_from_the_body_then_the_header(
    mock: responses.RequestsMock, body: dict[str, Any], headers: dict[str, str], etag: str
) -> None:
    give_token(mock)
    mock.get(RECORD, json=body, headers=headers)
    assert get_record(made()).etag == etag


def test_a_change_is_one_read_and_one_patch_under_the_version(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG, "A": None})
    mock.patch(RECORD, json={"@odata.etag": ETAG_2, "A": "x"})
    done = change(made(), lambda row: {"A": "x"})
    assert (done.version, done.sent) == (ETAG_2, ("A",))
    read, sent = api_calls(mock)
    assert (read.request.method, sent.request.method) == ("GET", "PATCH")
    assert sent.request.headers["If-Match"] == ETAG
    assert sent.request.headers["Content-Type"] == "application/json"
    assert sent.request.body == b'{"A":"x"}'


def test_after_a_204_the_version_is_read_once(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    mock.get(RECORD, json={"@odata.etag": ETAG_2, "A": "x"})
    mock.patch(RECORD, status=204)
    assert change(made(), set_a).version == ETAG_2
    assert [call.request.method for call in api_calls(mock)] == ["GET", "PATCH", "GET"]


def test_a_gateways_own_200_is_not_taken_for_a_change(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG, "A": None})
    mock.patch(RECORD, body="<html>Please log in</html>")
    with pytest.raises(Unavailable) as caught:
        change(made(), set_a)
    assert caught.value.code == "not_written"


def test_nothing_to_change_sends_nothing(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    done = change(made(), lambda row: {})
    assert (done.version, done.sent) == (ETAG, ())
    assert len(api_calls(mock)) == 1


def test_without_a_version_nothing_is_written(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"A": None})
    with pytest.raises(ConfigurationError) as caught:
        change(made(), lambda row: {"A": "x"})
    assert caught.value.code == "etag_missing"
    assert [call.request.method for call in api_calls(mock)] == ["GET"]


MOVED = [
    (412, ""),
    (428, error("ODP_MISSING_PRECONDITION", "If-Match missing")),
    (409, "<html/>"),
    (500, error("DATABASE_ERROR", "Database error", ("20114", "ORA-20114: Shipment.MODIFIED: changed by another user"))),
    (400, error("DATABASE_ERROR", "Database error", ("20114", "changed by another user"))),
]


@pytest.mark.parametrize(("status", "body"), MOVED)
def test_a_moved_version_is_read_again_and_written_with_the_new_one(mock: responses.RequestsMock, status: int, body: Any) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    mock.get(RECORD, json={"@odata.etag": ETAG_2})
    told = {"body": body} if isinstance(body, str) else {"json": body}
    mock.patch(RECORD, status=status, **told)
    mock.patch(RECORD, json={"@odata.etag": "W/third"})
    assert change(made(), lambda row: {"A": "x"}).version == "W/third"
    patches = [call for call in api_calls(mock) if call.request.method == "PATCH"]
    assert [call.request.headers["If-Match"] for call in patches] == [ETAG, ETAG_2]


@pytest.mark.parametrize(("status", "body"), MOVED)
def test_a_record_that_keeps_moving_is_given_up_after_three_rounds(mock: responses.RequestsMock, status: int, body: Any) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    told = {"body": body} if isinstance(body, str) else {"json": body}
    mock.patch(RECORD, status=status, **told)
    with pytest.raises(Conflict):
        change(made(), lambda row: {"A": "x"})
    assert [call.request.method for call in api_calls(mock)] == ["GET", "PATCH"] * 3


def test_each_round_asks_again_whether_the_change_still_applies(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG, "A": None})
    mock.get(RECORD, json={"@odata.etag": ETAG_2, "A": "x"})
    mock.patch(RECORD, status=412)
    done = change(made(), lambda row: {} if row["A"] == "x" else {"A": "x"})
    assert (done.version, done.sent) == (ETAG_2, ())


def test_the_answer_of_a_patch_that_gets_lost_is_unavailable_and_sent_once(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    mock.patch(RECORD, body=requests.ConnectionError("reset"))
    with pytest.raises(Unavailable):
        change(made(), lambda row: {"A": "x"})
    assert [call.request.method for call in api_calls(mock)] == ["GET", "PATCH"]


def test_a_stale_metadata_cache_means_the_same_request_again_at_once(mock: responses.RequestsMock) -> None:
    give_token(mock)
    stale = error("MI_MODIFIED_ERROR", "Projection was modified")
    mock.get(RECORD, json={"@odata.etag": ETAG})
    mock.patch(RECORD, status=500, json=stale)
    mock.patch(RECORD, status=500, json=stale)
    mock.patch(RECORD, json={"@odata.etag": ETAG_2})
    assert change(made(), lambda row: {"A": "x"}).version == ETAG_2
    patches = [call for call in api_calls(mock) if call.request.method == "PATCH"]
    assert [(call.request.headers["If-Match"], call.request.body) for call in patches] == [(ETAG, b'{"A":"x"}')] * 3


def test_a_metadata_cache_that_stays_stale_is_unavailable(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, status=500, json=error("MI_MODIFIED_ERROR", "Projection was modified"))
    with pytest.raises(Unavailable):
        get_record(made())
    assert len(api_calls(mock)) == 3


@pytest.mark.parametrize("code", ["ODP_MISSING_PRECONDITION", "ODP_PRECONDITION_FAILED"])
def test_a_moved_version_is_told_by_its_code_whatever_the_status(mock: responses.RequestsMock, code: str) -> None:
    give_token(mock)
    mock.get(RECORD, json={"@odata.etag": ETAG})
    mock.patch(RECORD, status=400, json=error(code, "If-Match"))
    mock.patch(RECORD, json={"@odata.etag": ETAG_2})
    assert change(made(), lambda row: {"A": "x"}).version == ETAG_2


# -- errors --------------------------------------------------------------------------------------------------------

UNKNOWN_FIELD = "The property 'Foo', used in a query expression, is not defined in type 'IfsApp.ShipmentHandling.Shipment'."


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (404, error("ITEM_NOT_EXIST", "Not found"), Rejected, "document_gone"),
        (404, "", Rejected, "document_gone"),
        (404, "<html>no route</html>", Unavailable, "unavailable"),
        (404, error("X", "Metadata not found."), ConfigurationError, "unknown_projection"),
        (500, error("DATABASE_ERROR", "x", ("20111", "ORA-20111: Shipment does not exist")), Rejected, "document_gone"),
        (400, error("DATABASE_ERROR", "x", ("X", "ORA-20115: Shipment was removed")), Rejected, "document_gone"),
        (400, error("DATABASE_ERROR", "x", ("20110", "ORA-20110: Shipment.NOTALLOWED: not so")), Rejected, "refused"),
        (500, error("DATABASE_ERROR", "x", ("20124", "ORA-20124: value does not exist")), Rejected, "refused"),
        (500, error("DATABASE_ERROR", "x", ("1", "ORA-00001: unique constraint")), Rejected, "refused"),
        (500, error("DATABASE_ERROR", "x", ("20130", "ORA-20130: not in state Closed")), Rejected, "state_refused"),
        (500, error("DATABASE_ERROR", "x", ("20113", "ORA-20113: locked")), Unavailable, "record_locked"),
        (500, error("DATABASE_ERROR", "x", ("4068", "ORA-04068: package state discarded")), Unavailable, "unavailable"),
        (500, error("DATABASE_ERROR", "x", ("20106", "ORA-20106: no access")), ConfigurationError, "forbidden"),
        (403, error("X", "Forbidden"), ConfigurationError, "forbidden"),
        (403, "", ConfigurationError, "forbidden"),
        (400, error("X", "Malformed Request.", ("Y", UNKNOWN_FIELD)), ConfigurationError, "unknown_property"),
        (400, {"error": {"code": "X", "message": {"lang": "en", "value": "Bad"}}}, Rejected, "refused"),
        (422, {"unexpected": True}, Rejected, "refused"),
        (405, "", ConfigurationError, "not_offered"),
        (501, error("ODP_NOT_IMPLEMENTED", "no"), ConfigurationError, "not_offered"),
        (423, error("X", "locked by virus scan"), RateLimited, "locked"),
        (429, "", RateLimited, "rate_limited"),
        (500, "<html>oops</html>", Unavailable, "unavailable"),
        (500, error("DATABASE_ERROR", "no code"), Unavailable, "unavailable"),
        (503, "<html>maintenance</html>", Unavailable, "unavailable"),
        (504, "", Unavailable, "unavailable"),
        (408, "", Unavailable, "unavailable"),
    ],
)
def test_an_error_on_a_record_becomes_the_class_that_says_what_to_do(
    mock: responses.RequestsMock, status: int, body: Any, kind: type[IntegrationError], code: str
) -> None:
    give_token(mock)
    told = {"body": body} if isinstance(body, str) else {"json": body}
    mock.get(RECORD, status=status, **told)
    with pytest.raises(IntegrationError) as caught:
        get_record(made())
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert (caught.value.status, caught.value.vendor, caught.value.operation) == (status, "ifs_cloud", "get")


@pytest.mark.parametrize(
    ("status", "body", "code", "field"),
    [
        (400, error("X", "Malformed Request.", ("Y", UNKNOWN_FIELD)), "unknown_property", "Foo"),
        (400, error("X", "Incompatible types."), "query_refused", ""),
        (404, error("X", "Metadata not found."), "unknown_projection", "shipment.service"),
        (404, error("ODP_RESOURCE_NOTFOUND", "no such set"), "unknown_set", "shipment.set"),
        (404, "<html>nginx</html>", "unknown_path", ""),
        (403, error("X", "no grant"), "forbidden", ""),
    ],
)
def test_a_refused_query_is_a_matter_of_the_profile(
    mock: responses.RequestsMock, status: int, body: Any, code: str, field: str
) -> None:
    give_token(mock)
    told = {"body": body} if isinstance(body, str) else {"json": body}
    mock.get(SHIPMENTS, status=status, **told)
    with pytest.raises(ConfigurationError) as caught:
        listed(made())
    assert (caught.value.code, caught.value.field, caught.value.scope) == (code, field, "connection")
    assert caught.value.remedy


def test_the_business_text_is_shown_without_its_oracle_prefix(mock: responses.RequestsMock) -> None:
    give_token(mock)
    text = "ORA-20110: Shipment.NOTALLOWED: The quantity is too small."
    mock.get(RECORD, status=400, json=error("DATABASE_ERROR", "Database error", ("20110", text)))
    with pytest.raises(Rejected) as caught:
        get_record(made())
    assert caught.value.message == "IFS refused this: Shipment.NOTALLOWED: The quantity is too small."
    assert (caught.value.vendor_code, caught.value.vendor_text) == ("ORA-20110", text)


def test_the_hint_for_403_names_permission_set_and_companies(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(SHIPMENTS, status=403, json=error("X", "no"))
    with pytest.raises(ConfigurationError) as caught:
        listed(made())
    assert "permission set" in caught.value.remedy and "Allowed Companies" in caught.value.remedy
    assert "shipment.service" in caught.value.message


@pytest.mark.parametrize(("header", "low", "high"), [("12", 12, 12), (None, 1, 60), ("soon", 1, 60)])
def test_how_long_to_wait_after_429(mock: responses.RequestsMock, header: str | None, low: float, high: float) -> None:
    give_token(mock)
    mock.get(RECORD, status=429, headers={"Retry-After": header} if header else {})
    with pytest.raises(RateLimited) as caught:
        get_record(made())
    assert low <= caught.value.retry_after_s <= high


def test_a_locked_record_is_asked_for_again_in_half_a_minute(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(RECORD, status=423)
    with pytest.raises(RateLimited) as caught:
        get_record(made())
    assert caught.value.retry_after_s == 30.0


# -- $metadata -------------------------------------------------------------------------------------------------------

EDMX = b"""<?xml version="1.0" encoding="UTF-8"?>
<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>
<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="IfsApp.ShipmentHandling" Alias="S">
<EnumType Name="ShipmentState"><Member Name="Preliminary" Value="0"/><Member Name="Completed" Value="1"/></EnumType>
<EntityType Name="Base"><Property Name="Objkey" Type="Edm.String"/></EntityType>
<EntityType Name="Shipment" BaseType="S.Base"><Key><PropertyRef Name="ShipmentId"/></Key>
<Property Name="ShipmentId" Type="Edm.Decimal"/><Property Name="Objstate" Type="S.ShipmentState"/>
<NavigationProperty Name="LinesArray" Type="Collection(IfsApp.ShipmentHandling.Line)"/></EntityType>
<ComplexType Name="Structure"><Property Name="Inner" Type="Edm.String"/></ComplexType>
<EntityContainer Name="C"><EntitySet Name="ShipmentSet" EntityType="IfsApp.ShipmentHandling.Shipment"/></EntityContainer>
</Schema></edmx:DataServices></edmx:Edmx>"""


def test_metadata_tells_sets_fields_and_states(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(f"{ROOT}/ShipmentHandling.svc/$metadata", body=EDMX, content_type="application/xml")
    client = made()
    found = client.metadata(client.profile.shipment.header)
    assert found.properties("ShipmentSet") == {
        "Objkey": "Edm.String",
        "ShipmentId": "Edm.Decimal",
        "Objstate": "IfsApp.ShipmentHandling.ShipmentState",
    }
    assert found.enums == {"IfsApp.ShipmentHandling.ShipmentState": ("Preliminary", "Completed")}
    assert api_calls(mock)[0].request.headers["Accept"] == "application/xml"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html><body>login</body></html>",
        b"{}",
        EDMX[:200],
        EDMX.replace(b"?>\n", b'?>\n<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n', 1),
        EDMX.decode().replace("UTF-8", "UTF-16").replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n', 1).encode("utf-16"),
    ],
)
def test_what_is_no_metadata_is_refused(content: bytes) -> None:
    with pytest.raises(NotMetadata):
        parse_metadata(content)


def test_an_unreadable_description_is_told_as_such(mock: responses.RequestsMock) -> None:
    give_token(mock)
    mock.get(f"{ROOT}/ShipmentHandling.svc/$metadata", body="<html/>")
    client = made()
    with pytest.raises(Unavailable) as caught:
        client.metadata(client.profile.shipment.header)
    assert caught.value.code == "unreadable_answer"

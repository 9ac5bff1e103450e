"""The HTTP layer: bodies both ways, and what is recorded of them."""

from __future__ import annotations

import datetime as dt
import gzip
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
import requests
import responses

from integrations.base import http as http_module
from integrations.base.errors import NotSent, OutcomeUnknown, Rejected, Unavailable
from integrations.base.http import Answer, encode_json, encode_params
from tests.base.shop import EASY
from tests.base.wire import Wire, answering, made, refusing_port, ticket

# -- bodies ------------------------------------------------------------------------------------------


def test_gzip_is_read(shop):
    shop.fault("gzip", "echo")
    assert made(shop.url)[0].request("GET", "/echo", **EASY).json()["path"] == "/echo"


def test_a_gzip_bomb_stops_at_the_limit():
    bomb = gzip.compress(b"\0" * 300_000_000, 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)

    def behave(sock, request, number):
        sock.sendall(head + bomb)

    with Wire(behave) as server:
        http, _ = made(server.url, _max_body_bytes=1_000_000)
        tracemalloc.start()
        try:
            with pytest.raises(OutcomeUnknown, match="larger"):
                http.request("POST", "/", **EASY, once=ticket())
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


def test_too_large_an_answer_is_not_fetched_again():
    with Wire(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)) as server:
        http, _ = made(server.url, _max_body_bytes=50_000)
        with pytest.raises(Unavailable):
            http.request("GET", "/", **EASY)
        assert len(server.requests) == 1


def test_numbers_keep_their_digits_both_ways(shop):
    http, _ = made(shop.url)
    sent = {"weight": Decimal("1.10"), "big": Decimal("1E+3"), "long": Decimal("0.1000000000000000055511151231"), "n": "é"}
    body = http.request("POST", "/echo", **EASY, json=sent).json()["body"]
    assert body == '{"weight":1.10,"big":1000,"long":0.1000000000000000055511151231,"n":"é"}'
    assert Answer(200, {}, b'{"a": 0.10}').json() == {"a": Decimal("0.10")}


@pytest.mark.parametrize("value", [float("nan"), Decimal("NaN"), Decimal("Infinity"), "\ud83d"])
def test_what_is_not_json_is_never_sent(shop, value):
    with pytest.raises(Rejected) as caught:
        made(shop.url)[0].request("POST", "/echo", **EASY, json={"a": value}, once=ticket())
    assert caught.value.code == "unwritable_request"
    assert shop.calls == []


def test_a_header_that_cannot_be_written_is_refused(shop):
    for value in ("W/\u20ac", "a\r\nX: y"):
        with pytest.raises(Rejected):
            made(shop.url)[0].request("PATCH", "/echo", **EASY, headers={"If-Match": value})
    assert shop.calls == []


def test_encode_json_leaves_texts_alone():
    assert encode_json({"a": "decimal:1.5", "b": [True, None]}) == b'{"a":"decimal:1.5","b":[true,null]}'
    with pytest.raises(TypeError):
        encode_json({"a": dt.date(2026, 1, 1)})


def test_params_never_use_plus():
    assert encode_params({"$filter": "a eq 'b+c'", "x": None, "y": True}) == "$filter=a%20eq%20%27b%2Bc%27&y=true"
    assert encode_params([("a", 1), ("a", Decimal("2.0"))]) == "a=1&a=2.0"


def test_params_join_a_query_that_is_there(shop):
    assert made(shop.url)[0].request("GET", "/echo?a=1", **EASY, params={"b": "c d"}).json()["path"] == "/echo?a=1&b=c%20d"


def test_forms_and_bytes_are_sent_as_they_are(shop):
    http, _ = made(shop.url)
    form = http.request("POST", "/echo", **EASY, data={"grant_type": "client_credentials", "scope": "a b"}).json()
    assert (form["body"], form["headers"]["content-type"]) == (
        "grant_type=client_credentials&scope=a+b",
        "application/x-www-form-urlencoded",
    )
    raw = http.request("POST", "/echo", **EASY, data=b"abc", headers={"Content-Type": "text/x"}).json()
    assert (raw["body"], raw["headers"]["content-type"]) == ("abc", "text/x")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"NaN", b"[Infinity]", b"\xff\xfe\xfa", b"[" * 200_000])
def test_what_is_not_json_says_so(body):
    with pytest.raises(ValueError):
        Answer(200, {}, body).json()


def test_text_is_utf8_unless_told_otherwise():
    assert Answer(200, {"content-type": "text/plain"}, "é".encode()).text == "é"
    assert Answer(200, {"Content-Type": "text/plain; charset=latin-1"}, "é".encode("latin-1")).text == "é"
    assert Answer(200, {"Content-Type": "text/plain; charset=nonsense"}, b"a").text == "a"
    assert Answer(200, {}, b"\xef\xbb\xbf{}").json() == {}


# -- records -----------------------------------------------------------------------------------------


def test_the_answer_of_a_once_only_send_is_handed_over_with_its_label(shop, recorder):
    http, _ = made(shop.url)
    answer = http.request("POST", "/label", operation="buy", json={"ref": "ML1"}, once=ticket())
    [(told, exchange, raw, status)] = recorder.answers
    assert (told.reference, status, raw, recorder.exchanges) == ("ML1", 201, answer.text, [])
    assert answer.json()["encodedLabel"] in raw
    assert answer.json()["encodedLabel"] not in exchange.response_body
    assert "sha256" in exchange.response_body and "794000000001" in exchange.response_body
    assert (exchange.operation, exchange.method, exchange.status, exchange.correlation_id) == ("buy", "POST", 201, "test")
    assert (exchange.connection, exchange.request_body) == ("test-acme", '{"ref":"ML1"}')
    assert exchange.started_at.tzinfo is dt.UTC and exchange.duration_ms >= 0


def test_secrets_that_come_back_are_masked_by_value_and_by_name(shop, recorder):
    http, _ = made(shop.url)
    http.request("POST", "/echo?session_key=abc1", **EASY, json={"note": "hunter22/secret", "session_key": "xyz"}, once=ticket())
    [(_, exchange, raw, _)] = recorder.answers
    whole = repr(exchange)
    assert "hunter22" not in whole and "hunter22" not in raw and "xyz" not in whole and "abc1" not in whole


def test_errors_do_not_tell_secrets():
    http, _ = made(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(NotSent) as caught:
        http.request("GET", "/x", **EASY, params={"key": "hunter22/secret"})
    assert "hunter22" not in str(caught.value)


def test_without_a_recorder_everything_still_works(shop):
    assert made(shop.url)[0].request("POST", "/label", **EASY, once=ticket()).status == 201


# -- the responses library ---------------------------------------------------------------------------


@responses.activate
def test_responses_can_stand_in_for_a_vendor(recorder):
    responses.add(responses.POST, "https://api.example/ship?x=1", json={"ok": 1.5}, status=201)
    http, _ = made("https://api.example", allow=())
    answer = http.request("POST", "/ship", **EASY, params={"x": 1}, json={}, once=ticket())
    assert (answer.status, answer.json()) == (201, {"ok": Decimal("1.5")})
    assert [status for *_, status in recorder.answers] == [201]


@responses.activate
def test_without_proof_a_once_only_send_is_unknown():
    responses.add(responses.POST, "https://api.example/ship", body=requests.ConnectionError("gone"))
    responses.add(responses.GET, "https://api.example/ship", body=requests.ConnectionError("gone"))
    http, _ = made("https://api.example", allow=())
    with pytest.raises(OutcomeUnknown):
        http.request("POST", "/ship", **EASY, once=ticket())
    with pytest.raises(Unavailable) as caught:
        http.request("GET", "/ship", **EASY)
    assert not isinstance(caught.value, NotSent)


def test_the_layer_imports_no_framework():
    for name in ("http", "auth", "redact", "outbound", "transport", "testing"):
        text = (Path(http_module.__file__).parent / f"{name}.py").read_text()
        assert "django" not in text.lower() and "connector." not in text

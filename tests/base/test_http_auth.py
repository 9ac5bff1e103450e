"""The HTTP layer: tokens and other ways to sign a call."""

from __future__ import annotations

import base64

import pytest
import requests

from integrations.base import http as http_module
from integrations.base.auth import BasicAuth, BearerAuth, HeaderAuth
from integrations.base.context import Token
from integrations.base.errors import NotSent, Unavailable
from integrations.base.testing import MemoryTokenCache
from tests.base.shop import EASY
from tests.base.wire import Wire, answering, made, ticket


def bearer(*tokens: str) -> tuple[BearerAuth, MemoryTokenCache]:
    left = list(tokens)
    cache = MemoryTokenCache()
    return BearerAuth(cache, lambda: Token(left.pop(0), 3600)), cache


@pytest.mark.parametrize("once", [False, True])
def test_a_401_renews_the_token_and_repeats_once(shop, recorder, once):
    auth, cache = bearer("token-1", "token-2")
    http, _ = made(shop.url, auth=auth)
    answer = http.request("POST", "/private", **EASY, once=ticket() if once else None)
    assert answer.status == 200
    assert (cache.dropped, cache.fetches) == (["token-1"], 2)
    assert [e.status for e in recorder.exchanges] == ([401] if once else [401, 200])
    assert [status for *_, status in recorder.answers] == ([200] if once else [])
    assert len(recorder.asked) == (2 if once else 0)


def test_a_second_401_is_the_answer(shop, recorder):
    auth, cache = bearer("wrong-1", "wrong-2", "wrong-3")
    http, _ = made(shop.url, auth=auth)
    assert http.request("POST", "/private", **EASY, once=ticket()).status == 401
    assert shop.counts["POST /private"] == 2
    assert [status for *_, status in recorder.answers] == [401]


def test_tokens_are_masked_wherever_they_come_back(shop, recorder):
    auth, _ = bearer("token-1-very-long", "token-2")
    http, _ = made(shop.url, auth=auth)
    answer = http.request("GET", "/echo", **EASY)
    assert shop.state["got"]["authorization"] == "Bearer token-1-very-long"
    assert answer.json()["headers"]["authorization"] == "Bearer [redacted]", "clients put answers into exceptions"
    assert "token-1-very-long" not in repr(recorder.exchanges)
    assert "[redacted]" in recorder.exchanges[0].response_body


def test_a_token_call_that_fails_says_that_nothing_was_sent(shop):
    def fail():
        raise Unavailable("token service is down")

    http, _ = made(shop.url, auth=BearerAuth(MemoryTokenCache(), fail))
    with pytest.raises(NotSent, match="token service"):
        http.request("POST", "/label", **EASY, once=ticket())
    with pytest.raises(Unavailable):
        http.request("GET", "/echo", **EASY)
    assert shop.calls == []


def test_a_token_call_through_the_layer_is_no_write(shop, monkeypatch, recorder):
    passed = []
    monkeypatch.setattr(http_module, "boundary", passed.append)
    plain, _ = made(shop.url)

    def fetch():
        plain.request("POST", "/echo", operation="log in", data={"client_secret": "hunter22/secret"})
        return Token("token-2", 3600)

    http, _ = made(shop.url, auth=BearerAuth(MemoryTokenCache(), fetch))
    http.request("GET", "/private", **EASY)
    assert passed == []
    assert [e.operation for e in recorder.exchanges] == ["log in", "try"]
    assert "hunter22" not in repr(recorder.exchanges)


def test_a_netrc_of_the_host_changes_nothing(shop, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("default login thief password stolen\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert requests.utils.get_netrc_auth(shop.url) == ("thief", "stolen")
    http, _ = made(shop.url)
    assert "authorization" not in http.request("GET", "/echo", **EASY).json()["headers"]


def test_basic_and_header_auth_sign(shop, recorder):
    made(shop.url, auth=BasicAuth("shop", "gehéim"))[0].request("GET", "/echo", **EASY)
    assert base64.b64decode(shop.state["got"]["authorization"].removeprefix("Basic ")).decode() == "shop:gehéim"
    made(shop.url, auth=HeaderAuth("API-Key", "abc"))[0].request("GET", "/echo", **EASY)
    assert shop.state["got"]["api-key"] == "abc"
    assert recorder.exchanges[1].request_headers["API-Key"] == "[redacted]"


def test_cookies_are_not_kept(shop):
    first = b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=1\r\nContent-Length: 2\r\n\r\n{}"
    with Wire(answering(first)) as server:
        http, _ = made(server.url)
        http.request("GET", "/", **EASY)
        http.request("GET", "/", **EASY)
        assert b"sid" not in server.requests[1]

"""The HTTP layer: what is repeated after which status, and what limits say."""

from __future__ import annotations

import datetime as dt

import pytest
import requests

from integrations.base import http as http_module
from integrations.base.errors import RateLimited
from integrations.base.http import Answer, retry_after_s
from integrations.base.testing import context_for
from tests.base.shop import EASY
from tests.base.wire import made, ticket, vendor


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_trouble_is_repeated_for_safe_calls_only(shop, status):
    shop.fault("status", "echo", times=2, status=status)
    http, _ = made(shop.url)
    assert http.request("GET", "/echo", **EASY).status == 200
    assert len(shop.calls) == 3
    shop.fault("status", "POST /label", status=status)
    assert http.request("POST", "/label", **EASY, once=ticket()).status == status


def test_a_last_503_is_returned_as_it_is(shop):
    shop.fault("html", "echo", times=None)
    assert made(shop.url)[0].request("GET", "/echo", **EASY).status == 503
    assert len(shop.calls) == 3


def test_a_503_that_asks_for_a_long_pause_is_not_repeated(shop, monkeypatch):
    monkeypatch.setattr(http_module.time, "sleep", lambda s: s > 5 and pytest.fail("waited"))
    shop.fault("status", "echo", times=None, status=503, headers={"Retry-After": "120"})
    assert made(shop.url, total_s=300.0)[0].request("GET", "/echo", **EASY).status == 503
    assert len(shop.calls) == 1


def test_a_503_that_asks_for_a_short_pause_gets_it(shop, monkeypatch):
    waited = []
    monkeypatch.setattr(http_module.time, "sleep", waited.append)
    shop.fault("status", "echo", status=503, headers={"Retry-After": "2"})
    assert made(shop.url)[0].request("GET", "/echo", **EASY).status == 200
    assert waited == [2.0]


def test_a_500_is_not_repeated(shop):
    shop.fault("status", "echo", times=None, status=500)
    assert made(shop.url)[0].request("GET", "/echo", **EASY).status == 500
    assert len(shop.calls) == 1


def test_a_429_rests_its_limits_and_is_never_repeated(shop):
    shop.fault("status", "echo", times=None, status=429, headers={"Retry-After": "7"})
    http, context = made(shop.url)
    assert http.request("GET", "/echo", **EASY, limits=("calls", "daily")).status == 429
    assert context.throttle.rests == [("calls", 7.0), ("daily", 7.0)]
    assert len(shop.calls) == 1
    with pytest.raises(RateLimited):
        http.request("GET", "/echo", **EASY)
    assert len(shop.calls) == 1


def test_a_429_without_a_time_leaves_the_pause_to_the_client(shop):
    shop.fault("status", "echo", status=429)
    http, context = made(shop.url)
    assert http.request("GET", "/echo", **EASY).status == 429
    assert context.throttle.rests == []


def test_each_attempt_takes_from_the_limits(shop):
    shop.fault("reset", "echo", times=2)
    http, context = made(shop.url)
    http.request("GET", "/echo", **EASY, limits=("token",))
    assert context.throttle.taken == {"token": 3}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "99999999"}, 86_400),
        ({"Retry-After": "Fri, 20 Nov 2026 10:00:30 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 30),
        ({"Retry-After": "Fri, 20 Nov 2026 09:00:00 GMT", "Date": "Fri, 20 Nov 2026 10:00:00 GMT"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers, seconds):
    assert retry_after_s(Answer(429, headers, b"")) == seconds


def test_a_retry_date_without_date_header_counts_from_now():
    when = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 55 <= retry_after_s(Answer(503, {"Retry-After": when}, b"")) <= 60


def test_a_once_only_send_cannot_be_called_repeat_safe(shop):
    with pytest.raises(ValueError, match="once"):
        made(shop.url)[0].request("POST", "/label", **EASY, once=ticket(), repeat_safe=True)


def test_the_pool_must_be_guarded():
    context = context_for(vendor(), {"base": "https://x"})
    http = context.http("base", None)
    with pytest.raises(TypeError):
        type(http)(
            http.vendor,
            "https://x",
            (),
            None,
            http._timeouts,
            context.throttle,
            http.redactor,
            http._policy,
            pool=requests.Session(),
        )

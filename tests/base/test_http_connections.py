"""The HTTP layer: before the first byte, and how connections are shared."""

from __future__ import annotations

import threading
import time

import pytest

from integrations.base import http as http_module
from integrations.base import transport
from integrations.base.errors import NotSent
from tests.base.shop import EASY
from tests.base.wire import OK, Wire, answering, certificate, made, reset, ticket

# -- before the first byte ---------------------------------------------------------------------------


def test_not_one_byte_leaves_when_the_recorder_says_no(recorder):
    def no(_):
        raise NotSent("the lease is gone", code="too_late")

    recorder.before_send = no
    with Wire(answering(OK)) as server:
        http, _ = made(server.url)
        with pytest.raises(NotSent) as caught:
            http.request("POST", "/", **EASY, json={"a": 1}, once=ticket())
        time.sleep(0.1)
        assert caught.value.code == "too_late"
        assert (server.connections, bytes(server.received)) == (1, b"")
        assert recorder.answers == [] and "lease" in recorder.exchanges[0].error


def test_an_error_of_the_recorder_itself_also_keeps_the_request_here(recorder):
    def broken(_):
        raise LookupError("database is gone")

    recorder.before_send = broken
    with Wire(answering(OK)) as server:
        http, _ = made(server.url)
        with pytest.raises(LookupError):
            http.request("POST", "/", **EASY, once=ticket())
        time.sleep(0.1)
        assert bytes(server.received) == b""


def test_a_deadline_that_passes_between_connect_and_first_byte_is_not_sent(recorder):
    recorder.before_send = lambda _: time.sleep(0.5)
    with Wire(answering(OK)) as server:
        http, _ = made(server.url)
        with pytest.raises(NotSent) as caught:
            http.request("POST", "/", **EASY, once=ticket(0.3))
        time.sleep(0.1)
        assert caught.value.code == "deadline"
        assert (server.connections, bytes(server.received)) == (1, b"")


def test_the_recorder_is_asked_after_tls(tmp_path, monkeypatch, recorder):
    trusted, context = certificate(tmp_path, "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    seen = []
    original = transport._GuardedTls.connect
    monkeypatch.setattr(transport._GuardedTls, "connect", lambda self: (original(self), seen.append(self.sock.version()))[0])
    recorder.before_send = lambda _: seen.append("asked")
    with Wire(answering(OK), context) as server:
        made(server.url)[0].request("POST", "/", **EASY, once=ticket())
    assert seen == ["TLSv1.3", "asked"]


def test_a_drill_passes_its_points_in_order(shop, recorder, monkeypatch):
    passed = []
    monkeypatch.setattr(http_module, "boundary", passed.append)
    recorder.before_send = lambda _: passed.append("may_send")
    monkeypatch.setattr(recorder, "answer_received", lambda *_: passed.append("stored"))
    http, _ = made(shop.url)
    http.request("POST", "/label", **EASY, once=ticket())
    assert passed == ["may_send", "request_written", "answer_received", "stored"]
    passed.clear()
    http.request("PATCH", "/echo", **EASY, json={})
    http.request("GET", "/echo", **EASY)
    http.request("POST", "/echo", operation="look up", json={}, repeat_safe=True)
    http.request("POST", "/echo", operation="token", data={"a": "b"})
    assert passed == ["write_sent"]


# -- connections -------------------------------------------------------------------------------------


def test_reads_share_a_connection_and_a_once_only_send_gets_its_own():
    with Wire(answering(OK)) as server:
        http, _ = made(server.url)
        http.request("GET", "/", **EASY)
        http.request("GET", "/", **EASY)
        assert server.connections == 1
        http.request("POST", "/", **EASY, once=ticket())
        assert server.connections == 2


def test_a_connection_that_idled_is_not_used_again(monkeypatch):
    with Wire(answering(OK)) as server:
        http, _ = made(server.url)
        http.request("PATCH", "/", **EASY)
        monkeypatch.setattr(transport, "IDLE_LIMIT_S", 0.05)
        time.sleep(0.1)
        http.request("PATCH", "/", **EASY)
        assert server.connections == 2


def test_a_connection_closed_without_notice_does_no_harm(shop):
    shop.fault("close", "GET /echo", times=None)
    http, _ = made(shop.url)
    for _ in range(3):
        assert http.request("PATCH", "/echo", **EASY).status == 200
        assert http.request("GET", "/echo", **EASY).status == 200
        time.sleep(0.05)


def test_a_stale_connection_that_looks_alive_is_survived_by_a_safe_call():
    def once_each(sock, request, number):
        if number == 1 and server.requests.count(request) > 1:
            reset(sock)
            return False
        sock.sendall(OK)
        return True

    with Wire(once_each) as server:
        http, _ = made(server.url)
        assert http.request("GET", "/", **EASY).status == 200
        assert http.request("GET", "/", **EASY).status == 200
        assert (server.connections, len(server.requests)) == (2, 3)


def test_many_threads_share_one_layer(shop):
    http, _ = made(shop.url)
    seen = []

    def work(n):
        for i in range(10):
            seen.append(
                http.request("POST", "/echo", **EASY, json={"n": n, "i": i}, once=ticket() if i % 2 else None).json()["body"]
            )

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(f'{{"n":{n},"i":{i}}}' for n in range(8) for i in range(10))

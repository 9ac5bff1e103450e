"""The HTTP layer: deadlines, and what is proven or not when no answer comes."""

from __future__ import annotations

import socket
import time

import pytest

from integrations.base import transport
from integrations.base.errors import NotSent, OutcomeUnknown, Unavailable
from tests.base.shop import EASY
from tests.base.wire import OK, Wire, answering, certificate, made, refusing_port, ticket

# -- deadlines ---------------------------------------------------------------------------------------


def dripping(head: bytes, rest: bytes):
    def behave(sock, request, number):
        sock.sendall(head)
        for i in range(len(rest)):
            sock.sendall(rest[i : i + 1])
            time.sleep(0.1)

    return behave


@pytest.mark.parametrize(
    ("head", "rest"),
    [(b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"z" * 200), (b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", b"z" * 200)],
    ids=["headers", "body"],
)
@pytest.mark.parametrize("once", [False, True])
def test_a_dripping_answer_ends_at_the_total_deadline(head, rest, once):
    with Wire(dripping(head, rest)) as server:
        http, _ = made(server.url, total_s=0.8)
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown if once else Unavailable):
            http.request("POST" if once else "GET", "/", **EASY, once=ticket(0.8) if once else None)
        assert 0.7 < time.monotonic() - begun < 4
        assert len(server.requests) == 1


def test_the_simulators_dripping_body_ends_too(shop):
    shop.fault("drip", "GET /echo", seconds=0.2, times=None)
    http, _ = made(shop.url, total_s=0.6)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        http.request("GET", "/echo", **EASY)
    assert time.monotonic() - begun < 4


def test_a_server_that_does_not_read_cannot_hold_an_upload_past_the_deadline():
    with Wire(answering(OK)) as server:
        server._read = lambda sock: server.over.wait(20) and b""
        http, _ = made(server.url, total_s=1.5)
        begun = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            http.request("POST", "/", **EASY, data=b"x" * 30_000_000, once=ticket(1.5))
        assert time.monotonic() - begun < 12


def test_a_hanging_tls_handshake_is_not_sent():
    with Wire(lambda *_: None) as server:
        http, _ = made(server.url.replace("http:", "https:"), total_s=0.5)
        begun = time.monotonic()
        with pytest.raises(NotSent) as caught:
            http.request("POST", "/", **EASY, once=ticket(0.5))
        assert time.monotonic() - begun < 4
        assert caught.value.code == "deadline"


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has this clock")
def test_the_clock_runs_on_while_the_machine_sleeps():
    assert abs(transport.clock() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


# -- what is proven, what is not ---------------------------------------------------------------------


def test_a_lost_answer_is_unknown_for_a_once_only_send_and_not_repeated(shop, recorder):
    shop.fault("lost_answer", "POST /label", times=None)
    http, _ = made(shop.url)
    with pytest.raises(OutcomeUnknown) as caught:
        http.request("POST", "/label", operation="buy", json={}, once=ticket())
    assert shop.counts["POST /label"] == 1
    assert (caught.value.vendor, caught.value.operation) == ("acme", "buy")
    assert recorder.answers == [] and "OutcomeUnknown" in recorder.exchanges[0].error


def test_a_once_only_get_is_not_repeated_either(shop):
    shop.fault("lost_answer", "GET /echo", times=None)
    with pytest.raises(OutcomeUnknown):
        made(shop.url)[0].request("GET", "/echo", **EASY, once=ticket())
    assert shop.counts["GET /echo"] == 1


def test_an_interim_answer_is_no_answer():
    with Wire(answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")) as server:
        with pytest.raises(OutcomeUnknown) as caught:
            made(server.url)[0].request("POST", "/", **EASY, once=ticket())
        assert caught.value.status == 103


def test_a_lost_answer_is_repeated_for_a_safe_call(shop, recorder):
    shop.fault("lost_answer", "GET /echo", times=2)
    http, _ = made(shop.url)
    assert http.request("GET", "/echo", **EASY).status == 200
    assert shop.counts["GET /echo"] == 3
    assert [bool(e.error) for e in recorder.exchanges] == [True, True, False]


def test_a_safe_call_is_given_up_after_two_repeats(shop):
    shop.fault("reset", "GET /echo", times=None)
    http, _ = made(shop.url)
    with pytest.raises(Unavailable):
        http.request("GET", "/echo", **EASY)
    assert len(shop.calls) == 3


def test_a_write_without_ticket_is_unavailable_and_left_to_the_caller(shop):
    shop.fault("lost_answer", "PATCH /echo", times=None)
    http, _ = made(shop.url)
    with pytest.raises(Unavailable):
        http.request("PATCH", "/echo", **EASY, json={})
    assert shop.counts["PATCH /echo"] == 1


def test_a_post_that_says_so_is_repeated(shop):
    shop.fault("lost_answer", "POST /echo", times=1)
    http, _ = made(shop.url)
    assert http.request("POST", "/echo", **EASY, json={}, repeat_safe=True).status == 200


@pytest.mark.parametrize(("once", "expected"), [(True, OutcomeUnknown), (False, Unavailable)])
def test_a_truncated_body_is_no_answer(shop, once, expected):
    shop.fault("truncate", "POST /label", times=None)
    http, _ = made(shop.url)
    with pytest.raises(expected) as caught:
        http.request("POST", "/label", **EASY, once=ticket() if once else None)
    assert caught.value.status == 201
    assert shop.counts["POST /label"] == 1


def test_garbage_instead_of_gzip_is_no_answer():
    broken = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!"
    with Wire(answering(broken)) as server:
        http, _ = made(server.url)
        with pytest.raises(OutcomeUnknown):
            http.request("POST", "/", **EASY, once=ticket())


def test_a_coding_that_was_not_asked_for_is_no_answer():
    with Wire(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}")) as server:
        http, _ = made(server.url)
        with pytest.raises(Unavailable, match="br"):
            http.request("GET", "/", **EASY)


def test_no_answer_but_a_closed_connection_is_unknown():
    with Wire(lambda *_: False) as server:
        http, _ = made(server.url)
        with pytest.raises(OutcomeUnknown):
            http.request("POST", "/", **EASY, once=ticket())


@pytest.mark.parametrize("once", [False, True])
def test_a_refused_port_is_not_sent(once, recorder):
    http, _ = made(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(NotSent) as caught:
        http.request("POST" if once else "GET", "/", **EASY, once=ticket() if once else None)
    assert caught.value.code == "connect" and "refused" in caught.value.message
    assert len(recorder.exchanges) == (1 if once else 3)
    assert recorder.asked == []


@pytest.mark.parametrize("once", [False, True])
def test_an_unknown_name_is_not_sent(once, recorder, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    http, _ = made("https://erp.example")
    with pytest.raises(NotSent) as caught:
        http.request("POST" if once else "GET", "/", **EASY, once=ticket() if once else None)
    assert caught.value.code == "dns"
    assert len(recorder.exchanges) == (1 if once else 3)


def test_a_certificate_nobody_trusts_is_not_sent(tmp_path, recorder):
    _, context = certificate(tmp_path, "localhost")
    with Wire(answering(OK), context) as server:
        http, _ = made(server.url)
        with pytest.raises(NotSent) as caught:
            http.request("POST", "/", **EASY, once=ticket())
        assert caught.value.code == "tls" and "certificate" in caught.value.message.lower()
        assert server.requests == [] and recorder.asked == []


def test_a_trusted_certificate_of_another_host_is_not_sent(tmp_path, monkeypatch):
    trusted, context = certificate(tmp_path, "other.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    with Wire(answering(OK), context) as server:
        http, _ = made(server.url)
        with pytest.raises(NotSent) as caught:
            http.request("POST", "/", **EASY, once=ticket())
        assert caught.value.code == "tls"
        assert server.requests == []


def test_a_trusted_certificate_lets_the_request_through(tmp_path, monkeypatch, recorder):
    trusted, context = certificate(tmp_path, "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    with Wire(answering(OK), context) as server:
        http, _ = made(server.url)
        assert http.request("POST", "/", **EASY, once=ticket()).json() == {}
        assert http.request("GET", "/", **EASY).json() == {}
        assert server.connections == 1

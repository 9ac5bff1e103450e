"""What the HTTP layer promises, over real sockets: proofs, deadlines, repeats, tokens, records."""

import base64
import datetime as dt
import gzip
import socket
import threading
import time
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
import requests
import responses

from integrations.base import http as http_module
from integrations.base import transport
from integrations.base.auth import BasicAuth, BearerAuth, HeaderAuth
from integrations.base.context import Token
from integrations.base.errors import ConfigurationError, NotSent, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.base.http import Answer, encode_json, encode_params, recording, retry_after_s
from integrations.base.simulator import SimResponse, Simulator, SimulatorServer
from integrations.base.testing import MemoryRecorder, MemoryTokenCache, context_for
from tests.base.wire import OK, Wire, answering, certificate, made, reset, ticket, vendor

EASY = {"operation": "try"}


class Shop(Simulator):
    """Echoes what it got; `/label` gives a label; `/private` wants the newest token."""

    slug = "shop"

    def seed(self):
        return {"token": "token-2"}

    def routes(self):
        for method in ("GET", "POST", "PATCH"):
            self.route(method, "/echo", self.echo)
            self.route(method, "/private", self.private)
        self.route("POST", "/label", self.label)

    def echo(self, request):
        self.state["got"] = dict(request.headers)
        return SimResponse(200, {"path": request.raw_path, "body": request.body.decode(), "headers": request.headers})

    def private(self, request):
        if request.headers.get("authorization") != f"Bearer {self.state['token']}":
            return SimResponse(401, {"error": "expired"})
        return SimResponse(200, {"ok": True})

    def label(self, request):
        return SimResponse(201, {"trackingNumber": "794000000001", "encodedLabel": base64.b64encode(b"^XA" * 400).decode()})


@pytest.fixture
def shop():
    simulator = Shop()
    with SimulatorServer([simulator]) as server:
        simulator.url = f"{server.url}/shop"
        yield simulator
    assert server.errors == []


@pytest.fixture
def recorder():
    kept = MemoryRecorder()
    with recording(kept):
        yield kept


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


def refusing_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


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


# -- where to ----------------------------------------------------------------------------------------


def test_a_redirect_is_not_followed_and_its_target_named(recorder):
    moved = b"HTTP/1.1 302 Found\r\nLocation: https://user:pw@login.example/x?y\r\nContent-Length: 0\r\n\r\n"
    with Wire(answering(moved)) as server:
        http, _ = made(server.url)
        with pytest.raises(ConfigurationError, match=r"login\.example") as caught:
            http.request("GET", "/", **EASY)
        assert "pw" not in caught.value.message
        assert len(server.requests) == 1
        assert recorder.exchanges[0].status == 302


def test_see_other_after_a_once_only_send_leaves_it_open(recorder):
    with Wire(answering(b"HTTP/1.1 303 See Other\r\nLocation: /done\r\nContent-Length: 0\r\n\r\n")) as server:
        http, _ = made(server.url)
        with pytest.raises(OutcomeUnknown):
            http.request("POST", "/", **EASY, once=ticket())
        assert [status for *_, status in recorder.answers] == [303]


def test_a_304_is_an_answer():
    with Wire(answering(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n")) as server:
        assert made(server.url)[0].request("GET", "/", **EASY).status == 304


def test_a_link_within_the_connection_is_followed(shop):
    http, _ = made(shop.url)
    assert http.request("GET", f"{shop.url}/echo?$skiptoken=a%20b", **EASY).json()["path"] == "/echo?$skiptoken=a%20b"


@pytest.mark.parametrize(
    "spoiled", ["https://evil.example/x", "http://127.0.0.1:1/x", "https://{host}/x", "http://me:pw@{host}/x", "ftp://{host}/"]
)
def test_a_link_elsewhere_is_refused(shop, spoiled, recorder):
    http, _ = made(shop.url)
    base = shop.url.removesuffix("/shop")
    with pytest.raises(ConfigurationError) as caught:
        http.request("GET", spoiled.format(host=base.removeprefix("http://")), **EASY)
    assert caught.value.code == "foreign_host"
    assert recorder.exchanges == [] and shop.calls == []


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2E/b", "/a#b", "/a b", "/a\\b", "/a\r\nX: y", "/.."])
def test_a_path_that_would_not_arrive_as_written_is_refused(shop, path):
    with pytest.raises(Rejected):
        made(shop.url)[0].request("GET", path, **EASY)
    assert shop.calls == []


def test_slashes_in_front_never_name_a_host(shop):
    assert made(shop.url)[0].request("GET", "//echo", **EASY).json()["path"] == "/echo"


def resolving(monkeypatch, *answers: list[str]):
    """Let every name resolve to these addresses, answer by answer; returns how often DNS was asked."""
    left, asked = list(answers), []
    real = socket.getaddrinfo

    def fake(host, port, *rest, **named):
        asked.append(host)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [entry for a in addresses for entry in real(a, port, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_a_name_that_leads_inside_is_refused_unless_allowed(monkeypatch, address):
    resolving(monkeypatch, [address])
    http, _ = made("https://erp.example", allow=())
    with pytest.raises(ConfigurationError) as caught:
        http.request("POST", "/", **EASY, once=ticket())
    assert caught.value.code == "outbound_refused"
    assert (caught.value.vendor, caught.value.operation) == ("acme", "try")


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]
)
def test_metadata_addresses_are_refused_even_where_everything_is_allowed(monkeypatch, address):
    resolving(monkeypatch, [address])
    with pytest.raises(ConfigurationError) as caught:
        made("http://erp.example", allow=("1",))[0].request("GET", "/", **EASY)
    assert caught.value.code == "outbound_refused"


def test_dns_that_changes_its_mind_is_asked_once_per_connection_and_judged_each_time(monkeypatch):
    with Wire(lambda sock, *_: (sock.sendall(OK), False)[1]) as server:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        http, _ = made(f"http://erp.example:{server.port}", allow=("127.0.0.1",))
        assert http.request("GET", "/", **EASY).status == 200
        assert asked == ["erp.example"]
        with pytest.raises(ConfigurationError):
            http.request("GET", "/", **EASY)
        assert server.connections == 1


def test_of_several_addresses_only_vetted_ones_are_connected_to(monkeypatch):
    with Wire(answering(OK)) as server:
        resolving(monkeypatch, ["169.254.169.254", "127.0.0.1"])
        http, _ = made(f"http://erp.example:{server.port}", allow=("127.0.0.0/8",))
        assert http.request("GET", "/", **EASY).status == 200


def test_a_dead_first_address_leaves_time_for_the_second(monkeypatch):
    with Wire(answering(OK)) as server:
        resolving(monkeypatch, ["::1", "127.0.0.1"])
        http, _ = made(f"http://erp.example:{server.port}")
        assert http.request("GET", "/", **EASY).status == 200


def test_plain_http_needs_permission(recorder):
    with Wire(answering(OK)) as server:
        with pytest.raises(ConfigurationError, match="https"):
            made(server.url, allow=())[0].request("GET", "/", **EASY)
        assert server.connections == 0


# -- proxies -----------------------------------------------------------------------------------------


def tunnel(sock, request, number):
    """A CONNECT proxy: whatever host is asked for, the port is on this machine."""
    target = socket.create_connection(("127.0.0.1", int(request.split()[1].rpartition(b":")[2])))
    sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def pump(one, other):
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
        except OSError:
            other.close()

    threading.Thread(target=pump, args=(target, sock), daemon=True).start()
    pump(sock, target)
    target.close()
    return False


def test_a_proxy_of_the_environment_is_used_and_the_gate_comes_after_its_tunnel(tmp_path, monkeypatch, recorder):
    trusted, context = certificate(tmp_path, "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
    seen = []
    with Wire(answering(OK), context) as server, Wire(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        recorder.before_send = lambda _: seen.append((len(proxy.requests), len(server.requests)))
        http, _ = made(server.url)
        assert http.request("POST", "/", **EASY, once=ticket()).status == 200
        assert http.request("GET", "/", **EASY).status == 200
        assert proxy.requests[0].startswith(b"CONNECT localhost:")
        assert len(server.requests) == 2 and seen == [(1, 0)]


def test_a_proxy_is_not_asked_for_a_refused_address(monkeypatch):
    with Wire(answering(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        http, _ = made("http://169.254.169.254", allow=("1",))
        with pytest.raises(ConfigurationError):
            http.request("GET", "/", **EASY)
        resolving(monkeypatch, ["169.254.169.254"])
        with pytest.raises(ConfigurationError):
            made("http://erp.example", allow=("1",))[0].request("GET", "/", **EASY)
        assert proxy.connections == 0


def test_a_proxy_that_refuses_the_tunnel_is_not_sent(monkeypatch):
    with Wire(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NotSent, match="407"):
            made("https://localhost:1")[0].request("POST", "/", **EASY, once=ticket())


def test_a_socks_proxy_is_refused(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="SOCKS"):
        made("https://localhost")[0].request("GET", "/", **EASY)


# -- tokens ------------------------------------------------------------------------------------------


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


# -- statuses, limits, repeats -----------------------------------------------------------------------


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

"""The HTTP layer: where a call may lead, and by which proxy."""

from __future__ import annotations

import socket
import threading

import pytest

from integrations.base.errors import ConfigurationError, NotSent, OutcomeUnknown, Rejected
from tests.base.shop import EASY
from tests.base.wire import OK, Wire, answering, certificate, made, ticket

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

"""Sockets under the HTTP layer: vetted addresses, one deadline over everything, and a gate before the first byte.

`requests` stays on top (proxies, certificates, the `responses` library in tests); below it urllib3's connection
classes are replaced by ones that ask the present `Wire` at every step. `HTTPAdapter.send` is left alone because
that is the method which `responses` replaces.

Proxies come from the environment only, so their address is the operator's own word and is not vetted; what is
asked of them is (see `Http`). SOCKS proxies are refused: they would go around these classes.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from integrations.base.errors import ConfigurationError
from integrations.base.outbound import OutboundPolicy

IDLE_LIMIT_S = 5.0
"""A kept connection that was idle for longer is not used again: the other side may have closed it unnoticed."""
_SEND_PIECE_BYTES = 64 * 1024

Stage = Literal["unknown", "dns", "connect", "tls", "ready", "sent", "headers", "body"]

if hasattr(time, "CLOCK_BOOTTIME"):

    def clock() -> float:
        """Seconds on a clock that nobody sets and that also runs while this process is stopped or the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # pragma: no cover - Linux has it

    def clock() -> float:
        """Seconds on a clock that nobody sets."""
        return time.monotonic()


class Deadline:
    """One point in time that a whole exchange may not outlast."""

    def __init__(self, seconds: float) -> None:
        self._at = clock() + seconds

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._at - clock())


class Wire:
    """What the sockets must know of the request that is on its way in this thread.

    `gate` is called when the connection stands (TLS included) and not one byte of the request was handed over;
    whatever it raises keeps the request from being sent. `written` is called after the last byte. `stage` tells
    afterwards how far it came; "unknown" means that another transport was in place.
    """

    def __init__(
        self,
        *,
        policy: OutboundPolicy,
        deadline: Deadline,
        connect_s: float,
        read_s: float,
        fresh: bool,
        gate: Callable[[], None],
        written: Callable[[], None],
    ) -> None:
        self.policy = policy
        self.deadline = deadline
        self.connect_s = connect_s
        self.read_s = read_s
        self.fresh = fresh
        self.gate = gate
        self.written = written
        self.gate_open = False
        self.stage: Stage = "unknown"

    @property
    def nothing_left(self) -> bool:
        """Proven: no byte of the request was handed to a socket."""
        return self.stage in ("dns", "connect", "tls", "ready")

    def patience(self, longest: float) -> float:
        """Seconds that the next socket call may take. Raises TimeoutError after the deadline."""
        left = self.deadline.left()
        if left <= 0:
            raise TimeoutError("the total deadline has passed")
        return min(longest, left)


_wire: ContextVar[Wire | None] = ContextVar("wire", default=None)


@contextmanager
def wired(wire: Wire) -> Iterator[None]:
    """Let the connections of this thread obey `wire`."""
    mark = _wire.set(wire)
    try:
        yield
    finally:
        _wire.reset(mark)


def _present_wire() -> Wire:
    wire = _wire.get()
    if wire is None:
        raise RuntimeError("guarded connections are used through integrations.base.http.Http only")
    return wire


class _PatientReader(io.RawIOBase):
    """Gives every single read of an answer only what is left of the deadline; a plain time-out restarts with each byte."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, wire: Wire) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._wire.patience(self._wire.read_s))
        return self._raw.readinto(buffer)

    def fileno(self) -> int:
        return self._raw.fileno()

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_PatientReader(self.fp.detach(), sock, _present_wire()))


def _open(connection: HTTPConnection, scheme: str) -> socket.socket:
    """Resolve once, vet every address, connect to a vetted one.

    Raises ConfigurationError when policy lets none through, else urllib3's connection errors. The name is
    never resolved a second time, so an answer that changes between check and connect helps nobody.
    """
    wire = _present_wire()
    wire.stage = "dns"
    name = connection._dns_host
    host = name.strip("[]") if name.startswith("[") else name
    try:
        found = socket.getaddrinfo(host, connection.port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(host, connection, error) from error
    except UnicodeError as error:
        raise ConfigurationError(f"{host!r} is no valid host name.", code="url_invalid") from error
    refusal: ConfigurationError | None = None
    vetted = []
    for family, kind, proto, _, address in found:
        try:
            if connection.proxy is None:
                wire.policy.check_address(host, str(address[0]), scheme)
            vetted.append((family, kind, proto, address))
        except ConfigurationError as error:
            refusal = error
    if not vetted and refusal is not None:
        raise refusal
    return _connect(connection, wire, vetted)


def _connect(connection: HTTPConnection, wire: Wire, candidates: list[Any]) -> socket.socket:
    wire.stage = "connect"
    until = Deadline(wire.connect_s)
    problem: OSError | None = None
    for tried, (family, kind, proto, address) in enumerate(candidates):
        sock = socket.socket(family, kind, proto)
        try:
            # A fair share each: a first address that swallows packets must not use up the time of the others.
            sock.settimeout(max(0.001, wire.patience(until.left() / (len(candidates) - tried))))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            sock.settimeout(wire.patience(wire.connect_s))
        except OSError as error:
            sock.close()
            problem = error
            continue
        return sock
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, f"connecting to {connection.host} took too long") from problem
    raise NewConnectionError(connection, f"no connection to {connection.host}: {problem}") from problem


class _Guarded(HTTPConnection):
    response_class = _Response
    scheme = "http"
    used_at = 0.0
    owner_pid = 0

    def _new_conn(self) -> socket.socket:
        sock = _open(self, self.scheme)
        self.owner_pid = os.getpid()
        if self.scheme == "https":
            _present_wire().stage = "tls"
        return sock

    def request(self, method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None, **rest: Any) -> None:  # type: ignore[override]
        wire = _present_wire()
        if self.sock is None:
            self.connect()
        wire.stage = "ready"
        wire.gate()
        wire.gate_open = True
        super().request(method, url, body, headers, **rest)
        wire.stage = "headers"
        wire.written()

    def send(self, data: Any) -> None:
        """Hand bytes over piece by piece, each within what is left of the deadline."""
        wire = _present_wire()
        view = memoryview(data)
        while view:
            # By hand and not by sendall, whose time-out over TLS restarts with every record.
            self.sock.settimeout(wire.patience(wire.read_s))
            if wire.gate_open:  # a CONNECT to the proxy, before the gate, is not the request
                wire.stage = "sent"
            view = view[self.sock.send(view[:_SEND_PIECE_BYTES]) :]


class _GuardedTls(_Guarded, HTTPSConnection):
    scheme = "https"


class _FreshPool(HTTPConnectionPool):
    """A pool that gives out no connection that is stale, another process's, or used where a new one is asked for."""

    ConnectionCls = _Guarded

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if isinstance(connection, _Guarded) and not connection.is_closed:
            idle = clock() - connection.used_at > IDLE_LIMIT_S
            if idle or _present_wire().fresh or connection.owner_pid != os.getpid():
                connection.close()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if isinstance(conn, _Guarded):
            conn.used_at = clock()
        super()._put_conn(conn)


class _FreshTlsPool(_FreshPool, HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


_POOLS = {"http": _FreshPool, "https": _FreshTlsPool}


@lru_cache(maxsize=4)
def _tls_context(bundle: str) -> ssl.SSLContext:
    """A verifying context, made once per bundle: reading all root certificates costs milliseconds per connection."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    if os.path.isdir(bundle):
        context.load_verify_locations(capath=bundle)
    else:
        context.load_verify_locations(cafile=bundle)
    return context


class GuardedAdapter(HTTPAdapter):
    """A `requests` adapter whose connections obey the present `Wire`. TLS is always verified."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Raises ConfigurationError for a SOCKS proxy."""
        if proxy.lower().startswith("socks"):
            raise ConfigurationError(
                "The environment names a SOCKS proxy, which is not supported.",
                code="proxy_unsupported",
                remedy="Set HTTPS_PROXY to an HTTP proxy, or list the host in NO_PROXY.",
                scope="integration",
            )
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Scheme, host and port of `request`, and the verifying context for the bundle that `verify` names."""
        host, _ = super().build_connection_pool_key_attributes(request, True, None)
        if host["scheme"] != "https":
            return host, {}
        bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
        return host, {"ssl_context": _tls_context(bundle), "cert_reqs": "CERT_REQUIRED"}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: the context brings its certificates, and naming the bundle again would read it once per connection."""


def new_session(connections: int = 32) -> requests.Session:
    """A session with guarded adapters, to be shared by the threads of one process. At most `connections` kept per host."""
    session = requests.Session()
    for prefix in ("https://", "http://"):
        session.mount(prefix, GuardedAdapter(pool_connections=64, pool_maxsize=connections))
    return session


_sessions: dict[int, requests.Session] = {}


def shared_session() -> requests.Session:
    """This process's own session. A fork gets another one: sockets must not be shared by two processes."""
    pid = os.getpid()
    # setdefault is atomic, and a lock could be inherited in its locked state.
    return _sessions.get(pid) or _sessions.setdefault(pid, new_session())

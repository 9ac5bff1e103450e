"""Tiny servers over real sockets that misbehave below HTTP, for the tests of the HTTP layer."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integrations.base.http import Http
from integrations.base.roles import SendTicket
from integrations.base.testing import MemoryContext, context_for
from integrations.base.vendor import Credential, Timeouts, Vendor

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


def vendor(**times: float) -> Vendor:
    return Vendor(
        slug="acme",
        label="Acme",
        roles=frozenset(),
        adapter="",
        simulator="",
        credentials=(Credential("client_id", "Id"), Credential("client_secret", "Secret", secret=True)),
        url_keys=("base",),
        environments=(),
        limits=(),
        timeouts=Timeouts(**{"connect_s": 2.0, "read_s": 2.0, "total_s": 3.0} | times),
        bulky_keys=("encodedLabel",),
        redact_keys=("session_key",),
    )


def made(url: str, *, auth=None, allow=("1",), total_s: float = 3.0, **http_attributes: object) -> tuple[Http, MemoryContext]:
    context = context_for(
        vendor(total_s=total_s), {"base": url}, {"client_id": "shop-7", "client_secret": "hunter22/secret"}, allow=allow
    )
    http = context.http("base", auth)
    for name, value in http_attributes.items():
        setattr(http, name, value)
    return http, context


def ticket(total_s: float = 3.0) -> SendTicket:
    return SendTicket(reference="ML1", number=1, total_s=total_s)


class Wire:
    """Accepts connections; `behave(socket, request bytes, connection number)` answers each request until it returns False."""

    def __init__(self, behave: Callable[[socket.socket, bytes, int], bool | None], context: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=20)
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []
        self.received = bytearray()
        self.over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://localhost:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client, self.connections), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ssl.SSLError), client:
            sock = self.context.wrap_socket(client, server_side=True) if self.context else client
            with sock:
                while request := self._read(sock):
                    self.requests.append(request)
                    if self.behave(sock, request, number) is False:
                        return

    def _read(self, sock: socket.socket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got:
            piece = sock.recv(65536)
            if not piece:
                return b""
            self.received += piece
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while lengths and len(body) < lengths[0]:
            piece = sock.recv(65536)
            self.received += piece
            body += piece
        return head + b"\r\n\r\n" + body

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        self.listener.close()


def answering(*answers: bytes) -> Callable[[socket.socket, bytes, int], bool | None]:
    """Give these answers in turn, the last one for ever, on kept connections."""
    left = list(answers)

    def behave(sock: socket.socket, request: bytes, number: int) -> None:
        sock.sendall(left.pop(0) if len(left) > 1 else left[0])

    return behave


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def certificate(folder, name: str) -> tuple[str, ssl.SSLContext]:
    """A self-signed certificate for `name`: the file to trust, and a server context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    with contextlib.suppress(ValueError):
        names = [x509.IPAddress(ipaddress.ip_address(name))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / f"{name}.pem", folder / f"{name}.key"
    trusted.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return str(trusted), context


def refusing_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]

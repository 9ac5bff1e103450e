"""Who is told of alerts: a mail server and a receiver of webhooks that keep what came, and rows to tell of."""

from __future__ import annotations

import email
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from connector.models import (
    Alert,
    AlertChannel,
    Integration,
    Pause,
    Shipment,
    Tenant,
    Transfer,
)
from connector.models.alerts import Cause
from connector.services import clock
from connector.services.alerts import channels, looking, sending, telling
from connector.services.alerts.channels import ChannelInput
from tests.connector.admin_support import House, build, transfer

FLOWS = ("ship", "track")
ALL = tuple(Cause.values)


class Mailbox:
    """A mail server that keeps what it is given; addresses in `refused` are turned away."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refused: set[str] = set()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address in self.refused:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 kept"


class Receiver:
    """A web server that keeps what is posted and answers `status` with `answer`."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.answer = 200, b"ok"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/services/path-secret-77?sig=query-secret-88"

    def texts(self) -> list[str]:
        return [json.loads(body)["text"] for _, _, body in self.got]


def house_of(slug: str = "alpha") -> House:
    """A tenant where nothing is wrong yet, as far as alerts go."""
    house = build(slug)
    Pause.objects.filter(tenant=house.tenant).delete()
    Alert.objects.filter(tenant=house.tenant).delete()
    AlertChannel.objects.filter(tenant=house.tenant).delete()
    Shipment.objects.filter(tenant=house.tenant).update(created_at=clock.now())
    Integration.objects.filter(tenant=house.tenant).update(updated_at=clock.now())
    return house


def hook(tenant: Tenant | None, receiver: Receiver, causes: tuple[str, ...] = ALL, **more: Any) -> AlertChannel:
    return channels.channel_save("webhook", tenant, ChannelInput("hook", causes, url=receiver.url, **more), "test")


def mail_to(tenant: Tenant, *addresses: str, **more: Any) -> AlertChannel:
    return channels.channel_save("mail", tenant, ChannelInput("post", ALL, addresses=addresses, **more), "test")


def fail(house: House, number: int, state: str = "failed", **values: Any) -> Transfer:
    """One more transfer that has come to stand this moment."""
    made = transfer(house, 1000 + number, state)
    Transfer.objects.filter(pk=made.pk).update(updated_at=clock.now(), **values)
    made.refresh_from_db()
    return made


def pause(house: House, kind: str = "token_refused") -> Pause:
    return Pause.objects.create(
        tenant=house.tenant,
        scope="connection",
        connection=house.target,
        code=kind,
        message="vendor's own words",
        remedy="Enter the secret again.",
        since=clock.now(),
    )


def tell() -> list[Any]:
    """What a minute does: look, then send what is due."""
    looking.look(FLOWS)
    return [sending.send_due(pk) for pk in telling.due_channels()]

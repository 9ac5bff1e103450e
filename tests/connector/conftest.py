"""The environment that the configuration's example counts on, and two who are told of alerts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from connector.services import wake
from tests.connector.alerts_support import Mailbox, Receiver
from tests.connector.configuration_support import SECRET


@pytest.fixture
def acme_environment(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("ACME_IFS_SECRET", SECRET)
    settings.ALLOW_PRIVATE_HOSTS = []


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(wake, "_enqueue", lambda name, *args: calls.append((name, *args)))
    return calls


@pytest.fixture
def mailbox(settings: Any) -> Iterator[Mailbox]:
    """A real mail server over loopback; the product's settings point at it."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    yield box
    server.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()

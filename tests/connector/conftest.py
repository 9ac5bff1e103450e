"""The environment that the configuration's example counts on."""

from __future__ import annotations

from typing import Any

import pytest

from connector.services import wake
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

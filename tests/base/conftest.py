"""A shop to call and a recorder; no proxy or certificate settings of this machine, and repeats do not wait."""

import pytest

from integrations.base import http
from integrations.base.http import recording
from integrations.base.simulator import SimulatorServer
from integrations.base.testing import MemoryRecorder
from tests.base.shop import Shop


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(http, "BACKOFF_S", 0.02)


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

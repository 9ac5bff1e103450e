"""The simulated FedEx on a free port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator
from tests.fedex.simulator_wire import Wire


@pytest.fixture
def sim() -> FedexSimulator:
    return FedexSimulator()


@pytest.fixture
def wire(sim: FedexSimulator) -> Iterator[Wire]:
    with SimulatorServer([sim]) as server:
        caller = Wire(sim, server.url)
        assert caller.login().status_code == 200
        yield caller
        caller.http.close()
        assert server.errors == []

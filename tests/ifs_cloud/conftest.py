"""The simulated IFS Cloud on a free port, one server for a module's tests."""

from __future__ import annotations

import pytest

from integrations.base.simulator import SimulatorServer
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from tests.ifs_cloud.simulator_wire import Ifs


@pytest.fixture(scope="module")
def server():
    with SimulatorServer([IfsCloudSimulator()]) as running:
        yield running
        assert running.errors == []


@pytest.fixture
def simulator(server) -> IfsCloudSimulator:
    simulator = server.simulators["/ifs_cloud"]
    simulator.reset()
    simulator.clock_offset_s = 0
    return simulator


@pytest.fixture
def ifs(server, simulator):
    user = Ifs(f"{server.url}/ifs_cloud", simulator, "standard")
    yield user
    user.session.close()


@pytest.fixture
def custom(server, simulator):
    user = Ifs(f"{server.url}/ifs_cloud", simulator, "custom")
    yield user
    user.session.close()

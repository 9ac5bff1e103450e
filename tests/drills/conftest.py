"""Scratch installations for drills: migrated and configured once per engine, copied for every test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from tests.drills.site import PostgresFactory, Site, SqliteFactory, drill_document

POSTGRES_URL = "postgres://postgres@127.0.0.1:5432/postgres"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is a drill; all need the process table of Linux."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.drill)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="drills read /proc"))


@pytest.fixture(scope="session")
def server() -> Iterator[SimulatorServer]:
    """One port for the whole session, so that configured URLs stay good; each test mounts simulators of its own."""
    served = SimulatorServer([]).start()
    yield served
    served.stop()


class Templates:
    """Installations of each engine, made on first use."""

    def __init__(self, server: SimulatorServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.factories: dict[str, PostgresFactory | SqliteFactory] = {}
        self.urls: dict[str, str] = {}

    def factory(self, engine: str) -> PostgresFactory | SqliteFactory:
        if engine not in self.factories:
            if engine == "postgres":
                url = os.environ.get("TEST_POSTGRES_URL", POSTGRES_URL)
                try:
                    psycopg.connect(url, connect_timeout=5).close()
                except psycopg.OperationalError as error:
                    pytest.skip(f"no PostgreSQL at {url.rpartition('@')[2]} (set TEST_POSTGRES_URL): {error}")
                self.factories[engine] = PostgresFactory(url)
            else:
                self.factories[engine] = SqliteFactory(self.folder)
        return self.factories[engine]

    def site(self, engine: str, folder: Path) -> Site:
        """A fresh copy of the configured installation, with fresh simulators mounted."""
        ifs, fedex = IfsCloudSimulator(), FedexSimulator()
        self.server.simulators = {f"/{s.slug}": s for s in (ifs, fedex)}
        self.server.latency_s = 0.0
        self.server.errors.clear()
        factory = self.factory(engine)
        if engine not in self.urls:
            first = Site(factory.make(), folder, self.server, ifs, fedex, doc=drill_document(self.server.url))
            first.manage("migrate", "--verbosity", "0")
            first.configure()
            self.urls[engine] = first.url
        made = Site(factory.make(self.urls[engine]), folder, self.server, ifs, fedex)
        made.doc = json.loads(json.dumps(drill_document(self.server.url)))
        return made

    def close(self) -> None:
        for factory in self.factories.values():
            factory.close()


@pytest.fixture(scope="session")
def templates(server: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    made = Templates(server, tmp_path_factory.mktemp("drills"))
    yield made
    made.close()


@pytest.fixture
def site_on(templates: Templates, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """A site on the named engine ("postgres", "sqlite"); its processes are ended whatever the test did."""
    made: list[Site] = []

    def make(engine: str) -> Site:
        site = templates.site(engine, tmp_path)
        made.append(site)
        return site

    yield make
    for site in made:
        site.close()
        assert not site.server.errors, site.server.errors


@pytest.fixture
def site(site_on: Callable[[str], Site]) -> Site:
    """A site on PostgreSQL."""
    return site_on("postgres")

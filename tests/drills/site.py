"""One installation of real processes: its own database, its own environment, simulators that count in the test process.

    site.run("sync", site.slug, "--json")      # a process that ends
    cluster = site.cluster(workers=2)          # a qcluster in its own process group
    site.rows("SELECT state, count(*) FROM connector_transfer GROUP BY state")
    site.python("from connector import tasks; tasks.tick()")

Nothing here uses Django in the test process: what the processes did is read from the database and the simulators.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from tests.world import document

ROOT = Path(__file__).resolve().parents[2]
TOTAL_S = 4.0
LEASE_S = 12.0
PATIENCE_S = 60.0


def until(what: str, condition: Callable[[], Any], patience_s: float = PATIENCE_S, every_s: float = 0.05) -> Any:
    """Wait for a condition and return what it gave; a failed test names what never came true."""
    deadline = time.monotonic() + patience_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(every_s)


def drill_document(url: str, slug: str = "acme", **integration: Any) -> dict[str, Any]:
    """The world's configuration with short deadlines and quick look-ups."""
    made = document(url, slug, **integration)
    ifs, fedex = made["connections"]
    for connection in (ifs, fedex):
        connection["settings"]["timeouts"] = {"connect_s": 2, "read_s": TOTAL_S, "total_s": TOTAL_S}
    fedex["settings"]["in_doubt"] = {"look_up_after_s": [0.2, 0.5, 1, 1, 1, 1, 1, 1], "resend_after_s": None}
    made["integrations"][0]["options"] = {"adopted_label": "accept"}
    return made


class PostgresFactory:
    """Scratch databases on one server, made from a template."""

    engine = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url
        self.names: list[str] = []

    def _admin(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def make(self, template: str | None = None) -> str:
        """A new database (a copy of `template`); its URL."""
        name = f"mlc_drill_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        source = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
        self._admin(f"CREATE DATABASE {name}{source}")
        self.names.append(name)
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def close(self) -> None:
        for name in self.names:
            self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.names.clear()


class SqliteFactory:
    """Scratch database files."""

    engine = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, template: str | None = None) -> str:
        path = self.folder / f"{uuid.uuid4().hex}.sqlite3"
        if template:
            with (
                sqlite3.connect(template.removeprefix("sqlite:///")) as source,
                sqlite3.connect(path) as target,
            ):
                source.backup(target)
            source.close()
            target.close()
        return f"sqlite:///{path}"

    def close(self) -> None:
        """The folder is the test run's and goes with it."""


@dataclass
class Site:
    """One installation under drill."""

    url: str
    folder: Path
    server: SimulatorServer
    ifs: IfsCloudSimulator
    fedex: FedexSimulator
    slug: str = "acme-ifs-fedex"
    environment: dict[str, str] = field(default_factory=dict)
    doc: dict[str, Any] = field(default_factory=dict)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _connection: Any = None

    # -- processes -----------------------------------------------------------------------------------

    def env(self, **more: str) -> dict[str, str]:
        """What a process of this site sees: no setting of the surrounding shell leaks in."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")}
        return (
            kept
            | {
                "DJANGO_SETTINGS_MODULE": "connector.settings",
                "DATABASE_URL": self.url,
                "REDIS_URL": "",
                "SECRET_KEY": "drills-only-" + "x" * 40,
                "FIELD_ENCRYPTION_KEY": "dGVzdC1vbmx5LWtleS0tLS0tLS0tLS0tLS0tLS0tLS0=",
                "AUDIT_KEY": "drills-only-audit-key",
                "DEBUG": "1",
                "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
                "NO_PROXY": "127.0.0.1",
                "PYTHONUNBUFFERED": "1",
                "WORKER_PROCESSES": "2",
                "WORKER_THREADS": "8",
                "ENGINE_LEASE_S": str(LEASE_S),
                "ENGINE_MARGIN_S": "1",
                "ENGINE_HEARTBEAT_S": "2",
                "ENGINE_SLICE_S": "5",
                "ENGINE_RETRY_BASE_S": "0.2",
                "ENGINE_RETRY_CAP_S": "2",
                "ENGINE_REST_BASE_S": "0.5",
            }
            | self.environment
            | more
        )

    def spawn(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """Start `manage.py ARGUMENTS` in a process group of its own; its output goes to a file beside the database."""
        return self.start([sys.executable, "manage.py", *arguments], arguments[0], **more)

    def start(self, command: list[str], name: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command as `spawn` does; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.env(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,), **more: str) -> dict[str, Any]:
        """Run `manage.py ARGUMENTS --json` to its end; its object. The exit code must be one of `codes`."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments, "--json"],
            cwd=ROOT,
            env=self.env(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            start_new_session=True,
        )
        assert done.returncode in codes, (arguments, done.returncode, done.stdout[-2000:], done.stderr[-4000:])
        told: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        return told

    def python(self, code: str, **more: str) -> Any:
        """Run Python in a process with Django set up; what it left in `result`."""
        program = f"import django, json\ndjango.setup()\nresult = None\n{code}\nprint('\\n' + json.dumps(result, default=str))"
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=self.env(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (code, done.stderr[-4000:])
        return json.loads(done.stdout.splitlines()[-1])

    def manage(self, *arguments: str) -> None:
        """Run a command that has no JSON."""
        subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env(),
            check=True,
            capture_output=True,
            timeout=120,
        )

    def cluster(self, workers: int = 2, threads: int = 4, **more: str) -> Cluster:
        """A running `qcluster` with its workers up."""
        process = self.spawn("qcluster", WORKER_PROCESSES=str(workers), WORKER_THREADS=str(threads), **more)
        return Cluster(process, workers).wait_ready()

    def configure(self, change: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Import the site's document, after `change(document)` has edited it."""
        if change is not None:
            change(self.doc)
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.doc))
        self.run("config", "import", str(path))

    def close(self) -> None:
        """End everything that was started here, whatever state it is in."""
        for process in self._running:
            kill_group(process.pid)
            process.wait(30)
        if self._connection is not None:
            self._connection.close()

    # -- the database --------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query, in a connection of the test's own (autocommit: no transaction of ours stays open)."""
        if self._connection is None:
            if self.url.startswith("sqlite"):
                self._connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
            else:
                self._connection = psycopg.connect(self.url, autocommit=True, application_name="drill")
        if self.url.startswith("sqlite"):
            query = query.replace("%s", "?")
        cursor = self._connection.execute(query, values)
        return list(cursor.fetchall()) if cursor.description else []

    def states(self) -> dict[str, int]:
        """Transfers by state."""
        return dict(self.rows("SELECT state, count(*) FROM connector_transfer GROUP BY state"))

    def transfer(self, shipment_id: int) -> tuple[int, str, str]:
        """Number, state and code of a shipment's newest transfer."""
        [row] = self.rows(
            "SELECT id, state, code FROM connector_transfer WHERE source_key = %s ORDER BY revision DESC LIMIT 1",
            f"shipment:{shipment_id}",
        )
        return row[0], row[1], row[2]

    def busy_processes(self) -> set[int]:
        """Process ids that hold running transfers."""
        owners = self.rows("SELECT DISTINCT owner_process FROM connector_transfer WHERE state = 'running'")
        return {int(owner.rsplit(":", 1)[1]) for (owner,) in owners if owner}

    # -- counting at the simulators ------------------------------------------------------------------

    def ready(self, count: int = 1, **columns: Any) -> list[int]:
        """Shipments that are ready in IFS; their ids."""
        return self.ifs.make_shipments("standard", count, **columns)

    def numbers(self) -> dict[int, str]:
        """Tracking numbers that stand in IFS, by shipment id."""
        return {k: v for k, v in self.ifs.tracking_numbers("standard").items() if v}

    def creates(self) -> int:
        """Create requests that FedEx was sent."""
        return self.fedex.counts["POST /ship/v1/shipments"]

    def twice(self) -> dict[str, list[str]]:
        """References of ours under which FedEx sold more than one shipment."""
        found = self.fedex.made_by_reference()
        return {r: masters for r, masters in found.items() if r.startswith("ML") and len(masters) > 1}

    def assert_each_shipped_once(self, ids: list[int]) -> None:
        """One live label for each document, its number in IFS, nothing bought under two references."""
        made = {m.master: m for m in self.fedex.shipments()}
        assert not any(m.voided for m in made.values())
        assert len(made) == len(ids), f"{len(made)} labels for {len(ids)} documents"
        assert self.fedex.live_labels() == len(ids)
        assert self.twice() == {}
        numbers = self.numbers()
        assert sorted(numbers) == sorted(ids)
        assert set(numbers.values()) == set(made)


# -- processes of a cluster --------------------------------------------------------------------------


def group_members(group: int) -> dict[int, int]:
    """Living processes of a process group: pid -> parent's pid."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # it ended while we looked
            continue
        state, parent, its_group = fields[0], int(fields[1]), int(fields[2])
        if its_group == group and state not in "ZX":
            found[int(entry)] = parent
    return found


def kill_group(group: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a whole process group; one that is gone already is fine."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


class Cluster:
    """The processes of one `qcluster`: main → sentinel → workers, then monitor and pusher."""

    def __init__(self, process: subprocess.Popen[bytes], workers: int) -> None:
        self.process = process
        self.count = workers
        self.helpers: set[int] = set()

    @property
    def main(self) -> int:
        return self.process.pid

    def members(self) -> dict[int, int]:
        return group_members(self.main)

    def sentinel(self) -> int:
        """The one child of the main process."""
        [pid] = [pid for pid, parent in self.members().items() if parent == self.main]
        return pid

    def _children(self) -> list[int]:
        members = self.members()
        sentinels = [pid for pid, parent in members.items() if parent == self.main]
        return sorted(pid for pid, parent in members.items() if parent in sentinels)

    def wait_ready(self) -> Cluster:
        """Workers, monitor and pusher are there. The last two that were started are no workers."""
        until("the cluster is up", lambda: len(self._children()) == self.count + 2 or self.process.poll() is not None)
        assert self.process.poll() is None, "qcluster ended at its start"
        self.helpers = set(self._children()[-2:])
        return self

    def workers(self) -> list[int]:
        return [pid for pid in self._children() if pid not in self.helpers]

    def kill_group(self) -> None:
        kill_group(self.main)
        self.process.wait(30)

    def kill(self, pid: int) -> None:
        """SIGKILL to one process; one that is gone already is fine."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill_main(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def gone(self) -> bool:
        return not self.members()

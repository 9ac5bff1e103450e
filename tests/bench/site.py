"""A scratch installation for measuring: database, simulators, configuration, worker cluster, all in real processes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import requests

from tests.bench import machine

ROOT = Path(__file__).resolve().parents[2]
POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
INTEGRATION = "bench-ifs-fedex"
ADDRESS = {
    "company": "Acme",
    "name": "Shipping",
    "phone": "9015550100",
    "lines": ["1 Dock Rd"],
    "city": "Memphis",
    "state": "TN",
    "postal_code": "38116",
    "country": "US",
}
VENDORS = ("ifs_cloud", "fedex")
WEBHOOK_SECRET = "Bench0only0bench0only0bench"
PLENTY = [{"name": "calls", "calls": 100_000, "per_s": 1}]
START_S = 60
ALONE_LOOKS = 50
"""Looks, 0.2 s apart, after which a main process without children counts as ended: at its start it has none yet."""

PR_SET_PDEATHSIG = 1


class BenchFailed(RuntimeError):
    """The installation did not do its work: a figure would mean nothing."""


def _end_with_us() -> None:
    """In a child before it starts: the kernel ends it when the benchmark itself is killed (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Plan:
    """One measurement. `database` is "sqlite", "postgres" or the URL of a PostgreSQL server (its database is not touched)."""

    database: str
    latency_ms: int = 0
    workers: int = 1
    threads: int = 8
    shipments: int = 100
    options: dict[str, Any] = field(default_factory=dict)
    """Of the integration, where they differ from the defaults."""

    @property
    def slots(self) -> int:
        """Calls in parallel."""
        return min(64, self.workers * self.threads)

    @property
    def engine(self) -> str:
        """sqlite or postgres."""
        return "sqlite" if self.database == "sqlite" else "postgres"

    def environment(self) -> dict[str, str]:
        """The variables that differ from an installation's defaults."""
        return {
            "WORKER_PROCESSES": str(self.workers),
            "WORKER_THREADS": str(self.threads),
            "LOG_LEVEL": "WARNING",
            "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
        }

    def settings(self) -> dict[str, Any]:
        """The settings of both connections that differ from the defaults (limits: IFS 10/s, FedEx 1,400 in 10 s)."""
        return {"max_parallel": self.slots, "limits": PLENTY}


@dataclass
class Site:
    """A migrated and configured scratch installation with its simulators; see `scratch`."""

    plan: Plan
    url: str
    folder: Path
    vendors: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    cluster: subprocess.Popen[bytes] | None = None
    _alone: int = 0

    # -- processes ---------------------------------------------------------------------------------------

    def env(self) -> dict[str, str]:
        """What its processes see: nothing of the caller's own settings."""
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")}
        return kept | {
            "DJANGO_SETTINGS_MODULE": "connector.settings",
            "DATABASE_URL": self.url,
            "REDIS_URL": "",
            "SECRET_KEY": "bench-only-" + "x" * 40,
            "FIELD_ENCRYPTION_KEY": "dGVzdC1vbmx5LWtleS0tLS0tLS0tLS0tLS0tLS0tLS0=",
            "AUDIT_KEY": "bench-only-audit-key",
            "DEBUG": "0",
            "NO_PROXY": "127.0.0.1",
            **self.plan.environment(),
        }

    def manage(self, *arguments: str) -> str:
        """Run `manage.py ARGUMENTS`; its stdout. Raises BenchFailed with its last words."""
        return self._run("manage.py", *arguments)

    def module(self, *arguments: str) -> str:
        """Run `python -m ARGUMENTS` as a process of this installation; its stdout. Raises BenchFailed."""
        return self._run("-m", *arguments)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=self.env(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchFailed(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def start_vendors(self) -> None:
        """A simulator process per vendor, each leading a group of its own."""
        for slug in VENDORS:
            command = [sys.executable, "-m", "tests.bench.vendor", slug, "--latency-ms", str(self.plan.latency_ms)]
            self.vendors[slug] = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
        for slug, running in self.vendors.items():
            assert running.stdout is not None
            said = running.stdout.readline().strip()
            if not said:
                raise BenchFailed(f"the simulator of {slug} did not start")
            self.ports[slug] = int(said)

    def configure(self) -> None:
        """Tenant, connections to the simulators, integration. The integration's first poll finds nothing yet."""
        made = self._document()
        path = self.folder / "config.json"
        path.write_text(json.dumps(made))
        self.manage("config", "import", str(path))

    def _document(self) -> dict[str, Any]:
        connections: list[dict[str, Any]] = [
            {
                "slug": f"bench-{slug}",
                "tenant": "bench",
                "vendor": slug,
                "name": slug,
                "environment": "custom",
                "urls": {"base": f"http://127.0.0.1:{self.ports[slug]}/{slug}"},
                "settings": self.plan.settings(),
            }
            for slug in VENDORS
        ]
        erp, carrier = connections
        erp["credentials"] = {"client_id": "MLC", "client_secret": "ifs-demo-secret"}
        erp["settings"]["realm"] = "standard1"
        erp["company_codes"] = [
            {"code": "10", "sites": [{"code": "S1", "timezone": "America/Chicago", "address": ADDRESS}]},
        ]
        carrier["credentials"] = {"client_id": "demo-key", "client_secret": "demo-secret", "account_number": "123456789"}
        carrier["credentials"]["webhook_secret"] = WEBHOOK_SECRET
        integration = {
            "slug": INTEGRATION,
            "tenant": "bench",
            "kind": "ifs_fedex",
            "name": "Bench",
            "source": erp["slug"],
            "target": carrier["slug"],
            "company_codes": ["10"],
            "enabled": True,
            "options": self.plan.options,
            "value_maps": {"service": {"FDX-GND": "FEDEX_GROUND", "FDX-2DAY": "FEDEX_2_DAY"}},
        }
        tenant = {"slug": "bench", "name": "Bench", "timezone": "America/Chicago"}
        return {"version": 1, "tenants": [tenant], "connections": connections, "integrations": [integration]}

    def start_cluster(self) -> None:
        """A `qcluster`, ready: its first poll is done and its workers wait for work."""
        with (self.folder / "qcluster.log").open("ab") as log:
            self.cluster = subprocess.Popen(
                [sys.executable, "manage.py", "qcluster"],
                cwd=ROOT,
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_us,
            )
        self.wait(
            "the first poll", lambda: self.one("SELECT count(*) FROM connector_flowstate WHERE last_good_poll_at IS NOT NULL")
        )
        self.wait("an empty queue", lambda: self.one("SELECT count(*) FROM django_q_ormq") == 0)

    def poll_soon(self) -> None:
        """Put a poll into the queue, as the button does."""
        self.module("tests.bench.inside", "poll", INTEGRATION)

    def stop_cluster(self) -> None:
        """Let the workers finish, then end what is left of their group."""
        if self.cluster is None:
            return
        self.cluster.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.cluster.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.cluster.pid, signal.SIGKILL)
        self.cluster.wait()
        self.cluster = None

    def close(self) -> None:
        """End everything that was started here. Raises BenchFailed when a simulator crashed."""
        self.stop_cluster()
        crashed = []
        for slug, running in self.vendors.items():
            assert running.stdin is not None
            running.stdin.close()
            try:
                code = running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                code = running.wait()
            if running.stdout is not None:
                running.stdout.close()
            if code:
                crashed.append(slug)
        if crashed:
            raise BenchFailed(f"the simulators of {', '.join(crashed)} crashed or hung")

    # -- the simulators ------------------------------------------------------------------------------------

    def control(self, slug: str, name: str, told: dict[str, Any] | None = None) -> Any:
        """A control call; POST when something is told."""
        url = f"http://127.0.0.1:{self.ports[slug]}/{slug}/_sim/{name}"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, timeout=120) if told is None else session.post(url, json=told, timeout=120)
        answer.raise_for_status()
        return answer.json()

    def calls(self) -> dict[str, int]:
        """Requests so far, by vendor, method and path."""
        return {f"{slug} {line}": int(count) for slug in VENDORS for line, count in self.control(slug, "calls")["counts"].items()}

    def make_shipments(self, count: int) -> None:
        """Shipments that are ready in IFS."""
        self.control("ifs_cloud", "shipments", {"tenant": "standard", "count": count})

    def check(self, expected: int) -> None:
        """Raises BenchFailed unless every document has exactly one label and its number stands in IFS."""
        fedex = self.control("fedex", "state")["counts"]
        numbers = [n for n in self.control("ifs_cloud", "tracking")["standard"].values() if n]
        if fedex["made"] != expected or fedex["voided"] or len(set(numbers)) != expected:
            raise BenchFailed(f"{expected} documents, {fedex['made']} labels, {len(set(numbers))} numbers in IFS")

    # -- the database --------------------------------------------------------------------------------------

    @property
    def database(self) -> str:
        """Name of the PostgreSQL database, as it stands in the titles of its backends; empty on SQLite."""
        return urlsplit(self.url).path[1:] if self.plan.engine == "postgres" else ""

    def one(self, query: str) -> Any:
        """The first value of a query, read by the benchmark itself."""
        if self.plan.engine == "sqlite":
            with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30)) as connection:
                return connection.execute(query).fetchone()[0]
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()  # type: ignore[call-overload]
            return row[0]

    def wait(self, what: str, condition: Any, patience_s: float = START_S) -> None:
        """Until a condition holds. Raises BenchFailed, with the cluster's last words, when it does not in time."""
        until = time.monotonic() + patience_s
        while not condition():
            ended = self._cluster_has_ended()
            if ended or time.monotonic() > until:
                log = self.folder / "qcluster.log"
                said = log.read_text()[-3000:] if log.exists() else ""
                raise BenchFailed(f"{'the cluster ended' if ended else f'not within {patience_s:.0f} s'}: {what}\n{said}")
            time.sleep(0.2)

    def _cluster_has_ended(self) -> bool:
        """Whether its main process is gone, or is all that is left (its children were killed from outside)."""
        if self.cluster is None:
            return False
        if self.cluster.poll() is not None:
            return True
        self._alone = self._alone + 1 if len(machine.group(self.cluster.pid)) <= 1 else 0
        return self._alone > ALONE_LOOKS

    def worker_peaks_mb(self) -> list[float]:
        """Peak memory of each process of the cluster, largest first."""
        assert self.cluster is not None
        return sorted((machine.peak_mb(p.pid) for p in machine.group(self.cluster.pid)), reverse=True)


@contextlib.contextmanager
def scratch(plan: Plan) -> Iterator[Site]:
    """A new installation, thrown away at the end. Raises BenchFailed, psycopg.OperationalError."""
    with tempfile.TemporaryDirectory(prefix="mlc-bench-") as folder, _database(plan, Path(folder)) as url:
        site = Site(plan, url, Path(folder))
        try:
            site.manage("migrate", "--verbosity", "0")
            site.start_vendors()
            site.configure()
            yield site
        finally:
            site.close()


@contextlib.contextmanager
def _database(plan: Plan, folder: Path) -> Iterator[str]:
    if plan.engine == "sqlite":
        yield f"sqlite:///{folder / 'bench.sqlite3'}"
        return
    server = POSTGRES_URL if plan.database == "postgres" else plan.database
    name = f"mlc_bench_{os.getpid()}_{uuid.uuid4().hex[:6]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[call-overload]

"""`run_all` as somebody sees it on the first day: a page, shipments that ship, faults that explain themselves, an end.

Real processes on ports of their own, on the engine that this run of the tests is for.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from cryptography.fernet import Fernet
from django.conf import settings
from psycopg import sql

from connector import runner

ROOT = Path(__file__).resolve().parents[2]
UP_S, SHIPPED_S, DOWN_S = 60.0, 60.0, 45.0
FAULTY = {"1007", "1014", "1021"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, test: Callable[[], Any], seconds: float) -> Any:
    """What `test` returns once that is true. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := test()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.1)
    return found


def in_sessions(leaders: set[int]) -> set[int]:
    """Pids of all live processes whose session one of `leaders` leads."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if fields[0] != "Z" and int(fields[3]) in leaders:
            found.add(int(path.parent.name))
    return found


def children(pid: int) -> set[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return {int(number) for number in text.split()}


class Machine:
    """One installation in a folder of its own; `start` is what `make run` does after it has installed."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.port, self.simulator_port = free_port(), free_port()
        ours = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        self.env = {name: os.environ[name] for name in ours if name in os.environ} | {
            "DJANGO_SETTINGS_MODULE": "connector.settings",
            "SECRET_KEY": "first-minute-" + "x" * 50,
            "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "AUDIT_KEY": "first-minute-audit-key",
            "DEBUG": "1",
            "ALLOWED_HOSTS": "127.0.0.1",
            "ALLOW_PRIVATE_HOSTS": "127.0.0.1",
            "DATABASE_URL": database_url,
            "REDIS_URL": "",
            "SIMULATOR_STATE_DIR": str(folder / "simulator state"),
            "PORT": str(self.port),
            "SIMULATOR_PORT": str(self.simulator_port),
            "no_proxy": "127.0.0.1",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"

    def start(self) -> None:
        self.log = self.folder / f"log-{uuid.uuid4().hex[:6]}"
        with open(self.log, "wb") as log:
            command = [sys.executable, "manage.py", "run_all"]
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True)
        wait_for("the address is printed", lambda: self.process.poll() is not None or "Open http" in self.text(), UP_S)
        assert self.process.poll() is None, self.text()
        assert requests.get(f"{self.url}/healthz", timeout=10).status_code == 200

    def stop(self, number: int) -> int:
        """Signal the runner as a terminal or a service manager does; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DOWN_S)

    def text(self) -> str:
        return self.log.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def simulated(self, path: str) -> Any:
        return requests.get(f"http://127.0.0.1:{self.simulator_port}/{path}", timeout=10).json()

    def tracking(self) -> dict[str, str]:
        return self.simulated("ifs_cloud/_sim/tracking")["standard"]

    def command(self, *args: str) -> tuple[int, dict[str, Any]]:
        """A management command with --json: exit code and object."""
        command = [sys.executable, "manage.py", *args, "--json"]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)
        [line] = done.stdout.splitlines()
        return done.returncode, json.loads(line)

    def synced(self) -> dict[str, Any]:
        """The report of a `sync` beside the running worker."""
        return self.command("sync", "demo-ifs-fedex")[1]


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of its own on the engine of this run."""
    held = settings.DATABASES["default"]
    if held["ENGINE"].endswith("sqlite3"):
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / 'db.sqlite3'}"
        return
    server = os.environ["DATABASE_URL"]
    name = f"mlc_first_minute_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("installation"), database_url)
    made.start()
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def signed_in(machine: Machine) -> requests.Session:
    """A browser's session after signing in with what the terminal shows."""
    [password] = re.findall(r"password: (\S+)   \(shown this once\)", machine.text())
    session = requests.Session()
    session.trust_env = False
    session.get(f"{machine.url}/admin/login/", timeout=20).raise_for_status()
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": session.cookies["csrftoken"], "next": "/admin/"}
    answer = session.post(f"{machine.url}/admin/login/?next=/admin/", data=form, timeout=20)
    assert (answer.status_code, answer.url) == (200, f"{machine.url}/admin/")
    return session


def test_the_page_opens_with_its_styles_and_the_printed_password(machine: Machine, signed_in: requests.Session):
    page = signed_in.get(f"{machine.url}/admin/", timeout=20)
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    assert any(name.endswith(".css") for name in files) and any(name.endswith(".js") for name in files)
    assert {name: signed_in.get(machine.url + name, timeout=20).status_code for name in files} == dict.fromkeys(files, 200)


def test_good_shipments_carry_numbers_and_faulty_ones_say_what_to_do(machine: Machine):
    wait_for("22 shipments carry a tracking number", lambda: len(machine.tracking()) == 22, SHIPPED_S)
    wait_for(
        "everything has come to rest", lambda: machine.command("sync", "demo-ifs-fedex")[1]["open"]["failed"] == 3, SHIPPED_S
    )
    code, told = machine.command("sync", "demo-ifs-fedex")
    assert code == 1
    assert told["open"] == {"waiting": 0, "running": 0, "in_doubt": 0, "needs_approval": 0, "failed": 3}
    faults = {row["source_key"].rpartition(":")[2]: row for row in told["attention"]}
    assert set(faults) == FAULTY
    assert faults["1007"]["code"] == "unmapped_service"
    assert len({row["code"] for row in faults.values()}) == 3
    assert all(len(row["message"]) > 20 and not row["tracking_numbers"] for row in faults.values())
    numbers = machine.tracking()
    assert FAULTY.isdisjoint(numbers) and len(set(numbers.values())) == 22
    assert machine.simulated("fedex/_sim/state")["counts"]["made"] == 22


def test_the_installation_says_that_it_is_ready(machine: Machine):
    page = requests.get(f"{machine.url}/readyz", timeout=20)
    assert page.status_code == 200, page.text


def test_the_demo_run_again_beside_it_changes_nothing(machine: Machine):
    bought = machine.simulated("fedex/_sim/state")["counts"]["made"]
    before = machine.command("config", "export")[1]
    code, told = machine.command("demo", "--port", str(machine.simulator_port))
    assert (code, told["created"], told["samples"]) == (0, {}, {"ifs_cloud": 25})
    assert told["user"] == {"username": "admin", "password": None, "created": False}
    assert machine.command("config", "export")[1] == before
    assert machine.simulated("fedex/_sim/state")["counts"]["made"] == bought


def test_a_taken_port_is_said_plainly(machine: Machine):
    done = subprocess.run(
        [sys.executable, "manage.py", "run_all"], cwd=ROOT, env=machine.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"Port {machine.port} is taken" in done.stderr and "PORT=<number>" in done.stderr


def test_ctrl_c_ends_everything_and_the_second_start_finds_it_as_it_was(machine: Machine, signed_in: requests.Session):
    assert machine.process is not None
    numbers, made = machine.tracking(), machine.simulated("fedex/_sim/state")["counts"]["made"]
    leaders = children(machine.process.pid)
    assert len(leaders) == 3 and len(in_sessions(leaders)) >= 8, "web, worker and simulators lead a session each"
    assert machine.stop(signal.SIGINT) == 0
    assert in_sessions(leaders) == set()
    assert runner.port_is_free(machine.port) and runner.port_is_free(machine.simulator_port)

    machine.start()
    assert "password: as printed the first time" in machine.text()
    assert "(shown this once)" not in machine.text()
    # The session of before the stop is still signed in: same keys, same users.
    assert signed_in.get(f"{machine.url}/admin/", timeout=20).url == f"{machine.url}/admin/"
    code, told = machine.command("sync", "demo-ifs-fedex")
    assert (code, told["open"]["failed"], told["poll"]["ship"]["new"]) == (1, 3, 0)
    assert machine.tracking() == numbers
    assert machine.simulated("fedex/_sim/state")["counts"]["made"] == made


def test_a_killed_runner_leaves_no_orphans(machine: Machine):
    assert machine.process is not None
    leaders = children(machine.process.pid)
    machine.process.kill()
    machine.process.wait()
    wait_for("every process has ended", lambda: not in_sessions(leaders), DOWN_S)

"""What deploy/ starts is what the Procfile starts, is stopped as workers must be, and carries no keys."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from cryptography.fernet import Fernet

from connector.runner import read_procfile

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
PYTHON = "/opt/ml-connector/.venv/bin/python"
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))


def lines(name: str, key: str) -> list[str]:
    """All values of a key; systemd repeats keys, which configparser does not read."""
    return re.findall(rf"^{key}=(.*)$", (DEPLOY / name).read_text(), re.MULTILINE)


def plain(command: str) -> str:
    """Without what the shell of the Procfile adds as defaults."""
    return re.sub(r"\$\{(\w+)(?::-[^}]*)?\}", r"$\1", command)


def test_units_start_what_the_procfile_starts() -> None:
    procfile = read_procfile(ROOT / "Procfile")
    for unit, name in (("ml-connector-web.service", "web"), ("ml-connector-worker@.service", "worker")):
        [command] = lines(unit, "ExecStart")
        assert plain(command) == plain(procfile[name]).replace("python", PYTHON, 1)
    release = [command.removeprefix(f"{PYTHON} ") for command in lines("ml-connector-release.service", "ExecStart")]
    assert procfile["release"].removeprefix("python ") in release


def test_every_variable_of_a_command_has_a_value() -> None:
    for unit in UNITS:
        given = " ".join(lines(unit, "Environment"))
        for variable in re.findall(r"\$\{(\w+)\}", " ".join(lines(unit, "ExecStart"))):
            assert f"{variable}=" in given, f"{unit}: {variable}"


@pytest.mark.parametrize("unit", ["ml-connector-web.service", "ml-connector-worker@.service"])
def test_only_the_main_process_is_asked_to_end_and_it_is_started_again(unit: str) -> None:
    assert lines(unit, "KillMode") == ["mixed"]
    assert lines(unit, "Restart") == ["always"]
    assert int(lines(unit, "TimeoutStopSec")[0]) >= 60


@pytest.mark.parametrize("unit", UNITS)
def test_no_unit_runs_as_root_or_holds_a_secret(unit: str) -> None:
    assert lines(unit, "User") == ["ml-connector"]
    assert lines(unit, "EnvironmentFile") == ["/etc/ml-connector/environment"]
    assert not re.search(r"(KEY|TOKEN|PASSWORD|_URL)=", (DEPLOY / unit).read_text())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """Its Python is not on this machine: another program stands in for the check of the path alone."""
    for path in [*DEPLOY.glob("*.service"), *DEPLOY.glob("*.target")]:
        (tmp_path / path.name).write_text(path.read_text().replace(PYTHON, "/bin/true"))
    told = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True, check=False
    )
    assert [line for line in told.stderr.splitlines() if "ml-connector" in line] == []


def test_the_image_starts_what_the_procfile_starts_and_copies_what_is_there() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert f"exec {read_procfile(ROOT / 'Procfile')['web']}" in text
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines(), "everything else stays out: .env holds the keys"
    [version] = re.findall(r"^FROM docker.io/library/python:(\d+\.\d+)-slim$", text, re.MULTILINE)
    assert version in ("3.11", "3.12", "3.13")


def test_the_example_names_variables_that_exist_and_holds_no_key() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    text = (DEPLOY / "environment.example").read_text()
    parser.read_string("[all]\n" + text.replace("\n#REDIS_URL", "\nREDIS_URL"))
    settings = (ROOT / "connector/settings.py").read_text()
    for name, value in parser["all"].items():
        assert f'"{name}"' in settings, f"{name} is no setting"
        assert not value or not re.search(r"KEY|TOKEN", name)


def from_the_image(tmp_path: Path) -> Path:
    """What the image holds in /app, as COPY and .dockerignore let it in."""
    text, app = (DEPLOY / "Containerfile").read_text(), tmp_path / "app"
    app.mkdir()
    out = shutil.ignore_patterns("__pycache__", ".env*", "*.sqlite3*")
    for name in [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]:
        source = ROOT / name
        (shutil.copytree(source, app / name, ignore=out) if source.is_dir() else shutil.copy(source, app / name))
    return app


def test_what_goes_into_the_image_is_built_and_started(tmp_path: Path) -> None:
    """Without a builder: the steps of the Containerfile themselves, on the files that it copies and on nothing else."""
    text, app = (DEPLOY / "Containerfile").read_text(), from_the_image(tmp_path)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    port = free_port()
    bare = {"PATH": path, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "PORT": str(port), "WEB_HOST": "127.0.0.1"}
    [build] = re.findall(r"^RUN (SECRET_KEY=.*?)\\\n +&& useradd", text, re.MULTILINE | re.DOTALL)
    subprocess.run(["/bin/sh", "-c", build.replace("\\\n", " ")], cwd=app, env=bare, check=True, capture_output=True)
    key = Fernet.generate_key().decode()
    env = bare | {"SECRET_KEY": "x" * 50, "FIELD_ENCRYPTION_KEY": key, "DATABASE_URL": f"sqlite:///{tmp_path}/state.sqlite3"}
    env |= {"ALLOWED_HOSTS": "127.0.0.1", "WEB_CONCURRENCY": "1"}
    subprocess.run(["python", "manage.py", "migrate", "--noinput"], cwd=app, env=env, check=True, capture_output=True)
    [command] = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    before = sorted(p.relative_to(app) for p in app.rglob("*"))
    with subprocess.Popen(json.loads(command), cwd=app, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as web:
        try:
            assert answers(f"http://127.0.0.1:{port}/healthz") == 200
            assert answers(f"http://127.0.0.1:{port}/static/connector/console.css") == 200
        finally:
            web.terminate()
            web.wait(30)
    assert sorted(p.relative_to(app) for p in app.rglob("*")) == before, "state belongs into the database"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def answers(url: str, patience_s: float = 60.0) -> int:
    """The status, once somebody listens."""
    until = time.monotonic() + patience_s
    while True:
        try:
            return requests.get(url, timeout=10).status_code
        except requests.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)

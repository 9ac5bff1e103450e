"""What `make test` does: style, types, all tests on SQLite and again on PostgreSQL, and plain words at the end.

What this machine lacks is skipped and said. `MLC_REQUIRE=postgres,browser` turns such a skip into a failure.
`TEST_POSTGRES_URL` names another server than the usual one; `MLC_TEST_PROCESSES` how many tests run at a time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from tests import machine

ROOT = Path(__file__).resolve().parent.parent
POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
CONNECT_TIMEOUT_S = 3
ONE_ENGINE = (
    *(
        "tests/base",
        "tests/fedex",
        "tests/ifs_cloud",
        "tests/test_docs.py",
        "tests/test_import_rules.py",
        "tests/test_project.py",
    ),
    *("tests/browser", "tests/connector/test_runner.py", "tests/connector/test_first_minute.py"),
)
"""Tests that use no database, or bring one of their own: running them on a second engine would show nothing new."""
LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy", "connector", "integrations", "manage.py"],
}


def run(name: str, *args: str, env: dict[str, str] | None = None) -> str | None:
    """Run a module of this environment; what to say if it failed."""
    print(f"\n=== {name}", flush=True)
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *args], cwd=ROOT, env={**os.environ, **(env or {})}, check=False)
    took = time.monotonic() - begun
    print(f"=== {name}: {'ok' if done.returncode == 0 else 'FAILED'} in {took:.0f} s", flush=True)
    return None if done.returncode == 0 else f"{name} failed (exit code {done.returncode})"


def postgres_problem() -> str | None:
    """Why PostgreSQL cannot be used here; None if it can."""
    try:
        psycopg.connect(POSTGRES_URL, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as error:
        return f"no PostgreSQL at {POSTGRES_URL.rpartition('@')[2]} ({str(error).splitlines()[0].strip()})"
    return None


def processes() -> str:
    """How many tests at a time: one per core, four at most (each has its own database)."""
    return os.environ.get("MLC_TEST_PROCESSES") or str(min(4, os.cpu_count() or 1))


def tests_on(engine: str, url: str, chosen: list[str]) -> list[str | None]:
    """All tests on one engine. Those that start processes come by themselves: they measure patience on a clock."""
    env = {"TEST_DATABASE_URL": url}
    once = () if engine == "SQLite" else tuple(f"--ignore={path}" for path in ONE_ENGINE)
    common = ("pytest", "-q", "--dist", "loadfile", *once)
    if chosen:
        return [run(f"tests on {engine}", *common, "-n", processes(), *chosen, env=env)]
    return [
        run(f"tests on {engine}", *common, "-n", processes(), "-m", "not processes", env=env),
        run(f"tests with real processes on {engine}", *common, "--dist", "load", "-n", "3", "-m", "processes", env=env),
    ]


def main() -> int:
    """Exit 0 when all that could run is well and nothing required was skipped."""
    parser = argparse.ArgumentParser(prog="python -m tests.run", description=__doc__)
    parser.add_argument("--lint", action="store_true", help="style and types only")
    parser.add_argument("pytest", nargs="*", help="handed to pytest")
    told = parser.parse_args()
    results = [run(name, *command) for name, command in LINT.items()]
    skipped: list[str] = []
    if not told.lint:
        results += tests_on("SQLite", "sqlite:///build/test.sqlite3", told.pytest)
        problem = postgres_problem()
        if problem is None:
            results += tests_on("PostgreSQL", POSTGRES_URL, told.pytest)
        elif "postgres" in machine.required():
            results.append(f"tests on PostgreSQL are required, but there is {problem}")
        else:
            skipped.append(f"tests on PostgreSQL: {problem}")
        if machine.browser_problem():
            skipped.append(f"tests in a browser: {machine.browser_problem()}")
    failures = [text for text in results if text]
    print()
    for text in skipped:
        print(f"SKIPPED {text}")
    for text in failures:
        print(f"FAILED  {text}")
    if not failures:
        print("All is well." if not skipped else "All that this machine can run is well.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

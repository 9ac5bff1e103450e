"""All vendors' simulators on one port of this machine, their state in files, one process at a time per folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import requests
from django.conf import settings

from integrations import registry
from integrations.base.simulator import Simulator

HOST = "127.0.0.1"
DEFAULT_PORT = 8900
CONTROL_TIMEOUT_S = 30
LOOK_TIMEOUT_S = 0.5


class StateInUse(Exception):
    """Another process serves simulators from this state folder."""


class SimulatorsUnreachable(Exception):
    """Simulators run, but not at the address asked; the message says what to do."""


@runtime_checkable
class HasSamples(Protocol):
    """A simulator with sample documents. Loading them again changes nothing; the ids of all samples come back."""

    def load_demo(self) -> list[int]: ...


@contextmanager
def exclusive_state() -> Iterator[Path]:
    """Own the state folder while inside (made if absent). Raises StateInUse while another process does.

    Two writers would overwrite each other's state, and numbers once given out would come again.
    """
    folder: Path = settings.SIMULATOR_STATE_DIR
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateInUse(f"other simulators run with their state in {folder}") from error
        yield folder


def load(folder: Path) -> list[Simulator]:
    """A simulator of every vendor in the registry, each with the state it had when it last ran."""
    return [registry.simulator_class(slug)(state_file=folder / f"{slug}.json") for slug in registry.slugs()]


def url(slug: str, port: int) -> str:
    """Base URL of a vendor's simulator on this machine, without a slash at the end."""
    return f"http://{HOST}:{port}/{slug}"


def port() -> int:
    """Where this machine's simulators serve: SIMULATOR_PORT, else the usual port."""
    told = os.environ.get("SIMULATOR_PORT", "")
    return int(told) if told.isdecimal() else DEFAULT_PORT


def answer(port: int) -> bool:
    """Whether this machine's simulators answer at `port`. For pages: gives up at once."""
    try:
        with _session() as session:
            found = session.get(f"{url(registry.slugs()[0], port)}/_sim/faults", timeout=LOOK_TIMEOUT_S)
            return found.status_code == 200 and isinstance(found.json(), list)
    except (requests.RequestException, ValueError):
        return False


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy for the world must not stand between two processes of this machine
    return session


def load_samples(port: int, *, running: bool = False) -> dict[str, int]:
    """Put the sample documents into the simulators; those that are there stay as they are.

    With `running` only simulators that answer at `port` will do.
    Simulators that run are asked at `port`; otherwise the samples go into the state that they will start from.
    Returns how many samples each vendor holds. Raises SimulatorsUnreachable when some run elsewhere.
    """
    if running:
        return _over_http(port)
    try:
        with exclusive_state() as folder:
            return _into_files(folder)
    except StateInUse:
        return _over_http(port)


def _into_files(folder: Path) -> dict[str, int]:
    held: dict[str, int] = {}
    for simulator in load(folder):
        if isinstance(simulator, HasSamples):
            held[simulator.slug] = len(simulator.load_demo())
            simulator.save(force=True)
    return held


def _over_http(port: int) -> dict[str, int]:
    held: dict[str, int] = {}
    with _session() as session:
        for slug in registry.slugs():
            if not issubclass(registry.simulator_class(slug), HasSamples):
                continue
            try:
                answer = session.post(f"{url(slug, port)}/_sim/demo", json={}, timeout=CONTROL_TIMEOUT_S)
                answer.raise_for_status()
                held[slug] = len(answer.json()["ids"])
            except (requests.RequestException, ValueError, KeyError) as error:
                raise SimulatorsUnreachable(
                    f"Simulators run, but port {port} did not load the samples ({error}). "
                    "Give the port they serve with --port, or stop them first."
                ) from error
    return held

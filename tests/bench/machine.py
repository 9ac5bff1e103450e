"""What the kernel knows of processes: CPU time, peak memory, who belongs to whom. Linux only (/proc)."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment. `reaped_s` is the CPU of children that have ended and been waited for."""

    pid: int
    group: int
    cpu_s: float
    reaped_s: float


def process(pid: int) -> Process | None:
    """A process as it is now; None when it is gone or only its exit code is left."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    if fields[0] in "ZX":
        return None
    user, system, reaped_user, reaped_system = (int(n) * TICK_S for n in fields[11:15])
    return Process(pid, int(fields[2]), user + system, reaped_user + reaped_system)


def processes() -> list[Process]:
    """All that run now."""
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [p for p in found if p is not None]


def group(leader: int) -> list[Process]:
    """The processes of a group."""
    return [p for p in processes() if p.group == leader]


def peak_mb(pid: int) -> float:
    """The most memory a process ever had in RAM (VmHWM), in MB of 1024 kB; 0.0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def machine_cpu_s() -> float:
    """CPU seconds that all cores together have been busy since boot."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = (int(n) for n in fields)
    return (user + nice + system + irq + softirq) * TICK_S


def _is_backend(pid: int, database: str) -> bool:
    """Whether a process is a PostgreSQL backend of this database: the server writes it into its title."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return False
    return title.startswith("postgres: ") and f" {database} " in title


@dataclass
class CpuMeter(threading.Thread):
    """Sums up CPU by part while it runs.

    `groups` maps a part to the leader of its process group; `database` names the PostgreSQL database whose backends
    are a part of their own. Backends come and go, so all are looked at every 0.1 s: what a backend does between the
    last look and its end is missed.
    """

    groups: dict[str, int]
    database: str = ""
    used_s: dict[str, float] = field(default_factory=dict)
    machine_s: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(daemon=True, name="cpu meter")
        self._over = threading.Event()
        self._first: dict[str, dict[int, float]] = {part: {} for part in [*self.groups, "database"]}
        self._last: dict[str, dict[int, float]] = {part: {} for part in [*self.groups, "database"]}

    __hash__ = threading.Thread.__hash__

    def start(self) -> None:
        """Look for the first time, then in the background."""
        self._machine = machine_cpu_s()
        self._look(first=True)
        super().start()

    def stop(self) -> None:
        """The last look; `used_s` and `machine_s` are valid from here on."""
        self._over.set()
        self.join()
        self._look()
        self.machine_s = machine_cpu_s() - self._machine
        for part, last in self._last.items():
            self.used_s[part] = sum(cpu - self._first[part].get(pid, 0.0) for pid, cpu in last.items())

    def run(self) -> None:
        """Until told to stop."""
        while not self._over.wait(SAMPLE_S):
            self._look()

    def _look(self, *, first: bool = False) -> None:
        parts = {leader: part for part, leader in self.groups.items()}
        for found in processes():
            part = parts.get(found.group)
            if part is None and self.database and _is_backend(found.pid, self.database):
                part = "database"
            if part is None:
                continue
            if first:
                self._first[part][found.pid] = found.cpu_s
            self._last[part][found.pid] = found.cpu_s

"""Runs the processes of a Procfile in one terminal and ends them together. Standard library only.

Each process leads a session of its own: Ctrl-C in the terminal reaches only this runner, which then asks each
leader (not its group) to end. A worker told through its group would lose its children in the middle of a transfer;
asked alone, it lets them finish. What is left of a group after its leader has gone is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.+)")
GRACE_S = 40.0
"""How long a process may take to end: a worker finishes the records it has in hand."""

LOOK_S = 0.25
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Child:
    """One process of the Procfile. Its pid is also the id of its session and group."""

    name: str
    process: subprocess.Popen[bytes]
    rest: bytes = b""


def read_procfile(path: Path) -> dict[str, str]:
    """Name to command line, in the file's order. Raises ValueError for a line that is none, OSError."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"{path.name}, line {number}: not NAME: COMMAND")
        found[match[1]] = match[2]
    return found


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody could listen there now."""
    with socket.socket() as probe:
        # As servers do: connections that have just ended do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _follow_parent() -> None:
    """In the child: be asked to end when the runner itself is killed (Linux)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Runner:
    """Starts commands, passes their output on with the name in front, ends all when told or when one ends."""

    def __init__(self, commands: Mapping[str, str], *, cwd: Path, env: Mapping[str, str], out: IO[bytes] | None = None) -> None:
        self.commands = dict(commands)
        self.cwd = cwd
        # `python` in a Procfile is the one that runs this, activated or not.
        here = str(Path(sys.executable).parent)
        self.env = {**env, "PATH": f"{here}{os.pathsep}{env.get('PATH', os.defpath)}", "PYTHONUNBUFFERED": "1"}
        self.out = out or sys.stdout.buffer
        self.children: list[Child] = []
        self._width = max(len(name) for name in self.commands)
        self._asked: list[int] = []
        self._selector = selectors.DefaultSelector()

    def run(self, started: Callable[[], bool] | None = None, when_started: str = "") -> int:
        """Run until SIGINT, SIGTERM or SIGHUP (returns 0) or until a process ends by itself (returns 1).

        `started` is asked again and again until it is true; then `when_started` is printed. A second signal
        while ending kills at once.
        """
        for number in STOP_SIGNALS:
            # nohup stays nohup; an ignored SIGINT (a shell's background job) does not: somebody sends it on purpose.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, lambda received, _: self._asked.append(received))
        try:
            self._start()
            asked = self._watch(started, when_started)
            self._end(heard=1 if asked else 0)
        finally:
            self._kill()
            self._selector.close()
        return 0 if asked else 1

    def _start(self) -> None:
        for name, command in self.commands.items():
            # exec: the pid is the program's own, not a shell's that would keep signals to itself.
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_follow_parent if sys.platform == "linux" else None,
            )
            child = Child(name, process)
            self.children.append(child)
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, child)

    def _watch(self, started: Callable[[], bool] | None, when_started: str) -> bool:
        """Until a signal arrives (True) or a process ends by itself (False)."""
        while not self._asked:
            self._pass_on()
            if started is not None and started():
                self._say(when_started)
                started = None
            gone = next((child for child in self.children if child.process.poll() is not None), None)
            if gone is not None:
                self._pass_on()
                self._say(f"{gone.name} ended with code {gone.process.returncode}; ending the others.")
                return False
        self._say("Ending. Work in hand is finished first; Ctrl-C again kills.")
        return True

    def _end(self, heard: int) -> None:
        """Ask every process to end, and wait for it: GRACE_S at most, or until there are more signals than `heard`.

        `heard` is told, not counted here: a second signal may have come while the first was being answered.
        """
        for child in self.children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(child.process.poll() is None for child in self.children):
            if time.monotonic() > deadline:
                slow = ", ".join(child.name for child in self.children if child.process.poll() is None)
                self._say(f"{slow} did not end within {GRACE_S:.0f} s and is killed. Its work goes on at the next start.")
                return
            if len(self._asked) > heard:
                return
            self._pass_on()

    def _kill(self) -> None:
        """Kill what is left of every group, and say what it had still written."""
        for child in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
        self._pass_on(wait_s=0)

    def _pass_on(self, wait_s: float = LOOK_S) -> None:
        """Copy whole lines of output, waiting up to `wait_s` for some."""
        if not self._selector.get_map():
            time.sleep(wait_s)
            return
        for key, _ in self._selector.select(wait_s):
            child: Child = key.data
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fileobj)
            *lines, child.rest = (child.rest + data).split(b"\n")
            if not data and child.rest:
                lines, child.rest = [*lines, child.rest], b""
            self._write(child.name, lines)

    def _write(self, name: str, lines: Sequence[bytes]) -> None:
        front = f"{name:<{self._width}} | ".encode()
        try:
            for line in lines:
                self.out.write(front + line + b"\n")
            self.out.flush()
        except OSError:  # the terminal has gone: SIGHUP ends us, and there is nobody left to read
            return

    def _say(self, text: str) -> None:
        self._write("run", [line.encode() for line in text.splitlines()])

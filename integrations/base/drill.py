"""Named points at which a drill may kill this very process, to show that nothing is lost or bought twice.

Does nothing unless the project runs with DEBUG (the application sets `armed` at start) *and* the environment says
`DRILL_KILL_AT=<name>[:n]`, or `<step>/<name>[:n]` for a passage during that step: die at the n-th passage, default 1.
`DRILL_TRACE=<file>` keeps the passages instead, one line "<step>/<name>" each: what there is to be killed at.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Literal

Boundary = Literal[
    "claimed",
    "begun",
    "read",
    "guarded",
    "intent_committed",
    "request_written",
    "answer_received",
    "answer_committed",
    "outcome_committed",
    "write_sent",
    "saving",
    "write_committed",
    "finished",
    "acted",
    "compared",
    "batch_committed",
]

armed = False
_passed = 0
_lock = threading.Lock()
_here = threading.local()


def at(step: str) -> None:
    """This thread is at that step from now on ("": at none)."""
    _here.step = step


def boundary(name: Boundary) -> None:
    """Pass a named point; SIGKILL to this process if a drill asks for it here."""
    if not armed:
        return
    if kept := os.environ.get("DRILL_TRACE"):
        with open(kept, "a", encoding="utf-8") as file:
            file.write(f"{getattr(_here, 'step', '')}/{name}\n")
    if wanted := os.environ.get("DRILL_KILL_AT"):
        _die(name, wanted)


def _die(name: str, wanted: str) -> None:
    target, _, count = wanted.partition(":")
    step, within, target = target.rpartition("/")
    if target != name or (within and step != getattr(_here, "step", "")):
        return
    global _passed
    with _lock:
        _passed += 1
        if _passed >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)

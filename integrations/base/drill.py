"""Named points at which a drill may kill this very process, to show that nothing is lost or bought twice.

Does nothing unless the environment says `DRILL_KILL_AT=<name>[:n]` (die at the n-th passage, default 1)
*and* the project runs with DEBUG (the application sets `armed` at start).
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Literal

Boundary = Literal[
    "claimed",
    "read",
    "guarded",
    "intent_committed",
    "request_written",
    "answer_received",
    "answer_committed",
    "outcome_committed",
    "write_sent",
    "write_committed",
    "finished",
]

armed = False
_passed = 0
_lock = threading.Lock()


def boundary(name: Boundary) -> None:
    """Pass a named point; SIGKILL to this process if a drill asks for it here."""
    wanted = os.environ.get("DRILL_KILL_AT")
    if not wanted or not armed:
        return
    target, _, count = wanted.partition(":")
    if target != name:
        return
    global _passed
    with _lock:
        _passed += 1
        if _passed >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)

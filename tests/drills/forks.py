"""Workers by the hundred: a process that has everything loaded forks one for each transfer, and each dies where it is told.

    forks = Forks(site)
    forks.trace(transfer, file)                             # one attempt; which boundaries it passed
    forks.kill([(transfer, "buy label/answer_received:1")])  # each attempt in a process of its own, ended by SIGKILL there
    forks.drain(wait_s=10)                                  # fresh workers bring everything to its end

The workers are what a cluster's are: forked from one that has Django loaded, with connections of their own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.drills.site import Site, kill_group

PARALLEL = 4
PATIENCE_S = 240.0
"""Some orders are a hundred attempts. One that takes longer than this hangs, and a drill must not hang with it."""


def numbered(passages: Sequence[str]) -> list[str]:
    """Passages of boundaries as a drill names them: the how-manieth of its kind each is."""
    passed: Counter[str] = Counter()
    found = []
    for line in passages:
        passed[line] += 1
        found.append(f"{line}:{passed[line]}")
    return found


class Forks:
    """The test's side: orders as lines of JSON, one answer each."""

    def __init__(self, site: Site, **more: str) -> None:
        with (site.folder / "forks.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.drills.forking"],
                env=site.env(**more),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.site = site

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *exc: object) -> None:
        kill_group(self.process.pid)
        with self.process:  # closes its ends, and waits
            pass

    def order(self, do: str, **told: Any) -> Any:
        """Have something done; what came of it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "slug": self.site.slug, **told}) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], PATIENCE_S)[0]:
            raise AssertionError(f"no answer to {do!r} within {PATIENCE_S:.0f} s. Where the workers stood:\n{self._where()}")
        line = self.process.stdout.readline()
        assert line, "the process that forks has ended; see forks.log"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _where(self) -> str:
        """The stacks of all workers, which write them into the log; then they are ended."""
        log = self.site.folder / "forks.log"
        before = log.stat().st_size
        os.killpg(self.process.pid, signal.SIGUSR1)
        time.sleep(1)
        kill_group(self.process.pid)
        return log.read_bytes()[before:].decode(errors="replace")[-8000:]

    def python(self, code: str, **values: Any) -> Any:
        """Run Python in a worker; what it left in `result`. `values` are its names."""
        return self.order("python", code=code, values=values)

    def dies(self, point: str, code: str, **values: Any) -> None:
        """Run Python in a worker that is killed at a boundary: it must have come there."""
        status = self.order("python", code=code, values=values, environment={"DRILL_KILL_AT": point}, status=True)
        assert status == -signal.SIGKILL, f"{point} was never passed (status {status})"

    def passes(self, code: str, **values: Any) -> list[str]:
        """Run Python in a worker; the boundaries that it passed, "<step>/<name>:<n>" each."""
        kept = self.site.folder / f"trace-{uuid.uuid4().hex}"
        status = self.order("python", code=code, values=values, environment={"DRILL_TRACE": str(kept)}, status=True)
        assert status == 0, f"status {status}; see forks.log"
        return numbered(kept.read_text().splitlines())

    def trace(self, transfer: int) -> list[str]:
        """One undisturbed attempt at a transfer; the boundaries it passed, "<step>/<name>:<n>" each."""
        kept = self.site.folder / f"trace-{transfer}"
        [status] = self.order("attempt", jobs=[[transfer, {"DRILL_TRACE": str(kept)}]], parallel=1)
        assert status == 0, f"status {status}; see forks.log"
        return numbered(kept.read_text().splitlines())

    def kill(self, jobs: Sequence[tuple[int, str]], parallel: int = PARALLEL) -> list[tuple[int, str]]:
        """An attempt at each transfer, ended at its boundary. Those that did not come there."""
        statuses = self.order("attempt", jobs=[[pk, {"DRILL_KILL_AT": point}] for pk, point in jobs], parallel=parallel)
        return [job for job, status in zip(jobs, statuses, strict=True) if status != -signal.SIGKILL]

    def drain(self, wait_s: float = 0.0, processes: int = 2) -> None:
        """Fresh workers, until nothing is due within `wait_s`."""
        assert set(self.order("drain", wait_s=wait_s, processes=processes)) == {0}

    def poll(self, flow: str = "ship") -> None:
        """Poll now, as the schedule would."""
        self.python(
            "from connector import tasks\nfrom connector.models import Integration\n"
            f"tasks.poll(Integration.objects.get(slug=slug).pk, {flow!r})",
            slug=self.site.slug,
        )

"""The runner: lines with their process in front, one end for all, nobody left behind. With small shell commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connector import runner

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, os, sys
from pathlib import Path
from connector.runner import Runner
commands = json.loads(sys.argv[1])
sys.exit(Runner(commands, cwd=Path.cwd(), env=os.environ).run(lambda: True, "up"))
"""


class Started:
    """A runner in a process of its own."""

    def __init__(self, folder: Path, **commands: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        arguments = [sys.executable, "-c", SCRIPT, json.dumps(commands)]
        self.process = subprocess.Popen(arguments, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def line(self, wanted: str) -> str:
        """The next line that holds `wanted`. Fails when the output ends without it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted in line:
                return line.rstrip("\n")
        raise AssertionError(f"never said: {wanted}")

    def end(self, *signals: int) -> tuple[int, str]:
        """Send signals; exit code and the rest of the output."""
        for number in signals:
            self.process.send_signal(number)
        rest = self.process.communicate(timeout=30)[0]
        return self.process.returncode, rest


def gone(pid: int) -> bool:
    """Whether a process ends within five seconds (a zombie has)."""
    for _ in range(50):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_output_comes_line_by_line_with_its_name_in_front(tmp_path: Path):
    started = Started(tmp_path, one="sh -c 'printf first; echo -half; printf last; sleep 60'", second="sleep 60")
    assert started.line("first") == "one    | first-half"
    assert started.end(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_way_to_end_it_is_a_good_end(tmp_path: Path, number: int):
    started = Started(tmp_path, a="sh -c 'echo pid $$; exec sleep 60'")
    pid = int(started.line("pid ").split()[-1])
    assert started.end(number)[0] == 0
    assert gone(pid)


def test_only_the_leader_is_asked_and_may_finish_its_work(tmp_path: Path):
    """A leader that lets its child finish; were the group told, the child would die before it wrote."""
    work = 'trap "wait $!; echo leader ends; exit 0" TERM; sh -c "echo ready; sleep 1; touch finished; sleep 0" & wait'
    started = Started(tmp_path, work=f"sh -c '{work}'")
    started.line("ready")
    code, rest = started.end(signal.SIGTERM)
    assert code == 0 and "leader ends" in rest
    assert (tmp_path / "finished").exists()


def test_when_one_ends_the_others_end_too_and_it_is_no_success(tmp_path: Path):
    started = Started(tmp_path, stays="sh -c 'echo pid $$; exec sleep 60'", fails="sh -c 'sleep 0.5; exit 3'")
    pid = int(started.line("pid ").split()[-1])
    code, rest = started.end()
    assert code == 1
    assert "fails ended with code 3" in rest
    assert gone(pid)


def test_a_second_ctrl_c_kills_what_will_not_end(tmp_path: Path):
    started = Started(tmp_path, deaf="sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 0.1; done'")
    pid = int(started.line("pid ").split()[-1])
    started.process.send_signal(signal.SIGINT)
    started.line("Ending")
    begun = time.monotonic()
    assert started.end(signal.SIGINT)[0] == 0
    assert time.monotonic() - begun < runner.GRACE_S / 2
    assert gone(pid)


def test_a_second_signal_before_the_first_is_answered_is_not_lost(tmp_path: Path):
    """Two kinds, as the system may merge two of one kind that wait."""
    started = Started(tmp_path, deaf="sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 0.1; done'")
    pid = int(started.line("pid ").split()[-1])
    begun = time.monotonic()
    assert started.end(signal.SIGINT, signal.SIGTERM)[0] == 0
    assert time.monotonic() - begun < runner.GRACE_S / 2
    assert gone(pid)


def test_what_a_leader_leaves_behind_is_killed(tmp_path: Path):
    started = Started(tmp_path, leaves="sh -c 'sleep 300 & echo left $!; wait'")
    left = int(started.line("left ").split()[-1])
    started.end(signal.SIGINT)
    assert gone(left)


def test_a_procfile_is_names_and_commands(tmp_path: Path):
    path = tmp_path / "Procfile"
    path.write_text("# comment\n\nweb: serve --port ${PORT:-1}\nworker:  work\n")
    assert runner.read_procfile(path) == {"web": "serve --port ${PORT:-1}", "worker": "work"}
    path.write_text("web: x\nnonsense\n")
    with pytest.raises(ValueError, match="line 2"):
        runner.read_procfile(path)

"""The process behind `forks`: it loads everything once, and forks a worker for each thing to be done."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


def _fork(act: Callable[[], None]) -> int:
    """A worker that does this; its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _status(raw: int) -> int:
    return os.waitstatus_to_exitcode(raw)


def _attempt(order: dict[str, Any]) -> list[int]:
    from connector.models import Integration
    from connector.services.engine import work
    from integrations.flows.specs import FLOWS

    def act(transfer: int, environment: dict[str, str]) -> Callable[[], None]:
        def attempt() -> None:
            os.environ.update(environment)
            integration = Integration.objects.select_related("source", "target", "tenant").get(slug=order["slug"])
            work.process(integration, FLOWS, only=[transfer], threads=1)

        return attempt

    waiting = list(enumerate(order["jobs"]))
    under_way: dict[int, int] = {}
    ended: dict[int, int] = {}
    while waiting or under_way:
        while waiting and len(under_way) < order["parallel"]:
            place, (transfer, environment) = waiting.pop(0)
            under_way[_fork(act(transfer, environment))] = place
        pid, raw = os.wait()
        ended[under_way.pop(pid)] = _status(raw)
    return [ended[place] for place in range(len(ended))]


def _drain(order: dict[str, Any]) -> list[int]:
    from connector.management.commands.sync import drain
    from connector.models import Integration

    def act() -> None:
        drain(Integration.objects.select_related("source", "target", "tenant").get(slug=order["slug"]), order["wait_s"])

    pids = [_fork(act) for _ in range(order["processes"])]
    return [_status(os.waitpid(pid, 0)[1]) for pid in pids]


def _python(order: dict[str, Any]) -> Any:
    read, write = os.pipe()

    def act() -> None:
        os.environ.update(order.get("environment", {}))
        names: dict[str, Any] = {"result": None, **order["values"]}
        exec(order["code"], names)
        with os.fdopen(write, "w") as told:
            json.dump(names["result"], told, default=str)

    pid = _fork(act)
    os.close(write)
    with os.fdopen(read) as told:
        text = told.read()
    status = _status(os.waitpid(pid, 0)[1])
    if order.get("status"):
        return status
    if status:
        raise RuntimeError(f"status {status}; see forks.log")
    return json.loads(text)


def main() -> None:
    """Read orders, one a line; what workers print goes to the log."""
    import django

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # workers inherit it
    django.setup()
    orders = {"attempt": _attempt, "drain": _drain, "python": _python}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            told = {"result": orders[order["do"]](order)}
        except Exception as error:
            told = {"error": f"{order['do']}: {error}"}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()

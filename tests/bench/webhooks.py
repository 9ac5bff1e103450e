"""`python -m tests.bench.webhooks`: how many webhook posts one web process takes in, and how long each waits.

The web server runs as the Procfile starts it, with one process (`--processes` for more). Threads of this process play the
carrier: signed bodies of a usual size, 30 % of them posted before, each over a connection of its own as most proxies do.
A run counts only if every post was answered 200 and every body stands in the table exactly once.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench import machine
from tests.bench.site import ROOT, WEBHOOK_SECRET, BenchFailed, Plan, Site, scratch

BUDGET_PER_S, BUDGET_P99_MS = 300, 100
WARM_UP = 50
SLUG = "bench-fedex"
SCANS = ("OC", "PU", "DP", "AR", "DP", "AR", "OD")


# -- what is posted ----------------------------------------------------------------------------------------


def body(number: int) -> bytes:
    """One push as the carrier makes it: a parcel with seven scans, about 4 kB."""
    scans = [
        {
            "date": f"2026-11-{10 + i:02d}T08:{number % 60:02d}:00-06:00",
            "eventType": code,
            "eventDescription": "Arrived at FedEx location",
            "exceptionCode": "",
            "exceptionDescription": "",
            "derivedStatusCode": "IT",
            "derivedStatus": "In transit",
            "scanLocation": {"streetLines": [""], "city": "MEMPHIS", "stateOrProvinceCode": "TN", "countryCode": "US"},
            "locationId": f"ME{i}",
            "locationType": "SORT_FACILITY",
        }
        for i, code in enumerate(SCANS)
    ]
    tracking = f"7946{number:08d}"
    result = {
        "trackingNumberInfo": {"trackingNumber": tracking, "trackingNumberUniqueId": f"12028~{tracking}~FDEG"},
        "latestStatusDetail": {"code": "OD", "derivedCode": "OD", "description": "On FedEx vehicle for delivery"},
        "dateAndTimes": [{"type": "SHIP", "dateTime": "2026-11-10T00:00:00-06:00"}],
        "scanEvents": scans[::-1],
        "recipientInformation": {"address": {"city": "NASHVILLE", "stateOrProvinceCode": "TN", "countryCode": "US"}},
    }
    told = {"completeTrackResults": [{"trackingNumber": tracking, "trackResults": [result]}]}
    return json.dumps({"transactionId": f"bench-{number}", "output": told}).encode()


def request(raw: bytes, slug: str = SLUG, secret: str = WEBHOOK_SECRET) -> bytes:
    """The whole HTTP request around a body, signed."""
    signature = base64.b64encode(hmac.new(secret.encode(), raw, hashlib.sha256).digest()).decode()
    lines = (
        f"POST /hooks/{slug}/ HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
        f"fdx-signature: {signature}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + raw


def mixed(posts: int, duplicates: float, first: int, chance: random.Random) -> list[bytes]:
    """`posts` requests, that share of them posted earlier in the list; the first new one has the number `first`."""
    new = max(1, round(posts * (1 - duplicates)))
    made = [request(body(first + n)) for n in range(new)]
    again = [(chance.randrange(i + 1, new + 1), made[i]) for i in (chance.randrange(new) for _ in range(posts - new))]
    later: dict[int, list[bytes]] = {}
    for place, raw in again:
        later.setdefault(place, []).append(raw)
    return [raw for n in range(new + 1) for raw in (*made[n : n + 1], *later.get(n, ()))]


# -- the server and those who post -------------------------------------------------------------------------


def web_line(told: dict[str, str]) -> list[str]:
    """The command of the Procfile's web process, for this interpreter; its ${NAME:-default}s as `told`."""
    [line] = [text for text in (ROOT / "Procfile").read_text().splitlines() if text.startswith("web:")]
    words = [_filled(word, told) for word in shlex.split(line.partition(":")[2])]
    assert words[0] == "python"
    return [sys.executable, *words[1:]]


@contextlib.contextmanager
def web(site: Site, processes: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running web server and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WEB_HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": str(processes), "ALLOWED_HOSTS": "127.0.0.1"}
    line = web_line(told)
    log = site.folder / "web.log"
    with log.open("ab") as out:
        running = subprocess.Popen(line, cwd=ROOT, env=site.env() | told, stdout=out, stderr=out, start_new_session=True)
    try:
        site.wait("the web server answers", lambda: _answers(port, running, log))
        yield running, port
    finally:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _filled(word: str, told: dict[str, str]) -> str:
    """A word with its ${NAME:-default}s replaced, as the shell would."""
    for name, value in told.items():
        before, found, rest = word.partition("${" + name)
        if found:
            word = before + value + rest.partition("}")[2]
    return word


def _answers(port: int, running: subprocess.Popen[bytes], log: Any) -> bool:
    if running.poll() is not None:
        raise BenchFailed(f"the web server ended\n{log.read_text()[-3000:]}")
    with contextlib.suppress(OSError):
        return send(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") == 200
    return False


def send(port: int, raw: bytes) -> int:
    """One request over a connection of its own; the status."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        wire.sendall(raw)
        said = b""
        while b"\r\n" not in said:
            piece = wire.recv(4096)
            if not piece:
                break
            said += piece
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/") else 0


def pour(port: int, posts: Sequence[bytes], clients: int) -> tuple[float, list[float], dict[int, int]]:
    """Post all with `clients` threads: seconds in all, milliseconds of each, answers by status."""
    left = iter(posts)
    lock = threading.Lock()
    took: list[float] = []
    statuses: dict[int, int] = {}

    def client() -> None:
        mine: list[tuple[float, int]] = []
        while True:
            with lock:
                raw = next(left, None)
            if raw is None:
                break
            begun = time.perf_counter()
            try:
                status = send(port, raw)
            except OSError:
                status = 0
            mine.append(((time.perf_counter() - begun) * 1000, status))
        with lock:
            for ms, status in mine:
                took.append(ms)
                statuses[status] = statuses.get(status, 0) + 1

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun, took, statuses


# -- measuring ---------------------------------------------------------------------------------------------


def measure(site: Site, told: argparse.Namespace) -> dict[str, Any]:
    """`--repeat` rounds against one server; medians, and each round."""
    rounds = []
    with web(site, told.processes) as (running, port):
        first = 0
        pour(port, mixed(WARM_UP, 0, first, random.Random(1)), told.clients)
        first += WARM_UP
        for number in range(told.repeat):
            posts = mixed(told.posts, told.duplicates / 100, first, random.Random(number))
            new = len(set(posts))
            first += new
            meter = machine.CpuMeter({"web": running.pid}, database=site.database)
            meter.start()
            seconds, took, statuses = pour(port, posts, told.clients)
            meter.stop()
            stored = site.one("SELECT count(*) FROM connector_webhookdelivery")
            if statuses != {200: len(posts)} or stored != first:
                raise BenchFailed(f"{len(posts)} posts, {first} bodies: answers {statuses}, {stored} stored")
            took.sort()
            rounds.append(
                {
                    "posts": len(posts),
                    "new": new,
                    "per_s": len(posts) / seconds,
                    "p50_ms": took[len(took) // 2],
                    "p99_ms": took[int(len(took) * 0.99)],
                    "max_ms": took[-1],
                    "cpu_ms_web": meter.used_s["web"] * 1000 / len(posts),
                    "cpu_ms_database": meter.used_s.get("database", 0.0) * 1000 / len(posts),
                }
            )
        peak = max((machine.peak_mb(p.pid) for p in machine.group(running.pid)), default=0.0)
    waiting = site.one("SELECT count(*) FROM django_q_ormq")
    figures = ("per_s", "p50_ms", "p99_ms", "cpu_ms_web", "cpu_ms_database")
    middle = {name: statistics.median(one[name] for one in rounds) for name in figures}
    return {
        "engine": site.plan.engine,
        "processes": told.processes,
        "clients": told.clients,
        **middle,
        "web_peak_mb": peak,
        "wake_ups": waiting,
        "load": os.getloadavg()[0],
        "rounds": rounds,
    }


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    """The figures as lines of Markdown."""
    yield f"Budget: {BUDGET_PER_S}/s per process, p99 below {BUDGET_P99_MS} ms."
    yield ""
    yield "| database | posts (new) | posts/s | p50, p99 ms | CPU ms per post: web, database | web MB | wake-ups | load |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for one in found:
        last = one["rounds"][-1]
        rate = f"{one['per_s']:.0f} | {one['p50_ms']:.1f}, {one['p99_ms']:.1f}"
        cost = f"{one['cpu_ms_web']:.2f}, {one['cpu_ms_database']:.2f} | {one['web_peak_mb']:.0f} | {one['wake_ups']}"
        yield f"| {one['engine']} | {last['posts']:,} ({last['new']:,}) | {rate} | {cost} | {one['load']:.1f} |"


def main(given: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.webhooks", description=__doc__)
    parser.add_argument("--db", default="sqlite,postgres", help="sqlite, postgres or a server's URL; several by comma")
    parser.add_argument("--posts", type=int, default=10_000, help="posts of a round (default 10,000)")
    parser.add_argument("--duplicates", type=float, default=30, help="percent of them that were posted before (default 30)")
    parser.add_argument("--clients", type=int, default=8, help="posts at a time (default 8)")
    parser.add_argument("--processes", type=int, default=1, help="web processes (default 1)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of which the median counts (default 3)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    told = parser.parse_args(given)
    if min(told.posts, told.clients, told.processes, told.repeat) < 1 or not 0 <= told.duplicates < 100:
        parser.error("numbers must be positive, and some posts new")
    if given is None:
        # Asked to end: leave by the usual way, which takes processes and databases along.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    found = []
    for database in told.db.split(","):
        with scratch(Plan(database)) as site:
            found.append(measure(site, told))
    print(json.dumps(found) if told.json else "\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

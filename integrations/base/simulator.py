"""A stateful fake vendor over real HTTP: routing, faults, state, and the server that mounts several.

A vendor's `simulator.py` subclasses `Simulator`, registers routes and keeps everything it knows in
`self.state`, a JSON-able dict, so that `manage.py simulate` can keep it in a file. Faults decide how an
answer travels (late, lost after the work was done, truncated, dripping, replaced by HTML, an error or a
429); the vendor's own faults are named by the vendor. Nothing here knows our clients.

Control plane, for tests, the demo and a console (not part of any vendor's API), under `/<slug>/_sim`:

    GET  /_sim/state              the whole state
    POST /_sim/reset              back to the seed
    POST /_sim/faults             {"fault": "lost_answer", "match": "POST /ship/v1/shipments", "times": 1, ...}
    DELETE /_sim/faults           none any more; `?id=` ends one
    GET  /_sim/faults             which are on: [{"id", "fault", "match", "times", "used", "label"}]; a "label" is yours to give
    GET  /_sim/calls?limit=500    [{"method", "path", "status", "at", "faults"}] and counts per "METHOD path-pattern"
    POST /_sim/<anything else>    the vendor's own (`control` method)
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import os
import re
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from integrations.base.console import SimulatorConsole


@dataclass(slots=True)
class SimRequest:
    """One request as it arrived. `path` is percent-decoded, without the mount prefix; header names lower-case."""

    method: str
    path: str
    raw_path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    remote: str = "127.0.0.1"
    base: str = ""

    def json(self) -> Any:
        """The body as JSON; ValueError when it is not."""
        return json.loads(self.body.decode("utf-8"))

    def form(self) -> list[tuple[str, str]]:
        """The body as an urlencoded form, duplicates kept."""
        return parse_qsl(self.body.decode("utf-8"), keep_blank_values=True)


@dataclass(slots=True)
class SimResponse:
    """An answer; `body` may be bytes, text or anything JSON-able."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        self.headers.setdefault("Content-Type", "application/json")
        return json.dumps(self.body, separators=(",", ":")).encode()


@dataclass(slots=True)
class Fault:
    """How to misbehave, and when: on requests whose "METHOD /path" matches `match` (a regular expression).

    `skip` lets that many matching requests pass first, `every` picks each n-th, `times` ends it (None: never).
    Kinds known to the server: delay (args seconds), lost_answer (work done, connection reset),
    reset (no work done, connection reset), status (args status, body, headers; no work done), html,
    truncate (work done, half the body, then closed), drip (work done, args seconds between bytes),
    close (answer, then the keep-alive connection is closed without saying so), empty (work done, 200 without body),
    gzip. Every other kind is given to the vendor in `SimRequest.headers["x-sim-fault"]`.
    """

    fault: str
    match: str = ".*"
    times: int | None = 1
    skip: int = 0
    every: int = 1
    args: dict[str, Any] = field(default_factory=dict)
    seen: int = 0
    used: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def hits(self, line: str) -> bool:
        if self.times is not None and self.used >= self.times:
            return False
        if not re.search(self.match, line):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        self.used += 1
        return True


SERVER_FAULTS = frozenset({"delay", "lost_answer", "reset", "status", "html", "truncate", "drip", "close", "empty", "gzip"})

Handler = Callable[..., SimResponse]


class Simulator:
    """Base of all simulators. `slug` is the mount point; `now()` is the simulated clock (`clock_offset_s`)."""

    slug = ""
    console = SimulatorConsole()
    """What a person may do with it in the browser."""

    def __init__(self, *, state_file: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.faults: list[Fault] = []
        self.calls: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.peak = 0
        self._in_hand = 0
        self.clock_offset_s = 0.0
        self._routes: list[tuple[str, re.Pattern[str], str, Handler]] = []
        self._state_file = state_file
        self._dirty_since: float | None = None
        self.routes()
        self.state: dict[str, Any] = self._load() or copy.deepcopy(self.seed())

    # -- for vendors ---------------------------------------------------------------------------------

    def seed(self) -> dict[str, Any]:
        """The state to start from."""
        return {}

    def routes(self) -> None:
        """Register routes with `self.route`."""

    def route(self, method: str, pattern: str, handler: Handler, *, label: str | None = None) -> None:
        """`pattern` is a regular expression on the decoded path, anchored at both ends; groups become arguments."""
        self._routes.append((method, re.compile(f"^{pattern}$"), label or pattern, handler))

    def before(self, request: SimRequest) -> SimResponse | None:
        """Called before routing: authentication, limits. An answer ends the request."""
        return None

    def not_found(self, request: SimRequest) -> SimResponse:
        return SimResponse(404, {"error": "not found"})

    def wrong_method(self, request: SimRequest, allowed: list[str]) -> SimResponse:
        return SimResponse(405, {"error": "method not allowed"}, {"Allow": ", ".join(allowed)})

    def control(self, request: SimRequest, name: str) -> SimResponse:
        """The vendor's own control calls: seeding and editing records, moving scans, ..."""
        return SimResponse(404, {"error": f"no control call {name}"})

    def now(self) -> dt.datetime:
        """The simulator's clock, aware UTC."""
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.clock_offset_s)

    # -- for tests -----------------------------------------------------------------------------------

    def fault(self, fault: str, match: str = ".*", *, times: int | None = 1, skip: int = 0, every: int = 1, **args: Any) -> Fault:
        """Misbehave from now on as told; see `Fault`."""
        made = Fault(fault, match, times, skip, every, args)
        with self.lock:
            self.faults.append(made)
        return made

    def no_faults(self, only: str = "") -> None:
        """Behave from now on; `only` ends the fault of that id alone, if it is still there."""
        with self.lock:
            self.faults[:] = [fault for fault in self.faults if only and fault.id != only]

    def reset(self) -> None:
        """Back to the seed, no faults, no counted calls."""
        with self.lock:
            self.state = copy.deepcopy(self.seed())
            self.faults.clear()
            self.calls.clear()
            self.counts.clear()
            self.save(force=True)

    @contextmanager
    def in_hand(self) -> Iterator[None]:
        """One call is being worked on (not yet answered); `peak` keeps the most there were at a time."""
        with self.lock:
            self._in_hand += 1
            self.peak = max(self.peak, self._in_hand)
        try:
            yield
        finally:
            with self.lock:
                self._in_hand -= 1

    # -- serving -------------------------------------------------------------------------------------

    def handle(self, request: SimRequest) -> tuple[SimResponse, list[Fault]]:
        """Answer one request and tell which faults shape how the answer travels."""
        if request.path.startswith("/_sim"):
            return self._control(request), []
        line = f"{request.method} {request.path}"
        with self.lock:
            hit = [f for f in self.faults if f.hits(line)]
        request.headers.pop("x-sim-fault", None)
        for fault in hit:
            if fault.fault not in SERVER_FAULTS:
                request.headers["x-sim-fault"] = fault.fault
        if any(f.fault == "reset" for f in hit):
            self._count(request, line, 0, hit)
            return SimResponse(0), hit
        for fault in hit:
            if fault.fault == "status":
                told = fault.args
                answer = SimResponse(told.get("status", 503), told.get("body", b""), dict(told.get("headers", {})))
                self._count(request, line, answer.status, hit)
                return answer, hit
            if fault.fault == "html" and not fault.args.get("after_work"):
                status = fault.args.get("status", 503)
                self._count(request, line, status, hit)
                return SimResponse(status, "<html><body>Gateway says no</body></html>", {"Content-Type": "text/html"}), hit
        label, answer = self._dispatch(request)
        self._count(request, label, answer.status, hit)
        if request.method != "GET":
            self.save()
        return answer, hit

    def _dispatch(self, request: SimRequest) -> tuple[str, SimResponse]:
        with self.lock:
            early = self.before(request)
            label = f"{request.method} {request.path}"
            allowed: list[str] = []
            chosen: tuple[Handler, tuple[str, ...]] | None = None
            for method, pattern, name, handler in self._routes:
                match = pattern.match(request.path)
                if not match:
                    continue
                if method == request.method:
                    label, chosen = f"{method} {name}", (handler, match.groups())
                    break
                allowed.append(method)
            if early is not None:
                return label, early
            if chosen:
                return label, chosen[0](request, *chosen[1])
            return label, self.wrong_method(request, allowed) if allowed else self.not_found(request)

    def _count(self, request: SimRequest, label: str, status: int, hit: Iterable[Fault]) -> None:
        with self.lock:
            self.counts[label] += 1
            at = self.now().isoformat()
            faults = [f.fault for f in hit]
            self.calls.append({"method": request.method, "path": request.raw_path, "status": status, "at": at, "faults": faults})
            del self.calls[:-20000]

    def _control(self, request: SimRequest) -> SimResponse:
        name = request.path.removeprefix("/_sim").strip("/")
        with self.lock:
            match (request.method, name):
                case ("GET", "state"):
                    return SimResponse(200, self.state)
                case ("GET", "calls"):
                    limit = request.query.get("limit", "")
                    kept = min(int(limit), 500) if limit.isdecimal() and int(limit) else 500
                    return SimResponse(200, {"calls": self.calls[-kept:], "counts": dict(self.counts)})
                case ("POST", "reset"):
                    self.reset()
                    return SimResponse(200, {"ok": True})
                case ("POST", "faults"):
                    told = request.json()
                    known = {k: told.pop(k) for k in ("fault", "match", "times", "skip", "every") if k in told}
                    self.fault(**known, **told)
                    return SimResponse(200, {"ok": True})
                case ("GET", "faults"):
                    told_of = ("id", "fault", "match", "times", "used")
                    rows = [{k: getattr(f, k) for k in told_of} | {"label": f.args.get("label", "")} for f in self.faults]
                    return SimResponse(200, rows)
                case ("DELETE", "faults"):
                    self.no_faults(request.query.get("id", ""))
                    return SimResponse(200, {"ok": True})
                case ("POST", "clock"):
                    self.clock_offset_s = float(request.json()["offset_s"])
                    return SimResponse(200, {"ok": True, "now": self.now().isoformat()})
            answer = self.control(request, name)
            self.save()
            return answer

    def _load(self) -> dict[str, Any] | None:
        if self._state_file and self._state_file.exists():
            loaded: dict[str, Any] = json.loads(self._state_file.read_text())
            return loaded
        return None

    def save(self, *, force: bool = False) -> None:
        """Write the state to its file, atomically. A crash of the simulator must not give numbers out again."""
        if not self._state_file:
            return
        with self.lock:
            draft = self._state_file.with_suffix(".new")
            draft.write_text(json.dumps(self.state, separators=(",", ":")))
            os.replace(draft, self._state_file)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: SimulatorServer

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        split = urlsplit(self.path)
        mount, simulator = self.server.find(unquote(split.path))
        if simulator is None:
            self._write(SimResponse(404, {"error": "no simulator here"}))
            return
        raw = self.path[len(mount) :] or "/"
        request = SimRequest(
            method=self.command,
            path=unquote(split.path)[len(mount) :] or "/",
            raw_path=raw,
            query=dict(parse_qsl(split.query, keep_blank_values=True)),
            headers={k.lower(): v for k, v in self.headers.items()},
            body=body,
            remote=self.client_address[0],
            base=f"http://{self.headers.get('Host', 'localhost')}{mount}",
        )
        with simulator.in_hand():
            try:
                answer, faults = simulator.handle(request)
            except Exception as error:  # a fault of the simulator itself must be seen by the test that caused it
                self.server.errors.append(error)
                self._write(SimResponse(500, {"simulator_error": repr(error)}))
                raise
            self._linger(faults)
        self._travel(answer, faults)

    def _linger(self, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.fault == "delay":
                self.server.sleep(float(fault.args.get("seconds", 1)))
        if self.server.latency_s:
            time.sleep(self.server.latency_s)

    def _travel(self, answer: SimResponse, faults: list[Fault]) -> None:
        kinds = {f.fault: f for f in faults}
        if "lost_answer" in kinds or "reset" in kinds:
            self._drop()
            return
        if "empty" in kinds:
            answer = SimResponse(200, b"")
        if "html" in kinds and kinds["html"].args.get("after_work"):
            answer = SimResponse(kinds["html"].args.get("status", 200), "<html>?</html>", {"Content-Type": "text/html"})
        payload = answer.payload()
        if "gzip" in kinds:
            import gzip

            answer.headers["Content-Encoding"] = "gzip"
            payload = gzip.compress(payload)
        if "truncate" in kinds:
            self._write(answer, payload, send=payload[: len(payload) // 2])
            self._drop()
            return
        if "drip" in kinds:
            self._write(answer, payload, send=b"")
            pause = float(kinds["drip"].args.get("seconds", 0.2))
            try:
                for i in range(len(payload)):
                    self.wfile.write(payload[i : i + 1])
                    self.wfile.flush()
                    if self.server.sleep(pause):
                        break
            except OSError:
                self.close_connection = True
            return
        self._write(answer, payload)
        if "close" in kinds:
            self.close_connection = True

    def _write(self, answer: SimResponse, payload: bytes | None = None, *, send: bytes | None = None) -> None:
        payload = answer.payload() if payload is None else payload
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Type" not in answer.headers and payload:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if answer.status not in (204, 304):
            self.wfile.write(payload if send is None else send)
        self.wfile.flush()

    def _drop(self) -> None:
        """Cut the connection so that the client sees a reset, as after a crashed proxy."""
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: calls are kept in `Simulator.calls`."""


class SimulatorServer(ThreadingHTTPServer):
    """Serves several simulators, each under `/<slug>`, or one at the root with `root=True`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, simulators: Iterable[Simulator], host: str = "127.0.0.1", port: int = 0, *, latency_s: float = 0.0
    ) -> None:
        super().__init__((host, port), _Door)
        self.simulators = {f"/{s.slug}": s for s in simulators}
        self.errors: list[Exception] = []
        self.latency_s = latency_s
        self.stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def sleep(self, seconds: float) -> bool:
        """Sleep unless the server stops meanwhile; True if it stopped."""
        return self.stopping.wait(seconds)

    def find(self, path: str) -> tuple[str, Simulator | None]:
        """The simulator mounted over `path` and its mount point."""
        for mount, simulator in self.simulators.items():
            if path == mount or path.startswith(mount + "/"):
                return mount, simulator
        return "", None

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours; a crash is kept in `errors`."""

    def start(self) -> SimulatorServer:
        """Serve in a thread of this process."""
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and free the port."""
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def __enter__(self) -> SimulatorServer:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

"""`simulate [--port 8900]`: every vendor's simulator under `/<vendor slug>`, on this machine only."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import JsonCommand
from connector.services import simulators
from integrations.base.simulator import Simulator, SimulatorServer


class Command(JsonCommand):
    help = "Serve simulators of all vendors on 127.0.0.1 until stopped (Ctrl-C). What they know is kept in files."
    requires_system_checks: list[str] = []

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=int,
            default=os.environ.get("SIMULATOR_PORT") or simulators.DEFAULT_PORT,
            help=f"default: SIMULATOR_PORT, else {simulators.DEFAULT_PORT}; 0 takes any free one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM, then exit 0. Exit 2 when the port is taken or other simulators use the state."""
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        try:
            with simulators.exclusive_state() as folder:
                self._serve(simulators.load(folder), str(folder), options["port"], stop)
        except simulators.StateInUse as error:
            self.refuse(f"Not started: {error}. Stop them, or set another SIMULATOR_STATE_DIR.")

    def _serve(self, loaded: list[Simulator], folder: str, port: int, stop: threading.Event) -> None:
        try:
            server = SimulatorServer(loaded, simulators.HOST, port)
        except (OSError, OverflowError) as error:
            self.refuse(f"Port {port} cannot be used ({error}). Choose another with --port.")
        with server:
            bound = int(server.server_address[1])
            rows = [{"vendor": s.slug, "url": simulators.url(s.slug, bound)} for s in loaded]
            lines = [f"{row['vendor']}: {row['url']}" for row in rows]
            self.finish({"simulators": rows, "state": folder}, text="\n".join([*lines, f"State is kept in {folder}"]))
            stop.wait()
        for simulator in loaded:
            simulator.save(force=True)

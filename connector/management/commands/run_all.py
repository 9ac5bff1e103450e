"""`run_all`: everything on this machine in one terminal: database, demo, web, worker, simulators (`make run`)."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandParser
from django.db import connections

from connector import runner
from connector.management.commands.demo import sign_in
from connector.management.output import JsonCommand
from connector.services import demo, simulators

HOST = "127.0.0.1"
PROCESSES = ("web", "worker", "simulators")
READY_TIMEOUT_S = 0.2


class Command(JsonCommand):
    help = "Migrate, create the demo where it is missing (unless --empty), then run web, worker and simulators until Ctrl-C."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 8000, help="of the web pages (default: PORT)")
        parser.add_argument(
            "--simulator-port",
            type=int,
            default=os.environ.get("SIMULATOR_PORT") or simulators.DEFAULT_PORT,
            help="of the simulators (default: SIMULATOR_PORT)",
        )

        parser.add_argument("--empty", action="store_true", help="without the demo: only somebody to sign in as")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 after Ctrl-C or SIGTERM, 1 when a process ended by itself, 2 when a port is taken."""
        try:
            sys.exit(self._run(options["port"], options["simulator_port"], options["empty"]))
        except KeyboardInterrupt:  # before the runner watches for it; nothing is half done that a second start minds
            self.stderr.write("Ended before the start was finished.")

    def _run(self, port: int, simulator_port: int, empty: bool) -> int:
        for number, variable in ((port, "PORT"), (simulator_port, "SIMULATOR_PORT")):
            if not 0 < number < 65536 or not runner.port_is_free(number, HOST):
                self.refuse(f"Port {number} is taken or not usable here. Choose another: make run {variable}=<number>")
        call_command("migrate", interactive=False, verbosity=0)
        if empty:
            self.stdout.write(sign_in(demo.first_user()))
        else:
            call_command("demo", port=simulator_port, stdout=self.stdout)
        connections.close_all()
        # Served from the packages themselves here (DEBUG); the web process warns where the folder is absent.
        settings.STATIC_ROOT.mkdir(exist_ok=True)
        commands = runner.read_procfile(settings.BASE_DIR / "Procfile")
        env = {**os.environ, "WEB_HOST": HOST, "PORT": str(port), "SIMULATOR_PORT": str(simulator_port)}
        made = runner.Runner({name: commands[name] for name in PROCESSES}, cwd=settings.BASE_DIR, env=env)
        return made.run(
            started=lambda: all(_answers(number) for number in (port, simulator_port)),
            when_started=f"Open http://{HOST}:{port}/   (Ctrl-C ends everything)",
        )


def _answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((HOST, port), READY_TIMEOUT_S).close()
    except OSError:
        return False
    return True

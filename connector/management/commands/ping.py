"""`ping [CONNECTION]`: check one connection or all."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import Connection
from connector.services import pinging


class Command(JsonCommand):
    help = "Check connections against the real systems. Changes nothing there."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("connection", nargs="?", help="slug of a connection; all without it")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 if a connection does not work, 2 for an unknown one."""
        found = Connection.objects.select_related("tenant").order_by("slug")
        if options["connection"]:
            found = found.filter(slug=options["connection"])
            if not found:
                self.refuse(f"There is no connection “{options['connection']}”.")
        results = [pinging.ping(connection, actor=f"command:{getpass.getuser()}") for connection in found]
        lines = []
        for result in results:
            lines.append(f"{result.connection.slug}: {'works' if result.ok else 'does not work'}")
            lines += [f"  {x.layer}: {x.state} {x.message} {x.remedy}".rstrip() for x in result.layers]
        code = WELL if all(r.ok for r in results) else NEEDS_A_PERSON
        self.finish({"connections": [r.as_dict() for r in results]}, code, "\n".join(lines) or "There is no connection yet.")

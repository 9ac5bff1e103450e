"""`config import FILE` and `config export [--tenant SLUG]`: the configuration as one JSON document."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import JsonCommand
from connector.services.configuration import exporting, findings, importing, reading

ACTOR = "command line"


class Command(JsonCommand):
    """Import validates everything first and changes all or nothing; export holds no secrets."""

    help = "Import the configuration from a JSON file, or print it."

    def arguments(self, parser: CommandParser) -> None:
        """`import FILE` ("-" reads stdin) or `export`."""
        parser.add_argument("action", choices=("import", "export"))
        parser.add_argument("file", nargs="?", help='The file to import; "-" for stdin.')
        parser.add_argument("--tenant", help="Export this tenant only (slug).")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do one of the two."""
        if options["action"] == "import":
            self._import(options["file"], options["tenant"])
        else:
            self._export(options["file"], options["tenant"])

    def _import(self, file: str | None, tenant: str | None) -> None:
        if not file:
            self.refuse("config import needs a FILE")
        if tenant:
            self.refuse("--tenant belongs to config export; a file names its tenants itself")
        self.need_keys()
        try:
            raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        except (OSError, ValueError) as error:
            self.refuse(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}")
        try:
            summary = importing.apply(reading.read_document(raw), ACTOR)
        except findings.InvalidConfiguration as error:
            self.refuse(error.errors)
        self.finish(summary.as_dict(), text=_in_words(summary))

    def _export(self, file: str | None, tenant: str | None) -> None:
        if file:
            self.refuse("config export prints to stdout and takes no FILE")
        try:
            document = exporting.export(tenant)
        except findings.InvalidConfiguration as error:
            self.refuse(error.errors)
        # The document itself, so that it can be imported as it stands: no "ok" in it.
        self.stdout.write(json.dumps(document, indent=None if self.use_json else 2))


def _in_words(summary: importing.Summary) -> str:
    lines = []
    for outcome in ("created", "changed", "unchanged"):
        found: dict[str, list[str]] = getattr(summary, outcome)
        lines += [f"{outcome} {table}: {', '.join(slugs)}" for table, slugs in found.items()]
    return "\n".join([*(lines or ["The file names nothing."]), *summary.notes])

"""What all commands share: one JSON object on stdout with --json, logs on stderr, exit codes 0, 1 and 2.

0: all is well. 1: something needs a person. 2: wrong use or an invalid file. A command ends with `finish`
(0 or 1) or `refuse` (2); arguments that argparse refuses and a CommandError leave the same way.
"""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

from django.core.management.base import BaseCommand, CommandError, CommandParser

from connector.services import keys

logger = logging.getLogger(__name__)

WELL = 0
NEEDS_A_PERSON = 1
WRONG_USE = 2


class Finding(Protocol):
    """Anything with a place and a message, such as `ConfigError`."""

    @property
    def path(self) -> str: ...

    @property
    def message(self) -> str: ...


class JsonCommand(BaseCommand):
    """A command for people and scripts alike. Subclasses add their arguments in `arguments` and work in `handle`."""

    use_json = False
    _called_from_command_line: bool = False

    def arguments(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def add_arguments(self, parser: CommandParser) -> None:
        """The common option, then the command's own."""
        parser.add_argument("--json", action="store_true", help="Print one JSON object on stdout.")
        self.arguments(parser)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """As Django's, but wrong arguments are told as JSON when --json is among them."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if self._called_from_command_line:

            def error(message: str) -> NoReturn:
                if self.use_json:
                    self._refuse([("", message)])
                ArgumentParser.error(parser, message)

            parser.error = error  # type: ignore[method-assign]
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        """Remember --json before the arguments are parsed: they may turn out wrong."""
        self.use_json = "--json" in argv[2:]
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run; whatever goes wrong leaves by exit code, and with --json as an object."""
        self.use_json = bool(options.get("json"))
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            if not self.use_json:
                raise
            self._report([("", str(error))], error.returncode)
        except Exception as error:
            if not (self.use_json and self._called_from_command_line):
                raise
            logger.exception("the command failed")
            self._report([("", f"{type(error).__name__}: the command failed, see the log")], NEEDS_A_PERSON)

    def finish(self, payload: dict[str, Any], code: int = WELL, text: str = "") -> None:
        """Print the result and leave: returns for 0, raises SystemExit(code) otherwise.

        `ok` is set here, from the code. Without --json, `text` is printed; without text, the payload, indented.
        """
        told = {"ok": code == WELL} | {key: value for key, value in payload.items() if key != "ok"}
        if self.use_json:
            self.stdout.write(json.dumps(told, default=str))
        else:
            self.stdout.write(text or json.dumps(told, default=str, indent=2))
        self.stdout.flush()
        if code != WELL:
            sys.exit(code)

    def refuse(self, errors: Sequence[Finding] | str) -> NoReturn:
        """Wrong use or an invalid file: say every place and leave with 2. Nothing was changed."""
        self._refuse([("", errors)] if isinstance(errors, str) else [(e.path, e.message) for e in errors])

    def need_keys(self) -> None:
        """Leave with 1 when the configured keys do not open this installation's secrets: a person must put them right."""
        problem = keys.problem()
        if problem:
            self._report([("", f"{problem} {keys.REMEDY}")], NEEDS_A_PERSON)

    def _refuse(self, errors: Sequence[tuple[str, str]]) -> NoReturn:
        self._report(errors, WRONG_USE)

    def _report(self, errors: Sequence[tuple[str, str]], code: int) -> NoReturn:
        if self.use_json:
            rows = [{"path": path, "message": message} for path, message in errors]
            self.stdout.write(json.dumps({"ok": False, "errors": rows}))
            self.stdout.flush()
        else:
            for path, message in errors:
                self.stderr.write(f"{path}: {message}" if path else message)
        sys.exit(code)

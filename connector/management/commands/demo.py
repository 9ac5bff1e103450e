"""`demo`: a tenant, connections to the simulators, an integration, sample shipments, and somebody to sign in as."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import NEEDS_A_PERSON, JsonCommand
from connector.services import demo, simulators
from connector.services.configuration import findings


class Command(JsonCommand):
    help = "Create what is missing of the demo. A second run changes nothing."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=int,
            default=os.environ.get("SIMULATOR_PORT") or simulators.DEFAULT_PORT,
            help="where the simulators serve, or will",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 when running simulators cannot be reached or the keys are wrong, 2 when the demo does not fit in."""
        self.need_keys()
        try:
            made = demo.create(options["port"])
            made.password = demo.first_user()
        except simulators.SimulatorsUnreachable as error:
            self._needs_a_person(str(error))
        except findings.InvalidConfiguration as error:
            self.refuse(error.errors)
        user = {"username": demo.ADMIN, "password": made.password, "created": made.password is not None}
        payload = {"created": made.created, "samples": made.samples, "notes": made.notes, "user": user}
        self.finish(payload, text=in_words(made))

    def _needs_a_person(self, message: str) -> None:
        self.finish({"errors": [{"path": "", "message": message}]}, NEEDS_A_PERSON, message)


def in_words(made: demo.Demo) -> str:
    """What was made, and how to sign in. The password appears here and nowhere else."""
    lines = [f"created {table}: {', '.join(slugs)}" for table, slugs in made.created.items()] or ["The demo is there already."]
    lines += [f"{number} sample shipments in the simulator of {slug}" for slug, number in made.samples.items()]
    lines += made.notes
    return "\n".join([*lines, sign_in(made.password)])


def sign_in(password: str | None) -> str:
    """How to sign in."""
    if password:
        return f"Sign in as: {demo.ADMIN}   password: {password}   (shown this once)"
    return f"Sign in as: {demo.ADMIN}   password: as printed the first time; a new one: manage.py changepassword {demo.ADMIN}"

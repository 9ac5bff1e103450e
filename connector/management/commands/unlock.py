"""`unlock USER [--second-factor]`: open a sign-in that rests after too many failures. For whoever has the server."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import JsonCommand
from connector.models import User
from connector.services import second_factor, sign_in


class Command(JsonCommand):
    """The way back in that no lock can shut."""

    help = "Open a sign-in that rests after too many failures; take away a second factor that is lost."

    def arguments(self, parser: CommandParser) -> None:
        """Whose."""
        parser.add_argument("user", help="The user name.")
        parser.add_argument(
            "--second-factor", action="store_true", help="Take away the second factor, too: app and codes are lost."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Forget the failures of this name, at all addresses."""
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            self.refuse(f"no user “{options['user']}”")
        actor = f"command:{getpass.getuser()}"
        shut = sign_in.unlock(user, actor)
        taken = bool(options["second_factor"]) and second_factor.remove(user, actor)
        text = f"{user} may sign in again." if shut else f"Sign-in of {user} did not rest. Failures are forgotten."
        if options["second_factor"]:
            text += " The second factor is taken away." if taken else " There was no second factor."
        self.finish({"user": user.get_username(), "unlocked_addresses": shut, "second_factor_removed": taken}, text=text)

"""`rotate_keys`: re-encrypt all secrets with the first key of FIELD_ENCRYPTION_KEY."""

from __future__ import annotations

import getpass
from typing import Any

from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.services import rotation


class Command(JsonCommand):
    """Put the new key first and keep the old one behind it, restart everything, run this, then take the old one away."""

    help = "Encrypt every stored secret anew with the first key of FIELD_ENCRYPTION_KEY."

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 when a secret opens with none of the keys."""
        self.need_keys()
        told = rotation.rotate(f"command:{getpass.getuser()}")
        lines = [f"{count} of {table} encrypted anew" for table, count in told.rotated.items()]
        lines.append(f"{told.already} stood under the first key already.")
        if told.unreadable:
            lines.append(f"No key opens: {', '.join(told.unreadable)}. Nothing of these was changed.")
        else:
            lines.append("Every secret stands under the first key. The others may be taken out of FIELD_ENCRYPTION_KEY.")
        self.finish(told.as_dict(), NEEDS_A_PERSON if told.unreadable else WELL, "\n".join(lines))

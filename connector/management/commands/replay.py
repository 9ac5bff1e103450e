"""`replay TRANSFER...`: as the button, and the work is done here and now."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import CommandParser

from connector import workers
from connector.management.commands.sync import drain
from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import Integration, Transfer
from connector.services import overview, transfers


class Command(JsonCommand):
    help = "Run failed, cancelled or skipped transfers again; look up those in doubt. Never buys twice."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("transfer", nargs="+", type=int, help="number of the transfer")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 if one of them needs a person afterwards, 2 for unknown numbers or a switched-off integration."""
        wanted = list(dict.fromkeys(options["transfer"]))
        found = Transfer.objects.select_related("record", "integration").in_bulk(wanted)
        unknown = [str(pk) for pk in wanted if pk not in found]
        if unknown:
            self.refuse(f"There is no transfer {', '.join(unknown)}.")
        off = sorted({t.integration.slug for t in found.values() if not t.integration.enabled})
        if off:
            self.refuse(f"Switched off: {', '.join(off)}. Switch the integration on first.")
        workers.open_pool(max_size=12)
        outcomes = {pk: self._replay(found[pk]) for pk in wanted}
        for integration_id in sorted({t.integration_id for t in found.values()}):
            integration = Integration.objects.select_related("source", "target", "tenant").get(pk=integration_id)
            drain(integration, only=[pk for pk in wanted if found[pk].integration_id == integration_id])
        now = Transfer.objects.in_bulk(wanted)
        numbers = overview.tracking_numbers(list(now.values()))
        rows = [
            {
                "transfer": pk,
                "before": before,
                "after": now[pk].state,
                "code": now[pk].code or now[pk].attention or None,
                "message": now[pk].message or said,
                "tracking_numbers": numbers.get(now[pk].record_id, []),
            }
            for pk, (before, said) in outcomes.items()
        ]
        bad = any(now[pk].state in ("failed", "in_doubt", "needs_approval") for pk in wanted)
        self.finish({"transfers": rows}, NEEDS_A_PERSON if bad else WELL)

    def _replay(self, transfer: Transfer) -> tuple[str, str]:
        try:
            outcome = transfers.replay(transfer, actor=f"command:{getpass.getuser()}")
        except transfers.NotPossible as error:
            return transfer.state, str(error)
        return outcome.before, outcome.message

"""`backfill INTEGRATION --from D --to D [--confirm]`: documents from before the start become work after all."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import CommandParser

from connector.management.output import JsonCommand
from connector.models import Integration
from connector.services import backfill
from connector.services.configuration.findings import ConfigError
from connector.services.shipments import NotPossible


class Command(JsonCommand):
    """Workers carry what is begun; `sync` does, too."""

    help = "Ship documents that stood ready before the integration began. Shows what it would do unless --confirm is given."

    def arguments(self, parser: CommandParser) -> None:
        """Integration and period."""
        parser.add_argument("integration", help="Slug of the integration.")
        parser.add_argument("--from", dest="first", required=True, metavar="D", help="First document date, YYYY-MM-DD.")
        parser.add_argument("--to", dest="last", required=True, metavar="D", help="Last document date, YYYY-MM-DD, included.")
        parser.add_argument("--confirm", action="store_true", help="Begin. Labels cost money.")
        parser.add_argument("--reason", default="", help="Kept in the audit.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Preview, and begin if told so."""
        integration = Integration.objects.select_related("tenant", "source", "target").filter(slug=options["integration"]).first()
        if integration is None:
            self.refuse([ConfigError("integration", f'no integration "{options["integration"]}"')])
        first, last = self._day("from", options["first"]), self._day("to", options["last"])
        try:
            told = backfill.preview(integration, first, last)
            made = None
            if options["confirm"]:
                made = backfill.start(integration, first, last, actor="command line", reason=options["reason"])
        except NotPossible as error:
            self.refuse(str(error))
        payload = {
            "integration": integration.slug,
            "from": str(first),
            "to": str(last),
            **told.as_dict(),
            "confirmed": made is not None,
            "backfill": made.pk if made else None,
        }
        costs = ", ".join(f"{c.amount} {c.currency}" for c in told.costs) or "unknown"
        text = (
            f"{told.records} documents from {first} to {last}: about {told.erp_calls} ERP calls and {told.carrier_calls} labels, "
            f"estimated cost {costs}. {told.undated} have no date and stay out."
        )
        self.finish(payload, text=f"{text}\n{'Begun.' if made else 'Nothing was begun: add --confirm.'}")

    def _day(self, name: str, text: str) -> dt.date:
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            self.refuse([ConfigError(name, f'"{text}" is not a date. Write YYYY-MM-DD, for example 2026-01-31')])

"""`after_restore`: comes first after a restore or a fail-over that may have lost commits (ENGINE 2)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from connector import workers
from connector.management.commands.sync import POLL_WAIT_S, drain
from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import AuditEntry, Installation, Integration, Transfer
from connector.services import audit, clock, keys
from connector.services.engine import polling
from integrations.flows.specs import POLLS
from integrations.flows.table import KINDS


class Command(JsonCommand):
    help = "For a period, look every purchase up at the carrier before its first send. Lists what was found and taken over."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="length of the period (default 7)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Sets the period, polls, looks up and adopts; buys nothing itself. Exit 1 if something needs a person."""
        if not 1 <= options["days"] <= 29:
            self.refuse("--days is between 1 and 29: carriers look back no further.")
        self.need_keys()
        keys.installation()
        Installation.objects.filter(pk=1).update(look_first_until=clock.at(options["days"] * 86400))
        audit.append(None, audit.Draft("after_restore", {"days": options["days"]}))
        workers.open_pool(max_size=12)
        before = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        errors = []
        for integration in Integration.objects.select_related("source", "target", "tenant").filter(enabled=True):
            for flow in KINDS[integration.kind].flows:
                if flow.name in POLLS:
                    result = polling.poll(integration, POLLS[flow.name], wait_s=POLL_WAIT_S)
                    if result.error:
                        errors.append({"integration": integration.slug, **result.error})
            drain(integration, buying=False)
            # Held because this command buys nothing: due again now.
            Transfer.objects.filter(integration=integration, state="waiting", code="not_buying").update(due_at=clock.at())
        adopted = [
            {"record": e.object_name, "transfer": e.object_id, "tracking_numbers": e.facts.get("tracking_numbers", [])}
            for e in AuditEntry.objects.filter(pk__gt=before, act="adopted").order_by("pk")
        ]
        until = Installation.objects.values_list("look_first_until", flat=True).get(pk=1)
        bad = errors or Transfer.objects.filter(state="in_doubt").exists()
        self.finish(
            {"look_first_until": until.isoformat() if until else None, "adopted": adopted, "errors": errors},
            NEEDS_A_PERSON if bad else WELL,
        )

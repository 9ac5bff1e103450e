"""`reconcile INTEGRATION [--days N] [--json]`: compare ERP, carrier and our own books, and say what does not agree."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser

from connector import workers
from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import Integration, ReconciliationFinding, ReconciliationRun
from connector.services import clock
from connector.services.reconcile import findings, runs
from connector.services.reconcile.kinds import KIND, REMEDIES
from connector.services.shipments import NotPossible
from integrations.flows.specs import FLOWS

PATIENCE_S = 60.0
SLICE_S = 60.0
LISTED = 1000


class Command(JsonCommand):
    """Takes the comparison that runs already, where there is one; workers and this command may take turns."""

    help = "Compare ERP, carrier and our own books. Changes nothing at either; lists what does not agree."

    def arguments(self, parser: CommandParser) -> None:
        """Integration and period."""
        parser.add_argument("integration", help="Slug of the integration.")
        parser.add_argument("--days", type=int, metavar="N", help="How far back; default: option reconcile_days.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 while findings are open, or where something could not be compared."""
        integration = Integration.objects.select_related("tenant", "source", "target").filter(slug=options["integration"]).first()
        if integration is None:
            self.refuse(f"There is no integration “{options['integration']}”.")
        if options["days"] is not None and not 1 <= options["days"] <= 365:
            self.refuse("--days: enter from 1 to 365.")
        self.need_keys()
        workers.open_pool(max_size=4)
        try:
            run = runs.start(integration, actor="command line", days=options["days"])
        except NotPossible as error:
            self.refuse(str(error))
        self.report(integration, carry(run))

    def report(self, integration: Integration, run: ReconciliationRun) -> None:
        """The object of the interface; `ok` judges what stands, not only this run."""
        rows = ReconciliationFinding.objects.filter(integration=integration, state=findings.State.OPEN).order_by("pk")
        counts = {count.kind.name: count.number for count in findings.counts([integration.pk])}
        listed = [_told(row) for row in rows[:LISTED]]
        payload = {
            "integration": integration.slug,
            "since": str(run.since),
            "state": run.state,
            "compared": run.compared,
            "calls": run.calls,
            "appeared": run.appeared,
            "gone": run.gone,
            "unreadable": run.unreadable,
            "left_out": run.left_out,
            "waits_for": run.waits_for,
            "error": run.error,
            "open": counts,
            "findings": listed,
        }
        lines = [f"{one['title']}: {one['source_key']} {one['number']} ({one['remedy']})" for one in listed]
        lines += [f"Not compared: {what}" for what in run.left_out]
        if run.state != run.State.DONE:
            lines.append(str((run.error or {}).get("message") or run.waits_for or "It is not done yet."))
        summary = f"{run.compared} compared with {run.calls} calls since {run.since}; {sum(counts.values())} findings are open."
        good = run.state == run.State.DONE and not counts and not run.left_out
        self.finish(payload, WELL if good else NEEDS_A_PERSON, "\n".join([*lines, summary]))


def _told(row: ReconciliationFinding) -> dict[str, Any]:
    kind = KIND[row.kind]
    return {
        "finding": row.pk,
        "kind": row.kind,
        "group": kind.group,
        "title": kind.title,
        "source_key": row.source_key,
        "number": row.number,
        "ours": row.ours,
        "erp": row.erp,
        "carrier": row.carrier,
        "remedy": REMEDIES[row.remedy].button,
        "first_seen": row.first_seen_at.isoformat(),
    }


def carry(run: ReconciliationRun) -> ReconciliationRun:
    """Work until it is done, stands still for long, or another process has had it for a minute without a step."""
    integration = Integration.objects.select_related("tenant", "source", "target").get(pk=run.integration_id)
    moved, seen = time.monotonic(), (run.phase, run.compared)
    while run.state == run.State.RUNNING:
        mine = run.due_at <= clock.now() and runs.work(integration, FLOWS, within_s=SLICE_S, gives_way=False) is not None
        if not mine:
            time.sleep(0.5)
        run.refresh_from_db()
        if (run.phase, run.compared) != seen:
            moved, seen = time.monotonic(), (run.phase, run.compared)
        elif time.monotonic() - moved > PATIENCE_S:
            break
    return run

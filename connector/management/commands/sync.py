"""`sync INTEGRATION`: poll, and process in this process until nothing is due now."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Q

from connector import workers
from connector.management.output import NEEDS_A_PERSON, WELL, JsonCommand
from connector.models import Integration, Transfer
from connector.services import clock, overview, tracking, webhooks
from connector.services.engine import polling, work
from integrations.flows.specs import FLOWS, POLLS
from integrations.flows.table import KINDS

POLL_WAIT_S = 60.0


class Command(JsonCommand):
    help = "Poll an integration and work until nothing is due. Ignores interval and hours, respects leases."

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("integration", help="slug of the integration")
        parser.add_argument("--flow", help="only this flow")
        parser.add_argument(
            "--wait", type=float, default=0.0, metavar="S", help="go on while something becomes due within S seconds"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 1 if anything stands that needs a person, 2 for a switched-off or unknown integration."""
        integration = Integration.objects.select_related("source", "target", "tenant").filter(slug=options["integration"]).first()
        if integration is None:
            self.refuse(f"There is no integration “{options['integration']}”.")
        if not integration.enabled:
            self.refuse(f"The integration “{integration.slug}” is switched off. Switch it on first.")
        self.need_keys()
        flows = [f.name for f in KINDS[integration.kind].flows if f.available and f.name in (*POLLS, tracking.FLOW)]
        if options["flow"] and options["flow"] not in flows:
            self.refuse(f"The integration has no flow “{options['flow']}”. It has: {', '.join(flows)}.")
        workers.open_pool(max_size=12)
        started = clock.now()
        polls, unpolled = {}, False
        for name in [options["flow"]] if options["flow"] else flows:
            if name == tracking.FLOW:
                # What was posted is due work too, and where no worker runs nobody else takes it in.
                while webhooks.take_in() >= webhooks.GROUP:
                    pass
                followed = tracking.track(integration)
                polls[name] = followed.as_dict()
                unpolled = unpolled or bool(followed.error)
                continue
            result = polling.poll(integration, POLLS[name], wait_s=POLL_WAIT_S)
            polls[name] = result.as_dict()
            unpolled = unpolled or bool(result.error) or result.busy or result.unreadable > 0
            if result.error:
                self.stderr.write(f"poll of {name}: {result.error.get('message')}")
        drain(integration, options["wait"])
        ended = Transfer.objects.filter(integration=integration, updated_at__gte=started).exclude(
            state__in=("waiting", "running")
        )
        self.report(integration, polls, Counter(ended.values_list("state", flat=True)), unpolled)

    def report(self, integration: Integration, polls: dict[str, Any], run: Counter[str], unpolled: bool) -> None:
        """The object of the interface; `ok` judges what stands, not only this run."""
        stands = overview.open_counts(integration)
        paused = overview.paused_scopes(integration)
        payload = {
            "integration": integration.slug,
            "poll": polls,
            "run": {"done": run.pop("done", 0), "failed": run.pop("failed", 0)} | dict(run),
            "open": stands,
            "next_due": overview.next_due(integration),
            "paused": paused,
            "attention": overview.attention(integration),
        }
        bad = stands["failed"] or stands["in_doubt"] or stands["needs_approval"] or paused or unpolled
        self.finish(payload, NEEDS_A_PERSON if bad else WELL)


def drain(integration: Integration, wait_s: float = 0.0, only: list[int] | None = None, *, buying: bool = True) -> None:
    """Process until nothing is due now; with `wait_s`, also what becomes due within that many seconds of idleness."""
    idle_since = time.monotonic()
    while True:
        tally = work.process(integration, FLOWS, only=only, buying=buying)
        if tally.states:
            idle_since = time.monotonic()
            continue
        soon = _soon(integration, max(0.0, idle_since + wait_s - time.monotonic()), only)
        if tally.more:
            # Due, but somebody else holds the slots or the turn.
            if time.monotonic() - idle_since > max(wait_s, POLL_WAIT_S):
                return
            time.sleep(0.2)
        elif soon is None:
            return
        else:
            time.sleep(min(max(soon, 0.05), 1.0))


def _soon(integration: Integration, within_s: float, only: list[int] | None) -> float | None:
    """Seconds until something becomes due, if that is within `within_s`; running work of others counts as now."""
    if within_s <= 0:
        return None
    waiting = Q(state__in=("waiting", "in_doubt"), due_at__lte=clock.at(within_s)) | Q(state="running")
    found = Transfer.objects.filter(waiting, integration=integration)
    if only is not None:
        found = found.filter(pk__in=only)
    first = found.order_by("due_at").values_list("due_at", flat=True).first()
    return None if first is None else max(0.0, (first - clock.now()).total_seconds())

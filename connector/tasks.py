"""Doors for django-q2: fetch rows by id, call one service, come again if there is more (ENGINE 4)."""

from __future__ import annotations

import logging
import zoneinfo

from django.conf import settings

from connector.models import Connection, FlowState, Integration, RateQuote
from connector.services import (
    addresses,
    backfill,
    clock,
    costs,
    counters,
    heartbeat,
    logs,
    pinging,
    quotes,
    schedules,
    seals,
    tracking,
    wake,
    webhooks,
)
from connector.services import invoices as invoicing
from connector.services import retention as erasing
from connector.services.alerts import looking, sending, telling
from connector.services.engine import polling, watching, work
from connector.services.reconcile import runs
from integrations.flows.specs import FLOWS, POLLS
from integrations.flows.table import KINDS

logger = logging.getLogger(__name__)


def _integration(pk: int) -> Integration | None:
    return Integration.objects.select_related("source", "target", "tenant").filter(pk=pk, enabled=True).first()


def tick() -> None:
    """Every minute: polls that are due, and a look for due work (the safety net; wake-ups are quicker)."""
    work.free_dead()
    now = clock.now()
    polled = {(i, flow): at for i, flow, at in FlowState.objects.values_list("integration_id", "flow", "last_poll_at")}
    for integration in Integration.objects.select_related("tenant", "source", "target").filter(enabled=True).order_by("pk"):
        for flow in KINDS[integration.kind].flows:
            if not flow.available or flow.name not in (*POLLS, tracking.FLOW):
                continue
            last = polled.get((integration.pk, flow.name)) or integration.created_at
            zone = zoneinfo.ZoneInfo(integration.tenant.timezone)
            due = schedules.next_due(schedules.merged_schedule(integration, flow.name), zone, now, last)
            if due is not None and due <= now:
                wake.poll(integration.pk, flow.name)
    for pk in sorted(watching.due()):
        wake.watch(pk)
    backfill.feed_all()
    costs.begin_waiting()
    if invoicing.due():
        wake.invoices()
    if webhooks.waiting():
        wake.hooks()
    if erasing.due():
        wake.retention()
    for pk in runs.start_due():
        wake.reconcile(pk)
    # One chain of wake-ups per idle process: more would only fill the queue that pings wait in, too.
    wake.work(work.idle_processes())
    # Last: a tick that failed on its way has not kept the clock.
    heartbeat.beat()
    _keep_books()
    _look_for_trouble()


def _keep_books() -> None:
    """Seals and sums, never in the way of work. What fails is said, and stands again at the next minute."""
    for name, do in (
        ("seal the audit", seals.seal_if_due),
        ("add up the audit", counters.catch_up),
        ("forget old address checks", addresses.forget_old),
    ):
        try:
            do()
        except Exception:
            logger.exception("could not %s; the next minute tries again", name)


def _look_for_trouble() -> None:
    """After all else of a tick, and never in the way of work."""
    try:
        looking.look((*POLLS, tracking.FLOW))
        for pk in telling.due_channels():
            wake.alerts(pk)
    except Exception:
        logger.exception("could not look for what to tell people; the next minute looks again")


def alerts(channel_id: int) -> None:
    """Tell one channel what is due."""
    sent = sending.send_due(channel_id)
    if sent is not None and sent.note:
        logger.warning("alert channel %s: %s", channel_id, sent.note)


def poll(integration_id: int, flow: str) -> None:
    """Poll one flow of an integration, if it is on."""
    integration = _integration(integration_id)
    if integration is None:
        return
    with logs.about(integration=integration.slug, flow=flow):
        if flow == tracking.FLOW:
            told = tracking.track(integration)
            if told.error:
                logger.warning("tracking of %s: %s", integration.slug, told.error.get("code"))
        if flow in POLLS:
            result = polling.poll(integration, POLLS[flow])
            if result.error:
                logger.warning("poll of %s/%s: %s", integration.slug, flow, result.error.get("code"))


def work_due() -> None:
    """Serve the integration whose turn it is; come again as long as something moves.

    What is due but cannot move (a paused site, no free slot) must not keep the workers spinning: others are
    tried, and then it rests until the next wake-up.
    """
    stuck: set[int] = set()
    while (integration := work.next_integration(stuck)) is not None:
        if work.process(integration, FLOWS, ask_for_help=_wake_one_more, may_go_on=_nobody_waits).states:
            wake.work()
            return
        stuck.add(integration.pk)
    soon = work.next_due_s(within_s=60)
    if soon is not None:
        wake.work_in(soon)


def _wake_one_more() -> None:
    """Each process that finds much to do wakes the next one, until all are at it: none waits for the tick to be asked."""
    if work.idle_processes():
        wake.work()


def _nobody_waits() -> bool:
    return wake.queue_is_below(1)


def hooks() -> None:
    """Take in what vendors have posted."""
    if webhooks.take_in() >= webhooks.GROUP:
        wake.hooks()


def watch(integration_id: int) -> None:
    """Look up what was declared not made: it may have turned up since. Also where the integration is off."""
    integration = Integration.objects.select_related("source", "target", "tenant").filter(pk=integration_id).first()
    if integration is None:
        return
    with logs.about(integration=integration.slug):
        if watching.watch(integration, FLOWS) >= watching.GROUP:
            wake.watch(integration_id)


def retention() -> None:
    """Erase what the rule lets go; come again if there is more."""
    told = erasing.erase(within_s=settings.ENGINE["SLICE_S"])
    for name in told.altered:
        logger.error("%s was changed after it was recorded; it is kept", name)
    if told.more:
        wake.retention()


def quote(quote_id: int) -> None:
    """Ask for the prices that somebody wants to see, if nobody has answered him yet."""
    rows = RateQuote.objects.select_related("integration__source", "integration__target", "record", "transfer")
    row = rows.filter(pk=quote_id, state=RateQuote.State.ASKED).first()
    if row is not None:
        with logs.about(integration=row.integration.slug, transfer=row.transfer_id or ""):
            quotes.answer(row)


def reconcile(integration_id: int) -> None:
    """Go on with the comparison of an integration, also where it is off; come again if there is more."""
    integration = Integration.objects.select_related("source", "target", "tenant").filter(pk=integration_id).first()
    if integration is None:
        return
    with logs.about(integration=integration.slug):
        run = runs.work(integration, FLOWS, within_s=settings.ENGINE["SLICE_S"])
        if run is not None and run.state == run.State.RUNNING and not run.waits_for:
            wake.reconcile(integration_id)


def invoices() -> None:
    """Apply what invoice files say; come again if there is more."""
    if invoicing.work(within_s=settings.ENGINE["SLICE_S"]):
        wake.invoices()


def ping(connection_id: int) -> None:
    """Ping a connection whose turn was taken by the button."""
    connection = Connection.objects.select_related("tenant").filter(pk=connection_id).first()
    if connection is not None:
        with logs.about(connection=connection.slug):
            pinging.ping(connection, requested=True)

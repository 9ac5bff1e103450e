"""What counts as not made is looked up for a while yet: a request may turn up late, and then it cost money (ENGINE 2.5)."""

from __future__ import annotations

import datetime as dt
import logging
import uuid

from django.db.models import Q

from connector.models import EffectSend, Integration, Pause
from connector.services import clock, keys
from connector.services.engine.run import WATCH_AFTER_S, Job, Run
from connector.services.engine.signals import AskAgain
from connector.services.engine.work import Flows, flow_options
from integrations.base.errors import IntegrationError

logger = logging.getLogger(__name__)

WATCH_FOR_S = 7 * 86400.0
GROUP = 20


def due() -> set[int]:
    """Ids of integrations that have something to look up now."""
    found = EffectSend.objects.filter(watch_at__lte=clock.at())
    return set(found.values_list("transfer__integration_id", flat=True).distinct()[:100])


def next_watch_s(age_s: float) -> float | None:
    """Seconds until the next look at something declared not made `age_s` ago; None when it has been watched long enough.

    An hour at first, then as long again as it has been watched, at most a day.
    """
    return None if age_s >= WATCH_FOR_S else min(max(WATCH_AFTER_S, age_s), 86400.0)


def watch(integration: Integration, flows: Flows) -> int:
    """Look up what is due of one integration; how many were looked at. Raises nothing for a vendor's faults."""
    if keys.problem() or _paused(integration):
        return 0
    job = Job(integration=integration, installation=keys.installation(), owner=uuid.uuid4(), buying=False)
    job.options = flow_options(integration)
    sends = EffectSend.objects.filter(watch_at__lte=clock.at(), transfer__integration=integration)
    looked = 0
    for send in sends.select_related("effect__record", "transfer").annotate(db_now=clock.at()).order_by("watch_at", "pk")[:GROUP]:
        now: dt.datetime = send.db_now
        wait = next_watch_s((now - (send.outcome_at or now)).total_seconds())
        # Whoever moves the time looks: one of several workers.
        mine = EffectSend.objects.filter(pk=send.pk, outcome=send.outcome, watch_at=send.watch_at)
        if not mine.update(watch_at=clock.at(wait) if wait else None):
            continue
        looked += 1
        spec = flows.get(send.effect.record.flow)
        operation_of = spec.operations.get(send.effect.kind) if spec is not None else None
        if operation_of is None:
            logger.error("send %s: nothing knows how to look up a %s", send.pk, send.effect.kind)
            continue
        run = Run(job, send.transfer, send.effect.record)
        try:
            run.watch(operation_of(run, job.adapter(integration.target)), send)
        except (IntegrationError, AskAgain) as error:
            logger.info("look-up of %s failed: %s", send.reference, error.code)
    return looked


def _paused(integration: Integration) -> bool:
    ends = Q(connection_id=integration.target_id) | Q(integration=integration)
    return Pause.objects.filter(ends, scope__in=("connection", "integration")).exclude(state="ended").exists()


__all__ = ["due", "next_watch_s", "watch"]

"""The installation in numbers, for Prometheus (`/metrics`). Read from the database, so that every web process tells the same.

Only questions that an index or a small table answers: nothing here counts finished work. Label values are slugs and
words of this program; no key, no number of a customer and no text of a vendor is among them.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Iterator

from django.db.models import Case, Count, Min, Q, Value, When
from django_q.brokers import get_broker
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from connector.models import Connection, EffectSend, Integration, LimitBucket, Pause, Transfer
from connector.models.connections import UnreadableSecret
from connector.services import clock, heartbeat, lateness, vendors, webhooks
from integrations import registry
from integrations.base.vendor import Limit

logger = logging.getLogger(__name__)

PREFIX = "ml_connector"


def _gauge(name: str, told: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=list(labels))


def _transfers(kinds: list[str]) -> Iterator[Metric]:
    made = _gauge("unfinished_transfers", "Transfers that are not finished, by state.", ("kind", "state"))
    rows = Transfer.objects.filter(state__in=Transfer.UNFINISHED).order_by().values_list("integration__kind", "state")
    found = {(kind, state): count for kind, state, count in rows.annotate(n=Count("pk"))}
    for kind in kinds:
        for state in Transfer.UNFINISHED:
            made.add_metric([kind, state], found.get((kind, state), 0))
    yield made


def _held() -> Q:
    """Transfers whose way is barred by a pause."""
    barred = Q(pk__in=[])
    for connection, integration, scope, name in Pause.objects.exclude(state="ended").values_list(
        "connection_id", "integration_id", "scope", "scope_name"
    ):
        if scope == Pause.Scope.INTEGRATION:
            barred |= Q(integration_id=integration)
            continue
        within = {"site": name} if scope == Pause.Scope.SITE else {"company_code": name} if scope == Pause.Scope.COMPANY else {}
        ends = Q(integration__source_id=connection) | Q(integration__target_id=connection)
        barred |= ends & Q(**within)
    return barred


def _due(kinds: list[str], now: dt.datetime) -> Iterator[Metric]:
    labels = ("kind", "paused")
    backlog = _gauge("due_transfers", "Transfers that could run now; paused: a pause keeps them waiting.", labels)
    oldest = _gauge("oldest_due_seconds", "For how long the oldest of them has been due; 0 when there is none.", labels)
    due = Transfer.objects.filter(state__in=("waiting", "in_doubt"), due_at__lte=clock.at(), integration__enabled=True)
    rows = due.order_by().annotate(paused=Case(When(_held(), then=Value("yes")), default=Value("no")))
    counted = rows.values_list("integration__kind", "paused").annotate(n=Count("pk"), since=Min("due_at"))
    found = {(kind, paused): (n, since) for kind, paused, n, since in counted}
    for kind in kinds:
        for paused in ("no", "yes"):
            n, since = found.get((kind, paused), (0, now))
            backlog.add_metric([kind, paused], n)
            oldest.add_metric([kind, paused], max(0.0, (now - since).total_seconds()))
    yield from (backlog, oldest)


def _doubt() -> Iterator[Metric]:
    made = _gauge("requests_in_doubt", "Requests of the once-only kind whose answer was lost and is not settled.", ("vendor",))
    found: dict[str, int] = dict.fromkeys(Connection.objects.order_by().values_list("vendor", flat=True).distinct(), 0)
    rows = EffectSend.objects.filter(outcome=EffectSend.Outcome.UNKNOWN).order_by().values_list("connection__vendor")
    found |= dict(rows.annotate(n=Count("pk")))
    for vendor, count in sorted(found.items()):
        made.add_metric([vendor], count)
    yield made


def _paused() -> Iterator[Metric]:
    made = _gauge(
        "paused_scopes", "What stands still: until a person acts (configuration) or for a while (rest).", ("scope", "reason")
    )
    rows = Pause.objects.exclude(state="ended").order_by().values_list("scope", "kind").annotate(n=Count("pk"))
    found = {(scope, kind): n for scope, kind, n in rows}
    for scope in Pause.Scope.values:
        for kind in Pause.Kind.values:
            made.add_metric([scope, kind], found.get((scope, kind), 0))
    yield made


def _posts(now: dt.datetime) -> Iterator[Metric]:
    """Both are 0 where nothing is left, so that an alarm can be set on them at any time."""
    posts = _gauge("webhook_posts", "Webhook posts that nobody has taken in: waiting, or given up as unreadable.", ("state",))
    oldest = _gauge(
        "oldest_webhook_post_seconds", "For how long the oldest of those that wait has done so; 0 when there is none."
    )
    left = webhooks.backlog()
    posts.add_metric(["waiting"], sum(one.waiting for one in left))
    posts.add_metric(["failed"], sum(one.failed for one in left))
    since = min((one.oldest for one in left if one.oldest is not None), default=now)
    oldest.add_metric([], max(0.0, (now - since).total_seconds()))
    yield from (posts, oldest)


def _polls() -> Iterator[Metric]:
    labels = ("integration", "flow")
    age = _gauge("poll_age_seconds", "Since the last poll, whatever came of it.", labels)
    good = _gauge("good_poll_age_seconds", "Since the last poll that worked.", labels)
    late = _gauge("poll_late_seconds", "For how long a poll could have been made and was not.", labels)
    for pulse in lateness.pulses():
        at = [pulse.integration, pulse.flow]
        if pulse.poll_age_s is not None:
            age.add_metric(at, pulse.poll_age_s)
        if pulse.good_poll_age_s is not None:
            good.add_metric(at, pulse.good_poll_age_s)
        late.add_metric(at, pulse.late_s)
    yield from (age, good, late)


def _shared_limits() -> dict[str, tuple[Connection, Limit]]:
    """Every bucket that a connection counts on, with the oldest connection that does and the limit as it has it."""
    found: dict[str, tuple[Connection, Limit]] = {}
    for connection in Connection.objects.order_by("pk"):
        try:
            credentials = vendors.credentials_of(connection)
        except UnreadableSecret:
            continue
        for key, limit in vendors.buckets_of(connection, registry.get(connection.vendor), credentials).values():
            found.setdefault(key, (connection, limit))
    return found


def _limits(now: dt.datetime) -> Iterator[Metric]:
    labels = ("vendor", "limit", "scope", "connection")
    today = _gauge("limit_used_today", "Calls drawn under a vendor's limit since midnight UTC.", labels)
    total = CounterMetricFamily(f"{PREFIX}_limit_used", "Calls drawn under a vendor's limit.", labels=list(labels))
    rest = _gauge("limit_rest_seconds", "For how long nobody calls under this limit, because the vendor said so.", labels)
    shared = _shared_limits()
    for bucket in LimitBucket.objects.order_by("key"):
        if bucket.key not in shared:  # of credentials that have been replaced
            continue
        connection, limit = shared[bucket.key]
        at = [connection.vendor, limit.name, limit.scope, connection.slug]
        today.add_metric(at, bucket.used_today if bucket.day == now.date() else 0)
        total.add_metric(at, bucket.used)
        rest.add_metric(at, max(0.0, bucket.rest_until - now.timestamp()))
    yield from (today, total, rest)


def _workers() -> Iterator[Metric]:
    queue = _gauge("queue_length", "Wake-ups that no worker has taken yet.")
    try:
        queue.add_metric([], get_broker().queue_size())
    except Exception as error:  # a broker that is away: the rest is still worth telling
        logger.warning("the broker does not tell its length: %s", type(error).__name__)
    else:
        yield queue
    age = heartbeat.age_s()
    if age is not None:
        beat = _gauge("worker_heartbeat_age_seconds", "Since a worker last looked for work; absent until one has.")
        beat.add_metric([], age)
        yield beat
    ahead = _gauge("database_clock_ahead_seconds", "How far the database's clock is ahead of this machine's.")
    ahead.add_metric([], clock.ahead_s())
    yield ahead


class Installation(Collector):
    """Asks the database at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """All families. Raises DatabaseError."""
        now = clock.now()
        kinds = sorted(Integration.objects.order_by().values_list("kind", flat=True).distinct())
        yield from _transfers(kinds)
        yield from _due(kinds, now)
        yield from _doubt()
        yield from _paused()
        yield from _posts(now)
        yield from _polls()
        yield from _limits(now)
        yield from _workers()

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not ask the database."""
        return iter(())


REGISTRY = CollectorRegistry()
"""Our own: the library's global one would add the innards of whichever web process happens to answer."""
REGISTRY.register(Installation())


def text() -> bytes:
    """Everything in Prometheus' text format. Raises DatabaseError."""
    return generate_latest(REGISTRY)

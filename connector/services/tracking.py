"""Parcels under way: ask the carrier in batches, merge what it says, open write-backs for what the ERP should know.

News come by poll and by webhook, twice, late and in any order. They are merged as a set of scans; the state is a
function of that set (`integrations.base.tracking`), so every order ends the same.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q

from connector import workers
from connector.models import (
    Exchange,
    FlowState,
    Integration,
    Package,
    Pause,
    Shipment,
    SourceRecord,
    TrackingEvent,
    Transfer,
)
from connector.services import audit, clock, keys, proofs, vendors, wake
from connector.services.engine import codec, pauses
from connector.services.engine.recorder import ExchangeBuffer
from connector.services.shipments import work_beside
from integrations.base import tracking as state
from integrations.base.errors import ConfigurationError, IntegrationError
from integrations.base.http import recording
from integrations.base.records import Problem, StatusWrite
from integrations.base.tracking import ParcelNews, TrackQuery
from integrations.flows.table import KINDS

logger = logging.getLogger(__name__)

FLOW = "track"
GROUP = 30
LEASE_S = 300.0
SILENT_AFTER_S = 30 * 86400.0
"""A parcel that the carrier has said nothing new of for so long is asked for no more; a person is told."""

AHEAD = dt.timedelta(days=1)
"""Scans dated further ahead than this count when their time has come: somebody's clock is wrong."""

SAME_PARCEL_DAYS = 21
"""How far a carrier's ship date may lie from ours and still mean the same parcel."""

HOUR = 3600.0
INTERVALS_S: Mapping[str, float] = {
    state.LABEL_CREATED: 4 * HOUR,
    state.PICKED_UP: 3 * HOUR,
    state.IN_TRANSIT: 3 * HOUR,
    state.OUT_FOR_DELIVERY: HOUR,
    state.READY_FOR_PICKUP: 6 * HOUR,
    state.EXCEPTION: 2 * HOUR,
    state.RETURNING: 6 * HOUR,
}


def next_ask_s(status: str, silent_s: float) -> float | None:
    """Seconds until a shipment is asked for again, None: no more. `silent_s`: how long it has had no news.

    What has been silent for long is asked for ever more rarely, at most twice a day.
    """
    if status in state.FINAL or silent_s >= SILENT_AFTER_S:
        return None
    return min(max(INTERVALS_S.get(status, 4 * HOUR), silent_s / 10), 12 * HOUR)


# -- asking --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class TrackResult:
    """What one round did: shipments asked for, those with news, numbers the carrier would not tell about."""

    asked: int = 0
    news: int = 0
    refused: int = 0
    busy: bool = False
    error: dict[str, object] | None = None

    def as_dict(self) -> dict[str, int]:
        """As the interface names the counts of a poll: `seen` were asked for, `changed` have news."""
        return {"seen": self.asked, "new": 0, "changed": self.news, "before_start": 0, "unreadable": self.refused}


def due(integration: Integration) -> Any:
    """Live shipments of an integration whose turn to be asked for has come."""
    live = Shipment.objects.filter(integration=integration, state=Shipment.State.ACTIVE, next_track_at__lte=clock.at())
    return live.order_by("next_track_at", "pk")


def track(integration: Integration) -> TrackResult:
    """Ask for what is due, about 20 s long, one process at a time. A vendor's error ends up in the result."""
    result = TrackResult()
    owner = uuid.uuid4()
    problem = keys.problem()
    if problem or not _take_turn(integration, owner):
        result.busy = True
        return result
    until = time.monotonic() + settings.ENGINE["SLICE_S"]
    try:
        carrier = vendors.open_adapter(integration.target)
        while time.monotonic() < until:
            group = list(due(integration)[:GROUP])
            if not group or not _ask(integration, carrier, group, result):
                break
        # Last: news go first, and a proof can wait for the next round.
        proofs.fetch(integration, carrier, until=max(until, time.monotonic() + settings.ENGINE["SLICE_S"] / 4))
    except IntegrationError as error:
        result.error = error.as_dict()
        if isinstance(error, ConfigurationError):
            pauses.pause(integration, integration.target, error, FLOW)
    finally:
        _leave(integration, owner, result)
    return result


def _take_turn(integration: Integration, owner: uuid.UUID) -> bool:
    held = Pause.objects.filter(
        Q(connection=integration.target, scope="connection") | Q(integration=integration), state="active"
    ).exclude(kind="rest", probe_at__lte=clock.at())
    if held.exists():
        return False
    states = FlowState.objects.filter(integration=integration, flow=FLOW)
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=clock.at())
    FlowState.objects.get_or_create(integration=integration, flow=FLOW, defaults={"tenant_id": integration.tenant_id})
    return bool(
        states.filter(free).update(lease_owner=owner, lease_process=workers.process_name(), lease_until=clock.at(LEASE_S))
    )


def _leave(integration: Integration, owner: uuid.UUID, result: TrackResult) -> None:
    good = {} if result.error else {"last_good_poll_at": clock.at(), "last_result": result.as_dict()}
    FlowState.objects.filter(integration=integration, flow=FLOW, lease_owner=owner).update(
        lease_owner=None, lease_until=None, last_poll_at=clock.at(), last_error=result.error, **good
    )


def _ask(integration: Integration, carrier: Any, group: Sequence[Shipment], result: TrackResult) -> bool:
    """One batch: ask, merge. False when nothing was learned and the round should end."""
    packages = list(Package.objects.filter(shipment__in=group, voided=False).order_by("shipment", "sequence"))
    queries = [TrackQuery(p.tracking_number, p.ship_date, p.carrier_unique_id) for p in packages]
    buffer = ExchangeBuffer({integration.target.slug: integration.target}, batch=uuid.uuid4())
    buffer.step = FLOW
    before, asked_at = result.news, clock.now()
    try:
        with recording(buffer):
            told = carrier.track(queries)
    except IntegrationError:
        Exchange.objects.bulk_create(buffer.take())
        raise
    # What an answer says is as new as the question.
    news = [replace(answer, told_at=asked_at) for answer in told.values() if isinstance(answer, ParcelNews)]
    result.asked += len(group)
    merged = merge(integration.target_id, news, asked=group)
    merged.wake()
    result.news += merged.changed
    result.refused += sum(isinstance(answer, Problem) for answer in told.values())
    rows = buffer.take()
    # An hourly "nothing new" would fill the table: keep what told something.
    Exchange.objects.bulk_create(rows if result.news > before else [r for r in rows if r.status is None or r.status >= 400])
    return True


# -- merging -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Merged:
    """What taking news in did: shipments that changed, write-backs that were opened, shipments it failed for."""

    changed: int = 0
    opened: int = 0
    failed: int = 0

    def __add__(self, other: Merged) -> Merged:
        return Merged(self.changed + other.changed, self.opened + other.opened, self.failed + other.failed)

    def wake(self) -> None:
        """Have somebody see to the write-backs: one call for all of them, not one for each."""
        wake.work(min(self.opened, settings.WORKER_PROCESSES))


def merge(carrier_id: int, news: Iterable[ParcelNews], asked: Sequence[Shipment] = ()) -> Merged:
    """Take news of parcels of one carrier connection in. Repeating it changes nothing; the caller wakes the workers.

    `asked`: shipments of this round, whose next turn is set whether there are news or not. A shipment that we fail on is
    logged and stands alone.
    """
    by_number: dict[str, list[ParcelNews]] = {}
    for item in news:
        if item.known:
            by_number.setdefault(item.tracking_number, []).append(item)
    held = Package.objects.filter(carrier_id=carrier_id, tracking_number__in=list(by_number), voided=False)
    ours = [(p, n) for p in held.select_related("shipment") for n in by_number[p.tracking_number] if is_ours(p, n)]
    pairs: dict[int, list[tuple[Package, ParcelNews]]] = {shipment.pk: [] for shipment in asked}
    for package, item in ours:
        pairs.setdefault(package.shipment_id, []).append((package, item))
    was_asked = {shipment.pk for shipment in asked}
    done = Merged()
    targets: dict[tuple[int, str], frozenset[str] | None] = {}
    for shipment_id in sorted(pairs):
        try:
            done += _merge_shipment(shipment_id, pairs[shipment_id], targets, was_asked=shipment_id in was_asked)
        except OperationalError:
            raise  # the database's trouble, not this shipment's
        except Exception:
            logger.exception("news of shipment %s could not be taken in", shipment_id)
            done.failed += 1
            # Not at the head of every round from now on.
            Shipment.objects.filter(pk=shipment_id, next_track_at__lte=clock.at()).update(next_track_at=clock.at(4 * HOUR))
    return done


def is_ours(package: Package, news: ParcelNews) -> bool:
    """Not a parcel of another year under the same number: carriers use their numbers again.

    The carrier's own mark proves that it is ours, another mark only that there is no date to tell by (the first one
    that came may have been the wrong one). A parcel without a date is as old as its first scan.
    """
    if package.carrier_unique_id and package.carrier_unique_id == news.unique_id:
        return True
    first = min((scan.at for scan in news.scans), default=None)
    shipped = news.ship_date or (first.date() if first is not None else None)
    if package.ship_date is not None and shipped is not None:
        return abs((package.ship_date - shipped).days) <= SAME_PARCEL_DAYS
    return not (package.carrier_unique_id and news.unique_id)


def _merge_shipment(
    shipment_id: int,
    pairs: Sequence[tuple[Package, ParcelNews]],
    targets: dict[tuple[int, str], frozenset[str] | None],
    *,
    was_asked: bool,
) -> Merged:
    """One commit for one shipment: events, packages, the shipment's state, its next turn, its write-back."""
    with transaction.atomic():
        # Records before shipments, as every run does: two orders would wait for each other.
        of = Shipment.objects.values("integration", "source_key").get(pk=shipment_id)
        both = SourceRecord.objects.filter(
            integration=of["integration"], source_key=of["source_key"], flow__in=("ship", FLOW)
        ).order_by("pk")
        records = {record.pk: record for record in both.select_for_update()}
        shipment = Shipment.objects.select_for_update(of=("self",)).select_related("integration__tenant").get(pk=shipment_id)
        fresh = sum(_add_events(package, item) for package, item in pairs)
        packages = list(Package.objects.filter(shipment=shipment))
        before = _facts(shipment)
        now = clock.now()
        _recompute(shipment, packages, pairs, not_after=now + AHEAD)
        if pairs:
            proofs.want(packages, shipment.integration, now)
        changed = fresh or _facts(shipment) != before
        if changed:
            shipment.last_news_at = now
        if was_asked or pairs:
            shipment.last_asked_at = now
        silent = (now - (shipment.last_news_at or shipment.created_at)).total_seconds()
        wait = next_ask_s(shipment.status, silent) if shipment.state == Shipment.State.ACTIVE else None
        shipment.next_track_at = now + dt.timedelta(seconds=wait) if wait is not None else None
        shipment.save(
            update_fields=[
                *("status", "status_at", "delivered_at", "signed_by", "estimated_delivery"),
                *("last_news_at", "last_asked_at", "next_track_at"),
            ]
        )
        of_kind = shipment.integration_id, shipment.source_key.partition(":")[0]
        if of_kind not in targets:
            targets[of_kind] = status_targets(shipment.integration, of_kind[1])
        if changed and shipment.status != before[0]:
            told: dict[str, Any] = {"status": shipment.status, "tracking_number": shipment.master_tracking_number}
            if unwritten := without_target(shipment, targets[of_kind]):
                told["not_written"] = unwritten
            audit.append_to_record(records[shipment.record_id], [audit.Draft("tracking", told, obj=shipment)])
        opened = open_write_back(shipment, targets[of_kind])
    return Merged(int(bool(changed)), int(opened is not None))


PARTS = ("status", "status_at", "estimated_delivery", "delivered_at", "signed_by")
"""What a `StatusWrite` tells; each part has a field of its own in the ERP, or none."""


def _facts(shipment: Shipment) -> tuple[Any, ...]:
    return (shipment.status, shipment.status_at, shipment.delivered_at, shipment.signed_by, shipment.estimated_delivery)


def _add_events(package: Package, news: ParcelNews) -> int:
    """Store scans that are not known yet; how many."""
    stored = TrackingEvent.objects.filter(package=package, event_key__in=[scan.key for scan in news.scans])
    known = set(stored.values_list("event_key", flat=True))
    rows = [
        TrackingEvent(
            tenant_id=package.tenant_id,
            package=package,
            event_key=scan.key,
            occurred_at=scan.at,
            status=scan.status,
            code=scan.code,
            text=scan.text,
            place=scan.place,
        )
        for scan in news.scans
        if scan.key not in known
    ]
    TrackingEvent.objects.bulk_create(rows)
    if news.unique_id and not package.carrier_unique_id:
        Package.objects.filter(pk=package.pk).update(carrier_unique_id=news.unique_id)
    return len(rows)


def _recompute(
    shipment: Shipment, packages: Sequence[Package], pairs: Sequence[tuple[Package, ParcelNews]], *, not_after: dt.datetime
) -> None:
    """State of packages and shipment from all scans that are stored, and from what was ever told beside them."""
    scans: dict[int, list[tuple[dt.datetime, str]]] = {p.pk: [] for p in packages}
    stored = TrackingEvent.objects.filter(package__in=packages, occurred_at__lte=not_after)
    for package_id, at, status in stored.values_list("package_id", "occurred_at", "status"):
        scans[package_id].append((at, status))
    for package in packages:
        before = (package.status, package.status_at, package.told)
        for _, item in (pair for pair in pairs if pair[0].pk == package.pk):
            package.told = state.merge_told(package.told, item, not_after)
        status, since = state.state_of(scans[package.pk])
        if status:
            package.status, package.status_at = status, since
        if (package.status, package.status_at, package.told) != before:
            package.save(update_fields=["status", "status_at", "told"])
    live = [p for p in packages if not p.voided] or list(packages)
    shipment.status = state.state_of_all(p.status for p in live)
    since_all = [p.status_at for p in live if p.status_at is not None]
    shipment.status_at = max(since_all) if since_all else shipment.status_at
    delivered = [(_delivered_at(p), p) for p in live if p.status == state.DELIVERED]
    at_all = [at for at, _ in delivered if at is not None]
    # It may come back after all.
    shipment.delivered_at = max(at_all, default=None) if shipment.status == state.DELIVERED else None
    expected = [p for p in live if p.status not in state.FINAL]
    dates = _told(expected, "estimated_delivery") or _told(live, "estimated_delivery")
    shipment.estimated_delivery = max(map(dt.date.fromisoformat, dates)) if dates else shipment.estimated_delivery
    last_first = sorted(live, key=lambda p: (p.status_at is not None, p.status_at, p.pk), reverse=True)
    shipment.signed_by = next(iter(_told(last_first, "signed_by")), shipment.signed_by)


def _told(packages: Iterable[Package], name: str) -> list[str]:
    """What the carrier last told of these beside their scans; those it told nothing of are left out."""
    return [p.told[name][-1] for p in packages if name in p.told]


def _delivered_at(package: Package) -> dt.datetime | None:
    """When a delivered parcel was delivered: by the carrier's own word (sheet 11.3), else by its scan."""
    return next(map(dt.datetime.fromisoformat, _told([package], "delivered_at")), package.status_at)


# -- telling the ERP -----------------------------------------------------------------------------------------


def picture(shipment: Shipment, wanted: Sequence[str]) -> StatusWrite:
    """What the ERP should show of a shipment's way. A status outside `wanted` is not told."""
    made = StatusWrite(
        status=shipment.status if shipment.status in wanted else None,
        status_at=shipment.status_at if shipment.status in wanted else None,
        estimated_delivery=shipment.estimated_delivery,
        delivered_at=shipment.delivered_at,
        signed_by=shipment.signed_by or None,
        taken_back=_taken_back(shipment),
    )
    return replace(made, mark=audit.digest(codec.encode(made))[:24])


def _taken_back(shipment: Shipment) -> dict[str, str]:
    """What we told the ERP of a delivery that was none after all."""
    told = (shipment.picture_written or {}).get("delivered_at", "")
    return {"delivered_at": told} if told and shipment.delivered_at is None else {}


def wanted_statuses(integration: Integration) -> Sequence[str]:
    """The statuses that the integration wants in the ERP."""
    chosen = integration.options.get("track_statuses")
    found: Sequence[str] = KINDS[integration.kind].defaults()["track_statuses"] if chosen is None else chosen
    return found


def plain(write: StatusWrite, targets: Iterable[str]) -> dict[str, str]:
    """The parts of a picture that the ERP has fields for, as text: what is compared with what was last written."""
    parts = {part: getattr(write, part) for part in sorted(targets)}
    told = {part: value if isinstance(value, str) else value.isoformat() for part, value in parts.items() if value is not None}
    return told | {part: "" for part in write.taken_back if part in targets}


def without_target(shipment: Shipment, targets: frozenset[str] | None) -> list[str]:
    """The parts of the present picture that are wanted in the ERP and have no field there; none where that is not known."""
    if targets is None:
        return []
    wanted = picture(shipment, wanted_statuses(shipment.integration))
    return [part for part in PARTS if getattr(wanted, part) is not None and part not in targets]


def status_targets(integration: Integration, kind: str) -> frozenset[str] | None:
    """The parts of a picture that the ERP has fields for on documents of a kind; None while its connection cannot be opened."""
    try:
        found: frozenset[str] = vendors.open_adapter(integration.source).status_targets(kind)
    except IntegrationError as error:
        logger.warning("%s: what the ERP has fields for is not known (%s)", integration.slug, error.code)
        return None
    return found


def open_write_back(shipment: Shipment, targets: frozenset[str] | None) -> Transfer | None:
    """A transfer that writes the latest picture, if the ERP lacks some of it; the open one serves, too.

    Inside the caller's transaction; the caller wakes the workers. Never before the tracking number itself is written.
    """
    integration = shipment.integration
    if shipment.written_at is None or shipment.state != Shipment.State.ACTIVE or not integration.enabled:
        return None
    # Not known now: the transfer will know, or tell what is wrong. A last piece of news is not followed by another one.
    told = plain(picture(shipment, wanted_statuses(integration)), PARTS if targets is None else targets)
    # A part that says nothing (a status nobody wants there) is nothing to write.
    if told.items() <= (shipment.picture_written or {}).items():
        return None
    # A closed document stays closed: only what it has not refused yet is worth another try.
    if shipment.picture_refused and told.items() <= shipment.picture_refused.items():
        return None
    # A failed one is tried with the newer picture; a waiting one takes it up anyway.
    return work_beside(shipment, FLOW, again=("failed",))


def remember(shipment_id: int, told: Mapping[str, str], targets: frozenset[str]) -> None:
    """The ERP has been told this. What came while it was being written is the next transfer's.

    In the commit that ends the transfer: before it, the news found it running and opened nothing; after it, they open one.
    """
    shipment = Shipment.objects.select_related("integration").get(pk=shipment_id)
    shipment.picture_written = {**(shipment.picture_written or {}), **told}
    shipment.picture_refused = None
    shipment.save(update_fields=["picture_written", "picture_refused"])
    if open_write_back(shipment, targets) is not None:
        wake.work()


def refused(shipment_id: int, told: Mapping[str, str], targets: frozenset[str]) -> None:
    """The ERP would not take this, its document being closed; in the commit that ends the transfer, as `remember`."""
    shipment = Shipment.objects.select_related("integration").get(pk=shipment_id)
    shipment.picture_refused = dict(told)
    shipment.save(update_fields=["picture_refused"])
    if open_write_back(shipment, targets) is not None:
        wake.work()


__all__ = [
    "FLOW",
    "Merged",
    "TrackResult",
    "due",
    "is_ours",
    "merge",
    "next_ask_s",
    "open_write_back",
    "picture",
    "plain",
    "refused",
    "remember",
    "status_targets",
    "track",
    "wanted_statuses",
    "without_target",
]

"""What should have happened by now and has not: four deadlines, found from what stands in the database alone.

no_label     the document had to leave before the carrier's cut-off at its site, and has no label
no_scan      the label was bought, and the carrier, asked, has not seen the parcel for so many hours
no_news      a parcel is under way and the carrier has said nothing new for so many hours, or was never asked
not_in_erp   delivered, and the ERP does not show it

Nothing is stored and nobody is called. Each kind reads a partial index in which only unfinished things stand, at most
`SCANNED` rows of it; older than `BACK` is looked for no more. Where that cuts something off, a count says "more".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q
from django.db.models.fields.json import KT
from django.urls import reverse

from connector.models import Integration, Membership, Shipment, Site, SourceRecord, Step, Transfer
from connector.models.shipments import HEARD, UNDER_WAY, UNSCANNED, UNTOLD
from connector.services import calendars, clock
from connector.services.calendars import Calendar
from integrations import registry
from integrations.flows.table import KINDS

NO_LABEL: Final = "no_label"
NO_SCAN: Final = "no_scan"
NO_NEWS: Final = "no_news"
NOT_IN_ERP: Final = "not_in_erp"

SCANNED = 1000
"""Rows looked at for one kind, oldest first."""
SHOWN = 200
BACK = dt.timedelta(days=90)
WARNING = dt.timedelta(hours=2)
"""So long before the cut-off a document without a label is shown."""
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """One deadline for people: its name, what it means, what to do."""

    name: str
    title: str
    says: str
    remedy: str


ALL: Final = (
    Kind(
        NO_LABEL,
        "Must ship today and has no label",
        "It came before the carrier's cut-off at its site, which is less than two hours away or has passed.",
        "Open the transfer: it says what it waits for.",
    ),
    Kind(
        NO_SCAN,
        "Label without a scan",
        "The label was bought, and the carrier has not seen the parcel.",
        "Has it been handed over? If it will not be, void the label.",
    ),
    Kind(
        NO_NEWS,
        "No news of the parcel",
        "It is under way, and the carrier has told nothing new for too long.",
        "Compare with the carrier's own page, and ask the carrier where the parcel is.",
    ),
    Kind(
        NOT_IN_ERP,
        "Delivered, and the ERP does not show it",
        "The carrier has delivered it. The ERP has not been told.",
        "Open the transfer that should have told it, and replay it.",
    ),
)
KIND: Final[Mapping[str, Kind]] = {kind.name: kind for kind in ALL}


@dataclass(frozen=True, slots=True)
class Missed:
    """One missed deadline. `since`: what the time is counted from; `transfer` or `shipment` is what to open."""

    kind: str
    tenant_id: int
    integration: Integration
    number: str
    document: str
    site: str
    since: dt.datetime
    transfer: int | None = None
    shipment: int | None = None

    @property
    def key(self) -> str:
        """The same for the same miss at every look; news after which the carrier falls silent again make another."""
        subject = f"s{self.shipment}" if self.shipment else f"t{self.transfer}"
        return f"deadline:{self.kind}:{subject}:{self.since:%Y%m%d%H%M%S}"

    @property
    def link(self) -> str:
        """The page to open."""
        name, pk = ("shipment", self.shipment) if self.shipment else ("transfer", self.transfer)
        return reverse(f"admin:connector_{name}_change", args=[pk])


@dataclass(frozen=True, slots=True)
class Found:
    """Misses of one kind, oldest first. `more`: there may be others that were not looked at."""

    kind: Kind
    rows: tuple[Missed, ...]
    more: bool = False


@dataclass(frozen=True, slots=True)
class Count:
    """How many misses of one kind a person should see, and where."""

    kind: Kind
    number: int
    more: bool
    link: str


def summary(user: Any, now: dt.datetime | None = None, seen: Sequence[Integration] | None = None) -> list[Count]:
    """Counts for the dashboard: kinds of which there are any, of tenants that this person sees. About six queries.

    `seen`: all integrations of these tenants (tenant, source and target loaded) where they were read already.
    """
    found = find(_seen_by(user), now=now) if seen is None else _find([i for i in seen if i.enabled], KIND, now or clock.now())
    page = reverse("admin:connector_deadlines")
    return [Count(f.kind, len(f.rows), f.more, f"{page}?kind={f.kind.name}") for f in found if f.rows or f.more]


def _seen_by(user: Any) -> Any:
    integrations = Integration.objects.all()
    if not user.is_active:
        return integrations.none()
    return (
        integrations
        if user.is_superuser
        else integrations.filter(tenant__in=Membership.objects.filter(user=user).values("tenant"))
    )


def find(integrations: Any, kinds: Iterable[str] = tuple(KIND), *, now: dt.datetime | None = None) -> list[Found]:
    """Missed deadlines of these integrations (a queryset) that are switched on, by kind."""
    now = now or clock.now()
    chosen = list(integrations.filter(enabled=True).select_related("source", "target", "tenant").order_by("pk"))
    return _find(chosen, kinds, now)


def _find(integrations: Sequence[Integration], kinds: Iterable[str], now: dt.datetime) -> list[Found]:
    chosen = [i for i in integrations if i.kind in KINDS and i.target.vendor in registry.VENDORS]
    if not chosen:
        return [Found(KIND[name], ()) for name in kinds]
    places = _Places(chosen)
    looks = {NO_LABEL: _no_label, NO_SCAN: _no_scan, NO_NEWS: _no_news, NOT_IN_ERP: _not_in_erp}
    return [looks[name](places, now) for name in kinds]


class _Places:
    """Integrations with the sites of their sources, and the calendar of each."""

    def __init__(self, integrations: Sequence[Integration]) -> None:
        self.integrations = {i.pk: i for i in integrations}
        self.sites: dict[int, list[Site]] = {}
        sites = Site.objects.filter(company_code__connection__in={i.source_id for i in integrations})
        for site in sites.select_related("company_code"):
            self.sites.setdefault(site.company_code.connection_id, []).append(site)
        self._by_code = {(c, s.company_code.code, s.code): s for c, several in self.sites.items() for s in several}
        self._calendars: dict[tuple[int, str, str], Calendar] = {}

    def of(self, integration: Integration) -> list[Site]:
        """Sites that this integration serves."""
        codes = integration.company_codes
        return [s for s in self.sites.get(integration.source_id, ()) if not codes or s.company_code.code in codes]

    def calendar(self, integration: Integration, company: str, code: str) -> Calendar:
        """When the integration's carrier works at a site; at one that is not entered, by the tenant's zone alone."""
        key = (integration.pk, company, code)
        if key not in self._calendars:
            site = self._by_code.get((integration.source_id, company, code))
            rests = registry.get(integration.target.vendor).rests_on
            zone = site.timezone if site is not None else integration.tenant.timezone
            self._calendars[key] = calendars.of_place(zone, site.address if site is not None else None, rests)
        return self._calendars[key]

    def by_limit(self, option: str, *, follows: bool = True) -> Iterator[tuple[int, list[int]]]:
        """(hours, integrations) for each limit that is set anywhere."""
        groups: dict[int, list[int]] = {}
        for pk, integration in self.integrations.items():
            kind = KINDS[integration.kind]
            if follows and not any(flow.name == "track" and flow.available for flow in kind.flows):
                continue
            hours = integration.options.get(option)
            hours = kind.defaults().get(option) if hours is None else hours
            if hours:
                groups.setdefault(int(hours), []).append(pk)
        yield from sorted(groups.items())


# -- no label ----------------------------------------------------------------------------------------


def had_to_come_before(calendar: Calendar, cut_off: dt.time, now: dt.datetime) -> dt.datetime:
    """What came before this instant must have its label now: today's cut-off from two hours ahead, else the last one's."""
    local = now.astimezone(calendar.zone)
    if calendar.works(local.date()):
        today = dt.datetime.combine(local.date(), cut_off, tzinfo=calendar.zone).astimezone(dt.UTC)
        if now >= today - WARNING:
            return min(now, today)
    day = calendar.last_working_day(local.date() - calendars.DAY)
    return dt.datetime.combine(day, cut_off, tzinfo=calendar.zone).astimezone(dt.UTC)


def _no_label(places: _Places, now: dt.datetime) -> Found:
    which = Q(pk__in=())
    for integration in places.integrations.values():
        for site in places.of(integration):
            if site.cut_off is not None:
                calendar = places.calendar(integration, site.company_code.code, site.code)
                before = had_to_come_before(calendar, site.cut_off, now)
                here = Q(integration=integration, company_code=site.company_code.code, site=site.code)
                which |= here & Q(created_at__lt=before, created_at__gte=before - BACK)
    if which == Q(pk__in=()):
        return Found(KIND[NO_LABEL], ())
    waiting = Transfer.objects.filter(which, flow="ship", state__in=Transfer.UNFINISHED).order_by("created_at", "pk")
    bought = Shipment.objects.filter(record=OuterRef("record"), state__in=("active", "voiding"))
    rows = list(
        waiting.annotate(bought=Exists(bought)).values(
            "pk", "tenant_id", "integration_id", "source_key", "company_code", "site", "created_at", "bought"
        )[:SCANNED]
    )
    more = len(rows) == SCANNED
    rows = [row for row in rows if not row["bought"]]
    planned = _planned([row["pk"] for row in rows])
    made = []
    for row in rows:
        integration = places.integrations[row["integration_id"]]
        today = now.astimezone(places.calendar(integration, row["company_code"], row["site"]).zone).date()
        if planned.get(row["pk"], "") > today.isoformat():
            continue  # the document itself says a later day
        made.append(
            Missed(
                NO_LABEL,
                row["tenant_id"],
                integration,
                "",
                row["source_key"],
                row["site"],
                row["created_at"],
                transfer=row["pk"],
            )
        )
    return Found(KIND[NO_LABEL], tuple(made), more)


def _planned(transfers: Sequence[int]) -> dict[int, str]:
    """The planned ship date by transfer, as it was last read."""
    found: dict[int, str] = {}
    for start in range(0, len(transfers), CHUNK):
        steps = Step.objects.filter(transfer__in=transfers[start : start + CHUNK], name="read", state="done")
        found |= {pk: day for pk, day in steps.values_list("transfer_id", KT("result__planned_ship_date")) if day}
    return found


# -- the parcel --------------------------------------------------------------------------------------

_SHIPMENT = ("pk", "tenant_id", "integration_id", "company_code", "site", "source_key", "master_tracking_number")


def _missed(kind: str, places: _Places, row: Mapping[str, Any], since: dt.datetime) -> Missed:
    integration = places.integrations[row["integration_id"]]
    told = (row["master_tracking_number"], row["source_key"], row["site"], since)
    return Missed(kind, row["tenant_id"], integration, *told, shipment=row["pk"])


def _silent(kind: str, option: str, condition: Q, since: str, places: _Places, now: dt.datetime) -> Found:
    """Shipments that fit `condition` and whose `since` lies more working hours back than `option` allows."""
    made: list[Missed] = []
    more = False
    for hours, integrations in places.by_limit(option):
        # No fewer hours than those of the clock: what the calendar adds is taken off below.
        late = Shipment.objects.annotate(heard=HEARD).filter(condition, integration__in=integrations)
        late = late.filter(**{f"{since}__lt": now - dt.timedelta(hours=hours), f"{since}__gte": now - BACK})
        rows = list(late.order_by(since, "pk").values(*_SHIPMENT, since, "last_asked_at")[:SCANNED])
        due = now
        for row in rows:
            integration = places.integrations[row["integration_id"]]
            due = places.calendar(integration, row["company_code"], row["site"]).after(row[since], hours)
            asked_in_time = kind != NO_SCAN or row["last_asked_at"] >= due
            if due <= now and asked_in_time:
                made.append(_missed(kind, places, row, row[since]))
        # Oldest first: where the last one looked at is not due yet (a weekend), those behind it are not either.
        more |= len(rows) == SCANNED and due <= now
    return Found(KIND[kind], tuple(sorted(made, key=lambda m: m.since)), more)


def _no_scan(places: _Places, now: dt.datetime) -> Found:
    return _silent(NO_SCAN, "scan_within_hours", UNSCANNED, "created_at", places, now)


def _no_news(places: _Places, now: dt.datetime) -> Found:
    return _silent(NO_NEWS, "news_within_hours", UNDER_WAY, "heard", places, now)


# -- the ERP -----------------------------------------------------------------------------------------


def _not_in_erp(places: _Places, now: dt.datetime) -> Found:
    made: dict[int, Missed] = {}
    more = False
    for hours, integrations in places.by_limit("erp_within_hours"):
        limit = dt.timedelta(hours=hours)
        never = Shipment.objects.filter(UNTOLD, integration__in=integrations, delivered_at__gte=now - BACK)
        rows = list(never.order_by("delivered_at", "pk").values(*_SHIPMENT, "delivered_at", "last_news_at")[:SCANNED])
        more |= len(rows) == SCANNED
        untold, cut = _unfinished(integrations, now)
        more |= cut
        for row in (*rows, *untold):
            # Counted from when we knew: a webhook may come days after the delivery.
            since = max(row["delivered_at"], row["last_news_at"] or row["delivered_at"])
            if since < now - limit:
                made.setdefault(row["pk"], _missed(NOT_IN_ERP, places, row, since))
    return Found(KIND[NOT_IN_ERP], tuple(sorted(made.values(), key=lambda m: m.since)), more)


def _unfinished(integrations: Sequence[int], now: dt.datetime) -> tuple[list[dict[str, Any]], bool]:
    """Delivered shipments whose write-back waits, failed or is under way; whether there may be others."""
    waiting = Transfer.objects.filter(integration__in=integrations, flow="track", state__in=Transfer.UNFINISHED)
    waiting = waiting.filter(created_at__gte=now - BACK).order_by("created_at", "pk")
    open_ones = list(waiting.values_list("integration_id", "source_key")[:SCANNED])
    wanted = set(open_ones)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(open_ones), CHUNK):
        keys = [key for _, key in open_ones[start : start + CHUNK]]
        records = SourceRecord.objects.filter(integration__in=integrations, flow="ship", source_key__in=keys)
        told = Shipment.objects.filter(record__in=records, state="active", status="delivered", delivered_at__isnull=False)
        rows += told.values(*_SHIPMENT, "delivered_at", "last_news_at")
    return [r for r in rows if (r["integration_id"], r["source_key"]) in wanted], len(open_ones) == SCANNED


__all__ = [
    "ALL",
    "KIND",
    "NOT_IN_ERP",
    "NO_LABEL",
    "NO_NEWS",
    "NO_SCAN",
    "SHOWN",
    "Count",
    "Found",
    "Kind",
    "Missed",
    "find",
    "had_to_come_before",
    "summary",
]

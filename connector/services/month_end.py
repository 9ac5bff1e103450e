"""Freight cost at month end: quoted, rated, invoiced and posted side by side, by company code, account and cost centre.

A line is the share of one order in a shipment, or the shipment itself where no order bears its cost. Lines are walked
along an index from where the last page ended; sums are made by the database within the period. One tenant at a time:
its zone says where a day begins, and its index leads.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db.models import Case, DecimalField, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from connector.models import CostChange, FreightCharge, Shipment, Tenant
from connector.services import history
from connector.services.exports import guarded
from connector.services.shipments import QUOTE

LONGEST_DAYS = 93
"""A quarter: sums read every line of the period."""
STATES = {
    "agrees": "Posted as charged",
    "differs": "Posted otherwise",
    "waiting": "On its way to the ERP",
    "person": "For a person",
    "none": "No order bears it",
    "voided": "Voided",
}
"""How a line stands, and what the console calls it."""
MONEY = DecimalField(max_digits=18, decimal_places=2)
ZERO = Value(Decimal(0), output_field=MONEY)
Charge = FreightCharge.State


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: days in the tenant's zone, both included; "" and None leave a filter out.

    `by` "made": the label's instant; "shipped": the ship date (shipments without one are left out).
    """

    tenant: Tenant
    first: dt.date
    last: dt.date
    by: str = "made"
    company_code: str = ""
    account: str = ""
    cost_center: str = ""
    carrier: int | None = None
    integration: int | None = None
    state: str = ""

    @property
    def zone(self) -> dt.tzinfo:
        """Where a day begins."""
        return zoneinfo.ZoneInfo(self.tenant.timezone)


@dataclass(frozen=True, slots=True)
class Figures:
    """The four figures of a line or a group, and what lies between them. None: not known, never zero.

    `charged` is what the carrier charges as far as it is known by now: invoiced, entered, else rated.
    """

    quoted: Decimal | None
    rated: Decimal | None
    invoiced: Decimal | None
    charged: Decimal | None
    posted: Decimal | None

    @property
    def over_quote(self) -> Decimal | None:
        """Charged less quoted."""
        return None if self.charged is None or self.quoted is None else self.charged - self.quoted

    @property
    def over_rate(self) -> Decimal | None:
        """Invoiced less rated."""
        return None if self.invoiced is None or self.rated is None else self.invoiced - self.rated

    @property
    def open(self) -> Decimal | None:
        """Charged less posted: what the ERP does not have."""
        return None if self.charged is None else self.charged - (self.posted or Decimal(0))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list and of the file. `line` is the order's line as the ERP keys it; "" where the order bears it whole."""

    shipment: Shipment
    order: str
    company_code: str
    account: str
    cost_center: str
    currency: str
    figures: Figures
    state: str
    note: str = ""
    line: str = ""

    @property
    def state_words(self) -> str:
        return STATES[self.state]


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of a company code, account, cost centre and currency."""

    company_code: str
    account: str
    cost_center: str
    currency: str
    lines: int
    figures: Figures


# -- which shipments ---------------------------------------------------------------------------------------


def order_of(wanted: Wanted) -> history.Order:
    """The order in which the lines are walked: that of the period's dates, the earliest first."""
    return history.ORDERS["shipped_earliest" if wanted.by == "shipped" else "created_earliest"]


def _period(wanted: Wanted, prefix: str = "") -> Q:
    if wanted.by == "shipped":
        return Q(**{f"{prefix}ship_date__gte": wanted.first, f"{prefix}ship_date__lte": wanted.last})
    begin, end = (
        dt.datetime.combine(day, dt.time(), tzinfo=wanted.zone).astimezone(dt.UTC)
        for day in (wanted.first, wanted.last + dt.timedelta(days=1))
    )
    return Q(**{f"{prefix}created_at__gte": begin, f"{prefix}created_at__lt": end})


def _ends(wanted: Wanted, prefix: str = "") -> Q:
    """Tenant, period, carrier, integration."""
    found = Q(**{f"{prefix}tenant": wanted.tenant}) & _period(wanted, prefix)
    if wanted.carrier is not None:
        found &= Q(**{f"{prefix}carrier": wanted.carrier})
    if wanted.integration is not None:
        found &= Q(**{f"{prefix}integration": wanted.integration})
    return found


def _accounting(wanted: Wanted, account: str) -> dict[str, str]:
    told = {"company_code": wanted.company_code, account: wanted.account, "cost_center": wanted.cost_center}
    return {name: value for name, value in told.items() if value}


def shipments(wanted: Wanted) -> QuerySet[Shipment]:
    """The shipments with at least one line that fits."""
    rows = Shipment.objects.filter(_ends(wanted))
    charges = FreightCharge.objects.filter(shipment=OuterRef("pk"))
    own, shares = _accounting(wanted, "freight_account"), _accounting(wanted, "account")
    if not own and not wanted.state:
        return rows
    itself = ~Exists(charges) & Q(**own) & _itself(wanted.state)
    return rows.filter(itself | Exists(charges.filter(_share(wanted.state), **shares)))


def _itself(state: str) -> Q:
    """Shipments that no order bears, as lines of this state."""
    void = Q(state=Shipment.State.VOIDED)
    told = {"": Q(), "voided": void, "none": ~void}
    return told.get(state, Q(pk__in=[]))


def _share(state: str) -> Q:
    """Shares of orders, as lines of this state."""
    changes = CostChange.objects.filter(shipment=OuterRef("shipment"))
    live = ~Q(shipment__state=Shipment.State.VOIDED)
    person = Q(state=Charge.LEFT) | Q(Exists(changes.filter(state=CostChange.State.LEFT)))
    waiting = Q(state=Charge.PLANNED) | Q(Exists(changes.filter(state=CostChange.State.WAITING)))
    agrees = Q(charged__isnull=True) | Q(charged=F("amount"))
    told: dict[str, Q] = {
        "": Q(),
        "person": person,
        "voided": ~live & ~person,
        "waiting": live & ~person & waiting,
        "differs": live & ~person & ~waiting & ~agrees,
        "agrees": live & ~person & ~waiting & agrees,
    }
    return told.get(state, Q(pk__in=[]))


# -- lines -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of one page and where its neighbours begin."""

    lines: list[Line]
    newer: str = ""
    older: str = ""


def page(wanted: Wanted, *, after: str = "", before: str = "", size: int = 50) -> Page:
    """The lines of up to `size` shipments after or before a place."""
    rows, order = shipments(wanted), order_of(wanted)
    # Whole: the period bounds it.
    found = history.page(rows, order, after=after, before=before, size=size, tenants=[wanted.tenant.pk], columns=(), whole=True)
    return Page(lines_of(wanted, found.rows), found.newer, found.older)


def lines_of(wanted: Wanted, rows: Sequence[Shipment]) -> list[Line]:
    """The lines of these shipments, in their order, that fit."""
    keys = [row.pk for row in rows]
    read = Shipment.objects.filter(pk__in=keys).select_related("carrier", "integration").only(*_READ)
    found = {row.pk: row for row in read}
    charges: dict[int, list[FreightCharge]] = {}
    for charge in FreightCharge.objects.filter(shipment__in=keys).order_by("pk"):
        charges.setdefault(charge.shipment_id, []).append(charge)
    open_changes = CostChange.objects.filter(shipment__in=keys, state__in=(CostChange.State.LEFT, CostChange.State.WAITING))
    # What is left for a person comes before what is on its way.
    changes = {change.shipment_id: change for change in open_changes.order_by("-state", "pk")}
    told = [
        line
        for key in keys
        if key in found
        for line in _lines(found[key], charges.get(key, ()), changes.get(key))
        if _fits(wanted, line)
    ]
    return told


_READ = (
    *("tenant", "master_tracking_number", "document_number", "state", "ship_date", "created_at", "delivered_at", "status"),
    *(
        "source_key",
        "company_code",
        "cost_center",
        "freight_account",
        "cost",
        "currency",
        "cost_kind",
        "quoted_cost",
        "quoted_currency",
    ),
    *("rated_cost", "invoiced_cost", "accounting", "carrier__name", "integration__name"),
)


def _fits(wanted: Wanted, line: Line) -> bool:
    told = ((wanted.company_code, line.company_code), (wanted.account, line.account), (wanted.cost_center, line.cost_center))
    return all(not asked or asked == value for asked, value in (*told, (wanted.state, line.state)))


def _lines(shipment: Shipment, charges: Sequence[FreightCharge], change: CostChange | None) -> Iterator[Line]:
    void = shipment.state == Shipment.State.VOIDED
    if not charges:
        # A label of unknown cost (the carrier bills somebody else) may have been quoted all the same.
        currency = shipment.currency or shipment.quoted_currency
        same = shipment.quoted_currency in ("", currency)
        rated = shipment.cost if shipment.cost_kind == Shipment.CostKind.RATED else shipment.rated_cost
        figures = Figures(
            shipment.quoted_cost if same else None, rated, shipment.invoiced_cost, shipment.cost, None if not void else Decimal(0)
        )
        yield Line(
            shipment,
            "",
            shipment.company_code,
            shipment.freight_account,
            shipment.cost_center,
            currency,
            _of_void(figures) if void else figures,
            "voided" if void else "none",
            _remark(shipment),
        )
    for charge in charges:
        stands = charge.state in (Charge.POSTED, Charge.LEFT)
        charged = charge.amount if charge.charged is None else charge.charged
        figures = Figures(charge.quoted, charge.rated, charge.invoiced, charged, charge.amount if stands else Decimal(0))
        yield Line(
            shipment,
            charge.order,
            charge.company_code,
            charge.account,
            charge.cost_center,
            charge.currency,
            _of_void(figures) if void else figures,
            _state(charge, void, change),
            charge.note or (change.note if change is not None else "") or _remark(shipment),
            charge.line,
        )


def _remark(shipment: Shipment) -> str:
    return f"Cost from {QUOTE}." if shipment.cost_kind == Shipment.CostKind.QUOTED else ""


def _of_void(figures: Figures) -> Figures:
    """A voided label costs nothing, unless the carrier invoiced it all the same."""
    return replace(figures, quoted=None, rated=Decimal(0), charged=figures.invoiced or Decimal(0))


def _state(charge: FreightCharge, void: bool, change: CostChange | None) -> str:
    if charge.state == Charge.LEFT or (change is not None and change.state == CostChange.State.LEFT):
        return "person"
    if void:
        return "voided"
    if charge.state == Charge.PLANNED or change is not None:
        return "waiting"
    return "agrees" if charge.charged is None or charge.charged == charge.amount else "differs"


# -- sums --------------------------------------------------------------------------------------------------


def totals(wanted: Wanted) -> list[Total]:
    """The sums of the lines that fit, by company code, account, cost centre and currency."""
    found: dict[tuple[str, str, str, str], Total] = {}
    for row in [*_of_shipments(wanted), *_of_charges(wanted)]:
        key = (row.company_code, row.account, row.cost_center, row.currency)
        found[key] = _plus(found[key], row) if key in found else row
    return [found[key] for key in sorted(found)]


def together(found: Iterable[Total]) -> list[Total]:
    """The sums of all of them, by currency."""
    made: dict[str, Total] = {}
    for row in found:
        whole = replace(row, company_code="", account="", cost_center="")
        made[row.currency] = _plus(made[row.currency], whole) if row.currency in made else whole
    return [made[currency] for currency in sorted(made)]


def _of_shipments(wanted: Wanted) -> Iterable[Total]:
    charges = FreightCharge.objects.filter(shipment=OuterRef("pk"))
    mine = _accounting(wanted, "freight_account")
    rows = Shipment.objects.filter(_ends(wanted), ~Exists(charges), _itself(wanted.state), **mine)
    live = ~Q(state=Shipment.State.VOIDED)
    rated = Case(When(cost_kind="rated", then=F("cost")), default=F("rated_cost"), output_field=MONEY)
    rows = rows.annotate(told_in=Case(When(currency="", then=F("quoted_currency")), default=F("currency")))
    quoted = Q(quoted_currency="") | Q(quoted_currency=F("told_in"))
    sums = {
        "quoted": Sum("quoted_cost", filter=live & quoted),
        "rated": Sum(Case(When(live, then=rated), default=ZERO, output_field=MONEY)),
        "invoiced": Sum("invoiced_cost"),
        "charged": Sum(Case(When(live, then=F("cost")), default=Coalesce("invoiced_cost", ZERO), output_field=MONEY)),
        "posted": Sum(ZERO, filter=~live),
    }
    return _read(rows, ("company_code", "freight_account", "cost_center", "told_in"), sums)


def _of_charges(wanted: Wanted) -> Iterable[Total]:
    rows = FreightCharge.objects.filter(_ends(wanted, "shipment__"), _share(wanted.state), **_accounting(wanted, "account"))
    if wanted.by == "made":
        # No share is older than its label (a day for clocks): an index then leads past those of earlier months.
        since = dt.datetime.combine(wanted.first - dt.timedelta(days=1), dt.time(), tzinfo=wanted.zone)
        rows = rows.filter(tenant=wanted.tenant, created_at__gte=since.astimezone(dt.UTC))
    live = ~Q(shipment__state=Shipment.State.VOIDED)
    stands = Q(state__in=(Charge.POSTED, Charge.LEFT))
    charged = Coalesce("charged", "amount", output_field=MONEY)
    sums = {
        "quoted": Sum("quoted", filter=live),
        "rated": Sum(Case(When(live, then=F("rated")), default=ZERO, output_field=MONEY)),
        "invoiced": Sum("invoiced"),
        "charged": Sum(Case(When(live, then=charged), default=Coalesce("invoiced", ZERO), output_field=MONEY)),
        "posted": Sum(Case(When(stands, then=F("amount")), default=ZERO, output_field=MONEY)),
    }
    return _read(rows, ("company_code", "account", "cost_center", "currency"), sums)


def _read(rows: QuerySet[Any], group: tuple[str, ...], sums: dict[str, Any]) -> list[Total]:
    aliased = {f"sum_{name}": value for name, value in sums.items()}
    found = rows.order_by().values(*group).annotate(lines=Sum(Value(1)), **aliased)
    told = []
    for row in found:
        company_code, account, cost_center, currency = (str(row[name]) for name in group)
        figures = Figures(*(_money(row[f"sum_{name}"]) for name in sums))
        told.append(Total(company_code, account, cost_center, currency, row["lines"], figures))
    return told


def _money(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value).quantize(Decimal("0.01"))


def _plus(one: Total, other: Total) -> Total:
    def both(a: Decimal | None, b: Decimal | None) -> Decimal | None:
        return a if b is None else b if a is None else a + b

    a, b = one.figures, other.figures
    figures = Figures(
        both(a.quoted, b.quoted),
        both(a.rated, b.rated),
        both(a.invoiced, b.invoiced),
        both(a.charged, b.charged),
        both(a.posted, b.posted),
    )
    return replace(one, lines=one.lines + other.lines, figures=figures)


# -- the file ----------------------------------------------------------------------------------------------

HEADER = (
    *("Company code", "Account", "Cost centre", "Order", "Tracking number", "Document", "Carrier", "Integration"),
    *("Label made", "Ship date", "Delivered", "Carrier's status", "Currency", "Quoted", "Rated", "Invoiced", "Charged", "Posted"),
    *("Charged less quoted", "Invoiced less rated", "Charged less posted", "State", "Remark", "Code parts", "Order line"),
)


def header(zone: dt.tzinfo) -> list[str]:
    """The first line of the file: times say in which zone they are."""
    return [f"{name} ({zone})" if name in ("Label made", "Delivered") else name for name in HEADER]


def file_lines(wanted: Wanted, size: int = 1000) -> Iterator[list[tuple[int, list[str]]]]:
    """All lines that fit as (tenant, cells), batch by batch."""
    for rows in history.batches(shipments(wanted), order_of(wanted), size=size, tenants=[wanted.tenant.pk], columns=()):
        yield [(wanted.tenant.pk, _cells(line, wanted.zone)) for line in lines_of(wanted, rows)]


def _cells(line: Line, zone: dt.tzinfo) -> list[str]:
    row, told = line.shipment, line.figures
    texts = (line.company_code, line.account, line.cost_center, line.order, row.master_tracking_number, row.document_number)
    amounts = (told.quoted, told.rated, told.invoiced, told.charged, told.posted, told.over_quote, told.over_rate, told.open)
    return [
        *(guarded(text) for text in (*texts, str(row.carrier), str(row.integration))),
        row.created_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
        row.ship_date.isoformat() if row.ship_date else "",
        row.delivered_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S") if row.delivered_at else "",
        guarded(row.status.replace("_", " ")),
        guarded(line.currency),
        *("" if amount is None else format(amount, "f") for amount in amounts),
        line.state_words,
        guarded(line.note),
        guarded(_code_parts(line)),
        guarded(line.line),
    ]


def _code_parts(line: Line) -> str:
    """What the order named, such as "CodeB=CC-1 CodeC=9"; those of all orders where none bears the line alone."""
    told = [order for order in line.shipment.accounting or () if line.order in ("", order["order"])]
    found = dict.fromkeys(f"{name}={value}" for order in told for name, value in sorted(order["code_parts"].items()))
    return " ".join(found)


__all__ = [
    "HEADER",
    "LONGEST_DAYS",
    "STATES",
    "Figures",
    "Line",
    "Page",
    "Total",
    "Wanted",
    "file_lines",
    "header",
    "lines_of",
    "order_of",
    "page",
    "shipments",
    "together",
    "totals",
]

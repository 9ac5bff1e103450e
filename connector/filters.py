"""django-filter sets for lists."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import django_filters
from django import forms
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.utils import timezone

from connector.models import Connection, Integration, Shipment, Tenant
from connector.services import history
from integrations.base import tracking

STATUSES = [(status, status.replace("_", " ").capitalize()) for status in tracking.STATUSES]
# Nothing was made outside these; beyond them a day may have no instant in UTC.
FIRST_DAY, LAST_DAY = dt.date(1970, 1, 1), dt.date(9000, 1, 1)
LARGEST = Decimal("9999999999.99")
DATE = forms.DateInput(attrs={"type": "date"})


def _typed(name: str) -> forms.TextInput:
    """A text box that proposes values which occur."""
    return forms.TextInput(attrs={"list": f"known-{name}", "autocomplete": "off"})


def _cost(lookup: str, label: str) -> django_filters.NumberFilter:
    return django_filters.NumberFilter(
        field_name="cost", lookup_expr=lookup, label=label, min_value=0, max_value=LARGEST, decimal_places=2, max_digits=12
    )


class ShipmentFilters(django_filters.FilterSet):  # type: ignore[misc]
    """The history's filters: each is equality or a range on a column that an index leads to within a tenant.

    `tenants` are the ids that the user may see; None means all. Choices come from these only, so that an address made
    for another tenant is refused as a wrong choice. What is wrong shows nothing rather than everything.
    """

    tenant = django_filters.ChoiceFilter(label="Tenant", empty_label="Any")
    integration = django_filters.ChoiceFilter(label="Integration", empty_label="Any")
    carrier = django_filters.ChoiceFilter(label="Carrier", empty_label="Any")
    state = django_filters.ChoiceFilter(label="State", choices=Shipment.State.choices, empty_label="Any")
    status = django_filters.ChoiceFilter(label="Carrier's status", choices=STATUSES, empty_label="Any")
    service = django_filters.CharFilter(label="Service", method="by_service", widget=_typed("service"))
    company_code = django_filters.CharFilter(label="Company code", widget=_typed("company_code"))
    site = django_filters.CharFilter(label="Site", widget=_typed("site"))
    cost_center = django_filters.CharFilter(label="Cost centre", widget=_typed("cost_center"))
    ship_date_from = django_filters.DateFilter(field_name="ship_date", lookup_expr="gte", label="Shipped from", widget=DATE)
    ship_date_to = django_filters.DateFilter(field_name="ship_date", lookup_expr="lte", label="Shipped to", widget=DATE)
    created_from = django_filters.DateFilter(label="Created from", method="by_created_from", widget=DATE)
    created_to = django_filters.DateFilter(label="Created to", method="by_created_to", widget=DATE)
    cost_from = _cost("gte", "Cost from")
    cost_to = _cost("lte", "Cost to")
    sort = django_filters.ChoiceFilter(
        label="Sort by",
        choices=[(name, history.ORDERS[name].title) for name in history.OFFERED if name != "newest"],
        empty_label=history.ORDERS["newest"].title,
        method="by_nothing",
    )

    class Meta:
        model = Shipment
        fields: list[str] = []

    def __init__(self, data: Mapping[str, Any], *, tenants: list[int] | None) -> None:
        super().__init__(data)
        self.named = _choices(tenants)
        for name, found in self.named.items():
            self.filters[name].extra["choices"] = found

    @property
    def tenants(self) -> list[int]:
        """Ids of the tenants whose shipments are listed: the chosen one, or all that the user may see."""
        chosen = self.form.cleaned_data.get("tenant") if self.is_valid() else ""
        return [int(chosen)] if chosen else [pk for pk, _ in self.named["tenant"]]

    def by_service(self, rows: QuerySet[Shipment], name: str, value: str) -> QuerySet[Shipment]:
        """As typed, or in capitals, as carriers write their services."""
        return rows.filter(service__in={value, value.upper()})

    def by_created_from(self, rows: QuerySet[Shipment], name: str, value: dt.date) -> QuerySet[Shipment]:
        """From the beginning of this day in the tenant's zone."""
        return rows.filter(created_at__gte=_midnight(value)) if value >= FIRST_DAY else rows

    def by_created_to(self, rows: QuerySet[Shipment], name: str, value: dt.date) -> QuerySet[Shipment]:
        """To the end of this day in the tenant's zone."""
        if value < FIRST_DAY:
            return rows.none()
        return rows.filter(created_at__lt=_midnight(value + dt.timedelta(days=1))) if value < LAST_DAY else rows

    def by_nothing(self, rows: QuerySet[Shipment], name: str, value: str) -> QuerySet[Shipment]:
        """Sorting leaves rows as they are."""
        return rows

    def narrowed(self, rows: QuerySet[Shipment]) -> QuerySet[Shipment]:
        """The rows that fit; none while a filter is wrong."""
        found: QuerySet[Shipment] = self.filter_queryset(rows) if self.is_valid() else rows.none()
        return found

    @property
    def order(self) -> history.Order:
        """How the page is sorted. A range of dates is walked in its own order: the only one an index gives at once."""
        told = self.form.cleaned_data if self.is_valid() else {}
        asked = told.get("sort") or "newest"
        if asked in ("newest", "oldest"):
            latest = asked == "newest"
            if told.get("ship_date_from") or told.get("ship_date_to"):
                asked = "shipped_latest" if latest else "shipped_earliest"
            elif told.get("created_from") or told.get("created_to"):
                asked = "created_latest" if latest else "created_earliest"
        return history.ORDERS[asked]

    @property
    def active(self) -> list[str]:
        """Labels of the filters that are set."""
        return [str(self.filters[name].label) for name, value in self.data.items() if value and name != "sort"]


def _choices(tenants: list[int] | None) -> dict[str, list[tuple[int, str]]]:
    """Tenants, integrations and carriers to choose from, by one query. A carrier is whoever has made a shipment."""
    shipping = Connection.objects.filter(Exists(Shipment.objects.filter(carrier=OuterRef("pk"))))
    asked: dict[str, tuple[QuerySet[Any], str]] = {
        "tenant": (Tenant.objects.all(), "pk"),
        "integration": (Integration.objects.all(), "tenant"),
        "carrier": (shipping, "tenant"),
    }
    parts = []
    for name, (rows, lookup) in asked.items():
        mine = rows if tenants is None else rows.filter(**{f"{lookup}__in": tenants})
        parts.append(mine.order_by().values_list(Value(name, output_field=CharField()), "pk", "name"))
    found: dict[str, list[tuple[int, str]]] = {name: [] for name in asked}
    if tenants != []:
        for name, pk, title in parts[0].union(*parts[1:], all=True):
            found[name].append((pk, title))
    return {name: sorted(rows, key=lambda row: (row[1].lower(), row[0])) for name, rows in found.items()}


def _midnight(day: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, dt.time.min))

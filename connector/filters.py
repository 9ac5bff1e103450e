"""django-filter sets for lists."""

from __future__ import annotations

import django_filters

from connector.models import Shipment


class ShipmentFilters(django_filters.FilterSet):  # type: ignore[misc]
    """History: state, ship date and what has been written; all of it indexed within a tenant."""

    state = django_filters.ChoiceFilter(choices=Shipment.State.choices)
    ship_date_from = django_filters.DateFilter(field_name="ship_date", lookup_expr="gte", label="Shipped from")
    ship_date_to = django_filters.DateFilter(field_name="ship_date", lookup_expr="lte", label="Shipped to")
    company_code = django_filters.CharFilter(field_name="company_code", label="Company code")
    cost_center = django_filters.CharFilter(field_name="cost_center", label="Cost centre")
    service = django_filters.CharFilter(field_name="service", lookup_expr="iexact", label="Service")

    class Meta:
        model = Shipment
        fields: list[str] = []

"""What stands now: open work, pauses and attention of an integration, as commands and pages tell it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import CharField, Count, Q, Value

from connector.models import Installation, Integration, Package, Pause, Shipment, Tenant, Transfer
from connector.services.transfers import needing_attention

OPEN_STATES = ("waiting", "running", "in_doubt", "needs_approval", "failed")


def open_counts(integration: Integration) -> dict[str, int]:
    """Unfinished transfers by state."""
    rows = Transfer.objects.filter(integration=integration, state__in=OPEN_STATES).values_list("state").annotate(n=Count("pk"))
    return dict.fromkeys(OPEN_STATES, 0) | dict(rows)


def paused_scopes(integration: Integration) -> list[dict[str, Any]]:
    """Scopes that stand still and concern this integration."""
    concerned = Q(connection_id__in=(integration.source_id, integration.target_id)) | Q(integration=integration)
    found = Pause.objects.filter(concerned).exclude(state="ended").select_related("connection", "integration")
    return [
        {
            "scope": p.scope,
            "name": p.scope_name or (p.connection.slug if p.connection else p.integration.slug if p.integration else ""),
            "code": p.code,
            "message": p.message,
            "remedy": p.remedy,
        }
        for p in found
    ]


def tracking_numbers(transfers: list[Transfer]) -> dict[int, list[str]]:
    """Live numbers by source record of these transfers."""
    found: dict[int, list[str]] = {}
    packages = Package.objects.filter(
        shipment__record__in=[t.record_id for t in transfers], shipment__state__in=(Shipment.State.ACTIVE, Shipment.State.VOIDING)
    )
    for record, number in packages.order_by("shipment", "sequence").values_list("shipment__record_id", "tracking_number"):
        found.setdefault(record, []).append(number)
    return found


def attention(integration: Integration) -> list[dict[str, Any]]:
    """Transfers that need a person, oldest first."""
    transfers = list(needing_attention(Transfer.objects.filter(integration=integration)).order_by("pk"))
    numbers = tracking_numbers(transfers)
    return [
        {
            "transfer": t.pk,
            "source_key": t.source_key,
            "state": t.state,
            "code": t.attention if t.attention and t.state not in ("failed", "in_doubt") else t.code or None,
            "message": t.message,
            "tracking_numbers": numbers.get(t.record_id, []),
        }
        for t in transfers
    ]


def next_due(integration: Integration) -> str | None:
    """When the next transfer becomes due, ISO 8601, or None."""
    waiting = Transfer.objects.filter(integration=integration, state__in=("waiting", "in_doubt"))
    at = waiting.order_by("due_at").values_list("due_at", flat=True).first()
    return at.isoformat() if at else None


def brakes(tenants: Collection[int] | None) -> list[tuple[str, str]]:
    """(what, why) of every brake that is on and concerns these tenants (None: all). One query, for it is asked on every page."""

    def on(rows: Any, level: str) -> Any:
        named = {"level": Value(level, output_field=CharField())}
        named |= {"named": Value("", output_field=CharField())} if level == "" else {}
        name = "named" if level == "" else "name"
        return rows.filter(stop_buying=True).order_by().annotate(**named).values_list("level", name, "stop_buying_reason")

    of_tenants, of_integrations = Tenant.objects.all(), Integration.objects.all()
    if tenants is not None:
        of_tenants, of_integrations = of_tenants.filter(pk__in=tenants), of_integrations.filter(tenant__in=tenants)
    whole = on(Installation.objects.all(), "")
    found = sorted(whole.union(on(of_tenants, "tenant"), on(of_integrations, "~"), all=True))
    says = {"": "the whole installation", "tenant": "tenant {}", "~": "{}"}
    return [(says[level].format(name), why) for level, name, why in found]

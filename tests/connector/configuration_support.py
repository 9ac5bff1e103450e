"""A configuration document that is complete, and what tests of it share."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

from connector.models import (
    AuditEntry,
    Connection,
    Integration,
    Pause,
    SourceRecord,
    Transfer,
)
from connector.services.configuration import importing

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
SECRET = "s3cret-of-ifs"
ADDRESS = {
    "company": "Acme",
    "name": "Shipping",
    "phone": "9015550100",
    "lines": ["1 Dock Rd"],
    "city": "Memphis",
    "state": "TN",
    "postal_code": "38116",
    "country": "US",
}


def document(**changes: Any) -> dict[str, Any]:
    made = {
        "version": 1,
        "tenants": [{"slug": "acme", "name": "Acme Manufacturing", "timezone": "America/Chicago"}],
        "connections": [
            {
                "slug": "acme-ifs",
                "tenant": "acme",
                "vendor": "ifs_cloud",
                "name": "IFS production",
                "environment": "custom",
                "urls": {"base": "https://acme.ifs.cloud"},
                "credentials": {"client_id": "MLC", "client_secret": {"env": "ACME_IFS_SECRET"}},
                "settings": {
                    "realm": "acme1",
                    "max_parallel": 8,
                    "timeouts": {"connect_s": 10, "read_s": 60, "total_s": 60},
                    "limits": [{"name": "calls", "scope": "connection", "calls": 10, "per_s": 1}],
                    "in_doubt": {"look_up_after_s": [5, 30, 120, 600, 3600], "resend_after_s": None},
                },
                "company_codes": [
                    {
                        "code": "10",
                        "cost_center": "CC-100",
                        "freight_account": "6400",
                        "sites": [{"code": "S1", "timezone": "America/Chicago", "address": dict(ADDRESS)}, "S2"],
                    }
                ],
            },
            {
                "slug": "acme-fedex",
                "tenant": "acme",
                "vendor": "fedex",
                "name": "FedEx",
                "environment": "sandbox",
                "credentials": {"client_id": "l7key", "client_secret": "s3cret-of-fedex", "account_number": "740561073"},
            },
        ],
        "integrations": [
            {
                "slug": "acme-ifs-fedex",
                "tenant": "acme",
                "kind": "ifs_fedex",
                "source": "acme-ifs",
                "target": "acme-fedex",
                "company_codes": ["10"],
                "enabled": True,
                "start_from": "2026-01-01T00:00:00Z",
                "schedule": {
                    "ship": {"every_minutes": 5},
                    "track": {"every_minutes": 60, "weekdays": [0, 1, 2, 3, 4], "hours": [6, 20]},
                },
                "options": {"default_service": None},
                "mappings": [{"slot": "service", "source": "ship_via"}],
                "value_maps": {"service": {"FDX": "FEDEX_GROUND"}, "carrier": {"FEDEX": "fedex"}},
            }
        ],
    }
    return copy.deepcopy(made) | changes


def imported(given: dict[str, Any] | None = None) -> importing.Summary:
    return importing.apply(given or document(), "test")


def with_connection(n: int = 0, **changes: Any) -> dict[str, Any]:
    made = document()
    made["connections"][n] |= changes
    return made


def with_integration(**changes: Any) -> dict[str, Any]:
    made = document()
    made["integrations"][0] |= changes
    return made


def errors(given: Any) -> dict[str, str]:
    return {e.path: e.message for e in importing.validate(given)}


def acts() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("act", flat=True))


def pause(**changes: Any) -> Pause:
    connection = Connection.objects.get(slug="acme-ifs")
    values = {"scope": "connection", "connection": connection, "code": "x", "message": "x", "since": NOW}
    return Pause.objects.create(tenant=connection.tenant, **values | changes)


def waiting(**changes: Any) -> Transfer:
    integration = Integration.objects.get()
    common = {"tenant": integration.tenant, "integration": integration, "flow": "ship", "source_key": "shipment:1"}
    record = SourceRecord.objects.create(**common, document_kind="shipment", first_seen_at=NOW, last_seen_at=NOW)
    values = {"due_at": NOW + dt.timedelta(days=3650), "created_at": NOW, "updated_at": NOW}
    return Transfer.objects.create(**common, record=record, **values | changes)

"""The console: doors only. What happens is decided in the services."""

from django.contrib import admin

from connector.admin import (
    account,
    alerts,
    audit,
    backfills,
    connections,
    integrations,
    invoices,
    queue,
    reconciliation,
    shipments,
    tenants,
    transfers,
    users,
)

__all__ = [
    "account",
    "alerts",
    "audit",
    "backfills",
    "connections",
    "integrations",
    "invoices",
    "queue",
    "reconciliation",
    "shipments",
    "tenants",
    "transfers",
    "users",
]

admin.site.index_title = "Dashboard"

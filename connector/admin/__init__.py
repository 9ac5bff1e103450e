"""The console: doors only. What happens is decided in the services."""

from connector.admin import audit, backfills, connections, integrations, queue, shipments, tenants, transfers, users

__all__ = ["audit", "backfills", "connections", "integrations", "queue", "shipments", "tenants", "transfers", "users"]

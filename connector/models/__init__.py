"""All tables. Words as in the design: tenant, connection, integration, source record, transfer, step, effect, shipment."""

from connector.models.audit import AuditChain, AuditDetail, AuditEntry
from connector.models.connections import CompanyCode, Connection, Pause, Site, Slot
from connector.models.integrations import Backfill, Baseline, FlowState, Integration
from connector.models.shipments import Label, Package, Reference, Shipment, TrackingEvent, WebhookDelivery
from connector.models.tenants import Installation, Membership, Tenant, User
from connector.models.transfers import Effect, EffectSend, Exchange, SourceRecord, Step, Transfer
from connector.models.vendors import LimitBucket, TokenRow

__all__ = [
    "AuditChain",
    "AuditDetail",
    "AuditEntry",
    "Backfill",
    "Baseline",
    "CompanyCode",
    "Connection",
    "Effect",
    "EffectSend",
    "Exchange",
    "FlowState",
    "Installation",
    "Integration",
    "Label",
    "LimitBucket",
    "Membership",
    "Package",
    "Pause",
    "Reference",
    "Shipment",
    "Site",
    "Slot",
    "SourceRecord",
    "Step",
    "Tenant",
    "TokenRow",
    "TrackingEvent",
    "Transfer",
    "User",
    "WebhookDelivery",
]

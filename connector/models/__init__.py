"""All tables. Words as in the design: tenant, connection, integration, source record, transfer, step, effect, shipment."""

from connector.models.addresses import CheckedAddress
from connector.models.alerts import Alert, AlertChannel, AlertDelivery, AlertSeen
from connector.models.audit import AuditChain, AuditDetail, AuditEntry, AuditSeal
from connector.models.connections import CompanyCode, Connection, Pause, Site, Slot
from connector.models.costs import CostChange, InvoiceFile, InvoiceLine
from connector.models.counters import CountMark, DayCount
from connector.models.handling import Handling
from connector.models.integrations import Backfill, Baseline, FlowState, Integration
from connector.models.links import LabelLink
from connector.models.lists import Export, ListColumns, SavedFilter
from connector.models.operations import Heartbeat
from connector.models.rates import RateQuote
from connector.models.reconciliation import ReconciliationFinding, ReconciliationRun
from connector.models.second_factors import RecoveryCode, SecondFactor
from connector.models.shipments import (
    FreightCharge,
    Label,
    Package,
    Proof,
    Reference,
    Shipment,
    TrackingEvent,
    WebhookDelivery,
)
from connector.models.tenants import Installation, Membership, Tenant, User
from connector.models.transfers import Effect, EffectSend, Exchange, SourceRecord, Step, Transfer
from connector.models.vendors import LimitBucket, TokenRow

__all__ = [
    "Alert",
    "AlertChannel",
    "AlertDelivery",
    "AlertSeen",
    "AuditChain",
    "AuditDetail",
    "AuditEntry",
    "AuditSeal",
    "Backfill",
    "Baseline",
    "CheckedAddress",
    "CompanyCode",
    "Connection",
    "CostChange",
    "CountMark",
    "DayCount",
    "Effect",
    "EffectSend",
    "Exchange",
    "Export",
    "FlowState",
    "FreightCharge",
    "Handling",
    "Heartbeat",
    "Installation",
    "Integration",
    "InvoiceFile",
    "InvoiceLine",
    "Label",
    "LabelLink",
    "LimitBucket",
    "ListColumns",
    "Membership",
    "Package",
    "Pause",
    "Proof",
    "RateQuote",
    "ReconciliationFinding",
    "ReconciliationRun",
    "RecoveryCode",
    "Reference",
    "SavedFilter",
    "SecondFactor",
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

"""Freight cost after the label: who corrected it, and what the carrier's invoice files say."""

from __future__ import annotations

from django.db import models

from connector.models.connections import Connection
from connector.models.shipments import Shipment
from connector.models.tenants import TenantModel


class CostChange(TenantModel):
    """One correction of a shipment's freight cost, kept for ever. `before` null: it was unknown.

    Amounts are in the shipment's currency. `state` tells what became of it in the ERP, `note` what stands in the way.
    """

    class Kind(models.TextChoices):
        PERSON = "person", "By a person"
        INVOICE = "invoice", "By the carrier's invoice"

    class State(models.TextChoices):
        KEPT = "kept", "Kept here: no order bears this cost"
        WAITING = "waiting", "On its way to the ERP"
        DONE = "done", "In the ERP"
        LEFT = "left", "For a person: a charge could not be changed"
        DROPPED = "dropped", "Not written: voided or given up"

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="cost_changes")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    before = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    after = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=300)
    actor = models.CharField(max_length=150)
    state = models.CharField(max_length=8, choices=State.choices)
    note = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            # The minute's look, and what stands for a person: few rows are in either.
            models.Index(fields=["id"], condition=models.Q(state="waiting"), name="cost_change_waiting"),
            models.Index(fields=["tenant", "shipment"], condition=models.Q(state="left"), name="cost_change_left"),
        ]

    def __str__(self) -> str:
        return f"{self.before if self.before is not None else 'unknown'} → {self.after} {self.currency}"


class InvoiceFile(TenantModel):
    """A carrier's invoice as a file: only its rows are kept, and their cells only until it is applied or put away.

    `mapping` says which column (by its heading) holds what; what a person chose is kept at the connection.
    """

    class State(models.TextChoices):
        COLUMNS = "columns", "Columns to be chosen"
        READY = "ready", "Read: nothing is applied yet"
        APPLYING = "applying", "Being applied"
        DONE = "done", "Applied"
        DISCARDED = "discarded", "Put away"

    class Rule(models.TextChoices):
        ALL = "all", "Apply all"
        TOLERANCE = "tolerance", "Apply up to a difference, list the others"

    carrier = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="invoice_files")
    name = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    encoding = models.CharField(max_length=20)
    delimiter = models.CharField(max_length=1)
    header = models.JSONField(default=list)
    mapping = models.JSONField(default=dict)
    rule = models.CharField(max_length=10, choices=Rule.choices, default=Rule.ALL)
    tolerance = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.COLUMNS)
    rows = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=300, blank=True, default="")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    applied_by = models.CharField(max_length=150, blank=True, default="")
    applied_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "carrier invoice"
        indexes = [
            models.Index(fields=["tenant", "-id"], name="invoice_file_by_tenant"),
            models.Index(fields=["id"], condition=models.Q(state="applying"), name="invoice_file_applying"),
        ]

    def __str__(self) -> str:
        return self.name


class InvoiceLine(TenantModel):
    """One row of an invoice file. `shipment`: whose parcel it names. A charge of an invoice counts once, whatever files say."""

    class State(models.TextChoices):
        NEW = "new", "Not looked at yet"
        READY = "ready", "Will be applied"
        HELD = "held", "For a person"
        UNKNOWN = "unknown", "No shipment of ours"
        DUPLICATE = "duplicate", "Invoiced before"
        WRONG = "wrong", "Cannot be used"
        APPLIED = "applied", "Applied"

    file = models.ForeignKey(InvoiceFile, on_delete=models.CASCADE, related_name="lines")
    carrier = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    row = models.PositiveIntegerField()
    cells = models.JSONField(null=True)
    account = models.CharField(max_length=40, blank=True, default="")
    invoice_number = models.CharField(max_length=40, blank=True, default="")
    invoice_date = models.CharField(max_length=20, blank=True, default="")
    tracking_number = models.CharField(max_length=60, blank=True, default="")
    charge = models.CharField(max_length=120, blank=True, default="")
    amount = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    shipment = models.ForeignKey(Shipment, on_delete=models.SET_NULL, null=True, related_name="invoice_lines")
    state = models.CharField(max_length=10, choices=State.choices, default=State.NEW)
    note = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["row"]
        constraints = [
            models.UniqueConstraint(fields=["file", "row"], name="one_invoice_line_per_row"),
            models.UniqueConstraint(
                fields=["carrier", "invoice_number", "tracking_number", "charge"],
                condition=models.Q(state="applied"),
                name="invoiced_charge_counts_once",
            ),
        ]
        indexes = [models.Index(fields=["file", "state", "row"], name="invoice_line_by_state")]

    def __str__(self) -> str:
        return f"{self.invoice_number} {self.tracking_number}: {self.amount} {self.currency}"

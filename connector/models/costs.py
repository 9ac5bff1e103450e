"""Freight cost after the label: who corrected it, from what to what, and whether the ERP has it."""

from __future__ import annotations

from django.db import models

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

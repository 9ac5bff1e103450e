"""Comparisons of ERP, carrier and our own books, and what they found."""

from __future__ import annotations

from django.db import models

from connector.models.integrations import Integration
from connector.models.shipments import FreightCharge, Shipment
from connector.models.tenants import TenantModel
from connector.models.transfers import EffectSend, SourceRecord, Transfer

STANDS = models.Q(state__in=["open", "known"])


class ReconciliationRun(TenantModel):
    """One comparison of an integration, at most one at a time; a killed one goes on where it was.

    `phase` and `cursor` say what comes next, `compared` of about `total` things are done. `calls` went to the vendors, of
    `call_limit`; `left_out` names the phases that the limit (or a field that the ERP lacks) left uncompared.
    `waits_for` says in words why it does nothing at present.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="reconciliations")
    asked_by = models.CharField(max_length=150)
    scheduled = models.BooleanField(default=False)
    since = models.DateField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    phase = models.CharField(max_length=20, blank=True, default="")
    cursor = models.JSONField(default=dict)
    compared = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    calls = models.PositiveIntegerField(default=0)
    call_limit = models.PositiveIntegerField()
    found = models.PositiveIntegerField(default=0)
    appeared = models.PositiveIntegerField(default=0)
    gone = models.PositiveIntegerField(default=0)
    unreadable = models.PositiveIntegerField(default=0)
    unseen = models.JSONField(default=dict)
    left_out = models.JSONField(default=list)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    waits_for = models.CharField(max_length=300, blank=True, default="")
    error = models.JSONField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_process = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "comparison"
        constraints = [
            models.UniqueConstraint(
                fields=["integration"], condition=models.Q(state="running"), name="one_running_comparison_per_integration"
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="comparison_by_tenant"),
            models.Index(fields=["integration", "-id"], name="comparison_by_integration"),
        ]

    def __str__(self) -> str:
        return f"{self.integration}, {self.started_at:%Y-%m-%d %H:%M} UTC"


class ReconciliationFinding(TenantModel):
    """Something on which two of the three do not agree. At most one stands per kind and `subject`.

    `ours`, `erp` and `carrier` are the values side by side, as text. `mark` is what makes it the same finding still: what
    a person has marked as known opens again when it changes.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        KNOWN = "known", "Known"
        CLOSED = "closed", "Closed"

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="findings")
    first_run = models.ForeignKey(ReconciliationRun, on_delete=models.SET_NULL, null=True, related_name="+")
    last_run = models.ForeignKey(ReconciliationRun, on_delete=models.SET_NULL, null=True, related_name="+")
    kind = models.CharField(max_length=24)
    subject = models.CharField(max_length=140)
    remedy = models.CharField(max_length=20)
    record = models.ForeignKey(SourceRecord, on_delete=models.SET_NULL, null=True, related_name="+")
    transfer = models.ForeignKey(Transfer, on_delete=models.SET_NULL, null=True, related_name="+")
    shipment = models.ForeignKey(Shipment, on_delete=models.SET_NULL, null=True, related_name="findings")
    send = models.ForeignKey(EffectSend, on_delete=models.SET_NULL, null=True, related_name="+")
    charge = models.ForeignKey(FreightCharge, on_delete=models.SET_NULL, null=True, related_name="+")
    source_key = models.CharField(max_length=120, blank=True, default="")
    number = models.CharField(max_length=60, blank=True, default="")
    ours = models.CharField(max_length=300, blank=True, default="")
    erp = models.CharField(max_length=300, blank=True, default="")
    carrier = models.CharField(max_length=300, blank=True, default="")
    mark = models.CharField(max_length=200, blank=True, default="")
    state = models.CharField(max_length=6, choices=State.choices, default=State.OPEN)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    remedied_at = models.DateTimeField(null=True)
    remedied_by = models.CharField(max_length=150, blank=True, default="")
    reason = models.CharField(max_length=500, blank=True, default="")
    closed_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "finding"
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "kind", "subject"],
                condition=STANDS,
                name="one_standing_finding_per_subject",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "state", "-id"], name="finding_by_state"),
            models.Index(fields=["integration", "kind"], condition=STANDS, name="finding_standing"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.number or self.source_key}"


__all__ = ["ReconciliationFinding", "ReconciliationRun"]

"""What moves between which connections: integrations, the state of their flows, baselines."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models

from connector.models.connections import Connection
from connector.models.tenants import TenantModel


class Integration(TenantModel):
    """Two connections and a kind from the flow table, with options, schedules, mappings; on or off.

    `company_codes` empty means every company code of the source. `schedule` is keyed by flow name.
    """

    slug = models.SlugField(max_length=60, unique=True, help_text="Short name for scripts and files; unique in the installation.")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=40)
    source = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="as_source")
    target = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="as_target")
    company_codes = models.JSONField(default=list, blank=True)
    enabled = models.BooleanField(default=False)
    start_from = models.DateTimeField(null=True, blank=True)
    schedule = models.JSONField(default=dict, blank=True)
    options = models.JSONField(default=dict, blank=True)
    mappings = models.JSONField(default=list, blank=True)
    value_maps = models.JSONField(default=dict, blank=True)
    stop_buying = models.BooleanField("stop buying", default=False)
    stop_buying_reason = models.CharField(max_length=300, blank=True, default="")
    last_served_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["tenant", "enabled"], name="integration_by_tenant")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Both ends belong to this integration's tenant (the database refuses anything else, too)."""
        for end in ("source", "target"):
            connection = getattr(self, end, None)
            if connection is not None and self.tenant_id and connection.tenant_id != self.tenant_id:
                raise ValidationError({end: "This connection belongs to another tenant."})


class FlowState(TenantModel):
    """Where a flow of an integration stands: its poll lease, cursor and last results."""

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="flow_states")
    flow = models.CharField(max_length=20)
    lease_owner = models.UUIDField(null=True)
    lease_process = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True)
    cursor = models.JSONField(default=dict)
    last_poll_at = models.DateTimeField(null=True)
    last_good_poll_at = models.DateTimeField(null=True)
    last_sweep_at = models.DateTimeField(null=True)
    next_due_at = models.DateTimeField(null=True)
    last_result = models.JSONField(null=True)
    last_error = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "flow"], name="one_state_per_flow")]

    def __str__(self) -> str:
        return f"{self.integration_id}/{self.flow}"


class Baseline(TenantModel):
    """What stood there before we started, listed completely once per site and ready rule."""

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="baselines")
    flow = models.CharField(max_length=20)
    document_kind = models.CharField(max_length=40)
    site = models.CharField(max_length=40)
    rule_hash = models.CharField(max_length=64)
    completed_at = models.DateTimeField()
    seen = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "flow", "document_kind", "site", "rule_hash"], name="one_baseline_per_rule"
            )
        ]

    def __str__(self) -> str:
        return f"{self.integration_id}/{self.flow}/{self.document_kind}/{self.site}"


class Backfill(TenantModel):
    """A person's word that documents from before the start, dated within a period, become work after all.

    `total` is what the preview counted, `begun` how many have become transfers.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "All begun"
        STOPPED = "stopped", "Stopped"

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="backfills")
    flow = models.CharField(max_length=20)
    date_from = models.DateField()
    date_to = models.DateField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    total = models.PositiveIntegerField(default=0)
    begun = models.PositiveIntegerField(default=0)
    reason = models.CharField(max_length=300, blank=True, default="")
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "back-fill"
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "flow"], condition=models.Q(state="running"), name="one_running_backfill_per_flow"
            )
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="backfill_by_tenant")]

    def __str__(self) -> str:
        return f"{self.date_from} to {self.date_to}"

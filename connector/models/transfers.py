"""Work and its evidence: source records, transfers, steps, effects, sends, exchanges (ENGINE 1 to 3)."""

from __future__ import annotations

from django.db import models

from connector.models.connections import Connection
from connector.models.integrations import Backfill, Integration
from connector.models.tenants import TenantModel

PREFIX = ["int8_ops", "varchar_pattern_ops"]


class SourceRecord(TenantModel):
    """What we know of one document at the system where the flow starts.

    `held`: its label was voided; it does not ship again until a person presses Buy again.
    `bought_digest` covers what was bought with, so that a later edit can be told from our own write.
    `audit_sequence` and `audit_hash` are the head of this record's audit chain.
    """

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="records")
    flow = models.CharField(max_length=20)
    source_key = models.CharField(max_length=120)
    document_kind = models.CharField(max_length=40)
    company_code = models.CharField(max_length=40, blank=True, default="")
    site = models.CharField(max_length=40, blank=True, default="")
    version_seen = models.CharField(max_length=300, blank=True, default="")
    version_handled = models.CharField(max_length=300, blank=True, default="")
    revision = models.PositiveIntegerField(default=0)
    generation = models.PositiveIntegerField(default=1)
    before_start = models.BooleanField(default=False)
    backfill = models.ForeignKey(Backfill, on_delete=models.PROTECT, null=True, related_name="records")
    held = models.BooleanField(default=False)
    bought_digest = models.CharField(max_length=64, blank=True, default="")
    document_date = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    audit_sequence = models.PositiveIntegerField(default=0)
    audit_hash = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["integration", "flow", "source_key"], name="one_record_per_source_key")]
        indexes = [
            models.Index(fields=["tenant", "source_key"], name="record_by_key"),
            models.Index(
                fields=["integration", "document_date"], condition=models.Q(before_start=True), name="record_before_start"
            ),
        ]

    def __str__(self) -> str:
        return self.source_key


class Transfer(TenantModel):
    """One piece of work on a source record; the row that staff replay. `epoch` rises with every claim."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        IN_DOUBT = "in_doubt", "In doubt"
        NEEDS_APPROVAL = "needs_approval", "Needs approval"
        FAILED = "failed", "Failed"
        DONE = "done", "Done"
        SKIPPED = "skipped", "Skipped"
        CANCELLED = "cancelled", "Cancelled"

    UNFINISHED = ("waiting", "running", "in_doubt", "needs_approval", "failed")

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="transfers")
    record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="transfers")
    flow = models.CharField(max_length=20)
    source_key = models.CharField(max_length=120)
    company_code = models.CharField(max_length=40, blank=True, default="")
    site = models.CharField(max_length=40, blank=True, default="")
    revision = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    attention = models.CharField(max_length=30, null=True, blank=True)  # noqa: DJ001 (null = nothing to look at; ENGINE 3)
    due_at = models.DateTimeField()
    owner = models.UUIDField(null=True)
    owner_process = models.CharField(max_length=120, blank=True, default="")
    epoch = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    code = models.CharField(max_length=60, blank=True, default="")
    message = models.TextField(blank=True, default="")
    remedy = models.TextField(blank=True, default="")
    error = models.JSONField(null=True)
    step = models.CharField(max_length=60, blank=True, default="")
    decision = models.JSONField(null=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["record", "revision"], name="one_transfer_per_revision"),
            models.UniqueConstraint(
                fields=["record"],
                condition=models.Q(state__in=["waiting", "running", "in_doubt", "needs_approval", "failed"]),
                name="one_unfinished_transfer_per_record",
            ),
        ]
        indexes = [
            models.Index(
                fields=["integration", "due_at"],
                condition=models.Q(state__in=["waiting", "running", "in_doubt"]),
                name="transfer_due",
            ),
            models.Index(fields=["tenant", "state", "-id"], name="transfer_by_state"),
            models.Index(fields=["tenant", "-id"], name="transfer_by_tenant"),
            # Searched by prefix, which PostgreSQL serves from this class of index only.
            # fmt: skip
            models.Index(
                fields=["tenant", "source_key"], opclasses=["int8_ops", "varchar_pattern_ops"], name="transfer_by_prefix"
            ),
            models.Index(fields=["tenant", "attention"], condition=models.Q(attention__isnull=False), name="transfer_attention"),
            # Alerts look every minute for what has newly come to stand here; few rows do. Not by `updated_at`: indexed,
            # it would make every touch of a row (the last look before a purchase) write to all indexes.
            models.Index(
                fields=["id"],
                condition=models.Q(state__in=["failed", "in_doubt", "needs_approval"]),
                name="transfer_to_tell",
            ),
            # What has waited longest, for deadlines; `created_at` never changes.
            models.Index(
                fields=["integration", "flow", "created_at"],
                condition=models.Q(state__in=["waiting", "running", "in_doubt", "needs_approval", "failed"]),
                name="transfer_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.source_key}"

    @property
    def needs_attention(self) -> bool:
        """Failed, in doubt, needs approval, or finished work that needs a look."""
        return self.state in ("failed", "in_doubt", "needs_approval") or bool(self.attention)


class Step(TenantModel):
    """One named stage of a transfer with its last result. `batch` names the prefetch whose exchanges it shares."""

    class Kind(models.TextChoices):
        READ = "read", "Read"
        MAP = "map", "Map"
        GUARD = "guard", "Last look"
        ONCE = "once", "Once only"
        WRITE = "write", "Write"

    class State(models.TextChoices):
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"
        OPEN = "open", "Open"

    transfer = models.ForeignKey(Transfer, on_delete=models.CASCADE, related_name="steps")
    record = models.ForeignKey(SourceRecord, on_delete=models.CASCADE, related_name="+")
    generation = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=60)
    key = models.CharField(max_length=60, blank=True, default="")
    kind = models.CharField(max_length=6, choices=Kind.choices)
    state = models.CharField(max_length=8, choices=State.choices)
    position = models.PositiveSmallIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    result = models.JSONField(null=True)
    schema = models.PositiveSmallIntegerField(default=1)
    note = models.TextField(blank=True, default="")
    error = models.JSONField(null=True)
    batch = models.UUIDField(null=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["transfer", "name", "key", "generation"], name="one_row_per_step")]
        indexes = [models.Index(fields=["record", "generation"], name="step_by_record")]

    def __str__(self) -> str:
        return f"{self.name}: {self.get_state_display()}"


class Effect(TenantModel):
    """Something done at a vendor that must not be done twice; its sends tell what became of it."""

    record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="effects")
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="effects")
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=60, blank=True, default="")
    generation = models.PositiveIntegerField(default=1)
    buys = models.BooleanField(default=False)
    source_connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    document_key = models.CharField(max_length=120)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["record", "kind", "key", "generation"], name="one_effect_per_generation"),
            models.UniqueConstraint(
                fields=["source_connection", "document_key", "kind", "generation"],
                condition=models.Q(buys=True),
                name="one_purchase_per_document",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.document_key}"


class EffectSend(TenantModel):
    """One request that may have reached the vendor. Outcomes only move forward (ENGINE 2).

    `watch_at`: one that counts as not made is looked up again then, for seven days; it may turn up late.
    """

    class Outcome(models.TextChoices):
        SENT = "sent", "Sent, no answer yet"
        UNKNOWN = "unknown", "Answer lost"
        PENDING = "pending", "Accepted, result to come"
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"
        ABSENT = "absent", "Proven not made"

    OPEN = ("sent", "unknown", "pending")

    effect = models.ForeignKey(Effect, on_delete=models.PROTECT, related_name="sends")
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="sends")
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(default=1)
    reference = models.CharField(max_length=40)
    request = models.JSONField(null=True)
    context = models.JSONField(default=dict)
    epoch = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.SENT)
    outcome_at = models.DateTimeField(null=True)
    answer = models.TextField(blank=True, default="")
    answer_status = models.PositiveIntegerField(null=True)
    answered_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    schema = models.PositiveSmallIntegerField(default=1)
    ticket = models.CharField(max_length=120, blank=True, default="")
    looks = models.PositiveIntegerField(default=0)
    unknown_since = models.DateTimeField(null=True)
    last_look = models.JSONField(null=True)
    watch_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=150, blank=True, default="")
    decided_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["effect", "number"], name="one_send_per_number"),
            models.UniqueConstraint(fields=["connection", "reference"], name="reference_once_per_connection"),
        ]
        indexes = [
            models.Index(
                fields=["connection", "outcome"], condition=models.Q(outcome__in=["sent", "unknown", "pending"]), name="send_open"
            ),
            models.Index(fields=["connection", "sent_at"], name="send_by_time"),
            models.Index(fields=["watch_at"], condition=models.Q(watch_at__isnull=False), name="send_watched"),
        ]

    def __str__(self) -> str:
        return f"{self.reference} ({self.outcome})"


class Exchange(TenantModel):
    """One HTTP request and its answer, secrets removed. Erasable by retention; its digest stands in the audit."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    transfer = models.ForeignKey(Transfer, on_delete=models.CASCADE, null=True, related_name="exchanges")
    batch = models.UUIDField(null=True)
    correlation_id = models.CharField(max_length=64, blank=True, default="")
    step = models.CharField(max_length=60, blank=True, default="")
    operation = models.CharField(max_length=80)
    method = models.CharField(max_length=8)
    url = models.TextField()
    request_headers = models.JSONField(default=dict)
    request_body = models.TextField(blank=True, default="")
    status = models.PositiveIntegerField(null=True)
    response_headers = models.JSONField(default=dict)
    response_body = models.TextField(blank=True, default="")
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64)

    class Meta:
        indexes = [
            models.Index(fields=["transfer", "id"], name="exchange_by_transfer"),
            models.Index(fields=["batch"], condition=models.Q(batch__isnull=False), name="exchange_by_batch"),
            models.Index(fields=["connection", "-id"], name="exchange_by_connection"),
            models.Index(fields=["tenant", "started_at"], name="exchange_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.operation} {self.status or self.error}"

"""What somebody should be told without looking: alerts, where they are sent, and what was told whom."""

from __future__ import annotations

from django.db import models

from connector.models.secrets import SecretHolder
from connector.models.tenants import Tenant


class Cause(models.TextChoices):
    """Why somebody is told. The values stand in the channels' lists."""

    PAUSED = "paused", "Stands still"
    FAILED = "failed", "Failed"
    IN_DOUBT = "in_doubt", "In doubt"
    NEEDS_APPROVAL = "needs_approval", "Needs approval"
    LOOK = "look", "Finished, but needs a look"
    LATE = "late", "Schedule is late"
    BUDGET = "budget", "Daily limit nearly used up"
    BRAKE = "brake", "Brake switched"
    DEADLINE = "deadline", "Deadline missed"
    FINDING = "finding", "Books do not agree"
    POST = "post", "Webhook post not readable"


URGENT = frozenset({Cause.PAUSED, Cause.IN_DOUBT})
"""Told in quiet hours, too."""


def all_causes() -> list[str]:
    """Default of a new channel."""
    return list(Cause.values)


class Alert(models.Model):
    """Things of one kind that happened: same cause, same code, same connection or integration (`group_key`).

    An open one takes up what follows (`count`); after a day of silence it is closed and the next begins a new one.
    Without a tenant it concerns the installation. `detail` and `title` are our own words and codes: they leave
    the house, so nothing of a document and nothing that a vendor said stands in them. `link` is a path.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    cause = models.CharField(max_length=16, choices=Cause.choices)
    group_key = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    detail = models.TextField(blank=True, default="")
    link = models.CharField(max_length=300, blank=True, default="")
    count = models.PositiveIntegerField(default=1)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group_key"], condition=models.Q(state="open"), name="one_open_alert_per_group")
        ]
        indexes = [
            models.Index(fields=["tenant", "-last_at"], name="alert_by_tenant"),
            models.Index(fields=["-last_at"], name="alert_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.get_cause_display()}: {self.title}"


class AlertChannel(SecretHolder):
    """Where alerts of a tenant (or, without one, of the whole installation) are sent.

    The secrets are a webhook's `url` (chat tools put their password into it) and `secret`. Only what happens from
    `since` on is told. After a failure nothing is tried before `next_try_at`; `sending_until` is a process's turn.
    """

    class Kind(models.TextChoices):
        MAIL = "mail", "E-mail"
        WEBHOOK = "webhook", "Webhook"

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    addresses = models.JSONField(default=list)
    host = models.CharField(max_length=255, blank=True, default="")
    causes = models.JSONField(default=all_causes)
    quiet_from = models.TimeField(null=True)
    quiet_until = models.TimeField(null=True)
    enabled = models.BooleanField(default=True)
    since = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    sending_until = models.DateTimeField(null=True)
    last_sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")
    last_error_at = models.DateTimeField(null=True)
    tested_at = models.DateTimeField(null=True)
    test_ok = models.BooleanField(null=True)
    test_result = models.TextField(blank=True, default="")
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["tenant", "enabled"], name="channel_by_tenant")]

    def __str__(self) -> str:
        return self.name


class AlertDelivery(models.Model):
    """How much of an alert a channel was told: `told` of its count, last at `told_at`."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries")
    told = models.PositiveIntegerField()
    told_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "alert deliveries"
        constraints = [models.UniqueConstraint(fields=["alert", "channel"], name="one_delivery_per_alert_and_channel")]

    def __str__(self) -> str:
        return f"{self.told} of alert {self.alert_id}"


class AlertSeen(models.Model):
    """One thing that was counted into an alert, so that it is counted once: a transfer's run, a pause, a missed poll."""

    key = models.CharField(max_length=200, unique=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "alerts seen"

    def __str__(self) -> str:
        return self.key

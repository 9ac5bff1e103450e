"""Links by which somebody without an account gets a shipment's labels."""

from __future__ import annotations

from django.db import models

from connector.models.shipments import Shipment
from connector.models.tenants import TenantModel


class LabelLink(TenantModel):
    """One link to the labels of a shipment. The link itself is nowhere in the database: `digest` is the SHA-256 of its secret.

    `automatic`: mailed by the flow, once per shipment. `mail_state` "sending" is written before the mail leaves: found
    again after a crash it says that nobody knows, and nothing is sent again by itself.
    """

    class Mail(models.TextChoices):
        NONE = "", "Not mailed"
        SENDING = "sending", "Not known whether it was mailed"
        SENT = "sent", "Mailed"
        FAILED = "failed", "Could not be mailed"

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="label_links")
    digest = models.CharField(max_length=64, unique=True)
    made_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.CharField(max_length=150, blank=True, default="")
    downloads = models.PositiveIntegerField(default=0)
    last_download_at = models.DateTimeField(null=True)
    automatic = models.BooleanField(default=False)
    mail_to = models.CharField(max_length=254, blank=True, default="")
    mail_state = models.CharField(max_length=8, choices=Mail.choices, blank=True, default=Mail.NONE)
    mail_note = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["shipment"], condition=models.Q(automatic=True), name="one_automatic_label_link")
        ]

    def __str__(self) -> str:
        return f"label link {self.pk}"

"""What carriers said a shipment would cost, before it was bought. Kept as long as the record."""

from __future__ import annotations

from django.db import models

from connector.models.connections import Connection
from connector.models.integrations import Integration
from connector.models.shipments import Shipment
from connector.models.tenants import TenantModel
from connector.models.transfers import SourceRecord, Transfer


class RateQuote(TenantModel):
    """One question for prices and all offers that came back; nothing is bought with it.

    `offers` are `integrations.base.rates.Offer`s as the engine's codec writes them. `to_buy`: a transfer asked it on its
    way to a purchase; otherwise `asked_by` wanted to know. `wished` is the service that the document asks for, "" for none;
    `chosen`, `amount` and `currency` the offer that the rule chose (amount null: the carrier named no price), `reason` why.
    `code`, `message` and `remedy` say why there is none.
    """

    class State(models.TextChoices):
        ASKED = "asked", "Asked for"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "No answer"

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="rate_quotes")
    record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="rate_quotes")
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, null=True, related_name="rate_quotes")
    shipment = models.ForeignKey(Shipment, on_delete=models.PROTECT, null=True, related_name="rate_quotes")
    carrier = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    company_code = models.CharField(max_length=40, blank=True, default="")
    generation = models.PositiveIntegerField(default=1)
    to_buy = models.BooleanField(default=False)
    asked_by = models.CharField(max_length=150, blank=True, default="")
    state = models.CharField(max_length=8, choices=State.choices, default=State.ASKED)
    offers = models.JSONField(default=list)
    alerts = models.JSONField(default=list)
    wished = models.CharField(max_length=60, blank=True, default="")
    wanted_date = models.DateField(null=True)
    rule = models.CharField(max_length=30, blank=True, default="")
    chosen = models.CharField(max_length=60, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    amount = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    code = models.CharField(max_length=60, blank=True, default="")
    message = models.CharField(max_length=500, blank=True, default="")
    remedy = models.CharField(max_length=500, blank=True, default="")
    request_id = models.CharField(max_length=128, blank=True, default="")
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["integration", "-id"], name="rate_quote_by_integration")]
        constraints = [
            models.UniqueConstraint(
                fields=["record"], condition=models.Q(state="asked"), name="one_rate_quote_asked_for_per_record"
            )
        ]

    def __str__(self) -> str:
        return f"Quote {self.pk}"

"""The carrier's side: shipments, their packages and labels, the numbers people search by, tracking."""

from __future__ import annotations

from django.db import models

from connector.models.connections import Connection
from connector.models.integrations import Integration
from connector.models.tenants import TenantModel
from connector.models.transfers import EffectSend, SourceRecord, Transfer


class Shipment(TenantModel):
    """What a carrier made for a source record. `cost` null means unknown, never zero.

    `status` is what the carrier's news say of all packages together, `last_news_at` when the carrier last told us
    something new, `last_asked_at` when it last answered at all. `picture_written` is what of this the ERP was last told.
    """

    class State(models.TextChoices):
        ACTIVE = "active", "Label bought"
        VOIDING = "voiding", "Being voided"
        VOIDED = "voided", "Voided"

    class CostKind(models.TextChoices):
        UNKNOWN = "unknown", "Unknown"
        RATED = "rated", "Rated at ship time"
        INVOICED = "invoiced", "Invoiced"

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="shipments")
    record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="shipments")
    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="shipments")
    send = models.ForeignKey(EffectSend, on_delete=models.PROTECT, null=True, related_name="shipments")
    carrier = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    source_key = models.CharField(max_length=120)
    document_number = models.CharField(max_length=60, blank=True, default="")
    company_code = models.CharField(max_length=40, blank=True, default="")
    site = models.CharField(max_length=40, blank=True, default="")
    generation = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    master_tracking_number = models.CharField(max_length=60)
    service = models.CharField(max_length=60, blank=True, default="")
    ship_date = models.DateField(null=True)
    recipient_name = models.CharField(max_length=120, blank=True, default="")
    recipient_city = models.CharField(max_length=80, blank=True, default="")
    recipient_postal_code = models.CharField(max_length=20, blank=True, default="")
    recipient_country = models.CharField(max_length=2, blank=True, default="")
    sender_country = models.CharField(max_length=2, blank=True, default="")
    cost = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    currency = models.CharField(max_length=3, blank=True, default="")
    cost_kind = models.CharField(max_length=8, choices=CostKind.choices, default=CostKind.UNKNOWN)
    cost_center = models.CharField(max_length=40, blank=True, default="")
    freight_account = models.CharField(max_length=40, blank=True, default="")
    estimated_delivery = models.DateField(null=True)
    transaction_id = models.CharField(max_length=128, blank=True, default="")
    alerts = models.JSONField(default=list)
    adopted = models.BooleanField(default=False)
    written_at = models.DateTimeField(null=True)
    status = models.CharField(max_length=20, default="label_created")
    status_at = models.DateTimeField(null=True)
    last_news_at = models.DateTimeField(null=True)
    last_asked_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    signed_by = models.CharField(max_length=120, blank=True, default="")
    picture_written = models.JSONField(null=True)
    next_track_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    voided_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "-id"], name="shipment_by_tenant"),
            models.Index(fields=["tenant", "state", "-id"], name="shipment_by_state"),
            models.Index(fields=["tenant", "ship_date"], name="shipment_by_date"),
            models.Index(fields=["carrier", "master_tracking_number"], name="shipment_by_number"),
            models.Index(fields=["next_track_at"], condition=models.Q(next_track_at__isnull=False), name="shipment_track_due"),
        ]

    def __str__(self) -> str:
        return self.master_tracking_number


class Package(TenantModel):
    """One piece: its own number, label, ERP row and weight. A number is held once among those not voided."""

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="packages")
    carrier = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="+")
    sequence = models.PositiveIntegerField()
    package_id = models.CharField(max_length=60, blank=True, default="")
    tracking_number = models.CharField(max_length=60)
    ship_date = models.DateField(null=True)
    voided = models.BooleanField(default=False)
    weight = models.DecimalField(max_digits=12, decimal_places=3, null=True)
    weight_unit = models.CharField(max_length=3, blank=True, default="")
    status = models.CharField(max_length=20, blank=True, default="")
    status_at = models.DateTimeField(null=True)
    carrier_unique_id = models.CharField(max_length=80, blank=True, default="")

    class Meta:
        ordering = ["sequence"]
        constraints = [
            models.UniqueConstraint(fields=["shipment", "sequence"], name="one_package_per_sequence"),
            models.UniqueConstraint(
                fields=["carrier", "tracking_number", "ship_date"],
                condition=models.Q(voided=False),
                name="number_held_once",
            ),
        ]
        # A push names a number and nothing else.
        indexes = [models.Index(fields=["carrier", "tracking_number"], name="package_by_number")]

    def __str__(self) -> str:
        return self.tracking_number


class Label(TenantModel):
    """The bytes of one label, kept in the database so that several machines can print it."""

    package = models.OneToOneField(Package, on_delete=models.CASCADE, related_name="label")
    media_type = models.CharField(max_length=60)
    data = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    readable = models.BooleanField(default=True)
    problem = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.media_type}, {self.size} bytes"


class Reference(TenantModel):
    """A number somebody may search by. `normalised`: upper case, letters and digits only."""

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="references")
    kind = models.CharField(max_length=30)
    value = models.CharField(max_length=120)
    normalised = models.CharField(max_length=120)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["shipment", "kind", "value"], name="reference_once_per_shipment")]
        indexes = [
            # varchar_pattern_ops: prefix search must use the index whatever the database's collation.
            models.Index(fields=["tenant", "normalised"], opclasses=["int8_ops", "varchar_pattern_ops"], name="reference_search"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.value}"


class TrackingEvent(TenantModel):
    """One scan as the carrier reported it (filled by the track flow)."""

    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="events")
    event_key = models.CharField(max_length=64)
    occurred_at = models.DateTimeField()
    status = models.CharField(max_length=20)
    code = models.CharField(max_length=20, blank=True, default="")
    text = models.CharField(max_length=300, blank=True, default="")
    place = models.CharField(max_length=120, blank=True, default="")
    raw = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["package", "event_key"], name="event_once_per_package")]
        indexes = [models.Index(fields=["package", "occurred_at"], name="event_by_time")]

    def __str__(self) -> str:
        return f"{self.occurred_at:%Y-%m-%d %H:%M} {self.status}"


class WebhookDelivery(TenantModel):
    """One verified body that a vendor posted: stored before it is answered, worked on afterwards (the same body once)."""

    class State(models.TextChoices):
        RECEIVED = "received", "Received"
        DONE = "done", "Taken in"
        FAILED = "failed", "Not readable"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="deliveries")
    digest = models.CharField(max_length=64)
    body = models.BinaryField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.RECEIVED)
    attempts = models.PositiveIntegerField(default=0)
    result = models.JSONField(null=True)
    received_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [models.UniqueConstraint(fields=["connection", "digest"], name="one_delivery_per_body")]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="delivery_by_tenant"),
            models.Index(fields=["received_at"], condition=models.Q(state="received"), name="delivery_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.digest[:12]}"

"""The carrier's side: shipments, their packages and labels, the numbers people search by, tracking."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Coalesce

from connector.models.connections import Connection
from connector.models.integrations import Integration
from connector.models.tenants import TenantModel
from connector.models.transfers import EffectSend, SourceRecord, Transfer

UNSCANNED = models.Q(state="active", status="label_created", last_asked_at__isnull=False)
"""Labels of which the carrier, asked, has not seen the parcel."""
UNDER_WAY = models.Q(state="active") & (
    models.Q(status__in=["picked_up", "in_transit", "exception", "out_for_delivery", "ready_for_pickup", "returning"])
    | models.Q(status="label_created", last_asked_at__isnull=True)
)
"""Parcels that should have news: those that move, and those nobody has asked about yet."""
UNTOLD = models.Q(state="active", status="delivered", written_at__isnull=True)
"""Delivered before the ERP had so much as the number."""
HEARD = Coalesce("last_news_at", "created_at")
"""How old a shipment's news are, counted from its label at the latest."""


class Shipment(TenantModel):
    """What a carrier made for a source record. `cost` null means unknown, never zero.

    `quoted_cost` is what the carrier said before it was bought that this would cost; null: it was not asked.
    `status` is what the carrier's news say of all packages together, `last_news_at` when the carrier last told us
    something new, `last_asked_at` when it last answered at all. `picture_written` is what of this the ERP was last told,
    `picture_refused` what it would not take any more, its document being closed (null: it has refused nothing).

    `cost` is what counts now, `cost_kind` where it comes from: `quoted` where the carrier named none with the label and the
    quote that the purchase rested on stands for it (FedEx sheet 6); never taken for what was rated. `rated_cost` is what the
    carrier rated at ship time, kept when `cost` is corrected (null before), `invoiced_cost` the sum of the carrier's invoice
    lines (null: none yet).
    `accounting` is what the document's orders named when they were read, once: a list of order, company_code, pre_posting,
    cost_center, account and code_parts. Where they agree, `cost_center` and `freight_account` are theirs.
    """

    class State(models.TextChoices):
        ACTIVE = "active", "Label bought"
        VOIDING = "voiding", "Being voided"
        VOIDED = "voided", "Voided"

    class CostKind(models.TextChoices):
        UNKNOWN = "unknown", "Unknown"
        RATED = "rated", "Rated at ship time"
        QUOTED = "quoted", "As quoted before buying"
        INVOICED = "invoiced", "Invoiced"
        ENTERED = "entered", "Corrected by a person"

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
    quoted_cost = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    quoted_currency = models.CharField(max_length=3, blank=True, default="")
    rated_cost = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    invoiced_cost = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    cost_center = models.CharField(max_length=40, blank=True, default="")
    freight_account = models.CharField(max_length=40, blank=True, default="")
    accounting = models.JSONField(null=True)
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
    picture_refused = models.JSONField(null=True)
    next_track_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    voided_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["tenant", "-id"], name="shipment_by_tenant"),
            models.Index(fields=["tenant", "state", "-id"], name="shipment_by_state"),
            # What the history filters by, each in the order in which the page walks (services/history.py).
            models.Index(fields=["tenant", "ship_date", "id"], name="shipment_by_ship_date"),
            models.Index(fields=["tenant", "created_at", "id"], name="shipment_by_created"),
            models.Index(fields=["tenant", "cost", "id"], name="shipment_by_cost"),
            models.Index(fields=["tenant", "status", "-id"], name="shipment_by_status"),
            models.Index(fields=["tenant", "carrier", "-id"], name="shipment_by_carrier"),
            models.Index(fields=["tenant", "integration", "-id"], name="shipment_by_integration"),
            models.Index(fields=["tenant", "service", "-id"], name="shipment_by_service"),
            models.Index(fields=["tenant", "company_code", "-id"], name="shipment_by_company"),
            models.Index(fields=["tenant", "site", "-id"], name="shipment_by_site"),
            models.Index(fields=["tenant", "cost_center", "-id"], name="shipment_by_cost_center"),
            models.Index(fields=["carrier", "master_tracking_number"], name="shipment_by_number"),
            models.Index(fields=["next_track_at"], condition=models.Q(next_track_at__isnull=False), name="shipment_track_due"),
            # What deadlines look for (services/deadlines.py): only what is under way stands in these.
            models.Index(fields=["integration", "created_at"], condition=UNSCANNED, name="shipment_unscanned"),
            models.Index("integration", HEARD, condition=UNDER_WAY, name="shipment_under_way"),
            models.Index(fields=["integration", "delivered_at"], condition=UNTOLD, name="shipment_untold"),
        ]

    def __str__(self) -> str:
        return self.master_tracking_number


class Package(TenantModel):
    """One piece: its own number, label, ERP row and weight. A number is held once among those not voided.

    `proof_due_at`: when to ask the carrier for the proof of its delivery; none: not wanted, had, or given up.
    `told`: what the carrier says beside the scans, each with how new it is (`integrations.base.tracking.Told`).
    """

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
    proof_due_at = models.DateTimeField(null=True)
    told = models.JSONField(default=dict)

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
        indexes = [
            models.Index(fields=["carrier", "tracking_number"], name="package_by_number"),
            models.Index(fields=["carrier", "proof_due_at"], condition=models.Q(proof_due_at__isnull=False), name="proof_due"),
        ]

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


class Proof(TenantModel):
    """The carrier's document that a package was delivered, kept like its label."""

    package = models.OneToOneField(Package, on_delete=models.CASCADE, related_name="proof")
    media_type = models.CharField(max_length=60)
    data = models.BinaryField()
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"proof of delivery, {self.size} bytes"


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


class FreightCharge(TenantModel):
    """The share of one order in a shipment's freight cost, and what became of it in the ERP.

    Written once, before the first share is posted: replays post the same shares, whatever the orders say by then.
    Company code, cost centre and account are those that the order named at that time, else those of the company code.

    `amount` is what the ERP holds, or shall hold while planned; `sent` lists amounts of corrections whose answer may have been
    lost, so that each of them is known as ours. `measure` is the order's share (weight, value, or 1), `rate` what the carrier's
    currency was converted with: a correction is shared the same way. `markup` is the per cent that the customer pays above the
    cost (null: nothing for it), kept so that corrections price it as the charge began. `quoted`, `rated` and
    `invoiced` are the order's parts of what the carrier said, `charged` its part of the cost that counts now (null: `amount`).
    """

    class State(models.TextChoices):
        PLANNED = "planned", "Not in the ERP yet"
        POSTED = "posted", "Written to the order"
        TAKEN_BACK = "taken_back", "Taken back"
        LEFT = "left", "Could not be taken back"
        CLOSED = "closed", "Taken back, and closed in the ERP"
        DROPPED = "dropped", "Not written: the label was voided"

    shipment = models.ForeignKey(Shipment, on_delete=models.CASCADE, related_name="freight_charges")
    order = models.CharField(max_length=60)
    line = models.CharField(max_length=40, blank=True, default="")
    company_code = models.CharField(max_length=40, blank=True, default="")
    site = models.CharField(max_length=40, blank=True, default="")
    cost_center = models.CharField(max_length=40, blank=True, default="")
    account = models.CharField(max_length=40, blank=True, default="")
    from_order = models.BooleanField(default=False)
    pre_posting = models.CharField(max_length=40, blank=True, default="")
    address_id = models.CharField(max_length=60, blank=True, default="")
    charge_type = models.CharField(max_length=40, blank=True, default="")
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    currency = models.CharField(max_length=3)
    measure = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    rate = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    markup = models.DecimalField(max_digits=8, decimal_places=4, null=True)
    quoted = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    rated = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    invoiced = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    charged = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    sent = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED)
    number = models.CharField(max_length=40, blank=True, default="")
    note = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField()
    posted_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["shipment", "order", "line"], name="one_freight_charge_per_order_line")]
        # Sums at month end (services/month_end.py) pass by the months before.
        indexes = [models.Index(fields=["tenant", "created_at"], name="freight_charge_by_created")]

    def __str__(self) -> str:
        return f"{self.order}: {self.amount} {self.currency}"

    @property
    def key(self) -> str:
        """What tells this share from the others of its shipment: the order, and the line where one bears it."""
        return f"{self.order}/{self.line}" if self.line else self.order


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
            models.Index(fields=["connection"], condition=models.Q(state="failed"), name="delivery_failed"),
        ]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.digest[:12]}"

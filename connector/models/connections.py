"""Accounts at vendors: URLs, credentials, settings, company codes, health, pauses, slots."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models

from connector.models.secrets import SecretHolder, UnreadableSecret
from connector.models.tenants import Tenant, TenantModel, validate_timezone
from integrations import registry


class Connection(SecretHolder, TenantModel):
    """One account at one vendor.

    `plain` holds credentials that are no secret (client id, account number), `secrets_text` a JSON object of
    the others, encrypted. `version` rises whenever credentials, URLs or settings change, so that what was
    learned with the old ones (token, refusal, health) no longer counts. `invoice_columns` says which column (by its
    heading) of the carrier's invoice files holds what; empty until somebody has chosen.
    """

    class Health(models.TextChoices):
        UNKNOWN = "unknown", "Not checked"
        OK = "ok", "Working"
        WARNING = "warning", "Working with warnings"
        FAILED = "failed", "Not working"

    slug = models.SlugField(max_length=60, unique=True, help_text="Short name for scripts and files; unique in the installation.")
    name = models.CharField(max_length=200)
    vendor = models.CharField(max_length=40)
    environment = models.CharField(max_length=40, default="production")
    urls = models.JSONField(default=dict, blank=True)
    plain = models.JSONField(default=dict, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    invoice_columns = models.JSONField(default=dict, blank=True)
    version = models.PositiveIntegerField(default=1, editable=False)
    health = models.CharField(max_length=10, choices=Health.choices, default=Health.UNKNOWN, editable=False)
    last_ping = models.JSONField(null=True, editable=False)
    last_ping_at = models.DateTimeField(null=True, editable=False)
    ping_started_at = models.DateTimeField(null=True, editable=False)
    last_good_at = models.DateTimeField(null=True, editable=False)
    unavailable_in_a_row = models.PositiveIntegerField(default=0, editable=False)
    unavailable_transfer = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["tenant", "vendor"], name="connection_by_tenant")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The vendor is known; it never changes once saved."""
        if self.vendor not in registry.VENDORS:
            raise ValidationError({"vendor": f"Unknown vendor “{self.vendor}”. Known: {', '.join(registry.slugs())}."})


class CompanyCode(TenantModel):
    """A legal entity in the ERP that this connection may touch, with its accounting defaults."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="company_codes")
    code = models.CharField(max_length=40)
    name = models.CharField(max_length=200, blank=True, default="")
    cost_center = models.CharField(max_length=40, blank=True, default="")
    freight_account = models.CharField(max_length=40, blank=True, default="")

    class Meta:
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["connection", "code"], name="company_code_once_per_connection")]

    def __str__(self) -> str:
        return f"{self.code} {self.name}".strip()


class Site(TenantModel):
    """A site of a company code, with the address that goods leave from.

    `cut_off`: the local time until which the carrier takes parcels on a working day; none: nothing is said to be late.
    """

    company_code = models.ForeignKey(CompanyCode, on_delete=models.CASCADE, related_name="sites")
    code = models.CharField(max_length=40)
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    address = models.JSONField(null=True, blank=True)
    cut_off = models.TimeField(null=True, blank=True)

    class Meta:
        ordering = ["code"]
        constraints = [models.UniqueConstraint(fields=["company_code", "code"], name="site_once_per_company_code")]

    def __str__(self) -> str:
        return self.code


class Pause(TenantModel):
    """Why a scope does nothing: a configuration error (until a person acts) or a rest (until a probe passes).

    `active` → `probing` (one transfer goes first) → `ended`, or back to `active` when the probe hits the
    same wall. `step` is the step that failed: a transfer that has passed it ends the pause.
    """

    class Scope(models.TextChoices):
        CONNECTION = "connection", "Connection"
        COMPANY = "company", "Company code"
        SITE = "site", "Site"
        INTEGRATION = "integration", "Integration"

    class State(models.TextChoices):
        ACTIVE = "active", "Paused"
        PROBING = "probing", "Trying one record"
        ENDED = "ended", "Ended"

    class Kind(models.TextChoices):
        CONFIGURATION = "configuration", "Needs a person"
        REST = "rest", "Resting"

    scope = models.CharField(max_length=12, choices=Scope.choices)
    kind = models.CharField(max_length=14, choices=Kind.choices, default=Kind.CONFIGURATION)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, null=True, related_name="pauses")
    integration = models.ForeignKey("connector.Integration", on_delete=models.CASCADE, null=True, related_name="pauses")
    scope_name = models.CharField(max_length=60, blank=True, default="")
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    code = models.CharField(max_length=60)
    message = models.TextField()
    remedy = models.TextField(blank=True, default="")
    step = models.CharField(max_length=60, blank=True, default="")
    since = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True)
    probe_count = models.PositiveIntegerField(default=0)
    probe_transfer = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["-since"]
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "connection", "scope_name", "kind"],
                condition=~models.Q(state="ended") & models.Q(integration__isnull=True),
                name="one_open_pause_per_connection_scope",
            ),
            models.UniqueConstraint(
                fields=["integration", "kind"],
                condition=~models.Q(state="ended") & models.Q(scope="integration"),
                name="one_open_pause_per_integration",
            ),
        ]
        indexes = [models.Index(fields=["connection", "state"], name="pause_by_connection")]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} {self.scope_name}: {self.message}"


class Slot(TenantModel):
    """`count` calls-in-parallel at a connection that a process holds until `expires_at`."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="slots")
    owner = models.UUIDField()
    owner_process = models.CharField(max_length=120, blank=True, default="")
    count = models.PositiveIntegerField()
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "owner"], name="one_slot_row_per_owner")]

    def __str__(self) -> str:
        return f"{self.count} at {self.connection_id}"


__all__ = ["CompanyCode", "Connection", "Pause", "Site", "Slot", "Tenant", "UnreadableSecret"]

"""Who owns what: the installation, its tenants, its users and their roles."""

from __future__ import annotations

import uuid
import zoneinfo

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.crypto import salted_hmac


def validate_timezone(value: str) -> None:
    """Refuse what is not an IANA zone name."""
    if value not in zoneinfo.available_timezones():
        raise ValidationError(f"“{value}” is not a time zone. Use a name such as America/Chicago or Europe/Berlin.")


class Installation(models.Model):
    """The one row about this installation. `uid` makes our references unique across installations.

    `key_check` is a known word encrypted with the first key: if it cannot be read, the keys are wrong and
    nothing is sent. While `look_first_until` lies ahead every effect looks before its first send
    (`after_restore`). Alerts were looked for up to `alerts_looked_at`.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    uid = models.UUIDField(default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    key_check = models.TextField(blank=True, default="", editable=False)
    stop_buying = models.BooleanField(default=False)
    stop_buying_reason = models.CharField(max_length=300, blank=True, default="")
    look_first_until = models.DateTimeField(null=True, blank=True)
    alerts_looked_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return "This installation"


class Tenant(models.Model):
    """One customer organisation. Everything else belongs to exactly one."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=200)
    timezone = models.CharField(max_length=64, default="UTC", validators=[validate_timezone])
    stop_buying = models.BooleanField("stop buying", default=False, help_text="While on, no label is bought for this tenant.")
    stop_buying_reason = models.CharField(max_length=300, blank=True, default="")
    second_factor_required = models.BooleanField(default=False, editable=False)
    last_served_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person. A superuser is the installation owner; everybody else has roles per tenant."""

    tenants: models.ManyToManyField[Tenant, Membership] = models.ManyToManyField(
        Tenant, through="Membership", related_name="users"
    )

    session_version = models.PositiveIntegerField(default=0, editable=False)
    """Rises to end every session of this person: what a session remembers no longer fits."""

    class Meta(AbstractUser.Meta):
        ordering = ["username"]

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django compares this on every request; it changes with the password, and here with `session_version`, too."""
        of_password: str = super()._get_session_auth_hash(secret=secret)  # type: ignore[misc]
        return salted_hmac("connector.session", f"{of_password}|{self.session_version}", secret=secret).hexdigest()


class Role(models.TextChoices):
    """Roles within a tenant, strongest first."""

    ADMINISTRATOR = "administrator", "Administrator"
    OPERATOR = "operator", "Operator"
    VIEWER = "viewer", "Viewer"


class Membership(models.Model):
    """A user's role at a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="one_role_per_tenant")]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()} at {self.tenant}"


class TenantModel(models.Model):
    """Base of every row that belongs to a tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    class Meta:
        abstract = True

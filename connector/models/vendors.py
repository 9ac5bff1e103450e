"""What all processes share about vendors' patience: tokens and limits. Keyed by scope, not by tenant (DESIGN 4)."""

from __future__ import annotations

from django.db import models
from encrypted_model_fields.fields import EncryptedTextField


class TokenRow(models.Model):
    """One login's token. `fingerprint` is a keyed hash of host, identity and secret.

    `version` rises with every answer stored. Renewal: whoever holds the lease asks; a refusal stands until
    `refused_until`, a penalty of the host until `cool_until`. `requests_today` counts per UTC day.
    """

    fingerprint = models.CharField(max_length=64, unique=True)
    host = models.CharField(max_length=200)
    version = models.PositiveIntegerField(default=0)
    token_text = EncryptedTextField(default="")
    issued_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    renew_after = models.DateTimeField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    refused_at = models.DateTimeField(null=True)
    refused_until = models.DateTimeField(null=True)
    refusal = models.JSONField(null=True)
    cool_until = models.DateTimeField(null=True)
    requests_day = models.DateField(null=True)
    requests_today = models.PositiveIntegerField(default=0)
    requests_total = models.PositiveIntegerField(default=0)
    connections = models.ManyToManyField("connector.Connection", related_name="tokens")
    """Which connections log in with it: the login itself is kept as a hash only."""

    def __str__(self) -> str:
        return f"{self.host} {self.fingerprint[:8]}"


class LimitBucket(models.Model):
    """A shared limiter (GCRA). `arrival` is when the next call would be due if calls were spread evenly.

    Both times are seconds since 1970 by the database's clock: plain numbers are the same arithmetic on
    both engines.
    """

    key = models.CharField(max_length=200, unique=True)
    arrival = models.FloatField(default=0.0)
    rest_until = models.FloatField(default=0.0)
    rest_reason = models.CharField(max_length=200, blank=True, default="")
    used = models.BigIntegerField(default=0)
    day = models.DateField(null=True)
    used_today = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.key

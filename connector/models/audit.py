"""Append-only, chained by hash. The database refuses UPDATE and DELETE on entries, too (migration 0002)."""

from __future__ import annotations

from typing import Any

from django.db import models

from connector.models.tenants import Tenant, User


class AppendOnly(Exception):
    """Audit entries are never changed or deleted."""


class AuditChain(models.Model):
    """The head of a chain that has no row of its own elsewhere: per tenant (configuration), and the installation."""

    name = models.CharField(max_length=80, unique=True)
    sequence = models.PositiveIntegerField(default=0)
    hash = models.CharField(max_length=64, blank=True, default="")

    def __str__(self) -> str:
        return self.name


class AuditEntry(models.Model):
    """One statement: who did what to which record, when, with what result.

    `chain` is "installation", "tenant:<id>" or "record:<id>"; `hash` covers the previous hash and every
    column here. `facts` hold no personal data; what may be erased later stands in `AuditDetail` or in the
    exchanges, and only its digest here.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    chain = models.CharField(max_length=80)
    sequence = models.PositiveIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    act = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True, default="")
    object_id = models.BigIntegerField(null=True)
    object_name = models.CharField(max_length=200, blank=True, default="")
    facts = models.JSONField(default=dict)
    detail_digest = models.CharField(max_length=64, blank=True, default="")
    previous = models.CharField(max_length=64, blank=True, default="")
    hash = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "audit entries"
        constraints = [models.UniqueConstraint(fields=["chain", "sequence"], name="one_entry_per_place_in_chain")]
        indexes = [
            models.Index(fields=["tenant", "-id"], name="audit_by_tenant"),
            models.Index(fields=["object_type", "object_id"], name="audit_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor}: {self.act}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert once; never again."""
        if self.pk is not None:
            raise AppendOnly("Audit entries are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Refused."""
        raise AppendOnly("Audit entries are never deleted.")


class AuditDetail(models.Model):
    """Detail of an entry that may hold personal data and may be erased by rule; the entry keeps its digest."""

    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, related_name="detail")
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, null=True, related_name="+")
    detail = models.JSONField()

    def __str__(self) -> str:
        return f"Detail of {self.entry_id}"


class AuditSeal(models.Model):
    """A keyed seal over all entries up to `to_id`, chained to the seal before it; copies outside this database bear witness.

    `mac` is HMAC-SHA256 with AUDIT_KEY over number, range, count, digest, time and the previous seal's mac; `digest`
    covers id and hash of every entry in the range. `key_mark` tells which key it was without telling the key.
    """

    number = models.PositiveIntegerField(unique=True)
    from_id = models.BigIntegerField()
    to_id = models.BigIntegerField()
    entries = models.PositiveIntegerField()
    at = models.DateTimeField()
    digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64, blank=True, default="")
    mac = models.CharField(max_length=64)
    key_mark = models.CharField(max_length=12)

    def __str__(self) -> str:
        return f"Seal {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert once; never again."""
        if self.pk is not None:
            raise AppendOnly("Seals are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Refused."""
        raise AppendOnly("Seals are never deleted.")


__all__ = ["AppendOnly", "AuditChain", "AuditDetail", "AuditEntry", "AuditSeal", "User"]

"""Addresses that a carrier has checked lately."""

from __future__ import annotations

from django.db import models

from connector.models.connections import Connection
from connector.models.tenants import TenantModel


class CheckedAddress(TenantModel):
    """A carrier's opinion of one address, asked over one connection: good for a day, for all documents that go there.

    `digest` covers the address and where it was asked; one row per connection may tell instead that the check did not
    answer lately (`services.addresses.DOWN`). `batch` leads to the call that told it, where several were
    asked together.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    result = models.JSONField()
    schema = models.PositiveSmallIntegerField(default=1)
    batch = models.UUIDField(null=True)
    checked_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "digest"], name="one_check_per_address")]
        indexes = [models.Index(fields=["checked_at"], name="address_check_age")]

    def __str__(self) -> str:
        return f"address {self.digest[:12]}"

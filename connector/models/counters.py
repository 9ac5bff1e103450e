"""Numbers per day, added up as things happen: the dashboard must not count a million rows."""

from __future__ import annotations

from django.db import models

from connector.models.integrations import Integration
from connector.models.tenants import TenantModel


class DayCount(TenantModel):
    """How often something happened, or how much was spent, on a day of the tenant's time zone.

    `what`: done, failed, in_doubt, bought, voided; `spend` carries an amount, with the cost centre as `key`.
    """

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    what = models.CharField(max_length=20)
    key = models.CharField(max_length=60, blank=True, default="")
    currency = models.CharField(max_length=3, blank=True, default="")
    count = models.IntegerField(default=0)
    amount = models.DecimalField(max_digits=14, decimal_places=2, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["integration", "day", "what", "key", "currency"], name="one_count_per_day_and_thing")
        ]
        indexes = [models.Index(fields=["tenant", "day"], name="daycount_by_day")]

    def __str__(self) -> str:
        return f"{self.day} {self.what} {self.key}: {self.count}"


class CountMark(models.Model):
    """Up to which audit entry the counts reach."""

    name = models.CharField(max_length=20, unique=True)
    value = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"


__all__ = ["CountMark", "DayCount"]

"""Who takes care of what needs a person."""

from __future__ import annotations

from django.db import models

from connector.models.tenants import TenantModel, User
from connector.models.transfers import Transfer


class Handling(TenantModel):
    """A person's name and note on a transfer. It says nothing about the work itself; a later success simply ends the need."""

    transfer = models.OneToOneField(Transfer, on_delete=models.CASCADE, related_name="handling")
    assignee = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="handling")
    note = models.CharField(max_length=500, blank=True, default="")
    changed_by = models.CharField(max_length=150)
    changed_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["assignee", "tenant"], name="handling_by_person")]

    def __str__(self) -> str:
        return f"{self.assignee or 'nobody'}: {self.note}"


__all__ = ["Handling"]

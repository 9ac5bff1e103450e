"""What the installation knows of its own running."""

from __future__ import annotations

from django.db import models


class Heartbeat(models.Model):
    """When a regular job was last done (`tick`, every minute) or begun (`retention`, once a day), by the database's clock."""

    name = models.CharField(max_length=40, unique=True)
    at = models.DateTimeField()
    process = models.CharField(max_length=120, blank=True, default="")

    def __str__(self) -> str:
        return self.name

"""What a person keeps about a list: filters by name, the columns to show, files that were written from it."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class SavedFilter(models.Model):
    """Filters under a name, as an address has them. They belong to one person and grant nothing: whoever applies them
    sees what his roles let him see at that moment."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_filters")
    page = models.CharField(max_length=30)
    name = models.CharField(max_length=60)
    query = models.TextField()
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "page", "name"], name="saved_filter_once_per_name")]

    def __str__(self) -> str:
        return self.name


class ListColumns(models.Model):
    """The columns that a person chose for a list, in their order."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="list_columns")
    page = models.CharField(max_length=30)
    columns = models.JSONField(default=list)

    class Meta:
        verbose_name_plural = "list columns"
        constraints = [models.UniqueConstraint(fields=["user", "page"], name="columns_once_per_list")]

    def __str__(self) -> str:
        return self.page


class Export(models.Model):
    """A file written from a list while somebody downloads it: how far it is, and how it ended.

    It may hold rows of several tenants, so that it belongs to its reader; each tenant's audit chain tells what left it.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Being written"
        DONE = "done", "Complete"
        BROKEN = "broken", "Broken off"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="exports")
    page = models.CharField(max_length=30)
    query = models.TextField(blank=True, default="")
    columns = models.JSONField(default=list)
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    rows = models.PositiveBigIntegerField(default=0)
    started_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # A file keeps a web thread busy for as long as it is read.
            models.UniqueConstraint(fields=["user"], condition=models.Q(state="running"), name="one_running_export_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"

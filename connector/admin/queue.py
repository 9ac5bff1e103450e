"""django-q2's own tables: read-only, for the installation owner.

A schedule's function is any dotted path: who may edit one may run anything.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.admin import ModelAdmin

for _model in (Failure, OrmQ, Schedule, Success, Group):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class ReadOnly(ModelAdmin):  # type: ignore[misc]
    """Look only, owner only; payloads are neither unpickled nor shown."""

    actions = ()
    show_full_result_count = False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Success, Failure)
class TaskAdmin(ReadOnly):
    list_display = ("name", "func", "started", "stopped", "success")
    list_display_links = None
    fields = ("name", "func", "started", "stopped", "success")


@admin.register(OrmQ)
class QueuedAdmin(ReadOnly):
    list_display = ("id", "key", "lock", "display_waiting")
    list_display_links = None
    fields = ("key", "lock")

    @display(description="Payload")
    def display_waiting(self, obj: OrmQ) -> str:
        return f"{len(obj.payload or '')} characters, not opened here"


@admin.register(Schedule)
class ScheduleAdmin(ReadOnly):
    list_display = ("name", "func", "schedule_type", "minutes", "next_run")
    list_display_links = None
    fields = ("name", "func", "schedule_type", "minutes", "next_run")

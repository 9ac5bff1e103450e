"""django-q2's own tables: read-only, for the installation owner.

A schedule's function is any dotted path: who may edit one may run anything.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import display
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.admin import ModelAdmin

from connector.services import clock, queue
from connector.times import column

for _model in (Failure, OrmQ, Schedule, Success, Group):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)


class ReadOnly(ModelAdmin):  # type: ignore[misc]
    """Look only, owner only; payloads are neither unpickled nor shown."""

    actions = ()
    show_facets = admin.ShowFacets.NEVER
    empty_title: ClassVar[str] = ""
    show_full_result_count = False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, under its plain name."""
        shown = {"title": capfirst(str(self.opts.verbose_name_plural))} | (extra_context or {})
        response: HttpResponse = super().changelist_view(request, shown)
        return response

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
    list_display = ("display_task", column("started", "Started"), column("stopped", "Stopped"), "success", "display_remedy")
    empty_title = "No task"
    list_display_links = None
    fields = ("name", "func", "started", "stopped", "success")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Without the pickled columns: reading them would carry them out."""
        return super().get_queryset(request).defer("args", "kwargs", "result")

    @display(description="Task")
    def display_task(self, obj: Any) -> str:
        return queue.words_of(str(obj.func))[0]

    @display(description="What to do")
    def display_remedy(self, obj: Any) -> str:
        return "" if obj.success else queue.words_of(str(obj.func))[1]


@admin.register(OrmQ)
class QueuedAdmin(ReadOnly):
    fields = ("key", "lock")

    def get_urls(self) -> list[URLPattern]:
        now = path("now/", self.admin_site.admin_view(self.now_view), name="queue_now")
        return [now, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The queue in words instead of its rows."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET"])
        context = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Queue", **self._now()}
        return TemplateResponse(request, "connector/queue.html", context)

    def now_view(self, request: HttpRequest) -> HttpResponse:
        """Its moving part alone."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return TemplateResponse(request, "connector/queue_now.html", self._now())

    @staticmethod
    def _now() -> dict[str, Any]:
        return {"queue": queue.look(), "as_of": clock.local_now()}


@admin.register(Schedule)
class ScheduleAdmin(ReadOnly):
    list_display = ("name", "func", "schedule_type", "minutes", column("next_run", "Next"))
    list_display_links = None
    fields = ("name", "func", "schedule_type", "minutes", "next_run")

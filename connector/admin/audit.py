"""The audit: read-only, like the database itself says."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from connector.admin.base import TenantAdmin, TenantFilter
from connector.models import AuditDetail, AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(TenantAdmin):
    """Who did what, when, with what result. Entries of the installation are its owner's to see."""

    list_display = ("at", "actor", "display_act", "object_type", "object_name", "chain", "sequence")
    list_filter = (TenantFilter,)
    search_fields = ("object_name",)
    search_help_text = "Exact name of an object, an act, or an actor"
    detail_template = "connector/audit.html"

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(object_name=term) | Q(act=term) | Q(actor=term) | Q(actor=f"user:{term}")), False

    @display(description="Act")
    def display_act(self, obj: AuditEntry) -> str:
        return obj.act.replace("_", " ")

    def detail_context(self, request: HttpRequest, obj: AuditEntry) -> dict[str, Any]:
        return {"detail": AuditDetail.objects.filter(entry=obj).first()}

"""The audit: read-only, like the database itself says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.contrib import admin
from django.contrib.admin import display
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed, StreamingHttpResponse
from django.urls import URLPattern, path, reverse

from connector import audit_verifier, permissions
from connector.admin.base import TenantAdmin, TenantFilter, actor_of
from connector.models import AuditDetail, AuditEntry, AuditSeal, Tenant
from connector.services import audit, seals
from connector.times import column
from connector.words import acts_named, document, said


def _file(lines: Iterable[str], name: str, kind: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse((line.encode() for line in lines), content_type=kind)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    response["Cache-Control"] = "private, no-store"
    return response


_TRANSFER = re.compile(r"#(\d+) (.+)")


def on(entry: AuditEntry) -> str:
    """What an entry is about, in words: "Shipment 19 (transfer 7)", "connection IFS production"."""
    transfer = _TRANSFER.fullmatch(entry.object_name) if entry.object_type == "transfer" else None
    if transfer is not None:
        return f"{document(transfer[2])} (transfer {transfer[1]})"
    return f"{KINDS_IN_WORDS.get(entry.object_type, entry.object_type)} {entry.object_name}".strip()


def link_of(entry: AuditEntry) -> str:
    """The page of what an entry is about, "" where it has none that everybody of the tenant sees."""
    if entry.object_type not in WITH_PAGES or entry.object_id is None:
        return ""
    return reverse(f"admin:connector_{entry.object_type}_change", args=[entry.object_id])


WITH_PAGES = frozenset(
    ("transfer", "shipment", "connection", "integration", "invoicefile", "reconciliationrun", "reconciliationfinding")
)
KINDS_IN_WORDS = {
    "alertchannel": "alert channel",
    "invoicefile": "invoice file",
    "reconciliationrun": "comparison",
    "reconciliationfinding": "finding",
}


@admin.register(AuditEntry)
class AuditEntryAdmin(TenantAdmin):
    """Who did what, when, with what result. Entries of the installation are its owner's to see."""

    list_display = (
        column("at", "When"),
        "display_who",
        "display_act",
        "display_on",
        "display_chain",
    )
    empty_hint = "Whatever happens is written down here by itself."
    list_filter = (TenantFilter,)
    search_fields = ("object_name",)
    search_help_text = "The whole name of a person, an object, or what was done"
    list_before_template = "connector/audit_before.html"
    detail_template = "connector/audit.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("seals/", view(self.seals_view), name="connector_seals"),
            path("seals/download/", view(self.seals_download), name="connector_seals_download"),
            path("export/", view(self.export_view), name="connector_audit_export"),
            path("verifier/", view(self.verifier_view), name="connector_audit_verifier"),
            *super().get_urls(),
        ]

    def seals_view(self, request: HttpRequest) -> HttpResponseBase:
        """Chains, seals, what can be taken away, and what all this does not prove."""
        if not permissions.can_somewhere(request.user, "view"):
            raise PermissionDenied
        last = AuditSeal.objects.order_by("-number").first()
        return self.page(
            request,
            "connector/seals.html",
            title="Chains and seals",
            last=last,
            recent=AuditSeal.objects.order_by("-number")[:50] if request.user.is_superuser else [],
            keyed=bool(seals.key_mark()),
            whole=request.user.is_superuser,
        )

    def seals_download(self, request: HttpRequest) -> HttpResponseBase:
        """All seals, to be kept elsewhere. They tell nothing about any tenant."""
        if not request.user.is_superuser:
            raise PermissionDenied
        rows = AuditSeal.objects.order_by("number").iterator()
        return _file((seals.seal_line(s) for s in rows), "audit-seals.jsonl", "application/x-ndjson")

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """The audit as a file: the whole, or what belongs to the user's tenants. POST: the export itself is kept in the audit."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not permissions.can_somewhere(request.user, "view"):
            raise PermissionDenied
        tenants = None if request.user.is_superuser else list(permissions.scope(Tenant.objects.all(), request.user, lookup="pk"))
        draft = audit.Draft("audit_exported", {}, actor=actor_of(request))
        for tenant in tenants if tenants is not None else [None]:
            audit.append(tenant, draft)
        return _file(seals.export(tenants), "audit.jsonl", "application/x-ndjson")

    def verifier_view(self, request: HttpRequest) -> HttpResponseBase:
        """The program that checks an export without anything of ours."""
        return _file([Path(audit_verifier.__file__).read_text()], "audit_verifier.py", "text/x-python")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        return queryset.filter(Q(object_name=term) | Q(act__in=acts_named(term)) | Q(actor=term) | Q(actor=f"user:{term}")), False

    @display(description="Who")
    def display_who(self, obj: AuditEntry) -> str:
        return obj.actor.removeprefix("user:")

    @display(description="What")
    def display_act(self, obj: AuditEntry) -> str:
        return said(obj.act)

    @display(description="On")
    def display_on(self, obj: AuditEntry) -> str:
        return on(obj)

    @display(description="Chain, place")
    def display_chain(self, obj: AuditEntry) -> str:
        return f"{obj.chain}, {obj.sequence}"

    def detail_context(self, request: HttpRequest, obj: AuditEntry) -> dict[str, Any]:
        title = f"{said(obj.act)}: {on(obj) or obj.chain}"
        told = {"on": on(obj), "on_link": link_of(obj), "detail": AuditDetail.objects.filter(entry=obj).first()}
        return {"title": title} | told

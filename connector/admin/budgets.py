"""What every limit allows and what is used of it, and when the waiting work will be through; it keeps itself up to date."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from connector import permissions
from connector.models import Connection, Integration
from connector.services import budgets, clock
from integrations import registry
from integrations.flows.table import KINDS


class BudgetPages:
    """Pages of the connections' admin; mixed into it."""

    admin_site: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("budgets/", view(self.budgets_view), name="connector_budgets"),
            path("budgets/now/", view(self.budgets_now_view), name="connector_budgets_now"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def budgets_view(self, request: HttpRequest) -> HttpResponseBase:
        """The page."""
        response: HttpResponseBase = self.page(  # type: ignore[attr-defined]
            request, "connector/budgets.html", title="Budgets", **self._now(request)
        )
        return response

    def budgets_now_view(self, request: HttpRequest) -> HttpResponseBase:
        """Its moving part alone."""
        return TemplateResponse(request, "connector/budgets_now.html", self._now(request))

    def _now(self, request: HttpRequest) -> dict[str, Any]:
        user = request.user
        if not permissions.can_somewhere(user, "view"):
            raise PermissionDenied
        mine = permissions.scope(Connection.objects.select_related("tenant"), user).filter(vendor__in=registry.VENDORS)
        shown = list(mine.order_by("name")[: budgets.MOST + 1])
        accounts = budgets.accounts(shown[: budgets.MOST], permissions.tenants_for(user))
        integrations = permissions.scope(Integration.objects.select_related("tenant", "source", "target"), user)
        backlogs = budgets.backlogs(list(integrations.filter(kind__in=KINDS).order_by("name")[: budgets.MOST]), accounts)
        return {
            "accounts": accounts,
            "backlogs": backlogs,
            "more": len(shown) > budgets.MOST,
            "several": len({a.connection.tenant_id for a in accounts}) > 1,
            "as_of": clock.local_now(),
        }

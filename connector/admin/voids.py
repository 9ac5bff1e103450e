"""What voiding a label or buying again would do, before the button that does it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector.models import Shipment
from connector.services import void_preview
from connector.services.shipments import NotPossible

BUTTONS = {
    void_preview.CLEAR: ("void", "Void, and clear the number in the ERP"),
    void_preview.REBUY: ("void", "Void and buy again"),
    void_preview.AGAIN: ("buy-again", "Buy again"),
}


class VoidPages:
    """The page before the act; mixed into the shipments' admin."""

    admin_site: Any
    page: Any
    row: Any
    may: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.void_view)
        return [path("<int:shipment_id>/void/", view, name="connector_shipment_void"), *super().get_urls()]  # type: ignore[misc]

    def void_view(self, request: HttpRequest, shipment_id: int) -> HttpResponse:
        """GET: what `then` (clear, rebuy, again) would do, with the reason and the button that posts it."""
        shipment: Shipment = self.row(request, str(shipment_id))
        if not self.may(request, "operate", shipment):
            raise PermissionDenied
        then = request.GET.get("then", "")
        then = then if then in BUTTONS else void_preview.CLEAR
        try:
            found = void_preview.preview(shipment, then)
        except NotPossible as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:connector_shipment_change", args=[shipment.pk]))
        act, button = BUTTONS[then]
        response: HttpResponse = self.page(
            request, "connector/void.html", shipment, title=f"{button}: {shipment}", preview=found, act=act, button=button
        )
        return response

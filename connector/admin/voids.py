"""What voiding a label, buying again or attaching it would do, before the button that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector.models import Shipment
from connector.services import attach_preview, void_preview
from connector.services.shipments import NotPossible

BUTTONS = {
    void_preview.CLEAR: ("void", "Void, and clear the number in the ERP"),
    void_preview.REBUY: ("void", "Void and buy again"),
    void_preview.AGAIN: ("buy-again", "Buy again"),
    attach_preview.ATTACH: ("attach", "Attach now"),
}


class VoidPages:
    """The page before the act; mixed into the shipments' admin."""

    admin_site: Any
    page: Any
    row: Any
    may: Any

    def get_urls(self) -> list[URLPattern]:
        voids, attaches = (self.admin_site.admin_view(view) for view in (self.void_view, self.attach_view))
        return [
            path("<int:shipment_id>/void/", voids, name="connector_shipment_void"),
            path("<int:shipment_id>/attach/", attaches, name="connector_shipment_attach"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    def void_view(self, request: HttpRequest, shipment_id: int) -> HttpResponse:
        """GET: what `then` (clear, rebuy, again) would do, with the reason and the button that posts it."""
        then = request.GET.get("then", "")
        then = then if then in (void_preview.REBUY, void_preview.AGAIN) else void_preview.CLEAR
        return self._before(request, shipment_id, then, lambda shipment: void_preview.preview(shipment, then))

    def attach_view(self, request: HttpRequest, shipment_id: int) -> HttpResponse:
        """GET: which labels would be hung where, with the reason and the button that posts it."""
        return self._before(request, shipment_id, attach_preview.ATTACH, attach_preview.preview)

    def _before(
        self, request: HttpRequest, shipment_id: int, then: str, look: Callable[[Shipment], void_preview.Preview]
    ) -> HttpResponse:
        shipment: Shipment = self.row(request, str(shipment_id))
        if not self.may(request, "operate", shipment):
            raise PermissionDenied
        try:
            found = look(shipment)
        except NotPossible as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:connector_shipment_change", args=[shipment.pk]))
        act, button = BUTTONS[then]
        response: HttpResponse = self.page(
            request, "connector/before.html", shipment, title=f"{button}: {shipment}", preview=found, act=act, button=button
        )
        return response

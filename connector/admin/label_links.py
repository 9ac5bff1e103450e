"""Links to labels on a shipment's page: make one (shown once), mail one, revoke one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse

from connector import asked
from connector.admin.base import actor_of
from connector.models import LabelLink, Package, Shipment
from connector.services import label_links
from connector.services.public_url import page_url
from connector.services.shipments import NotPossible


def link_context(shipment: Shipment, packages: Sequence[Package]) -> dict[str, Any]:
    """What a shipment's page shows of its links. `mail_again`: where a mail of ours did not arrive.

    `packages`: the shipment's, with their labels.
    """
    found = label_links.of(shipment)
    last = next((link for link, _ in found if link.mail_to), None)
    missed = last.mail_to if last is not None and last.mail_state != LabelLink.Mail.SENT else ""
    return {
        "label_links": found,
        "label_files": any(getattr(package, "label", None) is not None for package in packages),
        "mail_again": missed,
        "usual_days": label_links.USUAL_DAYS,
        "most_days": label_links.MOST_DAYS,
    }


class LinkPages:
    """Making and mailing links; mixed into the shipments' admin."""

    admin_site: Any
    page: Any
    row: Any
    may: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.links_view)
        return [path("<int:shipment_id>/links/", view, name="connector_shipment_links"), *super().get_urls()]  # type: ignore[misc]

    def links_view(self, request: HttpRequest, shipment_id: int) -> HttpResponse:
        """POST: make a link; it is shown in this answer and never again, or mailed and not shown at all."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        shipment: Shipment = self.row(request, str(shipment_id))
        if not self.may(request, "operate", shipment):
            raise PermissionDenied
        back = HttpResponseRedirect(reverse("admin:connector_shipment_change", args=[shipment.pk]))
        actor, days = actor_of(request), asked.number(request.POST.get("days", "").strip()) or 0
        try:
            if request.POST.get("how") == "mail":
                self._mail(request, shipment, days, actor)
                return back
            made = label_links.make(shipment, actor=actor, days=days)
        except NotPossible as error:
            messages.error(request, str(error))
            return back
        url = page_url(made.path)
        if not url.startswith(("http://", "https://")):
            url = request.build_absolute_uri(made.path)
        response: HttpResponse = self.page(
            request, "connector/label_link.html", shipment, title="The link", link=made.link, url=url
        )
        response["Cache-Control"] = "no-store"
        return response

    def _mail(self, request: HttpRequest, shipment: Shipment, days: int, actor: str) -> None:
        address = request.POST.get("mail_to", "").strip()
        if not address:
            raise NotPossible("Say to which address the link is mailed.")
        link = label_links.mail(label_links.make(shipment, actor=actor, days=days, mail_to=address), actor=actor)
        if link.mail_state == LabelLink.Mail.SENT:
            messages.success(request, f"The link was mailed to {address}.")
        else:
            messages.error(request, f"The link could not be mailed. {link.mail_note}")

    def do_revoke_link(self, request: HttpRequest, obj: Shipment) -> str:
        label_links.revoke(obj, asked.number(request.POST.get("link", "")) or 0, actor=actor_of(request))
        return "The link opens nothing any more."

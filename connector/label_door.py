"""The door for those who hold a link to a label: no sign-in, no word about anybody but the parcel."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from connector.admin.shipments import SHOWN_BY_BROWSERS, file_response
from connector.services import clock, label_links, sign_in
from connector.services.label_links import LIVE
from connector.services.shipments import MEDIA_SUFFIX

_CSP = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def _closed(response: HttpResponse) -> HttpResponse:
    """Nothing of it is kept, indexed, told to other sites, or written to the log: the address is the key."""
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Cache-Control"] = "no-store"
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _page(request: HttpRequest, status: int, **told: object) -> HttpResponse:
    response = render(request, "connector/label_door.html", {"status": status, **told}, status=status)
    response["Content-Security-Policy"] = _CSP
    response._csp_exempt = True  # type: ignore[attr-defined]
    if status == 429:
        response["Retry-After"] = "60"
    return _closed(response)


@require_safe
def label_link(request: HttpRequest, secret: str) -> HttpResponse:
    """What the link opens, or that it opens nothing. Looking counts nothing: programs that preview mail look, too."""
    if not label_links.may_ask(sign_in.client_address(request)):
        return _page(request, 429)
    link = label_links.find(secret)
    if link is None:
        return _page(request, 404)
    if label_links.standing(link, clock.now()) != LIVE:
        return _page(request, 410)
    files = [
        (label, (MEDIA_SUFFIX.get(label.media_type) or "file").upper(), label.media_type in SHOWN_BY_BROWSERS)
        for label in label_links.labels_of(link.shipment)
    ]
    return _page(request, 200, link=link, shipment=link.shipment, files=files, secret=secret)


@require_safe
def label_link_file(request: HttpRequest, secret: str, sequence: int) -> HttpResponse:
    """One label. Counted, and kept in the shipment's history."""
    address = sign_in.client_address(request)
    if not label_links.may_ask(address):
        return _page(request, 429)
    link = label_links.find(secret)
    if link is None:
        return _page(request, 404)
    if request.method == "HEAD":
        return _closed(HttpResponse(status=200 if label_links.standing(link, clock.now()) == LIVE else 410))
    label = label_links.take(link, sequence, address=address)
    if label is None:
        return _page(request, 410)
    return _closed(file_response(request, label, f"label-{label.package.tracking_number}", readable=label.readable))

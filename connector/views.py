"""Doors for machines: liveness, readiness, what vendors post. And the answer to too many failed sign-ins."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from connector.services import health, metrics, sign_in, webhooks


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. Touches nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, is migrated and its secrets can be opened; 503 with the reason otherwise.

    Silent workers, late polls and differing clocks are told as well, and make a 503 only of `?worker=1`: no web
    process answers better for being taken out of service.
    """
    checks = health.readiness()
    all_count = request.GET.get("worker") == "1"
    ok = all(check.ok for check in checks if check.web or all_count)
    return JsonResponse({"ok": ok, "checks": [asdict(check) for check in checks]}, status=200 if ok else 503)


@require_safe
@never_cache
def metrics_text(request: HttpRequest) -> HttpResponse:
    """Numbers for Prometheus, for whoever holds METRICS_TOKEN. Without one set there is no such page."""
    if not settings.METRICS_TOKEN:
        return HttpResponse(status=404)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not constant_time_compare(given.strip(), settings.METRICS_TOKEN):
        return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
    try:
        return HttpResponse(metrics.text(), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        return HttpResponse("The database does not answer.\n", status=503, content_type="text/plain")


@csrf_exempt  # the vendor's signature over the body is checked instead
@require_POST
def hook(request: HttpRequest, slug: str) -> HttpResponse:
    """A vendor posts news for one connection: verified, stored, answered; worked on afterwards."""
    raw = _body(request, webhooks.MAX_BYTES)
    status = webhooks.receive(slug, raw, request.headers) if isinstance(raw, bytes) else raw
    response = HttpResponse(status=status)
    # `receive` says what people should know, once a minute: a line of Django's for every forged post would fill the disk.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _body(request: HttpRequest, most: int) -> bytes | int:
    """The body of a post, or the status that refuses it: 400, 411 or 413."""
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        # Django takes a body without a length for empty. A server that undoes the chunks says that the stream ends.
        if not request.META.get("wsgi.input_terminated"):
            return 411
        raw: bytes = request.META["wsgi.input"].read(most + 1)
        return raw if len(raw) <= most else 413
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 400
    return 413 if length > most else request.body


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> HttpResponse:
    """The page instead of a sign-in that is refused (AXES_LOCKOUT_CALLABLE). It says the same for names that do not exist."""
    name = str((credentials or {}).get("username") or request.POST.get("username", ""))
    left = sign_in.minutes_left(name, sign_in.client_address(request))
    context = admin.site.each_context(request) | {
        "title": "Sign-in rests",
        "minutes": left,
        "attempts": settings.SIGN_IN_ATTEMPTS,
    }
    answer = render(request, "connector/locked_out.html", context, status=429)
    answer["Retry-After"] = str(left * 60)
    answer["Cache-Control"] = "no-store"
    return answer

"""Doors for machines: liveness, readiness, what vendors post."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from connector.services import health, webhooks


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers. Touches nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, is migrated and its secrets can be opened; 503 with the reason otherwise."""
    checks = health.readiness()
    ok = all(check.ok for check in checks)
    return JsonResponse({"ok": ok, "checks": [asdict(check) for check in checks]}, status=200 if ok else 503)


@csrf_exempt  # the vendor's signature over the body is checked instead
@require_POST
def hook(request: HttpRequest, slug: str) -> HttpResponse:
    """A vendor posts news for one connection: verified, stored, answered; worked on afterwards."""
    if int(request.META.get("CONTENT_LENGTH") or 0) > webhooks.MAX_BYTES:
        return HttpResponse(status=413)
    raw = request.body
    if len(raw) > webhooks.MAX_BYTES:
        return HttpResponse(status=413)
    return HttpResponse(status=webhooks.receive(slug, raw, dict(request.headers)))

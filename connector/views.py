"""Doors for machines: liveness and readiness."""

from __future__ import annotations

from dataclasses import asdict

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from connector.services import health


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

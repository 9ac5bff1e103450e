"""Per-request settings: times are shown in the tenant's zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils import timezone


class TenantTimezoneMiddleware:
    """Activate the zone of the user's tenant (the first one, where there are several); UTC otherwise."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        zone: str | None = None
        if user is not None and user.is_authenticated and not request.path.startswith("/static/"):
            zone = user.tenants.order_by("pk").values_list("timezone", flat=True).first()
        with timezone.override(zoneinfo.ZoneInfo(zone) if zone else None):
            return self.get_response(request)

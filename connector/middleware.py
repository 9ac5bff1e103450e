"""What holds for every request: times in the tenant's zone, sessions that end."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any

import django_otp
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from connector import permissions
from connector.services import clock, sign_in


class TenantTimezoneMiddleware:
    """Activate the zone of the user's tenant (the first one, where there are several).

    The installation owner, who may have none of his own, sees the zone that all tenants share. Otherwise UTC.
    The page of a row chooses the zone of the row's tenant (admin/base.py).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        zone: str | None = None
        if user is not None and user.is_authenticated and not request.path.startswith("/static/"):
            zone = permissions.standing(user).zone
        with timezone.override(zoneinfo.ZoneInfo(zone) if zone else None):
            return self.get_response(request)


class PermissionsPolicyMiddleware:
    """Pages of the console use no camera, microphone, position, payment or USB device; nothing they load may, either."""

    POLICY = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", self.POLICY)
        return response


class TextOnlyMiddleware:
    """Refuses addresses, forms and cookies with the sign NUL: no text holds it, and the database would break on it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Cookies before anybody looks for a session by them: one in quotes may hold the sign as \\000."""
        if any("\x00" in value for value in request.COOKIES.values()):
            words = "Your browser sent a cookie with a sign that no text holds (NUL). Delete the cookies of this site.\n"
            return HttpResponse(words, status=400, content_type="text/plain; charset=utf-8")
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """After the check of the form's token, which has read the form already."""
        told = [request.GET]
        if request.method == "POST" and not getattr(view, "csrf_exempt", False):
            told.append(request.POST)
        if any("\x00" in text for fields in told for values in fields.lists() for text in (values[0], *values[1])):
            words = "What you entered holds a sign that no text holds (NUL). Go back, remove it, and send it again.\n"
            return HttpResponse(words, status=400, content_type="text/plain; charset=utf-8")
        return None


class SessionRulesMiddleware:
    """A session ends when nobody has been there for a while, and after its day in any case; it needs what was promised.

    Who has a second factor has shown it in this session; who must have one sets it up before anything else.

    What the page asks by itself (progress, results) is not a sign of a person: browsers say so in Sec-Fetch-Dest.
    """

    SAID = {
        "idle": "You were signed out after {} minutes without a click.",
        "old": "You were signed out: a session lasts {} hours at most.",
    }

    OPEN_WITHOUT = frozenset(
        f"admin:{name}" for name in ("second_factor", "logout", "login", "password_change", "password_change_done", "jsi18n")
    )
    """Pages for somebody who has to set up a second factor first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """After all other middleware, so that a message can be left for the sign-in page."""
        if not request.user.is_authenticated:
            return None
        now = clock.local_now()
        why = sign_in.is_over(request.session, now)
        if why:
            request.sign_out_reason = why  # type: ignore[attr-defined]
            logout(request)
            length = settings.SESSION_IDLE_MINUTES if why == "idle" else settings.SESSION_COOKIE_AGE // 3600
            messages.info(request, self.SAID[why].format(length))
            return None
        if request.headers.get("Sec-Fetch-Dest", "document") == "document":
            sign_in.remember_presence(request.session, now)
        return self._second_factor(request)

    def _second_factor(self, request: HttpRequest) -> HttpResponse | None:
        """Where to send somebody whose second factor is missing; None when all is well."""
        name = request.resolver_match.view_name if request.resolver_match else ""
        found = permissions.standing(request.user)
        held, demanded = found.factor, found.demanded
        if held:
            if request.session.get(django_otp.DEVICE_ID_SESSION_KEY) == held:
                return None
            request.sign_out_reason = "second factor"  # type: ignore[attr-defined]
            logout(request)
            messages.info(request, "Sign in again: this account has a second factor now.")
            return redirect_to_login(request.get_full_path() if request.method == "GET" else "/")
        if demanded and name not in self.OPEN_WITHOUT:
            return HttpResponseRedirect(reverse("admin:second_factor"))
        return None

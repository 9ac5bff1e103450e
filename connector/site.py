"""The console's admin site: unfold's, with our sign-in."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):  # type: ignore[misc]
    """Everybody has pages of his own; a changed password is written down."""

    def extra_urls(self) -> list[URLPattern]:
        """Everybody's own pages."""
        from connector.admin import account, sign_in  # need the models

        return [
            path("login/code/", never_cache(sign_in.code_step), name="sign_in_code"),
            path("account/roles/", self.admin_view(account.roles), name="roles"),
            path("account/second-factor/", self.admin_view(account.second_factor_page), name="second_factor"),
            path("account/", self.admin_view(account.account), name="account"),
            path("account/sign-out/", self.admin_view(account.sign_out_everywhere), name="account_sign_out"),
        ]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Unfold's page; behind it our first step instead of Django's whole sign-in."""
        from connector.admin.sign_in import PasswordStep

        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        context = {
            **self.each_context(request),
            "title": "Log in",
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        step = PasswordStep.as_view(
            extra_context=context, authentication_form=self.login_form, template_name=self.login_template or "admin/login.html"
        )
        answer: Any = never_cache(step)(request)
        return answer  # type: ignore[no-any-return]

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's page; a change is written down, and ends this person's other sessions (their hash no longer fits)."""
        answer: HttpResponse = super().password_change(request, extra_context)
        if request.method == "POST" and answer.status_code == 302:
            from connector.services import sign_in

            sign_in.note(request.user, "password_changed", actor=f"user:{request.user.get_username()}")
        return answer

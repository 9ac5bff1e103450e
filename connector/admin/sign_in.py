"""The two steps of signing in. Nobody is signed in before the last one.

Until then the session only remembers whose password was known.
"""

from __future__ import annotations

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.contrib import admin, messages
from django.contrib.auth import login, logout
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from connector.forms import CodeForm
from connector.services import second_factor, sign_in
from connector.services.second_factor import Verdict

SAID = {
    Verdict.WRONG: "This code is wrong, or it was used before. Wait for the next one in the app.",
    Verdict.WAIT: "That was too quick after a wrong code. Wait a few seconds and try the code that the app shows then.",
    Verdict.UNREADABLE: "The stored second factor cannot be opened with the present keys of this installation. "
    "A recovery code works; or an administrator resets it.",
}


class PasswordStep(LoginView):
    """Name and password. Who has a second factor goes on to the code; everybody else is in."""

    def form_valid(self, form: Any) -> HttpResponse:
        """The password was right."""
        user = form.get_user()
        if second_factor.of(user) is None:
            return super().form_valid(form)
        if self.request.user.is_authenticated:
            logout(self.request)
        sign_in.remember_password(self.request, user, self.get_success_url())
        return HttpResponseRedirect(reverse("admin:sign_in_code"))


def code_step(request: HttpRequest) -> HttpResponseBase:
    """The code of the app, or one on paper. Wrong ones count like wrong passwords."""
    user = sign_in.who_knew_the_password(request)
    if user is None:
        if not request.user.is_authenticated:
            messages.info(request, "Sign in with name and password first.")
        return HttpResponseRedirect(reverse("admin:login"))
    form = CodeForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        credentials = {"username": user.get_username()}
        if not AxesProxyHandler.is_allowed(request, credentials):
            request.axes_locked_out = True  # type: ignore[attr-defined]
            request.axes_credentials = credentials  # type: ignore[attr-defined]
            return HttpResponse(status=429)  # axes' middleware puts its page here
        verdict = second_factor.verify(user, form.cleaned_data["code"])
        if verdict.good:
            return _enter(request, user, verdict)
        if verdict is Verdict.WRONG:
            user_login_failed.send(sender=__name__, credentials=credentials, request=request)
        form.add_error("code", SAID[verdict])
        form.data = {}  # what was typed is not shown again
    context = admin.site.each_context(request) | {"title": "Second factor", "form": form, "who": user.get_username()}
    return TemplateResponse(request, "connector/code.html", context)


def _enter(request: HttpRequest, user: Any, verdict: Verdict) -> HttpResponse:
    """Both steps are done: now there is a session."""
    after = sign_in.forget_password(request)
    user.otp_device = second_factor.of(user)  # django-otp stores it in the session when login() sends its signal
    user.signed_in_by = verdict.value
    login(request, user, backend=sign_in.BACKEND)
    if verdict is Verdict.RECOVERY:
        left = second_factor.codes_left(user)
        messages.warning(request, f"That recovery code is used up; {left} are left. If the app is lost, set up a new one.")
        after = reverse("admin:second_factor")
    return HttpResponseRedirect(after)

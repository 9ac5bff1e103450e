"""Everybody's own pages: what I may do here, my password, my second factor, my sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_otp
from django.contrib import admin, messages
from django.contrib.auth import authenticate, update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from connector import permissions
from connector.admin.base import actor_of
from connector.admin.sign_in import SAID
from connector.forms import CodeForm, PasswordForm
from connector.models import Membership
from connector.models.connections import UnreadableSecret
from connector.services import second_factor, sign_in


def account_page(request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
    """A page inside the console's frame that belongs to whoever is signed in."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})


@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Roles, password, sessions of whoever is signed in."""
    roles = Membership.objects.filter(user=request.user.pk).select_related("tenant").order_by("tenant__name")
    factor = second_factor.of(request.user)  # type: ignore[arg-type]
    return account_page(request, "connector/account.html", title="My account", roles=roles, factor=factor)


@require_safe
def roles(request: HttpRequest) -> HttpResponse:
    """What each role may do, for everybody."""
    rights = permissions.rights_by_role()
    mine = Membership.objects.filter(user=request.user.pk).select_related("tenant").order_by("tenant__name")
    names = [role for role, _ in rights[0][1]]
    return account_page(request, "connector/roles.html", title="Roles", rights=rights, roles=names, mine=mine)


@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all other sessions of whoever is signed in; this one gets a new key."""
    sign_in.end_sessions(request.user, actor_of(request), "own wish")  # type: ignore[arg-type]
    update_session_auth_hash(request, request.user)  # type: ignore[arg-type]
    messages.success(request, "You are signed out everywhere else.")
    return HttpResponseRedirect(reverse("admin:account"))


def second_factor_page(request: HttpRequest) -> HttpResponse:
    """Set up, replace or turn off one's own second factor. What changes something comes by POST, with the password."""
    did = {"begin": _begin, "confirm": _confirm, "cancel": _cancel, "codes": _codes, "turn-off": _turn_off}
    if request.method == "POST":
        act = did.get(request.POST.get("act", ""))
        if act is None:
            raise Http404
        return act(request)
    return _second_factor(request)


def _second_factor(request: HttpRequest, problem: str = "", codes: Sequence[str] = ()) -> TemplateResponse:
    user: Any = request.user
    try:
        set_up = second_factor.set_up(user)
    except UnreadableSecret as error:
        set_up, problem = None, str(error)
    return account_page(
        request,
        "connector/second_factor.html",
        title="Second factor",
        factor=second_factor.of(user),
        set_up=set_up,
        codes=codes,
        codes_left=second_factor.codes_left(user),
        demanding=second_factor.demanding(user),
        problem=problem,
    )


def _knows_password(request: HttpRequest) -> bool:
    """Asked again through the same door as at sign-in, so that guesses are counted."""
    form = PasswordForm(request.POST)
    if not form.is_valid():
        return False
    found = authenticate(request, username=request.user.get_username(), password=form.cleaned_data["password"])
    return found is not None and found.pk == request.user.pk


WRONG_PASSWORD = "This is not your password."


def _begin(request: HttpRequest) -> HttpResponse:
    if not _knows_password(request):
        return _second_factor(request, WRONG_PASSWORD)
    second_factor.begin(request.user)  # type: ignore[arg-type]
    return HttpResponseRedirect(reverse("admin:second_factor"))


def _cancel(request: HttpRequest) -> HttpResponse:
    second_factor.cancel(request.user)  # type: ignore[arg-type]
    return HttpResponseRedirect(reverse("admin:second_factor"))


def _confirm(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _second_factor(request, "Type the code that the app shows.")
    try:
        verdict, codes = second_factor.confirm(user, form.cleaned_data["code"], actor_of(request))
    except UnreadableSecret as error:
        return _second_factor(request, str(error))
    if not verdict.good:
        return _second_factor(request, SAID[verdict])
    # All sessions have ended, but this one goes on: it has just shown a code.
    update_session_auth_hash(request, user)
    django_otp.login(request, second_factor.of(user))
    return _second_factor(request, codes=codes)


def _codes(request: HttpRequest) -> HttpResponse:
    if not _knows_password(request):
        return _second_factor(request, WRONG_PASSWORD)
    return _second_factor(request, codes=second_factor.new_recovery_codes(request.user, actor_of(request)))  # type: ignore[arg-type]


def _turn_off(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if second_factor.demanding(user).exists():
        return _second_factor(request, "A tenant of yours requires a second factor: it can be replaced, not turned off.")
    if not _knows_password(request):
        return _second_factor(request, WRONG_PASSWORD)
    second_factor.remove(user, actor_of(request), "second_factor_turned_off")
    update_session_auth_hash(request, user)
    request.session.pop(django_otp.DEVICE_ID_SESSION_KEY, None)
    messages.success(request, "The second factor is off. A password alone opens your account now.")
    return HttpResponseRedirect(reverse("admin:second_factor"))

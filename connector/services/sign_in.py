"""Signing in: how often somebody may fail, how long a session lasts, and what of it is written down.

django-axes counts failures in the database, for a name at an address: so every process sees the same count, a stranger
elsewhere cannot shut a person out, and no address alone can shut out a whole office. A lock ends by itself.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
from dataclasses import dataclass
from typing import Any

from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.db.models import F, Sum
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from connector.models import Membership, User
from connector.services import audit, clock

logger = logging.getLogger(__name__)

SIGNED_IN_AT = "signed_in_at"
SEEN_AT = "seen_at"
PASSWORD_PASSED = "password_passed"
PASSWORD_LASTS_S = 300
"""So long after the password the code may be typed."""
BACKEND = "django.contrib.auth.backends.ModelBackend"
SEEN_EVERY_S = 60
"""A session is written at most this often to remember that its person is there."""


# -- who asks ----------------------------------------------------------------------------------------


def client_address(request: HttpRequest) -> str | None:
    """The address that a sign-in comes from; of IPv6 the network, because one person has all of it.

    X-Forwarded-For is believed for as many entries as there are proxies of ours (TRUST_X_FORWARDED_FOR), counted from
    the right: what stands further left anybody may have written.
    """
    told = request.META.get("REMOTE_ADDR", "")
    entries = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    trusted = settings.TRUST_X_FORWARDED_FOR
    if trusted > 0 and len(entries) >= trusted:
        told = entries[-trusted]
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, 64), strict=False).network_address)
    return str(address)


def digest_of_name(name: str) -> str:
    """What the counter keeps of a name. People type passwords into the wrong field, so the text itself is not stored."""
    return salted_hmac("connector.sign_in", name, algorithm="sha256").hexdigest()


def counted_name(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """The name under which axes counts (AXES_USERNAME_CALLABLE)."""
    name = (credentials or {}).get("username")
    if name is None and request is not None:
        name = request.POST.get("username")
    return digest_of_name(str(name or ""))


# -- locks -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lock:
    """Sign-in with a name rests at an address until then."""

    address: str | None
    until: dt.datetime


def locks(name: str) -> list[Lock]:
    """Where sign-in with this name rests at present."""
    rest = dt.timedelta(minutes=settings.SIGN_IN_REST_MINUTES)
    failures: dict[str | None, int] = {}
    last: dict[str | None, dt.datetime] = {}
    # The web process's clock, as axes uses it.
    since = dt.datetime.now(dt.UTC) - rest
    rows = AccessAttempt.objects.filter(username=digest_of_name(name), attempt_time__gte=since)
    for address, count, at in rows.values_list("ip_address", "failures_since_start", "attempt_time"):
        failures[address] = failures.get(address, 0) + count
        last[address] = max(at, last.get(address, at))
    return [Lock(a, last[a] + rest) for a, count in failures.items() if count >= settings.SIGN_IN_ATTEMPTS]


def resting_names() -> list[str]:
    """Names of users whose sign-in rests somewhere at present. One query while nothing rests."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=settings.SIGN_IN_REST_MINUTES)
    counted = AccessAttempt.objects.filter(attempt_time__gte=since).order_by().values("username", "ip_address")
    shut = set(
        counted.annotate(n=Sum("failures_since_start"))
        .filter(n__gte=settings.SIGN_IN_ATTEMPTS)
        .values_list("username", flat=True)
    )
    if not shut:
        return []
    return [name for name in User.objects.values_list("username", flat=True) if digest_of_name(name) in shut]


def minutes_left(name: str, address: str | None) -> int:
    """Whole minutes until sign-in with this name at this address goes on; at least 1."""
    until = [lock.until for lock in locks(name) if lock.address == address]
    left = (max(until) - dt.datetime.now(dt.UTC)).total_seconds() if until else 0
    return max(1, int(-(-left // 60)))


def unlock(user: User, actor: str) -> int:
    """Forget the failures of this name everywhere. Returns how many addresses were shut."""
    shut = len(locks(user.get_username()))
    found, _ = AccessAttempt.objects.filter(username=digest_of_name(user.get_username())).delete()
    if found:
        note(user, "sign_in_unlocked", {"addresses": shut}, actor=actor)
    return shut


# -- between password and code -----------------------------------------------------------------------


def remember_password(request: HttpRequest, user: User, after: str) -> None:
    """This visitor knew the user's password, which is not enough yet. The session gets a new key here, too."""
    request.session.cycle_key()
    request.session[PASSWORD_PASSED] = {
        "user": user.pk,
        "hash": user.get_session_auth_hash(),
        "at": clock.local_now().timestamp(),
        "after": after,
    }


def who_knew_the_password(request: HttpRequest) -> User | None:
    """Whose code is to be asked for; None when nobody's, or it is too long ago, or the password has changed since."""
    held = request.session.get(PASSWORD_PASSED)
    if not held or clock.local_now().timestamp() - held["at"] > PASSWORD_LASTS_S:
        return None
    user = User.objects.filter(pk=held["user"], is_active=True, is_staff=True).first()
    if user is None or not constant_time_compare(held["hash"], user.get_session_auth_hash()):
        return None
    return user


def forget_password(request: HttpRequest) -> str:
    """The second step is done. Returns where the visitor wanted to go."""
    after: str = request.session.pop(PASSWORD_PASSED)["after"]
    return after


# -- sessions ----------------------------------------------------------------------------------------


def end_sessions(user: User, actor: str, why: str) -> None:
    """Sign this person out everywhere. `user` is brought up to date, so that one session may be kept on purpose."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(session_version=F("session_version") + 1)
        user.refresh_from_db(fields=["session_version"])
        note(user, "signed_out_everywhere", {"why": why}, actor=actor)


def is_over(session: Any, now: dt.datetime) -> str:
    """Why a session has ended: "idle" (nobody was there), "old" (its day is over), or empty: it has not."""
    seen, begun = session.get(SEEN_AT), session.get(SIGNED_IN_AT)
    if begun is None or seen is None:
        return ""
    if now.timestamp() - begun > settings.SESSION_COOKIE_AGE:
        return "old"
    idle = settings.SESSION_IDLE_MINUTES * 60
    return "idle" if idle and now.timestamp() - seen > idle else ""


def remember_presence(session: Any, now: dt.datetime) -> None:
    """The person is there. Written once a minute at most: every write is a write to the database."""
    seen = session.get(SEEN_AT)
    if session.get(SIGNED_IN_AT) is None:
        session[SIGNED_IN_AT] = int(now.timestamp())
    if seen is None or now.timestamp() - seen >= SEEN_EVERY_S:
        session[SEEN_AT] = int(now.timestamp())


# -- what is written down ----------------------------------------------------------------------------


def note(user: Any, act: str, facts: dict[str, Any] | None = None, *, actor: str, address: str | None = None) -> None:
    """One entry in the history of each tenant of this person; an owner's stands in the installation's.

    The address is personal: it stands in the detail, which may be erased by rule.
    """
    detail = {"address": address} if address else None
    homes: list[Any] = [m.tenant for m in Membership.objects.filter(user=user).select_related("tenant")]
    if user.is_superuser or not homes:
        homes = [None]
    with transaction.atomic():
        for tenant in homes:
            audit.append(tenant, audit.Draft(act, facts or {}, obj=user, detail=detail, actor=actor))


@receiver(user_logged_in)
def _signed_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """Stamp the new session (Django has just given it a new key) and write down who came."""
    now = clock.local_now()
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = int(now.timestamp())
    facts = {"second_factor": getattr(user, "signed_in_by", "none")}
    note(user, "signed_in", facts, actor=f"user:{user.get_username()}", address=client_address(request))


@receiver(user_logged_out)
def _signed_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None and user.is_authenticated:
        why = getattr(request, "sign_out_reason", "")
        note(user, "signed_out", {"why": why} if why else {}, actor=audit.SYSTEM if why else f"user:{user.get_username()}")


def _knocks(request: HttpRequest) -> bool:
    """Whether this was refused unread, because the door was shut before: axes did not count it."""
    return bool(getattr(request, "axes_locked_out", False)) and getattr(request, "axes_failures_since_start", None) is None


@receiver(user_login_failed)
def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """A failure with a known name belongs to that person's history. An unknown name may be a password: it is not kept."""
    if request is None or _knocks(request):
        return
    address = client_address(request)
    user = User.objects.filter(username=credentials.get("username") or "").first()
    logger.warning("a sign-in failed (%s name) from %s", "known" if user else "unknown", address)
    if user is not None:
        note(user, "sign_in_failed", actor="somebody", address=address)


@receiver(user_locked_out)
def _locked(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    """The failure that shuts the door. Knocking at a shut door is not written down again."""
    if _knocks(request):
        return
    address = client_address(request)
    logger.warning("sign-in rests for %s minutes at %s", settings.SIGN_IN_REST_MINUTES, address)
    credentials = getattr(request, "axes_credentials", None) or {}
    user = User.objects.filter(username=credentials.get("username") or "").first()
    if user is not None:
        note(user, "sign_in_locked", {"minutes": settings.SIGN_IN_REST_MINUTES}, actor=audit.SYSTEM, address=address)

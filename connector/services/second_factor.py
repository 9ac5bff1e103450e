"""The second factor: set up, ask for, reset, require. A code is good once; wrong ones cost time (django-otp)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode

import segno
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_otp.oath import TOTP

from connector.models import RecoveryCode, SecondFactor, Tenant, User
from connector.models.connections import UnreadableSecret
from connector.services import audit, clock, sign_in

ISSUER = "ml-connector"
KEY_BYTES = 20
TOLERANCE = 1
"""Steps of 30 s that a phone's clock may be early or late."""
RECOVERY_CODES = 10
RECOVERY_BYTES = 10


class Verdict(Enum):
    """What came of a code."""

    APP = "app"
    RECOVERY = "recovery code"
    WRONG = "wrong"
    WAIT = "wait"
    UNREADABLE = "unreadable"

    @property
    def good(self) -> bool:
        return self in (Verdict.APP, Verdict.RECOVERY)


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a person needs to add the account to an app: the picture, and the key to type where there is no camera."""

    picture: str
    key: str


def of(user: User) -> SecondFactor | None:
    """The person's second factor, if one is in use."""
    found: SecondFactor | None = SecondFactor.objects.filter(user=user, confirmed=True).first()
    return found


def demanding(user: Any) -> QuerySet[Tenant]:
    """Tenants that want a second factor of this person. An owner sees all of them, so he owes it to each."""
    wanting = Tenant.objects.filter(second_factor_required=True)
    return wanting if user.is_superuser else wanting.filter(memberships__user=user.pk)


# -- setting up --------------------------------------------------------------------------------------


def begin(user: User) -> None:
    """Make a key for a new app. What is in use stays in use until `confirm`."""
    with transaction.atomic():
        factor, _ = SecondFactor.objects.select_for_update().get_or_create(user=user)
        SecondFactor.objects.filter(pk=factor.pk).update(pending_key=secrets.token_hex(KEY_BYTES))


def cancel(user: User) -> None:
    """Forget a key that was never confirmed."""
    SecondFactor.objects.filter(user=user).update(pending_key="")


def set_up(user: User) -> SetUp | None:
    """What to point the app at, while a set-up is under way. Raises UnreadableSecret."""
    factor = SecondFactor.objects.filter(user=user).first()
    if factor is None or not factor.pending_key:
        return None
    key = base64.b32encode(SecondFactor.opened(factor.pending_key)).decode()
    label = quote(f"{ISSUER}:{user.get_username()}")
    told = urlencode({"secret": key, "issuer": ISSUER, "algorithm": "SHA1", "digits": 6, "period": 30})
    picture = segno.make(f"otpauth://totp/{label}?{told}", error="m").svg_data_uri(scale=5, border=4, light="white")
    return SetUp(picture, " ".join(key[i : i + 4] for i in range(0, len(key), 4)))


def confirm(user: User, code: str, actor: str) -> tuple[Verdict, list[str]]:
    """The first code of the new app: from now on it is asked for. Returns recovery codes, which are shown this once.

    All sessions of the person end with it (his own is kept by the caller). Raises UnreadableSecret.
    """
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user).first()
        if factor is None or not factor.pending_key:
            return Verdict.WRONG, []
        if not factor.verify_is_allowed()[0]:
            return Verdict.WAIT, []
        step = _step(SecondFactor.opened(factor.pending_key), code, -1)
        if step is None:
            _count_failure(factor)
            return Verdict.WRONG, []
        replaced = factor.confirmed
        changes = {"key": factor.pending_key, "pending_key": "", "confirmed": True, "last_t": step}
        changes |= {"throttling_failure_count": 0, "throttling_failure_timestamp": None, "last_used_at": timezone.now()}
        SecondFactor.objects.filter(pk=factor.pk).update(**changes)
        codes = _make_codes(factor)
        sign_in.note(user, "second_factor_replaced" if replaced else "second_factor_set_up", actor=actor)
        sign_in.end_sessions(user, actor, "new second factor")
    return Verdict.APP, codes


def new_recovery_codes(user: User, actor: str) -> list[str]:
    """Ten new ones; the old ones are worth nothing from now on."""
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user, confirmed=True).first()
        if factor is None:
            return []
        codes = _make_codes(factor)
        sign_in.note(user, "recovery_codes_made", actor=actor)
    return codes


def codes_left(user: User) -> int:
    """How many recovery codes are good still."""
    return RecoveryCode.objects.filter(factor__user=user, used_at=None).count()


def _make_codes(factor: SecondFactor) -> list[str]:
    RecoveryCode.objects.filter(factor=factor).delete()
    plain = [base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create([RecoveryCode(factor=factor, digest=_digest(code)) for code in plain])
    return ["-".join(code[i : i + 4] for i in range(0, len(code), 4)) for code in plain]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


# -- asking ------------------------------------------------------------------------------------------


def verify(user: User, code: str) -> Verdict:
    """Take a code of the app, or one on paper. The row is locked meanwhile: two requests never use the same code."""
    code = "".join(code.split()).replace("-", "").lower()
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user, confirmed=True).first()
        if factor is None:
            return Verdict.WRONG
        if not factor.verify_is_allowed()[0]:
            return Verdict.WAIT
        changes: dict[str, Any] = {"throttling_failure_count": 0, "throttling_failure_timestamp": None}
        changes["last_used_at"] = timezone.now()
        if len(code) == 6 and code.isdecimal():
            try:
                step = _step(SecondFactor.opened(factor.key), code, factor.last_t)
            except UnreadableSecret:
                return Verdict.UNREADABLE
            if step is not None:
                SecondFactor.objects.filter(pk=factor.pk).update(**changes, last_t=step)
                return Verdict.APP
        elif factor.recovery_codes.filter(digest=_digest(code), used_at=None).update(used_at=timezone.now()):
            SecondFactor.objects.filter(pk=factor.pk).update(**changes)
            return Verdict.RECOVERY
        _count_failure(factor)
        return Verdict.WRONG


def _step(key: bytes, code: str, last_t: int) -> int | None:
    """The time step that a code belongs to; None when it is wrong or was used before."""
    code = "".join(code.split())
    if len(code) != 6 or not (code.isascii() and code.isdecimal()):
        return None
    totp = TOTP(key)
    totp.time = clock.local_now().timestamp()
    return int(totp.t()) if totp.verify(int(code), TOLERANCE, last_t + 1) else None


def _count_failure(factor: SecondFactor) -> None:
    factor.throttle_increment(commit=False)
    factor.save(update_fields=["throttling_failure_count", "throttling_failure_timestamp"])


# -- taking away and requiring -----------------------------------------------------------------------


def remove(user: User, actor: str, act: str = "second_factor_reset") -> bool:
    """Take the second factor away, with its recovery codes, and end all sessions. Returns whether there was one."""
    with transaction.atomic():
        had: bool = SecondFactor.objects.filter(user=user, confirmed=True).exists()
        SecondFactor.objects.filter(user=user).delete()
        if had:
            sign_in.note(user, act, actor=actor)
            sign_in.end_sessions(user, actor, "second factor taken away")
    return had


def require(tenant: Tenant, on: bool, actor: str) -> bool:
    """Everybody with a role at this tenant needs one, or no longer. Returns whether that is new."""
    with transaction.atomic():
        changed = Tenant.objects.filter(pk=tenant.pk, second_factor_required=not on).update(second_factor_required=on)
        if changed:
            act = "second_factor_required" if on else "second_factor_not_required"
            audit.append(tenant, audit.Draft(act, obj=tenant, actor=actor))
    tenant.second_factor_required = on
    return bool(changed)

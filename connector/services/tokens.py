"""One token per login, shared by all processes, renewed by one of them at a time (DESIGN 4).

The lease stands on the token's row. Commit 1 takes it and counts the request; the HTTP call runs without
transaction and without lock; commit 2 stores the token, the refusal or the host's penalty. A row lock held
over the call would block every other writer of SQLite, and a rollback would forget the count.
"""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, Q, Value, When
from django.utils.crypto import salted_hmac

from connector.models import TokenRow
from connector.services import clock
from connector.services.database import release_connection
from integrations.base.context import Token
from integrations.base.errors import ConfigurationError, IntegrationError, NotSent, RateLimited, Unavailable

RENEWAL_LEASE_S = 75.0
WAIT_S = 65.0

_memory: dict[str, tuple[str, float]] = {}
_dropped: dict[str, str] = {}
_told: set[tuple[str, int]] = set()
"""Which connection uses which login, as far as this process has written it down."""
_lock = threading.Lock()


def fingerprint(host: str, *identity: str) -> str:
    """A keyed hash that tells logins apart without telling what they are."""
    return salted_hmac("connector.tokens", "\x00".join((host, *identity)), algorithm="sha256").hexdigest()


def margin_s(life_s: float) -> float:
    """How long before its end a token is renewed: the smaller of 60 s and 20 % of its life."""
    return min(60.0, 0.2 * life_s)


class DatabaseTokenCache:
    """Implements `TokenCache` for one login."""

    def __init__(self, key: str, host: str, *, connection: int | None = None, ask_anew: bool = False) -> None:
        """`connection`: whose login it is, for the dashboard.

        `ask_anew`: a person wants to know how things stand now, so a remembered refusal does not count.
        """
        self.key = key
        self.host = host
        self.connection = connection
        self._ask_anew = ask_anew

    def token(self, fetch: Callable[[], Token]) -> str:
        """A good token; see `TokenCache`. Raises ConfigurationError (refused), RateLimited (penalty), Unavailable."""
        with _lock:
            remembered, until = _memory.get(self.key, ("", 0.0))
        if remembered and time.monotonic() < until:
            return remembered
        if self._ask_anew:
            self._ask_anew = False
            forget_refusal(self.key)
        owner = uuid.uuid4()
        deadline = time.monotonic() + WAIT_S
        pause = 0.05
        while True:
            row = self._row()
            self._raise_refusal(row)
            value = self._value(row)
            if value and row.fresh:
                self._remember(value, row.renew_in_s)
                return value
            if self._lease(row, owner):
                return self._renew(owner, fetch, value if row.alive else "")
            if value and row.alive:
                return value
            if time.monotonic() > deadline:
                raise Unavailable("Another process is renewing the token and does not finish.", code="token_wait")
            # The renewer needs a connection to store the token: waiters must not hold all of the pool.
            release_connection()
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 1.5, 0.5)

    def drop(self, value: str) -> None:
        """The vendor refused this token: renew at the next use, unless it was renewed meanwhile."""
        with _lock:
            # A thread that read the row a moment ago must not bring it back.
            _dropped[self.key] = value
            if _memory.get(self.key, ("",))[0] == value:
                del _memory[self.key]
        row = TokenRow.objects.filter(fingerprint=self.key).first()
        if row is not None and self._value(row) == value:
            TokenRow.objects.filter(pk=row.pk, version=row.version).update(expires_at=clock.at(-1), renew_after=clock.at(-1))

    # -- parts -----------------------------------------------------------------------------------------

    def _row(self) -> Any:
        """The row with the database's judgement of its times (columns fresh, alive, refused, cooling)."""
        judged = TokenRow.objects.annotate(
            db_now=clock.at(),
        )
        row: Any = judged.filter(fingerprint=self.key).first()
        if row is None:
            TokenRow.objects.get_or_create(fingerprint=self.key, defaults={"host": self.host})
            row = judged.get(fingerprint=self.key)
        if self.connection is not None and (self.key, self.connection) not in _told:
            row.connections.add(self.connection)
            _told.add((self.key, self.connection))
        now = row.db_now
        row.fresh = bool(row.renew_after and row.renew_after > now)
        row.alive = bool(row.expires_at and row.expires_at > now)
        row.renew_in_s = (row.renew_after - now).total_seconds() if row.renew_after else 0.0
        row.now = now
        return row

    @staticmethod
    def _value(row: TokenRow) -> str:
        """The token, or nothing when the present keys do not open it (then it is simply asked for again)."""
        text = row.token_text or ""
        return str(json.loads(text)["token"]) if text.startswith("{") else ""

    def _remember(self, value: str, seconds: float) -> None:
        with _lock:
            if _dropped.get(self.key) == value:
                return
            _memory[self.key] = (value, time.monotonic() + max(0.0, min(seconds, 30.0)))

    def _raise_refusal(self, row: Any) -> None:
        if row.refused_until and row.refused_until > row.now and row.refusal:
            raise ConfigurationError(
                row.refusal.get("message", "The login was refused."),
                code=row.refusal.get("code", "token_refused"),
                remedy=row.refusal.get("remedy", ""),
                vendor=row.refusal.get("vendor", ""),
                vendor_code=row.refusal.get("vendor_code", ""),
                vendor_text=row.refusal.get("vendor_text", ""),
                status=row.refusal.get("status"),
            )
        if row.cool_until and row.cool_until > row.now:
            seconds = (row.cool_until - row.now).total_seconds()
            raise RateLimited(
                f"The shared address rests until {row.cool_until:%H:%M} UTC.",
                retry_after_s=seconds,
                code="token_penalty",
                remedy="Nothing to do: the vendor limits logins per address; work goes on by itself.",
            )

    def _lease(self, row: Any, owner: uuid.UUID) -> bool:
        """Commit 1: reserve the renewal and count it. True for exactly one caller.

        `version` unchanged: nobody has had an answer since we looked.
        """
        today = row.now.date()
        free = Q(lease_until__isnull=True) | Q(lease_until__lt=clock.at())
        with transaction.atomic():
            hit = TokenRow.objects.filter(free, pk=row.pk, version=row.version).update(
                lease_owner=owner,
                lease_until=clock.at(RENEWAL_LEASE_S),
                requests_today=Case(When(requests_day=today, then=F("requests_today") + 1), default=Value(1)),
                requests_day=today,
                requests_total=F("requests_total") + 1,
            )
        return bool(hit)

    def _renew(self, owner: uuid.UUID, fetch: Callable[[], Token], old: str) -> str:
        release_connection()
        started = time.monotonic()
        try:
            token = fetch()
        except ConfigurationError as error:
            self._store(
                owner,
                refused_at=clock.at(),
                refused_until=clock.at(settings.ENGINE["REFUSAL_S"]),
                refusal=error.as_dict() | {"code": error.code},
                token_text="",
                expires_at=None,
                renew_after=None,
            )
            raise
        except RateLimited as error:
            self._store(owner, cool_until=clock.at(max(error.retry_after_s, 0.05)))
            if old:
                return old
            raise
        except IntegrationError as error:
            self._store(owner)
            if old:
                return old
            if isinstance(error, Unavailable):
                # Without a token nothing was sent: a proven refusal, also for a purchase.
                raise NotSent(error.message, **_details(error)) from error
            raise
        except BaseException:
            self._store(owner)
            raise
        life = max(token.expires_in_s - (time.monotonic() - started), 0.0)
        renew = max(life - margin_s(life), 0.0)
        self._store(
            owner,
            always=True,
            token_text=json.dumps({"token": token.value}),
            issued_at=clock.at(),
            expires_at=clock.at(life),
            renew_after=clock.at(renew),
            refused_at=None,
            refused_until=None,
            refusal=None,
            cool_until=None,
        )
        self._remember(token.value, renew)
        return token.value

    def _store(self, owner: uuid.UUID, *, always: bool = False, **values: Any) -> None:
        """Commit 2. A token is stored even by a renewer whose lease has lapsed: it is good."""
        rows = TokenRow.objects.filter(fingerprint=self.key)
        if not always:
            rows = rows.filter(lease_owner=owner)
        rows.update(lease_owner=None, lease_until=None, version=F("version") + 1, **values)


def _details(error: IntegrationError) -> dict[str, Any]:
    told = error.as_dict()
    return {k: told[k] for k in ("code", "remedy", "vendor", "operation", "status", "vendor_code", "vendor_text") if k in told}


def forget_refusal(key: str) -> None:
    """A person acted: the next call may ask again."""
    TokenRow.objects.filter(fingerprint=key).update(refused_at=None, refused_until=None, refusal=None)


def forget_memory() -> None:
    """Drop what this process remembers (tests; after a fork)."""
    with _lock:
        _memory.clear()
        _dropped.clear()
        _told.clear()

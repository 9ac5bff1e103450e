"""Everything that services give to an adapter, in memory: for the vendors' own tests, without a database.

    context = context_for(VENDOR, {"base": server.url}, {"client_id": "a", "client_secret": "s3cret"})
    adapter = Adapter(context)
    with recording(MemoryRecorder()):
        list(adapter.ping())

The caches behave as the real ones do as far as a vendor can see: one token per login, renewed shortly before it
ends, refusals remembered, rests obeyed.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from requests.auth import AuthBase

from integrations.base.context import Company, Context, ExchangeRecord, Token, TokenCache
from integrations.base.errors import ConfigurationError, RateLimited
from integrations.base.http import Http
from integrations.base.outbound import OutboundPolicy
from integrations.base.redact import Redactor, secret_headers
from integrations.base.roles import SendTicket
from integrations.base.transport import clock
from integrations.base.vendor import Timeouts, Vendor

REFUSAL_S = 60.0
"""A refused login is not tried again for this long."""

Now = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class MemoryTokenCache:
    """One token in memory. `fetches` counts renewals, `dropped` lists tokens that a 401 has ended."""

    def __init__(self, now: Now = utc_now) -> None:
        self.fetches = 0
        self.dropped: list[str] = []
        self._now = now
        self._lock = threading.RLock()
        self._value = ""
        self._good_until = now()
        self._refusal: tuple[dt.datetime, ConfigurationError | RateLimited] | None = None

    def token(self, fetch: Callable[[], Token]) -> str:
        with self._lock:
            if self._value and self._now() < self._good_until:
                return self._value
            if self._refusal and self._now() < self._refusal[0]:
                raise self._refusal[1]
            self.fetches += 1
            try:
                token = fetch()
            except (ConfigurationError, RateLimited) as error:
                rest = error.retry_after_s if isinstance(error, RateLimited) else REFUSAL_S
                self._refusal = (self._now() + dt.timedelta(seconds=rest), error)
                raise
            early = min(60.0, 0.2 * token.expires_in_s)
            self._refusal = None
            self._value = token.value
            self._good_until = self._now() + dt.timedelta(seconds=token.expires_in_s - early)
            return token.value

    def drop(self, value: str) -> None:
        with self._lock:
            self.dropped.append(value)
            if value == self._value:
                self._value = ""


class MemoryThrottle:
    """Counts calls per limit and obeys rests; the manifest's own rates are not enforced, so tests stay quick."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.rests: list[tuple[str, float]] = []
        self._until: dict[str, float] = {}

    def take(self, names: tuple[str, ...]) -> None:
        for name in names:
            wait = self._until.get(name, 0.0) - clock()
            if wait > 0:
                raise RateLimited(f"{name} rests", retry_after_s=wait)
        self.taken.update(names)

    def rest(self, name: str, seconds: float) -> None:
        self.rests.append((name, seconds))
        self._until[name] = max(self._until.get(name, 0.0), clock() + seconds)


@dataclass
class MemoryRecorder:
    """Keeps what it is given. `before_send` runs in `may_send` and may raise or take its time."""

    correlation_id: str = "test"
    exchanges: list[ExchangeRecord] = field(default_factory=list)
    answers: list[tuple[SendTicket, ExchangeRecord, str, int]] = field(default_factory=list)
    asked: list[SendTicket] = field(default_factory=list)
    before_send: Callable[[SendTicket], None] | None = None

    def record(self, exchange: ExchangeRecord) -> None:
        self.exchanges.append(exchange)

    def answer_received(self, ticket: SendTicket, exchange: ExchangeRecord, raw: str, status: int) -> None:
        self.answers.append((ticket, exchange, raw, status))

    def may_send(self, ticket: SendTicket) -> None:
        self.asked.append(ticket)
        if self.before_send is not None:
            self.before_send(ticket)


@dataclass(frozen=True, kw_only=True)
class MemoryContext(Context):
    """A `Context` whose inner parts a test can look at. `tokens` holds one cache per login."""

    throttle: MemoryThrottle
    redactor: Redactor
    tokens: dict[tuple[str, ...], MemoryTokenCache]


def merged(defaults: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """`told` over `defaults`, key by key, down into mappings that both have."""
    result = dict(defaults)
    for key, value in told.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def context_for(
    vendor: Vendor,
    urls: Mapping[str, str],
    credentials: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    companies: Iterable[Company] = (),
    now: Now | None = None,
    allow: Iterable[str] = ("1",),
) -> MemoryContext:
    """A context for one connection of `vendor`, talking real HTTP to `urls` (or to what `responses` puts there).

    `settings` are laid over the vendor's defaults; `settings["timeouts"]` over its `timeouts`. `allow` is
    ALLOW_PRIVATE_HOSTS: by default loopback simulators over plain http are reachable.
    """
    secrets = dict(credentials or {})
    whole = merged(vendor.settings_defaults, settings or {})
    base = vendor.timeouts
    times = {"connect_s": base.connect_s, "read_s": base.read_s, "total_s": base.total_s} | dict(whole.get("timeouts", {}))
    redactor = Redactor(
        [value for key, value in secrets.items() if key in vendor.secret_keys] + secret_headers(whole.get("extra_headers")),
        vendor.redact_keys,
        vendor.bulky_keys,
        identities=[
            value for key, value in secrets.items() if key in vendor.credential_identity and key not in vendor.secret_keys
        ],
    )
    throttle = MemoryThrottle()
    tokens: dict[tuple[str, ...], MemoryTokenCache] = {}
    policy = OutboundPolicy(allow)
    clock_now = now or utc_now

    def http(url_key: str, auth: AuthBase | None) -> Http:
        made = Http(
            vendor,
            urls[url_key],
            frozenset(urls.values()),
            auth,
            Timeouts(**times),
            throttle,
            redactor,
            policy,
            whole.get("extra_headers", {}),
        )
        made.connection = f"test-{vendor.slug}"
        return made

    def token_cache(*identity: str) -> TokenCache:
        return tokens.setdefault(identity, MemoryTokenCache(clock_now))

    return MemoryContext(
        connection=f"test-{vendor.slug}",
        vendor=vendor,
        urls=dict(urls),
        credentials=secrets,
        settings=whole,
        companies=tuple(companies),
        now=clock_now,
        http=http,
        token_cache=token_cache,
        throttle=throttle,
        redactor=redactor,
        tokens=tokens,
    )

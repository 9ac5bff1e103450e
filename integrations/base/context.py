"""What an adapter is given to do its work: where, as whom, with which settings, through which HTTP layer.

The services build a `Context`; vendors see only this module's types. Tests build one by hand
(`integrations.base.testing.context_for`). Nothing here imports Django.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from integrations.base.records import Address
from integrations.base.roles import SendTicket
from integrations.base.vendor import Vendor

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from integrations.base.http import Http


@dataclass(frozen=True, slots=True)
class CompanySite:
    """One site as the operator entered it; `address` None for a bare code."""

    code: str
    timezone: str = "UTC"
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """One company code that the connection may touch, with its sites and accounting defaults."""

    code: str
    sites: tuple[CompanySite, ...] = ()
    cost_center: str = ""
    freight_account: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token as the vendor gave it, with its life in seconds from now."""

    value: str
    expires_in_s: float


class TokenCache(Protocol):
    """One token shared by all processes: one renewal at a time, refusals remembered for at least 60 s."""

    def token(self, fetch: Callable[[], Token]) -> str:
        """A token that is good now. Calls `fetch` (which does the HTTP call) only when this process may renew.

        `fetch` raises ConfigurationError for a refused login (remembered, re-raised to everybody without a
        call) and RateLimited for a penalty of the host (everybody waits). Both are raised to the caller.
        """

    def drop(self, value: str) -> None:
        """A resource call answered 401 to this token: the next `token()` renews it (only if it is still this one)."""


class Throttle(Protocol):
    """The connection's limits, shared by all processes."""

    def take(self, names: tuple[str, ...]) -> None:
        """Wait up to about two seconds for one call of each named limit, else raise RateLimited."""

    def rest(self, name: str, seconds: float) -> None:
        """The vendor said "too many" for this limit: nobody calls for that long."""


@dataclass(slots=True)
class ExchangeRecord:
    """One HTTP request and its answer with secrets and label bytes already removed. Times are aware UTC."""

    operation: str
    method: str
    url: str
    request_headers: dict[str, str]
    request_body: str
    started_at: dt.datetime
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    response_body: str = ""
    duration_ms: int = 0
    error: str = ""
    correlation_id: str = ""
    connection: str = ""


class Recorder(Protocol):
    """Where exchanges go. One per run or ping; found through `integrations.base.http.recording`."""

    correlation_id: str

    def record(self, exchange: ExchangeRecord) -> None:
        """Keep one finished exchange (also failed ones). Must not raise."""

    def answer_received(self, ticket: SendTicket, exchange: ExchangeRecord, raw: str, status: int) -> None:
        """The whole answer to a once-only send is here: commit `raw` (redacted by value, labels still in) now."""

    def may_send(self, ticket: SendTicket) -> None:
        """Last look after connect and TLS, before the first byte. Raises NotSent when it is too late."""


@dataclass(frozen=True)
class Context:
    """Everything an adapter needs. `http` and `token_cache` are factories bound to this connection.

    `http(url_key, auth)` gives the HTTP layer for one base URL. `token_cache(*identity)` gives the shared
    token for a login (identity = client id, secret and whatever else tells logins apart).
    `now()` is aware UTC and may be shifted by tests. `throttle` is the one that `http` takes from, for a client
    that reads a pause out of an answer's text; None where the maker of the context keeps it to itself. `documents()`
    are the kinds of documents that integrations take from this connection; empty where none says so.
    """

    connection: str
    vendor: Vendor
    urls: Mapping[str, str]
    credentials: Mapping[str, str]
    settings: Mapping[str, Any]
    companies: tuple[Company, ...]
    now: Callable[[], dt.datetime]
    http: Callable[[str, AuthBase | None], Http]
    token_cache: Callable[..., TokenCache]
    throttle: Throttle | None = None
    documents: Callable[[], frozenset[str]] = frozenset

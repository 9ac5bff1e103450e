"""How a request proves who sends it. Objects rather than headers: a ~/.netrc of the host replaces mere headers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from requests import PreparedRequest
from requests.auth import AuthBase

from integrations.base.context import Token, TokenCache

_fetching: ContextVar[bool] = ContextVar("fetching_token", default=False)


def fetching_token() -> bool:
    """Whether the present call serves to get a token, and so is no business call."""
    return _fetching.get()


@contextmanager
def _fetch() -> Iterator[None]:
    mark = _fetching.set(True)
    try:
        yield
    finally:
        _fetching.reset(mark)


class BearerAuth(AuthBase):
    """A bearer token from the shared cache; `fetch` makes the token call when this process is to renew.

    Signing raises what `TokenCache.token` raises: ConfigurationError for a refused login, RateLimited,
    Unavailable. On a 401 the HTTP layer calls `drop` and signs once more.
    """

    def __init__(self, cache: TokenCache, fetch: Callable[[], Token]) -> None:
        self._cache = cache
        self._fetch = fetch

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        with _fetch():
            token = self._cache.token(self._fetch)
        r.headers["Authorization"] = f"Bearer {token}"
        return r

    def drop(self, r: PreparedRequest) -> None:
        """The request `r` was answered 401: its token is no good any more."""
        self._cache.drop(r.headers["Authorization"].removeprefix("Bearer "))


class BasicAuth(AuthBase):
    """HTTP Basic in UTF-8, which requests' own class would encode as Latin-1 and refuse for other letters."""

    def __init__(self, username: str, password: str) -> None:
        self._pair = f"{username}:{password}"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers["Authorization"] = "Basic " + base64.b64encode(self._pair.encode()).decode("ascii")
        return r


class HeaderAuth(AuthBase):
    """A secret in a header of the vendor's own, such as `API-Key`."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers[self._name] = self._value
        return r


class NoAuth(AuthBase):
    """Nothing to prove: token endpoints that take the secret in the body."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        return r

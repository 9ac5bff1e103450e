"""The one way to a vendor: deadlines, safe repeats, tokens, limits, redaction and a record of every exchange.

Any HTTP status comes back as an `Answer`; what it means is the client's business. Only trouble on the way raises,
and the class tells what is known: `NotSent` (no byte of the request left), `Unavailable` (lost, may be repeated),
`OutcomeUnknown` (a once-only send that may have done its work).

    with recording(recorder):
        answer = http.request("GET", "/things", operation="list things", params={"$top": 5})

A request marked `once=ticket` is never repeated here (but for a 401, which means that nothing was executed),
travels on a new connection, passes `Recorder.may_send` between TLS and its first byte, and hands its answer to
`Recorder.answer_received` before the caller sees it. Under the `responses` library no socket is opened, so
these two looks before the first byte do not happen there, and nothing is *proven* not sent.
"""

from __future__ import annotations

import datetime as dt
import http.client
import json as jsonlib
import random
import re
import socket
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers, select_proxy
from urllib3.exceptions import HTTPError

from integrations.base.auth import BearerAuth, NoAuth, fetching_token
from integrations.base.context import ExchangeRecord, Recorder, Throttle
from integrations.base.drill import boundary
from integrations.base.errors import ConfigurationError, IntegrationError, NotSent, OutcomeUnknown, Rejected, Unavailable
from integrations.base.outbound import OutboundPolicy
from integrations.base.redact import Redactor
from integrations.base.roles import SendTicket
from integrations.base.transport import Deadline, GuardedAdapter, Wire, clock, shared_session, wired
from integrations.base.vendor import Timeouts, Vendor

MAX_BODY_BYTES = 20 * 1024 * 1024
REPEATS = 2
BACKOFF_S = 0.2
LONGEST_PAUSE_S = 5.0
"""A vendor that asks for a longer pause than this before a repeat is answered by the task's delay, not by waiting here."""
LONGEST_REST_S = 86_400.0

_REPEATABLE_STATUS = frozenset({502, 503, 504})
_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
_PIECE_BYTES = 64 * 1024
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.\-]*://", re.I)
_UNFIT = re.compile(r"[\x00-\x20\x7f\\#]")
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.I)
_DECIMAL_MARK = f"decimal:{uuid.uuid4().hex}:"
_DECIMAL_TEXT = re.compile(rf'"{_DECIMAL_MARK}([-0-9.]+)"')

Params = Mapping[str, Any] | Iterable[tuple[str, Any]]


@dataclass(frozen=True)
class Answer:
    """One complete answer of a vendor, whatever its status. Header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @cached_property
    def text(self) -> str:
        """The body as text: in its declared character set, else UTF-8; unreadable bytes become U+FFFD."""
        declared = get_encoding_from_headers(CaseInsensitiveDict(self.headers))
        kind = self.headers.get("Content-Type", "").lower()
        # requests assumes Latin-1 for any text without a charset, which holds for no vendor.
        charset = declared if declared and "charset" in kind else "utf-8-sig"
        try:
            return self.content.decode(charset, "replace")
        except LookupError:
            return self.content.decode("utf-8-sig", "replace")

    def json(self) -> Any:
        """The body as JSON with fractions as Decimal. Raises ValueError when it is not JSON."""
        try:
            try:
                return _parse_json(self.content)
            except UnicodeDecodeError:
                return _parse_json(self.text)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None


def _parse_json(content: bytes | str) -> Any:
    return jsonlib.loads(content, parse_float=Decimal, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def encode_json(value: Any) -> bytes:
    """`value` as UTF-8 JSON, Decimals with exactly their digits. Raises ValueError for NaN, TypeError for foreign types."""
    text = jsonlib.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_mark_decimal)
    return (_DECIMAL_TEXT.sub(r"\1", text) if _DECIMAL_MARK in text else text).encode()


def _mark_decimal(value: Any) -> str:
    # The C encoder knows no exact numbers; a marked string that loses its quotes afterwards is exact and fast.
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
    if not value.is_finite():
        raise ValueError(f"{value} cannot be sent as JSON")
    return f"{_DECIMAL_MARK}{value:f}"


def encode_params(params: Params) -> str:
    """A query string with %20 for spaces; members that are None are left out. `$` stays, as OData options are written."""
    pairs = params.items() if isinstance(params, Mapping) else params
    told = [(key, str(value).lower() if isinstance(value, bool) else value) for key, value in pairs if value is not None]
    return urlencode(told, quote_via=quote, safe="$")


def origin(url: str) -> str:
    """Scheme, host and port of a URL, in one spelling ("https://acme.example:443"). Raises ValueError."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.').lower()}:{port}"


def retry_after_s(answer: Answer) -> float | None:
    """Seconds of a Retry-After header, given as a number or a date; None if there is none or it is not readable.

    A date is taken relative to the answer's own Date, so that a wrong clock on either side does no harm.
    """
    told = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", told):
        return min(float(told), LONGEST_REST_S)
    with suppress(ValueError, TypeError):
        until = _http_date(told)
        with suppress(ValueError, TypeError):
            return _bounded_rest(until - _http_date(answer.headers.get("Date", "")))
        return _bounded_rest(until - dt.datetime.now(dt.UTC))
    return None


def _http_date(text: str) -> dt.datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=dt.UTC)


def _bounded_rest(span: dt.timedelta) -> float:
    return min(max(span.total_seconds(), 0.0), LONGEST_REST_S)


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def current_recorder() -> Recorder | None:
    """Where exchanges of this thread (or task) go at present; None: nowhere."""
    return _recorder.get()


@contextmanager
def recording(recorder: Recorder | None) -> Iterator[None]:
    """Send every exchange of this thread to `recorder` for the duration of the block."""
    mark = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(mark)


@dataclass(frozen=True)
class _Call:
    """One request of a client, however many attempts it takes. `unsigned` is never sent itself, only copies of it."""

    unsigned: requests.PreparedRequest
    operation: str
    once: SendTicket | None
    safe: bool
    write: bool
    token: bool
    deadline: Deadline


class _BadBody(Exception):
    """The answer's body is of no use: too large, or coded in a way that was not asked for."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Http:
    """Requests to one base URL of one connection. Safe to share between threads.

    `hosts` are the origins (or any URLs of them) that absolute URLs may name; the base URL's own is always one.
    `retry_after(answer)` tells the seconds that a 429 asks for; None leaves the pause to the client.
    `pool` must be a session from `transport.new_session`; by default the process's shared one.
    """

    def __init__(
        self,
        vendor: Vendor,
        base_url: str,
        hosts: Iterable[str],
        auth: AuthBase | None,
        timeouts: Timeouts,
        throttle: Throttle,
        redactor: Redactor,
        policy: OutboundPolicy,
        extra_headers: Mapping[str, str] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        pool: requests.Session | None = None,
        retry_after: Callable[[Answer], float | None] = retry_after_s,
    ) -> None:
        if pool is not None and not isinstance(pool.get_adapter("https://x/"), GuardedAdapter):
            raise TypeError("pool must come from integrations.base.transport.new_session")
        self.vendor = vendor
        self.connection = ""
        """Slug of the connection, set by who builds this; it goes into every exchange record."""
        self.base_url = base_url.rstrip("/")
        self.redactor = redactor
        self._origins = frozenset(origin(url) for url in (base_url, *hosts))
        self._auth = auth or NoAuth()
        self._timeouts = timeouts
        self._throttle = throttle
        self._policy = policy
        self._headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate", "User-Agent": "ml-connector"}
        self._headers |= dict(extra_headers or {})
        self._max_body_bytes = max_body_bytes
        self._pool = pool
        self._retry_after = retry_after

    def request(
        self,
        method: str,
        url: str,
        *,
        operation: str,
        params: Params | None = None,
        json: Any = None,
        data: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        once: SendTicket | None = None,
        repeat_safe: bool | None = None,
        limits: tuple[str, ...] = ("calls",),
        total_s: float | None = None,
    ) -> Answer:
        """Send one request and read its whole answer within `total_s` (default: the ticket's or the connection's) seconds.

        `url` is a percent-encoded path below the base URL, or an absolute URL of one of the connection's hosts.
        `repeat_safe` (default: for GET and HEAD) allows repeats after lost answers and 502 to 504. A 429 rests
        the named `limits` and is returned.

        Raises NotSent, Unavailable or OutcomeUnknown for trouble on the way; ConfigurationError for a redirect, a
        foreign host, a refused address or a refused login; Rejected for data that cannot be written as a request;
        RateLimited from our own limits; and whatever `Recorder.may_send` raises.
        """
        if once is not None and repeat_safe:
            raise ValueError("a once-only send cannot be repeat-safe")
        method = method.upper()
        patience = total_s if total_s is not None else self._timeouts.total_s
        if once is not None:
            patience = once.total_s if total_s is None else min(once.total_s, total_s)
        deadline = Deadline(patience)
        reading = method in ("GET", "HEAD")
        repeatable = reading if repeat_safe is None else repeat_safe
        write = method in ("PATCH", "PUT", "DELETE") or (method == "POST" and not repeatable)
        token = fetching_token() or operation.startswith("token")
        call = _Call(
            unsigned=self._prepare(method, url, operation, params, json, data, headers),
            operation=operation,
            once=once,
            safe=repeatable and once is None,
            write=write and once is None and not token,
            token=token,
            deadline=deadline,
        )
        return self._carry(call, limits)

    # -- attempts ------------------------------------------------------------------------------------

    def _carry(self, call: _Call, limits: tuple[str, ...]) -> Answer:
        repeats_left = REPEATS if call.safe else 0
        renewable = isinstance(self._auth, BearerAuth)
        pause = BACKOFF_S
        while True:
            signed = self._sign(call)
            self._throttle.take(limits)
            try:
                answer = self._attempt(call, signed, renewable=renewable)
            except Unavailable as failure:
                if not repeats_left or failure.code == "answer_unusable" or not self._wait(call, pause):
                    raise
            else:
                if answer.status == 401 and renewable and isinstance(self._auth, BearerAuth):
                    self._auth.drop(signed)
                    renewable = False
                    continue
                if answer.status == 429:
                    self._rest(answer, limits)
                asked = (retry_after_s(answer) or 0.0) if answer.status in _REPEATABLE_STATUS else 0.0
                if answer.status not in _REPEATABLE_STATUS or not repeats_left or not self._wait(call, pause, asked):
                    return answer
            repeats_left -= 1
            pause *= 2

    def _wait(self, call: _Call, longest: float, at_least: float = 0.0) -> bool:
        """Pause before a repeat, with full jitter; False where waiting would outlast the deadline or the vendor asks for long."""
        pause = max(random.uniform(0, longest), at_least)
        if pause > LONGEST_PAUSE_S or pause >= call.deadline.left():
            return False
        time.sleep(pause)
        return True

    def _rest(self, answer: Answer, limits: tuple[str, ...]) -> None:
        seconds = self._retry_after(answer)
        if seconds is not None:
            for name in limits:
                self._throttle.rest(name, seconds)

    def _sign(self, call: _Call) -> requests.PreparedRequest:
        """A signed copy of the request; may make a token call."""
        try:
            signed = self._auth(call.unsigned.copy())
        except NotSent:
            raise
        except Unavailable as failure:
            if call.once is None:
                raise
            # The token call failed, so the request itself did not leave: for a once-only send that must be said.
            self._fail(NotSent, call, failure.message, code="token_unavailable", cause=failure)
        secret = signed.headers.get("Authorization", "")
        if secret:
            self.redactor.add(secret.partition(" ")[2] or secret)
        return signed

    def _attempt(self, call: _Call, signed: requests.PreparedRequest, *, renewable: bool) -> Answer:
        recorder = current_recorder()
        url = str(signed.url)
        record = self._begin_record(call, signed, recorder)
        begun = clock()
        wire = self._wire(call, recorder)
        status: int | None = None
        try:
            if call.deadline.left() <= 0:
                self._fail(NotSent, call, "The time for this request was over before it could be sent.", code="deadline")
            with wired(wire):
                response = self._send(signed, url, call)
                status = record.status = response.status_code
                record.response_headers = self.redactor.headers(response.headers)
                content = self._read(response, wire)
        except Exception as problem:
            record.duration_ms = round((clock() - begun) * 1000)
            error = problem if isinstance(problem, IntegrationError) else self._translate(problem, call, wire, status)
            if error is not None:
                error.vendor, error.operation = error.vendor or self.vendor.slug, error.operation or call.operation
            record.error = f"{type(error or problem).__name__}: {self.redactor.text(str(error or problem))}"
            if recorder is not None:
                recorder.record(record)
            if error is None or error is problem:
                raise
            raise error from problem
        answer = Answer(status, response.headers, content if call.token and status < 400 else self._without_secrets(content))
        record.duration_ms = round((clock() - begun) * 1000)
        record.response_body = self.redactor.body(content, response.headers.get("Content-Type", ""))
        self._hand_over(call, record, recorder, answer, repeated=status == 401 and renewable)
        if status in _REDIRECTS:
            self._refuse_redirect(call, answer, url)
        return answer

    def _without_secrets(self, content: bytes) -> bytes:
        """The body without our own secrets, which some vendors echo in error texts: clients put those into exceptions.

        Not for token calls: their answer may rightly hold a token that is known already.
        """
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            return content
        clean = self.redactor.raw(text)
        return content if clean is text else clean.encode()

    def _send(self, signed: requests.PreparedRequest, url: str, call: _Call) -> requests.Response:
        """To the answer's headers. The adapter is called and not the session: no cookies, no .netrc, no redirects."""
        session = self._pool or shared_session()
        settings = session.merge_environment_settings(url, {}, True, None, None)
        proxies = dict(settings["proxies"])
        self._policy.check_url(url)
        if select_proxy(url, proxies):
            self._check_behind_proxy(url)
        adapter = session.get_adapter(url)
        return adapter.send(
            signed,
            stream=True,
            timeout=(self._timeouts.connect_s, self._timeouts.read_s),
            verify=settings["verify"] or True,
            cert=None,
            proxies=proxies,
        )

    def _check_behind_proxy(self, url: str) -> None:
        """The proxy resolves the name itself, so what our own DNS says is checked; a name it does not know passes."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            found = socket.getaddrinfo(host, parts.port, socket.AF_UNSPEC, socket.SOCK_STREAM)
        except OSError:
            return
        for *_, address in found:
            self._policy.check_address(host, str(address[0]), parts.scheme)

    def _wire(self, call: _Call, recorder: Recorder | None) -> Wire:
        def gate() -> None:
            if call.once is not None and recorder is not None:
                recorder.may_send(call.once)
            if call.deadline.left() <= 0:
                self._fail(NotSent, call, "The time for this request was over before its first byte.", code="deadline")

        def written() -> None:
            if call.once is not None:
                boundary("request_written")
            elif call.write:
                boundary("write_sent")

        return Wire(
            policy=self._policy,
            deadline=call.deadline,
            connect_s=self._timeouts.connect_s,
            read_s=self._timeouts.read_s,
            fresh=call.once is not None,
            gate=gate,
            written=written,
        )

    def _read(self, response: requests.Response, wire: Wire) -> bytes:
        """The whole decoded body, at most `max_body_bytes`. Raises _BadBody, and what reading raises."""
        wire.stage = "body" if wire.stage != "unknown" else "unknown"
        pieces: list[bytes] = []
        size = 0
        try:
            if response.status_code < 200:
                raise _BadBody("answer_unusable", f"Only an interim answer ({response.status_code}) came.")
            codings = [c.strip().lower() for c in response.headers.get("Content-Encoding", "").split(",")]
            if foreign := sorted(set(codings) - _CODINGS):
                raise _BadBody("answer_unusable", f"The answer came in a coding that was not asked for ({', '.join(foreign)}).")
            for piece in response.raw.stream(_PIECE_BYTES, decode_content=True):
                size += len(piece)
                if size > self._max_body_bytes:
                    raise _BadBody("answer_unusable", f"The answer is larger than {self._max_body_bytes} bytes.")
                pieces.append(piece)
        except BaseException:
            response.close()
            raise
        response.raw.release_conn()
        return b"".join(pieces)

    # -- records and errors --------------------------------------------------------------------------

    def _begin_record(self, call: _Call, signed: requests.PreparedRequest, recorder: Recorder | None) -> ExchangeRecord:
        body = signed.body if isinstance(signed.body, (bytes, str)) else None
        return ExchangeRecord(
            operation=call.operation,
            method=str(signed.method),
            url=self.redactor.url(str(signed.url)),
            request_headers=self.redactor.headers(signed.headers),
            request_body=self.redactor.body(
                body if isinstance(body, (bytes, str)) else None, signed.headers.get("Content-Type", "")
            ),
            started_at=dt.datetime.now(dt.UTC),
            correlation_id=recorder.correlation_id if recorder is not None else "",
            connection=self.connection,
        )

    def _hand_over(
        self, call: _Call, record: ExchangeRecord, recorder: Recorder | None, answer: Answer, *, repeated: bool
    ) -> None:
        """Give the exchange away before anything can go wrong with it. A 401 that is repeated is no answer yet."""
        if call.once is not None and not repeated:
            boundary("answer_received")
        if recorder is None:
            return
        if call.once is not None and not repeated:
            recorder.answer_received(call.once, record, self.redactor.raw(answer.text), answer.status)
        else:
            recorder.record(record)

    def _translate(self, problem: Exception, call: _Call, wire: Wire, status: int | None) -> IntegrationError | None:
        """What trouble on the way means; None for anything else (a bug, or the recorder's own error)."""
        if isinstance(problem, _BadBody):
            kind = OutcomeUnknown if call.once is not None else Unavailable
            return self._error(kind, call, str(problem), code=problem.code, status=status)
        if not isinstance(problem, (requests.RequestException, HTTPError, http.client.HTTPException, OSError, zlib.error)):
            return None
        why = self.redactor.text(_root_cause(problem))
        host = urlsplit(str(call.unsigned.url)).netloc
        if wire.nothing_left or (wire.stage == "unknown" and isinstance(problem, requests.ConnectTimeout)):
            code = "deadline" if call.deadline.left() <= 0 else {"dns": "dns", "tls": "tls"}.get(wire.stage, "connect")
            return self._error(NotSent, call, f"No connection to {host}: {why}", code=code)
        if call.once is not None:
            return self._error(
                OutcomeUnknown, call, f"The request was sent to {host}, but its answer was lost: {why}", status=status
            )
        return self._error(Unavailable, call, f"{host} did not answer properly: {why}", code="answer_lost", status=status)

    def _refuse_redirect(self, call: _Call, answer: Answer, url: str) -> NoReturn:
        here = urlsplit(url).netloc
        message = f"{here} sends us on to {self.redactor.text(_target(answer) or here)}; redirects are not followed."
        if call.once is not None:
            # Many servers answer a POST that did its work by sending the client on: no proof of a refusal.
            self._fail(OutcomeUnknown, call, message, code="redirected", status=answer.status)
        remedy = "Correct the URL of the connection."
        self._fail(ConfigurationError, call, message, code="redirected", status=answer.status, remedy=remedy)

    def _error(self, kind: type[IntegrationError], call: _Call, message: str, **rest: Any) -> IntegrationError:
        return kind(message, vendor=self.vendor.slug, operation=call.operation, **rest)

    def _fail(
        self, kind: type[IntegrationError], call: _Call, message: str, *, cause: Exception | None = None, **rest: Any
    ) -> NoReturn:
        raise self._error(kind, call, message, **rest) from cause

    # -- requests ------------------------------------------------------------------------------------

    def _prepare(
        self,
        method: str,
        url: str,
        operation: str,
        params: Params | None,
        json: Any,
        data: Mapping[str, Any] | bytes | None,
        headers: Mapping[str, str] | None,
    ) -> requests.PreparedRequest:
        told = CaseInsensitiveDict(self._headers)
        told.update(headers or {})
        prepared = requests.PreparedRequest()
        try:
            body: bytes | None = data if isinstance(data, bytes) else None
            if json is not None:
                body = encode_json(json)
                told.setdefault("Content-Type", "application/json")
            elif isinstance(data, Mapping):
                body = urlencode(list(data.items())).encode("ascii")
                told.setdefault("Content-Type", "application/x-www-form-urlencoded")
            target = self._absolute(url, operation)
            if params is not None and (query := encode_params(params)):
                target += ("&" if "?" in target else "?") + query
            for value in told.values():
                value.encode("latin-1")
            prepared.prepare(method=method, url=target, headers=dict(told), data=body)
        except (ValueError, requests.RequestException) as error:
            raise Rejected(
                f"The request cannot be written: {self.redactor.text(str(error))}",
                code="unwritable_request",
                vendor=self.vendor.slug,
                operation=operation,
            ) from error
        return prepared

    def _absolute(self, url: str, operation: str) -> str:
        """The URL to call. Raises Rejected for one that would not arrive as written, ConfigurationError for a foreign host."""
        path, _, query = url.partition("?")
        if _UNFIT.search(path) or re.search(r"[\x00-\x1f\x7f#]", query) or _DOTS.search("/" + path):
            raise Rejected(
                "A path to call holds characters that must be percent-encoded, or a dot segment.",
                code="unwritable_request",
                vendor=self.vendor.slug,
                operation=operation,
            )
        if not _ABSOLUTE.match(url):
            return f"{self.base_url}/{url.lstrip('/')}" if url else self.base_url
        parts = urlsplit(url)
        if origin(url) not in self._origins or parts.username is not None or parts.password is not None:
            raise ConfigurationError(
                f"A link leads to {parts.hostname}, which is not one of this connection's hosts; it is not followed.",
                code="foreign_host",
                remedy="Compare the connection's URL with the one by which the vendor's system calls itself.",
                vendor=self.vendor.slug,
                operation=operation,
            )
        return url


def _target(answer: Answer) -> str:
    """Host and port that a redirect names; empty for a place on the same host."""
    try:
        return urlsplit(answer.headers.get("Location", "")).netloc.rpartition("@")[2]
    except ValueError:
        return "an unreadable address"


def _root_cause(problem: BaseException) -> str:
    """The innermost reason of an error of requests or urllib3, whose own texts repeat the URL and object addresses."""
    seen: set[int] = set()
    while id(problem) not in seen:
        seen.add(id(problem))
        inner = getattr(problem, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in reversed(problem.args) if isinstance(a, BaseException)), None) or problem.__cause__
        if not isinstance(inner, BaseException):
            break
        problem = inner
    text = re.sub(r"<[^<>]* at 0x[0-9a-f]+>:? ?|\(?host='[^']*', port=\d+\)?:? ?", "", str(problem)).strip()
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__

"""One method per FedEx endpoint, in FedEx's JSON, and the one place where its refusals become our errors.

POST /oauth/token                        form; its 403 is a penalty for the whole host (sheet 2, 3)
POST /ship/v1/shipments                  buys; never repeated (sheet 5)
POST /ship/v1/shipments/results          result of an accepted job (sheet 7)
PUT  /ship/v1/shipments/cancel           harmless to repeat (sheet 8)
POST /ship/v1/shipments/packages/validate, /rate/v1/rates/quotes   cost nothing (sheet 9, 10)
POST /address/v1/addresses/resolve       changes nothing (sheet 15)
POST /track/v1/trackingnumbers, /track/v1/referencenumbers         (sheet 11, 12), own credentials where given
"""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import requests

from integrations.base.auth import BearerAuth
from integrations.base.context import Context, Token
from integrations.base.errors import ConfigurationError, IntegrationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.base.http import Answer, Http, retry_after_s
from integrations.base.roles import SendTicket
from integrations.fedex import answers, codes
from integrations.fedex.codes import Meaning, Reaction

TOKEN_PENALTY_S: Final = 600.0
"""A penalty lasts ten minutes and grows with every call made during it (sheet 3)."""
WINDOW_S: Final = 10.0
PROVEN_REFUSALS: Final = frozenset({400, 401, 403, 404, 415, 422, 429})
"""Statuses that prove that a create made nothing (sheet 17.2)."""
TRANSACTION_ID_CHARS: Final = 40
CREATE_PATH: Final = "/ship/v1/shipments"
QUOTE_PATH: Final = "/rate/v1/rates/quotes"
ADDRESS_PATH: Final = "/address/v1/addresses/resolve"

_SEVERITY = (Reaction.BROKEN, Reaction.LOGIN, Reaction.FORBIDDEN, Reaction.CONFIGURATION, Reaction.REJECTED)


@dataclass(frozen=True, slots=True)
class Login:
    """One pair of project keys; `label` names it for people."""

    client_id: str
    client_secret: str
    label: str


class FedexClient:
    """FedEx's endpoints for one connection. Answers come back whatever their status, except those of the token."""

    def __init__(self, context: Context) -> None:
        self._context = context
        told = context.credentials
        self._ship_login = Login(told.get("client_id", ""), told.get("client_secret", ""), "API key and Secret key")
        track = Login(told.get("track_client_id", ""), told.get("track_client_secret", ""), "Track API key and Track secret key")
        self._track_login = track if track.client_id and track.client_secret else self._ship_login

    # -- login ---------------------------------------------------------------------------------------------

    @property
    def has_track_login(self) -> bool:
        """Whether Track is asked with keys of its own (sheet 2)."""
        return self._track_login is not self._ship_login

    @cached_property
    def _ship_auth(self) -> BearerAuth:
        return self._auth(self._ship_login)

    @cached_property
    def _track_auth(self) -> BearerAuth:
        return self._auth(self._track_login) if self.has_track_login else self._ship_auth

    def _auth(self, login: Login) -> BearerAuth:
        # Keys are valid in one environment only, so the host is part of a token's identity (sheet 1).
        cache = self._context.token_cache(self._context.urls["base"], login.client_id, login.client_secret)
        return BearerAuth(cache, lambda: self._fetch_token(login))

    def login(self) -> None:
        """Make sure that a token for shipping is there, from the shared cache if possible.

        Raises ConfigurationError (`token_refused`), RateLimited (also for a penalty of the host) or Unavailable.
        """
        self._ship_auth(requests.Request("POST", self._context.urls["base"]).prepare())

    def _fetch_token(self, login: Login) -> Token:
        """One token call (sheet 2). Its life is what FedEx says, never an assumed hour."""
        http = self._context.http("base", None)
        form = {"grant_type": "client_credentials", "client_id": login.client_id, "client_secret": login.client_secret}
        # Not repeated by the HTTP layer: every further call counts towards the penalty of the whole host.
        answer = http.request("POST", "/oauth/token", operation="token", data=form, repeat_safe=False, limits=("token",))
        payload = answers.parse_json(answer.text)
        if 200 <= answer.status < 300:
            token = answers.read_token(payload)
            if token is None:
                raise Unavailable("FedEx's login answered without a token.", **_told(answer.status, answer.text, "token"))
            return token
        raise self._token_refused(answer, login)

    def _token_refused(self, answer: Answer, login: Login) -> IntegrationError:
        told = _told(answer.status, answer.text, "token")
        known = _meanings(answers.read_errors(answers.parse_json(answer.text)))
        if answer.status == 403:
            wait = max(TOKEN_PENALTY_S, retry_after_s(answer) or 0.0)
            self._rest("token", wait)
            return RateLimited(
                "FedEx has closed its login for this internet address after too many logins.",
                retry_after_s=wait,
                code="token_penalty",
                remedy="Nothing to do: it opens by itself after about ten minutes without a login. The keys are not at fault.",
                **told,
            )
        if answer.status == 429:
            wait = self.wait(answer)
            self._rest("token", wait)
            return RateLimited("FedEx asks to log in later.", retry_after_s=wait, **told)
        if answer.status >= 500 or any(m.reaction is Reaction.BROKEN for m in known):
            return Unavailable("FedEx's login is out of order.", code="token_unavailable", **told)
        if answer.status in (400, 401):
            return ConfigurationError(
                f"FedEx refuses the login: {str(told['vendor_text'] or answer.status).rstrip('.')}.",
                code="token_refused",
                remedy=f"Check {login.label}, and that they belong to this environment: test keys do not work in production.",
                **told,
            )
        return ConfigurationError(
            f"The address does not answer as FedEx's login does (status {answer.status}).",
            code="base_url_wrong",
            remedy="Check the environment and the base URL of the connection.",
            **told,
        )

    # -- endpoints -----------------------------------------------------------------------------------------

    def create_shipment(self, body: dict[str, object], ticket: SendTicket) -> Answer:
        """Send a purchase, once (sheet 5). Transport trouble after the first byte raises OutcomeUnknown."""
        return self._ship("POST", CREATE_PATH, "create shipment", body, reference=ticket.reference, once=ticket)

    def shipment_results(self, account: str, job: str) -> Answer:
        """Ask for the result of an accepted job (sheet 7)."""
        body: dict[str, object] = {"accountNumber": {"value": account}, "jobId": job}
        return self._ship("POST", "/ship/v1/shipments/results", "shipment results", body)

    def cancel_shipment(self, body: dict[str, object]) -> Answer:
        """Cancel a whole shipment (sheet 8)."""
        return self._ship("PUT", "/ship/v1/shipments/cancel", "cancel shipment", body)

    def validate_shipment(self, body: dict[str, object]) -> Answer:
        """Have a one-package shipment checked without making it (sheet 9)."""
        return self._ship("POST", "/ship/v1/shipments/packages/validate", "validate shipment", body)

    def quote(self, body: dict[str, object]) -> Answer:
        """Ask for rates (sheet 10)."""
        return self._ship("POST", QUOTE_PATH, "rate quote", body)

    def resolve_addresses(self, body: dict[str, object]) -> Answer:
        """Have up to 100 addresses checked (sheet 15)."""
        http = self._context.http("base", self._ship_auth)
        return self._call(http, "POST", ADDRESS_PATH, "check addresses", body, ("calls", "address"))

    def track_numbers(self, body: dict[str, object]) -> Answer:
        """Track up to 30 numbers (sheet 11)."""
        return self._track("/track/v1/trackingnumbers", "track numbers", body)

    def track_documents(self, body: dict[str, object]) -> Answer:
        """Ask for proofs of delivery (sheet 13)."""
        return self._track("/track/v1/trackingdocuments", "proof of delivery", body)

    def track_reference(self, body: dict[str, object]) -> Answer:
        """Look shipments up under one reference (sheet 12)."""
        return self._track("/track/v1/referencenumbers", "look up reference", body)

    def _ship(
        self,
        method: str,
        path: str,
        operation: str,
        body: dict[str, object],
        *,
        reference: str = "",
        once: SendTicket | None = None,
    ) -> Answer:
        http = self._context.http("base", self._ship_auth)
        return self._call(http, method, path, operation, body, ("calls",), reference=reference, once=once)

    def _track(self, path: str, operation: str, body: dict[str, object]) -> Answer:
        return self._call(self._context.http("base", self._track_auth), "POST", path, operation, body, ("calls", "track"))

    def _call(
        self,
        http: Http,
        method: str,
        path: str,
        operation: str,
        body: dict[str, object],
        limits: tuple[str, ...],
        *,
        reference: str = "",
        once: SendTicket | None = None,
    ) -> Answer:
        headers = {"x-locale": str(self._context.settings.get("locale") or "en_US")}
        if reference:
            headers["x-customer-transaction-id"] = reference[:TRANSACTION_ID_CHARS]
        # Everything but the purchase changes nothing, or (cancel) changes nothing the second time.
        repeat_safe = None if once else True
        answer = http.request(
            method, path, operation=operation, json=body, headers=headers, once=once, repeat_safe=repeat_safe, limits=limits
        )
        if answer.status == 429:
            self._rest(limits[-1] if _is_daily(answer.text) else "calls", self.wait(answer))
        return answer

    def _rest(self, limit: str, seconds: float) -> None:
        """Let nobody who shares this limit call for a while."""
        if self._context.throttle is not None:
            self._context.throttle.rest(limit, seconds)

    # -- refusals ------------------------------------------------------------------------------------------

    def problem(self, answer: Answer, operation: str, api: str, *, create: bool = False) -> IntegrationError:
        """The error for an answer that is not what was hoped for; see `problem`."""
        return problem(answer.status, answer.text, operation, api, create=create, wait=self.wait(answer))

    def wait(self, answer: Answer) -> float:
        """Seconds to wait, should this answer be a 429."""
        return wait_s(answer.text, retry_after_s(answer) or 0.0, self._context.now())


def problem(
    status: int | None,
    text: str,
    operation: str,
    api: str,
    *,
    create: bool = False,
    wait: float = WINDOW_S,
    errors: Sequence[tuple[str, str]] | None = None,
) -> IntegrationError:
    """What an answer means that is no success. `api` names FedEx's API for people ("Ship").

    `status` None: a stored answer whose status is not known, judged by its codes alone. With `create` only proven
    refusals are refusals (sheet 17.2), all else is OutcomeUnknown: 5xx, an unreadable 2xx, and any code by which
    FedEx reports a fault of its own, under whatever status. `errors` replaces those found in `text`.
    """
    payload = answers.parse_json(text)
    found = list(answers.read_errors(payload) if errors is None else errors)
    told = _told(status, text, operation, found)
    known = _meanings(found)
    first = known[0] if known else None
    words = "; ".join(line.rstrip(".") for _, line in found) or (
        f"status {status}, no readable answer" if status else "no readable answer"
    )
    if status == 429:
        return RateLimited(f"FedEx asks for a pause: {words}.", retry_after_s=wait, **told)
    broken = first is not None and first.reaction is Reaction.BROKEN
    refusing = status is None or status in PROVEN_REFUSALS or 200 <= status < 300
    if create and (broken or not refusing):
        return _doubt(words, told)
    if broken:
        return Unavailable(f"FedEx reports a fault of its own: {words}.", code="fedex_fault", **told)
    if status == 401 or (first and first.reaction is Reaction.LOGIN):
        return ConfigurationError(
            f"FedEx does not accept the login for {api}: {words}.",
            code="token_refused",
            remedy=codes.CATALOGUE["NOT.AUTHORIZED.ERROR"].advice,
            **told,
        )
    if first and first.reaction is Reaction.CONFIGURATION:
        field = {"field": first.field} if first.field else {}
        return ConfigurationError(f"FedEx refuses: {words}.", code=first.code, remedy=first.advice, **told | field)
    if status == 403 or (first and first.reaction is Reaction.FORBIDDEN):
        return ConfigurationError(
            f"The FedEx project of this connection may not use the {api} API.",
            code="permission_missing",
            remedy=f"Add the {api} API to the project that owns this key at developer.fedex.com, then ping.",
            **told,
        )
    if first:
        return Rejected(f"FedEx refuses: {words}.", code=first.code, remedy=first.advice, **told | {"field": first.field})
    return _unlisted(status, words, told, create=create, said=bool(found))


def _unlisted(status: int | None, words: str, told: dict[str, Any], *, create: bool, said: bool) -> IntegrationError:
    """No code that we know: the status decides, and FedEx's own words are shown."""
    if status in (404, 405, 415):
        return ConfigurationError(
            f"FedEx does not know this request: {words}.",
            code="endpoint_missing",
            remedy="Check the environment and the base URL of the connection.",
            **told,
        )
    if status in (400, 422):
        return Rejected(
            f"FedEx refuses: {words}.", code="refused", remedy="Mend what FedEx names (ERP or options), then replay.", **told
        )
    if create:
        return _doubt(words, told)
    if said and (status is None or status < 300 or status == 409):
        return Rejected(f"FedEx refuses: {words}.", code="refused", **told)
    return Unavailable(f"FedEx gave no usable answer: {words}.", **told)


def _doubt(words: str, told: dict[str, Any]) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"FedEx did not say whether the shipment was made: {words}.",
        remedy="It is looked up under our reference; do not send it again by hand.",
        **told,
    )


def _meanings(errors: Sequence[tuple[str, str]]) -> list[Meaning]:
    """The meanings of the codes we know, the gravest reaction first."""
    return sorted(filter(None, (codes.meaning_of(code) for code, _ in errors)), key=lambda m: _SEVERITY.index(m.reaction))


def _told(status: int | None, text: str, operation: str, errors: Sequence[tuple[str, str]] | None = None) -> dict[str, Any]:
    """FedEx's own words, for the error's keyword arguments."""
    payload = answers.parse_json(text)
    found = answers.read_errors(payload) if errors is None else errors
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split()) if payload is None else ""
    plain = "".join(c for c in words if c.isprintable())[:300]  # no database keeps a NUL
    return {
        "vendor": "fedex",
        "operation": operation,
        "status": status,
        "vendor_code": next((code for code, _ in found if code), ""),
        "vendor_text": ("; ".join(line for _, line in found) or plain)[:2000],
        "request_id": answers.transaction_id(payload),
    }


# -- waiting ---------------------------------------------------------------------------------------------------


def _is_daily(text: str) -> bool:
    return bool(re.search(r"daily|12:00|\bGMT\b", text, re.IGNORECASE))


def wait_s(text: str, asked_s: float, now: dt.datetime) -> float:
    """Seconds to wait after a 429 (sheet 3): what the header says, else to midnight UTC for a daily quota, else a window.

    Some seconds are added at random, so that many workers do not come back at the same instant.
    """
    if asked_s > 0:
        return asked_s + random.uniform(0, 1)
    if _is_daily(text):
        midnight = (now.astimezone(dt.UTC) + dt.timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight - now).total_seconds() + random.uniform(1, 60)
    return WINDOW_S + random.uniform(0, 5)

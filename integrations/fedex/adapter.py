"""FedEx as a `Carrier`: the few verbs of the flows, made of client and mapping."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from integrations.base.address_checks import AddressCheck
from integrations.base.context import Context
from integrations.base.errors import ConfigurationError, IntegrationError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from integrations.base.http import Answer
from integrations.base.rates import Quote
from integrations.base.records import (
    Address,
    BoughtShipment,
    LabelFile,
    LookUp,
    Pending,
    PingLayer,
    Problem,
    ShipmentRequest,
    VoidResult,
)
from integrations.base.roles import LookUpQuery, SendTicket
from integrations.base.tracking import ParcelNews, TrackQuery
from integrations.fedex import addresses, answers, checks, codes, mapping, rates, tracking
from integrations.fedex.client import ADDRESS_PATH, CREATE_PATH, QUOTE_PATH, FedexClient, problem

LOOK_UP_DAYS = 30
"""Track takes no longer span (sheet 12)."""
ASK_AGAIN_S = 30.0
AHEAD_OF_UTC = dt.timedelta(hours=14)
"""No place on earth is further ahead: a later date is in the future everywhere."""


class Fedex:
    """One FedEx account. Built per connection and batch; keeps nothing that another process would need."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = FedexClient(context)

    @property
    def account(self) -> str:
        """The shipping account, digits only. Raises ConfigurationError `account_missing`."""
        number = re.sub(r"[\s-]", "", self._context.credentials.get("account_number", ""))
        if not number:
            raise ConfigurationError(
                "The FedEx connection has no account number.",
                code="account_missing",
                remedy="Enter the 9-digit shipping account.",
                vendor="fedex",
            )
        return number

    def prepare(self) -> None:
        """Get a token while nothing is at stake. Raises ConfigurationError, RateLimited or Unavailable."""
        self._client.login()

    # -- prices before buying --------------------------------------------------------------------------------

    def describe_quote(self, request: ShipmentRequest) -> dict[str, object]:
        """The exact body of a question for prices (sheet 10). Raises Rejected for what FedEx is bound to refuse."""
        return rates.build_quote(request, self.account)

    @property
    def quote_call(self) -> str:
        """Method and URL of a quote (sheet 10)."""
        return f"POST {self._context.urls['base'].rstrip('/')}{QUOTE_PATH}"

    def quote(self, requests: Sequence[ShipmentRequest]) -> dict[str, Quote | Problem]:
        """Prices of parcels by document, one call each: FedEx takes no more (sheet 10). Buys and reserves nothing.

        Raises ConfigurationError, RateLimited or Unavailable where FedEx gave no answer at all.
        """
        found: dict[str, Quote | Problem] = {}
        for request in requests:
            try:
                found[request.document_key] = self._quote(request)
            except Rejected as error:
                found[request.document_key] = Problem(error)
        return found

    def _quote(self, request: ShipmentRequest) -> Quote:
        answer = self._client.quote(self.describe_quote(request))
        payload = answers.parse_json(answer.text)
        # A 200 may carry errors: a refusal all the same (sheet 4).
        quote = rates.read_quote(payload) if 200 <= answer.status < 300 and not answers.read_errors(payload) else None
        if quote is None:
            raise _beside(self._client.problem(answer, "rate quote", "Rate"))
        payer = mapping.payer_of(request, self.account)
        # Rate knows no payer but the account that asks (sheet 10): what another one is charged, FedEx does not tell here.
        if payer == self.account:
            return quote
        return replace(quote, alerts=(*quote.alerts, rates.NOT_THE_PAYER), of_payer=False)

    # -- addresses -----------------------------------------------------------------------------------------

    @property
    def address_call(self) -> str:
        """Method and URL of an address check (sheet 15)."""
        return f"POST {self._context.urls['base'].rstrip('/')}{ADDRESS_PATH}"

    def describe_address_check(self, address: Address) -> dict[str, object]:
        """The body that checks one address. Raises Rejected for what FedEx would refuse on a label, too."""
        return addresses.build([addresses.question(1, address)])

    def validate_addresses(self, asked: Sequence[Address]) -> list[AddressCheck | Problem]:
        """A verdict for each, 100 a call (sheet 15). A Problem where FedEx could not print the address on a label anyway.

        Raises ConfigurationError, RateLimited or Unavailable where FedEx gave no answer at all.
        """
        found: dict[int, AddressCheck | Problem] = {}
        questions: dict[int, addresses.Question] = {}
        for place, address in enumerate(asked):
            try:
                questions[place] = addresses.question(place + 1, address)
            except Rejected as error:
                found[place] = Problem(error)
        places = list(questions)
        for i in range(0, len(places), addresses.ADDRESSES_PER_CALL):
            some = places[i : i + addresses.ADDRESSES_PER_CALL]
            found |= dict(zip(some, self._resolve([questions[place] for place in some]), strict=True))
        return [found[place] for place in range(len(asked))]

    def _resolve(self, asked: Sequence[addresses.Question]) -> Sequence[AddressCheck]:
        """One call; refused as a whole because of some, halves are asked until those are found."""
        answer = self._client.resolve_addresses(addresses.build(asked))
        payload = answers.parse_json(answer.text)
        if 200 <= answer.status < 300 and not answers.read_errors(payload):
            checked = addresses.read(payload, asked)
            if checked is not None:
                return checked
        error = _beside(self._client.problem(answer, "check addresses", "Address Validation"))
        if not isinstance(error, Rejected):
            raise error
        if len(asked) == 1:
            return [addresses.refused(asked[0], error)]
        half = len(asked) // 2
        return [*self._resolve(asked[:half]), *self._resolve(asked[half:])]

    def reaches_po_box(self, service: str) -> bool:
        """Whether a service delivers to post office boxes (sheet 15)."""
        return addresses.reaches_po_box(service)

    # -- buying --------------------------------------------------------------------------------------------

    def describe_request(self, request: ShipmentRequest, reference: str) -> dict[str, object]:
        """The exact create body (sheet 5), plain JSON. Raises Rejected for what FedEx is bound to refuse."""
        return mapping.build_shipment(request, reference, self.account).body

    @property
    def create_call(self) -> str:
        """Method and URL of a create (sheet 5)."""
        return f"POST {self._context.urls['base'].rstrip('/')}{CREATE_PATH}"

    def request_notes(self, request: ShipmentRequest, reference: str) -> tuple[str, ...]:
        """What `describe_request` changed or left out, one sentence each, for the timeline. Raises as it does."""
        return mapping.build_shipment(request, reference, self.account).notes

    def create_shipment(self, body: dict[str, object], request: ShipmentRequest, ticket: SendTicket) -> BoughtShipment | Pending:
        """Send `body` once. Raises Rejected, ConfigurationError or RateLimited for proven refusals (sheet 17.2).

        Raises OutcomeUnknown for everything that leaves open whether a label was made.
        """
        answer = self._client.create_shipment(body, ticket)
        made = self._made(answer.text, request, answer.status)
        if made is None:
            raise self._client.problem(answer, "create shipment", "Ship", create=True)
        return made

    def parse_created(self, answer: str, request: ShipmentRequest, *, status: int | None = None) -> BoughtShipment | Pending:
        """Read a stored answer again; raises as `create_shipment`. Without `status` only listed codes count as refusals."""
        made = self._made(answer, request, status)
        if made is None:
            raise problem(status, answer, "create shipment", "Ship", create=True)
        return made

    @staticmethod
    def _made(text: str, request: ShipmentRequest, status: int | None) -> BoughtShipment | Pending | None:
        return answers.read_created(answers.parse_json(text), request) if status is None or 200 <= status < 300 else None

    def ask_pending(self, ticket: str, request: ShipmentRequest) -> BoughtShipment | Pending:
        """Ask for the result of job `ticket` (sheet 7); Pending again while FedEx shows none.

        Raises Rejected where FedEx names a listed reason why the job made nothing, OutcomeUnknown where it does not
        know the job or answers with errors that prove nothing. ConfigurationError, RateLimited and Unavailable
        concern the question, not the shipment.
        """
        answer = self._client.shipment_results(self.account, ticket)
        made = self._made(answer.text, request, answer.status)
        if isinstance(made, BoughtShipment):
            return made
        payload = answers.parse_json(answer.text)
        errors = answers.read_errors(payload)
        if 200 <= answer.status < 300 and not errors:
            if not isinstance(payload, dict):
                raise Unavailable("FedEx's answer about the job cannot be read.", vendor="fedex", operation="shipment results")
            return Pending(ticket, ASK_AGAIN_S)
        error = self._client.problem(answer, "shipment results", "Ship")
        if isinstance(error, Rejected) and (error.code == "refused" or error.vendor_code == codes.JOB_UNKNOWN):
            # That FedEx cannot tell about the job does not prove that the job made nothing.
            raise OutcomeUnknown(
                f"FedEx cannot tell what became of job {ticket}: {error.vendor_text}.",
                vendor="fedex",
                operation="shipment results",
                status=answer.status,
                vendor_code=error.vendor_code,
                vendor_text=error.vendor_text,
                request_id=error.request_id,
            )
        raise error

    # -- afterwards ----------------------------------------------------------------------------------------

    def find_shipment(self, query: LookUpQuery) -> LookUp:
        """Ask Track for our reference (sheet 12). No match is weak evidence, above all in the first 24 hours.

        Raises ConfigurationError, RateLimited, Unavailable or Rejected where Track gave no answer to the question.
        """
        begin, end = self._span(query)
        found, answer = self._look_up(query, begin, end)
        if codes.END_DATE_IN_FUTURE in dict(found.errors):
            # The sender's day has begun, FedEx's has not yet.
            day = dt.timedelta(days=1)
            end -= day
            found, answer = self._look_up(query, min(begin, end), end)
            self._refuse_short_sight(query, end, found)
        matches = answers.read_matches(found, query.reference)
        told = dict(found.errors)
        ambiguous = codes.REFERENCE_NOT_UNIQUE in told
        answered = (200 <= answer.status < 300 or answer.status in (400, 404, 422)) and found.understood
        others = [(code, line) for code, line in found.errors if code not in codes.REFERENCE_NOT_FOUND]
        if not answered or (others and not matches and not ambiguous):
            raise problem(
                answer.status, answer.text, "look up reference", "Track", wait=self._client.wait(answer), errors=others or None
            )
        return LookUp(matches, ambiguous, "; ".join(told.values()))

    @staticmethod
    def _refuse_short_sight(query: LookUpQuery, end: dt.date, found: answers.TrackAnswer) -> None:
        """Not finding proves nothing where the day we look for lies behind the end of the search. Raises RateLimited."""
        wanted = query.request.ship_date if query.request is not None else query.end
        if wanted > end and not found.results:
            raise RateLimited(
                f"FedEx does not search shipments of {wanted.isoformat()} yet: its own day has not begun.",
                retry_after_s=1800.0,
                code="not_searchable_yet",
                vendor="fedex",
                operation="look up reference",
            )

    def _span(self, query: LookUpQuery) -> tuple[dt.date, dt.date]:
        """Dates that Track accepts: not in the future, and for an old doubt the 30 days from its beginning."""
        end = min(query.end, (self._context.now() + AHEAD_OF_UTC).date(), query.begin + dt.timedelta(days=LOOK_UP_DAYS))
        return min(query.begin, end), end

    def _look_up(self, query: LookUpQuery, begin: dt.date, end: dt.date) -> tuple[answers.TrackAnswer, Answer]:
        answer = self._client.track_reference(mapping.build_look_up(query.reference, query.account, begin, end))
        return answers.read_track(answers.parse_json(answer.text)), answer

    def void_shipment(self, master_tracking_number: str, sender_country: str) -> VoidResult:
        """Cancel a whole shipment (sheet 8); cancelled before is a success too.

        Raises Rejected with advice where FedEx will not (`void_too_late`, `void_refused`).
        """
        answer = self._client.cancel_shipment(mapping.build_cancel(self.account, master_tracking_number, sender_country))
        payload = answers.parse_json(answer.text)
        # The success that looks like an error comes with status 400, but never with one of a broken server.
        done = answers.read_cancelled(payload) if 200 <= answer.status < 300 or answer.status in (400, 404, 409, 422) else None
        if done:
            return done
        if 200 <= answer.status < 300 and isinstance(payload, dict) and "output" in payload and not answers.read_errors(payload):
            refusal = codes.CATALOGUE["SHIPMENT.CANCELEDWITHOUTPICKUP.FAILURE"]
            raise Rejected(
                f"FedEx did not cancel {master_tracking_number}: {answers.cancel_message(payload) or 'no reason given'}.",
                code=refusal.code,
                remedy=refusal.advice,
                vendor="fedex",
                operation="cancel shipment",
                status=answer.status,
                request_id=answers.transaction_id(payload),
            )
        raise self._client.problem(answer, "cancel shipment", "Ship")

    # -- tracking ------------------------------------------------------------------------------------------

    def track(self, queries: Sequence[TrackQuery]) -> dict[str, ParcelNews | Problem]:
        """News of parcels by number, 30 a call (sheet 11). A number that FedEx does not know yet is no problem.

        Raises ConfigurationError, RateLimited or Unavailable where Track gave no answer at all.
        """
        found: dict[str, ParcelNews | Problem] = {}
        today = self._context.now().date()
        for i in range(0, len(queries), tracking.NUMBERS_PER_CALL):
            found |= self._track(queries[i : i + tracking.NUMBERS_PER_CALL], today)
        return found

    def is_number(self, text: str) -> bool:
        """Whether a text has the form of a FedEx tracking number (sheet 18)."""
        return tracking.is_number(text)

    def _track(self, asked: Sequence[TrackQuery], today: dt.date) -> dict[str, ParcelNews | Problem]:
        """One call; more where FedEx refuses all for the sake of one (sheet 11.4): the one stands alone in the end."""
        answer = self._client.track_numbers(tracking.build_track(asked, today))
        payload = answers.parse_json(answer.text)
        news = tracking.read_news(payload, asked)
        if news:
            return {n: told if isinstance(told, ParcelNews) else Problem(_untracked(n, *told)) for n, told in news.items()}
        error = self._client.problem(answer, "track numbers", "Track")
        refused = {code for code, _ in answers.read_errors(payload)}
        if not isinstance(error, Rejected) or not refused or not all(code.startswith(tracking.OF_ONE_NUMBER) for code in refused):
            raise error
        yesterday = self._context.now().date() - dt.timedelta(days=1)
        if codes.END_DATE_IN_FUTURE in refused and today > yesterday:
            # Our day has begun, FedEx's has not yet.
            return self._track(asked, yesterday)
        if len(asked) == 1:
            return {asked[0].tracking_number: Problem(error)}
        half = len(asked) // 2
        return self._track(asked[:half], today) | self._track(asked[half:], today)

    def proof_of_delivery(self, query: TrackQuery) -> LabelFile | None:
        """The signature proof of delivery as PDF (sheet 13); None where FedEx has none (yet), or sends something else.

        Raises ConfigurationError, RateLimited, Unavailable or Rejected where Track gave no answer to the question.
        """
        today = self._context.now().date()
        answer = self._client.track_documents(tracking.build_proof(query, today, self.account))
        payload = answers.parse_json(answer.text)
        data = tracking.read_proof(payload) if 200 <= answer.status < 300 else None
        if data is not None and data.startswith(b"%PDF"):
            return LabelFile("application/pdf", data)
        errors = answers.read_errors(payload) if isinstance(payload, dict) else []
        if 200 <= answer.status < 300 or any(code in tracking.NO_PROOF for code, _ in errors):
            return None
        raise self._client.problem(answer, "proof of delivery", "Track")

    @staticmethod
    def is_signed_push(credentials: Mapping[str, str], raw: bytes, headers: Mapping[str, str]) -> bool:
        """Whether a webhook body carries the signature of one of our security tokens (sheet 16).

        During a change of tokens the field holds both, separated by a space or a comma.
        """
        secrets = re.split(r"[\s,]+", credentials.get("webhook_secret", ""))
        return tracking.is_signed(raw, headers, [secret for secret in secrets if secret])

    def read_push(self, raw: bytes) -> tuple[ParcelNews, ...]:
        """News in a webhook body; empty where there is none to read. Raises UnreadablePush."""
        return tracking.read_push(raw)

    # -- ping ----------------------------------------------------------------------------------------------

    def ping(self) -> Iterator[PingLayer]:
        """Token, account, permission to ship, permission to track: nothing is made, nothing is charged (sheet 2)."""
        try:
            self.prepare()
        except IntegrationError as error:
            yield _failed("token", error)
            return
        yield PingLayer("token", "ok", "FedEx accepts the API key.")
        for layer, check in (("account", self._ping_account), ("ship", self._ping_ship), ("track", self._ping_track)):
            yield _checked(layer, check)

    def _ping_account(self) -> PingLayer:
        answer = self._client.quote(checks.build_rate_check(self.account))
        payload = answers.parse_json(answer.text)
        if answer.status == 200 and isinstance(payload, dict) and not answers.read_errors(payload):
            return PingLayer("account", "ok", "FedEx quotes a rate for this account.")
        error = self._client.problem(answer, "rate quote", "Rate")
        if isinstance(error, Rejected) or error.code == "permission_missing":
            # The quote failed for a reason of its own; whether labels can be bought is the next layer's word.
            return PingLayer("account", "warning", f"The account could not be verified by a quote. {error.message}", error.remedy)
        raise error

    def _ping_ship(self) -> PingLayer:
        answer = self._client.validate_shipment(checks.build_validate_check(self.account))
        payload = answers.parse_json(answer.text)
        if answer.status == 200 and isinstance(payload, dict) and not answers.read_errors(payload):
            return PingLayer("ship", "ok", "FedEx validates a shipment for this account.")
        error = self._client.problem(answer, "validate shipment", "Ship")
        if isinstance(error, Rejected):
            return PingLayer("ship", "ok", f"The project may use Ship. The sample parcel itself was refused: {error.vendor_text}")
        if error.code == "endpoint_missing":
            return PingLayer("ship", "not_checked", "FedEx offers no validation here; the first label will tell.")
        raise error

    def _ping_track(self) -> PingLayer:
        answer = self._client.track_numbers(checks.build_track_check())
        found = answers.read_track(answers.parse_json(answer.text))
        asked = any(code.startswith("TRACKING.") for code, _ in found.errors)
        if answer.status in (200, 400, 404) and (found.results or asked):
            return PingLayer("track", "ok", "FedEx answers tracking questions.")
        error = self._client.problem(answer, "track numbers", "Track")
        if error.code == "permission_missing":
            remedy = (
                "Enable Track for the project of the Track API key."
                if self._client.has_track_login
                else "Create a Track project at developer.fedex.com and enter its keys as Track API key and Track secret key."
            )
            message = "Tracking is not allowed with these keys. A purchase whose answer is lost could not be looked up."
            return PingLayer("track", "failed", message, remedy)
        raise error


def _beside(error: IntegrationError) -> IntegrationError:
    """An API that shipping works without: its lack stops who insists on prices or checked addresses, not the connection."""
    if isinstance(error, ConfigurationError) and error.code in ("permission_missing", "endpoint_missing"):
        error.scope = "integration"
    return error


def _checked(layer: str, check: Callable[[], PingLayer]) -> PingLayer:
    try:
        return check()
    except RateLimited as error:
        # The key was not refused; two logins in one ping may be one too many for the host's limit.
        message = f"{error.message} Ping again in {max(1, round(error.retry_after_s))} s."
        return PingLayer(layer, "not_checked", message, error.remedy)
    except IntegrationError as error:
        return _failed(layer, error)


def _failed(layer: str, error: IntegrationError) -> PingLayer:
    return PingLayer(layer, "failed", error.message, error.remedy)


def _untracked(number: str, code: str, line: str) -> Rejected:
    """FedEx will not tell about this number, though it tells about others."""
    return Rejected(
        f"FedEx does not track {number}: {line}.",
        code="not_tracked",
        remedy="Compare the number with FedEx's own page; it is asked for again by itself.",
        vendor="fedex",
        operation="track numbers",
        vendor_code=code,
        vendor_text=line,
    )

"""IFS Cloud over HTTP: token, paths, pages, versions, errors. Speaks IFS's JSON; knows no flow.

A token comes from the realm's endpoint (sheet 3). Lists are paged by nextLink or, where a full page has
none, by `$skip` (sheet 4.4). Changes go under `If-Match` and are repeated after a fresh look when the
record moved (sheet 5.2). Every answer that is not a success becomes one class of `base.errors` (sheet 6).
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from integrations.base.auth import BearerAuth
from integrations.base.context import Context, Token
from integrations.base.errors import (
    ConfigurationError,
    Conflict,
    IntegrationError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from integrations.base.http import Answer, retry_after_s
from integrations.base.preview import PlannedWrite
from integrations.base.roles import SendTicket
from integrations.ifs_cloud import learning
from integrations.ifs_cloud.odata import Instant, Metadata, NotMetadata, Value, key_predicate, parse_metadata, query_string
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.targets import Target

Row = dict[str, Any]

MAX_PAGES = 5000
"""Pages of one list; a million rows at the default page size. More is a filter that lets everything in."""
WRITE_TRIES = 3
"""Rounds of read and PATCH before a record that keeps moving is given up for now (sheet 5.2)."""
SAME_AGAIN = 2
"""Repeats at once after MI_MODIFIED_ERROR (sheet 6)."""
STALE_DESCRIPTION = "MI_MODIFIED_ERROR"
LOCKED_WAIT_S = 30.0
"""Seconds to wait on 423 (sheet 6)."""
TOKEN_LIFE_UNSAID_S = 60.0
"""Seconds a token is trusted whose life was not told: short, because the shortest real ones live three minutes."""

PERMISSION_REMEDY = (
    "Ask the IFS administrator to grant the service user's permission set the projection named here, "
    "and to add the company to its Allowed Companies and the site to its sites."
)


@dataclass(frozen=True, slots=True)
class Record:
    """One entity as read by its key, with its version stamp, sent back unchanged."""

    row: Row
    etag: str


@dataclass(frozen=True, slots=True)
class Change:
    """What `IfsClient.change` did: the version after it, the fields sent (none: all stood right), the record as it was read."""

    version: str
    sent: tuple[str, ...]
    row: Row


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request was about, to judge its answer: a set (a query), one record of it, or a login."""

    kind: Literal["set", "record", "token"]
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An error body taken apart: `code` of IFS, the text for people, the first Oracle code, and what it was written in."""

    code: str = ""
    text: str = ""
    ora: str = ""
    json: bool = False
    html: bool = False


class IfsClient:
    """One tenant, one login. Every method may raise the classes of `base.errors`."""

    def __init__(self, context: Context, profile: Profile) -> None:
        self.profile = profile
        self._context = context
        self._base = context.urls["base"].rstrip("/")
        login = (self._base, profile.realm, profile.scope, context.credentials["client_id"], context.credentials["client_secret"])
        self.tokens = context.token_cache(*login)
        self._plain = context.http("base", None)
        self._http = context.http("base", BearerAuth(self.tokens, self.fetch_token))

    # -- login ---------------------------------------------------------------------------------------------

    def fetch_token(self) -> Token:
        """Ask the realm for a token with the client's own credentials (sheet 3).

        Raises ConfigurationError (code `token_refused`) for a refused login, RateLimited and Unavailable.
        """
        form = {
            "grant_type": "client_credentials",
            "client_id": self._context.credentials["client_id"],
            "client_secret": self._context.credentials["client_secret"],
        }
        if self.profile.scope:
            form["scope"] = self.profile.scope
        url = f"/auth/realms/{quote(self.profile.realm, safe='')}/protocol/openid-connect/token"
        answer = self._plain.request("POST", url, operation="token", data=form, repeat_safe=True, limits=("token",))
        if answer.status != 200:
            raise self._token_refusal(answer)
        body = _json_of(answer)
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token:
            raise Unavailable(
                "The token endpoint answered without a token.",
                code="unreadable_answer",
                remedy="If this stays so, check the connection's URL: the address may belong to another web site.",
                vendor="ifs_cloud",
                operation="token",
                status=answer.status,
            )
        return Token(token, _seconds(body.get("expires_in")))

    def _token_refusal(self, answer: Answer) -> IntegrationError:
        """Keycloak's refusal in plain words (sheet 3, table of errors)."""
        if answer.status in (408, 429) or answer.status >= 500:
            return failure(answer, operation="token", subject=Subject("token"))
        body = _json_of(answer)
        said = body if isinstance(body, dict) else {}
        code, text = str(said.get("error", "")), str(said.get("error_description", "") or said.get("error", ""))
        realm = self.profile.realm
        if answer.status == 404:
            message = f'The realm "{realm}" was not found at this address.'
            remedy = "Enter the realm's own name; it is often not the subdomain (host acme, realm acme1). Check the URL too."
        elif code == "invalid_scope":
            message = f'The realm refuses the scope "{self.profile.scope}".'
            remedy = "Correct the setting scope; IFS expects openid microprofile-jwt."
        elif code == "unsupported_grant_type":
            message = "The realm does not offer logins by client credentials."
            remedy = "Ask the IFS administrator for an IAM client with Service Accounts switched on."
        else:
            message = "IFS refused the client id or the client secret."
            remedy = "Enter id and secret again; in the IAM client, Service Accounts must be on and public access off."
        return ConfigurationError(
            message,
            code="token_refused",
            remedy=remedy,
            scope="connection",
            vendor="ifs_cloud",
            operation="token",
            status=answer.status,
            vendor_code=code,
            vendor_text=text,
        )

    # -- reading -------------------------------------------------------------------------------------------

    def root(self, target: Target) -> str:
        """Path of the projection or entity service that holds a set, below the base URL (sheet 2)."""
        profile = self.profile
        above = profile.entity_root if target.entity else f"/{profile.gateway}{profile.projection_root}"
        return f"{above}/{target.service}.svc"

    def pages(
        self,
        target: Target,
        *,
        operation: str,
        orderby: Sequence[str],
        where: str = "",
        select: Sequence[str] = (),
        top: int | None = None,
    ) -> Iterator[list[Row]]:
        """Yield the rows of a set page by page (sheet 4.4).

        `where` is a filter of `odata`, `orderby` the key fields: without a fixed order `$skip` would lose
        rows. Raises Unavailable (code `paging_stuck`) when a page comes twice.
        """
        size = min(top or self.profile.page_size, PAGE_SIZE_CAP)
        options: dict[str, str | int | None] = {
            "$select": ",".join(select) or None,
            "$filter": where or None,
            "$orderby": ",".join(orderby) or None,
            "$top": size,
        }
        place = f"{self.root(target)}/{target.set}"
        # `window` counts the rows since the last `$skip`: nextLinks cut one `$top` into smaller pages, and the last
        # of them is short although the list goes on behind the `$top`.
        url, total, window, seen = place + query_string(options), 0, 0, set[str]()
        before: list[Row] = []
        for _ in range(MAX_PAGES):
            seen.add(url)
            answer = self._get(url, operation, Subject("set", target))
            body = _json_of(answer)
            rows = body.get("value") if isinstance(body, dict) else None
            if not isinstance(rows, list) or not isinstance(body, dict):
                raise _unreadable(answer, operation)
            rows = [row if isinstance(row, dict) else {} for row in rows]
            link = body.get("@odata.nextLink")
            if rows and rows == before:
                raise _stuck(operation)
            yield rows
            total, window, before = total + len(rows), window + len(rows), rows
            if isinstance(link, str) and link:
                url = self._within(link, target)
            elif window >= size:
                url, window = place + query_string(options | {"$skip": total}), 0
            else:
                return
            if url in seen:
                raise _stuck(operation)
        raise ConfigurationError(
            f"{target.set} has more than {MAX_PAGES} pages of {size} rows.",
            code="too_many_pages",
            remedy=f"Narrow {target.path}.ready_states or {target.path}.ready_filter.",
            vendor="ifs_cloud",
            operation=operation,
        )

    def probe(self, target: Target, *, operation: str, where: str = "", select: Sequence[str] = ()) -> list[Row]:
        """At most one row of a set, to see whether it may be read."""
        options: dict[str, str | int | None] = {"$select": ",".join(select) or None, "$filter": where or None, "$top": 1}
        answer = self._get(f"{self.root(target)}/{target.set}{query_string(options)}", operation, Subject("set", target))
        body = _json_of(answer)
        if not isinstance(body, dict) or not isinstance(body.get("value"), list):
            raise _unreadable(answer, operation)
        return [row for row in body["value"] if isinstance(row, dict)]

    def get(self, target: Target, key: Mapping[str, Value], *, operation: str) -> Record:
        """Read one record by its key. Raises Rejected (code `document_gone`) when there is none."""
        url = f"{self.root(target)}/{target.set}{key_predicate(key)}"
        return _record(self._get(url, operation, Subject("record", target)), operation)

    def metadata(self, target: Target) -> Metadata:
        """The projection's `$metadata` (sheet 2). Raises Unavailable when the answer is something else."""
        url = f"{self.root(target)}/$metadata"
        answer = self._get(url, "metadata", Subject("set", target), accept="application/xml")
        try:
            return parse_metadata(answer.content)
        except NotMetadata as error:
            raise Unavailable(
                f"The description of {target.service} cannot be read: {error}.",
                code="unreadable_answer",
                remedy="Check the connection's URL, and the settings gateway and projection_root.",
                vendor="ifs_cloud",
                operation="metadata",
                status=answer.status,
            ) from error

    def types(self, target: Target) -> Mapping[str, str]:
        """EDM types by field of a set, as far as a refusal made us look; calls nobody."""
        return learning.known(f"{self._base}{self.root(target)}/{target.set}")

    def learn_types(self, target: Target) -> Mapping[str, str]:
        """The same, looked up in `$metadata`; nothing where that cannot be read, for there was a refusal before it."""
        try:
            types = self.metadata(target).properties(target.set)
        except IntegrationError:
            return learning.NOTHING
        learning.remember(f"{self._base}{self.root(target)}/{target.set}", types)
        return types

    def _get(self, url: str, operation: str, subject: Subject, *, accept: str = "application/json") -> Answer:
        return self._send("GET", url, operation, subject, headers={"Accept": accept}, total_s=self.profile.read_timeout_s)

    def _send(
        self,
        method: str,
        url: str,
        operation: str,
        subject: Subject,
        *,
        headers: dict[str, str],
        json: Row | None = None,
        data: bytes | None = None,
        total_s: float | None = None,
    ) -> Answer:
        """Send, repeat at once while IFS says that its own cache was stale, and raise what is no success."""
        for again in range(SAME_AGAIN + 1):
            answer = self._http.request(method, url, operation=operation, headers=headers, json=json, data=data, total_s=total_s)
            if 200 <= answer.status < 300:
                return answer
            if again == SAME_AGAIN or take_apart(answer).code != STALE_DESCRIPTION:
                raise failure(answer, operation=operation, subject=subject)
        raise AssertionError("unreachable: the last round returns or raises")

    def _within(self, link: str, target: Target) -> str:
        """The URL of a nextLink, which may be relative (sheet 4.4). `Http` refuses one of a foreign host."""
        if "://" in link.partition("?")[0]:
            return link
        base = urlsplit(self._base)
        if link.startswith("/"):
            # Some gateways know the prefix under which they are published, others do not.
            inside = base.path and link.startswith(base.path + "/")
            return f"{base.scheme}://{base.netloc}{link}" if inside else f"{self._base}{link}"
        service = self.root(target)
        above = service.rpartition("/")[0] if ".svc" in link.partition("?")[0] else service
        return f"{self._base}{above}/{link}"

    # -- writing -------------------------------------------------------------------------------------------

    def patch(self, target: Target, key: Mapping[str, Value], body: Row, etag: str, *, operation: str) -> Record | None:
        """PATCH under `If-Match` (sheet 5.1). The record after it, or None where the answer holds none (204).

        Raises Conflict when the record's version is not `etag` any more. A lost answer is Unavailable, not
        in doubt: the caller reads, compares and writes again, so repeating does no harm.
        """
        url, headers = self.patch_of(target, key, etag)
        answer = self._send("PATCH", url, operation, Subject("record", target), headers=headers, json=body)
        if answer.status == 204 or not answer.content:
            return None
        body_of = _json_of(answer)
        found = _etag(body_of, answer) if isinstance(body_of, dict) else ""
        return Record(body_of, found) if isinstance(body_of, dict) and found else None

    def patch_of(self, target: Target, key: Mapping[str, Value], etag: str) -> tuple[str, dict[str, str]]:
        """Path and headers of a PATCH."""
        headers = {"If-Match": etag, "Content-Type": "application/json", "Accept": "application/json"}
        return f"{self.root(target)}/{target.set}{key_predicate(key)}", headers

    def planned(self, target: Target, key: Mapping[str, Value], body: Row, etag: str, left: tuple[str, ...]) -> PlannedWrite:
        """That PATCH for people to look at; nothing is sent."""
        path, headers = self.patch_of(target, key, etag)
        return PlannedWrite(f"PATCH {self._base}{path}", headers, dict(body), left)

    def post_once(self, target: Target, body: Mapping[str, object], ticket: SendTicket, *, operation: str) -> Record:
        """POST a new record, once: IFS has no protection against the same request twice (sheet 5.1).

        Raises as `posted`; trouble on the way is NotSent or OutcomeUnknown.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{self.root(target)}/{target.set}"
        answer = self._http.request("POST", url, operation=operation, headers=headers, json=dict(body), once=ticket)
        return posted(answer, target, operation)

    def change(self, target: Target, key: Mapping[str, Value], decide: Callable[[Row], Row], *, operation: str) -> Change:
        """Read, let `decide` say which fields must be sent, PATCH them; the same again when the record moved.

        `decide` is asked on every fresh read and returns {} when nothing is to be done; what it raises ends
        the change. One loop for 412, 428, 409 and ORA-20114 (sheet 5.2). Raises Conflict after three rounds,
        Unavailable (code `not_written`) where an answer without the record turns out to have changed nothing.
        """
        days = learning.dates_of(self.types(target))
        for number in range(1, WRITE_TRIES + 1):
            record = self.get(target, key, operation=f"{operation}: read")
            body = _with_days(decide(record.row), record.row, days)
            if not body:
                return Change(record.etag, (), record.row)
            if not record.etag:
                raise ConfigurationError(
                    f"IFS gives no version stamp for {target.set}, so a change could overwrite somebody else's.",
                    code="etag_missing",
                    remedy=f"Name a projection in {target.path}.service whose records carry an ETag.",
                    vendor="ifs_cloud",
                    operation=operation,
                )
            try:
                after = self.patch(target, key, body, record.etag, operation=operation)
            except Conflict:
                if number == WRITE_TRIES:
                    raise
                pause(number)
                continue
            except Rejected:
                # An instant in a field that holds a day is refused: only the tenant knows which of its own fields do.
                sent = {name for name, value in body.items() if isinstance(value, Instant)}
                if number == WRITE_TRIES or days & sent or not sent:
                    raise
                days = learning.dates_of(self.learn_types(target))
                if not days & sent:
                    raise
                continue
            if after is None:
                after = self.get(target, key, operation=f"{operation}: version")
                if _with_days(decide(after.row), after.row, days):
                    # A gateway's own 200 looks like a success without a body; only the record proves the change.
                    raise Unavailable(
                        "IFS answered the change, but the record does not hold it.",
                        code="not_written",
                        vendor="ifs_cloud",
                        operation=operation,
                    )
            return Change(after.etag, tuple(body), record.row)
        raise AssertionError("unreachable: the last round returns or raises")


def _with_days(body: Row, row: Row, days: frozenset[str]) -> Row:
    """`body` with a day instead of an instant in these fields; left out where that day stands there already."""
    told = {name: value.day if name in days and isinstance(value, Instant) else value for name, value in body.items()}
    return {name: value for name, value in told.items() if name not in days or row.get(name) != value}


def pause(number: int) -> None:
    """A short, uneven wait before the next round, so that two writers do not meet again and again."""
    time.sleep(random.uniform(0.05, 0.25) * number)


# -- answers -----------------------------------------------------------------------------------------------


def take_apart(answer: Answer) -> Fault:
    """Read an error body of any shape (sheet 6): JSON with or without details, message as object, HTML, nothing."""
    body = _json_of(answer)
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        text = error if isinstance(error, str) else ""
        return Fault(text=text, json=isinstance(body, dict), html=answer.content.lstrip()[:1] == b"<")
    message = error.get("message")
    if isinstance(message, dict):
        message = message.get("value")
    raw_details = error.get("details")
    details = [d for d in raw_details if isinstance(d, dict)] if isinstance(raw_details, list) else []
    texts = [str(d.get("message") or "") for d in details]
    said = " ".join([*texts, str(message or "")])
    found = re.search(r"ORA-(\d{5})", said)
    ora = found.group(1) if found else next((c for d in details if re.fullmatch(r"\d{5}", c := str(d.get("code") or ""))), "")
    return Fault(str(error.get("code") or ""), next((t for t in texts if t), "") or str(message or ""), ora, True)


# Oracle codes as IFS uses them (sheet 6). What is not listed is a refusal for good.
_ORA_GONE = ("20111", "20115")
_ORA_PERMISSION = ("20106", "20117")
_ORA_TRANSIENT = ("20113", "04068")
_ORA_MODIFIED = "20114"
_ORA_STATE = ("20130", "20131", "20132")


def failure(answer: Answer, *, operation: str, subject: Subject) -> IntegrationError:
    """The error for an answer that is no success: what has to happen next decides the class (sheet 6)."""
    fault = take_apart(answer)
    text = fault.text
    rest: dict[str, Any] = {
        "vendor": "ifs_cloud",
        "operation": operation,
        "status": answer.status,
        "vendor_code": f"ORA-{fault.ora}" if fault.ora else fault.code,
        "vendor_text": text,
        "request_id": next((v for k, v in answer.headers.items() if k.lower() in ("x-request-id", "x-correlation-id")), ""),
    }
    status, target = answer.status, subject.target
    said = f": {_plain(text)}" if text else "."
    if fault.ora and status not in (401, 403, 429):
        return _ora_failure(fault, target, said, rest)
    # The codes whatever the status: documents do not agree on it (sheet 15, point 4).
    if status in (409, 412, 428) or fault.code in ("ODP_MISSING_PRECONDITION", "ODP_PRECONDITION_FAILED"):
        return Conflict("The record was changed in IFS between our read and our write.", code="version_moved", **rest)
    if status == 429:
        return RateLimited("IFS asks for a pause.", retry_after_s=_retry_after(answer), **rest)
    if status == 423:
        wait = _retry_after(answer, LOCKED_WAIT_S)
        return RateLimited("The record is locked in IFS for the moment.", code="locked", retry_after_s=wait, **rest)
    if status == 401:
        return ConfigurationError(
            "IFS does not accept the token, although it was just renewed.",
            code="unauthorized",
            remedy="Check that the realm belongs to this address and that the IAM client's service user is active.",
            **rest,
        )
    if status == 403:
        return _forbidden(target, said, rest)
    if status == 404:
        return _not_found(fault, subject, said, rest)
    if status in (405, 501) or fault.code == "ODP_NOT_IMPLEMENTED":
        named = f" (setting {target.path})" if target else ""
        remedy = "Check the names of projection and set in the settings, and the gateway."
        return ConfigurationError(f"IFS does not offer this here{named}{said}", code="not_offered", remedy=remedy, **rest)
    if status == 408 or status >= 500 or status < 400:
        return Unavailable(f"IFS cannot answer now (status {status}){said}", **rest)
    unknown = re.search(r"property '(\w+)'.*not defined", text, re.IGNORECASE)
    if target and (unknown or subject.kind == "set"):
        # A query of ours holds nothing of a single record: if IFS cannot read it, a name in the profile is wrong.
        what = f'IFS knows no field "{unknown.group(1)}" in {target.set}' if unknown else f"IFS refuses our query of {target.set}"
        code = "unknown_property" if unknown else "query_refused"
        remedy = (
            f"Compare the field names, the states and state_literal under {target.path} in the settings with the tenant (Ping)."
        )
        return ConfigurationError(f"{what}{said}", code=code, remedy=remedy, field=unknown.group(1) if unknown else "", **rest)
    return Rejected(f"IFS refused this{said}", code="refused", **rest)


def _ora_failure(fault: Fault, target: Target | None, said: str, rest: dict[str, Any]) -> IntegrationError:
    if fault.ora == _ORA_MODIFIED:
        return Conflict("The record was changed in IFS between our read and our write.", code="version_moved", **rest)
    if fault.ora in _ORA_GONE:
        return _gone(rest)
    if fault.ora in _ORA_TRANSIENT:
        code = "record_locked" if fault.ora == "20113" else "unavailable"
        return Unavailable(f"IFS cannot do this at the moment{said}", code=code, **rest)
    if fault.ora in _ORA_PERMISSION:
        return _forbidden(target, said, rest)
    if fault.ora in _ORA_STATE:
        remedy = "Look at the document's state in IFS, then replay."
        return Rejected(
            f"IFS does not allow this in the document's present state{said}", code="state_refused", remedy=remedy, **rest
        )
    return Rejected(f"IFS refused this{said}", code="refused", remedy="Correct the record in IFS, then replay.", **rest)


def _forbidden(target: Target | None, said: str, rest: dict[str, Any]) -> ConfigurationError:
    where = f" to {target.service} (setting {target.path}.service)" if target else ""
    message = f"IFS denies the service user access{where}{said}"
    return ConfigurationError(message, code="forbidden", remedy=PERMISSION_REMEDY, scope="connection", **rest)


def _gone(rest: dict[str, Any]) -> Rejected:
    return Rejected(
        "The document is not in IFS any more, or the service user may not see it.",
        code="document_gone",
        remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
        **rest,
    )


def _not_found(fault: Fault, subject: Subject, said: str, rest: dict[str, Any]) -> IntegrationError:
    """404: unknown projection, unknown set, wrong address, or a record that is gone (sheet 6)."""
    target = subject.target
    if target and "metadata not found" in fault.text.lower():
        setting = f"{target.path}.service"
        message = f'IFS knows no projection "{target.service}" (setting {setting}).'
        remedy = f"Correct {setting}: customised tenants often name it with a leading C. Entity services must be activated first."
        return ConfigurationError(message, code="unknown_projection", remedy=remedy, field=setting, **rest)
    if subject.kind == "record":
        if fault.html:  # a gateway speaks, not IFS: it proves nothing about the record
            return Unavailable("The gateway in front of IFS did not find the way.", **rest)
        return _gone(rest)
    if target and fault.json:
        setting = f"{target.path}.set"
        message = f'{target.service} has no set "{target.set}" (setting {setting}){said}'
        remedy = f"Correct {setting}; the ping lists the nearest names."
        return ConfigurationError(message, code="unknown_set", remedy=remedy, field=setting, **rest)
    remedy = "Check the connection's URL and the settings gateway, projection_root and entity_root."
    return ConfigurationError("There is no IFS at this address (404).", code="unknown_path", remedy=remedy, **rest)


def posted(answer: Answer, target: Target, operation: str) -> Record:
    """The record that a POST made. What proves that none was made is raised as in `failure`, all else as OutcomeUnknown."""
    body = _json_of(answer)
    if 200 <= answer.status < 300 and isinstance(body, dict):
        return Record(body, _etag(body, answer))
    if answer.status == 201 and not answer.content.strip() and (key := _key_in(answer.headers.get("Location", ""))):
        return Record(key, _etag({}, answer))  # made, and told by its address alone
    error = failure(answer, operation=operation, subject=Subject("record", target))
    fault = take_apart(answer)
    if fault.code == STALE_DESCRIPTION:
        # As proven as a request that never left: IFS did not begin, and expects the same one again (sheet 6).
        raise NotSent(
            "IFS had to read its own description of the projection anew, and asks for the same request again.",
            code="asked_again",
            vendor="ifs_cloud",
            operation=operation,
            status=answer.status,
            vendor_code=fault.code,
        )
    told = fault.json and (fault.code or fault.ora or fault.text)
    if isinstance(error, Rejected | ConfigurationError | RateLimited) and (told or answer.status in (401, 403, 429)):
        raise error
    raise OutcomeUnknown(
        f"IFS answered with status {answer.status}, which does not say whether it was done.",
        vendor="ifs_cloud",
        operation=operation,
        status=answer.status,
        vendor_code=fault.code,
        vendor_text=fault.text,
    ) from error


_LAST_KEY = re.compile(r"\(((?:[^()']|'(?:[^']|'')*')*)\)/?$")
_KEY_PART = re.compile(r"([A-Za-z_]\w*)=('(?:[^']|'')*'|-?\d+)")


def _key_in(location: str) -> Row:
    """The key of the record to which a Location leads, {} where it tells none (sheet 4.1: names are always written)."""
    found = _LAST_KEY.search(unquote(location.partition("?")[0]))
    parts = _KEY_PART.findall(found.group(1)) if found else []
    return {name: value[1:-1].replace("''", "'") if value.startswith("'") else value for name, value in parts}


def _record(answer: Answer, operation: str) -> Record:
    body = _json_of(answer)
    if not isinstance(body, dict):
        raise _unreadable(answer, operation)
    return Record(body, _etag(body, answer))


def _etag(body: Row, answer: Answer) -> str:
    """The version stamp: in the body first, else the header (sheet 5.2); "" where there is none."""
    found = body.get("@odata.etag")
    if isinstance(found, str) and found:
        return found
    return next((str(value) for name, value in answer.headers.items() if name.lower() == "etag"), "")


def _json_of(answer: Answer) -> Any:
    """The body as JSON, None where it is none: a gateway may answer HTML or nothing at all (sheet 6)."""
    if not answer.content.strip():
        return None
    try:
        return answer.json()
    except ValueError:
        return None


def _unreadable(answer: Answer, operation: str) -> Unavailable:
    return Unavailable(
        "The answer is not what IFS sends: a page of a gateway or a login form may stand in the way.",
        code="unreadable_answer",
        remedy="If this stays so, check the connection's URL and the settings gateway and projection_root.",
        vendor="ifs_cloud",
        operation=operation,
        status=answer.status,
    )


def _stuck(operation: str) -> Unavailable:
    message = "IFS gave the same page of a list twice; nothing of this list can be trusted."
    return Unavailable(message, code="paging_stuck", vendor="ifs_cloud", operation=operation)


def _plain(text: str) -> str:
    """The first line of IFS's text without the Oracle prefix, for people."""
    return re.sub(r"^ORA-\d{5}:\s*", "", text.strip().splitlines()[0] if text.strip() else "")


def _seconds(value: object) -> float:
    """`expires_in`, also as text."""
    try:
        seconds = Decimal(str(value))
    except InvalidOperation:
        return TOKEN_LIFE_UNSAID_S
    return float(seconds) if seconds.is_finite() and seconds > 0 else TOKEN_LIFE_UNSAID_S


def _retry_after(answer: Answer, unsaid: float | None = None) -> float:
    """Seconds to wait: `Retry-After` where given; else `unsaid`, else a random part of up to 60 s (sheet 6)."""
    said = retry_after_s(answer)
    if said is not None:
        return said
    return unsaid if unsaid is not None else random.uniform(1.0, 60.0)

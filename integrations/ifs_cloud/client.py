"""IFS Cloud over HTTP: token, paths, pages, versions. Speaks IFS's JSON; knows no flow.

A token comes from the realm's endpoint (sheet 3). Lists are paged by nextLink or, where a full page has
none, by `$skip` (sheet 4.4). Changes go under `If-Match` and are repeated after a fresh look when the
record moved (sheet 5.2). What an answer means, `answers` says.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from integrations.base.auth import BearerAuth
from integrations.base.context import Context, Token
from integrations.base.errors import (
    ConfigurationError,
    Conflict,
    IntegrationError,
    Rejected,
    Unavailable,
)
from integrations.base.http import Answer
from integrations.base.preview import PlannedWrite
from integrations.base.roles import SendTicket
from integrations.ifs_cloud import learning
from integrations.ifs_cloud.answers import (
    STALE_DESCRIPTION,
    Record,
    Row,
    Subject,
    etag_of,
    failure,
    json_of,
    posted,
    record_in,
    seconds_of,
    stuck,
    take_apart,
    unreadable,
)
from integrations.ifs_cloud.odata import Instant, Metadata, NotMetadata, Value, key_predicate, parse_metadata, query_string
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.targets import Target

MAX_PAGES = 5000
"""Pages of one list; a million rows at the default page size. More is a filter that lets everything in."""
WRITE_TRIES = 3
"""Rounds of read and PATCH before a record that keeps moving is given up for now (sheet 5.2)."""
SAME_AGAIN = 2
"""Repeats at once after MI_MODIFIED_ERROR (sheet 6)."""


@dataclass(frozen=True, slots=True)
class Change:
    """What `IfsClient.change` did: the version after it, the fields sent (none: all stood right), the record as it was read."""

    version: str
    sent: tuple[str, ...]
    row: Row


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
        body = json_of(answer)
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
        return Token(token, seconds_of(body.get("expires_in")))

    def _token_refusal(self, answer: Answer) -> IntegrationError:
        """Keycloak's refusal in plain words (sheet 3, table of errors)."""
        if answer.status in (408, 429) or answer.status >= 500:
            return failure(answer, operation="token", subject=Subject("token"))
        body = json_of(answer)
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
            body = json_of(answer)
            rows = body.get("value") if isinstance(body, dict) else None
            if not isinstance(rows, list) or not isinstance(body, dict):
                raise unreadable(answer, operation)
            rows = [row if isinstance(row, dict) else {} for row in rows]
            link = body.get("@odata.nextLink")
            if rows and rows == before:
                raise stuck(operation)
            yield rows
            total, window, before = total + len(rows), window + len(rows), rows
            if isinstance(link, str) and link:
                url = self._within(link, target)
            elif window >= size:
                url, window = place + query_string(options | {"$skip": total}), 0
            else:
                return
            if url in seen:
                raise stuck(operation)
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
        body = json_of(answer)
        if not isinstance(body, dict) or not isinstance(body.get("value"), list):
            raise unreadable(answer, operation)
        return [row for row in body["value"] if isinstance(row, dict)]

    def get(self, target: Target, key: Mapping[str, Value], *, operation: str) -> Record:
        """Read one record by its key. Raises Rejected (code `document_gone`) when there is none."""
        url = f"{self.root(target)}/{target.set}{key_predicate(key)}"
        return record_in(self._get(url, operation, Subject("record", target)), operation)

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
        body_of = json_of(answer)
        found = etag_of(body_of, answer) if isinstance(body_of, dict) else ""
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

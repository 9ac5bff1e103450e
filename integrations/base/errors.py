"""What went wrong, told by what has to happen next. The class alone decides the reaction.

IntegrationError            vendor, operation, status, vendor code, request id, redacted text
├── ConfigurationError      wrong secret, URL, permission, setting: pause its scope, tell operations
├── Rejected                understood and refused: fail this record; mend; replay
│   ├── AddressDoubtful     the carrier doubts where it goes: show both addresses, a person decides
│   └── FieldConflict       our field holds somebody else's value: show both, a person decides
├── Conflict                changed under us (412, 428, 409): read again and retry, bounded
├── RateLimited             wait until `retry_after_s` has passed; not counted as an attempt
├── Unavailable             5xx, refused connection, time-out of a read: again later, growing delay
│   └── NotSent             proven: not one byte of the request left (DNS, connect, TLS, deadline)
└── OutcomeUnknown          a send that may have done its work: look it up, never send it again blindly
"""

from __future__ import annotations

from typing import Literal

ScopeKind = Literal["connection", "company", "site", "integration"]


class IntegrationError(Exception):
    """Base of everything a vendor, or our way to it, can do wrong.

    `code` is a stable lower-case word of ours for machines ("token_refused"), `message` one sentence for
    people, `remedy` what to do about it. `vendor_code` and `vendor_text` are the vendor's own words,
    redacted by the HTTP layer before they reach an exception.
    """

    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        remedy: str = "",
        vendor: str = "",
        operation: str = "",
        status: int | None = None,
        vendor_code: str = "",
        vendor_text: str = "",
        request_id: str = "",
        field: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.remedy = remedy
        self.vendor = vendor
        self.operation = operation
        self.status = status
        self.vendor_code = vendor_code
        self.vendor_text = vendor_text
        self.request_id = request_id
        self.field = field

    def as_dict(self) -> dict[str, object]:
        """The error as plain data, for rows and logs. Empty members are left out."""
        names = (
            "code",
            "message",
            "remedy",
            "vendor",
            "operation",
            "status",
            "vendor_code",
            "vendor_text",
            "request_id",
            "field",
        )
        return {"class": type(self).__name__} | {n: getattr(self, n) for n in names if getattr(self, n) not in ("", None)}


class ConfigurationError(IntegrationError):
    """Nothing will work until a person changes something. `scope` and `scope_name` say what stops.

    `scope_name` is the company code or site code; empty for the connection at fault or the integration.
    """

    default_code = "configuration"

    def __init__(self, message: str, *, scope: ScopeKind = "connection", scope_name: str = "", **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.scope = scope
        self.scope_name = scope_name


class Rejected(IntegrationError):
    """This record was understood and refused. It needs a person; replay runs it again."""

    default_code = "rejected"


class FieldConflict(Rejected):
    """A field that we want to write holds a value that is neither what we read nor ours."""

    default_code = "field_conflict"

    def __init__(self, message: str, *, theirs: str = "", ours: str = "", **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.theirs = theirs
        self.ours = ours

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"theirs": self.theirs, "ours": self.ours}


class AddressDoubtful(Rejected):
    """The carrier doubts the recipient's address, and nothing was bought. `mark` tells this address from a later one.

    `written` and `proposed` are addresses as plain data; no proposal where the carrier has none.
    """

    default_code = "address_doubtful"

    def __init__(
        self,
        message: str,
        *,
        written: dict[str, object],
        proposed: dict[str, object] | None,
        mark: str,
        verdict: str,
        **rest: object,
    ) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.written = written
        self.proposed = proposed
        self.mark = mark
        self.verdict = verdict

    def as_dict(self) -> dict[str, object]:
        more = {"written": self.written, "proposed": self.proposed, "mark": self.mark, "verdict": self.verdict}
        return super().as_dict() | more


class Conflict(IntegrationError):
    """The record's version moved between our read and our write, more often than we are willing to chase."""

    default_code = "conflict"


class RateLimited(IntegrationError):
    """The vendor, or our own limiter in front of it, says: later. Seconds from now in `retry_after_s`."""

    default_code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: float, **rest: object) -> None:
        super().__init__(message, **rest)  # type: ignore[arg-type]
        self.retry_after_s = retry_after_s


class Unavailable(IntegrationError):
    """The vendor cannot answer now. Nothing was changed there, or what was asked may be repeated."""

    default_code = "unavailable"


class NotSent(Unavailable):
    """Proven: the request never left this machine (DNS, connect, TLS, or its deadline had passed before)."""

    default_code = "not_sent"


class OutcomeUnknown(IntegrationError):
    """The request left and no readable answer came: it may or may not have done its work."""

    default_code = "outcome_unknown"

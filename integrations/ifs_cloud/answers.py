"""What IFS's answers mean: the record in one, or the class of `base.errors` that decides what comes next (sheet 6)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from urllib.parse import unquote

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
from integrations.ifs_cloud.targets import Target

Row = dict[str, Any]

LOCKED_WAIT_S = 30.0
"""Seconds to wait on 423 (sheet 6)."""
TOKEN_LIFE_UNSAID_S = 60.0
"""Seconds a token is trusted whose life was not told: short, because the shortest real ones live three minutes."""
STALE_DESCRIPTION = "MI_MODIFIED_ERROR"

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


def take_apart(answer: Answer) -> Fault:
    """Read an error body of any shape (sheet 6): JSON with or without details, message as object, HTML, nothing."""
    body = json_of(answer)
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
    body = json_of(answer)
    if 200 <= answer.status < 300 and isinstance(body, dict):
        return Record(body, etag_of(body, answer))
    if answer.status == 201 and not answer.content.strip() and (key := _key_in(answer.headers.get("Location", ""))):
        return Record(key, etag_of({}, answer))  # made, and told by its address alone
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


def record_in(answer: Answer, operation: str) -> Record:
    body = json_of(answer)
    if not isinstance(body, dict):
        raise unreadable(answer, operation)
    return Record(body, etag_of(body, answer))


def etag_of(body: Row, answer: Answer) -> str:
    """The version stamp: in the body first, else the header (sheet 5.2); "" where there is none."""
    found = body.get("@odata.etag")
    if isinstance(found, str) and found:
        return found
    return next((str(value) for name, value in answer.headers.items() if name.lower() == "etag"), "")


def json_of(answer: Answer) -> Any:
    """The body as JSON, None where it is none: a gateway may answer HTML or nothing at all (sheet 6)."""
    if not answer.content.strip():
        return None
    try:
        return answer.json()
    except ValueError:
        return None


def unreadable(answer: Answer, operation: str) -> Unavailable:
    return Unavailable(
        "The answer is not what IFS sends: a page of a gateway or a login form may stand in the way.",
        code="unreadable_answer",
        remedy="If this stays so, check the connection's URL and the settings gateway and projection_root.",
        vendor="ifs_cloud",
        operation=operation,
        status=answer.status,
    )


def stuck(operation: str) -> Unavailable:
    message = "IFS gave the same page of a list twice; nothing of this list can be trusted."
    return Unavailable(message, code="paging_stuck", vendor="ifs_cloud", operation=operation)


def _plain(text: str) -> str:
    """The first line of IFS's text without the Oracle prefix, for people."""
    return re.sub(r"^ORA-\d{5}:\s*", "", text.strip().splitlines()[0] if text.strip() else "")


def seconds_of(value: object) -> float:
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

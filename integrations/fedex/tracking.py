"""Track answers and webhook pushes of FedEx as `ParcelNews`: pure functions (sheet 11, 14, 16)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from integrations.base import tracking as state
from integrations.base.tracking import ParcelNews, Scan, TrackQuery, UnreadablePush
from integrations.fedex import answers
from integrations.fedex.reading import as_dict as _dict
from integrations.fedex.reading import as_list as _list

NUMBERS_PER_CALL = 30
"""Track takes no more (sheet 11.1)."""
SEARCH_DAYS = 30
SCANS_PER_PARCEL = 200
YEARS = (1990, 2100)
"""A time outside of these is none: near the ends of the calendar it could not even be converted."""
OF_ONE_NUMBER = ("TRACKING.TRACKINGNUMBER.", "TRACKING.SHIPDATE")
"""How the codes begin by which FedEx refuses a whole request for the sake of one of its numbers (sheet 11.4)."""
NOT_KNOWN = "TRACKING.TRACKINGNUMBER.NOTFOUND"
NO_PROOF = frozenset({NOT_KNOWN, "TRACKINGDOCUMENT.DOCUMENT.UNAVAILABLE"})
"""There is no proof of delivery to be had (yet)."""
ELSEWHERE = frozenset({"RR", "RM", "RA", "PR", "AS", "HA", "RS", "RT"})
"""After these events a parcel may go to another place than it was sent to (sheet 14)."""
SIGNATURE_HEADER = "fdx-signature"


def _table(**rows: str) -> dict[str, str]:
    return {code: status for status, line in rows.items() for code in line.split()}


STATUS = _table(
    label_created="OC OX EP MD DS IN",
    picked_up="PU PX AP OF DO IP",  # PD, a delay of the pickup, is an exception
    in_transit="IT IX OW AR DP LO AA EA EO PF PL AC AX FD AF SF TR PM CC CP CH SP AE AO DR",
    out_for_delivery="OD ED AD",
    ready_for_pickup="HL HP HA",
    exception="DE SE CD DY DD PY PD",
    delivered="DL",
    returning="RS RT",
    cancelled="CA",
)
"""Status and event codes by our state (sheet 14). A code that is not here is kept and moves nothing."""
DERIVED_ONLY = {"IN"}
"""As an event type it is on-demand care; as a derived code it means that only the label exists."""


def status_of(code: object, *, derived: bool = False) -> str:
    """Our state for a code, "" for one that says nothing about the state or that nobody has told us about."""
    word = str(code or "").strip().upper()
    return "" if word in DERIVED_ONLY and not derived else STATUS.get(word, "")


def is_number(text: str) -> bool:
    """Whether a text is a FedEx tracking number (sheet 18): 12 or 15 digits with their check digit, or 20 or 22 digits."""
    if not text.isascii() or not text.isdigit():
        return False
    digits = [int(digit) for digit in text]
    if len(digits) == 12:
        return sum(digit * (3, 1, 7)[place % 3] for place, digit in enumerate(digits[:11])) % 11 % 10 == digits[11]
    if len(digits) == 15:
        return sum(digit * (1, 3)[place % 2] for place, digit in enumerate(reversed(digits))) % 10 == 0
    return len(digits) in (20, 22)


# -- asking --------------------------------------------------------------------------------------------------


def build_track(queries: Sequence[TrackQuery], today: dt.date) -> dict[str, object]:
    """The body for up to 30 numbers (sheet 11.1). The date range tells a number in use from the one before it."""
    return {"includeDetailedScans": True, "trackingInfo": [_asked(query, today) for query in queries]}


def _asked(query: TrackQuery, until: dt.date) -> dict[str, object]:
    number: dict[str, object] = {"trackingNumber": query.tracking_number}
    if query.unique_id:
        number["trackingNumberUniqueId"] = query.unique_id
    asked: dict[str, object] = {"trackingNumberInfo": number}
    if query.ship_date is not None and query.ship_date <= until:
        # Not in the future, and no longer than 30 days (sheet 11.4). A range that leaves out the ship date would find nothing.
        begin = query.ship_date - dt.timedelta(days=1)
        end = min(until, begin + dt.timedelta(days=SEARCH_DAYS))
        asked |= {"shipDateBegin": begin.isoformat(), "shipDateEnd": end.isoformat()}
    return asked


# -- reading -------------------------------------------------------------------------------------------------


def read_news(payload: object, queries: Sequence[TrackQuery] = ()) -> dict[str, ParcelNews | tuple[str, str]]:
    """News by number; (code, line for people) where FedEx gave an error for a number. What is not answered is left out."""
    asked = {query.tracking_number: query for query in queries}
    found: dict[str, ParcelNews | tuple[str, str]] = {}
    for number, results in _by_number(payload).items():
        good = _good(results)
        if good:
            found[number] = _news(number, _choose(good, asked.get(number)))
            continue
        error = next(map(_dict, _list(results[0].get("error"))), {})
        code, line = _text(error.get("code")).upper(), _text(error.get("message")) or "no reason given"
        found[number] = ParcelNews(number, known=False) if code == NOT_KNOWN else (code, line)
    return found


def _by_number(payload: object) -> dict[str, list[dict[str, Any]]]:
    """`completeTrackResults` as documented, and the flat form that some receive (sheet 16)."""
    answer = payload if isinstance(payload, dict) else {}
    output = answer.get("output")
    body = output if isinstance(output, dict) else answer
    groups: dict[str, list[dict[str, Any]]] = {}
    entries = [entry for entry in _list(body.get("completeTrackResults")) if isinstance(entry, dict)]
    for entry in entries or [body]:
        for result in _list(entry.get("trackResults")):
            if not isinstance(result, dict):
                continue
            info = _dict(result.get("trackingNumberInfo"))
            number = (
                _text(info.get("trackingNumber")) or _text(result.get("trackingNumber")) or _text(entry.get("trackingNumber"))
            )
            if number:
                groups.setdefault(number, []).append(result)
    return groups


def _good(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [result for result in results if not result.get("error")]


def _choose(results: list[dict[str, Any]], query: TrackQuery | None) -> dict[str, Any]:
    """The one that is ours where FedEx has used the number again (sheet 11.2)."""
    if query is not None and query.unique_id:
        ours = [r for r in results if _text(_dict(r.get("trackingNumberInfo")).get("trackingNumberUniqueId")) == query.unique_id]
        results = ours or results
    if query is not None and query.ship_date is not None:
        dated = [(abs((day - query.ship_date).days), n) for n, r in enumerate(results) if (day := _ship_date(r)) is not None]
        if dated:
            return results[min(dated)[1]]
    newest = [(max((s.at for s in _scans(r)), default=dt.datetime.min.replace(tzinfo=dt.UTC)), n) for n, r in enumerate(results)]
    return results[max(newest)[1]]


def _news(number: str, result: dict[str, Any], told_at: dt.datetime | None = None) -> ParcelNews:
    delivery, place = _dict(result.get("deliveryDetails")), _sent_to(result)
    return ParcelNews(
        tracking_number=number,
        scans=_scans(result, told_at),
        unique_id=_text(_dict(result.get("trackingNumberInfo")).get("trackingNumberUniqueId"))[:80],
        ship_date=_ship_date(result),
        estimated_delivery=_estimated(result),
        delivered_at=_delivered(result),
        signed_by=(_text(delivery.get("signedByName")) or _text(delivery.get("receivedByName")))[:120],
        recipient_country=_text(place.get("countryCode")).upper()[:2],
        recipient_postal_code=_text(place.get("postalCode"))[:20],
        package_count=int(count) if (count := _text(_dict(result.get("packageDetails")).get("count"))).isdecimal() else None,
        told_at=told_at,
    )


def _sent_to(result: dict[str, Any]) -> dict[str, Any]:
    """The recipient's address; empty where somebody has had the parcel sent elsewhere, or it goes back (sheet 11.2, 14)."""
    events = {_text(_dict(event).get("eventType")).upper() for event in _list(result.get("scanEvents"))}
    return {} if events & ELSEWHERE else _dict(_dict(result.get("recipientInformation")).get("address"))


def _scans(result: dict[str, Any], told_at: dt.datetime | None = None) -> tuple[Scan, ...]:
    unique = _text(_dict(result.get("trackingNumberInfo")).get("trackingNumberUniqueId"))
    scans = {}
    for event in _list(result.get("scanEvents"))[:SCANS_PER_PARCEL]:
        made = _scan(unique, event) if isinstance(event, dict) else None
        if made is not None:
            scans[made.key] = made
    latest = _latest(unique, result, scans.values(), told_at)
    if latest is not None:
        scans[latest.key] = latest
    return tuple(scans.values())


def _scan(unique: str, event: dict[str, Any]) -> Scan | None:
    at = moment(event.get("date"))
    if at is None:
        return None
    code = _text(event.get("eventType"))
    # A return is told by the event itself, whatever it derives to (sheet 11.3).
    status = status_of(code) if status_of(code) == state.RETURNING else ""
    status = status or status_of(event.get("derivedStatusCode"), derived=True) or status_of(code)
    words = " ".join(filter(None, (_text(event.get("eventDescription")), _text(event.get("exceptionDescription")))))
    return Scan(
        key=_key(unique, at, code, _text(event.get("exceptionCode")), _text(event.get("locationId"))),
        at=at,
        status=status,
        code=code[:20],
        text=words[:300],
        place=_place(_dict(event.get("scanLocation"))),
    )


def _latest(unique: str, result: dict[str, Any], scans: Any, told_at: dt.datetime | None) -> Scan | None:
    """The summary as an event, where no scan tells it: short pushes carry nothing else. None where it adds nothing.

    Its time is one that FedEx states, else that of the newest scan, else when the push was made.
    """
    detail = _dict(result.get("latestStatusDetail"))
    code = _text(detail.get("code")) or _text(detail.get("derivedCode"))
    status = status_of(detail.get("derivedCode"), derived=True) or status_of(detail.get("code"))
    if not code or not status:
        return None
    times = {_text(t.get("type")): moment(t.get("dateTime")) for t in map(_dict, _list(result.get("dateAndTimes")))}
    known = sorted((scan.at, scan.status) for scan in scans)
    if status == state.DELIVERED:
        at = times.get("ACTUAL_DELIVERY") or (known[-1][0] if known else told_at)
        if at is None:
            return None
        if any(told == state.RETURNING for _, told in known):
            status = state.RETURNED  # delivered at the shipper, whatever the times of the scans say (sheet 11.3)
        elif any(told == state.DELIVERED for _, told in known):
            return None
    elif not _is_ahead(status, [told for _, told in known if told]):
        return None  # the scans say it themselves, with their own times
    elif known:
        at = known[-1][0]
    else:
        at = times.get("ACTUAL_PICKUP") or times.get("SHIPMENT_DATA_RECEIVED") or times.get("SHIP") or told_at
        if at is None:
            return None
    text = _text(detail.get("description")) or _text(detail.get("statusByLocale"))
    place = _place(_dict(detail.get("scanLocation")))
    return Scan(_key(unique, at, code, "latest", ""), at, status, code[:20], text[:300], place)


def _is_ahead(status: str, told: Sequence[str]) -> bool:
    """Whether a summary says more than the scans, of which the newest is the last: it may only move a parcel forward."""
    if not told:
        return True
    if told[-1] not in state.PROGRESS:
        return False
    return status not in state.PROGRESS or state.PROGRESS.index(status) > state.PROGRESS.index(told[-1])


def _key(unique: str, at: dt.datetime, *parts: str) -> str:
    """FedEx gives events no id (sheet 11.2)."""
    told = "\x00".join((unique, at.astimezone(dt.UTC).isoformat(), *parts))
    return hashlib.sha256(told.encode()).hexdigest()


def _place(location: dict[str, Any]) -> str:
    parts = (_text(location.get(name)) for name in ("city", "stateOrProvinceCode", "countryCode"))
    return ", ".join(filter(None, parts))[:120]


def _ship_date(result: dict[str, Any]) -> dt.date | None:
    times = {_text(t.get("type")): t.get("dateTime") for t in map(_dict, _list(result.get("dateAndTimes")))}
    return day(times.get("SHIP")) or day(times.get("ACTUAL_PICKUP"))


def _estimated(result: dict[str, Any]) -> dt.date | None:
    """The window FedEx estimates, else its estimated or standard time (sheet 11.3)."""
    window = _dict(_dict(result.get("estimatedDeliveryTimeWindow")).get("window"))
    times = {_text(t.get("type")): t.get("dateTime") for t in map(_dict, _list(result.get("dateAndTimes")))}
    standard = _dict(_dict(result.get("standardTransitTimeWindow")).get("window"))
    told = (
        window.get("ends"),
        window.get("begins"),
        times.get("ESTIMATED_DELIVERY"),
        standard.get("ends"),
        standard.get("begins"),
    )
    return next((found for value in told if (found := day(value)) is not None), None)


def _delivered(result: dict[str, Any]) -> dt.datetime | None:
    """When FedEx says that it was delivered (sheet 11.3); a midnight is a mere date (sheet 11.2)."""
    times = {_text(t.get("type")): moment(t.get("dateTime")) for t in map(_dict, _list(result.get("dateAndTimes")))}
    at = times.get("ACTUAL_DELIVERY")
    return at if at is not None and at.time() != dt.time(0) else None


def moment(value: object) -> dt.datetime | None:
    """An instant; without an offset it counts as UTC. None for what is no time, or lies outside of ours."""
    text = _text(value)
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    found = found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
    return found if YEARS[0] <= found.year < YEARS[1] else None


def day(value: object) -> dt.date | None:
    """The date as FedEx writes it: local to the place meant, never converted (sheet 11.2)."""
    found = moment(value)
    return found.date() if found is not None else None


# -- pushes --------------------------------------------------------------------------------------------------


def is_signed(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    """Whether one of the security tokens signed these bytes: HMAC-SHA256, base64 or hexadecimal (sheet 16)."""
    given = next((value for name, value in headers.items() if name.lower() == SIGNATURE_HEADER), "").strip()
    good = False
    for secret in secrets:
        digest = hmac.new(secret.encode(), raw, hashlib.sha256).digest()
        for form in (base64.b64encode(digest).decode(), digest.hex()):
            shown = given.lower() if form == digest.hex() else given
            # No early end: how long it takes must not tell which one came close.
            good |= hmac.compare_digest(form.encode(), shown.encode("utf-8", "replace"))
    return good


def read_push(raw: bytes) -> tuple[ParcelNews, ...]:
    """News in a webhook body, one for each result: of a number that was used twice, whoever holds it takes his own.

    Empty where it holds none (a proof of delivery). Raises UnreadablePush for what is no JSON object.
    """
    try:
        payload = answers.parse_json(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        payload = None
    if not isinstance(payload, dict):
        raise UnreadablePush("no JSON object")
    told_at = _pushed_at(payload)
    return tuple(_news(number, one, told_at) for number, results in _by_number(payload).items() for one in _good(results))


def _pushed_at(payload: dict[str, Any]) -> dt.datetime | None:
    """When the push was made: the first time among its attempts (sheet 16; the names of the keys are not told)."""
    rows = map(_dict, _list(payload.get("outputMetaData")))
    return min((at for row in rows for value in row.values() if (at := moment(value)) is not None), default=None)


# -- proof of delivery ---------------------------------------------------------------------------------------


def build_proof(query: TrackQuery, today: dt.date, account: str) -> dict[str, object]:
    """The body that asks for the signature proof of delivery as PDF (sheet 13)."""
    # Not up to today: where FedEx's day has not begun yet, that would be in the future (sheet 11.4).
    specification = _asked(query, today - dt.timedelta(days=1)) | {"accountNumber": account}
    return {
        "trackDocumentDetail": {"documentType": "SIGNATURE_PROOF_OF_DELIVERY", "documentFormat": "PDF"},
        "trackDocumentSpecification": [specification],
    }


def read_proof(payload: object) -> bytes | None:
    """The document's bytes; `documents` on record, `document` in the schema (sheet 13)."""
    output = _dict(_dict(payload).get("output"))
    for text in (*_list(output.get("documents")), *_list(output.get("document"))):
        if isinstance(text, str) and text:
            try:
                return base64.b64decode(text, validate=False)
            except ValueError:  # bad padding, or no ASCII at all
                continue
    return None


def _text(value: object) -> str:
    """Text as the database can keep it: NUL and halves of surrogate pairs, which JSON may hold, are left out."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = str(value)
    if not text.isprintable():
        text = text.replace("\0", "").encode("utf-8", "ignore").decode()
    return text.strip()


__all__ = [
    "NUMBERS_PER_CALL",
    "build_proof",
    "build_track",
    "is_number",
    "is_signed",
    "read_news",
    "read_proof",
    "read_push",
    "status_of",
]

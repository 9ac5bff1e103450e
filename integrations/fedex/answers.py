"""FedEx's answers to our records: tolerant of every variation on record. Pure: no network, no clock.

What is asked for is built in `integrations.fedex.mapping`.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from integrations.base.context import Token
from integrations.base.errors import Rejected
from integrations.base.records import (
    BoughtPackage,
    BoughtShipment,
    FoundShipment,
    LabelFile,
    Money,
    Pending,
    ShipmentRequest,
    VoidResult,
)
from integrations.fedex import codes
from integrations.fedex.mapping import label_specification
from integrations.fedex.reading import as_date as _date
from integrations.fedex.reading import as_decimal as _decimal
from integrations.fedex.reading import as_dict as _dict
from integrations.fedex.reading import as_int as _int
from integrations.fedex.reading import as_list as _list
from integrations.fedex.reading import as_text as _text

# -- reading: small tolerant helpers -----------------------------------------------------------------------


_NOT_KEPT: Final = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)


def parse_json(text: str) -> object:
    """The JSON in `text` with Decimals for fractions; None where it is no JSON (HTML, cut off, empty).

    NUL and halves of surrogate pairs, which JSON may hold and no database keeps, are left out.
    """
    try:
        found: object = json.loads(text, parse_float=Decimal)
        return _kept(found) if _NOT_KEPT.search(text) else found
    except (ValueError, RecursionError):
        return None


def _kept(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, dict):
        return {_kept(key): _kept(one) for key, one in value.items()}
    return [_kept(one) for one in value] if isinstance(value, list) else value


def transaction_id(payload: object) -> str:
    """FedEx's own id of the exchange, longer than a UUID at times (sheet 4); empty where there is none."""
    return _text(_dict(payload).get("transactionId"))[:128]


def read_token(payload: object) -> Token | None:
    """The token of a login answer with the life that FedEx gives it (sheet 2); None where either is missing."""
    answer = _dict(payload)
    value, life = _text(answer.get("access_token")), _decimal(answer.get("expires_in"))
    return Token(value, float(life)) if value and life is not None and life > 0 else None


def describe_notice(notice: object) -> str:
    """One alert or error as a line: kind, code, text, parameters. Empty for what says nothing."""
    if not isinstance(notice, dict):
        return _text(notice)
    head = " ".join(filter(None, (_text(notice.get("alertType")), _text(notice.get("code")))))
    parameters = ", ".join(
        f"{_text(p.get('key'))}={_text(p.get('value'))}" for p in _list(notice.get("parameterList")) if isinstance(p, dict)
    )
    line = ": ".join(filter(None, (head, _text(notice.get("message")))))
    return f"{line} ({parameters})" if parameters else line


def notices(*holders: object) -> Iterator[str]:
    for holder in holders:
        for key in ("alerts", "errors", "customerMessages"):
            yield from filter(None, map(describe_notice, _list(_dict(holder).get(key))))


# -- the answer to a create --------------------------------------------------------------------------------


def read_created(payload: object, request: ShipmentRequest) -> BoughtShipment | Pending | None:
    """What FedEx made (sheet 6), or what to ask for later (sheet 7); None if the answer names neither.

    Never raises for an answer that has a master number, however odd the rest: the number is what was paid for.
    """
    answer = _dict(payload)
    output = _dict(answer.get("output"))
    made = [_dict(s) for s in _list(output.get("transactionShipments"))]
    found = next(((s, number) for s in made if (number := _master_number(s))), None)
    if found is None:
        job = _text(output.get("jobId"))
        return Pending(job) if job else None
    shipment, master = found
    detail = _dict(shipment.get("completedShipmentDetail"))
    rows = _piece_rows(shipment, detail)
    alerts = [*notices(answer, output, shipment, detail)]
    packages = _bought_packages(rows, master, request, shipment, alerts)
    if len(packages) != len(request.packages):
        alerts.append(f"FedEx answered for {len(packages)} of {len(request.packages)} packages.")
    alerts += [f"FedEx lists a further shipment {number}." for s in made if (number := _master_number(s)) and number != master]
    operation = _dict(detail.get("operationalDetail"))
    return BoughtShipment(
        master_tracking_number=master,
        packages=packages,
        service=_text(shipment.get("serviceType")) or _text(_dict(detail.get("serviceDescription")).get("serviceType")),
        ship_date=_date(shipment.get("shipDatestamp")),
        cost=shipment_cost(detail),
        estimated_delivery=_date(operation.get("deliveryDate")) or _date(operation.get("commitDate")) or _piece_delivery(rows),
        transaction_id=transaction_id(answer),
        alerts=tuple(dict.fromkeys(alerts)),
    )


def _master_number(shipment: dict[str, Any]) -> str:
    """Wherever FedEx calls a number the master's; the number of a lone piece is no proof of a whole shipment."""
    detail = _dict(shipment.get("completedShipmentDetail"))
    told = [shipment.get("masterTrackingNumber"), _dict(detail.get("masterTrackingId")).get("trackingNumber")]
    told += [_dict(p).get("masterTrackingNumber") for p in _list(shipment.get("pieceResponses"))]
    return next(filter(None, map(_text, told)), "")


@dataclass(frozen=True, slots=True)
class _Piece:
    """One piece as answered: its place, its number, and its documents."""

    sequence: int
    number: str
    row: dict[str, Any]


def _piece_rows(shipment: dict[str, Any], detail: dict[str, Any]) -> list[_Piece]:
    """Pieces in package order, numbers completed from completedPackageDetails."""
    numbers: dict[int, str] = {}
    for place, entry in enumerate(map(_dict, _list(detail.get("completedPackageDetails"))), start=1):
        ids = [_dict(i) for i in _list(entry.get("trackingIds"))]
        # Ground Economy lists the post office's number beside FedEx's own.
        own = [i for i in ids if _text(i.get("trackingIdType")) != "USPS"] or ids
        if number := next(filter(None, (_text(i.get("trackingNumber")) for i in own)), ""):
            numbers[_int(entry.get("sequenceNumber")) or place] = number
    pieces = []
    for place, row in enumerate(map(_dict, _list(shipment.get("pieceResponses"))), start=1):
        sequence = _int(row.get("packageSequenceNumber")) or place
        pieces.append(_Piece(sequence, _text(row.get("trackingNumber")) or numbers.get(sequence, ""), row))
    if not pieces:
        pieces = [_Piece(sequence, number, {}) for sequence, number in numbers.items()]
    return sorted((p for p in pieces if p.number), key=lambda p: p.sequence)


def _piece_delivery(pieces: list[_Piece]) -> dt.date | None:
    dates = [_date(p.row.get("deliveryDatestamp")) or _date(p.row.get("deliveryTimestamp")) for p in pieces]
    return max((d for d in dates if d), default=None)


def _bought_packages(
    pieces: list[_Piece], master: str, request: ShipmentRequest, shipment: dict[str, Any], alerts: list[str]
) -> tuple[BoughtPackage, ...]:
    if not pieces:
        # The master is the first piece (sheet 5.8); of others nothing was told.
        pieces = [_Piece(1, master, {})]
    by_sequence = {sequence: p.package_id for sequence, p in enumerate(request.packages, start=1)}
    if len({p.sequence for p in pieces}) != len(pieces):
        alerts.append("FedEx gave two packages the same place: they could not be told apart.")
        by_sequence = {}
    claimed = _asked_image(request)
    shared = [_dict(d) for d in _list(shipment.get("shipmentDocuments"))]
    bought = []
    for piece in pieces:
        own = [_dict(d) for d in _documents(piece.row)]
        own += [d for d in shared if _text(d.get("trackingNumber")) == piece.number or (len(pieces) == 1 and _is_label(d))]
        alerts += [*notices(*own)]
        label = _label(own, claimed, piece.number, alerts)
        bought.append(BoughtPackage(piece.number, piece.sequence, by_sequence.get(piece.sequence, ""), label))
    if bought and not any(p.label for p in bought):
        # One document for all: kept with the first package rather than lost.
        alerts += [*notices(*shared)]
        bought[0] = replace(bought[0], label=_label(shared, claimed, master, alerts))
    return tuple(bought)


def _documents(row: dict[str, Any]) -> list[Any]:
    return next(filter(None, (_list(row.get(k)) for k in ("packageDocuments", "documents", "docs"))), [])


def _asked_image(request: ShipmentRequest) -> str:
    """The image type that was asked for, for answers that do not name theirs."""
    try:
        return label_specification(request.options)["imageType"]
    except Rejected:
        return "PDF"


def _is_label(document: dict[str, Any]) -> bool:
    kind = _text(document.get("contentType")).upper()
    return "LABEL" in kind or (not kind and bool(document.get("encodedLabel")))


def _label(documents: list[dict[str, Any]], claimed: str, number: str, alerts: list[str]) -> LabelFile | None:
    """The label among `documents` (sheet 6, label rule): the plain LABEL first, else the first that calls itself one."""
    labels = sorted(filter(_is_label, documents), key=lambda d: _text(d.get("contentType")).upper() not in ("LABEL", ""))
    readings = [(d, image) for d in labels if (image := _image(d))]
    if not readings:
        if any(_text(d.get("url")) for d in labels):
            alerts.append(f"FedEx sent a link instead of the label of {number}.")
        return None
    if len(readings) > 1:
        kinds = ", ".join(_text(d.get("contentType")) or "LABEL" for d, _ in readings[1:])
        alerts.append(f"FedEx sent further documents with {number} that are not kept: {kinds}.")
    document, image = readings[0]
    return read_label(image, _text(document.get("docType")).upper(), claimed)


def _image(document: dict[str, Any]) -> str:
    """The base64 text of a document: `encodedLabel`, else the image of its first part (seen for invoices)."""
    images = [document.get("encodedLabel")] + [_dict(p).get("image") for p in _list(document.get("parts"))]
    return next((i for i in images if isinstance(i, str) and i.strip()), "")


_MAGIC: Final = {"PDF": b"%PDF", "PNG": b"\x89PNG"}


def read_label(encoded: str, told: str, claimed: str) -> LabelFile:
    """Decode a label and check that it is what it says; `told` is FedEx's docType, `claimed` what was asked for."""
    packed = re.sub(r"\s", "", re.sub(r"^data:[^,]*,", "", encoded.strip()))
    kind = told if told in codes.MEDIA_TYPES else claimed
    media = codes.MEDIA_TYPES[kind]
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        return LabelFile(media, encoded.encode("utf-8", "replace"), readable=False, problem="The label is not valid base64.")
    if told and told not in codes.MEDIA_TYPES:
        return LabelFile("application/octet-stream", data, readable=False, problem=f'Unknown label type "{told[:40]}".')
    if not _is_kind(data, kind):
        return LabelFile(media, data, readable=False, problem=f"The label says {kind}, but its content is something else.")
    return LabelFile(media, data)


def _is_kind(data: bytes, kind: str) -> bool:
    if kind in _MAGIC:
        return data.startswith(_MAGIC[kind])
    if kind in ("ZPLII", "ZPL"):
        # Printer set-up may stand before the format starts.
        return b"^XA" in data[:4096]
    head = data[:64]
    return (
        bool(head)
        and b"\n" in data
        and all(32 <= b < 127 or b in b"\r\n\t" for b in head)
        and not head.startswith((b"%PDF", b"<"))
    )


def shipment_cost(detail: dict[str, Any]) -> Money | None:
    """What the shipment costs as rated at ship time (sheet 6, cost rule); None for unknown, never 0.

    The piece amounts are not looked at: they repeat the amount of the whole shipment on every piece.
    """
    rating = _dict(detail.get("shipmentRating"))
    whole = _rated(rating, "shipmentRateDetails", "totalNetCharge")
    if whole:
        return whole
    entries = [_dict(e) for e in _list(detail.get("completedPackageDetails"))]
    parts = [_rated(_dict(e.get("packageRating")), "packageRateDetails", "netCharge") for e in entries]
    known = [p for p in parts if p]
    if not known or len(known) != len(parts) or len({p.currency for p in known}) != 1:
        return None
    return Money(sum((p.amount for p in known), Decimal()), known[0].currency)


def _rated(rating: dict[str, Any], rows: str, amount: str) -> Money | None:
    """The row of the rate type that is charged. A list price is no cost."""
    actual = _text(rating.get("actualRateType"))
    for row in map(_dict, _list(rating.get(rows))):
        kind = _text(row.get("rateType"))
        if kind != actual if actual else not kind.startswith("PAYOR_ACCOUNT"):
            continue
        value, currency = _decimal(row.get(amount)), _text(row.get("currency"))
        if value is not None and value > 0 and re.fullmatch(r"[A-Za-z]{3}", currency):
            return Money(value, codes.iso_currency(currency))
    return None


@dataclass(frozen=True, slots=True)
class TrackAnswer:
    """What Track said: good results with the number they stand under, and (code, text) of every error."""

    results: tuple[tuple[str, dict[str, Any]], ...]
    errors: tuple[tuple[str, str], ...]
    understood: bool


def read_track(payload: object) -> TrackAnswer:
    """Sort a Track answer (sheet 11.2). An entry with an error is never a package: it echoes what was asked (sheet 12)."""
    answer = _dict(payload)
    output = _dict(answer.get("output"))
    results: list[tuple[str, dict[str, Any]]] = []
    errors = [*read_errors(payload), *_error_pairs(output.get("cxsErrors"))]
    for entry in map(_dict, _list(output.get("completeTrackResults"))):
        for result in map(_dict, _list(entry.get("trackResults"))):
            if result.get("error"):
                errors += _error_pairs(result["error"])
                continue
            number = _text(_dict(result.get("trackingNumberInfo")).get("trackingNumber"))
            if number := number or _text(result.get("trackingNumber")) or _text(entry.get("trackingNumber")):
                results.append((number, result))
    alerts = [
        (c, t) for c, t in _error_pairs(output.get("alerts")) if c in codes.REFERENCE_NOT_FOUND or c == codes.REFERENCE_NOT_UNIQUE
    ]
    understood = isinstance(output.get("completeTrackResults"), list) or bool(errors) or bool(alerts)
    return TrackAnswer(tuple(results), tuple(dict.fromkeys(errors + alerts)), understood)


def read_errors(payload: object) -> tuple[tuple[str, str], ...]:
    """(code, line for people) of every error in an answer, in all shapes on record (sheet 2, 4)."""
    answer = _dict(payload)
    found = list(_error_pairs(answer.get("errors"))) + list(_error_pairs(_dict(answer.get("output")).get("errors")))
    if not found:
        code = _text(answer.get("error"))
        detail = _text(answer.get("error_detail")) or _text(answer.get("error_description"))
        if code or detail:
            found.append((code.upper(), ": ".join(filter(None, (code, detail)))))
    return tuple(found)


def _error_pairs(errors: object) -> Iterator[tuple[str, str]]:
    for error in _list(errors):
        if line := describe_notice(error):
            yield _text(_dict(error).get("code")).upper(), line


def read_matches(answer: TrackAnswer, reference: str) -> tuple[FoundShipment, ...]:
    """The shipments among the results: pieces that name one master are one match."""
    ours = {number: result for number, result in answer.results if _carries(result, reference)}
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for number, result in ours.items():
        groups.setdefault(_group_of(result) or number, []).append((number, result))
    if len(groups) > 1 and (whole := _one_shipment(ours)):
        groups = {whole: list(ours.items())}
    return tuple(_found(master, pieces) for master, pieces in groups.items())


def _identifiers(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(type, value) of the package identifiers; `values` on record, `value` in the schema (sheet 11.2)."""
    for entry in map(_dict, _list(_dict(result.get("additionalTrackingInfo")).get("packageIdentifiers"))):
        for value in _list(entry.get("values")) + _list(entry.get("value")):
            yield _text(entry.get("type")).upper(), _text(value)


def _carries(result: dict[str, Any], reference: str) -> bool:
    """False where the result lists customer references and ours is not among its identifiers."""
    told = list(_identifiers(result))
    return any(v.upper() == reference.upper() for _, v in told) or not any(t == "CUSTOMER_REFERENCE" for t, _ in told)


def _group_of(result: dict[str, Any]) -> str:
    return next((v for t, v in _identifiers(result) if v and ("MPS" in t or "MASTER" in t)), "")


def _one_shipment(results: dict[str, dict[str, Any]]) -> str:
    """The first piece's number if the results are exactly the pieces 1 to n of an n-piece shipment, else empty."""
    places: dict[int, str] = {}
    for number, result in results.items():
        package = _dict(result.get("packageDetails"))
        place = _int(package.get("sequenceNumber"))
        if _int(package.get("count")) != len(results) or place is None or _group_of(result):
            return ""
        places[place] = number
    return places[1] if sorted(places) == list(range(1, len(results) + 1)) else ""


def _found(master: str, pieces: list[tuple[str, dict[str, Any]]]) -> FoundShipment:
    pieces = sorted(pieces, key=lambda p: (_int(_dict(p[1].get("packageDetails")).get("sequenceNumber")) or 0, p[0] != master))
    first = pieces[0][1]
    places = [_destination(result) for _, result in pieces]
    return FoundShipment(
        master_tracking_number=master,
        tracking_numbers=tuple(number for number, _ in pieces),
        recipient_country=next((c for p in places if (c := _text(p.get("countryCode")).upper())), None),
        recipient_postal_code=next((c for p in places if (c := _text(p.get("postalCode")))), None),
        ship_date=next((d for _, r in pieces if (d := _ship_date(r))), None),
        package_count=next((n for _, r in pieces if (n := _int(_dict(r.get("packageDetails")).get("count")))), None),
        service=_text(_dict(first.get("serviceDetail")).get("type")) or None,
        cancelled=all(_is_cancelled(result) for _, result in pieces),
    )


def _destination(result: dict[str, Any]) -> dict[str, Any]:
    """The recipient's address, else the destination's; a parcel held elsewhere has both and they differ."""
    own = _dict(_dict(result.get("recipientInformation")).get("address"))
    if _text(own.get("countryCode")):
        return own
    place = _dict(result.get("destinationLocation"))
    return _dict(_dict(place.get("locationContactAndAddress")).get("address")) or _dict(place.get("address"))


def _ship_date(result: dict[str, Any]) -> dt.date | None:
    times = map(_dict, _list(result.get("dateAndTimes")))
    return next((d for t in times if _text(t.get("type")) == "SHIP" and (d := _date(t.get("dateTime")))), None)


def _is_cancelled(result: dict[str, Any]) -> bool:
    status = _dict(result.get("latestStatusDetail"))
    return codes.CANCELLED_STATUS in (_text(status.get("derivedCode")).upper(), _text(status.get("code")).upper())


def read_cancelled(payload: object) -> VoidResult | None:
    """The outcome where it is a success (sheet 4.1, 8): the flag, or a code that means so though it is an error."""
    output = _dict(_dict(payload).get("output"))
    told = dict([*read_errors(payload), *_error_pairs(output.get("alerts"))])
    text = _text(output.get("successMessage")) or _text(output.get("message"))
    if before := codes.CANCELLED_BEFORE & told.keys():
        return VoidResult(True, already=True, text=told[min(before)])
    if now := codes.CANCELLED_NOW & told.keys():
        return VoidResult(True, text=told[min(now)])
    flag = output.get("cancelledShipment")
    return VoidResult(True, text=text) if flag is True or _text(flag).lower() == "true" else None


def cancel_message(payload: object) -> str:
    """Why a cancel that was answered 200 did not happen, in FedEx's words."""
    output = _dict(_dict(payload).get("output"))
    words = [_text(output.get("message")), _text(output.get("successMessage")), *notices(output)]
    return "; ".join(filter(None, words))

"""What the simulated FedEx says about a shipment it has made, as pure functions of the kept facts (sheet 6)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
from typing import Any

from integrations.fedex import simulator_rating as rating
from integrations.fedex.simulator_checks import as_text
from integrations.fedex.simulator_labels import LabelFacts, label_bytes


def alert(kind: str, code: str, message: str) -> dict[str, Any]:
    return {"code": code, "alertType": kind, "message": message}


def row_of(facts: dict[str, Any], piece: int) -> dict[str, Any]:
    """The line item that piece number `piece` (from 1) came from."""
    row: dict[str, Any] = facts["rows"][facts["row_of"][piece - 1]]
    return row


def label(facts: dict[str, Any], piece: int) -> bytes:
    """The label of one piece, the same bytes every time."""
    row = row_of(facts, piece)
    weight = row["weight"]
    return label_bytes(
        facts["image_type"],
        LabelFacts(
            tracking_number=facts["numbers"][piece - 1],
            master_number=facts["master"],
            service=rating.SERVICES[facts["service"]].name,
            shipper=_printed(facts["shipper"]),
            recipient=_printed(facts["recipient"]),
            references=tuple(f"{r['customerReferenceType']}: {r['value']}" for r in row["references"]),
            weight=f"{weight['value']} {weight['units']}",
            ship_date=facts["ship_date"],
            piece=piece,
            pieces=len(facts["numbers"]),
        ),
    )


def _label_document(facts: dict[str, Any], piece: int, base: str, fault: str) -> dict[str, Any]:
    document = {"contentType": "LABEL", "copiesToPrint": 1, "docType": facts["image_type"]}
    if facts["links"]:
        return document | {"url": f"{base}/document/v1/cache/retrieve/{link_key(facts, facts['numbers'][piece - 1])}"}
    content = b"This is no label.\n" if fault == "label_garbage" else label(facts, piece)
    return document | {"encodedLabel": base64.b64encode(content).decode()}


def shipment_json(facts: dict[str, Any], base: str, fault: str, *, recorded: bool) -> dict[str, Any]:
    """One `transactionShipments` entry. `base` is the URL label links start with, `fault` a fault of the simulator or "",
    `recorded` the member names of real replies instead of the schema's."""
    service = rating.SERVICES[facts["service"]]
    numbered = range(1, len(facts["numbers"]) + 1)
    shipper, recipient = facts["shipper"]["address"], facts["recipient"]["address"]
    rated = facts["rated"] and fault != "rating_missing"
    prices = [rating.price(service, shipper, recipient, facts["rows"], listed=listed) for listed in (False, True)]
    account, listed = prices
    alerts = list(facts["alerts"])
    if facts["rated"] and not rated:
        alerts.append(alert("WARNING", "RATING.IS.UNAVAILABLE", "Rating is not available at the moment."))
    if fault == "warning_alert":
        alerts.append(alert("WARNING", "SHIP.RECIPIENT.POSTALCITY.MISMATCH", "City and postal code do not match."))
    pieces = [_piece_json(facts, piece, base, fault, account if rated else None, listed, recorded=recorded) for piece in numbered]
    word, arrives = rating.transit(service, dt.date.fromisoformat(facts["ship_date"]))
    detail: dict[str, Any] = {
        "usDomestic": shipper["countryCode"] == recipient["countryCode"] == "US",
        "carrierCode": service.carrier,
        "masterTrackingId": {"trackingIdType": "FEDEX", "formId": "", "trackingNumber": facts["master"]},
        "serviceDescription": {"serviceType": service.key, "code": service.code, "description": service.name},
        "packagingDescription": facts["packaging"],
        "operationalDetail": {"deliveryDate": arrives.isoformat(), "transitTime": word},
        "completedPackageDetails": [_package_json(facts, piece, account if rated else None) for piece in numbered],
    }
    if rated:
        detail["shipmentRating"] = {
            "actualRateType": rating.rate_type(account),
            "shipmentRateDetails": [rating.ship_rate_detail(p) for p in (prices if facts["list_rates"] else [account])],
        }
    found = {
        "masterTrackingNumber": facts["master"],
        "serviceType": service.key,
        "serviceName": service.name,
        "serviceCategory": service.category,
        "shipDatestamp": facts["ship_date"],
        "pieceResponses": pieces,
        "shipmentDocuments": [_invoice_document(facts)] if facts["invoice"] else [],
        "completedShipmentDetail": detail,
        "alerts": alerts,
    }
    return _without_numbers(found) if fault == "no_tracking_number" else found


def _invoice_document(facts: dict[str, Any]) -> dict[str, Any]:
    page = LabelFacts(
        facts["master"],
        facts["master"],
        "COMMERCIAL INVOICE",
        _printed(facts["shipper"]),
        _printed(facts["recipient"]),
        (),
        "",
        facts["ship_date"],
        1,
        1,
    )
    content = base64.b64encode(label_bytes("PDF", page)).decode()
    return {"contentType": "COMMERCIAL_INVOICE", "copiesToPrint": 3, "docType": "PDF", "encodedLabel": content}


def _piece_json(
    facts: dict[str, Any],
    piece: int,
    base: str,
    fault: str,
    price: rating.Price | None,
    listed: rating.Price,
    *,
    recorded: bool,
) -> dict[str, Any]:
    row = row_of(facts, piece)
    found: dict[str, Any] = {
        "masterTrackingNumber": facts["master"],
        "trackingNumber": facts["numbers"][piece - 1],
        "packageSequenceNumber": piece,
        "netChargeAmount": 0.0,
        "baseRateAmount": float(price.sum("base")) if price else 0.0,
        "netDiscountAmount": 0.0,
        "additionalChargesDiscount": 0.0,
        "packageDocuments": [] if fault == "label_missing" else [_label_document(facts, piece, base, fault)],
    }
    if recorded:
        # Real replies repeat the amount of the whole shipment on each piece (sheet 6).
        found |= {
            "netRateAmount": float(price.sum("total")) if price else 0.0,
            "netListRateAmount": float(listed.sum("total")) if price else 0.0,
            "codcollectionAmount": 0.0,
            "currency": listed.currency,
            "successful": True,
            "transactionDetails": [],
        }
    else:
        found |= {
            "netChargeAmount": float(price.packages[piece - 1].total) if price else 0.0,
            "listRateAmount": float(listed.packages[piece - 1].total) if price else 0.0,
            "codCollectionAmount": 0.0,
        }
    if row["grouped"]:  # references come back only for rows that say groupPackageCount (sheet 5.7)
        found["customerReferences"] = row["references"]
    return found


def _package_json(facts: dict[str, Any], piece: int, price: rating.Price | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sequenceNumber": piece,
        "trackingIds": [{"trackingIdType": "FEDEX", "trackingNumber": facts["numbers"][piece - 1]}],
        "signatureOption": row_of(facts, piece)["signature"],
    }
    if price and price.service.carrier != "FDXE":  # Ground is rated per package
        one = rating.package_rate_detail(price, price.packages[piece - 1], type_key="surchargeType")
        found["packageRating"] = {"actualRateType": one["rateType"], "packageRateDetails": [one]}
    return found


def _printed(party: dict[str, Any]) -> tuple[str, ...]:
    """A party as lines of a label."""
    contact, address = party["contact"], party["address"]
    place = " ".join(as_text(address.get(key)) for key in ("city", "stateOrProvinceCode", "postalCode", "countryCode"))
    lines = (contact.get("personName"), contact.get("companyName"), *address["streetLines"][:3], place)
    return tuple(as_text(line) for line in lines if as_text(line))


def link_key(facts: dict[str, Any], number: str) -> str:
    """The unguessable part of a label link; the creation time to the microsecond is known to nobody else."""
    return f"{number}-{hashlib.sha256((number + facts['created_at']).encode()).hexdigest()[:24]}"


def _without_numbers(value: Any) -> Any:
    """The same answer with every tracking number left out."""
    if isinstance(value, dict):
        hidden = ("masterTrackingNumber", "trackingNumber", "trackingIds", "masterTrackingId")
        return {key: _without_numbers(member) for key, member in value.items() if key not in hidden}
    return [_without_numbers(member) for member in value] if isinstance(value, list) else value

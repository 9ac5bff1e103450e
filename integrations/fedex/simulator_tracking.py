"""Tracking answers of the simulated FedEx, as pure functions of stored facts (sheet 11 and 12)."""

from __future__ import annotations

import datetime as dt
from typing import Any

from integrations.fedex.simulator_answers import row_of
from integrations.fedex.simulator_checks import as_date, as_text, error, words
from integrations.fedex.simulator_labels import text_pdf
from integrations.fedex.simulator_rating import SERVICES, transit

# Ship's names of references and what Track calls them (sheet 5.7).
TRACK_TYPE = {
    "CUSTOMER_REFERENCE": "CUSTOMER_REFERENCE",
    "INVOICE_NUMBER": "INVOICE",
    "P_O_NUMBER": "PURCHASE_ORDER",
    "DEPARTMENT_NUMBER": "DEPARTMENT",
    "RMA_ASSOCIATION": "RETURN_MATERIALS_AUTHORIZATION",
}
SEARCH_TYPES = words(
    "BILL_OF_LADING COD_RETURN_TRACKING_NUMBER CUSTOMER_AUTHORIZATION_NUMBER CUSTOMER_REFERENCE DEPARTMENT DOCUMENT_AIRWAY_BILL "
    "EXPRESS_ALTERNATE_REFERENCE FEDEX_OFFICE_JOB_ORDER_NUMBER FREE_FORM_REFERENCE GROUND_INTERNATIONAL GROUND_SHIPMENT_ID "
    "INTERNATIONAL_DISTRIBUTION INVOICE JOB_GLOBAL_TRACKING_NUMBER ORDER_GLOBAL_TRACKING_NUMBER ORDER_TO_PAY_NUMBER PART_NUMBER "
    "PARTNER_CARRIER_NUMBER PURCHASE_ORDER REROUTE_TRACKING_NUMBER RETURN_MATERIALS_AUTHORIZATION "
    "RETURNED_TO_SHIPPER_TRACKING_NUMBER "
    "SHIPPER_REFERENCE TRANSBORDER_DISTRIBUTION TRANSPORTATION_CONTROL_NUMBER VIRTUAL_CONSOLIDATION"
)
# Event code: (description, derived code, derived status, location type, at the recipient's end).
EVENTS: dict[str, tuple[str, str, str, str, bool]] = {
    "OC": ("Shipment information sent to FedEx", "IN", "Label created", "CUSTOMER", False),
    "PU": ("Picked up", "PU", "Picked up", "PICKUP_LOCATION", False),
    "DP": ("Left FedEx origin facility", "IT", "In transit", "ORIGIN_FEDEX_FACILITY", False),
    "AR": ("Arrived at FedEx location", "IT", "In transit", "SORT_FACILITY", True),
    "OD": ("On FedEx vehicle for delivery", "OD", "Out for delivery", "VEHICLE", True),
    "DL": ("Delivered", "DL", "Delivered", "DELIVERY_LOCATION", True),
    "DE": ("Delivery exception", "DE", "Delivery exception", "DESTINATION_FEDEX_FACILITY", True),
    "HL": ("Ready for recipient pickup", "HL", "Hold at location", "FEDEX_OFFICE_LOCATION", True),
    "RS": ("Returning package to shipper", "RS", "Returned to shipper", "DESTINATION_FEDEX_FACILITY", True),
    "CA": ("Shipment cancelled by sender", "CA", "Cancelled", "CUSTOMER", False),
}
_MEMPHIS = "-06:00"  # Date-only values come as midnight with this offset (sheet 11.2).


def unique_id(number: str, facts: dict[str, Any]) -> str:
    """`<something>~<number>~FDEG` for Ground, `<Julian day>000~<number>~FX` for Express, as in the samples of sheet 11 and 18."""
    if facts["carrier"] == "FDXE":
        return f"{dt.date.fromisoformat(facts['ship_date']).toordinal() + 1721425}000~{number}~FX"
    return f"12028~{number}~FDEG"


def not_found(asked: str, code: str, message: str) -> dict[str, Any]:
    """One `completeTrackResults` entry that failed; `asked` stands where a tracking number would (sheet 12)."""
    info = {"trackingNumber": asked, "trackingNumberUniqueId": "", "carrierCode": ""}
    return {"trackingNumber": asked, "trackResults": [{"trackingNumberInfo": info, "error": error(code, message)}]}


def proof_pdf(number: str, package: dict[str, Any]) -> bytes:
    """A small proof of delivery: the number, when, and who signed (sheet 13)."""
    done = [scan for scan in package["scans"] if scan["event"] == "DL"][-1]
    lines = ("Proof of delivery", number, str(done["at"]), f"Signed for by: {done.get('received_by', '')}")
    return text_pdf(lines)


def track_result(number: str, facts: dict[str, Any], package: dict[str, Any], *, detailed: bool, names: str) -> dict[str, Any]:
    """One `trackResults` entry. `facts` is the shipment, `package` the piece (both as kept in the simulator's state)."""
    scans = package["scans"]
    last = scans[-1]
    description, derived, status, _, _ = EVENTS[last["event"]]
    where = _location(last, facts)
    row = row_of(facts, package["piece"])
    service = SERVICES[facts["service"]]
    pieces = len(facts["numbers"])
    values = "value" if names == "schema" else "values"
    shipped = f"{facts['ship_date']}T00:00:00{_MEMPHIS}"
    times = [{"type": "SHIP", "dateTime": shipped}, {"type": "SHIPMENT_DATA_RECEIVED", "dateTime": scans[0]["at"]}]
    times += [{"type": "ACTUAL_PICKUP", "dateTime": s["at"]} for s in scans if s["event"] == "PU"]
    delivered = next((s for s in reversed(scans) if s["event"] == "DL"), None)
    arrives = transit(service, dt.date.fromisoformat(facts["ship_date"]))[1]
    if delivered:
        times.append({"type": "ACTUAL_DELIVERY", "dateTime": delivered["at"]})
    elif last["event"] != "CA":
        times.append({"type": "ESTIMATED_DELIVERY", "dateTime": f"{arrives.isoformat()}T17:00:00{_MEMPHIS}"})
    references = [
        {"type": TRACK_TYPE[r["customerReferenceType"]], values: [r["value"]], "trackingNumberUniqueId": ""}
        for r in row["references"]
        if r["customerReferenceType"] in TRACK_TYPE
    ]
    if pieces > 1:
        references.append({"type": "STANDARD_MPS", values: [facts["master"]], "trackingNumberUniqueId": ""})
    if names != "schema":
        for reference in references:
            reference["carrierCode"] = ""
    return {
        "trackingNumberInfo": {
            "trackingNumber": number,
            "trackingNumberUniqueId": unique_id(number, facts),
            "carrierCode": facts["carrier"],
        },
        "additionalTrackingInfo": {"nickname": "", "packageIdentifiers": references, "hasAssociatedShipments": pieces > 1},
        "latestStatusDetail": {
            "code": last["event"],
            "derivedCode": derived,
            "statusByLocale": status,
            "description": description,
            "scanLocation": where,
            "ancillaryDetails": _ancillary(last),
        },
        "dateAndTimes": times,
        "scanEvents": [_scan_event(scan, facts) for scan in reversed(scans)] if detailed else [],
        "serviceDetail": {"type": service.key, "description": service.name, "shortDescription": service.code},
        "packageDetails": {
            "packagingDescription": {"type": facts["packaging"], "description": "Customer Packaging"},
            "sequenceNumber": str(package["piece"]),
            "count": str(pieces),
            "weightAndDimensions": {"weight": [{"unit": row["weight"]["units"], "value": str(row["weight"]["value"])}]},
        },
        "shipmentDetails": {
            ("beforePossessionStatus" if names == "schema" else "possessionStatus"): last["event"] in ("OC", "CA")
        },
        "deliveryDetails": _delivery(delivered, facts, sum(s["event"] in ("DE", "DL") for s in scans)),
        "estimatedDeliveryTimeWindow": {"description": "", "window": {}, "type": "ESTIMATED_DELIVERY"},
        "availableImages": [{"type": "SIGNATURE_PROOF_OF_DELIVERY", "size": "LARGE"}] if delivered else [],
        "shipperInformation": {"address": _town(facts["shipper"]["address"])},
        "recipientInformation": {"address": _town(facts["recipient"]["address"])},
    }


def _town(address: dict[str, Any]) -> dict[str, Any]:
    """An address without its streets: those are blank for callers not authorised (sheet 11.2)."""
    return {
        "city": address.get("city", ""),
        "stateOrProvinceCode": address.get("stateOrProvinceCode", ""),
        "postalCode": address.get("postalCode", ""),
        "countryCode": address["countryCode"],
        "residential": bool(address.get("residential", False)),
    }


def _location(scan: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    away = EVENTS[scan["event"]][4]
    return _town((facts["recipient"] if away and not scan.get("at_shipper") else facts["shipper"])["address"])


def _ancillary(scan: dict[str, Any]) -> list[dict[str, str]]:
    if not scan.get("exception_code"):
        return []
    text = scan.get("exception_description", "")
    return [{"reason": scan["exception_code"], "reasonDescription": text, "action": "", "actionDescription": ""}]


def _scan_event(scan: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    description, derived, status, location_type, _ = EVENTS[scan["event"]]
    return {
        "date": scan["at"],
        "eventType": scan["event"],
        "eventDescription": description,
        "exceptionCode": scan.get("exception_code", ""),
        "exceptionDescription": scan.get("exception_description", ""),
        "derivedStatusCode": derived,
        "derivedStatus": status,
        "scanLocation": _location(scan, facts),
        "locationId": "",
        "locationType": location_type,
    }


def _delivery(delivered: dict[str, Any] | None, facts: dict[str, Any], attempts: int) -> dict[str, Any]:
    if not delivered:
        return {"deliveryAttempts": str(attempts), "deliveryOptionEligibilityDetails": []}
    where = facts["shipper"] if delivered.get("at_shipper") else facts["recipient"]
    return {
        "actualDeliveryAddress": _town(where["address"]),
        "deliveryAttempts": str(attempts),
        # Recorded replies name the signer here and not in signedByName (sheet 11.2).
        "receivedByName": delivered.get("received_by", ""),
        "locationType": "SHIPPING_RECEIVING",
        "locationDescription": "Shipping/Receiving",
        "deliveryOptionEligibilityDetails": [],
    }


def reference_errors(asked: dict[str, Any], today: dt.date) -> list[dict[str, Any]]:
    """What is wrong with a `referencesInformation` (sheet 12), dates last."""
    if not as_text(asked.get("value")):
        return [error("TRACKING.REFERENCEVALUE.EMPTY", "Say which reference to look for.")]
    kind = as_text(asked.get("type"))
    if kind and kind not in SEARCH_TYPES:
        return [error("TRACKING.REFERENCETYPE.INVALID", "This reference type is not known.")]
    needed = ("type", "carrierCode", "shipDateBegin", "destinationCountryCode")
    if not as_text(asked.get("accountNumber")) and not all(as_text(asked.get(key)) for key in needed):
        return [error("TRACKING.REFERENCEDATA.INCOMPLETE", "Give the account, or type, carrier, dates and destination.")]
    return range_errors(asked, today)


def date_range(asked: dict[str, Any], today: dt.date) -> tuple[dt.date, dt.date]:
    """First and last ship date to look at; what is missing becomes today - 30 and today + 1 (sheet 12)."""
    begin = as_date(asked.get("shipDateBegin")) or today - dt.timedelta(days=30)
    end = as_date(asked.get("shipDateEndDate")) or as_date(asked.get("shipDateEnd")) or today + dt.timedelta(days=1)
    return begin, end


def range_errors(asked: dict[str, Any], today: dt.date) -> list[dict[str, Any]]:
    """What is wrong with the ship dates of a question (sheet 11.4, 12)."""
    begin = as_date(asked.get("shipDateBegin"))
    if "shipDateBegin" in asked and begin is None:
        return [error("TRACKING.SHIPDATEBEGIN.INVALID", "The begin date is not valid.")]
    if begin and begin < today - dt.timedelta(days=730):
        return [error("TRACKING.SHIPDATEBEGIN.TOOOLD", "The begin date is too old.")]
    ends = {as_date(asked[key]) for key in ("shipDateEnd", "shipDateEndDate") if key in asked}
    if None in ends or len(ends) > 1:
        return [error("TRACKING.SHIPDATEEND.INVALID", "The end date is not valid.")]
    end = ends.pop() if ends else None
    if end and end > today:
        return [error("TRACKING.SHIPDATEEND.FUTURE", "The end date is in the future.")]
    if begin and end and end < begin:
        return [error("TRACKING.SHIPDATE.ENDDATEBEFOREBEGINDATE", "The end date is before the begin date.")]
    if begin and ((end or today) - begin).days > 30:
        return [error("TRACKING.SHIPDATERANGE.TOOLONG", "The range is longer than 30 days.")]
    return []

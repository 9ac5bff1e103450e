"""What the simulated FedEx refuses, and with which codes: the order of sheet 18, the codes of sheet 4.1.

Codes that the sheet does not give (no public list of all 1,700 exists) are formed after their neighbours and
marked "guess" here; a client that decides on one of those decides on nothing. Every function returns all
errors it finds as `{"code", "message"}`, because one answer may carry several; it never raises on odd types.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from integrations.fedex.simulator_rating import SERVICES, lane_of, pounds

AccountCheck = Callable[[str], str | None]
"""Given nine digits: the error code that the caller's use of this account earns, or None."""


def words(text: str) -> frozenset[str]:
    """The words of a text as a set: code tables are easier to read that way."""
    return frozenset(text.split())


_STATES = {
    "US": words(
        "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
        "RI SC SD TN TX UT VT VA WA WV WI WY PR"
    ),
    # Sheet 5.3: both codes of Quebec are in use.
    "CA": words("AB BC MB NB NL NT NS NU ON PE QC PQ SK YT"),
}
_POSTAL = {"US": re.compile(r"\d{5}(-?\d{4})?"), "CA": re.compile(r"[A-Z]\d[A-Z] ?\d[A-Z]\d"), "MX": re.compile(r"\d{5}")}
_POSTAL_AWARE = words(
    "AU AT BE BR CA CL CN CO CZ DK EE EC FI FR DE GR HU IN ID IT JP KR LV LT LU MY MX NL NO PH PL PT US RO RU SA SG SK SI ZA ES "
    "SE CH TH TR GB"
)
_PICKUPS = ("CONTACT_FEDEX_TO_SCHEDULE", "DROPOFF_AT_FEDEX_LOCATION", "USE_SCHEDULED_PICKUP")
# Sheet 19.2, pounds. YOUR_PACKAGING: the larger of the two figures in circulation for Ground.
_PACKAGINGS = {
    "YOUR_PACKAGING": Decimal(150),
    "FEDEX_ENVELOPE": Decimal("1.11"),
    "FEDEX_PAK": Decimal(20),
    "FEDEX_BOX": Decimal(20),
    "FEDEX_SMALL_BOX": Decimal(20),
    "FEDEX_MEDIUM_BOX": Decimal(20),
    "FEDEX_LARGE_BOX": Decimal(20),
    "FEDEX_EXTRA_LARGE_BOX": Decimal(20),
    "FEDEX_TUBE": Decimal(20),
    "FEDEX_10KG_BOX": Decimal("22.05"),
    "FEDEX_25KG_BOX": Decimal("55.12"),
}
_LASER = words(
    "PAPER_4X6 PAPER_4X675 PAPER_4X8 PAPER_4X9 PAPER_7X475 PAPER_85X11_BOTTOM_HALF_LABEL PAPER_85X11_TOP_HALF_LABEL PAPER_LETTER"
)
_THERMAL = words(
    "STOCK_4X6 STOCK_4X675 STOCK_4X675_LEADING_DOC_TAB STOCK_4X675_TRAILING_DOC_TAB STOCK_4X8 STOCK_4X9 "
    "STOCK_4X9_LEADING_DOC_TAB STOCK_4X9_TRAILING_DOC_TAB STOCK_4X85_TRAILING_DOC_TAB STOCK_4X105_TRAILING_DOC_TAB"
)
_STOCKS = {"PDF": _LASER, "PNG": _LASER, "ZPLII": _THERMAL, "EPL2": _THERMAL}
# Sheet 19.3: ISO codes that are no good in a money field.
_NOT_IN_MONEY = words("GBP CHF JPY MXN SGD KRW TWD AED ARS CLP DOP JMD KWD KYD XCD")
# reference-enums.json, quantityUnits.
_QUANTITY_UNITS = words("AR CM CFT M3 DOZ DPR EA LFT G GR KG LNM LTR M MG ML NO OZ PR PCS LB SFT M2 SYD YD")
_PURPOSES = ("SOLD", "GIFT", "SAMPLE", "NOT_SOLD", "PERSONAL_EFFECTS", "REPAIR_AND_RETURN")
# Sheet 5.2 and 10.
RATE_TYPES_OF_SHIP = words("LIST NONE PREFERRED ACCOUNT INCENTIVE RETAIL")
RATE_TYPES_OF_RATE = words("LIST ACCOUNT PREFERRED INCENTIVE")
_REFERENCES = {
    "CUSTOMER_REFERENCE": 40,
    "INVOICE_NUMBER": 30,
    "P_O_NUMBER": 30,
    "DEPARTMENT_NUMBER": 30,
    "RMA_ASSOCIATION": 20,
    "INTRACOUNTRY_REGULATORY_REFERENCE": 30,
}


def error(code: str, message: str) -> dict[str, Any]:
    """One entry of `errors[]`."""
    return {"code": code, "message": message}


def as_dict(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """`value` if it is a JSON string with something in it, else empty."""
    return value if isinstance(value, str) and value.strip() else ""


def as_number(value: object) -> Decimal | None:
    """`value` as Decimal if it is a JSON number (a string or a boolean is none)."""
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None


def as_date(value: object) -> dt.date | None:
    """`YYYY-MM-DD` and nothing else."""
    text = as_text(value)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def rows_of(shipment: dict[str, Any]) -> list[dict[str, Any]]:
    """The package line items."""
    return [as_dict(row) for row in as_list(shipment.get("requestedPackageLineItems"))]


def package_count(shipment: dict[str, Any]) -> int:
    """Physical packages: groups count as many as they hold (sheet 5.8)."""
    return sum(_group(row) for row in rows_of(shipment))


def _group(row: dict[str, Any]) -> int:
    count = row.get("groupPackageCount", 1)
    return count if isinstance(count, int) and count > 0 else 1


def is_international(origin: str, destination: str) -> bool:
    """Whether customs data are needed: between all countries, as in FedEx's own samples inside the European Union."""
    return origin != destination


def account_errors(account: object, check: AccountCheck) -> list[dict[str, Any]]:
    """`{"value": "nine digits"}` (sheet 5.1); what `check` says of well-formed ones."""
    value = as_text(as_dict(account).get("value"))
    if not re.fullmatch(r"\d{9}", value):
        return [error("ACCOUNTNUMBER.REGISTRATION.REQUIRED", "The account number has to be valid and 9 digits long.")]
    code = check(value)
    return [error(code, "This account number cannot be used with these credentials.")] if code else []


def ship_errors(
    body: dict[str, Any], check: AccountCheck, today: dt.date, *, only_validate: bool = False, long_references: str = "refuse"
) -> list[dict[str, Any]]:
    """Everything wrong with a create (or, `only_validate`, a validate) request. Sheet 5 and 9."""
    shipment = as_dict(body.get("requestedShipment"))
    shipper, recipients = as_dict(shipment.get("shipper")), as_list(shipment.get("recipients"))
    recipient = as_dict(recipients[0]) if recipients else {}
    origin, destination = _country(shipper), _country(recipient)
    anonymous = only_validate and "accountNumber" not in body  # sheet 9 does not demand it
    found = [] if anonymous else account_errors(body.get("accountNumber"), check)
    found += _party_errors(shipper, "SHIPPER")
    if recipients:
        found += _party_errors(recipient, "RECIPIENT")
    else:
        found.append(error("RECIPIENTS.REQUIRED", "At least one recipient is needed."))  # guess
    found += _pickup_errors(shipment)
    found += _service_errors(shipment, origin, destination, must=True)
    found += _packaging_errors(shipment, must=True)
    found += _payment_errors(shipment, as_text(as_dict(body.get("accountNumber")).get("value")))
    found += _label_errors(body, shipment, only_validate=only_validate)
    found += _package_errors(shipment, origin, destination, long_references=long_references)
    found += _customs_errors(shipment, origin, destination)
    found += _type_errors(shipment, RATE_TYPES_OF_SHIP)
    found += _date_errors(shipment, "shipDatestamp", today, past_is_error=False)
    found += _count_errors(body, shipment, only_validate=only_validate)
    return found


def rate_errors(body: dict[str, Any], check: AccountCheck, today: dt.date) -> list[dict[str, Any]]:
    """Everything wrong with a rate quote request (sheet 10: `recipient` singular, `shipDateStamp` with a capital S)."""
    shipment = as_dict(body.get("requestedShipment"))
    shipper, recipient = as_dict(shipment.get("shipper")), as_dict(shipment.get("recipient"))
    origin, destination = _country(shipper), _country(recipient)
    found = account_errors(body.get("accountNumber"), check)
    for party, who in ((shipper, "SHIPPER"), (recipient, "RECIPIENT")):
        found += _country_errors(party, who) + _postal_errors(party, who)
    found += _pickup_errors(shipment)
    found += _service_errors(shipment, origin, destination, must=False)
    found += _packaging_errors(shipment, must=False)
    found += _package_errors(shipment, origin, destination, rating=True)
    if not shipment.get("documentShipment"):
        found += _customs_errors(shipment, origin, destination)
    return found + _type_errors(shipment, RATE_TYPES_OF_RATE) + _date_errors(shipment, "shipDateStamp", today, past_is_error=True)


def _type_errors(shipment: dict[str, Any], rate_types: frozenset[str]) -> list[dict[str, Any]]:
    """Members of another type than the official description gives them, and rate types that it does not know."""
    told = shipment.get("rateRequestType", [])
    right = [isinstance(told, list) and all(isinstance(word, str) and word in rate_types for word in told)]
    right.append(_is_whole(shipment.get("totalPackageCount", 1)))
    right.append("totalWeight" not in shipment or as_number(shipment["totalWeight"]) is not None)
    for row in rows_of(shipment):
        right.append(_is_whole(row.get("sequenceNumber", 1)))
        right.append(isinstance(row.get("customerReferences", []), list))
    return [] if all(right) else [malformed()]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def malformed() -> dict[str, Any]:
    """What is answered to a member of a wrong type, or one that is demanded and absent."""
    return error("INVALID.INPUT.EXCEPTION", "A member of the request is missing or has a wrong type.")  # guess


def _country(party: dict[str, Any]) -> str:
    return as_text(as_dict(party.get("address")).get("countryCode"))


def _country_errors(party: dict[str, Any], who: str) -> list[dict[str, Any]]:
    if re.fullmatch(r"[A-Z]{2}", _country(party)):
        return []
    return [error(f"{who}.COUNTRY.INVALID", f"The country code of the {who.lower()} is missing or invalid.")]


def _postal_errors(party: dict[str, Any], who: str) -> list[dict[str, Any]]:
    country, postal = _country(party), as_text(as_dict(party.get("address")).get("postalCode"))
    if not postal:
        if country not in _POSTAL_AWARE:
            return []
        code = "POSTALCODE.ZIPCODE.REQUIRED" if who == "SHIPPER" else "DESTINATION.POSTALCODE.MISSING.ORINVALID"
        return [error(code, f"The postal code of the {who.lower()} is needed.")]
    pattern = _POSTAL.get(country)
    if len(postal) > 10 or (pattern and not pattern.fullmatch(postal)):
        return [error("COUNTRY.POSTALCODEORZIP.INVALID", f"The postal code of the {who.lower()} does not fit its country.")]
    return []


def _party_errors(party: dict[str, Any], who: str) -> list[dict[str, Any]]:
    """Sheet 5.3."""
    address, contact, country = as_dict(party.get("address")), as_dict(party.get("contact")), _country(party)
    lines = as_list(address.get("streetLines"))
    found: list[dict[str, Any]] = []
    if not lines or any(not as_text(line) or len(as_text(line)) > 35 for line in lines[:3]):
        found.append(error(f"{who}.STREETLINES.INVALID", "Street lines: up to three, none empty, 35 characters each."))  # guess
    city = as_text(address.get("city"))
    if not city:
        found.append(error("CITY.REQUIRED", f"The city of the {who.lower()} is needed."))
    elif len(city) > 35:
        found.append(error(f"{who}.CITY.INVALID", "A city has at most 35 characters."))  # guess
    states = _STATES.get(country)
    if states and as_text(address.get("stateOrProvinceCode")) not in states:
        found.append(error(f"{who}.STATEORPROVINCECODE.INVALID", f"Country {country} needs a state or province code."))  # guess
    found += _postal_errors(party, who) + _country_errors(party, who)
    person, company = as_text(contact.get("personName")), as_text(contact.get("companyName"))
    if not (person or company) or len(person) > 70 or len(company) > 35:
        found.append(error(f"{who}CONTACT.NAME.INVALID", "Person (70) or company (35) name is needed."))  # guess
    digits = re.sub(r"[ ().+-]", "", as_text(contact.get("phoneNumber")))
    wanted = r"1?\d{10}" if country in ("US", "CA") else r"\d{10,15}"
    if not re.fullmatch(wanted, digits):
        found.append(error(f"{who}CONTACT.PHONENUMBER.INVALID", f"The telephone number of the {who.lower()} is not valid."))
    if len(as_text(contact.get("emailAddress"))) > 80 or len(as_text(contact.get("phoneExtension"))) > 6:
        found.append(error(f"{who}CONTACT.DETAILS.INVALID", "E-mail has at most 80, extension at most 6 characters."))  # guess
    return found


def _pickup_errors(shipment: dict[str, Any]) -> list[dict[str, Any]]:
    kind = as_text(shipment.get("pickupType"))
    if not kind:
        return [error("PICKUPTYPE.REQUIRED", "The pickup type is needed.")]
    return [] if kind in _PICKUPS else [error("PICKUPTYPE.NOT.AVAILABLE", "This pickup type is not available.")]


def _service_errors(shipment: dict[str, Any], origin: str, destination: str, *, must: bool) -> list[dict[str, Any]]:
    key = as_text(shipment.get("serviceType"))
    if not key and not must:
        return []
    service = SERVICES.get(key)
    if not service:
        return [error("SERVICE.TYPE.NOTAVAILABLE", "The service type is missing or not available.")]
    if origin and destination and not service.lanes & lane_of(origin, destination):
        return [error("SERVICETYPE.NOT.ALLOWED", f"{key} is not offered from {origin} to {destination}.")]
    return []


def _packaging_errors(shipment: dict[str, Any], *, must: bool) -> list[dict[str, Any]]:
    kind, service = as_text(shipment.get("packagingType")), SERVICES.get(as_text(shipment.get("serviceType")))
    if not kind and not must:
        return []
    if kind not in _PACKAGINGS:
        return [error("PACKAGINGTYPE.MISSING.OR.INVALID", "The packaging type is missing or invalid.")]
    if service and service.carrier != "FDXE" and kind != "YOUR_PACKAGING":
        return [error("SERVICE.PACKAGECOMBINATION.INVALID", "This service does not go with this packaging.")]
    return []


def _payment_errors(shipment: dict[str, Any], account: str) -> list[dict[str, Any]]:
    """Sheet 5.4."""
    payment = as_dict(shipment.get("shippingChargesPayment"))
    kind = as_text(payment.get("paymentType"))
    party = as_dict(as_dict(payment.get("payor")).get("responsibleParty"))
    payor = as_text(as_dict(party.get("accountNumber")).get("value"))
    if kind == "SENDER":
        if payor and account and payor != account:
            return [error("ACCOUNT.NUMBER.MISMATCH", "A paying sender has to be the shipper's account.")]
        return []
    if kind not in ("RECIPIENT", "THIRD_PARTY", "COLLECT"):
        return [error("PAYMENTTYPE.INVALID", "The payment type is missing or invalid.")]  # guess
    if not re.fullmatch(r"\d{9}", payor):
        return [error("ACCOUNTNUMBER.REGISTRATION.REQUIRED", "The payor's account number has to be valid and 9 digits long.")]
    return []


def _label_errors(body: dict[str, Any], shipment: dict[str, Any], *, only_validate: bool) -> list[dict[str, Any]]:
    """Sheet 5.5; image and stock go in pairs."""
    label = as_dict(shipment.get("labelSpecification"))
    found: list[dict[str, Any]] = []
    if not only_validate and body.get("labelResponseOptions") not in ("LABEL", "URL_ONLY"):
        found.append(error("LABELRESPONSEOPTIONS.INVALID", "Say LABEL or URL_ONLY."))  # guess
    stocks = _STOCKS.get(as_text(label.get("imageType")))
    if stocks is None:
        found.append(error("LABEL.IMAGETYPE.INVALID", "The label image type is missing or invalid."))  # guess
    elif as_text(label.get("labelStockType")) not in stocks:
        found.append(error("LABEL.STOCKTYPE.INVALID", "The label stock does not go with the image type."))  # guess
    return found


def _package_errors(
    shipment: dict[str, Any], origin: str, destination: str, *, rating: bool = False, long_references: str = "refuse"
) -> list[dict[str, Any]]:
    """Sheet 5.6, 5.7 and 19.2."""
    rows = rows_of(shipment)
    if not 1 <= len(rows) <= 30:
        return [error("REQUESTEDPACKAGELINEITEMS.INVALID", "One to thirty package line items are needed.")]  # guess
    service = SERVICES.get(as_text(shipment.get("serviceType")))
    limit = _PACKAGINGS.get(as_text(shipment.get("packagingType")), Decimal(150))
    if service and service.carrier == "FXSP":
        limit = min(limit, Decimal(70))
    found: list[dict[str, Any]] = []
    declared = Decimal(0)
    units: set[str] = set()
    for row in rows:
        count = row.get("groupPackageCount", 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            found.append(error("GROUPPACKAGECOUNT.INVALID", "A group holds at least one package."))  # guess
        found += _weight_errors(as_dict(row.get("weight")), limit)
        units.add(as_text(as_dict(row.get("weight")).get("units")))
        found += _dimension_errors(row)
        if "declaredValue" in row:
            value = as_dict(row["declaredValue"])
            declared += (as_number(value.get("amount")) or Decimal(0)) * _group(row)
            found += _money_errors(value)
        if not rating:
            found += _reference_errors(
                as_list(row.get("customerReferences")), service is not None and service.carrier == "FDXE", long_references
            )
            into = (destination == "CA" and origin != "CA") or (destination in ("US", "PR") and origin in ("CA", "MX"))
            if into and not as_text(row.get("subPackagingType")):
                found.append(error("SUBPACKAGINGTYPE.REQUIRED", "This lane needs the sub-packaging type."))  # guess
    if len(units) > 1:
        found.append(error("MIXED.MEASURING.UNITS.INCLUDED", "All weights have to be in one unit."))
    total = as_dict(shipment.get("totalDeclaredValue"))
    if total and as_number(total.get("amount")) != declared:
        found.append(error("REQUESTEDSHIPMENT.TOTALDECLAREDVALUE.MISMATCH", "The total differs from the sum over the packages."))
    return found


def _weight_errors(weight: dict[str, Any], limit: Decimal) -> list[dict[str, Any]]:
    value = as_number(weight.get("value"))
    if value is None or value <= 0 or weight.get("units") not in ("LB", "KG"):
        return [error("PACKAGE.WEIGHT.INVALID", "The package weight is missing or invalid.")]
    # The published kilogram figures are the pound figures rounded up a little (150 lb, 68 kg = 149.9 lb).
    if pounds(weight) > limit:
        return [error("MAXIMUM.WEIGHT.EXCEEDED", "The package is too heavy for its service or packaging.")]
    return []


def _dimension_errors(row: dict[str, Any]) -> list[dict[str, Any]]:
    if "dimensions" not in row:
        return []
    sides = [as_dict(row["dimensions"]).get(side) for side in ("length", "width", "height")]
    if any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in sides):
        return [error("PACKAGEDIMENSION.TYPE.ERROR", "Length, width and height are needed as whole numbers.")]
    if any(isinstance(side, int) and side > 999 for side in sides):
        return [error("DIMENSIONS.EXCEEDS.LIMITS", "A side has at most three digits.")]
    return []


def _money_errors(money: dict[str, Any]) -> list[dict[str, Any]]:
    currency = as_text(money.get("currency"))
    if not re.fullmatch(r"[A-Z]{3}", currency) or currency in _NOT_IN_MONEY:
        return [error("CURRENCY.TYPE.INVALID", "The currency code is missing or not one that money fields take.")]
    amount = as_number(money.get("amount"))
    if amount is None or amount < 0:
        return [error("AMOUNT.INVALID", "The amount is missing or negative.")]  # guess
    return []


def _reference_errors(references: list[Any], express: bool, long_references: str) -> list[dict[str, Any]]:
    """Sheet 5.7. What the vendor does with over-long values is not published; the option decides."""
    found: list[dict[str, Any]] = []
    for reference in map(as_dict, references):
        kind, value = as_text(reference.get("customerReferenceType")), as_text(reference.get("value"))
        most = _REFERENCES.get(kind, 0)
        if kind == "CUSTOMER_REFERENCE" and not express:
            most = 30
        if not most or not value:
            found.append(error("CUSTOMERREFERENCE.TYPE.INVALID", "A reference needs a known type and a value."))  # guess
        elif len(value) > most and long_references == "refuse":
            found.append(error("CUSTOMERREFERENCE.VALUE.TOOLONG", f"{kind} has at most {most} characters."))  # guess
    return found


def cut_references(row: dict[str, Any]) -> list[dict[str, str]]:
    """The references of a line item as they are kept: 30 characters (40 for CUSTOMER_REFERENCE)."""
    kept = []
    for reference in map(as_dict, as_list(row.get("customerReferences"))):
        kind = as_text(reference.get("customerReferenceType"))
        kept.append({"customerReferenceType": kind, "value": as_text(reference.get("value"))[: _REFERENCES.get(kind, 30)]})
    return kept


def _customs_errors(shipment: dict[str, Any], origin: str, destination: str) -> list[dict[str, Any]]:
    """Sheet 5.9."""
    if not origin or not destination or not is_international(origin, destination):
        return []
    customs = as_dict(shipment.get("customsClearanceDetail"))
    commodities = [as_dict(c) for c in as_list(customs.get("commodities"))]
    if not commodities:
        return [error("CUSTOMSCLEARANCEDETAIL.COMMODITIES.REQUIRED", "Commodities are needed across borders.")]  # guess
    found: list[dict[str, Any]] = []
    if len(commodities) > 999:
        found.append(error("COMMODITIES.LIMIT.EXCEEDED", "At most 999 commodities are taken."))  # guess
    value = Decimal(0)
    for commodity in commodities:
        found += _commodity_errors(commodity)
        value += as_number(as_dict(commodity.get("customsValue")).get("amount")) or Decimal(0)
    found += _invoice_errors(as_dict(customs.get("commercialInvoice")))
    if "dutiesPayment" in customs:
        found += _duties_errors(as_dict(customs["dutiesPayment"]))
    if not isinstance(customs.get("isDocumentOnly", False), bool):
        found.append(error("CUSTOMSCLEARANCEDETAIL.DOCUMENTONLY.INVALID", "isDocumentOnly is true or false."))  # guess
    weights = {
        as_text(as_dict(part.get("weight")).get("units")) for part in [*commodities, *rows_of(shipment)] if "weight" in part
    }
    if len(weights) > 1:
        found.append(error("MIXED.MEASURING.UNITS.INCLUDED", "Commodity and package weights have to be in one unit."))
    if "totalCustomsValue" in customs:
        found += _money_errors(as_dict(customs["totalCustomsValue"]))
        value = as_number(as_dict(customs["totalCustomsValue"]).get("amount")) or value
    declared = as_number(as_dict(shipment.get("totalDeclaredValue")).get("amount"))
    if declared is not None and declared > value:
        found.append(error("CUSTOMVALUE.GREATER.THAN.DECLAREDVALUE", "Declared value and customs value contradict each other."))
    return found


def _commodity_errors(commodity: dict[str, Any]) -> list[dict[str, Any]]:
    """Sheet 5.9; the country of manufacture is demanded across borders by the official description."""
    found: list[dict[str, Any]] = []

    def wrong(code: str, message: str) -> None:
        found.append(error(f"COMMODITY.{code}.INVALID", message))  # guess, as all codes here

    if not as_text(commodity.get("description")) or len(as_text(commodity.get("description"))) > 450:
        wrong("DESCRIPTION", "A commodity needs a description of up to 450 characters.")
    if not re.fullmatch(r"[A-Z]{2}", as_text(commodity.get("countryOfManufacture"))):
        wrong("COUNTRYOFMANUFACTURE", "The country of manufacture is missing or no country code.")
    for name, most in (("quantity", None), ("numberOfPieces", 9999)):
        count = commodity.get(name, 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1 or (most and count > most):
            wrong(name.upper(), f"{name} is a whole number above 0.")
    if "quantityUnits" in commodity and as_text(commodity["quantityUnits"]) not in _QUANTITY_UNITS:
        wrong("QUANTITYUNITS", "The unit of the quantity is not known.")
    if "purpose" in commodity and commodity["purpose"] not in ("BUSINESS", "CONSUMER"):
        wrong("PURPOSE", "The purpose is BUSINESS or CONSUMER.")
    if "weight" in commodity:
        weight = as_dict(commodity["weight"])
        number = as_number(weight.get("value"))
        if number is None or number < 0 or weight.get("units") not in ("LB", "KG"):
            wrong("WEIGHT", "The weight of a commodity is missing or invalid.")
    for money in ("unitPrice", "customsValue"):
        if money in commodity:
            found += _money_errors(as_dict(commodity[money]))
    return found


def _invoice_errors(invoice: dict[str, Any]) -> list[dict[str, Any]]:
    """Sheet 5.9: required by the schema and omitted in examples, so its absence is let pass."""
    found: list[dict[str, Any]] = []
    if "shipmentPurpose" in invoice and invoice["shipmentPurpose"] not in _PURPOSES:
        found.append(error("COMMERCIALINVOICE.PURPOSE.INVALID", "The purpose of the shipment is not known."))  # guess
    terms = invoice.get("termsOfSale", "FCA")
    if not as_text(terms) or len(terms) > 3:
        found.append(error("COMMERCIALINVOICE.TERMSOFSALE.INVALID", "The terms of sale have at most 3 characters."))  # guess
    if len(as_text(invoice.get("declarationStatement"))) > 554:
        found.append(error("COMMERCIALINVOICE.DECLARATION.INVALID", "The statement has at most 554 characters."))  # guess
    return found + _reference_errors(as_list(invoice.get("customerReferences")), True, "refuse")


def _duties_errors(payment: dict[str, Any]) -> list[dict[str, Any]]:
    """Sheet 5.9: the payor may be left out; nobody but a third party is known without one."""
    kind = as_text(payment.get("paymentType"))
    party = as_dict(as_dict(payment.get("payor")).get("responsibleParty"))
    payor = as_text(as_dict(party.get("accountNumber")).get("value"))
    if kind not in ("SENDER", "RECIPIENT", "THIRD_PARTY", "COLLECT"):
        return [error("DUTIESPAYMENT.PAYMENTTYPE.INVALID", "The payment type of duties is missing or invalid.")]  # guess
    if (payor or kind == "THIRD_PARTY") and not re.fullmatch(r"\d{9}", payor):
        return [
            error("ACCOUNTNUMBER.REGISTRATION.REQUIRED", "The duties payor's account number has to be valid and 9 digits long.")
        ]
    return []


def _date_errors(shipment: dict[str, Any], key: str, today: dt.date, *, past_is_error: bool) -> list[dict[str, Any]]:
    if key not in shipment:
        return []
    day = as_date(shipment[key])
    # One day of grace on both sides: the shipper's calendar may be behind or ahead of the simulator's.
    early = past_is_error and day is not None and day < today - dt.timedelta(days=1)
    if day is None or early or day > today + dt.timedelta(days=11):
        return [error("SHIPMENT.SHIPDATESTAMP.INVALID", "The ship date is no date or more than ten days ahead.")]
    return []


def _count_errors(body: dict[str, Any], shipment: dict[str, Any], *, only_validate: bool) -> list[dict[str, Any]]:
    """Sheet 5.8 and 9."""
    if only_validate:
        if len(rows_of(shipment)) == 1:
            return []
        return [error("REQUESTEDPACKAGELINEITEMS.INVALID", "Exactly one package line item can be validated.")]  # guess
    found: list[dict[str, Any]] = []
    if package_count(shipment) > 40 and body.get("processingOptionType") != "ALLOW_ASYNCHRONOUS":
        found.append(error("PACKAGECOUNT.ASYNCHRONOUS.REQUIRED", "More than 40 packages need ALLOW_ASYNCHRONOUS."))  # guess
    if body.get("oneLabelAtATime") or "masterTrackingId" in shipment:
        found.append(error("REQUEST.MISMATCH", "One label at a time is not played here; send all pieces at once."))
    return found


def remarks(body: object, path: str = "") -> list[str]:
    """Breaches of the vendor's written advice that it does not refuse (sheet 1): empty members, non-ASCII, more than
    two decimals. Each as "path: what"."""
    match body:
        case dict() | list():
            pairs = body.items() if isinstance(body, dict) else enumerate(body)
            found = [] if body or not path else [f"{path}: empty"]
            for key, value in pairs:
                found += remarks(value, f"{path}.{key}" if path else str(key))
            return found
        case str():
            return ([] if body else [f"{path}: empty"]) + ([] if body.isascii() else [f"{path}: not ASCII"])
        case float() if round(body, 2) != body:
            return [f"{path}: more than two decimals"]
    return []

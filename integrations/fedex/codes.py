"""FedEx's code tables, and what each of its error codes means for us.

A *meaning* tells the reaction (the class of `integrations.base.errors`), a code word of ours and plain advice.
Only codes listed here are recognised without an HTTP status; about 1,700 exist (sheet 4.1), the rest is judged
by status and shown in FedEx's own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -- words we send -------------------------------------------------------------------------------------

SERVICE_TYPES: Final = _words(
    """
    FEDEX_GROUND GROUND_HOME_DELIVERY SMART_POST FIRST_OVERNIGHT PRIORITY_OVERNIGHT STANDARD_OVERNIGHT FEDEX_2_DAY_AM FEDEX_2_DAY
    FEDEX_EXPRESS_SAVER SAME_DAY SAME_DAY_CITY FEDEX_1_DAY_FREIGHT FEDEX_2_DAY_FREIGHT FEDEX_3_DAY_FREIGHT FEDEX_FIRST_FREIGHT
    FEDEX_FREIGHT_PRIORITY FEDEX_FREIGHT_ECONOMY INTERNATIONAL_FIRST FEDEX_INTERNATIONAL_PRIORITY_EXPRESS
    FEDEX_INTERNATIONAL_PRIORITY INTERNATIONAL_PRIORITY INTERNATIONAL_ECONOMY FEDEX_INTERNATIONAL_CONNECT_PLUS
    INTERNATIONAL_PRIORITY_FREIGHT INTERNATIONAL_ECONOMY_FREIGHT FEDEX_INTERNATIONAL_DEFERRED_FREIGHT
    INTERNATIONAL_PRIORITY_DISTRIBUTION INTERNATIONAL_DISTRIBUTION_FREIGHT INTERNATIONAL_ECONOMY_DISTRIBUTION
    INTL_GROUND_DISTRIBUTION TRANSBORDER_DISTRIBUTION FEDEX_REGIONAL_ECONOMY FEDEX_REGIONAL_ECONOMY_FREIGHT FEDEX_FIRST
    FEDEX_PRIORITY_EXPRESS FEDEX_PRIORITY FEDEX_ECONOMY FEDEX_ECONOMY_SELECT FEDEX_PRIORITY_EXPRESS_FREIGHT FEDEX_PRIORITY_FREIGHT
    FEDEX_ECONOMY_FREIGHT
    """
)
"""Service types known today (sheet 19.1). FedEx adds some: a service outside this set is sent as it is."""

GROUND_SERVICES: Final = frozenset({"FEDEX_GROUND", "GROUND_HOME_DELIVERY", "SMART_POST"})
"""Carried only in the shipper's own packaging (sheet 19.2)."""

PO_BOX_SERVICE: Final = "SMART_POST"
"""Ground Economy, the only one that goes to post office boxes (sheet 15)."""

PICKUP_TYPES: Final = frozenset({"CONTACT_FEDEX_TO_SCHEDULE", "DROPOFF_AT_FEDEX_LOCATION", "USE_SCHEDULED_PICKUP"})
PAYMENT_TYPES: Final = frozenset({"SENDER", "RECIPIENT", "THIRD_PARTY", "COLLECT"})
RATE_TYPES: Final = frozenset({"LIST", "NONE", "PREFERRED", "ACCOUNT", "INCENTIVE", "RETAIL"})
SIGNATURES: Final = frozenset({"SERVICE_DEFAULT", "NO_SIGNATURE_REQUIRED", "INDIRECT", "DIRECT", "ADULT"})

_PAPER = _words(
    """
    PAPER_4X6 PAPER_4X675 PAPER_4X8 PAPER_4X9 PAPER_7X475 PAPER_85X11_BOTTOM_HALF_LABEL PAPER_85X11_TOP_HALF_LABEL PAPER_LETTER
    """
)
_THERMAL = _words(
    """
    STOCK_4X6 STOCK_4X675 STOCK_4X675_LEADING_DOC_TAB STOCK_4X675_TRAILING_DOC_TAB STOCK_4X8 STOCK_4X9 STOCK_4X9_LEADING_DOC_TAB
    STOCK_4X9_TRAILING_DOC_TAB STOCK_4X85_TRAILING_DOC_TAB STOCK_4X105_TRAILING_DOC_TAB
    """
)
LABEL_STOCKS: Final = {"PDF": _PAPER, "PNG": _PAPER, "ZPLII": _THERMAL, "EPL2": _THERMAL}
"""Image type -> label stocks that go with it (sheet 5.5)."""

MEDIA_TYPES: Final = {
    "PDF": "application/pdf",
    "PNG": "image/png",
    "ZPLII": "application/zpl",
    "ZPL": "application/zpl",
    "EPL2": "application/epl",
    "EPL": "application/epl",
}

REFERENCE_TYPES: Final = {
    "order": "P_O_NUMBER",
    "purchase_order": "P_O_NUMBER",
    "invoice": "INVOICE_NUMBER",
    "department": "DEPARTMENT_NUMBER",
}
"""Kind of a product reference -> customerReferenceType (sheet 5.7). Ours has CUSTOMER_REFERENCE to itself."""

POSTAL_COUNTRIES: Final = _words(
    """
    AU AT BE BR CA CL CN CO CZ DK EE EC FI FR DE GR HU IN ID IT JP KR LV LT LU MY MX NL NO PH PL PT US RO RU SA SG SK SI ZA ES SE
    CH TH TR GB PR
    """
)
"""Countries where FedEx wants a postal code (reference-enums.json, postalAwareCountryPatterns; PR has US codes)."""

QUANTITY_UNITS: Final = _words("AR CM CFT M3 DOZ DPR EA LFT G GR KG LNM LTR M MG ML NO OZ PR PCS LB SFT M2 SYD YD")
"""Units in which customs is told a quantity (reference-enums.json, quantityUnits)."""

UNIT_WORDS: Final = {
    **dict.fromkeys(("PC", "PIECE", "PIECES", "ST", "STK", "STCK"), "PCS"),
    **dict.fromkeys(("EACH", "UNIT", "UNITS"), "EA"),
    **dict.fromkeys(("DZ", "DOZEN"), "DOZ"),
    **dict.fromkeys(("PAIR", "PAIRS", "PRS"), "PR"),
    **dict.fromkeys(("METER", "METRE", "METERS", "METRES", "MTR"), "M"),
    **dict.fromkeys(("KGS", "KILOGRAM", "KILOGRAMS"), "KG"),
    **dict.fromkeys(("LBS", "POUND", "POUNDS"), "LB"),
    **dict.fromkeys(("L", "LITER", "LITRE", "LITERS", "LITRES"), "LTR"),
    **dict.fromkeys(("GRAM", "GRAMS"), "G"),
}
"""What ERPs write -> FedEx's unit, where there can be no doubt. Others go through the value map."""

PURPOSES: Final = frozenset({"SOLD", "GIFT", "SAMPLE", "NOT_SOLD", "PERSONAL_EFFECTS", "REPAIR_AND_RETURN"})

STATE_COUNTRIES: Final = frozenset({"US", "CA", "PR"})
"""Countries where FedEx wants a state or province (sheet 5.3)."""

TEN_DIGIT_PHONES: Final = frozenset({"US", "CA", "PR"})

# -- words we read -------------------------------------------------------------------------------------

CURRENCIES: Final = {
    "UKL": "GBP",
    "SFR": "CHF",
    "JYE": "JPY",
    "NMP": "MXN",
    "SID": "SGD",
    "WON": "KRW",
    "NTD": "TWD",
    "DHS": "AED",
    "ARN": "ARS",
    "CHP": "CLP",
    "RDD": "DOP",
    "JAD": "JMD",
    "KUD": "KWD",
    "CID": "KYD",
    "ECD": "XCD",
}
"""FedEx's own currency codes -> ISO 4217 (sheet 19.3)."""

FEDEX_CURRENCIES: Final = {iso: own for own, iso in CURRENCIES.items()}
"""ISO 4217 -> the code FedEx wants in money fields of a request, where it differs."""


def iso_currency(code: str) -> str:
    """The ISO 4217 code for a code from a FedEx reply; ISO codes pass through."""
    return CURRENCIES.get(code.upper(), code.upper())


def fedex_currency(code: str) -> str:
    """The code FedEx wants for an ISO currency in a money field."""
    return FEDEX_CURRENCIES.get(code.upper(), code.upper())


# -- what error codes mean -----------------------------------------------------------------------------


class Reaction(Enum):
    """What a code asks of us; see `integrations.base.errors`."""

    REJECTED = "rejected"
    CONFIGURATION = "configuration"
    LOGIN = "login"
    FORBIDDEN = "forbidden"
    BROKEN = "broken"
    """A fault inside FedEx: for a read try later, for a create the outcome is open."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one FedEx code means: the reaction, our code word, advice for staff, and the field at fault."""

    reaction: Reaction
    code: str
    advice: str = ""
    field: str = ""


def _table(reaction: Reaction, code: str, advice: str, names: str, field: str = "") -> dict[str, Meaning]:
    meaning = Meaning(reaction, code, advice, field)
    return {name: meaning for name in names.split()}


_RECIPIENT = "Correct the address in the ERP, then replay."

CATALOGUE: Final[dict[str, Meaning]] = {
    **_table(
        Reaction.LOGIN,
        "token_refused",
        "Check API key and Secret key of the connection, and that they belong to this environment.",
        "NOT.AUTHORIZED.ERROR LOGIN.REAUTHENTICATE.ERROR USER.RELOGIN.REQUIRED CUSTOMER.REVOKE.REQUIRED",
    ),
    **_table(
        Reaction.FORBIDDEN,
        "permission_missing",
        "Add the API to the project at developer.fedex.com, then ping.",
        "FORBIDDEN.ERROR UNAUTHORIZED.USAGE",
    ),
    **_table(
        Reaction.CONFIGURATION,
        "account_locked",
        "FedEx has locked this user or account: ask FedEx support to unlock it.",
        "CUSTOMER.USAGE.LOCKED",
    ),
    **_table(
        Reaction.CONFIGURATION,
        "account_refused",
        "Check the account number of the connection and that it is added to the project that owns the API key.",
        "ACCOUNTNUMBER.REGISTRATION.REQUIRED ACCOUNT.NUMBER.INVALID ACCOUNT.NUMBERORKEY.INVALID ACCOUNT.NUMBER.MISMATCH "
        "SHIPMENT.ACCOUNTNUMBER.UNAUTHORIZED SHIPMENT.USER.UNAUTHORIZED TRACKING.ACCOUNTNUMBER.EMPTY",
        "account_number",
    ),
    **_table(
        Reaction.BROKEN,
        "fedex_fault",
        "Nothing to do: FedEx reports a fault of its own.",
        "INTERNAL.SERVER.ERROR SERVICE.UNAVAILABLE.ERROR SERVICE.UNAVAILABLE SYSTEM.UNEXPECTED.ERROR SYSTEM.UNAVAILABLE "
        "SYSTEM.UNAVAILABLE.ERROR INTERNAL.ERROR",
    ),
    **_table(
        Reaction.REJECTED,
        "service_not_available",
        "Choose another service for this shipment (ship-via in the ERP or the integration's service map), then replay.",
        "SERVICETYPE.NOT.ALLOWED SERVICE.TYPE.NOTAVAILABLE SERVICE.LOCATION.UNAVAILABLE FEDEXSERVICE.NOT.AVAILABLE "
        "ORIGINZIPCODE.SERVICE.ERROR",
        "service",
    ),
    **_table(
        Reaction.REJECTED,
        "service_packaging",
        "Service, packaging, weight and destination do not go together: change the service or the packaging, then replay.",
        "SERVICE.PACKAGECOMBINATION.INVALID",
        "service",
    ),
    **_table(
        Reaction.REJECTED,
        "packaging_invalid",
        "Correct the packaging type in the integration's options, then replay.",
        "PACKAGINGTYPE.MISSING.OR.INVALID",
        "packaging_type",
    ),
    **_table(
        Reaction.REJECTED,
        "pickup_type_invalid",
        "Correct the pickup type in the integration's options, then replay.",
        "PICKUPTYPE.REQUIRED PICKUPTYPE.NOT.AVAILABLE",
        "pickup_type",
    ),
    **_table(Reaction.REJECTED, "address_city", _RECIPIENT, "CITY.REQUIRED", "city"),
    **_table(
        Reaction.REJECTED,
        "address_postal_code",
        _RECIPIENT,
        "POSTALCODE.ZIPCODE.REQUIRED COUNTRY.POSTALCODE.INVALID COUNTRY.POSTALCODEORZIP.INVALID "
        "DESTINATION.POSTALCODE.MISSING.ORINVALID ENTERED.ZIPCODE.NOTFOUND",
        "postal_code",
    ),
    **_table(
        Reaction.REJECTED,
        "address_sender_country",
        "Correct the sender's country (the site's address), then replay.",
        "SHIPPER.COUNTRY.INVALID",
        "sender.country",
    ),
    **_table(
        Reaction.REJECTED,
        "weight_refused",
        "Correct the package weight in the ERP or choose a service that carries it, then replay.",
        "PACKAGE.WEIGHT.INVALID MAXIMUM.WEIGHT.EXCEEDED MAXIMUMWEIGHT.TYPE.ERROR",
        "weight",
    ),
    **_table(
        Reaction.REJECTED,
        "dimensions_refused",
        "Correct the package dimensions in the ERP, then replay.",
        "PACKAGEDIMENSION.TYPE.ERROR DIMENSIONS.EXCEEDS.LIMITS MIXED.MEASURING.UNITS.INCLUDED",
        "dimensions",
    ),
    **_table(
        Reaction.REJECTED,
        "value_refused",
        "Declared value, customs value and currency must fit together: correct them, then replay.",
        "REQUESTEDSHIPMENT.TOTALDECLAREDVALUE.MISMATCH CUSTOMVALUE.GREATER.THAN.DECLAREDVALUE CURRENCY.TYPE.INVALID "
        "SHIPMENT.CURRENCYCODE.INVALID",
        "declared_value",
    ),
    **_table(
        Reaction.REJECTED, "rate_not_available", "FedEx has no rate on this account for this lane.", "RATING.QUOTE.NOTAVAILABLE"
    ),
    **_table(
        Reaction.REJECTED,
        "sandbox_mismatch",
        "FedEx's sandbox knows only its own sample requests: use the simulator to try, and production to ship.",
        "REQUEST.MISMATCH",
    ),
    **_table(
        Reaction.REJECTED,
        "master_form_id_missing",
        "FedEx takes this request for a further piece of an earlier shipment.",
        "TRACKINGID.FORMID.REQUIRED",
    ),
    **_table(
        Reaction.REJECTED,
        "tracking_number_invalid",
        "FedEx does not know this number under this account.",
        "TRACKINGNUMBER.ENTERED.INVALID",
        "tracking_number",
    ),
    **_table(
        Reaction.REJECTED,
        "void_too_late",
        "The ship day is closed or the parcel is already with FedEx: cancel by asking FedEx, or let it be returned.",
        "TRACKINGIDS.TRACKINGNUMBER.CLOSED",
        "tracking_number",
    ),
    **_table(
        Reaction.REJECTED,
        "void_refused",
        "FedEx could not cancel this shipment: try again later, then ask FedEx.",
        "SHIPMENT.CANCELEDWITHOUTPICKUP.FAILURE",
        "tracking_number",
    ),
}

CANCELLED_BEFORE: Final = frozenset({"CANCELSHIPMENT.TRACKINGNUMBER.DELETED", "MASTERTRACKINGID.TRACKINGNUMBER.CANCELLED"})
CANCELLED_NOW: Final = frozenset({"SHIPMENT.CANCELEDWITHOUTPICKUP.SUCCESS"})
"""Arrive as errors and mean success all the same (sheet 4.1)."""

JOB_UNKNOWN: Final = "SHIPMENT.JOBID.INVALID"

REFERENCE_NOT_FOUND: Final = frozenset(
    {"TRACKING.REFERENCENUMBER.NOTFOUND", "TRACKING.TRACKINGNUMBER.NOTFOUND", "TRACKING.DATA.NOTFOUND"}
)
REFERENCE_NOT_UNIQUE: Final = "TRACKING.DATA.NOTUNIQUE"
END_DATE_IN_FUTURE: Final = "TRACKING.SHIPDATEEND.FUTURE"

CANCELLED_STATUS: Final = "CA"
"""latestStatusDetail code of a shipment that was called off (sheet 14)."""


def meaning_of(code: str) -> Meaning | None:
    """What a FedEx error code means, None for one we do not know."""
    known = CATALOGUE.get(code.upper())
    if known is None and code.upper().startswith(("SYSTEM.", "INTERNAL.")):
        # Members of the same family as the listed ones: never a proof that nothing was made.
        return CATALOGUE["SYSTEM.UNEXPECTED.ERROR"]
    return known

"""Address Validation of the simulated FedEx: verdicts that follow from words in the street lines (sheet 15 and 18).

    UNKNOWN     supported, no match (NORMALIZED)       NOTFOUND    the whole request is refused
    TOWER       a suite is missing, unless a second line names one
    SUITE 999   this suite is not known                GUESS       the house number is interpolated
    MISSPELT    the street is found under its right name, and the ZIP is another
    SEVERAL     more than one address matches          PO BOX      a post office box
    HOME, MALL  residential, mixed; everything else is a business

Countries outside `SUPPORTED` come back as they went in (RAW).
"""

from __future__ import annotations

import re
from typing import Any

from integrations.fedex.simulator_checks import as_dict, as_list, as_text, error, words

MOST = 100
SUPPORTED = words(
    "US CA MX PR GB DE FR AU BR AT BE BG CH CZ DK ES FI GR HU IE IT LU NL NO PL PT RO SE SG SK SI JP KR MY NZ ZA AR CL CO PE IL"
)
_SHORT = {"STREET": "ST", "AVENUE": "AVE", "ROAD": "RD", "BOULEVARD": "BLVD", "DRIVE": "DR", "LANE": "LN", "SUITE": "STE"}
_SAID = {
    "SUITE.NUMBER.REQUIRED": "Invalid or missing Apartment/Suite",
    "INVALID.SUITE.NUMBER": "Invalid or missing Apartment/Suite",
    "INTERPOLATED.STREET.ADDRESS": "Unable to confirm exact street number for the entered street name. The address falls "
    "within a valid range for the street name.",
}


def request_errors(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What is wrong with a request; the codes beside the one of sheet 15 are guesses."""
    asked = as_list(body.get("addressesToValidate"))
    if not asked:
        return [error("ADDRESSTOVALIDATE.REQUIRED", "Give at least one address.")]
    if len(asked) > MOST:
        return [error("ADDRESSTOVALIDATE.LIMIT.EXCEEDED", f"At most {MOST} addresses at a time.")]
    wrong = []
    for row in asked:
        place = as_dict(as_dict(row).get("address"))
        lines = [as_text(line) for line in as_list(place.get("streetLines"))]
        if not any(lines) or len(lines) > 3 or any(len(line) > 35 for line in lines):
            wrong.append(error("STREETLINES.INVALID", "One to three street lines of at most 35 characters."))
        if not re.fullmatch(r"[A-Z]{2}", as_text(place.get("countryCode"))):
            wrong.append(error("COUNTRY.CODE.INVALID", "The country code is missing or invalid."))
        if not as_text(place.get("city")) and not as_text(place.get("postalCode")):
            wrong.append(error("CITY.REQUIRED", "Give a city or a postal code."))
        if any("NOTFOUND" in line.upper() for line in lines):
            wrong.append(error("STANDARDIZED.ADDRESS.NOTFOUND", "The standardized address is not found."))
    return wrong


def resolve(row: dict[str, Any], *, names: str) -> dict[str, Any]:
    """One `resolvedAddresses` entry, under the recorded names or those of the schema."""
    place = as_dict(row.get("address"))
    lines = [as_text(line).upper() for line in as_list(place.get("streetLines"))]
    street, country = " ".join(lines), as_text(place.get("countryCode"))
    attributes: dict[str, Any] = {"CountrySupported": country in SUPPORTED, "ResolutionInput": "RAW_ADDRESS"}
    made: dict[str, Any] = {
        "streetLinesToken": lines,
        "city": as_text(place.get("city")).upper(),
        "stateOrProvinceCode": as_text(place.get("stateOrProvinceCode")),
        "postalCode": as_text(place.get("postalCode")),
        "countryCode": country,
        "classification": "UNKNOWN",
        "ruralRouteHighwayContract": False,
        "generalDelivery": False,
    }
    if row.get("clientReferenceId"):
        made["clientReferenceId"] = row["clientReferenceId"]
    messages: list[str] = []
    if country not in SUPPORTED:
        attributes |= {"AddressType": "RAW", "Matched": False}
    elif "UNKNOWN" in street:
        attributes |= {"AddressType": "NORMALIZED", "ValidlyFormed": True, "Matched": False, "Resolved": False}
    else:
        messages = _matched(made, attributes, lines, street, country)
    told = [{"code": code, "message": _SAID[code]} for code in messages]
    if names == "schema":
        for name in ("clientReferenceId", "postalCode"):  # not in the schema's answer
            made.pop(name, None)
        return made | {"customerMessage": told, "attributes": attributes}
    spelled = {k: str(v).lower() if isinstance(v, bool) else v for k, v in attributes.items()}
    return made | {"customerMessages": told, "attributes": spelled}


def _matched(made: dict[str, Any], attributes: dict[str, Any], lines: list[str], street: str, country: str) -> list[str]:
    """Fill in what a match tells; the codes of its messages."""
    several, guessed = "SEVERAL" in street, "GUESS" in street
    missing, invalid = "TOWER" in street and len(lines) < 2, "SUITE 999" in street
    made["streetLinesToken"] = [" ".join(_SHORT.get(w, w) for w in line.replace("MISSPELT", "RIGHT").split()) for line in lines]
    made["classification"] = "RESIDENTIAL" if "HOME" in street else "MIXED" if "MALL" in street else "BUSINESS"
    attributes |= {
        "AddressType": "STANDARDIZED",
        "AddressPrecision": "STREET_ADDRESS",
        "ValidlyFormed": True,
        "Matched": True,
        "InterpolatedStreetAddress": guessed,
        "MultipleMatches": several,
        "SuiteRequiredButMissing": missing,
        "InvalidSuiteNumber": invalid,
        "POBox": "PO BOX" in street,
        "MatchSource": "Postal",
    }
    if country == "US":  # elsewhere these keys are left out (sheet 15)
        attributes |= {"Resolved": not several, "DPV": not (guessed or several or missing), "ResolutionMethod": "USPS_VALIDATE"}
        base = made["postalCode"][:5]
        base = f"{(int(base) + 1) % 100000:05d}" if "MISSPELT" in street and base.isdigit() else base
        made["postalCode"] = f"{base}-1001" if base else ""
        made["parsedPostalCode"] = {"base": base, "addOn": "1001", "deliveryPoint": "09"}
    found = {
        "SUITE.NUMBER.REQUIRED": missing,
        "INVALID.SUITE.NUMBER": invalid,
        "INTERPOLATED.STREET.ADDRESS": guessed,
    }
    return [code for code, holds in found.items() if holds]

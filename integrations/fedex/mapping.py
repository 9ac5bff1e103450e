"""FedEx's JSON from and to our records. Pure: no network, no clock, no settings but those handed in.

`build_shipment` is strict in what it sends, `read_created` and `read_matches` take every variation on record.

Options understood in `ShipmentRequest.options` (all optional):

    pickup_type      USE_SCHEDULED_PICKUP (default), DROPOFF_AT_FEDEX_LOCATION, CONTACT_FEDEX_TO_SCHEDULE
    packaging_type   YOUR_PACKAGING (default) or one of FedEx's boxes; Ground always ships in YOUR_PACKAGING
    label            {"image_type": "PDF", "stock_type": "PAPER_4X6"}: a matched pair (sheet 5.5)
    rate_type        "ACCOUNT" (default), another rateRequestType, or a list of them
    payment_type     SENDER (default), RECIPIENT, THIRD_PARTY, COLLECT; all but SENDER with payment_account
    residential      false (default); the recipient's own flag goes first, GROUND_HOME_DELIVERY is always residential
    signature        a signatureOptionType
    saturday_delivery  true
    smart_post       {"hub_id": "...", "indicia": "PARCEL_SELECT"}, needed for SMART_POST
    sub_packaging_type  BOX (default): told into Canada, and from Canada or Mexico into the US

What crosses a border needs `ShipmentRequest.customs`.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from anyascii import anyascii

from integrations.base.context import Token
from integrations.base.countries import needs_customs
from integrations.base.errors import Rejected
from integrations.base.records import (
    Address,
    BoughtPackage,
    BoughtShipment,
    Commodity,
    Customs,
    Dimensions,
    FoundShipment,
    LabelFile,
    LengthUnit,
    Money,
    PackageSpec,
    Pending,
    ShipmentRequest,
    VoidResult,
    Weight,
    WeightUnit,
)
from integrations.fedex import codes

STREET_LINES: Final = 3
STREET_CHARS: Final = 35
CITY_CHARS: Final = 35
PERSON_CHARS: Final = 70
COMPANY_CHARS: Final = 35
EMAIL_CHARS: Final = 80
POSTAL_CHARS: Final = 10
REFERENCE_CHARS: Final = 30
DIMENSION_MAX: Final = 999
PACKAGE_ROWS: Final = 30
COMMODITIES: Final = 999
DESCRIPTION_CHARS: Final = 450

KG_PER_LB: Final = Decimal("0.45359237")
CM_PER_IN: Final = Decimal("2.54")
_KG = {
    WeightUnit.KG: Decimal(1),
    WeightUnit.G: Decimal("0.001"),
    WeightUnit.LB: KG_PER_LB,
    WeightUnit.OZ: KG_PER_LB / 16,
}
_CM = {LengthUnit.CM: Decimal(1), LengthUnit.MM: Decimal("0.1"), LengthUnit.M: Decimal(100), LengthUnit.IN: CM_PER_IN}

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class Built:
    """A create body, and what was changed on the way to it (one sentence each, for the timeline)."""

    body: Body
    notes: tuple[str, ...]


# -- the request -----------------------------------------------------------------------------------------


def build_shipment(request: ShipmentRequest, reference: str, account: str) -> Built:
    """The body of POST /ship/v1/shipments (sheet 5). `reference` is ours and stands on every package.

    Raises Rejected for whatever FedEx is bound to refuse, naming the field.
    """
    notes: list[str] = []
    options = request.options
    service = request.service.strip()
    if not service:
        raise _refused("No FedEx service is chosen.", "service_missing", "service")
    if not re.fullmatch(r"[A-Z0-9][A-Z0-9_]*", service):
        raise _refused(f'"{service}" is no FedEx service type.', "service_invalid", "service")
    if not request.packages:
        raise _refused("The shipment has no package.", "packages_missing", "packages")
    if len(request.packages) > PACKAGE_ROWS:
        raise _refused(
            f"FedEx takes at most {PACKAGE_ROWS} packages in one shipment, this one has {len(request.packages)}.",
            "too_many_packages",
            "packages",
            "Split the shipment in the ERP.",
        )
    if not reference.isascii() or not 0 < len(reference) <= REFERENCE_CHARS:
        # A reference that FedEx cuts could not be found again (sheet 5.7).
        raise _refused(f"Our reference must have 1 to {REFERENCE_CHARS} ASCII characters.", "reference_invalid", "reference")

    residential = bool(_first_not_none(request.recipient.residential, options.get("residential"), False))
    shipment: Body = {
        "shipDatestamp": request.ship_date.isoformat(),
        "pickupType": _choice(options, "pickup_type", "USE_SCHEDULED_PICKUP", codes.PICKUP_TYPES),
        "serviceType": service,
        "packagingType": _packaging(service, options, notes),
        "shipper": _party(request.sender, "sender", notes),
        "recipients": [_party(request.recipient, "recipient", notes, residential or service == "GROUND_HOME_DELIVERY")],
        "shippingChargesPayment": _payment(options),
        "rateRequestType": _rate_types(options),
        "labelSpecification": label_specification(options),
        "requestedPackageLineItems": _packages(request, reference, notes),
    }
    if len(request.packages) > 1:
        shipment["totalPackageCount"] = len(request.packages)
    if options.get("saturday_delivery"):
        shipment["shipmentSpecialServices"] = {"specialServiceTypes": ["SATURDAY_DELIVERY"]}
    if service == "SMART_POST":
        shipment["smartPostInfoDetail"] = _smart_post(options)
    if request.sender.country.strip().upper() != request.recipient.country.strip().upper():
        shipment["totalWeight"] = _number(_total_weight(request.packages))
    if needs_customs(request.sender.country, request.recipient.country):
        shipment["customsClearanceDetail"] = _customs(request, notes)
    return Built(
        {"labelResponseOptions": "LABEL", "accountNumber": {"value": account}, "requestedShipment": shipment},
        tuple(dict.fromkeys(notes)),
    )


def _refused(message: str, code: str, field: str, remedy: str = "") -> Rejected:
    return Rejected(message, code=code, field=field, remedy=remedy, vendor="fedex", operation="prepare shipment")


def _first_not_none(*values: object) -> object:
    return next((v for v in values if v is not None), None)


def _choice(options: Mapping[str, object], key: str, default: str, allowed: frozenset[str]) -> str:
    chosen = str(options.get(key) or default)
    if chosen not in allowed:
        raise _refused(
            f'"{chosen}" is not possible for the option {key}.',
            f"{key}_invalid",
            key,
            f"Choose one of {', '.join(sorted(allowed))}.",
        )
    return chosen


def _packaging(service: str, options: Mapping[str, object], notes: list[str]) -> str:
    chosen = str(options.get("packaging_type") or "YOUR_PACKAGING")
    if service in codes.GROUND_SERVICES and chosen != "YOUR_PACKAGING":
        notes.append(f"Packaging {chosen} does not exist for {service}: YOUR_PACKAGING is sent.")
        return "YOUR_PACKAGING"
    return chosen


def _payment(options: Mapping[str, object]) -> Body:
    """Who pays (sheet 5.4). For the sender FedEx takes the shipper account by itself."""
    kind = _choice(options, "payment_type", "SENDER", codes.PAYMENT_TYPES)
    if kind == "SENDER":
        return {"paymentType": kind}
    account = str(options.get("payment_account") or "").strip()
    if not account:
        raise _refused(f"Payment by {kind} needs the account that pays.", "payment_account_missing", "payment_account")
    return {"paymentType": kind, "payor": {"responsibleParty": {"accountNumber": {"value": account}}}}


def _rate_types(options: Mapping[str, object]) -> list[str]:
    told = options.get("rate_type") or "ACCOUNT"
    wanted = [told] if isinstance(told, str) else list(told) if isinstance(told, list | tuple) else [str(told)]
    return [_choice({"rate_type": one}, "rate_type", "ACCOUNT", codes.RATE_TYPES) for one in wanted]


def label_specification(options: Mapping[str, object]) -> dict[str, str]:
    """Image type and stock, which must go together (sheet 5.5). Raises Rejected `label_invalid`."""
    told = options.get("label")
    label: Mapping[str, object] = told if isinstance(told, Mapping) else {}
    image = str(label.get("image_type") or "PDF")
    thermal = "PAPER_4X6" not in codes.LABEL_STOCKS.get(image, ())
    stock = str(label.get("stock_type") or ("STOCK_4X6" if thermal else "PAPER_4X6"))
    if stock not in codes.LABEL_STOCKS.get(image, ()):
        raise _refused(
            f"Label type {image} does not go with stock {stock}.",
            "label_invalid",
            "label",
            "Choose PDF or PNG with a PAPER_ stock, or ZPLII or EPL2 with a STOCK_ stock.",
        )
    return {"imageType": image, "labelStockType": stock}


def _smart_post(options: Mapping[str, object]) -> Body:
    detail = options.get("smart_post")
    hub = _text(_dict(detail).get("hub_id"))
    if not hub:
        raise _refused("Ground Economy (SMART_POST) needs its hub.", "smart_post_hub_missing", "smart_post")
    return {"hubId": hub, "indicia": _text(_dict(detail).get("indicia")) or "PARCEL_SELECT"}


def _customs(request: ShipmentRequest, notes: list[str]) -> Body:
    """customsClearanceDetail (sheet 5.9). Raises Rejected for what is missing or has no form that FedEx takes."""
    customs = request.customs
    if customs is None or not customs.commodities:
        raise _refused(
            f"The parcel leaves {request.sender.country} for {request.recipient.country}: that needs customs data.",
            "customs_missing",
            "recipient.country",
            "Check that the document's lines can be read in the ERP, then replay.",
        )
    if len(customs.commodities) > COMMODITIES:
        raise _refused(f"FedEx takes at most {COMMODITIES} commodities in one shipment.", "too_many_commodities", "lines")
    invoice: Body = {
        "shipmentPurpose": _choice({"shipment_purpose": customs.purpose}, "shipment_purpose", "SOLD", codes.PURPOSES),
        "termsOfSale": customs.terms_of_sale,
    }
    if numbers := _joined(_values(request.references, "invoice"), "INVOICE_NUMBER", notes):
        # The invoice that FedEx prints takes its number from here, not from the package (sheet 5.7).
        invoice["customerReferences"] = [{"customerReferenceType": "INVOICE_NUMBER", "value": numbers}]
    return {
        "commercialInvoice": invoice,
        "commodities": [_commodity(c, request, notes) for c in customs.commodities],
        "dutiesPayment": _duties(customs),
        "isDocumentOnly": False,
        "totalCustomsValue": _money(customs.value),
    }


def _duties(customs: Customs) -> Body:
    kind = _choice({"duties_payment_type": customs.duties_payer}, "duties_payment_type", "SENDER", codes.PAYMENT_TYPES)
    account = customs.duties_account.strip()
    if kind == "THIRD_PARTY" and not account:
        raise _refused("Duties paid by a third party need its account.", "payment_account_missing", "duties_account")
    if kind == "SENDER" or not account:
        return {"paymentType": kind}
    return {"paymentType": kind, "payor": {"responsibleParty": {"accountNumber": {"value": account}}}}


def _commodity(commodity: Commodity, request: ShipmentRequest, notes: list[str]) -> Body:
    """One commodity; its weight in the unit of the packages, because FedEx refuses a mixture (sheet 5.9)."""
    description = _plain(commodity.description, "Description", notes)
    if len(description) > DESCRIPTION_CHARS:
        notes.append(f'Description "{description[:40]}..." is cut to {DESCRIPTION_CHARS} characters for customs.')
        description = textwrap.wrap(description, DESCRIPTION_CHARS)[0]
    unit = commodity.unit.strip().upper().rstrip(".")
    unit = codes.UNIT_WORDS.get(unit, unit)
    if unit not in codes.QUANTITY_UNITS:
        raise _refused(
            f"“{commodity.unit}” is no unit that customs is told a quantity in.",
            "quantity_unit_unknown",
            "unit",
            f"Map it in the integration's value map “unit” to one of {', '.join(sorted(codes.QUANTITY_UNITS))}; then replay.",
        )
    metric = _metric(request)
    weight = _convert_weight(commodity.weight, metric=metric).quantize(Decimal("0.01"), rounding=ROUND_CEILING)
    body: Body = {
        "description": description,
        "countryOfManufacture": commodity.origin_country,
        "quantity": commodity.quantity,
        "quantityUnits": unit,
        "weight": {"units": "KG" if metric else "LB", "value": _number(weight)},
        "unitPrice": _money(commodity.unit_price),
        "customsValue": _money(commodity.value),
    }
    if code := ascii_text(commodity.harmonized_code):
        body["harmonizedCode"] = code
    if part := _plain(commodity.part_no, "Part number", notes):
        body["partNumber"] = part
    return body


def _money(money: Money) -> Body:
    """An amount as money fields want it: two decimals, and FedEx's own code for some currencies (sheet 1, 19.3)."""
    return {"amount": _number(money.amount), "currency": codes.fedex_currency(money.currency)}


def _number(value: Decimal) -> int | float:
    """A JSON number. Two decimals survive a float's shortest form, and a stored body stays plain JSON."""
    return int(value) if value == value.to_integral_value() else float(value)


# -- parties ---------------------------------------------------------------------------------------------


def ascii_text(text: str) -> str:
    """`text` in ASCII with single spaces: Ship asks for ASCII only (sheet 1)."""
    plain = anyascii(text)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def _plain(text: str, what: str, notes: list[str]) -> str:
    plain = ascii_text(text)
    if not text.isascii() and text.strip():
        notes.append(f'{what} "{" ".join(text.split())}" is sent as "{plain}".')
    return plain


def _party(address: Address, who: str, notes: list[str], residential: bool | None = None) -> Body:
    """One party (sheet 5.3): contact and address, nothing empty."""
    country = address.country.strip().upper()
    if not re.fullmatch(r"[A-Z]{2}", country):
        raise _refused(f"The {who}'s country is missing or no ISO code.", "country_invalid", f"{who}.country")
    place: Body = {"streetLines": street_lines(address.lines, who, notes), "city": _city(address, who, notes)}
    if state := _state(address, country, who):
        place["stateOrProvinceCode"] = state
    if postal_code := _postal_code(address, country, who):
        place["postalCode"] = postal_code
    place["countryCode"] = country
    if residential is not None:
        place["residential"] = residential
    return {"contact": _contact(address, country, who, notes), "address": place}


def _contact(address: Address, country: str, who: str, notes: list[str]) -> Body:
    contact: Body = {}
    for key, text, limit in (("personName", address.name, PERSON_CHARS), ("companyName", address.company, COMPANY_CHARS)):
        plain = _plain(text, f"{who} name", notes)
        if len(plain) > limit:
            short = textwrap.wrap(plain, limit)[0]
            notes.append(f'{who} name "{plain}" is longer than {limit} characters: "{short}" is sent.')
            plain = short
        if plain:
            contact[key] = plain
    if not contact:
        raise _refused(f"The {who} has neither a name nor a company.", "name_missing", f"{who}.name")
    number, extension = phone_number(address.phone, country, who)
    contact["phoneNumber"] = number
    if extension:
        contact["phoneExtension"] = extension
    email = address.email.strip()
    if email and email.isascii() and "@" in email and len(email) <= EMAIL_CHARS:
        contact["emailAddress"] = email
    elif email:
        notes.append(f"{who} e-mail is left out: FedEx takes at most {EMAIL_CHARS} ASCII characters.")
    return contact


def phone_number(phone: str, country: str, who: str = "recipient") -> tuple[str, str]:
    """Digits and extension: exactly 10 for the US and Canada, 10 to 15 elsewhere (sheet 5.3).

    Raises Rejected `phone_missing` or `phone_invalid`.
    """
    if not phone.strip():
        raise _refused(f"The {who} has no phone number, FedEx wants one.", "phone_missing", f"{who}.phone")
    extension = re.search(r"(?:x|ext\.?|extension|#)\s*:?\s*(\d{1,6})\s*$", phone, re.IGNORECASE)
    main = phone[: extension.start()] if extension else phone
    if main.lstrip().startswith("+"):
        main = main.replace("(0)", "")
    digits = re.sub(r"\D", "", anyascii(main))
    if country in codes.TEN_DIGIT_PHONES:
        digits = digits[1:] if len(digits) == 11 and digits.startswith("1") else digits
        good = len(digits) == 10
    else:
        digits = digits.removeprefix("00")
        good = 10 <= len(digits) <= 15
    if not good:
        wanted = "10 digits" if country in codes.TEN_DIGIT_PHONES else "10 to 15 digits, country code included"
        raise _refused(f'The {who}\'s phone number "{phone.strip()}" must have {wanted}.', "phone_invalid", f"{who}.phone")
    return digits, extension.group(1) if extension else ""


def street_lines(lines: Iterable[str], who: str, notes: list[str]) -> list[str]:
    """At most three lines of 35 characters, wrapped between words. Raises Rejected `address_too_long`.

    Lines are kept as they are where they fit, else wrapped one by one, else run together (sheet 5.3).
    """
    plain = [line for line in (_plain(line, f"{who} street", notes) for line in lines) if line]
    if not plain:
        raise _refused(f"The {who} has no street.", "street_missing", f"{who}.lines")
    for wrapped in ([part for line in plain for part in _wrap(line)], _wrap(" ".join(plain))):
        if len(wrapped) <= STREET_LINES and all(len(line) <= STREET_CHARS for line in wrapped):
            return wrapped
    raise _refused(
        f"The {who}'s street does not fit into {STREET_LINES} lines of {STREET_CHARS} characters.",
        "address_too_long",
        f"{who}.lines",
        "Shorten it in the ERP, then replay.",
    )


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, STREET_CHARS, break_long_words=False, break_on_hyphens=False)


def _city(address: Address, who: str, notes: list[str]) -> str:
    city = _plain(address.city, f"{who} city", notes)
    if not city:
        raise _refused(f"The {who} has no city.", "city_missing", f"{who}.city")
    if len(city) > CITY_CHARS:
        raise _refused(f"The {who}'s city is longer than {CITY_CHARS} characters.", "address_too_long", f"{who}.city")
    return city


def _state(address: Address, country: str, who: str) -> str:
    if country not in codes.STATE_COUNTRIES:
        return ""
    state = address.state.strip().upper() or ("PR" if country == "PR" else "")
    if not re.fullmatch(r"[A-Z]{2}", state):
        raise _refused(f"The {who}'s state or province must be its two-letter code.", "state_invalid", f"{who}.state")
    return state


_POSTAL_SHAPES = {"US": r"\d{5}(-\d{4})?", "PR": r"\d{5}(-\d{4})?", "CA": r"[A-Z]\d[A-Z] \d[A-Z]\d"}


def _postal_code(address: Address, country: str, who: str) -> str:
    code = ascii_text(address.postal_code).upper()
    if not code:
        if country in codes.POSTAL_COUNTRIES:
            raise _refused(f"The {who} has no postal code.", "postal_code_missing", f"{who}.postal_code")
        return ""
    packed = re.sub(r"[ -]", "", code)
    if country in ("US", "PR") and len(packed) == 9:
        code = f"{packed[:5]}-{packed[5:]}"
    elif country == "CA" and len(packed) == 6:
        code = f"{packed[:3]} {packed[3:]}"
    if len(code) > POSTAL_CHARS or not re.fullmatch(_POSTAL_SHAPES.get(country, ".+"), code):
        raise _refused(f'"{code}" is no postal code of {country}.', "postal_code_invalid", f"{who}.postal_code")
    return code


# -- packages --------------------------------------------------------------------------------------------


def _packages(request: ShipmentRequest, reference: str, notes: list[str]) -> list[Body]:
    metric = _metric(request)
    lane = (request.sender.country.strip().upper(), request.recipient.country.strip().upper())
    # Sheet 5.6: into Canada, and into the US from Canada and Mexico.
    named = lane[0] != lane[1] and (lane[1] == "CA" or lane in (("CA", "US"), ("MX", "US")))
    signature = request.options.get("signature")
    rows: list[Body] = []
    for sequence, package in enumerate(request.packages, start=1):
        row: Body = {
            "sequenceNumber": sequence,
            # Without it FedEx does not echo the references (sheet 5.7).
            "groupPackageCount": 1,
            "weight": {"units": "KG" if metric else "LB", "value": _number(package_weight(package, metric=metric))},
            "customerReferences": _references(request, package, reference, notes),
        }
        if named:
            row["subPackagingType"] = str(request.options.get("sub_packaging_type") or "BOX")
        if package.dimensions:
            row["dimensions"] = _dimensions(package.dimensions, package.package_id, metric=metric)
        if signature:
            chosen = _choice(request.options, "signature", "SERVICE_DEFAULT", codes.SIGNATURES)
            row["packageSpecialServices"] = {"specialServiceTypes": ["SIGNATURE_OPTION"], "signatureOptionType": chosen}
        rows.append(row)
    return rows


def _metric(request: ShipmentRequest) -> bool:
    """One system of units per shipment: the first package's."""
    return request.packages[0].weight.unit in (WeightUnit.KG, WeightUnit.G)


def package_weight(package: PackageSpec, *, metric: bool) -> Decimal:
    """The weight in kg or lb, two decimals, rounded up (sheet 1). Raises Rejected `weight_missing` for 0 and less."""
    if not package.weight.value.is_finite() or package.weight.value <= 0:
        raise _refused(
            f"Package {package.package_id} has no weight.",
            "weight_missing",
            "weight",
            "Enter its weight in the ERP, then replay.",
        )
    return _convert_weight(package.weight, metric=metric).quantize(Decimal("0.01"), rounding=ROUND_CEILING)


def _convert_weight(weight: Weight, *, metric: bool) -> Decimal:
    # Within a system the ratio is exact; only a change of system may leave an endless fraction.
    if not metric and weight.unit in (WeightUnit.LB, WeightUnit.OZ):
        return weight.value / (1 if weight.unit is WeightUnit.LB else 16)
    in_kg = weight.value * _KG[weight.unit]
    return in_kg if metric else in_kg / KG_PER_LB


def _total_weight(packages: tuple[PackageSpec, ...]) -> Decimal:
    metric = packages[0].weight.unit in (WeightUnit.KG, WeightUnit.G)
    return sum((package_weight(p, metric=metric) for p in packages), Decimal())


def _dimensions(size: Dimensions, package_id: str, *, metric: bool) -> Body:
    """Whole cm or inches, rounded up; units always named, because FedEx takes inches otherwise (sheet 1)."""
    sides: Body = {}
    for name in ("length", "width", "height"):
        value: Decimal = getattr(size, name)
        exact = size.unit is LengthUnit.IN and not metric
        side = value if exact else value * _CM[size.unit] / (1 if metric else CM_PER_IN)
        whole = int(side.to_integral_value(rounding=ROUND_CEILING)) if side.is_finite() else 0
        if not 0 < whole <= DIMENSION_MAX:
            raise _refused(
                f"Package {package_id}: {name} must lie between 1 and {DIMENSION_MAX} {'cm' if metric else 'in'}.",
                "dimensions_invalid",
                "dimensions",
                "Correct the dimensions in the ERP, or remove all three, then replay.",
            )
        sides[name] = whole
    return sides | {"units": "CM" if metric else "IN"}


def _references(request: ShipmentRequest, package: PackageSpec, reference: str, notes: list[str]) -> list[Body]:
    """Ours first, then the ERP's numbers by type (sheet 5.7)."""
    rows: list[Body] = [{"customerReferenceType": "CUSTOMER_REFERENCE", "value": reference}]
    pairs = (*package.references, *request.references)
    for kind in dict.fromkeys(codes.REFERENCE_TYPES.values()):
        kinds = tuple(ours for ours, theirs in codes.REFERENCE_TYPES.items() if theirs == kind)
        if value := _joined(_values(pairs, *kinds), kind, notes):
            rows.append({"customerReferenceType": kind, "value": value})
    return rows


def _values(pairs: Iterable[tuple[str, str]], *kinds: str) -> list[str]:
    return list(dict.fromkeys(value.strip() for kind, value in pairs if kind in kinds and value.strip()))


def _joined(numbers: list[str], kind: str, notes: list[str]) -> str:
    """Whole numbers, comma between, up to 30 characters. One that does not fit is left out and noted, never cut."""
    taken = ""
    left_out = []
    for number in numbers:
        plain = _plain(number, kind, notes)
        longer = f"{taken},{plain}" if taken else plain
        if plain and len(longer) <= REFERENCE_CHARS:
            taken = longer
        else:
            left_out.append(number)
    if left_out:
        notes.append(f"{kind} holds {REFERENCE_CHARS} characters, left out: {', '.join(left_out)}.")
    return taken


# -- reading: small tolerant helpers -----------------------------------------------------------------------


def parse_json(text: str) -> object:
    """The JSON in `text` with Decimals for fractions; None where it is no JSON (HTML, cut off, empty)."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    """A list as it is, a lone value as a list of one, nothing as none: FedEx is not firm about it (sheet 6, 11)."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else ""


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


def _int(value: object) -> int | None:
    number = _decimal(value)
    return int(number) if number is not None and number == number.to_integral_value() and abs(number) < 1_000_000 else None


def _date(value: object) -> dt.date | None:
    """The date part of a date or time, not converted: FedEx writes dates as Memphis midnights (sheet 11.2)."""
    try:
        return dt.date.fromisoformat(_text(value)[:10])
    except ValueError:
        return None


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


def _alerts(*holders: object) -> Iterator[str]:
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
    alerts = [*_alerts(answer, output, shipment, detail)]
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
        alerts += [*_alerts(*own)]
        label = _label(own, claimed, piece.number, alerts)
        bought.append(BoughtPackage(piece.number, piece.sequence, by_sequence.get(piece.sequence, ""), label))
    if bought and not any(p.label for p in bought):
        # One document for all: kept with the first package rather than lost.
        alerts += [*_alerts(*shared)]
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
        return LabelFile(media, encoded.encode(), readable=False, problem="The label is not valid base64.")
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


# -- look-up by reference ----------------------------------------------------------------------------------


def build_look_up(reference: str, account: str, begin: dt.date, end: dt.date) -> Body:
    """The body of POST /track/v1/referencenumbers (sheet 12). Schema and examples disagree on the end date's name: both."""
    return {
        "includeDetailedScans": False,
        "referencesInformation": {
            "type": "CUSTOMER_REFERENCE",
            "value": reference,
            "accountNumber": account,
            "shipDateBegin": begin.isoformat(),
            "shipDateEnd": end.isoformat(),
            "shipDateEndDate": end.isoformat(),
        },
    }


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


# -- cancel ------------------------------------------------------------------------------------------------


def build_cancel(account: str, number: str, sender_country: str) -> Body:
    """The body of PUT /ship/v1/shipments/cancel (sheet 8): the whole shipment."""
    body: Body = {"accountNumber": {"value": account}, "trackingNumber": number, "deletionControl": "DELETE_ALL_PACKAGES"}
    if country := sender_country.strip().upper():
        body["senderCountryCode"] = country
    return body


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
    words = [_text(output.get("message")), _text(output.get("successMessage")), *_alerts(output)]
    return "; ".join(filter(None, words))


# -- questions of a ping -----------------------------------------------------------------------------------

_MEMPHIS: Body = {
    "streetLines": ["3610 Hacks Cross Rd"],
    "city": "Memphis",
    "stateOrProvinceCode": "TN",
    "postalCode": "38125",
    "countryCode": "US",
}
_AUSTIN: Body = {
    "streetLines": ["1100 Congress Ave"],
    "city": "Austin",
    "stateOrProvinceCode": "TX",
    "postalCode": "78701",
    "countryCode": "US",
}
MADE_UP_NUMBER: Final = "123456789012"
"""Right by its check digit (sheet 18), so that Track looks it up instead of refusing its form."""


def build_rate_check(account: str) -> Body:
    """A quote for a small parcel between two fixed places (sheet 10): costs nothing, proves account and project."""
    return {
        "accountNumber": {"value": account},
        "requestedShipment": {
            "shipper": {"address": {k: v for k, v in _MEMPHIS.items() if k != "streetLines"}},
            "recipient": {"address": {k: v for k, v in _AUSTIN.items() if k != "streetLines"}},
            "pickupType": "USE_SCHEDULED_PICKUP",
            "serviceType": "FEDEX_GROUND",
            "packagingType": "YOUR_PACKAGING",
            "rateRequestType": ["ACCOUNT"],
            "requestedPackageLineItems": [{"groupPackageCount": 1, "weight": {"units": "LB", "value": 1}}],
        },
    }


def build_validate_check(account: str) -> Body:
    """One parcel to be validated, not made (sheet 9): uses no tracking number and costs nothing."""
    parties = [
        {"contact": {"companyName": "Connection check", "phoneNumber": "9015550100"}, "address": place}
        for place in (_MEMPHIS, _AUSTIN)
    ]
    return {
        "accountNumber": {"value": account},
        "requestedShipment": {
            "pickupType": "USE_SCHEDULED_PICKUP",
            "serviceType": "FEDEX_GROUND",
            "packagingType": "YOUR_PACKAGING",
            "shipper": parties[0],
            "recipients": [parties[1]],
            "shippingChargesPayment": {"paymentType": "SENDER"},
            "labelSpecification": {"imageType": "PDF", "labelStockType": "PAPER_4X6"},
            "totalWeight": 1,
            "requestedPackageLineItems": [{"weight": {"units": "LB", "value": 1}}],
        },
    }


def build_track_check() -> Body:
    """A question about a made-up number (sheet 11.1): the answer is an error of that number where Track is allowed."""
    return {"includeDetailedScans": False, "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": MADE_UP_NUMBER}}]}

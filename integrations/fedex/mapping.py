"""Our records as requests to FedEx, strict in what is sent. Pure: no network, no clock, no settings but those handed in.

FedEx's answers are read in `integrations.fedex.answers`.

Options understood in `ShipmentRequest.options` (all optional):

    pickup_type      USE_SCHEDULED_PICKUP (default), DROPOFF_AT_FEDEX_LOCATION, CONTACT_FEDEX_TO_SCHEDULE
    packaging_type   YOUR_PACKAGING (default) or one of FedEx's boxes; Ground always ships in YOUR_PACKAGING
    label            {"image_type": "PDF", "stock_type": "PAPER_4X6"}: a matched pair (sheet 5.5)
    rate_type        "ACCOUNT" (default), another rateRequestType, or a list of them
    payment_type     SENDER (default), RECIPIENT, THIRD_PARTY, COLLECT; all but SENDER with payment_account, or with
                     payment_by_own_account: the account of the connection pays, whoever sends
    residential      false (default); the recipient's own flag goes first, GROUND_HOME_DELIVERY is always residential
    signature        a signatureOptionType
    saturday_delivery  true
    smart_post       {"hub_id": "...", "indicia": "PARCEL_SELECT"}, needed for SMART_POST
    sub_packaging_type  BOX (default): told into Canada, and from Canada or Mexico into the US and Puerto Rico

What crosses a border needs `ShipmentRequest.customs`.
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from anyascii import anyascii

from integrations.base.countries import crosses_border
from integrations.base.errors import Rejected
from integrations.base.records import (
    Address,
    Commodity,
    Customs,
    Dimensions,
    LengthUnit,
    Money,
    PackageSpec,
    ShipmentRequest,
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
        "shippingChargesPayment": _payment(options, account),
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
    if crosses_border(request.sender.country, request.recipient.country):
        shipment["totalWeight"] = _number(_total_weight(request.packages))
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


def _payment(options: Mapping[str, object], own: str) -> Body:
    """Who pays (sheet 5.4). For the sender FedEx takes the shipper account by itself. `own`: the connection's account."""
    kind = _choice(options, "payment_type", "SENDER", codes.PAYMENT_TYPES)
    if kind == "SENDER":
        return {"paymentType": kind}
    account = own if options.get("payment_by_own_account") else _account(options.get("payment_account"), "payment_account")
    if not account:
        raise _refused(f"Payment by {kind} needs the account that pays.", "payment_account_missing", "payment_account")
    return {"paymentType": kind, "payor": {"responsibleParty": {"accountNumber": {"value": account}}}}


def _account(told: object, field: str) -> str:
    """An account as FedEx takes it: nine digits, however they were spaced; "" for none. Raises Rejected."""
    number = re.sub(r"[\s-]", "", str(told or ""))
    if number and not re.fullmatch(r"\d{9}", number):
        # FedEx's own refusal would not tell this account from that of the connection.
        raise _refused(
            "An account that pays must have 9 digits.",
            "payment_account_invalid",
            field,
            "Correct it in the integration's options, then replay.",
        )
    return number


def payer_of(request: ShipmentRequest, own: str) -> str:
    """The account that a label would be billed to. Raises as `build_shipment`."""
    payor: Any = _payment(request.options, own).get("payor")
    return str(payor["responsibleParty"]["accountNumber"]["value"]) if payor else own


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
    told = options.get("smart_post")
    detail: Mapping[str, object] = told if isinstance(told, Mapping) else {}
    hub = str(detail.get("hub_id") or "").strip()
    if not hub:
        raise _refused("Ground Economy (SMART_POST) needs its hub.", "smart_post_hub_missing", "smart_post")
    return {"hubId": hub, "indicia": str(detail.get("indicia") or "PARCEL_SELECT")}


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
    account = _account(customs.duties_account, "duties_account") if kind != "SENDER" else ""
    if kind == "THIRD_PARTY" and not account:
        raise _refused("Duties paid by a third party need its account.", "payment_account_missing", "duties_account")
    if not account:
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
    place = place_of(address, who, notes)
    if residential is not None:
        place["residential"] = residential
    return {"contact": _contact(address, str(place["countryCode"]), who, notes), "address": place}


def place_of(address: Address, who: str, notes: list[str]) -> Body:
    """Where it goes, as every API of FedEx wants it (sheet 5.3, 15). Raises Rejected for what FedEx is bound to refuse."""
    country = address.country.strip().upper()
    if not re.fullmatch(r"[A-Z]{2}", country):
        raise _refused(f"The {who}'s country is missing or no ISO code.", "country_invalid", f"{who}.country")
    place: Body = {"streetLines": street_lines(address.lines, who, notes), "city": _city(address, who, notes)}
    if state := _state(address, country, who):
        place["stateOrProvinceCode"] = state
    if postal_code := _postal_code(address, country, who):
        place["postalCode"] = postal_code
    place["countryCode"] = country
    return place


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
    # Sheet 5.6: into Canada, and into the US (to FedEx's description Puerto Rico, too) from Canada and Mexico.
    named = lane[0] != lane[1] and (lane[1] == "CA" or (lane[0] in ("CA", "MX") and lane[1] in ("US", "PR")))
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


# -- cancel ------------------------------------------------------------------------------------------------


def build_cancel(account: str, number: str, sender_country: str) -> Body:
    """The body of PUT /ship/v1/shipments/cancel (sheet 8): the whole shipment."""
    body: Body = {"accountNumber": {"value": account}, "trackingNumber": number, "deletionControl": "DELETE_ALL_PACKAGES"}
    if country := sender_country.strip().upper():
        body["senderCountryCode"] = country
    return body

"""FedEx bodies and answers, without a network. Variations on record (sheet 6, 11, 12) stand at the foot."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from integrations.base.errors import Rejected
from integrations.base.records import (
    Address,
    BoughtShipment,
    Commodity,
    Customs,
    Dimensions,
    LengthUnit,
    Money,
    PackageSpec,
    Pending,
    ShipmentRequest,
    Weight,
    WeightUnit,
)
from integrations.fedex import answers, codes, mapping

REFERENCE = "MLABCDEFGHIJKL"
ACCOUNT = "123456789"
SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex"

SENDER = Address(
    company="Acme Parts",
    phone="(512) 555-0100",
    lines=("1 Dock Rd",),
    city="Austin",
    state="TX",
    postal_code="78701",
    country="US",
)
RECIPIENT = Address(
    name="R Smith", phone="+1 615 555 0111", lines=("9 Elm St",), city="Nashville", state="TN", postal_code="37201", country="US"
)


def package(weight: str = "4.5", unit: WeightUnit = WeightUnit.LB, package_id: str = "hu-1", **rest) -> PackageSpec:
    return PackageSpec(package_id, Weight(Decimal(weight), unit), **rest)


def request(*packages: PackageSpec, **changes) -> ShipmentRequest:
    base = ShipmentRequest("shipment:19", SENDER, RECIPIENT, "FEDEX_GROUND", dt.date(2026, 3, 2), packages or (package(),))
    return replace(base, **changes)


def built(asked: ShipmentRequest) -> dict:
    return mapping.build_shipment(asked, REFERENCE, ACCOUNT).body["requestedShipment"]


def refusal(asked: ShipmentRequest) -> Rejected:
    with pytest.raises(Rejected) as caught:
        mapping.build_shipment(asked, REFERENCE, ACCOUNT)
    return caught.value


def to(**changes) -> ShipmentRequest:
    return request(recipient=replace(RECIPIENT, **changes))


# -- what is sent ----------------------------------------------------------------------------------------


def test_a_plain_shipment_is_sent_as_the_sheet_shows_it():
    body = mapping.build_shipment(request(references=(("order", "SO004711"), ("invoice", "INV000815"))), REFERENCE, ACCOUNT)
    assert body.notes == ()
    assert body.body == PLAIN_BODY


def test_the_body_survives_json_unchanged():
    body = mapping.build_shipment(request(package("0.1"), package("2.005", package_id="hu-2")), REFERENCE, ACCOUNT).body
    assert json.loads(json.dumps(body)) == body
    assert [r["weight"]["value"] for r in body["requestedShipment"]["requestedPackageLineItems"]] == [0.1, 2.01]


def test_every_package_carries_our_reference():
    rows = built(request(package(), package(package_id="hu-2")))["requestedPackageLineItems"]
    assert [r["customerReferences"][0] for r in rows] == [{"customerReferenceType": "CUSTOMER_REFERENCE", "value": REFERENCE}] * 2
    assert [r["sequenceNumber"] for r in rows] == [1, 2]
    assert [r["groupPackageCount"] for r in rows] == [1, 1]
    assert built(request(package(), package(package_id="hu-2")))["totalPackageCount"] == 2


def test_order_numbers_are_joined_whole_and_the_rest_is_noted():
    made = mapping.build_shipment(
        request(references=tuple(("order", f"SO{n:08}") for n in range(1, 5)) + (("shipment", "19"),)), REFERENCE, ACCOUNT
    )
    references = made.body["requestedShipment"]["requestedPackageLineItems"][0]["customerReferences"]
    assert references[1:] == [{"customerReferenceType": "P_O_NUMBER", "value": "SO00000001,SO00000002"}]
    assert made.notes == ("P_O_NUMBER holds 30 characters, left out: SO00000003, SO00000004.",)


def test_a_package_s_own_order_number_stands_first():
    rows = built(request(package(references=(("order", "B"),)), references=(("order", "A"), ("order", "B"))))
    assert rows["requestedPackageLineItems"][0]["customerReferences"][1]["value"] == "B,A"


@pytest.mark.parametrize("reference", ["", "X" * 31, "MLÄ"])
def test_a_reference_that_could_not_be_found_again_is_not_sent(reference):
    with pytest.raises(Rejected) as caught:
        mapping.build_shipment(request(), reference, ACCOUNT)
    assert caught.value.code == "reference_invalid"


def test_letters_beyond_ascii_are_written_out_and_noted():
    made = mapping.build_shipment(to(name="Jörg  Müßig", lines=("Ünter Weg 1",), city="Łódź"), REFERENCE, ACCOUNT)
    party = made.body["requestedShipment"]["recipients"][0]
    assert party["contact"]["personName"] == "Jorg Mussig"
    assert party["address"]["streetLines"] == ["Unter Weg 1"]
    assert party["address"]["city"] == "Lodz"
    assert json.dumps(made.body, ensure_ascii=False).isascii()
    assert 'recipient name "Jörg Müßig" is sent as "Jorg Mussig".' in made.notes


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        (("9 Elm St", "", "  Suite 4 "), ["9 Elm St", "Suite 4"]),
        (("Gate 4 of the Old Harbour Road Industrial Estate",), ["Gate 4 of the Old Harbour Road", "Industrial Estate"]),
        (("X" * 35, "Y" * 35, "Z" * 35), ["X" * 35, "Y" * 35, "Z" * 35]),
        (("1 A St", "Unit 2", "Floor 3", "Dock 4"), ["1 A St Unit 2 Floor 3 Dock 4"]),
    ],
)
def test_streets_are_wrapped_between_words(lines, sent):
    assert built(to(lines=lines))["recipients"][0]["address"]["streetLines"] == sent


@pytest.mark.parametrize("lines", [("X" * 36,), ("word " * 30,), ("A" * 30, "B" * 30, "C" * 30, "D" * 30)])
def test_a_street_that_does_not_fit_is_refused(lines):
    error = refusal(to(lines=lines))
    assert (error.code, error.field) == ("address_too_long", "recipient.lines")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"lines": ("", " ")}, "street_missing", "recipient.lines"),
        ({"city": " "}, "city_missing", "recipient.city"),
        ({"city": "C" * 36}, "address_too_long", "recipient.city"),
        ({"name": ""}, "name_missing", "recipient.name"),
        ({"phone": ""}, "phone_missing", "recipient.phone"),
        ({"phone": "555 0111"}, "phone_invalid", "recipient.phone"),
        ({"phone": "+44 20 7946 0000"}, "phone_invalid", "recipient.phone"),
        ({"state": ""}, "state_invalid", "recipient.state"),
        ({"state": "Tennessee"}, "state_invalid", "recipient.state"),
        ({"postal_code": ""}, "postal_code_missing", "recipient.postal_code"),
        ({"postal_code": "3720"}, "postal_code_invalid", "recipient.postal_code"),
        ({"country": ""}, "country_invalid", "recipient.country"),
        ({"country": "United States"}, "country_invalid", "recipient.country"),
    ],
)
def test_an_address_that_fedex_would_refuse_is_refused_here(changes, code, field):
    error = refusal(to(**changes))
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize(
    ("phone", "country", "sent"),
    [
        ("+1 (901) 555-0100", "US", ("9015550100", "")),
        ("1-901-555-0100 ext. 42", "CA", ("9015550100", "42")),
        ("+49 (0)30 1234567", "DE", ("49301234567", "")),
        ("0049 30 1234567", "DE", ("49301234567", "")),
    ],
)
def test_phones_are_reduced_to_digits(phone, country, sent):
    assert mapping.phone_number(phone, country) == sent


@pytest.mark.parametrize(("told", "sent"), [("372011001", "37201-1001"), ("37201 1001", "37201-1001"), ("37201", "37201")])
def test_us_postal_codes_are_written_fedex_s_way(told, sent):
    assert built(to(postal_code=told))["recipients"][0]["address"]["postalCode"] == sent


def test_canadian_postal_codes_get_their_space_and_other_countries_no_state():
    canada = replace(RECIPIENT, country="CA", state="QC", postal_code="h2x1y4")
    made = built(request(sender=replace(SENDER, country="CA", state="ON", postal_code="M5V 2T6"), recipient=canada))
    assert made["recipients"][0]["address"]["postalCode"] == "H2X 1Y4"
    assert made["recipients"][0]["address"]["stateOrProvinceCode"] == "QC"
    german = replace(RECIPIENT, country="DE", state="BE", postal_code="10115", phone="+49 30 1234567")
    made = built(request(sender=german, recipient=german))
    assert "stateOrProvinceCode" not in made["recipients"][0]["address"]


def test_a_long_company_is_shortened_between_words_and_noted():
    made = mapping.build_shipment(to(company="Consolidated Industrial Fasteners of Tennessee"), REFERENCE, ACCOUNT)
    contact = made.body["requestedShipment"]["recipients"][0]["contact"]
    assert contact["companyName"] == "Consolidated Industrial Fasteners"
    assert len(made.notes) == 1 and "longer than 35" in made.notes[0]


@pytest.mark.parametrize(
    ("unit", "weight", "sent"),
    [
        (WeightUnit.KG, "1.001", {"units": "KG", "value": 1.01}),
        (WeightUnit.KG, "2", {"units": "KG", "value": 2}),
        (WeightUnit.G, "500", {"units": "KG", "value": 0.5}),
        (WeightUnit.OZ, "1", {"units": "LB", "value": 0.07}),
        (WeightUnit.LB, "0.001", {"units": "LB", "value": 0.01}),
    ],
)
def test_weights_have_two_decimals_rounded_up(unit, weight, sent):
    assert built(request(package(weight, unit)))["requestedPackageLineItems"][0]["weight"] == sent


def test_one_shipment_has_one_system_of_units():
    inches = Dimensions(Decimal("10"), Decimal("7.1"), Decimal("4"), LengthUnit.IN)
    metres = Dimensions(Decimal("0.3"), Decimal("0.2"), Decimal("0.1"), LengthUnit.M)
    pounds = package("1", WeightUnit.LB, "hu-1", dimensions=inches)
    kilos = package("1", WeightUnit.KG, "hu-2", dimensions=metres)
    first, second = built(request(pounds, kilos))["requestedPackageLineItems"]
    assert (first["weight"], second["weight"]) == ({"units": "LB", "value": 1}, {"units": "LB", "value": 2.21})
    assert first["dimensions"] == {"length": 10, "width": 8, "height": 4, "units": "IN"}
    assert second["dimensions"] == {"length": 12, "width": 8, "height": 4, "units": "IN"}
    first, second = built(request(kilos, pounds))["requestedPackageLineItems"]
    assert (first["weight"], second["weight"]) == ({"units": "KG", "value": 1}, {"units": "KG", "value": 0.46})
    assert first["dimensions"] == {"length": 30, "width": 20, "height": 10, "units": "CM"}
    assert second["dimensions"] == {"length": 26, "width": 19, "height": 11, "units": "CM"}


@pytest.mark.parametrize("weight", ["0", "-1", "NaN"])
def test_a_package_without_weight_is_refused(weight):
    assert refusal(request(package(weight))).code == "weight_missing"


@pytest.mark.parametrize("side", ["0", "1000"])
def test_impossible_sizes_are_refused(side):
    size = Dimensions(Decimal(side), Decimal(1), Decimal(1), LengthUnit.IN)
    assert refusal(request(package(dimensions=size))).code == "dimensions_invalid"


def test_more_packages_than_rows_are_refused():
    assert refusal(request(*[package(package_id=str(n)) for n in range(31)])).code == "too_many_packages"
    assert len(built(request(*[package(package_id=str(n)) for n in range(30)]))["requestedPackageLineItems"]) == 30


def test_options_choose_fedex_words():
    made = built(
        request(
            service="FEDEX_2_DAY",
            options={
                "pickup_type": "DROPOFF_AT_FEDEX_LOCATION",
                "packaging_type": "FEDEX_BOX",
                "label": {"image_type": "ZPLII"},
                "rate_type": ["ACCOUNT", "LIST"],
                "payment_type": "THIRD_PARTY",
                "payment_account": "987654321",
                "residential": True,
                "signature": "DIRECT",
                "saturday_delivery": True,
            },
        )
    )
    assert made["pickupType"] == "DROPOFF_AT_FEDEX_LOCATION"
    assert made["packagingType"] == "FEDEX_BOX"
    assert made["labelSpecification"] == {"imageType": "ZPLII", "labelStockType": "STOCK_4X6"}
    assert made["rateRequestType"] == ["ACCOUNT", "LIST"]
    assert made["shippingChargesPayment"] == {
        "paymentType": "THIRD_PARTY",
        "payor": {"responsibleParty": {"accountNumber": {"value": "987654321"}}},
    }
    assert made["recipients"][0]["address"]["residential"] is True
    assert made["requestedPackageLineItems"][0]["packageSpecialServices"]["signatureOptionType"] == "DIRECT"
    assert made["shipmentSpecialServices"] == {"specialServiceTypes": ["SATURDAY_DELIVERY"]}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"pickup_type": "REGULAR_STOP"}, "pickup_type_invalid"),
        ({"label": {"image_type": "PDF", "stock_type": "STOCK_4X6"}}, "label_invalid"),
        ({"label": {"image_type": "GIF"}}, "label_invalid"),
        ({"rate_type": "BEST"}, "rate_type_invalid"),
        ({"payment_type": "RECIPIENT"}, "payment_account_missing"),
        ({"payment_type": "NOBODY"}, "payment_type_invalid"),
        ({"signature": "CROSS"}, "signature_invalid"),
    ],
)
def test_impossible_options_are_refused(options, code):
    assert refusal(request(options=options)).code == code


def test_ground_ships_in_own_packaging_and_home_delivery_is_residential():
    made = mapping.build_shipment(
        request(service="GROUND_HOME_DELIVERY", options={"packaging_type": "FEDEX_BOX"}), REFERENCE, ACCOUNT
    )
    shipment = made.body["requestedShipment"]
    assert shipment["packagingType"] == "YOUR_PACKAGING" and "FEDEX_BOX" in made.notes[0]
    assert shipment["recipients"][0]["address"]["residential"] is True
    assert built(to(residential=True))["recipients"][0]["address"]["residential"] is True


def test_ground_economy_needs_its_hub():
    assert refusal(request(service="SMART_POST")).code == "smart_post_hub_missing"
    made = built(request(service="SMART_POST", options={"smart_post": {"hub_id": "5531"}}))
    assert made["smartPostInfoDetail"] == {"hubId": "5531", "indicia": "PARCEL_SELECT"}


ABROAD = replace(RECIPIENT, country="CA", state="ON", postal_code="M5V 2T6")


def bolts(**changes) -> Commodity:
    price, value = Money(Decimal("3.5"), "USD"), Money(Decimal(35), "USD")
    base = Commodity("Steel bolts", 10, "pcs", price, value, Weight(Decimal("1.5"), WeightUnit.KG), "US", "731815", "B-10")
    return replace(base, **changes)


def declared(*commodities: Commodity, **changes) -> Customs:
    goods = commodities or (bolts(),)
    total = Money(sum((c.value.amount for c in goods), Decimal()), goods[0].value.currency)
    return replace(Customs(goods, total, "SOLD", "DAP", "RECIPIENT"), **changes)


def cleared(customs: Customs, **changes) -> dict:
    made = built(request(**({"recipient": ABROAD, "customs": customs} | changes)))
    return made["customsClearanceDetail"]


def test_another_country_needs_customs_data():
    assert refusal(request(recipient=ABROAD)).code == "customs_missing"
    assert (
        refusal(request(recipient=ABROAD, customs=declared(value=Money(Decimal(0), "USD"), commodities=()))).code
        == "customs_missing"
    )
    made = built(request(recipient=ABROAD, customs=declared(), references=(("invoice", "INV1"),)))
    assert made["totalWeight"] == 4.5
    assert made["requestedPackageLineItems"][0]["subPackagingType"] == "BOX", "into Canada (sheet 5.6)"
    assert made["customsClearanceDetail"] == {
        "commercialInvoice": {
            "shipmentPurpose": "SOLD",
            "termsOfSale": "DAP",
            "customerReferences": [{"customerReferenceType": "INVOICE_NUMBER", "value": "INV1"}],
        },
        "commodities": [
            {
                "description": "Steel bolts",
                "countryOfManufacture": "US",
                "quantity": 10,
                "quantityUnits": "PCS",
                "weight": {"units": "LB", "value": 3.31},
                "unitPrice": {"amount": 3.5, "currency": "USD"},
                "customsValue": {"amount": 35, "currency": "USD"},
                "harmonizedCode": "731815",
                "partNumber": "B-10",
            }
        ],
        "dutiesPayment": {"paymentType": "RECIPIENT"},
        "isDocumentOnly": False,
        "totalCustomsValue": {"amount": 35, "currency": "USD"},
    }


def test_no_customs_at_home_and_inside_the_european_union():
    assert "customsClearanceDetail" not in built(request())
    berlin = replace(SENDER, country="DE", state="", postal_code="10115", phone="4930123456")
    wien = replace(RECIPIENT, country="AT", state="", postal_code="1010", phone="43112345678")
    made = built(request(sender=berlin, recipient=wien))
    assert "customsClearanceDetail" not in made and made["totalWeight"] == 4.5
    zurich = replace(wien, country="CH", postal_code="8001")
    assert refusal(request(sender=berlin, recipient=zurich)).code == "customs_missing"


def test_money_for_customs_has_fedex_own_currency_codes():
    price, total = Money(Decimal("3.5"), "GBP"), Money(Decimal(35), "GBP")
    made = cleared(declared(bolts(unit_price=price, value=total)))
    assert made["commodities"][0]["unitPrice"]["currency"] == made["totalCustomsValue"]["currency"] == "UKL"


def test_who_pays_duties():
    assert cleared(declared(duties_payer="SENDER", duties_account="9"))["dutiesPayment"] == {"paymentType": "SENDER"}
    assert refusal(request(recipient=ABROAD, customs=declared(duties_payer="THIRD_PARTY"))).field == "duties_account"
    paid = cleared(declared(duties_payer="THIRD_PARTY", duties_account="987654321"))["dutiesPayment"]
    assert paid["payor"]["responsibleParty"]["accountNumber"]["value"] == "987654321"
    assert refusal(request(recipient=ABROAD, customs=declared(purpose="LOAN"))).code == "shipment_purpose_invalid"


@pytest.mark.parametrize(("told", "sent"), [("pcs", "PCS"), ("Each", "EA"), ("st", "PCS"), ("KG", "KG"), ("M2", "M2")])
def test_units_of_quantity_are_fedex_own(told: str, sent: str):
    assert cleared(declared(bolts(unit=told)))["commodities"][0]["quantityUnits"] == sent


def test_an_unknown_unit_of_quantity_is_refused_with_the_remedy():
    error = refusal(request(recipient=ABROAD, customs=declared(bolts(unit="ROLL-9"))))
    assert (error.code, error.field) == ("quantity_unit_unknown", "unit") and "value map" in error.remedy


def test_a_long_description_is_cut_and_noted():
    asked = request(recipient=ABROAD, customs=declared(bolts(description="Schraube für Gehäuse " * 40)))
    made = mapping.build_shipment(asked, REFERENCE, ACCOUNT)
    sent = made.body["requestedShipment"]["customsClearanceDetail"]["commodities"][0]["description"]
    assert len(sent) <= 450 and sent.isascii() and any("cut to 450" in note for note in made.notes)


def test_the_customs_body_has_the_members_of_the_official_description():
    path = SPEC / "Shipment-Resource.json"
    if not path.exists():
        pytest.skip("the official API description is not here")
    schemas = json.loads(path.read_text())["components"]["schemas"]
    made = cleared(declared(duties_payer="THIRD_PARTY", duties_account="987654321"), references=(("invoice", "INV1"),))
    for name, body in (
        ("CustomsClearanceDetail", made),
        ("CommercialInvoice", made["commercialInvoice"]),
        ("Commodity", made["commodities"][0]),
        ("Payment_1", made["dutiesPayment"]),
    ):
        assert set(body) <= set(schemas[name]["properties"]), name
        assert set(schemas[name].get("required", ())) <= set(body), name


@pytest.mark.parametrize("service", ["", "fedex ground"])
def test_a_service_that_is_none_is_refused(service):
    assert refusal(request(service=service)).field == "service"


def _empties(value, path="body"):
    if value in ("", None, [], {}):
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _empties(child, f"{path}.{key}")


def test_nothing_empty_is_sent():
    bare = replace(SENDER, email="", name="", state="TX")
    assert list(_empties(mapping.build_shipment(request(sender=bare), REFERENCE, ACCOUNT).body)) == []


def test_the_body_fits_fedex_s_own_description():
    file = SPEC / "Shipment-Resource.json"
    if not file.exists():
        pytest.skip(f"FedEx's API description is not at {file}")
    schemas = json.loads(file.read_text())["components"]["schemas"]
    size = Dimensions(Decimal(10), Decimal(8), Decimal(4), LengthUnit.IN)
    asked = request(
        package(dimensions=size),
        package("2", package_id="hu-2"),
        service="FEDEX_2_DAY",
        references=(("order", "SO1"), ("invoice", "I1"), ("department", "D1")),
        sender=replace(SENDER, email="a@example.com", phone="5125550100 x7"),
        options={"signature": "ADULT", "saturday_delivery": True, "payment_type": "RECIPIENT", "payment_account": "1"},
    )
    body = mapping.build_shipment(asked, REFERENCE, ACCOUNT).body
    assert list(_misfits(body, schemas["Full_Schema_Ship"], schemas, "body")) == []
    body["requestedShipment"]["pickupType"] = "NEVER"
    body["requestedShipment"]["invented"] = 1
    assert len(list(_misfits(body, schemas["Full_Schema_Ship"], schemas, "body"))) == 2


def _misfits(value, schema, schemas, path):
    """What in `value` contradicts `schema`: unknown members, missing ones, wrong types, values outside an enum."""
    for part in schema.get("allOf", ()):
        yield from _misfits(value, part, schemas, path)
    if "$ref" in schema:
        yield from _misfits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, path)
        return
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        yield f"{path}: {value!r} is no {schema['type']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not in the list"
    if len(value) > schema.get("maxLength", 10**6) if isinstance(value, str) else False:
        yield f"{path}: longer than {schema['maxLength']}"
    if isinstance(value, dict) and "properties" in schema:
        # The schema calls totalWeight required; FedEx's own examples leave it out (sheet 5.2).
        yield from (f"{path}.{k}: missing" for k in schema.get("required", ()) if k not in value and k != "totalWeight")
        for key, child in value.items():
            if key in schema["properties"]:
                yield from _misfits(child, schema["properties"][key], schemas, f"{path}.{key}")
            else:
                yield f"{path}.{key}: unknown"
    if isinstance(value, list) and "items" in schema:
        for place, child in enumerate(value):
            yield from _misfits(child, schema["items"], schemas, f"{path}[{place}]")


def test_the_code_tables_agree_with_fedex_s_lists():
    file = SPEC / "reference-enums.json"
    if not file.exists():
        pytest.skip(f"FedEx's enum tables are not at {file}")
    enums = json.loads(file.read_text())
    assert {code: entry["iso"] for code, entry in enums["fedexSpecificCurrencyCodes"].items()} == codes.CURRENCIES
    assert set(enums["postalAwareCountryPatterns"]) | {"PR"} == codes.POSTAL_COUNTRIES
    assert {s for services in enums["serviceTypes"].values() for s in services} <= codes.SERVICE_TYPES


# -- what is read ----------------------------------------------------------------------------------------


def read(answer, *packages: PackageSpec, **changes) -> BoughtShipment:
    made = answers.read_created(answers.parse_json(json.dumps(answer)), request(*packages, **changes))
    assert isinstance(made, BoughtShipment)
    return made


def changed(answer: dict, path: str, value) -> dict:
    """A copy of `answer` with the member at the dotted `path` replaced, or removed with `...`."""
    copied = copy.deepcopy(answer)
    node = copied
    *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for step in way:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return copied


S = "output.transactionShipments.0"
P = f"{S}.pieceResponses.0"
D = f"{S}.completedShipmentDetail"


def test_a_bought_shipment_is_read_whole():
    made = read(BOUGHT)
    assert made.master_tracking_number == "794600000010"
    assert made.service == "FEDEX_GROUND"
    assert made.ship_date == dt.date(2026, 3, 2)
    assert made.estimated_delivery == dt.date(2026, 3, 4)
    assert made.cost == Money(Decimal("14.22"), "USD")
    assert made.transaction_id == "0b1c-tx"
    assert made.alerts == ()
    (only,) = made.packages
    assert (only.tracking_number, only.sequence, only.package_id) == ("794600000010", 1, "hu-1")
    assert only.label.media_type == "application/pdf" and only.label.data.startswith(b"%PDF") and only.label.readable


def test_pieces_are_matched_by_their_place_and_not_by_their_order():
    made = read(TWO_PIECES, package(package_id="a"), package(package_id="b"))
    assert [(p.package_id, p.tracking_number) for p in made.packages] == [("a", "794600000010"), ("b", "794600000021")]
    assert [p.label.data for p in made.packages] == [b"%PDF-one", b"%PDF-two"]
    assert made.cost == Money(Decimal("14.22"), "USD")


def test_missing_pieces_are_reported():
    made = read(BOUGHT, package(package_id="a"), package(package_id="b"))
    assert "FedEx answered for 1 of 2 packages." in made.alerts


@pytest.mark.parametrize("path", [f"{S}.masterTrackingNumber", f"{D}.masterTrackingId"])
def test_the_master_number_is_found_wherever_it_stands(path):
    answer = changed(changed(BOUGHT, f"{P}.masterTrackingNumber", ...), path, ...)
    assert read(answer).master_tracking_number == "794600000010"


def test_a_number_as_json_number_is_taken():
    assert read(changed(BOUGHT, f"{S}.masterTrackingNumber", 794600000010)).master_tracking_number == "794600000010"


def test_without_piece_responses_the_details_tell_the_numbers():
    made = read(changed(BOUGHT, f"{S}.pieceResponses", ...))
    assert [(p.tracking_number, p.package_id, p.label) for p in made.packages] == [("794600000010", "hu-1", None)]
    made = read(changed(changed(BOUGHT, f"{S}.pieceResponses", ...), D, ...))
    assert [p.tracking_number for p in made.packages] == ["794600000010"]


def test_the_post_office_s_number_is_not_taken_for_fedex_s():
    ids = [{"trackingIdType": "USPS", "trackingNumber": "9261"}, {"trackingIdType": "FEDEX", "trackingNumber": "61299"}]
    answer = changed(changed(BOUGHT, f"{S}.pieceResponses", ...), f"{D}.completedPackageDetails.0.trackingIds", ids)
    assert [p.tracking_number for p in read(answer).packages] == ["61299"]


RATING = f"{D}.shipmentRating"


@pytest.mark.parametrize(
    ("answer_changes", "cost"),
    [
        ({f"{RATING}.shipmentRateDetails.0.currency": "UKL"}, Money(Decimal("14.22"), "GBP")),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": "14.22"}, Money(Decimal("14.22"), "USD")),
        ({f"{RATING}.actualRateType": ...}, Money(Decimal("14.22"), "USD")),
        ({f"{RATING}.actualRateType": "PAYOR_LIST_PACKAGE"}, None),
        ({f"{RATING}.shipmentRateDetails.0.rateType": "PAYOR_LIST_PACKAGE"}, None),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": 0.0}, None),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": ...}, None),
        ({f"{RATING}.shipmentRateDetails.0.currency": ...}, None),
        ({f"{RATING}.shipmentRateDetails": {}}, None),
        ({RATING: ...}, None),
        ({RATING: "none"}, None),
    ],
)
def test_the_cost_is_the_rated_one_or_unknown(answer_changes, cost):
    answer = BOUGHT
    for path, value in answer_changes.items():
        answer = changed(answer, path, value)
    assert read(answer).cost == cost


def test_ground_rates_by_package_are_added_up_only_when_all_are_there():
    def rated(amount):
        row = {"rateType": "PAYOR_ACCOUNT_PACKAGE", "netCharge": amount, "currency": "USD"}
        listed = {"rateType": "PAYOR_LIST_PACKAGE", "netCharge": 99, "currency": "USD"}
        return {"actualRateType": "PAYOR_ACCOUNT_PACKAGE", "packageRateDetails": [listed, row]}

    details = [{"sequenceNumber": n, "packageRating": rated(a)} for n, a in ((1, 7.11), (2, 8.2))]
    answer = changed(changed(TWO_PIECES, RATING, ...), f"{D}.completedPackageDetails", details)
    packages = (package(package_id="a"), package(package_id="b"))
    assert read(answer, *packages).cost == Money(Decimal("15.31"), "USD")
    del details[1]["packageRating"]
    assert read(changed(answer, f"{D}.completedPackageDetails", details), *packages).cost is None


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


DOC = f"{P}.packageDocuments"


@pytest.mark.parametrize(
    ("document", "media", "readable"),
    [
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-1.4")}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PNG", "encodedLabel": b64(b"\x89PNG\r\n")}, "image/png", True),
        ({"contentType": "LABEL", "docType": "ZPLII", "encodedLabel": b64(b"^XA^FS^XZ")}, "application/zpl", True),
        ({"contentType": "LABEL", "docType": "EPL2", "encodedLabel": b64(b"N\nA10,10\nP1\n")}, "application/epl", True),
        ({"encodedLabel": b64(b"%PDF-1.4")}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "parts": [{"image": b64(b"%PDF-1.4")}]}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": "JVBERi0x\nLjQ"}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"<html>no</html>")}, "application/pdf", False),
        ({"contentType": "LABEL", "docType": "ZPLII", "encodedLabel": b64(b"%PDF-1.4")}, "application/zpl", False),
        ({"contentType": "LABEL", "docType": "EPL2", "encodedLabel": b64(b"%PDF-1.4\n")}, "application/epl", False),
        ({"contentType": "LABEL", "docType": "DPL", "encodedLabel": b64(b"x")}, "application/octet-stream", False),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": "***"}, "application/pdf", False),
    ],
)
def test_labels_are_held_against_what_they_say(document, media, readable):
    label = read(changed(BOUGHT, DOC, [document])).packages[0].label
    assert (label.media_type, label.readable, bool(label.problem)) == (media, readable, not readable)
    assert label.data


def test_the_label_is_chosen_among_documents_and_the_rest_is_told():
    documents = [
        {"contentType": "AUXILIARY", "docType": "PDF", "encodedLabel": b64(b"%PDF-aux")},
        {"contentType": "HAZMAT_LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-hazmat")},
        {"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-label")},
    ]
    made = read(changed(BOUGHT, DOC, documents))
    assert made.packages[0].label.data == b"%PDF-label"
    assert any("HAZMAT_LABEL" in a for a in made.alerts)


def test_a_label_among_the_shipment_s_documents_is_found():
    document = {"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-x"), "trackingNumber": "794600000010"}
    made = read(changed(changed(BOUGHT, DOC, []), f"{S}.shipmentDocuments", [document]))
    assert made.packages[0].label.data == b"%PDF-x"


def test_a_link_instead_of_a_label_is_told_and_the_number_kept():
    made = read(changed(BOUGHT, DOC, [{"contentType": "LABEL", "docType": "PDF", "url": "https://x.example/l"}]))
    assert made.packages[0].label is None
    assert any("link" in a for a in made.alerts)


def test_all_alerts_are_kept():
    warning = {"code": "SHIP.RECIPIENT.POSTALCITY.MISMATCH", "alertType": "WARNING", "message": "Check the city."}
    note = {"code": "VIRTUAL.RESPONSE", "alertType": "NOTE", "parameterList": [{"key": "k", "value": "v"}]}
    documents = [{"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF"), "alerts": [{"code": "IN.DOC"}]}]
    answer = changed(changed(BOUGHT, f"{S}.alerts", [warning]), "output.alerts", [note, warning])
    assert read(changed(answer, DOC, documents)).alerts == (
        "NOTE VIRTUAL.RESPONSE (k=v)",
        "WARNING SHIP.RECIPIENT.POSTALCITY.MISMATCH: Check the city.",
        "IN.DOC",
    )


def test_a_job_is_pending_and_a_number_goes_before_it():
    assert answers.read_created({"output": {"jobId": "abc"}}, request()) == Pending("abc")
    assert read(changed(BOUGHT, "output.jobId", "abc")).master_tracking_number == "794600000010"


@pytest.mark.parametrize(
    "payload", [None, [], {}, {"output": None}, {"output": {"transactionShipments": []}}, {"errors": [{"code": "X"}]}]
)
def test_without_a_number_there_is_nothing_to_read(payload):
    assert answers.read_created(payload, request()) is None


def test_a_paid_number_is_never_lost_to_an_odd_answer():
    """Any member but the number may be missing or absurd."""
    random = Random(20260302)
    odd = [
        ...,
        None,
        "",
        "x",
        -1,
        10**30,
        1e300,
        True,
        [],
        {},
        [None],
        [[1]],
        {"a": 1},
        "2026-99-99",
        [{"code": 5, "parameterList": 7}],
    ]
    paths = [p for p in _paths(TWO_PIECES) if p not in ("output", "output.transactionShipments", S, f"{S}.masterTrackingNumber")]
    tried = 0
    for _ in range(1500):
        answer = TWO_PIECES
        for path in random.sample(paths, random.randint(1, 4)):
            try:
                answer = changed(answer, path, random.choice(odd))
            except (KeyError, IndexError, TypeError):
                continue
        made = read(answer, package(package_id="a"), package(package_id="b"))
        assert made.master_tracking_number == "794600000010"
        assert made.packages and all(p.tracking_number for p in made.packages)
        tried += 1
    assert tried == 1500


def _paths(value, path=""):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        whole = f"{path}.{key}" if path else str(key)
        yield whole
        yield from _paths(child, whole)


# -- look-up ---------------------------------------------------------------------------------------------


def matches(*results, reference=REFERENCE):
    answer = {"output": {"completeTrackResults": [{"trackingNumber": n, "trackResults": [r]} for n, r in results]}}
    return answers.read_matches(answers.read_track(answers.parse_json(json.dumps(answer))), reference)


def test_one_shipment_found_is_described():
    (found,) = matches(("794600000010", TRACKED))
    assert found.master_tracking_number == "794600000010"
    assert found.tracking_numbers == ("794600000010",)
    assert (found.recipient_country, found.recipient_postal_code) == ("US", "37201")
    assert found.ship_date == dt.date(2026, 3, 2)
    assert (found.package_count, found.service, found.cancelled, found.account) == (1, "FEDEX_GROUND", False, None)


def test_what_track_leaves_out_is_none_and_not_guessed():
    (found,) = matches(("794600000010", {"trackingNumberInfo": {"trackingNumber": "794600000010"}}))
    assert (found.recipient_country, found.recipient_postal_code, found.ship_date, found.package_count, found.service) == (
        None,
    ) * 5


def piece(number: str, place: int, count: int, **more):
    result = copy.deepcopy(TRACKED)
    result["trackingNumberInfo"]["trackingNumber"] = number
    result["packageDetails"] = {"sequenceNumber": str(place), "count": str(count)}
    return number, result | more


def test_pieces_that_name_one_master_are_one_match():
    def of_master(number, place):
        identifiers = [{"type": "STANDARD_MPS", "value": "1"}, {"type": "CUSTOMER_REFERENCE", "values": [REFERENCE]}]
        return piece(number, place, 2, additionalTrackingInfo={"packageIdentifiers": identifiers})

    (found,) = matches(of_master("2", 2), of_master("1", 1))
    assert (found.master_tracking_number, found.tracking_numbers, found.package_count) == ("1", ("1", "2"), 2)


def test_pieces_that_complete_each_other_are_one_match_and_two_singles_are_two():
    (found,) = matches(piece("2", 2, 2), piece("1", 1, 2))
    assert (found.master_tracking_number, found.tracking_numbers) == ("1", ("1", "2"))
    assert len(matches(piece("1", 1, 1), piece("2", 1, 1))) == 2
    assert len(matches(piece("1", 1, 2), piece("2", 2, 2), piece("3", 1, 2), piece("4", 2, 2))) == 4


def test_a_shipment_under_another_reference_is_no_match():
    assert matches(("794600000010", TRACKED), reference="MLOTHER") == ()


def test_a_cancelled_shipment_is_seen_as_such():
    (found,) = matches(("1", TRACKED | {"latestStatusDetail": {"code": "CA"}}))
    assert found.cancelled


def test_an_errored_entry_is_never_a_package():
    answer = answers.read_track(
        {"output": {"completeTrackResults": [{"trackingNumber": REFERENCE, "trackResults": [NOT_FOUND]}]}}
    )
    assert answer.results == () and answer.understood
    assert [code for code, _ in answer.errors] == ["TRACKING.REFERENCENUMBER.NOTFOUND"]


# -- recorded variations -----------------------------------------------------------------------------------

PLAIN_BODY = {
    "labelResponseOptions": "LABEL",
    "accountNumber": {"value": ACCOUNT},
    "requestedShipment": {
        "shipDatestamp": "2026-03-02",
        "pickupType": "USE_SCHEDULED_PICKUP",
        "serviceType": "FEDEX_GROUND",
        "packagingType": "YOUR_PACKAGING",
        "shipper": {
            "contact": {"companyName": "Acme Parts", "phoneNumber": "5125550100"},
            "address": {
                "streetLines": ["1 Dock Rd"],
                "city": "Austin",
                "stateOrProvinceCode": "TX",
                "postalCode": "78701",
                "countryCode": "US",
            },
        },
        "recipients": [
            {
                "contact": {"personName": "R Smith", "phoneNumber": "6155550111"},
                "address": {
                    "streetLines": ["9 Elm St"],
                    "city": "Nashville",
                    "stateOrProvinceCode": "TN",
                    "postalCode": "37201",
                    "countryCode": "US",
                    "residential": False,
                },
            }
        ],
        "shippingChargesPayment": {"paymentType": "SENDER"},
        "rateRequestType": ["ACCOUNT"],
        "labelSpecification": {"imageType": "PDF", "labelStockType": "PAPER_4X6"},
        "requestedPackageLineItems": [
            {
                "sequenceNumber": 1,
                "groupPackageCount": 1,
                "weight": {"units": "LB", "value": 4.5},
                "customerReferences": [
                    {"customerReferenceType": "CUSTOMER_REFERENCE", "value": REFERENCE},
                    {"customerReferenceType": "P_O_NUMBER", "value": "SO004711"},
                    {"customerReferenceType": "INVOICE_NUMBER", "value": "INV000815"},
                ],
            }
        ],
    },
}

_RATED = {
    "actualRateType": "PAYOR_ACCOUNT_PACKAGE",
    "shipmentRateDetails": [
        {"rateType": "PAYOR_ACCOUNT_PACKAGE", "totalNetCharge": 14.22, "currency": "USD"},
        {"rateType": "PAYOR_LIST_SHIPMENT", "totalNetCharge": 19.99, "currency": "USD"},
    ],
}


def _piece(number: str, place: int, label: bytes) -> dict:
    return {
        "masterTrackingNumber": "794600000010",
        "trackingNumber": number,
        "packageSequenceNumber": place,
        "netChargeAmount": 0.0,
        "netRateAmount": 14.22,
        "codcollectionAmount": 0.0,
        "currency": "USD",
        "packageDocuments": [{"contentType": "LABEL", "copiesToPrint": 1, "docType": "PDF", "encodedLabel": b64(label)}],
    }


def _bought(*pieces: dict) -> dict:
    ids = [[{"trackingIdType": "FEDEX", "trackingNumber": p["trackingNumber"]}] for p in pieces]
    return {
        "transactionId": "0b1c-tx",
        "customerTransactionId": REFERENCE,
        "output": {
            "transactionShipments": [
                {
                    "masterTrackingNumber": "794600000010",
                    "serviceType": "FEDEX_GROUND",
                    "shipDatestamp": "2026-03-02",
                    "pieceResponses": list(pieces),
                    "shipmentDocuments": [],
                    "completedShipmentDetail": {
                        "masterTrackingId": {"trackingIdType": "FEDEX", "formId": "", "trackingNumber": "794600000010"},
                        "operationalDetail": {"deliveryDate": "2026-03-04", "transitTime": "TWO_DAYS"},
                        "shipmentRating": _RATED,
                        "completedPackageDetails": [
                            {"sequenceNumber": p["packageSequenceNumber"], "trackingIds": i}
                            for p, i in zip(pieces, ids, strict=True)
                        ],
                    },
                    "alerts": [],
                }
            ],
            "alerts": [],
        },
    }


BOUGHT = _bought(_piece("794600000010", 1, b"%PDF-1.4"))
# The second piece comes first, and each repeats the amount of the whole shipment.
TWO_PIECES = _bought(_piece("794600000021", 2, b"%PDF-two"), _piece("794600000010", 1, b"%PDF-one"))

TRACKED = {
    "trackingNumberInfo": {
        "trackingNumber": "794600000010",
        "trackingNumberUniqueId": "12028~794600000010~FDEG",
        "carrierCode": "FDXG",
    },
    "additionalTrackingInfo": {"packageIdentifiers": [{"type": "CUSTOMER_REFERENCE", "values": [REFERENCE.lower()]}]},
    "latestStatusDetail": {"code": "OC", "derivedCode": "IN"},
    "dateAndTimes": [{"type": "SHIP", "dateTime": "2026-03-02T00:00:00-06:00"}],
    "recipientInformation": {"address": {"city": "NASHVILLE", "postalCode": "37201", "countryCode": "US"}},
    "destinationLocation": {"locationContactAndAddress": {"address": {"postalCode": "37011", "countryCode": "US"}}},
    "packageDetails": {"sequenceNumber": "1", "count": "1"},
    "serviceDetail": {"type": "FEDEX_GROUND"},
}
NOT_FOUND = {
    "trackingNumberInfo": {"trackingNumber": REFERENCE},
    "error": {"code": "TRACKING.REFERENCENUMBER.NOTFOUND", "message": "Reference number cannot be found."},
}

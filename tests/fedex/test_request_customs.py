"""What FedEx is sent for goods that cross a border; the body against FedEx's own description."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from integrations.base.records import (
    Commodity,
    Customs,
    Dimensions,
    LengthUnit,
    Money,
    Weight,
    WeightUnit,
)
from integrations.fedex import codes, mapping
from tests.fedex.mapping_support import ACCOUNT, RECIPIENT, REFERENCE, SENDER, built, package, refusal, request

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex"

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


def test_inside_the_european_union_goods_are_told_too():
    """FedEx's own samples between Italy and Belgium, France and Germany carry them (sheet 5.9, 10)."""
    rome = replace(SENDER, lines=("Via Roma 1",), city="Rome", state="", postal_code="00184", country="IT", phone="390612345678")
    ghent = replace(
        RECIPIENT, lines=("Veldstraat 1",), city="Ghent", state="", postal_code="9000", country="BE", phone="3291234567"
    )
    assert refusal(request(sender=rome, recipient=ghent)).code == "customs_missing"
    made = built(request(sender=rome, recipient=ghent, customs=declared()))
    assert made["totalWeight"] == 4.5
    assert made["customsClearanceDetail"]["commodities"][0]["harmonizedCode"] == "731815"
    assert "customsClearanceDetail" not in built(request(customs=declared())), "none at home"


@pytest.mark.parametrize(("origin", "destination"), [("CA", "US"), ("MX", "US"), ("MX", "PR"), ("CA", "PR"), ("US", "CA")])
def test_where_the_kind_of_package_is_told(origin, destination):
    """FedEx's description: into Canada, and from Canada or Mexico into the US and Puerto Rico."""
    places = {
        "CA": {"state": "ON", "postal_code": "M5V 2T6"},
        "MX": {"state": "", "postal_code": "06600", "phone": "525555550100"},
        "PR": {"state": "PR", "postal_code": "00901"},
        "US": {},
    }
    asked = request(
        sender=replace(SENDER, country=origin, **places[origin]),
        recipient=replace(RECIPIENT, country=destination, **places[destination]),
        customs=declared(),
    )
    assert built(asked)["requestedPackageLineItems"][0]["subPackagingType"] == "BOX"


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


def test_money_for_customs_has_fedex_own_currency_codes():
    price, total = Money(Decimal("3.5"), "GBP"), Money(Decimal(35), "GBP")
    made = cleared(declared(bolts(unit_price=price, value=total)))
    assert made["commodities"][0]["unitPrice"]["currency"] == made["totalCustomsValue"]["currency"] == "UKL"


def test_who_pays_duties():
    assert cleared(declared(duties_payer="SENDER", duties_account="9"))["dutiesPayment"] == {"paymentType": "SENDER"}
    assert refusal(request(recipient=ABROAD, customs=declared(duties_payer="THIRD_PARTY"))).field == "duties_account"
    paid = cleared(declared(duties_payer="THIRD_PARTY", duties_account="987654321"))["dutiesPayment"]
    assert paid["payor"]["responsibleParty"]["accountNumber"]["value"] == "987654321"
    bad = declared(duties_payer="RECIPIENT", duties_account="98-76")
    assert refusal(request(recipient=ABROAD, customs=bad)).code == "payment_account_invalid"
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
        options={"signature": "ADULT", "saturday_delivery": True, "payment_type": "RECIPIENT", "payment_account": "987654321"},
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

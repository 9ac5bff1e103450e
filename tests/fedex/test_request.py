"""What FedEx is sent for a shipment."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from integrations.base.errors import Rejected
from integrations.base.records import (
    Dimensions,
    LengthUnit,
    WeightUnit,
)
from integrations.fedex import mapping
from tests.fedex.mapping_support import ACCOUNT, PLAIN_BODY, RECIPIENT, REFERENCE, SENDER, built, package, refusal, request, to


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
        ({"payment_type": "RECIPIENT", "payment_account": "12345"}, "payment_account_invalid"),
        ({"payment_type": "THIRD_PARTY", "payment_account": "ACME"}, "payment_account_invalid"),
        ({"payment_type": "NOBODY"}, "payment_type_invalid"),
        ({"signature": "CROSS"}, "signature_invalid"),
    ],
)
def test_impossible_options_are_refused(options, code):
    assert refusal(request(options=options)).code == code


def test_the_paying_account_is_told_in_digits_however_it_was_entered():
    made = built(request(options={"payment_type": "RECIPIENT", "payment_account": " 9876-5432 1 "}))
    assert made["shippingChargesPayment"]["payor"]["responsibleParty"]["accountNumber"] == {"value": "987654321"}


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

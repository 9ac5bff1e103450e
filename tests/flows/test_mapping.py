"""The rules of the interface page, "Defaults of the ship flow", on documents without any vendor."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connector.services.engine.signals import Skipped
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.records import (
    Address,
    Dimensions,
    Document,
    DocumentLine,
    HandlingUnit,
    LengthUnit,
    Weight,
    WeightUnit,
)
from integrations.flows import mapping
from integrations.flows.addresses import country_code, subdivision_code
from integrations.flows.slots import ShipContext
from integrations.flows.table import KINDS

SITE = Address("Acme", "Shipping", "9015550100", "", ("1 Dock Rd",), "Memphis", "TN", "38116", "US")
RECIPIENT = Address("Harbor Tool", "Dana", "", "", ("410 Atlantic Ave",), "Boston", "MA", "02110", "US")
UNIT = HandlingUnit("900", Decimal("2.5"), "kg", Decimal(40), Decimal(30), Decimal(20), "cm")
DOCUMENT = Document(
    key="shipment:19",
    kind="shipment",
    number="19",
    version="v1",
    state="Completed",
    ready=True,
    cancelled=False,
    company_code="10",
    site="S1",
    recipient=RECIPIENT,
    ship_via="FDX-GND",
    forwarder="FEDEX",
    lines=(DocumentLine("1", order_ref="C100"), DocumentLine("2", order_ref="C100"), DocumentLine("3", order_ref="C200")),
    handling_units=(UNIT,),
    raw={"NoteText": "Leave at the door", "Cf_Phone": "617-555-0142"},
)
TODAY = dt.date(2026, 3, 2)


def context(**changes: Any) -> ShipContext:
    """The surroundings of a plain integration."""
    values: dict[str, Any] = {
        "kind": KINDS["ifs_fedex"],
        "carrier": "fedex",
        "options": {},
        "mappings": [],
        "value_maps": {"service": {"FDX-GND": "FEDEX_GROUND"}},
        "erp_settings": {"weight_unit": "kg", "length_unit": "cm", "default_package": None},
        "services": frozenset({"FEDEX_GROUND", "FEDEX_2_DAY", "PRIORITY_OVERNIGHT"}),
        "site_code": "S1",
        "site_address": SITE,
        "today": TODAY,
    }
    return ShipContext(**values | changes)


def asked(document: Document = DOCUMENT, **changes: Any) -> Any:
    """The request made of a document."""
    return mapping.request_of(context(**changes), document)


def doc(**changes: Any) -> Document:
    """The plain document with changes."""
    return replace(DOCUMENT, **changes)


# -- whose document ----------------------------------------------------------------------------------


@pytest.mark.parametrize("forwarder", ["FEDEX", "FedEx Ground", "FDX", "fdx-us", "FEDEX-7"])
def test_fedex_and_fdx_as_prefix_are_ours_by_default(forwarder: str) -> None:
    assert asked(doc(forwarder=forwarder)).service == "FEDEX_GROUND"


@pytest.mark.parametrize("forwarder", ["UPS", "DHL", "X-FEDEX", "OWN"])
def test_another_forwarder_is_skipped_by_name(forwarder: str) -> None:
    with pytest.raises(Skipped, match=f"For another carrier: {forwarder}") as caught:
        asked(doc(forwarder=forwarder))
    assert caught.value.code == "other_carrier"


def test_a_carrier_map_replaces_the_prefixes() -> None:
    maps = {"service": {"FDX-GND": "FEDEX_GROUND"}, "carrier": {"SPED-1": "fedex", "UPS": "ups"}}
    assert asked(doc(forwarder="sped-1"), value_maps=maps).service == "FEDEX_GROUND"
    for forwarder in ("UPS", "FEDEX"):
        with pytest.raises(Skipped):
            asked(doc(forwarder=forwarder), value_maps=maps)


def test_without_a_forwarder_it_is_ours_if_its_ship_via_is_mapped() -> None:
    assert asked(doc(forwarder="")).service == "FEDEX_GROUND"
    assert asked(doc(forwarder="", ship_via="FEDEX_2_DAY")).service == "FEDEX_2_DAY"
    with pytest.raises(Skipped) as caught:
        asked(doc(forwarder="", ship_via="TRUCK"), options={"default_service": "FEDEX_GROUND"})
    assert caught.value.code == "not_ours"


# -- which service -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ship_via", "maps", "default", "service"),
    [
        ("FDX-GND", {"FDX-GND": "FEDEX_GROUND"}, "FEDEX_2_DAY", "FEDEX_GROUND"),
        ("fdx-gnd", {"FDX-GND": "FEDEX_GROUND"}, None, "FEDEX_GROUND"),
        ("FEDEX_2_DAY", {"FEDEX_2_DAY": "PRIORITY_OVERNIGHT"}, None, "PRIORITY_OVERNIGHT"),
        ("FEDEX_2_DAY", {}, "FEDEX_GROUND", "FEDEX_2_DAY"),
        ("TRUCK", {}, "FEDEX_GROUND", "FEDEX_GROUND"),
        ("", {}, "FEDEX_GROUND", "FEDEX_GROUND"),
    ],
)
def test_services_by_map_then_itself_then_default(ship_via: str, maps: dict[str, str], default: str | None, service: str) -> None:
    request = asked(doc(ship_via=ship_via), value_maps={"service": maps}, options={"default_service": default})
    assert request.service == service


def test_never_a_guess() -> None:
    with pytest.raises(Rejected, match="No FedEx service for ship-via TRUCK") as caught:
        asked(doc(ship_via="TRUCK"))
    assert (caught.value.code, caught.value.vendor_text) == ("unmapped_service", "TRUCK")
    assert caught.value.remedy


# -- sender ------------------------------------------------------------------------------------------


def test_the_sender_is_the_sites_address() -> None:
    other = Address("Else", "E", "1", "", ("2 Rd",), "Austin", "TX", "78758", "US")
    assert asked(doc(sender=other)).sender == SITE


def test_a_bare_site_sends_from_the_documents_sender() -> None:
    sender = Address("Depot", "", "9015550111", "", ("2 Rd", ""), "Austin", "Texas", "78758", "UNITED STATES")
    made = asked(doc(sender=sender), site_address=None, options={"recipient_phone": "8005550100"}).sender
    assert (made.country, made.state, made.lines) == ("US", "TX", ("2 Rd",))


@pytest.mark.parametrize("lacking", ["phone", "city", "country", "lines"])
def test_an_incomplete_sender_is_a_fault_of_the_site(lacking: str) -> None:
    broken = replace(SITE, **{lacking: () if lacking == "lines" else ""})
    with pytest.raises(ConfigurationError) as caught:
        asked(site_address=broken)
    assert (caught.value.scope, caught.value.scope_name, caught.value.code) == ("site", "S1", "sender_incomplete")
    assert ("street" if lacking == "lines" else lacking) in caught.value.message


def test_no_sender_at_all_is_a_fault_of_the_site() -> None:
    with pytest.raises(ConfigurationError) as caught:
        asked(site_address=None)
    assert caught.value.scope == "site"


# -- recipient ---------------------------------------------------------------------------------------


def test_the_recipients_phone_is_the_documents_then_the_options_then_the_sites() -> None:
    own = doc(recipient=replace(RECIPIENT, phone="6175550142"))
    options = {"recipient_phone": "8005550100"}
    assert asked(own, options=options).recipient.phone == "6175550142"
    assert asked(options=options).recipient.phone == "8005550100"
    assert asked().recipient.phone == SITE.phone
    with pytest.raises(Rejected) as caught:
        asked(doc(sender=SITE), site_address=None)
    assert caught.value.code == "phone_missing"


@pytest.mark.parametrize("lacking", ["city", "country", "lines"])
def test_an_incomplete_recipient_fails_before_anybody_is_called(lacking: str) -> None:
    with pytest.raises(Rejected) as caught:
        asked(doc(recipient=replace(RECIPIENT, **{lacking: () if lacking == "lines" else ""})))
    assert caught.value.code == "address_incomplete"


def test_an_unknown_country_is_refused_by_name() -> None:
    with pytest.raises(Rejected, match="NARNIA") as caught:
        asked(doc(recipient=replace(RECIPIENT, country="NARNIA")))
    assert caught.value.code == "unknown_country"


@pytest.mark.parametrize(
    ("spelled", "code"),
    [
        ("US", "US"), ("us", "US"), ("USA", "US"), ("UNITED STATES", "US"), ("UnitedStates", "US"), ("UNITED_STATES", "US"),
        ("United States of America", "US"), ("Germany", "DE"), ("DEU", "DE"), ("GERMANY", "DE"), ("Great Britain", "GB"),
        ("United Kingdom", "GB"), ("UK", "GB"), ("England", "GB"), ("Côte d'Ivoire", "CI"), ("Cote d'Ivoire", "CI"),
        ("Curaçao", "CW"), ("CURACAO", "CW"), ("Türkiye", "TR"), ("Turkey", "TR"), ("Czech Republic", "CZ"), ("Czechia", "CZ"),
        ("South Korea", "KR"), ("Russia", "RU"), ("Vietnam", "VN"), ("Taiwan", "TW"), ("Netherlands", "NL"),
        ("Narnia", ""), ("", ""), ("XX", ""),
    ],
)  # fmt: skip
def test_countries_by_code_name_and_enum_identifier(spelled: str, code: str) -> None:
    assert country_code(spelled) == code


@pytest.mark.parametrize(
    ("spelled", "country", "code"),
    [("Tennessee", "US", "TN"), ("TENNESSEE", "US", "TN"), ("TN", "US", "TN"), ("Ontario", "CA", "ON"), ("Québec", "CA", "QC"),
     ("Quebec", "CA", "QC"), ("New York", "US", "NY"), ("NEW_YORK", "US", "NY"), ("Zz", "US", "Zz"), ("", "US", "")],
)  # fmt: skip
def test_subdivisions_by_name_or_as_they_are(spelled: str, country: str, code: str) -> None:
    assert subdivision_code(spelled, country) == code


# -- packages ----------------------------------------------------------------------------------------


def weights(document: Document, **changes: Any) -> list[tuple[str, Weight]]:
    """Package ids and weights of a request."""
    return [(p.package_id, p.weight) for p in asked(document, **changes).packages]


def test_top_handling_units_are_the_packages() -> None:
    second = HandlingUnit("901", Decimal("5"), "lb")
    assert weights(doc(handling_units=(UNIT, second), header_weight=Decimal(99))) == [
        ("900", Weight(Decimal("2.5"), WeightUnit.KG)),
        ("901", Weight(Decimal("5"), WeightUnit.LB)),
    ]
    assert asked().packages[0].dimensions == Dimensions(Decimal(40), Decimal(30), Decimal(20), LengthUnit.CM)


def test_a_unit_of_weight_that_is_missing_is_the_settings() -> None:
    bare = replace(UNIT, weight_unit="")
    assert weights(doc(handling_units=(bare,)))[0][1].unit is WeightUnit.KG
    assert weights(doc(handling_units=(bare,)), erp_settings={"weight_unit": "lb"})[0][1].unit is WeightUnit.LB


@pytest.mark.parametrize(("unit", "known"), [("KG", "kg"), ("Lbs", "lb"), ("g", "g"), ("OZ", "oz"), ("pound", "lb")])
def test_units_of_weight_by_their_usual_spellings(unit: str, known: str) -> None:
    assert weights(doc(handling_units=(replace(UNIT, weight_unit=unit),)))[0][1].unit == known


@pytest.mark.parametrize("unit", ["stone", "st", "?", "pcs"])
def test_an_unknown_unit_of_weight_fails(unit: str) -> None:
    with pytest.raises(Rejected, match=f"“{unit}”") as caught:
        asked(doc(handling_units=(replace(UNIT, weight_unit=unit),)))
    assert caught.value.code == "unknown_unit"


def test_an_unknown_unit_of_length_fails() -> None:
    with pytest.raises(Rejected, match="furlong") as caught:
        asked(doc(handling_units=(replace(UNIT, length_unit="furlong"),)))
    assert (caught.value.code, caught.value.field) == ("unknown_unit", "length_unit")


@pytest.mark.parametrize("nothing", [None, Decimal(0)])
def test_the_header_weighs_one_package_when_no_unit_does(nothing: Decimal | None) -> None:
    bare = replace(UNIT, weight=nothing)
    header = {"header_weight": Decimal("7"), "header_weight_unit": "lb"}
    assert weights(doc(handling_units=(bare,), **header)) == [("900", Weight(Decimal(7), WeightUnit.LB))]
    assert weights(doc(handling_units=(), **header)) == [("1", Weight(Decimal(7), WeightUnit.LB))]
    two = (bare, replace(bare, unit_id="901"))
    assert weights(doc(handling_units=two, **header)) == [("1", Weight(Decimal(7), WeightUnit.LB))]


def test_some_units_without_weight_fail_rather_than_guess() -> None:
    with pytest.raises(Rejected, match="901") as caught:
        asked(doc(handling_units=(UNIT, HandlingUnit("901")), header_weight=Decimal(9)))
    assert caught.value.code == "weight_missing"


def test_the_default_package_comes_last() -> None:
    default = {"weight": "1.5", "unit": "lb", "length": 10, "width": 8, "height": 6, "dim_unit": "in"}
    settings = {"weight_unit": "kg", "default_package": default}
    [package] = asked(doc(handling_units=()), erp_settings=settings).packages
    assert package.weight == Weight(Decimal("1.5"), WeightUnit.LB)
    assert package.dimensions == Dimensions(Decimal(10), Decimal(8), Decimal(6), LengthUnit.IN)
    two = asked(doc(handling_units=(HandlingUnit("900"), HandlingUnit("901"))), erp_settings=settings).packages
    assert [p.package_id for p in two] == ["900", "901"]
    assert weights(doc(handling_units=(), header_weight=Decimal(3)), erp_settings=settings)[0][1].value == 3


def test_no_weight_anywhere_fails() -> None:
    with pytest.raises(Rejected) as caught:
        asked(doc(handling_units=(replace(UNIT, weight=Decimal(0)),), header_weight=Decimal(0)))
    assert caught.value.code == "weight_missing"


# -- slots -------------------------------------------------------------------------------------------


def mapped(slot: str, **rest: Any) -> list[dict[str, Any]]:
    """One mapping of the operator's."""
    return [{"slot": slot, **rest}]


def test_a_slots_source_is_jmespath_over_the_document_and_its_raw_row() -> None:
    request = asked(mappings=mapped("recipient_phone", source="raw.Cf_Phone"))
    assert request.recipient.phone == "617-555-0142"
    joined = asked(mappings=mapped("recipient_name", source="join(' / ', [recipient.name, raw.NoteText])"))
    assert joined.recipient.name == "Dana / Leave at the door"


def test_a_constant_wins_over_everything_and_a_default_only_over_nothing() -> None:
    assert asked(mappings=mapped("recipient_company", constant="Dock 4", source="recipient.name")).recipient.company == "Dock 4"
    assert asked(mappings=mapped("recipient_company", default="Somebody")).recipient.company == "Harbor Tool"
    nameless = doc(recipient=replace(RECIPIENT, company=""))
    assert asked(nameless, mappings=mapped("recipient_company", default="Somebody")).recipient.company == "Somebody"


def test_an_expression_that_fails_on_a_document_names_the_slot() -> None:
    with pytest.raises(Rejected, match="Recipient name") as caught:
        asked(mappings=mapped("recipient_name", source="join(' ', recipient.name)"))
    assert caught.value.code == "mapping_failed"


def test_the_service_slot_goes_through_its_value_map() -> None:
    request = asked(
        doc(raw={"Cf_Service": "NEXT"}),
        mappings=mapped("service", source="raw.Cf_Service"),
        value_maps={"service": {"NEXT": "PRIORITY_OVERNIGHT"}},
    )
    assert request.service == "PRIORITY_OVERNIGHT"


def test_order_numbers_are_references_each_once() -> None:
    assert asked().references == (("order", "C100"), ("order", "C200"))
    assert asked(mappings=mapped("order_numbers", constant="PO-1")).references == (("order", "PO-1"),)
    assert asked(doc(lines=(DocumentLine("1"),))).references == ()


# -- dates, options, digest --------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["today", "planned"])
@pytest.mark.parametrize("planned", [None, dt.date(2026, 2, 1), dt.date(2026, 4, 1)])
def test_the_ship_date_is_never_in_the_future(option: str, planned: dt.date | None) -> None:
    assert asked(doc(planned_ship_date=planned), options={"ship_date": option}).ship_date <= TODAY


def test_the_carriers_words_have_defaults_and_options() -> None:
    assert asked().options == {
        "pickup_type": "USE_SCHEDULED_PICKUP",
        "packaging_type": "YOUR_PACKAGING",
        "label": {"image_type": "PDF", "stock_type": None},
        "rate_type": "ACCOUNT",
        "payment_type": "SENDER",
        "sub_packaging_type": "BOX",
    }
    given = {"payment_type": "RECIPIENT", "payment_account": "987654321", "label_stock_type": "PAPER_LETTER"}
    told = asked(options=given).options
    assert (told["payment_type"], told["payment_account"]) == ("RECIPIENT", "987654321")
    assert told["label"] == {"image_type": "PDF", "stock_type": "PAPER_LETTER"}


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"version": "v2", "raw": {"NoteText": "other"}, "tracking_number": "794600000011"}, True),
        ({"planned_ship_date": dt.date(2026, 5, 5), "state": "Closed"}, True),
        ({"recipient": replace(RECIPIENT, postal_code="02111")}, False),
        ({"recipient": replace(RECIPIENT, name="Somebody else")}, False),
        ({"ship_via": "FEDEX_2_DAY"}, False),
        ({"handling_units": (replace(UNIT, weight=Decimal("2.6")),)}, False),
        ({"handling_units": (UNIT, replace(UNIT, unit_id="901"))}, False),
        ({"lines": (DocumentLine("1", order_ref="C999"),)}, False),
    ],
)
def test_the_digest_covers_what_was_bought_with_and_nothing_else(changes: dict[str, Any], same: bool) -> None:
    before = mapping.bought_digest(asked())
    tomorrow = context(today=TODAY + dt.timedelta(days=1))
    after = mapping.bought_digest(mapping.request_of(tomorrow, doc(**changes)))
    assert (before == after) is same

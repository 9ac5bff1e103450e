"""Shipments across borders, from the order lines in IFS to what FedEx was told; and what is said when something is missing."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import Label, Shipment, Step
from connector.services import audit, mappings, transfers
from connector.services.mappings import State
from tests.flows.support import creates, due_now, edit, later, options, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

BERLIN = {
    "ReceiverAddressName": "Muster GmbH",
    "ReceiverAddress1": "Hauptstr. 5",
    "ReceiverAddress2": None,
    "ReceiverCity": "Berlin",
    "ReceiverState": None,
    "ReceiverZipCode": "10115",
    "ReceiverCountry": "GERMANY",
    "ShipViaCode": "FDX-INTL",
}
TORONTO = BERLIN | {
    "ReceiverCity": "Toronto",
    "ReceiverState": "ON",
    "ReceiverZipCode": "M5H 1A1",
    "ReceiverCountry": "CA",
    "ShipViaCode": "FEDEX_GROUND",
}
LINES = "CustomerOrderHandling.svc/CustomerOrderLineSet"


@pytest.fixture
def abroad(world: World, settings: Any) -> World:
    small(settings)

    def service(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["value_maps"]["service"]["FDX-INTL"] = "FEDEX_INTERNATIONAL_PRIORITY"

    world.configure(service)
    options(world, country_of_manufacture="US")
    return world


def line(world: World, shipment_id: int, number: int = 1, **values: Any) -> None:
    """Somebody edits an order line in IFS."""
    key = {"OrderNo": f"C{shipment_id}", "LineNo": str(number), "RelNo": "1", "LineItemNo": 0}
    world.ifs.edit("standard", "CustomerOrderLineSet", key, values)


def told(world: World, place: int = 0) -> dict[str, Any]:
    """What FedEx was told for customs."""
    return list(world.fedex.state["shipments"].values())[place]["customs"]


def test_a_parcel_abroad_is_bought_with_the_data_of_its_order_lines(abroad: World) -> None:
    [shipment_id] = abroad.ready(1, lines=3, **BERLIN)
    abroad.sync()
    assert abroad.states() == {"done": 1} and sorted(abroad.numbers()) == [shipment_id]
    rows = abroad.ifs.state["tenants"]["standard"]["rows"]
    ordered = [rows["CustomerOrderLine"][f"ORDER_NO=C{shipment_id}^LINE_NO={n}^REL_NO=1^LINE_ITEM_NO=0^"] for n in (1, 2, 3)]
    customs = told(abroad)
    assert [(c["description"], c["quantity"], c["quantityUnits"]) for c in customs["commodities"]] == [
        (row["CatalogDesc"], row["BuyQtyDue"], "PCS") for row in ordered
    ]
    assert [c["partNumber"] for c in customs["commodities"]] == [row["CatalogNo"] for row in ordered]
    assert [c["unitPrice"]["amount"] for c in customs["commodities"]] == [row["SaleUnitPrice"] for row in ordered]
    total = round(sum(row["SaleUnitPrice"] * row["BuyQtyDue"] for row in ordered), 2)
    assert customs["totalCustomsValue"] == {"amount": total, "currency": "USD"}
    assert customs["commercialInvoice"] == {"shipmentPurpose": "SOLD", "termsOfSale": "DAP"}
    assert customs["dutiesPayment"] == {"paymentType": "RECIPIENT"}, "DAP: the buyer pays duties"
    assert {c["countryOfManufacture"] for c in customs["commodities"]} == {"US"}
    assert Shipment.objects.get().recipient_country == "DE"
    assert Label.objects.get().readable and abroad.fedex.remarks == []
    assert list(audit.verify()) == []


def test_parcels_at_home_ask_for_no_order_lines(abroad: World) -> None:
    abroad.ready(3)
    abroad.sync()
    assert abroad.states() == {"done": 3} and abroad.calls(LINES) == 0


def test_three_more_calls_for_a_parcel_abroad(abroad: World) -> None:
    abroad.ready(1, **BERLIN)
    abroad.poll()
    abroad.ifs.counts.clear()
    abroad.work()
    assert abroad.calls(LINES) == 1
    assert abroad.calls("CustomerOrderHandling.svc/CustomerOrderSet") == 1
    assert abroad.calls("ShipmentHandling.svc/ShipmentLineSet") == 2


def test_another_carriers_parcel_abroad_is_left_alone(abroad: World) -> None:
    abroad.ready(1, **(BERLIN | {"ForwardAgentId": "DHL"}))
    abroad.sync()
    assert abroad.states() == {"skipped": 1} and abroad.calls(LINES) == 0


def test_canada_by_ground_is_told_the_kind_of_package(abroad: World) -> None:
    options(abroad, sub_packaging_type="CARTON", terms_of_sale="DDP", duties_payment_type="SENDER", shipment_purpose="SAMPLE")
    abroad.ready(1, handling_units=2, **(TORONTO | {"DeliveryTerms": None}))
    abroad.sync()
    assert abroad.states() == {"done": 1}
    customs = told(abroad)
    assert customs["commercialInvoice"] == {"shipmentPurpose": "SAMPLE", "termsOfSale": "DDP"}
    assert customs["dutiesPayment"] == {"paymentType": "SENDER"}


def test_sales_and_inventory_units_are_told_apart(abroad: World) -> None:
    """Sold by the box of 10, shipped as 40 pieces: 4 boxes at the price of a box."""
    [one] = abroad.ready(1, **BERLIN)
    abroad.ifs.edit("standard", "ShipmentLineSet", {"ShipmentId": one, "ShipmentLineNo": 1}, {"InventoryQty": 40})
    line(abroad, one, ConvFactor=10, BuyQtyDue=8, SaleUnitPrice=12.5, AdjustedWeightNet=16, SalesUnitMeas="box")

    def boxes(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["value_maps"]["unit"] = {"box": "EA"}

    abroad.configure(boxes)
    abroad.sync()
    [commodity] = told(abroad)["commodities"]
    assert (commodity["quantity"], commodity["quantityUnits"]) == (4, "EA")
    assert commodity["customsValue"] == {"amount": 50, "currency": "USD"}
    kilograms = commodity["weight"]["value"] * (1 if commodity["weight"]["units"] == "KG" else 0.45359237)
    assert kilograms == pytest.approx(8, abs=0.01), "half of the ordered quantity, half of the weight"


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"SaleUnitPrice": None}, "value_missing", "unit_price"),
        ({"SaleUnitPrice": 0}, "value_missing", "unit_price"),
        ({"AdjustedWeightNet": None, "AdjustedWeightGross": None}, "weight_missing", "commodity.weight"),
        ({"ConvFactor": 7}, "quantity_invalid", "quantity"),
        ({"SalesUnitMeas": "coil"}, "quantity_unit_unknown", "unit"),
    ],
)
def test_what_a_line_lacks_is_said_before_fedex_is_called(abroad: World, values: dict[str, Any], code: str, field: str) -> None:
    [one] = abroad.ready(1, **BERLIN)
    line(abroad, one, **values)
    abroad.sync()
    transfer = abroad.transfer(one)
    assert (transfer.state, transfer.code) == ("failed", code)
    assert transfer.error["field"] == field
    assert transfer.remedy and creates(abroad) == 0


def test_a_price_of_less_than_a_cent_a_piece_is_not_told_as_nothing(abroad: World) -> None:
    """1,000 washers at 0.4 cents are worth 4.00, but would stand on the invoice with a price of 0.00."""
    [one] = abroad.ready(1, **BERLIN)
    abroad.ifs.edit("standard", "ShipmentLineSet", {"ShipmentId": one, "ShipmentLineNo": 1}, {"InventoryQty": 1000})
    line(abroad, one, BuyQtyDue=1000, SaleUnitPrice=0.004, ConvFactor=1)
    abroad.sync()
    transfer = abroad.transfer(one)
    assert (transfer.state, transfer.code) == ("failed", "value_missing")
    assert transfer.error["field"] == "unit_price" and "cent" in transfer.message
    assert creates(abroad) == 0


@pytest.mark.parametrize(
    ("option", "columns", "code"),
    [
        ({"country_of_manufacture": None}, {}, "origin_missing"),
        ({"country_of_manufacture": "Atlantis"}, {}, "origin_missing"),
        ({}, {"DeliveryTerms": "XXL"}, "terms_missing"),
        ({}, {"DeliveryTerms": None}, "terms_missing"),
        ({"duties_payment_type": "THIRD_PARTY"}, {}, "payment_account_missing"),
    ],
)
def test_options_fill_what_documents_lack(abroad: World, option: dict[str, Any], columns: dict[str, Any], code: str) -> None:
    options(abroad, **option)
    [one] = abroad.ready(1, **(BERLIN | columns))
    abroad.sync()
    transfer = abroad.transfer(one)
    assert (transfer.state, transfer.code) == ("failed", code)
    assert transfer.remedy or code == "payment_account_missing"
    assert creates(abroad) == 0
    options(abroad, country_of_manufacture="US", terms_of_sale="DAP", duties_account="987654321")
    assert transfers.replay(abroad.transfer(one), actor="ann").done
    abroad.work()
    assert abroad.transfer(one).state == "done" and creates(abroad) == 1


def test_an_order_without_currency_waits_for_the_option(abroad: World) -> None:
    [one] = abroad.ready(1, **BERLIN)
    abroad.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"C{one}"}, {"CurrencyCode": None})
    abroad.sync()
    assert abroad.transfer(one).code == "currency_missing"
    options(abroad, customs_currency="GBP")
    edit(abroad, one, NoteText="now with a currency")
    abroad.sync()
    assert told(abroad)["totalCustomsValue"]["currency"] == "UKL", "FedEx's own code for pounds"


def test_a_lost_answer_abroad_is_found_again_and_not_bought_twice(abroad: World) -> None:
    options(abroad, adopted_label="accept")
    [one] = abroad.ready(1, **BERLIN)
    abroad.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    abroad.sync(wait_s=2)
    due_now(abroad)
    assert abroad.transfer(one).state == "done" and creates(abroad) == 1
    assert sorted(abroad.numbers()) == [one]


def test_after_the_label_an_edit_of_a_note_is_no_change(abroad: World) -> None:
    """The comparison reads no order lines: customs data are not what a label is compared by."""
    [one] = abroad.ready(1, **BERLIN)
    abroad.sync()
    edit(abroad, one, NoteText="call first")
    later(abroad, 86_500)
    abroad.sync()
    assert abroad.transfer(one).attention is None


def test_the_right_to_read_orders_is_missing(abroad: World) -> None:
    abroad.ifs.set_options("standard", denied_projections=["CustomerOrderHandling"])
    ids = [*abroad.ready(1, **BERLIN), *abroad.ready(1)]
    abroad.sync()
    assert creates(abroad) <= 1 and ids[0] not in abroad.numbers()
    assert abroad.transfer(ids[0]).code == "forbidden"


def test_the_mapping_page_shows_the_customs_data_as_they_were_read(abroad: World) -> None:
    [one] = abroad.ready(1, **BERLIN)
    abroad.sync()
    integration = abroad.integration
    state = State.of(integration)
    seen = mappings.document(integration, state, str(one))
    preview = mappings.previewer(integration, state).show(seen.record, seen.document)
    assert preview.request is not None
    shown = mappings.dry_run(integration, seen, preview)
    assert shown.body["requestedShipment"]["customsClearanceDetail"] == told(abroad)
    Step.objects.filter(name="read goods").delete()
    assert "crosses a border" in mappings.previewer(integration, state).show(seen.record, seen.document).message


def test_delivery_terms_that_nobody_knows_are_mapped_in_one_click(abroad: World) -> None:
    abroad.ready(1, **BERLIN | {"DeliveryTerms": "XXL"})
    abroad.sync()
    [entry] = mappings.unmapped(abroad.integration, State.of(abroad.integration))
    assert (entry.map, entry.value, entry.waits) == ("terms_of_sale", "XXL", True)
    assert mappings.map_value(abroad.integration, "terms_of_sale", "XXL", "DAP", actor="test", replay=True) == 1
    abroad.work()
    assert abroad.states() == {"done": 1}

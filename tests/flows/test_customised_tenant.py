"""The customised tenant of the IFS simulator, carried by its profile alone; and the other two ways to find changes."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import Label, Shipment
from connector.services import audit
from connector.services.pinging import ping
from tests.flows.support import creates, later, masters, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

PROFILE = {
    "realm": "custom1",
    "shipment": {
        "service": "CShipmentHandling",
        "tracking_field": "Cf_Tracking_No",
        "status_field": "Cf_Delivery_Status",
        "ready_filter": "Cf_Ready_To_Ship eq true",
        "poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"},
        "receiver": {"phone": "Cf_Receiver_Phone"},
    },
    "customer_order": {"lines": {"origin_field": "Cf_Origin_Country", "harmonized_field": "Cf_Customs_Stat_No"}},
}
DAY = 86_400


@pytest.fixture
def customised(world: World, settings: Any) -> World:
    small(settings)

    def edit(doc: dict[str, Any]) -> None:
        ifs = doc["connections"][0]
        ifs["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}
        ifs["settings"] |= PROFILE
        doc["integrations"][0]["value_maps"]["service"]["FDX-INTL"] = "FEDEX_INTERNATIONAL_PRIORITY"

    world.configure(edit)
    return world


def numbers(world: World) -> dict[int, str]:
    return world.ifs.tracking_numbers("custom", "Cf_Tracking_No")


def test_the_whole_flow_on_the_customised_tenant(customised: World) -> None:
    ids = customised.ifs.make_shipments("custom", 3, handling_units=2)
    waiting = customised.ifs.make_shipments("custom", 1, Cf_Ready_To_Ship=False)
    customised.sync()
    assert customised.states() == {"done": 3} and sorted(numbers(customised)) == ids
    assert set(numbers(customised).values()) == set(masters(customised))
    assert customised.ifs.tracking_numbers("custom", "AirwayBillNo") == {}
    assert Label.objects.count() == 6 and creates(customised) == 3
    phone = customised.fedex.shipments()[0].recipient["contact"]["phoneNumber"]
    assert phone != "9015550100", "the custom field's phone, not the site's"
    customised.ifs.edit("custom", "ShipmentSet", {"ShipmentId": waiting[0]}, {"Cf_Ready_To_Ship": True})
    assert customised.sync().new == 1
    assert sorted(numbers(customised)) == [*ids, *waiting]
    customised.sync()
    assert creates(customised) == 4
    assert list(audit.verify()) == []


def test_the_customised_profile_passes_the_ping(customised: World) -> None:
    customised.ifs.make_shipments("custom", 1)
    layers = ping(customised.integration.source).layers
    assert {layer.state for layer in layers} == {"ok"}, layers


def test_origin_and_tariff_code_come_from_custom_fields(customised: World) -> None:
    place = {"ReceiverCity": "Berlin", "ReceiverState": None, "ReceiverZipCode": "10115", "ReceiverCountry": "DE"}
    [one] = customised.ifs.make_shipments("custom", 1, ShipViaCode="FDX-INTL", **place)
    key = {"OrderNo": f"C{one}", "LineNo": "1", "RelNo": "1", "LineItemNo": 0}
    customised.ifs.edit("custom", "CustomerOrderLineSet", key, {"Cf_Origin_Country": "Mexico", "Cf_Customs_Stat_No": "8481.80"})
    customised.sync()
    assert customised.states() == {"done": 1}, customised.transfer(one).message
    [commodity] = next(iter(customised.fedex.state["shipments"].values()))["customs"]["commodities"]
    assert (commodity["countryOfManufacture"], commodity["harmonizedCode"]) == ("MX", "8481.80")


def test_a_stamp_sees_what_the_date_window_would_not(customised: World) -> None:
    """Planned long ago, changed today: outside a window of dates, inside one of changes."""
    customised.ifs.make_shipments("custom", 1)
    customised.sync()
    [old] = customised.ifs.make_shipments("custom", 1, PlannedShipDate="2020-01-02T08:00:00Z")
    assert customised.sync().new == 1
    assert old in numbers(customised)


# -- history log ---------------------------------------------------------------------------------------


@pytest.fixture
def logged(world: World, settings: Any) -> World:
    small(settings)

    def edit(doc: dict[str, Any]) -> None:
        doc["connections"][0]["settings"]["shipment"] = {"poll": {"strategy": "history_log", "window_days": 2}}

    world.configure(edit)
    world.ifs.set_options("standard", history_logged=["Shipment"])
    return world


LOG = "GET HistoryLogHandling.svc/HistoryLogOverviewSet"


def test_the_history_log_names_what_to_look_at(logged: World) -> None:
    ids = logged.ready(25)
    logged.sync()
    assert logged.calls(LOG) == 0, "the first poll lists by state, so that nothing depends on the log"
    [new] = logged.ready(1, PlannedShipDate="2020-01-02T08:00:00Z")
    [waiting] = logged.ready(1, state="Preliminary")
    result = logged.sync()
    assert (result.new, logged.calls(LOG)) == (1, 1)
    assert sorted(logged.numbers()) == [*ids, new]
    logged.ifs.edit("standard", "ShipmentSet", {"ShipmentId": waiting}, {"Objstate": "Completed"})
    assert logged.sync().new == 1
    assert sorted(logged.numbers()) == [*ids, new, waiting] and creates(logged) == 27


def test_what_the_log_does_not_hold_is_found_by_the_daily_sweep(logged: World) -> None:
    logged.ready()
    logged.sync()
    logged.ifs.set_options("standard", history_logged=[])
    [unlogged] = logged.ready()
    assert logged.sync().new == 0
    later(logged, DAY + 60)
    assert logged.sync().new == 1 and unlogged in logged.numbers()


def test_nothing_logged_asks_for_nothing_more(logged: World) -> None:
    logged.ifs.set_options("standard", history_logged=[])
    logged.ready()
    logged.sync()
    logged.ifs.counts.clear()
    assert logged.poll().seen == 0
    assert logged.calls(LOG) == 1 and logged.calls("ShipmentSet") == 0
    assert Shipment.objects.count() == 1


def test_a_log_that_may_not_be_read_is_told_by_ping_and_poll(logged: World) -> None:
    logged.ready()
    logged.sync()
    logged.ifs.set_options("standard", denied_projections=["HistoryLogHandling"])
    assert (logged.poll().error or {})["code"] == "forbidden"
    layers = {layer.layer: layer.state for layer in ping(logged.integration.source).layers}
    assert layers["history log: read"] == "failed"

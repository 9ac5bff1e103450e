"""Customer orders that ship by themselves, one delivery at a time (IF-1, IF-3, IF-7), counted at both simulators."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from connector.models import Exchange, Pause, Shipment, SourceRecord, Step, Transfer
from connector.services import audit, backfill, clock, mappings, shipments, switches, tracking, transfers, vendors, written
from connector.services.pinging import ping
from tests.flows.support import CREATE_LINE, change, creates, later, masters, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

CUSTOM = {
    "realm": "custom1",
    "customer_order": {
        "tracking_field": "Cf_Tracking_No",
        "status_field": "Cf_Delivery_Status",
        "ready_filter": "Cf_Ready_To_Ship eq true",
        "poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"},
        "lines": {"tracking_field": "Cf_Tracking_No"},
    },
    "shipment": {"service": "CShipmentHandling"},
}


@pytest.fixture(params=["standard", "custom"])
def orders(request: pytest.FixtureRequest, world: World, settings: Any) -> World:
    """Customer orders ship, on either tenant."""
    small(settings)
    as_orders(world, request.param)
    return world


def as_orders(world: World, tenant: str, *kinds: str) -> None:
    world.tenant = tenant

    def edit(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["options"] = {"documents": list(kinds or ("customer_order",))}
        if tenant == "custom":
            doc["connections"][0]["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}
            doc["connections"][0]["settings"] |= CUSTOM

    world.configure(edit)


def header(world: World, number: str) -> dict[str, Any]:
    return world.ifs.row(world.tenant, "CustomerOrder", {"OrderNo": number})


def line(world: World, number: str, release: str = "1", place: str = "1") -> dict[str, Any]:
    key = {"OrderNo": number, "LineNo": place, "RelNo": release, "LineItemNo": 0}
    return world.ifs.row(world.tenant, "CustomerOrderLine", key)


def edit_order(world: World, number: str, **values: Any) -> None:
    world.ifs.edit(world.tenant, "CustomerOrder", {"OrderNo": number}, values)


def edit_line(world: World, number: str, release: str = "1", place: str = "1", **values: Any) -> None:
    key = {"OrderNo": number, "LineNo": place, "RelNo": release, "LineItemNo": 0}
    world.ifs.edit(world.tenant, "CustomerOrderLine", key, values)


def of(world: World, key: str) -> Transfer:
    return Transfer.objects.filter(source_key=f"customer_order:{key}").latest("revision")


def test_an_order_becomes_a_label_with_its_number_as_reference(orders: World) -> None:
    [number] = orders.ifs.make_orders(orders.tenant, lines=2)
    orders.sync()
    assert orders.states() == {"done": 1}, Transfer.objects.get().message
    [made] = orders.fedex.shipments()
    shipment = Shipment.objects.get()
    assert (shipment.source_key, shipment.master_tracking_number) == (f"customer_order:{number}/1", made.master)
    assert dict(shipment.references.values_list("kind", "value"))["order"] == number
    sent = next(iter(orders.fedex.state["shipments"].values()))
    assert made.recipient["contact"]["companyName"] == header(orders, number)["CustomerName"]
    weight = sum(line(orders, number, place=place)["AdjustedWeightGross"] for place in ("1", "2"))
    assert abs(float(shipment.packages.get().weight) - weight) < 0.01 and sent
    if orders.tenant == "custom":
        assert header(orders, number)["Cf_Tracking_No"] == made.master
        assert {line(orders, number, place=place)["Cf_Tracking_No"] for place in ("1", "2")} == {made.master}
    else:
        result = Step.objects.get(name="write tracking").result
        assert set(result["skipped"]) == {"tracking_field", "lines.tracking_field"}, "said, not silently left out"
        assert written.left_out(shipment).startswith("tracking number (the profile names no field)")
    orders.sync()
    assert creates(orders) == 1 and list(audit.verify()) == []


def test_each_delivery_of_an_order_is_a_document_of_its_own(orders: World) -> None:
    [number] = orders.ifs.make_orders(orders.tenant, lines=2, releases=2)
    orders.sync()
    assert orders.states() == {"done": 2}, list(Transfer.objects.values_list("source_key", "message"))
    assert sorted(SourceRecord.objects.values_list("source_key", flat=True)) == [f"customer_order:{number}/{n}" for n in (1, 2)]
    assert creates(orders) == 2 and len(set(masters(orders))) == 2
    if orders.tenant == "custom":
        numbers = {n: Shipment.objects.get(source_key=f"customer_order:{number}/{n}").master_tracking_number for n in (1, 2)}
        for release, own in numbers.items():
            assert {line(orders, number, str(release), place)["Cf_Tracking_No"] for place in ("1", "2")} == {own}
        assert header(orders, number)["Cf_Tracking_No"] in numbers.values()


def test_a_later_delivery_ships_and_an_edit_of_the_first_does_not(orders: World) -> None:
    [number] = orders.ifs.make_orders(orders.tenant)
    orders.sync()
    first = masters(orders)[0]
    edit_order(orders, number, NoteText="call before", CustomerPoNo="PO-new")
    edit_line(orders, number, NoteText="blue ones")
    orders.sync()
    assert creates(orders) == 1, "edited, not ordered again"
    # Delivered in part; the rest was split off into a delivery of its own.
    edit_line(orders, number, Objstate="Delivered", QtyShipped=2)
    edit_order(orders, number, Objstate="PartiallyDelivered")
    second = {"OrderNo": number, "LineNo": "1", "RelNo": "2", "LineItemNo": 0, "Objstate": "Released", "Contract": "S1"}
    second |= {"BuyQtyDue": 3, "AdjustedWeightGross": 4.5, "CatalogNo": "X", "QtyShipped": 0, "ShipmentConnectedDb": False}
    orders.ifs.add_rows(orders.tenant, "CustomerOrderLine", [second | {"ShipAddrNo": "01"}])
    assert orders.sync().new == 1
    assert creates(orders) == 2 and orders.states() == {"done": 2}, of(orders, f"{number}/2").message
    later(orders, 86_460)
    orders.sync()
    assert creates(orders) == 2 and not Transfer.objects.exclude(attention=None).exists()
    if orders.tenant == "custom":
        new = next(n for n in masters(orders) if n != first)
        assert header(orders, number)["Cf_Tracking_No"] == new, "the header shows the latest delivery"
        assert line(orders, number)["Cf_Tracking_No"] == first and line(orders, number, "2")["Cf_Tracking_No"] == new


@pytest.mark.parametrize(
    "values",
    [
        {"ShipmentConnectedDb": True},
        {"Objstate": "PartiallyDelivered", "QtyShipped": 1},
        {"Objstate": "Blocked"},
        {"QtyShipped": 1},
    ],
)
def test_what_goes_another_way_or_has_begun_is_not_shipped_as_an_order(orders: World, values: dict[str, Any]) -> None:
    [number] = orders.ifs.make_orders(orders.tenant, releases=2)
    edit_line(orders, number, **values)
    orders.sync()
    told = {t.source_key: t.code for t in Transfer.objects.all()}
    part = values.get("Objstate") == "PartiallyDelivered"  # what is left of it a person has to see to
    assert told == {f"customer_order:{number}/2": ""} | ({f"customer_order:{number}/1": "part_delivered"} if part else {})
    assert creates(orders) == 1


def test_shipments_and_their_orders_are_never_both_shipped(world: World) -> None:
    """Both kinds in one integration: what is on a shipment ships by it alone."""
    as_orders(world, "standard", "shipment", "customer_order")
    [shipment] = world.ready()
    edit_order(world, f"C{shipment}", Objstate="Released")
    [number] = world.ifs.make_orders()
    world.sync()
    keys = sorted(Transfer.objects.values_list("source_key", flat=True))
    assert keys == [f"customer_order:{number}/1", f"shipment:{shipment}"]
    assert creates(world) == 2 and world.states() == {"done": 2}


def test_an_order_put_on_a_shipment_after_its_label_is_not_bought_again(world: World) -> None:
    as_orders(world, "standard", "shipment", "customer_order")
    [number] = world.ifs.make_orders()
    world.sync()
    [shipment] = world.ready()
    edit_order(world, f"C{shipment}", Objstate="Planned")
    world.ifs.edit(
        "standard", "ShipmentLine", {"ShipmentId": shipment, "ShipmentLineNo": 1}, {"SourceRef1": number, "SourceRef3": "1"}
    )
    world.sync()
    transfer = Transfer.objects.get(source_key=f"shipment:{shipment}")
    assert (transfer.state, transfer.code) == ("cancelled", "shipped_as_order")
    assert f"order {number}, delivery 1" in transfer.message
    assert creates(world) == 1


def test_a_comparison_reads_the_number_of_each_delivery(world: World) -> None:
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom", releases=2)
    world.sync()
    erp = vendors.open_adapter(world.integration.source)
    told = erp.read_standings([f"customer_order:{number}/{n}" for n in (1, 2, 3)])
    own = dict(Shipment.objects.values_list("source_key", "master_tracking_number"))
    assert {key: one.tracking_number for key, one in told.items() if hasattr(one, "tracking_number")} == own
    assert told[f"customer_order:{number}/3"].error.code == "document_gone"
    change(world, "ifs", customer_order={"lines": {"tracking_field": None}})
    erp = vendors.open_adapter(world.integration.source)
    [one] = erp.read_standings([f"customer_order:{number}/1"]).values()
    assert one.tracking_number is None, "two deliveries share the header's field: it proves nothing of one"


def test_what_stood_ready_before_the_start_waits_for_a_person(world: World) -> None:
    as_orders(world, "standard")
    world.configure(lambda doc: doc["integrations"][0].pop("start_from"))
    type(world.integration).objects.update(start_from=None)
    world.ifs.make_orders("standard", 3)
    assert world.sync().before_start == 3 and creates(world) == 0
    world.ifs.make_orders("standard", 1)
    world.sync()
    assert creates(world) == 1
    backfill.start(world.integration, dt.date(2020, 1, 1), dt.date(2040, 1, 1), actor="ann", reason="go-live")
    world.work()
    world.sync()
    assert creates(world) == 4 and world.states() == {"done": 4}


@pytest.mark.parametrize(
    ("of_order", "of_line", "code"),
    [
        ({"Objstate": "Cancelled"}, {}, "cancelled_in_erp"),
        ({}, {"Objstate": "Cancelled"}, "cancelled_in_erp"),
        ({"Objstate": "Planned"}, {}, "not_ready"),
        ({}, {"ShipmentConnectedDb": True}, "not_ready"),
    ],
)
def test_called_off_while_paused_buys_nothing(world: World, of_order: dict[str, Any], of_line: dict[str, Any], code: str) -> None:
    as_orders(world, "standard")
    switches.stop_buying("integration", world.integration, True, "ann", "stock-taking")
    overtaken, other = world.ifs.make_orders(world.tenant, 2)
    world.sync()
    assert creates(world) == 0
    if of_order:
        edit_order(world, overtaken, **of_order)
    if of_line:
        edit_line(world, overtaken, **of_line)
    switches.stop_buying("integration", world.integration, False, "ann")
    world.work()
    assert (of(world, f"{overtaken}/1").state, of(world, f"{overtaken}/1").code) == ("cancelled", code)
    assert of(world, f"{other}/1").state == "done" and creates(world) == 1


def test_a_foreign_number_stops_the_purchase_and_stays(world: World) -> None:
    as_orders(world, "custom")
    one, two = world.ifs.make_orders("custom", 2)
    edit_order(world, one, Cf_Tracking_No="TYPED")
    edit_line(world, two, Cf_Tracking_No="TYPED-TOO")
    world.sync()
    assert creates(world) == 0
    assert set(Transfer.objects.values_list("state", "code")) == {("cancelled", "has_tracking_number")}
    assert header(world, one)["Cf_Tracking_No"] == "TYPED"


def test_a_number_typed_while_we_bought_is_a_conflict(world: World, settings: Any) -> None:
    small(settings)
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom")
    world.ifs.fault("412_ours", "PATCH")
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == ("failed", "field_conflict")
    transfers.decide_field(transfer, keep="ours", actor="ann", reason="theirs was a test")
    world.work()
    assert header(world, number)["Cf_Tracking_No"] == masters(world)[0] and creates(world) == 1


def test_a_void_clears_header_and_lines(world: World) -> None:
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom")
    world.sync()
    shipments.void_request(Shipment.objects.get(), then="clear", actor="ann", reason="wrong box")
    world.work()
    assert header(world, number)["Cf_Tracking_No"] is None and line(world, number)["Cf_Tracking_No"] is None
    world.sync()
    assert creates(world) == 1, "it stays held until a person buys again"


def test_after_a_void_the_header_shows_the_delivery_that_still_stands(world: World) -> None:
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom", releases=3)
    world.sync()
    first, second, third = (Shipment.objects.get(source_key=f"customer_order:{number}/{release}") for release in "123")
    shown = header(world, number)["Cf_Tracking_No"]
    # Whichever wrote last stands there; voided one after the other, the header goes back to the latest that still counts.
    by_number = {one.master_tracking_number: one for one in (first, second, third)}
    standing = [by_number.pop(shown), *sorted(by_number.values(), key=lambda one: -one.pk)]
    for gone, stays in zip(standing, [*standing[1:], None], strict=True):
        shipments.void_request(gone, then="clear", actor="ann", reason="wrong box")
        world.work()
        assert header(world, number)["Cf_Tracking_No"] == (stays.master_tracking_number if stays else None)
        assert line(world, number, gone.source_key[-1])["Cf_Tracking_No"] is None
    assert list(audit.verify()) == []


def test_voiding_an_earlier_delivery_leaves_the_number_of_the_later_one(world: World) -> None:
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom", releases=2)
    world.sync()
    shown = header(world, number)["Cf_Tracking_No"]
    shipments.void_request(
        Shipment.objects.exclude(master_tracking_number=shown).get(), then="clear", actor="ann", reason="wrong box"
    )
    world.work()
    assert header(world, number)["Cf_Tracking_No"] == shown


def test_news_reach_the_order(world: World) -> None:
    as_orders(world, "custom")
    [number] = world.ifs.make_orders("custom")
    world.sync()
    world.fedex.scan(masters(world)[0], "PU")
    Shipment.objects.update(next_track_at=clock.at(-1))
    tracking.track(world.integration)
    world.work()
    assert header(world, number)["Cf_Delivery_Status"] == "picked_up"


def test_a_target_that_the_tenant_lacks_is_left_out_and_told(world: World) -> None:
    """Sheet 11: it fails the check, not the run; nothing is paused, and the timeline names the field."""
    as_orders(world, "standard")
    change(world, "ifs", customer_order={"tracking_field": "Cf_Nowhere", "lines": {"tracking_field": "Cf_Nowhere"}})
    world.ifs.make_orders()
    world.sync()
    assert world.states() == {"done": 1} and not Pause.objects.exists()
    assert "no field Cf_Nowhere" in Step.objects.get(name="write tracking").result["skipped"]
    layers = {layer.layer: layer for layer in ping(world.integration.source).layers}
    assert layers["customer orders: profile"].state == "failed" and "Cf_Nowhere" in layers["customer orders: profile"].message


def test_addresses_that_differ_within_a_delivery_wait_for_a_person(orders: World) -> None:
    [number] = orders.ifs.make_orders(orders.tenant, lines=2)
    edit_line(orders, number, ShipAddrNo="02")
    orders.sync()
    assert (of(orders, f"{number}/1").state, of(orders, f"{number}/1").code) == ("failed", "address_differs")
    edit_line(orders, number, ShipAddrNo="01")
    orders.sync()
    assert orders.states() == {"done": 1} and creates(orders) == 1, "mended in IFS, it went on by itself"


def test_an_address_for_once(orders: World) -> None:
    known, unknown = orders.ifs.make_orders(orders.tenant, 2, AddrFlagDb=True)
    place = {"OrderNo": known, "AddrName": "Site hut", "Address1": "9 Elm St", "City": "Nashville", "State": "TN"}
    orders.ifs.add_rows(orders.tenant, "CustomerOrderAddress", [place | {"ZipCode": "37201", "CountryCode": "US"}])
    orders.sync()
    [made] = orders.fedex.shipments()
    assert made.recipient["address"]["postalCode"] == "37201"
    assert of(orders, f"{unknown}/1").code == "single_address_missing"


def test_the_profiles_pass_the_ping(orders: World) -> None:
    orders.ifs.make_orders(orders.tenant)
    layers = ping(orders.integration.source).layers
    # The standard tenant's overview of orders holds no site, so that each list is asked for twice: said, but no fault.
    worth_a_word = {"customer orders: read"} if orders.tenant == "standard" else set()
    assert {layer.layer for layer in layers if layer.state != "ok"} == worth_a_word, layers
    assert not any(layer.state == "failed" for layer in layers)
    assert "customer orders: read" in {layer.layer for layer in layers}
    assert "shipments: read" not in {layer.layer for layer in layers}, "no shipment ships here"


def test_its_own_freight_cost_is_charged_to_it_once(world: World) -> None:
    as_orders(world, "standard")
    options(world, documents=["customer_order"], freight_charge=True)
    [number] = world.ifs.make_orders(releases=2)
    world.sync()
    charges = world.ifs.charges()
    assert [c["OrderNo"] for c in charges] == [number, number] and world.states() == {"done": 2}
    assert not any(c.get("ShipmentId") for c in charges)
    told = sum(s.cost for s in Shipment.objects.all() if s.cost)
    assert abs(float(told) - sum(c["ChargeCost"] for c in charges)) < 0.001


# -- lost answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["carrier", "erp"])
def test_every_tenth_answer_lost_ships_nothing_twice(world: World, settings: Any, side: str) -> None:
    small(settings)
    as_orders(world, "custom")
    options(world, adopted_label="accept")
    world.ifs.make_orders("custom", 30)
    end = world.fedex.fault if side == "carrier" else world.ifs.fault
    lost = end("lost_answer", CREATE_LINE if side == "carrier" else "PATCH", every=10, times=None)
    world.sync(wait_s=3)
    settle(world)
    assert lost.used >= 3 and creates(world) == 30 == world.labels()
    assert world.states() == {"done": 30}
    rows = world.ifs.state["tenants"]["custom"]["rows"]["CustomerOrder"].values()
    assert sorted(row["Cf_Tracking_No"] for row in rows) == sorted(masters(world))


def test_the_check_of_a_mapping_shows_what_is_written_on_an_order(orders: World) -> None:
    orders.ifs.make_orders(orders.tenant, lines=2)
    orders.sync()
    integration, label = orders.integration, Shipment.objects.get().master_tracking_number
    seen = mappings.latest(integration)[0]
    calls = Exchange.objects.count()
    shown = mappings.dry_run(
        integration, seen, mappings.previewer(integration, mappings.State.of(integration)).show(seen.record, seen.document)
    )
    assert Exchange.objects.count() == calls and not shown.write_problem
    [write] = shown.writes
    of_header = [x for x in Exchange.objects.filter(method="PATCH") if "Line" not in x.url]
    sent = [(f"PATCH {x.url}", json.loads(x.request_body)) for x in of_header]
    told = json.loads(json.dumps(write.body).replace(mappings.LABELS_NUMBER, label))
    assert ([(write.call, told)] if told else []) == sent, "the header's part; lines are named"
    assert ("Cf_Tracking_No" in write.note) == (orders.tenant == "custom") == bool(told)


def test_an_overview_without_the_site_gives_way_to_the_orders_own_projection(world: World, settings: Any) -> None:
    small(settings)
    as_orders(world, "standard", "shipment", "customer_order")
    world.ifs.make_orders("standard", 2)
    world.ready(1)
    world.sync()
    assert world.states() == {"done": 3}, list(Transfer.objects.values_list("message"))
    assert not Pause.objects.exists() and world.calls("CustomerOrdersHandling") == 1
    layers = {one.layer: one for one in ping(world.integration.source).layers}
    assert layers["customer orders: read"].state == "warning"
    assert "customer_order.list_service" in layers["customer orders: read"].remedy

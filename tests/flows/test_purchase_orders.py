"""Purchase orders are inbound freight (IF-1): the supplier sends, our site receives, our account pays; counted at both ends."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import EffectSend, Pause, Shipment, SourceRecord, Step, Transfer
from connector.services import audit, clock, shipments, tracking
from connector.services.pinging import ping
from tests.flows.support import CREATE_LINE, change, creates, later, masters, options, settle, small
from tests.world import ADDRESS, World

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNT = "123456789"
BOX = {"weight": 2.5, "unit": "kg"}
STANDARD = {"default_package": BOX}
CUSTOM = {
    "realm": "custom1",
    "purchase_order": {
        "tracking_field": "Cf_Tracking_No",
        "status_field": "Cf_Delivery_Status",
        "ship_date_field": "Cf_Ship_Date",
        "estimated_delivery_field": "Cf_Estimated_Arrival",
        "ready_filter": "Cf_Ready_To_Ship eq true",
        "poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"},
        "lines": {"tracking_field": "Cf_Tracking_No", "gross_weight_field": "Cf_Gross_Weight"},
    },
    "supplier_address": {"fields": {"phone": "Cf_Phone"}},
    "shipment": {"service": "CShipmentHandling"},
}


def inbound(world: World, tenant: str, **told: Any) -> None:
    """Purchase orders ship, on that tenant; the standard one keeps neither weights nor suppliers' phones."""
    world.tenant = tenant

    def edit(doc: dict[str, Any]) -> None:
        phone = {"supplier_phone": "2165550131"} if tenant == "standard" else {}
        doc["integrations"][0]["options"] = {"documents": ["purchase_order"], **phone, **told}
        doc["connections"][0]["settings"] |= STANDARD if tenant == "standard" else CUSTOM
        if tenant == "custom":
            doc["connections"][0]["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}

    world.configure(edit)


@pytest.fixture(params=["standard", "custom"])
def orders(request: pytest.FixtureRequest, world: World, settings: Any) -> World:
    small(settings)
    inbound(world, request.param)
    return world


def make(world: World, count: int = 1, **values: Any) -> list[str]:
    return world.ifs.make_orders(world.tenant, count, kind="purchase_order", **values)


def header(world: World, number: str) -> dict[str, Any]:
    return world.ifs.row(world.tenant, "PurchaseOrder", {"OrderNo": number})


def line(world: World, number: str, release: str = "1", place: str = "1") -> dict[str, Any]:
    return world.ifs.row(world.tenant, "PurchaseOrderLine", {"OrderNo": number, "LineNo": place, "ReleaseNo": release})


def edit_order(world: World, number: str, **values: Any) -> None:
    world.ifs.edit(world.tenant, "PurchaseOrder", {"OrderNo": number}, values)


def edit_line(world: World, number: str, release: str = "1", **values: Any) -> None:
    world.ifs.edit(world.tenant, "PurchaseOrderLine", {"OrderNo": number, "LineNo": "1", "ReleaseNo": release}, values)


def body(world: World) -> dict[str, Any]:
    """What FedEx was asked for last."""
    sent = EffectSend.objects.latest("pk").request
    found: dict[str, Any] = sent.get("body", sent)
    return found


def test_the_supplier_sends_our_site_receives_and_our_account_pays(orders: World) -> None:
    [number] = make(orders, lines=2)
    orders.sync()
    assert orders.states() == {"done": 1}, Transfer.objects.get().message
    [made] = orders.fedex.shipments()
    asked = body(orders)["requestedShipment"]
    supplier = {"V2001": "44115", "V2002": "28801", "V2003": "89501"}[header(orders, number)["VendorNo"]]
    assert asked["shipper"]["address"]["postalCode"] == supplier and asked["shipper"]["contact"]["phoneNumber"]
    assert asked["recipients"][0]["address"]["postalCode"] == ADDRESS["postal_code"]
    payment = asked["shippingChargesPayment"]
    assert payment == {"paymentType": "RECIPIENT", "payor": {"responsibleParty": {"accountNumber": {"value": ACCOUNT}}}}
    references = {r["customerReferenceType"]: r["value"] for r in asked["requestedPackageLineItems"][0]["customerReferences"]}
    assert references["P_O_NUMBER"] == number
    assert Shipment.objects.get().source_key == f"purchase_order:{number}/1"
    if orders.tenant == "custom":
        row = header(orders, number)
        assert row["Cf_Tracking_No"] == made.master
        assert {line(orders, number, place=place)["Cf_Tracking_No"] for place in ("1", "2")} == {made.master}
        weight = sum(line(orders, number, place=place)["Cf_Gross_Weight"] for place in ("1", "2"))
        assert abs(float(Shipment.objects.get().packages.get().weight) - weight) < 0.01
    else:
        skipped = Step.objects.get(name="write tracking").result["skipped"]
        assert set(skipped) == {"no field Cf_Tracking_No", "lines.tracking_field"}, "the tenant has no such field, and it is said"
        assert not Pause.objects.exists()
    orders.sync()
    assert creates(orders) == 1 and list(audit.verify()) == []


def test_each_release_is_a_document_and_one_that_arrived_is_not_shipped(orders: World) -> None:
    one, two = make(orders, 2, releases=2)
    edit_line(orders, two, Objstate="Received")
    edit_order(orders, two, Objstate="Arrived")
    orders.sync()
    keys = sorted(SourceRecord.objects.values_list("source_key", flat=True))
    assert keys == [f"purchase_order:{one}/1", f"purchase_order:{one}/2", f"purchase_order:{two}/2"]
    assert creates(orders) == 3 and orders.states() == {"done": 3}
    edit_order(orders, one, LabelNote="handle with care")
    edit_line(orders, one, NoteText="two crates")
    later(orders, 86_460)
    orders.sync()
    assert creates(orders) == 3


def test_a_third_party_pays_and_may_be_named(world: World) -> None:
    inbound(world, "standard", inbound_payment_type="THIRD_PARTY", inbound_payment_account="987654321")
    make(world)
    world.sync()
    payment = body(world)["requestedShipment"]["shippingChargesPayment"]
    assert payment["paymentType"] == "THIRD_PARTY"
    assert payment["payor"]["responsibleParty"]["accountNumber"]["value"] == "987654321"


def test_what_is_missing_is_said_before_anything_is_bought(world: World) -> None:
    inbound(world, "standard", supplier_phone=None)
    make(world)
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == ("failed", "supplier_incomplete") and "phone" in transfer.message
    make(world, VendorNo="V9999")
    world.sync()
    assert set(Transfer.objects.values_list("code", flat=True)) == {"supplier_incomplete"}
    change(world, "ifs", supplier_address={"service": "NoSuchHandling"})
    make(world)
    world.sync()
    assert Transfer.objects.latest("pk").code == "unknown_projection" and not Pause.objects.exists()
    assert creates(world) == 0


def test_a_site_without_an_address_receives_nothing(world: World) -> None:
    inbound(world, "standard")
    world.configure(lambda doc: doc["connections"][0]["company_codes"][0]["sites"][0].update(address=None))
    make(world)
    world.sync()
    pause = Pause.objects.get()
    assert (pause.scope, pause.code) == ("site", "delivery_site_incomplete") and creates(world) == 0


def test_no_weight_waits_for_a_person(world: World) -> None:
    inbound(world, "custom")
    make(world, weights=False)
    world.sync()
    assert Transfer.objects.get().code == "weight_missing" and creates(world) == 0


def test_ship_date_status_and_expected_arrival_stand_on_the_order(world: World) -> None:
    inbound(world, "custom", write_ship_date=True)
    [number] = make(world)
    world.sync()
    assert header(world, number)["Cf_Ship_Date"]
    world.fedex.scan(masters(world)[0], "PU")
    Shipment.objects.update(next_track_at=clock.at(-1))
    tracking.track(world.integration)
    world.work()
    row = header(world, number)
    assert row["Cf_Delivery_Status"] == "picked_up" and row["Cf_Estimated_Arrival"]


def test_a_void_takes_the_number_from_header_and_lines(world: World) -> None:
    inbound(world, "custom")
    [number] = make(world)
    world.sync()
    shipments.void_request(Shipment.objects.get(), then="clear", actor="ann", reason="supplier delivers")
    world.work()
    assert header(world, number)["Cf_Tracking_No"] is None and line(world, number)["Cf_Tracking_No"] is None
    assert Shipment.objects.get().state == "voided"


def test_freight_cost_is_not_written_to_a_customer_order(world: World) -> None:
    inbound(world, "standard", freight_charge=True)
    make(world)
    world.sync()
    assert world.states() == {"done": 1} and world.ifs.charges() == []


def test_the_profiles_pass_the_ping(world: World) -> None:
    inbound(world, "custom")
    make(world)
    layers = ping(world.integration.source).layers
    assert {layer.state for layer in layers} <= {"ok", "warning"}, [layer for layer in layers if layer.state == "failed"]
    states = {layer.layer: layer.state for layer in layers}
    assert (
        states["purchase orders: profile"]
        == states["purchase order lines: profile"]
        == states["supplier addresses: read"]
        == "ok"
    )


@pytest.mark.parametrize("side", ["carrier", "erp"])
def test_every_tenth_answer_lost_ships_nothing_twice(world: World, settings: Any, side: str) -> None:
    small(settings)
    inbound(world, "custom")
    options(world, adopted_label="accept")
    make(world, 30)
    end = world.fedex.fault if side == "carrier" else world.ifs.fault
    lost = end("lost_answer", CREATE_LINE if side == "carrier" else "PATCH", every=10, times=None)
    world.sync(wait_s=3)
    settle(world)
    assert lost.used >= 3 and creates(world) == 30 == world.labels()
    assert world.states() == {"done": 30}
    rows = world.ifs.state["tenants"]["custom"]["rows"]
    for entity in ("PurchaseOrder", "PurchaseOrderLine"):
        assert sorted(row["Cf_Tracking_No"] for row in rows[entity].values()) == sorted(masters(world))

"""One shipment carried all the way, and the same again: the plain case of every promise."""

from __future__ import annotations

import pytest

from connector.models import AuditEntry, Connection, Label, Reference, Shipment, Step
from connector.services import audit
from tests.flows.support import options
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_ready_shipment_gets_a_label_and_its_number_stands_in_ifs(world: World) -> None:
    [shipment_id] = world.ready()
    result = world.sync()
    assert (result.seen, result.new) == (1, 1)
    assert world.labels() == 1
    [made] = world.fedex.shipments()
    assert world.numbers() == {shipment_id: made.master}
    shipment = Shipment.objects.get()
    assert shipment.master_tracking_number == made.master
    assert shipment.cost is not None and shipment.cost > 0 and shipment.currency == "USD"
    assert (shipment.cost_center, shipment.freight_account) == ("CC-100", "6400")
    assert shipment.written_at is not None
    label = Label.objects.get()
    assert bytes(label.data).startswith(b"%PDF") and label.readable
    assert Reference.objects.filter(kind="our_reference", value__startswith="ML").exists()
    assert [s.name for s in Step.objects.order_by("position")] == ["read", "map", "last look", "buy label", "write tracking"]
    assert list(audit.verify()) == []
    acts = list(AuditEntry.objects.filter(chain__startswith="record:").order_by("pk").values_list("act", flat=True))
    assert acts == ["intent", "bought", "written", "done"]
    assert None not in Connection.objects.values_list("last_good_at", flat=True), "both systems answered well"


def test_polling_and_working_again_does_nothing_more(world: World) -> None:
    world.ready(3)
    world.sync()
    creates, patches = world.calls("POST /ship/v1/shipments"), world.calls("PATCH")
    for _ in range(3):
        result = world.sync()
        assert (result.new, result.changed) == (0, 0)
    assert (world.calls("POST /ship/v1/shipments"), world.calls("PATCH")) == (creates, patches) == (3, 3)


def test_vendor_calls_stay_inside_the_budget(world: World) -> None:
    world.ready(40)
    world.poll()
    world.ifs.counts.clear()
    world.fedex.counts.clear()
    world.work()
    assert world.calls("POST /ship/v1/shipments") == 40
    assert world.calls("GET ShipmentHandling.svc/ShipmentSet(key)") == 40
    assert world.calls("PATCH") == 40
    batched = world.calls("GET") - 40
    assert batched <= 8, world.ifs.counts
    assert world.calls("/track/") == 0


def test_several_packages_make_one_shipment_with_a_label_each(world: World) -> None:
    [shipment_id] = world.ready(handling_units=3)
    world.sync()
    [made] = world.fedex.shipments()
    assert len(made.tracking_numbers) == 3
    assert Label.objects.count() == 3
    assert world.numbers() == {shipment_id: made.master}


@pytest.mark.parametrize("rates", [False, True])
def test_a_fraction_anywhere_in_the_record_stops_nothing(world: World, rates: bool) -> None:
    """IFS's numbers are read exactly, so a record as it came holds decimals; what is kept of it is JSON."""
    options(world, rates=rates)
    [shipment_id] = world.ready(ManualVolume=0.375, ManualGrossWeight=12.5)
    world.sync()
    assert world.states() == {"done": 1}, world.transfer(shipment_id).message
    assert world.numbers() and Step.objects.get(name="read").result["raw"]["ManualVolume"] == "0.375"

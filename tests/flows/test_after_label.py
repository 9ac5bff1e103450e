"""After the label: edits, cancellations, voids, buying again; and records that ship later without a click."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, Reference, Shipment, SourceRecord, Transfer
from connector.services import audit, shipments, transfers
from connector.services.shipments import NotPossible
from tests.flows.support import creates, due_now, edit, later, masters, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86400.0


@pytest.fixture
def shipped(world: World, settings: Any) -> World:
    """One shipment, carried all the way; `world.one` is its id."""
    small(settings)
    [world.one] = world.ready()  # type: ignore[attr-defined]
    world.sync()
    assert world.states() == {"done": 1}
    return world


def ship_transfer() -> Transfer:
    """The newest transfer of flow ship."""
    return Transfer.objects.filter(flow="ship").latest("pk")


# -- changed after the label -------------------------------------------------------------------------


def test_our_own_write_is_no_change(shipped: World) -> None:
    for _ in range(3):
        result = shipped.sync()
        assert result.changed == 0
    later(shipped, DAY + 60)
    shipped.sync()
    assert ship_transfer().attention is None
    record = SourceRecord.objects.get()
    assert record.version_seen == record.version_handled == shipped.ifs.shipment("standard", shipped.one)["@odata.etag"]


@pytest.mark.parametrize(
    "columns",
    [
        {"ReceiverZipCode": "99501"},
        {"ReceiverAddress1": "2 Other Street"},
        {"ShipViaCode": "FDX-2DAY"},
        {"ReceiverCountry": "NARNIA"},
    ],
)
def test_an_edit_that_matters_is_noted_once_and_buys_nothing(shipped: World, columns: dict[str, Any]) -> None:
    edit(shipped, shipped.one, **columns)
    assert shipped.sync().changed == 1
    transfer = ship_transfer()
    assert (transfer.state, transfer.attention) == ("done", "changed_after_label")
    shipped.sync()
    assert AuditEntry.objects.filter(act="attention").count() == 1
    assert creates(shipped) == 1
    assert transfers.acknowledge(transfer, actor="ann", reason="spoke to FedEx").done
    shipped.sync()
    assert ship_transfer().attention is None, "looked at is looked at"
    later(shipped, DAY + 60)
    shipped.sync()
    assert ship_transfer().attention is None, "also for the daily recheck"
    edit(shipped, shipped.one, ReceiverCity="Elsewhere")
    shipped.sync()
    assert ship_transfer().attention == "changed_after_label", "another edit is another matter"


def test_an_edit_that_does_not_matter_is_taken_over_silently(shipped: World) -> None:
    edit(shipped, shipped.one, NoteText="gift wrap")
    assert shipped.sync().changed == 0
    assert ship_transfer().attention is None


def test_option_ignore_takes_every_edit_over(shipped: World) -> None:
    options(shipped, on_change="ignore")
    edit(shipped, shipped.one, ReceiverZipCode="99501")
    shipped.sync()
    assert ship_transfer().attention is None


def test_a_handling_unit_changed_after_the_label_is_found_by_the_daily_recheck(shipped: World) -> None:
    """Its weight stands in another record, so the shipment's own version does not move."""
    shipped.ifs.edit("standard", "HandlingUnits", {"HandlingUnitId": shipped.one * 100 + 1}, {"OperativeGrossWeight": 44})
    later(shipped, DAY + 60)
    shipped.sync()
    assert ship_transfer().attention == "changed_after_label"


def test_cancelled_after_the_label_is_found_by_the_daily_recheck(shipped: World) -> None:
    """It has left the ready states: the poll does not see it any more."""
    edit(shipped, shipped.one, Objstate="Cancelled")
    shipped.sync()
    assert ship_transfer().attention is None
    later(shipped, DAY + 60)
    shipped.sync()
    assert ship_transfer().attention == "cancelled_after_label"
    assert shipped.labels() == 1, "voiding is a person's decision"


# -- records that could not ship ---------------------------------------------------------------------


def test_a_failed_record_edited_in_ifs_ships_at_the_next_poll(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    assert world.transfer(shipment_id).code == "unmapped_service"
    world.sync()
    assert world.states() == {"failed": 1}
    edit(world, shipment_id, ShipViaCode="FDX-GND")
    assert world.sync().changed == 1
    assert world.states() == {"done": 1} and sorted(world.numbers()) == [shipment_id]
    assert creates(world) == 1


def test_a_skipped_record_whose_forwarder_changes_ships(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready(1, ForwardAgentId="UPS")
    world.sync()
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.code) == ("skipped", "other_carrier")
    assert "UPS" in transfer.message
    edit(world, shipment_id, NoteText="hurry")
    world.sync()
    assert world.transfer(shipment_id).state == "skipped" and creates(world) == 0
    edit(world, shipment_id, ForwardAgentId="FEDEX")
    world.sync()
    assert world.transfer(shipment_id).state == "done"
    assert sorted(world.numbers()) == [shipment_id] and creates(world) == 1


def test_a_cancelled_record_that_is_wanted_again_ships(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.poll()
    edit(world, shipment_id, AirwayBillNo="BY-HAND")
    world.sync()
    assert world.transfer(shipment_id).code == "has_tracking_number"
    edit(world, shipment_id, AirwayBillNo=None)
    world.sync()
    assert world.transfer(shipment_id).state == "done" and creates(world) == 1


def test_replay_of_failed_after_mending_the_value_map(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready(1, ShipViaCode="ROAD-X")
    world.sync()

    def mend(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["value_maps"]["service"]["ROAD-X"] = "FEDEX_GROUND"

    world.configure(mend)
    transfer = world.transfer(shipment_id)
    assert transfers.replay(transfer, actor="ann").done
    world.work()
    assert world.transfer(shipment_id).state == "done"
    assert not transfers.replay(world.transfer(shipment_id), actor="ann").done, "done: nothing to do"
    assert creates(world) == 1


# -- void --------------------------------------------------------------------------------------------


def void(world: World, *, then: str = "clear") -> Transfer:
    """Ann voids the live shipment."""
    return shipments.void_request(Shipment.objects.get(state="active"), then=then, actor="ann", reason="wrong parcel")


def test_void_cancels_at_fedex_and_clears_our_number(shipped: World) -> None:
    void(shipped)
    shipped.work()
    assert shipped.labels() == 0 and shipped.numbers() == {}
    shipment = Shipment.objects.get()
    assert shipment.state == "voided" and shipment.voided_at
    assert not shipment.packages.filter(voided=False).exists()
    assert list(audit.verify()) == []
    assert Reference.objects.filter(value=shipment.master_tracking_number).exists(), "still to be found by its number"


def test_void_needs_a_reason_and_happens_once(shipped: World) -> None:
    with pytest.raises(NotPossible, match="reason"):
        shipments.void_request(Shipment.objects.get(), then="clear", actor="ann", reason=" ")
    void(shipped)
    with pytest.raises(NotPossible, match="voided"):
        shipments.void_request(Shipment.objects.get(), then="clear", actor="bob", reason="me too")
    shipped.work()
    with pytest.raises(NotPossible, match="voided"):
        shipments.void_request(Shipment.objects.get(), then="clear", actor="bob", reason="me too")


def test_void_leaves_a_number_that_is_somebody_elses(shipped: World) -> None:
    edit(shipped, shipped.one, AirwayBillNo="BY-HAND")
    void(shipped)
    shipped.work()
    assert shipped.labels() == 0
    assert shipped.numbers() == {shipped.one: "BY-HAND"}


def test_a_void_refused_after_pickup_fails_with_advice_and_the_shipment_stays(shipped: World) -> None:
    shipped.fedex.scan(masters(shipped)[0], "PU")
    transfer = void(shipped)
    shipped.work()
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code) == ("failed", "void_too_late")
    assert transfer.remedy
    assert shipped.labels() == 1
    assert list(shipped.numbers().values()) == masters(shipped), "its number stays in IFS"
    assert Shipment.objects.get().state != "voided" and not SourceRecord.objects.get().held
    assert transfers.cancel(transfer, actor="ann", reason="too late").done
    assert Shipment.objects.get().state == "active"


def test_a_void_whose_answer_is_lost_is_repeated(shipped: World) -> None:
    lost = shipped.fedex.fault("lost_answer", "PUT /ship/v1/shipments/cancel", times=4)
    void(shipped)
    settle(shipped)
    assert lost.used >= 1
    assert shipped.labels() == 0 and shipped.numbers() == {}
    assert Shipment.objects.get().state == "voided"
    assert shipped.fedex.state["counts"]["voided"] == 1


def test_the_clearing_that_fails_is_finished_by_itself(shipped: World) -> None:
    shipped.ifs.fault("status", "PATCH", times=2, status=503, body="")
    void(shipped)
    settle(shipped)
    assert shipped.numbers() == {}
    assert shipped.calls("PUT /ship/v1/shipments/cancel") == 1, "cancelled once, cleared later"


def test_after_a_void_the_record_does_not_ship_by_itself(shipped: World) -> None:
    void(shipped)
    shipped.work()
    for columns in ({"NoteText": "x"}, {"ReceiverZipCode": "60601"}, {"ShipViaCode": "FDX-2DAY"}):
        edit(shipped, shipped.one, **columns)
        shipped.sync()
        later(shipped, DAY + 60)
        shipped.sync()
    assert creates(shipped) == 1 and shipped.labels() == 0 and shipped.numbers() == {}


def test_buy_again_ships_with_what_stands_in_ifs_now(shipped: World) -> None:
    with pytest.raises(NotPossible, match="not been voided"):
        shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="again")
    void(shipped)
    shipped.work()
    edit(shipped, shipped.one, ReceiverZipCode="60601")
    with pytest.raises(NotPossible, match="reason"):
        shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="")
    shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="repacked")
    with pytest.raises(NotPossible):
        shipments.buy_again(SourceRecord.objects.get(), actor="bob", reason="repacked too")
    shipped.work()
    assert shipped.labels() == 1 and creates(shipped) == 2
    assert shipped.numbers() == {shipped.one: masters(shipped)[0]}
    [old, new] = shipped.fedex.shipments()
    assert old.voided and new.recipient["address"]["postalCode"] == "60601"
    assert set(old.references) != set(new.references), "another reference for another purchase"
    assert list(Shipment.objects.order_by("pk").values_list("generation", "state")) == [(1, "voided"), (2, "active")]
    shipped.sync()
    assert ship_transfer().attention is None and creates(shipped) == 2


def test_buy_again_looks_before_it_buys(shipped: World) -> None:
    void(shipped)
    shipped.work()
    edit(shipped, shipped.one, Objstate="Cancelled")
    shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="repacked")
    shipped.work()
    assert (ship_transfer().state, ship_transfer().code) == ("cancelled", "cancelled_in_erp")
    assert creates(shipped) == 1


def test_void_and_buy_again_ends_with_the_new_number_in_ifs(shipped: World) -> None:
    [old] = masters(shipped)
    edit(shipped, shipped.one, ReceiverZipCode="60601")
    shipped.sync()
    assert ship_transfer().attention == "changed_after_label"
    void(shipped, then="rebuy")
    shipped.work()
    [new] = masters(shipped)
    assert new != old and shipped.labels() == 1
    assert shipped.numbers() == {shipped.one: new}
    history = shipped.ifs.history("standard", "ShipmentSet", {"ShipmentId": shipped.one})
    ours = [h["new"] for h in history if h["user"] == "MLC" and h["field"] == "AirwayBillNo"]
    assert ours == [old, new], "replaced, not cleared in between"
    assert list(audit.verify()) == []


def test_void_and_buy_again_with_every_answer_lost_once(shipped: World) -> None:
    void(shipped, then="rebuy")
    shipped.fedex.fault("lost_answer", "PUT /ship/v1/shipments/cancel")
    shipped.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    shipped.ifs.fault("lost_answer", "PATCH")
    shipped.work(wait_s=1)
    settle(shipped, wait_s=0.5)
    due_now(shipped)
    assert shipped.labels() == 1
    assert shipped.numbers() == {shipped.one: masters(shipped)[0]}
    assert creates(shipped) == 2


def test_a_void_is_refused_while_the_purchase_is_in_doubt(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.sync()
    void(world)
    world.work()
    shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="again")
    world.fedex.options(references_visible_after_s=600)
    world.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    world.work()
    assert world.transfer(shipment_id).state == "in_doubt"
    with pytest.raises(NotPossible):
        shipments.buy_again(SourceRecord.objects.get(), actor="ann", reason="again")
    later(world, 601)
    due_now(world)
    assert world.labels() == 1 and world.numbers() == {shipment_id: masters(world)[0]}
    assert creates(world) == 2


def test_a_void_that_is_given_up_still_writes_the_number_that_was_not_written(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=3000.0, RETRY_CAP_S=3000.0)
    [one] = world.ready()
    world.ifs.fault("status", "PATCH", status=503, body="")
    world.sync()
    assert world.labels() == 1 and world.numbers() == {}
    shipment = Shipment.objects.get()
    transfer = shipments.void_request(shipment, then="clear", actor="ann", reason="wrong box")
    transfers.cancel(transfer, actor="ann", reason="right box after all")
    shipment.refresh_from_db()
    assert shipment.state == "active"
    world.work()
    assert world.numbers() == {one: masters(world)[0]}
    assert world.labels() == 1 and creates(world) == 1
    assert list(audit.verify()) == []

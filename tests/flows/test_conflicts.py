"""Somebody else writes to the same record: versions that move, fields that are filled, and who has the last word."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest

from connector.models import AuditEntry, Shipment, Transfer
from connector.services import audit, shipments, transfers
from connector.services.engine import outcomes
from connector.services.shipments import NotPossible
from integrations.flows import mapping
from integrations.ifs_cloud.adapter import IfsCloud
from tests.flows.support import creates, due_now, edit, masters, one_group, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

BY_HAND = "BY-HAND-77"


def test_a_412_is_answered_by_a_fresh_read_and_another_try(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.ifs.fault("412_once", "PATCH")
    world.sync()
    assert world.states() == {"done": 1}
    assert world.calls("PATCH") == 2
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_three_412_running_are_a_conflict_that_is_retried_and_written_at_last(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    [shipment_id] = world.ready()
    world.ifs.fault("412_once", "PATCH", times=3)
    world.sync()
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.code, transfer.attempts) == ("waiting", "version_moved", 1)
    assert transfer.error["class"] == "Conflict"
    assert world.numbers() == {} and world.labels() == 1
    due_now(world)
    assert world.transfer(shipment_id).state == "done"
    assert world.numbers() == {shipment_id: masters(world)[0]}
    assert creates(world) == 1


def test_a_record_that_never_stands_still_fails_after_ten_attempts_with_its_label_kept(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    [shipment_id] = world.ready()
    world.ifs.fault("412_once", "PATCH", times=None)
    world.sync()
    for _ in range(9):
        due_now(world)
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.attempts) == ("failed", 9)
    world.ifs.faults.clear()
    world.ifs._waiting.clear()
    assert transfers.replay(transfer, actor="ann").done
    world.work()
    assert world.numbers() == {shipment_id: masters(world)[0]}
    assert creates(world) == 1


def test_ora_20114_is_a_moved_version_too(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.ifs.fault("ora_20114", "PATCH")
    world.sync()
    assert world.numbers() == {shipment_id: masters(world)[0]}
    assert world.states() == {"done": 1}


def between_read_and_write(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Have `act` done just before our write-back begins."""
    real = IfsCloud.write_tracking
    done: list[bool] = []

    def write(self: IfsCloud, key: str, told: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return real(self, key, told)

    monkeypatch.setattr(IfsCloud, "write_tracking", write)


def test_an_edit_of_another_field_survives_our_write(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small(settings)
    [shipment_id] = world.ready()
    between_read_and_write(monkeypatch, lambda: edit(world, shipment_id, NoteText="leave at dock 4"))
    world.ifs.fault("412_once", "PATCH")
    world.sync()
    row = world.ifs.shipment("standard", shipment_id)
    assert row["AirwayBillNo"] == masters(world)[0]
    history = world.ifs.history("standard", "ShipmentSet", {"ShipmentId": shipment_id})
    ours = [h["field"] for h in history if h["user"] == "MLC"]
    assert ours == ["AirwayBillNo"], "we write our field and nothing else"
    assert [h["new"] for h in history if h["user"] == "ALICE"][0] == "leave at dock 4"


def conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Transfer]:
    """A shipment whose tracking field somebody fills while we buy."""
    [shipment_id] = world.ready()
    between_read_and_write(monkeypatch, lambda: edit(world, shipment_id, AirwayBillNo=BY_HAND))
    world.sync()
    return shipment_id, world.transfer(shipment_id)


def test_an_edit_of_our_field_fails_with_both_values(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small(settings)
    shipment_id, transfer = conflict(world, monkeypatch)
    assert (transfer.state, transfer.code) == ("failed", "field_conflict")
    assert (transfer.error["theirs"], transfer.error["ours"]) == (BY_HAND, masters(world)[0])
    assert BY_HAND in transfer.message and masters(world)[0] in transfer.message
    assert world.numbers() == {shipment_id: BY_HAND}, "never overwritten without a decision"
    assert Shipment.objects.get().written_at is None


def test_keep_theirs(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small(settings)
    shipment_id, transfer = conflict(world, monkeypatch)
    transfers.decide_field(transfer, keep="theirs", actor="ann", reason="shipped by hand")
    world.work()
    assert world.transfer(shipment_id).state == "done"
    assert world.numbers() == {shipment_id: BY_HAND}
    step = transfer.steps.get(name="write tracking")
    assert step.state == "skipped" and "ann" in step.note
    assert Shipment.objects.get().written_at is None, "our number was not written, and nothing says so"
    [entry] = AuditEntry.objects.filter(act="decided_field")
    assert (entry.facts["keep"], entry.facts["theirs"], entry.actor) == ("theirs", BY_HAND, "ann")
    assert creates(world) == 1
    world.poll()
    world.work()
    assert world.numbers() == {shipment_id: BY_HAND}


def test_write_ours(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small(settings)
    shipment_id, transfer = conflict(world, monkeypatch)
    with pytest.raises(ValueError, match="theirs"):
        transfers.decide_field(transfer, keep="both", actor="ann", reason="x")
    transfers.decide_field(transfer, keep="ours", actor="ann", reason="theirs is a typing error")
    world.work()
    assert world.transfer(shipment_id).state == "done"
    assert world.numbers() == {shipment_id: masters(world)[0]}
    assert creates(world) == 1
    with pytest.raises(NotPossible):
        transfers.decide_field(world.transfer(shipment_id), keep="ours", actor="ann", reason="again")


def test_a_field_filled_with_our_own_number_is_no_conflict(world: World, settings: Any) -> None:
    """Somebody types our number from the label before we write it."""
    small(settings)
    [shipment_id] = world.ready()
    world.ifs.fault("412_ours:same", "PATCH")
    world.sync()
    settle(world)
    assert world.states() == {"done": 1}
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_replaying_a_transfer_superseded_by_a_void_writes_nothing(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed transfer with a label, voided by a person, replayed later: the voided number must not reach IFS."""
    small(settings)
    shipment_id, transfer = conflict(world, monkeypatch)
    edit(world, shipment_id, AirwayBillNo=None)
    shipments.void_request(Shipment.objects.get(), then="clear", actor="ann", reason="wrong parcel")
    world.work()
    assert world.labels() == 0
    transfer.refresh_from_db()
    assert (transfer.state, transfer.code) == ("cancelled", "superseded")
    with suppress(NotPossible):
        transfers.replay(transfer, actor="bob")
    world.work()
    assert world.numbers() == {}, "the number of a voided label"
    assert creates(world) == 1


def test_the_retry_waits_grow_and_are_capped(settings: Any) -> None:
    settings.ENGINE = {**settings.ENGINE, "RETRY_BASE_S": 30.0, "RETRY_CAP_S": 900.0}
    for attempt in range(12):
        waits = [outcomes.backoff_s(attempt) for _ in range(200)]
        ceiling = min(30 * 2**attempt, 900)
        assert 0 < min(waits) < max(waits) <= ceiling
        assert max(waits) > ceiling * 0.7 and min(waits) < ceiling * 0.4, "full jitter"


def test_a_stale_read_starts_again_from_the_first_read(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read longer ago than FRESH_S is not acted on; nothing is counted as an attempt."""
    small(settings, FRESH_S=0.3)
    [shipment_id] = world.ready()
    real = mapping.request_of
    seen: list[str] = []

    def slow(context: Any, document: Any, goods: Any) -> Any:
        seen.append(document.recipient.postal_code)
        if len(seen) == 1:
            edit(world, shipment_id, ReceiverZipCode="60607")
            time.sleep(0.4)
        return real(context, document, goods)

    monkeypatch.setattr(mapping, "request_of", slow)
    world.sync()
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.attempts, transfer.epoch) == ("done", 0, 1)
    assert len(seen) == 2 and seen[1] == "60607"
    [made] = world.fedex.shipments()
    assert made.recipient["address"]["postalCode"] == "60607", "bought with what stands in IFS now"
    assert creates(world) == 1
    assert list(audit.verify()) == []


def test_a_prefetched_value_that_grew_old_is_read_again(world: World, settings: Any) -> None:
    small(settings, FRESH_S=0.25)
    world.ready(12)
    world.poll()
    world.fedex.fault("delay", "POST /ship", times=None, seconds=0.15)
    one_group(world, threads=1)
    world.work()
    assert world.states() == {"done": 12}
    assert world.labels() == 12 and creates(world) == 12
    reads = sum(n for k, n in world.ifs.counts.items() if k == "GET ShipmentHandling.svc/ShipmentSet")
    assert reads > 6, "more than one batched read and a poll"

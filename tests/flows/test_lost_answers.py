"""Answers that get lost after the work was done: three hundred shipments, counted at FedEx and in IFS."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, EffectSend, Label, Shipment, Transfer
from connector.services import audit
from tests.flows.support import CREATE_LINE, change, creates, masters, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 300


def nothing_bought_twice(world: World, count: int) -> None:
    """`count` live shipments, one per IFS shipment, and their numbers in IFS."""
    assert world.labels() == count
    by_reference = [m for ref, m in world.fedex.made_by_reference().items() if ref.startswith("ML")]
    assert all(len(found) == 1 for found in by_reference), "one reference, one shipment"
    numbers = world.numbers()
    assert len(numbers) == count and sorted(numbers.values()) == sorted(masters(world))


def test_every_tenth_answer_of_fedex_lost_is_adopted_and_asked_about(world: World, settings: Any) -> None:
    small(settings)
    world.ready(MANY)
    lost = world.fedex.fault("lost_answer", CREATE_LINE, every=10, times=None)
    world.sync(wait_s=3)
    assert lost.used == MANY // 10
    assert creates(world) == MANY, "no request is ever sent again"
    nothing_bought_twice(world, MANY)
    assert world.states() == {"done": MANY}
    adopted = Shipment.objects.filter(adopted=True)
    assert adopted.count() == MANY // 10
    assert set(adopted.values_list("cost", "cost_kind")) == {(None, "unknown")}
    marked = Transfer.objects.filter(attention="label_missing")
    assert set(marked.values_list("record")) == set(adopted.values_list("record"))
    assert Label.objects.count() == MANY - MANY // 10
    assert AuditEntry.objects.filter(act="adopted").count() == MANY // 10
    assert list(audit.verify()) == []


def test_accepting_adopted_shipments_raises_no_attention(world: World, settings: Any) -> None:
    small(settings)
    options(world, adopted_label="accept")
    world.ready(40)
    world.fedex.fault("lost_answer", CREATE_LINE, every=10, times=None)
    world.sync(wait_s=3)
    nothing_bought_twice(world, 40)
    assert Shipment.objects.filter(adopted=True).count() == 4
    assert not Transfer.objects.filter(attention__isnull=False).exists()


def test_void_and_rebuy_ends_with_one_live_label_and_its_file_each(world: World, settings: Any) -> None:
    small(settings)
    options(world, adopted_label="void_and_rebuy")
    world.ready(MANY)
    lost = world.fedex.fault("lost_answer", CREATE_LINE, every=10, times=None)
    world.sync(wait_s=3)
    settle(world, wait_s=1)
    assert lost.used >= MANY // 10
    nothing_bought_twice(world, MANY)
    live = Shipment.objects.filter(state="active")
    assert live.count() == MANY
    assert not live.filter(packages__label__isnull=True).exists()
    assert {m for m in live.values_list("master_tracking_number", flat=True)} == set(masters(world))
    assert not Transfer.objects.filter(attention__isnull=False).exists()
    assert not Transfer.objects.exclude(state="done").exists()
    assert Shipment.objects.filter(state="voided").count() == lost.used == len(world.fedex.shipments()) - MANY


def test_every_tenth_answer_of_ifs_to_the_write_lost_changes_nothing(world: World, settings: Any) -> None:
    small(settings)
    world.ready(MANY)
    lost = world.ifs.fault("lost_answer", "PATCH", every=10, times=None)
    world.sync()
    settle(world)
    assert lost.used >= MANY // 10
    assert creates(world) == MANY
    nothing_bought_twice(world, MANY)
    assert world.states() == {"done": MANY}
    assert not Shipment.objects.filter(written_at__isnull=True).exists()
    assert list(audit.verify()) == []


def test_an_answer_lost_twice_at_once_is_still_one_shipment(world: World, settings: Any) -> None:
    """FedEx's answer is lost, the first look-up's too, and then IFS's answer to the write."""
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.fedex.fault("lost_answer", "/track/", times=4)
    world.ifs.fault("lost_answer", "PATCH")
    world.sync(wait_s=3)
    settle(world, wait_s=2)
    assert creates(world) == 1
    assert world.numbers() == {shipment_id: masters(world)[0]}
    send = EffectSend.objects.get()
    assert (send.outcome, send.number) == ("done", 1)


def test_a_lost_answer_with_three_packages_is_one_shipment_of_three(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready(handling_units=3)
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync(wait_s=3)
    [made] = world.fedex.shipments()
    assert len(made.tracking_numbers) == 3
    assert world.numbers() == {shipment_id: made.master}
    shipment = Shipment.objects.get()
    assert set(shipment.packages.values_list("tracking_number", flat=True)) == set(made.tracking_numbers)


def test_a_slow_answer_is_lost_by_the_total_deadline_and_adopted(world: World, settings: Any) -> None:
    """An answer that drips for longer than `timeouts.total_s`, though every single read is quick."""
    small(settings)
    change(world, "fedex", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1.5})
    [shipment_id] = world.ready()
    world.fedex.fault("drip", CREATE_LINE, seconds=0.2)
    world.sync(wait_s=4)
    assert creates(world) == 1
    assert world.numbers() == {shipment_id: masters(world)[0]}
    assert Shipment.objects.get().adopted

"""Purchases whose label does not come with the answer: accepted as a job, or found again after a lost answer.

The simulated FedEx answers any size of shipment with a job here (`async_above`), the real one only large ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, Label, Package, Shipment
from connector.services import audit, shipments, transfers
from connector.services.shipments import NotPossible
from tests.flows.support import CREATE_LINE, creates, due_now, later, look_ups, masters, options, send_of, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

RESULTS = "POST /ship/v1/shipments/results"


@pytest.fixture
def jobs(world: World, settings: Any) -> World:
    small(settings)
    world.fedex.options(async_above=0, async_ready_after_s=60)
    return world


def test_an_accepted_job_is_asked_for_until_its_labels_are_there(jobs: World) -> None:
    [one] = jobs.ready(handling_units=2)
    jobs.sync()
    transfer = jobs.transfer(one)
    assert (transfer.state, transfer.code, send_of(transfer).outcome) == ("waiting", "pending", "pending")
    assert jobs.numbers() == {} and not Shipment.objects.exists(), "nothing is claimed before FedEx says so"
    with pytest.raises(NotPossible):
        transfers.cancel(transfer, actor="ann")
    due_now(jobs)
    assert jobs.transfer(one).code == "pending" and jobs.calls(RESULTS) == 1
    later(jobs, 61)
    due_now(jobs)
    assert jobs.states() == {"done": 1} and creates(jobs) == 1
    [made] = jobs.fedex.shipments()
    assert jobs.numbers() == {one: made.master}
    assert set(Package.objects.values_list("tracking_number", flat=True)) == set(made.tracking_numbers)
    assert Label.objects.filter(readable=True).count() == 2 and Shipment.objects.get().cost
    assert look_ups(jobs) == 0 and list(audit.verify()) == []


@pytest.mark.parametrize("fault", ["lost_answer", "status"])
def test_a_question_about_a_job_that_fails_is_asked_again(jobs: World, fault: str) -> None:
    [one] = jobs.ready()
    jobs.sync()
    later(jobs, 61)
    jobs.fedex.fault(fault, RESULTS, times=4, **({"status": 503, "body": ""} if fault == "status" else {}))
    for _ in range(6):
        due_now(jobs)
    assert jobs.states() == {"done": 1} and creates(jobs) == 1
    assert jobs.numbers() == {one: masters(jobs)[0]}


def test_a_lost_answer_of_an_accepted_job_is_found_by_its_reference(jobs: World) -> None:
    """Neither number nor job are known then: what was made is found as any other."""
    options(jobs, adopted_label="accept")
    [one] = jobs.ready()
    jobs.fedex.fault("lost_answer", CREATE_LINE)
    jobs.sync(wait_s=2)
    due_now(jobs)
    assert jobs.states() == {"done": 1} and creates(jobs) == 1
    assert jobs.numbers() == {one: masters(jobs)[0]} and Shipment.objects.get().adopted


def test_a_job_that_fedex_does_not_know_is_a_doubt_and_is_looked_up(jobs: World) -> None:
    options(jobs, adopted_label="accept")
    [one] = jobs.ready()
    jobs.sync()
    jobs.fedex.state["jobs"].clear()
    for _ in range(3):
        due_now(jobs)
    assert jobs.states() == {"done": 1} and creates(jobs) == 1, "never sent again"
    assert look_ups(jobs) >= 1 and jobs.numbers() == {one: masters(jobs)[0]}


# -- labels lost with the answer -----------------------------------------------------------------------


def adopted(world: World, choice: str | None, packages: int = 2) -> int:
    """One shipment whose answer was lost."""
    if choice is not None:
        options(world, adopted_label=choice)
    [one] = world.ready(handling_units=packages)
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync(wait_s=2)
    for _ in range(2):
        due_now(world)
    return one


@pytest.mark.parametrize("choice", [None, "ask"])
def test_ask_writes_the_number_and_leaves_the_label_to_a_person(world: World, settings: Any, choice: str | None) -> None:
    small(settings)
    one = adopted(world, choice)
    transfer = world.transfer(one)
    assert (transfer.state, transfer.attention) == ("done", "label_missing")
    assert world.numbers() == {one: masters(world)[0]}, "the number is safe and written"
    assert Label.objects.count() == 0 and Shipment.objects.get().adopted
    shipments.void_request(Shipment.objects.get(), then="rebuy", actor="ann", reason="no label to print")
    world.work()
    assert world.labels() == 2 and creates(world) == 2 and Label.objects.count() == 2
    assert world.numbers() == {one: masters(world)[0]}


def test_accept_writes_the_number_and_asks_nobody(world: World, settings: Any) -> None:
    small(settings)
    one = adopted(world, "accept")
    transfer = world.transfer(one)
    assert (transfer.state, transfer.attention) == ("done", None)
    assert world.numbers() == {one: masters(world)[0]} and creates(world) == 1 and world.labels() == 2


def test_void_and_rebuy_ends_with_one_printable_shipment(world: World, settings: Any) -> None:
    small(settings)
    one = adopted(world, "void_and_rebuy")
    world.work()
    [old, new] = world.fedex.shipments()
    assert old.voided and not new.voided and creates(world) == 2
    assert world.numbers() == {one: new.master} and world.labels() == 2
    assert Label.objects.filter(package__shipment__state="active", readable=True).count() == 2
    written = [
        h["new"] for h in world.ifs.history("standard", "ShipmentSet", {"ShipmentId": one}) if h["field"] == "AirwayBillNo"
    ]
    assert written == [new.master], "the number of the voided one never stood in IFS"
    assert list(audit.verify()) == []


def test_void_and_rebuy_buys_nothing_when_the_void_is_refused(world: World, settings: Any) -> None:
    """FedEx has it already: a second label would be one too many."""
    small(settings)
    options(world, adopted_label="void_and_rebuy")
    [one] = world.ready()
    world.fedex.options(references_visible_after_s=600)
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    assert world.transfer(one).state == "in_doubt"
    world.fedex.scan(masters(world)[0], "PU")
    later(world, 601)
    for _ in range(3):
        due_now(world)
    assert creates(world) == 1 and world.labels() == 1
    assert (world.transfer(one).state, world.transfer(one).code) == ("failed", "void_too_late")
    assert AuditEntry.objects.filter(act="adopted").count() == 1

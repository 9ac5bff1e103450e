"""Brakes on buying, and two buyers at once for one document."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from connector.models import Effect, EffectSend, Integration, Tenant, Transfer
from connector.services import audit, clock, switches, transfers
from connector.services.engine import polling, work
from integrations.fedex.adapter import Fedex
from integrations.flows.specs import FLOWS, POLLS
from tests.flows.support import creates, due_now, later, masters, options, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

REFUSAL = '{"errors":[{"code":"SERVICE.PACKAGECOMBINATION.INVALID","message":"Invalid service and packaging."}]}'
LEVELS: dict[str, Callable[[World], Any]] = {
    "installation": lambda world: None,
    "tenant": lambda world: Tenant.objects.get(slug="acme"),
    "integration": lambda world: world.integration,
}


def stop(world: World, level: Any, on: bool, reason: str = "") -> None:
    """Put a brake on or off, as the button does."""
    switches.stop_buying(level, LEVELS[level](world), on, "ann", reason)


@pytest.mark.parametrize("level", LEVELS)
def test_stop_buying_holds_purchases_uncounted_and_lets_write_backs_go_on(world: World, settings: Any, level: str) -> None:
    small(settings, RETRY_BASE_S=3000.0, RETRY_CAP_S=3000.0)
    bought = world.ready(2)
    world.ifs.fault("status", "PATCH", times=2, status=503, body="")
    world.sync()
    assert world.states() == {"waiting": 2} and world.labels() == 2
    stop(world, level, True, "stock count")
    world.ready(5)
    world.sync()
    due_now(world)
    assert sorted(world.numbers()) == bought, "what is bought is written"
    assert world.states() == {"done": 2, "waiting": 5}
    held = Transfer.objects.filter(state="waiting")
    assert set(held.values_list("code", "attempts")) == {("stop_buying", 0)}
    assert all("stock count" in message for message in held.values_list("message", flat=True))
    assert creates(world) == 2
    later(world, 3600)
    world.sync()
    assert creates(world) == 2

    stop(world, level, False)
    world.work()
    assert world.states() == {"done": 7} and world.labels() == 7 and len(world.numbers()) == 7
    assert not Transfer.objects.filter(epoch__gt=12).exists(), "held, not spinning"


def test_the_brake_of_another_tenant_holds_nothing_here(world: World, settings: Any) -> None:
    small(settings)
    other = Tenant.objects.create(slug="other", name="Other")
    switches.stop_buying("tenant", other, True, "ann")
    world.ready(2)
    world.sync()
    assert world.states() == {"done": 2}


def test_releasing_one_of_two_brakes_still_holds(world: World, settings: Any) -> None:
    small(settings)
    stop(world, "tenant", True)
    stop(world, "integration", True)
    world.ready(2)
    world.sync()
    stop(world, "tenant", False)
    world.work()
    assert creates(world) == 0 and world.states() == {"waiting": 2}
    stop(world, "integration", False)
    world.work()
    assert world.states() == {"done": 2}


def test_look_ups_go_on_under_the_brake(world: World, settings: Any) -> None:
    small(settings)
    world.fedex.options(references_visible_after_s=60)
    [shipment_id] = world.ready()
    world.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    world.sync()
    stop(world, "installation", True)
    later(world, 61)
    due_now(world)
    assert world.states() == {"done": 1}
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_sending_again_after_a_decision_is_a_purchase_and_is_held(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("reset", "POST /ship/v1/shipments$")
    world.sync()
    later(world, 100)
    stop(world, "integration", True)
    transfers.decide_not_made(world.transfer(shipment_id), actor="ann", reason="FedEx says so")
    world.work()
    assert creates(world) == 1
    assert world.transfer(shipment_id).code == "stop_buying"
    stop(world, "integration", False)
    world.work()
    assert creates(world) == 2 and world.labels() == 1


# -- two buyers --------------------------------------------------------------------------------------


def second_integration(world: World) -> Integration:
    """Another integration over the same two connections, for the same documents."""

    def add(doc: dict[str, Any]) -> None:
        twin = copy.deepcopy(doc["integrations"][0])
        doc["integrations"].append(twin | {"slug": "acme-again", "name": "acme again"})

    world.configure(add)
    return Integration.objects.select_related("source", "target", "tenant").get(slug="acme-again")


def test_a_second_integration_for_the_same_documents_is_refused(world: World, settings: Any) -> None:
    """The first has bought and could not write yet: only the purchase itself stops the second."""
    small(settings, RETRY_BASE_S=3000.0, RETRY_CAP_S=3000.0)
    world.ready(3)
    twin = second_integration(world)
    world.ifs.fault("status", "PATCH", times=3, status=503, body="")
    world.sync()
    assert world.labels() == 3 and world.numbers() == {}
    assert polling.poll(twin, POLLS["ship"]).new == 3
    work.process(twin, FLOWS)
    refused = Transfer.objects.filter(integration=twin)
    assert set(refused.values_list("state", "code")) == {("failed", "bought_by_other_integration")}
    assert "acme: IFS to FedEx" in refused[0].message and refused[0].remedy
    assert creates(world) == 3
    due_now(world)
    assert len(world.numbers()) == 3 and world.labels() == 3
    assert list(audit.verify()) == []


def test_a_second_integration_that_comes_later_sees_the_number(world: World, settings: Any) -> None:
    small(settings)
    world.ready(2)
    twin = second_integration(world)
    world.sync()
    polling.poll(twin, POLLS["ship"])
    work.process(twin, FLOWS)
    assert set(Transfer.objects.filter(integration=twin).values_list("state", "code")) == {("cancelled", "has_tracking_number")}
    assert creates(world) == 2


def together(*acts: Callable[[], Any]) -> list[BaseException]:
    """Run acts in threads that begin at the same moment; what they raised."""
    barrier = threading.Barrier(len(acts))
    problems: list[BaseException] = []

    def run(act: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            act()
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


@pytest.mark.postgres
def test_two_integrations_at_the_same_moment_buy_one_label_per_document(world: World, settings: Any) -> None:
    small(settings)
    world.ready(30)
    twin = second_integration(world)
    first = world.integration
    for integration in (first, twin):
        polling.poll(integration, POLLS["ship"])
    problems = together(lambda: work.process(first, FLOWS, threads=4), lambda: work.process(twin, FLOWS, threads=4))
    assert problems == []
    world.work()
    work.process(twin, FLOWS)
    assert world.labels() == 30 == Effect.objects.count()
    assert len(world.numbers()) == 30
    assert Transfer.objects.filter(state="done").count() == 30


@pytest.mark.postgres
def test_many_processors_at_once_make_one_label_per_record(world: World, settings: Any) -> None:
    small(settings)
    world.ready(40)
    world.poll()
    integration = world.integration
    problems = together(*[lambda: work.process(integration, FLOWS, threads=2)] * 6)
    assert problems == []
    world.work()
    assert creates(world) == 40 == world.labels() and len(world.numbers()) == 40
    assert EffectSend.objects.count() == 40


@pytest.mark.postgres
def test_replay_sync_and_processors_on_one_record_make_one_label(world: World, settings: Any) -> None:
    small(settings)
    ids = world.ready(5, ShipViaCode="ROAD-X")
    world.sync()

    def mend(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["value_maps"]["service"]["ROAD-X"] = "FEDEX_GROUND"

    world.configure(mend)
    integration = world.integration

    def replay() -> None:
        for shipment_id in ids:
            transfers.replay(world.transfer(shipment_id), actor="ann")
        work.process(integration, FLOWS, threads=2)

    def sync() -> None:
        polling.poll(integration, POLLS["ship"], wait_s=5)
        work.process(integration, FLOWS, threads=2)

    assert together(replay, replay, sync, sync, lambda: work.process(integration, FLOWS)) == []
    for shipment_id in ids:
        transfers.replay(world.transfer(shipment_id), actor="ann")
    world.work()
    assert creates(world) == 5 == world.labels()
    assert sorted(world.numbers()) == ids
    assert list(audit.verify()) == []


def test_a_worker_whose_lease_lapsed_saves_nothing_and_the_label_is_not_lost(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the answer and its outcome the lease goes to somebody else: the outcome is stored all the same, once."""
    small(settings)
    [shipment_id] = world.ready()
    world.poll()
    real = Fedex.create_shipment
    taken: list[int] = []

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> Any:
        made = real(self, body, request, ticket)
        taken.append(Transfer.objects.update(epoch=99, lease_until=clock.at(-5)))
        return made

    monkeypatch.setattr(Fedex, "create_shipment", create)
    work.process(world.integration, FLOWS)
    assert taken == [1]
    world.work()
    assert world.transfer(shipment_id).state == "done"
    assert creates(world) == 1 and world.numbers() == {shipment_id: masters(world)[0]}
    assert list(audit.verify()) == []


def test_a_worker_that_wakes_up_with_a_refusal_says_nothing_of_the_request_that_followed(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen between the refusal's answer and its outcome; meanwhile somebody mends it and the same send goes out anew.

    That one's answer is lost: were it marked as refused by the one who wakes up, it would be bought again.
    """
    small(settings)
    world.ready()
    world.poll()
    real = Fedex.create_shipment
    turns: list[int] = []
    answered, woken = threading.Event(), threading.Event()

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> Any:
        turns.append(ticket.number)
        if len(turns) == 1:
            try:
                return real(self, body, request, ticket)
            finally:
                answered.set()
                woken.wait(30)
        if len(turns) == 2:
            woken.set()
            frozen.join(30)
        return real(self, body, request, ticket)

    def run() -> None:
        try:
            work.process(world.integration, FLOWS, threads=1)
        finally:
            connection.close()

    monkeypatch.setattr(Fedex, "create_shipment", create)
    world.fedex.fault("status", "POST /ship/v1/shipments$", status=400, body=REFUSAL)
    frozen = threading.Thread(target=run)
    frozen.start()
    assert answered.wait(30)
    Transfer.objects.update(lease_until=clock.at(-5))
    world.work()
    assert world.states() == {"failed": 1} and not frozen.join(0) and frozen.is_alive()
    world.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    assert not frozen.is_alive() and turns == [1, 1]
    for _ in range(4):
        due_now(world)
    assert creates(world) == 2 and world.labels() == 1, "the lost answer was looked up, not bought again"
    assert world.states() == {"done": 1}
    assert list(audit.verify()) == []


def test_a_refused_attempt_of_another_integration_holds_nobody(world: World, settings: Any) -> None:
    """Proven not to be made: the other integration may buy, and the first then sees that it did."""
    small(settings)
    world.ready(1)
    first, twin = world.integration, second_integration(world)
    world.fedex.fault("status", "POST /ship/v1/shipments$", status=400, body=REFUSAL)
    world.sync()
    assert world.states() == {"failed": 1} and world.labels() == 0
    polling.poll(twin, POLLS["ship"])
    for _ in range(3):
        work.process(twin, FLOWS)
    assert world.labels() == 1 and len(world.numbers()) == 1
    bought = EffectSend.objects.get(outcome="done")
    assert bought.transfer.integration == twin and bought.reference in str(bought.request)
    transfers.replay(Transfer.objects.get(integration=first), actor="ann")
    work.process(first, FLOWS)
    assert creates(world) == 2 and world.labels() == 1
    assert Transfer.objects.get(integration=first).code in ("has_tracking_number", "bought_by_other_integration")
    assert list(audit.verify()) == []


# -- purchases per hour ------------------------------------------------------------------------------


def test_above_the_purchases_per_hour_a_person_must_agree(world: World, settings: Any) -> None:
    small(settings)
    options(world, max_purchases_per_hour=3)
    world.ready(5)
    world.sync()
    assert world.states() == {"done": 3, "needs_approval": 2} and creates(world) == 3
    held = list(Transfer.objects.filter(state="needs_approval").order_by("pk"))
    assert {t.code for t in held} == {"purchases_per_hour"} and "3 purchases" in held[0].message
    assert not transfers.replay(held[0], actor="ann").done
    assert transfers.approve(held[0], actor="ann", reason="the big order").done
    world.work()
    assert world.states() == {"done": 4, "needs_approval": 1} and creates(world) == 4
    world.work()
    later(world, 3700)
    world.ready(1)
    world.sync()
    assert world.states() == {"done": 5, "needs_approval": 1}, "an hour later there is room for new ones; what waits, waits"
    assert list(audit.verify()) == []


@pytest.mark.postgres
def test_the_ceiling_is_exact_with_many_buyers_at_once(world: World, settings: Any) -> None:
    small(settings)
    options(world, max_purchases_per_hour=7)
    world.ready(20)
    world.poll()
    integration = world.integration
    assert together(*[lambda: work.process(integration, FLOWS, threads=4)] * 2) == []
    world.work()
    assert creates(world) == 7 and world.states() == {"done": 7, "needs_approval": 13}


# -- switched off ------------------------------------------------------------------------------------


def test_what_is_in_doubt_is_looked_up_although_the_integration_is_off(world: World, settings: Any) -> None:
    small(settings)
    world.fedex.options(references_visible_after_s=60)
    lost, other = world.ready(2)
    world.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    world.poll()
    work.process(world.integration, FLOWS, only=[world.transfer(lost).pk])
    assert world.states() == {"in_doubt": 1, "waiting": 1}
    switch(world, enabled=False)
    later(world, 61)
    due_now(world)
    assert world.transfer(lost).state == "done" and world.numbers() == {lost: masters(world)[0]}
    assert world.transfer(other).state == "waiting" and creates(world) == 1, "nothing is bought while it is off"


def switch(world: World, *, enabled: bool) -> None:
    """Switch the integration on or off by the configuration file."""
    world.configure(lambda doc: doc["integrations"][0].update(enabled=enabled))

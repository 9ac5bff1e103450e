"""What a person, a look and a run do at the same moment: nothing bought twice, nothing lost, nothing claimed.

Each test puts the other's act into the gap in which it used to do harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connector.models import CostChange, EffectSend, FreightCharge, ReconciliationFinding, Shipment, Transfer
from connector.services import clock, costs, freight, shipments, transfers, vendors
from connector.services.engine import polling, watching
from connector.services.engine.intents import Intents
from connector.services.reconcile import remedies
from integrations.base.errors import OutcomeUnknown
from integrations.flows.specs import FLOWS
from integrations.ifs_cloud.adapter import IfsCloud
from tests.flows.support import creates, due_now, edit, later, options, quick_logins, settle, small
from tests.flows.test_customer_orders import as_orders
from tests.flows.test_freight import on
from tests.flows.test_reconcile import compare, finding, of, refuse_then_find
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def once_before(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], Any]) -> list[int]:
    """Have `act` happen right before the first call of `owner.name`; the list tells whether it did."""
    real, done = getattr(owner, name), []

    def first(*args: Any, **named: Any) -> Any:
        if not done:
            done.append(1)
            act()
        return real(*args, **named)

    monkeypatch.setattr(owner, name, first)
    return done


def correct(amount: str) -> CostChange:
    return costs.correct(Shipment.objects.get(), Decimal(amount), actor="user:ann", reason="the bill")


def test_ours_is_written_although_it_had_been_written_before(world: World) -> None:
    """Pressed from a comparison; somebody fills the field first; then “write ours” must write, not skip."""
    [number] = world.ready()
    world.sync()
    mine = of(number).master_tracking_number
    edit(world, number, AirwayBillNo=None)
    compare(world)
    remedies.apply(ReconciliationFinding.objects.get(state="open"), actor="ann")
    edit(world, number, AirwayBillNo="TYPED")
    world.work()
    transfer = world.transfer(number)
    assert (transfer.state, transfer.code) == ("failed", "field_conflict")
    assert transfers.decide_field(transfer, keep="ours", actor="ann", reason="theirs was a test").done
    world.work()
    assert world.transfer(number).state == "done"
    assert world.numbers() == {number: mine}


def test_writing_the_freight_cost_does_not_void_the_label(world: World) -> None:
    """The newest work on the document is a void that somebody gave up: it is not what the remedy runs again."""
    on(world, freight_charge_type="NOSUCH")
    [number] = world.ready()
    world.sync()
    assert world.transfer(number).state == "failed" and FreightCharge.objects.get().state == "planned"
    void = shipments.void_request(of(number), then="clear", actor="ann", reason="damaged")
    assert transfers.cancel(void, actor="ann", reason="it is not").done
    FreightCharge.objects.update(created_at=clock.at(-7200))
    compare(world)
    world.ifs.set_options("standard", charge_types={"NOSUCH": "6499"})
    remedies.apply(finding("charge_planned"), actor="ann")
    world.work()
    assert of(number).state == "active" and [s.voided for s in world.fedex.shipments()] == [False]
    assert FreightCharge.objects.get().state == "posted"


def test_a_label_that_turns_up_while_another_is_about_to_be_bought(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken over between the run's reading and its intent: what was found is kept, no second one is bought."""
    small(settings)
    quick_logins(world)
    number = refuse_then_find(world)
    assert EffectSend.objects.get().outcome == "absent"
    before = creates(world)
    edit(world, number, Objstate="Completed")
    transfers.replay(world.transfer(number), actor="ann")
    EffectSend.objects.update(watch_at=clock.at(-1))
    happened = once_before(monkeypatch, Intents, "_intend", lambda: watching.watch(world.integration, FLOWS))
    world.work()
    assert happened
    assert [s.outcome for s in EffectSend.objects.all()] == ["done"] and creates(world) == before
    later(world, 400)
    due_now(world)
    assert creates(world) == before and len(world.fedex.shipments()) == 1
    assert world.transfer(number).state == "done" and world.numbers() == {number: of(number).master_tracking_number}


def test_a_correction_that_comes_as_an_earlier_one_begins(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has read the cost already: the later correction must not be told to stand in the ERP."""
    on(world)
    world.ready()
    world.sync()
    correct("50.00")
    happened = once_before(monkeypatch, costs, "waiting", lambda: correct("60.00"))
    world.work()
    assert happened
    assert Decimal(str(world.ifs.charges()[0]["ChargeCost"])) == 60 or CostChange.objects.last().state == "waiting"
    costs.begin_waiting()
    world.work()
    assert Decimal(str(world.ifs.charges()[0]["ChargeCost"])) == 60
    assert set(CostChange.objects.values_list("state", flat=True)) == {"done"}


def test_a_correction_that_comes_while_the_first_cost_is_shared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders are being read, no share is kept yet: the correction reaches the charges all the same."""
    on(world)
    world.ready()
    happened = once_before(monkeypatch, IfsCloud, "read_freight_basis", lambda: correct("50.00"))
    world.sync()
    assert happened and FreightCharge.objects.get().state == "posted"
    costs.begin_waiting()
    due_now(world)
    assert Decimal(str(world.ifs.charges()[0]["ChargeCost"])) == 50
    assert CostChange.objects.get().state == "done"


def test_a_correction_outlives_a_void_that_was_given_up(world: World) -> None:
    """While the label is being voided nobody knows; given up, the correction is written."""
    on(world)
    [number] = world.ready()
    world.sync()
    correct("50.00")
    world.fedex.fault("reset", "PUT /ship/v1/shipments/cancel", times=None)
    void = shipments.void_request(of(number), then="clear", actor="ann", reason="damaged")
    world.work()
    assert Transfer.objects.get(flow="cost").state == "waiting" and CostChange.objects.get().state == "waiting"
    void.refresh_from_db()
    assert transfers.cancel(void, actor="ann", reason="it is not").done
    due_now(world)
    assert Decimal(str(world.ifs.charges()[0]["ChargeCost"])) == 50 and CostChange.objects.get().state == "done"


def test_a_siblings_number_is_no_edit_of_the_document(world: World) -> None:
    """The field that the deliveries of an order share: writing it must not bring back what somebody has looked at."""
    [number] = world.ready()
    key = f"shipment:{number}"
    document = vendors.open_adapter(world.integration.source).read_documents([key])[key]
    assert polling._seen(replace(document, shared_tracking_number="794600000011")) == polling._seen(document)


def _costs(row: FreightCharge, amount: Decimal) -> FreightCharge:
    row.amount = row.charged = amount
    return row


def test_two_deliveries_of_one_order_bear_their_cost_each(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cost at the same moment: the other one's charge stands in the ERP, and we do not know its number yet."""
    small(settings)
    as_orders(world, "standard")
    [number] = world.ifs.make_orders(releases=2)
    options(world, documents=["customer_order"], freight_charge=True)
    real, posts = IfsCloud.post_freight, []

    def lost_then(self: IfsCloud, *args: Any) -> Any:
        made = real(self, *args)
        posts.append(made)
        if len(posts) == 1:
            raise OutcomeUnknown("The answer was lost.", code="lost")
        return made

    monkeypatch.setattr(IfsCloud, "post_freight", lost_then)
    plan = freight.plan
    monkeypatch.setattr(freight, "plan", lambda rows: plan([_costs(row, Decimal(5)) for row in rows]))
    world.sync()
    due_now(world)  # a look that came before the other one had its number is repeated
    settle(world)
    for _ in range(3):
        due_now(world)  # one that is in doubt does not wait for its look
    assert [c["OrderNo"] for c in world.ifs.charges()] == [number, number]
    rows = FreightCharge.objects.filter(state="posted")
    assert len(set(rows.values_list("number", flat=True))) == rows.count() == 2

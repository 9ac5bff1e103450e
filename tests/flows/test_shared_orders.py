"""Several documents of one order at one moment, and orders that were read ahead: each bears its own cost, as it stands now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connector.models import EffectSend, FreightCharge, Transfer
from connector.services import freight as shares
from connector.services.engine import run, steps, work
from integrations.base.errors import OutcomeUnknown
from integrations.flows import freight
from integrations.flows.specs import FLOWS
from integrations.ifs_cloud.adapter import IfsCloud
from tests.flows.support import change, due_now, options, settle, small
from tests.flows.test_at_once import once_before
from tests.flows.test_charges_of_lines import borne, of_lines
from tests.flows.test_customer_orders import as_orders
from tests.flows.test_freight import on
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def two_deliveries(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two deliveries of one order, each of which costs 5.00; the order's number."""
    small(settings)
    as_orders(world, "standard")
    # Room for a second worker beside the first one.
    change(world, "ifs", max_parallel=32, in_doubt={"look_up_after_s": [60, 60, 60, 60, 60, 60], "resend_after_s": 1})
    change(world, "fedex", max_parallel=32)
    [number] = world.ifs.make_orders(releases=2)
    options(world, documents=["customer_order"], freight_charge=True)
    plan = shares.plan

    def of_five(rows: Any) -> None:
        for row in rows:
            row.amount = row.charged = Decimal(5)
        plan(rows)

    monkeypatch.setattr(shares, "plan", of_five)
    return str(number)


def posting(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[Callable[[], Any]], Any]) -> list[int]:
    """The n-th charge is posted as the n-th act says, given what posts it; later ones as ever. The list counts them."""
    real, calls = IfsCloud.post_freight, list[int]()

    def post(self: IfsCloud, *args: Any) -> Any:
        calls.append(1)
        act = acts[len(calls) - 1] if len(calls) <= len(acts) else lambda do: do()
        return act(lambda: real(self, *args))

    monkeypatch.setattr(IfsCloud, "post_freight", post)
    return calls


def lost(do: Callable[[], Any]) -> Any:
    """Made, and nobody is told."""
    do()
    raise OutcomeUnknown("The answer was lost.", code="lost")


def lost_on_the_way(do: Callable[[], Any]) -> Any:
    """Never made, and nobody is told."""
    raise OutcomeUnknown("The request was lost.", code="lost")


def goes_on(world: World) -> None:
    for _ in range(4):
        Transfer.objects.filter(state="in_doubt").update(attempts=0)
        EffectSend.objects.filter(outcome="unknown").update(deadline_at="2020-01-01T00:00:00Z")
        due_now(world)
    settle(world)


def each_bears_its_own(world: World, number: str) -> None:
    assert [c["OrderNo"] for c in world.ifs.charges()] == [number, number]
    rows = FreightCharge.objects.filter(state="posted")
    assert len(set(rows.values_list("number", flat=True))) == rows.count() == 2


def test_two_in_doubt_never_take_one_charge(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answers are lost, one charge was made; both look at the same moment, and both see it."""
    number = two_deliveries(world, settings, monkeypatch)
    begun: list[int] = []

    def both_under_way(what: Callable[[Callable[[], Any]], Any]) -> Callable[[Callable[[], Any]], Any]:
        def act(do: Callable[[], Any]) -> Any:
            begun.append(1)
            until = time.monotonic() + 10
            while len(begun) < 2 and time.monotonic() < until:
                time.sleep(0.02)
            return what(do)

        return act

    posting(monkeypatch, both_under_way(lost), both_under_way(lost_on_the_way))
    world.sync()
    assert world.states() == {"in_doubt": 2}
    EffectSend.objects.filter(outcome="unknown").update(deadline_at="2020-01-01T00:00:00Z")
    first = Transfer.objects.latest("pk")
    Transfer.objects.filter(pk=first.pk).update(due_at="2020-01-01T00:00:00Z")
    happened = once_before(monkeypatch, freight.PostCharge, "adopt", lambda: due_now(world))
    world.work()
    assert happened
    goes_on(world)
    each_bears_its_own(world, number)


def test_one_in_doubt_leaves_the_charge_of_one_under_way(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks while the other document's charge is made already, but its answer is still on its way."""
    number = two_deliveries(world, settings, monkeypatch)

    def slow(do: Callable[[], Any]) -> Any:
        made, until = do(), time.monotonic() + 10
        while not Transfer.objects.filter(state="in_doubt").exists() and time.monotonic() < until:
            time.sleep(0.02)
        EffectSend.objects.filter(outcome="unknown").update(deadline_at="2020-01-01T00:00:00Z")
        due_now(world)
        assert Transfer.objects.filter(state="in_doubt").exists(), "it has looked, and waits"
        return made

    posting(monkeypatch, lost_on_the_way, slow)
    world.sync()
    goes_on(world)
    each_bears_its_own(world, number)


def test_two_that_find_a_charge_there_take_it_once(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charge of the very cost stands there, of whom nobody knows; both have looked before either has its intent."""
    number = two_deliveries(world, settings, monkeypatch)
    calls = posting(monkeypatch)
    part_of = {"Contract": "S1", "Company": "10", "ChargeType": "FREIGHT", "ChargeCost": 5, "ChargedQty": 1, "SequenceNo": 900}
    world.ifs.add_rows("standard", "CustomerOrderCharge", [{"OrderNo": number, **part_of}])
    real, seen = freight.PostCharge.prepare, list[int]()

    def together(self: freight.PostCharge) -> None:
        real(self)
        seen.append(1)
        until = time.monotonic() + 5
        while len(seen) < 2 and time.monotonic() < until:
            time.sleep(0.02)

    monkeypatch.setattr(freight.PostCharge, "prepare", together)
    world.sync()
    settle(world)
    assert len(seen) > 2, "one of them had to look again"
    assert len(calls) == 1
    each_bears_its_own(world, number)


def test_what_takes_longer_than_a_look_holds_goes_on_with_fresh_ones(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charge a minute: the orders are looked at anew for each, and the run does not give up while it comes forward."""
    on(world, freight_charge_lines=True)
    of_lines(world, [[1.0, 2.0, 3.0, 4.0, 5.0]])
    passed, clock = [0.0], steps.boottime

    def minute(do: Callable[[], Any]) -> Any:
        passed[0] += 61
        return do()

    for module in (steps, run):
        monkeypatch.setattr(module, "boottime", lambda: clock() + passed[0])
    posting(monkeypatch, *[minute] * 5)
    world.sync()
    assert world.states() == {"done": 1} and len(borne(world)) == 5


def test_orders_read_ahead_are_as_old_as_their_documents(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is asked for the group takes a minute: by then the order's own header, read with the documents, is too old."""
    as_orders(world, "standard")
    on(world, documents=["customer_order"])
    numbers = world.ifs.make_orders("standard", 2)
    passed, clock = [0.0], steps.boottime

    def slow(*_: Any) -> None:
        for number in numbers:
            world.ifs.edit("standard", "CustomerOrder", {"OrderNo": number}, {"PreAccountingId": 777})
        passed[0] += 61

    for module in (steps, work, freight):
        monkeypatch.setattr(module, "boottime", lambda: clock() + passed[0], raising=False)
    spec = FLOWS["ship"]
    monkeypatch.setitem(FLOWS, "ship", replace(spec, look_ahead=(slow, *spec.look_ahead)))
    world.sync()
    assert world.states() == {"done": 2}
    assert passed[0] and set(FreightCharge.objects.values_list("pre_posting", flat=True)) == {"777"}

"""What an option costs in vendor calls (DESIGN 12), counted at the simulators for a group of documents and for a lone one."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import FreightCharge, Transfer
from integrations.ifs_cloud.adapter import IfsCloud
from tests.flows.support import change, options, small
from tests.flows.test_at_once import once_before
from tests.flows.test_freight import several
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

GROUP = 20
CHARGES = "CustomerOrderHandling.svc/CustomerOrderChargeArray"


def asked(world: World) -> int:
    """Calls at IFS, without tokens and the list."""
    told = {k: n for k, n in world.ifs.counts.items() if "token" not in k}
    return sum(told.values()) - told.get("GET ShipmentHandling.svc/ShipmentSet", 0)


def shipped(world: World, count: int, **told: Any) -> int:
    """Ship so many, and how many calls IFS had."""
    options(world, **told)
    world.ready(count)
    world.ifs.counts.clear()
    world.sync()
    assert world.states() == {"done": count}, list(Transfer.objects.values_list("message", flat=True))
    return asked(world)


DEFAULTS = 2 + 2 * GROUP
"""Lines and handling units of twenty in one call each; a GET and a PATCH of each."""


def test_without_options(world: World) -> None:
    assert shipped(world, GROUP) == DEFAULTS


def test_freight_cost_is_two_calls_a_shipment_and_one_for_twenty(world: World) -> None:
    assert shipped(world, GROUP, freight_charge=True) == DEFAULTS + 2 * GROUP + 1
    assert world.ifs.counts[f"GET {CHARGES}"] == GROUP, "each is looked for before it is posted"
    assert len(world.ifs.charges()) == FreightCharge.objects.filter(state="posted").count() == GROUP


def test_a_lone_shipment_reads_its_order_besides(world: World) -> None:
    assert shipped(world, 1, freight_charge=True) == 2 + 2 + 3


def test_orders_that_share_are_read_with_their_lines_once_for_all(world: World) -> None:
    options(world, freight_charge=True)
    for _ in range(3):
        several(world, [1.0, 2.0])
    world.ifs.counts.clear()
    world.sync()
    assert world.states() == {"done": 3} and len(world.ifs.charges()) == 6
    assert world.ifs.counts["GET CustomerOrderHandling.svc/CustomerOrderLineSet"] == 1
    assert asked(world) == 2 + 2 * 3 + 2 + 2 * 6


def test_accounting_alone_is_one_call_for_twenty(world: World) -> None:
    assert shipped(world, GROUP, document_accounting=True) == DEFAULTS + 1


def test_who_does_not_pay_reads_no_order(world: World) -> None:
    told: dict[str, Any] = {"payment_type": "RECIPIENT", "payment_account": "987654321", "freight_charge": True}
    assert shipped(world, GROUP, **told) == DEFAULTS


def test_a_label_as_document_is_four_calls(world: World) -> None:
    assert shipped(world, GROUP, attach_label="document") == DEFAULTS + 4 * GROUP


def test_what_was_read_ahead_too_long_ago_is_read_again(world: World, settings: Any) -> None:
    """Between reading ahead and the post lies no more than a last look may be old."""
    small(settings, FRESH_S=0.5)
    world.fedex.fault("delay", "POST /ship/v1/shipments$", times=2, seconds=0.7)
    change(world, "fedex", max_parallel=1)
    options(world, freight_charge=True)
    world.ready(2)
    world.sync()
    assert world.states() == {"done": 2} and len(world.ifs.charges()) == 2
    assert world.calls("GET CustomerOrderHandling.svc/CustomerOrderSet") >= 3, "once ahead, and for each that took too long"


def test_an_order_that_is_closed_after_reading_ahead_is_refused_by_ifs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was true a moment ago may not be any more: the post is refused, the number stands, nothing is claimed."""
    options(world, freight_charge=True)
    numbers = world.ready(3)

    def closed() -> None:
        for number in numbers:
            world.ifs.edit("standard", "CustomerOrderSet", {"OrderNo": f"C{number}"}, {"Objstate": "Invoiced"})

    happened = once_before(monkeypatch, IfsCloud, "post_freight", closed)
    world.sync()
    assert happened and world.states() == {"failed": 3} and len(world.numbers()) == 3
    assert set(Transfer.objects.values_list("code", flat=True)) == {"state_refused"}
    assert world.ifs.charges() == [] and not FreightCharge.objects.exclude(state="planned").exists()

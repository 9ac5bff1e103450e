"""A process dies at each named point around the posting of freight cost; the next one finishes, with one charge an order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.drills.site import Site
from tests.drills.test_boundaries import ENGINES, die_at

AROUND_THE_POST = [
    "write_committed",
    "read:2",
    "guarded:2",
    *("intent_committed:2", "request_written:2", "answer_received:2", "answer_committed:2", "outcome_committed:2"),
    *("intent_committed:3", "request_written:3", "answer_received:3", "answer_committed:3", "outcome_committed:3"),
    "finished",
]
"""The first passage is the label's; the second and third are the charges of two orders."""


def freight_on(doc: dict[str, Any]) -> None:
    doc["integrations"][0]["options"] |= {"freight_charge": True}
    doc["connections"][0]["settings"]["in_doubt"] = {"look_up_after_s": [0.2, 0.5, 1, 1, 1, 1, 1, 1], "resend_after_s": 0.5}


def two_orders(site: Site) -> int:
    """A shipment whose second line comes from an order of its own."""
    [number] = site.ready(lines=2)
    order = {"OrderNo": f"M{number}", "Objstate": "Picked", "CurrencyCode": "USD", "Contract": "S1", "Company": "10"}
    site.ifs.add_rows("standard", "CustomerOrderSet", [order])
    line = {"OrderNo": f"M{number}", "LineNo": "2", "RelNo": "1", "LineItemNo": 0, "BuyQtyDue": 1, "AdjustedWeightNet": 2}
    site.ifs.add_rows("standard", "CustomerOrderLineSet", [line])
    site.ifs.edit("standard", "ShipmentLineSet", {"ShipmentId": number, "ShipmentLineNo": 2}, {"SourceRef1": f"M{number}"})
    return number


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", AROUND_THE_POST)
def test_killed_around_the_post_each_order_bears_its_share_once(site_on: Callable[[str], Site], engine: str, name: str) -> None:
    site = site_on(engine)
    site.configure(freight_on)
    number = two_orders(site)
    die_at(site, name)
    told = site.run("sync", site.slug, "--wait", "15")
    site.assert_each_shipped_once([number])
    assert site.creates() == 1
    assert told["open"] == {"waiting": 0, "running": 0, "in_doubt": 0, "needs_approval": 0, "failed": 0}
    charges = site.ifs.charges()
    assert sorted(c["OrderNo"] for c in charges) == [f"C{number}", f"M{number}"]
    [(cost,)] = site.rows("SELECT cost FROM connector_shipment")
    assert round(sum(c["ChargeCost"] for c in charges), 2) == float(cost)
    assert site.ifs.counts["POST CustomerOrderHandling.svc/CustomerOrderChargeArray"] == 2
    kept = site.rows("SELECT state, number FROM connector_freightcharge")
    assert kept == [("posted", "1"), ("posted", "1")]

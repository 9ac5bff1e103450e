"""Numbers on orders that nobody bought here: a comparison finds them on header and lines, and nothing false beside them."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import ReconciliationFinding, Shipment
from tests.flows.support import change, options, small
from tests.flows.test_customer_orders import as_orders, edit_line, edit_order
from tests.flows.test_reconcile import OUTSIDE, compare, open_findings
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mixed(world: World, settings: Any) -> World:
    """Customer and purchase orders ship on the customised tenant, which has fields for their numbers."""
    small(settings)
    as_orders(world, "custom", "customer_order", "purchase_order")
    options(world, documents=["customer_order", "purchase_order"], supplier_phone="9015550111")
    change(
        world,
        "ifs",
        default_package={"weight": 2, "unit": "kg"},
        customer_order={"tracking_field": "Cf_Tracking_No", "lines": {"tracking_field": "Cf_Tracking_No"}},
    )
    return world


def numbers() -> set[str]:
    return set(ReconciliationFinding.objects.filter(state="open", kind="erp_extra").values_list("number", flat=True))


def test_a_number_that_only_the_erp_knows_is_found_on_orders_of_both_kinds(mixed: World) -> None:
    ours = mixed.ifs.make_orders("custom", 2, releases=2)
    mixed.sync()
    assert Shipment.objects.count() == 4
    sold, bought = mixed.ifs.make_orders("custom"), mixed.ifs.make_orders("custom", kind="purchase_order")
    edit_order(mixed, sold[0], Cf_Tracking_No=OUTSIDE, Objstate="Delivered")
    mixed.ifs.edit("custom", "PurchaseOrder", {"OrderNo": bought[0]}, {"Cf_Tracking_No": OUTSIDE, "Objstate": "Received"})
    elsewhere = mixed.ifs.make_orders("custom", 3)
    edit_order(mixed, elsewhere[0], Cf_Tracking_No=OUTSIDE, ForwardAgentId="DHL")
    edit_order(mixed, elsewhere[1], Cf_Tracking_No="1Z999AA10123456784")
    edit_order(mixed, elsewhere[2], Cf_Tracking_No=OUTSIDE, Objstate="Cancelled")
    first = compare(mixed)
    assert (first.state, first.left_out, first.error) == ("done", [], None)
    assert open_findings()["erp_extra"] == [f"customer_order:{sold[0]}/1", f"purchase_order:{bought[0]}/1"]
    compare(mixed)
    assert len(open_findings()["erp_extra"]) == 2, "found again, not twice"
    edit_order(mixed, sold[0], Cf_Tracking_No=None)
    compare(mixed)
    assert open_findings()["erp_extra"] == [f"purchase_order:{bought[0]}/1"]
    assert not any(key.startswith(f"customer_order:{one}") for one in ours for key in open_findings()["erp_extra"])


def test_a_number_in_a_field_that_deliveries_share_is_told_once(mixed: World) -> None:
    [number] = mixed.ifs.make_orders("custom", releases=2)
    mixed.sync()
    edit_order(mixed, number, Cf_Tracking_No=OUTSIDE)
    compare(mixed)
    assert open_findings()["erp_extra"] == [f"customer_order:{number}/1"] and numbers() == {OUTSIDE}
    compare(mixed)
    assert open_findings()["erp_extra"] == [f"customer_order:{number}/1"]
    edit_order(mixed, number, Cf_Tracking_No=Shipment.objects.latest("pk").master_tracking_number)
    compare(mixed)
    assert "erp_extra" not in open_findings()


def test_a_line_of_a_delivery_without_a_label(mixed: World) -> None:
    [number] = mixed.ifs.make_orders("custom", releases=2, Cf_Ready_To_Ship=False)
    edit_order(mixed, number, Cf_Tracking_No=OUTSIDE)
    edit_line(mixed, number, "2", Cf_Tracking_No=OUTSIDE)
    mixed.sync()  # it is not ready: nothing ships
    compare(mixed)
    assert open_findings()["erp_extra"] == [f"customer_order:{number}/2"], "the header shows the number of the line"


def test_a_tenant_without_the_field_is_compared_all_the_same(world: World, settings: Any) -> None:
    small(settings)
    as_orders(world, "standard", "purchase_order")
    options(world, documents=["purchase_order"], supplier_phone="9015550111")
    change(world, "ifs", default_package={"weight": 2, "unit": "kg"})
    world.ifs.make_orders("standard", kind="purchase_order")
    world.sync()
    done = compare(world)
    assert (done.state, done.left_out, done.error) == ("done", [], None)

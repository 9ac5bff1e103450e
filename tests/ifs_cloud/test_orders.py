"""Orders as documents: keys, what is ready, what is read out of rows; and the profile's mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.base.errors import ConfigurationError, Rejected
from integrations.ifs_cloud import orders
from integrations.ifs_cloud.profile import profile_of
from integrations.ifs_cloud.profile_checks import check_settings
from integrations.ifs_cloud.profile_defaults import merged
from tests.ifs_cloud.support import adapter

PROFILE = profile_of({"realm": "acme1"})
SALE, PURCHASE = PROFILE.documents["customer_order"], PROFILE.documents["purchase_order"]


def line(state: str = "Released", **over: Any) -> dict[str, Any]:
    row = {"OrderNo": "S1", "LineNo": "1", "RelNo": "2", "LineItemNo": 0, "Objstate": state, "QtyShipped": 0}
    return row | {"ShipmentConnectedDb": False, "ShipAddrNo": "01"} | over


def head(state: str = "Released", **over: Any) -> dict[str, Any]:
    return {"OrderNo": "S1", "Objstate": state, "Contract": "S1", "CustomerNo": "C1", "ShipAddrNo": "01"} | over


def test_a_key_names_order_and_delivery() -> None:
    found = orders.delivery_of("customer_order:A/1/2")
    assert (found.order, found.release, found.key) == ("A/1", "2", "customer_order:A/1/2")


@pytest.mark.parametrize("key", ["customer_order:S1", "customer_order:S1/", "customer_order:/1", "shipment:1/2", "S1/2", ""])
def test_an_order_number_alone_is_no_key(key: str) -> None:
    with pytest.raises(Rejected) as caught:
        orders.delivery_of(key)
    assert caught.value.code == "bad_key"


def test_a_key_that_is_none_harms_no_other() -> None:
    found = adapter().read_documents(["customer_order:S1", "nonsense"])
    assert {key: problem.error.code for key, problem in found.items()} == {  # type: ignore[union-attr]
        "customer_order:S1": "bad_key",
        "nonsense": "bad_key",
    }


@pytest.mark.parametrize(
    ("header", "lines", "ready"),
    [
        ("Released", [line()], True),
        ("Released", [line("Reserved")], True),
        ("RELEASED", [line("")], True),
        ("Planned", [line()], False),
        ("PartiallyDelivered", [line()], True),
        ("PartiallyDelivered", [line("Reserved")], False),
        ("Released", [line("Blocked")], False),
        ("Released", [line(), line("PartiallyDelivered", LineNo="2")], False),
        ("Released", [line(QtyShipped="1")], False),
        ("Released", [line(ShipmentConnectedDb="TRUE")], False),
        ("Released", [line(), line("Cancelled", LineNo="2", QtyShipped=3)], True),
        ("Released", [], False),
    ],
)
def test_ready_is_judged_by_order_and_lines(header: str, lines: list[dict[str, Any]], ready: bool) -> None:
    stands = orders.standing(head(header), lines, SALE)
    assert (stands.ready, stands.cancelled) == (ready, False)


@pytest.mark.parametrize(("header", "state"), [("Cancelled", "Released"), ("Released", "Cancelled")])
def test_called_off_by_the_order_or_by_all_its_lines(header: str, state: str) -> None:
    assert orders.standing(head(header), [line(state)], SALE).cancelled


def test_a_change_of_a_line_moves_the_version_and_the_order_of_rows_does_not() -> None:
    first, second = line(), line(LineNo="2")
    one = orders.version(head(), [first, second], SALE)
    assert one == orders.version(head(NoteText="x"), [second, first], SALE)
    assert one != orders.version(head(), [first, second | {"@odata.etag": 'W/"2"'}], SALE)
    assert one != orders.version(head(), [first, second | {"QtyShipped": 1}], SALE)


def test_weights_of_lines_are_summed_or_unknown() -> None:
    def weight(*told: Any) -> Any:
        lines = [line(LineNo=str(n), AdjustedWeightGross=w) for n, w in enumerate(told)]
        company = adapter().context.companies[0]
        parts = orders.Parts(head(), lines)
        return orders.document(parts, orders.Delivery("customer_order", "S1", "2"), PROFILE, {"S1": company}).header_weight

    assert weight(1.5, 2) == 3.5
    assert weight(1.5, 0) is None, "a sum without one of them would be too light"


def test_the_places_of_lines() -> None:
    assert orders.place_wanted(head(), [line(), line(ShipAddrNo=None)], SALE) == orders.Place("C1", "01")
    assert orders.place_wanted(head(), [line(ShipAddrNo="02")], SALE).place == "02"
    assert orders.place_wanted(head(AddrFlagDb="TRUE"), [line(AddrFlag="Y")], SALE).single
    for lines in ([line(), line(ShipAddrNo="02")], [line(AddrFlag="Y")]):
        with pytest.raises(Rejected) as caught:
            orders.place_wanted(head(), lines, SALE)
        assert caught.value.code == "address_differs"


def test_the_ready_rule_is_text_that_tells_kinds_and_filters_apart() -> None:
    erp = adapter({"customer_order": {"ready_filter": " Cf_Ready  eq true"}})
    rules = {kind: erp.ready_rule(kind) for kind in ("shipment", "customer_order", "purchase_order")}
    assert rules["customer_order"] == (
        "Objstate in (Released) or in (PartiallyDelivered) with ready lines; lines not in (Blocked, Delivered, Invoiced, "
        "PartiallyDelivered, Planned), not QtyShipped, not ShipmentConnectedDb and (Cf_Ready eq true)"
    )
    assert len(set(rules.values())) == 3
    with pytest.raises(ConfigurationError):
        erp.ready_rule("voucher")


@pytest.mark.parametrize(
    ("over", "path"),
    [
        ({"customer_order": {"partial_states": ["Done' or 1"]}}, "customer_order.partial_states"),
        ({"customer_order": {"lines": {"begun_states": "Delivered"}}}, "customer_order.lines.begun_states"),
        ({"purchase_order": {"lines": {"key": ["OrderNo", "LineNo"]}}}, "purchase_order.lines.key"),
        ({"purchase_order": {"key": ["OrderNo", "X"]}}, "purchase_order.key"),
        ({"purchase_order": {"supplier_field": None}}, "purchase_order.supplier_field"),
        ({"purchase_order": {"poll": {"strategy": "history_log"}}}, "purchase_order.poll.strategy"),
        ({"supplier_address": {"fields": {"fone": "X"}}}, "supplier_address.fields.fone"),
    ],
)
def test_mistakes_in_the_blocks_of_orders_are_named(over: dict[str, Any], path: str) -> None:
    assert [e.path for e in check_settings(merged({"realm": "acme1"} | over))] == [path]


def test_purchase_orders_are_inbound() -> None:
    assert (PURCHASE.inbound, SALE.inbound) == (True, False)
    assert PURCHASE.lines.target.entity and PURCHASE.lines.release_field == "ReleaseNo"
    assert SALE.listed.service == "CustomerOrdersHandling" and PURCHASE.listed.service == "PurchaseOrderHandling"

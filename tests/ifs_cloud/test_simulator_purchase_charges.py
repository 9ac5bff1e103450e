"""Sheet 9.6: charges of purchase orders at the simulator, over raw HTTP. That there are any is a guess of the sheet."""

from __future__ import annotations

from typing import Any

import pytest

CHARGE = {
    "OrderNo": "P10001",
    "Contract": "S1",
    "Company": "10",
    "ChargeType": "FREIGHT",
    "ChargedQty": 1,
    "ChargeAmount": 12.34,
    "VendorNo": "FEDEX",
}
PLACE = "PurchaseOrderHandling.svc/PurchaseOrderSet(OrderNo='P10001')/PurchaseOrderChargeArray"


@pytest.fixture
def order(simulator: Any) -> Any:
    simulator.make_orders(kind="purchase_order")
    return simulator


def vouched(simulator: Any) -> list[tuple[str, float, str | None]]:
    rows = simulator.state["tenants"]["standard"]["rows"].get("VoucherRow", {}).values()
    return [(row["Account"], row["Amount"], row.get("CodeB")) for row in rows]


def test_a_charge_is_taken_and_the_same_post_makes_another(ifs: Any, order: Any) -> None:
    before = {"PreAccountingId": 710001, "Company": "10", "CodenoB": "CC-BUY"}
    order.add_rows("standard", "PreAccountingSet", [before])
    first = ifs.call("POST", PLACE, json=CHARGE)
    assert first.status_code == 201 and first.json()["SequenceNo"] == 1 and first.headers["ETag"]
    assert ifs.call("POST", PLACE, json=CHARGE).json()["SequenceNo"] == 2
    assert [row["SequenceNo"] for row in ifs.get(PLACE).json()["value"]] == [1, 2]
    assert [row["ChargeAmount"] for row in order.purchase_charges()] == [12.34, 12.34]
    assert vouched(order)[:2] == [("6420", 12.34, "CC-BUY"), ("2440", -12.34, "CC-BUY")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SequenceNo": 7}, "SequenceNo"),
        ({"ChargeCost": 1}, "ChargeCost"),
        ({"LineNo": "1"}, "LineNo"),
        ({"ChargeType": None}, "ChargeType"),
        ({"ChargeAmount": None}, "ChargeAmount"),
        ({"ChargedQty": 0}, "quantity"),
        ({"ChargeType": "NOSUCH"}, "NOSUCH"),
        ({"Company": "20"}, "company"),
        ({"VendorNo": "NOBODY"}, "NOBODY"),
        ({"OrderNo": "P1"}, "key"),
    ],
)
def test_what_is_refused(ifs: Any, order: Any, change: dict[str, Any], said: str) -> None:
    answer = ifs.call("POST", PLACE, json=CHARGE | change)
    assert answer.status_code == 400 and said in answer.text
    assert order.purchase_charges() == []


@pytest.mark.parametrize("state", ["Closed", "Cancelled"])
def test_an_order_that_is_over_takes_none_and_lets_none_be_changed(ifs: Any, order: Any, state: str) -> None:
    made = ifs.call("POST", PLACE, json=CHARGE).json()
    order.edit("standard", "PurchaseOrderSet", {"OrderNo": "P10001"}, {"Objstate": state})
    assert "20130" in ifs.call("POST", PLACE, json=CHARGE).text
    key = f"{PLACE}(OrderNo='P10001',SequenceNo=1)"
    refused = ifs.call("PATCH", key, json={"ChargeAmount": 1}, headers={"If-Match": made["@odata.etag"]})
    assert refused.status_code == 400 and "20130" in refused.text


def test_a_change_vouches_for_the_difference(ifs: Any, order: Any) -> None:
    made = ifs.call("POST", PLACE, json=CHARGE).json()
    key = f"{PLACE}(OrderNo='P10001',SequenceNo=1)"
    assert ifs.call("PATCH", key, json={"ChargeAmount": 10}).status_code == 428
    assert ifs.call("PATCH", key, json={"ChargeAmount": 10}, headers={"If-Match": made["@odata.etag"]}).status_code == 200
    assert round(sum(amount for account, amount, _ in vouched(order) if account == "6420"), 2) == 10


@pytest.mark.parametrize("status", [404, 501])
def test_a_tenant_may_know_no_such_charges(ifs: Any, order: Any, status: int) -> None:
    order.set_options("standard", purchase_charges=status)
    assert ifs.get(PLACE).status_code == ifs.call("POST", PLACE, json=CHARGE).status_code == status

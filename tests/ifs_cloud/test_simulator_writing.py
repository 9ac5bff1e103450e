"""The simulated IFS Cloud is written to, under versions; charges of customer orders (sheet 5 and 9.3)."""

from __future__ import annotations

import base64
import datetime as dt
import re

import pytest

from tests.ifs_cloud.simulator_wire import SHIPMENTS, detail, error

# -- section 5: writing --------------------------------------------------------------------------------


def test_the_etag_wraps_row_and_version_and_always_grows(ifs, simulator):
    """Sheet 5.2, 13: same-second updates bump the version by at least a second."""
    simulator.make_shipments(count=1, start_id=19)
    seen = []
    for number in range(4):
        row = ifs.read(19)
        outer = re.fullmatch(r'W/"([A-Za-z0-9+/=]+)"', row["@odata.etag"])
        inner = re.fullmatch(r'W/"(\w{18}):(\d{14})"', base64.b64decode(outer.group(1)).decode())
        dt.datetime.strptime(inner.group(2), "%Y%m%d%H%M%S")
        seen.append(inner.groups())
        answer = ifs.patch(19, {"NoteText": f"n{number}"}, row["@odata.etag"])
        assert answer.status_code == 200
        assert answer.json()["@odata.etag"] == answer.headers["ETag"] == ifs.read(19)["@odata.etag"]
    assert len({objid for objid, _ in seen}) == 1
    versions = [int(version) for _, version in seen]
    assert versions == sorted(set(versions))


def test_a_patch_writes_what_it_says_and_history_tells_who(ifs, simulator):
    """Sheet 5.1, 9.4: the write-back of a label."""
    simulator.make_shipments(count=2, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    body = {"AirwayBillNo": "794600000019", "ForwardAgentId": "FEDEX", "ActualShipDate": "2026-03-01T09:00:00+01:00"}
    answer = ifs.patch(19, body, etag)
    assert answer.status_code == 200
    assert (answer.json()["AirwayBillNo"], answer.json()["ActualShipDate"]) == ("794600000019", "2026-03-01T08:00:00Z")
    assert simulator.tracking_numbers("standard") == {19: "794600000019"}
    history = simulator.history("standard", "ShipmentSet", {"ShipmentId": 19})
    assert [(h["user"], h["field"], h["old"], h["new"]) for h in history][0] == ("MLC", "AirwayBillNo", None, "794600000019")
    state = ifs.session.get(f"{ifs.url}/_sim/state").json()
    assert state["tenants"]["standard"]["history"]["Shipment"]["SHIPMENT_ID=19^"] == history
    assert ifs.session.get(f"{ifs.url}/_sim/tracking").json()["standard"] == {"19": "794600000019"}


def test_a_tenant_may_answer_204_without_a_tag(ifs, simulator):
    """Sheet 5.1: accept both, re-read on 204."""
    simulator.make_shipments(count=1, start_id=19)
    ifs.sim("options", patch_answer=204)
    answer = ifs.patch(19, {"AirwayBillNo": "1"}, ifs.read(19)["@odata.etag"])
    assert (answer.status_code, answer.content, answer.headers.get("ETag")) == (204, b"", None)
    assert ifs.read(19)["AirwayBillNo"] == "1"


def test_if_match_is_required_current_or_a_star(ifs, simulator):
    """Sheet 5.2, 13."""
    simulator.make_shipments(count=1, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    missing = ifs.patch(19, {"AirwayBillNo": "1"}, None)
    assert (missing.status_code, error(missing)["code"]) == (428, "ODP_MISSING_PRECONDITION")
    ifs.sim("edit", set="ShipmentSet", key={"ShipmentId": 19}, values={"RouteId": "R7"}, user="BOB")
    stale = ifs.patch(19, {"AirwayBillNo": "1"}, etag)
    assert stale.status_code == 412
    assert ifs.patch(19, {"AirwayBillNo": "1"}, etag.removeprefix("W/")).status_code == 412
    assert ifs.read(19)["AirwayBillNo"] is None
    assert ifs.patch(19, {"AirwayBillNo": "2"}, "*").status_code == 200
    assert ifs.patch(99, {"AirwayBillNo": "2"}, etag).status_code == 404
    users = [h["user"] for h in simulator.history("standard", "Shipment", {"ShipmentId": 19})]
    assert users == ["BOB", "MLC"]


def test_an_upsert_tenant_makes_records_by_mistake(ifs, simulator):
    """Sheet 1.6: PATCH without If-Match creates what is absent."""
    ifs.sim("options", missing_if_match="upsert")
    assert ifs.patch(4711, {"Contract": "S1", "AirwayBillNo": "1"}, None).status_code == 201
    assert simulator.shipment("standard", 4711)["Objstate"] == "Preliminary"
    assert ifs.patch(4711, {"AirwayBillNo": "2"}, None).status_code == 200
    assert ifs.patch(4712, {"Contract": "S9"}, None).status_code == 403
    ifs.sim("options", missing_if_match="412")
    assert ifs.patch(4711, {"AirwayBillNo": "3"}, None).status_code == 412
    assert simulator.tracking_numbers("standard") == {4711: "2"}


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"Foo": 1}, 400, "The property 'Foo'"),
        ({"Cf_Tracking_No": "1"}, 400, "The property 'Cf_Tracking_No'"),
        ({"AirwayBillNo": 794600000019}, 400, "'AirwayBillNo'"),
        ({"ManualGrossWeight": "12.5"}, 400, "'ManualGrossWeight'"),
        ({"ActualShipDate": "2026-03-01"}, 400, "'ActualShipDate'"),
        ({"ActualShipDate": "2026-03-01T08:00:00"}, 400, "'ActualShipDate'"),
        ({"AirwayBillNo": "9" * 51}, 400, "ORA-12899"),
        ({"ForwardAgentId": "GONDOLA"}, 400, "ORA-20125"),
        ({"Objstate": "Closed"}, 400, "ORA-20121"),
        ({"ShipmentId": 20}, 400, "ORA-20121"),
        ({"keyref": "X=1^"}, 400, "ORA-20121"),
    ],
)
def test_a_bad_body_changes_nothing(ifs, simulator, body, status, told):
    """Sheet 6, 13: unknown property, wrong type, database rules with their ORA codes."""
    simulator.make_shipments(count=1, start_id=19)
    before = ifs.read(19)
    answer = ifs.patch(19, {"NoteText": "also"} | body, before["@odata.etag"])
    assert answer.status_code == status and told in detail(answer)
    if told.startswith("ORA"):
        assert error(answer)["code"] == "DATABASE_ERROR"
        assert error(answer)["details"][0]["code"] == told.removeprefix("ORA-")
    assert ifs.read(19) == before


def test_the_longest_number_fits_and_custom_fields_are_real_where_they_exist(ifs, custom, simulator):
    """Sheet 9.4, 13."""
    simulator.make_shipments(count=1, start_id=19)
    assert ifs.patch(19, {"AirwayBillNo": "9" * 50}, ifs.read(19)["@odata.etag"]).status_code == 200
    simulator.make_shipments("custom", 1, start_id=19)
    path = "CShipmentHandling.svc/ShipmentSet(ShipmentId=19)"
    headers = {"If-Match": custom.get(path).json()["@odata.etag"]}
    assert (
        custom.call("PATCH", path, json={"Cf_Tracking_No": "1", "Cf_Delivery_Status": "DL"}, headers=headers).status_code == 200
    )
    assert simulator.tracking_numbers("custom", "Cf_Tracking_No") == {19: "1"}


def test_a_body_that_is_not_declared_json_cannot_be_read(ifs, simulator):
    """Sheet 5.1, 6, 13."""
    simulator.make_shipments(count=1, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    for answer in (
        ifs.patch(19, {"NoteText": "x"}, etag, **{"Content-Type": "text/plain"}),
        ifs.patch(19, ["NoteText"], etag),
        ifs.call("POST", SHIPMENTS, data=b"ShipmentId=1"),
    ):
        assert (answer.status_code, error(answer)["code"]) == (400, "ODP_DESERIALIZATION_ERROR")


@pytest.mark.parametrize("state", ["Closed", "Cancelled"])
def test_final_states_refuse_changes(ifs, simulator, state):
    """Sheet 13: ORA-20130 style, under 400 or 500 by tenant."""
    simulator.make_shipments(count=1, start_id=19, state=state)
    etag = ifs.read(19)["@odata.etag"]
    answer = ifs.patch(19, {"AirwayBillNo": "1"}, etag)
    assert (answer.status_code, error(answer)["code"]) == (400, "DATABASE_ERROR")
    assert error(answer)["details"][0]["code"] == "20130" and detail(answer).startswith("ORA-20130: ")
    ifs.sim("options", database_error_status=500)
    assert ifs.patch(19, {"AirwayBillNo": "1"}, etag).status_code == 500
    assert simulator.tracking_numbers("standard") == {}


def test_reference_sets_and_overviews_are_read_only(ifs, simulator):
    """Sheet 2: list on the plural, write on the singular; 6: wrong verb is 405."""
    simulator.make_shipments(count=1, start_id=19)
    for path in (
        "CustomerOrdersHandling.svc/CustomerOrderSet(OrderNo='C19')",
        "SitesHandling.svc/Reference_CompanySite(Contract='S1')",
    ):
        assert ifs.get(path).status_code == 200
        assert ifs.call("PATCH", path, json={"NoteText": "x"}, headers={"If-Match": "*"}).status_code == 405
    path = "CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='C19')"
    assert ifs.call("PATCH", path, json={"NoteText": "x"}, headers={"If-Match": ifs.get(path).headers["ETag"]}).status_code == 200
    assert ifs.call("PATCH", SHIPMENTS, json={}, headers={"If-Match": "*"}).status_code == 405
    assert ifs.call("POST", SHIPMENTS, json={}).status_code == 501


# -- section 9.3: charges of customer orders -------------------------------------------------------------

CHARGE = {
    **{"OrderNo": "C19", "Contract": "S1", "Company": "10", "ChargeType": "FREIGHT", "ChargedQty": 1, "SalesUnitMeas": "EA"},
    **{"ChargeAmount": 0, "ChargeAmountInclTax": 0, "BaseChargeAmount": 0, "BaseChargeAmtInclTax": 0, "ChargeCost": 12.34},
    **{"CurrencyRate": 1, "InvoicedQty": 0, "StatisticalChargeDiff": 0, "CollectDb": False, "MultipleTaxLines": False},
    **{"PrintChargeTypeDb": False, "PrintCollectChargeDb": False, "IntrastatExempt": False, "UnitCharge": False},
    **{"DeliveryAddress": "01", "ShipmentId": 19},
}
CHARGES = "CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='C19')/CustomerOrderChargeArray"


def test_the_sheets_charge_is_taken_and_the_same_post_makes_another(ifs, simulator):
    """Sheet 9.3 and 5.1: the number is IFS's to give; there is no protection against a repeated POST."""
    simulator.make_shipments(count=1, start_id=19)
    first = ifs.call("POST", CHARGES, json=CHARGE)
    assert first.status_code == 201 and first.headers["ETag"] == first.json()["@odata.etag"]
    assert (first.json()["OrderNo"], first.json()["SequenceNo"], first.json()["TotalChargeCost"]) == ("C19", 1, 12.34)
    assert ifs.call("POST", CHARGES, json=CHARGE).json()["SequenceNo"] == 2
    assert [row["SequenceNo"] for row in ifs.get(CHARGES).json()["value"]] == [1, 2]
    assert ifs.get("CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='C19')").json()["ChargesExist"] is True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"Account": "6400"}, "'Account' is not defined"),
        ({"ChargeType": "NOSUCH"}, "ORA-20125"),
        ({"Company": "20"}, "ORA-20110"),
        ({"ChargedQty": 0}, "ORA-20110"),
        ({"ChargeCost": None}, "ORA-20124"),
        ({"ChargeCost": "12.34"}, "Invalid value"),
        ({"SequenceNo": 5}, "ORA-20121"),
        ({"ShipmentId": 20}, "ORA-20125"),
        ({"OrderNo": "C20"}, "parent"),
    ],
)
def test_a_charge_that_ifs_would_refuse_is_refused(ifs, simulator, change, told):
    simulator.make_shipments(count=1, start_id=19)
    answer = ifs.call("POST", CHARGES, json=CHARGE | change)
    assert answer.status_code == 400 and told in answer.text
    assert simulator.charges() == []


def test_no_charge_on_a_closed_order_or_a_hidden_one(ifs, simulator):
    simulator.make_shipments(count=1, start_id=19)
    simulator.edit("standard", "CustomerOrderSet", {"OrderNo": "C19"}, {"Objstate": "Invoiced"})
    assert "ORA-20130" in ifs.call("POST", CHARGES, json=CHARGE).text
    simulator.set_options("standard", allowed_sites=["S2"])
    assert ifs.call("POST", CHARGES, json=CHARGE).status_code == 404


def test_a_charge_is_corrected_under_its_version_until_it_is_invoiced(ifs, simulator):
    """Sheet 9.3: PATCH ChargeCost with If-Match; sheet 13: it lands on account and cost centre."""
    [number] = simulator.make_shipments(count=1, start_id=19)
    pre = {"PreAccountingId": 500000 + number, "Company": "10", "CodenoB": "CC-7"}
    simulator.add_rows("standard", "PreAccountingSet", [pre])
    made = ifs.call("POST", CHARGES, json=CHARGE).json()
    place = f"{CHARGES}(OrderNo='C19',SequenceNo=1)"
    assert ifs.call("PATCH", place, json={"ChargeCost": 10}).status_code == 428
    assert ifs.call("PATCH", place, json={"ChargeCost": 10}, headers={"If-Match": 'W/"b2xk"'}).status_code == 412
    assert ifs.call("PATCH", place, json={"ChargeCost": 10}, headers={"If-Match": made["@odata.etag"]}).status_code == 200
    read = ifs.get(place).json()
    assert (read["ChargeCost"], read["TotalChargeCost"]) == (10, 10)
    rows = ifs.get("VoucherRowsAnalysis.svc/VoucherRowSet").json()["value"]
    assert [(r["Account"], r["CodeB"], r["Amount"]) for r in rows if r["Account"] == "6400"] == [
        ("6400", "CC-7", 12.34),
        ("6400", "CC-7", -2.34),
    ]
    simulator.edit("standard", "CustomerOrderChargeSet", {"OrderNo": "C19", "SequenceNo": 1}, {"InvoicedQty": 1})
    refused = ifs.call("PATCH", place, json={"ChargeCost": 9}, headers={"If-Match": ifs.get(place).json()["@odata.etag"]})
    assert "ORA-20130" in refused.text
    assert ifs.get(f"{CHARGES}(OrderNo='C20',SequenceNo=1)").status_code == 404

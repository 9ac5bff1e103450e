"""How the simulated IFS Cloud misbehaves on request; control calls, seeds, speed (sheet 13)."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter

import pytest
import requests

from integrations.ifs_cloud.simulator import DEMO_FAULTY, IfsCloudSimulator
from tests.ifs_cloud.simulator_wire import COMPLETED, SHIPMENTS, Ifs, detail, error

# -- section 13: faults --------------------------------------------------------------------------------


def test_401_once_forgets_the_token(ifs, simulator):
    simulator.make_shipments(count=1, start_id=19)
    ifs.login()
    simulator.fault("401_once")
    assert ifs.get(SHIPMENTS).status_code == 401
    assert ifs.get(SHIPMENTS).status_code == 401
    ifs.login()
    assert ifs.get(SHIPMENTS).status_code == 200


def test_412_once_is_somebody_elses_change_to_another_field(ifs, simulator):
    simulator.make_shipments(count=1, start_id=19)
    simulator.fault("412_once")
    before = ifs.read(19)
    assert ifs.patch(19, {"AirwayBillNo": "1"}, before["@odata.etag"]).status_code == 412
    after = ifs.read(19)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"@odata.etag", "SenderReference"}
    assert ifs.patch(19, {"AirwayBillNo": "1"}, after["@odata.etag"]).status_code == 200
    assert ifs.read(19)["AirwayBillNo"] == "1"


@pytest.mark.parametrize(("fault", "found"), [("412_ours", "TYPED-BY-ALICE"), ("412_ours:555", "555"), ("412_ours:same", "OURS")])
def test_412_ours_is_somebody_else_filling_our_field(ifs, simulator, fault, found):
    simulator.make_shipments(count=1, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    simulator.fault(fault, "PATCH")
    assert ifs.patch(19, {"AirwayBillNo": "OURS"}, etag).status_code == 412
    assert ifs.read(19)["AirwayBillNo"] == found
    (entry,) = simulator.history("standard", "Shipment", {"ShipmentId": 19})
    assert (entry["user"], entry["field"]) == ("ALICE", "AirwayBillNo")


@pytest.mark.parametrize("status", [400, 500])
def test_ora_20114_is_a_conflict_found_by_the_database(ifs, simulator, status):
    """Sheet 5.2: same reaction as to a 412."""
    simulator.make_shipments(count=1, start_id=19)
    ifs.sim("options", database_error_status=status)
    etag = ifs.read(19)["@odata.etag"]
    simulator.fault("ora_20114")
    answer = ifs.patch(19, {"AirwayBillNo": "1"}, etag)
    assert answer.status_code == status and detail(answer).startswith("ORA-20114: ")
    assert ifs.patch(19, {"AirwayBillNo": "1"}, etag).status_code == 412
    assert ifs.patch(19, {"AirwayBillNo": "1"}, ifs.read(19)["@odata.etag"]).status_code == 200


def test_mi_modified_wants_the_same_request_again(ifs, simulator):
    """Sheet 6."""
    simulator.make_shipments(count=1, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    simulator.fault("500_mi_modified_once", "PATCH")
    first = ifs.patch(19, {"AirwayBillNo": "1"}, etag)
    assert (first.status_code, error(first)["code"]) == (500, "MI_MODIFIED_ERROR")
    assert ifs.patch(19, {"AirwayBillNo": "1"}, etag).status_code == 200


def test_busy_and_html_answers(ifs, simulator):
    """Sheet 6: 429 with and without Retry-After, gateways that answer HTML."""
    ifs.login()
    for fault, status, wait in (("429", 429, None), ("429:7", 429, "7"), ("503:2", 503, "2")):
        simulator.fault(fault)
        answer = ifs.get(SHIPMENTS)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (status, wait)
    simulator.fault("html_error:503")
    answer = ifs.get(SHIPMENTS)
    assert answer.status_code == 503 and answer.text.startswith("<html>")
    assert ifs.get(SHIPMENTS).status_code == 200


def test_faults_can_be_asked_for_by_header_and_by_control_call(ifs, simulator):
    """Sheet 13: `X-Sandbox-Fault`; a once-fault is spent for that header value."""
    simulator.make_shipments(count=1, start_id=19)
    etag = ifs.read(19)["@odata.etag"]
    sandbox = {"X-Sandbox-Fault": "412_once;a"}
    assert ifs.patch(19, {"AirwayBillNo": "1"}, etag, **sandbox).status_code == 412
    assert ifs.patch(19, {"AirwayBillNo": "1"}, ifs.read(19)["@odata.etag"], **sandbox).status_code == 200
    assert ifs.call("GET", SHIPMENTS, headers={"X-Sandbox-Fault": "429:3"}).headers["Retry-After"] == "3"
    assert ifs.call("GET", SHIPMENTS, headers={"X-Sandbox-Fault": "no_such"}).status_code == 400
    with pytest.raises(requests.ConnectionError):
        ifs.patch(19, {"AirwayBillNo": "2"}, "*", **{"X-Sandbox-Fault": "lost_response"})
    assert simulator.tracking_numbers("standard") == {19: "2"}
    ifs.session.post(f"{ifs.url}/_sim/faults", json={"fault": "html_error", "match": "GET"})
    assert ifs.get(SHIPMENTS).status_code == 502


# -- control, seeds, speed -----------------------------------------------------------------------------


def test_control_calls_refuse_nonsense(ifs, simulator):
    assert ifs.sim("shipments", count=3, start_id=5, site="S2", lines=2, RouteId="R1").json()["ids"] == [5, 6, 7]
    assert simulator.shipment("standard", 6)["RouteId"] == "R1"
    assert ifs.sim("shipments", count=1, start_id=7).status_code == 400
    assert ifs.sim("shipments", count=1, Nope="x").status_code == 400
    assert ifs.sim("seed", set="NoSet", rows=[]).status_code == 400
    assert ifs.sim("edit", set="ShipmentSet", key={"ShipmentId": 404}, values={}).status_code == 400
    assert ifs.sim("edit", set="ShipmentSet", key={"ShipmentId": 5}, values={"ShipmentId": 6}).status_code == 400
    assert ifs.sim("options", wishes=1).status_code == 400
    keys = ifs.sim(
        "seed", set="HandlingUnits", rows=[{"HandlingUnitId": 9, "ShipmentId": 5}, {"ShipmentId": 6, "HandlingUnitId": 8}]
    )
    assert keys.json()["keys"] == ["HANDLING_UNIT_ID=9^", "HANDLING_UNIT_ID=8^"]
    units = ifs.get("HandlingUnitsHandling.svc/HandlingUnits", filter="ShipmentId eq 5").json()["value"]
    assert {u["HandlingUnitId"] for u in units} == {9, 501}
    ifs.sim("edit", set="HandlingUnits", key={"HandlingUnitId": 9}, values={"ShipmentId": 7})
    units = ifs.get("HandlingUnitsHandling.svc/HandlingUnits", filter="ShipmentId eq 7").json()["value"]
    assert {u["HandlingUnitId"] for u in units} == {9, 701}


def test_the_demo_has_25_shipments_of_which_three_need_a_person(ifs, simulator):
    day = dt.date(2026, 3, 2)
    first = ifs.sim("demo", date=day.isoformat()).json()
    assert len(first["ids"]) == 25 and set(first["faulty"]) == {str(i) for i in DEMO_FAULTY}
    assert ifs.sim("demo", date=day.isoformat()).json() == first
    window = f"{COMPLETED} and PlannedShipDate ge 2026-02-26T00:00:00Z and PlannedShipDate lt 2026-03-07T00:00:00Z"
    rows = ifs.get(SHIPMENTS, filter=window, top=100).json()["value"]
    assert [r["ShipmentId"] for r in rows] == first["ids"]
    assert {r["ForwardAgentId"] for r in rows} == {"FEDEX"}
    units = ifs.get("HandlingUnitsHandling.svc/HandlingUnits", top=100).json()["value"]
    per_shipment = Counter(u["ShipmentId"] for u in units)
    assert set(per_shipment) == set(first["ids"]) and 2 in per_shipment.values()
    assert {"kg", "lb"} <= {u["UomForWeight"] for u in units}
    unmapped = {r["ShipmentId"] for r in rows if r["ShipViaCode"] not in ("FDX-GND", "FDX-2DAY", "FEDEX_GROUND")}
    unaddressed = {r["ShipmentId"] for r in rows if not r["ReceiverZipCode"]}
    weightless = {u["ShipmentId"] for u in units if not u["OperativeGrossWeight"]}
    assert [len(s) for s in (unmapped, unaddressed, weightless)] == [1, 1, 1]
    assert unmapped | unaddressed | weightless == set(DEMO_FAULTY)
    for row in rows:
        if row["ShipmentId"] not in unaddressed:
            assert row["ReceiverAddress1"] and len(row["ReceiverAddress1"]) <= 35 and row["ReceiverCountry"] == "US"


def test_state_survives_in_a_file(tmp_path):
    """A simulator started again must remember what stands in the ERP."""
    path = tmp_path / "ifs.json"
    first = IfsCloudSimulator(state_file=path)
    first.make_shipments(count=2, start_id=1, AirwayBillNo="1")
    first.save(force=True)
    second = IfsCloudSimulator(state_file=path)
    assert second.tracking_numbers("standard") == {1: "1", 2: "1"}
    assert second.make_shipments(count=1) == [first.state["tenants"]["standard"]["next_shipment_id"]]


def test_concurrent_writers_lose_nothing(ifs, simulator):
    """Sheet 5.2: of two writers with one tag exactly one wins."""
    simulator.make_shipments(count=20, start_id=1)
    ifs.login()
    tags = {i: ifs.read(i)["@odata.etag"] for i in range(1, 21)}
    answers: list[tuple[int, int]] = []

    def work(name: str) -> None:
        user = Ifs(ifs.url, simulator, "standard")
        user.token = ifs.token
        answers.extend((i, user.patch(i, {"AirwayBillNo": name}, tag).status_code) for i, tag in tags.items())
        user.session.close()

    threads = [threading.Thread(target=work, args=(f"writer-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(answers) == Counter([(i, 200) for i in tags] + [(i, 412) for i in tags] * 3)


def test_a_thousand_shipments_are_read_through_indexes(ifs, simulator):
    """Long `or` lists of keys look rows up instead of reading all of them."""
    simulator.make_shipments(count=1000, start_id=1, lines=2)
    wanted = list(range(3, 1000, 50))
    text = " or ".join(f"ShipmentId eq {i}" for i in wanted)
    assert ifs.ids(filter=text) == wanted
    looked_at: list[int] = []
    real = simulator._visible
    simulator._visible = lambda data, entity, row: looked_at.append(1) or real(data, entity, row)
    try:
        lines = ifs.get("ShipmentHandling.svc/ShipmentLineSet", filter=text, top=100).json()["value"]
    finally:
        del simulator._visible
    assert len(lines) == len(looked_at) == 2 * len(wanted)
    assert simulator.counts["GET ShipmentHandling.svc/ShipmentSet"] == 1

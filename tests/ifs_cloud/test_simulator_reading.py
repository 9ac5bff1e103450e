"""The simulated IFS Cloud is read: records, lists, filters, and what a user may see (sheet 4)."""

from __future__ import annotations

import re

import pytest

from tests.ifs_cloud.simulator_wire import COMPLETED, SHIPMENTS, detail, error

# -- section 4: reading --------------------------------------------------------------------------------


def test_a_record_has_ifs_types_meta_members_and_an_etag(ifs, simulator):
    """Sheet 4.2, 5.2: numbers are JSON numbers, enumerations identifiers, instants UTC with Z."""
    simulator.make_shipments(count=1, start_id=19, ManualGrossWeight=12.5)
    answer = ifs.get(f"{SHIPMENTS}(ShipmentId=19)")
    row = answer.json()
    assert answer.headers["Content-Type"] == "application/json;odata.metadata=minimal"
    assert row["ShipmentId"] == 19 and row["ManualGrossWeight"] == 12.5 and row["Objstate"] == "Completed"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["PlannedShipDate"])
    assert (row["luname"], row["keyref"]) == ("Shipment", "SHIPMENT_ID=19^")
    assert row["AirwayBillNo"] is None
    assert answer.headers["ETag"] == row["@odata.etag"]
    text = ifs.call("GET", f"{SHIPMENTS}(ShipmentId=19)", headers={"Accept": "application/json;IEEE754Compatible=true"}).json()
    assert (text["ShipmentId"], text["ManualGrossWeight"]) == ("19", "12.5")


def test_keys_are_written_with_names_and_types(ifs, simulator):
    """Sheet 4.1."""
    simulator.make_shipments(count=1, start_id=19)
    lines = "ShipmentHandling.svc/ShipmentLineSet"
    order = "CustomerOrderHandling.svc/CustomerOrderLineSet(OrderNo='C19',LineNo='1',RelNo='1',LineItemNo=0)"
    assert ifs.get(f"{lines}(ShipmentId=19,ShipmentLineNo=1)").json()["SourceRef1"] == "C19"
    assert ifs.get(order).json()["CatalogNo"]
    for bad in ("(ShipmentId='19')", "(19)", "(ShipmentNo=19)", "(ShipmentId=19,ShipmentId=19)", "(ShipmentId=)"):
        answer = ifs.get(f"{SHIPMENTS}{bad}")
        assert (answer.status_code, error(answer)["message"]) == (400, "Malformed Request."), bad
    assert ifs.get(f"{lines}(ShipmentId=19)").status_code == 400
    missing = ifs.get(f"{SHIPMENTS}(ShipmentId=20)")
    assert (missing.status_code, error(missing)["code"]) == (404, "ITEM_NOT_EXIST")


def test_a_quote_or_slash_in_a_key_is_data(ifs):
    """Sheet 4.1: a quote is doubled."""
    ifs.sim("seed", set="CustomerOrderSet", rows=[{"OrderNo": "O'N/1(a)"}])
    answer = ifs.get("CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='O''N%2F1(a)')")
    assert answer.json()["OrderNo"] == "O'N/1(a)"
    assert len(ifs.get("CustomerOrderHandling.svc/CustomerOrderSet", filter="OrderNo eq 'O''N/1(a)'").json()["value"]) == 1


def test_without_top_a_list_is_silently_cut_at_25(ifs, simulator):
    """Sheet 1.8, 4.3, 13."""
    simulator.make_shipments(count=60, start_id=1)
    default = ifs.get(SHIPMENTS).json()
    assert len(default["value"]) == 25 and "@odata.nextLink" not in default
    full = ifs.get(SHIPMENTS, top=30, orderby="ShipmentId").json()
    assert len(full["value"]) == 30 and "@odata.nextLink" not in full
    rest = ifs.get(SHIPMENTS, top=30, skip=30, orderby="ShipmentId").json()
    assert [r["ShipmentId"] for r in full["value"] + rest["value"]] == list(range(1, 61))
    assert ifs.ids(top=30, skip=60) == []


@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_a_tenant_may_page_by_next_link(ifs, simulator, form):
    """Sheet 4.4: the link may be relative to the projection root and keeps filter, order and select."""
    simulator.make_shipments(count=60, start_id=1)
    ifs.sim("options", next_link=form, page_cap=20)
    root = f"{ifs.url}/main/ifsapplications/projection/v1/"
    body = ifs.get(SHIPMENTS, top=50, filter="ShipmentId gt 5", orderby="ShipmentId desc", select="ShipmentId").json()
    got = [r["ShipmentId"] for r in body["value"]]
    pages = 1
    while link := body.get("@odata.nextLink"):
        assert link.startswith(root if form == "absolute" else "ShipmentHandling.svc/ShipmentSet?$skiptoken=")
        body = ifs.call("GET", link.removeprefix(root)).json()
        got += [r["ShipmentId"] for r in body["value"]]
        pages += 1
    assert (pages, got) == (3, list(range(60, 10, -1)))
    assert ifs.get(SHIPMENTS, skiptoken="nonsense").status_code == 400


def test_select_gives_scalars_only_and_the_etag_stays(ifs, simulator):
    """Sheet 1.7, 4.3, 4.4."""
    simulator.make_shipments(count=1)
    body = ifs.get(SHIPMENTS, select="ShipmentId,Objstate").json()
    assert set(body["value"][0]) == {"@odata.etag", "ShipmentId", "Objstate"}
    assert body["@odata.context"].endswith("$metadata#ShipmentSet(ShipmentId,Objstate)")
    assert "'ContractRef'" in detail(ifs.get(SHIPMENTS, select="ContractRef"))
    assert ifs.get(SHIPMENTS, select="ShipmentId,Nope").status_code == 400


def test_expand_knows_references_but_not_arrays(ifs, simulator):
    """Sheet 1.7, 13: one-to-one works with a nested $select, an array is ODP_NOT_IMPLEMENTED."""
    simulator.make_shipments(count=1, start_id=19)
    row = ifs.get(f"{SHIPMENTS}(ShipmentId=19)", expand="ContractRef($select=Company)").json()
    assert row["ContractRef"]["Company"] == "10" and "Description" not in row["ContractRef"]
    answer = ifs.get("CustomerOrderHandling.svc/CustomerOrderSet", expand="OrderLinesArray")
    assert (answer.status_code, error(answer)["code"]) == (501, "ODP_NOT_IMPLEMENTED")
    assert ifs.get(SHIPMENTS, expand="NopeRef").status_code == 400
    lines = ifs.get("CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='C19')/OrderLinesArray").json()["value"]
    assert [line["OrderNo"] for line in lines] == ["C19"]


@pytest.fixture
def five(simulator):
    """Shipments 1 to 5 with one field told apart each."""
    simulator.make_shipments(count=1, start_id=1, AirwayBillNo="794600000001", NoteText="O'Neil says hi")
    simulator.make_shipments(count=1, start_id=2, state="Preliminary", LoadSequenceNo=4)
    simulator.make_shipments(count=1, start_id=3, site="S2", PlannedShipDate="2026-03-01T08:00:00Z")
    simulator.make_shipments(count=1, start_id=4, ForwardAgentId="UPS", PlannedShipDate="2026-03-02T23:30:00Z")
    simulator.make_shipments(count=1, start_id=5, state="Closed", ManualGrossWeight=2.25, ReceiverCity="Lone Tree")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ShipmentId eq 3", [3]),
        ("3 eq ShipmentId", [3]),
        ("ShipmentId eq 1 or ShipmentId eq 5 or ShipmentId eq 99", [1, 5]),
        ("(ShipmentId eq 1 or ShipmentId eq 2) and Contract eq 'S1'", [1, 2]),
        ("ShipmentId eq 1 and ShipmentId eq 2", []),
        ("ShipmentId ne 3 and ShipmentId le 4 and ShipmentId gt 1", [2, 4]),
        (COMPLETED, [1, 3, 4]),
        (f"not ({COMPLETED})", [2, 5]),
        ("Objstate ne IfsApp.ShipmentHandling.ShipmentState'Completed'", [2, 5]),
        ("AirwayBillNo eq null", [2, 3, 4, 5]),
        ("AirwayBillNo ne null", [1]),
        ("LoadSequenceNo gt 3", [2]),
        ("LoadSequenceNo lt 3", []),
        ("not (LoadSequenceNo lt 3)", [1, 2, 3, 4, 5]),
        ("NoteText eq 'O''Neil says hi'", [1]),
        ("PlannedShipDate ge 2026-03-01T08:00:00Z and PlannedShipDate lt 2026-03-03T00:00:00Z", [3, 4]),
        ("PlannedShipDate eq 2026-03-01T09:00:00+01:00", [3]),
        ("PlannedShipDate gt 2026-03-01T07:59:59.5Z and PlannedShipDate lt 2026-03-01T08:00:00.5Z", [3]),
        ("date(PlannedShipDate) eq 2026-03-02", [4]),
        ("year(PlannedShipDate) eq 2026 and month(PlannedShipDate) eq 3 and hour(PlannedShipDate) eq 23", [4]),
        ("time(PlannedShipDate) eq 23:30:00", [4]),
        ("PlannedShipDate gt now()", []),
        ("contains(ReceiverCity,'one T')", [5]),
        ("startswith(AirwayBillNo,'7946') and endswith(AirwayBillNo,'01')", [1]),
        ("tolower(ReceiverCity) eq 'lone tree'", [5]),
        ("toupper(ReceiverCity) eq concat('LONE',' TREE')", [5]),
        ("length(AirwayBillNo) eq 12", [1]),
        ("indexof(ReceiverCity,'Tree') eq 5", [5]),
        ("substring(ReceiverCity,5) eq 'Tree' and substring(ReceiverCity,0,4) eq 'Lone'", [5]),
        ("trim(ReceiverCity) eq 'Lone Tree'", [5]),
        ("ManualGrossWeight eq 2.25", [5]),
        ("ManualGrossWeight mul 2 eq 4.5", [5]),
        ("ShipmentId + 1 eq 4 or ShipmentId - 1 eq 0", [1, 3]),
        ("ShipmentId gt -1 and ShipmentId lt 2", [1]),
        ("ForwardAgentId eq 'UPS' or AirwayBillNo ne null and Contract eq 'S1'", [1, 4]),
    ],
)
def test_filters_follow_the_grammar(ifs, five, text, expected):
    """Sheet 4.3: operators, literals, functions, precedence; every list is in key order."""
    assert ifs.ids(filter=text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Nope eq 1",
        "ShipmentId eq '3'",
        "Contract eq 3",
        "Objstate eq 'Completed'",
        "Objstate eq IfsApp.CustomerOrderHandling.CustomerOrderState'Released'",
        "Objstate eq IfsApp.ShipmentHandling.ShipmentState'Shipped'",
        "PlannedShipDate ge '2026-03-01T00:00:00Z'",
        "PlannedShipDate ge 2026-03-01",
        "PlannedShipDate ge 2026-03-01T00:00:00",
        "PlannedShipDate ge 2026-02-30T00:00:00Z",
        "ShipmentId eq",
        "ShipmentId eq 3 and",
        "(ShipmentId eq 3",
        "ShipmentId eq 3)",
        "ShipmentId = 3",
        "ShipmentId in (1,2)",
        "ShipmentId",
        "NoteText eq 'O'Neil'",
        "contains(ShipmentId,'1')",
        "shout(NoteText) eq 'A'",
        "contains(NoteText) eq true",
        "Contract EQ 'S1'",
        "",
    ],
)
def test_a_wrong_filter_is_a_malformed_request(ifs, five, text):
    """Sheet 4.3, 6, 13: unknown property, wrong literal type, bad syntax."""
    answer = ifs.get(SHIPMENTS, filter=text)
    assert (answer.status_code, error(answer)["message"]) == (400, "Malformed Request."), answer.text
    assert detail(answer)


def test_an_unknown_property_is_named_with_its_type(ifs):
    """Sheet 6."""
    told = detail(ifs.get(SHIPMENTS, filter="Foo eq 1"))
    assert told == "The property 'Foo', used in a query expression, is not defined in type 'IfsApp.ShipmentHandling.Shipment'."


@pytest.mark.parametrize(
    "text",
    ["ShipmentId mod 2 eq 1", "round(ManualGrossWeight) eq 2", "Lines/any(x:x/Id eq 1)", "Lines/$count gt 1", "Objstate has 1"],
)
def test_what_ifs_does_not_support_in_filters_is_501(ifs, text):
    """Sheet 4.3, "not supported in $filter"."""
    answer = ifs.get(SHIPMENTS, filter=text)
    assert (answer.status_code, error(answer)["code"]) == (501, "ODP_NOT_IMPLEMENTED")


def test_a_plus_is_not_a_space(ifs, five):
    """Sheet 4.1: spaces are %20."""
    assert ifs.call("GET", f"{SHIPMENTS}?$filter=ShipmentId+eq+3").status_code == 400
    assert ifs.call("GET", f"{SHIPMENTS}?%24filter=ShipmentId%20eq%203").status_code == 200


def test_a_lenient_tenant_takes_plain_states(ifs, five):
    """Sheet 13, tenant option."""
    ifs.sim("options", enum_lenient=True)
    assert ifs.ids(filter="Objstate eq 'Completed'") == [1, 3, 4]


def test_order_count_and_refused_options(ifs, five):
    """Sheet 4.3; nulls come last ascending, as in Oracle."""
    assert ifs.ids(orderby="LoadSequenceNo,ShipmentId desc") == [2, 5, 4, 3, 1]
    assert ifs.get(SHIPMENTS, count="true", top=2).json()["@odata.count"] == 5
    ifs.sim("options", count=False)
    assert "@odata.count" not in ifs.get(SHIPMENTS, count="true", top=2).json()
    assert ifs.get(SHIPMENTS, top="-1").status_code == 400
    assert ifs.get(SHIPMENTS, top="many").status_code == 400
    assert ifs.get(SHIPMENTS, orderby="Nope").status_code == 400
    assert ifs.get(SHIPMENTS, wish="x").status_code == 400
    assert ifs.get(SHIPMENTS, search="x").status_code == 501
    assert ifs.call("GET", f"{SHIPMENTS}?$top=1&$top=2").status_code == 400


def test_lines_handling_units_and_addresses_belong_to_their_shipment(ifs, simulator):
    """Sheet 9.2, 9.4, 9.5: the default queries of the sheet."""
    simulator.make_shipments(count=3, start_id=1, lines=2, handling_units=2, own_address=False)
    lines = ifs.get("ShipmentHandling.svc/ShipmentLineSet", filter="ShipmentId eq 2").json()["value"]
    assert [(r["ShipmentId"], r["ShipmentLineNo"], r["SourceRef1"], r["SourceRef4"]) for r in lines] == [
        (2, 1, "C2", "0"),
        (2, 2, "C2", "0"),
    ]
    many = ifs.get("HandlingUnitsHandling.svc/HandlingUnits", filter="ShipmentId eq 2 or ShipmentId eq 3", top=9).json()["value"]
    assert [r["ShipmentId"] for r in many] == [2, 2, 3, 3]
    assert all(r["OperativeGrossWeight"] > 0 and r["UomForWeight"] in ("kg", "lb") for r in many)
    shipment = ifs.read(2)
    assert shipment["ReceiverAddress1"] is None
    wanted = f"CustomerId eq '{shipment['ReceiverId']}' and AddressId eq '{shipment['ReceiverAddrId']}'"
    (address,) = ifs.get("CustomerHandling.svc/Reference_CustomerInfoAddressPublic", filter=wanted).json()["value"]
    assert address["ZipCode"] and address["City"]


# -- rights --------------------------------------------------------------------------------------------


def test_other_companies_and_sites_do_not_exist_for_the_user(ifs, simulator):
    """Sheet 1.10, 13: rows invisible, write 403."""
    simulator.make_shipments(count=1, start_id=1, site="S9")
    simulator.make_shipments(count=1, start_id=2, site="S1")
    assert ifs.ids() == [2]
    assert ifs.ids(filter="ShipmentId eq 1") == []
    assert ifs.get("ShipmentHandling.svc/ShipmentLineSet", filter="ShipmentId eq 1").json()["value"] == []
    assert ifs.get(f"{SHIPMENTS}(ShipmentId=1)").status_code == 404
    assert ifs.patch(1, {"AirwayBillNo": "1"}, "*").status_code == 403
    assert simulator.tracking_numbers("standard") == {}
    sites = ifs.get("SitesHandling.svc/Reference_CompanySite", filter="Company eq '20'", top=1)
    assert (sites.status_code, sites.json()["value"]) == (200, [])
    assert len(ifs.get("SitesHandling.svc/Reference_CompanySite", filter="Company eq '10'").json()["value"]) == 2
    ifs.sim("options", allowed_companies=["10", "20"], allowed_sites=["S1", "S9"])
    assert ifs.ids() == [1, 2]


def test_a_missing_grant_is_403(ifs, simulator):
    """Sheet 6, 13."""
    simulator.make_shipments(count=1, start_id=1)
    ifs.sim("options", denied_projections=["HandlingUnitsHandling"], read_only_projections=["ShipmentHandling"])
    assert ifs.get("HandlingUnitsHandling.svc/HandlingUnits").status_code == 403
    row = ifs.read(1)
    assert ifs.patch(1, {"AirwayBillNo": "1"}, row["@odata.etag"]).status_code == 403

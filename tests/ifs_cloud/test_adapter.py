"""The adapter: which calls it makes, what it answers, how a ping explains itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import responses
from responses import matchers

from integrations.base.errors import ConfigurationError, Conflict, FieldConflict, Rejected, Unavailable
from integrations.base.records import Document, PingLayer, Problem, WriteBack
from integrations.base.roles import ListQuery, Site
from integrations.ifs_cloud import client as client_module
from integrations.ifs_cloud.profile_defaults import DEFAULTS
from tests.ifs_cloud.support import (
    ADDRESSES,
    ETAG,
    ETAG_2,
    LINES,
    ORDER_LINES,
    ORDERS,
    ROOT,
    SHIPMENTS,
    SITES,
    TOKEN_URL,
    UNITS,
    adapter,
    error,
    give_token,
    path_of,
    query_of,
    rows,
    shipment,
)

RECORD = f"{SHIPMENTS}(ShipmentId=19)"


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        give_token(mocked)
        yield mocked


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "pause", lambda number: None)
    monkeypatch.setattr("integrations.base.http.BACKOFF_S", 0.0)


def api_calls(mock: responses.RequestsMock) -> list[Any]:
    return [call for call in mock.calls if call.request.url != TOKEN_URL]


# -- listing -------------------------------------------------------------------------------------------------

S1 = Site("10", "S1")


def test_a_poll_is_one_call_that_asks_for_few_fields(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(19), shipment(20, Contract="S2")))
    erp = adapter()
    pages = list(erp.list_documents(ListQuery("shipment", (S1, Site("10", "S2")), dt.date(2026, 3, 1))))
    assert [[(h.key, h.company_code, h.site) for h in page] for page in pages] == [
        [("shipment:19", "10", "S1"), ("shipment:20", "10", "S2")]
    ]
    (call,) = api_calls(mock)
    assert query_of(call) == {
        "$select": "ShipmentId,Objstate,Contract,PlannedShipDate",
        "$filter": "(Contract eq 'S1' or Contract eq 'S2') and Objstate eq IfsApp.ShipmentHandling.ShipmentState'Completed'"
        " and (PlannedShipDate ge 2026-03-01T00:00:00Z or PlannedShipDate eq null)",
        "$orderby": "ShipmentId",
        "$top": "200",
    }


def test_sites_are_asked_for_twenty_at_a_time(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows())
    sites = tuple(Site("10", f"S{n:02}") for n in range(41))
    assert list(adapter().list_documents(ListQuery("shipment", sites))) == [[], [], []]
    assert [query_of(call)["$filter"].count("Contract eq") for call in api_calls(mock)] == [20, 20, 1]


def test_without_sites_nothing_is_asked(mock: responses.RequestsMock) -> None:
    assert list(adapter().list_documents(ListQuery("shipment", ()))) == []
    assert not mock.calls


def test_rows_that_cannot_be_read_are_counted_and_the_others_given(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(None), shipment(20), shipment(21, PlannedShipDate="?"), shipment(22, Contract="S9")))  # type: ignore[arg-type]
    erp = adapter()
    (page,) = erp.list_documents(ListQuery("shipment", (S1,)))
    assert [head.key for head in page] == ["shipment:20"]
    assert len(erp.unreadable) == 3
    mock.replace(responses.GET, SHIPMENTS, json=rows())
    list(erp.list_documents(ListQuery("shipment", (S1,))))
    assert erp.unreadable == []


def test_a_stamp_that_the_tenant_lacks_falls_back_to_the_date_window(mock: responses.RequestsMock) -> None:
    text = "The property 'LastModifiedDate', used in a query expression, is not defined in type 'X'."
    mock.get(SHIPMENTS, status=400, json=error("X", "Malformed Request.", ("Y", text)))
    mock.get(SHIPMENTS, json=rows(shipment(19)))
    erp = adapter({"shipment": {"poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"}}})
    assert [len(page) for page in erp.list_documents(ListQuery("shipment", (S1,), dt.date(2026, 3, 1)))] == [1]
    first, second = (query_of(call)["$filter"] for call in api_calls(mock))
    assert "LastModifiedDate ge" in first and "PlannedShipDate ge" in second and "LastModifiedDate" not in second


def test_a_poll_that_ifs_refuses_is_a_configuration_error(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, status=400, json=error("X", "Malformed Request.", ("Y", "incompatible types")))
    with pytest.raises(ConfigurationError) as caught:
        list(adapter().list_documents(ListQuery("shipment", (S1,))))
    assert caught.value.code == "query_refused"


def test_other_kinds_are_not_offered() -> None:
    erp = adapter()
    with pytest.raises(ConfigurationError):
        erp.ready_rule("invoice")
    with pytest.raises(ConfigurationError):
        list(erp.list_documents(ListQuery("invoice", (S1,))))
    assert erp.ready_rule("shipment") == "Objstate in (Completed)"


# -- reading -----------------------------------------------------------------------------------------------------

NO_STREET = {"ReceiverAddress1": None, "ReceiverAddress3": None}


def line(number: int, **over: Any) -> dict[str, Any]:
    return {"ShipmentId": number, "ShipmentLineNo": 1, "SourceRefType": "CustomerOrder", "SourceRef1": f"C{number}"} | over


def test_twenty_documents_take_four_calls(mock: responses.RequestsMock) -> None:
    numbers = range(1, 21)
    mock.get(SHIPMENTS, json=rows(*(shipment(n, **(NO_STREET if n == 7 else {})) for n in numbers)))
    mock.get(LINES, json=rows(*(line(n) for n in numbers)))
    mock.get(UNITS, json=rows({"HandlingUnitId": 5, "ShipmentId": 7, "OperativeGrossWeight": 2.5, "UomForWeight": "kg"}))
    customer = {"CustomerId": "C-77", "AddressId": "01", "Name": "C", "Address1": "Main St 1", "City": "Linz", "Country": "AT"}
    mock.get(ADDRESSES, json=rows(customer))
    keys = [f"shipment:{n}" for n in numbers]
    found = adapter().read_documents(keys)
    assert list(found) == keys
    assert [path_of(call).rpartition("/")[2] for call in api_calls(mock)] == [
        "ShipmentSet",
        "ShipmentLineSet",
        "HandlingUnits",
        "Reference_CustomerInfoAddressPublic",
    ]
    header, lines, units, addresses = (query_of(call) for call in api_calls(mock))
    alternatives = " or ".join(f"ShipmentId eq {n}" for n in numbers)
    assert header["$filter"] == lines["$filter"] == units["$filter"] == f"({alternatives})"
    assert addresses["$filter"] == "(CustomerId eq 'C-77' and AddressId eq '01')"
    assert all(len(call.request.url) < 4000 for call in api_calls(mock))
    seventh, eighth = found["shipment:7"], found["shipment:8"]
    assert isinstance(seventh, Document) and isinstance(eighth, Document)
    assert (seventh.recipient.lines, seventh.recipient.city) == (("Main St 1",), "Linz")
    assert eighth.recipient.lines == ("12 Elm St", "Dock 4")
    assert [u.unit_id for u in seventh.handling_units] == ["5"] and eighth.handling_units == ()
    assert [ln.order_ref for ln in eighth.lines] == ["C8"]


def test_more_keys_are_read_in_groups(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(*(shipment(n) for n in range(1, 21))))
    mock.get(SHIPMENTS, json=rows(shipment(21)))
    mock.get(LINES, json=rows())
    mock.get(UNITS, json=rows())
    found = adapter().read_documents([f"shipment:{n}" for n in range(1, 22)])
    assert all(isinstance(document, Document) for document in found.values()) and len(found) == 21
    assert len(api_calls(mock)) == 6


def test_what_ifs_does_not_list_is_gone_and_the_others_are_unharmed(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(19), shipment(20, ManualGrossWeight="heavy")))
    mock.get(LINES, json=rows())
    mock.get(UNITS, json=rows())
    found = adapter().read_documents(["shipment:19", "shipment:20", "shipment:21", "order:1", "shipment:19"])
    assert isinstance(found["shipment:19"], Document)
    problems = {key: value.error for key, value in found.items() if isinstance(value, Problem)}
    assert {key: (type(e), e.code) for key, e in problems.items()} == {  # type: ignore[attr-defined]
        "shipment:20": (Rejected, "unreadable_field"),
        "shipment:21": (Rejected, "document_gone"),
        "order:1": (Rejected, "bad_key"),
    }


def test_nothing_found_asks_for_nothing_more(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows())
    found = adapter().read_documents(["shipment:19"])
    assert isinstance(found["shipment:19"], Problem)
    assert len(api_calls(mock)) == 1


def test_a_header_without_a_number_does_not_make_another_one_gone(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(None)))  # type: ignore[arg-type]
    problem = adapter().read_documents(["shipment:19"])["shipment:19"]
    assert isinstance(problem, Problem) and isinstance(problem.error, Rejected) and problem.error.code == "unreadable_rows"


def test_units_that_belong_to_nobody_known_stop_the_read(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(19)))
    mock.get(LINES, json=rows())
    mock.get(UNITS, json=rows({"HandlingUnitId": 5, "OperativeGrossWeight": 2}))
    with pytest.raises(Rejected) as caught:
        adapter().read_documents(["shipment:19"])
    assert caught.value.code == "unreadable_rows"


def test_an_own_ready_filter_is_asked_of_ifs_again_before_a_send(mock: responses.RequestsMock) -> None:
    mine = "(ShipmentId eq 19 or ShipmentId eq 20) and (Cf_Ready eq true)"
    mock.get(
        SHIPMENTS, json=rows({"ShipmentId": 20}), match=[matchers.query_param_matcher({"$filter": mine}, strict_match=False)]
    )
    mock.get(SHIPMENTS, json=rows(shipment(19), shipment(20)))
    mock.get(LINES, json=rows())
    mock.get(UNITS, json=rows())
    found = adapter({"shipment": {"ready_filter": "Cf_Ready eq true"}}).read_documents(["shipment:19", "shipment:20"])
    assert {key: document.ready for key, document in found.items() if isinstance(document, Document)} == {
        "shipment:19": False,
        "shipment:20": True,
    }


def test_a_batch_that_fails_as_a_whole_raises(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, json=rows(shipment(19)))
    mock.get(LINES, status=503)
    with pytest.raises(Unavailable):
        adapter().read_documents(["shipment:19"])


# -- writing -------------------------------------------------------------------------------------------------------

WRITE = WriteBack("7946", carrier="FEDEX", ship_date=dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC))


def test_a_write_back_is_one_get_and_one_patch(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    mock.patch(RECORD, json=shipment(19, AirwayBillNo="7946") | {"@odata.etag": ETAG_2})
    result = adapter().write_tracking("shipment:19", WRITE)
    assert (result.version, result.written, result.skipped) == (ETAG_2, ("AirwayBillNo", "ForwardAgentId", "ActualShipDate"), ())
    read, sent = api_calls(mock)
    assert (read.request.method, sent.request.method) == ("GET", "PATCH")
    assert path_of(sent).endswith("/ShipmentHandling.svc/ShipmentSet(ShipmentId=19)")
    assert sent.request.headers["If-Match"] == ETAG
    assert sent.request.body == b'{"AirwayBillNo":"7946","ForwardAgentId":"FEDEX","ActualShipDate":"2026-03-02T06:00:00Z"}'


def test_a_write_back_that_stands_already_sends_nothing(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19, AirwayBillNo="7946", ForwardAgentId="FEDEX", ActualShipDate="2026-03-02T06:00:00Z"))
    result = adapter().write_tracking("shipment:19", WRITE)
    assert (result.version, result.written) == (ETAG, ())
    assert len(api_calls(mock)) == 1


def test_a_204_is_followed_by_one_get(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    mock.patch(RECORD, status=204)
    mock.get(RECORD, json=shipment(19, AirwayBillNo="7946") | {"@odata.etag": ETAG_2})
    assert adapter().write_tracking("shipment:19", WriteBack("7946")).version == ETAG_2
    assert [call.request.method for call in api_calls(mock)] == ["GET", "PATCH", "GET"]


def test_another_field_changed_in_between_survives(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    mock.get(RECORD, json=shipment(19, ForwardAgentId="DHL") | {"@odata.etag": ETAG_2})
    mock.patch(RECORD, status=412)
    mock.patch(RECORD, json={"@odata.etag": "W/third"})
    result = adapter().write_tracking("shipment:19", WriteBack("7946", carrier="FEDEX"))
    assert (result.version, result.written, result.skipped) == ("W/third", ("AirwayBillNo",), ("ForwardAgentId",))
    assert api_calls(mock)[-1].request.body == b'{"AirwayBillNo":"7946"}'


def test_our_field_changed_in_between_is_a_conflict_for_a_person(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    mock.get(RECORD, json=shipment(19, AirwayBillNo="333") | {"@odata.etag": ETAG_2})
    mock.patch(RECORD, status=412)
    with pytest.raises(FieldConflict) as caught:
        adapter().write_tracking("shipment:19", WriteBack("7946"))
    assert (caught.value.theirs, caught.value.ours) == ("333", "7946")
    assert [call.request.method for call in api_calls(mock)] == ["GET", "PATCH", "GET"]


def test_a_record_that_keeps_moving_ends_as_conflict(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    mock.patch(RECORD, status=412)
    with pytest.raises(Conflict):
        adapter().write_tracking("shipment:19", WriteBack("7946"))


def test_a_write_to_a_record_that_is_gone(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, status=404, json=error("ITEM_NOT_EXIST", "gone"))
    with pytest.raises(Rejected) as caught:
        adapter().write_tracking("shipment:19", WRITE)
    assert caught.value.code == "document_gone"


def test_a_target_field_that_the_tenant_lacks_stops_the_connection(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19))
    text = "The property 'Cf_Tracking_No' is not defined in type 'IfsApp.ShipmentHandling.Shipment'."
    mock.patch(RECORD, status=400, json=error("X", "Malformed Request.", ("Y", text)))
    with pytest.raises(ConfigurationError) as caught:
        adapter({"shipment": {"tracking_field": "Cf_Tracking_No"}}).write_tracking("shipment:19", WriteBack("7946"))
    assert (caught.value.code, caught.value.field) == ("unknown_property", "Cf_Tracking_No")


def test_our_number_is_cleared_with_null_and_another_one_is_left(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(19, AirwayBillNo="7946"))
    mock.patch(RECORD, json={"@odata.etag": ETAG_2})
    erp = adapter()
    result = erp.clear_tracking("shipment:19", frozenset({"7946"}))
    assert (result.version, result.written, result.skipped) == (ETAG_2, ("AirwayBillNo",), ())
    assert api_calls(mock)[-1].request.body == b'{"AirwayBillNo":null}'
    result = erp.clear_tracking("shipment:19", frozenset({"5555"}))
    assert (result.version, result.written, result.skipped) == (ETAG, (), ("AirwayBillNo",))


# -- ping ------------------------------------------------------------------------------------------------------------


def edmx(service: str, sets: dict[str, dict[str, str]], states: str = "Preliminary Completed Closed Cancelled") -> str:
    namespace = f"IfsApp.{service}"
    members = "".join(f'<Member Name="{state}"/>' for state in states.split())
    types = "".join(
        f'<EntityType Name="{name}Type">'
        + "".join(f'<Property Name="{p}" Type="{t}"/>' for p, t in fields.items())
        + "</EntityType>"
        for name, fields in sets.items()
    )
    container = "".join(f'<EntitySet Name="{name}" EntityType="{namespace}.{name}Type"/>' for name in sets)
    return (
        '<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"><edmx:DataServices>'
        f'<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="{namespace}">'
        f'<EnumType Name="ShipmentState">{members}</EnumType>{types}<EntityContainer Name="C">{container}</EntityContainer>'
        "</Schema></edmx:DataServices></edmx:Edmx>"
    )


HEADER_FIELDS = (
    {name: "Edm.String" for name in shipment() if not name.startswith("@")}
    | {f"{side}Address{n}": "Edm.String" for side in ("Receiver", "Sender") for n in range(1, 7)}
    | {f"Sender{name}": "Edm.String" for name in ("Name", "City", "State", "ZipCode", "Country")}
    | {
        "Objstate": "IfsApp.ShipmentHandling.ShipmentState",
        "PlannedShipDate": "Edm.DateTimeOffset",
        "ActualShipDate": "Edm.DateTimeOffset",
    }
)
LINE_FIELDS = {name: "Edm.String" for name in ("ShipmentId", *DEFAULTS["shipment"]["lines"].values()) if name}
UNIT_FIELDS = {name: "Edm.String" for key, name in DEFAULTS["handling_unit"].items() if key.endswith("_field")}
ADDRESS_FIELDS = dict.fromkeys(
    ["CustomerId", "AddressId", *filter(None, DEFAULTS["customer_address"]["fields"].values())], "Edm.String"
)


ORDER_LINE_FIELDS = dict.fromkeys(
    filter(
        None,
        [
            *DEFAULTS["customer_order"]["lines"]["key"],
            *(name for key, name in DEFAULTS["customer_order"]["lines"].items() if key.endswith("_field")),
        ],
    ),
    "Edm.String",
)


def healthy(mock: responses.RequestsMock, **header: Any) -> None:
    """A tenant where everything is as the default profile expects; `header` changes the shipment's fields (None: absent)."""
    fields = {name: kind for name, kind in (HEADER_FIELDS | header).items() if kind}
    for service, sets in {
        "ShipmentHandling": {"ShipmentSet": fields, "ShipmentLineSet": LINE_FIELDS},
        "HandlingUnitsHandling": {"HandlingUnits": UNIT_FIELDS},
        "CustomerHandling": {"Reference_CustomerInfoAddressPublic": ADDRESS_FIELDS},
        "CustomerOrderHandling": {
            "CustomerOrderSet": {"OrderNo": "Edm.String", "CurrencyCode": "Edm.String"},
            "CustomerOrderLineSet": ORDER_LINE_FIELDS,
        },
    }.items():
        mock.get(f"{ROOT}/{service}.svc/$metadata", body=edmx(service, sets), content_type="application/xml")
    mock.get(SITES, json=rows({"Company": "10", "Contract": "S1"}, {"Company": "10", "Contract": "S2"}))
    for url in (SHIPMENTS, LINES, UNITS, ADDRESSES, ORDERS, ORDER_LINES):
        mock.get(url, json=rows())


def layers(settings: dict[str, Any] | None = None, **rest: Any) -> dict[str, PingLayer]:
    return {layer.layer: layer for layer in adapter(settings, **rest).ping()}


LAYERS = [
    "token",
    "gateway",
    "company 10",
    "shipments: read",
    "shipment lines: read",
    "handling units: read",
    "customer addresses: read",
    "shipments: profile",
    "shipment lines: profile",
    "handling units: profile",
    "customer addresses: profile",
    "customer order lines: read",
    "customer orders: read",
]


def test_a_ping_of_a_healthy_tenant_is_all_ok_and_reads_only(mock: responses.RequestsMock) -> None:
    healthy(mock)
    found = layers()
    assert [(name, layer.state) for name, layer in found.items()] == [(name, "ok") for name in LAYERS]
    assert {call.request.method for call in api_calls(mock)} == {"GET"}
    company = next(call for call in api_calls(mock) if path_of(call).endswith("Reference_CompanySite"))
    assert query_of(company)["$filter"] == "Company eq '10'"
    read = next(call for call in api_calls(mock) if path_of(call).endswith("/ShipmentSet"))
    assert query_of(read)["$top"] == "1" and "ShipmentState'Completed'" in query_of(read)["$filter"]


def test_a_refused_login_leaves_the_rest_unchecked(mock: responses.RequestsMock) -> None:
    mock.replace(responses.POST, TOKEN_URL, status=401, json={"error": "invalid_client"})
    found = layers()
    assert [layer.state for layer in found.values()] == ["failed"] + ["not_checked"] * (len(LAYERS) - 1)
    assert list(found) == LAYERS
    assert found["token"].remedy
    assert len(mock.calls) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 404, "json": error("X", "Metadata not found.")}, "shipment.service"),
        ({"status": 403, "json": error("X", "no grant")}, "denies"),
        ({"status": 404, "body": "<html>nginx</html>"}, "no IFS at this address"),
        ({"status": 200, "body": "<html>login</html>"}, "cannot be read"),
        ({"status": 503, "body": ""}, "503"),
    ],
)
def test_a_gateway_that_fails_leaves_the_rest_unchecked(mock: responses.RequestsMock, answer: dict[str, Any], says: str) -> None:
    mock.get(f"{ROOT}/ShipmentHandling.svc/$metadata", **answer)
    found = layers()
    assert [layer.state for layer in found.values()] == ["ok", "failed"] + ["not_checked"] * (len(LAYERS) - 2)
    assert says in found["gateway"].message and found["gateway"].remedy


def test_an_empty_company_is_explained_both_ways(mock: responses.RequestsMock) -> None:
    healthy(mock)
    mock.replace(responses.GET, SITES, json=rows())
    layer = layers()["company 10"]
    assert layer.state == "failed"
    assert "no such company" in layer.message and "may not see" in layer.message and "Allowed Companies" in layer.remedy


def test_a_site_that_is_not_listed_is_named_with_those_found(mock: responses.RequestsMock) -> None:
    healthy(mock)
    mock.replace(responses.GET, SITES, json=rows({"Company": "10", "Contract": "S1"}, {"Company": "10", "Contract": "S7"}))
    found = layers()
    assert found["company 10"].state == "failed"
    assert "no site S2" in found["company 10"].message and "S1, S7" in found["company 10"].message
    assert found["shipments: read"].state == "ok"


def test_without_company_codes_the_ping_says_so(mock: responses.RequestsMock) -> None:
    healthy(mock)
    assert layers(companies=[])["companies"].state == "warning"


def test_a_set_that_may_not_be_read_is_told_by_name(mock: responses.RequestsMock) -> None:
    healthy(mock)
    mock.replace(responses.GET, UNITS, status=403, json=error("X", "no"))
    found = layers()
    assert {name for name, layer in found.items() if layer.state != "ok"} == {"handling units: read"}
    assert "handling_unit.service" in found["handling units: read"].message


def test_what_only_shipments_abroad_need_is_a_warning(mock: responses.RequestsMock) -> None:
    healthy(mock)
    mock.replace(responses.GET, ORDER_LINES, status=403, json=error("X", "no"))
    found = layers({"customer_order": {"currency_field": "Curency"}})
    assert {name: layer.state for name, layer in found.items() if layer.state != "ok"} == {
        "customer order lines: read": "warning",
        "customer orders: read": "warning",
    }
    assert "only for shipments across borders" in found["customer order lines: read"].message
    assert "customer_order.currency_field: no field Curency" in found["customer orders: read"].message


def test_a_wrong_set_name_is_told_with_the_nearest(mock: responses.RequestsMock) -> None:
    healthy(mock)
    mock.get(f"{ROOT}/HandlingUnitsHandling.svc/HandlingUnitSet", status=404, json=error("ODP_RESOURCE_NOTFOUND", "x"))
    found = layers({"handling_unit": {"set": "HandlingUnitSet"}})
    assert found["handling units: profile"].state == "failed"
    assert "nearest: HandlingUnits" in found["handling units: profile"].message
    assert "handling_unit.set" in found["handling units: read"].message


@pytest.mark.parametrize(
    ("header", "settings", "state", "says"),
    [
        ({"AirwayBillNo": None}, {}, "failed", "shipment.tracking_field: no field AirwayBillNo"),
        ({}, {"shipment": {"tracking_field": "AirwayBilNo"}}, "failed", "nearest: AirwayBillNo"),
        ({"ReceiverAddress6": None}, {}, "warning", "shipment.receiver.address6: no field ReceiverAddress6"),
        ({"PlannedShipDate": "Edm.Date"}, {}, "failed", "shipment.poll.date_type"),
        ({"Objstate": "Edm.String"}, {}, "failed", "state_literal"),
        ({}, {"shipment": {"ready_states": ["Compleeted"]}}, "failed", "Compleeted does not exist"),
        ({}, {"shipment": {"poll": {"stamp_field": "Stamp"}}}, "warning", "shipment.poll.stamp_field: no field Stamp"),
        ({"AirwayBillNo": None}, {"shipment": {"tracking_field": None}}, "ok", "exist"),
    ],
)
def test_the_profile_is_compared_with_the_metadata(
    mock: responses.RequestsMock, header: dict[str, Any], settings: dict[str, Any], state: str, says: str
) -> None:
    healthy(mock, **header)
    layer = layers(settings)["shipments: profile"]
    assert layer.state == state
    assert says in layer.message

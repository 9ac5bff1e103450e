"""The client against the IFS simulator over real HTTP: two tenants, paging, guarded writes, faults, ping."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.base.context import Company, CompanySite
from integrations.base.errors import ConfigurationError, Conflict, FieldConflict, RateLimited, Rejected, Unavailable
from integrations.base.http import recording
from integrations.base.records import Document, Problem, WriteBack
from integrations.base.roles import ListQuery, Site
from integrations.base.simulator import SimulatorServer
from integrations.base.testing import MemoryRecorder, context_for
from integrations.ifs_cloud import client as client_module
from integrations.ifs_cloud.adapter import IfsCloud
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from integrations.ifs_cloud.vendor import VENDOR

COMPANIES = [Company("10", (CompanySite("S1", "America/Chicago"), CompanySite("S2", "America/Chicago")))]
SITES = (Site("10", "S1"), Site("10", "S2"))
CUSTOM = {
    "realm": "custom1",
    "shipment": {
        "service": "CShipmentHandling",
        "tracking_field": "Cf_Tracking_No",
        "ready_filter": "Cf_Ready_To_Ship eq true",
        "poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"},
        "receiver": {"phone": "Cf_Receiver_Phone"},
    },
}
SECRETS = {"standard1": ("MLC", "ifs-demo-secret"), "custom1": ("MLCC", "ifs-custom-secret")}


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with SimulatorServer([IfsCloudSimulator()]) as started:
        yield started
        assert started.errors == []


@pytest.fixture
def sim(server: SimulatorServer) -> IfsCloudSimulator:
    simulator = server.simulators["/ifs_cloud"]
    assert isinstance(simulator, IfsCloudSimulator)
    return simulator


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "pause", lambda number: None)


def connect(server: SimulatorServer, settings: dict[str, Any] | None = None, *, secret: str = "", **rest: Any) -> IfsCloud:
    whole = {"realm": "standard1"} | (settings or {})
    client_id, right = SECRETS.get(whole["realm"], ("MLC", "ifs-demo-secret"))
    credentials = {"client_id": client_id, "client_secret": secret or right}
    rest.setdefault("companies", COMPANIES)
    return IfsCloud(context_for(VENDOR, {"base": f"{server.url}/ifs_cloud"}, credentials, whole, **rest))


def keys(erp: IfsCloud, since: dt.date | None = None) -> list[str]:
    return [head.key for page in erp.list_documents(ListQuery("shipment", SITES, since)) for head in page]


def patches(sim: IfsCloudSimulator) -> int:
    return sum(call["method"] == "PATCH" for call in sim.calls)


# -- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "page_size", "calls"),
    [
        ({}, 200, 1),
        ({}, 10, 3),
        ({}, 25, 2),
        ({"page_cap": 7, "next_link": "relative"}, 200, 4),
        ({"page_cap": 7, "next_link": "absolute"}, 200, 4),
        ({"page_cap": 5, "next_link": "absolute"}, 10, 5),
        ({"page_cap": 5, "next_link": "relative"}, 25, 6),
    ],
)
def test_every_way_of_paging_gives_every_shipment_once(
    server: SimulatorServer, sim: IfsCloudSimulator, options: dict[str, Any], page_size: int, calls: int
) -> None:
    made = sim.make_shipments(count=25)
    sim.make_shipments(count=3, state="Preliminary")
    sim.make_shipments(count=2, site="S9")
    sim.set_options("standard", **options)
    assert keys(connect(server, {"page_size": page_size})) == [f"shipment:{n}" for n in made]
    assert sim.counts["GET ShipmentHandling.svc/ShipmentSet"] == calls


def test_the_window_takes_shipments_without_a_date(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    old, new, none = (
        sim.make_shipments(PlannedShipDate=date)[0] for date in ("2026-01-05T08:00:00Z", "2026-03-02T08:00:00Z", None)
    )
    erp = connect(server)
    assert keys(erp, dt.date(2026, 3, 1)) == [f"shipment:{n}" for n in (new, none)]
    assert keys(erp) == [f"shipment:{n}" for n in (old, new, none)]


def test_twenty_shipments_are_read_in_three_calls_or_four(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    made = sim.make_shipments(count=20, lines=3, handling_units=2)
    sim.counts.clear()
    erp = connect(server)
    found = erp.read_documents([f"shipment:{n}" for n in made])
    assert sum(count for name, count in sim.counts.items() if name != "POST token") == 3
    document = found[f"shipment:{made[0]}"]
    assert isinstance(document, Document)
    assert (document.ready, document.company_code, document.site) == (True, "10", "S1")
    assert len(document.lines) == 3 and {line.order_ref for line in document.lines} == {f"C{made[0]}"}
    assert document.handling_units and all(unit.weight and unit.weight_unit for unit in document.handling_units)
    assert document.recipient.lines and document.recipient.name and document.sender is not None
    (bare,) = sim.make_shipments(own_address=False)
    sim.counts.clear()
    found = erp.read_documents([f"shipment:{n}" for n in (*made[:19], bare)])
    assert sum(sim.counts.values()) == 4
    document = found[f"shipment:{bare}"]
    assert isinstance(document, Document)
    assert document.recipient.lines and document.recipient.company and document.recipient.country == "UNITED STATES"


def test_heads_and_documents_name_the_same_version(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    erp = connect(server)
    ((head,),) = erp.list_documents(ListQuery("shipment", SITES))
    document = erp.read_documents([head.key])[head.key]
    assert isinstance(document, Document)
    assert head.version == document.version == sim.shipment("standard", number)["@odata.etag"]


def test_a_shipment_of_a_company_that_is_not_allowed_looks_gone(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (foreign,) = sim.make_shipments(site="S9")
    (problem,) = connect(server).read_documents([f"shipment:{foreign}"]).values()
    assert isinstance(problem, Problem) and isinstance(problem.error, Rejected) and problem.error.code == "document_gone"


# -- the customised tenant -------------------------------------------------------------------------------------


def test_the_customised_tenant_needs_only_another_profile(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments("custom")
    (held,) = sim.make_shipments("custom", Cf_Ready_To_Ship=False)
    erp = connect(server, CUSTOM)
    assert keys(erp, dt.date(2020, 1, 1)) == [f"shipment:{number}"]
    found = erp.read_documents([f"shipment:{number}", f"shipment:{held}"])
    assert {key: document.ready for key, document in found.items() if isinstance(document, Document)} == {
        f"shipment:{number}": True,
        f"shipment:{held}": False,
    }
    ready = found[f"shipment:{number}"]
    assert isinstance(ready, Document) and ready.recipient.phone
    erp.write_tracking(f"shipment:{number}", WriteBack("794600000011"))
    assert sim.tracking_numbers("custom", "Cf_Tracking_No") == {number: "794600000011"}
    assert {layer.layer for layer in erp.ping() if layer.state != "ok"} == set()


def test_a_stamp_that_the_tenant_lacks_falls_back(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    erp = connect(server, {"shipment": {"poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate"}}})
    assert keys(erp, dt.date(2020, 1, 1)) == [f"shipment:{number}"]


@pytest.mark.parametrize("settings", [{"gateway": "int"}, {"state_literal": "string"}])
def test_other_spellings_of_the_profile_work_where_the_tenant_does(
    server: SimulatorServer, sim: IfsCloudSimulator, settings: dict[str, Any]
) -> None:
    sim.set_options("standard", enum_lenient=True)
    (number,) = sim.make_shipments()
    assert keys(connect(server, settings)) == [f"shipment:{number}"]


@pytest.mark.parametrize(
    "settings",
    [{"state_literal": "string"}, {"shipment": {"state_enum": "State"}}, {"shipment": {"poll": {"date_type": "date"}}}],
)
def test_a_literal_of_the_wrong_type_is_mended_by_the_tenants_own_description(
    server: SimulatorServer, sim: IfsCloudSimulator, settings: dict[str, Any]
) -> None:
    (number,) = sim.make_shipments()
    assert keys(connect(server, settings)) == [f"shipment:{number}"]
    layers = {each.layer: each for each in connect(server, settings).ping()}
    told = layers["shipments: read"]
    assert told.state == "warning" and ("state_literal" in told.message or "date_type" in told.message)


# -- writing -----------------------------------------------------------------------------------------------------

WRITE = WriteBack("794600000011", carrier="FEDEX", ship_date=dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC))


@pytest.mark.parametrize(("answer", "calls"), [(200, ["GET", "PATCH"]), (204, ["GET", "PATCH", "GET"])])
def test_a_write_back_costs_two_calls_or_three(
    server: SimulatorServer, sim: IfsCloudSimulator, answer: int, calls: list[str]
) -> None:
    sim.set_options("standard", patch_answer=answer)
    (number,) = sim.make_shipments(ForwardAgentId=None)
    erp = connect(server)
    result = erp.write_tracking(f"shipment:{number}", WRITE)
    now = sim.shipment("standard", number)
    assert (now["AirwayBillNo"], now["ForwardAgentId"], now["ActualShipDate"]) == (
        "794600000011",
        "FEDEX",
        "2026-03-02T06:00:00Z",
    )
    assert (result.version, result.written) == (now["@odata.etag"], ("AirwayBillNo", "ForwardAgentId", "ActualShipDate"))
    assert [call["method"] for call in sim.calls if call["method"] != "POST"] == calls
    again = erp.write_tracking(f"shipment:{number}", WRITE)
    assert (again.version, again.written, patches(sim)) == (now["@odata.etag"], (), 1)
    document = erp.read_documents([f"shipment:{number}"])[f"shipment:{number}"]
    assert isinstance(document, Document) and document.actual_ship_date == dt.date(2026, 3, 2)


@pytest.mark.parametrize(("fault", "status"), [("412_once", 400), ("ora_20114", 400), ("ora_20114", 500)])
def test_a_change_by_somebody_else_is_read_and_kept(
    server: SimulatorServer, sim: IfsCloudSimulator, fault: str, status: int
) -> None:
    sim.set_options("standard", database_error_status=status)
    (number,) = sim.make_shipments()
    sim.fault(fault)
    connect(server).write_tracking(f"shipment:{number}", WRITE)
    now = sim.shipment("standard", number)
    assert now["AirwayBillNo"] == "794600000011" and str(now["SenderReference"]).startswith("touched")
    assert patches(sim) == 2


def test_a_number_entered_by_somebody_else_is_not_overwritten(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    sim.fault("412_ours:1Z999")
    with pytest.raises(FieldConflict) as caught:
        connect(server).write_tracking(f"shipment:{number}", WRITE)
    assert (caught.value.theirs, sim.shipment("standard", number)["AirwayBillNo"]) == ("1Z999", "1Z999")


def test_our_own_number_found_after_a_conflict_is_done(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    sim.fault("412_ours:same")
    result = connect(server).write_tracking(f"shipment:{number}", WriteBack("794600000011"))
    assert (result.written, patches(sim)) == ((), 1)
    assert result.version == sim.shipment("standard", number)["@odata.etag"]


def test_a_record_that_never_rests_is_given_up(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    sim.fault("412_once", "PATCH", times=3)
    with pytest.raises(Conflict):
        connect(server).write_tracking(f"shipment:{number}", WRITE)
    assert patches(sim) == 3


def test_a_lost_answer_is_unavailable_and_the_next_run_finds_the_work_done(
    server: SimulatorServer, sim: IfsCloudSimulator
) -> None:
    (number,) = sim.make_shipments()
    sim.fault("lost_answer", "PATCH")
    erp = connect(server)
    with pytest.raises(Unavailable):
        erp.write_tracking(f"shipment:{number}", WRITE)
    assert erp.write_tracking(f"shipment:{number}", WRITE).written == ()
    assert patches(sim) == 1


def test_our_number_is_cleared_and_another_one_stays(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    ours, theirs = sim.make_shipments(count=2)
    erp = connect(server)
    erp.write_tracking(f"shipment:{ours}", WRITE)
    sim.edit("standard", "ShipmentSet", {"ShipmentId": theirs}, {"AirwayBillNo": "1Z999"})
    numbers = frozenset({"794600000011"})
    assert erp.clear_tracking(f"shipment:{ours}", numbers).written == ("AirwayBillNo",)
    assert erp.clear_tracking(f"shipment:{theirs}", numbers).skipped == ("AirwayBillNo",)
    assert sim.tracking_numbers("standard") == {theirs: "1Z999"}


@pytest.mark.parametrize("status", [400, 500])
def test_what_ifs_refuses_for_good_is_rejected_with_its_words(
    server: SimulatorServer, sim: IfsCloudSimulator, status: int
) -> None:
    sim.set_options("standard", database_error_status=status)
    closed, strange = sim.make_shipments(state="Closed")[0], sim.make_shipments(ForwardAgentId=None)[0]
    erp = connect(server)
    with pytest.raises(Rejected) as caught:
        erp.write_tracking(f"shipment:{closed}", WRITE)
    assert (caught.value.code, caught.value.vendor_code) == ("state_refused", "ORA-20130")
    with pytest.raises(Rejected) as caught:
        erp.write_tracking(f"shipment:{strange}", WriteBack("7946", carrier="NOBODY"))
    assert "The forwarder NOBODY does not exist." in caught.value.message
    with pytest.raises(Rejected) as caught:
        erp.write_tracking("shipment:999999", WRITE)
    assert caught.value.code == "document_gone"
    assert sim.tracking_numbers("standard") == {}


def test_a_field_that_the_tenant_lacks_is_a_matter_of_the_profile(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    with pytest.raises(ConfigurationError) as caught:
        connect(server, {"shipment": {"tracking_field": "Cf_Tracking_No"}}).write_tracking(f"shipment:{number}", WRITE)
    assert (caught.value.code, caught.value.field) == ("unknown_property", "Cf_Tracking_No")


# -- trouble on the way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["401_once", "500_mi_modified_once", "503", "html_error:502", "reset"])
def test_short_trouble_while_reading_is_not_noticed(server: SimulatorServer, sim: IfsCloudSimulator, fault: str) -> None:
    (number,) = sim.make_shipments()
    sim.fault(fault, "GET")
    assert keys(connect(server)) == [f"shipment:{number}"]


def test_a_pause_that_ifs_asks_for_is_told(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    sim.fault("429:9", "GET")
    with pytest.raises(RateLimited) as caught:
        keys(connect(server))
    assert caught.value.retry_after_s == 9.0


def test_an_expired_token_is_renewed_and_no_secret_is_recorded(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    sim.set_options("standard", expires_in=5)
    (number,) = sim.make_shipments()
    erp, recorder = connect(server), MemoryRecorder()
    with recording(recorder):
        keys(erp)
        sim.clock_offset_s = 60
        assert keys(erp) == [f"shipment:{number}"]
    assert sim.counts["POST token"] == 2
    kept = repr(recorder.exchanges)
    assert "ifs-demo-secret" not in kept and "eyJ" not in kept and "client_credentials" in kept


def test_entity_services_are_reached_where_they_are_active(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    (number,) = sim.make_shipments()
    settings = {"shipment": {"service": "entity:ShipmentEntity", "lines": {"service": "entity:ShipmentLineEntity"}}}
    erp = connect(server, settings)
    assert keys(erp) == [f"shipment:{number}"]
    document = erp.read_documents([f"shipment:{number}"])[f"shipment:{number}"]
    assert isinstance(document, Document) and document.lines


# -- ping ------------------------------------------------------------------------------------------------------------


def states(erp: IfsCloud) -> dict[str, str]:
    return {layer.layer: layer.state for layer in erp.ping()}


def test_the_default_profile_pings_well(server: SimulatorServer, sim: IfsCloudSimulator) -> None:
    found = states(connect(server))
    assert set(found.values()) == {"ok"} and list(found)[:3] == ["token", "gateway", "company 10"]
    assert not any(call["method"] in ("PATCH", "PUT", "DELETE") for call in sim.calls)


@pytest.mark.parametrize(
    ("settings", "secret", "options", "companies", "layer", "says"),
    [
        ({}, "wrong-secret", {}, COMPANIES, "token", "client secret"),
        ({"realm": "acme"}, "", {}, COMPANIES, "token", 'realm "acme"'),
        ({"scope": ""}, "", {}, COMPANIES, "token", "scope"),
        ({}, "", {"denied_projections": ["ShipmentHandling"]}, COMPANIES, "gateway", "denies"),
        ({"shipment": {"service": "CShipmentHandling"}}, "", {}, COMPANIES, "gateway", "shipment.service"),
        ({"projection_root": "/ifsapplications/projection/v9"}, "", {}, COMPANIES, "gateway", ""),
        ({}, "", {}, [Company("20", (CompanySite("S9"),))], "company 20", "may not see"),
        ({}, "", {}, [Company("10", (CompanySite("S9"),))], "company 10", "Sites found: S1, S2"),
        ({}, "", {"denied_projections": ["HandlingUnitsHandling"]}, COMPANIES, "handling units: read", "handling_unit.service"),
        ({"shipment": {"lines": {"set": "ShipmentLines"}}}, "", {}, COMPANIES, "shipment lines: profile", "ShipmentLineSet"),
        ({"shipment": {"tracking_field": "AirwayBill"}}, "", {}, COMPANIES, "shipments: profile", "AirwayBillNo"),
    ],
)
def test_what_is_wrong_shows_in_its_own_layer(
    server: SimulatorServer,
    sim: IfsCloudSimulator,
    settings: dict[str, Any],
    secret: str,
    options: dict[str, Any],
    companies: list[Company],
    layer: str,
    says: str,
) -> None:
    sim.set_options("standard", **options)
    found = {each.layer: each for each in connect(server, settings, secret=secret, companies=companies).ping()}
    assert found[layer].state == "failed"
    assert says in found[layer].message and found[layer].remedy

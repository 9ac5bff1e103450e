"""The IFS Cloud simulator against the vendor sheet, in raw HTTP. Section numbers are those of `apis/ifs_cloud.md`."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import threading
from collections import Counter
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import requests

from integrations.base.simulator import SimulatorServer
from integrations.ifs_cloud.simulator import DEMO_FAULTY, IfsCloudSimulator

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
SCOPE = "openid microprofile-jwt"
CLIENTS = {"standard": ("standard1", "MLC", "ifs-demo-secret"), "custom": ("custom1", "MLCC", "ifs-custom-secret")}
SHIPMENTS = "ShipmentHandling.svc/ShipmentSet"
COMPLETED = "Objstate eq IfsApp.ShipmentHandling.ShipmentState'Completed'"


class Ifs:
    """One service user of one tenant, speaking plain HTTP."""

    def __init__(self, url: str, simulator: IfsCloudSimulator, tenant: str) -> None:
        self.url, self.simulator, self.tenant = url, simulator, tenant
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""

    def token_request(self, realm: str | None = None, **form: str) -> requests.Response:
        own, client, secret = CLIENTS[self.tenant]
        fields = {"grant_type": "client_credentials", "client_id": client, "client_secret": secret, "scope": SCOPE} | form
        fields = {k: v for k, v in fields.items() if v}
        return self.session.post(f"{self.url}/auth/realms/{realm or own}/protocol/openid-connect/token", data=fields)

    def login(self) -> None:
        self.token = self.token_request().json()["access_token"]

    def call(
        self, method: str, path: str, *, root: str = "main/ifsapplications/projection/v1", headers: dict | None = None, **more
    ) -> requests.Response:
        if not self.token:
            self.login()
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        return self.session.request(method, f"{self.url}/{root}/{path}", headers=sent, timeout=10, **more)

    def get(self, path: str, *, root: str = "main/ifsapplications/projection/v1", **options: object) -> requests.Response:
        query = "&".join(f"${k}={quote(str(v), safe='')}" for k, v in options.items())
        return self.call("GET", f"{path}?{query}" if query else path, root=root)

    def ids(self, **options: object) -> list[int]:
        answer = self.get(SHIPMENTS, **({"top": 500} | options))
        assert answer.status_code == 200, answer.text
        return [row["ShipmentId"] for row in answer.json()["value"]]

    def read(self, number: int) -> dict:
        return self.get(f"{SHIPMENTS}(ShipmentId={number})").json()

    def patch(self, number: int, body: object, etag: str | None, **headers: str) -> requests.Response:
        sent = {"Content-Type": "application/json"} | headers | ({"If-Match": etag} if etag else {})
        return self.call("PATCH", f"{SHIPMENTS}(ShipmentId={number})", data=json.dumps(body), headers=sent)

    def sim(self, name: str, **body: object) -> requests.Response:
        return self.session.post(f"{self.url}/_sim/{name}", json={"tenant": self.tenant} | body)


@pytest.fixture(scope="module")
def server():
    with SimulatorServer([IfsCloudSimulator()]) as running:
        yield running
        assert running.errors == []


@pytest.fixture
def simulator(server) -> IfsCloudSimulator:
    simulator = server.simulators["/ifs_cloud"]
    simulator.reset()
    simulator.clock_offset_s = 0
    return simulator


@pytest.fixture
def ifs(server, simulator):
    user = Ifs(f"{server.url}/ifs_cloud", simulator, "standard")
    yield user
    user.session.close()


@pytest.fixture
def custom(server, simulator):
    user = Ifs(f"{server.url}/ifs_cloud", simulator, "custom")
    yield user
    user.session.close()


def error(answer: requests.Response) -> dict:
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()["error"]


def detail(answer: requests.Response) -> str:
    return error(answer)["details"][0]["message"]


# -- section 3: tokens ---------------------------------------------------------------------------------


def test_a_token_has_keycloaks_members_and_the_life_of_its_tenant(ifs, custom):
    """Sheet 1.1, 3: 180 seconds by default, not 60 minutes."""
    answer = ifs.token_request()
    assert answer.status_code == 200
    body = answer.json()
    assert (body["expires_in"], body["refresh_expires_in"], body["token_type"]) == (180, 1800, "Bearer")
    assert {"access_token", "refresh_token", "id_token", "not-before-policy", "session_state", "scope"} <= set(body)
    assert custom.token_request().json()["expires_in"] == 3600


@pytest.mark.parametrize(
    ("form", "realm", "status", "code"),
    [
        ({"client_secret": "wrong"}, None, 401, "invalid_client"),
        ({"client_id": "nobody"}, None, 401, "invalid_client"),
        ({}, "custom1", 401, "invalid_client"),
        ({"scope": ""}, None, 400, "invalid_scope"),
        ({"scope": "openid everything"}, None, 400, "invalid_scope"),
        ({"grant_type": "password"}, None, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, None, 400, "invalid_request"),
        ({}, "acme", 404, "Realm does not exist"),
    ],
)
def test_keycloak_refuses_in_its_own_words(ifs, form, realm, status, code):
    """Sheet 3, table of errors; the realm is not the host's name (1.3)."""
    answer = ifs.token_request(realm, **form)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


def test_the_token_request_must_be_a_form(ifs):
    """Sheet 3: application/x-www-form-urlencoded only."""
    url = f"{ifs.url}/auth/realms/standard1/protocol/openid-connect/token"
    body = {"grant_type": "client_credentials", "client_id": "MLC", "client_secret": "ifs-demo-secret", "scope": SCOPE}
    assert ifs.session.post(url, json=body).status_code == 415
    assert ifs.session.get(url).status_code == 405


def test_the_secret_may_come_by_basic_authentication(ifs):
    """Sheet 3: client_secret_basic is advertised too."""
    url = f"{ifs.url}/auth/realms/standard1/protocol/openid-connect/token"
    form = {"grant_type": "client_credentials", "scope": SCOPE}
    assert ifs.session.post(url, data=form, auth=("MLC", "ifs-demo-secret")).status_code == 200
    assert ifs.session.post(url, data=form, auth=("MLC", "no")).status_code == 401
    known = ifs.session.get(f"{ifs.url}/auth/realms/standard1/.well-known/openid-configuration").json()
    assert known["token_endpoint"] == url


def test_tenants_differ_in_scope_rule_and_keycloaks_age(ifs):
    """Sheet 1.2 (some tolerate a missing scope), 3 (older: 400; service accounts off)."""
    ifs.sim("options", scope_required=False, keycloak_legacy=True)
    assert ifs.token_request(scope="").status_code == 200
    wrong = ifs.token_request(client_secret="no")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "unauthorized_client")
    ifs.sim("options", service_accounts=False)
    assert ifs.token_request().json()["error"] == "unauthorized_client"


def test_unknown_and_expired_tokens_are_401_with_a_challenge(ifs, simulator):
    """Sheet 13: 401, WWW-Authenticate, JSON or HTML."""
    ifs.token = "made-up"
    answer = ifs.get(SHIPMENTS)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    ifs.login()
    assert ifs.get(SHIPMENTS).status_code == 200
    simulator.clock_offset_s = 181
    assert ifs.get(SHIPMENTS).status_code == 401
    ifs.sim("options", unauthorized_html=True)
    html = ifs.get(SHIPMENTS)
    assert html.status_code == 401 and html.headers["Content-Type"] == "text/html"


# -- section 2: services -------------------------------------------------------------------------------


def test_both_gateways_serve_the_same_projections(ifs, simulator):
    """Sheet 2: main and int."""
    simulator.make_shipments(count=1, start_id=19)
    for gateway in ("main", "int"):
        root = f"{gateway}/ifsapplications/projection/v1"
        answer = ifs.get(f"{SHIPMENTS}(ShipmentId=19)", root=root)
        assert answer.status_code == 200
        assert answer.json()["@odata.context"] == f"{ifs.url}/{root}/ShipmentHandling.svc/$metadata#ShipmentSet/$entity"


def test_entity_services_answer_once_activated_and_on_int_only(ifs, simulator):
    """Sheet 2: activated one by one."""
    simulator.make_shipments(count=1, start_id=19)
    root = "int/ifsapplications/entity/v1"
    assert ifs.get("ShipmentEntity.svc/ShipmentSet(ShipmentId=19)", root=root).json()["ShipmentId"] == 19
    assert ifs.get("HandlingUnitEntity.svc/HandlingUnitSet", root=root).status_code == 404
    ifs.sim("options", active_entity_services=["HandlingUnitEntity"])
    assert ifs.get("HandlingUnitEntity.svc/HandlingUnitSet", root=root).status_code == 200
    assert ifs.get("ShipmentEntity.svc/ShipmentSet", root="main/ifsapplications/entity/v1").status_code == 404


def test_an_unknown_projection_is_metadata_not_found(ifs):
    """Sheet 2, 6."""
    for path in ("NoSuchThing.svc/$metadata", "NoSuchThing.svc/FooSet", "CShipmentHandling.svc/ShipmentSet"):
        answer = ifs.get(path)
        assert (answer.status_code, error(answer)["message"]) == (404, "Metadata not found.")
    unknown_set = ifs.get("ShipmentHandling.svc/FooSet")
    assert (unknown_set.status_code, error(unknown_set)["code"]) == (404, "ODP_RESOURCE_NOTFOUND")


def test_the_service_document_and_the_catalogue_list_what_there_is(ifs):
    """Sheet 2, discovery."""
    sets = [s["url"] for s in ifs.get("ShipmentHandling.svc/").json()["value"]]
    assert {"ShipmentSet", "ShipmentLineSet"} <= set(sets)
    names = [p["Name"] for p in ifs.get("AllProjections.svc/Projections", top=1000).json()["value"]]
    assert {"ShipmentHandling", "HandlingUnitsHandling", "SitesHandling", "CustomerHandling"} <= set(names)
    assert "CShipmentHandling" not in names


def test_metadata_describes_types_keys_enumerations_and_sets(ifs):
    """Sheet 2, 4.2, 9.4."""
    answer = ifs.get("ShipmentHandling.svc/$metadata")
    assert answer.headers["Content-Type"] == "application/xml"
    schema = ElementTree.fromstring(answer.text).find(f".//{EDM}Schema")
    assert schema.get("Namespace") == "IfsApp.ShipmentHandling"
    enum = schema.find(f"{EDM}EnumType[@Name='ShipmentState']")
    assert [m.get("Name") for m in enum] == ["Preliminary", "Completed", "Closed", "Cancelled"]
    shipment = schema.find(f"{EDM}EntityType[@Name='Shipment']")
    assert [k.get("Name") for k in shipment.iter(f"{EDM}PropertyRef")] == ["ShipmentId"]
    types = {p.get("Name"): p for p in shipment.iter(f"{EDM}Property")}
    number = types["ShipmentId"]
    assert (number.get("Type"), number.get("Precision"), number.get("Scale")) == ("Edm.Decimal", "130", "65")
    assert types["Objstate"].get("Type") == "IfsApp.ShipmentHandling.ShipmentState"
    assert types["PlannedShipDate"].get("Type") == "Edm.DateTimeOffset"
    assert (types["AirwayBillNo"].get("Type"), types["AirwayBillNo"].get("MaxLength")) == ("Edm.String", "50")
    assert "LastModifiedDate" not in types and not any(name.startswith("Cf_") for name in types)
    sets = {s.get("Name"): s.get("EntityType") for s in schema.iter(f"{EDM}EntitySet")}
    assert sets["ShipmentSet"] == "IfsApp.ShipmentHandling.Shipment"


def test_every_set_answers_with_exactly_the_columns_its_metadata_promises(ifs, simulator):
    """Sheet 2 and 11: a client may check its profile against $metadata, so the two must agree."""
    [made] = simulator.make_shipments(count=1)
    simulator.add_rows("standard", "CustomerOrderChargeSet", [{"OrderNo": f"C{made}", "SequenceNo": 1, "Contract": "S1"}])
    for service in ("ShipmentHandling", "HandlingUnitsHandling", "SitesHandling", "CustomerHandling", "CustomerOrderHandling"):
        root = ElementTree.fromstring(ifs.get(f"{service}.svc/$metadata").text)
        for entity_set in root.iter(f"{EDM}EntitySet"):
            name = entity_set.get("EntityType").rpartition(".")[2]
            declared = {p.get("Name") for p in root.find(f".//{EDM}EntityType[@Name='{name}']").iter(f"{EDM}Property")}
            row = ifs.get(f"{service}.svc/{entity_set.get('Name')}", top=1).json()["value"][0]
            assert set(row) - {"@odata.etag"} == declared


def test_the_customised_tenant_has_its_own_projection_and_fields(custom, simulator):
    """Sheet 13, two seeded tenants."""
    simulator.make_shipments("custom", 1, start_id=7)
    assert custom.get(SHIPMENTS).status_code == 404
    row = custom.get("CShipmentHandling.svc/ShipmentSet(ShipmentId=7)").json()
    assert row["Cf_Ready_To_Ship"] is True and row["Cf_Tracking_No"] is None and "Cf_Delivery_Status" in row
    mine = "Objstate eq IfsApp.CShipmentHandling.ShipmentState'Completed' and Cf_Ready_To_Ship eq true"
    found = custom.get("CShipmentHandling.svc/ShipmentSet", filter=f"{mine} and LastModifiedDate ge 2020-01-01T00:00:00Z")
    assert [r["ShipmentId"] for r in found.json()["value"]] == [7]
    stale = custom.get("CShipmentHandling.svc/ShipmentSet", filter=f"LastModifiedDate gt {row['LastModifiedDate']}")
    assert stale.json()["value"] == []
    custom.sim("edit", set="ShipmentSet", key={"ShipmentId": 7}, values={"NoteText": "x"})
    fresh = custom.get("CShipmentHandling.svc/ShipmentSet", filter=f"LastModifiedDate gt {row['LastModifiedDate']}")
    assert [r["ShipmentId"] for r in fresh.json()["value"]] == [7]
    wrong = custom.get("CShipmentHandling.svc/ShipmentSet", filter=COMPLETED)
    assert wrong.status_code == 400


def test_a_tenant_sees_nothing_of_the_other(ifs, custom, simulator):
    """Sheet 13: several tenants."""
    simulator.make_shipments("custom", 3)
    assert ifs.ids() == []
    assert len(custom.get("CShipmentHandling.svc/ShipmentSet").json()["value"]) == 3


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

"""The simulated IFS Cloud: tokens, gateways, projections and their description (sheet 2 and 3)."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.ifs_cloud.simulator_wire import COMPLETED, EDM, SCOPE, SHIPMENTS, error

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

"""The simulators' console against real simulators over HTTP: acts, faults, calls, and who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import requests
from django.urls import reverse

from connector.models import AuditEntry, Connection, Package
from integrations import registry
from integrations.base.console import STANDARD_FAULTS
from integrations.base.simulator import SERVER_FAULTS
from tests.connector.admin_support import House, build, client_of
from tests.world import World, document

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[World]:
    made = World.build(apply=False)
    yield made
    made.close()


@pytest.fixture
def house(world: World) -> House:
    """A tenant whose two connections lead to simulators that run."""
    made = build("alpha")
    for connection, vendor in ((made.source, "ifs_cloud"), (made.target, "fedex")):
        connection.urls = {"base": f"{world.server.url}/{vendor}"}
        connection.environment = "simulator"
        connection.save()
    return made


def do(house: House, connection: Connection, act: str = "simulator", role: str = "operator", **entered: Any) -> str:
    """Press a button; what the page says afterwards."""
    url = reverse("admin:connector_connection_do", args=[connection.pk, act])
    answer = client_of(house.person(role)).post(url, entered, follow=True)
    assert answer.redirect_chain[-1][0] == f"{reverse('admin:connector_simulators')}#c{connection.pk}"
    return "\n".join(str(m) for m in answer.context["messages"])


def make(house: House, **entered: Any) -> str:
    told = {"what": "shipments", "count": 1, "problem": "", "ship_via": "FDX-GND", "site": "S1", "lines": 1, "handling_units": 1}
    return do(house, house.source, **(told | entered))


def told_in_history(house: House) -> list[dict[str, Any]]:
    return [e.facts for e in AuditEntry.objects.filter(tenant=house.tenant, act="simulator").order_by("sequence")]


def test_shipments_are_made_as_asked_and_it_is_in_the_history(world: World, house: House) -> None:
    assert "shipments 2001 to 2003 are ready" in make(house, count=3, lines=2, handling_units=2, ship_via="FDX-2DAY")
    row = world.ifs.shipment("standard", 2003)
    assert (row["ShipViaCode"], row["Objstate"], row["Contract"]) == ("FDX-2DAY", "Completed", "S1")
    entry = AuditEntry.objects.get(tenant=house.tenant, act="simulator")
    assert entry.actor == "user:operator-alpha" and entry.facts == {"what": "shipments", "result": "done"}
    assert entry.object_id == house.source.pk


@pytest.mark.parametrize(
    ("problem", "column", "value"),
    [("address", "ReceiverZipCode", None), ("forwarder", "ForwardAgentId", "DHL"), ("phone", "NoteText", None)],
)
def test_a_shipment_is_made_with_what_is_wrong(world: World, house: House, problem: str, column: str, value: Any) -> None:
    make(house, problem=problem)
    assert world.ifs.shipment("standard", 2001)[column] == value


def test_another_user_edits_records(world: World, house: House) -> None:
    make(house, problem="address")
    do(house, house.source, what="mend_address", shipment="2001", street="12 Harbor Way", street_2="", postal_code="94607")
    do(house, house.source, what="ship_via", shipment="2001", ship_via="FEDEX_GROUND")
    do(house, house.source, what="type_number", shipment="2001", number="MINE-1")
    row = world.ifs.shipment("standard", 2001)
    assert (row["ReceiverAddress1"], row["ReceiverAddress2"], row["ReceiverZipCode"]) == ("12 Harbor Way", None, "94607")
    assert (row["ShipViaCode"], row["AirwayBillNo"]) == ("FEDEX_GROUND", "MINE-1")
    assert {h["user"] for h in world.ifs.history("standard", "Shipment", {"ShipmentId": 2001})} == {"clerk"}


def test_a_package_without_a_weight_is_weighed(world: World, house: House) -> None:
    make(house, problem="weight")
    do(house, house.source, what="weigh", shipment="2001", weight=3)
    [unit] = world.ifs.state["tenants"]["standard"]["rows"]["HandlingUnit"].values()
    assert (unit["OperativeGrossWeight"], unit["UomForWeight"]) == (3, "kg")


@pytest.mark.parametrize(
    ("entered", "said"),
    [
        ({"count": 51}, "How many: enter a whole number from 1 to 50."),
        ({"count": ""}, "How many: this is needed."),
        ({"ship_via": "TRUCK"}, "Ship-via: choose one of those offered."),
        ({"what": "mend_address", "shipment": "x"}, "Shipment: enter its number alone"),
        ({"what": "ship_via", "shipment": "77"}, "The simulator refused: standard has no Shipment"),
        ({"what": "reset"}, "This simulator has no such act."),
    ],
)
def test_what_cannot_be_done_is_said_and_not_claimed(house: House, entered: dict[str, Any], said: str) -> None:
    assert said in make(house, **entered)
    assert told_in_history(house) == []


def test_a_fault_is_switched_on_seen_and_switched_off(world: World, house: House) -> None:
    said = do(house, house.target, "simulator-fault", fault="lost_answer", place="buy", times="3")
    assert "its answer is lost · Buying a label · 3 times" in said
    [fault] = world.fedex.faults
    assert (fault.fault, fault.match, fault.times) == ("lost_answer", "^POST /ship/v1/shipments$", 3)
    page = client_of(house.person("operator")).get(reverse("admin:connector_simulators")).content.decode()
    assert "Buying a label · 3 times" in page and "(3 left)" in page
    do(house, house.target, "simulator-behave")
    assert world.fedex.faults == []
    assert [f["what"] for f in told_in_history(house)] == ["fault", "no_faults"]
    assert "Choose what goes wrong" in do(house, house.target, "simulator-fault", fault="rm", place="buy", times="3")


def test_one_fault_of_several_is_switched_off(world: World, house: House) -> None:
    for name in ("lost_answer", "html"):
        do(house, house.target, "simulator-fault", fault=name, place="buy", times="3")
    kept, ended = world.fedex.faults
    page = client_of(house.person("operator")).get(reverse("admin:connector_simulators")).content.decode()
    assert f'form="behave-{house.target.pk}" name="fault" value="{ended.id}"' in page
    assert "This fault is switched off." in do(house, house.target, "simulator-behave", fault=ended.id)
    assert world.fedex.faults == [kept]
    assert "Choose one of the faults" in do(house, house.target, "simulator-behave", fault="x&y=1")
    assert world.fedex.faults == [kept], "nothing else ends, whatever is asked for"


def test_every_fault_and_place_of_the_consoles_is_one_that_the_simulator_knows(world: World) -> None:
    own = {"fedex": world.fedex, "ifs_cloud": world.ifs}
    for slug, simulator in own.items():
        console = registry.simulator_class(slug).console
        assert console.acts and len({a.name for a in console.acts}) == len(console.acts)
        assert len({f.key for f in console.all_faults}) == len(console.all_faults)
        for fault in console.all_faults:
            kind = str(fault.body["fault"])
            own_faults = str(import_module(f"integrations.{slug}.simulator").__doc__)
            assert (kind in SERVER_FAULTS) if fault in STANDARD_FAULTS else kind in own_faults, kind
        assert simulator.console is console


@pytest.mark.django_db(transaction=True)
def test_parcels_bought_here_move_and_those_of_others_do_not(world: World, house: House) -> None:
    world.slug = "beta"
    world.doc = document(world.server.url, "beta")
    world.configure()
    world.ready(2)
    world.sync()
    mine, other = world.fedex.state["packages"]
    Package.objects.filter(pk=house.package.pk).update(tracking_number=mine)
    said = do(house, house.target, what="scan", parcel=mine, event="DL", received_by="A.B")
    assert "FedEx has scanned it" in said
    assert world.fedex.state["packages"][mine]["scans"][-1]["event"] == "DL"
    said = do(house, house.target, what="scan", parcel=other, event="DL")
    assert f"no parcel {other} was bought through this connection" in said
    assert len(world.fedex.state["packages"][other]["scans"]) == 1
    page = client_of(house.person("operator")).get(reverse("admin:connector_simulators")).content.decode()
    assert mine in page and other not in page


def test_calls_are_seen_without_what_they_carry(world: World, house: House) -> None:
    world.fedex.fault("status", "GET /document", status=503)
    requests.get(f"{world.server.url}/fedex/document/v1/cache/retrieve/secret-key?x=private", timeout=5)
    url = reverse("admin:connector_connection_simulator_calls", args=[house.target.pk])
    text = client_of(house.person("operator")).get(url).content.decode()
    assert "/document/v1/cache/retrieve/…" in text and "503" in text
    assert "secret-key" not in text and "private" not in text


def test_only_those_who_operate_see_the_page_or_act(house: House) -> None:
    viewer = client_of(house.person("viewer"))
    assert viewer.get(reverse("admin:connector_simulators")).status_code == 403
    assert viewer.get(reverse("admin:connector_connection_simulator_calls", args=[house.source.pk])).status_code == 403
    for act in ("simulator", "simulator-fault", "simulator-behave"):
        url = reverse("admin:connector_connection_do", args=[house.source.pk, act])
        assert viewer.post(url, {"what": "shipments"}).status_code == 403
        assert client_of(house.person("operator"), enforce_csrf_checks=True).post(url, {}).status_code == 403
    page = reverse("admin:connector_simulators")
    assert page not in viewer.get(reverse("admin:index")).content.decode()
    assert page in client_of(house.person("operator")).get(reverse("admin:index")).content.decode()


def test_another_tenant_sees_and_does_nothing(house: House) -> None:
    stranger = client_of(build("omega").person("administrator"))
    assert house.source.name not in stranger.get(reverse("admin:connector_simulators")).content.decode()
    assert stranger.get(reverse("admin:connector_connection_simulator_calls", args=[house.source.pk])).status_code == 404
    url = reverse("admin:connector_connection_do", args=[house.source.pk, "simulator-behave"])
    assert stranger.post(url).status_code == 404


def test_a_connection_to_a_real_system_has_no_console(world: World, house: House) -> None:
    Connection.objects.filter(pk=house.source.pk).update(environment="custom")
    assert "does not lead to a simulator" in make(house)
    assert world.ifs.state["tenants"]["standard"]["rows"]["Shipment"] == {}
    client = client_of(house.person("operator"))
    assert client.get(reverse("admin:connector_connection_simulator_calls", args=[house.source.pk])).status_code == 404
    assert house.source.name not in client.get(reverse("admin:connector_simulators")).content.decode()


def test_simulators_that_do_not_answer_are_said_and_nothing_is_claimed(house: House) -> None:
    Connection.objects.filter(pk=house.source.pk).update(urls={"base": "http://127.0.0.1:9/ifs_cloud"})
    page = client_of(house.person("operator")).get(reverse("admin:connector_simulators")).content.decode()
    assert "No simulator answers here" in page and "manage.py simulate" in page
    assert "nothing was done" in make(house)
    assert told_in_history(house) == []


def test_only_allowed_hosts_are_called(world: World, house: House, settings: Any) -> None:
    settings.ALLOW_PRIVATE_HOSTS = []
    assert "Nothing was done" in make(house) and not world.ifs.state["tenants"]["standard"]["rows"]["Shipment"]
    page = client_of(house.person("operator")).get(reverse("admin:connector_simulators")).content.decode()
    assert "No simulator answers here" in page

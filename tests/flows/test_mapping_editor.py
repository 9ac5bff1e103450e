"""The mapping editor on real documents: what it shows is what the flow does, and nothing is sent by looking."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connector.models import AuditDetail, AuditEntry, Exchange, Integration, Shipment, User
from connector.services import mappings, switches
from connector.services.configuration import findings, saving
from connector.services.mappings import State
from connector.services.shipments import NotPossible
from integrations.flows.table import KINDS
from tests.flows.support import CREATE, CREATE_LINE, LOOK_UP, options
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(world: World) -> str:
    return reverse("admin:connector_integration_mappings", args=[world.integration.pk])


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(User.objects.create_superuser("boss", password="long enough for tests"))
    return made


def fields(answer: Any) -> dict[str, Any]:
    """What a browser would post back from the page's form."""
    form = answer.context["form"]
    data = {name: "" if form[name].value() is None else form[name].value() for name in form.fields}
    for rows in form.maps.values():
        for bound in (*rows.management_form, *(f for row in rows for f in row)):
            data[bound.html_name] = "" if bound.value() is None else bound.value()
    return {name: value for name, value in data.items() if value is not False}


def put(data: dict[str, Any], name: str, key: str, code: str) -> dict[str, Any]:
    """Fill in the first empty row of a map."""
    index = next(i for i in range(100) if not data[f"map-{name}-{i}-key"])
    return data | {f"map-{name}-{index}-key": key, f"map-{name}-{index}-code": code}


def checked(client: Client, page: str, data: dict[str, Any]) -> Any:
    return client.post(page, data | {"check": "1"})


def saved(client: Client, page: str, data: dict[str, Any]) -> Any:
    """Check, then save what was checked."""
    return client.post(page, fields(checked(client, page, data)) | {"save": "1"})


def in_force(world: World) -> State:
    return State.of(world.integration)


def test_the_dry_run_is_the_request_that_is_sent(world: World, client: Client, page: str) -> None:
    [number] = world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    assert world.transfer(number).code == "unmapped_service"
    answer = checked(client, page, put(fields(client.get(page)), "service", "ROAD-X", "FEDEX_2_DAY"))
    shown = answer.context["dry_run"]
    assert answer.context["effects"].affected == 1 and shown.call.endswith("/fedex/ship/v1/shipments")
    assert world.fedex.counts[CREATE] == 0 and "ROAD-X" not in in_force(world).value_maps["service"], "checking changes nothing"

    assert client.post(page, fields(answer) | {"save": "1"}).status_code == 302
    assert world.transfer(number).state == "failed", "saving runs nothing by itself"
    assert "Mapped to <strong>FEDEX_2_DAY</strong> since; 1 wait" in client.get(page).content.decode()
    client.post(reverse("admin:connector_transfer_do", args=[world.transfer(number).pk, "replay"]))
    world.work()
    assert world.transfer(number).state == "done" and world.labels() == 1
    send = world.transfer(number).sends.get()
    assert send.reference == shown.reference
    sent = json.loads(json.dumps(send.request).replace('"123456789"', '"…6789"'))
    assert sent == shown.body, "what was shown is what was sent, but for the account number"
    [write] = shown.writes
    wrote = Exchange.objects.get(transfer=world.transfer(number), method="PATCH")
    assert write.call == f"PATCH {wrote.url}" and write.headers["If-Match"] == "as read"
    label = Shipment.objects.get().master_tracking_number
    told = json.dumps(write.body, default=str).replace(mappings.LABELS_NUMBER, label)
    assert json.loads(told) == json.loads(wrote.request_body), "and so is what was written into the ERP"
    assert {name.lower() for name in write.headers} <= {name.lower() for name in wrote.request_headers}


def test_the_write_back_is_shown_and_nobody_is_called(world: World, client: Client, page: str) -> None:
    [number] = world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    calls = Exchange.objects.count()
    answer = checked(client, page, put(fields(client.get(page)), "service", "ROAD-X", "FEDEX_2_DAY"))
    text = answer.content.decode()
    assert "Then written into" in text and "the label&#x27;s number" in text and "as read" in text
    assert Exchange.objects.count() == calls
    sample = client.get(page, {"record": "sample"})
    assert sample.context["dry_run"].writes == () and "the sample has no record in the ERP" in sample.content.decode()


def test_the_account_number_is_not_shown(world: World, client: Client, page: str) -> None:
    text = client.get(page, {"record": "sample"}).content.decode()
    assert "…6789" in text and "123456789" not in text


def test_effects_sort_open_transfers(world: World) -> None:
    mended, broken, changed = world.ready(3)
    world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": mended}, {"ShipViaCode": "ROAD-X"}, "ALICE")
    world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": changed}, {"ShipViaCode": "FDX-2DAY"}, "ALICE")
    switches.stop_buying("integration", world.integration, True, "test")
    world.sync()
    [unread] = world.ready(1)
    world.poll()
    old = in_force(world)
    new = State(old.mappings, {"service": {"ROAD-X": "FEDEX_GROUND", "FDX-2DAY": "PRIORITY_OVERNIGHT"}})
    found = mappings.effects(world.integration, old, new)
    keys = [[t.source_key for t, _, _ in rows] for rows in (found.mended, found.broken, found.changed)]
    assert keys == [[f"shipment:{mended}"], [f"shipment:{broken}"], [f"shipment:{changed}"]]
    assert (found.total, found.affected, found.unread, found.settled) == (4, 3, 1, 0)
    assert found.changed[0][1:] == ("service: FEDEX_2_DAY", "service: PRIORITY_OVERNIGHT")
    assert mappings.effects(world.integration, old, old).affected == 0
    assert unread


def test_what_was_sent_already_is_not_said_to_change(world: World) -> None:
    [number] = world.ready(1)
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.fedex.fault("status", LOOK_UP, times=None, status=503, body="")
    world.sync()
    assert world.transfer(number).state == "in_doubt"
    old = in_force(world)
    found = mappings.effects(world.integration, old, State(old.mappings, {"service": {"FDX-GND": "FEDEX_2_DAY"}}))
    assert (found.total, found.affected, found.settled) == (1, 0, 1)


def test_one_click_maps_a_value_and_replays_what_waits(world: World, client: Client, page: str) -> None:
    numbers = world.ready(2, ShipViaCode="ROAD-X")
    world.sync()
    text = client.get(page).content.decode()
    assert "Map and replay 2" in text and f"shipment:{numbers[0]}" in text
    act = reverse("admin:connector_integration_do", args=[world.integration.pk, "map-value"])
    told = {"map": "service", "value": "ROAD-X", "back": "mappings"}
    for wrong in ({"code": "NO_SUCH"}, {"code": ""}, {"code": "FEDEX_GROUND", "value": "OTHER"}):
        client.post(act, told | wrong | {"replay": "1"})
        assert set(world.states()) == {"failed"} and "ROAD-X" not in in_force(world).value_maps["service"]
    answer = client.post(act, told | {"code": "FEDEX_GROUND", "replay": "1"})
    assert answer.url == page
    world.work()
    assert world.states() == {"done": 2} and world.labels() == 2
    assert "could not be mapped" not in client.get(page).content.decode()


def test_what_is_told_to_customs_only_is_no_fault_within_a_country(world: World, client: Client, page: str) -> None:
    world.ready(1)
    world.sync()
    answer = client.get(page)
    assert answer.context["then"].request is not None and "not mapped" not in answer.content.decode()


def test_one_click_does_not_overrule_the_table(world: World) -> None:
    world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    old = in_force(world)
    tables = {"service": {**old.value_maps["service"], "road-x": "FEDEX_2_DAY"}}
    saving.mappings_save(world.integration, [], tables, actor="test", base=old.mark)
    with pytest.raises(NotPossible, match="mapped to FEDEX_2_DAY already"):
        mappings.map_value(world.integration, "service", "ROAD-X", "FEDEX_GROUND", actor="test", replay=True)
    assert mappings.map_value(world.integration, "service", "ROAD-X", "FEDEX_2_DAY", actor="test", replay=True) == 1
    assert in_force(world).value_maps == tables


def test_forwarders_left_to_others_are_listed(world: World, client: Client, page: str) -> None:
    [number] = world.ready(1, ForwardAgentId="SPED-1")
    world.sync()
    assert world.transfer(number).code == "other_carrier"
    answer = client.get(page)
    assert "left to another carrier" in answer.content.decode() and "?map=carrier&amp;value=SPED-1" in answer.content.decode()
    data = fields(client.get(page, {"map": "carrier", "value": "SPED-1"}))
    assert data["map-carrier-0-key"] == "SPED-1"
    answer = checked(client, page, data | {"map-carrier-0-code": "fedex"})
    assert "only forwarders in the value map" in answer.content.decode(), "the rule of letters ends with the first entry"
    assert answer.context["then"].request is not None and answer.context["now"].request is None


def test_slots_take_a_field_a_text_or_a_default(world: World, client: Client, page: str) -> None:
    [number] = world.ready(1)
    world.sync()
    data = fields(client.get(page)) | {
        "slot-recipient_company-mode": "constant",
        "slot-recipient_company-constant": "Always Ltd",
        "slot-recipient_name-mode": "source",
        "slot-recipient_name-source": "raw.NoSuchField",
        "slot-recipient_name-default": "Goods-in",
    }
    answer = checked(client, page, data)
    assert answer.context["seen"].name == f"shipment:{number}"
    recipient = answer.context["then"].request.recipient
    assert (recipient.company, recipient.name) == ("Always Ltd", "Goods-in")
    assert saved(client, page, data).status_code == 302
    assert in_force(world).mappings == [
        {"slot": "recipient_company", "constant": "Always Ltd"},
        {"slot": "recipient_name", "source": "raw.NoSuchField", "default": "Goods-in"},
    ]
    assert fields(client.get(page))["slot-recipient_name-source"] == "raw.NoSuchField"
    assert checked(client, page, fields(client.get(page))).context["changed"] is False, "the form gives back what it was given"


@pytest.mark.parametrize(
    ("entered", "told"),
    [
        ({"slot-service-mode": "source", "slot-service-source": "a["}, "Service: is no JMESPath expression"),
        ({"slot-service-mode": "source"}, "Service: Enter which field of the document"),
        ({"slot-service-mode": "constant"}, "Service: Enter the text"),
        ({"map-service-2-key": "ALONE"}, "Fill in both sides"),
        ({"lines-service": "just one"}, "Line 1 is no pair"),
        ({"lines-service": "FDX-GND => FEDEX_2_DAY"}, "mapped twice"),
        ({"map-service-TOTAL_FORMS": "x"}, "ManagementForm"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_not_saved(
    world: World, client: Client, page: str, entered: dict[str, str], told: str
) -> None:
    before = in_force(world)
    answer = client.post(page, fields(client.get(page)) | entered | {"save": "1"})
    assert answer.status_code == 200 and told in answer.content.decode()
    assert "Save these changes" not in answer.content.decode() and in_force(world) == before


def test_lines_are_pasted_from_a_spreadsheet_and_rows_removed(world: World, client: Client, page: str) -> None:
    data = fields(client.get(page)) | {"lines-service": "A\tFEDEX_GROUND\n B => FEDEX_2_DAY \n\n", "map-service-1-remove": "on"}
    assert saved(client, page, data).status_code == 302
    assert in_force(world).value_maps == {"service": {"FDX-GND": "FEDEX_GROUND", "A": "FEDEX_GROUND", "B": "FEDEX_2_DAY"}}


def test_a_large_map_is_edited_as_lines(world: World, client: Client, page: str) -> None:
    table = {f"VIA-{n}": "FEDEX_GROUND" for n in range(1200)}
    saving.mappings_save(world.integration, [], {"service": table}, actor="test", base=in_force(world).mark)
    data = fields(client.get(page))
    assert len(data) < 100
    assert saved(client, page, data | {"lines-service": data["lines-service"] + "\nMORE => FEDEX_2_DAY"}).status_code == 302
    assert in_force(world).value_maps == {"service": {**table, "MORE": "FEDEX_2_DAY"}}


def test_nothing_is_saved_that_was_not_shown_first(world: World, client: Client, page: str) -> None:
    before = in_force(world)
    answer = client.post(page, put(fields(client.get(page)), "service", "A", "FEDEX_GROUND") | {"save": "1"})
    assert answer.status_code == 200 and "Look at what it does, then save" in answer.content.decode()
    later = put(fields(answer), "service", "B", "FEDEX_GROUND")
    assert client.post(page, later | {"save": "1"}).status_code == 200, "changed after the check"
    assert in_force(world) == before


def test_two_people_do_not_overwrite_each_other(world: World, client: Client, page: str) -> None:
    opened = fields(client.get(page))
    mine = fields(checked(client, page, put(opened, "service", "MINE", "FEDEX_GROUND")))
    assert saved(client, page, put(opened, "service", "THEIRS", "FEDEX_2_DAY")).status_code == 302
    answer = client.post(page, mine | {"save": "1"})
    assert "Somebody changed these mappings" in answer.content.decode()
    assert "THEIRS" in in_force(world).value_maps["service"] and "MINE" not in in_force(world).value_maps["service"]
    removed = [c for c in answer.context["changes"] if "THEIRS" in c.what]
    assert removed and removed[0].after == "", "what saving on would undo is shown"
    with pytest.raises(findings.InvalidConfiguration, match="Somebody changed"):
        saving.mappings_save(world.integration, [], {}, actor="test", base=mine["base"])


def test_history_tells_who_changed_what_and_leads_back(world: World, client: Client, page: str) -> None:
    first = in_force(world)
    assert saved(client, page, put(fields(client.get(page)), "service", "A", "FEDEX_GROUND")).status_code == 302
    second = in_force(world)
    data = fields(client.get(page)) | {"slot-recipient_name-mode": "constant", "slot-recipient_name-constant": "Dock"}
    assert saved(client, page, data | {"map-service-0-remove": "on"}).status_code == 302
    versions, more = mappings.history(world.integration)
    assert [v.state for v in versions] == [in_force(world), second, first] and not more
    assert versions[0].entry.actor == "user:boss" and versions[-1].entry.act == "integration_created"
    assert [(c.what, c.before, c.after) for c in versions[1].changes] == [("Value map “service”: A", "", "FEDEX_GROUND")]

    wanted = versions[1].entry.pk
    answer = client.get(page, {"version": wanted})
    assert in_force(world) != second and answer.context["changed"] and "Save these changes" in answer.content.decode()
    assert client.post(page, fields(answer) | {"save": "1"}).status_code == 302
    assert in_force(world) == second
    entry = AuditEntry.objects.get(act="mappings_restored")
    assert entry.facts == {"to_entry": wanted} and entry.actor == "user:boss"
    versions, _ = mappings.history(world.integration)
    assert len(versions) == 4 and versions[0].back_to == wanted and versions[1].back_to is None


def test_a_version_that_was_altered_before_saving_is_no_return(world: World, client: Client, page: str) -> None:
    first = mappings.history(world.integration)[0][-1].entry.pk
    assert saved(client, page, put(fields(client.get(page)), "service", "A", "FEDEX_GROUND")).status_code == 302
    data = put(fields(client.get(page, {"version": first})), "service", "B", "FEDEX_GROUND")
    assert saved(client, page, data).status_code == 302
    assert not AuditEntry.objects.filter(act="mappings_restored").exists()


def test_history_ends_where_details_are_no_longer_kept(world: World, client: Client, page: str) -> None:
    for key in "AB":
        assert saved(client, page, put(fields(client.get(page)), "service", key, "FEDEX_GROUND")).status_code == 302
    newest, older = mappings.history(world.integration)[0][:2]
    AuditDetail.objects.filter(entry=older.entry)._raw_delete("default")  # as retention does
    versions, more = mappings.history(world.integration)
    assert more and [v.entry.pk for v in versions] == [newest.entry.pk, older.entry.pk]
    assert "no longer kept" in client.get(page).content.decode()


def test_a_document_of_ones_own_choice(world: World, client: Client, page: str) -> None:
    first, second = world.ready(2)
    world.sync()
    for name in (str(first), f"shipment:{first}"):
        assert client.get(page, {"record": name}).context["seen"].name == f"shipment:{first}"
    assert client.get(page).context["seen"].name in (f"shipment:{first}", f"shipment:{second}")
    answer = client.get(page, {"record": "4711"})
    assert "knows no document 4711" in answer.content.decode() and answer.context["seen"].name == "sample"


def test_the_edit_form_leaves_mappings_alone(world: World, client: Client) -> None:
    before, stored = in_force(world), world.integration
    url = reverse("admin:connector_integration_edit", args=[stored.pk])
    form = {"name": "renamed", "source": stored.source.slug, "target": stored.target.slug, "company_codes": "10"}
    days = {f"schedule_{flow.name}_days": list("0123456") for flow in KINDS["ifs_fedex"].flows}
    answer = client.post(url, form | {"start_from": "2020-01-01 00:00", **days})
    assert answer.status_code == 302, answer.context["form"].errors
    assert Integration.objects.get(pk=stored.pk).name == "renamed" and in_force(world) == before


def test_what_is_shown_for_the_label_counts_options_and_fallbacks(world: World, client: Client, page: str) -> None:
    options(world, default_service="FEDEX_2_DAY", recipient_phone="6175550142")
    world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    then = client.get(page).context["then"]
    assert {n: then.slot(n).mapped for n in ("carrier", "service", "recipient_phone")} == {
        "carrier": "fedex",
        "service": "FEDEX_2_DAY",
        "recipient_phone": "6175550142",
    }


def test_an_expression_that_fails_on_a_document_is_shown_not_raised(world: World, client: Client, page: str) -> None:
    world.ready(1)
    world.sync()
    data = fields(client.get(page)) | {"slot-service-mode": "source", "slot-service-source": "sum(lines)"}
    answer = checked(client, page, data)
    assert answer.context["then"].code == "mapping_failed" and "fails on this document" in answer.content.decode()

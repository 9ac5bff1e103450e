"""What becomes work and what never does: baselines, windows, sweeps, switches; and what an idle poll costs."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import AuditEntry, Baseline, Exchange, FlowState, Membership, SourceRecord, Transfer, User
from connector.models.tenants import Role
from connector.services import audit, cursors, overview, switches
from connector.services.engine import polling
from connector.services.shipments import NotPossible
from integrations.flows.specs import POLLS
from tests.connector.admin_support import client_of
from tests.flows.support import creates, edit, later, small
from tests.world import ADDRESS, World

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86400.0


@pytest.fixture
def from_now(transactional_db: None) -> Any:
    """An integration without `start_from`: it starts from now."""
    world = World.build(start_from=None)
    yield world
    world.close()


def stamp(days: float) -> str:
    """An instant `days` from now, as IFS takes it."""
    return (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def nothing_ships(world: World) -> None:
    """Nothing was bought, nothing is to be done."""
    world.work()
    assert creates(world) == 0 and world.numbers() == {}
    assert not Transfer.objects.exists()


def test_a_thousand_completed_shipments_at_the_first_poll_ship_nothing(from_now: World) -> None:
    world = from_now
    world.ready(1000)
    result = world.sync()
    assert (result.seen, result.new, result.before_start, result.baseline) == (1000, 0, 1000, True)
    nothing_ships(world)
    assert SourceRecord.objects.filter(before_start=True).count() == 1000
    world.sync()
    nothing_ships(world)

    new = world.ready(2)
    assert world.sync().new == 2
    assert sorted(world.numbers()) == new and creates(world) == 2
    assert list(audit.verify()) == []


def test_each_site_tells_how_much_stood_ready_there(from_now: World) -> None:
    world = from_now

    def add(doc: dict[str, Any]) -> None:
        site = {"code": "S2", "timezone": "America/Chicago", "address": ADDRESS}
        doc["connections"][0]["company_codes"][0]["sites"].append(site)

    world.configure(add)
    world.ready(2)
    world.ready(3, site="S2")
    world.sync()
    assert dict(Baseline.objects.values_list("site", "seen")) == {"S1": 2, "S2": 3}


def test_what_was_before_start_stays_so_whatever_its_later_version(from_now: World) -> None:
    world = from_now
    ids = world.ready(3)
    world.sync()
    for shipment_id in ids:
        edit(world, shipment_id, NoteText="touched", PlannedShipDate=stamp(2))
    world.sync()
    nothing_ships(world)


def test_an_idle_poll_costs_one_call_and_ten_queries(from_now: World) -> None:
    world = from_now
    world.ready(120)
    world.sync()
    world.poll()
    integration = world.integration
    world.ifs.counts.clear()
    world.fedex.counts.clear()
    exchanges = Exchange.objects.count()
    with CaptureQueriesContext(connection) as queries:
        result = polling.poll(integration, POLLS["ship"])
    assert (result.seen, result.new, result.changed) == (120, 0, 0)
    assert dict(world.ifs.counts) == {"GET ShipmentHandling.svc/ShipmentSet": 1}
    assert not world.fedex.counts
    assert len(queries) <= 10, "\n".join(q["sql"][:150] for q in queries)
    assert Exchange.objects.count() == exchanges, "an idle poll leaves nothing behind"


def test_start_from_takes_only_documents_dated_not_before_it(transactional_db: None) -> None:
    world = World.build(start_from=stamp(-5))
    try:
        old = world.ready(2, PlannedShipDate=stamp(-40))
        fresh = world.ready(2, PlannedShipDate=stamp(-4))
        undated = world.ready(2, PlannedShipDate=None)
        result = world.sync()
        assert (result.new, result.before_start) == (2, 4)
        assert sorted(world.numbers()) == fresh
        assert set(SourceRecord.objects.filter(before_start=True).values_list("source_key", flat=True)) == {
            f"shipment:{i}" for i in old + undated
        }
        world.sync()
        assert creates(world) == 2
    finally:
        world.close()


@pytest.mark.parametrize("fault", ["503", "html_error"])
def test_an_interrupted_baseline_starts_again_and_nothing_ships_early(from_now: World, settings: Any, fault: str) -> None:
    """Pages of 200: the third fails. What was listed before is not work, and is not lost either."""
    world = from_now
    small(settings)
    world.ready(550)
    world.ifs.fault(fault, r"GET .*ShipmentSet", skip=2, times=4)
    result = world.sync()
    assert result.error is not None
    nothing_ships(world)
    assert not Baseline.objects.exists()
    late = world.ready(1)  # made before the baseline was ever complete
    world.ifs.faults.clear()
    world.ifs._waiting.clear()
    assert world.sync().baseline
    nothing_ships(world)
    assert Baseline.objects.get().seen == 551
    assert SourceRecord.objects.filter(before_start=True).count() == 551
    new = world.ready(1)
    world.sync()
    assert sorted(world.numbers()) == new != late


def test_an_interrupted_baseline_with_start_from_ships_only_when_complete(transactional_db: None, settings: Any) -> None:
    small(settings)
    world = World.build(start_from=stamp(-5))
    try:
        ids = world.ready(450)
        world.ifs.fault("503", r"GET .*ShipmentSet", skip=2, times=4)
        assert world.sync().error is not None
        nothing_ships(world)
        world.ifs.faults.clear()
        world.ifs._waiting.clear()
        assert world.poll().new == 450
        assert Transfer.objects.count() == len(ids) == SourceRecord.objects.filter(revision=1).count()
    finally:
        world.close()


def switch(world: World, on: bool) -> None:
    """As the button does."""
    switches.integration_switch(world.integration, on, "ann")


def test_switching_off_and_on_misses_nothing_and_surprises_nobody(from_now: World) -> None:
    world = from_now
    world.ready(3)
    world.sync()
    switch(world, False)
    made_while_off = world.ready(2)
    world.work()
    assert creates(world) == 0
    switch(world, True)
    world.sync()
    assert sorted(world.numbers()) == made_while_off
    assert creates(world) == 2


def test_work_found_before_the_switch_waits_and_goes_on_after_it(world: World, settings: Any) -> None:
    small(settings)
    world.ready(3)
    world.poll()
    switch(world, False)
    world.work()
    assert creates(world) == 0 and world.states() == {"waiting": 3}
    switch(world, True)
    world.work()
    assert world.states() == {"done": 3}


def test_a_site_added_later_is_baselined(from_now: World) -> None:
    world = from_now
    world.sync()
    there = world.ready(3, site="S2")

    def add(doc: dict[str, Any]) -> None:
        site = {"code": "S2", "timezone": "America/Chicago", "address": ADDRESS}
        doc["connections"][0]["company_codes"][0]["sites"].append(site)

    world.configure(add)
    new_here = world.ready(1)
    result = world.sync()
    assert result.baseline and result.before_start == 3
    assert dict(Baseline.objects.values_list("site", "seen")) == {"S1": 0, "S2": 3}, "each site counts its own"
    assert sorted(world.numbers()) == new_here, "the old site goes on, the new one starts from now"
    new_there = world.ready(1, site="S2")
    world.sync()
    assert sorted(world.numbers()) == new_here + new_there
    assert not set(world.numbers()) & set(there)


def test_a_ready_rule_widened_later_is_baselined(from_now: World) -> None:
    world = from_now
    world.sync()
    world.ready(3, state="Preliminary")
    world.sync()
    assert not SourceRecord.objects.exists()

    def widen(doc: dict[str, Any]) -> None:
        doc["connections"][0]["settings"]["shipment"] = {"ready_states": ["Completed", "Preliminary"]}

    world.configure(widen)
    result = world.sync()
    assert (result.baseline, result.before_start, result.new) == (True, 3, 0)
    nothing_ships(world)
    new = world.ready(1, state="Preliminary")
    world.sync()
    assert sorted(world.numbers()) == new


def test_a_widened_rule_does_not_swallow_what_was_work_already(world: World, settings: Any) -> None:
    """What the old rule had made work of stays work while the new rule is baselined."""
    small(settings)
    mine = world.ready(2)
    world.poll()

    def widen(doc: dict[str, Any]) -> None:
        doc["connections"][0]["settings"]["shipment"] = {"ready_states": ["Completed", "Preliminary"]}
        doc["integrations"][0]["start_from"] = None

    world.configure(widen)
    world.sync()
    assert sorted(world.numbers()) == mine and creates(world) == 2


def test_the_daily_sweep_catches_what_became_ready_late_and_nothing_older(from_now: World) -> None:
    world = from_now
    old = world.ready(2, PlannedShipDate=stamp(-90))
    world.sync()
    late = world.ready(1, PlannedShipDate=stamp(-90))
    assert world.sync().new == 0, "outside the window of the regular poll"
    later(world, DAY + 60)
    assert world.sync().new == 1
    assert sorted(world.numbers()) == late
    assert not set(old) & set(world.numbers())
    assert creates(world) == 1


def test_what_becomes_ready_later_ships_at_the_next_poll(from_now: World) -> None:
    world = from_now
    [shipment_id] = world.ready(1, state="Preliminary")
    world.sync()
    edit(world, shipment_id, Objstate="Completed")
    world.sync()
    assert sorted(world.numbers()) == [shipment_id]


def test_a_row_that_cannot_be_read_is_counted_and_stops_nobody(world: World) -> None:
    good = world.ready(3)
    [bad] = world.ready(1)
    world.ifs.state["tenants"]["standard"]["rows"]["Shipment"][f"SHIPMENT_ID={bad}^"]["PlannedShipDate"] = "not a date"
    result = world.sync()
    assert result.unreadable >= 1
    assert sorted(world.numbers()) == good


def test_one_poll_at_a_time(world: World) -> None:
    world.ready()
    integration = world.integration
    held = polling._take_lease(integration, "ship", uuid.uuid4(), 0)
    assert held is not None
    assert polling.poll(integration, POLLS["ship"]).busy
    assert not Transfer.objects.exists()
    later(world, polling.POLL_LEASE_S + 1)
    assert polling.poll(integration, POLLS["ship"]).new == 1, "a dead poller's lease lapses"


def test_what_stands_is_told(world: World, settings: Any) -> None:
    small(settings)
    world.ready(2, ShipViaCode="ROAD-X")
    world.ready(1)
    world.sync()
    assert overview.open_counts(world.integration)["failed"] == 2
    told = overview.attention(world.integration)
    assert {t["code"] for t in told} == {"unmapped_service"} and all("ROAD-X" in t["message"] for t in told)


# -- look again --------------------------------------------------------------------------------------


def look(world: World, days: int | None, reason: str = "the ERP was restored") -> None:
    cursors.look_again(world.integration, "ship", days, actor="user:ann", reason=reason)


def asked(world: World) -> Any:
    return FlowState.objects.get(integration=world.integration, flow="ship").cursor.get("look")


def test_looking_again_at_everything_finds_what_was_missed_and_nothing_from_before(from_now: World) -> None:
    world = from_now
    world.ready(3)
    old = world.ready(1, CreatedDate=stamp(-200))
    world.sync()
    nothing_ships(world)
    missed = world.ready(1, CreatedDate=stamp(-200), PlannedShipDate=stamp(-200))
    swept = FlowState.objects.get().last_sweep_at
    assert world.sync().new == 0, "outside the window"
    look(world, None)
    assert asked(world)["by"] == "user:ann"
    assert world.sync().new == 1
    assert sorted(world.numbers()) == missed and old[0] not in world.numbers()
    state = FlowState.objects.get()
    assert asked(world) is None and state.last_sweep_at is not None and swept is not None and state.last_sweep_at > swept
    assert SourceRecord.objects.filter(before_start=True).count() == 4
    entry = AuditEntry.objects.get(act="look_again")
    assert (entry.actor, entry.facts["flow"], entry.facts["days"]) == ("user:ann", "ship", None)
    assert list(audit.verify()) == []


def test_looking_back_further_happens_once(from_now: World) -> None:
    world = from_now
    world.sync()
    near = world.ready(1, CreatedDate=stamp(-50), PlannedShipDate=stamp(-50))
    world.ready(1, CreatedDate=stamp(-200), PlannedShipDate=stamp(-200))
    swept = FlowState.objects.get().last_sweep_at
    look(world, 10)
    assert world.sync().new == 0, "never nearer than usual"
    look(world, 60)
    assert world.sync().new == 1 and sorted(world.numbers()) == near
    assert asked(world) is None and FlowState.objects.get().last_sweep_at == swept
    world.ready(1, CreatedDate=stamp(-50), PlannedShipDate=stamp(-50))
    assert world.sync().new == 0, "once"


def test_a_look_that_fails_is_made_again(from_now: World) -> None:
    world = from_now
    world.sync()
    look(world, None)
    world.ifs.fault("status", r"GET .*ShipmentSet", times=None, status=500, body="{}")
    assert world.poll().error is not None and asked(world) is not None
    world.ifs.faults.clear()
    assert world.poll().error is None and asked(world) is None


def test_a_first_look_is_a_baseline_whatever_was_asked_for(from_now: World) -> None:
    world = from_now
    world.ready(2)
    look(world, None)
    assert world.sync().baseline
    nothing_ships(world)


def test_what_is_asked_for_during_a_look_is_not_forgotten(from_now: World) -> None:
    world = from_now
    world.sync()
    look(world, 40)
    first = asked(world)
    look(world, None)
    polling.looked(FlowState.objects.get().pk, first)
    assert asked(world)["days"] is None


@pytest.mark.parametrize(
    ("flow", "days", "reason", "says"),
    [
        ("ship", None, "  ", "Give a reason"),
        ("ship", None, "x" * 301, "longer than 300"),
        ("ship", 0, "why", "from 1 to 3650"),
        ("ship", 4000, "why", "from 1 to 3650"),
        ("track", None, "why", "does not look for documents by date"),
        ("nonsense", None, "why", "does not look for documents by date"),
    ],
)
def test_what_cannot_be_asked_for_is_said(from_now: World, flow: str, days: int | None, reason: str, says: str) -> None:
    with pytest.raises(NotPossible, match=says):
        cursors.look_again(from_now.integration, flow, days, actor="user:ann", reason=reason)
    assert not AuditEntry.objects.filter(act="look_again").exists()


def test_a_look_is_an_administrators_word(from_now: World) -> None:
    world = from_now
    world.sync()
    url = reverse("admin:connector_integration_do", args=[world.integration.pk, "look-again"])
    page = reverse("admin:connector_integration_change", args=[world.integration.pk])
    people = {}
    for role in (Role.OPERATOR, Role.ADMINISTRATOR):
        people[role] = User.objects.create_user(role, password="long enough for tests", is_staff=True)
        Membership.objects.create(tenant=world.integration.tenant, user=people[role], role=role)
    form = {"flow": "ship", "how": "days", "days": "90", "reason": "the ERP was restored"}
    assert client_of(people[Role.OPERATOR]).post(url, form).status_code == 403
    assert "Look again" not in client_of(people[Role.OPERATOR]).get(page).content.decode()
    client = client_of(people[Role.ADMINISTRATOR])
    assert client.get(url).status_code == 405
    assert "Enter the number of days" in client.post(url, form | {"days": "many"}, follow=True).content.decode()
    assert asked(world) is None
    text = client.post(url, form, follow=True).content.decode()
    assert "look back 90 days" in text and "user:administrator" in text and "Looks back to" in text
    assert asked(world)["days"] == 90

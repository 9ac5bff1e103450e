"""The preview of a replay tells exactly what happens: counted at the simulators, not in our tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from connector.models import Transfer
from connector.services import attention, forecast, transfers
from integrations.flows.table import STAGES, stages_of
from tests.flows.support import CREATE_LINE, creates, options, small
from tests.flows.test_abroad import BERLIN, LINES
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def replay_all(world: World) -> forecast.Preview:
    """Preview, then replay exactly these and work."""
    found = list(Transfer.objects.filter(state="failed").select_related("record", "integration__source", "integration__target"))
    told = forecast.preview(found)
    attention.replay_many(Transfer.objects.all(), [t.pk for t in found], actor="ann")
    world.work()
    return told


def calls(world: World) -> Counter[str]:
    """Calls so far, by what the preview calls them."""
    found: Counter[str] = Counter()
    for call in world.ifs.calls:
        if "token" in call["path"]:
            continue
        alone = "ShipmentSet(" in call["path"]
        found["write tracking" if alone else "read"] += 1
    found["buy label"] = creates(world)
    return found


def abroad(world: World, settings: Any, **columns: Any) -> None:
    """A shipment to Berlin, ready in IFS."""
    small(settings)

    def service(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["value_maps"]["service"]["FDX-INTL"] = "FEDEX_INTERNATIONAL_PRIORITY"

    world.configure(service)
    options(world, country_of_manufacture="US")
    world.ready(1, **(BERLIN | columns))


def goods_calls(world: World) -> int:
    """Calls that only a parcel abroad costs."""
    return world.calls(LINES) + world.calls("CustomerOrderHandling.svc/CustomerOrderSet")


def within(told: forecast.Preview, happened: Counter[str]) -> bool:
    """Whether every count lies in what was told, and nothing else happened."""
    by_stage = {c.stage.name: c for c in told.calls}
    return set(happened) <= set(by_stage) and all(c.least <= happened[n] <= c.most for n, c in by_stage.items())


def test_what_failed_before_the_purchase_is_bought_as_told(world: World, settings: Any) -> None:
    small(settings)
    ids = world.ready(3, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    world.sync()
    assert world.states() == {"failed": 3}
    for shipment_id in ids:
        world.ifs.edit("standard", "ShipmentSet", {"ShipmentId": shipment_id}, {"ShipViaCode": "FDX-GND"}, user="clerk")
    before = calls(world)
    told = replay_all(world)
    assert (told.labels, len(told.runs), told.kept) == (3, 3, {})
    assert world.states() == {"done": 3} and world.labels() == 3
    assert within(told, +(calls(world) - before)), (told.calls, calls(world) - before)


def test_what_failed_after_the_purchase_keeps_its_label_as_told(world: World, settings: Any) -> None:
    small(settings)
    world.ready(2)
    world.ifs.fault("status", r"PATCH .*ShipmentSet\(", times=None, status=400, body="{}")
    world.sync()
    assert world.states() == {"failed": 2} and creates(world) == 2
    world.ifs.faults.clear()
    before = calls(world)
    told = replay_all(world)
    assert told.labels == 0
    assert told.kept == {stage.label: 2 for stage in stages_of("ship", {})[:5] if not stage.optional}
    assert [c.stage.name for c in told.calls] == ["write tracking"]
    whys = [kept.why for kept in told.forecasts[0].kept if kept.stage.effect]
    assert any(number in whys[0] for number in world.numbers().values()), "the evidence is named"
    assert world.states() == {"done": 2}
    assert creates(world) == 2, "none bought again"
    assert within(told, +(calls(world) - before)), (told.calls, calls(world) - before)


def test_in_doubt_is_never_part_of_it(world: World, settings: Any) -> None:
    small(settings)
    world.fedex.fault("reset", CREATE_LINE)
    world.ready(1)
    world.sync()
    doubt = Transfer.objects.select_related("record", "integration__source", "integration__target").get(state="in_doubt")
    told = forecast.preview([doubt])
    assert told.runs == [] and told.labels == 0 and told.calls == []
    assert attention.replay_many(Transfer.objects.all(), [doubt.pk], actor="ann").done == 0


def test_stages_carry_the_names_of_saved_steps(world: World) -> None:
    world.ready(1)
    world.sync()
    saved = list(Transfer.objects.get().steps.values_list("name", flat=True))
    assert saved == [stage.name for stage in STAGES["ship"] if not stage.optional and not stage.option]


def test_across_a_border_all_stages_are_saved_steps(world: World, settings: Any) -> None:
    abroad(world, settings)
    world.sync()
    saved = list(Transfer.objects.get().steps.values_list("name", flat=True))
    assert saved == [stage.name for stage in STAGES["ship"] if not stage.option]


def test_goods_of_a_parcel_abroad_are_told_and_read(world: World, settings: Any) -> None:
    """One at home, one abroad: only the one abroad costs the calls for customs."""
    world.ready(1, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    abroad(world, settings, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    world.sync()
    assert world.states() == {"failed": 2}
    options = world.integration.value_maps
    options["service"]["ROAD-X"] = "FEDEX_INTERNATIONAL_PRIORITY"
    type(world.integration).objects.update(value_maps=options)
    [at_home, over_there] = Transfer.objects.order_by("source_key").select_related(
        "record", "integration__source", "integration__target"
    )
    told = forecast.preview([at_home, over_there])
    by_stage = {c.stage.name: c for c in told.calls}
    assert (by_stage["read goods"].documents, by_stage["read goods"].least, by_stage["read goods"].most) == (1, 1, 3)
    assert [c.stage.name for c in told.calls] == ["read", "read goods", "buy label", "write tracking"]
    assert "read goods" not in {s.name for f in told.forecasts if f.transfer == at_home for s in f.todo + f.perhaps}
    before = goods_calls(world)
    attention.replay_many(Transfer.objects.all(), [over_there.pk], actor="ann")
    world.work()
    assert Transfer.objects.get(pk=over_there.pk).state == "done"
    assert goods_calls(world) - before <= by_stage["read goods"].most


def test_a_label_bought_abroad_keeps_the_reading_of_its_goods_too(world: World, settings: Any) -> None:
    abroad(world, settings)
    world.ifs.fault("status", r"PATCH .*ShipmentSet\(", times=None, status=400, body="{}")
    world.sync()
    world.ifs.faults.clear()
    before = goods_calls(world)
    told = replay_all(world)
    assert told.kept == {stage.label: 1 for stage in stages_of("ship", {})[:5]}
    assert world.states() == {"done": 1} and goods_calls(world) == before


def test_what_was_never_read_may_need_it(world: World, settings: Any) -> None:
    small(settings)
    world.ready(1)
    world.poll()
    Transfer.objects.update(state="failed")
    [failed] = Transfer.objects.select_related("record", "integration__source", "integration__target")
    [goods] = [c for c in forecast.preview([failed]).calls if c.stage.optional]
    assert (goods.least, goods.most) == (0, 3)


def test_a_paused_connection_is_said(world: World, settings: Any) -> None:
    small(settings)
    world.ready(1, ShipViaCode="ROAD-X")
    world.sync()
    world.fedex.state["projects"]["demo-key"]["secret"] = "another"
    world.ready(1)
    world.sync()
    [failed] = Transfer.objects.filter(state="failed").select_related("record", "integration__source", "integration__target")
    assert transfers.needing_attention(Transfer.objects.all()).count() == 1
    assert "acme FedEx" in forecast.preview([failed]).waits[0]

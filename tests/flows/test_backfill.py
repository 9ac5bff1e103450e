"""Documents from before the start: they ship only by a person's word, in portions, after what is new."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command

from connector.models import Backfill, SourceRecord, Transfer
from connector.services import audit, backfill
from connector.services.shipments import NotPossible
from tests.flows.support import creates, one_group, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

FIRST, LAST = dt.date(2020, 1, 1), dt.date(2040, 1, 1)


@pytest.fixture
def old(settings: Any) -> Iterator[World]:
    """Six documents that stood ready when the integration was switched on."""
    small(settings)
    world = World.build(start_from=None)
    world.ready(6)
    world.sync()
    assert world.states() == {} and SourceRecord.objects.filter(before_start=True).count() == 6
    yield world
    world.close()


def test_a_preview_says_what_it_would_mean_and_begins_nothing(old: World) -> None:
    told = backfill.preview(old.integration, FIRST, LAST)
    assert (told.records, told.carrier_calls, told.erp_calls, told.costs) == (6, 6, 16, ())
    assert old.states() == {} and creates(old) == 0
    with pytest.raises(NotPossible, match="earlier day first"):
        backfill.preview(old.integration, LAST, FIRST)
    assert backfill.preview(old.integration, FIRST, FIRST).records == 0


def test_confirmed_they_ship_once_and_the_estimate_knows_the_cost_then(old: World) -> None:
    made = backfill.start(old.integration, FIRST, LAST, actor="ann", reason="go-live")
    old.work()
    assert old.states() == {"done": 6} and old.labels() == 6 == len(old.numbers())
    made.refresh_from_db()
    assert (made.state, made.begun, made.total) == ("done", 6, 6) and made.finished_at
    assert backfill.progress(made) == {"done": 6, "to_come": 0}
    with pytest.raises(NotPossible, match="No document"):
        backfill.start(old.integration, FIRST, LAST, actor="ann")
    old.sync()
    assert creates(old) == 6 and list(audit.verify()) == []
    [cost] = backfill.preview(old.integration, FIRST, LAST).costs
    assert (cost.currency, cost.amount, cost.based_on) == ("USD", 0, 6)


def test_new_documents_go_before_the_rest_of_the_back_fill(old: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "IN_HAND", 2)
    backfill.start(old.integration, FIRST, LAST, actor="ann")
    [new] = old.ready(1)
    old.poll()
    assert old.states() == {"waiting": 3}, "two of the old ones and the new one"
    one_group(old, threads=1)  # with several, the one begun first need not be the first that is done
    old.work()
    order = list(Transfer.objects.order_by("finished_at").values_list("source_key", flat=True))
    assert order.index(f"shipment:{new}") <= 2 and len(order) == 7
    assert old.labels() == 7


def test_stopped_it_begins_no_more_and_can_be_begun_again(old: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "IN_HAND", 2)
    made = backfill.start(old.integration, FIRST, LAST, actor="ann")
    with pytest.raises(NotPossible, match="under way"):
        backfill.start(old.integration, FIRST, LAST, actor="ann")
    backfill.stop(made, actor="ann", reason="enough")
    old.work()
    assert creates(old) == 2 and SourceRecord.objects.filter(before_start=True).count() == 4
    with pytest.raises(NotPossible, match="over already"):
        backfill.stop(made, actor="ann")
    backfill.start(old.integration, FIRST, LAST, actor="ann")
    old.work()
    assert creates(old) == 6 and old.labels() == 6


def test_what_is_no_longer_ready_buys_nothing(old: World) -> None:
    first = min(int(r.source_key.split(":")[1]) for r in SourceRecord.objects.all())
    old.ifs.edit("standard", "ShipmentSet", {"ShipmentId": first}, {"AirwayBillNo": "SOMEBODYS"}, "BOB")
    backfill.start(old.integration, FIRST, LAST, actor="ann")
    old.work()
    assert creates(old) == 5 and old.transfer(first).code == "has_tracking_number"


def test_it_waits_while_the_integration_is_off(old: World) -> None:
    old.configure(lambda doc: doc["integrations"][0].update(enabled=False))
    with pytest.raises(NotPossible, match="switched off"):
        backfill.start(old.integration, FIRST, LAST, actor="ann")
    assert Backfill.objects.count() == 0


def test_a_killed_portion_is_taken_up_by_the_minutes_look(old: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun, and the process died before it woke anybody."""
    monkeypatch.setattr(backfill, "IN_HAND", 4)
    backfill.start(old.integration, FIRST, LAST, actor="ann")
    Transfer.objects.update(state="cancelled")
    assert backfill.feed_all() == 2
    old.work()
    assert creates(old) == 2


def test_the_command_previews_then_begins(old: World, capsys: pytest.CaptureFixture[str]) -> None:
    period = ["backfill", "acme-ifs-fedex", "--from", "2020-01-01", "--to", "2040-01-01", "--json"]
    call_command(*period)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "ok": True,
        "integration": "acme-ifs-fedex",
        "from": "2020-01-01",
        "to": "2040-01-01",
        "records": 6,
        "undated": 0,
        "calls": {"erp": 16, "carrier": 6},
        "estimated_cost": [],
        "confirmed": False,
        "backfill": None,
    }
    call_command(*period, "--confirm")
    assert json.loads(capsys.readouterr().out)["confirmed"] is True
    old.work()
    assert old.labels() == 6


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("integration", ["nobody", "--from", "2020-01-01", "--to", "2020-01-02"]),
        ("from", ["acme-ifs-fedex", "--from", "yesterday", "--to", "2020-01-02"]),
        ("", ["acme-ifs-fedex", "--from", "2020-01-03", "--to", "2020-01-02"]),
    ],
)
def test_wrong_use_leaves_with_two_and_names_the_place(
    old: World, capsys: pytest.CaptureFixture[str], name: str, args: list[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        call_command("backfill", *args, "--json")
    assert left.value.code == 2
    assert json.loads(capsys.readouterr().out)["errors"][0]["path"] == name

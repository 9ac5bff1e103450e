"""The line that a process's threads work on: what waiting costs, and what a failed reading ahead leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from connector.models import Transfer
from connector.services import audit
from connector.services.engine import work
from integrations.flows.specs import FLOWS
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

POOL = 2


@pytest.fixture
def small_pool() -> Iterator[None]:
    """A pool of two connections, as a worker has one of five for its 32 threads."""
    default = connections["default"]
    default.close()
    before = {name: default.settings_dict[name] for name in ("OPTIONS", "CONN_MAX_AGE")}
    pool = {"min_size": 1, "max_size": POOL, "timeout": 3}
    # A pool and lasting connections exclude each other, and a web server's are lasting (connector.wsgi).
    default.settings_dict.update(OPTIONS={**before["OPTIONS"], "pool": pool}, CONN_MAX_AGE=0)
    try:
        yield
    finally:
        default.close()
        default.close_pool()
        default.settings_dict.update(before)


@pytest.mark.postgres
def test_who_waits_for_the_next_group_holds_no_connection(world: World, small_pool: None) -> None:
    """Else the one that reads ahead finds the pool empty, and the group that it has claimed stays claimed."""
    ids = world.ready(40)
    world.poll()
    ahead = FLOWS["ship"].prefetch
    assert ahead is not None
    turns: list[int] = []

    def slowly(adapter: Any) -> Any:
        def read(keys: Sequence[str]) -> Mapping[str, Any]:
            found = ahead(adapter)(keys)
            turns.append(len(keys))
            if len(turns) > 1:  # the others have finished the first group by now, and wait
                time.sleep(1.5)
            return found

        return read

    flows = {**FLOWS, "ship": replace(FLOWS["ship"], prefetch=slowly)}
    work.process(world.integration, flows, threads=8)
    connection.close()
    assert turns[:2] == [20, 20]
    assert world.states() == {"done": 40}
    assert set(world.numbers()) == set(ids)


def test_a_group_that_cannot_be_begun_is_given_back_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away between the claim and the work must not cost the group a whole lease."""
    world.ready(3)
    world.poll()
    away = threading.Event()
    memory_of = work.memory_of

    def memory(transfers: Sequence[Transfer]) -> Any:
        if not away.is_set():
            away.set()
            raise OperationalError("the database is away for a moment")
        return memory_of(transfers)

    monkeypatch.setattr(work, "memory_of", memory)
    with pytest.raises(OperationalError):
        work.process(world.integration, FLOWS)
    assert world.states() == {"waiting": 3}
    assert not Transfer.objects.exclude(owner=None).exists()
    world.work()
    assert world.states() == {"done": 3}
    assert world.labels() == 3


def test_whoever_finds_a_whole_group_asks_for_help(world: World) -> None:
    """Else one process carries a thousand documents while the others sleep until the tick."""
    asked: list[None] = []
    world.ready(21)
    world.poll()
    work.process(world.integration, FLOWS, ask_for_help=lambda: asked.append(None))
    assert world.states() == {"done": 21} and len(asked) == 1
    world.ready(2)
    world.poll()
    work.process(world.integration, FLOWS, ask_for_help=lambda: asked.append(None))
    assert world.states() == {"done": 23} and len(asked) == 1


def test_a_turn_goes_on_while_nobody_else_waits(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENGINE = {**settings.ENGINE, "SLICE_S": 0.1}
    monkeypatch.setattr(work, "LONGEST_SLICES", 1000)
    world.ready(45)
    world.poll()
    assert not work.process(world.integration, FLOWS, may_go_on=lambda: True).more
    assert world.states() == {"done": 45}


@pytest.mark.parametrize("because", ["somebody waits", "it was long enough", "it was configured"])
def test_a_turn_ends_for_others_and_for_what_was_configured(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch, because: str
) -> None:
    settings.ENGINE = {**settings.ENGINE, "SLICE_S": 0.1}
    monkeypatch.setattr(work, "LONGEST_SLICES", 1 if because == "it was long enough" else 1000)
    world.ready(45)
    world.poll()

    def asked() -> bool:
        if because == "it was configured":
            audit.append(world.integration.tenant, audit.Draft("changed", {}, obj=world.integration))
        return because != "somebody waits"

    assert work.process(world.integration, FLOWS, may_go_on=asked).more
    states = world.states()
    assert states["waiting"] and set(states) <= {"waiting", "done"}, "what was begun is done, the rest waits for the next turn"


def test_a_turn_ends_where_another_integration_has_work(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ENGINE = {**settings.ENGINE, "SLICE_S": 0.1}
    monkeypatch.setattr(work, "LONGEST_SLICES", 1000)
    world.ready(45)
    world.poll()
    monkeypatch.setattr(work, "alone", lambda integration: False)
    assert work.process(world.integration, FLOWS, may_go_on=lambda: True).more

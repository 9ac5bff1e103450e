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

"""ENGINE 6: a process dies at each named point; the next one finishes, and one label is bought."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import get_args

import pytest

from integrations.base.drill import Boundary
from tests.drills.site import Site

ENGINES = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]
BOUNDARIES = get_args(Boundary)


def die_at(site: Site, name: str) -> None:
    """A `sync` that is killed at a boundary: it must have come there."""
    process = site.spawn("sync", site.slug, "--json", DRILL_KILL_AT=name)
    assert process.wait(60) == -signal.SIGKILL, f"{name} was never passed"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [b for b in BOUNDARIES if b != "intent_committed"])
def test_killed_at_a_boundary_the_next_run_finishes_with_one_label(
    site_on: Callable[[str], Site], engine: str, name: str
) -> None:
    site = site_on(engine)
    ids = site.ready()
    die_at(site, name)
    told = site.run("sync", site.slug, "--wait", "15")
    site.assert_each_shipped_once(ids)
    assert site.creates() == 1
    assert told["open"] == {"waiting": 0, "running": 0, "in_doubt": 0, "needs_approval": 0, "failed": 0}
    assert site.states() == {"done": 1}

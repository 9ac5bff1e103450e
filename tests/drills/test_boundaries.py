"""ENGINE 6: a process dies at each named point; the next one finishes, and one label is bought.

Between any two steps, with all options and for all kinds of documents: `test_matrix`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import get_args

import pytest

from integrations.base.drill import Boundary
from tests.drills.site import TOTAL_S, Site, until

ENGINES = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]
ELSEWHERE = {"acted", "compared", "batch_committed"}
"""Passed by persons' acts and by comparisons (`test_remedies`)."""
BOUNDARIES = [name for name in get_args(Boundary) if name not in ELSEWHERE]


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


def test_killed_between_quote_and_purchase_it_asks_again_and_buys_once(site_on: Callable[[str], Site]) -> None:
    site = site_on("sqlite")
    site.rows("UPDATE connector_integration SET options = %s", '{"rates": true}')
    ids = site.ready()
    die_at(site, "guarded")
    assert site.fedex.counts["POST /rate/v1/rates/quotes"] == 1 and site.creates() == 0
    site.run("sync", site.slug, "--wait", "15")
    site.assert_each_shipped_once(ids)
    assert site.fedex.counts["POST /rate/v1/rates/quotes"] == 2 and site.creates() == 1
    assert site.rows("SELECT count(*), count(shipment_id) FROM connector_ratequote")[0] == (2, 1), "both are kept"


def look_now(site: Site) -> None:
    """Let the time of the next look-up be now, whatever was waited for, and let a fresh process look."""
    site.rows("UPDATE connector_transfer SET due_at = updated_at WHERE state = 'in_doubt'")
    site.run("sync", site.slug, codes=(0, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_between_intent_and_send_it_waits_for_a_person_and_sends_nothing(
    site_on: Callable[[str], Site], engine: str
) -> None:
    """FedEx's default: not finding it proves nothing, however often one looks."""
    site = site_on(engine)
    ids = site.ready()
    die_at(site, "intent_committed")
    site.run("sync", site.slug, codes=(0, 1))
    number, state, _ = site.transfer(ids[0])
    assert state == "in_doubt"
    time.sleep(TOTAL_S)  # until then the request might be under way
    asked = site.fedex.counts["POST /track/v1/referencenumbers"]
    for _ in range(8):
        look_now(site)
    assert site.fedex.counts["POST /track/v1/referencenumbers"] >= asked + 7
    assert site.transfer(ids[0])[1] == "in_doubt"
    assert site.creates() == 0, "it was sent after all"
    site.python(
        "from connector.models import Transfer\nfrom connector.services import transfers\n"
        f"transfers.decide_not_made(Transfer.objects.get(pk={number}), actor='clerk', reason='FedEx says no')"
    )
    site.run("sync", site.slug)
    site.assert_each_shipped_once(ids)
    assert site.creates() == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_look_ups_that_miss_at_first_then_find_what_a_killed_process_bought(site_on: Callable[[str], Site], engine: str) -> None:
    site = site_on(engine)
    site.fedex.options(references_visible_after_s=30)
    ids = site.ready()
    die_at(site, "answer_received")
    site.run("sync", site.slug, codes=(0, 1))
    look_now(site)
    assert site.transfer(ids[0])[1] == "in_doubt"
    site.fedex.clock_offset_s += 31
    until("it is found", lambda: look_now(site) or site.states() == {"done": 1}, every_s=0.2)
    site.assert_each_shipped_once(ids)
    assert site.creates() == 1

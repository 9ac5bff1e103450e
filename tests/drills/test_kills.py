"""Clusters that are killed again and again in the middle of the work: one label each, all numbers in IFS (ENGINE 6)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.drills.site import Cluster, Site, until
from tests.drills.test_survival import poll

pytestmark = pytest.mark.postgres

SHIPMENTS = 200
KILLS = 5

Kill = Callable[[Site, Cluster, random.Random], Cluster]


def whole_group(site: Site, cluster: Cluster, chance: random.Random) -> Cluster:
    """What a crash of the machine, or systemd with KillMode=control-group, does; then everything starts again."""
    cluster.kill_group()
    return site.cluster(workers=2)


def one_worker(site: Site, cluster: Cluster, chance: random.Random) -> Cluster:
    """What the kernel does when memory runs out: the sentinel starts another worker."""
    workers = cluster.workers()
    if workers:
        cluster.kill(chance.choice(workers))
    return cluster


def main_alone(site: Site, cluster: Cluster, chance: random.Random) -> Cluster:
    """The main process dies: its children must not go on as orphans beside the new cluster."""
    cluster.kill_main()
    until("the orphans are gone", cluster.gone, patience_s=20)
    return site.cluster(workers=2)


def at_rest(site: Site) -> bool:
    """Done, or in doubt with the quick look-ups over: what was killed between its intent and its send (ENGINE 3)."""
    open_ones = site.rows("SELECT state, due_at > now() + interval '1 minute' FROM connector_transfer WHERE state <> 'done'")
    return all(state == "in_doubt" and later for state, later in open_ones)


def person_says_not_made(site: Site) -> None:
    """Press the button on what is left in doubt; a look-up must have found whatever FedEx did make."""
    left = site.rows(
        "SELECT s.reference FROM connector_effectsend s JOIN connector_effect e ON e.id = s.effect_id"
        " JOIN connector_transfer t ON t.record_id = e.record_id"
        " WHERE t.state = 'in_doubt' AND s.outcome IN ('sent', 'unknown', 'pending')"
    )
    made = site.fedex.made_by_reference()
    assert not [reference for (reference,) in left if reference in made]
    site.python(
        "from connector.models import Transfer\nfrom connector.services import transfers\n"
        "for one in Transfer.objects.filter(state='in_doubt'):\n"
        "    transfers.decide_not_made(one, actor='clerk', reason='not in the carrier\\'s list')"
    )


@pytest.mark.parametrize("kill", [whole_group, one_worker, main_alone])
def test_kills_in_the_middle_buy_nothing_twice_and_lose_nothing(site: Site, kill: Kill) -> None:
    chance = random.Random(20)  # which worker is hit; when it is hit is up to the machine
    ids = site.ready(SHIPMENTS)
    poll(site)
    site.server.latency_s = 0.05
    cluster = site.cluster(workers=2)
    for number in range(1, KILLS + 1):
        wanted = number * SHIPMENTS // (KILLS + 2)
        until(f"{wanted} labels, before kill {number}", lambda wanted=wanted: site.creates() >= wanted, every_s=0.01)
        cluster = kill(site, cluster, chance)
    assert site.creates() < SHIPMENTS + KILLS * 16, "the kills came while there was work"
    # Nobody helps from here: the cluster's own ticks, look-ups and wake-ups must bring everything to rest.
    until("everything done or waiting for a person", lambda: at_rest(site), patience_s=120, every_s=0.5)
    person_says_not_made(site)
    until("everything done", lambda: site.states() == {"done": SHIPMENTS}, every_s=0.5)
    site.assert_each_shipped_once(ids)
    cluster.kill_group()

"""Real clusters on PostgreSQL: stopped, frozen, raced. What counts is what the simulators saw."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.drills.site import LEASE_S, TOTAL_S, Cluster, Site, until

pytestmark = pytest.mark.postgres


def poll(site: Site) -> None:
    """Poll now, as the schedule would."""
    site.python(
        "from connector import tasks\nfrom connector.models import Integration\n"
        "for one in Integration.objects.order_by('pk'): tasks.poll(one.pk, 'ship')"
    )


def finish(site: Site, ids: list[int]) -> None:
    """Let a fresh cluster bring everything to its end; the tick is what would come every minute."""
    cluster = site.cluster(workers=2)

    def done() -> bool:
        site.python("from connector import tasks; tasks.tick()")
        return site.states() == {"done": len(ids)}

    until("everything done", done, patience_s=150, every_s=0.5)
    site.assert_each_shipped_once(ids)
    cluster.kill_group()


def test_a_stopped_cluster_finishes_what_it_has_in_hand(site: Site) -> None:
    ids = site.ready(20)
    poll(site)
    site.server.latency_s = 0.2
    cluster = site.cluster(workers=2)
    until("work under way", lambda: site.creates() >= 1, every_s=0.01)
    cluster.process.send_signal(signal.SIGTERM)
    cluster.process.wait(60)
    assert until("all of it ended", cluster.gone, patience_s=15)
    assert "running" not in site.states() and "in_doubt" not in site.states()
    site.server.latency_s = 0.0
    finish(site, ids)


def frozen_in_create(site: Site) -> tuple[Cluster, list[int]]:
    """A cluster whose only worker is stopped while FedEx takes its time to answer."""
    ids = site.ready(1)
    poll(site)
    site.fedex.fault("delay", "POST /ship/v1/shipments", seconds=2)
    cluster = site.cluster(workers=1)
    until("the create has arrived", lambda: site.creates() == 1, every_s=0.01)
    for pid in cluster.members():
        os.kill(pid, signal.SIGSTOP)
    return cluster, ids


def test_a_worker_frozen_past_its_lease_in_a_create_makes_no_second_label(site: Site) -> None:
    frozen, ids = frozen_in_create(site)
    time.sleep(max(TOTAL_S, LEASE_S) + 1)
    # The owner is alive, so only the lapsed lease lets another one take over; it looks up and finds.
    site.run("sync", site.slug, "--wait", "15")
    site.assert_each_shipped_once(ids)
    for pid in frozen.members():
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    site.assert_each_shipped_once(ids)
    assert site.creates() == 1
    frozen.kill_group()


def test_one_record_and_many_doors_at_once_make_one_label(site: Site) -> None:
    ids = site.ready(1, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    site.run("sync", site.slug, codes=(1,))
    number, state, _ = site.transfer(ids[0])
    assert state == "failed"
    site.ifs.edit("standard", "ShipmentSet", {"ShipmentId": ids[0]}, {"ShipViaCode": "FDX-GND"}, user="clerk")
    site.server.latency_s = 0.1
    clusters = [site.cluster(workers=2), site.cluster(workers=2)]
    replay = (
        "from connector.models import Transfer\nfrom connector.services import transfers\n"
        f"transfers.replay(Transfer.objects.get(pk={number}), actor='tab')"
    )
    doors: list[Callable[[], object]] = [
        lambda: site.python(replay),
        lambda: site.python(replay),
        lambda: site.run("replay", str(number), codes=(0, 1)),
        lambda: site.run("sync", site.slug, codes=(0, 1)),
    ]
    threads = [threading.Thread(target=door) for door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until("it is done", lambda: site.states() == {"done": 1}, patience_s=60)
    site.assert_each_shipped_once(ids)
    assert site.creates() == 1
    for cluster in clusters:
        cluster.kill_group()


def test_eight_workers_with_a_cold_cache_ask_for_one_token_each(site: Site) -> None:
    ids = site.ready(80)
    poll(site)
    asked_before = site.ifs.counts["POST token"]
    site.rows("DELETE FROM connector_tokenrow_connections")
    site.rows("DELETE FROM connector_tokenrow")
    site.fedex.fault("delay", "POST /oauth/token", seconds=0.5)
    cluster = site.cluster(workers=8, threads=4)
    until("everything done", lambda: site.states() == {"done": 80}, patience_s=90)
    site.assert_each_shipped_once(ids)
    assert site.fedex.token_requests == 1
    assert site.ifs.counts["POST token"] - asked_before == 1
    cluster.kill_group()


def test_a_foreign_task_is_refused_and_the_cluster_lives_on(site: Site) -> None:
    trap = site.folder / "trap"
    site.python(f"from django_q.tasks import async_task; async_task('os.mkdir', {str(trap)!r})")
    cluster = site.cluster(workers=1)
    until("the row is gone", lambda: site.rows("SELECT count(*) FROM django_q_ormq")[0][0] == 0, patience_s=30)
    ids = site.ready(2)
    poll(site)
    until("work goes on", lambda: site.states() == {"done": 2}, patience_s=60)
    site.assert_each_shipped_once(ids)
    assert not trap.exists()
    cluster.kill_group()


def test_losing_the_brokers_content_loses_nothing(site: Site) -> None:
    ids = site.ready(5)
    poll(site)
    site.rows("DELETE FROM django_q_ormq")
    finish(site, ids)

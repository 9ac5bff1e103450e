"""What many processes and threads take together: connections, parallel calls, and turns between tenants."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.drills.site import Site, drill_document, until
from tests.drills.test_survival import poll

pytestmark = pytest.mark.postgres

LATENCY_S = 1.0
"""Of the vendors: so long that a transaction which waits for one is told from a thread that waits for its turn at a busy CPU."""


class Watch(threading.Thread):
    """Samples the database server's list of sessions until stopped."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site = site
        self.stopped = threading.Event()
        self.most = 0
        self.idle_in_transaction_s = 0.0

    def run(self) -> None:
        import psycopg

        with psycopg.connect(self.site.url, autocommit=True, application_name="drill") as own:
            while not self.stopped.wait(0.05):
                [(sessions, idle)] = own.execute(
                    "SELECT count(*), max(extract(epoch FROM clock_timestamp() - state_change))"
                    " FILTER (WHERE state LIKE 'idle in transaction%')"
                    " FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'drill'"
                    " AND backend_type = 'client backend'"
                ).fetchall()
                self.most = max(self.most, sessions)
                self.idle_in_transaction_s = max(self.idle_in_transaction_s, float(idle or 0))


def test_four_processes_of_32_threads_keep_to_the_limits_together(site: Site) -> None:
    """At most 24 database connections, none held during a call, and `max_parallel` counted where it matters (ENGINE 4, 5)."""

    def wide(doc: dict[str, Any]) -> None:
        for connection in doc["connections"]:
            connection["settings"]["max_parallel"] = 48

    site.configure(wide)
    ids = site.ready(160)
    poll(site)
    site.server.latency_s = LATENCY_S
    site.ifs.peak = site.fedex.peak = 0
    watch = Watch(site)
    watch.start()
    try:
        cluster = site.cluster(workers=4, threads=32)
        until("everything done", lambda: site.states() == {"done": 160}, patience_s=120, every_s=0.2)
    finally:
        watch.stopped.set()
        watch.join()
    site.assert_each_shipped_once(ids)
    assert 16 < site.fedex.peak <= 48, "calls in parallel at FedEx, over all processes"
    assert 16 < site.ifs.peak <= 48, "and at IFS"
    assert watch.most <= 24, f"{watch.most} connections"
    assert watch.idle_in_transaction_s < 0.8 * LATENCY_S, "a transaction waited for a vendor"
    cluster.kill_group()


def test_a_tenant_with_ten_documents_does_not_wait_for_one_with_two_hundred(site: Site) -> None:
    def two(doc: dict[str, Any]) -> None:
        small = drill_document(site.server.url, "omega")
        small["connections"][0]["company_codes"][0]["sites"][0]["code"] = "S2"
        for key in ("tenants", "connections", "integrations"):
            doc[key] += small[key]

    site.configure(two)
    site.ready(200)
    site.ready(10, site="S2")
    site.server.latency_s = 0.05
    poll(site)
    started = time.monotonic()
    cluster = site.cluster(workers=2)

    def left(tenant: str) -> int:
        [(count,)] = site.rows(
            "SELECT count(*) FROM connector_transfer x JOIN connector_tenant t ON t.id = x.tenant_id"
            " WHERE t.slug = %s AND x.state <> 'done'",
            tenant,
        )
        return int(count)

    until("the small tenant is through", lambda: left("omega") == 0)
    assert left("acme") > 60, f"the large one was served first ({time.monotonic() - started:.1f} s)"
    cluster.kill_group()

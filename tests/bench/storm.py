"""`python -m tests.bench.storm`: a thousand parcels change at once, first found by polling, then told by webhook.

The cluster ships them first; then every parcel moves at the simulated carrier and the installation is left to itself. Counted
at the simulators: tracking calls, write-backs, calls in parallel. Limits and parallel calls are those that are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from typing import Any

from tests.bench import webhooks
from tests.bench.site import BenchFailed, Plan, Site, scratch

TRACK = "fedex POST /track/v1/trackingnumbers"
PATIENCE_S = 1800
FIELDS = (
    "from connector.models import Connection\none = Connection.objects.get(vendor='ifs_cloud')\n"
    "one.settings['shipment'] = {'status_field': 'NoteText'}\none.save()"
)
DUE = (
    "from connector.models import Shipment\nfrom connector.services import clock, wake\n"
    "from connector.models import Integration\n"
    "Shipment.objects.filter(next_track_at__isnull=False).update(next_track_at=clock.at(-1))\n"
    "wake.poll(Integration.objects.get().pk, 'track')"
)


def numbers(site: Site) -> list[str]:
    return [number for number in site.control("ifs_cloud", "tracking")["standard"].values() if number]


def move(site: Site, event: str) -> list[str]:
    """Every parcel is scanned; their numbers."""
    found = numbers(site)
    for number in found:
        site.control("fedex", "scan", {"tracking_number": number, "event": event})
    return found


def told(site: Site, status: str) -> int:
    """Shipments of which the ERP was told this."""
    rows = "SELECT count(*) FROM connector_shipment WHERE status = '{0}' AND CAST(picture_written AS TEXT) LIKE '%{0}%'"
    return int(site.one(rows.format(status)))


def _patches(calls: dict[str, int]) -> int:
    return sum(count for line, count in calls.items() if line.startswith("ifs_cloud PATCH"))


def wave(site: Site, status: str, begin: Any) -> dict[str, Any]:
    """From `begin()` until the ERP was told of every parcel."""
    before = site.calls()
    count = len(numbers(site))
    begun = time.perf_counter()
    begin()
    site.wait(f"{count} times {status}", lambda: told(site, status) == count, PATIENCE_S)
    seconds = time.perf_counter() - begun
    after = site.calls()
    return {
        "parcels": count,
        "seconds": seconds,
        "per_s": count / seconds,
        "track_calls": after.get(TRACK, 0) - before.get(TRACK, 0),
        "track_calls_needed": math.ceil(count / 30),
        "write_backs": _patches(after) - _patches(before),
    }


def post_all(site: Site, port: int, found: list[str]) -> None:
    """One push for each parcel, as 8 connections at a time bring them."""
    made = []
    for number in found:
        events = [{"date": "2026-11-25T08:00:00-06:00", "eventType": "DL", "derivedStatusCode": "DL"}]
        result = {"trackingNumberInfo": {"trackingNumber": number}, "scanEvents": events}
        raw = json.dumps({"output": {"completeTrackResults": [{"trackResults": [result]}]}}).encode()
        made.append(webhooks.request(raw))
    _, _, statuses = webhooks.pour(port, made, 8)
    if statuses != {200: len(made)}:
        raise BenchFailed(f"answers {statuses}")


def measure(site: Site, shipments: int) -> dict[str, Any]:
    """Ship, then the two waves."""
    site.manage("shell", "-c", FIELDS)
    site.start_cluster()
    site.make_shipments(shipments)
    site.poll_soon()
    site.wait("everything shipped", lambda: len(numbers(site)) == shipments, PATIENCE_S)
    found = move(site, "OD")
    poll = wave(site, "out_for_delivery", lambda: site.manage("shell", "-c", DUE))
    with webhooks.web(site, 1) as (_, port):
        push = wave(site, "delivered", lambda: post_all(site, port, found))
    return {"engine": site.plan.engine, "poll": poll, "push": push, "load": os.getloadavg()[1]}


def main(given: list[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storm", description=__doc__)
    parser.add_argument("--db", default="postgres", help="sqlite, postgres or a server's URL")
    parser.add_argument("--shipments", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(given)
    if min(options.shipments, options.workers) < 1:
        parser.error("numbers must be positive")
    if given is None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = Plan(options.db, workers=options.workers)
    with scratch(plan) as site:
        print(json.dumps(measure(site, options.shipments) | {"settings": plan.settings()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

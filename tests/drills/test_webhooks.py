"""What a vendor was told 200 for happens, once: the web process is killed right after the answer, the worker in the middle."""

from __future__ import annotations

import json
import socket
from contextlib import suppress

import psycopg
import pytest

from tests.bench import webhooks
from tests.drills.site import Site, kill_group, until

pytestmark = pytest.mark.postgres

TOKEN = "Abcdefghijklmnopqrstuvwxyz1"
SHIP = """
import json
from connector.management.commands.sync import drain
from connector.models import Integration
from connector.services.configuration import importing
from connector import tasks
importing.apply(json.load(open({path!r})), "drill")
one = Integration.objects.select_related("source", "target", "tenant").get()
tasks.poll(one.pk, "ship")
drain(one, 10)
"""
TAKE_IN = """
from connector.management.commands.sync import drain
from connector.models import Integration
from connector import tasks
tasks.tick()
tasks.hooks()
tasks.hooks()
drain(Integration.objects.select_related("source", "target", "tenant").get(), 10)
"""
POSTS, AGAIN = 200, 0.3


def a_shipped_parcel(site: Site) -> tuple[int, str]:
    """A document and its number; the profile has a field for the carrier's news."""
    ifs, fedex = site.doc["connections"]
    ifs["settings"]["shipment"] = {"status_field": "NoteText"}
    fedex["credentials"]["webhook_secret"] = TOKEN
    path = site.folder / "config.json"
    path.write_text(json.dumps(site.doc))
    [document] = site.ready(1)
    site.python(SHIP.format(path=str(path)))
    return document, site.numbers()[document]


def push(number: str) -> bytes:
    """What FedEx posts when a parcel is on the vehicle."""
    events = [{"date": f"2026-11-{day}T08:00:00-06:00", "eventType": code} for day, code in ((21, "OD"), (20, "PU"))]
    result = {"trackingNumberInfo": {"trackingNumber": number}, "scanEvents": events}
    return json.dumps({"output": {"completeTrackResults": [{"trackResults": [result]}]}}).encode()


def deliveries(site: Site) -> dict[str, int]:
    return dict(site.rows("SELECT state, count(*) FROM connector_webhookdelivery GROUP BY state"))


def writes(site: Site) -> int:
    """Changes that IFS was asked for."""
    return sum(count for line, count in site.ifs.counts.items() if line.startswith("PATCH"))


def test_a_post_that_was_answered_is_handled_once_whoever_is_killed(site: Site) -> None:
    document, number = a_shipped_parcel(site)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = webhooks.web_line({"WEB_HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "1"})
    web = site.start(line, "web")

    def answers() -> bool:
        with suppress(OSError):
            return webhooks.send(port, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") == 200
        return False

    until("the web server answers", answers)
    some = [webhooks.request(webhooks.body(50_000 + n), "acme-fedex", TOKEN) for n in range(round(POSTS * (1 - AGAIN)))]
    _, _, statuses = webhooks.pour(port, [*some, *some[: round(POSTS * AGAIN)]], clients=8)
    assert statuses == {200: POSTS}
    assert webhooks.send(port, webhooks.request(push(number), "acme-fedex", TOKEN)) == 200
    kill_group(web.pid)
    assert deliveries(site) == {"received": len(some) + 1}

    # A worker, killed while it has the parcel in hand: somebody holds the shipment, so it waits in the middle.
    with psycopg.connect(site.url) as holder:
        holder.execute("SELECT 1 FROM connector_shipment FOR UPDATE")
        worker = site.spawn("shell", "-c", "from connector import tasks; tasks.hooks()")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        until("the worker waits for the shipment", lambda: site.rows(waits)[0][0] or worker.poll() is not None)
        assert worker.poll() is None
        kill_group(worker.pid)
        worker.wait(30)
        holder.rollback()
    left = deliveries(site)
    assert left["received"] >= 1 and sum(left.values()) == len(some) + 1
    assert site.rows("SELECT count(*) FROM connector_trackingevent")[0][0] == 0

    before = writes(site)
    site.python(TAKE_IN)
    assert deliveries(site) == {"done": len(some) + 1}
    assert site.rows("SELECT code FROM connector_trackingevent ORDER BY occurred_at") == [("PU",), ("OD",)]
    assert site.ifs.shipment("standard", document)["NoteText"] == "out_for_delivery"
    assert writes(site) == before + 1

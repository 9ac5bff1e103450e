"""The storms at full size: a thousand parcels with news at once, ten thousand posts in any order, three in ten of them again."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import socket
from collections import Counter
from contextlib import suppress

import pytest

from tests.bench import webhooks
from tests.drills.forks import Forks
from tests.drills.site import Site, kill_group, until
from tests.drills.test_webhooks import TOKEN, deliveries, writes

pytestmark = pytest.mark.postgres

PARCELS = 1000
POSTS, AGAIN = 10_000, 0.3
PARALLEL = 8
WAY = ("PU", "DP", "AR", "DP", "AR", "OD", "DL")
"""What a parcel goes through, one post for each scan."""
BEGUN = dt.datetime.now(dt.UTC).replace(microsecond=0)
POSTED = 100
"""Parcels of ours that the posts are about; the others are somebody else's. Taking in a post of ours is most of the time."""
TRACK = """
from connector.models import Integration, Shipment
from connector.services import clock, tracking
Shipment.objects.update(next_track_at=clock.at(-1))
one = Integration.objects.select_related("source", "target", "tenant").get()
result = 0
while tracking.due(one).exists():
    result += tracking.track(one).news
"""
TAKE_IN = """
from connector.services import webhooks
while webhooks.waiting():
    webhooks.take_in()
"""


def post(number: str, place: int) -> bytes:
    """One scan of a parcel, as FedEx would post it."""
    at = BEGUN + dt.timedelta(minutes=10 * (place + 1))  # behind the first scan, and not so far ahead that it does not count yet
    events = [{"date": at.isoformat(), "eventType": WAY[place]}]
    result = {"trackingNumberInfo": {"trackingNumber": number}, "scanEvents": events}
    body = {"transactionId": f"{number}-{place}", "output": {"completeTrackResults": [{"trackResults": [result]}]}}
    return webhooks.request(json.dumps(body).encode(), "acme-fedex", TOKEN)


def pour(site: Site, posts: list[bytes]) -> None:
    """Post all to a web server as the Procfile starts it, which is killed right after its last answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = site.start(webhooks.web_line({"WEB_HOST": "127.0.0.1", "PORT": str(port), "WEB_CONCURRENCY": "2"}), "web")
    ready = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

    def answers() -> bool:
        with suppress(OSError):
            return webhooks.send(port, ready) == 200
        return False

    until("the web server answers", answers)
    _, _, statuses = webhooks.pour(port, posts, clients=8)
    kill_group(web.pid)
    assert statuses == {200: len(posts)}


def test_a_thousand_parcels_and_ten_thousand_posts(site: Site) -> None:
    ifs, fedex = site.doc["connections"]
    ifs["settings"]["shipment"] = {"status_field": "NoteText"}
    fedex["credentials"]["webhook_secret"] = TOKEN
    site.configure()
    ids = site.ready(PARCELS)
    with Forks(site) as forks:
        forks.poll()
        forks.drain(processes=3)
        site.assert_each_shipped_once(ids)
        numbers = site.numbers()

        for number in numbers.values():
            site.fedex.scan(number, "PU")
        before, site.ifs.peak, site.fedex.peak = writes(site), 0, 0
        asked = site.fedex.counts["POST /track/v1/trackingnumbers"]
        assert forks.python(TRACK) == PARCELS
        assert site.fedex.counts["POST /track/v1/trackingnumbers"] - asked == math.ceil(PARCELS / 30)
        forks.drain(processes=3)
        assert writes(site) - before == PARCELS, "one write-back each"
        assert site.ifs.peak <= PARALLEL and site.fedex.peak <= PARALLEL
        shown = Counter(site.ifs.shipment("standard", one)["NoteText"] for one in ids)
        assert shown == {"picked_up": PARCELS}
        [(known,)] = site.rows("SELECT count(*) FROM connector_trackingevent")

        posted = dict(list(numbers.items())[:POSTED])
        new = [post(number, place) for number in posted.values() for place in range(len(WAY))]
        ours, others = len(new), round(POSTS * (1 - AGAIN)) - len(new)
        new += [webhooks.request(webhooks.body(50_000 + n), "acme-fedex", TOKEN) for n in range(others)]
        chance = random.Random(11)
        posts = [*new, *chance.sample(new, round(POSTS * AGAIN))]
        chance.shuffle(posts)
        assert len(posts) == POSTS
        pour(site, posts)
        assert deliveries(site) == {"received": len(new)}, "each body once"
        before, site.ifs.peak = writes(site), 0
        forks.python(TAKE_IN)
        assert deliveries(site) == {"done": len(new)}
        assert site.rows("SELECT count(*) FROM connector_trackingevent") == [(known + ours,)], "each scan once"
        forks.drain(processes=3)
        shown = Counter(site.ifs.shipment("standard", one)["NoteText"] for one in posted)
        assert shown == {"delivered": POSTED}, "whatever came last"
        assert writes(site) - before == POSTED and site.ifs.peak <= PARALLEL
    assert site.rows("SELECT count(*) FROM connector_shipment WHERE status = 'delivered'") == [(POSTED,)]

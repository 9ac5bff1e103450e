"""A thousand parcels change at once, and thousands of posts come: calls, write-backs and wake-ups stay what they should be.

Here in a small size; the full one is `tests/drills/test_storms.py`, and the posts alone `python -m tests.bench.webhooks`.
"""

from __future__ import annotations

import copy
import io
import json
import math
import random
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django_q.models import OrmQ

from connector.models import TrackingEvent, Transfer, WebhookDelivery
from connector.services import tracking, webhooks
from tests.bench import webhooks as posts
from tests.flows.parcels import TOKEN, TRACK, answer, follow, set_out, shipment
from tests.flows.support import later, masters
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

PARCELS, PARALLEL = 35, 3


@pytest.fixture
def storm(world: World, settings: Any) -> World:
    """Parcels under way at connections that take three calls at a time."""
    set_out(world, settings, PARCELS)
    world.configure(lambda doc: [row["settings"].update(max_parallel=PARALLEL) for row in doc["connections"]])
    return world


def written(world: World) -> dict[str, int]:
    """How many documents show which status."""
    shown = [world.ifs.shipment("standard", k)["NoteText"] for k in world.numbers()]
    return {status: shown.count(status) for status in set(shown)}


def test_all_parcels_change_at_once(storm: World) -> None:
    numbers = masters(storm)
    follow(storm)  # what IFS shows before: the label
    for event in ("PU", "DP", "OD"):  # three changes each, between two looks
        later(storm, 600)
        for number in numbers:
            storm.fedex.scan(number, event)
    before = (storm.fedex.counts[TRACK], storm.calls("PATCH"), storm.calls("GET ShipmentHandling.svc/ShipmentSet"))
    storm.ifs.peak = storm.fedex.peak = 0
    OrmQ.objects.all().delete()
    assert follow(storm).news == PARCELS
    assert storm.fedex.counts[TRACK] - before[0] == math.ceil(PARCELS / 30)
    assert storm.calls("PATCH") - before[1] == PARCELS, "one write-back each for three changes"
    assert storm.ifs.peak <= PARALLEL and storm.fedex.peak <= PARALLEL
    assert written(storm) == {"out_for_delivery": PARCELS}
    assert OrmQ.objects.count() <= 3 * math.ceil(PARCELS / 30) + PARCELS // 20, "not one for each"

    # The same again by webhook: delivered, each told twice, in any order; and the poll beside finds nothing new.
    later(storm, 600)
    bodies = []
    for number in numbers:
        storm.fedex.scan(number, "DL")
    template = json.dumps(answer(storm, numbers[0]))
    for number in numbers:
        told = json.loads(template.replace(numbers[0], number))
        bodies.append(json.dumps(told).encode())
        again = copy.deepcopy(told) | {"transactionId": f"again-{number}"}
        bodies.append(json.dumps(again).encode())
    random.Random(3).shuffle(bodies)
    tenant, target = storm.integration.tenant, storm.integration.target
    before_patch, storm.ifs.peak = storm.calls("PATCH"), 0
    for raw in bodies:
        assert send(raw) == 200
    assert WebhookDelivery.objects.filter(tenant=tenant, connection=target).count() == 2 * PARCELS
    OrmQ.objects.all().delete()
    assert webhooks.take_in() == 2 * PARCELS
    assert OrmQ.objects.count() <= 2
    assert Transfer.objects.filter(flow="track", state="waiting").count() == PARCELS
    storm.work()
    assert storm.calls("PATCH") - before_patch == PARCELS and storm.ifs.peak <= PARALLEL
    assert written(storm) == {"delivered": PARCELS}
    assert not tracking.due(storm.integration).exists(), "what is delivered is asked for no more"


def send(raw: bytes) -> int:
    """One post through the web server's own entry, as gunicorn would hand it over."""
    head, _, body = posts.request(raw, "acme-fedex", TOKEN).partition(b"\r\n\r\n")
    signature = head.partition(b"fdx-signature: ")[2].split(b"\r\n")[0].decode()
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/hooks/acme-fedex/",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_FDX_SIGNATURE": signature,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
    }
    get_wsgi_application()(environ, lambda status, headers: said.append(status)).close()  # type: ignore[attr-defined]
    return int(said[0].split()[0])


def test_many_posts_of_which_a_third_came_before(under_way: World) -> None:
    """Every new body is kept once and handled once, the parcel of ours among them; nothing else is made of the others."""
    number = masters(under_way)[0]
    under_way.fedex.scan(number, "OD")
    ours = json.dumps(answer(under_way, number)).encode()
    chance = random.Random(7)
    new = [posts.body(50_000 + n) for n in range(280)] + [ours]
    pour = [*new, *(chance.choice(new) for _ in range(118)), ours]
    chance.shuffle(pour)
    assert {send(raw) for raw in pour} == {200}
    assert WebhookDelivery.objects.count() == len(new)
    while webhooks.waiting():
        assert webhooks.take_in() > 0
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"done"}
    assert shipment(number).status == "out_for_delivery" and TrackingEvent.objects.count() == 2
    assert Transfer.objects.filter(flow="track").count() == 1

"""The door that vendors post to: few statements, no bad post gets through, no good one is turned away or lost."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test import Client
from django.test.client import RequestFactory
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from connector import views
from connector.models import WebhookDelivery
from connector.services import webhooks
from tests.flows import parcels
from tests.flows.parcels import TOKEN, post
from tests.flows.support import later
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _just_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a process that has woken nobody and said nothing yet."""
    monkeypatch.setattr(webhooks, "_woken", webhooks._Last())
    monkeypatch.setattr(webhooks, "_complaints", webhooks._Complaints())


@pytest.fixture
def door(world: World) -> World:
    """A connection that takes posts; no parcels."""
    world.configure(lambda doc: doc["connections"][1]["credentials"].update(webhook_secret=TOKEN))
    return world


def signature(raw: bytes, secret: str = TOKEN) -> str:
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def test_a_post_costs_two_statements_and_a_storm_one_wake_up(door: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "time", SimpleNamespace(monotonic=lambda: 100.0))
    OrmQ.objects.all().delete()
    assert post(b'{"n": 0}') == 200
    with CaptureQueriesContext(database) as told:
        for n in range(1, 11):
            assert post(b'{"n": %d}' % n) == 200
            assert post(b'{"n": %d}' % (n // 2)) == 200, "known already"
    assert len(told) == 40, [q["sql"][:80] for q in told][:6]
    assert WebhookDelivery.objects.count() == 11
    assert OrmQ.objects.count() == 1


def test_sync_takes_in_what_was_posted(door: World, settings: Any) -> None:
    """A script without workers sees a push in the ERP's record after its next `sync`."""
    parcels.set_out(door, settings, 1)
    [(shipment_id, number)] = door.numbers().items()
    later(door, 600)  # before its first turn to be asked for
    door.fedex.scan(number, "PU")
    raw = json.dumps(parcels.answer(door, number)).encode()
    asked = door.fedex.counts[parcels.TRACK]
    assert post(raw) == 200
    out = io.StringIO()
    call_command("sync", "acme-ifs-fedex", json=True, stdout=out)
    assert json.loads(out.getvalue())["run"]["done"] == 1 and door.fedex.counts[parcels.TRACK] == asked
    assert WebhookDelivery.objects.get().state == "done" and "picked" in parcels.note(door, shipment_id).lower()


def test_workers_that_do_not_come_are_not_called_for_ever(door: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process wakes once a second: with the workers away for a day that would be a queue of a day's work."""
    OrmQ.objects.all().delete()
    monkeypatch.setattr(webhooks._Last, "older_than", lambda self, seconds: True)
    monkeypatch.setattr(webhooks, "WAKE_UPS", 3)
    for n in range(6):
        post(b'{"n": %d}' % n)
    assert OrmQ.objects.count() == 3


def test_forged_posts_do_not_fill_the_log(door: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=webhooks.__name__):
        for n in range(5):
            assert post(b'{"n": %d}' % n, "Another-secret-of-somebody1") == 401
    assert len(caplog.records) == 1


def test_the_address_without_its_last_slash_is_the_same_door(door: World) -> None:
    """A redirect would lose the post: nobody sends a POST again elsewhere."""
    raw = b'{"n": 1}'
    told = Client().post("/hooks/acme-fedex", raw, content_type="application/json", headers={"fdx-signature": signature(raw)})
    assert told.status_code == 200 and WebhookDelivery.objects.count() == 1


def _chunked(raw: bytes, **more: Any) -> Any:
    """A post without a length, as the server hands it on: it has undone the chunks and ends the stream."""
    request = RequestFactory().post("/hooks/acme-fedex/", b"", content_type="application/json")
    request.META.pop("CONTENT_LENGTH", None)
    request.META |= {"HTTP_FDX_SIGNATURE": signature(raw), "HTTP_TRANSFER_ENCODING": "chunked"}
    request.META |= {"wsgi.input": io.BytesIO(raw), "wsgi.input_terminated": True} | more
    return views.hook(request, "acme-fedex")


def test_a_body_in_chunks_is_read_whole_and_only_so_far(door: World) -> None:
    raw = b'{"output": "' + b"x" * 70_000 + b'"}'
    assert _chunked(raw).status_code == 200
    assert bytes(WebhookDelivery.objects.get().body) == raw
    assert _chunked(b"x" * (webhooks.MAX_BYTES + 1)).status_code == 413
    assert _chunked(raw, **{"wsgi.input_terminated": False}).status_code == 411, "nobody says where it ends"


def test_a_length_that_is_no_number_is_refused(door: World) -> None:
    request = RequestFactory().post("/hooks/acme-fedex/", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = "12abc"
    assert views.hook(request, "acme-fedex").status_code == 400


def test_secrets_that_cannot_be_opened_make_the_vendor_come_again(door: World) -> None:
    with database.cursor() as cursor:
        cursor.execute("UPDATE connector_connection SET secrets_text = 'gAAAAAnot-ours' WHERE slug = 'acme-fedex'")
    assert post(b"{}") == 503


def test_a_connection_without_a_token_takes_nothing(door: World) -> None:
    """The empty key would sign for everybody."""
    row = door.integration.target
    row.set_secrets({"client_secret": "x"})
    row.save()
    assert post(b"{}", "") == 401
    assert post(b"{}") == 401

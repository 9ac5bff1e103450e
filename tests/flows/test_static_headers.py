"""Static headers of a connection reach the vendor; one against forged requests is masked wherever it could be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.models import AuditDetail, Exchange
from tests.flows.support import change
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "xsrf-7f3a91c2"


def test_an_anti_forgery_header_is_sent_and_shown_nowhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    real = world.ifs.handle

    def handle(request: Any) -> Any:
        sent.append({name.lower(): value for name, value in request.headers.items()})
        return real(request)

    monkeypatch.setattr(world.ifs, "handle", handle)
    change(world, "ifs", extra_headers={"X-XSRF-TOKEN": TOKEN, "X-Route": "blue"})
    # An answer that repeats what it was sent, under a name of its own.
    world.ifs.fault("status", r"GET .*/ShipmentSet", times=1, status=503, body=json.dumps({"error": f"bad token {TOKEN}"}))
    world.ready()
    world.sync()
    world.sync()
    assert world.states() == {"done": 1}
    assert {h.get("x-xsrf-token") for h in sent} == {TOKEN} and {h.get("x-route") for h in sent} == {"blue"}
    kept = json.dumps(list(Exchange.objects.values("request_headers", "request_body", "response_headers", "response_body")))
    assert TOKEN not in kept and "blue" in kept
    told = json.dumps([str(row) for row in AuditDetail.objects.values()])
    assert TOKEN not in told and "X-XSRF-TOKEN" in told

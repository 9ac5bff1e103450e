"""What tests of tracking share: parcels under way, what FedEx would push of them, and posts as FedEx makes them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import requests
from django.test import Client

from connector.models import Shipment
from connector.services import clock, tracking
from tests.flows.support import change, small
from tests.world import World

TOKEN = "Abcdefghijklmnopqrstuvwxyz1"
DAY = 86400.0
TRACK = "POST /track/v1/trackingnumbers"


def set_out(world: World, settings: Any, count: int = 3) -> World:
    """Shipments whose numbers stand in IFS; the profile names fields for the carrier's news."""
    small(settings)
    change(world, "ifs", shipment={"status_field": "NoteText", "estimated_delivery_field": "PlannedDeliveryDate"})
    world.doc["connections"][1]["credentials"]["webhook_secret"] = f"Old-{TOKEN} {TOKEN}"
    world.configure()
    world.ready(count)
    world.sync()
    assert world.states() == {"done": count}
    return world


def note(world: World, shipment_id: int) -> str:
    """What IFS shows as status."""
    return world.ifs.shipment("standard", shipment_id)["NoteText"] or ""


def follow(world: World) -> tracking.TrackResult:
    """A round of tracking for everything, then the write-backs."""
    Shipment.objects.filter(next_track_at__isnull=False).update(next_track_at=clock.at(-1))
    told = tracking.track(world.integration)
    world.work()
    return told


def shipment(number: str) -> Shipment:
    return Shipment.objects.get(master_tracking_number=number)


def answer(world: World, number: str) -> dict[str, Any]:
    """What FedEx would push now: its own Track answer for a number."""
    base = f"{world.server.url}/fedex"
    form = {"grant_type": "client_credentials", "client_id": "demo-key", "client_secret": "demo-secret"}
    token = requests.post(f"{base}/oauth/token", data=form, timeout=10).json()["access_token"]
    body = {"includeDetailedScans": True, "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": number}}]}
    headers = {"Authorization": f"Bearer {token}"}
    found: dict[str, Any] = requests.post(f"{base}/track/v1/trackingnumbers", json=body, headers=headers, timeout=10).json()
    return found


def post(raw: bytes, secret: str = TOKEN, *, slug: str = "acme-fedex", signature: str | None = None) -> int:
    """A webhook post as FedEx makes it; the status it got."""
    given = signature if signature is not None else hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    path = f"/hooks/{slug}/"
    return Client().post(path, raw, content_type="application/json", headers={"fdx-signature": given}).status_code

"""Proof of delivery: fetched once where wanted or asked for, kept whole, never in the way of anything else."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from connector.models import Exchange, Package, Pause, Proof, Shipment
from connector.services import audit, clock, proofs, tracking
from connector.services.shipments import NotPossible
from tests.connector.admin_support import client_of, owner
from tests.flows.support import later, masters, options, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

ASKED = "POST /track/v1/trackingdocuments"


@pytest.fixture
def delivered(world: World, settings: Any) -> World:
    """Two shipments; the first is delivered, and we do not know it yet."""
    small(settings)
    world.ready(2)
    world.sync()
    later(world, 3700)
    world.fedex.scan(masters(world)[0], "PU")
    later(world, 3700)
    world.fedex.scan(masters(world)[0], "DL", received_by="J. DOE")
    return world


def follow(world: World) -> tracking.TrackResult:
    Shipment.objects.filter(next_track_at__isnull=False).update(next_track_at=clock.at(-1))
    return tracking.track(world.integration)


def asked(world: World) -> int:
    return int(world.fedex.counts[ASKED])


def first(world: World) -> Shipment:
    return Shipment.objects.get(master_tracking_number=masters(world)[0])


def test_nothing_is_fetched_unless_it_is_wanted(delivered: World) -> None:
    follow(delivered)
    assert first(delivered).status == "delivered" and asked(delivered) == 0
    assert not Package.objects.exclude(proof_due_at=None).exists()


def test_a_proof_is_fetched_once_and_can_be_had(delivered: World) -> None:
    options(delivered, proof_of_delivery=True)
    follow(delivered)
    [proof] = Proof.objects.all()
    assert proof.package.shipment == first(delivered) and asked(delivered) == 1
    assert bytes(proof.data).startswith(b"%PDF") and b"J. DOE" in bytes(proof.data)
    follow(delivered)
    assert asked(delivered) == 1, "once"
    [call] = Exchange.objects.filter(url__contains="trackingdocuments")
    assert "bytes, sha256" in call.response_body and "JVBERi" not in call.response_body, "the document is kept once"
    assert list(audit.verify()) == []
    client = client_of(owner())
    page = client.get(reverse("admin:connector_shipment_change", args=[first(delivered).pk])).content.decode()
    url = reverse("admin:connector_proof", args=[first(delivered).pk, proof.package_id])
    assert url in page and "Last news" in page and "signed by J. DOE" in page and "Proof of delivery kept" in page
    answer = client.get(url)
    assert answer.content == bytes(proof.data) and answer["Content-Type"] == "application/pdf"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox" and answer["X-Content-Type-Options"] == "nosniff"
    assert client.get(url + "?download=1")["Content-Disposition"].startswith("attachment")


def test_a_person_asks_for_it(delivered: World) -> None:
    url = reverse("admin:connector_shipment_do", args=[first(delivered).pk, "proof"])
    client = client_of(owner())
    assert "No parcel of this shipment has been delivered" in client.post(url, follow=True).content.decode()
    follow(delivered)
    assert "is asked for 1 proof of delivery" in client.post(url, follow=True).content.decode()
    follow(delivered)
    assert Proof.objects.count() == 1
    with pytest.raises(NotPossible, match="here already"):
        proofs.request(first(delivered), actor="ann")


def test_what_is_not_there_yet_is_asked_for_again_and_given_up(delivered: World) -> None:
    options(delivered, proof_of_delivery=True)
    number = masters(delivered)[0]
    scans = delivered.fedex.state["packages"][number]["scans"]
    follow(delivered)
    Proof.objects.all().delete()
    kept = scans.pop()
    Package.objects.filter(tracking_number=number).update(proof_due_at=clock.at(-1))
    follow(delivered)
    package = Package.objects.get(tracking_number=number)
    assert not Proof.objects.exists() and package.proof_due_at > clock.now()
    scans.append(kept)
    later(delivered, 3700)
    follow(delivered)
    assert Proof.objects.count() == 1
    assert proofs.next_wait_s(60) == 3600 and proofs.next_wait_s(5 * 3600) == 5 * 3600
    assert proofs.next_wait_s(5 * 86400) == 86400 and proofs.next_wait_s(15 * 86400) is None


def test_a_carrier_that_refuses_proofs_stops_nothing_else(delivered: World) -> None:
    options(delivered, proof_of_delivery=True)
    delivered.fedex.fault("status", ASKED, status=403, body="")
    told = follow(delivered)
    assert told.error is None and told.news >= 1
    assert not Pause.objects.exclude(state="ended").exists() and not Proof.objects.exists()
    delivered.fedex.no_faults()
    later(delivered, 3700)
    follow(delivered)
    assert Proof.objects.count() == 1

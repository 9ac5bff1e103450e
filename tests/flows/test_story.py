"""The page of a document: stages with their evidence, one line of time, calls as commands, differences, any number."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connector.models import EffectSend, Exchange, Shipment, Transfer, User
from connector.services import story, transfers
from tests.connector.admin_support import client_of
from tests.flows.support import CREATE_LINE, options, small
from tests.flows.test_forecast import abroad
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner_client() -> Client:
    return client_of(User.objects.create_superuser("owner", password="long enough for tests"))


def page(client: Client, transfer: Transfer) -> str:
    answer = client.get(reverse("admin:connector_transfer_change", args=[transfer.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def marks(transfer: Transfer) -> dict[str, story.Mark]:
    sends = list(EffectSend.objects.filter(effect__record=transfer.record_id).select_related("effect"))
    return {m.stage.name: m for m in story.progress(transfer, list(transfer.steps.all()), sends)}


def test_a_done_document_shows_what_each_stage_rests_on(world: World, owner_client: Client) -> None:
    world.ready(1)
    world.sync()
    transfer, shipment = Transfer.objects.get(), Shipment.objects.get()
    found = marks(transfer)
    assert {m.state for m in found.values()} == {"done"}
    assert shipment.master_tracking_number in found["buy label"].evidence
    assert EffectSend.objects.get().reference in found["buy label"].evidence
    assert "version W/" in found["write tracking"].evidence and "AirwayBillNo" in found["write tracking"].evidence
    text = page(owner_client, transfer)
    assert "Nothing: it is done." in text and "Label bought" in text and "create shipment" in text
    other = owner_client.get(reverse("admin:connector_shipment_change", args=[shipment.pk])).content.decode()
    assert "Label bought" in other and found["write tracking"].evidence.split(",")[0] in other, "two views of one story"


def test_what_is_done_waits_for_no_stage(world: World) -> None:
    """The freight cost has read the accounting; and what was switched on since is not made up for."""
    options(world, freight_charge=True, document_accounting=True)
    world.ready(1)
    world.sync()
    options(world, rates=True)
    found = marks(Transfer.objects.get())
    assert found["write freight cost"].state == "done" and found["read accounting"].state == "not needed"
    assert found["quote"].state == "not needed"


def test_across_a_border_the_reading_of_the_goods_is_a_stage(world: World, settings: Any) -> None:
    """Shown where it ran, or will: nowhere else."""
    abroad(world, settings, ShipViaCode="ROAD-X")
    world.ready(1)
    world.sync()
    over_there, at_home = Transfer.objects.get(state="failed"), Transfer.objects.get(state="done")
    assert list(marks(over_there)) == ["read", "read goods", "map", "last look", "buy label", "write tracking"]
    assert marks(over_there)["read goods"].state == "done" and "read goods" not in marks(at_home)
    over_there.steps.filter(name__in=("read goods", "map")).delete()
    over_there.refresh_from_db()
    assert marks(over_there)["read goods"].state == "not yet", "read, but it did not come so far"
    over_there.steps.all().delete()
    assert "read goods" not in marks(over_there), "nobody knows yet where it goes"


def test_what_has_not_come_yet_is_said_and_what_failed_says_why(world: World, settings: Any) -> None:
    small(settings)
    world.ready(1, ForwardAgentId="FEDEX", ShipViaCode="ROAD-X")
    world.sync()
    transfer = Transfer.objects.get()
    found = marks(transfer)
    assert (found["read"].state, found["map"].state) == ("done", "failed")
    assert "ROAD-X" in found["map"].evidence
    assert found["buy label"].state == found["write tracking"].state == "not yet"
    assert story.next_action(transfer, []) == transfer.remedy


def test_a_document_in_doubt_names_our_request(world: World, settings: Any) -> None:
    small(settings)
    world.fedex.fault("reset", CREATE_LINE)
    world.ready(1)
    world.sync()
    found = marks(Transfer.objects.get())
    assert EffectSend.objects.get().reference in found["buy label"].evidence
    assert found["buy label"].state == "open"


def test_a_call_can_be_copied_without_secrets_and_compared(world: World, settings: Any, owner_client: Client) -> None:
    small(settings)
    body = '{"transactionId": "t", "errors": [{"code": "RECIPIENT.CITY.INVALID", "message": "no such city"}]}'
    world.fedex.fault("status", CREATE_LINE, times=1, status=400, body=body)
    world.ready(1)
    world.sync()
    transfer = Transfer.objects.get()
    assert transfer.state == "failed"
    transfers.replay(transfer, actor="ann")
    world.work()
    first, second = Exchange.objects.filter(operation="create shipment").order_by("started_at")
    command = story.curl(second)
    assert '"Authorization: Bearer $TOKEN"' in command
    parts = shlex.split(command)
    assert parts[:3] == ["curl", "-X", "POST"] and parts[3] == second.url
    assert parts[parts.index("--data-binary") + 1] == second.request_body
    found = story.difference(first, second)
    assert any(mark == "-" and "no such city" in line for mark, line in found)
    assert story.before(second) == first and story.before(first) is None
    url = reverse("admin:connector_exchange", args=[transfer.pk, second.pk])
    text = owner_client.get(url).content.decode()
    assert "Copy as curl" in text and "mlc-removed" in text
    assert "demo-secret" not in text
    foreign = Exchange.objects.filter(transfer=None).first()
    assert foreign is not None
    assert owner_client.get(reverse("admin:connector_exchange", args=[transfer.pk, foreign.pk])).status_code == 404


def test_any_number_finds_its_document(world: World, owner_client: Client) -> None:
    [first, _] = world.ready(2)
    world.sync()
    transfer = Transfer.objects.get(source_key=f"shipment:{first}")
    shipment = Shipment.objects.get(record=transfer.record_id)
    own = reverse("admin:connector_transfer_change", args=[transfer.pk])
    find = reverse("admin:connector_find")
    order = shipment.references.get(kind="order").value
    reference = EffectSend.objects.get(transfer=transfer).reference
    for term in (str(first), f"shipment:{first}", shipment.master_tracking_number, order, reference, reference.lower()):
        answer = owner_client.get(find, {"q": term})
        assert (answer.status_code, answer.get("Location")) == (302, own), term
    several = owner_client.get(find, {"q": shipment.master_tracking_number[:6]})
    assert several.content.decode().count("shipment:") >= 2
    assert "Nothing bears" in owner_client.get(find, {"q": "nowhere"}).content.decode()
    stranger = client_of(User.objects.create_user("stranger", password="long enough for tests", is_staff=True))
    assert "Nothing bears" in stranger.get(find, {"q": str(first)}, follow=True).content.decode()

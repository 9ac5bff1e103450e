"""Labels in every format that is offered: asked for, checked by their bytes, stored with the right type, shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connector.models import Label, Shipment, User
from tests.flows.support import creates, options, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def page(client: Client) -> str:
    return client.get(reverse("admin:connector_shipment_change", args=[Shipment.objects.get().pk])).content.decode()


@pytest.fixture
def client() -> Client:
    made = Client()
    made.force_login(User.objects.create_superuser("owner", password="long enough for tests"))
    return made


@pytest.mark.parametrize(
    ("chosen", "stock", "media", "magic", "shown"),
    [
        ("PDF", "PAPER_LETTER", "application/pdf", b"%PDF", "application/pdf"),
        ("PNG", None, "image/png", b"\x89PNG", "image/png"),
        ("ZPLII", "STOCK_4X8", "application/zpl", b"^XA", "text/plain; charset=utf-8"),
    ],
)
def test_a_label_comes_in_the_chosen_format(
    world: World, client: Client, chosen: str, stock: str | None, media: str, magic: bytes, shown: str
) -> None:
    options(world, label_format=chosen, **({"label_stock_type": stock} if stock else {}))
    world.ready()
    world.sync()
    label = Label.objects.select_related("package__shipment").get()
    assert (label.media_type, label.readable) == (media, True)
    assert bytes(label.data).startswith(magic)
    answer = client.get(reverse("admin:connector_label", args=[label.package.shipment_id, label.package_id]))
    assert answer["Content-Type"] == shown and answer["X-Content-Type-Options"] == "nosniff"
    assert answer.content == bytes(label.data)
    printer = chosen == "ZPLII"
    assert answer["Content-Disposition"].startswith("attachment" if printer else "inline")
    assert answer["Content-Disposition"].endswith({"PDF": '.pdf"', "PNG": '.png"', "ZPLII": '.zpl"'}[chosen])
    assert (">View<" in page(client), "for a label printer" in page(client)) == (not printer, printer)


@pytest.mark.parametrize("chosen", ["PDF", "PNG", "ZPLII"])
def test_bytes_that_are_no_such_label_are_kept_and_pointed_at(world: World, client: Client, settings: Any, chosen: str) -> None:
    small(settings)
    options(world, label_format=chosen)
    world.fedex.fault("label_garbage", "POST /ship/v1/shipments$")
    [shipment_id] = world.ready()
    world.sync()
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.attention) == ("done", "label_unreadable")
    label = Label.objects.get()
    assert not label.readable and bytes(label.data) == b"This is no label.\n" and chosen in label.problem
    answer = client.get(reverse("admin:connector_label", args=[label.package.shipment_id, label.package_id]))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")
    assert creates(world) == 1 and sorted(world.numbers()) == [shipment_id]

"""Whatever the flows send to FedEx is as FedEx's official descriptions say.

The world of every flow test holds each request against them (`tests.world.WatchedFedex`); here it is made sure that every
kind of request comes by, with everything switched on.
"""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import Shipment
from connector.services import clock, shipments, tracking
from tests.fedex import official
from tests.flows.support import CREATE_LINE, due_now, later, masters, options, small
from tests.flows.test_abroad import BERLIN, TORONTO
from tests.world import World

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not official.present(), reason=official.MISSING),
]

EVERYTHING: dict[str, Any] = {
    "documents": ["shipment", "customer_order", "purchase_order"],
    "rates": True,
    "address_check": "warn",
    "residential_from_check": True,
    "proof_of_delivery": True,
    "country_of_manufacture": "US",
    "supplier_phone": "2165550131",
    "recipient_phone": "6155550111",
}
ASKED = {
    "POST /oauth/token",
    "POST /ship/v1/shipments",
    "PUT /ship/v1/shipments/cancel",
    "POST /rate/v1/rates/quotes",
    "POST /address/v1/addresses/resolve",
    "POST /track/v1/trackingnumbers",
    "POST /track/v1/referencenumbers",
    "POST /track/v1/trackingdocuments",
}


def test_every_kind_of_request_is_as_described(world: World, settings: Any) -> None:
    small(settings)

    def edit(doc: dict[str, Any]) -> None:
        doc["connections"][0]["settings"]["default_package"] = {
            **{"weight": 2.5, "unit": "kg", "length": 30.2, "width": 20, "height": 10, "dim_unit": "cm"},
        }
        doc["integrations"][0]["value_maps"]["service"] |= {"FDX-INTL": "FEDEX_INTERNATIONAL_PRIORITY"}

    world.configure(edit)
    options(world, **EVERYTHING)
    world.ready(1, handling_units=3)
    world.ready(1, ReceiverAddress1="Älvsjö 1", ShipViaCode="FEDEX_2_DAY")
    world.ready(1, lines=2, **BERLIN)
    world.ready(1, **TORONTO | {"ShipViaCode": "FDX-INTL"})
    world.ifs.make_orders("standard", 1)
    world.ifs.make_orders("standard", 1, kind="purchase_order")
    world.sync()
    assert world.states() == {"done": 6}
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.ready(1)
    world.sync()
    later(world, 60)
    due_now(world)
    assert world.states() == {"done": 7} and len(masters(world)) == 7
    for code in ("PU", "DL"):
        later(world, 3700)
        world.fedex.scan(masters(world)[0], code)
    Shipment.objects.update(next_track_at=clock.at(-1))
    tracking.track(world.integration)
    last = Shipment.objects.latest("pk")
    shipments.void_request(last, then="clear", actor="ann", reason="not wanted")
    world.work()
    assert world.fedex.judged >= ASKED
    assert world.fedex.undescribed == []

"""Everything that can be switched on at once, on both tenants of the IFS simulator and for each kind of document.

Each option has tests of its own; here they meet: what one writes must not disturb another. Counted at the simulators.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail

from connector.models import Proof, RateQuote, Shipment, Transfer
from connector.services import audit, costs, shipments
from tests.flows.parcels import follow
from tests.flows.support import change, later, masters, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

ENTITY = {"shipment": "Shipment", "customer_order": "CustomerOrder", "purchase_order": "PurchaseOrder"}
OPTIONS: dict[str, Any] = {
    "documents": list(ENTITY),
    "supplier_phone": "2165550131",
    "address_check": "warn",
    "rates": True,
    "rate_rule": "cheapest",
    "cost_ceiling": "9000.00 USD",
    "attach_label": "document",
    "supplier_mail": True,
    "document_accounting": True,
    "freight_charge": True,
    "proof_of_delivery": True,
    "forwarder_to_write": "FEDEX",
    "write_ship_date": True,
}
NEWS = {
    "status_field": "Cf_Delivery_Status",
    "status_time_field": "Cf_Status_Time",
    "estimated_delivery_field": "Cf_Estimated_Arrival",
    "delivered_field": "Cf_Delivered_At",
    "signed_by_field": "Cf_Signed_By",
    "quote_field": "Cf_Freight_Quote",
    "quote_currency_field": "Cf_Quote_Currency",
}
OWN = {"tracking_field": "Cf_Tracking_No", **NEWS}
MAIL = {"fields": {"phone": "Cf_Phone", "email": "Cf_Email"}}
CUSTOM = {
    "realm": "custom1",
    "shipment": {"service": "CShipmentHandling", "ready_filter": "Cf_Ready_To_Ship eq true", **OWN},
    "customer_order": {**OWN, "lines": {"tracking_field": "Cf_Tracking_No"}, "ship_date_field": "Cf_Ship_Date"},
    "purchase_order": {
        **OWN,
        "ship_date_field": "Cf_Ship_Date",
        "lines": {"tracking_field": "Cf_Tracking_No", "gross_weight_field": "Cf_Gross_Weight"},
    },
    "supplier_address": MAIL,
    "customer_order_charge": {"marker_field": "Cf_Freight_Ref"},
}


@pytest.fixture(params=["standard", "custom"])
def tenant(request: pytest.FixtureRequest, world: World, settings: Any) -> World:
    """A tenant with everything on; the standard one has no field for most of it."""
    small(settings)
    settings.PUBLIC_URL = "https://console.example.com"
    world.tenant = request.param

    def edit(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["options"] = OPTIONS
        doc["connections"][0]["settings"] |= {"default_package": {"weight": 2.5, "unit": "kg"}}
        if world.tenant == "custom":
            doc["connections"][0]["settings"] |= CUSTOM
            doc["connections"][0]["credentials"] = {"client_id": "MLCC", "client_secret": "ifs-custom-secret"}

    world.configure(edit)
    change(world, "ifs", in_doubt={"look_up_after_s": [0.05, 0.05, 0.1, 1, 1, 1], "resend_after_s": 1})
    if world.tenant == "custom":
        for supplier in ("V2001", "V2002", "V2003"):
            key = {"SupplierId": supplier, "AddressId": "01"}
            world.ifs.edit("custom", "SupplierInfoAddressPublic", key, {"Cf_Email": "dock@supplier.example"})
    return world


def make(world: World, kind: str) -> str:
    """One document; its number."""
    if kind == "shipment":
        return str(world.ifs.make_shipments(world.tenant, 1)[0])
    return str(world.ifs.make_orders(world.tenant, 1, kind=kind, lines=2)[0])


def header(world: World, kind: str, number: str) -> dict[str, Any]:
    key = {"ShipmentId": int(number)} if kind == "shipment" else {"OrderNo": number}
    return world.ifs.row(world.tenant, ENTITY[kind], key)


@pytest.mark.parametrize("kind", list(ENTITY))
def test_all_options_at_once(tenant: World, kind: str) -> None:
    world, custom = tenant, tenant.tenant == "custom"
    number = make(world, kind)
    world.sync()
    settle(world)
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    bought, [made] = Shipment.objects.get(), world.fedex.shipments()
    row, inbound = header(world, kind, number), kind == "purchase_order"

    # The label: chosen among the offers, its number where the profile says, the carrier and the day beside it.
    assert RateQuote.objects.get().shipment == bought and bought.quoted_cost
    assert bought.cost or inbound, "whoever pays is told the cost: the supplier's label does not name it"
    target = "Cf_Tracking_No" if custom else "AirwayBillNo" if kind == "shipment" else None
    if target:
        assert row[target] == made.master
    assert row["ForwardAgentId"] == "FEDEX"
    if custom:
        assert Decimal(str(row["Cf_Freight_Quote"])) == bought.quoted_cost and row["Cf_Quote_Currency"] == "USD"
        assert row["ActualShipDate" if kind == "shipment" else "Cf_Ship_Date"]
    # The file, the supplier's mail, the cost.
    [document] = world.ifs.documents(world.tenant)
    assert len(document["on"]) == 1 and number in document["on"][0]
    assert len(mail.outbox) == (1 if inbound and custom else 0)
    assert {Decimal(str(c["ChargeCost"])) for c in world.ifs.charges(world.tenant)} == (set() if inbound else {bought.cost})
    assert bought.accounting is not None or inbound

    # The way: what the carrier tells reaches the ERP where it has fields, and the history where it has none.
    later(world, 3700)
    world.fedex.scan(made.master, "PU")
    follow(world)
    bought.refresh_from_db()
    if custom:
        row = header(world, kind, number)
        assert row["Cf_Delivery_Status"] == "picked_up" and row["Cf_Status_Time"]
        assert row["Cf_Estimated_Arrival"][:10] == str(bought.estimated_delivery)
    later(world, 86400)
    world.fedex.scan(made.master, "DL", received_by="J. DOE")
    follow(world)
    bought.refresh_from_db()
    assert bought.status == "delivered" and Proof.objects.count() == 1
    if custom:
        row = header(world, kind, number)
        assert (row["Cf_Delivery_Status"], row["Cf_Signed_By"]) == ("delivered", "J. DOE")
        assert dt.datetime.fromisoformat(row["Cf_Delivered_At"]) == bought.delivered_at
    assert set(world.states()) == {"done"} and list(audit.verify()) == []


@pytest.mark.parametrize("kind", list(ENTITY))
def test_voided_bought_again_and_corrected(tenant: World, kind: str) -> None:
    world, custom = tenant, tenant.tenant == "custom"
    number = make(world, kind)
    world.sync()
    settle(world)
    first = Shipment.objects.get()
    shipments.void_request(first, then="rebuy", actor="ann", reason="wrong box")
    settle(world)
    assert set(world.states()) == {"done"}, Transfer.objects.values_list("state", "message")
    second = Shipment.objects.get(state="active")
    assert second.pk != first.pk and masters(world) == [second.master_tracking_number]
    row = header(world, kind, number)
    target = "Cf_Tracking_No" if custom else "AirwayBillNo" if kind == "shipment" else None
    if target:
        assert row[target] == second.master_tracking_number
    assert len(world.ifs.documents(world.tenant)) == 2, "the new label hangs beside the old one"
    assert len(mail.outbox) == (2 if custom and kind == "purchase_order" else 0), "the supplier has to have the new one"
    costs.correct(second, Decimal("99.00"), actor="ann", reason="as agreed", currency="USD")
    settle(world)
    bears = [Decimal(str(c["ChargeCost"])) for c in world.ifs.charges(world.tenant)]
    assert bears == ([] if kind == "purchase_order" else [Decimal("99.00")]), "the same charge, changed"
    shipments.void_request(second, then="clear", actor="ann", reason="not needed")
    settle(world)
    assert set(world.states()) == {"done"} and masters(world) == []
    assert not target or not header(world, kind, number)[target]
    assert {Decimal(str(c["ChargeCost"])) for c in world.ifs.charges(world.tenant)} <= {Decimal(0)}
    assert list(audit.verify()) == []

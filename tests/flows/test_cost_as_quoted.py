"""FedEx sheet 6, second fallback: a label whose answer names no cost costs what was quoted for it, and is never called rated."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from connector.models import AuditEntry, FreightCharge, Shipment
from connector.services import costs, month_end
from integrations.fedex.adapter import Fedex
from tests.connector.admin_support import client_of, owner
from tests.flows.support import CREATE_LINE, options, settle, small
from tests.flows.test_freight import costs_of, on
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)
NOTHING_RATED = ("unknown", None, "", None)


@pytest.fixture
def unrated(world: World, settings: Any) -> World:
    """FedEx makes labels and names no cost with them; prices are asked for before, and costs written to the orders."""
    small(settings)
    on(world, rates=True)
    world.fedex.fault("rating_missing", CREATE_LINE, times=None)
    return world


def known(world: World) -> tuple[Any, ...]:
    """Where the cost is known from, the cost, its currency, and what was rated."""
    shipment = Shipment.objects.get(integration=world.integration, state="active")
    return shipment.cost_kind, shipment.cost, shipment.currency, shipment.rated_cost


def test_the_quote_counts_is_written_to_the_order_and_says_what_it_is(unrated: World) -> None:
    [number] = unrated.ready()
    unrated.sync()
    shipment = Shipment.objects.get()
    assert shipment.quoted_cost and known(unrated) == ("quoted", shipment.quoted_cost, "USD", None)
    assert costs_of(unrated) == {f"C{number}": [shipment.quoted_cost]}
    row = FreightCharge.objects.get()
    assert (row.amount, row.quoted, row.rated) == (shipment.quoted_cost, shipment.quoted_cost, None)
    for act in ("bought", "freight_shared", "charged"):
        assert AuditEntry.objects.get(act=act).facts["cost_from"].startswith("the quote before buying"), act
    page = client_of(owner()).get(f"/admin/connector/shipment/{shipment.pk}/change/").content.decode()
    assert "As quoted before buying" in page and "Rated at ship time" not in page
    told = client_of(owner()).get("/admin/connector/shipment/").content.decode()
    assert f"{shipment.cost} USD (quoted)" in told
    wanted = month_end.Wanted(shipment.tenant, first=shipment.created_at.date(), last=shipment.created_at.date())
    [line] = month_end.page(wanted).lines
    assert line.figures.rated is None and line.figures.charged == line.figures.posted == shipment.cost
    [[(_, cells)]] = month_end.file_lines(wanted)
    assert line.note == "Cost from the quote before buying; the carrier named no cost with the label." and line.note in cells
    [total] = month_end.totals(wanted)
    assert total.figures.rated is None and total.figures.charged == shipment.cost


def test_what_is_charged_later_takes_its_place_and_nothing_was_rated(unrated: World) -> None:
    unrated.ready()
    unrated.sync()
    assert costs.history(Shipment.objects.get()) == []
    costs.correct(Shipment.objects.get(), Decimal("33.33"), actor="ann", reason="the bill")
    unrated.work()
    assert known(unrated) == ("entered", Decimal("33.33"), "USD", None)
    assert [list(map(str, parts)) for parts in costs_of(unrated).values()] == [["33.33"]]


def test_a_voided_label_that_is_invoiced_was_not_rated_either(unrated: World) -> None:
    unrated.ready()
    unrated.sync()
    shipment = Shipment.objects.get()
    Shipment.objects.update(state="voided")
    with transaction.atomic():
        costs.invoiced(shipment, Decimal("5.00"), "USD", actor="ann", reason="the bill")
    shipment.refresh_from_db()
    assert (shipment.cost_kind, shipment.cost, shipment.rated_cost) == ("invoiced", Decimal("5.00"), None)


def test_what_was_rated_comes_first(world: World) -> None:
    on(world, rates=True)
    world.ready()
    world.sync()
    assert known(world)[0] == "rated" and not AuditEntry.objects.filter(facts__has_key="cost_from").exists()


@pytest.mark.parametrize("why", ["not asked", "another payer", "list prices only", "another service"])
def test_without_a_price_for_this_purchase_the_cost_is_unknown(unrated: World, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    match why:
        case "not asked":
            options(unrated, rates=False)
        case "another payer":
            options(unrated, payment_type="THIRD_PARTY", payment_account="987654321")
        case "list prices only":
            monkeypatch.setattr("integrations.fedex.rates._rate_type", lambda rated: "list")
        case _:
            _buys_another_service(monkeypatch)
    unrated.ready()
    unrated.sync()
    settle(unrated)
    assert known(unrated) == NOTHING_RATED and costs_of(unrated) == {}


def _buys_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """FedEx answers with another service than was asked for."""
    read = Fedex.create_shipment

    def other(self: Any, *told: Any) -> Any:
        return replace(read(self, *told), service="PRIORITY_OVERNIGHT")

    monkeypatch.setattr(Fedex, "create_shipment", other)


def test_a_label_found_again_costs_an_unknown_sum(unrated: World) -> None:
    """What FedEx said with it is lost: it may have been another price (ENGINE 2.7)."""
    unrated.fedex.no_faults()
    unrated.fedex.fault("lost_answer", CREATE_LINE)
    options(unrated, adopted_label="accept")
    unrated.ready()
    unrated.sync(wait_s=3)
    assert Shipment.objects.get().adopted and known(unrated) == NOTHING_RATED and costs_of(unrated) == {}

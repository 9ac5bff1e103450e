"""The adapter against the simulated FedEx, over real HTTP: what both sides make of the same sheet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from integrations.base.errors import ConfigurationError, OutcomeUnknown, RateLimited, Rejected
from integrations.base.records import (
    Address,
    BoughtShipment,
    Dimensions,
    LengthUnit,
    PackageSpec,
    ShipmentRequest,
    Weight,
    WeightUnit,
)
from integrations.base.roles import LookUpQuery, SendTicket
from integrations.base.simulator import SimulatorServer
from integrations.base.testing import context_for
from integrations.fedex.adapter import Fedex
from integrations.fedex.simulator import FedexSimulator
from integrations.fedex.vendor import VENDOR

CREATE = r"POST /ship/v1/shipments$"
TRACK_LOGIN = {"track_client_id": "track-key", "track_client_secret": "track-secret"}
REFERENCE = "MLABCDEFGHIJKL"


class Desk:
    """A simulator, an adapter that talks to it, and one shipment to send."""

    def __init__(self, server: SimulatorServer, simulator: FedexSimulator) -> None:
        self.server = server
        self.simulator = simulator
        self.carrier = self.adapter()

    def adapter(self, **credentials: str) -> Fedex:
        login = {"client_id": "demo-key", "client_secret": "demo-secret", "account_number": "123456789"} | credentials
        return Fedex(context_for(VENDOR, {"base": f"{self.server.url}/fedex"}, login))

    def buy(self, request: ShipmentRequest | None = None, reference: str = REFERENCE) -> BoughtShipment:
        asked = request or shipment()
        body = self.carrier.describe_request(asked, reference)
        made = self.carrier.create_shipment(body, asked, SendTicket(reference, 1, 20))
        assert isinstance(made, BoughtShipment)
        return made

    def look(self, carrier: Fedex | None = None, reference: str = REFERENCE):
        today = self.simulator.now().date()
        query = LookUpQuery(reference, "123456789", today - dt.timedelta(days=1), today, shipment())
        return (carrier or self.carrier).find_shipment(query)


def package(package_id: str) -> PackageSpec:
    size = Dimensions(Decimal(10), Decimal(8), Decimal(4), LengthUnit.IN)
    return PackageSpec(package_id, Weight(Decimal("4.5"), WeightUnit.LB), size)


def shipment(*package_ids: str, **changes) -> ShipmentRequest:
    base = ShipmentRequest(
        "shipment:19",
        Address(
            company="Acme", phone="5125550100", lines=("1 Dock Rd",), city="Austin", state="TX", postal_code="78701", country="US"
        ),
        Address(
            name="Zoë Smith",
            phone="6155550111",
            lines=("9 Elm",),
            city="Nashville",
            state="TN",
            postal_code="37201",
            country="US",
        ),
        "FEDEX_GROUND",
        dt.datetime.now(dt.UTC).date(),
        tuple(package(p) for p in package_ids or ("hu-1",)),
        (("order", "SO004711"), ("invoice", "INV1")),
    )
    return replace(base, **changes)


@pytest.fixture
def desk() -> Iterator[Desk]:
    simulator = FedexSimulator()
    with SimulatorServer([simulator]) as server:
        yield Desk(server, simulator)
    assert server.errors == []


@pytest.mark.parametrize("names", ["recorded", "schema"])
def test_a_label_is_bought_with_everything_fedex_asks_for(desk, names):
    desk.simulator.options(names=names)
    made = desk.buy(shipment("a", "b"))
    assert [p.package_id for p in made.packages] == ["a", "b"]
    assert all(p.label.readable and p.label.data.startswith(b"%PDF") for p in made.packages)
    assert made.master_tracking_number == made.packages[0].tracking_number
    assert made.cost.amount > 0 and made.cost.currency == "USD"
    assert made.estimated_delivery and made.transaction_id
    (kept,) = desk.simulator.shipments()
    assert kept.tracking_numbers == tuple(p.tracking_number for p in made.packages)
    assert set(kept.references) >= {("CUSTOMER_REFERENCE", REFERENCE), ("P_O_NUMBER", "SO004711"), ("INVOICE_NUMBER", "INV1")}
    assert desk.simulator.remarks == []


@pytest.mark.parametrize(
    ("image", "media"),
    [("PDF", "application/pdf"), ("PNG", "image/png"), ("ZPLII", "application/zpl"), ("EPL2", "application/epl")],
)
def test_every_kind_of_label_is_readable(desk, image, media):
    label = desk.buy(shipment(options={"label": {"image_type": image}})).packages[0].label
    assert (label.media_type, label.readable) == (media, True)


@pytest.mark.parametrize("names", ["recorded", "schema"])
def test_a_bought_shipment_is_found_again_as_one(desk, names):
    desk.simulator.options(names=names)
    made = desk.buy(shipment("a", "b"))
    (found,) = desk.look().matches
    assert found.master_tracking_number == made.master_tracking_number
    assert found.tracking_numbers == tuple(p.tracking_number for p in made.packages)
    assert (found.recipient_country, found.recipient_postal_code) == ("US", "37201")
    assert (found.ship_date, found.package_count, found.cancelled) == (made.ship_date, 2, False)


def test_a_lost_answer_is_settled_by_the_look_up(desk):
    desk.simulator.fault("lost_answer", CREATE)
    with pytest.raises(OutcomeUnknown):
        desk.buy()
    (found,) = desk.look().matches
    assert [found.master_tracking_number] == desk.simulator.made_by_reference()[REFERENCE]
    assert desk.simulator.creates == 1


@pytest.mark.parametrize("fault", ["truncate", "empty", "no_tracking_number"])
def test_an_answer_without_a_number_leaves_the_outcome_open(desk, fault):
    desk.simulator.fault(fault, CREATE)
    with pytest.raises(OutcomeUnknown):
        desk.buy()
    assert desk.simulator.creates == 1
    assert len(desk.look().matches) == 1


@pytest.mark.parametrize(("fault", "args"), [("error_in_200", {}), ("status", {"status": 503}), ("html", {"status": 502})])
def test_a_fault_of_fedex_leaves_the_outcome_open_and_nothing_is_sent_again(desk, fault, args):
    desk.simulator.fault(fault, CREATE, **args)
    with pytest.raises(OutcomeUnknown):
        desk.buy()
    assert desk.simulator.counts["POST /ship/v1/shipments"] == 1
    assert desk.look().matches == ()


def test_two_shipments_under_one_reference_are_two_matches(desk):
    desk.buy()
    desk.buy()
    assert len(desk.look().matches) == 2


def test_a_packed_answer_costs_nothing_extra(desk):
    desk.simulator.fault("gzip", CREATE)
    assert desk.buy().master_tracking_number
    assert desk.simulator.creates == 1


def test_odd_answers_keep_the_number(desk):
    desk.simulator.fault("rating_missing", CREATE)
    assert desk.buy(reference="ML1").cost is None
    desk.simulator.fault("label_garbage", CREATE)
    label = desk.buy(reference="ML2").packages[0].label
    assert not label.readable and label.problem
    desk.simulator.fault("label_missing", CREATE)
    assert desk.buy(reference="ML3").packages[0].label is None
    desk.simulator.fault("warning_alert", CREATE)
    assert any("POSTALCITY" in a for a in desk.buy(reference="ML4").alerts)
    assert desk.simulator.creates == 4


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_an_expired_token_is_renewed_and_nothing_is_bought_twice(desk, shape):
    desk.simulator.fault("401_once", CREATE, shape=shape)
    desk.buy()
    assert (desk.simulator.token_requests, desk.simulator.creates) == (2, 1)


@pytest.mark.parametrize(("fault", "longest"), [("429_window", 15), ("429_daily", 86_461)])
def test_a_pause_is_asked_for_in_seconds(desk, fault, longest):
    desk.simulator.fault(fault, CREATE)
    with pytest.raises(RateLimited) as caught:
        desk.buy()
    assert 0 < caught.value.retry_after_s <= longest
    assert desk.simulator.creates == 0


def test_a_refusal_names_what_to_mend(desk):
    with pytest.raises(ConfigurationError) as caught:
        desk.carrier = desk.adapter(account_number="555555555")
        desk.buy()
    assert caught.value.code == "account_refused"
    assert desk.simulator.creates == 0


def test_a_void_can_be_repeated_until_the_parcel_is_gone(desk):
    made = desk.buy()
    assert not desk.carrier.void_shipment(made.master_tracking_number, "US").already
    assert desk.carrier.void_shipment(made.master_tracking_number, "US").already
    assert desk.look().matches[0].cancelled
    gone = desk.buy(reference="ML2")
    desk.simulator.scan(gone.master_tracking_number, "PU")
    with pytest.raises(Rejected) as caught:
        desk.carrier.void_shipment(gone.master_tracking_number, "US")
    assert caught.value.code == "void_too_late"


def test_a_void_whose_answer_is_lost_is_repeated_by_itself(desk):
    made = desk.buy()
    desk.simulator.fault("lost_answer", "PUT /ship/v1/shipments/cancel")
    assert desk.carrier.void_shipment(made.master_tracking_number, "US").voided
    assert desk.simulator.live_labels() == 0


def test_a_young_reference_is_not_found_and_no_error(desk):
    desk.simulator.options(references_visible_after_s=3600)
    desk.buy()
    assert desk.look().matches == ()


def test_track_is_asked_with_its_own_login(desk):
    desk.simulator.options(split_projects=True)
    desk.buy()
    with pytest.raises(ConfigurationError) as caught:
        desk.look()
    assert caught.value.code == "permission_missing"
    assert len(desk.look(desk.adapter(**TRACK_LOGIN)).matches) == 1


def test_a_ping_says_what_works_and_buys_nothing(desk):
    assert {p.layer: p.state for p in desk.carrier.ping()} == {"token": "ok", "account": "ok", "ship": "ok", "track": "ok"}
    assert (desk.simulator.creates, desk.simulator.token_requests) == (0, 1)
    desk.simulator.options(split_projects=True)
    assert {p.layer: p.state for p in desk.carrier.ping()}["track"] == "failed"
    wrong = {p.layer: p.state for p in desk.adapter(client_secret="nonsense").ping()}
    assert wrong == {"token": "failed"}
    foreign = {p.layer: p.state for p in desk.adapter(account_number="987654321").ping()}
    assert foreign["account"] == "failed"

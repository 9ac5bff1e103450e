"""Rates of FedEx (sheet 10): the question, every variation of the answer on record, and both against the simulator."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from integrations.base.errors import Rejected
from integrations.base.rates import RULES, Offer, Rules, ceiling_of, choose
from integrations.base.records import Commodity, Customs, Money, Problem, Weight, WeightUnit
from integrations.base.simulator import SimulatorServer
from integrations.base.testing import context_for
from integrations.fedex import rates
from integrations.fedex.adapter import Fedex
from integrations.fedex.simulator import FedexSimulator
from integrations.fedex.vendor import VENDOR
from integrations.flows.table import KINDS
from tests.fedex.mapping_support import ACCOUNT, RECIPIENT, package, request

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "specs" / "fedex" / "RateQuotes-Resource.json"
CUSTOMS = Customs(
    (
        Commodity(
            "Bolts", 4, "PCS", Money(Decimal(2), "USD"), Money(Decimal(8), "USD"), Weight(Decimal(1), WeightUnit.LB), "US", "7318"
        ),
    ),
    Money(Decimal(8), "USD"),
    "SOLD",
    "DAP",
    "RECIPIENT",
)
ABROAD = replace(RECIPIENT, country="GB", state="", postal_code="SW1A 1AA", phone="442079460018")


def rated(kind: str = "ACCOUNT", **changes: Any) -> dict[str, Any]:
    return {"rateType": kind, "totalNetCharge": Decimal("33.51"), "currency": "USD"} | changes


def read(*rows: dict[str, Any], **output: Any) -> tuple[Offer, ...]:
    found = rates.read_quote({"transactionId": "t-1", "output": {"rateReplyDetails": list(rows)} | output})
    assert found is not None
    return found.offers


def service(*details: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"serviceType": "FEDEX_2_DAY", "serviceName": "FedEx 2Day", "ratedShipmentDetails": list(details)} | changes


# -- the question ------------------------------------------------------------------------------------------


def test_what_would_be_bought_is_asked_for_with_every_service() -> None:
    body: Any = rates.build_quote(request(package(), package(package_id="hu-2"), references=(("order", "SO1"),)), ACCOUNT)
    shipment = body["requestedShipment"]
    assert "serviceType" not in shipment and shipment["rateRequestType"] == ["ACCOUNT", "LIST"]
    assert body["rateRequestControlParameters"] == {"returnTransitTimes": True}, "beside the shipment, where it counts"
    assert shipment["shipDateStamp"] == "2026-03-02" and "shipDatestamp" not in shipment
    assert shipment["recipient"]["address"]["postalCode"] == "37201" and shipment["totalPackageCount"] == 2
    told = json.dumps(body)
    assert not any(word in told for word in ("Elm St", "R Smith", "SO1", "QUOTE", "555"))


def test_packaging_and_residence_follow_the_service_that_is_asked_for() -> None:
    boxed = {"packaging_type": "FEDEX_PAK"}
    ground: Any = rates.build_quote(request(options=boxed), ACCOUNT)
    open_: Any = rates.build_quote(request(options=boxed, service=""), ACCOUNT)
    home: Any = rates.build_quote(request(service="GROUND_HOME_DELIVERY"), ACCOUNT)
    assert ground["requestedShipment"]["packagingType"] == "YOUR_PACKAGING"
    assert open_["requestedShipment"]["packagingType"] == "FEDEX_PAK"
    assert home["requestedShipment"]["recipient"]["address"]["residential"] is True


def test_what_cannot_be_bought_is_not_asked_for() -> None:
    with pytest.raises(Rejected) as caught:
        rates.build_quote(request(package("0")), ACCOUNT)
    assert caught.value.code == "weight_missing"


@pytest.mark.skipif(not SPEC.exists(), reason="FedEx's official description is not at hand")
def test_only_what_the_official_description_knows_is_sent() -> None:
    schemas = json.loads(SPEC.read_text())["components"]["schemas"]
    body: Any = rates.build_quote(request(recipient=ABROAD, customs=CUSTOMS, service="INTERNATIONAL_ECONOMY"), ACCOUNT)
    shipment = body["requestedShipment"]
    customs = shipment["customsClearanceDetail"]
    for name, told in (
        ("RequestedShipment", shipment),
        ("RequestedPackageLineItem", shipment["requestedPackageLineItems"][0]),
        ("CustomsClearanceDetail", customs),
        ("CommercialInvoice", customs["commercialInvoice"]),
        ("Commodity", customs["commodities"][0]),
    ):
        assert set(told) <= set(schemas[name]["properties"]), name


def test_a_quote_lets_the_sender_pay_duties_whoever_pays_them_in_the_end() -> None:
    """The official description of rates knows no other value; the purchase keeps the real one."""
    body: Any = rates.build_quote(request(recipient=ABROAD, customs=replace(CUSTOMS, duties_payer="RECIPIENT")), ACCOUNT)
    assert body["requestedShipment"]["customsClearanceDetail"]["dutiesPayment"] == {"paymentType": "SENDER"}


# -- the answer --------------------------------------------------------------------------------------------


def test_the_account_s_entry_is_charged_wherever_it_stands() -> None:
    offers = read(service(rated("LIST", totalNetCharge=Decimal("40")), rated("ACCOUNT")))
    assert [(o.rate_type, o.charged, o.cost) for o in offers] == [
        ("account", True, Money(Decimal("33.51"), "USD")),
        ("list", False, Money(Decimal(40), "USD")),
    ]
    [only] = read(service(rated("LIST")))
    assert only.charged, "else the first one"
    assert read(service(rated("PREFERRED_ACCOUNT_SHIPMENT"), rated("PAYOR_ACCOUNT_SHIPMENT")))[0].rate_type == "account"


@pytest.mark.parametrize(
    ("detail", "cost"),
    [
        (rated(currency="UKL"), Money(Decimal("33.51"), "GBP")),
        (rated(currency=None, shipmentRateDetail={"currency": "CAD"}), Money(Decimal("33.51"), "CAD")),
        (rated(currency=None, ratedPackages=[{"packageRateDetail": {"currency": "EUR"}}]), Money(Decimal("33.51"), "EUR")),
        (rated(totalNetCharge=None, totalNetFedExCharge=Decimal("30.10")), Money(Decimal("30.10"), "USD")),
        (rated(totalNetCharge="33.51"), Money(Decimal("33.51"), "USD")),
        (rated(totalNetCharge=Decimal("33.505")), Money(Decimal("33.51"), "USD")),
        (rated(totalNetCharge=Decimal("1e20")), None),
        (rated(totalNetCharge=Decimal("0.001")), None),
        (rated(currency=None), None),
        (rated(totalNetCharge=0), None),
        (rated(totalNetCharge=None), None),
    ],
)
def test_a_price_has_a_currency_or_is_none(detail: dict[str, Any], cost: Money | None) -> None:
    assert read(service(detail))[0].cost == cost


@pytest.mark.parametrize(
    ("told", "date", "time", "days"),
    [
        (
            {"commit": {"dateDetail": {"dayFormat": "2026-03-05T17:00:00"}, "daysInTransit": "THREE_DAYS"}},
            "2026-03-05",
            "17:00",
            3,
        ),
        ({"operationalDetail": {"deliveryDate": "2026-03-04T10:30:00", "transitTime": "TWO_DAYS"}}, "2026-03-04", "10:30", 2),
        ({"operationalDetail": {"commitDate": "2026-03-04"}}, "2026-03-04", "", None),
        ({"commit": {"label": "Delivery date unavailable", "transitDays": {"minimumTransitTime": "ONE_DAY"}}}, None, "", 1),
        ({"operationalDetail": {"transitTime": "SMARTPOST_TRANSIT_DAYS"}}, None, "", None),
        ({"commit": None, "operationalDetail": None}, None, "", None),
    ],
)
def test_a_promise_is_a_date_or_nothing(told: dict[str, Any], date: str | None, time: str, days: int | None) -> None:
    [offer] = read(service(rated(), **told))
    assert (offer.delivery_date, offer.delivery_time) == (dt.date.fromisoformat(date) if date else None, time)
    assert offer.transit_days == days


def test_an_odd_entry_does_not_spoil_the_others() -> None:
    offers = read(
        {}, service(), {"serviceType": "X", "ratedShipmentDetails": "?"}, service(rated(), customerMessages=[{"code": "A.B"}])
    )
    assert [(o.service, o.cost is None) for o in offers] == [("FEDEX_2_DAY", True), ("X", True), ("FEDEX_2_DAY", False)]
    assert offers[-1].alerts == ("A.B",)
    [nul] = read(service(rated(rateType="x\x00"), serviceName="a\x00b", customerMessages=["c\x00\ud800"]))
    assert (nul.name, nul.alerts, nul.rate_type) == ("ab", ("c",), "x"), "no database keeps these"
    assert read() == () and rates.read_quote({"output": {}}) is None and rates.read_quote(None) is None


# -- choosing ----------------------------------------------------------------------------------------------


def offer(name: str, amount: str | None, day: int | None = None, currency: str = "USD", **changes: Any) -> Offer:
    cost = Money(Decimal(amount), currency) if amount else None
    return Offer(name, cost=cost, delivery_date=dt.date(2026, 3, day) if day else None, **changes)


OFFERS = (offer("SLOW", "9.00", 9), offer("SLOW", "3.00", 9, charged=False), offer("FAST", "20.00", 3), offer("NEVER", "1.00"))
WANTED = dt.date(2026, 3, 5)


@pytest.mark.parametrize(
    ("rules", "offers", "wanted", "chosen"),
    [
        (Rules("fixed"), OFFERS, None, "SLOW"),
        (Rules("cheapest"), OFFERS, None, "NEVER"),
        (Rules("cheapest", ("FAST", "SLOW")), OFFERS, None, "SLOW"),
        (Rules("cheapest_by_wanted_date"), OFFERS, WANTED, "FAST"),
        (Rules("cheapest_by_wanted_date"), OFFERS, dt.date(2026, 3, 9), "SLOW"),
        (Rules("cheapest"), (offer("A", "5", 8), offer("B", "5", 7), offer("C", None, 1)), None, "B"),
        (Rules("fixed"), (), None, "no_offers"),
        (Rules("fixed"), (offer("FAST", "1"),), None, "service_not_offered"),
        (Rules("cheapest", ("OTHER",)), OFFERS, None, "service_not_offered"),
        (Rules("cheapest_by_wanted_date"), OFFERS, None, "wanted_date_missing"),
        (Rules("cheapest_by_wanted_date"), OFFERS, dt.date(2026, 3, 2), "wanted_date_unmet"),
        (Rules("cheapest"), (offer("A", None),), None, "offers_without_price"),
        (Rules("cheapest"), (offer("A", "5"), offer("B", "900", currency="JPY")), None, "offers_in_several_currencies"),
    ],
)
def test_a_rule_chooses_or_says_why_not(rules: Rules, offers: tuple[Offer, ...], wanted: dt.date | None, chosen: str) -> None:
    try:
        found = choose(offers, rules, "SLOW", wanted).offer.service
    except Rejected as error:
        found = error.code
        assert error.remedy
    assert found == chosen


def test_a_ceiling_names_its_currency() -> None:
    options = {option.name: option for option in KINDS["ifs_fedex"].options}
    assert options["rate_rule"].choices == RULES
    assert ceiling_of(" 150.00 USD ") == Money(Decimal("150.00"), "USD") and ceiling_of("") is None
    for wrong in ("150", "USD", "150 usd", "-1 USD", "1e3 USD", "1,000 USD"):
        assert not re.fullmatch(options["cost_ceiling"].pattern, wrong)
        with pytest.raises(ValueError, match="amount with its currency"):
            ceiling_of(wrong)
    assert re.fullmatch(options["cost_ceiling"].pattern, options["cost_ceiling"].example)


# -- against the simulator ---------------------------------------------------------------------------------


@pytest.fixture
def simulator() -> FedexSimulator:
    return FedexSimulator()


@pytest.fixture
def carrier(simulator: FedexSimulator) -> Iterator[Fedex]:
    with SimulatorServer([simulator]) as server:
        login = {"client_id": "demo-key", "client_secret": "demo-secret", "account_number": "123456789"}
        yield Fedex(context_for(VENDOR, {"base": f"{server.url}/fedex"}, login))
    assert server.errors == []


@pytest.mark.parametrize("names", ["recorded", "schema"])
def test_every_service_is_quoted_in_one_call_a_document(carrier: Fedex, simulator: FedexSimulator, names: str) -> None:
    simulator.options(names=names)
    today = dt.datetime.now(dt.UTC).date()
    asked = [request(ship_date=today), request(ship_date=today, document_key="shipment:20")]
    asked.append(replace(asked[0], document_key="abroad", recipient=ABROAD, customs=CUSTOMS, service=""))
    found = carrier.quote(asked)
    assert simulator.counts["POST /rate/v1/rates/quotes"] == 3 and simulator.remarks == []
    home, abroad = found["shipment:19"], found["abroad"]
    assert not isinstance(home, Problem) and not isinstance(abroad, Problem) and home.request_id
    assert {o.currency for o in (offer.cost for offer in home.offers) if o} == {"USD"}
    assert "FEDEX_GROUND" in {o.service for o in home.offers} and all(o.delivery_date and o.transit_days for o in home.offers)
    assert {o.service for o in abroad.offers} >= {"INTERNATIONAL_ECONOMY"}
    assert simulator.shipments() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, False),
        ({"payment_type": "THIRD_PARTY", "payment_account": "987654321"}, True),
        ({"payment_type": "RECIPIENT", "payment_by_own_account": True}, False),
        ({"payment_type": "RECIPIENT", "payment_account": ACCOUNT}, False),
    ],
)
def test_prices_of_an_account_that_does_not_pay_are_called_so(carrier: Fedex, options: dict[str, Any], told: bool) -> None:
    """A quote knows no payer but the account that asks (sheet 10)."""
    asked = request(ship_date=dt.datetime.now(dt.UTC).date(), options=options)
    found = carrier.quote([asked])[asked.document_key]
    assert not isinstance(found, Problem) and found.offers
    said = [line for line in found.alerts if "billed to" in line]
    assert bool(said) is told and not any("987654321" in line or ACCOUNT in line for line in said)


def test_a_refusal_concerns_its_document_only(carrier: Fedex, simulator: FedexSimulator) -> None:
    today = dt.datetime.now(dt.UTC).date()
    simulator.fault("rating_missing", "POST /rate/v1/rates/quotes")
    found = carrier.quote([request(ship_date=today), request(ship_date=today, document_key="shipment:20")])
    first = found["shipment:19"]
    assert isinstance(first, Problem) and isinstance(first.error, Rejected) and first.error.code == "rate_not_available"
    assert not isinstance(found["shipment:20"], Problem)

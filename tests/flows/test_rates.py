"""Prices before buying: what is asked and kept, which offer is bought, when a person is asked. Counted at the simulators."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jmespath
import pytest

from connector.models import AuditEntry, Exchange, Pause, RateQuote, Shipment, Step, Transfer
from connector.services import mappings, quotes, rate_rules, story, transfers
from connector.services.shipments import NotPossible
from integrations.flows.table import KINDS
from tests.flows.support import change, creates, due_now, later, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

QUOTES = "POST /rate/v1/rates/quotes"


@pytest.fixture
def asking(world: World) -> World:
    """Prices are asked for; the service stays the document's."""
    options(world, rates=True)
    return world


def asked(world: World) -> int:
    return world.fedex.counts[QUOTES]


def bought(world: World) -> Shipment:
    return Shipment.objects.get(integration=world.integration, state="active")


def offered(quote: RateQuote, service: str) -> Decimal:
    return next(o.cost.amount for o in quotes.offers_of(quote) if o.service == service and o.charged and o.cost)


def test_nothing_is_asked_where_the_option_is_off(world: World) -> None:
    world.ready(2)
    world.sync()
    assert world.states() == {"done": 2} and asked(world) == 0 and not RateQuote.objects.exists()
    assert not Step.objects.filter(name__in=("quote", "choose service")).exists()


def test_one_call_more_for_each_document_and_all_offers_are_kept(asking: World) -> None:
    asking.ready(2)
    asking.sync()
    assert asking.states() == {"done": 2} and asked(asking) == 2 and creates(asking) == 2
    done = Transfer.objects.latest("pk")
    told = {m.stage.name: m.evidence for m in story.progress(done, list(done.steps.all()), [])}
    assert told["quote"].endswith(" offers") and told["choose service"].startswith("FEDEX_GROUND, ")
    for shipment in Shipment.objects.all():
        quote = RateQuote.objects.get(shipment=shipment)
        assert quote.chosen == shipment.service and quote.to_buy and quote.rule == "fixed" and quote.request_id
        assert (shipment.quoted_cost, shipment.quoted_currency) == (quote.amount, "USD")
        offers = quotes.offers_of(quote)
        assert {o.rate_type for o in offers} == {"account", "list"} and len({o.service for o in offers}) > 4
        assert all(o.delivery_date and o.transit_days for o in offers)


def test_the_cheapest_is_bought_and_its_price_is_no_change_of_the_document(asking: World) -> None:
    options(asking, rate_rule="cheapest", rate_services=["FEDEX_2_DAY", "FEDEX_EXPRESS_SAVER"])
    [number] = asking.ready(ShipViaCode="FDX-2DAY")
    asking.sync()
    assert bought(asking).service == "FEDEX_EXPRESS_SAVER" and asking.states() == {"done": 1}
    quote = RateQuote.objects.get()
    assert (quote.wished, quote.chosen) == ("FEDEX_2_DAY", "FEDEX_EXPRESS_SAVER") and "cheapest" in quote.reason
    asking.ifs.edit("standard", "ShipmentSet", {"ShipmentId": number}, {"NoteText": "hello"}, "ALICE")
    asking.sync()
    assert Transfer.objects.latest("pk").attention in (None, "")


def test_a_document_without_a_mapped_service_ships_where_a_rule_chooses(asking: World) -> None:
    asking.ready(ShipViaCode="TRUCK", ForwardAgentId="FEDEX")
    asking.sync()
    assert Transfer.objects.get().code == "unmapped_service" and asked(asking) == 0
    options(asking, rate_rule="cheapest", rate_services=["FEDEX_GROUND"])
    transfers.replay(Transfer.objects.get(), actor="ann")
    settle(asking)
    assert bought(asking).service == "FEDEX_GROUND" and RateQuote.objects.get().wished == ""


def test_the_cheapest_that_arrives_in_time(asking: World) -> None:
    options(asking, rate_rule="cheapest_by_wanted_date")
    [number] = asking.ready(PlannedDeliveryDate=None)
    asking.sync()
    assert asking.transfer(number).code == "wanted_date_missing" and RateQuote.objects.get().code == "wanted_date_missing"
    dates = {o.service: o.delivery_date for o in quotes.offers_of(RateQuote.objects.get()) if o.charged}
    asking.ifs.edit("standard", "ShipmentSet", {"ShipmentId": number}, {"PlannedDeliveryDate": "2020-01-06T00:00:00Z"}, "A")
    transfers.replay(asking.transfer(number), actor="ann")
    settle(asking)
    stopped = asking.transfer(number)
    assert stopped.code == "wanted_date_unmet" and "2020-01-06" in stopped.message and creates(asking) == 0
    wanted = dates["FEDEX_2_DAY"]
    asking.ifs.edit("standard", "ShipmentSet", {"ShipmentId": number}, {"PlannedDeliveryDate": f"{wanted}T00:00:00Z"}, "A")
    transfers.replay(asking.transfer(number), actor="ann")
    settle(asking)
    assert bought(asking).service == "FEDEX_2_DAY" and RateQuote.objects.count() == 3


def test_a_service_that_is_not_offered_stops_with_what_is(asking: World) -> None:
    options(asking, rate_rule="cheapest", rate_services=["INTERNATIONAL_FIRST"])
    asking.ready()
    asking.sync()
    stopped = Transfer.objects.get()
    assert (stopped.state, stopped.code) == ("failed", "service_not_offered") and "FEDEX_GROUND" in stopped.message
    assert Step.objects.get(name="choose service").state == "failed" and creates(asking) == 0
    assert RateQuote.objects.get().offers, "what was offered is kept all the same"


def test_a_project_without_rates_stops_who_asks_for_prices_not_the_connection(asking: World) -> None:
    """Labels and tracking work without the Rate API: its refusal must not keep others from FedEx (sheet 3)."""
    refusal = {"transactionId": "t", "errors": [{"code": "FORBIDDEN.ERROR", "message": "no"}]}
    asking.fedex.fault("status", QUOTES, times=None, status=403, body=refusal)
    asking.ready()
    asking.sync()
    [pause] = Pause.objects.exclude(state="ended")
    assert (pause.scope, pause.code) == ("integration", "permission_missing")
    assert Transfer.objects.get().state == "waiting" and creates(asking) == 0
    options(asking, rates=False)
    due_now(asking)
    assert asking.states() == {"done": 1}


# -- a person's word ---------------------------------------------------------------------------------


def test_above_the_ceiling_a_person_approves_and_what_he_saw_is_bought(asking: World) -> None:
    options(asking, cost_ceiling="1.00 USD")
    asking.ready()
    asking.sync()
    waiting = Transfer.objects.get()
    quote = RateQuote.objects.get()
    assert (waiting.state, waiting.code) == ("needs_approval", "cost_above_ceiling")
    assert str(quote.amount) in waiting.message and "1.00 USD" in waiting.message and creates(asking) == 0
    later(asking, 7200)
    asking.work()
    assert asked(asking) == 1, "it waits for a person, not for the clock"
    with pytest.raises(NotPossible, match="quoted anew"):
        transfers.approve(waiting, actor="ann", reason="urgent", quote=str(quote.pk + 7))
    assert transfers.approve(waiting, actor="ann", reason="urgent", quote=str(quote.pk)).done
    asking.work()
    assert asking.states() == {"done": 1} and creates(asking) == 1 and asked(asking) == 2
    assert "ann" in RateQuote.objects.latest("pk").reason and bought(asking).quoted_cost == quote.amount
    told = AuditEntry.objects.get(act="approved")
    assert told.facts["cost"] == f"{quote.amount} USD" and told.facts["reason"] == "urgent"


def test_what_has_become_dearer_since_the_approval_asks_again(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from integrations.fedex import simulator_rating

    options(asking, cost_ceiling="1.00 USD")
    asking.ready()
    asking.sync()
    transfers.approve(Transfer.objects.get(), actor="ann", reason="urgent")
    monkeypatch.setattr(simulator_rating, "FUEL_PERCENT", Decimal("35"))
    asking.work()
    again = Transfer.objects.get()
    assert (again.state, again.code) == ("needs_approval", "cost_above_ceiling") and "was approved before" in again.message
    assert creates(asking) == 0
    transfers.approve(again, actor="ann", reason="urgent")
    monkeypatch.setattr(simulator_rating, "FUEL_PERCENT", Decimal("10"))
    asking.work()
    assert asking.states() == {"done": 1} and creates(asking) == 1, "cheaper than approved is bought"


def test_the_approval_of_a_price_does_not_lift_the_purchases_per_hour(asking: World) -> None:
    options(asking, cost_ceiling="1.00 USD", max_purchases_per_hour=1)
    first, second = asking.ready(2)
    asking.sync()
    for number in (first, second):
        transfers.approve(asking.transfer(number), actor="ann", reason="urgent")
    asking.work()
    held = Transfer.objects.get(state="needs_approval")
    assert held.code == "purchases_per_hour" and creates(asking) == 1
    transfers.approve(held, actor="ann", reason="urgent")
    asking.work()
    assert asking.states() == {"done": 2} and creates(asking) == 2


def test_another_currency_than_the_ceilings_is_not_compared(asking: World) -> None:
    options(asking, cost_ceiling="100000.00 EUR")
    asking.ready()
    asking.sync()
    held = Transfer.objects.get()
    assert (held.state, held.code) == ("needs_approval", "cost_in_other_currency")
    transfers.approve(held, actor="ann", reason="urgent")
    asking.work()
    assert asking.states() == {"done": 1}


# -- trouble -----------------------------------------------------------------------------------------


def test_no_rates_stop_the_document_and_a_replay_asks_again(asking: World, settings: Any) -> None:
    small(settings)
    asking.ready()
    asking.fedex.fault("rating_missing", "POST /rate/v1/rates/quotes")
    asking.sync()
    stopped = Transfer.objects.get()
    assert (stopped.state, stopped.code) == ("failed", "rate_not_available") and creates(asking) == 0
    transfers.replay(stopped, actor="ann")
    asking.work()
    assert asking.states() == {"done": 1} and creates(asking) == 1


def test_a_lost_quote_is_asked_again_and_a_label_that_is_there_is_not(asking: World, settings: Any) -> None:
    small(settings)
    asking.ready()
    asking.fedex.fault("status", "POST /rate/v1/rates/quotes", times=4, status=503, body="")
    asking.ifs.fault("status", "PATCH", times=2, status=503, body="")
    asking.sync()
    settle(asking)
    due_now(asking)
    assert asking.states() == {"done": 1} and creates(asking) == 1
    assert RateQuote.objects.filter(state="answered").count() == 1, "a replay after the purchase asks for no price"


def test_the_quote_reaches_the_erp_in_the_same_write_as_the_number(asking: World) -> None:
    change(asking, "ifs", shipment={"quote_field": "ManualVolume"})
    [number] = asking.ready()
    asking.sync()
    assert asking.states() == {"done": 1} and asking.calls("PATCH") == 1
    row = asking.ifs.state["tenants"]["standard"]["rows"]["Shipment"][f"SHIPMENT_ID={number}^"]
    assert Decimal(str(row["ManualVolume"])) == bought(asking).quoted_cost
    assert not AuditEntry.objects.filter(act="quote_not_written").exists()


def test_without_a_field_the_timeline_says_that_it_was_not_written(asking: World) -> None:
    asking.ready()
    asking.sync()
    assert AuditEntry.objects.filter(act="quote_not_written").count() == 1


# -- by a button -------------------------------------------------------------------------------------


def test_prices_on_demand_buy_nothing(world: World) -> None:
    [number] = world.ready()
    world.sync()
    transfer = world.transfer(number)
    row = quotes.ask(transfer, actor="ann")
    with pytest.raises(NotPossible, match="being asked"):
        quotes.ask(transfer, actor="bob")
    before = world.calls("")
    quotes.answer(RateQuote.objects.get(pk=row.pk))
    row.refresh_from_db()
    assert row.state == "answered" and row.chosen == "FEDEX_GROUND" and row.asked_by == "ann" and not row.to_buy
    assert creates(world) == 1 and asked(world) == 1 and world.states() == {"done": 1} and world.calls("") > before
    assert row.shipment_id is None and list(AuditEntry.objects.filter(act="quoted").values_list("actor", flat=True))


def test_what_other_rules_would_choose_is_told_from_kept_quotes(asking: World) -> None:
    asking.ready(2)
    asking.sync()
    calls = asking.calls("")
    rules = quotes.rules_of(asking.integration, {"rate_rule": "cheapest", "cost_ceiling": "0.50 USD"})
    tried = rate_rules.tried(asking.integration, rules)
    assert len(tried) == 2 and all(one.asks for one in tried)
    for one in tried:
        assert one.offer and one.offer.cost
        assert one.offer.cost.amount == min(o.cost.amount for o in quotes.offers_of(one.quote) if o.charged and o.cost)
    [(before, after)] = rate_rules.totals(tried).values()
    assert after <= before
    assert asking.calls("") == calls and Transfer.objects.count() == 2


def test_the_dry_run_shows_the_question_that_is_asked(asking: World) -> None:
    asking.ready()
    asking.sync()
    integration = asking.integration
    state = mappings.State.of(integration)
    [seen] = mappings.latest(integration)
    calls = asking.calls("")
    run = mappings.dry_run(integration, seen, mappings.previewer(integration, state).show(seen.record, seen.document))
    assert asking.calls("") == calls and run.body and run.quote_call.endswith("/rate/v1/rates/quotes")
    [sent] = Exchange.objects.filter(operation="rate quote")
    told = json.loads(sent.request_body)
    assert run.quote_body["requestedShipment"] == told["requestedShipment"]
    assert "123456789" not in json.dumps(run.quote_body)
    integration.options |= {"rate_rule": "cheapest"}
    integration.value_maps = {"carrier": {"FEDEX": "fedex"}}
    run = mappings.dry_run(
        integration, seen, mappings.previewer(integration, mappings.State.of(integration)).show(seen.record, seen.document)
    )
    assert run.quote_body and run.body is None and "among the offers" in run.problem


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("2026-03-05T00:00:00Z", "2026-03-05"),  # how a date without a clock arrives
        ("2026-03-05", "2026-03-05"),
        ("2026-03-05T02:30:00Z", "2026-03-04"),  # still the evening before in Chicago
        ("2026-03-05T17:00:00Z", "2026-03-05"),
        ("2026-03-04T23:00:00-05:00", "2026-03-04"),
        ("2026-03-05T23:30:00", "2026-03-05"),
        ("2026-03-05T02:30:00.123456789Z", "2026-03-04"),
    ],
)
def test_the_wanted_date_is_the_day_in_the_site_s_zone(asking: World, written: str, wanted: str) -> None:
    def constant(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["mappings"] = [{"slot": "wanted_date", "constant": written}]

    asking.configure(constant)
    asking.ready(1)
    asking.sync()
    assert str(RateQuote.objects.get().wanted_date) == wanted


@pytest.mark.parametrize("field", ["PlannedDeliveryDate", "WantedDeliveryDate", "WantedReceiptDate"])
def test_every_kind_of_document_has_its_wanted_date(field: str) -> None:
    [slot] = [slot for slot in KINDS["ifs_fedex"].slots if slot.name == "wanted_date"]
    assert jmespath.search(slot.source, {"raw": {field: "2026-03-05T00:00:00Z", "Other": 1}}) == "2026-03-05T00:00:00Z"
    assert jmespath.search(slot.source, {"raw": {}}) is None

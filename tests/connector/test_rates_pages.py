"""Prices before buying in the console: the table, the button, the approval, and the rules with preview, reason and history."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.urls import reverse

from connector import tasks
from connector.models import AuditEntry, Integration, RateQuote, Transfer
from connector.services import attention, rate_rules, wake
from connector.workers import ALLOWED_TASKS
from tests.connector.admin_support import House, build, client_of, transfer

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return build("alpha")


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The quotes that a worker was woken for."""
    found: list[int] = []
    monkeypatch.setattr(wake, "quote", found.append)
    return found


def text(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def quote(house: House, transfer: Transfer, **changes: Any) -> RateQuote:
    """A quote as the flow keeps it: Ground for 20, Express for 60."""
    offers = [
        {"service": name, "cost": {"amount": amount, "currency": "USD"}, "rate_type": "account", "delivery_date": day}
        for name, amount, day in (("FEDEX_GROUND", "20.00", "2026-11-27"), ("FEDEX_2_DAY", "60.00", "2026-11-24"))
    ]
    values: dict[str, Any] = {"tenant": house.tenant, "integration": house.integration, "record": transfer.record}
    values |= {"transfer": transfer, "carrier": house.target, "to_buy": True, "state": "answered", "offers": offers}
    values |= {"wished": "FEDEX_2_DAY", "rule": "fixed", "chosen": "FEDEX_2_DAY", "amount": "60.00", "currency": "USD"}
    return RateQuote.objects.create(**values | {"created_at": transfer.created_at} | changes)


@pytest.mark.parametrize("page", ["transfer", "shipment"])
def test_the_button_has_a_worker_ask_and_asks_once(house: House, woken: list[int], page: str) -> None:
    obj = house.transfers["done"] if page == "transfer" else house.shipment
    client = client_of(house.person("operator"))
    change, act = (
        reverse(f"admin:connector_{page}_{name}", args=a) for name, a in (("change", [obj.pk]), ("do", [obj.pk, "quote"]))
    )
    before = text(client.get(change))
    assert "Get quotes" in before and "FEDEX_GROUND" in before and "12.34 USD" in before
    assert client.post(act).url == change  # type: ignore[attr-defined]
    asked = RateQuote.objects.get(state="asked")
    assert woken == [asked.pk] and not asked.to_buy and AuditEntry.objects.filter(act="quote_requested").count() == 1
    waiting = text(client.get(change))
    assert 'data-running="1"' in waiting and "Get quotes" not in waiting
    client.post(act)
    assert len(woken) == 1 and "being asked for" in text(client.get(change))
    RateQuote.objects.filter(pk=asked.pk).update(created_at=asked.created_at - dt.timedelta(minutes=3))
    assert "Get quotes" in text(client.get(change)), "the worker that was to answer has died"
    client.post(act)
    asked.refresh_from_db()
    assert len(woken) == 2 and (asked.state, asked.code) == ("failed", "no_answer")


def test_the_task_may_run_and_answers_what_was_asked_only(house: House) -> None:
    assert "connector.tasks.quote" in ALLOWED_TASKS
    answered = RateQuote.objects.get()
    tasks.quote(answered.pk)
    tasks.quote(answered.pk + 1)
    assert RateQuote.objects.get().answered_at is None, "no vendor was called for what is answered"


@pytest.mark.parametrize("alone", [{"cost_ceiling": "10 USD"}, {"rate_rule": "cheapest"}])
def test_a_rule_that_would_do_nothing_is_refused(house: House, alone: dict[str, str]) -> None:
    url = reverse("admin:connector_integration_rates", args=[house.integration.pk])
    told = {"rate_rule": "fixed", "reason": "x", "base": rate_rules.mark(house.integration)} | alone
    page = text(client_of(house.person("operator")).post(url, told, follow=True))
    assert "does nothing unless rates is on" in page and not Integration.objects.get(pk=house.integration.pk).options


def test_whoever_may_only_look_has_no_button(house: House, woken: list[int]) -> None:
    client = client_of(house.person("viewer"))
    done = house.transfers["done"]
    assert "Get quotes" not in text(client.get(reverse("admin:connector_transfer_change", args=[done.pk])))
    assert client.post(reverse("admin:connector_transfer_do", args=[done.pk, "quote"])).status_code == 403
    rates = reverse("admin:connector_integration_rates", args=[house.integration.pk])
    assert "in force</button>" not in text(client.get(rates, {"rate_rule": "cheapest"}))
    assert client.post(rates, {"rate_rule": "cheapest", "reason": "x"}).status_code == 403
    assert woken == []


def test_the_approval_shows_offer_ceiling_and_rule_and_holds_for_what_was_shown(house: House) -> None:
    Integration.objects.filter(pk=house.integration.pk).update(options={"rates": True, "cost_ceiling": "50.00 USD"})
    held = house.transfers["needs_approval"]
    Transfer.objects.filter(pk=held.pk).update(code="cost_above_ceiling")
    first = quote(house, held)
    client = client_of(house.person("operator"))
    page = text(client.get(reverse("admin:connector_transfer_change", args=[held.pk])))
    assert "60.00 USD" in page and "50.00 USD" in page and f'name="quote" value="{first.pk}"' in page
    dearer = quote(house, held, amount="70.00")
    act = reverse("admin:connector_transfer_do", args=[held.pk, "approve"])
    # Without a quote: the page was opened when it waited for something else than a price.
    for shown in ({"quote": first.pk}, {}):
        client.post(act, {**shown, "reason": "ok"})
        held.refresh_from_db()
        assert held.state == "needs_approval", "he was shown another price, or none"
    client.post(act, {"quote": dearer.pk, "reason": "ok"})
    held.refresh_from_db()
    assert held.state == "waiting" and held.decision is not None
    assert held.decision["approved_quote"]["amount"] == "70.00" and "approved" not in held.decision
    assert AuditEntry.objects.get(act="approved").facts["cost"] == "70.00 USD"


def test_rules_are_tried_before_they_are_put_in_force_with_a_reason(house: House) -> None:
    quote(house, house.transfers["failed"])
    client = client_of(house.person("operator"))
    url = reverse("admin:connector_integration_rates", args=[house.integration.pk])
    wanted = {"rates": "on", "rate_rule": "cheapest", "rate_services": "fedex_ground fedex_2_day", "cost_ceiling": "15 usd"}
    page = text(client.get(url, wanted))
    assert "<strong>1</strong> would go by another service" in page and "<strong>1</strong> would wait for approval" in page
    assert "72.34 USD as chosen then, <strong>32.34 USD</strong>" in page
    assert not Integration.objects.get(pk=house.integration.pk).options, "looking changes nothing"
    mark = rate_rules.mark(house.integration)
    told = client.post(url, wanted | {"base": mark}, follow=True)
    assert "Give a reason" in text(told) and not Integration.objects.get(pk=house.integration.pk).options
    stale = client.post(url, wanted | {"base": "stale", "reason": "cheaper"}, follow=True)
    assert "Somebody changed this" in text(stale)
    done = text(client.post(url, wanted | {"base": mark, "reason": "cheaper"}, follow=True))
    saved = Integration.objects.get(pk=house.integration.pk).options
    assert saved == {
        "rates": True,
        "rate_rule": "cheapest",
        "rate_services": ["FEDEX_GROUND", "FEDEX_2_DAY"],
        "cost_ceiling": "15 USD",
    }
    assert "cheaper" in done and AuditEntry.objects.get(act="rates_changed").facts["after"]["rate_rule"] == "cheapest"
    off = client.post(
        url, {"rate_rule": "fixed", "base": rate_rules.mark(Integration.objects.get(pk=house.integration.pk)), "reason": "enough"}
    )
    assert off.status_code == 302 and Integration.objects.get(pk=house.integration.pk).options == {}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("cost_ceiling", "150", "such as 150.00 USD"),
        ("rate_services", "FEDEX_GRUND", "no service FEDEX_GRUND"),
        ("rate_rule", "dearest", "Select a valid choice"),
    ],
)
def test_wrong_rules_are_said_at_their_field(house: House, field: str, value: str, told: str) -> None:
    client = client_of(house.person("operator"))
    url = reverse("admin:connector_integration_rates", args=[house.integration.pk])
    page = text(client.get(url, {"rate_rule": "fixed", field: value}))
    assert told in page and "in force</button>" not in page
    client.post(url, {"rate_rule": "fixed", field: value, "reason": "x", "base": rate_rules.mark(house.integration)})
    assert not Integration.objects.get(pk=house.integration.pk).options


def waiting(house: House, *amounts: str) -> list[tuple[Transfer, RateQuote]]:
    """Transfers that wait for one cause, each with its quote."""
    made = []
    for place, amount in enumerate(amounts):
        held = transfer(house, 40 + place, "needs_approval")
        Transfer.objects.filter(pk=held.pk).update(code="cost_above_ceiling", error=None)
        held.refresh_from_db()
        made.append((held, quote(house, held, amount=amount)))
    return made


def test_many_are_approved_by_one_press_after_a_look_at_what_they_cost(house: House, woken: list[int]) -> None:
    held = waiting(house, "60.00", "70.50", "80.00")
    cause = next(g.cause for g in attention.groups(Transfer.objects.all()) if g.cause.code == "cost_above_ceiling")
    client = client_of(house.person("operator"))
    url = f"{reverse('admin:connector_cause')}?{cause.query}"
    page = text(client.get(url))
    assert "210.50 USD" in page and "70.50 USD" in page and "Approve these 3" in page
    shown = ",".join(f"{t.pk}:{q.pk}" for t, q in held)
    assert f'name="quotes" value="{shown}"' in page
    quote(house, held[1][0], amount="99.00")  # quoted anew meanwhile: nobody has seen this price
    act = reverse("admin:connector_cause_act")
    told = text(client.post(act, {"do": "approve", "quotes": shown, "reason": " "}, follow=True))
    assert "Give a reason" in told and not AuditEntry.objects.filter(act="approved").exists()
    told = text(client.post(act, {"do": "approve", "quotes": shown, "reason": "month end"}, follow=True))
    assert "2 approved." in told and "1 left out: The carrier has quoted anew" in told
    states = [Transfer.objects.get(pk=t.pk).state for t, _ in held]
    assert states == ["waiting", "needs_approval", "waiting"]
    assert {e.facts["reason"] for e in AuditEntry.objects.filter(act="approved")} == {"month end"}


def test_whoever_may_only_look_approves_none(house: House) -> None:
    [(held, row)] = waiting(house, "60.00")
    cause = next(g.cause for g in attention.groups(Transfer.objects.all()) if g.cause.code == "cost_above_ceiling")
    act, told = reverse("admin:connector_cause_act"), {"do": "approve", "quotes": f"{held.pk}:{row.pk}", "reason": "x"}
    viewer = client_of(house.person("viewer"))
    page = text(viewer.get(f"{reverse('admin:connector_cause')}?{cause.query}"))
    assert "60.00 USD" in page and "Approve this one" not in page
    assert viewer.post(act, told).status_code == 403
    client_of(build("omega").person("operator")).post(act, told)
    held.refresh_from_db()
    assert held.state == "needs_approval"


def test_an_approval_wants_a_reason(house: House) -> None:
    [(held, row)] = waiting(house, "60.00")
    client = client_of(house.person("operator"))
    url = reverse("admin:connector_transfer_do", args=[held.pk, "approve"])
    assert "Give a reason" in text(client.post(url, {"quote": row.pk, "reason": ""}, follow=True))
    held.refresh_from_db()
    assert held.state == "needs_approval"

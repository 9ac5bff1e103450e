"""What is told of limits: the arithmetic against a simulated throttle, whose numbers are whose, and when work is through."""

from __future__ import annotations

import datetime as dt
import random

import pytest
from django.urls import reverse

from connector.models import Connection, Effect, EffectSend, Exchange, Integration, LimitBucket, Pause, Transfer
from connector.services import budgets, clock, vendors
from connector.services.throttle import DatabaseThrottle, Pace, forget
from integrations import registry
from integrations.base.vendor import Limit
from tests.connector.admin_support import House, build, client_of, owner

NOW = 10_000.0
"""Small, so that sums of many small steps stay exact enough to compare."""


def random_limit(dice: random.Random) -> Limit:
    return Limit(
        "calls", "connection", dice.choice((1, 2, 5, 10, 40, 250, 1400, 100_000)), dice.choice((1.0, 5.0, 60.0, 86_400.0))
    )


def drawn(limit: Limit, arrival: float, begin: float, calls: int) -> tuple[list[float], float]:
    """When each call may be made at the earliest by the throttle's own rule, one at a time, and the bucket after them."""
    pace = Pace.of(limit)
    room = (pace.burst - 1) * pace.interval_s
    times, now = [], begin
    for _ in range(calls):
        now = max(now, arrival - room)
        arrival = max(arrival, now) + pace.interval_s
        times.append(now)
    return times, arrival


@pytest.mark.parametrize("seed", range(60))
def test_the_wait_is_what_the_throttle_makes_one_wait(seed: int) -> None:
    dice = random.Random(seed)
    limit = random_limit(dice)
    pace = Pace.of(limit)
    arrival = NOW + dice.uniform(-5, 1) * pace.burst * pace.interval_s
    rest, calls = dice.choice((0.0, 0.0, dice.uniform(0, 600))), dice.randint(1, 3 * pace.burst + 2)
    times, after = drawn(limit, arrival, NOW + rest, calls)
    told = budgets.wait_s(calls, budgets.level(limit, arrival, NOW), rest)
    assert told == pytest.approx(times[-1] - NOW, abs=1e-4)
    for i, first in enumerate(times):
        assert sum(1 for t in times[i:] if t < first + limit.per_s - 1e-3) <= limit.calls, "the declared limit holds"
    full = budgets.level(limit, after, times[-1])
    assert 0 < full.taken <= full.room and 0 <= full.at_once < full.room


@pytest.mark.parametrize("seed", range(20))
def test_levels_stay_within_their_room_and_fall_with_time(seed: int) -> None:
    dice = random.Random(seed)
    limit = random_limit(dice)
    arrival = NOW + dice.uniform(-100, 100)
    levels = [budgets.level(limit, arrival, NOW + s) for s in sorted(dice.uniform(0, 200) for _ in range(20))]
    assert all(0 <= x.taken <= x.room and 0 <= x.at_once <= x.room for x in levels)
    assert [x.taken for x in levels] == sorted((x.taken for x in levels), reverse=True)
    assert budgets.wait_s(0, levels[0], 50) == 0.0
    waits = [budgets.wait_s(n, levels[0]) for n in range(1, 200)]
    assert waits == sorted(waits)


@pytest.mark.parametrize(("taken", "told"), [(0.0, ""), (0.5, ""), (45.0, "45 s"), (3997.0, "67 min")])
def test_refilling_is_told_in_words(taken: float, told: str) -> None:
    assert budgets.Level(taken, 5000, 1.0).refilled_in == told


def test_calls_follow_from_the_stages() -> None:
    """45 documents are read in three groups; what has its label needs no more than its number written."""
    assert budgets.calls_for("ship", 45, 0, {}) == {
        "source": budgets.Span(9 + 45, 15 + 135 + 135),
        "target": budgets.Span(45, 45),
    }
    assert budgets.calls_for("ship", 0, 4, {}) == {"source": budgets.Span(4, 12), "target": budgets.Span(0, 0)}
    assert budgets.calls_for("void", 2, 0, {}) == {"source": budgets.Span(2, 6), "target": budgets.Span(2, 2)}
    assert budgets.calls_for("unheard of", 2, 0, {}) == {"source": budgets.Span(), "target": budgets.Span()}
    assert (budgets.Span(3, 3).told, budgets.Span(3, 7).told) == ("3", "3 to 7")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(1, "1 second"), (5, "5 seconds"), (60, "1 minute"), (300, "5 minutes"), (86_400, "1 day"), (0.5, "0.5 seconds")],
)
def test_spans_in_words(seconds: float, told: str) -> None:
    assert budgets.span_of(seconds) == told


# -- whose numbers -----------------------------------------------------------------------------------


@pytest.fixture
def houses(db: None) -> tuple[House, House]:
    """Both tenants use one login at FedEx, as `document` enters it; IFS has limits of each connection."""
    forget()
    return build("alpha"), build("omega")


def key_of(connection: Connection, name: str) -> str:
    return vendors.buckets_of(connection, registry.get(connection.vendor), vendors.credentials_of(connection))[name][0]


def account(house: House, tenants: list[int] | None, end: str = "target") -> budgets.Account:
    [found] = budgets.accounts([getattr(house, end)], tenants)
    return found


def page(house: House, role: str = "viewer", name: str = "connector_budgets") -> str:
    answer = client_of(house.person(role)).get(reverse(f"admin:{name}"))
    assert answer.status_code == 200
    return answer.content.decode()


def test_what_the_throttle_drew_is_told(houses: tuple[House, House]) -> None:
    mine = houses[0]
    limit = Limit("calls", "connection", 10000, 1.0)
    pace = Pace.of(limit)
    arrival = clock.now().timestamp() + 400 * pace.interval_s
    LimitBucket.objects.create(key=key_of(mine.source, "calls"), arrival=arrival, used=7, used_today=5, day=clock.now().date())
    told = account(mine, [mine.tenant.pk], "source").budget("calls")
    assert told is not None and told.level is not None and told.share is not None
    assert not told.shared and told.today == 5 and told.level.room == 1000 and 0 < told.level.taken <= 401
    LimitBucket.objects.update(day=clock.now().date() - dt.timedelta(days=1))
    told = account(mine, [mine.tenant.pk], "source").budget("calls")
    assert told is not None and told.today == 0, "the count begins anew"


def test_numbers_of_a_shared_limit_are_for_those_who_see_all_who_share_it(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    LimitBucket.objects.create(
        key=key_of(theirs.target, "calls"), arrival=0, used=98765, used_today=98765, day=clock.now().date()
    )
    Exchange.objects.create(
        tenant=mine.tenant, connection=mine.target, operation="create shipment", method="POST", url="http://x",
        started_at=clock.now(), digest="0" * 64,
    )  # fmt: skip
    told = account(mine, [mine.tenant.pk]).budget("calls")
    assert told is not None and told.shared and told.level is told.today is told.share is None and told.own_today == 1
    assert "98765" not in page(mine) and "shared with others" in page(mine)
    told = account(mine, [mine.tenant.pk, theirs.tenant.pk]).budget("calls")
    assert told is not None and told.today == 98765
    assert "98765" in client_of(owner()).get(reverse("admin:connector_budgets")).content.decode()


def test_everybody_is_told_that_the_shared_address_rests(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    found = vendors.buckets_of(theirs.target, registry.get("fedex"), vendors.credentials_of(theirs.target))
    DatabaseThrottle(found, "fedex").rest("token", 540)
    told = account(mine, [mine.tenant.pk]).budget("token")
    assert told is not None and told.rest_until is not None and 530 < told.rest_s <= 541
    text = page(mine, name="connector_budgets_now")
    assert "The shared address rests until" in text and "too many" in text
    everybody = client_of(owner()).get(reverse("admin:connector_budgets")).content.decode()
    assert "none while it rests" in everybody
    assert theirs.mark not in text and theirs.tenant.name not in text


def test_a_page_shows_only_ones_own(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    for text in (page(mine), page(mine, name="connector_budgets_now")):
        assert mine.source.name in text and theirs.source.name not in text and theirs.integration.name not in text


def test_a_connection_that_cannot_be_opened_says_so(houses: tuple[House, House]) -> None:
    mine = houses[0]
    Connection.objects.filter(pk=mine.target.pk).update(secrets_text="gibberish of another key")
    assert "cannot be read with the present keys" in page(mine)


# -- when it will be through -------------------------------------------------------------------------


def backlog(house: House) -> budgets.Backlog:
    ends = [house.source, house.target]
    [found] = budgets.backlogs([Integration.objects.get(pk=house.integration.pk)], budgets.accounts(ends, None))
    return found


def test_waiting_work_is_counted_with_its_calls_and_its_end(houses: tuple[House, House]) -> None:
    mine = houses[0]
    Pause.objects.all().update(state="ended")
    Transfer.objects.filter(integration=mine.integration, state="waiting").update(due_at=clock.at(-5))
    told = backlog(mine)
    assert (told.waiting, told.running, told.labels, told.held) == (1, 1, 2, "")
    assert [n.calls for n in told.needs] == [budgets.Span(5, 17), budgets.Span(2, 2)]
    now = clock.now()
    assert told.first is not None and told.last is not None and told.first <= told.last < now + dt.timedelta(seconds=60)
    slow = {"limits": [{"name": "calls", "scope": "connection", "calls": 1, "per_s": 60}]}
    Connection.objects.filter(pk=mine.source.pk).update(settings=mine.source.settings | slow)
    mine.source.refresh_from_db()
    told = backlog(mine)
    assert told.first is not None and told.last is not None
    assert 3.9 < (told.first - now).total_seconds() / 60 < 4.2 and 15.9 < (told.last - now).total_seconds() / 60 < 16.2
    assert told.slowest == f"the limit “calls” of {mine.source.name}"


def test_work_that_is_due_later_is_not_through_before(houses: tuple[House, House]) -> None:
    mine = houses[0]
    Pause.objects.all().update(state="ended")
    Transfer.objects.filter(integration=mine.integration, state="waiting").update(due_at=clock.at(7200))
    told = backlog(mine)
    assert told.last is not None and told.last > clock.now() + dt.timedelta(seconds=7100)


def test_what_has_its_label_buys_none(houses: tuple[House, House]) -> None:
    mine = houses[0]
    waiting = mine.transfers["waiting"]
    send = EffectSend.objects.select_related("effect").get(transfer=mine.transfers["in_doubt"])
    EffectSend.objects.filter(pk=send.pk).update(transfer=waiting, outcome="done")
    Effect.objects.filter(pk=send.effect_id).update(record=waiting.record, transfer=waiting)
    assert backlog(mine).labels == 1, "the running one"


@pytest.mark.parametrize("why", ["off", "paused", "stopped"])
def test_nobody_knows_when_work_that_stands_still_is_through(houses: tuple[House, House], why: str) -> None:
    mine = houses[0]
    if why != "paused":
        Pause.objects.all().update(state="ended")
        Integration.objects.update(**({"enabled": False} if why == "off" else {"stop_buying": True}))
    told = backlog(mine)
    assert told.last is None
    assert {"off": "switched off", "paused": f"{mine.mark} paused mend", "stopped": "Buying is stopped"}[why] in told.held


def test_the_page_asks_few_questions(houses: tuple[House, House], django_assert_max_num_queries: object) -> None:
    client = client_of(houses[0].person("viewer"))
    with django_assert_max_num_queries(30):  # type: ignore[operator]
        client.get(reverse("admin:connector_budgets_now"))


def test_the_page_is_in_the_sidebar_and_strangers_stay_out(houses: tuple[House, House]) -> None:
    assert reverse("admin:connector_budgets") in client_of(owner()).get(reverse("admin:index")).content.decode()
    nobody = houses[0].person("viewer").__class__.objects.create_user("nobody", password="x", is_staff=True)
    assert client_of(nobody).get(reverse("admin:connector_budgets")).status_code == 403

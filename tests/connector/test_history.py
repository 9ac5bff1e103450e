"""The shipment history: filters, sorting, pages; each tenant for itself."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import Reference, Shipment
from connector.services import history
from tests.connector.admin_support import NOW, House, build, client_of, owner

pytestmark = pytest.mark.django_db
LIST = "admin:connector_shipment_changelist"


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


def ship(house: House, number: str, **values: Any) -> Shipment:
    """One more shipment of a house."""
    first = house.shipment
    told: dict[str, Any] = {"tenant": house.tenant, "integration": house.integration, "record": first.record}
    told |= {"transfer": first.transfer, "carrier": house.target, "source_key": f"{house.mark} key", "created_at": NOW}
    return Shipment.objects.create(master_tracking_number=number, **told | values)


def many(house: House, count: int) -> list[str]:
    """Shipments with equal dates and costs among them; every fifth has neither."""
    Shipment.objects.filter(pk=house.shipment.pk).update(cost=None, ship_date=None)
    for n in range(count):
        known = n % 5 != 4
        values = {"ship_date": dt.date(2026, 3, 1 + n % 4), "cost": Decimal(n % 3) + Decimal("0.10")} if known else {}
        ship(house, f"N{n:03d}", created_at=NOW + dt.timedelta(seconds=n % 7), **values)
    return [f"N{n:03d}" for n in range(count)]


def numbers(text: str) -> list[str]:
    """The tracking numbers listed, in their order."""
    return re.findall(r"/shipment/\d+/change/[^>]*>\s*(\w+)\s*<", text)


def walked(client: Any, query: dict[str, str], way: str = "next", start: str = "") -> tuple[list[list[str]], str]:
    """The pages from the first (or from an address) on, following the buttons; and the last page's address."""
    url = start or reverse(LIST)
    pages, found = [], client.get(url, query if not start else None)
    here = found.request["PATH_INFO"] + "?" + found.request["QUERY_STRING"]
    for _ in range(20):
        text = found.content.decode()
        pages.append(numbers(text))
        link = re.search(rf'rel="{way}" href="([^"]+)"', text)
        if link is None:
            return pages, here
        here = reverse(LIST) + link[1].replace("&amp;", "&")
        found = client.get(here)
    raise AssertionError("the pages never end")


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ({"state": "voided"}, {"V"}),
        ({"status": "delivered"}, {"D"}),
        ({"service": "fedex_2_day"}, {"S"}),
        ({"company_code": "20"}, {"C"}),
        ({"site": "S9"}, {"P"}),
        ({"cost_center": "CC-7"}, {"K"}),
        ({"ship_date_from": "2026-01-02", "ship_date_to": "2026-01-02"}, {"T"}),
        ({"created_to": "2025-06-30"}, {"O"}),
        ({"created_from": "2025-06-30", "created_to": "2025-06-30"}, {"O"}),
        ({"cost_from": "99.50", "cost_to": "100"}, {"M"}),
        ({"cost_from": "99.51"}, set()),
        ({"service": "FEDEX_2_DAY", "state": "voided"}, set()),
    ],
)
def test_each_filter_shows_what_fits_and_nothing_else(houses: tuple[House, House], query: dict[str, str], fits: set[str]) -> None:
    for house in houses:
        ship(house, "V", state="voided")
        ship(house, "D", status="delivered")
        ship(house, "S", service="FEDEX_2_DAY")
        ship(house, "C", company_code="20")
        ship(house, "P", site="S9")
        ship(house, "K", cost_center="CC-7")
        ship(house, "T", ship_date=dt.date(2026, 1, 2))
        # 23:30 in Chicago on the 30th, which is the 1st in UTC.
        ship(house, "O", created_at=dt.datetime(2025, 7, 1, 4, 30, tzinfo=dt.UTC))
        ship(house, "M", cost=Decimal("99.50"), currency="USD")
    house = houses[0]
    type(house.tenant).objects.update(timezone="America/Chicago")
    text = client_of(house.person("viewer")).get(reverse(LIST), query).content.decode()
    assert sorted(numbers(text)) == sorted(fits)


def test_choices_are_the_users_own_and_another_tenants_choice_shows_nothing(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    client = client_of(mine.person("viewer"))
    for name, ours, other in (
        ("tenant", mine.tenant.pk, theirs.tenant.pk),
        ("integration", mine.integration.pk, theirs.integration.pk),
        ("carrier", mine.target.pk, theirs.target.pk),
    ):
        assert numbers(client.get(reverse(LIST), {name: ours}).content.decode()) == [mine.shipment.master_tracking_number]
        refused = client.get(reverse(LIST), {name: other}).content.decode()
        assert numbers(refused) == [] and "Select a valid choice" in refused
        both = client_of(owner()).get(reverse(LIST), {name: other}).content.decode()
        assert numbers(both) == [theirs.shipment.master_tracking_number]


@pytest.mark.parametrize(
    "query",
    [
        {"state": "x"},
        {"ship_date_from": "yesterday"},
        {"cost_from": "-1"},
        {"cost_to": "1e99"},
        {"cost_from": "NaN"},
        {"integration": "1 OR 1=1"},
        {"sort": "-recipient_name"},
    ],
)
def test_a_wrong_filter_says_so_and_shows_nothing(houses: tuple[House, House], query: dict[str, str]) -> None:
    answer = client_of(houses[0].person("viewer")).get(reverse(LIST), query)
    assert answer.status_code == 200 and numbers(answer.content.decode()) == []
    assert "mlc-error" in answer.content.decode()


@pytest.mark.parametrize("extreme", ["0001-01-01", "9999-12-31", "1969-12-31"])
def test_days_at_the_end_of_the_calendar_do_no_harm(houses: tuple[House, House], extreme: str) -> None:
    client = client_of(houses[0].person("viewer"))
    for name in ("created_from", "created_to", "ship_date_from", "ship_date_to"):
        assert client.get(reverse(LIST), {name: extreme}).status_code == 200


@pytest.mark.parametrize("sort", ["", *history.OFFERED[1:]])
@pytest.mark.parametrize("ranged", [{}, {"created_from": "2026-01-01"}, {"ship_date_from": "2026-01-01"}, {"cost_from": "0"}])
def test_pages_show_every_row_once_forwards_and_backwards(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch, sort: str, ranged: dict[str, str]
) -> None:
    monkeypatch.setattr("connector.admin.shipments.ShipmentAdmin.list_per_page", 7)
    mine, theirs = houses
    every, _ = many(mine, 24), many(theirs, 9)
    client = client_of(mine.person("viewer"))
    pages, last = walked(client, {"sort": sort, **ranged})
    shown = [number for page in pages for number in page]
    dated = "ship_date_from" in ranged or "cost_from" in ranged or sort.startswith(("shipped", "cost"))
    expected = [n for k, n in enumerate(every) if k % 5 != 4] if dated else [*every, mine.shipment.master_tracking_number]
    assert sorted(shown) == sorted(expected)
    assert all(len(page) == 7 for page in pages[:-1])
    back, _ = walked(client, {}, "prev", last)
    assert [number for page in reversed(back) for number in page] == shown
    rows = {s.master_tracking_number: s for s in Shipment.objects.filter(tenant=mine.tenant)}
    column = {"s": "ship_date", "c": "cost"}.get(sort[:1], "")
    if column:
        values = [getattr(rows[number], column) for number in shown]
        assert values == sorted(values, reverse=sort.endswith(("latest", "highest")))


def test_what_arrives_in_between_moves_no_page(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.admin.shipments.ShipmentAdmin.list_per_page", 4)
    mine = houses[0]
    many(mine, 10)
    client = client_of(mine.person("viewer"))
    first = client.get(reverse(LIST)).content.decode()
    link = re.search(r'rel="next" href="([^"]+)"', first)
    assert link
    url = reverse(LIST) + link[1].replace("&amp;", "&")
    before = numbers(client.get(url).content.decode())
    ship(mine, "LATE")
    assert numbers(client.get(url).content.decode()) == before


@pytest.mark.parametrize("place", ["x", "1~2~3", "~5", "9" * 40, "2026-13-01~4", "NaN~1", "٣"])
@pytest.mark.parametrize(
    "query", [{}, {"sort": "cost_highest"}, {"ship_date_from": "2026-01-01"}, {"created_from": "2026-01-01"}]
)
def test_an_unreadable_place_is_the_first_page(houses: tuple[House, House], place: str, query: dict[str, str]) -> None:
    client = client_of(houses[0].person("viewer"))
    for name in ("after", "before"):
        text = client.get(reverse(LIST), {**query, name: place}).content.decode()
        assert numbers(text) == [houses[0].shipment.master_tracking_number]


def test_a_place_behind_the_last_row_leads_back(houses: tuple[House, House]) -> None:
    text = client_of(houses[0].person("viewer")).get(reverse(LIST), {"after": "0"}).content.decode()
    assert "No shipment fits" in text and "First page" in text


def test_filters_last_through_pages_and_search(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.admin.shipments.ShipmentAdmin.list_per_page", 2)
    mine = houses[0]
    for n in range(5):
        ship(mine, f"G{n}", service="FEDEX_2_DAY")
    client = client_of(mine.person("viewer"))
    pages, _ = walked(client, {"service": "FEDEX_2_DAY"})
    assert sorted(sum(pages, [])) == [f"G{n}" for n in range(5)]
    text = client.get(reverse(LIST), {"service": "FEDEX_2_DAY"}).content.decode()
    search = text.split('id="changelist-search"', 1)[1].split("</form>", 1)[0]
    assert 'name="service" value="FEDEX_2_DAY"' in search


def test_known_values_are_proposed_from_ones_own_shipments(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    ship(mine, "A", service="FEDEX_2_DAY", site="S2")
    ship(theirs, "B", service="THEIR_SERVICE", cost_center="THEIR-CC")
    assert history.suggestions([mine.tenant.pk]) == {
        "service": ["FEDEX_2_DAY", "FEDEX_GROUND"],
        "company_code": [],
        "site": ["S2"],
        "cost_center": [],
    }
    text = client_of(mine.person("viewer")).get(reverse(LIST)).content.decode()
    assert '<option value="FEDEX_2_DAY">' in text and "THEIR" not in text


@pytest.mark.parametrize(
    "query", [{}, {"q": "794600"}, {"sort": "cost_highest"}, {"state": "active", "carrier": "", "service": "x"}]
)
def test_a_page_takes_at_most_fifteen_queries_and_counts_nothing(houses: tuple[House, House], query: dict[str, str]) -> None:
    mine = houses[0]
    many(mine, 60)
    for user in (mine.person("viewer"), owner()):
        client = client_of(user)
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert client.get(reverse(LIST), query).status_code == 200
        assert len(seen) <= 15, [q["sql"][:90] for q in seen.captured_queries]
        assert not [q for q in seen.captured_queries if "count(" in q["sql"].lower() and "shipment" in q["sql"]]


def test_every_order_and_filter_has_an_index_that_leads_to_it() -> None:
    led = {tuple(field.lstrip("-") for field in index.fields[:2]) for index in Shipment._meta.indexes}
    columns = {"state", "status", "service", "company_code", "site", "cost_center", "carrier", "integration"}
    columns |= {order.column for order in history.ORDERS.values() if order.column}
    assert {("tenant", column) for column in columns} <= led


@pytest.mark.parametrize("sort", ["", *history.OFFERED[1:]])
def test_pages_over_several_tenants_are_merged_in_order(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    """With and without merging the owner sees the same."""
    monkeypatch.setattr("connector.admin.shipments.ShipmentAdmin.list_per_page", 7)
    for house in houses:
        many(house, 17)
    client = client_of(owner())
    merged, last = walked(client, {"sort": sort})
    back, _ = walked(client, {}, "prev", last)
    monkeypatch.setattr(history, "MERGED", 0)
    plain, _ = walked(client, {"sort": sort})
    assert merged == plain and list(reversed(back)) == merged
    monkeypatch.undo()
    assert numbers(client.get(reverse(LIST), {"q": "zz"}).content.decode()) == []


@pytest.mark.parametrize("ahead", [0, 2, 12_000])
def test_a_search_leaves_nothing_out_however_many_fit(houses: tuple[House, House], monkeypatch: Any, ahead: int) -> None:
    monkeypatch.setattr(history, "LOOKED_AHEAD", ahead)
    house, other = houses
    for whose in houses:
        for n in range(3):
            made = ship(whose, f"N{n:03d}{whose.mark[-5:]}", service="FEDEX_GROUND" if n else "SAME_DAY")
            for kind in ("order", "tracking"):  # two numbers of one shipment that both fit: one row
                Reference.objects.create(tenant=whose.tenant, shipment=made, kind=kind, value=f"4711-{n}", normalised=f"4711{n}")
    client = client_of(house.person("viewer"))
    listed = [f"N{n:03d}alpha" for n in (2, 1, 0)]
    assert numbers(client.get(reverse(LIST), {"q": "4711"}).content.decode()) == listed
    assert numbers(client.get(reverse(LIST), {"q": "4711", "service": "SAME_DAY"}).content.decode()) == listed[2:]
    assert numbers(client.get(reverse(LIST), {"q": "47111"}).content.decode()) == listed[1:2]
    assert numbers(client.get(reverse(LIST), {"q": "4712"}).content.decode()) == []
    assert len(numbers(client_of(owner()).get(reverse(LIST), {"q": "4711"}).content.decode())) == 6

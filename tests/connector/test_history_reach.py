"""Filters that are each common and never meet: the history looks through a part, says how far, and leaves nothing out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection
from django.urls import reverse

from connector.models import Shipment
from connector.services import database, history
from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_history import LIST, many, numbers, walked

pytestmark = pytest.mark.django_db
COUNTING = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000000) SELECT count(*) FROM s"


@pytest.fixture
def houses() -> tuple[House, House]:
    made = build("alpha"), build("omega")
    for house in made:
        many(house, 17)
    return made


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question takes too long, and three rows of each tenant are walked at once."""

    @contextlib.contextmanager
    def never(seconds: float) -> Iterator[None]:
        raise database.TookTooLong
        yield

    monkeypatch.setattr(database, "at_most", never)
    monkeypatch.setattr(history, "WALKED", 3)
    monkeypatch.setattr(history, "WALK_S", 0.0)


def test_a_question_that_takes_too_long_is_broken_off_and_the_connection_is_good() -> None:
    for _ in range(2):
        with pytest.raises(database.TookTooLong), database.at_most(0.05), connection.cursor() as cursor:
            cursor.execute(COUNTING)
        with database.at_most(5):
            assert Shipment.objects.count() == 0
    if connection.vendor == "postgresql":  # no limit is left behind
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            assert cursor.fetchone()[0] == "0"
    with pytest.raises(DatabaseError, match="nothing"), database.at_most(5), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nothing")


@pytest.mark.parametrize("sort", ["", *history.OFFERED[1:]])
@pytest.mark.parametrize("query", [{}, {"site": "RARE"}])
def test_looking_further_shows_each_row_once_and_in_order(
    houses: tuple[House, House], request: pytest.FixtureRequest, sort: str, query: dict[str, str]
) -> None:
    kept = Shipment.objects.filter(master_tracking_number__in=["N002", "N011", "N016"])
    kept.update(site="RARE")
    told = {"sort": sort} | query
    people = (client_of(houses[0].person("viewer")), client_of(owner()))
    at_once = [walked(client, told)[0][0] for client in people]
    request.getfixturevalue("slow")
    for client, wanted in zip(people, at_once, strict=True):
        pages, _ = walked(client, told)
        assert [number for page in pages for number in page] == wanted and len(pages) > 3


@pytest.mark.parametrize("sort", ["newest", *history.OFFERED[1:]])
@pytest.mark.usefixtures("slow")
def test_looking_back_leaves_nothing_out(houses: tuple[House, House], sort: str) -> None:
    order, tenants = history.ORDERS[sort], [house.tenant.pk for house in houses]
    wanted = history.page(Shipment.objects.all(), order, tenants=tenants, whole=True).rows
    place, seen = history.cursor_of(order, wanted[-1]), [wanted[-1]]
    for _ in range(20):
        found = history.page(Shipment.objects.all(), order, before=place, tenants=tenants)
        seen = [row for row in found.rows if row not in seen] + seen
        place = found.newer
        if not place:
            break
    assert not place and seen == wanted


@pytest.mark.usefixtures("slow")
def test_the_page_says_how_far_it_looked_and_looks_through_all_on_request(houses: tuple[House, House]) -> None:
    mine = houses[0]
    Shipment.objects.filter(pk=mine.shipment.pk).update(site="RARE", master_tracking_number="OLDEST")
    client = client_of(mine.person("viewer"))
    text = client.get(reverse(LIST), {"site": "RARE"}).content.decode()
    assert numbers(text) == [] and "Nothing found so far" in text and "only as far as" in text and "Nothing fits" not in text
    link = re.search(r'href="(\?[^"]*whole=1[^"]*)"', text)
    assert link is not None
    text = client.get(reverse(LIST) + link[1].replace("&amp;", "&")).content.decode()
    assert numbers(text) == ["OLDEST"] and "so far" not in text and "Look further" not in text


@pytest.mark.usefixtures("slow")
def test_how_far_was_looked_tells_nothing_of_another_tenant(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MERGED", 0)
    mine, theirs = houses
    for place in ("", str(theirs.shipment.pk)):
        rows = Shipment.objects.filter(tenant=mine.tenant, site="NOWHERE")
        found = history.page(rows, history.ORDERS["newest"], after=place, tenants=[mine.tenant.pk])
        assert found.reached is None or found.reached.tenant_id == mine.tenant.pk

"""Pages ask no more queries for many rows than for one, and at most fifteen."""

from __future__ import annotations

import zoneinfo
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import DayCount, ReconciliationFinding
from connector.services import clock, pulse
from tests.connector.admin_support import House, build, client_of, owner

pytestmark = pytest.mark.django_db
MOST = 15


@pytest.fixture
def house() -> House:
    return build("alpha")


def queries(user: object, url: str) -> list[str]:
    """What a page asks the database, once templates and content types are known."""
    client = client_of(user)
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return [query["sql"][:100] for query in seen.captured_queries]


def test_many_findings_cost_no_more_queries_than_one(house: House) -> None:
    first = house.finding
    for n in range(30):
        first.pk, first.subject = None, f"another {n}"
        first.save()
    assert ReconciliationFinding.objects.filter(state="open").count() == 31
    for user in (house.person("operator"), owner()):
        asked = queries(user, reverse("admin:connector_findings"))
        assert len(asked) <= MOST, asked


def test_of_many_cost_centres_the_largest_are_named_and_the_others_summed(house: House) -> None:
    day = clock.local_now().astimezone(zoneinfo.ZoneInfo(house.tenant.timezone)).date()
    told = {"tenant": house.tenant, "integration": house.integration, "day": day, "what": "spend", "currency": "USD"}
    for n in range(15):
        DayCount.objects.create(**told, key=f"CC-{n:02d}", count=2, amount=Decimal(100 + n))
    found = pulse.week([house.tenant.pk], zoneinfo.ZoneInfo(house.tenant.timezone))
    assert [s.cost_center for s in found.largest] == [f"CC-{n:02d}" for n in range(14, 4, -1)]
    [others] = found.others
    assert (others.cost_center, others.currency, others.labels, others.amount) == ("5 more", "USD", 10, Decimal(510))
    text = client_of(house.person("viewer")).get(reverse("admin:connector_live")).content.decode()
    assert "CC-05" in text and "CC-04" not in text and "5 more" in text and "510" in text

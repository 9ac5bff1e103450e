"""Pages ask no more queries for many rows than for one, and at most fifteen."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import ReconciliationFinding
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

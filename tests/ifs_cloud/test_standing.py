"""Headers alone: what they say, what is asked for them, and what a document that is gone looks like."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
import responses

from integrations.base.records import Problem, Standing
from integrations.base.roles import ListQuery, Site
from tests.ifs_cloud import support
from tests.ifs_cloud.support import SHIPMENTS, adapter, give_token, query_of, rows, shipment

SITES = (Site("10", "S1"), Site("10", "S2"))


@pytest.fixture
def ifs() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        give_token(mock)
        yield mock


def test_standings_are_read_twenty_a_call_and_name_what_is_gone(ifs: responses.RequestsMock) -> None:
    ifs.get(SHIPMENTS, json=rows(shipment(19, AirwayBillNo=" 794600000015 ", Objstate="Cancelled", ForwardAgentId="FEDEX")))
    told = adapter().read_standings(["shipment:19", "shipment:20"])
    assert told["shipment:19"] == Standing(
        *("shipment:19", "19", "Cancelled", True, "S1", "794600000015", "FEDEX"),
        date=dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC),
    )
    gone = told["shipment:20"]
    assert isinstance(gone, Problem) and gone.error.code == "document_gone"  # type: ignore[attr-defined]
    asked = query_of(ifs.calls[1])
    assert asked["$filter"] == "(ShipmentId eq 19 or ShipmentId eq 20)"
    assert asked["$select"] == "ShipmentId,Objstate,Contract,PlannedShipDate,AirwayBillNo,ForwardAgentId"


def test_numbered_documents_are_asked_for_by_site_date_and_key(ifs: responses.RequestsMock) -> None:
    ifs.get(SHIPMENTS, json=rows(shipment(21, AirwayBillNo="794600000015")))
    pages = list(adapter().list_numbered(ListQuery("shipment", SITES, dt.date(2026, 3, 1)), "shipment:20"))
    assert [[one.key for one in page] for page in pages] == [["shipment:21"]]
    assert query_of(ifs.calls[1])["$filter"] == (
        "(Contract eq 'S1' or Contract eq 'S2') and AirwayBillNo ne null and PlannedShipDate ge 2026-03-01T00:00:00Z"
        " and ShipmentId gt 20"
    )


def test_without_a_field_for_the_number_nothing_is_told_or_asked() -> None:
    without = adapter({"shipment": {"tracking_field": None}})
    assert list(without.list_numbered(ListQuery("shipment", SITES))) == []
    with responses.RequestsMock() as ifs:
        give_token(ifs)
        ifs.get(support.SHIPMENTS, json=rows(shipment(19)))
        told = without.read_standings(["shipment:19"])["shipment:19"]
    assert isinstance(told, Standing) and told.tracking_number is None


def test_at_most_twenty_sites_at_once() -> None:
    with pytest.raises(ValueError, match="20"):
        list(adapter().list_numbered(ListQuery("shipment", tuple(Site("10", f"S{n}") for n in range(21)))))

"""What IFS refuses for its type is asked of its `$metadata`, once, and written as the tenant wants it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import responses

from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.records import StatusWrite, WriteBack
from integrations.base.roles import ListQuery, Site
from integrations.ifs_cloud import learning
from tests.ifs_cloud.support import ETAG, ETAG_2, ROOT, SHIPMENTS, adapter, give_token, query_of, shipment

METADATA = f"{ROOT}/ShipmentHandling.svc/$metadata"
RECORD = f"{SHIPMENTS}(ShipmentId=19)"
TYPES = "The types 'Edm.Date' and 'Edm.DateTimeOffset' are not compatible."
QUERY = ListQuery("shipment", (Site("10", "S1"),), dt.date(2026, 3, 1))


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        give_token(mocked)
        yield mocked


def edmx(**types: str) -> str:
    fields = "".join(f'<Property Name="{name}" Type="{kind}"/>' for name, kind in types.items())
    return (
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>'
        '<Schema Namespace="IfsApp.ShipmentHandling" xmlns="http://docs.oasis-open.org/odata/ns/edm">'
        f'<EntityType Name="Shipment">{fields}</EntityType><EntityContainer Name="C">'
        '<EntitySet Name="ShipmentSet" EntityType="IfsApp.ShipmentHandling.Shipment"/></EntityContainer></Schema>'
        "</edmx:DataServices></edmx:Edmx>"
    )


def refusal(text: str) -> dict[str, Any]:
    return {"error": {"code": "X", "message": "Malformed Request.", "details": [{"code": "Y", "message": text}]}}


def asked(mock: responses.RequestsMock) -> list[str]:
    return [query_of(call)["$filter"] for call in mock.calls if "$filter" in (call.request.url or "")]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (
            {"PlannedShipDate": "Edm.Date", "Objstate": "IfsApp.ShipmentHandling.ShipmentState"},
            "PlannedShipDate ge 2026-03-01 or",
        ),
        ({"PlannedShipDate": "Edm.DateTimeOffset", "Objstate": "Edm.String"}, "Objstate eq 'Completed'"),
        ({"Objstate": "IfsApp.ShipmentHandling.ShipmentLuState"}, "IfsApp.ShipmentHandling.ShipmentLuState'Completed'"),
    ],
)
def test_a_refused_list_is_asked_for_with_the_tenants_own_types(
    mock: responses.RequestsMock, types: dict[str, str], expected: str
) -> None:
    mock.get(SHIPMENTS, status=400, json=refusal(TYPES))
    mock.get(SHIPMENTS, json={"value": []})
    mock.get(METADATA, body=edmx(**types))
    assert list(adapter().list_documents(QUERY)) == [[]]
    first, second = asked(mock)
    assert expected not in first and expected in second
    assert list(adapter().list_documents(QUERY)) == [[]]
    assert asked(mock)[-1] == second and len(asked(mock)) == 3, "the next adapter of this process knows"
    assert sum("$metadata" in (call.request.url or "") for call in mock.calls) == 1


def test_a_refusal_that_the_types_do_not_explain_stays_one(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, status=400, json=refusal("The filter is too long."))
    mock.get(METADATA, body=edmx(PlannedShipDate="Edm.DateTimeOffset", Objstate="IfsApp.ShipmentHandling.ShipmentState"))
    with pytest.raises(ConfigurationError) as caught:
        list(adapter().list_documents(QUERY))
    assert caught.value.code == "query_refused" and len(asked(mock)) <= 2


def test_without_a_readable_description_the_refusal_is_told(mock: responses.RequestsMock) -> None:
    mock.get(SHIPMENTS, status=400, json=refusal(TYPES))
    mock.get(METADATA, status=403, json=refusal("no"))
    with pytest.raises(ConfigurationError) as caught:
        list(adapter().list_documents(QUERY))
    assert caught.value.code == "query_refused"


SETTINGS = {"shipment": {"estimated_delivery_field": "Cf_Eta"}}
NEWS = StatusWrite(estimated_delivery=dt.date(2026, 3, 6))


def test_a_day_is_written_where_the_field_holds_days(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(Cf_Eta=None))
    mock.patch(RECORD, status=400, json=refusal("Invalid value for property 'Cf_Eta'."))
    mock.patch(RECORD, json=shipment(Cf_Eta="2026-03-06") | {"@odata.etag": ETAG_2})
    mock.get(METADATA, body=edmx(Cf_Eta="Edm.Date"))
    assert adapter(SETTINGS).write_status("shipment:19", NEWS).written == ("Cf_Eta",)
    patches = [call.request.body for call in mock.calls if call.request.method == "PATCH"]
    assert patches == [b'{"Cf_Eta":"2026-03-06T00:00:00Z"}', b'{"Cf_Eta":"2026-03-06"}']


def test_a_day_that_stands_there_is_not_written_again(mock: responses.RequestsMock) -> None:
    learning.remember(SHIPMENTS, {"Cf_Told": "Edm.Date"})
    mock.get(RECORD, json=shipment(Cf_Told="2026-03-06"))
    settings = {"shipment": {"delivered_field": "Cf_Told"}}
    told = StatusWrite(delivered_at=dt.datetime(2026, 3, 6, 14, tzinfo=dt.UTC))
    assert adapter(settings).write_status("shipment:19", told).written == ()


def test_the_ship_date_is_the_day_at_the_site(mock: responses.RequestsMock) -> None:
    """Midnight in Berlin is the day before in UTC."""
    learning.remember(SHIPMENTS, {"ActualShipDate": "Edm.Date"})
    mock.get(RECORD, json=shipment(ActualShipDate=None, AirwayBillNo="7946"))
    mock.patch(RECORD, json={"@odata.etag": ETAG_2})
    at = dt.datetime(2026, 3, 6, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    adapter().write_tracking("shipment:19", WriteBack("7946", None, at))
    assert mock.calls[-1].request.body == b'{"ActualShipDate":"2026-03-06"}'


def test_another_refusal_is_told_and_nothing_is_looked_up(mock: responses.RequestsMock) -> None:
    mock.get(RECORD, json=shipment(AirwayBillNo=None) | {"@odata.etag": ETAG})
    mock.patch(RECORD, status=400, json=refusal("Value too long."))
    with pytest.raises(Rejected):
        adapter().write_tracking("shipment:19", WriteBack("7946", None, None))
    assert not any("$metadata" in (call.request.url or "") for call in mock.calls)

"""Track answers and pushes that are not as they should be (sheet 11, 14, 16): one bad part never spoils the rest."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from integrations.base.tracking import ParcelNews, TrackQuery, UnreadablePush, state_of
from integrations.fedex.tracking import build_proof, build_track, moment, read_news, read_push


def scan(date: str, code: str = "DP", **more: Any) -> dict[str, Any]:
    return {"date": date, "eventType": code, "derivedStatusCode": "", "locationId": ""} | more


def result(*scans: dict[str, Any], number: str = "794600000010", **more: Any) -> dict[str, Any]:
    return {"trackingNumberInfo": {"trackingNumber": number, "trackingNumberUniqueId": ""}, "scanEvents": list(scans)} | more


def push(*results: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"output": {"completeTrackResults": [{"trackResults": list(results)}]}} | more).encode()


GOOD = scan("2026-11-02T08:00:00-06:00")


@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", "", None, 7, [], "2026-13-01"]
)
def test_a_scan_with_a_time_that_cannot_be_is_left_out(date: Any) -> None:
    [news] = read_push(push(result(scan(date), GOOD)))
    assert [s.at.isoformat() for s in news.scans] == ["2026-11-02T08:00:00-06:00"]
    assert moment(date) is None


def test_text_that_a_database_cannot_keep_is_cleaned() -> None:
    raw = push(result(scan("2026-11-02T08:00:00Z", eventDescription="a\0b\ud800c", scanLocation={"city": "M\0"})))
    [news] = read_push(raw)
    assert news.scans[0].text == "abc" and news.scans[0].place == "M"


@pytest.mark.parametrize("raw", [b"", b"no", b"[1]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a": 1' + b"0" * 9000 + b"}"])
def test_what_is_no_object_is_told_from_what_holds_no_news(raw: bytes) -> None:
    with pytest.raises(UnreadablePush):
        read_push(raw)


@pytest.mark.parametrize("body", [{}, {"output": None}, {"output": {"completeTrackResults": [None, 3, {"trackResults": "x"}]}}])
def test_an_object_without_parcels_holds_no_news(body: Any) -> None:
    assert read_push(json.dumps(body).encode()) == ()


def test_a_number_told_twice_in_one_push_is_two_news() -> None:
    """Of a number that was used again each holder takes his own; of two updates none is dropped."""
    raw = push(result(GOOD), result(scan("2026-11-03T08:00:00Z", "OD")))
    assert [len(n.scans) for n in read_push(raw)] == [1, 1]


def test_the_flat_form_and_the_time_of_the_push() -> None:
    rows = [{"timestamp": "2026-11-03T09:05:00Z", "attempt": 2}, {"timestamp": "2026-11-03T09:00:00Z", "attempt": 1}]
    flat = {"trackResults": [{"trackingNumber": "794600000010", "scanEvents": [GOOD]}], "outputMetaData": rows}
    [news] = read_push(json.dumps(flat).encode())
    assert news.tracking_number == "794600000010" and news.told_at == dt.datetime(2026, 11, 3, 9, tzinfo=dt.UTC)


def _state(told: dict[str, Any]) -> str:
    [news] = read_push(push(told))
    return state_of((s.at, s.status) for s in news.scans)[0]


def test_delivered_only_without_a_return_whatever_the_times_say() -> None:
    """Sheet 11.3: the scans of a return and a delivery may be an hour apart in the wrong order."""
    delivered = {"latestStatusDetail": {"code": "DL", "derivedCode": "DL"}}
    back, there = scan("2026-11-04T12:00:00-06:00", "RS"), scan("2026-11-04T11:00:00-06:00", "DL")
    assert _state(result(there, GOOD, **delivered)) == "delivered"
    assert _state(result(back, there, GOOD, **delivered)) == "returned"
    assert _state(result(back, there, GOOD, latestStatusDetail={"code": "RS", "derivedCode": "RS"})) == "returning"


def test_the_summary_counts_where_no_scan_says_anything() -> None:
    """A code that nobody has told us about moves nothing (sheet 14), and hides nothing either."""
    odd = scan("2026-11-04T12:00:00-06:00", "ZZ")
    late = {"code": "FD", "derivedCode": "RL", "statusByLocale": "Running Late"}
    assert _state(result(odd, latestStatusDetail=late)) == "in_transit"
    assert _state(result(odd, GOOD, latestStatusDetail={"code": "OC"})) == "in_transit", "scans that say something go first"
    assert _state(result(odd, latestStatusDetail={"code": "RL", "derivedCode": "RL"})) == ""


@pytest.mark.parametrize(
    ("newest", "summary", "expected"),
    [
        ("OC", {"code": "CA", "derivedCode": "CA"}, "cancelled"),
        ("AR", {"code": "OD", "derivedCode": "OD"}, "out_for_delivery"),
        ("AR", {"code": "DE", "derivedCode": "DE"}, "exception"),
        ("AR", {"code": "RS", "derivedCode": "RS"}, "returning"),
        ("OD", {"code": "IT", "derivedCode": "IT"}, "out_for_delivery"),
        ("DL", {"code": "IT", "derivedCode": "IT"}, "delivered"),
    ],
)
def test_a_summary_that_is_ahead_of_the_scans_counts(newest: str, summary: dict[str, str], expected: str) -> None:
    """The state is that of the latest status (sheet 14); a list of scans may be short of it, or not asked for (sheet 11.1)."""
    assert _state(result(scan("2026-11-02T08:00:00-06:00", newest), latestStatusDetail=summary)) == expected


def test_a_lone_member_counts_as_a_list_of_one() -> None:
    """FedEx is not firm about lists of one (sheet 11): a parcel's only scan, its only result, its only error."""
    only = result(number="794600000010") | {
        "scanEvents": GOOD,
        "dateAndTimes": {"type": "SHIP", "dateTime": "2026-11-01T00:00:00-06:00"},
    }
    payload = {"output": {"completeTrackResults": {"trackingNumber": "794600000010", "trackResults": only}}}
    news = read_news(payload)["794600000010"]
    assert isinstance(news, ParcelNews) and [s.status for s in news.scans] == ["in_transit"]
    assert news.ship_date == dt.date(2026, 11, 1)
    lost = {"trackingNumber": "7", "trackResults": [{"error": [{"code": "TRACKING.TRACKINGNUMBER.NOTFOUND", "message": "?"}]}]}
    missing = read_news({"output": {"completeTrackResults": [lost]}})["7"]
    assert isinstance(missing, ParcelNews) and not missing.known


def test_a_push_without_any_time_counts_from_when_it_was_made() -> None:
    short = result(latestStatusDetail={"code": "DL", "derivedCode": "DL"})
    [news] = read_push(push(short, outputMetaData=[{"timestamp": "2026-11-04T19:00:00Z", "attempt": "2"}]))
    assert [(s.status, s.at) for s in news.scans] == [("delivered", dt.datetime(2026, 11, 4, 19, tzinfo=dt.UTC))]
    [news] = read_push(push(short))
    assert news.scans == ()


def test_of_two_uses_of_a_number_under_one_id_the_dates_tell_ours() -> None:
    """FedEx's ids tell uses apart; where one is left out of the id, or repeated, the ship date does (sheet 11.2)."""
    info = {"trackingNumberInfo": {"trackingNumber": "7", "trackingNumberUniqueId": "1~7~FX"}}
    old, new = (
        result(scan(f"{day}T12:00:00-06:00", code), dateAndTimes=[{"type": "SHIP", "dateTime": f"{day}T00:00:00-06:00"}]) | info
        for day, code in (("2025-03-31", "DL"), ("2026-11-02", "IT"))
    )
    payload = json.loads(push(old, new))
    found = read_news(payload, [TrackQuery("7", dt.date(2026, 11, 2), "1~7~FX")])["7"]
    assert isinstance(found, ParcelNews) and [s.status for s in found.scans] == ["in_transit"]


def test_the_time_of_delivery_is_the_one_that_fedex_states() -> None:
    times = [{"type": "ACTUAL_DELIVERY", "dateTime": "2026-11-04T10:58:00-06:00"}]
    [news] = read_push(push(result(scan("2026-11-04T11:00:00-06:00", "DL"), dateAndTimes=times)))
    assert news.delivered_at == dt.datetime(2026, 11, 4, 16, 58, tzinfo=dt.UTC)
    [news] = read_push(push(result(GOOD, dateAndTimes=[{"type": "ACTUAL_DELIVERY", "dateTime": "2026-11-04T00:00:00-06:00"}])))
    assert news.delivered_at is None, "a mere date (sheet 11.2)"


def test_a_ship_date_ahead_is_not_asked_with_dates() -> None:
    today = dt.date(2026, 11, 3)
    asked = [TrackQuery("1", today + dt.timedelta(days=1)), TrackQuery("2", today - dt.timedelta(days=1))]
    first, second = build_track(asked, today)["trackingInfo"]
    assert "shipDateBegin" not in first, "up to today, the range would leave out the ship date itself"
    assert (second["shipDateBegin"], second["shipDateEnd"]) == ("2026-11-01", "2026-11-03")


def test_news_beside_an_error_of_the_same_number() -> None:
    payload = json.loads(push(result(error={"code": "TRACKING.DATA.NOTFOUND"}), result(GOOD)))
    assert read_news(payload)["794600000010"].scans


# -- proof of delivery -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shipped", "span"),
    [
        (dt.date(2026, 10, 20), ("2026-10-19", "2026-11-02")),
        (dt.date(2026, 9, 1), ("2026-08-31", "2026-09-30")),
        (dt.date(2026, 11, 2), ("2026-11-01", "2026-11-02")),
        (dt.date(2026, 11, 3), None),
        (dt.date(2026, 11, 8), None),
        (None, None),
    ],
)
def test_a_proof_is_asked_for_within_the_days_of_its_shipment(shipped: dt.date | None, span: tuple[str, str] | None) -> None:
    """Both ends of the range, as the sheet shows them (sheet 13); it tells a number in use from the one before it."""
    query = TrackQuery("794600000010", shipped, "12028~794600000010~FDEG")
    body: Any = build_proof(query, dt.date(2026, 11, 3), "123456789")
    [asked] = body["trackDocumentSpecification"]
    assert asked["trackingNumberInfo"] == {
        "trackingNumber": "794600000010",
        "trackingNumberUniqueId": "12028~794600000010~FDEG",
    }
    assert ((asked.get("shipDateBegin"), asked.get("shipDateEnd")) if span else None) == span
    assert span is not None or not {"shipDateBegin", "shipDateEnd"} & set(asked)

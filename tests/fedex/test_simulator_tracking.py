"""The simulated FedEx tells what became of parcels, by number and by reference (sheet 11 and 12)."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.fedex.simulator_wire import Wire, codes, package, ship_body

# -- Track: sheet 11 ------------------------------------------------------------------------------------------------


def test_track_tells_each_number_for_itself(wire: Wire) -> None:
    """Sheet 11.2 and 11.4: failures of single numbers inside a 200."""
    number = wire.made()["masterTrackingNumber"]
    results = wire.track(number, "794600009999").json()["output"]["completeTrackResults"]
    assert [r["trackingNumber"] for r in results] == [number, "794600009999"]
    assert results[1]["trackResults"][0]["error"]["code"] == "TRACKING.TRACKINGNUMBER.NOTFOUND"
    result = results[0]["trackResults"][0]
    assert result["latestStatusDetail"]["code"] == "OC"
    assert result["trackingNumberInfo"]["trackingNumberUniqueId"] == f"12028~{number}~FDEG"
    identifiers = {i["type"]: i["values"] for i in result["additionalTrackingInfo"]["packageIdentifiers"]}
    assert identifiers == {"PURCHASE_ORDER": ["SO004711"], "CUSTOMER_REFERENCE": ["mlc-7f3a01"]}


def test_track_limits_and_forms(wire: Wire) -> None:
    """Sheet 11.4: 30 at most; blank and malformed are refused as a whole."""
    assert wire.track(*["794600000010"] * 30).status_code == 200
    assert codes(wire.track(*["794600000010"] * 31)) == ["TRACKING.TRACKINGNUMBERS.LIMITEXCEEDED"]
    assert codes(wire.track("")) == ["TRACKING.TRACKINGNUMBER.EMPTY"]
    assert codes(wire.track("12-34")) == ["TRACKING.TRACKINGNUMBER.INVALID"]


def test_track_does_not_know_young_numbers(wire: Wire) -> None:
    """Sheet 11.4: NOTFOUND up to a day after the label was made."""
    wire.sim.options(track_visible_after_s=60, expires_in=9999)
    wire.login()
    number = wire.made()["masterTrackingNumber"]
    assert "error" in wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    wire.sim.clock_offset_s += 61
    assert "error" not in wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]


def test_scans_come_newest_first_and_delivery_has_time_and_signer(wire: Wire) -> None:
    """Sheet 11.2 and 11.3."""
    number = wire.made()["masterTrackingNumber"]
    for event in ("PU", "DP", "OD"):
        wire.sim.clock_offset_s += 60
        wire.sim.scan(number, event)
    wire.sim.clock_offset_s += 60
    wire.sim.scan(number, "DL", received_by="R.SMITH")
    result = wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    assert [scan["eventType"] for scan in result["scanEvents"]] == ["DL", "OD", "DP", "PU", "OC"]
    times = [dt.datetime.fromisoformat(scan["date"]) for scan in result["scanEvents"]]
    assert times == sorted(times, reverse=True) and all(t.utcoffset() is not None for t in times)
    dates = {entry["type"]: entry["dateTime"] for entry in result["dateAndTimes"]}
    assert dates["ACTUAL_DELIVERY"] == result["scanEvents"][0]["date"] and "ACTUAL_PICKUP" in dates
    assert dates["SHIP"].endswith("T00:00:00-06:00")
    assert result["deliveryDetails"]["receivedByName"] == "R.SMITH"
    assert result["scanEvents"][0]["scanLocation"]["city"] == "Nashville"
    assert result["availableImages"][0]["type"] == "SIGNATURE_PROOF_OF_DELIVERY"


def test_returned_parcel_ends_delivered_at_the_shipper(wire: Wire) -> None:
    """Sheet 11.3: RS, then DL at the shipper."""
    number = wire.made()["masterTrackingNumber"]
    wire.sim.scan(number, "RS")
    wire.sim.scan(number, "DL", at_shipper=True)
    result = wire.track(number).json()["output"]["completeTrackResults"][0]["trackResults"][0]
    assert result["deliveryDetails"]["actualDeliveryAddress"]["city"] == "Austin"
    assert "RS" in [scan["eventType"] for scan in result["scanEvents"]]


def test_express_unique_id_carries_the_julian_day(wire: Wire) -> None:
    """Sheet 18: 2457821 is the day of the vendor's sample, 8 March 2017."""
    made = wire.made(ship_body(serviceType="FEDEX_2_DAY"))
    unique = wire.track(made["masterTrackingNumber"]).json()["output"]["completeTrackResults"][0]["trackResults"][0][
        "trackingNumberInfo"
    ]
    day = 2457821 + (dt.date.fromisoformat(made["shipDatestamp"]) - dt.date(2017, 3, 8)).days
    assert unique["trackingNumberUniqueId"] == f"{day}000~{made['masterTrackingNumber']}~FX"


# -- By reference: sheet 12 -------------------------------------------------------------------------------------------


def test_reference_finds_by_account_alone_and_with_tracks_type_names(wire: Wire) -> None:
    """Sheet 12 and 5.7."""
    number = wire.made()["masterTrackingNumber"]
    for asked in (
        {"value": "mlc-7f3a01"},
        {"value": "mlc-7f3a01", "type": "CUSTOMER_REFERENCE"},
        {"value": "SO004711", "type": "PURCHASE_ORDER", "carrierCode": "FDXG"},
    ):
        assert [r["trackingNumber"] for r in wire.found(accountNumber="123456789", **asked)] == [number]
    for asked in (
        {"value": "SO004711", "type": "INVOICE"},
        {"value": "so004711"},
        {"value": "mlc-7f3a01", "type": "SHIPPER_REFERENCE"},
    ):
        assert (
            wire.found(accountNumber="123456789", **asked)[0]["trackResults"][0]["error"]["code"]
            == "TRACKING.REFERENCENUMBER.NOTFOUND"
        )
    assert codes(wire.look_up(accountNumber="123456789", value="SO004711", type="P_O_NUMBER")) == [
        "TRACKING.REFERENCETYPE.INVALID"
    ]


def test_reference_of_express_is_a_shipper_reference_too(wire: Wire) -> None:
    """Sheet 5.7."""
    number = wire.made(ship_body(serviceType="FEDEX_2_DAY"))["masterTrackingNumber"]
    found = wire.found(accountNumber="123456789", value="mlc-7f3a01", type="SHIPPER_REFERENCE")
    assert [r["trackingNumber"] for r in found] == [number]


def test_reference_not_found_is_a_200_that_echoes_the_reference(wire: Wire) -> None:
    """Sheet 12: never to be taken for a package."""
    wire.made()
    found = wire.found(accountNumber="987654321", value="mlc-7f3a01")
    assert [r["trackingNumber"] for r in found] == ["mlc-7f3a01"]
    assert found[0]["trackResults"][0]["error"]["code"] == "TRACKING.REFERENCENUMBER.NOTFOUND"


def test_reference_lists_every_matching_package(wire: Wire) -> None:
    """Sheet 12: two purchases and a two-piece shipment under one reference."""
    numbers = [piece["trackingNumber"] for piece in wire.made(ship_body(package(), package()))["pieceResponses"]]
    numbers.append(wire.made()["masterTrackingNumber"])
    assert [r["trackingNumber"] for r in wire.found(accountNumber="123456789", value="mlc-7f3a01")] == numbers


def test_reference_is_invisible_at_first(wire: Wire) -> None:
    """Sheet 12 and 17: absence is weak evidence."""
    wire.sim.options(references_visible_after_s=30)
    number = wire.made()["masterTrackingNumber"]
    assert "error" in wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackResults"][0]
    wire.sim.clock_offset_s += 31
    assert wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackingNumber"] == number


def test_cancelled_shipments_show_as_cancelled(wire: Wire) -> None:
    """Sheet 18: CA."""
    number = wire.made()["masterTrackingNumber"]
    wire.cancel(number)
    result = wire.found(accountNumber="123456789", value="mlc-7f3a01")[0]["trackResults"][0]
    assert (result["latestStatusDetail"]["code"], result["scanEvents"][0]["eventType"]) == ("CA", "CA")


def test_reference_without_account_needs_all_the_rest(wire: Wire) -> None:
    """Sheet 12: type, carrier, dates, destination; two shippers with it are not unique."""
    number = wire.made()["masterTrackingNumber"]
    full = {"value": "mlc-7f3a01", "type": "CUSTOMER_REFERENCE", "carrierCode": "FDXG", "destinationCountryCode": "US"}
    assert [r["trackingNumber"] for r in wire.found(**full, destinationPostalCode="37201")] == [number]
    assert "error" in wire.found(**full, destinationPostalCode="37202")[0]["trackResults"][0]
    assert codes(wire.look_up(value="mlc-7f3a01", type="CUSTOMER_REFERENCE")) == ["TRACKING.REFERENCEDATA.INCOMPLETE"]
    assert codes(wire.look_up(accountNumber="123456789", value="")) == ["TRACKING.REFERENCEVALUE.EMPTY"]
    wire.login("demo-key-2", "demo-secret-2")
    wire.made(ship_body() | {"accountNumber": {"value": "987654321"}})
    assert wire.found(**full)[0]["trackResults"][0]["error"]["code"] == "TRACKING.DATA.NOTUNIQUE"


def day(offset: int) -> str:
    return str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=offset))


@pytest.mark.parametrize(
    ("dates", "code"),
    [
        ({"shipDateBegin": day(-1), "shipDateEnd": day(1)}, "TRACKING.SHIPDATEEND.FUTURE"),
        ({"shipDateBegin": day(-1), "shipDateEndDate": day(1)}, "TRACKING.SHIPDATEEND.FUTURE"),
        ({"shipDateBegin": day(-31), "shipDateEnd": day(0)}, "TRACKING.SHIPDATERANGE.TOOLONG"),
        ({"shipDateBegin": day(-31)}, "TRACKING.SHIPDATERANGE.TOOLONG"),
        ({"shipDateBegin": day(-800), "shipDateEnd": day(-790)}, "TRACKING.SHIPDATEBEGIN.TOOOLD"),
        ({"shipDateBegin": day(-1), "shipDateEnd": day(-2)}, "TRACKING.SHIPDATE.ENDDATEBEFOREBEGINDATE"),
        ({"shipDateBegin": "yesterday", "shipDateEnd": day(0)}, "TRACKING.SHIPDATEBEGIN.INVALID"),
        ({"shipDateBegin": day(-1), "shipDateEnd": "2026-02-30"}, "TRACKING.SHIPDATEEND.INVALID"),
        ({"shipDateBegin": day(-2), "shipDateEnd": day(0), "shipDateEndDate": day(-1)}, "TRACKING.SHIPDATEEND.INVALID"),
    ],
)
def test_reference_date_rules(wire: Wire, dates: dict[str, str], code: str) -> None:
    """Sheet 12 and 11.4."""
    asked = {"value": "mlc-7f3a01", "accountNumber": "123456789"} | dates
    assert codes(wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})) == [code]


def test_reference_dates_bound_the_search_and_default_to_a_month(wire: Wire) -> None:
    """Sheet 12: a shipment dated ahead is found only from that day on; both end keys together are fine."""
    asked: dict[str, str] = {"value": "mlc-7f3a01", "accountNumber": "123456789"}
    ahead = wire.sim.now().date() + dt.timedelta(days=3)
    number = wire.made(ship_body(shipDatestamp=str(ahead)))["masterTrackingNumber"]
    for dates in ({}, {"shipDateBegin": day(-30), "shipDateEnd": day(0), "shipDateEndDate": day(0)}):
        answer = wire.call("/track/v1/referencenumbers", {"referencesInformation": asked | dates})
        assert "error" in answer.json()["output"]["completeTrackResults"][0]["trackResults"][0]
    wire.sim.clock_offset_s += 3 * 86400
    wire.login()
    answer = wire.call("/track/v1/referencenumbers", {"referencesInformation": asked})
    assert answer.json()["output"]["completeTrackResults"][0]["trackingNumber"] == number

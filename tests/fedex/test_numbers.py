"""The form of FedEx's numbers, and what its news tell of the shipment beside the parcel's way."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.fedex import tracking
from integrations.fedex.simulator import fifteen_digits, twelve_digits


@pytest.mark.parametrize("number", [twelve_digits(79460000001), fifteen_digits(4), "9" * 20, "9" * 22, "713062653486"])
def test_numbers_of_this_form_are_fedex_numbers(number: str) -> None:
    assert tracking.is_number(number)


@pytest.mark.parametrize(
    "text",
    ["", "1Z999AA10123456784", "713062653487", fifteen_digits(4)[:-1] + "x", "TYPED-BY-CLERK", "12345678", "٧١٣٠٦٢٦٥٣٤٨٦"],
)
def test_other_texts_are_not(text: str) -> None:
    assert not tracking.is_number(text)


def news(*events: str) -> Any:
    address = {"countryCode": "us", "postalCode": "38116"}
    result = {
        "trackingNumberInfo": {"trackingNumber": "713062653486"},
        "packageDetails": {"count": "3"},
        "recipientInformation": {"address": address},
        "scanEvents": [{"date": "2026-03-02T15:00:00-06:00", "eventType": event} for event in events],
    }
    payload = {"output": {"completeTrackResults": [{"trackingNumber": "713062653486", "trackResults": [result]}]}}
    return tracking.read_news(payload)["713062653486"]


def test_news_tell_where_it_was_to_go_and_how_many_there_are() -> None:
    told = news("PU", "DP")
    assert (told.recipient_country, told.recipient_postal_code, told.package_count) == ("US", "38116", 3)


@pytest.mark.parametrize("event", ["RA", "PR", "RS", "HA"])
def test_a_parcel_sent_elsewhere_tells_no_destination(event: str) -> None:
    told = news("PU", event)
    assert (told.recipient_country, told.recipient_postal_code) == ("", "")

"""What a ping asks FedEx: questions that cost nothing and make nothing."""

from __future__ import annotations

from typing import Final

from integrations.fedex.mapping import Body

_MEMPHIS: Body = {
    "streetLines": ["3610 Hacks Cross Rd"],
    "city": "Memphis",
    "stateOrProvinceCode": "TN",
    "postalCode": "38125",
    "countryCode": "US",
}
_AUSTIN: Body = {
    "streetLines": ["1100 Congress Ave"],
    "city": "Austin",
    "stateOrProvinceCode": "TX",
    "postalCode": "78701",
    "countryCode": "US",
}
MADE_UP_NUMBER: Final = "123456789012"
"""Right by its check digit (sheet 18), so that Track looks it up instead of refusing its form."""


def build_rate_check(account: str) -> Body:
    """A quote for a small parcel between two fixed places (sheet 10): costs nothing, proves account and project."""
    return {
        "accountNumber": {"value": account},
        "requestedShipment": {
            "shipper": {"address": {k: v for k, v in _MEMPHIS.items() if k != "streetLines"}},
            "recipient": {"address": {k: v for k, v in _AUSTIN.items() if k != "streetLines"}},
            "pickupType": "USE_SCHEDULED_PICKUP",
            "serviceType": "FEDEX_GROUND",
            "packagingType": "YOUR_PACKAGING",
            "rateRequestType": ["ACCOUNT"],
            "requestedPackageLineItems": [{"groupPackageCount": 1, "weight": {"units": "LB", "value": 1}}],
        },
    }


def build_validate_check(account: str) -> Body:
    """One parcel to be validated, not made (sheet 9): uses no tracking number and costs nothing."""
    parties = [
        {"contact": {"companyName": "Connection check", "phoneNumber": "9015550100"}, "address": place}
        for place in (_MEMPHIS, _AUSTIN)
    ]
    return {
        "accountNumber": {"value": account},
        "requestedShipment": {
            "pickupType": "USE_SCHEDULED_PICKUP",
            "serviceType": "FEDEX_GROUND",
            "packagingType": "YOUR_PACKAGING",
            "shipper": parties[0],
            "recipients": [parties[1]],
            "shippingChargesPayment": {"paymentType": "SENDER"},
            "labelSpecification": {"imageType": "PDF", "labelStockType": "PAPER_4X6"},
            "totalWeight": 1,
            "requestedPackageLineItems": [{"weight": {"units": "LB", "value": 1}}],
        },
    }


def build_track_check() -> Body:
    """A question about a made-up number (sheet 11.1): the answer is an error of that number where Track is allowed."""
    return {"includeDetailedScans": False, "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": MADE_UP_NUMBER}}]}

"""Services, lanes, transit days and prices of the simulated FedEx, and the answer to a rate quote (sheet 10).

Prices are invented; the arithmetic between their parts is the vendor's. Money and weights are `Decimal` inside,
JSON numbers with two decimals outside. Weights in pounds.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

_KG_IN_LB = Decimal("2.20462262")
_CM_IN_IN = Decimal("0.393700787")
_CENT = Decimal("0.01")
DIM_DIVISOR = 139
FUEL_PERCENT = Decimal("19.5")
ACCOUNT_DISCOUNT = Decimal("0.20")
_GST_CA = Decimal("0.05")
_RESIDENTIAL = Decimal("5.55")
_DAYS = ("ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE", "TEN")

# Sheet 19.3: FedEx's own codes in money fields, by shipper country.
_CURRENCY = {"US": "USD", "CA": "CAD", "GB": "UKL", "CH": "SFR", "JP": "JYE", "MX": "NMP", "SG": "SID"} | dict.fromkeys(
    ("AT", "BE", "DE", "EE", "ES", "FI", "FR", "GR", "IE", "IT", "LT", "LU", "LV", "NL", "PT", "SI", "SK"), "EUR"
)


@dataclass(frozen=True, slots=True)
class Service:
    """One service: `lanes` holds "domestic", "international" and/or "uscanada"; `base` and `per_lb` price a package."""

    key: str
    name: str
    code: str
    carrier: str
    category: str
    lanes: frozenset[str]
    days: int
    base: Decimal
    per_lb: Decimal


def _service(
    key: str, name: str, code: str, carrier: str, category: str, lanes: str, days: int, base: str, per_lb: str
) -> Service:
    return Service(key, name, code, carrier, category, frozenset(lanes.split()), days, Decimal(base), Decimal(per_lb))


_TABLE = (
    _service("FEDEX_GROUND", "FedEx Ground", "92", "FDXG", "GROUND", "domestic uscanada", 3, "9.80", "0.42"),
    _service("GROUND_HOME_DELIVERY", "FedEx Home Delivery", "90", "FDXG", "GROUND", "domestic", 3, "10.30", "0.45"),
    _service("SMART_POST", "FedEx Ground Economy", "79", "FXSP", "SMARTPOST", "domestic", 5, "8.10", "0.38"),
    _service("FIRST_OVERNIGHT", "FedEx First Overnight", "06", "FDXE", "EXPRESS", "domestic", 1, "88.00", "3.10"),
    _service("PRIORITY_OVERNIGHT", "FedEx Priority Overnight", "01", "FDXE", "EXPRESS", "domestic", 1, "42.00", "2.30"),
    _service("STANDARD_OVERNIGHT", "FedEx Standard Overnight", "05", "FDXE", "EXPRESS", "domestic", 1, "38.50", "2.10"),
    _service("FEDEX_2_DAY_AM", "FedEx 2Day AM", "49", "FDXE", "EXPRESS", "domestic", 2, "27.40", "1.60"),
    _service("FEDEX_2_DAY", "FedEx 2Day", "03", "FDXE", "EXPRESS", "domestic", 2, "23.90", "1.40"),
    _service("FEDEX_EXPRESS_SAVER", "FedEx Express Saver", "20", "FDXE", "EXPRESS", "domestic", 3, "21.20", "1.15"),
    _service("FEDEX_FIRST", "FedEx First", "06", "FDXE", "EXPRESS", "domestic", 1, "64.00", "2.60"),
    _service("FEDEX_PRIORITY_EXPRESS", "FedEx Priority Express", "31", "FDXE", "EXPRESS", "domestic", 1, "34.00", "1.90"),
    _service("FEDEX_PRIORITY", "FedEx Priority", "32", "FDXE", "EXPRESS", "domestic", 1, "29.00", "1.70"),
    _service("FEDEX_ECONOMY", "FedEx Economy", "33", "FDXE", "EXPRESS", "domestic", 3, "18.00", "0.90"),
    _service("FEDEX_ECONOMY_SELECT", "FedEx Economy Select", "34", "FDXE", "EXPRESS", "domestic", 3, "17.00", "0.85"),
    _service("INTERNATIONAL_FIRST", "FedEx International First", "06", "FDXE", "EXPRESS", "international", 2, "145.00", "6.20"),
    _service(
        "FEDEX_INTERNATIONAL_PRIORITY_EXPRESS",
        "FedEx International Priority Express",
        "18",
        "FDXE",
        "EXPRESS",
        "international",
        2,
        "98.00",
        "5.10",
    ),
    _service(
        "FEDEX_INTERNATIONAL_PRIORITY",
        "FedEx International Priority",
        "26",
        "FDXE",
        "EXPRESS",
        "international",
        3,
        "84.00",
        "4.60",
    ),
    _service(
        "INTERNATIONAL_PRIORITY", "FedEx International Priority", "01", "FDXE", "EXPRESS", "international", 3, "84.00", "4.60"
    ),
    _service(
        "INTERNATIONAL_ECONOMY", "FedEx International Economy", "04", "FDXE", "EXPRESS", "international", 5, "66.00", "3.80"
    ),
    _service(
        "FEDEX_INTERNATIONAL_CONNECT_PLUS",
        "FedEx International Connect Plus",
        "16",
        "FDXE",
        "EXPRESS",
        "international",
        5,
        "48.00",
        "3.20",
    ),
    _service("FEDEX_REGIONAL_ECONOMY", "FedEx Regional Economy", "27", "FDXE", "EXPRESS", "international", 4, "39.00", "2.10"),
)
SERVICES = {service.key: service for service in _TABLE}
_EUROPEAN = frozenset(
    s.key for s in _TABLE if s.key.startswith(("FEDEX_FIRST", "FEDEX_PRIORITY", "FEDEX_ECONOMY", "FEDEX_REGIONAL"))
)
_AMERICAN = frozenset({"US", "CA", "MX", "PR"})


def lane_of(origin: str, destination: str) -> frozenset[str]:
    """The lanes between two country codes, to be met with `Service.lanes`."""
    if origin == destination:
        return frozenset({"domestic"})
    if {origin, destination} == {"US", "CA"}:
        return frozenset({"international", "uscanada"})
    return frozenset({"international"})


def offered(origin: str, destination: str) -> list[Service]:
    """What a rate shop between two countries lists, in the order of the service table."""
    lane = lane_of(origin, destination)

    def here(service: Service) -> bool:
        if service.key in _EUROPEAN:
            return origin not in _AMERICAN
        return "international" in service.lanes or origin in _AMERICAN

    # Ground Economy needs its own hub data and the old name of International Priority is not offered any more.
    return [s for s in _TABLE if s.lanes & lane and here(s) and s.key not in ("SMART_POST", "INTERNATIONAL_PRIORITY")]


def pounds(weight: dict[str, Any]) -> Decimal:
    """A weight `{units, value}` in pounds."""
    value = Decimal(str(weight["value"]))
    return value * _KG_IN_LB if weight["units"] == "KG" else value


def _dim_pounds(dimensions: dict[str, Any] | None) -> Decimal:
    if not dimensions:
        return Decimal(0)
    volume = Decimal(1)
    for side in ("length", "width", "height"):
        inches = Decimal(str(dimensions[side]))
        volume *= inches * _CM_IN_IN if dimensions.get("units") == "CM" else inches
    return volume / DIM_DIVISOR


def _zone(shipper: dict[str, Any], recipient: dict[str, Any]) -> int:
    """A price zone 2 to 8 at home, 11 to 19 abroad: nothing but stable and plausible."""
    if shipper["countryCode"] != recipient["countryCode"]:
        return 11 + sum(map(ord, recipient["countryCode"])) % 9
    a, b = (str(party.get("postalCode") or "0")[:1] for party in (shipper, recipient))
    return min(8, 2 + abs(ord(a) - ord(b)))


def _cents(value: Decimal) -> Decimal:
    return value.quantize(_CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class PackagePrice:
    """One package: pounds billed and money. net = base - discount + fuel + residential; total = net + tax."""

    billed_lb: Decimal
    dimensional: bool
    base: Decimal
    discount: Decimal
    fuel: Decimal
    residential: Decimal
    tax: Decimal

    @property
    def surcharges(self) -> Decimal:
        return self.fuel + self.residential

    @property
    def net(self) -> Decimal:
        return self.base - self.discount + self.surcharges

    @property
    def total(self) -> Decimal:
        return self.net + self.tax


@dataclass(frozen=True, slots=True)
class Price:
    """A whole shipment at account or list prices, one `PackagePrice` per physical package."""

    service: Service
    currency: str
    zone: int
    listed: bool
    packages: tuple[PackagePrice, ...]

    def sum(self, member: str) -> Decimal:
        """Sum of one money member over all packages."""
        return sum((getattr(p, member) for p in self.packages), Decimal(0))

    def surcharges(self, type_key: str) -> list[dict[str, Any]]:
        """The surcharges of the shipment; `type_key` is `surchargeType` (ship) or `type` (rate)."""
        return _surcharges(type_key, self.sum("fuel"), self.sum("residential"))


def _surcharges(type_key: str, fuel: Decimal, residential: Decimal) -> list[dict[str, Any]]:
    found = [{type_key: "FUEL", "level": "PACKAGE", "description": "Fuel Surcharge", "amount": float(fuel)}]
    if residential:
        found.append(
            {type_key: "RESIDENTIAL_DELIVERY", "level": "PACKAGE", "description": "Residential", "amount": float(residential)}
        )
    return found


def price(
    service: Service, shipper: dict[str, Any], recipient: dict[str, Any], rows: list[dict[str, Any]], *, listed: bool
) -> Price:
    """Price the line items `rows` (sheet 5.6, groups expanded here) between two addresses. Heavier is dearer."""
    zone = _zone(shipper, recipient)
    factor = Decimal(100 + 6 * (zone - 2)) / 100
    packages: list[PackagePrice] = []
    for row in rows:
        actual, dimensional = pounds(row["weight"]), _dim_pounds(row.get("dimensions"))
        billed = max(actual, dimensional).quantize(Decimal(1), ROUND_CEILING)
        base = _cents((service.base + service.per_lb * billed) * factor)
        discount = Decimal(0) if listed else _cents(base * ACCOUNT_DISCOUNT)
        fuel = _cents((base - discount) * FUEL_PERCENT / 100)
        residential = _RESIDENTIAL if recipient.get("residential") else Decimal(0)
        home_ca = shipper["countryCode"] == recipient["countryCode"] == "CA"
        tax = _cents((base - discount + fuel + residential) * _GST_CA) if home_ca else Decimal(0)
        one = PackagePrice(billed, dimensional > actual, base, discount, fuel, residential, tax)
        packages += [one] * int(row.get("groupPackageCount") or 1)
    return Price(service, _CURRENCY.get(shipper["countryCode"], "USD"), zone, listed, tuple(packages))


def transit(service: Service, day: dt.date) -> tuple[str, dt.date]:
    """Transit word (`TWO_DAYS`) and delivery date, Saturdays and Sundays not counted."""
    left = service.days
    while left:
        day += dt.timedelta(days=1)
        left -= day.weekday() < 5
    return f"{_DAYS[service.days - 1]}_DAY{'S' if service.days > 1 else ''}", day


def ship_rate_detail(price: Price) -> dict[str, Any]:
    """One entry of `shipmentRating.shipmentRateDetails` (sheet 6)."""
    base, discount, surcharges = price.sum("base"), price.sum("discount"), price.sum("surcharges")
    net, tax, total = price.sum("net"), price.sum("tax"), price.sum("total")
    return {
        "rateType": rate_type(price),
        "rateZone": str(price.zone),
        "ratedWeightMethod": "DIM" if any(p.dimensional for p in price.packages) else "ACTUAL",
        "dimDivisor": DIM_DIVISOR,
        "fuelSurchargePercent": float(FUEL_PERCENT),
        "totalBillingWeight": {"units": "LB", "value": float(price.sum("billed_lb"))},
        "totalBaseCharge": float(base),
        "totalFreightDiscounts": float(discount),
        "totalNetFreight": float(base - discount),
        "totalSurcharges": float(surcharges),
        "totalNetFedExCharge": float(net),
        "totalTaxes": float(tax),
        "totalNetCharge": float(total),
        "totalRebates": 0.0,
        "totalDutiesTaxesAndFees": 0.0,
        "totalDutiesAndTaxes": 0.0,
        "totalAncillaryFeesAndTaxes": 0.0,
        "totalNetChargeWithDutiesAndTaxes": float(total),
        "surcharges": price.surcharges("surchargeType"),
        "freightDiscounts": [],
        "taxes": [],
        "currency": price.currency,
    }


def rate_type(price: Price) -> str:
    """`PAYOR_ACCOUNT_PACKAGE` for Ground, `..._SHIPMENT` for Express, `LIST` in place of `ACCOUNT` where asked."""
    return f"PAYOR_{'LIST' if price.listed else 'ACCOUNT'}_{'PACKAGE' if price.service.carrier != 'FDXE' else 'SHIPMENT'}"


def package_rate_detail(price: Price, package: PackagePrice, *, type_key: str) -> dict[str, Any]:
    """One package's rate, in ship answers (`type_key` "surchargeType") and in quotes ("type")."""
    return {
        "rateType": rate_type(price),
        "ratedWeightMethod": "DIM" if package.dimensional else "ACTUAL",
        "billingWeight": {"units": "LB", "value": float(package.billed_lb)},
        "baseCharge": float(package.base),
        "totalFreightDiscounts": float(package.discount),
        "netFreight": float(package.base - package.discount),
        "totalSurcharges": float(package.surcharges),
        "netFedExCharge": float(package.net),
        "totalTaxes": float(package.tax),
        "netCharge": float(package.total),
        "totalRebates": 0.0,
        "surcharges": _surcharges(type_key, package.fuel, package.residential),
        "currency": price.currency,
    }


def quote(service: Service, shipment: dict[str, Any], day: dt.date, *, transit_times: bool, names: str) -> dict[str, Any]:
    """One entry of `rateReplyDetails` for a `requestedShipment` that has passed its checks (sheet 10)."""
    shipper, recipient = shipment["shipper"]["address"], shipment["recipient"]["address"]
    rows = shipment["requestedPackageLineItems"]
    asked = [kind for kind in shipment.get("rateRequestType") or ["ACCOUNT"] if kind in ("ACCOUNT", "LIST")] or ["ACCOUNT"]
    if "ACCOUNT" not in asked:
        asked.insert(0, "ACCOUNT")  # LIST is added to the account's rates, it never replaces them (sheet 10)
    word, arrives = transit(service, day)
    reply: dict[str, Any] = {
        "serviceType": service.key,
        "serviceName": service.name,
        "packagingType": shipment.get("packagingType") or "YOUR_PACKAGING",
        "signatureOptionType": "SERVICE_DEFAULT",
        "customerMessages": [],
        "ratedShipmentDetails": [
            _rated(price(service, shipper, recipient, rows, listed=kind == "LIST"), kind, names=names) for kind in asked
        ],
        "operationalDetail": {"serviceCode": service.code, "ineligibleForMoneyBackGuarantee": False},
        "serviceDescription": {
            "serviceType": service.key,
            "code": service.code,
            "description": service.name,
            "serviceCategory": service.category.lower(),
        },
    }
    if transit_times:
        stamp = f"{arrives.isoformat()}T17:00:00"
        day_name = arrives.strftime("%a").upper()
        reply["operationalDetail"] |= {
            "deliveryDate": stamp,
            "deliveryDay": day_name,
            "commitDate": stamp,
            "transitTime": word,
        }
        reply["commit"] = {
            "dateDetail": {"dayOfWeek": day_name, "dayFormat": stamp},
            "daysInTransit": word,
            "transitDays": {"description": f"{service.days} business days", "minimumTransitTime": word},
            "saturdayDelivery": False,
        }
    else:
        reply["commit"] = {"label": "Delivery date unavailable"}
    return reply


def _rated(price: Price, kind: str, *, names: str) -> dict[str, Any]:
    total = float(price.sum("total"))
    taxes = price.sum("tax")
    rated: dict[str, Any] = {
        "rateType": kind,
        "ratedWeightMethod": "DIM" if any(p.dimensional for p in price.packages) else "ACTUAL",
        "totalBaseCharge": float(price.sum("base")),
        "totalDiscounts": float(price.sum("discount")),
        "totalNetFedExCharge": float(price.sum("net")),
        "totalNetCharge": total,
        "totalVatCharge": 0.0,
        "totalDutiesAndTaxes": 0.0,
        "totalDutiesTaxesAndFees": 0.0,
        "totalAncillaryFeesAndTaxes": 0.0,
        "totalNetChargeWithDutiesAndTaxes": total,
        "shipmentRateDetail": {
            "rateZone": str(price.zone),
            "dimDivisor": DIM_DIVISOR,
            "fuelSurchargePercent": float(FUEL_PERCENT),
            "totalSurcharges": float(price.sum("surcharges")),
            "totalFreightDiscount": float(price.sum("discount")),
            "surCharges": price.surcharges("type"),
            "freightDiscount": [],
            "taxes": [{"type": "GST", "description": "Goods and services tax", "amount": float(taxes)}] if taxes else [],
            "totalBillingWeight": {"units": "LB", "value": float(price.sum("billed_lb"))},
            "currency": price.currency,
        },
        "ratedPackages": [
            {
                "groupNumber": 0,
                "effectiveNetDiscount": 0.0,
                "packageRateDetail": package_rate_detail(price, package, type_key="type"),
            }
            for package in price.packages
        ],
    }
    if names == "schema":
        for package in rated["ratedPackages"]:
            del package["packageRateDetail"]["currency"]
    else:
        # Recorded replies carry members that the schema lacks (sheet 10).
        rated["currency"] = price.currency
        for number, package in enumerate(rated["ratedPackages"], 1):
            package["sequenceNumber"] = str(number)
    return rated

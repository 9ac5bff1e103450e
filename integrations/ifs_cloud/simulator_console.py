"""What a person may do with the simulated IFS Cloud in the browser: make shipments, and be another user of IFS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.base.console import EVERY_CALL, Act, ActField, ControlCall, FaultChoice, Place, SimulatorConsole, Values
from integrations.ifs_cloud.simulator_demo import ENDLESS_STREETS

_CLERK = "clerk"
_TENANTS = {"standard1": "standard", "custom1": "custom"}
_SHIP_VIAS = (
    ("FDX-GND", "FDX-GND"),
    ("FDX-2DAY", "FDX-2DAY"),
    ("FEDEX_GROUND", "FEDEX_GROUND"),
    ("ROAD-X", "ROAD-X (mapped to nothing)"),
)
_PROBLEMS = (
    ("", "Nothing: it can be shipped"),
    ("address", "A bad address: no postal code, streets too long"),
    ("weight", "No weight"),
    ("forwarder", "Another forwarder (DHL)"),
    ("phone", "No phone number"),
)
_SHIPMENT = ActField("shipment", "Shipment", "document", maximum=12, help="Its number in IFS.")


def _tenant(settings: Mapping[str, Any]) -> str:
    """The simulated IFS tenant whose realm the connection uses."""
    return _TENANTS.get(str(settings.get("realm", "")), "standard")


def _shipments(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    body: dict[str, Any] = {
        "tenant": _tenant(settings),
        "count": values["count"],
        "site": values["site"],
        "lines": values["lines"],
        "handling_units": values["handling_units"],
        "ShipViaCode": values["ship_via"],
    }
    match values["problem"]:
        case "address":
            first, second = ENDLESS_STREETS
            body |= {"ReceiverAddress1": first, "ReceiverAddress2": second, "ReceiverZipCode": None}
        case "weight":
            body["weights"] = False
        case "forwarder":
            body["ForwardAgentId"] = "DHL"
        case "phone":
            body["NoteText"] = None
    return [("shipments", body)]


def _made(answer: Mapping[str, Any]) -> str:
    ids = [str(number) for number in answer.get("ids", [])]
    what = f"shipment {ids[0]} is" if len(ids) == 1 else f"shipments {ids[0]} to {ids[-1]} are" if ids else "nothing is"
    return f"In the simulated IFS, {what} ready. The next poll finds it; Run now is quicker."


def _orders(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    body = {"tenant": _tenant(settings), "kind": values["kind"], "count": values["count"], "site": values["site"]}
    return [("orders", body | {"lines": values["lines"], "releases": values["releases"]})]


def _made_orders(answer: Mapping[str, Any]) -> str:
    names = ", ".join(str(name) for name in answer.get("ids", []))
    return f"In the simulated IFS, {names} stand ready. An integration ships them if its option “Documents that ship” names them."


def _edit(values: Values, settings: Mapping[str, Any], entity: str, key: dict[str, int], columns: dict[str, Any]) -> ControlCall:
    return "edit", {"tenant": _tenant(settings), "user": _CLERK, "set": entity, "key": key, "values": columns}


def _key(values: Values) -> dict[str, int]:
    """Raises ValueError for what is no number."""
    return {"ShipmentId": int(values["shipment"])}


def _mend_address(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    columns = {"ReceiverAddress1": values["street"], "ReceiverAddress2": values["street_2"] or None, "ReceiverAddress3": None}
    return [_edit(values, settings, "Shipment", _key(values), columns | {"ReceiverZipCode": values["postal_code"]})]


def _ship_via(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    return [_edit(values, settings, "Shipment", _key(values), {"ShipViaCode": values["ship_via"]})]


def _weigh(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    columns = {"OperativeGrossWeight": values["weight"], "UomForWeight": "kg"}
    # The simulator numbers handling units by their shipment: 1021 has 102101, 102102, ...
    return [_edit(values, settings, "HandlingUnit", {"HandlingUnitId": _key(values)["ShipmentId"] * 100 + 1}, columns)]


def _type_number(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    return [_edit(values, settings, "Shipment", _key(values), {"AirwayBillNo": values["number"]})]


def _edited(answer: Mapping[str, Any]) -> str:
    return "Another user has saved it in the simulated IFS. Replay what waits for it, or press Run now."


CONSOLE = SimulatorConsole(
    acts=(
        Act(
            "shipments",
            "Make shipments that are ready",
            (
                ActField("count", "How many", "number", "1", maximum=50),
                ActField("problem", "What is wrong with them", "choice", choices=_PROBLEMS, required=False),
                ActField("ship_via", "Ship-via", "choice", "FDX-GND", choices=_SHIP_VIAS),
                ActField("site", "Site", "choice", "S1", choices=(("S1", "S1 Memphis"), ("S2", "S2 Austin"))),
                ActField("lines", "Order lines in each", "number", "1", maximum=10),
                ActField("handling_units", "Packages in each", "number", "1", maximum=20),
            ),
            _shipments,
            _made,
        ),
        Act(
            "orders",
            "Make orders that are ready",
            (
                ActField(
                    "kind",
                    "Kind",
                    "choice",
                    "customer_order",
                    choices=(("customer_order", "Customer orders"), ("purchase_order", "Purchase orders")),
                ),
                ActField("count", "How many", "number", "1", maximum=50),
                ActField("site", "Site", "choice", "S1", choices=(("S1", "S1 Memphis"), ("S2", "S2 Austin"))),
                ActField("lines", "Lines in each", "number", "1", maximum=10),
                ActField("releases", "Deliveries of each line", "number", "1", maximum=5),
            ),
            _orders,
            _made_orders,
        ),
        Act(
            "mend_address",
            "Another user mends an address",
            (
                _SHIPMENT,
                ActField("street", "Street", default="12 Harbor Way"),
                ActField("street_2", "Second line", required=False),
                ActField("postal_code", "Postal code", default="94607", maximum=20),
            ),
            _mend_address,
            _edited,
        ),
        Act(
            "ship_via",
            "Another user changes the ship-via",
            (_SHIPMENT, ActField("ship_via", "Ship-via", "choice", "FDX-GND", choices=_SHIP_VIAS)),
            _ship_via,
            _edited,
        ),
        Act(
            "weigh",
            "Another user weighs the first package",
            (_SHIPMENT, ActField("weight", "Weight in kg", "number", "2", maximum=60)),
            _weigh,
            _edited,
        ),
        Act(
            "type_number",
            "Another user enters a tracking number",
            (_SHIPMENT, ActField("number", "Tracking number", default="TYPED-BY-CLERK", maximum=40)),
            _type_number,
            _edited,
            help="What a person has entered is never overwritten: the transfer stops and says so.",
        ),
    ),
    faults=(
        FaultChoice("401_once", "The token is refused once (401)", {"fault": "401_once"}),
        FaultChoice("412_once", "Another user saves the record while we write (412)", {"fault": "412_once"}),
        FaultChoice("423_media", "A virus scan holds the file that is uploaded (423)", {"fault": "423_media"}),
        FaultChoice("412_ours", "Another user enters a tracking number while we write", {"fault": "412_ours"}),
    ),
    places=(
        EVERY_CALL,
        Place("write", "Writing to IFS", "^PATCH "),
        Place("read", "Reading from IFS", "^GET "),
        Place("token", "Asking for a token", "openid-connect/token"),
    ),
)

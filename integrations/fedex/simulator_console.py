"""What a person may do with the simulated FedEx in the browser: move parcels, end tokens, misbehave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.base.console import EVERY_CALL, Act, ActField, ControlCall, FaultChoice, Place, SimulatorConsole, Values
from integrations.fedex.simulator_tracking import EVENTS

_SCANS = ("PU", "DP", "AR", "OD", "DL", "DE", "HL", "RS")


def _scan(values: Values, settings: Mapping[str, Any]) -> list[ControlCall]:
    body: dict[str, Any] = {"tracking_number": values["parcel"], "event": values["event"], "all_pieces": values["all_pieces"]}
    if values["event"] == "DL":
        body["received_by"] = values["received_by"]
    if values["event"] == "DE":
        body |= {"exception_code": "08", "exception_description": "Recipient not in"}
    return [("scan", body)]


CONSOLE = SimulatorConsole(
    acts=(
        Act(
            "scan",
            "Move a parcel",
            (
                ActField("parcel", "Parcel", "parcel", maximum=40, help="A tracking number that was bought here."),
                ActField("event", "What happens", "choice", "PU", choices=tuple((code, EVENTS[code][0]) for code in _SCANS)),
                ActField("all_pieces", "All parcels of its shipment", "check", "1", required=False),
                ActField("received_by", "Signed by (when delivered)", default="R.RECEIVER", required=False, maximum=40),
            ),
            _scan,
            lambda answer: "FedEx has scanned it. The next look at tracking sees it; Run now is quicker.",
        ),
        Act(
            "expire_tokens",
            "End every token",
            (),
            lambda values, settings: [("expire_tokens", {})],
            lambda answer: "Every token of the simulated FedEx has ended. The next call fetches a new one.",
        ),
    ),
    faults=(
        FaultChoice("401_once", "The token is refused once (401)", {"fault": "401_once"}),
        FaultChoice("label_garbage", "The label is bought, its file is unreadable", {"fault": "label_garbage"}),
        FaultChoice("rating_missing", "The label is bought, its price is missing", {"fault": "rating_missing"}),
    ),
    places=(
        Place("buy", "Buying a label", "^POST /ship/v1/shipments$"),
        Place("track", "Tracking", "^POST /track/"),
        Place("address", "Checking addresses", "^POST /address/"),
        Place("token", "Asking for a token", "^POST /oauth/token$"),
        EVERY_CALL,
    ),
)

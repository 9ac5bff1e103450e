"""What a comparison can find, in words for people, and the one thing to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["missing", "extra", "different", "in doubt"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding: its name, what it means, and the remedy that helps unless the finding names another one."""

    name: str
    group: Group
    title: str
    says: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """What the one button of a finding does. `looks` remedies are shown first on a page of their own (`ask`).

    `right` is what a person needs for it; `reason` whether he must give a reason.
    """

    name: str
    button: str
    does: str
    ask: bool = False
    reason: bool = False
    right: Literal["operate", "administer"] = "operate"


WRITE, OVERWRITE, CLEAR, VOID, ASK, LOOK, ADOPT, REPLAY, CHARGE, KNOWN = (
    *("write", "overwrite", "clear", "void", "ask", "look", "adopt", "replay", "charge", "known"),
)

REMEDIES: Final[Mapping[str, Remedy]] = {
    remedy.name: remedy
    for remedy in (
        Remedy(
            WRITE,
            "Write the number again",
            "Writes our number into the ERP if its field is empty or holds a number of ours: one to three calls. Buys nothing.",
        ),
        Remedy(
            OVERWRITE,
            "Write ours over it",
            "Replaces the number in the ERP by ours, whoever entered it: one to three calls. Buys nothing.",
            ask=True,
        ),
        Remedy(
            CLEAR,
            "Clear the number in the ERP",
            "Empties the field in the ERP if it still holds the voided number: one to three calls. Buys nothing.",
        ),
        Remedy(
            VOID,
            "Void the label",
            "Cancels the label at the carrier (one call; a label cancelled there already counts as voided) and empties our "
            "number in the ERP where it stands. The document does not ship again by itself.",
            ask=True,
        ),
        Remedy(
            ASK,
            "Ask the carrier again",
            "Asks the carrier for news of the parcel now instead of later: one call. The next comparison sees what it said.",
        ),
        Remedy(
            LOOK,
            "Look at everything that is ready",
            "The next poll lists everything that is ready, and takes up what it finds: labels are bought for it as for any "
            "other document.",
            ask=True,
            reason=True,
            right="administer",
        ),
        Remedy(
            ADOPT,
            "Take it over",
            "Looks once more under our reference and takes the shipment over: its number goes to the ERP (where the transfer has "
            "ended, the next comparison offers to write it). Nothing is bought; the label file is lost.",
        ),
        Remedy(REPLAY, "Look now", "Looks it up at the vendor at once. Nothing is sent again."),
        Remedy(
            CHARGE,
            "Write the freight cost",
            "Runs the document's last steps again: what stands in the ERP already is found there and not written twice.",
        ),
        Remedy(
            KNOWN,
            "Mark as known",
            "Takes it off the list, with your reason. It comes back if it changes. Nothing is changed at ERP or carrier.",
            ask=True,
            reason=True,
        ),
    )
}

ALL: Final = (
    Kind(
        "erp_empty",
        "missing",
        "Our number is not in the ERP",
        "We bought a label and wrote its number; the ERP does not hold it (any more).",
        WRITE,
    ),
    Kind(
        "erp_other",
        "different",
        "The ERP holds another number",
        "We bought a label; the ERP's field holds a number that is not its. Somebody may have shipped it otherwise.",
        OVERWRITE,
    ),
    Kind(
        "erp_cancelled",
        "different",
        "Cancelled in the ERP, label still good",
        "The document was cancelled in the ERP, and its label is not voided.",
        VOID,
    ),
    Kind(
        "erp_gone",
        "missing",
        "Not in the ERP any more, label still good",
        "The ERP does not show the document: it was removed, or our user may not see it any more. Its label is not voided.",
        VOID,
    ),
    Kind(
        "erp_voided",
        "different",
        "A voided number stands in the ERP",
        "The label was voided, and the ERP still holds its number: whoever ships by it has no valid label.",
        CLEAR,
    ),
    Kind(
        "carrier_unknown",
        "missing",
        "The carrier does not know the number",
        "The label is older than a day, and the carrier does not find its number.",
        ASK,
    ),
    Kind(
        "carrier_cancelled",
        "different",
        "Cancelled at the carrier, active here",
        "The carrier says that the shipment is cancelled; here it counts as a good label.",
        VOID,
    ),
    Kind(
        "carrier_moving",
        "different",
        "Voided here, on its way at the carrier",
        "The label was voided here, and the carrier has the parcel: it will be charged. Settle it with the carrier.",
        KNOWN,
    ),
    Kind(
        "carrier_packages",
        "different",
        "Another number of packages at the carrier",
        "The carrier counts other packages in this shipment than we bought.",
        KNOWN,
    ),
    Kind(
        "carrier_destination",
        "different",
        "Another destination at the carrier",
        "The carrier delivers to another country or postal code than the label was bought for.",
        KNOWN,
    ),
    Kind(
        "erp_extra",
        "extra",
        "Shipped outside this system",
        "The ERP holds a number of this carrier that we did not buy.",
        KNOWN,
    ),
    Kind(
        "erp_unseen",
        "missing",
        "Ready in the ERP, never seen here",
        "The document has been ready for longer than a poll takes, and we have never seen it.",
        LOOK,
    ),
    Kind(
        "label_extra",
        "extra",
        "A label exists that we think was not made",
        "The carrier has a shipment under our reference, though the request counts as refused or not made.",
        ADOPT,
    ),
    Kind(
        "in_doubt",
        "in doubt",
        "In doubt for more than an hour",
        "A request was sent and its answer lost. It is not known whether it was done.",
        REPLAY,
    ),
    Kind(
        "charge_planned",
        "missing",
        "Freight cost not in the ERP",
        "The freight cost of a label was to be written to the order more than an hour ago, and was not.",
        CHARGE,
    ),
)
KIND: Final[Mapping[str, Kind]] = {kind.name: kind for kind in ALL}

ERP_KINDS: Final = frozenset({"erp_empty", "erp_other", "erp_cancelled", "erp_gone", "erp_voided"})
CARRIER_KINDS: Final = frozenset(
    {"carrier_unknown", "carrier_cancelled", "carrier_moving", "carrier_packages", "carrier_destination"}
)

__all__ = [
    "ALL",
    "CARRIER_KINDS",
    "ERP_KINDS",
    "KIND",
    "REMEDIES",
    "Kind",
    "Remedy",
]

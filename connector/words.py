"""What states and marks mean, in the console's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

SENTENCES = {
    "waiting": "It has its turn when it is due, by itself.",
    "running": "A worker has it this moment.",
    "in_doubt": "A request was sent and its answer was lost. It may or may not have been done; nothing is sent again.",
    "needs_approval": "A person has to agree before anything is bought.",
    "failed": "It stopped. Nothing happens until somebody replays it or the document is mended.",
    "done": "Every step is done; the evidence stands below.",
    "skipped": "Nothing was to be done, for the reason given.",
    "cancelled": "It ended without buying anything more.",
}
ATTENTION = {
    "label_missing": "The shipment was found again at the carrier, but its label file was lost with the answer. "
    "Print it from the carrier's own tools, or void it and buy again.",
    "label_unreadable": "The carrier's label is not what it says it is. The number is good; void and buy again, "
    "or print it elsewhere.",
    "changed_after_label": "The document was changed in the ERP after its label was bought. Compare; void and buy "
    "again if it matters.",
    "cancelled_after_label": "The document was cancelled in the ERP after its label was bought. Void the label if "
    "the goods stay.",
    "number_clash": "Another shipment of ours holds the same tracking number. Ask the carrier.",
    "bought_twice": "Two labels exist for this document. Void one of them.",
    "charged_twice": "An order bears this freight cost twice. The shipment's page tells the charge that counts; remove "
    "the other one in the ERP.",
    "attached_twice": "The label hangs in the ERP twice. The shipment's page tells the place that counts; remove the other one "
    "in the ERP.",
    "address_not_checked": "The address check gave no answer, so the label was bought without it; shipping does not wait for "
    "it. Look at the address while the parcel is still there.",
    "freight_left": "The label is voided, but its freight cost could not be taken back from the order. The shipment's page "
    "tells which charge; correct it in the ERP.",
    "cost_left": "The freight cost was corrected, but a charge in the ERP could not be changed: it is invoiced, gone, or "
    "somebody else has changed it. The shipment's page tells which one; correct it in the ERP.",
}

ACTS = {
    "intent": "Request prepared",
    "bought": "Label bought",
    "charged": "Freight cost written to the order",
    "place_made": "Place for the label made in the ERP",
    "attached_twice": "Two places exist for one label",
    "label_left_in_erp": "Voided; its label file stays in the ERP",
    "charge_taken_back": "Freight cost taken back",
    "charge_left": "Freight cost could not be taken back",
    "cost_changed": "Freight cost corrected",
    "charge_corrected": "Freight cost corrected on the order",
    "charge_not_corrected": "Freight cost could not be corrected on the order",
    "cost_left": "Left for a person: a charge could not be changed",
    "invoice_read": "Invoice file read",
    "invoice_columns": "Columns of an invoice file chosen",
    "invoice_rule": "Rule of an invoice file chosen",
    "invoice_apply": "Invoice file to be applied",
    "invoice_applied": "Invoice file applied",
    "invoice_discarded": "Invoice file put away",
    "freight_shared": "Freight cost shared among orders",
    "rates_changed": "Rules for prices changed",
    "quote_requested": "Prices asked for by a person",
    "quoted": "Prices quoted",
    "quote_not_written": "Quoted price not written into the ERP",
    "adopted": "Found at the carrier and taken over",
    "taken_over": "Taken over from another integration",
    "written": "Written into the ERP",
    "done": "Done",
    "failed": "Failed",
    "waits": "Waits for the next try",
    "in_doubt": "In doubt: the answer was lost",
    "looked": "Looked up at the carrier",
    "look_failed": "Look-up failed",
    "proven_absent": "Proven not made",
    "pending": "Accepted, result to come",
    "refused": "Refused by the carrier",
    "replay": "Replayed",
    "cancel": "Cancelled by a person",
    "cancelled": "Ended without buying",
    "skipped": "Nothing to do",
    "approved": "Approved",
    "needs_approval": "Needs approval",
    "decided_made": "A person said: it was made",
    "decided_not_made": "A person said: it was not made",
    "address_checked": "The carrier's advice on the address",
    "address_not_checked": "The address could not be checked",
    "address_corrected": "Shipped to the address that the carrier proposed",
    "decided_address": "A person decided on the address",
    "decided_field": "A person decided which value stands",
    "looked_at": "Looked at by a person",
    "handled_by": "Somebody takes care of it",
    "void_requested": "Void asked for",
    "voided": "Voided at the carrier",
    "attach_requested": "Label to be attached in the ERP, on a person's word",
    "link_made": "Link to the label made",
    "link_mailed": "Link to the label mailed",
    "link_mail_failed": "Link to the label could not be mailed",
    "link_revoked": "Link to the label revoked",
    "link_used": "Label fetched by its link",
    "proof_requested": "Proof of delivery asked for",
    "proof_stored": "Proof of delivery kept",
    "buy_again": "Bought again on a person's word",
    "attention": "Needs a look",
    "bought_twice": "Two labels exist",
    "charged_twice": "Two charges exist for one cost",
    "turned_up_late": "Turned up late at the carrier",
    "compare": "Comparison begun",
    "compared": "ERP, carrier and our books compared",
    "posts_read_again": "Webhook posts to be read again",
    "remedied": "Remedy of a comparison's finding pressed",
    "late_answer": "A late answer came in",
    "tracking": "News of the parcel",
}


FOUND = {
    "before_start": "from before the start",
    "unreadable": "that could not be read",
}
"""What a look at a system counts, where the plain name does not say it."""


def words(name: str) -> str:
    """A name of ours, such as `in_doubt`, as people write it: In doubt."""
    spaced = name.replace("_", " ")
    return spaced[:1].upper() + spaced[1:]


def document(key: str) -> str:
    """A document in words: “Shipment 19”, “Customer order S10023, delivery 2”; what is no key of ours stays as it is."""
    kind, colon, number = key.partition(":")
    order, slash, delivery = number.rpartition("/")
    if not colon:
        return key
    return f"{words(kind)} {order}, delivery {delivery}" if slash else f"{words(kind)} {number}"


_DOCUMENT = re.compile(
    r"(?:(?P<kind>(?:[a-z]+[ _])?(?:shipment|order))\s*[:#]?\s*)?(?P<number>[^\s:,/]+)"
    r"(?:(?:\s*,?\s*delivery\s+|/)(?P<delivery>\d{0,9}))?",
    re.IGNORECASE,
)


def keys_meant(term: str, kinds: Sequence[str]) -> list[str]:
    """How the key of a document may begin that somebody names as our pages do, or nearly so, or by its number alone.

    “Shipment 19” and “19” mean "shipment:19", “order S10023, delivery 2” and “S10023/2” "customer_order:S10023/2", among
    others. `kinds`: the documents there are. ERPs write the letters of numbers large.
    """
    said = _DOCUMENT.fullmatch(" ".join(term.split()))
    if said is None:
        return [f"{kind}:{term}" for kind in kinds]
    kind, number, delivery = (said["kind"] or "").lower().replace(" ", "_"), said["number"], said["delivery"]
    meant = [known for known in kinds if known.endswith(kind)]
    place = f"/{delivery}" if delivery is not None else ""
    return [f"{known}:{spelt}{place}" for known in meant for spelt in dict.fromkeys((number, number.upper()))]


def number_meant(term: str) -> str:
    """The number that a name such as “Customer order S10023, delivery 2” holds: "S10023/2"; what is no such name as it is."""
    said = _DOCUMENT.fullmatch(" ".join(term.split()))
    if said is None or not said["kind"]:
        return term
    return f"{said['number']}/{said['delivery']}" if said["delivery"] else str(said["number"])


def said(act: str) -> str:
    """An act or a status in the console's words."""
    return ACTS.get(act) or words(act)


def acts_named(term: str) -> list[str]:
    """The acts that somebody may mean: by the console's words or by our name."""
    asked = " ".join(term.split()).casefold()
    return [*(act for act, text in ACTS.items() if text.casefold() == asked), asked.replace(" ", "_")]

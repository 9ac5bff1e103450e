"""Address Validation: our addresses as FedEx asks for them, and its answers as verdicts. Pure (sheet 15).

Resolved is what FedEx has standardised, with `Resolved` true (or left out, with `Matched` true), and not several times.
A house number that was interpolated, or a delivery point that the US post does not confirm, is told and doubts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from integrations.base.address_checks import AddressCheck, Premises, Verdict, place_of, same_place, with_lost_lines
from integrations.base.errors import Rejected
from integrations.base.records import Address
from integrations.fedex import answers, codes, mapping
from integrations.fedex.reading import as_dict, as_list, as_text

ADDRESSES_PER_CALL: Final = 100
"""FedEx takes no more (sheet 15)."""
CANNED: Final = "VIRTUAL.RESPONSE"
"""The sandbox answers without looking at the address (sheet 18)."""
DOUBTS: Final = ("SUITE.NUMBER.REQUIRED", "INVALID.SUITE.NUMBER", "PARTIAL.STREET.MATCH", "MISSING.OR.AMBIGUOUS.DIRECTIONAL")
"""Messages by which FedEx says that something is missing (sheet 15)."""
CLASSIFIED: Final = frozenset({"US", "CA", "PR"})
"""Elsewhere FedEx does not reliably tell businesses from homes (sheet 15)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One address as it is asked, with the place it stands for. `reference` comes back with the answer."""

    reference: str
    written: Address
    place: dict[str, object]


def question(number: int, address: Address) -> Question:
    """Raises Rejected for what FedEx is bound to refuse on a label, too."""
    return Question(f"A{number}", place_of(address), mapping.place_of(address, "recipient", []))


def build(questions: Sequence[Question]) -> dict[str, object]:
    """The body for up to 100 addresses (sheet 15)."""
    return {"addressesToValidate": [{"address": q.place, "clientReferenceId": q.reference} for q in questions]}


# -- reading -----------------------------------------------------------------------------------------------


def read(payload: object, questions: Sequence[Question]) -> list[AddressCheck] | None:
    """One verdict per question, in their order; None where the answer does not answer all of them."""
    output = as_dict(as_dict(payload).get("output"))
    rows = [as_dict(row) for row in as_list(output.get("resolvedAddresses"))]
    groups = _by_reference(rows, questions) or ([[row] for row in rows] if len(rows) == len(questions) else [])
    if not groups:
        return None
    request_id = answers.transaction_id(payload)
    canned = [line for line in map(answers.describe_notice, as_list(output.get("alerts"))) if CANNED in line]
    return [
        AddressCheck(Verdict.NOT_COVERED, q.written, messages=tuple(canned), request_id=request_id)
        if canned
        else _verdict(q.written, found, request_id)
        for q, found in zip(questions, groups, strict=True)
    ]


def _by_reference(rows: list[dict[str, Any]], questions: Sequence[Question]) -> list[list[dict[str, Any]]]:
    """The rows of each question, where FedEx repeats our references; several rows for one are several matches."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(as_text(row.get("clientReferenceId")), []).append(row)
    if found.keys() != {q.reference for q in questions}:
        return []
    return [found[q.reference] for q in questions]


def _verdict(written: Address, rows: list[dict[str, Any]], request_id: str) -> AddressCheck:
    row = rows[0]
    said = _Attributes(as_dict(row.get("attributes")))
    kind = said.text("AddressType")
    messages = list(_messages(row))
    po_box = said.true("POBox") or said.true("POBoxOnlyZIP") or _true(row.get("postOfficeBox"))

    def check(verdict: Verdict, proposed: Address | None = None) -> AddressCheck:
        told = tuple(dict.fromkeys(messages))
        return AddressCheck(verdict, written, _premises(row, written), proposed, told, po_box, request_id)

    if kind == "RAW" or said.false("CountrySupported"):
        messages.append(f"FedEx does not check addresses in {written.country}.")
        return check(Verdict.NOT_COVERED)
    if po_box:
        messages.append("FedEx takes it for a post office box.")
    several = len(rows) > 1 or said.true("MultipleMatches")
    matched = said.true("Resolved") or (not said.told("Resolved") and said.true("Matched"))
    standardised = kind == "STANDARDIZED" or (not kind and matched)
    if not standardised and not several:
        messages.append("FedEx does not find this address.")
        return check(Verdict.UNKNOWN)
    told = any(code in line for code in DOUBTS for line in messages)
    open_points = [
        text
        for text, holds in (
            ("FedEx finds more than one address that fits.", several),
            ("FedEx has not resolved this address.", not matched),
            ("FedEx misses the suite or apartment number.", said.true("SuiteRequiredButMissing") and not told),
            ("FedEx does not know this suite or apartment number.", said.true("InvalidSuiteNumber") and not told),
        )
        if holds
    ]
    proposed = None if several else _proposed(row, written)
    fits = with_lost_lines(written, proposed) if proposed is not None else None
    if fits is not None and fits.country != written.country.upper():
        open_points.append("FedEx finds it in another country.")
        fits = None
    elif proposed is not None and fits is None:
        open_points.append("FedEx's spelling leaves out a line that does not fit below it.")
    if said.false("DPV") and written.country.upper() == "US":
        messages.append("The US post does not confirm that mail is delivered there.")
    if said.true("InterpolatedStreetAddress"):
        messages.append("FedEx knows the street, and only guesses the house number.")
    same = fits is None or same_place(written, fits)
    if open_points or told:
        messages += open_points
        return check(Verdict.DOUBTFUL, None if same else fits)
    return check(Verdict.GOOD) if same else check(Verdict.CORRECTED, fits)


def refused(asked: Question, error: Rejected) -> AddressCheck:
    """FedEx refuses to look at this one, or finds nothing (STANDARDIZED.ADDRESS.NOTFOUND)."""
    return AddressCheck(
        Verdict.UNKNOWN, asked.written, messages=(error.vendor_text or error.message,), request_id=error.request_id
    )


class _Attributes:
    """Attributes come as texts or booleans, in changing case, or not at all (sheet 15)."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = {key.upper(): value for key, value in told.items() if value is not None}

    def told(self, name: str) -> bool:
        return name.upper() in self._told

    def text(self, name: str) -> str:
        return as_text(self._told.get(name.upper())).upper()

    def true(self, name: str) -> bool:
        return _true(self._told.get(name.upper()))

    def false(self, name: str) -> bool:
        return self.told(name) and not self.true(name)


def _true(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _messages(row: dict[str, Any]) -> Iterator[str]:
    """FedEx's own words, under either name (sheet 15)."""
    for name in ("customerMessages", "customerMessage"):
        yield from filter(None, (answers.describe_notice(notice)[:300] for notice in as_list(row.get(name))[:20]))


def _premises(row: dict[str, Any], written: Address) -> Premises:
    told = as_text(row.get("classification")).lower()
    known = told in {p.value for p in Premises} and written.country.upper() in CLASSIFIED
    return Premises(told) if known else Premises.UNKNOWN


def _proposed(row: dict[str, Any], written: Address) -> Address | None:
    """FedEx's spelling, if it names a street and a town and FedEx would take it on a label; else None."""
    lines = tuple(line for value in as_list(row.get("streetLinesToken"))[:10] if (line := as_text(value)))
    country = as_text(row.get("countryCode")).upper() or written.country.upper()
    state = as_text(row.get("stateOrProvinceCode"))
    made = Address(
        lines=lines,
        city=as_text(row.get("city")),
        state=state or written.state,
        postal_code=as_text(row.get("postalCode")) or _parsed_postal(row) or written.postal_code,
        country=country,
    )
    try:
        mapping.place_of(made, "recipient", [])
    except Rejected:
        return None
    return made


def _parsed_postal(row: dict[str, Any]) -> str:
    """The official schema has it in parts only."""
    parsed = as_dict(row.get("parsedPostalCode"))
    return "-".join(filter(None, (as_text(parsed.get("base")), as_text(parsed.get("addOn")))))


def reaches_po_box(service: str) -> bool:
    """Ground Economy alone goes to post office boxes (sheet 15)."""
    return service == codes.PO_BOX_SERVICE

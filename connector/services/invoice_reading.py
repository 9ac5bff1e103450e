"""A carrier's invoice file: bytes to rows, headings to meanings, cells to values. No database; everything is hostile."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import chain, count

from connector.services.shipments import NotPossible, normalise
from integrations.base.currencies import unit_of

MOST_BYTES = 10_000_000
MOST_ROWS = 20_000
MOST_COLUMNS = 400
LONGEST_CELL = 500
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
LARGEST = Decimal("9999999.99")

TARGETS = {
    "tracking_number": "Tracking number",
    "amount": "Amount",
    "invoice_number": "Invoice number",
    "currency": "Currency",
    "charge": "Kind of charge",
    "account": "Account billed",
    "invoice_date": "Invoice date",
}
"""What a column can hold -> its name on the screen."""
REQUIRED = ("tracking_number", "amount", "invoice_number")
POINTS = {".": "1,234.56", ",": "1.234,56"}
"""The decimal sign, and how an amount looks with it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file's heading and rows as text, and how it was read."""

    header: list[str]
    rows: list[list[str]]
    encoding: str
    delimiter: str


@dataclass(frozen=True, slots=True)
class Values:
    """What a row says; `problem` why it cannot be used, or ""."""

    tracking_number: str = ""
    amount: Decimal | None = None
    currency: str = ""
    invoice_number: str = ""
    invoice_date: str = ""
    account: str = ""
    charge: str = ""
    problem: str = ""


def read(data: bytes) -> Table:
    """The file as a table. Raises NotPossible, naming what is wrong with it."""
    if len(data) > MOST_BYTES:
        raise NotPossible(f"The file is larger than {MOST_BYTES // 1_000_000} MB. Split it, or download a shorter period.")
    text, encoding = _text(data)
    delimiter = _delimiter(text)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > MOST_COLUMNS:
                raise NotPossible(f"A row has more than {MOST_COLUMNS} columns: this is no invoice file.")
            rows.append([cell.strip()[:LONGEST_CELL] for cell in row])
            if len(rows) > MOST_ROWS + 1:
                raise NotPossible(f"The file has more than {MOST_ROWS} rows. Split it, or download a shorter period.")
    except csv.Error as error:
        raise NotPossible(f"The file cannot be read as CSV ({error}).") from error
    if len(rows) < 2 or len(rows[0]) < 2:
        raise NotPossible("The file needs a row of headings and at least one row below it, with at least two columns.")
    return Table(_headings(rows[0]), rows[1:], encoding, delimiter)


def _text(data: bytes) -> tuple[str, str]:
    encoding = next(
        (name for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
         if data.startswith(mark)),
        "utf-8",
    )  # fmt: skip
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # What Excel writes in the West. Every byte but five is a sign there, so this says nothing about the content.
        encoding, text = "cp1252", data.decode("cp1252", errors="replace")
    if "\x00" in text:
        raise NotPossible("This is no text file. Save the spreadsheet as CSV first.")
    return text, encoding


def _delimiter(text: str) -> str:
    """The sign that parts the headings into most columns."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    counts = {sign: len(next(csv.reader([first[:20_000]], delimiter=sign), [])) for sign in DELIMITERS}
    return max(counts, key=lambda sign: counts[sign])


def _headings(row: Sequence[str]) -> list[str]:
    """Headings, each once: some files repeat "Charge Description" for every charge of a parcel."""
    found: list[str] = []
    for place, cell in enumerate(row, 1):
        name = cell[:100] or f"Column {place}"
        others = (f"{name[:90]} ({number})" for number in count(place))
        found.append(next(one for one in chain([name], others) if one not in found))
    return found


def propose(
    header: Sequence[str], usual: Mapping[str, tuple[str, ...]], before: Mapping[str, str], delimiter: str
) -> dict[str, str]:
    """A mapping for these headings: that of the file before where its columns are all there, else the carrier's usual ones."""
    kept = {name: column for name, column in before.items() if name in TARGETS and column}
    if kept and set(kept.values()) <= set(header):
        return dict(before)
    by_name = {_plain(heading): heading for heading in reversed(header)}
    found = {
        target: next((by_name[_plain(name)] for name in names if _plain(name) in by_name), "") for target, names in usual.items()
    }
    return {name: column for name, column in found.items() if column} | {"point": "," if delimiter == ";" else "."}


def _plain(heading: str) -> str:
    return re.sub(r"[^a-z0-9]", "", heading.casefold())


def check_mapping(mapping: Mapping[str, str], header: Sequence[str]) -> dict[str, str]:
    """A mapping as it may be kept. Raises NotPossible, naming what is missing."""
    found = {name: mapping.get(name, "") for name in TARGETS if mapping.get(name)}
    for name, column in found.items():
        if column not in header:
            raise NotPossible(f"There is no column “{column[:60]}” for “{TARGETS[name]}” in this file.")
    missing = [TARGETS[name] for name in REQUIRED if name not in found]
    if missing:
        raise NotPossible(f"Choose a column for: {', '.join(missing)}.")
    doubled = [TARGETS[name] for name in found if list(found.values()).count(found[name]) > 1]
    if doubled:
        raise NotPossible(f"One column is chosen more than once: {', '.join(doubled)}.")
    fixed = str(mapping.get("fixed_currency", "")).strip().upper()
    if "currency" not in found and not re.fullmatch("[A-Z]{3}", fixed):
        raise NotPossible("Choose the column of the currency, or enter the currency of the whole file as its ISO code.")
    return found | {"point": "," if mapping.get("point") == "," else ".", "fixed_currency": fixed}


def values(cells: Sequence[str], header: Sequence[str], mapping: Mapping[str, str]) -> Values:
    """What a row says, with what is wrong with it."""
    places = {heading: place for place, heading in enumerate(header)}

    def cell(target: str) -> str:
        place = places.get(mapping.get(target, ""))
        return cells[place] if place is not None and place < len(cells) else ""

    tracking, number = normalise(cell("tracking_number")), cell("invoice_number")[:40]
    currency = (cell("currency") or mapping.get("fixed_currency", "")).upper()
    told = amount(cell("amount"), mapping.get("point", "."))
    problem = ""
    if re.fullmatch(r"[0-9][.,]?[0-9]*E\+?[0-9]+", cell("tracking_number").upper()):
        problem = "A spreadsheet has rounded the tracking number. Download the file again and do not save it from there."
    elif not tracking:
        problem = "No tracking number: a charge of the account, not of a parcel."
    elif len(tracking) > 40:
        problem = "This is no tracking number."
    elif not number:
        problem = "No invoice number."
    elif told is None:
        problem = f"“{cell('amount')[:40]}” is no amount (as {POINTS[mapping.get('point', '.')]})."
    elif not re.fullmatch("[A-Z]{3}", currency):
        problem = f"“{currency[:20]}” is no currency."
    elif told != told.quantize(unit_of(currency)):
        problem = f"{told} is finer than {currency} allows."
    return Values(
        tracking_number=tracking[:60],
        amount=told if told is not None and told == told.quantize(Decimal("0.01")) else None,
        currency=currency[:3],
        invoice_number=number,
        invoice_date=cell("invoice_date")[:20],
        account=re.sub(r"[\s-]", "", cell("account"))[:40],
        charge=cell("charge")[:120],
        problem=problem[:300],
    )


def amount(text: str, point: str) -> Decimal | None:
    """An amount as invoices write it: thousands parted or not, credits as -1, 1- or (1), a currency sign before it."""
    found = text.strip().replace("\u00a0", "").replace(" ", "").replace("\u2212", "-")
    found = re.sub(r"^([-(]?)[$€£]", r"\1", found)
    negative = False
    if found.startswith("(") and found.endswith(")"):
        found, negative = found[1:-1], True
    elif found.endswith("-"):
        found, negative = found[:-1], True
    elif found.startswith("-"):
        found, negative = found[1:], True
    comma = re.escape("," if point == "." else ".")
    whole = rf"(?:\d{{1,3}}(?:{comma}\d{{3}})+|\d+)"
    if not re.fullmatch(rf"{whole}(?:{re.escape(point)}\d{{1,6}})?|{re.escape(point)}\d{{1,6}}", found, re.ASCII):
        return None
    try:
        made = Decimal(re.sub(comma, "", found).replace(point, "."))
    except InvalidOperation:
        return None
    if made > LARGEST:
        return None
    return -made if negative else made


__all__ = ["DELIMITERS", "MOST_BYTES", "POINTS", "REQUIRED", "TARGETS", "Table", "Values", "amount", "check_mapping", "propose"]
__all__ += ["read", "values"]

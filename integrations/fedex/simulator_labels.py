"""Label bytes of the simulated FedEx: real, small, valid PDF, PNG, ZPL and EPL documents made from plain facts.

Nothing is stored: the same facts give the same bytes again. All sizes are for a label of 4 by 6 inches.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# Bar and space widths (in modules) of the Code 128 symbols 0..105, then the stop symbol. ISO/IEC 15417.
_SYMBOLS = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222 "
    "123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321 "
    "232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121 "
    "313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 "
    "111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 241112 134111 "
    "111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113 "
    "114311 411113 411311 113141 114131 311141 411131 211412 211214 211232 2331112"
)
_CODE128 = _SYMBOLS.split()
_START_B, _START_C, _STOP = 104, 105, 106


@dataclass(frozen=True, slots=True)
class LabelFacts:
    """What is printed on one label. `recipient` holds finished lines, top to bottom; `weight` has its unit."""

    tracking_number: str
    master_number: str
    service: str
    shipper: tuple[str, ...]
    recipient: tuple[str, ...]
    references: tuple[str, ...]
    weight: str
    ship_date: str
    piece: int
    pieces: int


def code128(text: str) -> list[tuple[int, int]]:
    """The bars of a Code 128 symbol as (start, width) in modules. Digits in pairs use set C, everything else set B."""
    if text.isdigit() and len(text) % 2 == 0:
        values = [_START_C, *(int(text[i : i + 2]) for i in range(0, len(text), 2))]
    else:
        values = [_START_B, *(ord(c) - 32 for c in text)]
    check = (values[0] + sum(place * value for place, value in enumerate(values[1:], 1))) % 103
    bars: list[tuple[int, int]] = []
    at = 0
    for value in [*values, check, _STOP]:
        for i, width in enumerate(_CODE128[value]):
            if i % 2 == 0:
                bars.append((at, int(width)))
            at += int(width)
    return bars


def label_bytes(image_type: str, facts: LabelFacts) -> bytes:
    """The label in one of the formats of sheet 5.5 (`PDF`, `PNG`, `ZPLII`, `EPL2`). KeyError for any other."""
    return _WRITERS[image_type](facts)


def _lines(facts: LabelFacts) -> list[tuple[int, str]]:
    """(font size in points, text) from top to bottom, the barcode excluded."""
    return [
        (8, f"FROM {', '.join(facts.shipper)}"[:78]),
        (8, f"SHIP DATE {facts.ship_date}   WEIGHT {facts.weight}   PIECE {facts.piece} OF {facts.pieces}"),
        (7, "TO"),
        *((12, line[:42]) for line in facts.recipient),
        *((8, f"REF {reference}"[:70]) for reference in facts.references[:4]),
        (16, facts.service),
        *([(9, f"MASTER {facts.master_number}")] if facts.pieces > 1 else []),
        (14, f"TRK# {facts.tracking_number}"),
    ]


# Everything of a PDF in front of the page content never changes, so its bytes and offsets are made once.
_PDF_OBJECTS = (
    b"<</Type/Catalog/Pages 2 0 R>>",
    b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 288 432]/Resources<</Font<</F1 4 0 R>>>>/Contents 5 0 R>>",
    b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
)


def _pdf_head() -> tuple[bytes, bytes]:
    """The file up to the content object, and the cross-reference lines for objects 0 to 5."""
    head = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    table = b"0000000000 65535 f \n"
    for number, body in enumerate(_PDF_OBJECTS, 1):
        table += b"%010d 00000 n \n" % len(head)
        head += b"%d 0 obj%b endobj\n" % (number, body)
    return head, table + b"%010d 00000 n \n" % len(head)


_PDF_HEAD, _PDF_TABLE = _pdf_head()


def text_pdf(lines: Sequence[str]) -> bytes:
    """A page of plain lines: a document that is no label."""
    return _pdf_file(_pdf_text([(12, line) for line in lines]))


def _pdf_text(lines: Iterable[tuple[int, str]]) -> list[str]:
    parts = ["1 w 6 6 276 420 re S BT"]
    y = 418
    for size, text in lines:
        y -= size + 4
        safe = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        parts.append(f"/F1 {size} Tf 1 0 0 1 14 {y} Tm ({safe}) Tj")
    return [*parts, "ET"]


def _pdf(facts: LabelFacts) -> bytes:
    parts = _pdf_text(_lines(facts))
    bars = code128(facts.tracking_number)
    modules = bars[-1][0] + bars[-1][1]
    scale = 256 / modules
    parts += [f"{16 + start * scale:.2f} 20 {width * scale:.2f} 72 re" for start, width in bars]
    return _pdf_file([*parts, "f"])


def _pdf_file(parts: Sequence[str]) -> bytes:
    content = "\n".join(parts).encode("cp1252", "replace")
    body = _PDF_HEAD + b"5 0 obj<</Length %d>>stream\n%b\nendstream endobj\n" % (len(content), content)
    tail = b"xref\n0 6\n%btrailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (_PDF_TABLE, len(body))
    return body + tail


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(facts: LabelFacts) -> bytes:
    """One bit per pixel, 400 by 600, the barcode across the middle; the words are in a tEXt chunk."""
    bars = code128(facts.tracking_number)
    modules = bars[-1][0] + bars[-1][1]
    scale = 380 // modules
    dark = 0
    for start, width in bars:
        for pixel in range((start + 10) * scale, (start + width + 10) * scale):
            dark |= 1 << (399 - pixel)
    white = b"\x00" + b"\xff" * 50
    barred = b"\x00" + (((1 << 400) - 1) ^ dark).to_bytes(50, "big")
    words = "\n".join(text for _, text in _lines(facts)).encode("latin-1", "replace")
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", 400, 600, 1, 0, 0, 0, 0))
        + _chunk(b"tEXt", b"Description\x00" + words)
        + _chunk(b"IDAT", zlib.compress(white * 200 + barred * 200 + white * 200, 1))
        + _chunk(b"IEND", b"")
    )


def _zpl(facts: LabelFacts) -> bytes:
    """203 dots per inch: 812 by 1218 dots. Carets and tildes would be commands, so they become spaces."""
    out = ["^XA^CI28^PW812^LL1218"]
    y = 30
    for size, text in _lines(facts):
        out.append(f"^FO30,{y}^A0N,{size * 3},{size * 3}^FD{text.replace('^', ' ').replace('~', ' ')}^FS")
        y += size * 3 + 12
    out.append(f"^FO60,900^BY3^BCN,220,Y,N,N^FD{facts.tracking_number}^FS^XZ\n")
    return "\n".join(out).encode()


def _epl(facts: LabelFacts) -> bytes:
    out = ["", "N", "q812", "Q1218,24"]
    y = 30
    for size, text in _lines(facts):
        safe = text.replace("\\", " ").replace('"', "'")
        out.append(f'A30,{y},0,{4 if size > 10 else 3},1,1,N,"{safe}"')
        y += size * 3 + 12
    out += [f'B60,900,0,1,3,6,220,B,"{facts.tracking_number}"', "P1", ""]
    return "\n".join(out).encode("cp1252", "replace")


_WRITERS: dict[str, Callable[[LabelFacts], bytes]] = {"PDF": _pdf, "PNG": _png, "ZPLII": _zpl, "EPL2": _epl}

"""Labels of the simulated FedEx are whole files that show what they stand for (sheet 5.5 and 18)."""

from __future__ import annotations

import re
import zlib

import pytest
import requests

from tests.fedex.simulator_wire import Wire, label_of, ship_body

# The Code 128 symbols that the number 794600000010 and its check need, from the symbology's published table.

SYMBOLS = {"134111": 79, "113321": 46, "212222": 0, "221312": 10, "312212": 27}


def test_pdf_is_valid_and_shows_number_recipient_and_service(wire: Wire) -> None:
    """Sheet 18: real PDF bytes, every cross-reference offset right, 4 by 6 inches."""
    made = wire.made()
    pdf = label_of(made)
    assert pdf.startswith(b"%PDF-1.") and pdf.endswith(b"%%EOF\n") and b"/MediaBox[0 0 288 432]" in pdf
    at = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    table = pdf[at:].split(b"\n")
    assert table[0] == b"xref" and table[1] == b"0 6"
    for number, entry in enumerate(table[3:8], 1):
        assert len(entry) == 19  # with its line feed 20 bytes, as the format demands
        assert pdf[int(entry[:10]) :].startswith(b"%d 0 obj" % number)
    length = int(re.search(rb"/Length (\d+)>>stream\n", pdf)[1])  # type: ignore[index]
    start = pdf.index(b">>stream\n") + 9
    assert pdf[start + length :].startswith(b"\nendstream")
    for words in (made["masterTrackingNumber"].encode(), rb"R \(Bob\) Smith", b"FedEx Ground", b"Nashville TN 37201"):
        assert words in pdf[start : start + length]
    assert pdf.count(b" re") > 25  # the bars


def test_code128_of_the_label_reads_back(wire: Wire) -> None:
    """Sheet 18: the bars on the PDF, measured, are a Code 128 symbol with the number in it and a right check symbol."""
    made = wire.made()
    bars = [(float(x), float(w)) for x, w in re.findall(rb"^([\d.]+) 20 ([\d.]+) 72 re$", label_of(made), re.MULTILINE)]
    module = min(width for _, width in bars)
    edges = [round((x - bars[0][0] + part) / module) for x, width in bars for part in (0, width)]
    widths = "".join(str(b - a) for a, b in zip(edges, edges[1:], strict=False))
    assert edges[-1] == 8 * 11 + 13  # start, six pairs of digits, check, stop
    assert widths.startswith("211232") and widths.endswith("2331112")  # start C, stop
    values = [SYMBOLS[widths[at : at + 6]] for at in range(6, 48, 6)]
    assert "".join(f"{value:02d}" for value in values[:6]) == made["masterTrackingNumber"]
    assert values[6] == (105 + sum(place * value for place, value in enumerate(values[:6], 1))) % 103


@pytest.mark.parametrize(
    ("image", "stock", "magic"),
    [("PNG", "PAPER_4X6", b"\x89PNG\r\n\x1a\n"), ("ZPLII", "STOCK_4X6", b"^XA"), ("EPL2", "STOCK_4X6", b"\nN\n")],
)
def test_other_label_formats_have_their_magic_and_the_number(wire: Wire, image: str, stock: str, magic: bytes) -> None:
    """Sheet 5.5 and 6 (label rule)."""
    made = wire.made(ship_body(labelSpecification={"imageType": image, "labelStockType": stock}))
    content = label_of(made)
    assert content.startswith(magic) and made["masterTrackingNumber"].encode() in content


def test_png_chunks_and_pixels_are_whole(wire: Wire) -> None:
    """Sheet 18: every chunk's checksum, and as many pixel rows as the header promises."""
    png = label_of(wire.made(ship_body(labelSpecification={"imageType": "PNG", "labelStockType": "PAPER_4X6"})))
    at, kinds, pixels = 8, [], b""
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + data) == int.from_bytes(png[at + 8 + size : at + 12 + size], "big")
        pixels += data if kind == b"IDAT" else b""
        kinds.append(kind)
        at += 12 + size
    assert kinds == [b"IHDR", b"tEXt", b"IDAT", b"IEND"]
    assert len(zlib.decompress(pixels)) == 600 * 51


def test_links_live_for_a_day(wire: Wire) -> None:
    """Sheet 5.1: URL_ONLY; no token is needed for the link."""
    body = ship_body()
    body["labelResponseOptions"] = "URL_ONLY"
    document = wire.made(body)["pieceResponses"][0]["packageDocuments"][0]
    assert "encodedLabel" not in document
    fetched = requests.get(document["url"], timeout=10)
    assert fetched.headers["Content-Type"] == "application/pdf" and fetched.content.startswith(b"%PDF")
    assert b"794600000010" in fetched.content
    assert requests.get(document["url"] + "0", timeout=10).status_code == 404
    wire.sim.clock_offset_s += 86401
    assert requests.get(document["url"], timeout=10).status_code == 404

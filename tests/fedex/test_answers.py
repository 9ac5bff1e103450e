"""What is read from FedEx's answers: a bought shipment, and what a look-up finds."""

from __future__ import annotations

import copy
import datetime as dt
import json
from decimal import Decimal
from random import Random

import pytest

from integrations.base.records import (
    Money,
    Pending,
)
from integrations.fedex import answers, client, tracking
from tests.fedex.mapping_support import (
    BOUGHT,
    NOT_FOUND,
    REFERENCE,
    TRACKED,
    TWO_PIECES,
    D,
    P,
    S,
    b64,
    changed,
    package,
    read,
    request,
)


def test_a_bought_shipment_is_read_whole():
    made = read(BOUGHT)
    assert made.master_tracking_number == "794600000010"
    assert made.service == "FEDEX_GROUND"
    assert made.ship_date == dt.date(2026, 3, 2)
    assert made.estimated_delivery == dt.date(2026, 3, 4)
    assert made.cost == Money(Decimal("14.22"), "USD")
    assert made.transaction_id == "0b1c-tx"
    assert made.alerts == ()
    (only,) = made.packages
    assert (only.tracking_number, only.sequence, only.package_id) == ("794600000010", 1, "hu-1")
    assert only.label.media_type == "application/pdf" and only.label.data.startswith(b"%PDF") and only.label.readable


def test_pieces_are_matched_by_their_place_and_not_by_their_order():
    made = read(TWO_PIECES, package(package_id="a"), package(package_id="b"))
    assert [(p.package_id, p.tracking_number) for p in made.packages] == [("a", "794600000010"), ("b", "794600000021")]
    assert [p.label.data for p in made.packages] == [b"%PDF-one", b"%PDF-two"]
    assert made.cost == Money(Decimal("14.22"), "USD")


def test_missing_pieces_are_reported():
    made = read(BOUGHT, package(package_id="a"), package(package_id="b"))
    assert "FedEx answered for 1 of 2 packages." in made.alerts


@pytest.mark.parametrize("path", [f"{S}.masterTrackingNumber", f"{D}.masterTrackingId"])
def test_the_master_number_is_found_wherever_it_stands(path):
    answer = changed(changed(BOUGHT, f"{P}.masterTrackingNumber", ...), path, ...)
    assert read(answer).master_tracking_number == "794600000010"


def test_a_number_as_json_number_is_taken():
    assert read(changed(BOUGHT, f"{S}.masterTrackingNumber", 794600000010)).master_tracking_number == "794600000010"


def test_without_piece_responses_the_details_tell_the_numbers():
    made = read(changed(BOUGHT, f"{S}.pieceResponses", ...))
    assert [(p.tracking_number, p.package_id, p.label) for p in made.packages] == [("794600000010", "hu-1", None)]
    made = read(changed(changed(BOUGHT, f"{S}.pieceResponses", ...), D, ...))
    assert [p.tracking_number for p in made.packages] == ["794600000010"]


def test_the_post_office_s_number_is_not_taken_for_fedex_s():
    ids = [{"trackingIdType": "USPS", "trackingNumber": "9261"}, {"trackingIdType": "FEDEX", "trackingNumber": "61299"}]
    answer = changed(changed(BOUGHT, f"{S}.pieceResponses", ...), f"{D}.completedPackageDetails.0.trackingIds", ids)
    assert [p.tracking_number for p in read(answer).packages] == ["61299"]


RATING = f"{D}.shipmentRating"


@pytest.mark.parametrize(
    ("answer_changes", "cost"),
    [
        ({f"{RATING}.shipmentRateDetails.0.currency": "UKL"}, Money(Decimal("14.22"), "GBP")),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": "14.22"}, Money(Decimal("14.22"), "USD")),
        ({f"{RATING}.actualRateType": ...}, Money(Decimal("14.22"), "USD")),
        ({f"{RATING}.actualRateType": "PAYOR_LIST_PACKAGE"}, None),
        ({f"{RATING}.shipmentRateDetails.0.rateType": "PAYOR_LIST_PACKAGE"}, None),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": 0.0}, None),
        ({f"{RATING}.shipmentRateDetails.0.totalNetCharge": ...}, None),
        ({f"{RATING}.shipmentRateDetails.0.currency": ...}, None),
        ({f"{RATING}.shipmentRateDetails": {}}, None),
        ({RATING: ...}, None),
        ({RATING: "none"}, None),
    ],
)
def test_the_cost_is_the_rated_one_or_unknown(answer_changes, cost):
    answer = BOUGHT
    for path, value in answer_changes.items():
        answer = changed(answer, path, value)
    assert read(answer).cost == cost


def test_ground_rates_by_package_are_added_up_only_when_all_are_there():
    def rated(amount):
        row = {"rateType": "PAYOR_ACCOUNT_PACKAGE", "netCharge": amount, "currency": "USD"}
        listed = {"rateType": "PAYOR_LIST_PACKAGE", "netCharge": 99, "currency": "USD"}
        return {"actualRateType": "PAYOR_ACCOUNT_PACKAGE", "packageRateDetails": [listed, row]}

    details = [{"sequenceNumber": n, "packageRating": rated(a)} for n, a in ((1, 7.11), (2, 8.2))]
    answer = changed(changed(TWO_PIECES, RATING, ...), f"{D}.completedPackageDetails", details)
    packages = (package(package_id="a"), package(package_id="b"))
    assert read(answer, *packages).cost == Money(Decimal("15.31"), "USD")
    del details[1]["packageRating"]
    assert read(changed(answer, f"{D}.completedPackageDetails", details), *packages).cost is None


DOC = f"{P}.packageDocuments"


@pytest.mark.parametrize(
    ("document", "media", "readable"),
    [
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-1.4")}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PNG", "encodedLabel": b64(b"\x89PNG\r\n")}, "image/png", True),
        ({"contentType": "LABEL", "docType": "ZPLII", "encodedLabel": b64(b"^XA^FS^XZ")}, "application/zpl", True),
        ({"contentType": "LABEL", "docType": "EPL2", "encodedLabel": b64(b"N\nA10,10\nP1\n")}, "application/epl", True),
        ({"encodedLabel": b64(b"%PDF-1.4")}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "parts": [{"image": b64(b"%PDF-1.4")}]}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": "JVBERi0x\nLjQ"}, "application/pdf", True),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"<html>no</html>")}, "application/pdf", False),
        ({"contentType": "LABEL", "docType": "ZPLII", "encodedLabel": b64(b"%PDF-1.4")}, "application/zpl", False),
        ({"contentType": "LABEL", "docType": "EPL2", "encodedLabel": b64(b"%PDF-1.4\n")}, "application/epl", False),
        ({"contentType": "LABEL", "docType": "DPL", "encodedLabel": b64(b"x")}, "application/octet-stream", False),
        ({"contentType": "LABEL", "docType": "PDF", "encodedLabel": "***"}, "application/pdf", False),
    ],
)
def test_labels_are_held_against_what_they_say(document, media, readable):
    label = read(changed(BOUGHT, DOC, [document])).packages[0].label
    assert (label.media_type, label.readable, bool(label.problem)) == (media, readable, not readable)
    assert label.data


def test_the_label_is_chosen_among_documents_and_the_rest_is_told():
    documents = [
        {"contentType": "AUXILIARY", "docType": "PDF", "encodedLabel": b64(b"%PDF-aux")},
        {"contentType": "HAZMAT_LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-hazmat")},
        {"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-label")},
    ]
    made = read(changed(BOUGHT, DOC, documents))
    assert made.packages[0].label.data == b"%PDF-label"
    assert any("HAZMAT_LABEL" in a for a in made.alerts)


def test_a_label_among_the_shipment_s_documents_is_found():
    document = {"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF-x"), "trackingNumber": "794600000010"}
    made = read(changed(changed(BOUGHT, DOC, []), f"{S}.shipmentDocuments", [document]))
    assert made.packages[0].label.data == b"%PDF-x"


def test_a_link_instead_of_a_label_is_told_and_the_number_kept():
    made = read(changed(BOUGHT, DOC, [{"contentType": "LABEL", "docType": "PDF", "url": "https://x.example/l"}]))
    assert made.packages[0].label is None
    assert any("link" in a for a in made.alerts)


def test_all_alerts_are_kept():
    warning = {"code": "SHIP.RECIPIENT.POSTALCITY.MISMATCH", "alertType": "WARNING", "message": "Check the city."}
    note = {"code": "VIRTUAL.RESPONSE", "alertType": "NOTE", "parameterList": [{"key": "k", "value": "v"}]}
    documents = [{"contentType": "LABEL", "docType": "PDF", "encodedLabel": b64(b"%PDF"), "alerts": [{"code": "IN.DOC"}]}]
    answer = changed(changed(BOUGHT, f"{S}.alerts", [warning]), "output.alerts", [note, warning])
    assert read(changed(answer, DOC, documents)).alerts == (
        "NOTE VIRTUAL.RESPONSE (k=v)",
        "WARNING SHIP.RECIPIENT.POSTALCITY.MISMATCH: Check the city.",
        "IN.DOC",
    )


def test_a_job_is_pending_and_a_number_goes_before_it():
    assert answers.read_created({"output": {"jobId": "abc"}}, request()) == Pending("abc")
    assert read(changed(BOUGHT, "output.jobId", "abc")).master_tracking_number == "794600000010"


@pytest.mark.parametrize(
    "payload", [None, [], {}, {"output": None}, {"output": {"transactionShipments": []}}, {"errors": [{"code": "X"}]}]
)
def test_without_a_number_there_is_nothing_to_read(payload):
    assert answers.read_created(payload, request()) is None


def test_a_paid_number_is_never_lost_to_an_odd_answer():
    """Any member but the number may be missing or absurd."""
    random = Random(20260302)
    odd = [
        ...,
        None,
        "",
        "x",
        -1,
        10**30,
        1e300,
        True,
        [],
        {},
        [None],
        [[1]],
        {"a": 1},
        "2026-99-99",
        [{"code": 5, "parameterList": 7}],
    ]
    paths = [p for p in _paths(TWO_PIECES) if p not in ("output", "output.transactionShipments", S, f"{S}.masterTrackingNumber")]
    tried = 0
    for _ in range(1500):
        answer = TWO_PIECES
        for path in random.sample(paths, random.randint(1, 4)):
            try:
                answer = changed(answer, path, random.choice(odd))
            except (KeyError, IndexError, TypeError):
                continue
        made = read(answer, package(package_id="a"), package(package_id="b"))
        assert made.master_tracking_number == "794600000010"
        assert made.packages and all(p.tracking_number for p in made.packages)
        tried += 1
    assert tried == 1500


def _paths(value, path=""):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        whole = f"{path}.{key}" if path else str(key)
        yield whole
        yield from _paths(child, whole)


# -- look-up ---------------------------------------------------------------------------------------------


def matches(*results, reference=REFERENCE):
    answer = {"output": {"completeTrackResults": [{"trackingNumber": n, "trackResults": [r]} for n, r in results]}}
    return answers.read_matches(answers.read_track(answers.parse_json(json.dumps(answer))), reference)


def test_one_shipment_found_is_described():
    (found,) = matches(("794600000010", TRACKED))
    assert found.master_tracking_number == "794600000010"
    assert found.tracking_numbers == ("794600000010",)
    assert (found.recipient_country, found.recipient_postal_code) == ("US", "37201")
    assert found.ship_date == dt.date(2026, 3, 2)
    assert (found.package_count, found.service, found.cancelled, found.account) == (1, "FEDEX_GROUND", False, None)


def test_what_track_leaves_out_is_none_and_not_guessed():
    (found,) = matches(("794600000010", {"trackingNumberInfo": {"trackingNumber": "794600000010"}}))
    assert (found.recipient_country, found.recipient_postal_code, found.ship_date, found.package_count, found.service) == (
        None,
    ) * 5


def piece(number: str, place: int, count: int, **more):
    result = copy.deepcopy(TRACKED)
    result["trackingNumberInfo"]["trackingNumber"] = number
    result["packageDetails"] = {"sequenceNumber": str(place), "count": str(count)}
    return number, result | more


def test_pieces_that_name_one_master_are_one_match():
    def of_master(number, place):
        identifiers = [{"type": "STANDARD_MPS", "value": "1"}, {"type": "CUSTOMER_REFERENCE", "values": [REFERENCE]}]
        return piece(number, place, 2, additionalTrackingInfo={"packageIdentifiers": identifiers})

    (found,) = matches(of_master("2", 2), of_master("1", 1))
    assert (found.master_tracking_number, found.tracking_numbers, found.package_count) == ("1", ("1", "2"), 2)


def test_pieces_that_complete_each_other_are_one_match_and_two_singles_are_two():
    (found,) = matches(piece("2", 2, 2), piece("1", 1, 2))
    assert (found.master_tracking_number, found.tracking_numbers) == ("1", ("1", "2"))
    assert len(matches(piece("1", 1, 1), piece("2", 1, 1))) == 2
    assert len(matches(piece("1", 1, 2), piece("2", 2, 2), piece("3", 1, 2), piece("4", 2, 2))) == 4


def test_a_shipment_under_another_reference_is_no_match():
    assert matches(("794600000010", TRACKED), reference="MLOTHER") == ()


def test_a_cancelled_shipment_is_seen_as_such():
    (found,) = matches(("1", TRACKED | {"latestStatusDetail": {"code": "CA"}}))
    assert found.cancelled


def test_an_errored_entry_is_never_a_package():
    answer = answers.read_track(
        {"output": {"completeTrackResults": [{"trackingNumber": REFERENCE, "trackResults": [NOT_FOUND]}]}}
    )
    assert answer.results == () and answer.understood
    assert [code for code, _ in answer.errors] == ["TRACKING.REFERENCENUMBER.NOTFOUND"]


# -- what no database keeps ----------------------------------------------------------------------------------


def test_what_cannot_be_kept_is_left_out_of_an_answer():
    """JSON may hold NUL and halves of surrogate pairs; behind a paid label they must not stop its being stored."""
    odd = changed(BOUGHT, f"{S}.alerts", [{"code": "A", "message": "a\0b\ud800c \U0001f4e6", "alertType": "NOTE"}])
    made = read(odd)
    assert made.alerts == ("NOTE A: abc \U0001f4e6",)
    assert answers.parse_json(r'{"a\u0000": ["\uD83D\uDCE6 \\u0000"]}') == {"a": ["\U0001f4e6 \\u0000"]}


@pytest.mark.parametrize("text", ["\ud800", "\0%PDF", "٣٤"])
def test_a_label_of_odd_text_is_kept_as_unreadable(text):
    label = answers.read_label(text, "PDF", "PDF")
    assert not label.readable and label.problem


def test_an_odd_proof_of_delivery_is_none():
    assert tracking.read_proof({"output": {"documents": ["٣٤", "JVBERi0="]}}) == b"%PDF-"
    assert tracking.read_proof({"output": {"documents": ["٣٤"]}}) is None


def test_a_page_instead_of_an_answer_is_told_without_what_cannot_be_kept():
    told = client.problem(503, "<html>down\0 for <b>repair</b></html>", "rate quote", "Rate")
    assert told.vendor_text == "down for repair"

"""Records that were made, and told by their address alone (sheet 5.1, 4.1)."""

from __future__ import annotations

import pytest

from integrations.base.errors import OutcomeUnknown
from integrations.base.http import Answer
from integrations.ifs_cloud.answers import Record, posted
from integrations.ifs_cloud.targets import Target
from tests.ifs_cloud.support import ETAG, ROOT

CHARGES = Target("CustomerOrderHandling", "CustomerOrderSet(OrderNo='C0')/CustomerOrderChargeArray", "customer_order_charge")


@pytest.mark.parametrize(
    ("location", "row"),
    [
        (
            f"{ROOT}/CustomerOrderHandling.svc/CustomerOrderSet(OrderNo='C0')/CustomerOrderChargeArray(OrderNo='C0',SequenceNo=7)",
            {"OrderNo": "C0", "SequenceNo": "7"},
        ),
        ("CustomerOrderChargeArray(OrderNo='C%200%2FA''1%20(b)',SequenceNo=7)", {"OrderNo": "C 0/A'1 (b)", "SequenceNo": "7"}),
        ("CustomerOrderChargeSet(SequenceNo=-1)/?x=(y=2)", {"SequenceNo": "-1"}),
    ],
)
def test_a_record_without_a_body_is_told_by_its_location(location: str, row: dict[str, str]) -> None:
    assert posted(Answer(201, {"Location": location, "ETag": ETAG}, b""), CHARGES, "post charge") == Record(row, ETAG)


@pytest.mark.parametrize(
    ("status", "location", "content"),
    [
        (201, "", b""),
        (201, "CustomerOrderChargeSet", b""),
        (201, "CustomerOrderChargeSet('7')", b""),
        (200, "CustomerOrderChargeSet(SequenceNo=7)", b""),
        (201, "CustomerOrderChargeSet(SequenceNo=7)", b"<html>login</html>"),
        (502, "CustomerOrderChargeSet(SequenceNo=7)", b""),
    ],
)
def test_anything_less_is_no_proof_of_a_record(status: int, location: str, content: bytes) -> None:
    with pytest.raises(OutcomeUnknown):
        posted(Answer(status, {"Location": location}, content), CHARGES, "post charge")

"""Charges without a network: bodies, what is told for ours, keys, what may be corrected (sheet 9.3, 9.6)."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from integrations.base.errors import Rejected
from integrations.base.records import FreightPart, Money
from integrations.ifs_cloud import charges
from integrations.ifs_cloud.profile import profile_of

PURCHASE = FreightPart("purchase_order:P1/1", "P1", "10", "S1", Money(Decimal("12.34"), "USD"), "SALES")
SALE = FreightPart("shipment:19", "C1", "10", "S1", Money(Decimal("12.34"), "USD"), "SALES")


def names(part: FreightPart, **charge: Any) -> Any:
    return charges.names_of(part.document_key, profile_of({"realm": "r", "purchase_order": {"charge": charge}}))


def test_a_purchase_orders_body_holds_the_members_of_the_sheet_only() -> None:
    body = charges.charge_body(PURCHASE, "ML1", names(PURCHASE))
    common = {"OrderNo": "P1", "Contract": "S1", "Company": "10", "ChargedQty": 1, "ChargeAmount": Decimal("12.34")}
    assert body == common | {"ChargeType": "FREIGHT"}, "the option's sales charge type is none of a purchase order"
    body = charges.charge_body(PURCHASE, "ML1", names(PURCHASE, vendor="V9", marker_field="Cf_Ref", charge_type="LANDED"))
    assert body == common | {"ChargeType": "LANDED", "VendorNo": "V9", "Cf_Ref": "ML1"}
    assert charges.charge_body(SALE, "ML1", names(SALE))["ChargeType"] == "SALES"


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({"ChargeType": "FREIGHT", "ChargeAmount": 12.34}, True),
        ({"ChargeType": "FREIGHT", "ChargeAmount": 12.35}, False),
        ({"ChargeType": "FREIGHT", "ChargeAmount": None}, False),
        ({"ChargeType": "DUTY"}, False),
        ({"ChargeType": "FREIGHT"}, None),
        ({"ChargeAmount": 12.34}, None),
        ({"Amount": 12.34}, None),
    ],
)
def test_ours_is_told_or_it_is_said_that_it_cannot_be(row: dict[str, Any], ours: bool | None) -> None:
    if ours is None:
        with pytest.raises(Rejected) as refused:
            charges.is_charge(row, PURCHASE, ["ML1"], names(PURCHASE))
        assert refused.value.code == "charges_unreadable"
    else:
        assert charges.is_charge(row, PURCHASE, ["ML1"], names(PURCHASE)) is ours


def test_a_lines_charge_is_told_by_its_line() -> None:
    """Lines of one order may bear the same: only the line tells a lost charge from the one beside it."""
    mine = replace(SALE, line=("2", "1", "0"))
    row = {"ShipmentId": 19, "ChargeType": "SALES", "ChargeCost": 12.34, "LineNo": "2", "RelNo": "1", "LineItemNo": 0}
    assert charges.is_charge(row, mine, [], names(SALE))
    for other in ({"LineNo": "1"}, {"RelNo": "2"}, {"LineItemNo": 1}, {"LineNo": None, "RelNo": None, "LineItemNo": None}):
        assert not charges.is_charge(row | other, mine, [], names(SALE)), other


def test_our_mark_alone_counts_where_the_tenant_has_one() -> None:
    marked = names(PURCHASE, marker_field="Cf_Ref")
    assert charges.is_charge({"Cf_Ref": "ML2"}, PURCHASE, ["ML1", "ML2"], marked)
    assert not charges.is_charge({"ChargeType": "FREIGHT", "ChargeAmount": 12.34}, PURCHASE, ["ML1"], marked)


def test_the_number_of_a_charge_is_in_ifs_own_key_where_the_profile_does_not_find_it() -> None:
    known = names(PURCHASE)
    told = charges.number_of({"keyref": "ORDER_NO=P1^CHARGE_SEQ_NO=3^"}, known)
    assert told == "CHARGE_SEQ_NO=3^" and charges.key_of("P1", told, known) == {"OrderNo": "P1", "ChargeSeqNo": 3}
    assert charges.number_of({"SequenceNo": Decimal(7), "keyref": "ORDER_NO=P1^SEQUENCE_NO=7^"}, known) == "7"
    assert charges.key_of("P1", "7", known) == {"OrderNo": "P1", "SequenceNo": 7}
    assert charges.number_of({}, known) == ""
    with pytest.raises(Rejected):
        charges.found_charge({"ChargeType": "FREIGHT", "ChargeAmount": 12.34}, known)
    with pytest.raises(Rejected):
        charges.key_of("P1", "seven", known)

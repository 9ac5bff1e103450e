"""Rows to records and a write-back to the fields of one PATCH (sheet 9.4, 9.5; INTERFACE "written to IFS")."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest

from integrations.base.context import Company, CompanySite
from integrations.base.errors import ConfigurationError, FieldConflict, Rejected
from integrations.base.records import Address, WriteBack
from integrations.ifs_cloud import mapping, writing
from integrations.ifs_cloud.profile import Profile, profile_of
from tests.ifs_cloud.support import COMPANY, ETAG, shipment

SITES = mapping.site_map([COMPANY])
CHICAGO = zoneinfo.ZoneInfo("America/Chicago")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def profile(**over: Any) -> Profile:
    return profile_of({"realm": "acme1"} | over)


def document(over: dict[str, Any] | None = None, *, used: Profile | None = None, **parts: Any) -> Any:
    return mapping.document(mapping.Parts(shipment(**(over or {})), **parts), used or profile(), SITES)


# -- keys and filters --------------------------------------------------------------------------------------


def test_source_keys_go_both_ways() -> None:
    assert mapping.source_key(19) == "shipment:19"
    assert mapping.shipment_of("shipment:19") == 19


@pytest.mark.parametrize(
    "key", ["19", "shipment:", "shipment:C1", "shipment:1 or 1 eq 1", "customer_order:19", "shipment:-1", "shipment:٣"]
)
def test_a_key_of_another_kind_is_refused(key: str) -> None:
    with pytest.raises(Rejected) as caught:
        mapping.shipment_of(key)
    assert caught.value.code == "bad_key"


COMPLETED = "Objstate eq IfsApp.ShipmentHandling.ShipmentState'Completed'"


def test_the_poll_filters_by_sites_state_and_window() -> None:
    used = profile()
    clause = mapping.list_clause(used, ["S1", "O'X"], dt.date(2026, 3, 1), used.shipment.poll)
    window = "(PlannedShipDate ge 2026-03-01T00:00:00Z or PlannedShipDate eq null)"
    assert clause == f"(Contract eq 'S1' or Contract eq 'O''X') and {COMPLETED} and {window}"


def test_without_a_date_the_poll_lists_by_state_alone() -> None:
    used = profile()
    assert mapping.list_clause(used, ["S1"], None, used.shipment.poll) == f"Contract eq 'S1' and {COMPLETED}"


def test_states_as_text_dates_without_clock_and_an_own_filter() -> None:
    block = {"ready_states": ["Completed", "Closed"], "ready_filter": "Cf_Ready eq true or A eq 1", "poll": {"date_type": "date"}}
    used = profile(state_literal="string", shipment=block)
    clause = mapping.list_clause(used, ["S1"], dt.date(2026, 3, 1), used.shipment.poll)
    assert clause == (
        "Contract eq 'S1' and (Objstate eq 'Completed' or Objstate eq 'Closed') and (Cf_Ready eq true or A eq 1)"
        " and (PlannedShipDate ge 2026-03-01 or PlannedShipDate eq null)"
    )


def test_a_stamp_field_takes_the_place_of_the_date() -> None:
    used = profile(shipment={"poll": {"strategy": "stamp", "stamp_field": "LastModifiedDate", "date_type": "date"}})
    clause = mapping.list_clause(used, ["S1"], dt.date(2026, 3, 1), used.shipment.poll)
    assert clause.endswith("(LastModifiedDate ge 2026-03-01T00:00:00Z or LastModifiedDate eq null)")
    assert mapping.list_fields(used.shipment, used.shipment.poll)[-1] == "LastModifiedDate"


def test_a_renamed_projection_names_its_own_enumeration() -> None:
    used = profile(shipment={"service": "CShipmentHandling", "state_enum": "CShipmentState"})
    assert mapping.ready_clause(used) == "Objstate eq IfsApp.CShipmentHandling.CShipmentState'Completed'"


def test_the_ready_rule_is_the_same_text_for_the_same_rule() -> None:
    one = profile(shipment={"ready_states": ["Completed", "Closed"], "ready_filter": "A  eq 1"})
    two = profile(shipment={"ready_states": ["Closed", "Completed"], "ready_filter": " A eq 1 "}, state_literal="string")
    assert mapping.ready_rule(one) == mapping.ready_rule(two) == "Objstate in (Closed, Completed) and (A eq 1)"
    assert mapping.ready_rule(profile()) == "Objstate in (Completed)"


# -- rows to records -----------------------------------------------------------------------------------------


def test_a_row_of_a_poll() -> None:
    used = profile()
    head = mapping.head(shipment(Decimal("19.0")), used, {"S1": "10"}, used.shipment.poll)
    assert (head.key, head.version, head.company_code, head.site, head.state) == ("shipment:19", ETAG, "10", "S1", "Completed")
    assert head.date == dt.datetime(2026, 3, 2, 15, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "over",
    [{"ShipmentId": None}, {"ShipmentId": "x"}, {"ShipmentId": Decimal("1.5")}, {"PlannedShipDate": "soon"}, {"Contract": "S9"}],
)
def test_a_row_that_makes_no_sense_is_refused(over: dict[str, Any]) -> None:
    used = profile()
    with pytest.raises(Rejected):
        mapping.head(shipment(**over), used, {"S1": "10"}, used.shipment.poll)


def test_rows_without_etag_get_a_version_from_what_every_read_has() -> None:
    used = profile().shipment
    full, short = shipment(), {k: shipment()[k] for k in ("ShipmentId", "Objstate", "Contract", "PlannedShipDate")}
    del full["@odata.etag"]
    assert mapping.version(full, used) == mapping.version(short, used)
    assert mapping.version(short | {"Objstate": "Closed"}, used) != mapping.version(short, used)


def test_a_shipment_becomes_a_document() -> None:
    lines = [
        {
            "ShipmentLineNo": Decimal(1),
            "SourcePartNo": "P-1",
            "SourcePartDescription": "Pump",
            "InventoryQty": Decimal("2.5"),
            "SourceUnitMeas": "PCS",
            "SourceRefType": "CustomerOrder",
            "SourceRef1": "C100",
        },
        {"ShipmentLineNo": 2, "SourceRefType": "ProjectDeliverables", "SourceRef1": "P5"},
    ]
    found = document(
        {"AirwayBillNo": " 794 ", "ForwardAgentId": "FEDEX", "SenderName": "Acme", "SenderCity": "Memphis"}, lines=lines
    )
    assert (found.key, found.kind, found.number, found.version) == ("shipment:19", "shipment", "19", ETAG)
    assert (found.state, found.ready, found.cancelled) == ("Completed", True, False)
    assert (found.company_code, found.site) == ("10", "S1")
    assert found.recipient == Address(
        company="Recipient Inc",
        lines=("12 Elm St", "Dock 4"),
        city="Austin",
        state="TX",
        postal_code="78701",
        country="UnitedStates",
    )
    assert found.sender == Address(company="Acme", city="Memphis")
    assert (found.ship_via, found.forwarder, found.tracking_number) == ("FDX", "FEDEX", "794")
    assert (found.planned_ship_date, found.actual_ship_date) == (dt.date(2026, 3, 2), None)
    assert [(line.line_id, line.part_no, line.quantity, line.unit, line.order_ref) for line in found.lines] == [
        ("1", "P-1", Decimal("2.5"), "PCS", "C100"),
        ("2", "", None, "", ""),
    ]
    assert (found.header_weight, found.header_weight_unit) == (None, "")
    assert found.raw["ReceiverId"] == "C-77"


def test_without_sender_fields_there_is_no_sender() -> None:
    assert document().sender is None


@pytest.mark.parametrize(
    ("state", "ready", "cancelled"),
    [
        ("Completed", True, False),
        ("COMPLETED", True, False),
        ("Preliminary", False, False),
        ("Cancelled", False, True),
        ("", False, False),
    ],
)
def test_ready_and_cancelled_follow_the_state(state: str, ready: bool, cancelled: bool) -> None:
    found = document({"Objstate": state})
    assert (found.ready, found.cancelled) == (ready, cancelled)


def test_a_shipment_that_the_own_filter_leaves_out_is_not_ready() -> None:
    assert not mapping.document(mapping.Parts(shipment()), profile(), SITES, passes_filter=False).ready


def test_a_site_that_is_not_entered_is_refused() -> None:
    with pytest.raises(Rejected) as caught:
        document({"Contract": "S9"})
    assert caught.value.code == "site_not_configured"


def test_a_wrong_time_zone_is_a_matter_of_the_site() -> None:
    sites = mapping.site_map([Company("10", (CompanySite("S1", "Mars/Olympus"),))])
    with pytest.raises(ConfigurationError) as caught:
        mapping.document(mapping.Parts(shipment()), profile(), sites)
    assert (caught.value.scope, caught.value.scope_name) == ("site", "S1")


@pytest.mark.parametrize(
    ("written", "zone", "day"),
    [
        ("2026-03-02T15:00:00Z", CHICAGO, dt.date(2026, 3, 2)),
        ("2026-03-02T03:00:00Z", CHICAGO, dt.date(2026, 3, 1)),
        ("2026-03-01T23:00:00Z", BERLIN, dt.date(2026, 3, 2)),
        ("2026-03-02T00:00:00Z", CHICAGO, dt.date(2026, 3, 2)),
        ("2026-03-02", CHICAGO, dt.date(2026, 3, 2)),
        ("2026-03-02T15:00:00.123456789Z", CHICAGO, dt.date(2026, 3, 2)),
        ("2026-03-02T15:00:00+02:00", CHICAGO, dt.date(2026, 3, 2)),
        (None, CHICAGO, None),
    ],
)
def test_days_are_the_sites_days(written: str | None, zone: dt.tzinfo, day: dt.date | None) -> None:
    assert mapping.day({"D": written}, "D", zone) == day


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Decimal("1.5"), Decimal("1.5")),
        (3, Decimal(3)),
        ("2.25", Decimal("2.25")),
        (0, None),
        ("0.00", None),
        (None, None),
        ("", None),
    ],
)
def test_weights_are_exact_and_zero_is_unknown(value: Any, found: Decimal | None) -> None:
    assert document({"ManualGrossWeight": value}).header_weight == found


@pytest.mark.parametrize("value", ["heavy", -1, True, "NaN", "Infinity", [1]])
def test_a_weight_that_is_none_is_refused_with_its_field(value: Any) -> None:
    with pytest.raises(Rejected) as caught:
        document({"ManualGrossWeight": value})
    assert (caught.value.code, caught.value.field) == ("unreadable_field", "ManualGrossWeight")


def unit(number: int, **over: Any) -> dict[str, Any]:
    return {"HandlingUnitId": number, "ShipmentId": 19, "ParentHandlingUnitId": None, "OperativeGrossWeight": None} | over


def test_top_units_are_the_packages() -> None:
    rows = [
        unit(
            1,
            OperativeGrossWeight=Decimal("4.2"),
            ManualGrossWeight=9,
            UomForWeight="lb",
            Width=20,
            Height=10,
            Depth=30,
            UomForLength="in",
        ),
        unit(2, OperativeGrossWeight=0, ManualGrossWeight=9),
        unit(3, ParentHandlingUnitId=1, OperativeGrossWeight=1),
        unit(4, ParentHandlingUnitId=0, Width=5),
        unit(5, ParentHandlingUnitId=77, OperativeGrossWeight=7),
    ]
    found = document(units=rows).handling_units
    assert [(u.unit_id, u.weight, u.weight_unit) for u in found] == [
        ("1", Decimal("4.2"), "lb"),
        ("2", Decimal(9), "kg"),
        ("4", None, ""),
        ("5", Decimal(7), "kg"),
    ]
    first, _, third, _ = found
    assert (first.length, first.width, first.height, first.length_unit) == (30, 20, 10, "in")
    assert (third.length, third.width, third.height, third.length_unit) == (None, Decimal(5), None, "cm")


def test_the_header_weight_has_the_profiles_unit() -> None:
    found = document({"ManualGrossWeight": Decimal("7.5")}, used=profile(weight_unit="lb"))
    assert (found.header_weight, found.header_weight_unit) == (Decimal("7.5"), "lb")


NO_ADDRESS = {f"ReceiverAddress{n}": None for n in range(1, 7)} | {"ReceiverCity": None, "ReceiverCountry": "Sweden"}
CUSTOMER = {"Name": "Customer AB", "Address1": "Main St 1", "City": "Linz", "ZipCode": "4020", "Country": "Austria"}


def test_the_customers_address_stands_in_whole_for_a_missing_one() -> None:
    found = document(NO_ADDRESS, address=CUSTOMER).recipient
    assert found == Address(company="Recipient Inc", lines=("Main St 1",), city="Linz", postal_code="4020", country="Austria")


def test_the_shipments_own_address_wins() -> None:
    assert document(address=CUSTOMER).recipient.city == "Austin"


@pytest.mark.parametrize(
    ("over", "wanted"),
    [
        ({}, None),
        (NO_ADDRESS, ("C-77", "01")),
        (NO_ADDRESS | {"ReceiverType": "CUSTOMER"}, ("C-77", "01")),
        (NO_ADDRESS | {"ReceiverType": None}, ("C-77", "01")),
        (NO_ADDRESS | {"ReceiverType": "Supplier"}, None),
        (NO_ADDRESS | {"ReceiverAddrId": None}, None),
    ],
)
def test_only_customers_without_a_street_are_looked_up(over: dict[str, Any], wanted: tuple[str, str] | None) -> None:
    assert mapping.address_wanted(shipment(**over), profile()) == wanted


# -- the write-back ----------------------------------------------------------------------------------------------

NOON = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)


def decide(row: dict[str, Any], write: WriteBack, **over: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    decision = writing.TrackingWrite(write, profile(**over).shipment)
    return decision(row), decision.skipped


FULL = WriteBack("7946", carrier="FEDEX", ship_date=NOON)


@pytest.mark.parametrize(
    ("over", "write", "body", "skipped"),
    [
        ({}, FULL, {"AirwayBillNo": "7946", "ForwardAgentId": "FEDEX", "ActualShipDate": "2026-03-02T06:00:00Z"}, ()),
        ({}, WriteBack("7946"), {"AirwayBillNo": "7946"}, ()),
        ({}, WriteBack(None), {}, ()),
        ({"AirwayBillNo": "7946"}, FULL, {"ForwardAgentId": "FEDEX", "ActualShipDate": "2026-03-02T06:00:00Z"}, ()),
        ({"AirwayBillNo": "7946", "ForwardAgentId": "FEDEX", "ActualShipDate": "2026-03-02T06:00:00Z"}, FULL, {}, ()),
        (
            {"AirwayBillNo": "7946", "ForwardAgentId": "UPS", "ActualShipDate": "2026-03-01T06:00:00Z"},
            FULL,
            {},
            ("ForwardAgentId", "ActualShipDate"),
        ),
        ({"AirwayBillNo": "7946", "ActualShipDate": "odd"}, FULL, {"ForwardAgentId": "FEDEX"}, ("ActualShipDate",)),
        ({"AirwayBillNo": "111"}, WriteBack("7946", base="111"), {"AirwayBillNo": "7946"}, ()),
        ({"AirwayBillNo": "222"}, WriteBack("7946", ours=frozenset({"222"})), {"AirwayBillNo": "7946"}, ()),
        ({"AirwayBillNo": "333"}, WriteBack("7946", overwrite=True), {"AirwayBillNo": "7946"}, ()),
        ({"AirwayBillNo": None}, WriteBack("7946", base="111"), {"AirwayBillNo": "7946"}, ()),
    ],
)
def test_only_what_differs_and_may_be_written_is_sent(
    over: dict[str, Any], write: WriteBack, body: dict[str, Any], skipped: tuple[str, ...]
) -> None:
    assert decide(shipment(**over), write) == (body, skipped)


def test_somebody_elses_number_is_not_overwritten() -> None:
    with pytest.raises(FieldConflict) as caught:
        decide(shipment(AirwayBillNo="333"), WriteBack("7946", base="111", ours=frozenset({"222"})))
    assert (caught.value.code, caught.value.theirs, caught.value.ours) == ("field_conflict", "333", "7946")


def test_write_ours_overrules_only_the_number_that_stood_there() -> None:
    decision = writing.TrackingWrite(WriteBack("7946", overwrite=True), profile().shipment)
    assert decision(shipment(AirwayBillNo="333")) == {"AirwayBillNo": "7946"}
    assert decision(shipment(AirwayBillNo="333")) == {"AirwayBillNo": "7946"}
    with pytest.raises(FieldConflict):
        decision(shipment(AirwayBillNo="444"))


def test_targets_that_are_null_are_named_as_skipped() -> None:
    none = {"tracking_field": None, "forwarder_field": None, "ship_date_field": None}
    assert decide(shipment(), FULL, shipment=none) == ({}, ("tracking_field", "forwarder_field", "ship_date_field"))


@pytest.mark.parametrize(
    ("there", "body", "skipped"),
    [("7946", {"AirwayBillNo": None}, ()), (None, {}, ()), ("", {}, ()), ("333", {}, ("AirwayBillNo",))],
)
def test_only_our_own_number_is_cleared(there: str | None, body: dict[str, Any], skipped: tuple[str, ...]) -> None:
    decision = writing.TrackingClear(frozenset({"7946"}), profile().shipment)
    assert (decision(shipment(AirwayBillNo=there)), decision.skipped) == (body, skipped)
    unset = writing.TrackingClear(frozenset({"7946"}), profile(shipment={"tracking_field": None}).shipment)
    assert (unset(shipment(AirwayBillNo=there)), unset.skipped) == ({}, ("tracking_field",))

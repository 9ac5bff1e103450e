"""Month end: lines and sums to the cent, what fits which filter, the file, and nothing of other tenants."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from connector.models import AuditEntry, CostChange, FreightCharge, Shipment
from connector.services import month_end
from tests.connector.admin_support import NOW, House, build, client_of, owner

pytestmark = pytest.mark.django_db
NOVEMBER = {"first": dt.date(2026, 11, 1), "last": dt.date(2026, 11, 30)}


@pytest.fixture
def house() -> House:
    return build("alpha")


def ship(house: House, cost: str | None, **columns: Any) -> Shipment:
    """One more shipment of the house."""
    values: dict[str, Any] = {"tenant": house.tenant, "integration": house.integration, "record": house.shipment.record}
    values |= {"transfer": house.shipment.transfer, "carrier": house.target, "source_key": "shipment:1", "created_at": NOW}
    values |= {"cost": cost and Decimal(cost), "currency": "USD", "cost_kind": "rated", "company_code": "10"}
    values |= {"freight_account": "6400", "cost_center": "CC-100", "master_tracking_number": f"7{Shipment.objects.count():011d}"}
    return Shipment.objects.create(**values | columns)


def only_ours() -> None:
    """What every house has stands in another year."""
    Shipment.objects.update(created_at=NOW.replace(year=2020), ship_date=None)


def bear(shipment: Shipment, amount: str, **columns: Any) -> FreightCharge:
    """The share of an order in it."""
    values: dict[str, Any] = {"tenant": shipment.tenant, "shipment": shipment, "order": f"C{FreightCharge.objects.count()}"}
    values |= {"amount": Decimal(amount), "rated": Decimal(amount), "currency": "USD", "state": "posted", "created_at": NOW}
    values |= {"company_code": "10", "account": "6400", "cost_center": "CC-1"}
    return FreightCharge.objects.create(**values | columns)


def asked(house: House, **more: Any) -> month_end.Wanted:
    return month_end.Wanted(house.tenant, **NOVEMBER | more)


def sums(house: House, **more: Any) -> dict[tuple[str, str], tuple[Any, ...]]:
    """(cost centre, currency) -> lines, rated, invoiced, charged, posted, open."""
    found = {}
    for t in month_end.totals(asked(house, **more)):
        f = t.figures
        told = (f.rated, f.invoiced, f.charged, f.posted, f.open)
        found[(t.cost_center, t.currency)] = (t.lines, *(str(x) if x is not None else None for x in told))
    return found


def many(house: House) -> dict[str, Any]:
    """One of each kind."""
    only_ours()
    made: dict[str, Any] = {"none": ship(house, "10.10", quoted_cost="9.00", quoted_currency="USD"), "unknown": ship(house, None)}
    split = ship(house, "30.00")
    made["agrees"], made["euro"] = bear(split, "10.01"), bear(split, "18.00", currency="EUR", cost_center="CC-2")
    late = ship(house, "21.00", cost_kind="invoiced", rated_cost="20.00", invoiced_cost="21.00")
    made["differs"] = bear(late, "20.00", charged="21.00", invoiced="21.00")
    left = ship(house, "5.00", cost_kind="entered", rated_cost="4.00")
    made["person"] = bear(left, "4.00", charged="5.00")
    CostChange.objects.create(tenant=house.tenant, shipment=left, after=5, currency="USD", state="left", created_at=NOW)
    made["waiting"] = bear(ship(house, "7.00"), "7.00", state="planned")
    made["voided"] = bear(ship(house, "8.00", state="voided"), "8.00", state="taken_back")
    made["billed"] = ship(house, "9.00", state="voided", invoiced_cost="9.00")
    return made


def test_sums_are_those_of_the_lines_to_the_cent(house: House) -> None:
    many(house)
    assert sums(house) == {
        ("CC-100", "USD"): (3, "10.10", "9.00", "19.10", "0.00", "19.10"),
        ("CC-1", "USD"): (5, "41.01", "21.00", "43.01", "34.01", "9.00"),
        ("CC-2", "EUR"): (1, "18.00", None, "18.00", "18.00", "0.00"),
    }
    lines = month_end.page(asked(house)).lines
    for (center, currency), told in sums(house).items():
        mine = [line.figures for line in lines if (line.cost_center, line.currency) == (center, currency)]
        assert len(mine) == told[0]
        assert sum((f.charged or 0 for f in mine), Decimal(0)) == Decimal(told[3])
        assert sum((f.posted or 0 for f in mine), Decimal(0)) == Decimal(told[4])


@pytest.mark.parametrize("state", month_end.STATES)
def test_each_state_lists_and_sums_its_lines_only(house: House, state: str) -> None:
    many(house)
    everything = month_end.page(asked(house)).lines
    expected = sorted((line.shipment.pk, line.order) for line in everything if line.state == state)
    assert sorted((line.shipment.pk, line.order) for line in month_end.page(asked(house, state=state)).lines) == expected
    assert sum(told[0] for told in sums(house, state=state).values()) == len(expected) > 0


def test_lines_of_one_order_are_told_apart(house: House) -> None:
    """With `freight_charge_lines` an order bears a share for each of its lines."""
    only_ours()
    made = ship(house, "10.00")
    bear(made, "4.00", order="C1", line="1/1/0")
    bear(made, "6.00", order="C1", line="2/1/0")
    bear(ship(house, "3.00"), "3.00", order="C2")
    told = [(line.order, line.line) for line in month_end.page(asked(house)).lines]
    assert told == [("C1", "1/1/0"), ("C1", "2/1/0"), ("C2", "")]
    assert month_end.HEADER[-1] == "Order line"
    assert [cells[-1] for rows in month_end.file_lines(asked(house)) for _, cells in rows] == ["1/1/0", "2/1/0", ""]
    page = client_of(owner()).get(
        reverse("admin:connector_costs"), {"tenant": house.tenant.pk, "first": "2026-11-01", "last": "2026-11-30"}
    )
    text = page.content.decode()
    assert text.index("Order line</th>") > text.index("State</th>") and "<td>2/1/0</td>" in text


def test_filters_look_at_the_order_where_one_bears_the_cost(house: House) -> None:
    made = many(house)
    assert [line.order for line in month_end.page(asked(house, cost_center="CC-2")).lines] == [made["euro"].order]
    assert set(sums(house, cost_center="CC-2")) == {("CC-2", "EUR")}
    assert {line.order for line in month_end.page(asked(house, cost_center="CC-100")).lines} == {""}
    assert not month_end.page(asked(house, account="6400", company_code="20")).lines
    assert not month_end.page(asked(house, carrier=house.source.pk)).lines
    assert month_end.page(asked(house, carrier=house.target.pk, integration=house.integration.pk)).lines


def test_days_begin_in_the_tenants_zone(house: House) -> None:
    only_ours()
    ship(house, "1.00", created_at=dt.datetime(2026, 12, 1, 5, 59, tzinfo=dt.UTC), ship_date=dt.date(2026, 12, 1))
    ship(house, "2.00", created_at=dt.datetime(2026, 12, 1, 6, 0, tzinfo=dt.UTC), ship_date=dt.date(2026, 11, 30))
    assert sums(house)[("CC-100", "USD")][1] == "1.00", "midnight in Chicago"
    assert sums(house, by="shipped")[("CC-100", "USD")][1] == "2.00"


def test_pages_follow_each_other_without_a_gap(house: House) -> None:
    only_ours()
    for number in range(7):
        bear(ship(house, "1.00"), f"{number}.00")
    seen, after = [], ""
    for _ in range(4):
        found = month_end.page(asked(house), after=after, size=3)
        seen += [line.order for line in found.lines]
        after = found.older
        if not after:
            break
    assert len(seen) == len(set(seen)) == 7


def test_the_page_asks_little_however_many_lines(house: House) -> None:
    many(house)
    client, url = client_of(house.person("viewer")), reverse("admin:connector_costs") + "?first=2026-11-01&last=2026-11-30"
    client.get(url)
    with CaptureQueriesContext(
        connection,
    ) as few:
        text = client.get(url).content.decode()
    assert "19.10" in text and "For a person" in text and "12.34" not in text
    for _ in range(20):
        bear(ship(house, "1.00"), "1.00")
    with CaptureQueriesContext(connection) as more:
        client.get(url)
    assert len(more) == len(few) <= 20


def test_the_file_holds_every_line_and_no_formula(house: House) -> None:
    made = many(house)
    FreightCharge.objects.filter(pk=made["agrees"].pk).update(order="=HYPERLINK(1)", note="-2+3", cost_center="@x")
    told = [
        {"order": "=HYPERLINK(1)", "code_parts": {"CodeC": "9", "CodeB": "@x"}},
        {"order": "C9", "code_parts": {"CodeB": "no"}},
    ]
    Shipment.objects.filter(pk=made["agrees"].shipment_id).update(accounting=told)
    client = client_of(house.person("viewer"))
    query = "first=2026-11-01&last=2026-11-30"
    answer = client.post(reverse("admin:connector_costs_export"), {"query": query})
    text = b"".join(answer.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    head, *rows = csv.reader(io.StringIO(text))
    assert len(rows) == 9 and head[8] == "Label made (America/Chicago)" and all(len(row) == len(head) for row in rows)
    [row] = [row for row in rows if "HYPERLINK" in row[3]]
    assert row[3] == "'=HYPERLINK(1)" and row[2] == "'@x" and row[-3:] == ["'-2+3", "CodeB=@x CodeC=9", ""]
    charged = sum(Decimal(row[16] or 0) for row in rows if row[12] == "USD")
    assert charged == Decimal("62.11")
    begun, ended = AuditEntry.objects.filter(act__startswith="export_").order_by("pk")
    assert begun.facts["list"] == "costs" and ended.facts == {"export": 1, "list": "costs", "rows": 9, "complete": True} | {
        "export": ended.facts["export"]
    }


@pytest.mark.parametrize(
    "query",
    ["first=x", "first=2026-01-01&last=2025-01-01", "first=2025-01-01&last=2025-06-01", "carrier=99999", "state=no", "by=no"],
)
def test_a_wrong_filter_is_said_and_shows_nothing(house: House, query: str) -> None:
    client = client_of(house.person("viewer"))
    answer = client.get(reverse("admin:connector_costs") + f"?{query}")
    assert answer.status_code == 200 and "<h2>Sums</h2>" not in answer.content.decode()
    assert client.post(reverse("admin:connector_costs_export"), {"query": query}).status_code == 302
    assert not AuditEntry.objects.filter(act="export_begun").exists()


def test_another_tenants_cost_is_never_shown(house: House) -> None:
    other = build("omega")
    ship(other, "777.77")
    client = client_of(house.person("administrator"))
    query = f"tenant={other.tenant.pk}&first=2026-11-01&last=2026-11-30"
    assert "777.77" not in client.get(reverse("admin:connector_costs") + f"?{query}").content.decode()
    answer = client.post(reverse("admin:connector_costs_export"), {"query": query})
    assert "777.77" not in b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert "777.77" in client_of(owner()).get(reverse("admin:connector_costs") + f"?{query}").content.decode()


def test_what_was_quoted_counts_although_the_cost_is_not_known(house: House) -> None:
    """As for a purchase order: the carrier bills the recipient and does not say how much."""
    only_ours()
    ship(house, None, currency="", cost_kind="", quoted_cost="12.49", quoted_currency="USD")
    ship(house, "10.00", quoted_cost="9.00", quoted_currency="USD")
    [total] = month_end.totals(asked(house))
    assert (total.currency, total.lines, total.figures.quoted, total.figures.charged) == (
        "USD",
        2,
        Decimal("21.49"),
        Decimal("10.00"),
    )
    [unknown, _] = month_end.page(asked(house)).lines
    assert (unknown.currency, unknown.figures.quoted, unknown.figures.charged) == ("USD", Decimal("12.49"), None)


def test_the_page_shows_what_is_charged_and_when_it_was_delivered(house: House) -> None:
    """A cost that a person entered stands in no other column than this one."""
    only_ours()
    at = NOW.replace(day=21)
    bear(
        ship(house, "25.00", cost_kind="entered", rated_cost="20.00", status="delivered", delivered_at=at),
        "20.00",
        charged="25.00",
    )
    ship(house, "7.77", status="in_transit")
    query = {"first": NOVEMBER["first"].isoformat(), "last": NOVEMBER["last"].isoformat()}
    text = client_of(house.person("viewer")).get(reverse("admin:connector_costs"), query).content.decode()
    lines = text[text.index('aria-label="Lines"') :]
    assert '<th scope="col" class="mlc-number">Charged</th>' in lines and '<td class="mlc-number">25.00</td>' in lines
    assert "2026-11-21" in lines and "In transit" in lines


def test_more_groups_than_a_page_holds_are_summed_together(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.admin.month_end.SUMS", 3)
    only_ours()
    for n in range(5):
        bear(ship(house, "10.00"), "10.10", cost_center=f"CC-{n}")
    bear(ship(house, "7.00", currency="EUR"), "7.00", currency="EUR", cost_center="CC-9")
    assert [(t.currency, t.lines, t.figures.charged) for t in month_end.together(month_end.totals(asked(house)))] == [
        ("EUR", 1, Decimal("7.00")),
        ("USD", 5, Decimal("50.50")),
    ]
    days = {name: day.isoformat() for name, day in NOVEMBER.items()}
    text = client_of(house.person("viewer")).get(reverse("admin:connector_costs"), days).content.decode()
    table = text.partition("<h2>Sums</h2>")[2].partition("</section>")[0]
    assert table.count("Together") == 3 and "3 more groups are not listed" in table  # two rows and the sentence
    assert "CC-2" in table and "CC-3" not in table and "<strong>50.50</strong>" in table

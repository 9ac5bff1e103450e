"""What people keep about the history: filters by name, columns, and files; nobody reaches anybody else's."""

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

from connector.models import AuditDetail, AuditEntry, Export, ListColumns, SavedFilter, Shipment, User
from connector.services import audit, exports, history, lists
from connector.services.shipments import NotPossible
from tests.connector.admin_support import House, build, client_of, owner
from tests.connector.test_history import LIST, many, numbers, ship

pytestmark = pytest.mark.django_db
SAVE = "admin:connector_shipment_save_filter"
DELETE = "admin:connector_shipment_delete_filter"
COLUMNS = "admin:connector_shipment_columns"
EXPORT = "admin:connector_shipment_export"
EXPORTS = "admin:connector_shipment_exports"


@pytest.fixture
def houses() -> tuple[House, House]:
    return build("alpha"), build("omega")


def downloaded(user: User, query: str = "", **more: str) -> list[dict[str, str]]:
    """The file, as rows."""
    answer = client_of(user).post(reverse(EXPORT), {"query": query, **more})
    assert answer.status_code == 200, answer.status_code
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


# -- kept filters --------------------------------------------------------------------------------------


def test_a_filter_is_kept_applied_and_deleted(houses: tuple[House, House]) -> None:
    mine = houses[0]
    ship(mine, "G1", service="FEDEX_2_DAY")
    person = mine.person("viewer")
    client = client_of(person)
    query = "service=FEDEX_2_DAY&sort=cost_highest&q=&after=5&evil=1"
    client.post(reverse(SAVE), {"name": "  two   days ", "query": query})
    kept = SavedFilter.objects.get()
    assert (kept.name, kept.query, kept.user) == ("two days", "service=FEDEX_2_DAY&sort=cost_highest", person)
    text = client.get(reverse(LIST)).content.decode()
    assert 'href="?service=FEDEX_2_DAY&amp;sort=cost_highest"' in text and "two days" in text
    client.post(reverse(SAVE), {"name": "two days", "query": "service=FEDEX_2_DAY"})
    assert SavedFilter.objects.get().query == "service=FEDEX_2_DAY", "the same name replaces"
    assert numbers(client.get(reverse(LIST) + "?" + SavedFilter.objects.get().query).content.decode()) == ["G1"]
    client.post(reverse(DELETE, args=[kept.pk]))
    assert not SavedFilter.objects.exists()


def test_kept_filters_are_ones_own(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    kept = lists.save_filter(mine.person("viewer"), exports.PAGE, "my secret name", "site=S1")
    for user in (mine.person("administrator"), theirs.person("viewer"), owner()):
        client = client_of(user)
        assert "my secret name" not in client.get(reverse(LIST)).content.decode()
        assert client.post(reverse(DELETE, args=[kept.pk])).status_code == 404
    assert SavedFilter.objects.filter(pk=kept.pk).exists()


def test_a_kept_filter_grants_nothing(houses: tuple[House, House]) -> None:
    """Kept while one had a role at the other tenant; applied after it was taken away."""
    mine, theirs = houses
    person = mine.person("viewer")
    lists.save_filter(person, exports.PAGE, "all of theirs", f"tenant={theirs.tenant.pk}")
    answer = client_of(person).get(reverse(LIST) + f"?tenant={theirs.tenant.pk}").content.decode()
    assert numbers(answer) == [] and theirs.tenant.name not in answer


def test_what_cannot_be_kept_is_refused(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = houses
    client = client_of(mine.person("viewer"))
    for name, query, said in (
        ("", "site=S1", "Give the filter a name"),
        ("x" * 61, "site=S1", "too long"),
        ("x", "", "No filter is set"),
        ("x", "evil=1&after=3", "No filter is set"),
        ("x", "state=nonsense", "A filter is wrong"),
        ("x", f"tenant={theirs.tenant.pk}", "A filter is wrong"),
    ):
        assert said in client.post(reverse(SAVE), {"name": name, "query": query}, follow=True).content.decode(), said
    monkeypatch.setattr(lists, "MOST", 2)
    for name in ("a", "b"):
        lists.save_filter(mine.person("viewer"), exports.PAGE, name, "site=S1")
    with pytest.raises(NotPossible, match="already"):
        lists.save_filter(mine.person("viewer"), exports.PAGE, "c", "site=S1")
    lists.save_filter(mine.person("viewer"), exports.PAGE, "a", "site=S2")
    assert SavedFilter.objects.count() == 2


# -- columns -------------------------------------------------------------------------------------------


def test_columns_are_chosen_by_each_person(houses: tuple[House, House]) -> None:
    mine = houses[0]
    client = client_of(mine.person("viewer"))
    told = {"column": ["carrier", "cost_center", "nonsense", "carrier__secrets_text"], "query": "state=active"}
    answer = client.post(reverse(COLUMNS), told)
    assert answer["Location"].endswith("?state=active"), "the filters stay"
    assert ListColumns.objects.get().columns == ["master_tracking_number", "carrier", "cost_center"]
    text = client.get(reverse(LIST)).content.decode()
    table = text.split('id="result_list"', 1)[1]
    assert "Cost centre" in table and mine.target.name in table and "Recipient" not in table
    other = client_of(mine.person("operator")).get(reverse(LIST)).content.decode()
    assert "Recipient" in other.split('id="result_list"', 1)[1]
    client.post(reverse(COLUMNS), {"usual": "1"})
    assert not ListColumns.objects.exists()


def test_every_column_can_be_shown_within_the_queries(houses: tuple[House, House]) -> None:
    mine = houses[0]
    many(mine, 60)
    for user in (mine.person("viewer"), owner()):
        lists.choose_columns(user, exports.PAGE, list(history.COLUMNS))
        lists.save_filter(user, exports.PAGE, "one", "site=S1")
        client = client_of(user)
        with CaptureQueriesContext(connection) as seen:
            text = client.get(reverse(LIST)).content.decode()
        assert len(seen) <= 15, [q["sql"][:120] for q in seen.captured_queries]
        assert not [q for q in seen.captured_queries if "secrets_text" in q["sql"]]
        assert all(title in text for title in ("Expected", "Signed by", "Carrier&#x27;s transaction"))


# -- files ---------------------------------------------------------------------------------------------


def test_the_file_holds_what_fits_in_the_order_of_the_page(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    type(mine.tenant).objects.update(timezone="America/Chicago")
    many(mine, 24)
    many(theirs, 5)
    ship(mine, "VOID", state="voided")
    rows = downloaded(mine.person("viewer"), "ship_date_from=2026-03-02&sort=cost_lowest&state=active")
    kept = Shipment.objects.filter(tenant=mine.tenant, ship_date__gte="2026-03-02", state="active").order_by("cost", "pk")
    assert [row["Tracking number"] for row in rows] == [s.master_tracking_number for s in kept]
    everything = downloaded(mine.person("viewer"), "", all_columns="1")
    assert len(everything) == 26 and len(everything[0]) == len(history.COLUMNS) + 1
    [first] = [r for r in everything if r["Tracking number"] == "N000"]
    assert first["Cost"] == "0.10" and first["Ship date"] == "2026-03-01" and first["State"] == "Label bought"
    assert first["Created (America/Chicago)"] == "2026-11-20 06:00:00"
    assert [r for r in everything if r["Tracking number"] == "N004"][0]["Cost"] == "", "unknown is never 0"
    found = downloaded(mine.person("viewer"), "q=C-mark-alpha")
    assert [row["Tracking number"] for row in found] == [mine.shipment.master_tracking_number]


@pytest.mark.parametrize("size", [1, 7, 24, 25, 2000])
def test_batches_neither_lose_nor_repeat(houses: tuple[House, House], size: int) -> None:
    mine = houses[0]
    many(mine, 24)
    for order in history.ORDERS.values():
        rows = Shipment.objects.filter(tenant=mine.tenant)
        expected = {s.pk for s in (rows.filter(**{f"{order.column}__isnull": False}) if order.column else rows)}
        found = [s.pk for batch in history.batches(rows, order, size=size) for s in batch]
        assert len(found) == len(set(found)) and set(found) == expected


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =cmd|x", "＝1", "\u00a0=1"])
def test_nothing_in_the_file_is_a_formula(houses: tuple[House, House], text: str) -> None:
    mine = houses[0]
    ship(mine, "EVIL", recipient_name=text, service='a",b', cost=Decimal("1.00"), currency="=A1"[:3])
    [row] = [r for r in downloaded(mine.person("viewer")) if r["Tracking number"] == "EVIL"]
    assert row["Recipient"] == f"'{text}" and row["Currency"] == "'=A1" and row["Service"] == 'a",b'


def test_the_file_holds_nothing_of_others(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    rows = downloaded(mine.person("viewer"), "", all_columns="1")
    assert theirs.mark not in str(rows) and theirs.tenant.name not in {r["Tenant"] for r in rows}
    answer = client_of(mine.person("viewer")).post(reverse(EXPORT), {"query": f"tenant={theirs.tenant.pk}"}, follow=True)
    assert "A filter is wrong" in answer.content.decode()
    assert {r["Tenant"] for r in downloaded(owner(), "", all_columns="1")} == {mine.tenant.name, theirs.tenant.name}


def test_the_audit_tells_each_tenant_what_left_it(houses: tuple[House, House]) -> None:
    mine, theirs = houses
    many(mine, 3)
    downloaded(owner(), "state=active")
    for house, count in ((mine, 4), (theirs, 1)):
        begun, ended = AuditEntry.objects.filter(tenant=house.tenant, act__startswith="export_").order_by("sequence")
        assert (begun.act, ended.act, begun.actor) == ("export_begun", "export_ended", "user:owner")
        assert ended.facts["rows"] == count and ended.facts["complete"] is True
        assert AuditDetail.objects.get(entry=begun).detail == {"filters": "state=active"}
    assert [f for f in audit.verify() if f.chain.startswith("tenant:")] == []


def test_a_download_that_is_given_up_is_told_so(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    mine = houses[0]
    many(mine, 9)
    person = mine.person("viewer")
    export = exports.begin(person, query="", columns=history.USUAL)
    rows = Shipment.objects.filter(tenant=mine.tenant)
    pieces = exports.write(export, rows, history.ORDERS["newest"], actor="user:x", zone=dt.UTC, size=4)
    for _ in range(3):
        next(pieces)
    pieces.close()
    export.refresh_from_db()
    assert (export.state, export.rows) == ("broken", 4)
    ended = AuditEntry.objects.get(act="export_ended")
    assert ended.facts["complete"] is False and ended.facts["rows"] == 4
    text = client_of(person).get(reverse(EXPORTS)).content.decode()
    assert "broken off" in text and "4 rows" in text
    assert "No file yet" in client_of(mine.person("operator")).get(reverse(EXPORTS)).content.decode()


def test_one_file_at_a_time_and_a_forgotten_one_gives_way(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "TELL_S", -1.0)
    mine = houses[0]
    many(mine, 9)
    person = mine.person("viewer")
    first = exports.begin(person, query="", columns=history.USUAL)
    rows = Shipment.objects.filter(tenant=mine.tenant)
    pieces = exports.write(first, rows, history.ORDERS["newest"], actor="user:x", zone=dt.UTC, size=4)
    next(pieces)
    next(pieces)
    answer = client_of(person).post(reverse(EXPORT), follow=True)
    assert "still being written" in answer.content.decode()
    next(pieces)
    assert Export.objects.get(pk=first.pk).rows == 4
    assert "4 rows" in client_of(person).get(reverse(EXPORTS)).content.decode()
    Export.objects.filter(pk=first.pk).update(updated_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert downloaded(person)
    with pytest.raises(exports.BrokenOff):
        next(pieces)
    assert Export.objects.get(pk=first.pk).state == "broken"


def test_old_notes_of_files_go(houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "KEPT", 3)
    for _ in range(5):
        downloaded(houses[0].person("viewer"))
    assert Export.objects.count() == 3


def test_a_file_needs_few_queries_and_reads_no_secrets(houses: tuple[House, House]) -> None:
    mine = houses[0]
    many(mine, 60)
    client = client_of(mine.person("viewer"))
    with CaptureQueriesContext(connection) as seen:
        answer = client.post(reverse(EXPORT), {"all_columns": "1"})
        lines = b"".join(answer.streaming_content).splitlines()
    assert len(lines) == 62
    assert not [q for q in seen.captured_queries if "secrets_text" in q["sql"]]
    assert len([q for q in seen.captured_queries if q["sql"].startswith("SELECT") and "recipient_name" in q["sql"]]) == 1


def test_keeping_wants_a_token_a_post_and_a_role(houses: tuple[House, House]) -> None:
    mine = houses[0]
    strict = client_of(mine.person("viewer"), enforce_csrf_checks=True)
    nobody = client_of(User.objects.create_user("nobody", password="x", is_staff=True))
    told: dict[str, Any] = {"name": "x", "query": "site=S1", "column": ["site"]}
    for url in (reverse(SAVE), reverse(DELETE, args=[1]), reverse(COLUMNS), reverse(EXPORT)):
        assert strict.post(url, told).status_code == 403
        assert nobody.post(url, told).status_code == 403
        assert client_of(mine.person("viewer")).get(url).status_code == 405
    assert nobody.get(reverse(EXPORTS)).status_code == 403
    assert not SavedFilter.objects.exists() and not ListColumns.objects.exists() and not Export.objects.exists()

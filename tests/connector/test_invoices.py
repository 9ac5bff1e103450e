"""Carrier invoice files: hostile or odd ones, matching, duplicates, rules, money to the cent, other tenants' numbers, pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.urls import reverse

from connector.models import AuditEntry, CostChange, InvoiceFile, InvoiceLine, Package, Shipment
from connector.services import invoice_reading, invoices
from connector.services.shipments import NotPossible
from tests.connector.admin_support import House, build, client_of
from tests.connector.test_month_end import ship

pytestmark = pytest.mark.django_db

HEAD = "Bill to Account Number,Invoice Date,Invoice Number,Express or Ground Tracking ID,Net Charge Amount,Currency Code"


@pytest.fixture
def house() -> House:
    made = build("alpha")
    InvoiceFile.objects.all().delete()
    return made


def parcels(house: House, cost: str | None, *numbers: str, **columns: Any) -> Shipment:
    """A shipment with these parcels."""
    made = ship(house, cost, master_tracking_number=numbers[0], **columns)
    for place, number in enumerate(numbers, 1):
        Package.objects.create(
            tenant=house.tenant,
            shipment=made,
            carrier=house.target,
            sequence=place,
            tracking_number=number,
            voided=columns.get("state") == "voided",
        )
    return made


def csv_of(*rows: str, head: str = HEAD) -> bytes:
    return "\r\n".join([head, *rows]).encode()


def row(number: str, amount: str, invoice: str = "I-1", currency: str = "USD", account: str = "123456789") -> str:
    return f'{account},20261101,{invoice},{number},"{amount}",{currency}'


def take(house: House, data: bytes, name: str = "bill.csv") -> InvoiceFile:
    return invoices.take(house.target, name, data, actor="user:ann")


def states(file: InvoiceFile) -> dict[str, str]:
    return {line.tracking_number: line.state for line in file.lines.all()}


def apply(file: InvoiceFile) -> InvoiceFile:
    invoices.apply(file, actor="user:ann", reason="November")
    while invoices.work():
        pass
    file.refresh_from_db()
    return file


# -- reading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "point", "value"),
    [
        *[("1,234.56", ".", "1234.56"), ("1.234,56", ",", "1234.56"), ("12", ".", "12"), ("$12.30", ".", "12.30")],
        *[("(3.10)", ".", "-3.10"), ("3.10-", ".", "-3.10"), ("-$3.10", ".", "-3.10"), ("\u22123,10", ",", "-3.10")],
        (".5", ".", "0.5"),
        *[("1,2345.00", ".", None), ("12,34", ".", None), ("1.2.3", ".", None), ("1e5", ".", None), ("NaN", ".", None)],
        *[("", ".", None), ("=1+1", ".", None), ("٣", ".", None), ("99999999999", ".", None), ("--1", ".", None)],
    ],
)  # fmt: skip
def test_amounts(text: str, point: str, value: str | None) -> None:
    assert invoice_reading.amount(text, point) == (None if value is None else Decimal(value))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(encoding: str, sign: str) -> None:
    data = f"Größe{sign}Invoice Number\r\n\r\nä{sign}5\r\n".encode(encoding)
    table = invoice_reading.read(data)
    assert (table.header, table.rows, table.delimiter) == (["Größe", "Invoice Number"], [["ä", "5"]], sign)


@pytest.mark.parametrize(
    "data",
    [
        *[b"", b"\x00\x01\x02", b"%PDF-1.4\n\x00", b"one\ntwo", b"a,b", b"PK\x03\x04\x00\x00,a\nb,c"],
        b"a,b\n" + b"x" * 200_000 + b",1",
        *[b"a," * 500 + b"\n1,2", b"a,b\n" + b"1,2\n" * 20_001, b"\xff\xfea"],
    ],
)  # fmt: skip
def test_what_is_no_invoice_file_is_refused_in_words(house: House, data: bytes) -> None:
    with pytest.raises(NotPossible):
        take(house, data)
    assert not InvoiceFile.objects.exists()


def test_headings_that_repeat_are_told_apart() -> None:
    table = invoice_reading.read(b"Tracking ID,Charge,Charge,\n1,2,3,4")
    assert table.header == ["Tracking ID", "Charge", "Charge (3)", "Column 4"]


def test_a_number_that_a_spreadsheet_has_rounded_is_said(house: House) -> None:
    file = take(house, csv_of(row("7.94601E+11", "5.00"), row("", "3.00")))
    assert [line.state for line in file.lines.all()] == ["wrong", "wrong"]
    assert "rounded" in file.lines.get(row=1).note


# -- matching and applying ---------------------------------------------------------------------------------


def test_charges_of_a_shipment_are_summed_and_credits_taken_off(house: House) -> None:
    made = parcels(house, "20.00", "795500000011", "795500000012")
    data = csv_of(row("7955 0000 0011", "15.10"), row("795500000012", "9.95"), row("795500000012", "(1.05)", invoice="I-2"))
    file = take(house, data)
    assert file.state == "ready" and Shipment.objects.get(pk=made.pk).cost == 20, "read, not applied"
    [difference] = invoices.differences(file, "ready")
    assert (difference.total, difference.difference, difference.lines) == (Decimal("24.00"), Decimal("4.00"), 3)
    assert apply(file).state == "done"
    made.refresh_from_db()
    assert (made.cost, made.cost_kind, made.rated_cost, made.invoiced_cost) == (24, "invoiced", 20, 24)
    assert CostChange.objects.get().reason == f"November (invoice file {file.pk})"
    assert set(file.lines.values_list("cells", flat=True)) == {None}, "what else the rows told is gone"
    later = apply(take(house, csv_of(row("795500000011", "-2.00", invoice="CR-9"))))
    made.refresh_from_db()
    assert later.state == "done" and made.invoiced_cost == 22 and made.rated_cost == 20
    acts = list(AuditEntry.objects.filter(act__startswith="invoice_", object_id=file.pk).values_list("act", flat=True))
    assert sorted(acts) == ["invoice_applied", "invoice_apply", "invoice_columns", "invoice_read"]


def test_the_same_file_twice_is_applied_once(house: House) -> None:
    made = parcels(house, "20.00", "795500000011")
    data = csv_of(row("795500000011", "15.10"), row("795500000011", "15.10"))
    early, late = take(house, data), take(house, data)
    assert sorted(line.state for line in early.lines.all()) == ["duplicate", "ready"]
    apply(early)
    apply(late)
    made.refresh_from_db()
    assert made.invoiced_cost == Decimal("15.10") and CostChange.objects.count() == 1
    assert {line.state for line in late.lines.all()} == {"duplicate"}
    third = take(house, data)
    assert {line.state for line in third.lines.all()} == {"duplicate"}
    with pytest.raises(NotPossible, match="Nothing"):
        invoices.apply(third, actor="ann", reason="x")


def test_one_charge_with_two_amounts_is_for_a_person(house: House) -> None:
    parcels(house, "20.00", "795500000011")
    file = take(house, csv_of(row("795500000011", "15.10"), row("795500000011", "16.10")))
    assert [line.state for line in file.lines.all()] == ["ready", "wrong"]


def test_what_a_person_looks_at_first(house: House) -> None:
    one, void = parcels(house, "20.00", "795500000011"), parcels(house, "9.00", "795500000012", state="voided")
    part = parcels(house, "30.00", "795500000013", "795500000014")
    data = csv_of(
        row("795500000011", "15.10", currency="EUR"),
        row("795500000012", "9.00"),
        row("795500000013", "14.00"),
        row("999900000000", "1.00"),
        row("795500000014", "1.00", account="987654321"),
    )
    file = take(house, data)
    assert states(file) == {
        "795500000011": "held",
        "795500000012": "held",
        "795500000013": "held",
        "999900000000": "unknown",
        "795500000014": "wrong",
    }
    with pytest.raises(NotPossible, match="EUR"):
        invoices.accept(file, one.pk, actor="ann", reason="x")
    invoices.accept(file, void.pk, actor="ann", reason="FedEx insists")
    invoices.accept(file, part.pk, actor="ann", reason="the other one is free")
    void.refresh_from_db()
    part.refresh_from_db()
    assert (void.state, void.invoiced_cost, part.cost) == ("voided", 9, 14)
    assert Shipment.objects.get(pk=one.pk).cost == 20


def test_differences_up_to_an_amount_are_applied_the_others_listed(house: House) -> None:
    near, far = parcels(house, "10.00", "795500000011"), parcels(house, "10.00", "795500000012")
    unknown = parcels(house, None, "795500000013", currency="")
    file = take(house, csv_of(row("795500000011", "10.50"), row("795500000012", "10.51"), row("795500000013", "3.00")))
    invoices.set_rule(file, "tolerance", Decimal("0.50"), actor="user:ann")
    assert states(file) == {"795500000011": "ready", "795500000012": "held", "795500000013": "held"}
    apply(file)
    invoices.accept(file, unknown.pk, actor="ann", reason="ok")
    for made in (near, far, unknown):
        made.refresh_from_db()
    assert (near.cost, far.cost, unknown.cost, unknown.currency) == (Decimal("10.50"), 10, 3, "USD")
    for wrong in (None, Decimal(-1), Decimal("NaN")):
        with pytest.raises(NotPossible):
            invoices.set_rule(file, "tolerance", wrong, actor="ann")


def test_numbers_of_other_tenants_are_nobodys(house: House) -> None:
    other = build("omega")
    theirs = parcels(other, "20.00", "795500000099")
    file = take(house, csv_of(row("795500000099", "1.00")))
    assert states(file) == {"795500000099": "unknown"}
    theirs.refresh_from_db()
    assert theirs.cost == 20


def test_columns_are_chosen_by_hand_and_proposed_next_time(house: House) -> None:
    made = parcels(house, "20.00", "795500000011")
    head, line = "Paket;Betrag;Rechnung", "795500000011;1.015,50;R1"
    file = take(house, csv_of(line, head=head))
    assert file.state == "columns"
    chosen = {"tracking_number": "Paket", "amount": "Betrag", "invoice_number": "Rechnung", "point": ","}
    for wrong in ({"amount": ""}, {"amount": "No such"}, {"invoice_number": "Betrag"}, {}):
        with pytest.raises(NotPossible):
            invoices.choose(file, chosen | wrong, actor="ann")
    invoices.choose(file, chosen | {"fixed_currency": "usd"}, actor="ann")
    assert file.state == "ready"
    apply(file)
    made.refresh_from_db()
    assert made.cost == Decimal("1015.50")
    assert take(house, csv_of("795500000011;5,00;R2", head=head)).state == "ready", "as the time before"


# -- pages -------------------------------------------------------------------------------------------------


def test_from_the_file_to_the_cost_in_the_console(house: House) -> None:
    made = parcels(house, "20.00", "795500000011")
    client = client_of(house.person("operator"))
    new = reverse("admin:connector_invoicefile_new", args=[house.target.pk])
    given = SimpleUploadedFile("../../<b>x.csv", csv_of(row("795500000011", "25.00"), row("123", "=cmd()")))
    text = client.post(new, {"file": given}, follow=True).content.decode()
    file = InvoiceFile.objects.get()
    assert "5.00 USD" in text and "<b>x" not in text and "/" not in file.name
    do = lambda act, **told: client.post(reverse("admin:connector_invoicefile_do", args=[file.pk, act]), told, follow=True)  # noqa: E731
    assert "Give a reason" in do("discard").content.decode()
    assert "Give a reason" in do("apply").content.decode()
    refused = do("rule", rule="tolerance", tolerance="5,00").content.decode()
    assert "as an amount, such as 5.00" in refused and 'value="5,00"' in refused, "what was typed stays to be mended"
    do("rule", rule="tolerance", tolerance="1")
    assert "larger than 1" in do("apply", reason="x").content.decode()
    do("accept", shipment=made.pk, reason="reweighed")
    made.refresh_from_db()
    assert made.cost == 25
    assert "Put away" in do("discard", reason="read twice").content.decode()
    assert client.get(reverse("admin:connector_invoicefile_progress", args=[file.pk])).status_code == 200
    for state in InvoiceLine.State.values:
        assert (
            client.get(reverse("admin:connector_invoicefile_change", args=[file.pk]) + f"?state={state}&after=0").status_code
            == 200
        )


def test_only_who_may_operate_reads_files(house: House) -> None:
    other = build("omega")
    InvoiceFile.objects.all().delete()
    new = reverse("admin:connector_invoicefile_new", args=[house.target.pk])
    given = lambda: {"file": SimpleUploadedFile("x.csv", csv_of(row("1", "1.00")))}  # noqa: E731
    assert client_of(house.person("viewer")).post(new, given()).status_code == 403
    assert client_of(other.person("administrator")).post(new, given()).status_code == 404
    erp = reverse("admin:connector_invoicefile_new", args=[house.source.pk])
    assert client_of(house.person("operator")).post(erp, given()).status_code == 404
    assert not InvoiceFile.objects.exists()
    # Another tenant's shipment cannot be named into a file of ours.
    theirs = parcels(other, "20.00", "795500000099")
    file = take(house, csv_of(row("795500000011", "1.00")))
    client = client_of(house.person("operator"))
    client.post(reverse("admin:connector_invoicefile_do", args=[file.pk, "accept"]), {"shipment": theirs.pk, "reason": "x"})
    assert not CostChange.objects.exists()


def test_one_invoice_in_two_layouts_is_not_billed_twice(house: House) -> None:
    """A row for the parcel in one file, a row for each charge in the other: a person says whether these are further ones."""
    shipment = parcels(house, "12.00", "794600000010")
    by_charge = csv_of(
        f"{row('794600000010', '10.00')},Freight", f"{row('794600000010', '5.00')},Fuel", head=f"{HEAD},Charge Description"
    )
    columns = {"tracking_number": "Express or Ground Tracking ID", "amount": "Net Charge Amount", "currency": "Currency Code"}
    columns |= {"invoice_number": "Invoice Number", "charge": "Charge Description", "point": "."}
    beside = take(house, by_charge)
    invoices.choose(beside, columns, actor="user:ann")
    assert set(beside.lines.values_list("state", flat=True)) == {"ready"}, "nothing of this invoice is applied yet"
    apply(take(house, csv_of(row("794600000010", "15.00"))))
    after = take(house, by_charge, "again.csv")
    invoices.choose(after, columns, actor="user:ann")
    assert set(after.lines.values_list("state", flat=True)) == {"held"}
    apply(beside)
    shipment.refresh_from_db()
    assert shipment.cost == Decimal("15.00") and set(beside.lines.values_list("state", flat=True)) == {"held"}
    assert "another file" in beside.lines.all()[0].note
    invoices.accept(after, shipment.pk, actor="user:ann", reason="these are further charges")
    shipment.refresh_from_db()
    assert shipment.cost == Decimal("30.00")


@pytest.mark.parametrize("meanwhile", ["discarded", "applying"])
def test_what_became_of_a_file_meanwhile_decides_whether_one_shipment_is_applied(house: House, meanwhile: str) -> None:
    """Somebody puts the file away, or applies it, after the page was asked for that another person presses a button on."""
    shipment = parcels(house, "10.00", "795500000011")
    parcels(house, "10.00", "795500000012")
    file = take(house, csv_of(row("795500000011", "15.00"), row("795500000012", "10.50")))
    invoices.set_rule(file, "tolerance", Decimal("1.00"), actor="user:ann")
    seen = InvoiceFile.objects.get(pk=file.pk)
    if meanwhile == "discarded":
        invoices.discard(file, actor="user:ann", reason="not ours")
    else:
        invoices.apply(file, actor="user:ann", reason="November")
    with pytest.raises(NotPossible, match="put away" if meanwhile == "discarded" else "being applied"):
        invoices.accept(seen, shipment.pk, actor="user:bob", reason="it is right")
    assert not CostChange.objects.exists() and states(file) == {"795500000011": "held", "795500000012": "ready"}


def test_a_charge_that_counts_for_another_shipment_is_refused_in_words(house: House) -> None:
    """Two files name one charge; the number moved to another shipment between them."""
    first = parcels(house, "10.00", "795500000011")
    file, again = (take(house, csv_of(row("795500000011", amount)), name) for amount, name in (("15.00", "a"), ("15.00", "b")))
    second = parcels(house, "10.00", "795500000012")
    again.lines.update(shipment=second)
    invoices.accept(file, first.pk, actor="user:ann", reason="x")
    with pytest.raises(NotPossible, match="counts for another shipment"):
        invoices.accept(again, second.pk, actor="user:ann", reason="x")
    second.refresh_from_db()
    assert second.cost == Decimal("10.00") and CostChange.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_who_apply_one_line_at_once_change_the_cost_once(house: House) -> None:
    shipment = parcels(house, "10.00", "795500000011")
    file = take(house, csv_of(row("795500000011", "15.00")))
    told = at_once(*[lambda n=n: invoices.accept(file, shipment.pk, actor=f"user:{n}", reason="x") for n in range(4)])  # type: ignore[misc]
    assert sorted(map(type, told), key=str) == sorted([type(None), *[NotPossible] * 3], key=str), told
    assert CostChange.objects.count() == 1 and states(file) == {"795500000011": "applied"}


@pytest.mark.django_db(transaction=True)
def test_choosing_columns_does_not_take_back_what_is_applied_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another person chooses columns: the rows are read, and before they are kept one of them is applied."""
    shipment = parcels(house, "10.00", "795500000011")
    file = take(house, csv_of(row("795500000011", "15.00")))
    real, reading, pressed = invoices._match, threading.Event(), threading.Event()

    def slow(*given: Any) -> None:
        reading.set()
        pressed.wait(1)  # a lock keeps the other one out: then nobody ever says so
        real(*given)

    def press() -> None:
        assert reading.wait(10)
        invoices.accept(file, shipment.pk, actor="user:bob", reason="x")
        pressed.set()

    monkeypatch.setattr(invoices, "_match", slow)
    assert at_once(lambda: invoices.choose(InvoiceFile.objects.get(), file.mapping, actor="user:ann"), press) == [None, None]
    assert states(file) == {"795500000011": "applied"} and CostChange.objects.count() == 1


def at_once(*acts: Callable[[], Any]) -> list[Exception | None]:
    """What each act raised, all done at the same moment."""
    start, told = threading.Barrier(len(acts)), cast("list[Exception | None]", [None] * len(acts))

    def run(place: int) -> None:
        try:
            start.wait(10)
            acts[place]()
        except Exception as error:
            told[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return told

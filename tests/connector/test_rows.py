"""Rows written past the ORM are the rows that the ORM would have written, on both engines."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, models, transaction
from django.test.utils import CaptureQueriesContext

from connector.models import (
    AuditEntry,
    Effect,
    EffectSend,
    Exchange,
    Installation,
    Label,
    Package,
    Reference,
    Shipment,
    SourceRecord,
    Step,
    Transfer,
)
from connector.models.shipments import FreightCharge
from connector.services import clock, rows
from connector.services.engine import intents
from connector.services.rows import Moment
from tests.connector.admin_support import House, build

pytestmark = pytest.mark.django_db

TEXT = "Straße %s %% 'quoted' \"twice\" \\ ; -- 北京 \u2028"
AT = dt.datetime(2026, 3, 29, 1, 59, 59, 123456, tzinfo=dt.timezone(dt.timedelta(hours=-7)))
DATA = {"a": [1, 1.5, None, True, {"b": TEXT}], "": "x" * 300}


@pytest.fixture
def house() -> House:
    return build("acme")


def filled(field: Any, place: int) -> Any:
    """A value that fits a column and is easily spoilt on the way."""
    if isinstance(field, models.JSONField):
        return DATA
    if isinstance(field, models.UUIDField):
        return uuid.UUID(int=place + 1)
    if isinstance(field, models.DateTimeField):
        return AT
    if isinstance(field, models.DateField):
        return dt.date(2026, 2, 28)
    if isinstance(field, models.DecimalField):
        return Decimal("1234.50")
    if isinstance(field, models.BooleanField):
        return True
    if isinstance(field, models.BinaryField):
        return b"\x00\xff%PDF\\'"
    if isinstance(field, models.IntegerField):
        return place
    return TEXT[: field.max_length or 1000]


def samples(house: House) -> list[models.Model]:
    """One row of each model that a shipment writes, with something in every column, and its parents' ids."""
    transfer = house.transfers["done"]
    package = house.shipment.packages.first()
    parents = {
        "tenant": house.tenant,
        "integration": house.integration,
        "record": transfer.record,
        "transfer": transfer,
        "connection": house.target,
        "carrier": house.target,
        "source_connection": house.source,
        "effect": Effect.objects.first(),
        "send": EffectSend.objects.first(),
        "shipment": house.shipment,
        "package": package,
        "backfill": None,
    }
    Label.objects.filter(package=package).delete()
    made = []
    for place, model in enumerate(
        (
            AuditEntry,
            Effect,
            EffectSend,
            Exchange,
            Label,
            Package,
            Reference,
            Shipment,
            Step,
            Transfer,
            SourceRecord,
            FreightCharge,
        )
    ):
        values = {
            f.name: parents[f.name] if f.is_relation else filled(f, 7000 + place)
            for f in model._meta.concrete_fields
            if not f.primary_key
        }
        if model is Transfer:
            values["state"] = Transfer.State.DONE
        made.append(model(**values))
    return made


def stored(row: models.Model) -> dict[str, Any]:
    """All columns as they come back, without the id; binary as bytes."""
    found = type(row)._default_manager.filter(pk=row.pk).values().get()
    return {k: bytes(v) if isinstance(v, memoryview) else v for k, v in found.items() if k != "id"}


def test_an_inserted_row_is_the_one_that_the_orm_inserts(house: House) -> None:
    for row in samples(house):
        by_orm = type(row)(**{f.attname: getattr(row, f.attname) for f in row._meta.concrete_fields})
        with transaction.atomic():
            type(row)._default_manager.bulk_create([by_orm])
            expected = stored(by_orm)
            transaction.set_rollback(True)
        rows.insert([row])
        assert row.pk is not None and not row._state.adding and row._state.db == "default"
        assert stored(row) == expected, type(row).__name__


def test_empty_columns_and_defaults(house: House) -> None:
    transfer = house.transfers["done"]
    row = Step(tenant=house.tenant, transfer=transfer, record=transfer.record, name="n", kind="map", state="done", started_at=AT)
    rows.insert([row])
    assert Step.objects.filter(
        pk=row.pk, result__isnull=True, error__isnull=True, batch__isnull=True, ended_at=None, key=""
    ).exists()


def test_several_rows_are_one_statement_and_keep_their_order(house: House) -> None:
    made = [
        Reference(tenant=house.tenant, shipment=house.shipment, kind=f"k{n}", value=str(n), normalised=str(n)) for n in range(5)
    ]
    with CaptureQueriesContext(
        connection,
    ) as seen:
        rows.insert(made)
    assert len(seen) == 1
    assert [Reference.objects.get(pk=r.pk).value for r in made] == list("01234")
    with CaptureQueriesContext(connection) as seen:
        assert rows.insert(iter(())) == []
    assert not len(seen)


def test_very_many_rows_are_the_orms(house: House) -> None:
    transfer = house.transfers["done"]

    def steps(note: str) -> list[Step]:
        place = {"tenant": house.tenant, "transfer": transfer, "record": transfer.record, "kind": "map", "state": "done"}
        return [Step(name="many", key=str(n), note=note, started_at=Moment(), **place) for n in range(rows.MANY + 1)]

    rows.insert(steps("first"))
    rows.upsert(steps("second"), ("transfer_id", "name", "key", "generation"), ("note",))
    assert list(Step.objects.filter(name="many").values_list("note", flat=True)) == ["second"] * (rows.MANY + 1)


def test_what_is_there_is_overwritten_in_the_columns_named_only(house: House) -> None:
    transfer = house.transfers["done"]
    place = {"tenant": house.tenant, "transfer": transfer, "record": transfer.record, "name": "s", "kind": "map"}
    unique, change = ("transfer_id", "name", "key", "generation"), ("state", "result")
    rows.upsert([Step(state="open", note="first", started_at=AT, **place)], unique, change)
    rows.upsert([Step(state="done", note="second", result=DATA, started_at=AT, **place)], unique, change)
    found = Step.objects.get(transfer=transfer, name="s")
    assert (found.state, found.note, found.result) == ("done", "first", DATA)


def test_moments_are_the_databases_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer = house.transfers["done"]
    monkeypatch.setattr(clock, "offset_s", 3600.0)
    step = Step(tenant=house.tenant, transfer=transfer, record=transfer.record, name="t", kind="map", state="done")
    step.started_at, step.ended_at = Moment(-60), AT  # type: ignore[assignment]
    rows.insert([step])
    step.refresh_from_db()
    assert abs((clock.now() - step.started_at).total_seconds() - 60) < 20
    # What is compared with it is written the same way, to the digit: SQLite compares texts.
    assert Step.objects.filter(pk=step.pk, started_at__lte=clock.at(-60), started_at__gt=clock.at(-90)).exists()
    for seconds, hit in ((-90.0, 1), (0.0, 0)):
        assert rows.update(Step, {"pk": step.pk, "started_at__gt": Moment(seconds)}, {"note": "n"}) == hit
        assert rows.update(Step, {"pk": step.pk, "started_at__lt": Moment(seconds)}, {"note": "n"}) == 1 - hit


def test_an_update_changes_what_fulfils_all_conditions(house: House) -> None:
    transfer = house.transfers["failed"]
    values = {"message": TEXT, "error": DATA, "lease_until": AT, "owner": uuid.UUID(int=5), "attempts": 3, "due_at": Moment()}
    for where in ({"epoch": transfer.epoch + 1}, {"state": ("done", "waiting")}, {"attention": None, "owner": uuid.UUID(int=9)}):
        assert rows.update(Transfer, {"pk": transfer.pk, **where}, values) == 0
    with CaptureQueriesContext(connection) as seen:
        assert (
            rows.update(
                Transfer, {"pk": transfer.pk, "state": ("failed", "done"), "epoch": transfer.epoch, "owner": None}, values
            )
            == 1
        )
    assert len(seen) == 1
    found = Transfer.objects.get(pk=transfer.pk)
    assert (found.message, found.error, found.lease_until, found.owner, found.attempts) == (TEXT, DATA, AT, uuid.UUID(int=5), 3)
    assert rows.update(Transfer, {"pk": transfer.pk}, {"error": None, "owner": None, "lease_until": None}) == 1
    assert Transfer.objects.filter(pk=transfer.pk, error__isnull=True, owner=None, lease_until=None).exists()
    assert (
        rows.update(Transfer, {"tenant_id": house.tenant.pk}, {"step": "x"})
        == Transfer.objects.filter(tenant=house.tenant).count()
    )


def test_faults_are_djangos_and_end_the_transaction_only(house: House) -> None:
    reference = Reference.objects.filter(shipment=house.shipment)[0]
    again = Reference(
        tenant=house.tenant, shipment=house.shipment, kind=reference.kind, value=reference.value, normalised=reference.normalised
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.insert([again])
    assert Reference.objects.filter(pk=reference.pk).exists()
    if connection.vendor == "postgresql":
        with pytest.raises(DataError), transaction.atomic():
            rows.update(Transfer, {"pk": house.transfers["done"].pk}, {"code": "x" * 61})
        with pytest.raises(DataError), transaction.atomic():
            rows.update(Transfer, {"pk": house.transfers["done"].pk}, {"error": {"a": "\x00"}})


def test_an_expression_of_the_orm_is_refused(house: House) -> None:
    with pytest.raises(TypeError):
        rows.update(Transfer, {"pk": 1}, {"due_at": clock.at()})
    with pytest.raises(TypeError):
        rows.update(Transfer, {"pk": 1}, {"epoch": models.F("epoch")})


def test_any_one_brake_holds(house: House) -> None:
    transfer = house.transfers["done"]
    seen = []
    for everywhere, tenant, integration, enabled in itertools.product((False, True), repeat=4):
        Installation.objects.update(stop_buying=everywhere)
        type(house.tenant).objects.filter(pk=house.tenant.pk).update(stop_buying=tenant)
        type(house.integration).objects.filter(pk=house.integration.pk).update(stop_buying=integration, enabled=enabled)
        hit = rows.update(Transfer, {"pk": transfer.pk}, {"step": "x"}, also=intents._NO_BRAKE)
        assert hit == (enabled and not (everywhere or tenant or integration))
        seen.append(hit)
    assert sum(seen) == 1

"""Old exchanges and details go by rule, in small batches; unfinished work keeps its own; the audit still fits."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django_q.models import OrmQ

from connector import tasks, workers
from connector.models import AuditDetail, AuditEntry, Exchange, Heartbeat, SourceRecord, Transfer, WebhookDelivery
from connector.services import audit, clock, retention
from tests.connector.admin_support import build, client_of, owner
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86400


@pytest.fixture
def past(settings: Any) -> Iterator[World]:
    """Five shipped documents and one that failed, all of 401 days ago, read ahead together."""
    settings.WORKER_THREADS = 1
    world = World.build()
    try:
        world.ready(5)
        world.ready(1, ShipViaCode="ROAD-X")
        world.sync()
        assert world.states() == {"done": 5, "failed": 1}
        clock.offset_s = 401 * DAY
        yield world
    finally:
        world.close()


def findings() -> list[str]:
    return [finding.message for finding in audit.verify()]


def told_by(transfer: Transfer) -> set[str]:
    """Digests of the exchanges that a record's history rests on."""
    entries = AuditEntry.objects.filter(chain=f"record:{transfer.record_id}")
    return {digest for entry in entries for digest in entry.facts.get("exchanges", [])}


def erasures() -> list[dict[str, Any]]:
    return list(AuditEntry.objects.filter(act="erased_by_rule").order_by("pk").values_list("facts", flat=True))


def erased_exchanges() -> int:
    return sum(facts["count"] for facts in erasures() if "digests" in facts)


def run(*options: str) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    code = 0
    try:
        call_command("retention", "--json", *options, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, json.loads(out.getvalue())


def test_unfinished_work_keeps_its_exchanges_and_the_rest_goes(past: World) -> None:
    failed = Transfer.objects.get(state="failed")
    batches = failed.steps.exclude(batch=None).values("batch")
    shared = set(Exchange.objects.filter(batch__in=batches, transfer=None).values_list("digest", flat=True))
    assert shared, "it was read ahead together with the others"
    its_own = told_by(failed) | set(failed.exchanges.values_list("digest", flat=True)) | shared
    before = Exchange.objects.count()
    told = retention.erase()
    left = set(Exchange.objects.values_list("digest", flat=True))
    assert its_own <= left
    assert not left & set().union(*(told_by(t) for t in Transfer.objects.filter(state="done"))) - its_own
    assert told.exchanges == before - Exchange.objects.count() > 10
    assert told.altered == [] and not told.more
    assert findings() == []
    again = retention.erase()
    assert (again.exchanges, again.details) == (0, 0)
    assert erased_exchanges() == told.exchanges
    Transfer.objects.filter(pk=failed.pk).update(state="cancelled")
    assert retention.erase().exchanges == len(left)
    assert Exchange.objects.count() == 0
    assert findings() == []


def test_posts_go_when_they_are_through_and_only_then(settings: Any) -> None:
    connection = build("a").target
    for n, state in enumerate(("received", "done", "failed", "done")):
        ended = None if state == "received" else clock.now() - dt.timedelta(days=31 if n < 3 else 29)
        WebhookDelivery.objects.create(
            tenant=connection.tenant,
            connection=connection,
            digest=f"{n:064d}",
            body=b"names",
            state=state,
            received_at=clock.now() - dt.timedelta(days=90),
            ended_at=ended,
        )
    settings.WEBHOOK_RETENTION_DAYS = 0
    assert retention.erase().posts == 0
    settings.WEBHOOK_RETENTION_DAYS, settings.EXCHANGE_RETENTION_DAYS = 30, 0
    assert run("--dry-run")[1]["posts"] == 2
    assert WebhookDelivery.objects.count() == 4
    assert run()[1]["posts"] == 2
    assert list(WebhookDelivery.objects.order_by("digest").values_list("state", flat=True)) == ["received", "done"]
    [facts] = erasures()
    assert (facts["rule"], facts["count"]) == ("WEBHOOK_RETENTION_DAYS", 2)
    assert retention.erase().posts == 0


@pytest.mark.parametrize("state", Transfer.UNFINISHED)
def test_no_kind_of_unfinished_work_loses_evidence(past: World, state: str) -> None:
    """Also what an earlier, finished transfer of the same record left: the next decision may rest on it."""
    done = Transfer.objects.filter(state="done").order_by("pk")[0]
    Transfer.objects.create(
        tenant=done.tenant,
        integration=done.integration,
        record=done.record,
        flow=done.flow,
        source_key=done.source_key,
        revision=done.revision + 1,
        state=state,
        due_at=clock.at(),
        created_at=clock.at(),
        updated_at=clock.at(),
    )
    kept = set(done.exchanges.values_list("pk", flat=True))
    retention.erase()
    assert kept and kept <= set(Exchange.objects.values_list("pk", flat=True))
    assert findings() == []


def test_what_is_younger_than_the_rule_stays(past: World, settings: Any) -> None:
    settings.EXCHANGE_RETENTION_DAYS = 402
    assert retention.erase().exchanges == 0
    settings.EXCHANGE_RETENTION_DAYS = 0
    assert retention.cutoff() is None
    assert retention.erase().exchanges == 0
    assert run() == (
        0,
        {"ok": True, "days": 0, "before": None, "exchanges": 0, "details": 0, "posts": 0, "altered": [], "dry_run": False},
    )


def test_what_somebody_removed_is_still_missing_after_the_rule_ran(past: World) -> None:
    done = Transfer.objects.filter(state="done").order_by("pk")[0]
    done.exchanges.order_by("pk")[0].delete()
    missing = ["an exchange it rests on is missing and no rule erased it"]
    assert findings() == missing
    retention.erase()
    assert findings() == missing


def test_the_rule_does_not_excuse_what_came_after_it(past: World) -> None:
    """The same question and answer have the same digest: only what was there when the rule ran went by it."""
    done = Transfer.objects.filter(state="done").order_by("pk")[0]
    digest = done.exchanges.order_by("pk")[0].digest
    retention.erase()
    assert findings() == []
    with transaction.atomic():
        audit.append_to_record(SourceRecord.objects.get(pk=done.record_id), [audit.Draft("written", {"exchanges": [digest]})])
    assert findings() == ["an exchange it rests on is missing and no rule erased it"]


def test_what_was_changed_is_kept_as_evidence(past: World) -> None:
    forged = Transfer.objects.filter(state="done").order_by("pk")[0].exchanges.order_by("pk")[0]
    Exchange.objects.filter(pk=forged.pk).update(response_body="nothing to see")
    code, told = run()
    assert code == 1
    assert told["altered"] == [f"exchange {forged.pk}"]
    assert Exchange.objects.filter(pk=forged.pk).exists()
    assert findings() == ["was changed after it was recorded"]


def test_details_go_by_the_same_rule(past: World) -> None:
    clock.offset_s = 0
    tenant = past.integration.tenant
    for owner_of_chain in (tenant, None):
        audit.append(
            owner_of_chain, audit.Draft("noted", {"n": 1}, detail={"name": "Ann"}), audit.Draft("noted", detail={"name": "Bob"})
        )
    failed, done = Transfer.objects.get(state="failed").record, Transfer.objects.filter(state="done")[0].record
    for record in (failed, done):
        with transaction.atomic():
            audit.append_to_record(record, [audit.Draft("noted", detail={"name": "Cid"})])
    assert retention.erase().details == 0, "they are of today"
    clock.offset_s = 401 * DAY
    before = AuditDetail.objects.count()
    AuditDetail.objects.filter(tenant=None).order_by("pk")[0].delete()
    missing = ["its detail is missing and no rule erased it"]
    assert findings() == missing
    told = retention.erase()
    assert told.details == before - 1 - AuditDetail.objects.count() >= 4
    assert AuditDetail.objects.get(detail={"name": "Cid"}).entry.chain == f"record:{failed.pk}"
    assert not AuditDetail.objects.filter(detail__name__in=["Ann", "Bob"]).exists()
    assert findings() == missing, "one was removed by hand, the others by rule"
    AuditDetail.objects.all().delete()
    assert len(findings()) > 1


def test_a_dry_run_counts_and_erases_nothing(past: World) -> None:
    before = Exchange.objects.count()
    code, told = run("--dry-run")
    assert code == 0
    assert told["exchanges"] > 0 and told["dry_run"]
    assert Exchange.objects.count() == before and erasures() == []
    assert run()[1]["exchanges"] == told["exchanges"] == before - Exchange.objects.count()


def test_it_goes_in_small_batches_each_with_its_entry(past: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 4)
    total = retention.erase(dry_run=True).exchanges
    assert retention.erase(within_s=-1).more
    told = retention.erase()
    assert told.exchanges == total
    assert len(erasures()) > 3 and all(facts["count"] <= 4 for facts in erasures())
    assert erased_exchanges() == total
    assert findings() == []


def test_the_task_comes_again_while_there_is_more(past: World, settings: Any) -> None:
    assert "connector.tasks.retention" in workers.ALLOWED_TASKS
    OrmQ.objects.all().delete()
    settings.ENGINE = settings.ENGINE | {"SLICE_S": -1}
    tasks.retention()
    assert OrmQ.objects.count() == 1
    OrmQ.objects.all().delete()
    settings.ENGINE = settings.ENGINE | {"SLICE_S": 20}
    tasks.retention()
    assert OrmQ.objects.count() == 0
    assert erasures()


def test_its_turn_comes_once_a_day(past: World, settings: Any) -> None:
    Heartbeat.objects.all().delete()
    assert not retention.due(), "the first time a day after installation"
    assert not retention.due()
    clock.offset_s += DAY + 1
    assert [retention.due(), retention.due()] == [True, False]
    clock.offset_s += DAY + 1
    settings.EXCHANGE_RETENTION_DAYS = settings.WEBHOOK_RETENTION_DAYS = 0
    assert not retention.due()
    settings.EXCHANGE_RETENTION_DAYS = 400
    OrmQ.objects.all().delete()
    tasks.tick()
    assert sum("retention" in str(q.func()) for q in OrmQ.objects.all()) == 1


@pytest.mark.postgres
def test_two_at_a_time_erase_everything_once(past: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 3)
    total = retention.erase(dry_run=True).exchanges
    done: list[int] = []

    def work() -> None:
        try:
            done.append(retention.erase().exchanges)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    retention.erase()
    assert len(done) == 3
    assert erased_exchanges() == total
    assert findings() == []


def test_pages_say_that_calls_are_gone_not_that_there_were_none(past: World) -> None:
    done = Transfer.objects.filter(state="done").order_by("pk")[0]
    client = client_of(owner())
    path = f"/admin/connector/transfer/{done.pk}/change/"
    assert "create shipment" in client.get(path).content.decode()
    Transfer.objects.filter(state="failed").update(state="cancelled")  # the read-ahead was its, too
    retention.erase()
    page = client.get(path).content.decode()
    assert "No longer stored: old calls are erased by rule." in page
    assert "None yet." not in page

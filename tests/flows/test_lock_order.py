"""Records are locked before their transfers, by everybody: two orders would wait for each other, and one would be killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from connector.models import EffectSend, FlowState, ReconciliationFinding, SourceRecord, Transfer
from connector.services import clock, transfers
from connector.services.reconcile import remedies
from tests.flows.support import edit, small
from tests.flows.test_reconcile import compare, of, refuse_then_find
from tests.world import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def against(transfer: Transfer, first: Callable[[], Any], second: Callable[[], Any]) -> list[BaseException]:
    """Run `first` while `second`, begun after the record was locked for it, is under way; what they raised."""
    problems: list[BaseException] = []

    def other() -> None:
        try:
            second()
        except transfers.NotPossible:
            pass
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=other)
    try:
        with transaction.atomic():
            SourceRecord.objects.select_for_update().get(pk=transfer.record_id)
            thread.start()
            time.sleep(0.7)
            first()
    except transfers.NotPossible:
        pass
    except Exception as error:
        problems.append(error)
    thread.join()
    return problems


def test_cancel_and_replay_in_two_tabs_do_not_wait_for_each_other(world: World) -> None:
    world.ready(1, ShipViaCode="NOT-MAPPED")
    world.sync()
    transfer = Transfer.objects.select_related("record").get()
    assert transfer.state == "failed"
    again = Transfer.objects.select_related("record").get()
    problems = against(transfer, lambda: transfers.cancel(transfer, actor="ann"), lambda: transfers.replay(again, actor="bob"))
    assert problems == []
    assert Transfer.objects.get().state == "cancelled"


def test_cancel_and_a_poll_that_sees_it_mended_do_not_wait_for_each_other(world: World) -> None:
    [one] = world.ready(1, ShipViaCode="NOT-MAPPED")
    world.sync()
    transfer = Transfer.objects.select_related("record").get()
    assert transfer.state == "failed"
    edit(world, one, ShipViaCode="FDX-GND")
    problems = against(transfer, lambda: transfers.cancel(transfer, actor="ann"), world.poll)
    assert problems == []
    assert FlowState.objects.get(flow="ship").last_error is None
    assert Transfer.objects.get().state == "cancelled", "a person's word stands"


def test_a_remedy_that_asks_the_carrier_and_news_of_the_parcel_do_not_wait_for_each_other(world: World) -> None:
    [one] = world.ready(1)
    world.sync()
    shipment = of(one)
    finding = ReconciliationFinding.objects.create(
        tenant=shipment.tenant,
        integration=shipment.integration,
        kind="carrier_unknown",
        remedy="ask",
        subject=shipment.source_key,
        record=shipment.record,
        shipment_id=shipment.pk,
        first_seen_at=clock.now(),
        last_seen_at=clock.now(),
    )
    transfer = world.transfer(one)
    news = type(shipment).objects.filter(pk=shipment.pk)
    assert against(transfer, lambda: news.update(status="in_transit"), lambda: remedies.apply(finding, actor="ann")) == []
    assert news.get().status == "in_transit" and news.get().next_track_at <= clock.now()


def test_a_remedy_that_looks_once_more_and_the_look_itself_do_not_wait_for_each_other(world: World, settings: Any) -> None:
    small(settings)
    number = refuse_then_find(world)
    compare(world)
    finding, late = ReconciliationFinding.objects.get(remedy="adopt"), EffectSend.objects.filter(outcome="absent")
    problems = against(world.transfer(number), lambda: late.update(looks=9), lambda: remedies.apply(finding, actor="ann"))
    assert problems == []
    assert late.get().looks == 9

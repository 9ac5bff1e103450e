"""Vendors that misbehave: pauses asked for, tokens refused, answers without sense. One label each, and nothing claimed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.models import EffectSend, Exchange, Label, LimitBucket, Shipment, Transfer
from connector.services import audit, throttle
from integrations.base.simulator import Fault, SimRequest, SimResponse
from integrations.flows import mapping
from tests.flows.support import CREATE_LINE, change, creates, due_now, edit, later, masters, quick_logins, send_of, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def carried(world: World, count: int = 1) -> None:
    """Everything is done, bought once, and the numbers stand in IFS."""
    assert world.states() == {"done": count}
    assert world.labels() == count
    assert sorted(world.numbers().values()) == sorted(masters(world))


def in_peace(world: World) -> None:
    """The vendor's pauses have passed."""
    later(world, 3600)
    throttle.forget()


# -- too many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Retry-After": "7"}, {}])
def test_a_storm_of_429_at_fedex_is_waited_out(world: World, settings: Any, headers: dict[str, str]) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.ready(20)
    body = json.dumps({"errors": [{"code": "TOO.MANY.REQUESTS", "message": "wait 10 seconds"}]})
    storm = world.fedex.fault("status", CREATE_LINE, times=20, status=429, body=body, headers=headers)
    world.sync()
    first = storm.used
    assert 1 <= first <= 8, "after the first refusals everybody rests"
    assert not Transfer.objects.filter(attempts__gt=0).exists(), "a pause is not counted as an attempt"
    assert not Transfer.objects.filter(state="failed").exists()
    for _ in range(30):
        in_peace(world)
        due_now(world)
        if world.states() == {"done": 20}:
            break
    carried(world, 20)
    assert creates(world) == 20 + storm.used
    assert EffectSend.objects.exclude(number=1).count() == 0, "a refusal is proven: same send number"


@pytest.mark.parametrize("fault", ["429:20", "429"])
def test_a_storm_of_429_at_ifs_is_waited_out(world: World, settings: Any, fault: str) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.ready(10)
    world.poll()
    world.ifs.fault(fault, "PATCH", times=6)
    world.work()
    for _ in range(20):
        in_peace(world)
        due_now(world)
        if world.states() == {"done": 10}:
            break
    carried(world, 10)
    assert creates(world) == 10


def test_the_daily_quota_of_fedex_rests_until_midnight(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("429_daily", CREATE_LINE)
    world.sync()
    transfer = world.transfer(shipment_id)
    assert transfer.state == "waiting" and transfer.attempts == 0
    wait = (transfer.due_at - transfer.updated_at).total_seconds()
    assert 0 < wait <= 86400 * 1.1 + 70
    assert creates(world) == 1
    later(world, 2 * 86400)
    throttle.forget()
    world.work()
    carried(world)


# -- tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_a_401_in_the_middle_renews_the_token_and_goes_on(world: World, settings: Any, shape: int) -> None:
    small(settings)
    quick_logins(world)
    world.ready(6)
    world.poll()
    world.fedex.fault("401_once", CREATE_LINE, skip=2, shape=shape)
    world.work()
    settle(world)
    carried(world, 6)
    assert creates(world) == 7 and world.fedex.creates == 6
    assert world.fedex.token_requests == 2


def test_expired_tokens_at_both_ends_are_renewed_without_anyone_noticing(world: World, settings: Any) -> None:
    small(settings)
    world.ready(3)
    world.sync()
    for token in world.fedex.state["tokens"].values():
        token["expires_at"] = 0
    world.ifs.state["tokens"] = {}
    LimitBucket.objects.all().delete()
    throttle.forget()
    world.ready(3)
    world.sync()
    carried(world, 6)
    assert not Transfer.objects.filter(attempts__gt=0).exists()


def test_a_401_that_stays_pauses_the_connection_and_is_no_doubt(world: World, settings: Any) -> None:
    small(settings)
    quick_logins(world)
    world.ready(2)
    world.poll()
    world.fedex.fault("401_once", CREATE_LINE, times=None, shape=3)
    world.work()
    assert world.states() == {"waiting": 2}
    assert set(EffectSend.objects.values_list("outcome", flat=True)) <= {"refused"}
    assert world.fedex.creates == 0
    calls = creates(world)
    world.work()
    assert creates(world) == calls, "paused"


# -- answers without sense ---------------------------------------------------------------------------

GARBLED = {
    "truncated": ("truncate", {}),
    "empty": ("empty", {}),
    "html after the work": ("html", {"after_work": True, "status": 200}),
    "html 502 after the work": ("html", {"after_work": True, "status": 502}),
    "no tracking number": ("no_tracking_number", {}),
}


@pytest.mark.parametrize("name", GARBLED)
def test_a_garbled_answer_to_a_create_is_in_doubt_and_then_adopted(world: World, settings: Any, name: str) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.fedex.options(references_visible_after_s=30)
    kind, args = GARBLED[name]
    [shipment_id] = world.ready()
    world.fedex.fault(kind, CREATE_LINE, **args)
    world.sync()
    transfer = world.transfer(shipment_id)
    assert transfer.state == "in_doubt", (transfer.code, transfer.message)
    assert send_of(transfer).outcome == "unknown"
    assert world.numbers() == {}
    later(world, 31)
    due_now(world)
    carried(world)
    assert creates(world) == 1
    assert world.transfer(shipment_id).attention == "label_missing"


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("html", {"status": 503}),
        ("status", {"status": 500, "body": "{}"}),
        ("error_in_200", {}),
        ("status", {"status": 200, "body": '{"output": {}}'}),
    ],
)
def test_an_answer_that_proves_nothing_is_in_doubt_and_sent_only_once(
    world: World, settings: Any, kind: str, args: dict[str, Any]
) -> None:
    """Nothing was made, but the answer does not prove it: looked up, not sent again."""
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault(kind, CREATE_LINE, **args)
    world.sync(wait_s=0.4)
    assert world.transfer(shipment_id).state == "in_doubt"
    later(world, 86400)
    due_now(world)
    assert world.transfer(shipment_id).state == "in_doubt"
    assert creates(world) == 1 and world.labels() == 0 and world.numbers() == {}


def test_html_and_nonsense_from_ifs_are_tried_again(world: World, settings: Any) -> None:
    small(settings)
    world.ready(4)
    world.ifs.fault("html_error", "GET .*ShipmentLineSet", times=3)
    world.ifs.fault("truncate", "GET .*ShipmentSet\\(", times=2)
    world.ifs.fault("empty", "PATCH", times=2)
    world.ifs.fault("html_error:503", "PATCH", times=1, skip=3)
    world.sync()
    settle(world)
    carried(world, 4)
    assert creates(world) == 4


def test_a_token_endpoint_that_speaks_html_buys_nothing_and_recovers(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=600.0, RETRY_CAP_S=900.0)
    world.ready()
    world.poll()
    world.fedex.fault("html", "/oauth/token", status=503)
    world.work()
    assert world.states() == {"waiting": 1} and creates(world) == 0
    assert not EffectSend.objects.exists()
    in_peace(world)
    due_now(world)
    carried(world)


def test_label_bytes_that_are_no_pdf_are_kept_and_marked(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("label_garbage", CREATE_LINE)
    world.sync()
    carried(world)
    transfer = world.transfer(shipment_id)
    assert (transfer.state, transfer.attention) == ("done", "label_unreadable")
    label = Label.objects.get()
    assert not label.readable and label.problem and bytes(label.data)


def test_a_missing_label_is_marked_and_the_number_written(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("label_missing", CREATE_LINE)
    world.sync()
    carried(world)
    assert world.transfer(shipment_id).attention == "label_missing"
    assert not Label.objects.exists()
    assert Shipment.objects.get().cost is not None


def test_a_missing_rating_leaves_the_cost_unknown_never_zero(world: World, settings: Any) -> None:
    small(settings)
    [shipment_id] = world.ready()
    world.fedex.fault("rating_missing", CREATE_LINE)
    world.sync()
    carried(world)
    shipment = Shipment.objects.get()
    assert (shipment.cost, shipment.cost_kind, shipment.currency) == (None, "unknown", "")
    assert world.transfer(shipment_id).attention is None


def test_a_warning_is_kept_and_the_shipment_carried(world: World, settings: Any) -> None:
    small(settings)
    world.ready()
    world.fedex.fault("warning_alert", CREATE_LINE)
    world.sync()
    carried(world)
    assert Shipment.objects.get().alerts


# -- the wire ----------------------------------------------------------------------------------------


def test_dripping_answers_of_ifs_are_cut_by_the_total_deadline(world: World, settings: Any) -> None:
    small(settings)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1}, read_timeout_s=1)
    world.ready()
    world.poll()
    world.ifs.fault("drip", "PATCH", seconds=0.2)
    world.work()
    settle(world)
    carried(world)
    assert creates(world) == 1 and world.calls("PATCH") == 1
    assert Exchange.objects.filter(method="PATCH").exclude(error="").count() == 1


def test_a_keep_alive_that_went_stale_costs_no_doubt(world: World, settings: Any) -> None:
    """The server closes idle connections without saying so; the once-only send goes over a fresh one."""
    small(settings)
    world.fedex.fault("close", ".*", times=None)
    world.ifs.fault("close", ".*", times=None)
    world.ready(6)
    world.sync()
    settle(world)
    carried(world, 6)
    assert creates(world) == 6
    assert not EffectSend.objects.filter(looks__gt=0).exists()


def test_every_exchange_is_kept_with_its_answer(world: World, settings: Any) -> None:
    small(settings)
    world.ready()
    world.fedex.fault("status", CREATE_LINE, status=400, body=json.dumps({"errors": [{"code": "PACKAGE.WEIGHT.INVALID"}]}))
    world.sync()
    [kept] = Exchange.objects.filter(operation="create shipment")
    assert kept.status == 400 and "PACKAGE.WEIGHT.INVALID" in kept.response_body
    assert world.states() == {"failed": 1}
    assert list(audit.verify()) == []


# -- one bad record ----------------------------------------------------------------------------------


def test_one_bad_record_among_five_hundred_stops_nobody(world: World, settings: Any) -> None:
    small(settings)
    ids = world.ready(500)
    bad = ids[270]
    edit(world, bad, ShipViaCode="ROAD-X")
    result = world.sync()
    assert result.seen == 500
    assert world.states() == {"done": 499, "failed": 1}
    assert (world.transfer(bad).state, world.transfer(bad).code) == ("failed", "unmapped_service")
    assert "ROAD-X" in world.transfer(bad).message and world.transfer(bad).remedy
    assert world.labels() == 499 and sorted(world.numbers()) == [i for i in ids if i != bad]


def test_a_crash_of_ours_on_one_record_fails_that_record_only(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(settings)
    ids = world.ready(5)
    real = mapping.request_of

    def broken(context: Any, document: Any, goods: Any) -> Any:
        if document.number == str(ids[2]):
            raise ZeroDivisionError("secret text that nobody should read")
        return real(context, document, goods)

    monkeypatch.setattr(mapping, "request_of", broken)
    world.sync()
    transfer = world.transfer(ids[2])
    assert (transfer.state, transfer.code) == ("failed", "internal_error")
    assert "secret text" not in transfer.message
    assert world.states() == {"done": 4, "failed": 1}


def test_an_answer_with_characters_that_no_database_keeps_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The label is bought: whatever stands in its alerts, its number must reach IFS."""
    real = world.fedex.handle

    def odd(request: SimRequest) -> tuple[SimResponse, list[Fault]]:
        answer, faults = real(request)
        if request.path == "/ship/v1/shipments" and answer.status == 200:
            [made] = answer.body["output"]["transactionShipments"]
            made["alerts"] = [{"code": "ODD", "alertType": "NOTE", "message": "a\0b\ud800c"}]
            made["serviceType"] += "\0"
        return answer, faults

    monkeypatch.setattr(world.fedex, "handle", odd)
    world.ready(1)
    world.sync()
    carried(world)
    assert Shipment.objects.get().alerts == ["NOTE ODD: abc"]

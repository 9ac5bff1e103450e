"""A purchase whose outcome is unknown: looked up, never sent again blindly, settled by proof or by a person."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from connector.models import Effect, EffectSend, Shipment, Transfer
from connector.services import audit, transfers
from connector.services.engine import watching
from connector.services.engine.effects import reference_of
from connector.services.keys import installation
from connector.services.shipments import NotPossible
from integrations.base.records import BoughtPackage, BoughtShipment, Pending
from integrations.fedex.adapter import Fedex
from integrations.flows.specs import FLOWS
from tests.flows.support import CREATE_LINE, change, creates, due_now, later, look_ups, masters, send_of, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86400.0
DEFAULTS = {"look_up_after_s": [5, 30, 120, 600, 3600], "resend_after_s": None}


@pytest.fixture
def lost(world: World, settings: Any) -> World:
    """One shipment whose create never reached FedEx's booking, although the request was sent: nothing can be found."""
    small(settings)
    world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    assert world.states() == {"in_doubt": 1}
    assert world.labels() == 0
    return world


def doubtful(world: World) -> Transfer:
    """The one transfer, fresh."""
    return Transfer.objects.get(integration=world.integration, flow="ship")


def past_deadline(world: World) -> None:
    """Buttons and proofs count only after the request can no longer be under way."""
    later(world, 100)


def test_with_fedex_defaults_nothing_is_sent_again_within_24_hours(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    change(world, "fedex", in_doubt=DEFAULTS)
    world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    for _ in range(26):
        later(world, 3500)
        due_now(world)
        later(world, 120)
        world.sync()
    assert world.states() == {"in_doubt": 1}
    assert creates(world) == 1, "never a second request"
    assert look_ups(world) > 24, "but it was looked for, again and again"
    assert world.labels() == 0 and world.numbers() == {}
    transfer = doubtful(world)
    assert "two buttons" in transfer.remedy and "no proof" in transfer.message
    assert list(audit.verify()) == []


def test_waits_between_looks_follow_the_settings_then_hours_then_days(world: World, settings: Any) -> None:
    small(settings)
    change(world, "fedex", in_doubt=DEFAULTS)
    world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    waits = []
    for _ in range(6):
        transfer = doubtful(world)
        waits.append(round((transfer.due_at - transfer.updated_at).total_seconds()))
        later(world, waits[-1] + 1)
        world.work()
    assert waits == [5, 30, 120, 600, 3600, 3600]
    later(world, 8 * DAY)
    world.work()
    transfer = doubtful(world)
    assert round((transfer.due_at - transfer.updated_at).total_seconds()) == 86400
    assert creates(world) == 1


def test_look_ups_that_miss_at_first_find_it_later(world: World, settings: Any) -> None:
    """FedEx shows a reference only some time after the shipment was made."""
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.fedex.options(references_visible_after_s=30)
    [shipment_id] = world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    for _ in range(3):
        due_now(world)
    assert world.states() == {"in_doubt": 1}
    missed = look_ups(world)
    assert missed >= 3
    later(world, 31)
    due_now(world)
    assert world.states() == {"done": 1}
    assert look_ups(world) == missed + 1
    assert creates(world) == 1
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_not_made_needs_a_reason_and_sends_once_more_under_a_new_reference(lost: World) -> None:
    first = send_of(doubtful(lost))
    past_deadline(lost)
    with pytest.raises(NotPossible, match="reason"):
        transfers.decide_not_made(doubtful(lost), actor="ann", reason="  ")
    assert transfers.decide_not_made(doubtful(lost), actor="ann", reason="FedEx says there is none").done
    lost.work()
    assert lost.states() == {"done": 1}
    assert creates(lost) == 2 and lost.labels() == 1
    sends = list(EffectSend.objects.order_by("number"))
    assert [(s.number, s.outcome) for s in sends] == [(1, "absent"), (2, "done")]
    assert (sends[0].decided_by, sends[0].decided_reason) == ("ann", "FedEx says there is none")
    record = doubtful(lost).record
    expected = [
        reference_of(installation().uid, lost.integration.slug, record.source_key, "label", 1, number) for number in (1, 2)
    ]
    assert [s.reference for s in sends] == expected and sends[0].reference == first.reference
    assert expected[1] in lost.fedex.made_by_reference() and expected[0] not in lost.fedex.made_by_reference()
    assert lost.numbers() and list(audit.verify()) == []


def test_a_wrong_not_made_leaves_ifs_with_the_shipment_that_we_know(world: World, settings: Any) -> None:
    """The person was wrong: the first shipment exists. IFS still holds exactly the number that we hold."""
    small(settings)
    world.fedex.options(references_visible_after_s=3600)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    world.later(100)
    transfers.decide_not_made(doubtful(world), actor="ann", reason="I believe so")
    world.work()
    assert creates(world) == 2
    [number] = world.numbers().values()
    assert number == Shipment.objects.get().master_tracking_number


def test_an_answer_that_comes_after_the_decision_not_made_is_kept_and_raised(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen worker wakes up with an answer to a send that a person has meanwhile declared not made."""
    small(settings)
    world.ready()
    real = Fedex.create_shipment

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> BoughtShipment | Pending:
        made = real(self, body, request, ticket)
        if ticket.number == 1:
            EffectSend.objects.filter(number=1).update(outcome="absent", decided_by="ann", decided_reason="I believe so")
        return made

    monkeypatch.setattr(Fedex, "create_shipment", create)
    world.sync()
    transfer = doubtful(world)
    assert transfer.attention == "bought_twice"
    assert [s.outcome for s in EffectSend.objects.all()] == ["done"]
    assert Shipment.objects.get().master_tracking_number == masters(world)[0]
    assert creates(world) == 1
    assert list(audit.verify()) == []


def test_made_takes_the_number_that_a_person_states(lost: World) -> None:
    past_deadline(lost)
    with pytest.raises(NotPossible, match="letters and digits"):
        transfers.decide_made(doubtful(lost), number="12 34-5", actor="ann", reason="seen at FedEx")
    with pytest.raises(NotPossible, match="reason"):
        transfers.decide_made(doubtful(lost), number="794600000099", actor="ann", reason="")
    transfers.decide_made(doubtful(lost), number="7946 0000 0099", actor="ann", reason="seen at FedEx")
    lost.work()
    transfer = doubtful(lost)
    assert (transfer.state, transfer.attention) == ("done", "label_missing")
    assert list(lost.numbers().values()) == ["794600000099"]
    shipment = Shipment.objects.get()
    assert (shipment.adopted, shipment.cost, shipment.cost_kind) == (True, None, "unknown")
    assert creates(lost) == 1


def test_a_stated_number_does_not_outlive_the_word_that_nothing_was_made(lost: World) -> None:
    """Ann names a number, Bob knows better before a worker has taken it up: it says nothing of the request that follows."""
    past_deadline(lost)
    transfers.decide_made(doubtful(lost), number="794600000001", actor="ann", reason="misread")
    transfers.decide_not_made(doubtful(lost), actor="bob", reason="that is another parcel's")
    lost.fedex.fault("reset", CREATE_LINE)
    lost.work()
    assert creates(lost) == 2 and lost.states() == {"in_doubt": 1}
    due_now(lost)
    assert lost.states() == {"in_doubt": 1}, "the second request is looked up, not settled by a word about the first"
    assert not Shipment.objects.exists() and lost.numbers() == {}


def test_buttons_wait_until_the_request_cannot_be_under_way_any_more(lost: World) -> None:
    with pytest.raises(NotPossible, match="under way"):
        transfers.decide_not_made(doubtful(lost), actor="ann", reason="quickly")
    assert creates(lost) == 1


def test_cancel_is_refused_while_a_send_is_open(lost: World) -> None:
    with pytest.raises(NotPossible, match="in doubt"):
        transfers.cancel(doubtful(lost), actor="ann")
    assert lost.states() == {"in_doubt": 1}


def test_replay_of_what_is_in_doubt_looks_now_and_sends_nothing(lost: World) -> None:
    change(lost, "fedex", in_doubt={"look_up_after_s": [3000], "resend_after_s": None})
    due_now(lost)
    seen = look_ups(lost)
    lost.work()
    assert look_ups(lost) == seen, "not due yet"
    assert transfers.replay(doubtful(lost), actor="ann").done
    lost.work()
    assert look_ups(lost) == seen + 1
    assert creates(lost) == 1 and lost.states() == {"in_doubt": 1}


def test_two_shipments_under_one_reference_stay_in_doubt(world: World, settings: Any) -> None:
    """Somebody made a second one by hand under our reference: which is ours, nobody can tell."""
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.fedex.options(references_visible_after_s=3600)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    facts = next(iter(world.fedex.state["shipments"].values()))
    twin = {**facts, "master": "794699999999", "numbers": ["794699999999"]}
    world.fedex.state["shipments"]["794699999999"] = twin
    package = {**world.fedex.state["packages"][facts["master"]], "master": "794699999999"}
    world.fedex.state["packages"]["794699999999"] = package
    for numbers in world.fedex.state["references"].values():
        numbers.append("794699999999")
    later(world, 3601)
    due_now(world)
    transfer = doubtful(world)
    assert transfer.state == "in_doubt"
    assert "794699999999" in transfer.message and facts["master"] in transfer.message
    assert world.numbers() == {} and creates(world) == 1


def test_a_reference_that_fedex_calls_ambiguous_stays_in_doubt(world: World, settings: Any) -> None:
    small(settings)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    body = {
        "output": {
            "completeTrackResults": [
                {"trackResults": [{"error": {"code": "TRACKING.DATA.NOTUNIQUE", "message": "More than one shipper matches."}}]}
            ]
        }
    }
    world.fedex.fault("status", "/track/v1/referencenumbers", times=None, status=200, body=json.dumps(body))
    world.sync(wait_s=0.5)
    transfer = doubtful(world)
    assert transfer.state == "in_doubt" and "more than one" in transfer.message
    assert creates(world) == 1


@pytest.mark.parametrize(
    ("where", "value", "named"),
    [
        ("postalCode", "99501", "postal code"),
        ("countryCode", "CA", "recipient country"),
    ],
)
def test_a_match_that_goes_elsewhere_is_not_adopted(world: World, settings: Any, where: str, value: str, named: str) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.fedex.options(references_visible_after_s=60)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    facts = next(iter(world.fedex.state["shipments"].values()))
    facts["recipient"]["address"][where] = value
    later(world, 61)
    due_now(world)
    transfer = doubtful(world)
    assert transfer.state == "in_doubt" and named in transfer.message
    assert world.numbers() == {} and not Shipment.objects.exists()


def test_what_was_cancelled_at_the_carrier_meanwhile_is_not_adopted(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    world.fedex.options(references_visible_after_s=60)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    [master] = masters(world)
    facts = world.fedex.state["shipments"][master]
    facts["voided_at"] = dt.datetime.now(dt.UTC).isoformat()
    world.fedex.state["packages"][master]["scans"].append({"event": "CA", "at": dt.datetime.now(dt.UTC).isoformat()})
    later(world, 61)
    due_now(world)
    assert doubtful(world).state == "in_doubt"
    assert "cancelled" in doubtful(world).message
    assert world.numbers() == {} and creates(world) == 1


def test_with_resend_after_s_absence_is_proven_and_sent_again_under_a_new_reference(world: World, settings: Any) -> None:
    small(settings, RETRY_BASE_S=30.0, RETRY_CAP_S=30.0)
    change(world, "fedex", in_doubt={"look_up_after_s": [1, 1], "resend_after_s": 600})
    [shipment_id] = world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    later(world, 300)
    due_now(world)
    assert world.states() == {"in_doubt": 1} and creates(world) == 1, "too early to prove anything"
    later(world, 400)
    due_now(world)
    assert world.states() == {"done": 1}
    assert creates(world) == 2 and world.labels() == 1
    assert [(s.number, s.outcome) for s in EffectSend.objects.order_by("number")] == [(1, "absent"), (2, "done")]
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_an_accepted_job_is_asked_for_until_it_is_there(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending: FedEx gives a job first. We never send more than 40 packages, hence the stand-in."""
    small(settings)
    asked: list[str] = []
    real = Fedex.create_shipment

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> Pending:
        made = real(self, body, request, ticket)
        assert isinstance(made, BoughtShipment)
        monkeypatch.setattr(Fedex, "made", made, raising=False)
        return Pending("job-1", 3000)

    def ask(self: Fedex, ticket: str, request: Any) -> BoughtShipment | Pending:
        asked.append(ticket)
        return Pending(ticket, 3000) if len(asked) < 3 else Fedex.made  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(Fedex, "create_shipment", create)
    monkeypatch.setattr(Fedex, "ask_pending", ask)
    [shipment_id] = world.ready()
    world.sync()
    transfer = doubtful(world)
    assert (transfer.state, transfer.code, send_of(transfer).outcome) == ("waiting", "pending", "pending")
    with pytest.raises(NotPossible):
        transfers.cancel(transfer, actor="ann")
    for _ in range(3):
        due_now(world)
    assert asked == ["job-1"] * 3
    assert world.states() == {"done": 1}
    assert creates(world) == 1
    assert world.numbers() == {shipment_id: masters(world)[0]}


def test_a_job_that_never_ends_becomes_a_doubt_with_buttons(world: World, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small(settings)
    asked: list[str] = []
    made: list[BoughtShipment] = []
    real = Fedex.create_shipment

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> Pending:
        bought = real(self, body, request, ticket)
        assert isinstance(bought, BoughtShipment)
        made.append(bought)
        return Pending("job-1", 3000)

    def ask(self: Fedex, ticket: str, request: Any) -> Pending:
        asked.append(ticket)
        return Pending(ticket, 3000)

    world.fedex.options(references_visible_after_s=7 * DAY)
    monkeypatch.setattr(Fedex, "create_shipment", create)
    monkeypatch.setattr(Fedex, "ask_pending", ask)
    [shipment_id] = world.ready()
    world.sync()
    due_now(world)
    assert (doubtful(world).state, look_ups(world)) == ("waiting", 0), "a job may take a while"
    later(world, 3700)
    due_now(world)
    transfer = doubtful(world)
    assert (transfer.state, send_of(transfer).outcome) == ("in_doubt", "pending")
    questions, looks = len(asked), look_ups(world)
    assert "job-1" in transfer.message and looks  # one, or two on a machine that took seconds for it
    later(world, DAY)
    due_now(world)
    assert (len(asked) - questions, look_ups(world) - looks) == (1, 1), "job and look-up are asked again, ever more rarely"
    number = made[0].master_tracking_number
    transfers.decide_made(doubtful(world), number=number, actor="ann", reason="FedEx told me")
    due_now(world)
    assert world.states() == {"done": 1}
    assert creates(world) == 1
    assert world.numbers() == {shipment_id: number}


def test_a_number_that_another_live_shipment_holds_is_kept_and_marked(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clash of numbers never prevents storing that something was bought."""
    small(settings)
    world.ready(2)
    real = Fedex.create_shipment

    def create(self: Fedex, body: Any, request: Any, ticket: Any) -> BoughtShipment | Pending:
        made = real(self, body, request, ticket)
        assert isinstance(made, BoughtShipment)
        packages = tuple(BoughtPackage("794600000777", p.sequence, p.package_id, p.label) for p in made.packages)
        return BoughtShipment(
            "794600000777", packages, made.service, made.ship_date, made.cost, transaction_id=made.transaction_id
        )

    monkeypatch.setattr(Fedex, "create_shipment", create)
    world.sync()
    assert world.states() == {"done": 2}
    assert sorted(EffectSend.objects.values_list("outcome", flat=True)) == ["done", "done"]
    assert {s.result["master_tracking_number"] for s in EffectSend.objects.all()} == {"794600000777"}
    assert Transfer.objects.filter(attention="number_clash").count() == 1
    assert Shipment.objects.count() == 1 and Effect.objects.count() == 2
    assert list(audit.verify()) == []


# -- what was declared not made ----------------------------------------------------------------------


def hidden(world: World, settings: Any) -> Transfer:
    """One shipment that FedEx has made, whose answer was lost and which cannot be found for a day."""
    small(settings)
    world.fedex.options(references_visible_after_s=DAY)
    world.ready()
    world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync()
    assert world.states() == {"in_doubt": 1} and world.labels() == 1
    past_deadline(world)
    return doubtful(world)


def watch(world: World) -> int:
    """What the minute's task does for references that are watched."""
    return watching.watch(world.integration, FLOWS) if world.integration.pk in watching.due() else 0


def test_what_was_declared_not_made_and_turns_up_late_is_shown_as_bought_twice(world: World, settings: Any) -> None:
    transfer = hidden(world, settings)
    transfers.decide_not_made(transfer, actor="ann", reason="FedEx could not see it")
    world.work()
    assert world.states() == {"done": 1} and world.labels() == 2
    assert watch(world) == 0, "not before an hour is over"
    later(world, 3700)
    before = look_ups(world)
    assert watch(world) == 1 and look_ups(world) == before + 1
    assert watch(world) == 0, "and then ever more rarely"
    later(world, DAY)
    assert watch(world) == 1
    transfer = doubtful(world)
    assert transfer.attention == "bought_twice" and transfer.state == "done"
    assert Shipment.objects.filter(state="active").count() == 2
    assert creates(world) == 2 and list(audit.verify()) == []


def test_what_turns_up_late_while_the_second_try_failed_is_taken_and_never_bought_again(world: World, settings: Any) -> None:
    transfer = hidden(world, settings)
    refusal = '{"errors":[{"code":"SERVICE.PACKAGECOMBINATION.INVALID","message":"Invalid."}]}'
    world.fedex.fault("status", CREATE_LINE, status=400, body=refusal)
    transfers.decide_not_made(transfer, actor="ann", reason="FedEx could not see it")
    world.work()
    assert world.states() == {"failed": 1} and world.labels() == 1
    later(world, DAY + 3700)
    assert watch(world) == 1
    world.work()
    assert world.labels() == 1 and creates(world) == 2, "the refused second request was the last"
    assert list(world.numbers().values()) == masters(world)
    assert doubtful(world).state == "done" and doubtful(world).attention == "label_missing"


def test_watching_ends_after_a_week(world: World, settings: Any) -> None:
    small(settings)
    world.ready()
    world.fedex.fault("reset", CREATE_LINE)
    world.sync()
    past_deadline(world)
    transfers.decide_not_made(doubtful(world), actor="ann", reason="sure")
    world.work()
    looked = 0
    for _ in range(24 * 9):
        later(world, 3600)
        looked += watch(world)
    assert 8 <= looked <= 16
    assert not EffectSend.objects.filter(watch_at__isnull=False).exists()
    assert world.states() == {"done": 1} and doubtful(world).attention is None

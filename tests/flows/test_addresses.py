"""The carrier's advice on addresses: what each policy does with it, who decides, and what it costs in calls."""

from __future__ import annotations

from typing import Any

import pytest

from connector.models import AuditEntry, CheckedAddress, Exchange, Pause, Shipment, Step, Transfer
from connector.services import addresses, audit, transfers
from connector.services.shipments import NotPossible
from integrations.base.errors import RateLimited, Unavailable
from integrations.fedex.adapter import Fedex
from tests.connector.admin_support import client_of, owner
from tests.flows.support import CREATE_LINE, change, creates, due_now, edit, later, masters, one_group, options, small
from tests.world import World, document

pytestmark = pytest.mark.django_db(transaction=True)

RESOLVE = "/address/v1/addresses/resolve"
MISSPELT, FOUND = "12 Misspelt Street", "12 RIGHT ST"
TOWER, UNKNOWN = "1 Tower Road", "1 Unknown Lane"


def to(street: str, **columns: Any) -> dict[str, Any]:
    """Columns of a shipment that goes to this street of Boston."""
    return {
        "ReceiverAddress1": street,
        "ReceiverAddress2": None,
        "ReceiverCity": "Boston",
        "ReceiverState": "MA",
        "ReceiverZipCode": "02110",
    } | columns


def shipped_to(world: World) -> dict[str, Any]:
    """The recipient's address on the one label at FedEx."""
    [made] = world.fedex.shipments()
    address: dict[str, Any] = made.recipient["address"]
    return address


def refused(world: World, street: str, **more: Any) -> Transfer:
    """A document to this street that `block` has stopped."""
    options(world, address_check="block", **more)
    [shipment_id] = world.ready(**to(street))
    world.sync()
    return world.transfer(shipment_id)


def asked(world: World) -> int:
    return world.calls(RESOLVE)


def acts() -> list[str]:
    return list(AuditEntry.objects.filter(act__contains="address").order_by("sequence").values_list("act", flat=True))


# -- each policy -------------------------------------------------------------------------------------


def test_without_the_option_nothing_is_asked(world: World) -> None:
    world.ready(**to(UNKNOWN))
    world.sync()
    assert world.states() == {"done": 1} and asked(world) == 0
    assert not Step.objects.filter(name__contains="address").exists()


@pytest.mark.parametrize("street", [TOWER, UNKNOWN, "PO Box 7"])
def test_warn_ships_as_written_and_keeps_the_advice(world: World, street: str) -> None:
    options(world, address_check="warn")
    world.ready(**to(street))
    world.sync()
    assert world.states() == {"done": 1} and asked(world) == 1
    assert shipped_to(world)["streetLines"] == [street]
    step = Step.objects.get(name="check address")
    assert step.state == "done" and step.result["messages"]
    [entry] = AuditEntry.objects.filter(act="address_checked")
    assert entry.facts["message"] == " ".join(step.result["messages"])
    assert street not in str(entry.facts), "no address in what is kept for ever"
    assert list(audit.verify()) == []


@pytest.mark.parametrize("street", [TOWER, UNKNOWN, "PO Box 7", "8 Several Way"])
def test_block_stops_a_doubtful_address_with_fedex_own_words(world: World, street: str) -> None:
    transfer = refused(world, street)
    assert (transfer.state, transfer.code) == ("failed", "address_doubtful")
    assert transfer.error["vendor_text"] and transfer.error["written"]["lines"] == [street]
    assert creates(world) == 0
    assert Step.objects.get(name="check address").state == "done"
    assert Step.objects.get(name="choose address").state == "failed"


@pytest.mark.parametrize("street", ["9 Elm Street", "7 Guess Street"])
def test_block_lets_pass_what_fedex_resolves(world: World, street: str) -> None:
    assert refused(world, street).state == "done"
    assert shipped_to(world)["streetLines"] == [street]


def test_a_country_that_fedex_does_not_check_stops_nothing(world: World) -> None:
    options(world, address_check="block", terms_of_sale="DAP", country_of_manufacture="US")
    options(world, **{"customs_currency": "USD"})
    world.configure(lambda doc: doc["integrations"][0]["value_maps"]["service"].update({"FDX-INT": "INTERNATIONAL_PRIORITY"}))
    abroad = {"ReceiverCountry": "IS", "ReceiverCity": "Reykjavik", "ReceiverState": None, "ShipViaCode": "FDX-INT"}
    world.ready(**to("1 Unknown Street", **abroad))
    world.sync()
    assert Step.objects.get(name="check address").result["verdict"] == "not_covered"
    assert not Transfer.objects.filter(code="address_doubtful").exists()


def test_ground_economy_goes_to_post_office_boxes(world: World) -> None:
    world.configure(lambda doc: doc["integrations"][0]["value_maps"]["service"].update({"FDX-GND": "SMART_POST"}))
    transfer = refused(world, "PO Box 7")
    assert transfer.code != "address_doubtful", "and FedEx's word on the service is another matter"


def test_the_sandbox_canned_answer_is_no_verdict_about_an_address(world: World) -> None:
    world.fedex.options(virtual_addresses=True)
    transfer = refused(world, MISSPELT, address_correction="apply")
    assert transfer.state == "done" and shipped_to(world)["streetLines"] == [MISSPELT]
    assert "VIRTUAL.RESPONSE" in Step.objects.get(name="check address").result["messages"][0]


# -- corrections -------------------------------------------------------------------------------------


def test_a_correction_is_never_applied_unless_allowed(world: World) -> None:
    assert refused(world, MISSPELT).state == "done"
    assert shipped_to(world)["streetLines"] == [MISSPELT]
    assert Step.objects.get(name="check address").result["proposed"]["lines"] == [FOUND]


def test_an_applied_correction_reaches_the_label_and_not_the_erp(world: World) -> None:
    [shipment_id] = world.ready(**to(MISSPELT, ReceiverAddress2="Dock 4"))
    options(world, address_check="warn", address_correction="apply")
    world.sync()
    address = shipped_to(world)
    assert address["streetLines"] == [FOUND, "DOCK 4"] and address["postalCode"] == "02111-1001"
    row = world.ifs.shipment("standard", shipment_id)
    assert (row["ReceiverAddress1"], row["ReceiverZipCode"]) == (MISSPELT, "02110"), "the ERP is not changed"
    assert "address_corrected" in acts()


def test_only_a_real_edit_counts_as_changed_after_the_label(world: World) -> None:
    [shipment_id] = world.ready(**to(MISSPELT))
    options(world, address_check="warn", address_correction="apply", residential_from_check=True)
    world.sync()
    edit(world, shipment_id, NoteText="call first")
    world.sync()
    assert not world.transfer(shipment_id).attention, "a corrected address is no change of the document"
    edit(world, shipment_id, ReceiverAddress1="99 Other Street")
    world.sync()
    assert world.transfer(shipment_id).attention == "changed_after_label"


def test_home_or_business_is_told_where_nobody_has_said_it(world: World) -> None:
    options(world, address_check="warn", residential_from_check=True)
    world.ready(**to("5 Home Street"))
    world.sync()
    assert shipped_to(world)["residential"] is True


@pytest.mark.parametrize("given", [{"residential": False, "residential_from_check": True}, {"residential_from_check": False}])
def test_the_option_residential_comes_before_the_check(world: World, given: dict[str, bool]) -> None:
    options(world, address_check="warn", **given)
    world.ready(**to("5 Home Street"))
    world.sync()
    assert shipped_to(world)["residential"] is False


# -- a person decides --------------------------------------------------------------------------------


def test_ship_to_the_proposed_address(world: World) -> None:
    transfer = refused(world, MISSPELT, address_correction="ask")
    assert (transfer.state, transfer.code) == ("failed", "address_corrected")
    transfers.decide_address(transfer, choice="proposed", actor="user:ann", reason="rang them up")
    world.work()
    assert world.states() == {"done": 1}
    assert shipped_to(world)["streetLines"] == [FOUND]
    [entry] = AuditEntry.objects.filter(act="decided_address")
    assert (entry.actor, entry.facts["choice"], entry.facts["reason"]) == ("user:ann", "proposed", "rang them up")
    found = addresses.seen(Step.objects.filter(transfer=transfer))
    assert found is not None and (found.chosen, found.by) == ("proposed", "user:ann")
    assert asked(world) == 1, "the day's answer counts"


def test_ship_as_written(world: World) -> None:
    transfer = refused(world, UNKNOWN)
    with pytest.raises(NotPossible):
        transfers.decide_address(transfer, choice="proposed", actor="user:ann", reason="looks right")
    transfers.decide_address(transfer, choice="as_written", actor="user:ann", reason="known to us")
    world.work()
    assert world.states() == {"done": 1} and shipped_to(world)["streetLines"] == [UNKNOWN]
    with pytest.raises(NotPossible):
        transfers.decide_address(
            world.transfer(int(transfer.source_key.split(":")[1])), choice="as_written", actor="user:ann", reason="known to us"
        )


def test_a_decision_holds_for_the_address_it_was_made_on(world: World) -> None:
    transfer = refused(world, UNKNOWN)
    edit(world, int(transfer.source_key.split(":")[1]), ReceiverAddress1=TOWER)
    transfers.decide_address(transfer, choice="as_written", actor="user:ann", reason="known to us")
    world.work()
    again = Transfer.objects.get(pk=transfer.pk)
    assert (again.state, again.code) == ("failed", "address_doubtful") and creates(world) == 0
    assert again.error["written"]["lines"] == [TOWER]


def test_the_page_shows_both_addresses_and_its_buttons_decide(world: World) -> None:
    transfer = refused(world, MISSPELT, address_correction="ask")
    client = client_of(owner())
    page = client.get(f"/admin/connector/transfer/{transfer.pk}/change/").content.decode()
    for text in (MISSPELT, FOUND, "Ship to the proposed address", "Ship as written", "As the carrier proposes it"):
        assert text in page, text
    assert "wrote" not in page, "nothing was written anywhere"
    client.post(f"/admin/connector/transfer/{transfer.pk}/do/ship-proposed/", {"reason": "ok"})
    world.work()
    page = client.get(f"/admin/connector/transfer/{transfer.pk}/change/").content.decode()
    assert "The label goes to the proposed address" in page and "Ship as written" not in page


def test_the_dry_run_shows_the_question(world: World) -> None:
    options(world, address_check="warn")
    client = client_of(owner())
    url = f"/admin/connector/integration/{world.integration.pk}/mappings/"
    page = client.get(url).content.decode()
    assert RESOLVE in page and "addressesToValidate" in page and asked(world) == 0
    options(world, address_check="off")
    assert RESOLVE not in client.get(url).content.decode()


# -- the check itself is down ------------------------------------------------------------------------


def test_warn_goes_on_without_the_check_and_says_so(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="warn")
    world.fedex.fault("status", f"POST {RESOLVE}", times=None, status=503, body="{}")
    world.ready(3)
    world.sync()
    assert world.states() == {"done": 3} and world.labels() == 3
    assert [s.state for s in Step.objects.filter(name="check address")] == ["skipped"] * 3
    assert acts() == ["address_not_checked"] * 3
    tries = asked(world)
    assert tries <= 4, "one question, repeated as reads are; not one for each document"


@pytest.mark.parametrize("fault", ["503", "hangs", "cut off", "no API"])
def test_block_goes_on_without_the_check_and_asks_for_a_look(world: World, settings: Any, fault: str) -> None:
    """FedEx sheet 15: it must not block shipping when it is down, whatever down looks like."""
    small(settings, REST_AFTER=2)
    change(world, "fedex", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1})
    options(world, address_check="block")
    match fault:
        case "503":
            world.fedex.fault("status", f"POST {RESOLVE}", times=None, status=503, body="{}")
        case "hangs":
            world.fedex.fault("delay", f"POST {RESOLVE}", times=None, seconds=1.5)
        case "cut off":
            world.fedex.fault("lost_answer", f"POST {RESOLVE}", times=None)
        case _:
            world.fedex.options(address_allowed=False)
    for number in range(4):
        world.ready(**to(f"{number} Elm Street"))
    world.sync()
    assert world.states() == {"done": 4} and world.labels() == 4
    assert set(Transfer.objects.values_list("attention", flat=True)) == {"address_not_checked"}
    assert {s.note[:27] for s in Step.objects.filter(name="check address")} == {"The address was not checked"}
    target = world.integration.target
    assert (target.unavailable_in_a_row, target.health) != (2, "failed")
    assert target.unavailable_in_a_row == 0 and not Pause.objects.exists(), "what buys labels has answered every time"


def test_after_an_outage_block_stops_bad_addresses_again(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="block")
    world.fedex.fault("status", f"POST {RESOLVE}", times=None, status=503, body="{}")
    world.ready(**to(UNKNOWN))
    world.sync()
    before = asked(world)
    world.ready(**to("9 Elm Street"))
    world.sync()
    assert world.states() == {"done": 2} and asked(world) == before, "not asked again at once"
    world.fedex.faults.clear()
    later(world, 31)
    [shipment_id] = world.ready(**to(UNKNOWN))
    world.sync()
    assert world.transfer(shipment_id).code == "address_doubtful" and world.labels() == 2


def test_the_mark_stays_where_the_write_back_fails_first(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="block")
    world.fedex.fault("status", f"POST {RESOLVE}", times=None, status=503, body="{}")
    world.ifs.fault("status", "PATCH", times=3, status=503, body="{}")
    world.ready()
    world.sync(wait_s=3)
    assert Transfer.objects.get().attempts == 0 and world.labels() == 1
    assert list(Transfer.objects.values_list("state", "attention")) == [("done", "address_not_checked")]


def test_block_waits_for_a_short_pause_and_is_checked_then(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="block")
    world.fedex.fault("status", f"POST {RESOLVE}", status=429, body="{}", headers={"Retry-After": "5"})
    [shipment_id] = world.ready()
    world.sync()
    waiting = world.transfer(shipment_id)
    assert (waiting.state, waiting.code, waiting.attempts) == ("waiting", "rate_limited", 0) and creates(world) == 0
    later(world, 31)
    due_now(world)
    assert world.states() == {"done": 1} and asked(world) == 2 and world.transfer(shipment_id).attention is None


@pytest.mark.parametrize(("pause_s", "waits"), [(5.0, 1), (600.0, 0)])
def test_block_waits_once_and_never_for_long(world: World, monkeypatch: pytest.MonkeyPatch, pause_s: float, waits: int) -> None:
    """As where the quota of address checks is used up: ours or theirs, the label does not wait for tomorrow's."""
    options(world, address_check="block")

    def later_please(*told: Any) -> Any:
        raise RateLimited("The quota of today is used up.", retry_after_s=pause_s)

    monkeypatch.setattr(Fedex, "validate_addresses", later_please)
    [shipment_id] = world.ready()
    world.sync()
    for _ in range(waits):
        assert world.states() == {"waiting": 1} and creates(world) == 0
        due_now(world)
    assert world.states() == {"done": 1} and world.transfer(shipment_id).attention == "address_not_checked"


def test_one_asks_after_an_outage_and_the_others_go_on(world: World) -> None:
    connection = world.integration.target
    addresses.went_down(connection, Unavailable("away", code="unavailable"))
    assert addresses.outage(connection, 30) is not None
    world.later(31)
    assert addresses.outage(connection, 30) is None, "this one asks"
    assert addresses.outage(connection, 30) is not None, "while it does, nobody else hangs"


def test_a_check_that_hangs_does_not_hold_up_group_after_group(world: World, settings: Any) -> None:
    small(settings, SLICE_S=0.5)
    change(world, "fedex", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1})
    options(world, address_check="warn")
    world.fedex.fault("delay", f"POST {RESOLVE}", times=None, seconds=1.5)
    world.ready(4)
    world.poll()
    for _ in range(8):  # the round in which it hangs is over before anything was done
        one_group(world)
    assert world.states() == {"done": 4} and world.labels() == 4


# -- calls, memory, tenants --------------------------------------------------------------------------


def test_sixty_documents_are_checked_group_by_group(world: World) -> None:
    options(world, address_check="warn")
    for number in range(60):
        world.ready(**to(f"{number + 1} Elm Street"))
    world.sync()
    assert world.states() == {"done": 60}
    assert asked(world) == 3, "one call for each group of 20 that is read together"
    assert CheckedAddress.objects.count() == 60
    calls = Exchange.objects.filter(operation="check addresses")
    assert set(Step.objects.filter(name="check address").values_list("batch", flat=True)) == {c.batch for c in calls}


def test_an_address_is_asked_about_once_a_day(world: World) -> None:
    options(world, address_check="warn")
    world.ready(3, **to("9 Elm Street"))
    world.sync()
    world.ready(1, **to("9 Elm Street"))
    world.sync()
    assert asked(world) == 1
    later(world, addresses.KEEP_S + 60)
    world.ready(1, **to("9 Elm Street"))
    world.sync()
    assert asked(world) == 2
    later(world, addresses.KEEP_S + 60)
    addresses.forget_old()
    assert not CheckedAddress.objects.exists()


def test_no_tenant_learns_from_another_where_it_ships(world: World) -> None:
    options(world, address_check="warn")
    world.ready(**to("9 Elm Street"))
    world.sync()
    [row] = CheckedAddress.objects.all()
    mine = world.integration.target
    assert row.tenant_id == mine.tenant_id
    other = World(world.ifs, world.fedex, world.server, "zenith")
    other.doc = document(world.server.url, "zenith")
    other.configure()
    theirs = other.integration.target
    mark = addresses.mark_of(theirs, next(iter(addresses.known(mine, [row.digest]).values())).check.asked)
    assert mark == row.digest and addresses.known(theirs, [mark]) == {}


def test_an_applied_correction_survives_a_lost_answer(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="warn", address_correction="apply")
    [shipment_id] = world.ready(**to(MISSPELT))
    lost = world.fedex.fault("lost_answer", CREATE_LINE)
    world.sync(wait_s=3)
    assert lost.used and world.labels() == 1
    assert world.numbers() == {shipment_id: masters(world)[0]}, "found again by the address that was sent"
    assert Shipment.objects.get().record.bought_digest


def test_what_the_label_lacks_comes_before_an_address_that_was_not_checked(world: World, settings: Any) -> None:
    small(settings)
    options(world, address_check="block")
    world.fedex.fault("status", f"POST {RESOLVE}", times=None, status=503, body="{}")
    world.fedex.fault("label_garbage", CREATE_LINE)
    world.ready()
    world.sync()
    assert list(Transfer.objects.values_list("state", "attention")) == [("done", "label_unreadable")]

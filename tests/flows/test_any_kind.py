"""What vendors, people and machines do wrong, for every kind of document alike: label, number, charge and file are there once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection

from connector.models import Installation, Shipment, Transfer
from connector.services import audit, shipments, switches, throttle, transfers
from connector.services.engine import work
from integrations.flows.specs import FLOWS
from tests.everything import KINDS, TENANT, Document, everything_on, make, stands
from tests.flows.support import CREATE_LINE, change, creates, due_now, later, quick_logins, settle, small
from tests.flows.test_conflicts import between_read_and_write
from tests.flows.test_restore import Copy, after_restore
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = 2
HEADER = {"shipment": "Shipment", "customer_order": "CustomerOrder", "purchase_order": "PurchaseOrder"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def all_on(world: World, settings: Any, kind: str) -> World:
    """Everything that an option adds, but mail and the ask for prices and addresses, which say nothing of these."""
    small(settings)
    world.tenant = TENANT
    quiet = {"rates": False, "rate_rule": "fixed", "address_check": "off", "supplier_mail": False}
    world.configure(lambda doc: everything_on(doc, documents=[kind], **quiet))
    change(world, "ifs", in_doubt={"look_up_after_s": [0.05, 0.05, 0.1, 1, 1, 1], "resend_after_s": 1})
    quick_logins(world)
    return world


def bearing(document: Document) -> list[str]:
    """The orders that bear its cost: without a quote FedEx says nothing of what the sender does not pay."""
    return [] if document.kind == "purchase_order" else list(document.orders)


def carried(world: World, documents: Sequence[Document], *, lost: int = 0) -> None:
    """Each has one live label, its number, its charges, its file; `lost` of them came without label and price."""
    assert {*world.states()} <= {"done", "cancelled"}, list(Transfer.objects.values_list("state", "code", "message"))
    found = stands(world, documents, ())
    for document in documents:
        now = found[document.key]
        assert len(now.live) == 1 and now.numbers == {now.live[0].master}, now
        orders = [order for order, _ in now.costs]
        assert now.files == now.hung and (now.files, orders) in ((1, bearing(document)), (0, [])), now
    assert sum(now.files == 0 for now in found.values()) == lost
    assert len(world.fedex.shipments()) - world.labels() == sum(len(now.voided) for now in found.values())
    assert list(audit.verify()) == []


def peace(world: World) -> None:
    """Whatever waits has its turn, until all is done."""
    for _ in range(20):
        settle(world, wait_s=0.3)
        if set(world.states()) <= {"done", "cancelled"}:
            return
        later(world, 120)
        throttle.forget()
        due_now(world)


AT_FEDEX: dict[str, tuple[str, dict[str, Any], int]] = {
    "answer lost": ("lost_answer", {}, 1),
    "429": ("status", {"status": 429, "body": "{}", "headers": {"Retry-After": "3"}}, 0),
    "401 in the middle": ("401_once", {"skip": 1, "shape": 3}, 0),
    "5xx after the work": ("html", {"status": 502, "after_work": True}, 1),
    "html": ("html", {"status": 200, "after_work": True}, 1),
    "cut short": ("truncate", {}, 1),
    "too slow": ("drip", {"seconds": 0.2}, 1),
}
"""Fault, its details, and how many labels are lost with their answer."""


@pytest.mark.parametrize("name", AT_FEDEX)
def test_trouble_at_the_carrier(all_on: World, kind: str, name: str) -> None:
    fault, details, lost = AT_FEDEX[name]
    if name == "too slow":
        change(all_on, "fedex", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1.5})
    documents = make(all_on, kind, COUNT)
    met = all_on.fedex.fault(fault, CREATE_LINE, **details)
    all_on.sync(wait_s=1)
    peace(all_on)
    assert met.used == 1
    carried(all_on, documents, lost=lost)
    assert creates(all_on) == COUNT + (lost == 0), "only a refusal is followed by another request"


AT_IFS: dict[str, tuple[str, dict[str, Any]]] = {
    "answer lost": ("lost_answer", {}),
    "429": ("429:1", {}),
    "401 in the middle": ("401_once", {}),
    "412": ("412_once", {}),
    "moved (ORA-20114)": ("ora_20114", {}),
    "503": ("503", {}),
    "html": ("html_error:502", {}),
    "cut short": ("truncate", {}),
    "nothing": ("empty", {}),
    "too slow": ("drip", {"seconds": 0.2}),
}
WRITES = {"PATCH": "PATCH .*(Set|Array)\\(", "POST": "POST .*(CreateDocument|ChargeArray)$"}
"""The write-back; the document and the charge, which are made once."""


@pytest.mark.parametrize("name", AT_IFS)
def test_trouble_at_the_erp(all_on: World, kind: str, name: str) -> None:
    fault, details = AT_IFS[name]
    if name == "too slow":
        change(all_on, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1.5}, read_timeout_s=1)
    documents = make(all_on, kind, COUNT)
    all_on.poll()
    met = []
    if "401" not in name:  # a token refused twice within seconds is no accident: that pauses the connection
        met.append(all_on.ifs.fault(fault, WRITES["PATCH"], **details))
    if "412" not in name and "ORA" not in name:  # a version moves only under what stands there already
        met.append(all_on.ifs.fault(fault, WRITES["POST"], **details))
    all_on.work()
    peace(all_on)
    assert [one.used for one in met] == [1] * len(met)
    carried(all_on, documents)
    assert creates(all_on) == COUNT


@pytest.mark.parametrize("end", ["fedex", "ifs"])
def test_a_refused_token_buys_nothing_and_a_good_one_goes_on(all_on: World, kind: str, end: str) -> None:
    documents = make(all_on, kind, COUNT)
    vendor = getattr(all_on, end)
    refusal = {"status": 503, "body": "<html>down</html>"}
    down = vendor.fault("status", "token", times=None, **refusal)
    all_on.sync()
    assert down.used and creates(all_on) == 0 and all_on.fedex.shipments() == []
    vendor.no_faults()
    later(all_on, 3600)
    throttle.forget()
    all_on.sync()
    peace(all_on)
    carried(all_on, documents)
    assert creates(all_on) == COUNT


def test_an_older_copy_of_the_database_buys_nothing_twice(all_on: World, kind: str) -> None:
    documents = make(all_on, kind, COUNT)
    all_on.poll()
    copy = Copy()
    with connection.cursor() as cursor:  # of charges the copy knows nothing, either
        all_on.work()
        cursor.execute("DELETE FROM connector_freightcharge")
    carried_before = stands(all_on, documents, ())
    copy.restore()
    assert len(after_restore()["adopted"]) >= COUNT
    peace(all_on)
    assert stands(all_on, documents, ()) == carried_before and creates(all_on) == COUNT
    assert list(audit.verify()) == []
    assert Installation.objects.get().look_first_until is not None


@pytest.mark.postgres
def test_two_workers_at_once(all_on: World, kind: str) -> None:
    documents = make(all_on, kind, 10)
    all_on.poll()
    integration = all_on.integration
    problems: list[BaseException] = []

    def process() -> None:
        try:
            work.process(integration, FLOWS, threads=3)
        except BaseException as error:
            problems.append(error)
        finally:
            connection.close()

    workers = [threading.Thread(target=process) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == []
    peace(all_on)
    carried(all_on, documents)
    assert creates(all_on) == 10


def test_buying_is_stopped_in_the_middle(all_on: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = make(all_on, kind, 4)

    def stop() -> None:
        switches.stop_buying("tenant", all_on.integration.tenant, True, "ann", "stock count")

    between_read_and_write(monkeypatch, stop)  # one is bought by then, and goes on
    all_on.poll()
    work.process(all_on.integration, FLOWS, threads=1)
    assert 1 <= creates(all_on) < 4
    assert all_on.states() == {"done": creates(all_on), "waiting": 4 - creates(all_on)}
    switches.stop_buying("tenant", all_on.integration.tenant, False, "ann", "")
    peace(all_on)
    carried(all_on, documents)
    assert creates(all_on) == 4


@pytest.mark.parametrize("lose", ["nothing", "the cancel", "the write"])
def test_void_and_buy_again(all_on: World, kind: str, lose: str) -> None:
    [document] = make(all_on, kind, 1)
    all_on.sync()
    if lose == "the cancel":
        all_on.fedex.fault("lost_answer", "PUT /ship/v1/shipments/cancel")
    elif lose == "the write":
        all_on.ifs.fault("lost_answer", WRITES["PATCH"])
    shipments.void_request(Shipment.objects.get(), then="rebuy", actor="ann", reason="damaged")
    peace(all_on)
    now = stands(all_on, [document], ())[document.key]
    assert (len(now.live), len(now.voided), now.numbers) == (1, 1, {now.live[0].master})
    assert [order for order, _ in now.costs] == bearing(document) and all(cost > 0 for _, cost in now.costs)
    assert now.hung == 2, "the voided label stays where it hangs, the new one beside it"
    assert creates(all_on) == 2 and set(all_on.states()) == {"done"} and list(audit.verify()) == []


def edit_header(world: World, document: Document, **values: Any) -> None:
    key = {"ShipmentId": int(document.number)} if document.kind == "shipment" else {"OrderNo": document.number}
    world.ifs.edit(TENANT, HEADER[document.kind], key, values)


def test_a_number_typed_while_we_buy_waits_for_a_person(all_on: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [document] = make(all_on, kind, 1)
    field = "AirwayBillNo" if kind == "shipment" else "Cf_Tracking_No"
    between_read_and_write(monkeypatch, lambda: edit_header(all_on, document, **{field: "TYPED"}))
    all_on.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code) == ("failed", "field_conflict")
    assert "TYPED" in stands(all_on, [document], ())[document.key].numbers
    transfers.decide_field(transfer, keep="ours", actor="ann", reason="a typing error")
    peace(all_on)
    carried(all_on, [document])
    assert creates(all_on) == 1


def test_an_edit_of_another_field_meanwhile_survives(all_on: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [document] = make(all_on, kind, 1)
    act: Callable[[], None] = lambda: edit_header(all_on, document, ShipViaCode="FDX-2DAY")  # noqa: E731
    between_read_and_write(monkeypatch, act)
    all_on.sync()
    peace(all_on)
    carried(all_on, [document])
    key = {"ShipmentId": int(document.number)} if kind == "shipment" else {"OrderNo": document.number}
    assert all_on.ifs.row(TENANT, HEADER[kind], key)["ShipViaCode"] == "FDX-2DAY" and creates(all_on) == 1

"""The label in IFS: as a document or a media item, one for each package, whatever is lost on the way."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import pytest

from connector.models import AuditEntry, EffectSend, Exchange, Installation, Label, Package, Shipment, Step, Transfer
from connector.services import attachments, audit, clock, shipments, transfers
from connector.services.shipments import NotPossible
from tests.flows.support import change, creates, due_now, later, options, settle, small
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)

CREATE, URL, CONNECT, BYTES = (
    f"CreateAndImportDocument.svc/{n}" for n in ("CreateDocument", "GetDocumentUrl", "ConnectObject", "FileData")
)
MEDIA, MEDIA_BYTES = (f"MediaLibraryAttachmentHandling.svc/{n}" for n in ("CreateAndConnectMedia", "MediaObject"))


def on(world: World, place: str = "document", **more: Any) -> None:
    options(world, attach_label=place, **more)


def sole(world: World, number: int) -> dict[str, Any]:
    """The one document, which holds the label's bytes and hangs on the shipment."""
    [document] = world.ifs.documents()
    label = Label.objects.get()
    assert document["on"] == [f"SHIPMENT_ID={number}^"]
    [file] = world.ifs.files().values()
    assert file["sha256"] == hashlib.sha256(bytes(label.data)).hexdigest() == label.sha256
    assert world.states() == {"done": 1} and creates(world) == 1 and list(world.numbers()) == [number]
    return document | file


def test_off_nothing_is_read_or_written_for_it(world: World) -> None:
    world.ready()
    world.sync()
    assert world.ifs.documents() == [] and not Step.objects.filter(name__contains="label", kind="write").exists()
    assert world.calls("GET ShipmentHandling.svc/ShipmentSet(key)") == 1


def test_the_label_hangs_on_the_shipment_as_a_document(world: World) -> None:
    on(world)
    [number] = world.ready()
    world.sync()
    found = sole(world, number)
    tracking = Package.objects.get().tracking_number
    send = EffectSend.objects.get(effect__kind="attachment")
    assert found["Title"] == f"FedEx label {tracking} {send.reference}" and found["DocClass"] == "LABEL"
    assert (found["name"], found["times"]) == (f"label-{tracking}.pdf", 1)
    # DESIGN 12: four calls a label. On what it hangs, the read before the number was written has told.
    assert [world.calls(name) for name in (CREATE, URL, BYTES, CONNECT)] == [1, 1, 1, 1]
    assert world.calls("GET ShipmentHandling.svc/ShipmentSet(key)") == 1 and world.calls("DocReferenceObject") == 0
    [row] = attachments.of(Shipment.objects.get())
    assert (row.number, row.named, row.complete) == (tracking, "document LABEL-1001-1-A1", True)


def test_the_bytes_stand_in_no_exchange_and_no_intent(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    [upload] = Exchange.objects.filter(operation="upload label")
    assert upload.request_body.startswith("[") and Label.objects.get().sha256 in upload.request_body
    assert "%PDF" not in str(list(EffectSend.objects.filter(effect__kind="attachment").values_list("request", "context")))


def test_each_package_has_a_document_of_its_own(world: World) -> None:
    on(world)
    [number] = world.ready(handling_units=2)
    world.sync()
    assert world.states() == {"done": 1}
    documents, files = world.ifs.documents(), world.ifs.files()
    assert len(documents) == len(files) == 2 and all(d["on"] == [f"SHIPMENT_ID={number}^"] for d in documents)
    assert {f["sha256"] for f in files.values()} == set(Label.objects.values_list("sha256", flat=True))
    assert creates(world) == 1 and world.calls("GET ShipmentHandling.svc/ShipmentSet(key)") == 1


def test_the_label_lies_in_the_media_library(world: World) -> None:
    world.ifs.set_options("standard", media_types="png,pdf")
    on(world, "media")
    [number] = world.ready()
    world.sync()
    [item] = world.ifs.media()
    assert (item["LuName"], item["KeyRef"]) == ("Shipment", f"SHIPMENT_ID={number}^")
    assert world.ifs.files()["ITEM_ID=55^"]["sha256"] == Label.objects.get().sha256
    assert world.states() == {"done": 1} and world.ifs.documents() == []
    assert [row.complete for row in attachments.of(Shipment.objects.get())] == [True]


@pytest.mark.parametrize(("place", "told"), [("document", "ZPL"), ("media", "ZPL"), ("closed", "not open for Shipment")])
def test_what_the_erp_does_not_take_is_skipped_with_the_reason(world: World, place: str, told: str) -> None:
    if place == "closed":
        world.ifs.set_options("standard", media_aware=[])
    on(world, "media" if place == "closed" else place, label_format="ZPLII")
    world.ready()
    world.sync()
    assert world.states() == {"done": 1} and world.ifs.documents() == [] and world.ifs.media() == []
    step = Step.objects.get(name="make place for label")
    assert step.state == "skipped" and told in step.note


def test_the_setting_lets_other_files_in(world: World) -> None:
    world.ifs.set_options("standard", doc_classes={"SHIPLABEL": ["zpl"]})
    change(world, "ifs", labels={"doc_class": "SHIPLABEL", "file_types": ["pdf", "zpl"]})
    on(world, label_format="ZPLII")
    [number] = world.ready()
    world.sync()
    assert sole(world, number)["DocClass"] == "SHIPLABEL"


# -- lost answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["document", "media"])
def test_a_lost_answer_to_the_making_is_looked_up_and_nothing_made_again(world: World, settings: Any, place: str) -> None:
    small(settings)
    world.ifs.set_options("standard", media_types="pdf")
    on(world, place)
    [number] = world.ready()
    lost = world.ifs.fault("lost_answer", rf"POST .*({CREATE}|{MEDIA})")
    world.sync()
    assert world.states() == {"in_doubt": 1} and list(world.numbers()) == [number]
    for _ in range(2):
        due_now(world)
    assert lost.used == 1 and world.calls(CREATE) + world.calls(MEDIA) == 1
    assert world.states() == {"done": 1}, Transfer.objects.get().message
    assert len(world.ifs.documents()) + len(world.ifs.media()) == 1 and len(world.ifs.files()) == 1
    assert AuditEntry.objects.filter(act="adopted").count() == 1


@pytest.mark.parametrize(
    ("call", "fault"), [(URL, "lost_answer"), (BYTES, "lost_answer"), (CONNECT, "lost_answer"), (BYTES, "reset")]
)
def test_a_lost_answer_to_what_may_be_repeated_is_asked_again(world: World, settings: Any, call: str, fault: str) -> None:
    small(settings)
    on(world)
    [number] = world.ready()
    pattern = rf"(POST|PATCH) .*{call.rpartition('/')[2]}"
    hit = world.ifs.fault(fault, pattern)
    world.sync()
    settle(world)
    assert hit.used == 1
    sole(world, number)
    assert world.calls(CREATE) == 1


def test_what_never_arrived_is_proven_absent_and_made_once(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1})
    [number] = world.ready()
    world.ifs.fault("reset", rf"POST .*{CREATE}")
    world.sync()
    assert world.states() == {"in_doubt": 1}
    later(world, 400)
    due_now(world)
    sole(world, number)


def test_without_a_title_to_search_by_a_person_decides(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1}, labels={"search": {"title_field": None}})
    [number] = world.ready()
    world.ifs.fault("lost_answer", rf"POST .*{CREATE}")
    world.sync()
    later(world, 4000)
    due_now(world)
    assert world.states() == {"in_doubt": 1} and "labels.search.title_field" in Transfer.objects.get().message
    transfers.decide_made(Transfer.objects.get(), number="1001", actor="ann", reason="seen in IFS")
    world.work()
    sole(world, number)


# -- refusals ----------------------------------------------------------------------------------------


def test_a_refusal_leaves_label_and_number_and_is_replayed_alone(world: World) -> None:
    on(world, freight_charge=True)
    world.ifs.set_options("standard", doc_classes={})
    [number] = world.ready()
    world.sync()
    transfer = Transfer.objects.get()
    assert (transfer.state, transfer.code, transfer.step) == ("failed", "refused", "make place for label")
    assert list(world.numbers()) == [number] and Shipment.objects.get().written_at is not None
    world.ifs.set_options("standard", doc_classes={"LABEL": ["pdf"]})
    tracking_writes = world.calls("PATCH ShipmentHandling")
    reads = world.calls("GET ShipmentHandling.svc/ShipmentSet(key)")
    transfers.replay(Transfer.objects.get(), actor="ann")
    world.work()
    sole(world, number)
    assert world.calls("PATCH ShipmentHandling") == tracking_writes and len(world.ifs.charges()) == 1
    assert world.calls("GET ShipmentHandling.svc/ShipmentSet(key)") == reads + 1, "no write tells it this time"


def test_a_missing_right_stops_the_label_and_not_the_shipping(world: World) -> None:
    on(world)
    world.ifs.set_options("standard", denied_projections=["CreateAndImportDocument"])
    world.ready(2)
    world.sync()
    assert world.states() == {"failed": 2} and len(world.numbers()) == 2
    assert {t.code for t in Transfer.objects.all()} == {"forbidden"}


def test_a_virus_scan_is_waited_for(world: World, settings: Any) -> None:
    small(settings)
    on(world)
    [number] = world.ready()
    world.ifs.fault("423_media", r"PATCH .*FileData")
    world.sync()
    assert Transfer.objects.get().code == "locked" and Transfer.objects.get().state == "waiting"
    later(world, 40)
    settle(world)
    sole(world, number)


def test_a_link_to_a_foreign_host_gets_no_bytes(world: World) -> None:
    on(world)
    world.ready()
    world.ifs.fault("status", rf"POST .*{URL}", status=200, body='{"value": "https://evil.example/x"}')
    world.sync()
    assert Transfer.objects.get().state == "failed" and Transfer.objects.get().code == "foreign_host"


# -- after ---------------------------------------------------------------------------------------------


def test_a_voided_label_stays_in_the_erp_and_the_history_says_which(world: World) -> None:
    on(world)
    world.ready()
    world.sync()
    shipments.void_request(Shipment.objects.get(), then="rebuy", actor="ann", reason="wrong box")
    world.work()
    world.work()
    entry = AuditEntry.objects.get(act="label_left_in_erp")
    assert entry.facts["places"] == ["document LABEL-1001-1-A1"]
    first, second = world.ifs.documents()
    assert first["Title"] != second["Title"] and len(world.ifs.files()) == 2
    live = Shipment.objects.get(state="active")
    assert [row.named for row in attachments.of(live)] == ["document LABEL-1002-1-A1"]


def test_after_a_restore_the_document_is_found_and_not_made_again(world: World) -> None:
    """What this database forgot stands in IFS under our reference."""
    on(world)
    [number] = world.ready()
    world.sync()
    sole(world, number)
    record = Shipment.objects.get().record_id
    EffectSend.objects.filter(effect__kind="attachment").delete()
    Step.objects.filter(record=record, name__in=("make place for label", "upload label", "connect label")).delete()
    Installation.objects.update(look_first_until=clock.now() + dt.timedelta(days=1))
    Transfer.objects.update(state="waiting", due_at=clock.at(-1))
    world.work()
    assert sole(world, number)["times"] == 2 and world.calls(CREATE) == 1


def test_an_adopted_label_without_a_file_is_said_to_be_missing(world: World, settings: Any) -> None:
    small(settings)
    on(world, adopted_label="accept")
    world.ready()
    world.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    world.sync(wait_s=2)
    settle(world, wait_s=1)
    assert world.states() == {"done": 1} and world.ifs.documents() == []
    assert Step.objects.get(name="make place for label").note == "there is no label file"


def test_the_shipments_page_says_where_the_label_hangs(world: World, client: Any, django_user_model: Any) -> None:
    on(world)
    world.ready()
    world.sync()
    client.force_login(django_user_model.objects.create_superuser("root", "root@example.com", "x"))
    page = client.get(f"/admin/connector/shipment/{Shipment.objects.get().pk}/change/").content.decode()
    assert "document LABEL-1001-1-A1" in page


# -- on a person's word ----------------------------------------------------------------------------------


def bought_before(world: World, place: str = "document", **told: Any) -> Shipment:
    """Shipped while labels were not attached; they are since, and freight cost is written, too."""
    world.ready()
    world.sync()
    on(world, place, freight_charge=True, **told)
    return Shipment.objects.get()


@pytest.mark.parametrize("place", ["document", "media"])
def test_a_label_bought_before_the_option_is_attached_on_a_persons_word(world: World, place: str) -> None:
    world.ifs.set_options("standard", media_types="pdf")
    shipment = bought_before(world, place)
    patches = world.calls("PATCH ShipmentHandling")
    attachments.request(shipment, actor="user:ann", reason="the dock prints from IFS")
    with pytest.raises(NotPossible, match="unfinished"):
        attachments.request(shipment, actor="user:ann", reason="once more")
    world.work()
    assert len(world.ifs.documents()) + len(world.ifs.media()) == 1 and world.states() == {"done": 2}
    [row] = attachments.of(shipment)
    assert row.complete and creates(world) == 1
    assert world.calls("PATCH ShipmentHandling") == patches and world.ifs.charges() == [], "nothing else is written"
    entry = AuditEntry.objects.get(act="attach_requested")
    assert (entry.actor, entry.facts["reason"]) == ("user:ann", "the dock prints from IFS")
    with pytest.raises(NotPossible, match="already"):
        attachments.request(shipment, actor="user:ann", reason="once more")
    assert list(audit.verify()) == []


def test_a_lost_answer_on_a_persons_word_makes_no_second_place(world: World, settings: Any) -> None:
    small(settings)
    shipment = bought_before(world)
    lost = world.ifs.fault("lost_answer", rf"POST .*{CREATE}")
    attachments.request(shipment, actor="user:ann", reason="x")
    world.work()
    assert lost.used == 1 and Transfer.objects.get(flow="attach").state == "in_doubt"
    for _ in range(2):
        due_now(world)
    assert Transfer.objects.get(flow="attach").state == "done" and world.calls(CREATE) == 1 and len(world.ifs.documents()) == 1


def test_in_doubt_a_person_may_say_what_became_of_it(world: World, settings: Any) -> None:
    small(settings)
    shipment = bought_before(world)
    change(world, "ifs", timeouts={"connect_s": 1, "read_s": 1, "total_s": 1}, labels={"search": {"title_field": None}})
    world.ifs.fault("lost_answer", rf"POST .*{CREATE}")
    attachments.request(shipment, actor="user:ann", reason="x")
    world.work()
    later(world, 4000)
    due_now(world)
    transfers.decide_made(Transfer.objects.get(flow="attach"), number="1001", actor="ann", reason="seen in IFS")
    world.work()
    assert Transfer.objects.get(flow="attach").state == "done" and [row.complete for row in attachments.of(shipment)] == [True]


def test_who_may_not_have_it_attached_is_told_why(world: World) -> None:
    world.ready()
    world.sync()
    shipment = Shipment.objects.get()
    with pytest.raises(NotPossible, match="switch"):
        attachments.request(shipment, actor="ann", reason="x")
    on(world)
    shipment = Shipment.objects.get()
    with pytest.raises(NotPossible, match="reason"):
        attachments.request(shipment, actor="ann", reason=" ")
    attachments.request(shipment, actor="ann", reason="x")
    on(world, "none")
    world.work()
    assert Transfer.objects.get(flow="attach").code == "attach_off" and world.ifs.documents() == []
    on(world)
    shipments.void_request(shipment, then="clear", actor="ann", reason="wrong box")
    world.work()
    with pytest.raises(NotPossible, match="voided"):
        attachments.request(Shipment.objects.get(), actor="ann", reason="x")


def test_the_button_stands_on_the_page_until_the_label_hangs(world: World, client: Any, django_user_model: Any) -> None:
    shipment = bought_before(world)
    client.force_login(django_user_model.objects.create_superuser("root", "root@example.com", "x"))
    page, act = (f"/admin/connector/shipment/{shipment.pk}/{way}/" for way in ("change", "do/attach"))
    preview = f"/admin/connector/shipment/{shipment.pk}/attach/"
    assert preview in client.get(page).content.decode()
    before = AuditEntry.objects.count(), sum(world.ifs.counts.values())
    seen = client.get(preview).content.decode()
    assert act in seen and f"The label of {shipment.master_tracking_number} (PDF) is hung on the record of the document" in seen
    assert "ERP: 3 to 8" in seen and "Carrier: 0 to 0" in seen
    assert (AuditEntry.objects.count(), sum(world.ifs.counts.values())) == before, "looking changes nothing and asks nobody"
    client.post(act, {"reason": ""})
    assert not Transfer.objects.filter(flow="attach").exists()
    client.post(act, {"reason": "for the dock"})
    world.work()
    assert len(world.ifs.documents()) == 1
    shown = client.get(page).content.decode()
    back = client.get(preview, follow=True)
    assert back.redirect_chain and "Its labels hang in the ERP already" in back.content.decode()
    assert "Attach now" not in shown and "document LABEL-1001-1-A1" in shown

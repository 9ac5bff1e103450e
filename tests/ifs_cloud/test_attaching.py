"""Files in IFS, call by call: what is asked, what is read out of the answer, what a refusal means (sheet 7)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import responses

from integrations.base.errors import NotSent, OutcomeUnknown, Rejected, Unavailable
from integrations.base.records import Anchor, AttachedFile, FilePart, Problem
from integrations.base.roles import SendTicket
from tests.ifs_cloud.support import BASE, ETAG, ROOT, SHIPMENTS, adapter, give_token, path_of, query_of

DOCUMENTS, MEDIA = f"{ROOT}/CreateAndImportDocument.svc", f"{ROOT}/MediaLibraryAttachmentHandling.svc"
HUNG = f"{ROOT}/DocReferenceObjectAttachmentHandling.svc"
ANCHOR = Anchor("Shipment", "SHIPMENT_ID=19^", ("pdf",))
PART = FilePart("shipment:19", "document", "FedEx label 7946", "pdf", ANCHOR)
ITEM = FilePart("shipment:19", "media", "FedEx label 7946", "png", ANCHOR)
MADE = AttachedFile("document", "DOC_CLASS=LABEL^DOC_NO=1001^DOC_SHEET=1^DOC_REV=A1^", "document LABEL-1001-1-A1", ANCHOR)
KEY = {"DocClass": "LABEL", "DocNo": "1001", "DocSheet": "1", "DocRev": "A1"}
TICKET = SendTicket("ML1", 1, 30)


@pytest.fixture
def mock() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as made:
        give_token(made)
        yield made


def refusal(mock: responses.RequestsMock, url: str, ora: str, status: int = 400) -> None:
    details = [{"code": ora, "message": f"ORA-{ora}: DocReferenceObject.EXIST: no"}]
    mock.post(url, status=status, json={"error": {"code": "DATABASE_ERROR", "message": "x", "details": details}})


def test_the_record_says_itself_on_what_files_hang(mock: responses.RequestsMock) -> None:
    mock.get(f"{SHIPMENTS}(ShipmentId=19)", json={"@odata.etag": ETAG, "luname": "Shipment", "keyref": "SHIPMENT_ID=19^"})
    assert adapter().document_anchors(["shipment:19"], {}) == {"shipment:19": ANCHOR}
    mock.get(f"{SHIPMENTS}(ShipmentId=20)", json={"@odata.etag": ETAG})
    found = adapter().document_anchors(["shipment:20", "other:1"], {})
    codes = {key: value.error.code for key, value in found.items() if isinstance(value, Problem)}
    assert codes == {"shipment:20": "keyref_missing", "other:1": "bad_key"}


def test_the_bodies_hold_every_parameter_and_our_reference() -> None:
    ifs = adapter()
    assert ifs.describe_file(PART, "ML1") == {
        "DocClass": "LABEL",
        "DocNo": None,
        "DocSheet": None,
        "DocRev": None,
        "Title": "FedEx label 7946 ML1",
        "CreateFileRef": "YES",
    }
    item = ifs.describe_file(ITEM, "ML1")
    assert list(item) == ["LuName", "KeyRef", "Name", "Description"] and item["Name"] == "FedEx label 7946 ML1"


@pytest.mark.parametrize("answer", [KEY, {"value": KEY}, {"@odata.context": "x", **KEY, "DocNo": 1001}])
def test_the_key_is_read_however_it_is_wrapped(mock: responses.RequestsMock, answer: dict[str, Any]) -> None:
    mock.post(f"{DOCUMENTS}/CreateDocument", json=answer)
    ifs = adapter()
    assert ifs.create_file(ifs.describe_file(PART, "ML1"), PART, TICKET) == MADE
    assert ifs.parse_file(json.dumps(answer), PART, status=200) == MADE
    assert json.loads(mock.calls[-1].request.body)["DocNo"] is None


@pytest.mark.parametrize("answer", [{"ItemId": 55}, {"ItemId": "55"}, {"value": 55}, {"value": {"ItemId": 55}}])
def test_so_is_the_key_of_a_media_item(answer: dict[str, Any]) -> None:
    assert adapter().parse_file(json.dumps(answer), ITEM, status=200).key == "ITEM_ID=55^"


@pytest.mark.parametrize("answer", ["{}", '{"value": true}', '{"DocClass": "LABEL", "DocNo": ""}', "<html>", ""])
def test_an_answer_without_a_key_is_no_proof_that_nothing_was_made(answer: str) -> None:
    with pytest.raises(OutcomeUnknown):
        adapter().parse_file(answer, PART, status=200)


def test_a_stale_description_proves_that_nothing_was_made(mock: responses.RequestsMock) -> None:
    told = {"error": {"code": "MI_MODIFIED_ERROR", "message": "Projection was modified"}}
    mock.post(f"{DOCUMENTS}/CreateDocument", status=500, json=told)
    ifs = adapter()
    with pytest.raises(NotSent) as caught:
        ifs.create_file(ifs.describe_file(PART, "ML1"), PART, TICKET)
    assert caught.value.code == "asked_again"


def test_a_missing_right_is_a_refusal_of_this_record_only(mock: responses.RequestsMock) -> None:
    mock.post(f"{DOCUMENTS}/CreateDocument", status=403, json={"error": {"code": "X", "message": "no access"}})
    ifs = adapter()
    with pytest.raises(Rejected) as told:
        ifs.create_file(ifs.describe_file(PART, "ML1"), PART, TICKET)
    assert told.value.code == "forbidden"


def test_our_reference_is_searched_in_titles(mock: responses.RequestsMock) -> None:
    mock.get(f"{HUNG}/DocIssueSet", json={"value": [KEY | {"Title": "FedEx label 7946 ML1"}]})
    found = adapter().find_file(PART, "ML1")
    assert [m.master_tracking_number for m in found.matches] == [MADE.key] and not found.ambiguous
    assert query_of(mock.calls[-1])["$filter"] == "DocClass eq 'LABEL' and contains(Title,'ML1')"
    mock.get(f"{MEDIA}/MediaItemSet", json={"value": []})
    assert adapter().find_file(ITEM, "ML1").matches == ()
    assert query_of(mock.calls[-1])["$filter"] == "contains(Name,'ML1')"


def test_the_bytes_go_where_ifs_says_under_the_headers_of_the_sheet(mock: responses.RequestsMock) -> None:
    link = "/main/ifsapplications/projection/v1/X.svc/Set(DocNo='1 001',KeyRef='A^')/FileData"
    mock.post(f"{DOCUMENTS}/GetDocumentUrl", json={"value": link})
    mock.add("PATCH", f"{BASE}{link.replace(' ', '%20').replace('^', '%5E')}", status=204)
    adapter().upload_file(MADE, "label-é.pdf", b"%PDF\xff")
    sent = mock.calls[-1].request
    assert json.loads(mock.calls[-2].request.body) == KEY
    assert sent.body == b"%PDF\xff" and sent.headers["If-Match"] == "*"
    assert sent.headers["Content-Type"] == "application/octet-stream"
    name = sent.headers["X-IFS-Content-Disposition"].removeprefix("filename=")
    assert base64.b64decode(name).decode() == "label-é.pdf"


def test_a_media_item_is_filled_under_its_version(mock: responses.RequestsMock) -> None:
    mock.get(f"{MEDIA}/MediaItemSet(ItemId=55)", json={"@odata.etag": ETAG, "MediaObject": None})
    mock.add("PATCH", f"{MEDIA}/MediaItemSet(ItemId=55)/MediaObject", status=200, json={})
    adapter().upload_file(AttachedFile("media", "ITEM_ID=55^", "x", ANCHOR), "l.png", b"x")
    assert mock.calls[-1].request.headers["If-Match"] == ETAG and query_of(mock.calls[-2]) == {"$select": "MediaObject"}


def test_no_link_and_a_foreign_link_take_no_bytes(mock: responses.RequestsMock) -> None:
    mock.post(f"{DOCUMENTS}/GetDocumentUrl", json={"value": ""})
    with pytest.raises(Unavailable):
        adapter().upload_file(MADE, "l.pdf", b"x")
    mock.replace("POST", f"{DOCUMENTS}/GetDocumentUrl", json={"value": "https://evil.example/FileData"})
    with pytest.raises(Rejected) as told:
        adapter().upload_file(MADE, "l.pdf", b"x")
    assert told.value.code == "foreign_host" and not any(c.request.method == "PATCH" for c in mock.calls)


@pytest.mark.parametrize("ora", ["20112", "20110"])
def test_a_refused_connection_counts_only_where_there_is_none(mock: responses.RequestsMock, ora: str) -> None:
    refusal(mock, f"{DOCUMENTS}/ConnectObject", ora)
    mock.get(f"{HUNG}/DocReferenceObjectSet", json={"value": [KEY]})
    assert adapter().connect_file(MADE).skipped == ("connected",)
    wanted = "DocClass eq 'LABEL' and DocNo eq '1001' and DocSheet eq '1' and DocRev eq 'A1'"
    assert query_of(mock.calls[-1])["$filter"] == f"{wanted} and LuName eq 'Shipment' and KeyRef eq 'SHIPMENT_ID=19^'"
    mock.replace("GET", f"{HUNG}/DocReferenceObjectSet", json={"value": []})
    with pytest.raises(Rejected):
        adapter().connect_file(MADE)


@pytest.mark.parametrize(
    ("typed", "part", "key"),
    [
        ("1001", PART, MADE.key),
        ("LABEL 1001 1 A1", PART, MADE.key),
        ("LABEL/1001/1/A1", PART, MADE.key),
        (MADE.key, PART, MADE.key),
        ("55", ITEM, "ITEM_ID=55^"),
    ],
)
def test_a_person_may_name_it_in_several_ways(typed: str, part: FilePart, key: str) -> None:
    assert adapter().file_of(typed, part).key == key


@pytest.mark.parametrize(("typed", "part"), [("", PART), ("LABEL 1001", PART), ("a b c d e", PART), ("55 56", ITEM), ("", ITEM)])
def test_what_names_nothing_is_refused(typed: str, part: FilePart) -> None:
    with pytest.raises(Rejected) as told:
        adapter().file_of(typed, part)
    assert told.value.code == "bad_key"


def test_names_are_settings(mock: responses.RequestsMock) -> None:
    labels = {"service": "CDocs", "create_action": "CMake", "doc_class": "SHIP", "search": {"service": "CSearch", "set": "CSet"}}
    mock.post(f"{ROOT}/CDocs.svc/CMake", json=KEY)
    mock.get(f"{ROOT}/CSearch.svc/CSet", json={"value": []})
    ifs = adapter({"labels": labels})
    ifs.create_file(ifs.describe_file(PART, "ML1"), PART, TICKET)
    ifs.find_file(PART, "ML1")
    assert path_of(mock.calls[-1]).endswith("CSearch.svc/CSet") and "'SHIP'" in query_of(mock.calls[-1])["$filter"]
    assert adapter({"labels": {"storage": "none"}}).takes_labels is False

"""Files at the IFS Cloud simulator, in raw HTTP (sheet 7 and 13): strict, and twice is twice."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.base.simulator import SimulatorServer
from integrations.ifs_cloud.simulator import IfsCloudSimulator
from tests.ifs_cloud.simulator_wire import Ifs

DOCUMENTS, MEDIA = "CreateAndImportDocument.svc", "MediaLibraryAttachmentHandling.svc"
NEW = {"DocClass": "LABEL", "DocNo": None, "DocSheet": None, "DocRev": None, "Title": "FedEx label 1", "CreateFileRef": "YES"}
NAME = {"X-IFS-Content-Disposition": "filename=" + base64.b64encode(b"l.pdf").decode()}
STREAM = NAME | {"Content-Type": "application/octet-stream", "If-Match": "*"}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[SimulatorServer, IfsCloudSimulator]]:
    simulator = IfsCloudSimulator()
    with SimulatorServer([simulator]) as server:
        yield server, simulator


@pytest.fixture
def ifs(served: tuple[SimulatorServer, IfsCloudSimulator]) -> Ifs:
    server, simulator = served
    simulator.reset()
    simulator.make_shipments("standard", start_id=19)
    return Ifs(f"{server.url}/ifs_cloud", simulator, "standard")


def post(ifs: Ifs, path: str, body: dict[str, Any]) -> Any:
    return ifs.call("POST", path, json=body)


def document(ifs: Ifs) -> dict[str, Any]:
    answer = post(ifs, f"{DOCUMENTS}/CreateDocument", NEW)
    assert answer.status_code == 200
    return {name: answer.json()[name] for name in ("DocClass", "DocNo", "DocSheet", "DocRev")}


def test_the_same_document_asked_for_twice_is_two(ifs: Ifs) -> None:
    assert document(ifs)["DocNo"] != document(ifs)["DocNo"]
    rows = ifs.get("DocReferenceObjectAttachmentHandling.svc/DocIssueSet", filter="contains(Title,'label 1')").json()["value"]
    assert [row["DocNo"] for row in rows] == ["1001", "1002"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DocClass": "NOSUCH"}, "ORA-20125"),
        ({"DocNo": "7"}, "ORA-20110"),
        ({"Title": None}, "ORA-20124"),
        ({"More": "x"}, "Malfo"),
    ],
)
def test_a_document_that_cannot_be_is_refused(ifs: Ifs, change: dict[str, Any], said: str) -> None:
    answer = post(ifs, f"{DOCUMENTS}/CreateDocument", NEW | change)
    assert answer.status_code == 400 and said in answer.text and ifs.simulator.documents() == []


def test_bytes_need_name_type_and_precondition(ifs: Ifs) -> None:
    link = post(ifs, f"{DOCUMENTS}/GetDocumentUrl", document(ifs)).json()["value"]
    assert link.startswith("/main/ifsapplications/projection/v1/") and link.endswith("FileData")
    path = link.removeprefix("/main/ifsapplications/projection/v1/")

    def put(headers: dict[str, str], data: bytes = b"%PDF") -> int:
        return ifs.call("PATCH", path, headers=headers, data=data).status_code

    assert put({k: v for k, v in STREAM.items() if k != "If-Match"}) == 428
    assert put(STREAM | {"If-Match": 'W/"old"'}) == 412
    assert put(STREAM | {"Content-Type": "application/pdf"}) == 415
    assert put(STREAM | {"X-IFS-Content-Disposition": "attachment; filename=l.pdf"}) == 400
    exe = "filename=" + base64.b64encode(b"l.exe").decode()
    assert put(STREAM | {"X-IFS-Content-Disposition": exe}) == 400
    assert ifs.simulator.files() == {} and put(STREAM) == put(STREAM) == 204
    [file] = ifs.simulator.files().values()
    assert (file["name"], file["size"], file["times"]) == ("l.pdf", 4, 2)


def test_a_document_is_connected_once_and_with_what_exists(ifs: Ifs) -> None:
    made = document(ifs)
    told = made | {"LuName": "Shipment", "KeyRef": "SHIPMENT_ID=19^"}
    assert "ORA-20111" in post(ifs, f"{DOCUMENTS}/ConnectObject", told | {"KeyRef": "SHIPMENT_ID=20^"}).text
    assert post(ifs, f"{DOCUMENTS}/ConnectObject", told).status_code == 200
    assert "ORA-20112" in post(ifs, f"{DOCUMENTS}/ConnectObject", told).text
    assert [d["on"] for d in ifs.simulator.documents()] == [["SHIPMENT_ID=19^"]]


def test_media_is_made_and_connected_in_one(ifs: Ifs) -> None:
    assert ifs.get(f"{MEDIA}/GetLuNameMediaAware(LuName='Shipment')").json()["value"] == "TRUE"
    assert ifs.get(f"{MEDIA}/GetLuNameMediaAware(LuName='CustomerOrder')").json()["value"] == "FALSE"
    assert "pdf" not in ifs.get(f"{MEDIA}/GetMediaFileExtList()").json()["value"]
    body = {"LuName": "Shipment", "KeyRef": "SHIPMENT_ID=19^", "Name": "label ML1", "Description": None}
    number = post(ifs, f"{MEDIA}/CreateAndConnectMedia", body).json()["ItemId"]
    item = ifs.get(f"{MEDIA}/MediaItemSet(ItemId={number})", select="MediaObject").json()
    png = "filename=" + base64.b64encode(b"l.png").decode()
    headers = STREAM | {"X-IFS-Content-Disposition": png, "If-Match": item["@odata.etag"]}
    put = f"{MEDIA}/MediaItemSet(ItemId={number})/MediaObject"
    assert ifs.call("PATCH", put, headers=headers, data=b"x").status_code == 200
    assert ifs.call("PATCH", put, headers=headers, data=b"x").status_code == 412, "the version has moved"
    assert ifs.call("PATCH", put, headers=STREAM, data=b"x").status_code == 400, "no PDF in this library"

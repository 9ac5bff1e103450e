"""Files of the simulated IFS: documents, what they hang on, media items (sheet 7). IFS makes a second one if asked twice.

The bytes themselves are not kept: `files()` tells for each place the file's name, size and SHA-256, and how often it came.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Any

from integrations.base.simulator import SimResponse
from integrations.ifs_cloud import simulator_odata as odata
from integrations.ifs_cloud.simulator_entities import schema_for
from integrations.ifs_cloud.simulator_odata import ODataError, Row, malformed
from integrations.ifs_cloud.simulator_store import DEFAULT_OPTIONS, IfsStore, etag

_DOCUMENTS, _MEDIA = "CreateAndImportDocument", "MediaLibraryAttachmentHandling"
_KEY = ("DocClass", "DocNo", "DocSheet", "DocRev")
_ACTIONS = {
    "CreateDocument": (*_KEY, "Title", "CreateFileRef"),
    "GetDocumentUrl": _KEY,
    "ConnectObject": (*_KEY, "LuName", "KeyRef"),
    "CreateAndConnectMedia": ("LuName", "KeyRef", "Name", "Description"),
}
_BYTES = "EdmFileReferenceSet"

FILE_ROUTES = (
    *(("POST", rf"{_DOCUMENTS}\.svc/{name}", f"{_DOCUMENTS}.svc/{name}") for name in list(_ACTIONS)[:3]),
    ("PATCH", rf"{_DOCUMENTS}\.svc/{_BYTES}\([^/]*\)/FileData", f"{_DOCUMENTS}.svc/FileData"),
    ("POST", rf"{_MEDIA}\.svc/CreateAndConnectMedia", f"{_MEDIA}.svc/CreateAndConnectMedia"),
    ("PATCH", rf"{_MEDIA}\.svc/MediaItemSet\([^/]*\)/MediaObject", f"{_MEDIA}.svc/MediaObject"),
    ("GET", rf"{_MEDIA}\.svc/Get\w+\([^/]*\)", f"{_MEDIA}.svc/functions"),
)
"""(method, path below the projections, label under which calls are counted)."""


class FileDesk(IfsStore):
    """The part of the simulator that takes files."""

    _take: Callable[..., tuple[str, str] | None]
    _visible: Callable[..., bool]

    def documents(self, tenant: str = "standard") -> list[Row]:
        """Documents in the order in which they were made, each with the keys of the records it hangs on."""
        with self.lock:
            rows = self._tenant(tenant)["rows"]
            hung = rows.get("DocReferenceObject", {}).values()
            return [
                {name: row[name] for name in (*_KEY, "Title")}
                | {"on": [r["KeyRef"] for r in hung if all(r[n] == row[n] for n in _KEY)]}
                for row in rows.get("DocIssue", {}).values()
            ]

    def media(self, tenant: str = "standard") -> list[Row]:
        """Media items in the order in which they were made."""
        with self.lock:
            rows = self._tenant(tenant)["rows"].get("MediaItem", {}).values()
            return [{k: v for k, v in row.items() if not k.startswith("@")} for row in rows]

    def files(self, tenant: str = "standard") -> dict[str, dict[str, Any]]:
        """What was uploaded, by the keyref of the document or media item: name, size, sha256, times."""
        with self.lock:
            return {key: dict(file) for key, file in self._tenant(tenant).get("files", {}).items()}

    # -- calls ---------------------------------------------------------------------------------------------

    def _file_call(self, call: Any, segments: list[tuple[str, str | None]]) -> SimResponse | None:
        """The answer to a call that is about files and no plain set; None for all others. Raises ODataError."""
        name, key = segments[0]
        method, service = call.request.method, call.service
        if service == _MEDIA and method == "GET" and len(segments) == 1 and name.startswith("Get"):
            return self._media_function(call, name, key)
        if service in (_DOCUMENTS, _MEDIA) and method == "POST" and len(segments) == 1 and key is None and name in _ACTIONS:
            if (name == "CreateAndConnectMedia") != (service == _MEDIA):
                raise ODataError(404, "ODP_RESOURCE_NOTFOUND", f"Cannot find {name} in {service}.")
            return self._file_action(call, name, _parameters(call.request, _ACTIONS[name]))
        if method == "PATCH" and len(segments) == 2 and key is not None:
            place = (service, name, segments[1][0])
            if place == (_DOCUMENTS, _BYTES, "FileData"):
                return self._document_bytes(call, key)
            if place == (_MEDIA, "MediaItemSet", "MediaObject"):
                return self._media_bytes(call, key)
        return None

    def _file_action(self, call: Any, name: str, told: Row) -> SimResponse:
        match name:
            case "CreateDocument":
                return self._create_document(call, told)
            case "GetDocumentUrl":
                row = self._document(call, told)
                key = ",".join(f"{n}='{row[n]}'" for n in _KEY)
                path = (
                    f"/main/ifsapplications/projection/v1/{_DOCUMENTS}.svc/{_BYTES}({key},DocType='ORIGINAL',FileNo=1)/FileData"
                )
                return SimResponse(200, {"@odata.context": f"{call.root}/$metadata#Edm.String", "value": path})
            case "ConnectObject":
                return self._connect(call, told)
            case _:
                return self._create_media(call, told)

    def _refuse(self, call: Any, ora: str, text: str) -> ODataError:
        return odata.database_error(call.options["database_error_status"], ora, text)

    def _option(self, call: Any, name: str) -> Any:
        return call.options.get(name, DEFAULT_OPTIONS[name])

    def _create_document(self, call: Any, told: Row) -> SimResponse:
        """Sheet 7.1: numbers are IFS's own, whatever they are asked for is refused here."""
        if told["DocClass"] not in self._option(call, "doc_classes"):
            raise self._refuse(call, "20125", f"DocClass.NOTEXIST: The document class {told['DocClass']} does not exist.")
        if not told["Title"]:
            raise self._refuse(call, "20124", "DocIssue.NULL: The field Title must have a value.")
        if any(told[name] is not None for name in _KEY[1:]) or told["CreateFileRef"] != "YES":
            raise self._refuse(call, "20110", "DocIssue.NUMBER: The document class numbers its documents by itself.")
        number = 1001 + len(call.data["rows"].setdefault("DocIssue", {}))
        key = {"DocClass": told["DocClass"], "DocNo": str(number), "DocSheet": "1", "DocRev": "A1"}
        self._insert(call.tenant, call.data, call.schema.entities["DocIssue"], key | {"Title": told["Title"]})
        return SimResponse(200, {"@odata.context": f"{call.root}/$metadata#IfsApp.{_DOCUMENTS}.Document", **key})

    def _document(self, call: Any, told: Row) -> Row:
        entity = call.schema.entities["DocIssue"]
        row: Row | None = call.data["rows"].get("DocIssue", {}).get(entity.keyref(told))
        if row is None:
            raise self._refuse(call, "20111", "DocIssue.NOTEXIST: The document does not exist.")
        return row

    def _hangs_on(self, call: Any, told: Row) -> None:
        """The record that a file is to hang on exists, and the user may see it. Raises ODataError."""
        entity = schema_for(call.data["kind"]).entities.get(told["LuName"] or "")
        row = call.data["rows"].get(told["LuName"], {}).get(told["KeyRef"]) if entity else None
        if entity is None or row is None or not self._visible(call.data, entity, row):
            raise self._refuse(call, "20111", f"{told['LuName']}.NOTEXIST: The object {told['KeyRef']} does not exist.")

    def _connect(self, call: Any, told: Row) -> SimResponse:
        self._document(call, told)
        self._hangs_on(call, told)
        entity = call.schema.entities["DocReferenceObject"]
        if entity.keyref(told) in call.data["rows"].setdefault(entity.name, {}):
            raise self._refuse(call, "20112", "DocReferenceObject.EXIST: The document is connected to the object already.")
        self._insert(call.tenant, call.data, entity, told)
        return SimResponse(200, {"@odata.context": f"{call.root}/$metadata#Edm.Boolean", "value": True})

    def _create_media(self, call: Any, told: Row) -> SimResponse:
        """Sheet 7.2: made and connected in one."""
        if told["LuName"] not in self._option(call, "media_aware"):
            raise self._refuse(call, "20110", f"MediaLibrary.NOTAWARE: {told['LuName']} is not media aware.")
        self._hangs_on(call, told)
        number = 55 + len(call.data["rows"].setdefault("MediaItem", {}))
        self._insert(call.tenant, call.data, call.schema.entities["MediaItem"], {"ItemId": number, **told})
        return SimResponse(200, {"@odata.context": f"{call.root}/$metadata#IfsApp.{_MEDIA}.MediaItem", "ItemId": number})

    def _media_function(self, call: Any, name: str, arguments: str | None) -> SimResponse:
        if name == "GetMediaFileExtList" and arguments == "":
            value = self._option(call, "media_types")
        elif name == "GetLuNameMediaAware" and (match := re.fullmatch(r"LuName='(\w+)'", arguments or "")):
            value = "TRUE" if match[1] in self._option(call, "media_aware") else "FALSE"
        else:
            raise ODataError(404, "ODP_RESOURCE_NOTFOUND", f"Cannot find {name} in {call.service}.")
        return SimResponse(200, {"@odata.context": f"{call.root}/$metadata#Edm.String", "value": value})

    # -- bytes ---------------------------------------------------------------------------------------------

    def _document_bytes(self, call: Any, key: str) -> SimResponse:
        told = dict(re.findall(r"(\w+)='([^']*)'", key))
        if set(told) != {*_KEY, "DocType"} or told["DocType"] != "ORIGINAL" or "FileNo=1" not in key:
            raise malformed("The key of the file reference is wrong.")
        row = self._document(call, told)
        name = self._file_name(call, row)
        allowed = self._option(call, "doc_classes").get(row["DocClass"], [])
        if name.rpartition(".")[2].lower() not in allowed:
            raise self._refuse(call, "20110", f"EdmFile.TYPE: Files like {name} are not allowed in class {row['DocClass']}.")
        self._keep(call, "DocIssue", row, name)
        return SimResponse(204)

    def _media_bytes(self, call: Any, key: str) -> SimResponse:
        entity = call.schema.entities["MediaItem"]
        row = call.data["rows"].get("MediaItem", {}).get(entity.keyref(odata.parse_key(entity, key, call.namespace)))
        if row is None:
            raise ODataError(404, "ITEM_NOT_EXIST", "The MediaItem object does not exist.")
        name = self._file_name(call, row)
        if name.rpartition(".")[2].lower() not in self._option(call, "media_types").split(","):
            raise self._refuse(call, "20110", f"MediaItem.TYPE: Files like {name} are not allowed.")
        self._keep(call, "MediaItem", row, name)
        return SimResponse(200, {"@odata.etag": etag(row), "ItemId": row["ItemId"]})

    def _file_name(self, call: Any, row: Row) -> str:
        """The name of a file that may be put there, by its headers (sheet 7.1). Raises ODataError."""
        headers = call.request.headers
        given = headers.get("if-match")
        if given is None:
            raise ODataError(428, "ODP_MISSING_PRECONDITION", "The If-Match header is missing.")
        if given != "*" and given != etag(row):
            raise ODataError(412, "ODP_PRECONDITION_FAILED", "The record has been changed since it was read.")
        if headers.get("content-type", "").partition(";")[0] != "application/octet-stream":
            raise ODataError(415, "ODP_UNSUPPORTED_MEDIA_TYPE", "Streams are application/octet-stream.")
        if self._take("423_media"):
            raise ODataError(423, "LOCKED", "The file is held by a virus scan.")
        match = re.fullmatch(r"filename=([A-Za-z0-9+/]+=*)", headers.get("x-ifs-content-disposition", ""))
        try:
            name = base64.b64decode(match[1], validate=True).decode() if match else ""
        except ValueError:
            name = ""
        if not name or not call.request.body:
            raise malformed("The stream has no name, or no content.")
        return name

    def _keep(self, call: Any, entity: str, row: Row, name: str) -> None:
        files = call.data.setdefault("files", {})  # a state file of an earlier release has no place for it
        body = call.request.body
        before = files.get(row["keyref"], {"times": 0})
        digest = hashlib.sha256(body).hexdigest()
        files[row["keyref"]] = {"name": name, "size": len(body), "sha256": digest, "times": before["times"] + 1}
        self._write(call.tenant, call.schema.entities[entity], row, {}, call.data["client_id"])


def _parameters(request: Any, names: tuple[str, ...]) -> Row:
    """The parameters of an action: all of them, null where unused, and no other (sheet 5.3). Raises ODataError."""
    body = odata.json_object(request)
    if set(body) != set(names):
        wrong = ", ".join(sorted(set(body) ^ set(names)))
        raise malformed(f"The action needs exactly its parameters: {wrong}.")
    if not all(value is None or isinstance(value, str) for value in body.values()):
        raise malformed("A parameter of the action has the wrong type.")
    return body

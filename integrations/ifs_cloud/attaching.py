"""Labels as files in IFS: a document of document management, or an item of the media library (sheet 7).

document   CreateDocument (once) → GetDocumentUrl, PATCH of the bytes → ConnectObject
media      CreateAndConnectMedia (once) → GET of the version, PATCH of the bytes

What is made once carries our reference in its title, by which it is found again when the answer is lost. A file's key is
written as IFS writes keys: `DOC_CLASS=LABEL^DOC_NO=1001^DOC_SHEET=1^DOC_REV=A1^`, `ITEM_ID=55^`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integrations.base.errors import OutcomeUnknown, Rejected, Unavailable
from integrations.base.http import Answer
from integrations.base.records import Anchor, AttachedFile, FilePart, FoundShipment, LookUp, Problem, WriteResult
from integrations.base.roles import SendTicket
from integrations.ifs_cloud import mapping
from integrations.ifs_cloud.answers import Row, posted
from integrations.ifs_cloud.containing import only_this_record
from integrations.ifs_cloud.files import FileClient
from integrations.ifs_cloud.odata import Value, all_of, compare, key_predicate, literal
from integrations.ifs_cloud.orders import record_of
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.targets import Target

MEDIA = "media"
_DOCUMENT_KEY = ("DocClass", "DocNo", "DocSheet", "DocRev")
_COLUMNS = {"DOC_CLASS": "DocClass", "DOC_NO": "DocNo", "DOC_SHEET": "DocSheet", "DOC_REV": "DocRev"}
_FOUND_AT_MOST = 50


class Attaching:
    """The part of the `Erp` role that hangs files on shipments."""

    client: FileClient
    profile: Profile
    _media_types: dict[str, tuple[str, ...] | None]

    @property
    def takes_labels(self) -> bool:
        """Whether the profile lets labels be attached (`labels.storage`)."""
        return self.profile.files.enabled

    # -- where they hang -----------------------------------------------------------------------------------

    def document_anchors(self, keys: Sequence[str], known: Mapping[str, Anchor]) -> dict[str, Anchor | Problem]:
        """One GET for each record that is not `known`; which files its class takes, the profile says (`labels.file_types`)."""
        return self._anchors(keys, known, lambda unit: self.profile.files.file_types)

    def media_anchors(self, keys: Sequence[str], known: Mapping[str, Anchor]) -> dict[str, Anchor | Problem]:
        """The same, and two that this adapter asks once: is the unit open for media, for which files."""
        return self._anchors(keys, known, self._media_takes)

    def _anchors(
        self, keys: Sequence[str], known: Mapping[str, Anchor], takes: Callable[[str], tuple[str, ...] | None]
    ) -> dict[str, Anchor | Problem]:
        found: dict[str, Anchor | Problem] = {}
        for key in dict.fromkeys(keys):
            try:
                with only_this_record():
                    place = known.get(key) or self._anchor(key)
                    types = takes(place.unit)
                    closed = "" if types is not None else f"the media library is not open for {place.unit}"
                    found[key] = Anchor(place.unit, place.key, types or (), closed)
            except Rejected as problem:
                found[key] = Problem(problem)
        return found

    def _anchor(self, key: str) -> Anchor:
        target, number = record_of(key, self.profile)
        found = mapping.anchor(self.client.get(target, number, operation="find place for label").row)
        if found is None:
            raise Rejected(
                "IFS does not say under which name files hang on this record (luname, keyref).",
                code="keyref_missing",
                remedy=f"Name a projection in {target.path}.service whose records carry luname and keyref, then replay.",
                vendor="ifs_cloud",
            )
        return found

    def _media_takes(self, unit: str) -> tuple[str, ...] | None:
        """File suffixes that the media library takes, None where it is not open for the unit (sheet 7.2)."""
        known = self._media_types
        if unit not in known:
            media = self.profile.files.create_media
            aware = self.client.function(media, "GetLuNameMediaAware", {"LuName": unit}, operation="ask for media")
            listed = self.client.function(media, "GetMediaFileExtList", {}, operation="ask for media types")
            suffixes = tuple(dict.fromkeys(re.findall(r"[a-z0-9]+", str(listed).lower())))
            known[unit] = suffixes if str(aware).upper() == "TRUE" else None
        return known[unit]

    # -- made once -----------------------------------------------------------------------------------------

    def describe_file(self, part: FilePart, reference: str) -> dict[str, object]:
        """The body of CreateDocument or CreateAndConnectMedia."""
        title = f"{part.title} {reference}"
        if part.place == MEDIA:
            described = f"Label {part.suffix.upper()}, made by ml-connector"
            return {"LuName": part.anchor.unit, "KeyRef": part.anchor.key, "Name": title, "Description": described}
        left_to_ifs = dict.fromkeys(_DOCUMENT_KEY[1:])
        return {"DocClass": self.profile.files.doc_class, **left_to_ifs, "Title": title, "CreateFileRef": "YES"}

    def create_file(self, body: dict[str, object], part: FilePart, ticket: SendTicket) -> AttachedFile:
        """Call the action once; the key is in its answer."""
        target = self._makes(part)
        with only_this_record():
            record = self.client.post_once(target, body, ticket, operation=_operation(part))
            return self._made(record.row, part)

    def parse_file(self, answer: str, part: FilePart, *, status: int | None) -> AttachedFile:
        """Read what IFS said."""
        with only_this_record():
            told = Answer(status or 0, {}, answer.encode())
            return self._made(posted(told, self._makes(part), _operation(part)).row, part)

    def _makes(self, part: FilePart) -> Target:
        return self.profile.files.create_media if part.place == MEDIA else self.profile.files.create

    def _made(self, row: Row, part: FilePart) -> AttachedFile:
        inner = row.get("value")
        told = inner if isinstance(inner, dict) else row
        names = (self.profile.files.media_key,) if part.place == MEDIA else _DOCUMENT_KEY
        if part.place == MEDIA and isinstance(inner, int | str):
            told = {names[0]: inner}
        values = [mapping.text(told, name) for name in names]
        if not all(values):
            message = "IFS made the place for the label, but did not say under which key."
            raise OutcomeUnknown(message, vendor="ifs_cloud", operation=_operation(part))
        return _attached(part, values)

    def find_file(self, part: FilePart, reference: str) -> LookUp:
        """Documents of the class, or media items, in whose title our reference stands."""
        files, media = self.profile.files, part.place == MEDIA
        target, title = (files.media, files.media_title) if media else (files.documents, files.title_field)
        names = [files.media_key] if media else list(_DOCUMENT_KEY)
        if title is None:
            return LookUp(ambiguous=True, text=f"it cannot be looked up: the setting {target.path}.title_field is empty.")
        of_class = "" if media else compare("DocClass", "eq", files.doc_class)
        where = all_of([of_class, f"contains({title},{literal(reference)})"])
        with only_this_record():
            pages = self.client.pages(
                target,
                operation="look for label",
                where=where,
                select=[*names, title],
                orderby=names,
                top=_FOUND_AT_MOST,
            )
            rows = [row for page in pages for row in page]
        keys = [_attached(part, [mapping.text(row, name) for name in names]).key for row in rows]
        return LookUp(tuple(FoundShipment(key, (key,)) for key in keys), text=f"{len(rows)} under {reference}")

    def file_of(self, key: str, part: FilePart) -> AttachedFile:
        """By IFS's key, or as a person types it: the number alone, or class, number, sheet and revision.

        Raises Rejected (code `bad_key`) for what is neither.
        """
        pairs = re.findall(r"([A-Z_]+)=([^^]*)\^", key)
        words = [value for _, value in pairs] or re.split(r"[\s/]+", key.strip())
        if part.place != MEDIA and len(words) == 1 and words[0]:
            words = [self.profile.files.doc_class, words[0], "1", "A1"]
        if len(words) != (1 if part.place == MEDIA else len(_DOCUMENT_KEY)) or not all(words):
            raise Rejected(f"{key!r} is no key of a document in IFS (LABEL 1001 1 A1).", code="bad_key", vendor="ifs_cloud")
        return _attached(part, words)

    # -- repeated at will ----------------------------------------------------------------------------------

    def upload_file(self, made: AttachedFile, name: str, data: bytes) -> WriteResult:
        """Two calls: where the bytes go (and under which version), then the bytes. The same place holds one file."""
        files = self.profile.files
        with only_this_record():
            if made.place == MEDIA:
                key = self._media_key(made)
                version = self.client.stream_version(files.media, key, files.media_object, operation="find place for bytes")
                where = f"{self.client.root(files.media)}/{files.media.set}{key_predicate(key)}/{files.media_object}"
                link, target = where, files.media
            else:
                body = dict(_document_key(made))
                told = self.client.act(files.url, body, operation="find place for bytes").get("value")
                link, target, version = str(told or ""), files.url, "*"
                if not link:
                    message = "IFS does not say where the bytes of the label go."
                    raise Unavailable(message, code="unreadable_answer", vendor="ifs_cloud", operation="find place for bytes")
            # "*" only because the target is ours and was made a moment ago (sheet 5.2).
            self.client.put_stream(link, target, data, name=name, version=version or "*", operation="upload label")
        return WriteResult("", (name,))

    def connect_file(self, made: AttachedFile) -> WriteResult:
        """Connect a document to its record. A refusal counts only where it does not hang there already (ORA-20112)."""
        if made.place == MEDIA:
            return WriteResult("", (), ("connected",))  # made and connected in one (sheet 7.2)
        body: Row = {**_document_key(made), "LuName": made.anchor.unit, "KeyRef": made.anchor.key}
        with only_this_record():
            try:
                self.client.act(self.profile.files.connect, body, operation="connect label")
            except Rejected:
                if not self._is_connected(body):
                    raise
                return WriteResult("", (), ("connected",))
        return WriteResult("", (made.named,))

    def _is_connected(self, body: Mapping[str, Any]) -> bool:
        target = self.profile.files.connected
        where = all_of([compare(name, "eq", value) for name, value in body.items()])
        pages = self.client.pages(target, operation="look for connection", where=where, orderby=list(_DOCUMENT_KEY), top=1)
        return any(True for page in pages for _ in page)

    def _media_key(self, made: AttachedFile) -> dict[str, Value]:
        [value] = _values(made.key)
        # A number as IFS has them; a tenant with keys of letters is quoted.
        return {self.profile.files.media_key: int(value) if re.fullmatch(r"\d{1,38}", value, re.ASCII) else value}


def _operation(part: FilePart) -> str:
    return "create media item" if part.place == MEDIA else "create document"


def _attached(part: FilePart, values: Sequence[str]) -> AttachedFile:
    if part.place == MEDIA:
        return AttachedFile(MEDIA, f"ITEM_ID={values[0]}^", f"media item {values[0]}", part.anchor)
    key = "".join(f"{column}={value}^" for column, value in zip(_COLUMNS, values, strict=True))
    return AttachedFile(part.place, key, f"document {'-'.join(values)}", part.anchor)


def _values(key: str) -> list[str]:
    return [value for _, value in re.findall(r"([A-Z_]+)=([^^]*)\^", key)]


def _document_key(made: AttachedFile) -> dict[str, str]:
    return dict(zip(_DOCUMENT_KEY, _values(made.key), strict=True))


__all__ = ["Attaching"]

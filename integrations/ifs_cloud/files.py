"""What IFS offers for files over HTTP: actions, functions and streams (sheet 5.1, 5.3, 7). Speaks IFS's JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from integrations.ifs_cloud.answers import Row, Subject, etag_of, json_of, unreadable
from integrations.ifs_cloud.client import IfsClient
from integrations.ifs_cloud.odata import Value, key_predicate
from integrations.ifs_cloud.targets import Target

_IN_PATHS = "/%()=,'*$:@;+!~-._&?"
"""What a link of IFS may hold as it is; all else is percent-encoded, what is encoded already stays."""


class FileClient(IfsClient):
    """The client with what files need beside records. Every method may raise the classes of `base.errors`."""

    def act(self, target: Target, body: Row, *, operation: str) -> Row:
        """Call an unbound action; all its parameters stand in `body`, null where unused (sheet 5.3). {} for 204.

        A lost answer is Unavailable: whoever calls may call again.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{self.root(target)}/{target.set}"
        answer = self._send("POST", url, operation, Subject("record", target), headers=headers, json=body)
        if answer.status == 204 or not answer.content.strip():
            return {}
        told = json_of(answer)
        return told if isinstance(told, dict) else {"value": told}

    def function(self, target: Target, name: str, arguments: Mapping[str, Value], *, operation: str) -> Any:
        """The value of an unbound function (sheet 5.3). Raises Unavailable for an answer that holds none."""
        predicate = key_predicate(arguments) if arguments else "()"
        answer = self._get(f"{self.root(target)}/{name}{predicate}", operation, Subject("set", target))
        told = json_of(answer)
        if not isinstance(told, dict) or "value" not in told:
            raise unreadable(answer, operation)
        return told["value"]

    def stream_version(self, target: Target, key: Mapping[str, Value], member: str, *, operation: str) -> str:
        """The version under which a stream of a record may be replaced (sheet 7.2); "" where IFS tells none."""
        url = f"{self.root(target)}/{target.set}{key_predicate(key)}?$select={member}"
        answer = self._get(url, operation, Subject("record", target))
        told = json_of(answer)
        if not isinstance(told, dict):
            raise unreadable(answer, operation)
        return etag_of(told, answer)

    def put_stream(self, url: str, target: Target, data: bytes, *, name: str, version: str, operation: str) -> None:
        """Replace a stream by these bytes (sheet 7.1, 7.2). `url` as IFS gave it, or one of ours below the base URL.

        Raises Conflict when the record moved, RateLimited (code `locked`) while a virus scan holds it.
        """
        headers = {
            "Content-Type": "application/octet-stream",
            "Accept": "application/json",
            "If-Match": version,
            "X-IFS-Content-Disposition": "filename=" + base64.b64encode(name.encode()).decode(),
        }
        link = self._within(quote(url, safe=_IN_PATHS), target)
        self._send("PATCH", link, operation, Subject("record", target), headers=headers, data=data)

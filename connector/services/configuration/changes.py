"""What a change of the configuration changed: the leaves that differ, and the audit entry that tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from connector.services import audit
from connector.services.audit import Draft
from integrations.base.redact import ANTI_FORGERY_HEADERS, MASK


def _flat(value: Any, path: str = "", depth: int = 6) -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by dotted path; below `depth` names an object is a leaf."""
    if isinstance(value, Mapping) and value and depth:
        for key, below in value.items():
            yield from _flat(below, f"{path}.{key}" if path else str(key), depth - 1)
    else:
        yield path, value


def differences(before: Mapping[str, Any], after: Mapping[str, Any], depth: int = 6) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves that differ, as they were and as they are. Compared as canonical JSON (true is not 1)."""
    old, new = dict(_flat(before, depth=depth)), dict(_flat(after, depth=depth))
    paths = [
        path
        for path in dict.fromkeys((*old, *new))
        if audit.canonical([old.get(path)] if path in old else []) != audit.canonical([new.get(path)] if path in new else [])
    ]
    return {p: old[p] for p in paths if p in old}, {p: new[p] for p in paths if p in new}


def changed_draft(act: str, actor: str, obj: Any, before: Mapping[str, Any], after: Mapping[str, Any], **facts: Any) -> Draft:
    """Names of what changed in the facts, the values (never secrets) in the detail, which may be erased."""
    names = sorted({*before, *after})
    return Draft(act, {"changed": names, **facts}, obj, {"before": _masked(before), "after": _masked(after)}, actor)


def _masked(values: Mapping[str, Any]) -> dict[str, Any]:
    hidden = [path for path in values if path.rpartition(".")[2].lower() in ANTI_FORGERY_HEADERS]
    return {**values, **dict.fromkeys(hidden, MASK)}

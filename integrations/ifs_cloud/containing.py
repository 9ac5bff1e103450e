"""Which trouble stays with one record, and does not pause the whole connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from integrations.base.errors import ConfigurationError, Rejected


@contextmanager
def only_this_record() -> Iterator[None]:
    """Around what comes after the tracking number (charges, files): wrong names or rights stop that, not the shipping."""
    try:
        yield
    except ConfigurationError as error:
        if error.code not in _RECORD_ONLY:
            raise
        told = error.as_dict()
        told.pop("class")
        raise Rejected(str(told.pop("message")), **told) from error  # type: ignore[arg-type]


_RECORD_ONLY = frozenset(
    {
        *("forbidden", "unknown_projection", "unknown_set", "unknown_path", "not_offered"),
        *("unknown_property", "query_refused", "etag_missing", "too_many_pages", "foreign_host"),
    }
)

"""What leaves by the log: one line of text or one JSON object per record, about whom, and without secrets.

Secrets are taken out by value, like those in stored exchanges: whatever is logged, a foreign library's exception
included, passes the redactors of all connections that are open in this process, and the installation's own keys.
Loaded while logging is set up: imports no models.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import MappingProxyType
from typing import Any

from django.conf import settings
from pythonjsonlogger.json import JsonFormatter

from integrations.base.redact import Redactor

_about: ContextVar[Mapping[str, str | int]] = ContextVar("about", default=MappingProxyType({}))
_open: weakref.WeakSet[Redactor] = weakref.WeakSet()


@contextmanager
def about(**fields: str | int) -> Iterator[None]:
    """Records logged inside say what they are about: transfer, correlation, integration, flow, connection."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def know(redactor: Redactor) -> None:
    """Take this connection's secrets out of everything logged, as long as the connection is open."""
    _open.add(redactor)


@cache
def _own() -> Redactor:
    """The installation's keys and passwords."""
    database = settings.DATABASES["default"]
    broker = settings.REDIS_URL.rpartition("@")[0].rpartition(":")[2]
    keys = (settings.SECRET_KEY, *settings.FIELD_ENCRYPTION_KEY, settings.AUDIT_KEY, settings.METRICS_TOKEN)
    passwords = (str(database.get("PASSWORD") or ""), broker)
    # A password that is the name of the database or its user says nothing; masking it would garble every line.
    plain = {"", str(database.get("USER") or ""), str(database.get("NAME") or "")}
    return Redactor([*(key for key in keys if key), *(word for word in passwords if word not in plain)])


def _known() -> list[Redactor]:
    """Without a lock: a record may be written in the middle of another one (signals, finalisers), or after a fork."""
    while True:
        try:
            return [_own(), *_open]
        except RuntimeError:  # another thread has just opened a connection
            continue


_LABEL_LINK = re.compile(r"(/label/)[A-Za-z0-9_-]{20,}")
"""A link to a label is its own key, and frameworks log addresses."""


def redacted(text: str) -> str:
    """`text` without any secret that this process knows, and without links to labels."""
    for redactor in _known():
        text = redactor.text(text)
    return _LABEL_LINK.sub(r"\1[redacted]", text)


class PlainLines(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """As the standard library's, without secrets."""
        return redacted(super().format(record))


class JsonLines(JsonFormatter):
    """One object per line, with named fields only.

    What libraries hang on their records (Django: the whole request) is left out: nobody has looked at it for secrets.
    """

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """time, level, logger, message, process, what it is about, and the exception if there is one."""
        log_data["time"] = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = redacted(record.getMessage())
        log_data["process"] = record.process
        log_data.update(_about.get())
        told = [str(message_dict[name]) for name in ("exc_info", "stack_info") if message_dict.get(name)]
        if told:
            log_data["exception"] = redacted("\n".join(told))

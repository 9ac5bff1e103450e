"""What a tenant's own `$metadata` says about the fields of a set, asked for only where IFS refused what we sent.

Names of enumerations and kinds of date columns are to be read there rather than guessed (sheet 4.3), but the document is large:
what it told is remembered for an hour by this process. Forgetting it costs a refused call and another look.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from integrations.ifs_cloud.odata import EnumMember, Value
from integrations.ifs_cloud.targets import Poll

REMEMBERED_S = 3600.0
NOTHING: Mapping[str, str] = MappingProxyType({})
_seen: dict[str, tuple[float, Mapping[str, str]]] = {}


def known(place: str) -> Mapping[str, str]:
    """EDM types by field of the set at `place`, as far as they were looked up lately."""
    at, types = _seen.get(place, (0.0, NOTHING))
    return types if time.monotonic() - at < REMEMBERED_S else NOTHING


def remember(place: str, types: Mapping[str, str]) -> None:
    """Keep what was looked up."""
    _seen[place] = (time.monotonic(), types)


def forget() -> None:
    """Everything, for tests."""
    _seen.clear()


def dates_of(types: Mapping[str, str]) -> frozenset[str]:
    """Fields that hold a day without a clock."""
    return frozenset(name for name, kind in types.items() if kind == "Edm.Date")


def typed_poll(poll: Poll, types: Mapping[str, str]) -> Poll:
    """The poll with the kind of its date column as the tenant says it."""
    told = {"Edm.Date": "date", "Edm.DateTimeOffset": "datetime"}.get(types.get(poll.date_field, ""), poll.date_type)
    return replace(poll, date_type=told)


def state_literal(literal: str, namespace: str, enum: str, state: str) -> Value:
    """A state as a filter compares it: text, or a member of an enumeration (sheet 4.3).

    `enum` is a bare name of the profile, or a type that the tenant told ("Edm.String", "IfsApp.X.YState"), which counts more
    than the setting `literal`.
    """
    told, _, name = enum.rpartition(".")
    if enum == "Edm.String" or (not told and literal == "string"):
        return state
    return EnumMember(told or namespace, name, state)


class Listed(Protocol):
    """What of a shipment's or an order's profile makes the literals of its list."""

    @property
    def state_enum(self) -> str: ...
    @property
    def state_field(self) -> str: ...
    @property
    def poll(self) -> Poll: ...


def differences(path: str, literal: str, namespace: str, named: Listed, told: Listed) -> str:
    """Settings whose literals the tenant refuses, with what it wants instead; "" where there are none."""
    found = []
    if state_literal(literal, namespace, named.state_enum, "") != state_literal(literal, namespace, told.state_enum, ""):
        found.append(f"{path}.state_enum or state_literal: {named.state_field} is {told.state_enum}")
    if named.poll.date_type != told.poll.date_type:
        found.append(f"{path}.poll.date_type: {named.poll.date_field} is {told.poll.date_type}")
    return "; ".join(found)

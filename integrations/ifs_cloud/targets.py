"""Where a set lives and how its changes are found, as every part of the profile says it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One entity set: where it lives, and `path`, the profile block that names it ("shipment.lines")."""

    service: str
    set: str
    path: str
    entity: bool = False

    @property
    def namespace(self) -> str:
        """Schema namespace of the projection's types (sheet 2: `IfsApp.{Projection}`)."""
        return f"IfsApp.{self.service}"


@dataclass(frozen=True, slots=True)
class Poll:
    """How changes are found. `stamp_field` wins over `date_field` where it is set (sheet 8, S2 and S1).

    `history`: the history log is asked which shipments changed (sheet 8, S3); None where it is not.
    """

    stamp_field: str | None
    date_field: str
    date_type: str
    history: Target | None = None
    history_names: Mapping[str, str] = field(default_factory=dict)


def poll_of(poll: Mapping[str, Any], path: str) -> Poll:
    """The poll of the block at `path`."""
    if poll["strategy"] != "history_log":
        return Poll(poll["stamp_field"], poll["date_field"], poll["date_type"])
    history = poll["history"]
    names = {key: str(name) for key, name in history.items() if key.endswith("_field") or key == "unit"}
    return Poll(None, poll["date_field"], poll["date_type"], target_of(history, f"{path}.poll.history"), names)


def target_of(block: Mapping[str, Any], path: str) -> Target:
    """The set that a block names."""
    service = str(block["service"])
    entity = service.startswith("entity:") or block.get("root") == "entity"
    return Target(service.removeprefix("entity:"), str(block["set"]), path, entity)


def date_literal_value(poll: Poll, since: dt.date) -> dt.date | dt.datetime:
    """`since` as the kind of value that the date column compares with; a datetime is midnight UTC.

    A wrong kind is a 400 about incompatible types (sheet 4.3). A stamp is always a datetime.
    """
    if poll.stamp_field is None and poll.date_type == "date":
        return since
    return dt.datetime(since.year, since.month, since.day, tzinfo=dt.UTC)

"""What is written to IFS: which fields of a record have to be sent, decided on every fresh read. No I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Protocol

from integrations.base.errors import FieldConflict, Rejected
from integrations.base.records import (
    StatusWrite,
    WriteBack,
)
from integrations.ifs_cloud import notes
from integrations.ifs_cloud.mapping import Row, moment, number, text
from integrations.ifs_cloud.odata import instant
from integrations.ifs_cloud.order_profile import OrderProfile
from integrations.ifs_cloud.profile import ShipmentProfile

# -- the write-back ----------------------------------------------------------------------------------------


class Decision(Protocol):
    """Says on every fresh read which fields have to be sent, {} for none."""

    skipped: tuple[str, ...]

    def __call__(self, row: Row) -> dict[str, Any]: ...


class TrackingTargets(Protocol):
    """Where the number goes, with carrier and ship date: a shipment, an order, a line. None: the tenant has no field."""

    @property
    def tracking_field(self) -> str | None: ...
    @property
    def tracking_note_field(self) -> str | None: ...
    @property
    def forwarder_field(self) -> str | None: ...
    @property
    def ship_date_field(self) -> str | None: ...
    @property
    def quote_field(self) -> str | None: ...
    @property
    def quote_currency_field(self) -> str | None: ...


class TrackingWrite:
    """Decides, on every fresh read, which fields of a record have to be sent for a `WriteBack`.

    `shared`: the record's field also shows the numbers of other deliveries of the same order; the latest one stands there.

    One object serves one write: it remembers which foreign number stood there when a person's "write ours"
    was carried out, so that a number that somebody enters in the meantime is not overwritten too. After a
    call `skipped` names the targets that the profile does not have and the fields that were left alone.
    """

    def __init__(self, write: WriteBack, shipment: TrackingTargets, *, shared: bool = False) -> None:
        self._write = write
        self._shipment = shipment
        self._ours = write.ours | write.shared if shared else write.ours
        self._overruled: str | None = None
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """The fields to send, {} for none. Raises FieldConflict when the tracking field is somebody else's."""
        shipment, write = self._shipment, self._write
        body: dict[str, Any] = {}
        skipped: list[str] = []
        if write.tracking_number is not None:
            if shipment.tracking_field is None and shipment.tracking_note_field is not None:
                body |= self._note(row, shipment.tracking_note_field, write.tracking_number, skipped)
            elif shipment.tracking_field is None:
                skipped.append("tracking_field")
            elif self._must_write(text(row, shipment.tracking_field), write.tracking_number):
                body[shipment.tracking_field] = write.tracking_number
        date = instant(write.ship_date) if write.ship_date is not None else None
        extras = (
            ("forwarder_field", shipment.forwarder_field, write.carrier),
            ("ship_date_field", shipment.ship_date_field, date),
        )
        for setting, name, value in extras:
            if not value:
                continue
            if name is None:
                skipped.append(setting)
            elif not text(row, name):
                body[name] = value
            elif not self._equal(row, name, value):
                skipped.append(name)
        body |= self._quote(row, skipped)
        self.skipped = tuple(skipped)
        return body

    def _note(self, row: Row, name: str, number: str, skipped: list[str]) -> dict[str, Any]:
        """Our line at the end of a text, instead of those about earlier labels of the same document (sheet 9.6)."""
        stands = str(row.get(name) or "")
        wanted = notes.added(notes.without(stands, self._write.ours - {number}), number)
        if wanted is None:
            skipped.append("note_full")
        return {name: wanted} if wanted not in (None, stands) else {}

    def _quote(self, row: Row, skipped: list[str]) -> dict[str, Any]:
        """The quoted price, where the profile names fields of its own for it: what stands there is an earlier quote."""
        shipment, quoted = self._shipment, self._write.quoted
        if quoted is None:
            return {}
        if shipment.quote_field is None:
            skipped.append("quote_field")
            return {}
        body: dict[str, Any] = {}
        try:
            stands = number(row, shipment.quote_field)
        except Rejected:  # no number stands there: it is replaced
            stands = None
        if stands != quoted.amount:
            body[shipment.quote_field] = quoted.amount
        currency = shipment.quote_currency_field
        if currency is not None and text(row, currency) != quoted.currency:
            body[currency] = quoted.currency
        return body

    def _must_write(self, theirs: str, ours: str) -> bool:
        if theirs == ours:
            return False
        if not theirs or theirs == self._write.base or theirs in self._ours:
            return True
        if self._write.overwrite and self._overruled in (None, theirs):
            self._overruled = theirs
            return True
        raise field_conflict(self._shipment.tracking_field, theirs, ours)

    def _equal(self, row: Row, name: str, value: str) -> bool:
        if name != self._shipment.ship_date_field:
            return text(row, name) == value
        try:
            return moment(row, name) == dt.datetime.fromisoformat(value)
        except Rejected:
            return False  # something else stands there; it is left alone and named, as any other value


STATUS_TARGETS = {
    "status": "status_field",
    "status_at": "status_time_field",
    "estimated_delivery": "estimated_delivery_field",
    "delivered_at": "delivered_field",
    "signed_by": "signed_by_field",
}
"""Part of a `StatusWrite`: setting of the profile that names its field (sheet 9.4, 11)."""


class StatusDecision:
    """Decides which fields tell something else than the carrier's news; `skipped` names parts without a field."""

    def __init__(self, write: StatusWrite, shipment: ShipmentProfile | OrderProfile) -> None:
        self._write = write
        self._shipment = shipment
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """The fields to send, {} for none. A date goes as midnight UTC, as IFS stores a day in a time column."""
        body: dict[str, Any] = {}
        skipped: list[str] = []
        for part, setting in STATUS_TARGETS.items():
            value = getattr(self._write, part)
            name = getattr(self._shipment, setting)
            if value is None:
                continue
            if name is None:
                skipped.append(setting)
            elif isinstance(value, dt.date):
                at = value if isinstance(value, dt.datetime) else dt.datetime.combine(value, dt.time(), tzinfo=dt.UTC)
                if not self._same_instant(row, name, at):
                    body[name] = instant(at)
            elif text(row, name) != value:
                body[name] = value
        for part, told in self._write.taken_back.items():
            name = getattr(self._shipment, STATUS_TARGETS[part])
            stands = text(row, name) if name else ""
            ours = dt.datetime.fromisoformat(told)
            if name is None or not stands:
                continue
            # A field that holds days only holds the day in the zone in which it was told.
            if self._same_instant(row, name, ours) or stands == ours.date().isoformat():
                body[name] = None
            else:
                skipped.append(name)
        self.skipped = tuple(skipped)
        return body

    @staticmethod
    def _same_instant(row: Row, name: str, at: dt.datetime) -> bool:
        try:
            return moment(row, name) == at.replace(microsecond=0)
        except Rejected:
            return False


class TrackingClear:
    """Decides whether the tracking field holds one of our numbers and must be emptied; `skipped` says when not.

    `shared`: what a field that several deliveries share shows instead. `cancelled` tells of a row that it takes no change
    any more: IFS would refuse it, and nobody ships by the number of a cancelled document.
    """

    def __init__(
        self,
        ours: frozenset[str],
        shipment: TrackingTargets,
        shared: str = "",
        cancelled: Callable[[Row], bool] = lambda row: False,
    ) -> None:
        self._ours = ours
        self._instead = shared or None
        self._field = shipment.tracking_field
        self._note = shipment.tracking_note_field
        self._cancelled = cancelled
        self.skipped: tuple[str, ...] = ()

    def __call__(self, row: Row) -> dict[str, Any]:
        """{field: None}, or the shared number, where the one that stands there is ours; else {}. Our lines in a note go, too."""
        self.skipped = ()
        stands = str(row.get(self._note) or "") if self._note else ""
        noted = {self._note: left or None} if self._note and (left := notes.without(stands, self._ours)) != stands else {}
        if self._field is None:
            self.skipped = () if self._note else ("tracking_field",)
            return noted
        theirs = text(row, self._field)
        self.skipped = (self._field,) if theirs and theirs not in self._ours else ()
        if not theirs or self.skipped:
            return noted
        if self._cancelled(row):
            self.skipped = ("cancelled",)
            return {}
        return {self._field: self._instead} | noted


def field_conflict(name: str | None, theirs: str, ours: str) -> FieldConflict:
    """Our field holds somebody else's value: both are shown, a person decides."""
    return FieldConflict(
        f"{name} in IFS holds {theirs}, which is not ours; we would write {ours}.",
        theirs=theirs,
        ours=ours,
        remedy="Decide which number is right: keep theirs, or write ours.",
        vendor="ifs_cloud",
        field=name or "",
    )

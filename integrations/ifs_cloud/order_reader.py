"""Reads and writes orders over HTTP: deliveries that are ready, deliveries in batches, the number on header and lines."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from integrations.base.context import Company
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.preview import PlannedWrite
from integrations.base.records import Document, DocumentHead, Goods, Problem, StatusWrite, WriteBack, WriteResult
from integrations.base.records import Standing as HeaderStanding
from integrations.ifs_cloud import learning, mapping, orders, writing
from integrations.ifs_cloud.answers import Row
from integrations.ifs_cloud.client import IfsClient
from integrations.ifs_cloud.containing import only_this_record
from integrations.ifs_cloud.odata import Metadata, Value, all_of
from integrations.ifs_cloud.order_profile import OrderProfile
from integrations.ifs_cloud.orders import Delivery, Parts
from integrations.ifs_cloud.profile import Profile
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.targets import Poll, Target

GROUP = 20
"""Orders that share one request (sheet 4.3)."""

Item = TypeVar("Item")
Lines = Mapping[tuple[str, str], Sequence[mapping.Row]]
Seen = tuple[Mapping[str, Row], Lines]


class OrderReader:
    """Orders of one kind of one tenant. `unreadable` is the adapter's list of rows that a poll had to leave out."""

    def __init__(
        self, client: IfsClient, profile: Profile, kind: str, companies: Mapping[str, Company], unreadable: list[str]
    ) -> None:
        self.client = client
        self.profile = profile
        self.order: OrderProfile = profile.documents[kind]
        self._companies = companies
        self._unreadable = unreadable
        self._poll: Poll = self.order.poll
        self._take_types(client.types(self.order.listed))

    # -- reading -------------------------------------------------------------------------------------------

    def heads(self, sites: Mapping[str, str], group: Sequence[str], since: dt.date | None) -> Iterator[list[DocumentHead]]:
        """Pages of ready deliveries of a group of sites; `sites` is company code by site. One call more per 20 orders."""
        while True:
            try:
                yield from self._heads(sites, group, since)
                return
            except ConfigurationError as error:
                # Refused on the first page, so nothing of this group has been given out twice.
                if not self._falls_back(error):
                    raise

    def _falls_back(self, error: ConfigurationError) -> bool:
        """Whether a list that was refused can be asked for otherwise; it is from now on.

        An overview shows less than the order's own projection (`CustomerOrdersHandling` no site, sheet 9.2), which is asked
        then. As for shipments, a stamp that this tenant does not have gives way to the date window (sheet 8), and literals of a
        wrong type to those that its `$metadata` asks for.
        """
        if error.code == "query_refused":
            return self._take_types(self.client.learn_types(self.order.listed))
        if error.code != "unknown_property":
            return False
        if self.order.listed != self.order.header:
            self.order = dataclasses.replace(self.order, listed=self.order.header)
            return True
        if self._poll.stamp_field is None or error.field != self._poll.stamp_field:
            return False
        self._poll = dataclasses.replace(self._poll, stamp_field=None)
        return True

    def _take_types(self, types: Mapping[str, str]) -> bool:
        """Write the literals of lists as the tenant told; whether anything changed by it."""
        before, poll = self.order, self._poll
        self.order = dataclasses.replace(
            before,
            state_enum=types.get(before.state_field, before.state_enum),
            poll=learning.typed_poll(before.poll, types),
        )
        self._poll = learning.typed_poll(poll, types)
        return self.order != before

    def _asked(self, ask: Callable[[], list[Row]]) -> list[Row]:
        """What `ask` finds, asked otherwise where IFS refuses it as it is."""
        while True:
            try:
                return ask()
            except ConfigurationError as error:
                if not self._falls_back(error):
                    raise

    def _heads(self, sites: Mapping[str, str], group: Sequence[str], since: dt.date | None) -> Iterator[list[DocumentHead]]:
        order = self.order
        pages = self.client.pages(
            order.listed,
            operation=f"list {order.noun}s",
            select=orders.list_fields(order, self._poll),
            where=orders.list_clause(self.profile, order, group, since, self._poll),
            orderby=[order.key],
        )
        for rows in pages:
            found: list[DocumentHead] = []
            for some in _groups(rows):
                lines = self._lines([mapping.text(row, order.key) for row in some], select=orders.line_list_fields(order.lines))
                for row in some:
                    try:
                        found += orders.heads(row, lines, order, sites, self._poll)
                    except Rejected as problem:
                        self._unreadable.append(f"{mapping.text(row, order.key) or 'an order without number'}: {problem.message}")
            yield found

    def read(self, deliveries: Sequence[Delivery]) -> dict[str, Document | Problem]:
        """Read deliveries with lines and address: at most four requests per 20 orders."""
        return self._each(deliveries, self._document_reader)

    def goods(self, deliveries: Sequence[Delivery]) -> dict[str, Goods | Problem]:
        """Read what customs wants to know: the orders and their lines, two requests per 20 orders."""

        def reader(seen: Seen, _: Sequence[Delivery]) -> Callable[[Delivery], Goods]:
            headers, lines = seen
            return lambda one: orders.goods(headers[one.order], lines.get((one.order, one.release), ()), self.profile, self.order)

        return self._each(deliveries, reader)

    def standings(self, deliveries: Sequence[Delivery]) -> dict[str, HeaderStanding | Problem]:
        """How deliveries stand, as far as a comparison needs it; two requests per 20 orders."""

        return self._each(deliveries, lambda seen, _: self._standing_of(seen))

    def _standing_of(self, seen: Seen) -> Callable[[Delivery], HeaderStanding]:
        headers, lines = seen
        alone = Counter(order for order, _ in lines)
        return lambda one: orders.header_standing(
            headers[one.order], lines[one.order, one.release], one, self.order, alone=alone[one.order] == 1
        )

    def numbered(self, sites: Sequence[str], since: dt.date | None, after: str) -> Iterator[list[HeaderStanding]]:
        """Pages of all deliveries of orders whose header holds a number; none where the tenant has no field for it.

        One call more for each 20 orders, whose lines are read.
        """
        while self.order.tracking_field is not None:
            order = self.order
            where = orders.numbered_clause(order, sites, since, after)
            pages = self.client.pages(order.header, operation=f"list numbers of {order.noun}s", where=where, orderby=[order.key])
            try:
                for rows in pages:
                    if found := [one for some in _groups(rows) for one in self._numbered(some)]:
                        yield found
                return
            except ConfigurationError as error:
                # As in the write-back (sheet 11): a target that the tenant lacks fails the check (Ping), not the run.
                if error.code == "unknown_property" and error.field == order.tracking_field:
                    return
                if error.code != "query_refused" or not self._take_types(self.client.learn_types(order.header)):
                    raise

    def _numbered(self, rows: Sequence[Row]) -> Iterator[HeaderStanding]:
        headers = {mapping.text(row, self.order.key): row for row in rows}
        lines = self._lines(list(headers))
        make = self._standing_of((headers, lines))
        for order, release in sorted(lines):
            try:
                if order in headers and release:
                    yield make(Delivery(self.order.kind, order, release))
            except Rejected as problem:
                self._unreadable.append(f"{order}/{release}: {problem.message}")

    def _each(
        self,
        deliveries: Sequence[Delivery],
        reader: Callable[[Seen, Sequence[Delivery]], Callable[[Delivery], Item]],
    ) -> dict[str, Item | Problem]:
        found: dict[str, Item | Problem] = {}
        names = list(dict.fromkeys(one.order for one in deliveries))
        for group in _groups(names):
            wanted = [one for one in deliveries if one.order in group]
            headers, lines = self._headers(group), self._lines(group)
            make = reader((headers, lines), wanted)
            for one in wanted:
                try:
                    if one.order not in headers or not lines.get((one.order, one.release)):
                        raise self._gone(one, known=one.order in headers)
                    found[one.key] = make(one)
                except (Rejected, ConfigurationError) as problem:
                    found[one.key] = Problem(problem)
        return found

    def _document_reader(self, seen: Seen, wanted: Sequence[Delivery]) -> Callable[[Delivery], Document]:
        headers, lines = seen
        passing = self._passing(list(headers))
        places: dict[Delivery, orders.Place | Rejected] = {}
        for one in wanted:
            if one.order not in headers:
                continue
            try:
                places[one] = orders.place_wanted(headers[one.order], lines.get((one.order, one.release), ()), self.order)
            except Rejected as problem:
                places[one] = problem
        rows = self._place_rows([p for p in places.values() if isinstance(p, orders.Place)])
        singles = self._single_rows({one.order for one, p in places.items() if isinstance(p, orders.Place) and p.single})

        def make(one: Delivery) -> Document:
            header, own = headers[one.order], lines[one.order, one.release]
            place, row, problem = places[one], None, None
            if isinstance(place, Rejected):
                problem = place
            elif place.single:
                row, problem = _value(singles, one.order)
            elif isinstance(rows, Rejected):
                problem = rows
            else:
                row = _of_party(rows, place, self.order)
            if problem is not None and not orders.standing(header, own, self.order).cancelled:
                raise problem  # only now: what was called off needs no address
            parts = Parts(header, own, row, is_single=isinstance(place, orders.Place) and place.single)
            return orders.document(parts, one, self.profile, self._companies, passes_filter=one.order in passing)

        return make

    def _headers(self, group: Sequence[str]) -> dict[str, Row]:
        order = self.order
        rows = self._rows(order.header, orders.any_order(order.key, group), [order.key], f"read {order.noun}s")
        return {mapping.text(row, order.key): row for row in rows}

    def _lines(self, group: Sequence[str], select: Sequence[str] = ()) -> Lines:
        names = self.order.lines
        if not group:
            return {}
        where = orders.any_order(names.key[0], group)
        rows = self._rows(names.target, where, names.key, f"read {self.order.noun} lines", select)
        return orders.by_release(rows, names)

    def _rows(self, target: Target, where: str, orderby: Sequence[str], operation: str, select: Sequence[str] = ()) -> list[Row]:
        pages = self.client.pages(target, operation=operation, where=where, orderby=orderby, select=select, top=PAGE_SIZE_CAP)
        return [row for rows in pages for row in rows]

    def _passing(self, group: Sequence[str]) -> set[str]:
        """Which orders the operator's own ready filter lets in; only IFS can tell. Asked where it is asked in the list."""
        order = self.order
        if not order.ready_filter or not group:
            return set(group)
        where = all_of([orders.any_order(order.key, group), f"({order.ready_filter})"])
        rows = self._asked(lambda: self._rows(self.order.listed, where, [order.key], "check ready filter", [order.key]))
        return {mapping.text(row, order.key) for row in rows}

    def _place_rows(self, places: Sequence[orders.Place]) -> list[Row] | Rejected:
        """All addresses of these customers or suppliers. A wrong name or right here stops these documents, not the rest."""
        order = self.order
        parties = sorted({p.party for p in places if p.party and not p.single})
        if not parties:
            return []
        what = "read supplier addresses" if order.inbound else "read customer addresses"
        orderby = [order.place_party_field, order.place_id_field]
        try:
            with only_this_record():
                return self._rows(order.places, orders.party_clause(order, parties), orderby, what)
        except Rejected as problem:
            return problem

    def _single_rows(self, names: set[str]) -> dict[str, Row] | Rejected:
        """The addresses of orders that have one for once (sheet 9.2, step 2)."""
        order = self.order
        if not names or order.single is None:
            return {}
        by = order.single_order_field
        try:
            with only_this_record():
                rows = self._rows(order.single, orders.any_order(by, sorted(names)), [by], "read single addresses")
                return {mapping.text(row, by): row for row in rows}
        except Rejected as problem:
            return problem

    def _gone(self, one: Delivery, *, known: bool) -> Rejected:
        what = f"The {self.order.noun} {one.order}" + (f" has no delivery {one.release} any more" if known else " is not in IFS")
        return Rejected(
            f"{what}{'' if known else ' any more'}, or the service user may not see it.",
            code="document_gone",
            remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
            vendor="ifs_cloud",
        )

    # -- checks for the ping -------------------------------------------------------------------------------

    def probe(self, sites: Sequence[str], since: dt.date) -> list[Row]:
        """The very query of the poll, so that a wrong state literal or date type shows in the ping and not at night."""

        def ask() -> list[Row]:
            order = self.order
            where = orders.list_clause(self.profile, order, sites, since, self._poll)
            return self.client.probe(
                order.listed, operation=f"ping: {order.noun}s", where=where, select=orders.list_fields(order, self._poll)
            )

        return self._asked(ask)

    def wrong_types(self, metadata: Metadata, properties: Mapping[str, str]) -> list[str]:
        """Settings that would make IFS refuse our literals: date type, unknown states, a stamp that is not there."""
        order, poll = self.order, self.order.poll
        wrong = []
        date_type = properties.get(poll.date_field, "")
        expected = {"date": "Edm.Date", "datetime": "Edm.DateTimeOffset"}[poll.date_type]
        if date_type.startswith("Edm.Date") and date_type != expected:
            wrong.append(f"{order.kind}.poll.date_type: {poll.date_field} is {date_type}, not {expected}")
        if poll.stamp_field and poll.stamp_field not in properties:
            wrong.append(f"{order.kind}.poll.stamp_field: no field {poll.stamp_field}; the date window is used instead")
        known = metadata.enums.get(properties.get(order.state_field, ""), ())
        for state in (*orders.listed_states(order), *order.cancelled_states):
            if known and state not in known:
                wrong.append(f"a state {state} does not exist; IFS has {', '.join(known)}")
        return wrong

    # -- writing -------------------------------------------------------------------------------------------

    def write_tracking(self, one: Delivery, write: WriteBack) -> WriteResult:
        """Number, carrier and ship date on the header, the number on each line where the profile names a field for it.

        Every part is compared before it is written, so that what failed half-way is finished by doing it again.
        """
        lines = self.order.lines
        result = self._change_header(one, lambda order: writing.TrackingWrite(write, order, shared=True), "write tracking")
        if write.tracking_number is None:
            return result
        if lines.tracking_field is None:
            return dataclasses.replace(result, skipped=(*result.skipped, "lines.tracking_field"))
        of_line = dataclasses.replace(write, carrier=None, ship_date=None, quoted=None)
        return self._change_lines(one, result, writing.TrackingWrite(of_line, lines), "write tracking on line")

    def describe_tracking(self, one: Delivery, document: Document, write: WriteBack) -> tuple[PlannedWrite, ...]:
        """The PATCH of the header as it was read; the lines are read again before each is written, so they are only named."""
        order, lines = self.order, self.order.lines
        decide = writing.TrackingWrite(write, order, shared=True)
        found = self.client.planned(order.header, {order.key: one.order}, decide(document.raw), document.version, decide.skipped)
        if lines.tracking_field is None:
            return (dataclasses.replace(found, left=(*found.left, "lines.tracking_field")),)
        return (
            dataclasses.replace(found, note=f"Then the number in {lines.tracking_field} of each line, by a PATCH of its own."),
        )

    def clear_tracking(self, one: Delivery, ours: frozenset[str], shared: str) -> WriteResult:
        """Empty the field of the lines where it holds one of ours; the header's goes back to `shared`, if there is one."""
        lines = self.order.lines
        result = self._change_header(one, lambda order: writing.TrackingClear(ours, order, shared), "clear tracking")
        if lines.tracking_field is None:
            return result
        return self._change_lines(one, result, writing.TrackingClear(ours, lines), "clear tracking on line")

    def write_status(self, one: Delivery, write: StatusWrite) -> WriteResult:
        """The carrier's news, on the header."""
        return self._change_header(one, lambda order: writing.StatusDecision(write, order), "write status")

    def _change_header(self, one: Delivery, make: Callable[[OrderProfile], writing.Decision], operation: str) -> WriteResult:
        order, absent = self.order, list[str]()
        while True:
            decide = make(order)
            try:
                change = self.client.change(order.header, {order.key: one.order}, decide, operation=operation)
            except ConfigurationError as error:
                named = _target_named(order, error)
                if named is None:
                    raise
                # Sheet 11: a target that the tenant lacks fails the check (Ping), not the run. The timeline names it.
                absent.append(f"no field {error.field}")
                order = dataclasses.replace(order, **{named: None})  # type: ignore[arg-type]
                continue
            told = [name for name in decide.skipped if not absent or name not in _TARGETS or getattr(self.order, name) is None]
            return WriteResult(change.version, change.sent, (*told, *absent), mapping.anchor(change.row))

    def _change_lines(self, one: Delivery, result: WriteResult, decide: writing.Decision, operation: str) -> WriteResult:
        """The same on each line of the delivery that stands otherwise; what it did, together with the header's part."""
        names, sent, skipped = self.order.lines, list(result.written), list(result.skipped)
        rows = orders.live_lines(self._lines([one.order]).get((one.order, one.release), ()), self.order)
        for row in rows:
            if not decide(row):
                skipped += [f"line {orders.line_id(row, names)}: {name}" for name in decide.skipped]
                continue
            key: dict[str, Value] = orders.line_key(row, names)
            try:
                change = self.client.change(names.target, key, decide, operation=operation)
            except ConfigurationError as error:
                if error.code != "unknown_property" or error.field != names.tracking_field:
                    raise
                skipped.append(f"lines: no field {error.field}")
                break
            sent += [f"line {orders.line_id(row, names)}: {name}" for name in change.sent]
        return dataclasses.replace(result, written=tuple(sent), skipped=tuple(skipped))


_TARGETS = (
    *("tracking_field", "tracking_note_field", "forwarder_field", "ship_date_field", "quote_field", "quote_currency_field"),
    *writing.STATUS_TARGETS.values(),
)


def _target_named(order: OrderProfile, error: ConfigurationError) -> str | None:
    """The target that IFS says it has no field for."""
    if error.code != "unknown_property" or not error.field:
        return None
    return next((name for name in _TARGETS if getattr(order, name) == error.field), None)


def _of_party(rows: Sequence[Row], place: orders.Place, order: OrderProfile) -> Row | None:
    """The party's address of that name; without a name its only one. None where it cannot be told."""
    mine = [row for row in rows if mapping.text(row, order.place_party_field) == place.party]
    if place.place:
        mine = [row for row in mine if mapping.text(row, order.place_id_field) == place.place]
    return mine[0] if len(mine) == 1 else None


def _value(found: dict[str, Row] | Rejected, name: str) -> tuple[Row | None, Rejected | None]:
    if isinstance(found, Rejected):
        return None, found
    row = found.get(name)
    if row is not None:
        return row, None
    return None, Rejected(
        f"The order {name} has an address of its own, which cannot be found.",
        code="single_address_missing",
        remedy="Name the set that holds such addresses in the settings (customer_order.single_address), then replay.",
        vendor="ifs_cloud",
    )


def _groups(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), GROUP):
        yield items[start : start + GROUP]

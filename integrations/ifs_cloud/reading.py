"""Documents of an IFS tenant: list what is ready, read shipments and orders in batches (sheet 8 and 9)."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from integrations.base.context import Context
from integrations.base.errors import ConfigurationError, Rejected
from integrations.base.records import Document, DocumentHead, Goods, Problem, Standing
from integrations.base.roles import ListQuery
from integrations.ifs_cloud import learning, mapping, orders, standing
from integrations.ifs_cloud.answers import Row
from integrations.ifs_cloud.files import FileClient
from integrations.ifs_cloud.odata import all_of, any_of, compare
from integrations.ifs_cloud.order_profile import ORDER_KINDS
from integrations.ifs_cloud.order_reader import OrderReader
from integrations.ifs_cloud.orders import delivery_of
from integrations.ifs_cloud.profile import Profile, profile_of
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.targets import Target

GROUP = 20
"""Keys or sites that share one request: longer `or` lists make URLs that gateways refuse (sheet 4.3)."""

Item = TypeVar("Item")


class Reading:
    """The part of the `Erp` role that reads documents.

    `unreadable` holds one line for every row that the last `list_documents` had to leave out.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.profile: Profile = profile_of(context.settings)
        self.client = FileClient(context, self.profile)
        self.unreadable: list[str] = []
        self._history: dict[dt.date, list[int]] = {}
        self._media_types: dict[str, tuple[str, ...] | None] = {}
        self._poll = self.profile.shipment.poll
        self._named = self.profile.shipment
        self._take_types(self.client.types(self._named.header))
        self._company_of = mapping.site_map(context.companies)
        self._orders = {
            kind: OrderReader(self.client, self.profile, kind, self._company_of, self.unreadable) for kind in ORDER_KINDS
        }

    def ready_rule(self, kind: str) -> str:
        """The ready rule as canonical text. Raises ConfigurationError for a kind that is not offered."""
        _known_kind(kind)
        return orders.ready_rule(self._orders[kind].order) if kind in ORDER_KINDS else mapping.ready_rule(self.profile)

    def list_documents(self, query: ListQuery) -> Iterator[list[DocumentHead]]:
        """Yield pages of ready documents of the query's kind and sites, 20 sites a request (sheet 8, S1 or S2)."""
        _known_kind(query.kind)
        self.unreadable.clear()
        self._history = {}
        companies = {site.code: site.company_code for site in query.sites}
        for group in groups(sorted(companies)):
            if query.kind in ORDER_KINDS:
                yield from self._orders[query.kind].heads(companies, group, query.since)
                continue
            while True:
                try:
                    yield from self._list(group, companies, query.since)
                    break
                except ConfigurationError as error:
                    # IFS refuses the first page, so nothing of this group has been given out twice.
                    if not self._falls_back(error):
                        raise

    def _falls_back(self, error: ConfigurationError) -> bool:
        """Whether a list that was refused can be asked for otherwise; it is from now on.

        A stamp that this tenant does not have gives way to the date window (sheet 8); literals of a wrong type (sheet 4.3) to
        those that its `$metadata` asks for.
        """
        if error.code == "query_refused":
            return self._take_types(self.client.learn_types(self.profile.shipment.header))
        if error.code != "unknown_property" or self._poll.stamp_field is None or error.field != self._poll.stamp_field:
            return False
        self._poll = dataclasses.replace(self._poll, stamp_field=None)
        return True

    def _take_types(self, types: Mapping[str, str]) -> bool:
        """Write literals of the shipments' list as the tenant told; whether anything changed by it."""
        before = self.profile.shipment
        shipment = dataclasses.replace(
            before,
            state_enum=types.get(before.state_field, before.state_enum),
            poll=learning.typed_poll(before.poll, types),
        )
        self.profile = dataclasses.replace(self.profile, shipment=shipment)
        self._poll = learning.typed_poll(self._poll, types)
        return shipment != before

    def _list(self, sites: Sequence[str], companies: dict[str, str], since: dt.date | None) -> Iterator[list[DocumentHead]]:
        """Pages of one group of sites. With the history log: of what it names; the daily sweep (no `since`) never asks it."""
        shipment = self.profile.shipment
        narrowed = [""]
        if self._poll.history is not None and since is not None:
            narrowed = [mapping.any_shipment(shipment.key, group) for group in groups(self._logged(since))]
            since = None
        pages = (
            rows
            for narrow in narrowed
            for rows in self.client.pages(
                shipment.header,
                operation="list shipments",
                select=mapping.list_fields(shipment, self._poll),
                where=all_of([mapping.list_clause(self.profile, sites, since, self._poll), narrow]),
                orderby=[shipment.key],
            )
        )
        for rows in pages:
            heads = []
            for row in rows:
                try:
                    heads.append(mapping.head(row, self.profile, companies, self._poll))
                except Rejected as problem:
                    self.unreadable.append(f"{mapping.text(row, shipment.key) or 'a row without number'}: {problem.message}")
            yield heads

    def _logged(self, since: dt.date) -> list[int]:
        """Shipments of which the history log tells something since that day, each once; asked once per poll."""
        if since not in self._history:
            names, history = self._poll.history_names, self._poll.history
            assert history is not None
            found: dict[int, None] = {}
            pages = self.client.pages(
                history,
                operation="read history log",
                select=[names["key_field"], names["keys_field"]],
                where=mapping.history_clause(self._poll, since),
                orderby=[names["key_field"]],
                top=PAGE_SIZE_CAP,
            )
            for rows in pages:
                for row in rows:
                    number = mapping.logged_shipment(row, self.profile)
                    if number is None:
                        self.unreadable.append(f"history log: {mapping.text(row, names['keys_field'])!r} names no shipment")
                    else:
                        found[number] = None
            self._history = {since: sorted(found)}
        return self._history[since]

    def read_documents(self, keys: Sequence[str]) -> dict[str, Document | Problem]:
        """Read documents with lines, packages and address: at most four requests per 20 keys of a kind.

        A key that IFS does not answer for is a Problem with Rejected (code `document_gone`).
        """
        shipments, of_orders = _by_kind(keys)
        found = _by_key(shipments, self._read_group)
        for kind, deliveries in of_orders.items():
            found |= self._orders[kind].read(deliveries)
        return found

    def _read_group(self, numbers: Sequence[int]) -> dict[int, Document | Problem]:
        profile, shipment = self.profile, self.profile.shipment
        header_rows, broken = self._rows(shipment.header, shipment.key, numbers, [shipment.key], "read shipments")
        present = [number for number in numbers if header_rows[number]]
        if not present:
            return {number: Problem(_gone(number, broken)) for number in numbers}
        headers = {number: header_rows[number][0] for number in present}
        order = [shipment.key, *given(shipment.line["line_field"])]
        lines, _ = self._rows(shipment.lines, shipment.key, present, order, "read shipment lines")
        by_shipment, unit_id = str(profile.unit["shipment_field"]), str(profile.unit["id_field"])
        units, _ = self._rows(profile.units, by_shipment, present, [unit_id], "read handling units")
        passing = self._passing(present)
        addresses = self._addresses(headers)
        found: dict[int, Document | Problem] = {}
        for number in numbers:
            if number not in headers:
                found[number] = Problem(_gone(number, broken))
                continue
            parts = mapping.Parts(headers[number], lines[number], units[number], addresses.get(number))
            try:
                found[number] = mapping.document(parts, profile, self._company_of, passes_filter=number in passing)
            except (Rejected, ConfigurationError) as problem:
                found[number] = Problem(problem)
        return found

    def _rows(
        self, target: Target, by: str, numbers: Sequence[int], orderby: Sequence[str], operation: str
    ) -> tuple[dict[int, list[Row]], int]:
        """All rows of a set for these shipments, by shipment, and how many could not be assigned to one of them."""
        found: dict[int, list[Row]] = {number: [] for number in numbers}
        broken = 0
        where = mapping.any_shipment(by, numbers)
        # The largest page, so that one request is enough unless twenty shipments have a thousand lines.
        for rows in self.client.pages(target, operation=operation, where=where, orderby=orderby, top=PAGE_SIZE_CAP):
            for row in rows:
                try:
                    found[mapping.shipment_number(row, by)].append(row)
                except (Rejected, KeyError):
                    broken += 1
        if broken and target is not self.profile.shipment.header:
            raise Rejected(
                f"{broken} rows of {target.set} do not say to which shipment they belong.",
                code="unreadable_rows",
                remedy=f"Check the field names under {target.path} in the settings (Ping), then replay.",
                vendor="ifs_cloud",
                operation=operation,
            )
        return found, broken

    def _passing(self, numbers: Sequence[int]) -> set[int]:
        """Which shipments the operator's own ready filter lets in; only IFS can tell, so it is asked where there is one."""
        shipment = self.profile.shipment
        if not shipment.ready_filter:
            return set(numbers)
        where = all_of([mapping.any_shipment(shipment.key, numbers), f"({shipment.ready_filter})"])
        pages = self.client.pages(
            shipment.header,
            operation="check ready filter",
            select=[shipment.key],
            where=where,
            orderby=[shipment.key],
            top=PAGE_SIZE_CAP,
        )
        return {mapping.shipment_number(row, shipment.key) for rows in pages for row in rows}

    def _addresses(self, headers: dict[int, Row]) -> dict[int, Row]:
        """Customer addresses for the shipments that have none of their own, in one request (sheet 9.2, step 3)."""
        profile = self.profile
        wanted = {number: pair for number, row in headers.items() if (pair := mapping.address_wanted(row, profile))}
        if not wanted:
            return {}
        pages = self.client.pages(
            profile.customer_addresses,
            operation="read customer addresses",
            where=mapping.address_clause(profile, sorted(set(wanted.values()))),
            orderby=[profile.customer_field, profile.address_field],
            top=PAGE_SIZE_CAP,
        )
        found = {
            (mapping.text(row, profile.customer_field), mapping.text(row, profile.address_field)): row
            for rows in pages
            for row in rows
        }
        return {number: found[pair] for number, pair in wanted.items() if pair in found}

    def read_standings(self, keys: Sequence[str]) -> dict[str, Standing | Problem]:
        """Read headers alone, one request per 20 keys; a key that IFS does not answer for is a Problem `document_gone`.

        Of orders the lines, too: a delivery is known by them only.
        """
        shipments, of_orders = _by_kind(keys)
        found = _by_key(shipments, self._standings)
        for kind, deliveries in of_orders.items():
            found |= self._orders[kind].standings(deliveries)
        return found

    def _standings(self, numbers: Sequence[int]) -> dict[int, Standing | Problem]:
        shipment = self.profile.shipment
        pages = self.client.pages(
            shipment.header,
            operation="read numbers",
            where=mapping.any_shipment(shipment.key, numbers),
            select=standing.fields(shipment),
            orderby=[shipment.key],
            top=PAGE_SIZE_CAP,
        )
        found: dict[int, Standing | Problem] = {}
        broken = 0
        for row in (row for rows in pages for row in rows):
            try:
                found[mapping.shipment_number(row, shipment.key)] = standing.standing(row, shipment)
            except Rejected:
                broken += 1
        return {number: found.get(number) or Problem(_gone(number, broken)) for number in numbers}

    def list_numbered(self, query: ListQuery, after: str = "") -> Iterator[list[Standing]]:
        """Yield pages of documents that hold a tracking number; nothing where the profile names no field for it.

        Of orders those whose header holds one, with all their deliveries.
        """
        _known_kind(query.kind)
        shipment = self.profile.shipment
        if len(query.sites) > GROUP:
            raise ValueError(f"at most {GROUP} sites at once")
        if query.kind in ORDER_KINDS:
            codes = sorted({site.code for site in query.sites})
            yield from self._orders[query.kind].numbered(codes, query.since, delivery_of(after).order if after else "")
            return
        if shipment.tracking_field is None:
            return
        behind = mapping.shipment_of(after) if after else None
        try:
            yield from self._numbered(query, behind)
        except ConfigurationError as error:
            if error.code != "query_refused" or not self._falls_back(error):
                raise
            yield from self._numbered(query, behind)

    def _numbered(self, query: ListQuery, behind: int | None) -> Iterator[list[Standing]]:
        shipment = self.profile.shipment
        where = standing.numbered_clause(shipment, sorted({site.code for site in query.sites}), query.since, behind)
        pages = self.client.pages(
            shipment.header,
            operation="list numbers",
            where=where,
            select=standing.fields(shipment),
            orderby=[shipment.key],
        )
        for rows in pages:
            made = []
            for row in rows:
                try:
                    made.append(standing.standing(row, shipment))
                except Rejected as problem:
                    self.unreadable.append(f"{mapping.text(row, shipment.key) or 'a row without number'}: {problem.message}")
            yield made

    def read_goods(self, keys: Sequence[str]) -> dict[str, Goods | Problem]:
        """Read what customs wants to know: shipment lines, their order lines, the orders' currencies; three calls per 20."""
        shipments, of_orders = _by_kind(keys)
        found = _by_key(shipments, self._goods_group)
        for kind, deliveries in of_orders.items():
            found |= self._orders[kind].goods(deliveries)
        return found

    def _goods_group(self, numbers: Sequence[int]) -> dict[int, Goods | Problem]:
        profile, shipment = self.profile, self.profile.shipment
        order_by = [shipment.key, *given(shipment.line["line_field"])]
        lines, _ = self._rows(shipment.lines, shipment.key, numbers, order_by, "read shipment lines")
        refs = {number: [mapping.order_line_of(row, profile) for row in lines[number]] for number in numbers}
        orders = sorted({ref[0] for some in refs.values() for ref in some if ref})
        line_key = profile.order_line_key
        ordered = {
            mapping.order_line_key(row, profile): row
            for row in self._of_orders(profile.order_lines, line_key[0], orders, line_key, "read order lines")
        }
        currencies: dict[str, str] = {}
        if profile.order_currency_field:
            heads = self._of_orders(profile.orders, profile.order_key, orders, [profile.order_key], "read order currencies")
            currencies = {mapping.text(row, profile.order_key): mapping.text(row, profile.order_currency_field) for row in heads}
        found: dict[int, Goods | Problem] = {}
        for number in numbers:
            try:
                pairs = zip(lines[number], refs[number], strict=True)
                made = [
                    mapping.goods_line(row, ordered.get(ref) if ref else None, currencies.get(ref[0], "") if ref else "", profile)
                    for row, ref in pairs
                ]
                found[number] = Goods(tuple(made))
            except Rejected as problem:
                found[number] = Problem(problem)
        return found

    def _of_orders(self, target: Target, by: str, orders: Sequence[str], orderby: Sequence[str], operation: str) -> Iterator[Row]:
        """All rows of a set that belong to these customer orders."""
        for group in groups(orders):
            where = any_of(compare(by, "eq", order) for order in group)
            for rows in self.client.pages(target, operation=operation, where=where, orderby=orderby, top=PAGE_SIZE_CAP):
                yield from rows


def _known_kind(kind: str) -> None:
    if kind != mapping.SHIPMENT and kind not in ORDER_KINDS:
        raise ConfigurationError(
            f'IFS documents of kind "{kind}" are not offered; {", ".join((mapping.SHIPMENT, *ORDER_KINDS))} are.',
            code="unknown_kind",
            scope="integration",
            vendor="ifs_cloud",
        )


def _by_kind(keys: Sequence[str]) -> tuple[list[str], dict[str, list[orders.Delivery]]]:
    """Keys of shipments (and those that are none at all), and deliveries of orders by kind, each once."""
    shipments: list[str] = []
    of_orders: dict[str, list[orders.Delivery]] = {}
    for key in dict.fromkeys(keys):
        try:
            delivery = delivery_of(key)
        except Rejected:
            shipments.append(key)  # what is no key at all is refused there
            continue
        of_orders.setdefault(delivery.kind, []).append(delivery)
    return shipments, of_orders


def _gone(number: int, broken: int) -> Rejected:
    if broken:
        # A header came without a readable number: it may be this one, so "gone" would be a claim without proof.
        return Rejected(f"IFS did not answer readably for shipment {number}.", code="unreadable_rows", vendor="ifs_cloud")
    return Rejected(
        f"Shipment {number} is not in IFS any more, or the service user may not see it.",
        code="document_gone",
        remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
        vendor="ifs_cloud",
    )


def given(name: str | None) -> list[str]:
    return [name] if name else []


def _by_key(keys: Sequence[str], read: Callable[[Sequence[int]], dict[int, Item | Problem]]) -> dict[str, Item | Problem]:
    """Read by shipment number, twenty at a time, and answer by key; a key that is none is a Problem of its own."""
    found: dict[str, Item | Problem] = {}
    numbers: dict[int, str] = {}
    for key in dict.fromkeys(keys):
        try:
            numbers[mapping.shipment_of(key)] = key
        except Rejected as problem:
            found[key] = Problem(problem)
    for group in groups(list(numbers)):
        found |= {numbers[number]: value for number, value in read(group).items()}
    return found


def groups(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), GROUP):
        yield items[start : start + GROUP]

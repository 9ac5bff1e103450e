"""IFS Cloud as an ERP of the flows: list ready shipments, read them in batches, write the tracking number, ping."""

from __future__ import annotations

import dataclasses
import datetime as dt
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from integrations.base.context import Company, Context
from integrations.base.errors import ConfigurationError, IntegrationError, OutcomeUnknown, Rejected
from integrations.base.http import Answer
from integrations.base.preview import PlannedWrite
from integrations.base.records import (
    ChargeOrder,
    Document,
    DocumentHead,
    FreightBasis,
    FreightPart,
    Goods,
    GoodsLine,
    LookUp,
    PingLayer,
    PostedCharge,
    Problem,
    Standing,
    StatusWrite,
    WriteBack,
    WriteResult,
)
from integrations.base.roles import ListQuery, SendTicket
from integrations.ifs_cloud import mapping, orders, standing, uses, writing
from integrations.ifs_cloud.attaching import Attaching
from integrations.ifs_cloud.client import PERMISSION_REMEDY, Record, Row, posted
from integrations.ifs_cloud.containing import only_this_record as _only_this_record
from integrations.ifs_cloud.files import FileClient
from integrations.ifs_cloud.odata import Metadata, Value, all_of, any_of, compare
from integrations.ifs_cloud.order_profile import CUSTOMER_ORDER, ORDER_KINDS
from integrations.ifs_cloud.order_reader import OrderReader
from integrations.ifs_cloud.orders import delivery_of, kind_of
from integrations.ifs_cloud.profile import PAGE_SIZE_CAP, Profile, Target, profile_of

GROUP = 20
"""Keys or sites that share one request: longer `or` lists make URLs that gateways refuse (sheet 4.3)."""

Item = TypeVar("Item")


class IfsCloud(Attaching):
    """The `Erp` role over one IFS tenant: shipments ("shipment:19") and deliveries of orders ("customer_order:S1/2").

    `unreadable` holds one line for every row that the last `list_documents` had to leave out.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.profile: Profile = profile_of(context.settings)
        self.client = FileClient(context, self.profile)
        self.unreadable: list[str] = []
        self._history: dict[dt.date, list[int]] = {}
        self._media_types = {}
        self._poll = self.profile.shipment.poll
        self._company_of = mapping.site_map(context.companies)
        self._orders = {
            kind: OrderReader(self.client, self.profile, kind, self._company_of, self.unreadable) for kind in ORDER_KINDS
        }

    # -- reading -------------------------------------------------------------------------------------------

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
        for group in _groups(sorted(companies)):
            if query.kind in ORDER_KINDS:
                yield from self._orders[query.kind].heads(companies, group, query.since)
                continue
            try:
                yield from self._list(group, companies, query.since)
            except ConfigurationError as error:
                # The profile names a stamp that this tenant does not have: fall back to the date window (sheet 8).
                # IFS refuses the first page, so nothing of this group has been given out twice.
                if error.code != "unknown_property" or self._poll.stamp_field is None or error.field != self._poll.stamp_field:
                    raise
                self._poll = dataclasses.replace(self._poll, stamp_field=None)
                yield from self._list(group, companies, query.since)

    def _list(self, sites: Sequence[str], companies: dict[str, str], since: dt.date | None) -> Iterator[list[DocumentHead]]:
        """Pages of one group of sites. With the history log: of what it names; the daily sweep (no `since`) never asks it."""
        shipment = self.profile.shipment
        narrowed = [""]
        if self._poll.history is not None and since is not None:
            narrowed = [mapping.any_shipment(shipment.key, group) for group in _groups(self._logged(since))]
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
        order = [shipment.key, *_given(shipment.line["line_field"])]
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
        """Yield pages of shipments that hold a tracking number; nothing where the profile names no field for it.

        Nothing of orders: the field of their header is shared by deliveries, so that a number there proves little.
        """
        _known_kind(query.kind)
        if query.kind in ORDER_KINDS:
            return
        shipment = self.profile.shipment
        if len(query.sites) > GROUP:
            raise ValueError(f"at most {GROUP} sites at once")
        if shipment.tracking_field is None:
            return
        behind = mapping.shipment_of(after) if after else None
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
        order_by = [shipment.key, *_given(shipment.line["line_field"])]
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
        for group in _groups(orders):
            where = any_of(compare(by, "eq", order) for order in group)
            for rows in self.client.pages(target, operation=operation, where=where, orderby=orderby, top=PAGE_SIZE_CAP):
                yield from rows

    # -- writing -------------------------------------------------------------------------------------------

    def write_tracking(self, key: str, write: WriteBack) -> WriteResult:
        """One GET, and one PATCH of what differs; another GET where the PATCH answers 204.

        `written` are IFS field names; `skipped` names targets that are null in the profile
        ("tracking_field") and fields left alone because somebody filled them ("ForwardAgentId").
        """
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].write_tracking(delivery_of(key), write)
        shipment = self.profile.shipment
        decide = writing.TrackingWrite(write, shipment)
        return self._change(key, decide, "write tracking")

    def describe_tracking(self, document: Document, write: WriteBack) -> tuple[PlannedWrite, ...]:
        """The PATCH of `write_tracking` on the header as it was read, by the same decision."""
        if (kind := kind_of(document.key)) in ORDER_KINDS:
            return self._orders[kind].describe_tracking(delivery_of(document.key), document, write)
        shipment = self.profile.shipment
        decide = writing.TrackingWrite(write, shipment)
        key: dict[str, Value] = {shipment.key: mapping.shipment_of(document.key)}
        return (self.client.planned(shipment.header, key, decide(document.raw), document.version, decide.skipped),)

    def status_targets(self, kind: str) -> frozenset[str]:
        """Parts of a `StatusWrite` for which the profile names a field on documents of that kind."""
        block = self.profile.documents.get(kind, self.profile.shipment)
        return frozenset(part for part, setting in writing.STATUS_TARGETS.items() if getattr(block, setting))

    def write_status(self, key: str, write: StatusWrite) -> WriteResult:
        """One GET, and one PATCH of what differs; parts without a field are named in `skipped`."""
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].write_status(delivery_of(key), write)
        return self._change(key, writing.StatusDecision(write, self.profile.shipment), "write status")

    def clear_tracking(self, key: str, ours: frozenset[str]) -> WriteResult:
        """Empty the tracking field where it holds one of ours; else leave it, named in `skipped`."""
        if (kind := kind_of(key)) in ORDER_KINDS:
            return self._orders[kind].clear_tracking(delivery_of(key), ours)
        return self._change(key, writing.TrackingClear(ours, self.profile.shipment), "clear tracking")

    def _change(self, key: str, decide: writing.Decision, operation: str) -> WriteResult:
        shipment = self.profile.shipment
        change = self.client.change(shipment.header, {shipment.key: mapping.shipment_of(key)}, decide, operation=operation)
        return WriteResult(change.version, change.sent, decide.skipped)

    # -- freight cost --------------------------------------------------------------------------------------

    @property
    def takes_freight(self) -> bool:
        """Whether the profile lets charges be written."""
        return self.profile.charge.enabled

    def prepare(self) -> None:
        """Have a token at hand."""
        self.client.tokens.token(self.client.fetch_token)

    def read_freight_basis(self, keys: Sequence[str]) -> dict[str, FreightBasis | Problem]:
        """Read the customer orders of shipments: lines and orders; order lines where several orders share the cost."""
        found: dict[str, FreightBasis | Problem] = {}
        for key in dict.fromkeys(keys):
            try:
                with _only_this_record():
                    found[key] = self._basis_of(key)
            except Rejected as problem:
                found[key] = Problem(problem)
        return found

    def _basis_of(self, key: str) -> FreightBasis:
        """The orders behind one document; none behind a purchase order, on which no cost is written yet."""
        kind = kind_of(key)
        if kind not in ORDER_KINDS:
            return self._freight_basis(mapping.shipment_of(key))
        if kind != CUSTOMER_ORDER:
            return FreightBasis(())
        return self._basis_of_orders([delivery_of(key).order], [])

    def _freight_basis(self, number: int) -> FreightBasis:
        profile, shipment = self.profile, self.profile.shipment
        order_by = [shipment.key, *_given(shipment.line["line_field"])]
        rows = self._rows(shipment.lines, shipment.key, [number], order_by, "read shipment lines")[0][number]
        lines = [(row, ref) for row in rows if (ref := mapping.order_line_of(row, profile))]
        return self._basis_of_orders(list(dict.fromkeys(ref[0] for _, ref in lines)), lines)

    def _basis_of_orders(self, numbers: Sequence[str], lines: Sequence[tuple[Row, mapping.OrderLine]]) -> FreightBasis:
        profile = self.profile
        heads = {
            mapping.text(row, profile.order_key): row
            for row in self._of_orders(profile.orders, profile.order_key, numbers, [profile.order_key], "read orders")
        }
        missing = [order for order in numbers if order not in heads]
        if missing:
            raise Rejected(
                f"The customer order {missing[0]} is not in IFS any more, or the service user may not see it.",
                code="document_gone",
                remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
                vendor="ifs_cloud",
            )
        goods = self._goods_of_orders(lines, numbers) if len(numbers) > 1 else {}
        before = self._pre_postings(heads.values())
        return FreightBasis(tuple(self._charge_order(heads[order], before, goods.get(order)) for order in numbers))

    def _charge_order(self, row: Row, before: dict[str, Row], goods: Sequence[GoodsLine] | None) -> ChargeOrder:
        place = mapping.text(row, self.profile.charge.pre_posting_field)
        return writing.charge_order(row, before.get(place), goods, self.profile)

    def _goods_of_orders(
        self, lines: Sequence[tuple[Row, mapping.OrderLine]], orders: Sequence[str]
    ) -> dict[str, list[GoodsLine]]:
        """What ships of each order, with weights and prices of the order lines."""
        profile = self.profile
        line_key = profile.order_line_key
        ordered = {
            mapping.order_line_key(row, profile): row
            for row in self._of_orders(profile.order_lines, line_key[0], orders, line_key, "read order lines")
        }
        found: dict[str, list[GoodsLine]] = {order: [] for order in orders}
        for row, ref in lines:
            found[ref[0]].append(mapping.goods_line(row, ordered.get(ref), "", profile))
        return found

    def _pre_postings(self, heads: Iterable[Row]) -> dict[str, Row]:
        """Pre-posting of orders by its id, where the profile names a set to read it from (sheet 9.9)."""
        names = self.profile.charge
        wanted = sorted({mapping.number(row, names.pre_posting_field) for row in heads} - {None}, key=str)
        if names.pre_posting is None or not wanted:
            return {}
        found: dict[str, Row] = {}
        for group in _groups(wanted):
            where = any_of(compare(names.pre_posting_key, "eq", number) for number in group)
            pages = self.client.pages(
                names.pre_posting, operation="read pre-posting", where=where, orderby=[names.pre_posting_key], top=PAGE_SIZE_CAP
            )
            found |= {mapping.text(row, names.pre_posting_key): row for rows in pages for row in rows}
        return found

    def describe_freight(self, part: FreightPart, reference: str) -> dict[str, object]:
        """The body of the charge. Its cost is text here, since frozen requests are plain JSON; it is a number on the wire."""
        body = writing.charge_body(part, reference, self.profile)
        return body | {self.profile.charge.cost_field: format(part.cost.amount, "f")}

    def post_freight(self, body: dict[str, object], part: FreightPart, ticket: SendTicket) -> PostedCharge:
        """POST the charge to its order, once."""
        target = writing.charges_of(part.order, self.profile)
        told = dict(body) | {self.profile.charge.cost_field: part.cost.amount}
        with _only_this_record():
            return self._posted(self.client.post_once(target, told, ticket, operation="post charge"), part)

    def parse_freight(self, answer: str, part: FreightPart, *, status: int | None) -> PostedCharge:
        """What a stored answer to the POST said."""
        with _only_this_record():
            told = Answer(status or 0, {}, answer.encode())
            return self._posted(posted(told, writing.charges_of(part.order, self.profile), "post charge"), part)

    def _posted(self, record: Record, part: FreightPart) -> PostedCharge:
        number = mapping.text(record.row, self.profile.charge.number_field)
        if not number:
            message = "IFS took the charge, but did not say under which number."
            raise OutcomeUnknown(message, vendor="ifs_cloud", operation="post charge")
        return PostedCharge(part.order, number)

    def find_freight(self, part: FreightPart, references: Sequence[str]) -> LookUp:
        """Read the order's charges and pick those that may be this part."""
        profile = self.profile
        target = writing.charges_of(part.order, profile)
        with _only_this_record():
            pages = self.client.pages(
                target, operation="look for charge", orderby=[profile.charge.number_field], top=PAGE_SIZE_CAP
            )
            rows = [row for page in pages for row in page]
        ours = [row for row in rows if writing.is_charge(row, part, references, profile)]
        return LookUp(tuple(writing.found_charge(row, profile) for row in ours), text=f"{len(rows)} charges on {part.order}")

    def correct_freight(self, order: str, number: str, cost: Decimal, ours: Sequence[Decimal]) -> WriteResult:
        """One GET, and one PATCH where the cost differs; what stands in the way is told, not raised."""
        names = self.profile.charge
        decide = writing.ChargeCorrection(cost, ours, self.profile)
        key: dict[str, Value] = {self.profile.order_key: order, names.number_field: int(number)}
        try:
            with _only_this_record():
                change = self.client.change(writing.charges_of(order, self.profile), key, decide, operation="correct charge")
        except Rejected as problem:
            if problem.code not in ("document_gone", "state_refused"):
                raise
            return WriteResult("", (), ("gone" if problem.code == "document_gone" else "invoiced",))
        return WriteResult(change.version, change.sent, decide.skipped)

    # -- ping ----------------------------------------------------------------------------------------------

    def ping(self) -> Iterator[PingLayer]:
        """Token, gateway, each company code with its sites, the right to read, the profile against `$metadata`.

        Reads only. After a failed token or gateway nothing else can be told: the rest is `not_checked`.
        """
        profile = self.profile
        kinds = [kind for kind in (mapping.SHIPMENT, *ORDER_KINDS) if kind in self.context.documents()] or [mapping.SHIPMENT]
        # Customers' addresses are read for shipments and orders alike.
        sets = list({target.path: (target, used) for kind in kinds for target, used in uses.uses_of(profile, kind)}.values())
        known = {target.path for target, _ in sets}
        abroad = [(target, used) for target, used in uses.uses_abroad(profile) if target.path not in known]
        first = profile.shipment.header if mapping.SHIPMENT in kinds else sets[0][0]
        described: dict[str, Metadata] = {}

        def gateway() -> PingLayer:
            described[first.service] = self.client.metadata(first)
            return PingLayer("gateway", "ok", f"{first.service} answers at {self.context.urls['base']}.")

        def token() -> PingLayer:
            self.client.tokens.token(self.client.fetch_token)
            return PingLayer("token", "ok", f'The realm "{profile.realm}" gives tokens.')

        fatal: list[tuple[str, Callable[[], PingLayer]]] = [("token", token), ("gateway", gateway)]
        others: list[tuple[str, Callable[[], PingLayer]]] = [
            *((f"company {company.code}", _bound(self._ping_company, company)) for company in self.context.companies),
            *((f"{_plural(target)}: read", _bound(self._ping_read, target)) for target, _ in sets),
            *((f"{_plural(target)}: profile", _bound(self._ping_profile, target, used, described)) for target, used in sets),
            *((f"{_plural(target)}: read", _bound(self._ping_abroad, target, used, described)) for target, used in abroad),
        ]
        going = True
        for name, check in fatal:
            layer = _checked(name, check) if going else PingLayer(name, "not_checked")
            going = going and layer.state == "ok"
            yield layer
        if not self.context.companies:
            others.insert(0, ("companies", _no_companies))
        for name, check in others:
            yield _checked(name, check) if going else PingLayer(name, "not_checked")

    def _ping_company(self, company: Company) -> PingLayer:
        profile, name = self.profile, f"company {company.code}"
        where = compare(profile.site_company_field, "eq", company.code)
        fields = [profile.site_company_field, profile.site_field]
        pages = self.client.pages(profile.sites, operation="ping: sites", where=where, select=fields, orderby=fields)
        listed = sorted({mapping.text(row, profile.site_field) for rows in pages for row in rows} - {""})
        if not listed:
            return PingLayer(
                name,
                "failed",
                f"IFS lists no site for company {company.code}: there is no such company, or the service user may not see it.",
                "Check the company code; if it is right, add it to the service user's Allowed Companies and sites.",
            )
        missing = [site.code for site in company.sites if site.code not in listed]
        shown = ", ".join(listed[:20]) + (" ..." if len(listed) > 20 else "")
        if missing:
            return PingLayer(
                name,
                "failed",
                f"Company {company.code} has no site {', '.join(missing)} that the service user may see. Sites found: {shown}.",
                "Correct the site code here, or allow the site for the service user in IFS.",
            )
        if not company.sites:
            remedy = f"Enter the sites to ship from. Found: {shown}."
            return PingLayer(name, "warning", f"No site of company {company.code} is entered, so nothing is read for it.", remedy)
        return PingLayer(name, "ok", f"Sites {', '.join(site.code for site in company.sites)} are visible.")

    def _ping_read(self, target: Target) -> PingLayer:
        shipment, name = self.profile.shipment, f"{_plural(target)}: read"
        if target is shipment.header and self._company_of:
            # The very query of the poll, so that a wrong state literal or date type shows here and not at night.
            sites = sorted(self._company_of)[:GROUP]
            where = mapping.list_clause(self.profile, sites, self.context.now().date(), self._poll)
            rows = self.client.probe(
                target, operation=f"ping: {name}", where=where, select=mapping.list_fields(shipment, self._poll)
            )
            seen = "one is ready now" if rows else "none is ready now, or the service user may not see the site's shipments"
            return PingLayer(name, "ok", f"The query for ready shipments is accepted; {seen}.")
        if target.path in self._orders and target is self._orders[target.path].order.header and self._company_of:
            rows = self._orders[target.path].probe(sorted(self._company_of)[:GROUP], self.context.now().date())
            seen = "one may be ready now" if rows else "none is ready now, or the service user may not see the site's orders"
            return PingLayer(name, "ok", f"The query for ready {_plural(target)} is accepted; {seen}.")
        rows = self.client.probe(target, operation=f"ping: {name}")
        seen = "" if rows else " It shows no row at present; a missing permission for company or site looks the same."
        return PingLayer(name, "ok", f"{target.set} may be read.{seen}")

    def _ping_profile(self, target: Target, used: Sequence[uses.Use], described: dict[str, Metadata]) -> PingLayer:
        name = f"{_plural(target)}: profile"
        if target.service not in described:
            described[target.service] = self.client.metadata(target)
        metadata = described[target.service]
        if target.set not in metadata.sets:
            near = _nearest(target.set, metadata.sets)
            return PingLayer(name, "failed", f'{target.service} has no set "{target.set}".{near}', f"Correct {target.path}.set.")
        properties = metadata.properties(target.set)
        if not properties:
            return PingLayer(
                name, "warning", f"IFS does not describe the fields of {target.set}.", "Compare the field names by hand."
            )
        missing = [use for use in used if use.name not in properties]
        wrong = [f"{use.setting}: no field {use.name}{_nearest(use.name, properties, ' (', ')')}" for use in missing]
        needed = any(use.needed for use in missing)
        if target.path in self._orders and target is self._orders[target.path].order.header:
            wrong_states = self._orders[target.path].wrong_types(metadata, properties)
            wrong += wrong_states
            needed = needed or bool(wrong_states)
        if target is self.profile.shipment.header:
            wrong_types = self._wrong_types(metadata, properties)
            wrong += wrong_types
            needed = needed or bool(wrong_types)
            stamp = self._poll.stamp_field
            if stamp and stamp not in properties:
                wrong.append(f"shipment.poll.stamp_field: no field {stamp}; the date window is used instead")
        if not wrong:
            return PingLayer(name, "ok", f"All {len(used)} fields of {target.set} that the profile names exist.")
        remedy = "Correct these settings, or set a field to null where the tenant has none (then it is neither read nor written)."
        return PingLayer(name, "failed" if needed else "warning", "; ".join(wrong) + ".", remedy)

    def _ping_abroad(self, target: Target, used: Sequence[uses.Use], described: dict[str, Metadata]) -> PingLayer:
        """Right to read and profile of a set that only parcels abroad need: without it the rest works, so it only warns."""
        name = f"{_plural(target)}: read"
        found = _checked(name, _bound(self._ping_read, target))
        if found.state == "ok":
            found = dataclasses.replace(_checked(name, _bound(self._ping_profile, target, used, described)), layer=name)
        if found.state == "ok":
            return PingLayer(name, "ok", f"{target.set} may be read, for customs data of shipments abroad.")
        message = f"Needed only for shipments across borders: {found.message}"
        return PingLayer(name, "warning", message, found.remedy)

    def _wrong_types(self, metadata: Metadata, properties: dict[str, str]) -> list[str]:
        """Settings of the shipment that would make IFS refuse our literals: date type, state type, unknown states."""
        shipment, poll = self.profile.shipment, self.profile.shipment.poll
        wrong = []
        date_type = properties.get(poll.date_field, "")
        expected = {"date": "Edm.Date", "datetime": "Edm.DateTimeOffset"}[poll.date_type]
        if date_type.startswith("Edm.Date") and date_type != expected:
            wrong.append(f"shipment.poll.date_type: {poll.date_field} is {date_type}, not {expected}")
        written = shipment.ship_date_field or ""
        if properties.get(written) == "Edm.Date":
            wrong.append(f"shipment.ship_date_field: {written} is Edm.Date; we write an instant")
        state_type = properties.get(shipment.state_field, "")
        if (
            self.profile.state_literal == "enum"
            and state_type
            and state_type != f"{shipment.header.namespace}.{shipment.state_enum}"
        ):
            told = "string" if state_type == "Edm.String" else state_type
            wrong.append(f"shipment.state_enum or state_literal: {shipment.state_field} is of type {told}")
        known = metadata.enums.get(state_type, ())
        for state in shipment.ready_states + shipment.cancelled_states:
            if known and state not in known:
                wrong.append(f"a state {state} does not exist; IFS has {', '.join(known)}")
        return wrong


def _checked(name: str, check: Callable[[], PingLayer]) -> PingLayer:
    """What a check found, or why it could not be made."""
    try:
        return check()
    except IntegrationError as error:
        remedy = error.remedy or (PERMISSION_REMEDY if error.code == "forbidden" else "Try again in a few minutes.")
        return PingLayer(name, "failed", error.message, remedy)


def _no_companies() -> PingLayer:
    return PingLayer("companies", "warning", "No company code is entered, so nothing is read.", "Enter company codes and sites.")


def _bound(check: Callable[..., PingLayer], *arguments: Any) -> Callable[[], PingLayer]:
    return lambda: check(*arguments)


def _plural(target: Target) -> str:
    """The words under which a set of the profile stands in a ping."""
    return {
        "shipment": "shipments",
        "shipment.lines": "shipment lines",
        "handling_unit": "handling units",
        "customer_address": "customer addresses",
        "customer_order": "customer orders",
        "shipment.poll.history": "history log",
        "customer_order.lines": "customer order lines",
        "purchase_order": "purchase orders",
        "purchase_order.lines": "purchase order lines",
        "supplier_address": "supplier addresses",
    }[target.path]


def _nearest(name: str, known: Iterable[str], before: str = " ", after: str = ".") -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"{before}nearest: {', '.join(near)}{after}" if near else ""


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


def _given(name: str | None) -> list[str]:
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
    for group in _groups(list(numbers)):
        found |= {numbers[number]: value for number, value in read(group).items()}
    return found


def _groups(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), GROUP):
        yield items[start : start + GROUP]

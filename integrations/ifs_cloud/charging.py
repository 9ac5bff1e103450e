"""Freight cost in IFS: charges of the orders that a document delivers for (sheet 9.3, 9.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import cast

from integrations.base.errors import OutcomeUnknown, Rejected
from integrations.base.http import Answer
from integrations.base.records import (
    Document,
    FreightBasis,
    FreightPart,
    LookUp,
    PostedCharge,
    Price,
    Problem,
    WriteResult,
)
from integrations.base.roles import SendTicket
from integrations.ifs_cloud import charges, mapping
from integrations.ifs_cloud.answers import Record, Row, posted
from integrations.ifs_cloud.containing import only_this_record
from integrations.ifs_cloud.odata import any_of, compare
from integrations.ifs_cloud.order_profile import CUSTOMER_ORDER, ORDER_KINDS, PURCHASE_ORDER
from integrations.ifs_cloud.orders import delivery_of, kind_of
from integrations.ifs_cloud.profile import ChargeProfile
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.reading import Reading, given, groups

_Borne = tuple[str, tuple[str, ...], Decimal | None]
"""Order, the rest of its line's key, and what ships of it in inventory units: one line of a document."""


class Charging(Reading):
    """The part of the `Erp` role that writes freight cost to orders."""

    def takes_freight(self, kind: str) -> bool:
        """Whether the profile lets charges be written to the orders of such documents."""
        return self.profile.charges.get(kind, self.profile.charges[CUSTOMER_ORDER]).enabled

    def freight_markup(self, kind: str) -> Decimal | None:
        """By the profile's `amount_mode`; what we buy is no customer's business."""
        return None if kind == PURCHASE_ORDER else charges.markup_of(self.profile.charges[CUSTOMER_ORDER])

    def read_freight_basis(
        self, keys: Sequence[str], known: Mapping[str, Document], *, by_line: bool = False
    ) -> dict[str, FreightBasis | Problem]:
        """Read the orders of documents: for 20 at once the lines that are not `known`, the orders, and order lines

        where several orders, or lines, share a cost. What is wrong with one of them is a Problem of that one.
        """
        asked = list(dict.fromkeys(keys))
        try:
            with only_this_record():
                return self._bases(asked, known, by_line)
        except Rejected as problem:
            if len(asked) == 1:
                return {asked[0]: Problem(problem)}
        found: dict[str, FreightBasis | Problem] = {}
        for key in asked:
            found |= self.read_freight_basis([key], known, by_line=by_line)
        return found

    def _bases(self, keys: Sequence[str], known: Mapping[str, Document], by_line: bool) -> dict[str, FreightBasis | Problem]:
        if by_line:
            known = dict(known) | self._deliveries([key for key in keys if key not in known])
        wanted = self._borne(keys, known, by_line)
        heads: dict[str, dict[str, Row]] = {}
        for kind, names in self.profile.charges.items():
            mine = [key for key in wanted if charges.names_of(key, self.profile) is names]
            told = {delivery_of(key).order: dict(known[key].raw) for key in mine if kind_of(key) == kind and key in known}
            asked = [order for order in dict.fromkeys(o for key in mine for o, *_ in wanted[key]) if not told.get(order)]
            rows = self._of_orders(names.orders, names.order_key, asked, [names.order_key], "read orders")
            heads[kind] = told | {mapping.text(row, names.order_key): row for row in rows}
        goods = self._order_lines([b for b in wanted.values() if len(_orders(b)) > 1 or (by_line and len(b) > 1)])
        before = self._pre_postings(heads)
        found: dict[str, FreightBasis | Problem] = {}
        for key, borne in wanted.items():
            names = charges.names_of(key, self.profile)
            try:
                found[key] = self._basis(borne, heads[names.kind], goods, before, names, by_line=by_line)
            except Rejected as problem:
                found[key] = Problem(problem)
        return found

    def _deliveries(self, keys: Sequence[str]) -> dict[str, Document]:
        """The lines of deliveries of customer orders, by their documents: a delivery is known by its lines only."""
        mine = [delivery_of(key) for key in keys if kind_of(key) == CUSTOMER_ORDER]
        found = self._orders[CUSTOMER_ORDER].read(mine) if mine else {}
        return {key: document for key, document in found.items() if not isinstance(document, Problem)}

    def _borne(self, keys: Sequence[str], known: Mapping[str, Document], by_line: bool) -> dict[str, list[_Borne]]:
        """For each document the order lines of which it ships; behind a delivery of an order the order itself."""
        found: dict[str, list[_Borne]] = {}
        unread: dict[int, str] = {}
        for key in keys:
            kind = kind_of(key)
            if kind in ORDER_KINDS:
                lines = known[key].lines if by_line and kind == CUSTOMER_ORDER and key in known else ()
                order = delivery_of(key).order
                found[key] = [(order, line.order_line, None) for line in lines] or [(order, (), None)]
            elif key in known:
                found[key] = [(line.order_ref, line.order_line, line.quantity) for line in known[key].lines if line.order_ref]
            else:
                found[key] = []
                unread[mapping.shipment_of(key)] = key
        shipment = self.profile.shipment
        order_by = [shipment.key, *given(shipment.line["line_field"])]
        for group in groups(list(unread)):
            rows, _ = self._rows(shipment.lines, shipment.key, group, order_by, "read shipment lines")
            for number in group:
                for row in rows[number]:
                    if ref := mapping.order_line_of(row, self.profile):
                        quantity = mapping.number(row, shipment.line["quantity_field"])
                        found[unread[number]].append((ref[0], ref[1:], quantity))
        return found

    def _order_lines(self, shared: Sequence[Sequence[_Borne]]) -> dict[mapping.OrderLine, Row]:
        """The order lines of documents whose cost is shared by what ships of each order."""
        numbers = list(dict.fromkeys(order for borne in shared for order, *_ in borne))
        line_key = self.profile.order_line_key
        rows = self._of_orders(self.profile.order_lines, line_key[0], numbers, line_key, "read order lines")
        return {mapping.order_line_key(row, self.profile): row for row in rows}

    def _basis(
        self,
        borne: Sequence[_Borne],
        heads: Mapping[str, Row],
        goods: Mapping[mapping.OrderLine, Row],
        before: Mapping[str, Row],
        names: ChargeProfile,
        *,
        by_line: bool,
    ) -> FreightBasis:
        found = []
        for order in _orders(borne):
            head = heads.get(order)
            if head is None:
                raise Rejected(
                    f"The {names.noun} {order} is not in IFS any more, or the service user may not see it.",
                    code="document_gone",
                    remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
                    vendor="ifs_cloud",
                )
            mine = [
                (line, charges.Ships.of(quantity, goods.get(cast(mapping.OrderLine, (order, *line)), {}), self.profile))
                for own, line, quantity in borne
                if own == order
            ]
            ships = [one for _, one in mine] if goods else []
            place = mapping.text(head, names.pre_posting_field)
            told = charges.charge_order(head, before.get(place), ships, names)
            if not told.company_code and told.site in self._company_of:
                # Not seen on every tenant's purchase orders (sheet 9.6); the site belongs to one company.
                told = replace(told, company_code=self._company_of[told.site].code)
            if by_line and all(line for line, _ in mine):
                told = replace(told, lines=charges.lines_of(mine))
            found.append(told)
        return FreightBasis(tuple(found))

    def _pre_postings(self, heads: Mapping[str, Mapping[str, Row]]) -> dict[str, Row]:
        """Pre-posting of orders of each kind by its id, where the profile names a set to read it from (sheet 9.9)."""
        kinds = self.profile.charges
        names = kinds[CUSTOMER_ORDER]
        ids = {mapping.number(row, kinds[kind].pre_posting_field) for kind, rows in heads.items() for row in rows.values()}
        wanted = sorted(ids - {None}, key=str)
        if names.pre_posting is None or not wanted:
            return {}
        found: dict[str, Row] = {}
        for group in groups(wanted):
            where = any_of(compare(names.pre_posting_key, "eq", number) for number in group)
            pages = self.client.pages(
                names.pre_posting, operation="read pre-posting", where=where, orderby=[names.pre_posting_key], top=PAGE_SIZE_CAP
            )
            found |= {mapping.text(row, names.pre_posting_key): row for rows in pages for row in rows}
        return found

    def describe_freight(self, part: FreightPart, reference: str) -> dict[str, object]:
        """The body of the charge. Amounts are text here, since frozen requests are plain JSON; they are numbers on the wire."""
        names = charges.names_of(part.document_key, self.profile)
        body = charges.charge_body(part, reference, names)
        return {name: format(value, "f") if isinstance(value, Decimal) else value for name, value in body.items()}

    def post_freight(self, body: dict[str, object], part: FreightPart, ticket: SendTicket) -> PostedCharge:
        """POST the charge to its order, once."""
        names = charges.names_of(part.document_key, self.profile)
        told = charges.on_the_wire(body, part, names)
        with _offered(names):
            answer = self.client.post_once(charges.charges_of(part.order, names), told, ticket, operation="post charge")
            return _posted(answer, part, names)

    def parse_freight(self, answer: str, part: FreightPart, *, status: int | None) -> PostedCharge:
        """What a stored answer to the POST said."""
        names = charges.names_of(part.document_key, self.profile)
        with _offered(names):
            told = Answer(status or 0, {}, answer.encode())
            return _posted(posted(told, charges.charges_of(part.order, names), "post charge"), part, names)

    def find_freight(self, part: FreightPart, references: Sequence[str]) -> LookUp:
        """Read the order's charges and pick those that may be this part."""
        names = charges.names_of(part.document_key, self.profile)
        rows = self._charges(part.order, names)
        ours = [row for row in rows if charges.is_charge(row, part, references, names)]
        return LookUp(tuple(charges.found_charge(row, names) for row in ours), text=f"{len(rows)} charges on {part.order}")

    def _charges(self, order: str, names: ChargeProfile) -> list[Row]:
        target = charges.charges_of(order, names)
        with _offered(names):
            # In the order of its keys; what they are called on purchase orders is a guess, and one page holds them all.
            orderby = [names.number_field] if names.kind == CUSTOMER_ORDER else []
            pages = self.client.pages(target, operation="look for charge", orderby=orderby, top=PAGE_SIZE_CAP)
            return [row for page in pages for row in page]

    def correct_freight(
        self, key: str, order: str, number: str, cost: Decimal, ours: Sequence[Decimal], price: Price | None = None
    ) -> WriteResult:
        """One GET, and one PATCH where the cost differs; what stands in the way is told, not raised."""
        names = charges.names_of(key, self.profile)
        decide = charges.ChargeCorrection(cost, ours, names, price)
        place = charges.key_of(order, number, names)
        try:
            with only_this_record():
                change = self.client.change(charges.charges_of(order, names), place, decide, operation="correct charge")
        except Rejected as problem:
            if problem.code not in ("document_gone", "state_refused"):
                raise
            if problem.code == "state_refused":
                return WriteResult("", (), ("invoiced",))
            # A set of a guessed name answers the same where it is wrong: only the list says that the charge is gone.
            there = () if names.kind == CUSTOMER_ORDER else self._charges(order, names)
            if any(charges.number_of(row, names) == number for row in there):
                raise
            return WriteResult("", (), ("gone",))
        return WriteResult(change.version, change.sent, decide.skipped)


def _posted(record: Record, part: FreightPart, names: ChargeProfile) -> PostedCharge:
    number = charges.number_of(record.row, names)
    if not number:
        message = "IFS took the charge, but did not say under which number."
        raise OutcomeUnknown(message, vendor="ifs_cloud", operation="post charge")
    return PostedCharge(part.order, number)


@contextmanager
def _offered(names: ChargeProfile) -> Iterator[None]:
    """Trouble stays with the record; that a tenant knows no charges of purchase orders is said in words (sheet 9.6)."""
    try:
        with only_this_record():
            yield
    except Rejected as error:
        if names.kind == CUSTOMER_ORDER or error.code not in _NOT_THERE:
            raise
        raise Rejected(
            f"IFS knows no charges of {names.noun}s under {names.nav} (setting {names.path}.nav).",
            code="charges_not_offered",
            remedy=f"Correct {names.path}.nav after the tenant's $metadata, or set {names.path}.enabled to false and write the "
            "cost by hand; then replay.",
            vendor="ifs_cloud",
            operation=error.operation,
            status=error.status,
            vendor_code=error.vendor_code,
            vendor_text=error.vendor_text,
            field=f"{names.path}.nav",
        ) from error


_NOT_THERE = ("unknown_set", "unknown_path", "unknown_projection", "not_offered", "document_gone")


def _orders(borne: Sequence[_Borne]) -> list[str]:
    return list(dict.fromkeys(order for order, *_ in borne))

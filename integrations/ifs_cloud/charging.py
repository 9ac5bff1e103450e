"""Freight cost in IFS: charges of the orders that a document delivers for (sheet 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    Problem,
    WriteResult,
)
from integrations.base.roles import SendTicket
from integrations.ifs_cloud import charges, mapping
from integrations.ifs_cloud.client import Record, Row, posted
from integrations.ifs_cloud.containing import only_this_record
from integrations.ifs_cloud.odata import Value, any_of, compare
from integrations.ifs_cloud.order_profile import CUSTOMER_ORDER, ORDER_KINDS
from integrations.ifs_cloud.orders import delivery_of, kind_of
from integrations.ifs_cloud.profile_defaults import PAGE_SIZE_CAP
from integrations.ifs_cloud.reading import Reading, given, groups

_Borne = tuple[str, tuple[str, ...], Decimal | None]
"""Order, the rest of its line's key, and what ships of it in inventory units: one line of a document."""


class Charging(Reading):
    """The part of the `Erp` role that writes freight cost to orders."""

    @property
    def takes_freight(self) -> bool:
        """Whether the profile lets charges be written."""
        return self.profile.charge.enabled

    def read_freight_basis(self, keys: Sequence[str], known: Mapping[str, Document]) -> dict[str, FreightBasis | Problem]:
        """Read the customer orders of documents: for 20 at once the lines that are not `known`, the orders, and order lines

        where several orders share a cost. What is wrong with one of them is a Problem of that one.
        """
        asked = list(dict.fromkeys(keys))
        try:
            with only_this_record():
                return self._bases(asked, known)
        except Rejected as problem:
            if len(asked) == 1:
                return {asked[0]: Problem(problem)}
        found: dict[str, FreightBasis | Problem] = {}
        for key in asked:
            found |= self.read_freight_basis([key], known)
        return found

    def _bases(self, keys: Sequence[str], known: Mapping[str, Document]) -> dict[str, FreightBasis | Problem]:
        profile = self.profile
        wanted = self._borne(keys, known)
        heads = {
            delivery_of(key).order: dict(known[key].raw)
            for key in wanted
            if key in known and kind_of(key) == CUSTOMER_ORDER and known[key].raw
        }
        numbers = list(dict.fromkeys(order for borne in wanted.values() for order, *_ in borne))
        asked = [order for order in numbers if order not in heads]
        rows = self._of_orders(profile.orders, profile.order_key, asked, [profile.order_key], "read orders")
        heads |= {mapping.text(row, profile.order_key): row for row in rows}
        goods = self._order_lines([borne for borne in wanted.values() if len(_orders(borne)) > 1])
        before = self._pre_postings(heads[order] for order in numbers if order in heads)
        found: dict[str, FreightBasis | Problem] = {}
        for key, borne in wanted.items():
            try:
                found[key] = self._basis(borne, heads, goods, before)
            except Rejected as problem:
                found[key] = Problem(problem)
        return found

    def _borne(self, keys: Sequence[str], known: Mapping[str, Document]) -> dict[str, list[_Borne]]:
        """For each document the order lines of which it ships; none behind a purchase order."""
        found: dict[str, list[_Borne]] = {}
        unread: dict[int, str] = {}
        for key in keys:
            kind = kind_of(key)
            if kind in ORDER_KINDS:
                found[key] = [(delivery_of(key).order, (), None)] if kind == CUSTOMER_ORDER else []
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
        self, borne: Sequence[_Borne], heads: Mapping[str, Row], goods: Mapping[mapping.OrderLine, Row], before: Mapping[str, Row]
    ) -> FreightBasis:
        names = self.profile.charge
        found = []
        for order in _orders(borne):
            head = heads.get(order)
            if head is None:
                raise Rejected(
                    f"The customer order {order} is not in IFS any more, or the service user may not see it.",
                    code="document_gone",
                    remedy="If it still exists in IFS, check the service user's Allowed Companies and sites, then replay.",
                    vendor="ifs_cloud",
                )
            ships = [
                charges.Ships.of(quantity, goods.get(cast(mapping.OrderLine, (order, *line)), {}), self.profile)
                for own, line, quantity in borne
                if own == order and goods
            ]
            place = mapping.text(head, names.pre_posting_field)
            found.append(charges.charge_order(head, before.get(place), ships, self.profile))
        return FreightBasis(tuple(found))

    def _pre_postings(self, heads: Iterable[Row]) -> dict[str, Row]:
        """Pre-posting of orders by its id, where the profile names a set to read it from (sheet 9.9)."""
        names = self.profile.charge
        wanted = sorted({mapping.number(row, names.pre_posting_field) for row in heads} - {None}, key=str)
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
        """The body of the charge. Its cost is text here, since frozen requests are plain JSON; it is a number on the wire."""
        body = charges.charge_body(part, reference, self.profile)
        return body | {self.profile.charge.cost_field: format(part.cost.amount, "f")}

    def post_freight(self, body: dict[str, object], part: FreightPart, ticket: SendTicket) -> PostedCharge:
        """POST the charge to its order, once."""
        target = charges.charges_of(part.order, self.profile)
        told = dict(body) | {self.profile.charge.cost_field: part.cost.amount}
        with only_this_record():
            return self._posted(self.client.post_once(target, told, ticket, operation="post charge"), part)

    def parse_freight(self, answer: str, part: FreightPart, *, status: int | None) -> PostedCharge:
        """What a stored answer to the POST said."""
        with only_this_record():
            told = Answer(status or 0, {}, answer.encode())
            return self._posted(posted(told, charges.charges_of(part.order, self.profile), "post charge"), part)

    def _posted(self, record: Record, part: FreightPart) -> PostedCharge:
        number = mapping.text(record.row, self.profile.charge.number_field)
        if not number:
            message = "IFS took the charge, but did not say under which number."
            raise OutcomeUnknown(message, vendor="ifs_cloud", operation="post charge")
        return PostedCharge(part.order, number)

    def find_freight(self, part: FreightPart, references: Sequence[str]) -> LookUp:
        """Read the order's charges and pick those that may be this part."""
        profile = self.profile
        target = charges.charges_of(part.order, profile)
        with only_this_record():
            pages = self.client.pages(
                target, operation="look for charge", orderby=[profile.charge.number_field], top=PAGE_SIZE_CAP
            )
            rows = [row for page in pages for row in page]
        ours = [row for row in rows if charges.is_charge(row, part, references, profile)]
        return LookUp(tuple(charges.found_charge(row, profile) for row in ours), text=f"{len(rows)} charges on {part.order}")

    def correct_freight(self, order: str, number: str, cost: Decimal, ours: Sequence[Decimal]) -> WriteResult:
        """One GET, and one PATCH where the cost differs; what stands in the way is told, not raised."""
        names = self.profile.charge
        decide = charges.ChargeCorrection(cost, ours, self.profile)
        key: dict[str, Value] = {self.profile.order_key: order, names.number_field: int(number)}
        try:
            with only_this_record():
                change = self.client.change(charges.charges_of(order, self.profile), key, decide, operation="correct charge")
        except Rejected as problem:
            if problem.code not in ("document_gone", "state_refused"):
                raise
            return WriteResult("", (), ("gone" if problem.code == "document_gone" else "invoiced",))
        return WriteResult(change.version, change.sent, decide.skipped)


def _orders(borne: Sequence[_Borne]) -> list[str]:
    return list(dict.fromkeys(order for order, *_ in borne))

"""Freight cost in IFS: charges of the orders that a document delivers for (sheet 9.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from integrations.base.errors import OutcomeUnknown, Rejected
from integrations.base.http import Answer
from integrations.base.records import (
    ChargeOrder,
    FreightBasis,
    FreightPart,
    GoodsLine,
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


class Charging(Reading):
    """The part of the `Erp` role that writes freight cost to orders."""

    @property
    def takes_freight(self) -> bool:
        """Whether the profile lets charges be written."""
        return self.profile.charge.enabled

    def read_freight_basis(self, keys: Sequence[str]) -> dict[str, FreightBasis | Problem]:
        """Read the customer orders of shipments: lines and orders; order lines where several orders share the cost."""
        found: dict[str, FreightBasis | Problem] = {}
        for key in dict.fromkeys(keys):
            try:
                with only_this_record():
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
        order_by = [shipment.key, *given(shipment.line["line_field"])]
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
        return charges.charge_order(row, before.get(place), goods, self.profile)

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

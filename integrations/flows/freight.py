"""Freight cost: what a carrier charges for a shipment becomes a charge of each order that it delivers for.

ship    … → read orders → look at orders → write freight cost (for each order: a look, then the charge)
void    … → take back freight cost

Off unless the option `freight_charge` is on. The shares are worked out once and kept with the shipment before the first
one is written, so that a replay writes the same ones whatever the orders say by then.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from connector.models import Connection, EffectSend, FreightCharge, Shipment, SourceRecord, Transfer
from connector.services import costs, freight, shipments
from connector.services.engine.effects import Stored
from connector.services.engine.run import Job, Prefetched, Run
from connector.services.engine.signals import AskAgain
from integrations.base.errors import NotSent, Rejected
from integrations.base.places import letters
from integrations.base.records import (
    ChargeOrder,
    Document,
    FreightBasis,
    FreightPart,
    LookUp,
    Money,
    PostedCharge,
    Price,
    Problem,
)
from integrations.base.roles import Carrier, Erp, SendTicket
from integrations.base.shares import in_parts, line_measures, measures, rates_of
from integrations.flows.erp_once import ErpOnce
from integrations.flows.table import KINDS

READ = "read orders"
LOOK = "look at orders"
ACCOUNTING = "read accounting"
WRITE = "write freight cost"
CORRECT = "correct freight cost"
TAKE_BACK = "take back freight cost"
_ONCE: Any = "once"
INBOUND = ("purchase_order",)
"""Kinds of documents whose goods come to us: the parcel is paid by the inbound account."""
OTHERS_S = 30.0
"""Another delivery's charge is written, or looked up, in less."""


def wanted(run: Run) -> bool:
    """Whether the integration writes freight cost."""
    return bool(run.options.get("freight_charge"))


def look_ahead(job: Job, read: Sequence[tuple[Transfer, Document]], at: float, batch: uuid.UUID) -> None:
    """Read together the orders of a claimed group's documents that would be bought for; each run takes its own.

    It is as old as the documents, read at `at`: an order that ships itself is told by its own, and is not read again.
    """
    erp: Erp = job.adapter(job.source)
    steps: dict[str, tuple[str, int]] = {}
    for transfer, document in read:
        if not document.ready or document.cancelled or transfer.record.held:
            continue
        # Where cost is written, the same read tells the accounting.
        writes = bool(job.options.get("freight_charge")) and not _never(job, erp, document.kind)
        if writes or job.options.get("document_accounting"):
            steps[document.key] = (READ if writes else ACCOUNTING, transfer.pk)
    if not steps:
        return
    found = erp.read_freight_basis(
        list(steps), {document.key: document for _, document in read if document.key in steps}, by_line=_by_line(job)
    )
    for key, basis in found.items():
        if not isinstance(basis, Problem):
            job.ahead[steps[key]] = Prefetched(basis, at, batch)


class _Basis:
    """The orders of the run's document: as they were read ahead, else read now, without what the document has told."""

    def __init__(self, run: Run, erp: Erp, step: str, document: Document | None) -> None:
        self.run, self.adapter, self.step = run, erp, step
        self.document = document if document is not None and run.document_is_young else None

    def __call__(self, keys: Sequence[str]) -> Mapping[str, Any]:
        ahead = self.run.taken_ahead(self.step)
        if ahead is not None:
            return {keys[0]: ahead}
        if self.document is None:
            return self.adapter.read_freight_basis(keys, {}, by_line=_by_line(self.run.job))
        found = self.adapter.read_freight_basis(keys, {keys[0]: self.document}, by_line=_by_line(self.run.job))
        return {key: v if isinstance(v, Problem) else self.run.of_document(v) for key, v in found.items()}


def write_cost(run: Run, erp: Erp, shipment: Shipment | None, document: Document | None = None) -> None:
    """Write the shipment's cost to its orders. Every line may run again: no share is ever written twice.

    `document` as this attempt has read it, None where it did not.
    """
    reason = _why_not(run, erp, shipment)
    if reason or shipment is None:
        run.skip_step(WRITE, _ONCE, reason)
        return
    rows = freight.of(shipment)
    open_rows = [row for row in rows if row.state == FreightCharge.State.PLANNED and not _is_settled(run, erp, row)]
    if rows and not open_rows:
        return
    basis: FreightBasis = run.read(READ, _Basis(run, erp, READ, document), after=True)
    freight.keep_accounting(shipment, basis.orders)
    if not rows:
        if not basis.orders:
            run.skip_step(WRITE, _ONCE, "it delivers for no customer order")
            return
        open_rows = _shares(run, erp, shipment, basis)
        shares = [{"order": row.key, "cost": f"{row.amount} {row.currency}"} for row in open_rows]
        run.note("freight_shared", shares=shares, **_cost_from(shipment))
        run.commit(also=[lambda: freight.plan(open_rows), lambda: costs.catch_up(shipment)])
    run.guard(_still_open, basis, open_rows, name=LOOK)
    for row in open_rows:
        _write(run, erp, row)


def reads_accounting(run: Run) -> bool:
    """Whether the integration keeps account and cost centre of the document's orders."""
    return bool(run.options.get("document_accounting"))


def keep_accounting(run: Run, erp: Erp, shipment: Shipment | None, document: Document | None = None) -> None:
    """Read once what the orders name, where the writing of the cost has not done so already."""
    if shipment is None or shipment.accounting is not None:
        return
    basis: FreightBasis = run.read(ACCOUNTING, _Basis(run, erp, ACCOUNTING, document), after=True)
    # With the step and its calls: what is kept is never read again.
    run.finishers.append(lambda: _kept(shipment, basis))


def _kept(shipment: Shipment, basis: FreightBasis) -> None:
    freight.keep_accounting(shipment, basis.orders)


def take_back(run: Run, erp: Erp, shipment: Shipment) -> None:
    """A voided label costs nothing: its charges are set to zero; those that cannot be are listed for a person."""
    for row in freight.of(shipment):
        if row.state == FreightCharge.State.PLANNED:
            freight.ended(row, FreightCharge.State.DROPPED)
        if row.state == FreightCharge.State.LEFT:
            run.attention = "freight_left"  # by an attempt that another order stopped: the end has to tell it
        if row.state != FreightCharge.State.POSTED:
            continue
        # Asked for under its own key: the same order may have borne the cost of an earlier label.
        key = f"{shipment.pk}/{row.key}"[:60]
        stands = (run.source_key, row.order, row.number)
        result = run.write(TAKE_BACK, erp.correct_freight, *stands, Decimal(0), known_as_ours(row), *priced(row), key=key)
        why = result.skipped[0] if result is not None and result.skipped else ""
        told = {"order": row.order, "number": row.number, "cost": f"{row.amount} {row.currency}"}
        if why in ("invoiced", "changed", "repriced"):
            state, note = FreightCharge.State.LEFT, WHY[why]
            run.attention = attention = "freight_left"
            run.note("charge_left", **told, reason=note, attention=attention)
        else:
            state, note = FreightCharge.State.TAKEN_BACK, WHY.get(why, "")
            run.note("charge_taken_back", **told)
        # Row, step and history in one commit: killed in between, all of it is done again.
        run.commit(also=[partial(freight.ended, row, state, note)])


def known_as_ours(row: FreightCharge) -> tuple[Decimal, ...]:
    """What the charge may hold by our own doing: its amount, and corrections whose answer was lost."""
    return (row.amount, *(Decimal(amount) for amount in row.sent))


def priced(row: FreightCharge) -> tuple[Price, ...]:
    """What the customer pays for a charge, as it was when it was planned; named only where it is anything.

    A setting that was changed since is about the charges to come.
    """
    return (Price(row.markup.normalize(), row.currency),) if row.markup is not None else ()


WHY = {
    "invoiced": "The charge is invoiced, or the ERP does not let it be changed any more.",
    "changed": "Somebody else has changed the cost of the charge.",
    "repriced": "Somebody else has changed what the customer pays for the charge.",
    "gone": "The charge was not in the ERP any more.",
}


# -- what is written -----------------------------------------------------------------------------------


def _why_not(run: Run, erp: Erp, shipment: Shipment | None) -> str:
    """Why there is nothing to write, or ""."""
    if shipment is None:
        return "the label is not stored as a shipment of ours"
    if reason := _never(run.job, erp, _kind(run.source_key)):
        return reason
    if shipment.cost is None:
        return "the cost is not known"
    if not shipment.cost:
        return "it costs nothing"
    return ""


def _never(job: Job, erp: Erp, kind: str) -> str:
    """Why the integration writes no cost for any document of a kind, or ""."""
    if not erp.takes_freight(kind):
        return "switched off in the settings of the ERP connection"
    if kind not in INBOUND:
        return "" if _option(job, "payment_type") == "SENDER" else "the carrier bills somebody else"
    named = str(_option(job, "inbound_payment_account") or "").strip()
    carrier: Carrier = job.adapter(job.target)
    return "the carrier bills somebody else" if named and letters(named) != letters(carrier.account) else ""


def _by_line(job: Job) -> bool:
    return bool(job.options.get("freight_charge") and job.options.get("freight_charge_lines"))


def _kind(key: str) -> str:
    return key.partition(":")[0]


def _shares(run: Run, erp: Erp, shipment: Shipment, basis: FreightBasis) -> list[FreightCharge]:
    """One row for each order that bears a part. Raises Rejected."""
    assert shipment.cost is not None
    for order in basis.orders:
        if order.company_code != shipment.company_code:
            raise Rejected(
                f"The order {order.order} belongs to company {order.company_code}, the shipment to {shipment.company_code}.",
                code="charge_company",
                remedy="Write the cost by hand, or cancel this transfer: label and number stay as they are.",
            )
    cost = Money(shipment.cost, shipment.currency)
    wish = str(_option(run.job, "freight_charge_currency") or "").strip().upper()
    by = str(_option(run.job, "freight_charge_split"))
    bearing: list[tuple[ChargeOrder, tuple[str, ...], Decimal]] = []
    for order, measure in zip(basis.orders, measures(basis.orders, by), strict=True):
        lines = line_measures(order, measure, by) if order.lines else [((), measure)]
        bearing += [(order, line, part) for line, part in lines]
    found = [measure for _, _, measure in bearing]
    markup = erp.freight_markup(_kind(run.source_key))
    # What we buy is charged in the currency of the order itself, whatever costs of sales are kept in.
    to = [(order.currency or wish) if order.inbound else (wish or order.currency) for order, _, _ in bearing]
    if markup is not None:
        _check_price_currency(bearing, to)
    known = rates_of(cost, found, to, rates(run))
    parts = in_parts(cost, found, to, known)

    def beside(amount: Decimal | None, currency: str = cost.currency) -> list[Decimal | None]:
        """The orders' parts of another of the carrier's figures, kept for comparison; none in another currency."""
        if amount is None or currency != cost.currency:
            return [None] * len(to)
        return [part.amount for part in in_parts(Money(amount, currency), found, to, known)]

    kept = {
        "quoted": beside(shipment.quoted_cost, shipment.quoted_currency),
        "rated": beside(shipment.cost if shipment.cost_kind == Shipment.CostKind.RATED else shipment.rated_cost),
        "invoiced": beside(shipment.invoiced_cost),
    }
    site = run.site()
    company = site.company_code if site is not None else None
    return [
        FreightCharge(
            tenant_id=shipment.tenant_id,
            shipment=shipment,
            order=order.order,
            line="/".join(line),
            company_code=order.company_code,
            site=order.site,
            cost_center=order.cost_center or (company.cost_center if company else ""),
            account=order.account or (company.freight_account if company else ""),
            from_order=bool(order.cost_center or order.account),
            pre_posting=order.pre_posting,
            address_id=order.address_id,
            charge_type="" if order.inbound else str(_option(run.job, "freight_charge_type") or "").strip(),
            amount=part.amount,
            markup=markup,
            charged=part.amount,
            currency=part.currency,
            measure=found[place].quantize(Decimal("0.000001")),
            rate=known[place],
            **{name: values[place] for name, values in kept.items()},
        )
        for place, ((order, line, _), part) in enumerate(zip(bearing, parts, strict=True))
        if part.amount
    ]


def _check_price_currency(bearing: Sequence[tuple[ChargeOrder, tuple[str, ...], Decimal]], to: Sequence[str]) -> None:
    """A customer pays in the currency of the order; a cost that is kept in another one is no price. Raises Rejected."""
    for (order, _, measure), currency in zip(bearing, to, strict=True):
        if measure and currency != order.currency:
            raise Rejected(
                f"The customer of order {order.order} pays in {order.currency or 'a currency that the ERP does not tell'}, the "
                f"freight cost is kept in {currency}.",
                code="charge_price_currency",
                remedy="Leave freight_charge_currency empty, or let the customer pay nothing for freight (the setting of the ERP "
                "connection), then replay.",
            )


def rates(run: Run) -> Mapping[str, str]:
    """The integration's exchange rates, such as USD-EUR."""
    found = run.job.integration.value_maps.get("exchange_rate") or {}
    return {str(pair).strip().upper().replace(":", "-"): str(rate).strip() for pair, rate in found.items()}


def _option(job: Job, name: str) -> Any:
    value = job.options.get(name)
    return KINDS[job.integration.kind].defaults()[name] if value is None else value


# -- writing it ----------------------------------------------------------------------------------------


def _still_open(run: Run, basis: FreightBasis, rows: Sequence[FreightCharge]) -> None:
    """No order that is to bear cost has been closed meanwhile. Raises Rejected."""
    orders = {order.order: order for order in basis.orders}
    for row in rows:
        order = orders.get(row.order)
        if order is not None and not order.open:
            raise Rejected(
                f"The order {row.order} takes no freight cost any more (state {order.state}).",
                code="charge_order_closed",
                remedy="Write the cost by hand, or cancel this transfer: label and number stay as they are.",
            )


def _cost_from(shipment: Shipment) -> dict[str, str]:
    """Where a cost is known from, told with all that is done with it, unless the carrier named it with the label."""
    return {"cost_from": shipments.QUOTE} if shipment.cost_kind == Shipment.CostKind.QUOTED else {}


def _part(row: FreightCharge) -> FreightPart:
    return FreightPart(
        document_key=row.shipment.source_key,
        order=row.order,
        company_code=row.company_code,
        site=row.site,
        cost=Money(row.amount, row.currency),
        charge_type=row.charge_type,
        address_id=row.address_id,
        line=tuple(row.line.split("/")) if row.line else (),
        price=next(iter(priced(row)), None),
    )


def _is_settled(run: Run, erp: Erp, row: FreightCharge) -> bool:
    """Whether an earlier attempt has written this share after all. Raises what `settled` raises while that is open."""
    return run.settled(WRITE, PostCharge(run, erp, _part(row)), key=row.key) is not None


def _write(run: Run, erp: Erp, row: FreightCharge) -> None:
    before = freight.earlier(row)
    if before is not None:
        stands = known_as_ours(before) if before.state == FreightCharge.State.POSTED else (Decimal(0),)
        place = (run.source_key, row.order, before.number)
        # The same charge: what its customer pays for it goes on as it began.
        result = run.write(CORRECT, erp.correct_freight, *place, row.amount, stands, *priced(before), key=row.key)
        if result is None or not result.skipped:
            run.commit(also=[lambda: _corrected(row, before)])
            return
        why = WHY[result.skipped[0]]
        run.commit(also=[lambda: freight.ended(before, FreightCharge.State.CLOSED, why)])
    run.once(WRITE, PostCharge(run, erp, _part(row)), _part(row), key=row.key)


def _corrected(row: FreightCharge, before: FreightCharge) -> None:
    freight.posted(row, before.number, markup=before.markup)


class PostCharge(ErpOnce[FreightPart, PostedCharge]):
    """One share of the cost on one order."""

    kind = "charge"
    act = "charged"
    attention = "charged_twice"
    named_by = "number"
    payload_type = FreightPart
    result_type = PostedCharge

    def __init__(self, run: Run, erp: Erp, own: FreightPart | None = None) -> None:
        super().__init__(run, erp, own)
        self._stands = ""
        self._others = False

    def prepare(self) -> None:
        """A token, and the look before the post: what stands there already is not posted again."""
        super().prepare()
        assert self._own is not None
        found = self._find(self._own, self.run.references(self.kind, "/".join((self._own.order, *self._own.line))))
        if found.matches and self._others:
            raise self._of_another(self._own.order)
        if len(found.matches) > 1:
            raise Rejected(
                f"The order {self._own.order} bears {len(found.matches)} charges that may be this cost.",
                code="charge_ambiguous",
                remedy="Remove the ones that are wrong in the ERP, then replay.",
            )
        self._stands = found.matches[0].master_tracking_number if found.matches else ""

    def describe(self, payload: FreightPart, reference: str) -> dict[str, object]:
        """The exact body."""
        return self.adapter.describe_freight(payload, reference)

    def send(self, body: dict[str, object], payload: FreightPart, ticket: SendTicket) -> PostedCharge:
        """Post it, unless the look before has found it."""
        if self._stands:
            self._still_free(payload)
            return PostedCharge(payload.order, self._stands, adopted=True)
        return self.adapter.post_freight(body, payload, ticket)

    def parse(self, answer: str, status: int | None, payload: FreightPart) -> PostedCharge:
        """Read a committed answer again."""
        return self.adapter.parse_freight(answer, payload, status=status)

    def find(self, reference: str, payload: FreightPart | None, *, wide: bool = False) -> LookUp:
        """The order's charges that may be this share, without those known as other ones of ours."""
        part = payload or self._own
        if part is None:
            return LookUp()
        found = self._find(part, (reference,))
        if found.matches and freight.others_open(self.run.source_record, self.connection, part.order, (EffectSend.Outcome.SENT,)):
            # One that is in doubt as well may have it: then the other of the two is posted. One under way will have its own.
            raise self._of_another(part.order)
        return found

    @staticmethod
    def _of_another(order: str) -> AskAgain:
        return AskAgain(
            f"Another document's cost is being written to the order {order}; what stands there may be that one.",
            "charge_of_another",
            in_s=OTHERS_S,
        )

    def _still_free(self, part: FreightPart) -> None:
        """What the look before the post has found is nobody's yet. Raises NotSent: nothing was sent, so it may be tried again.

        Asked behind the intent, which whoever else is about to take it sees, or has committed before ours.
        """
        taken = freight.others_open(self.run.source_record, self.connection, part.order)
        if taken or self._stands in freight.numbers(self.connection, part.document_key, part.order):
            raise NotSent(
                f"Another document is taking the charge {self._stands} of the order {part.order} at this moment.",
                code="charge_of_another",
            )

    def _find(self, part: FreightPart, references: Sequence[str]) -> LookUp:
        found = self.adapter.find_freight(part, references)
        # After the look and before the known numbers: whoever is through by then is among these.
        self._others = bool(found.matches) and freight.others_open(self.run.source_record, self.connection, part.order)
        known = freight.numbers(self.connection, part.document_key, part.order)
        return replace(found, matches=tuple(m for m in found.matches if m.master_tracking_number not in known))

    def several(self, numbers: Sequence[str], payload: FreightPart | None) -> str:
        """Which charges they are."""
        return f"the order {payload.order if payload else ''} bears {len(numbers)} such charges: {', '.join(numbers)}."

    def by_hand(self, number: str, payload: FreightPart | None) -> PostedCharge:
        """The charge's number on the order."""
        part = payload or self._own
        return PostedCharge(part.order if part else "", number, adopted=True)

    def store(
        self,
        transfer: Transfer,
        record: SourceRecord,
        send: EffectSend,
        payload: FreightPart | None,
        result: PostedCharge,
        *,
        clash: bool,
    ) -> Stored:
        """The share's row takes the number of its charge. Raises AskAgain where it is another document's by now."""
        row = freight.row_of(record, send.effect.key)
        if result.adopted and row is not None:
            # Two that are in doubt may have found the same one: who comes second looks again.
            Connection.objects.select_for_update(no_key=True).get(pk=self.connection.pk)
            if freight.is_of_another(row, self.connection, result.number):
                raise AskAgain(
                    f"The charge {result.number} of the order {row.order} is another document's cost by now.",
                    "charge_of_another",
                    in_s=OTHERS_S,
                )
        facts: dict[str, Any] = {"order": result.order, "number": result.number, "found_there": result.adopted}
        if row is None:
            return Stored(facts)
        facts |= {"cost": f"{row.amount} {row.currency}", **_cost_from(row.shipment)}
        return Stored(facts, "" if freight.posted(row, result.number) else self.attention)


__all__ = ["CORRECT", "WHY", "PostCharge", "keep_accounting", "known_as_ours", "priced", "rates", "reads_accounting"]
__all__ += ["take_back", "wanted", "write_cost"]

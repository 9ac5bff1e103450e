"""Cost: a corrected freight cost reaches the charges that its orders bear already. Nothing is posted anew.

cost    correct freight cost (for each order: a look, then the change)

The work writes whatever the shipment's cost is by then, so that it may run again, late, or for several corrections at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from connector.models import FreightCharge, Shipment
from connector.services import costs, freight
from connector.services.engine.run import Run
from connector.services.engine.signals import AskAgain, Skipped
from integrations.base.records import Money
from integrations.base.roles import Carrier, Erp
from integrations.flows.freight import CORRECT, WHY, known_as_ours, priced, rates

LATER_S = 300.0


def correct(run: Run, erp: Erp, carrier: Carrier) -> None:
    """Bring the charges of a shipment to its present cost; those that cannot be changed are listed for a person."""
    shipment = costs.shipment_of(run.transfer)
    if shipment is None and costs.is_being_voided(run.transfer):
        raise AskAgain("Its label is being voided; a void may be given up.", "label_being_voided", in_s=LATER_S)
    if shipment is None or shipment.cost is None:
        costs.drop(run.transfer)
        raise Skipped("The shipment has been voided.", "shipment_voided")
    # Which corrections these are before what it costs: one that comes in between is written once more, not left out.
    newest = costs.waiting(shipment)
    shipment.refresh_from_db(fields=["cost", "currency", "invoiced_cost"])
    rows = freight.of(shipment)
    if any(row.state == FreightCharge.State.PLANNED for row in rows):
        raise AskAgain("The first cost is not on its orders yet; then it is corrected.", "cost_not_written_yet", in_s=LATER_S)
    posted = [row for row in rows if row.state == FreightCharge.State.POSTED]
    wanted = costs.parts_of(rows, Money(shipment.cost, shipment.currency), rates(run))
    _keep_parts(run, shipment, rows, wanted)
    notes = [why for row in posted if (why := _bring(run, erp, shipment, row, wanted[row.pk], f"{newest}/{row.pk}"))]
    if notes:
        run.attention = attention = "cost_left"
        run.note("cost_left", reason=notes[0], attention=attention)
    run.finishers.append(lambda: costs.settle(shipment, newest, notes[0] if notes else ""))


def _bring(run: Run, erp: Erp, shipment: Shipment, row: FreightCharge, amount: Decimal, key: str) -> str:
    """Set one charge's cost; why it could not be, or ""."""
    if row.amount == amount and not row.sent:
        return ""
    if format(amount, "f") not in row.sent:
        # Before it is sent: if the answer is lost, what stands there is still known as ours.
        sent = [*row.sent, format(amount, "f")]
        run.commit(also=[lambda: costs.corrected(row, sent=sent)])
    # What an earlier attempt left is asked for once more: that step is done, but the charge is not what it should be.
    left = bool(row.note)
    place = (shipment.source_key, row.order, row.number)
    result = run.write(CORRECT, erp.correct_freight, *place, amount, known_as_ours(row), *priced(row), key=key, again=left)
    why = WHY[result.skipped[0]] if result is not None and result.skipped else ""
    told = {"order": row.order, "number": row.number, "cost": f"{amount} {row.currency}"}
    # Row, step and history in one commit: killed in between, all of it is done again.
    if why:
        run.note("charge_not_corrected", **told, reason=why)
        run.commit(also=[lambda: costs.corrected(row, note=why, sent=[])])
        return why
    run.note("charge_corrected", **told)
    run.commit(also=[lambda: costs.corrected(row, amount=amount, note="", sent=[])])
    return ""


def _keep_parts(run: Run, shipment: Shipment, rows: Sequence[FreightCharge], wanted: Mapping[int, Decimal]) -> None:
    """Each order's part of what the carrier charges and has invoiced, for the comparison at month end."""
    invoiced = shipment.invoiced_cost
    parts = costs.parts_of(rows, Money(invoiced, shipment.currency), rates(run)) if invoiced is not None else {}
    for row in rows:
        if (row.charged, row.invoiced) != (wanted[row.pk], parts.get(row.pk)):
            costs.corrected(row, charged=wanted[row.pk], invoiced=parts.get(row.pk))


__all__ = ["correct"]

"""What voiding a label, or buying it again, would do: worked out from what is stored. Asks nobody and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from connector.models import FreightCharge, Installation, Integration, Shipment
from connector.services import attachments, budgets, freight, label_links, rate_rules
from connector.services.budgets import Span
from connector.services.shipments import NotPossible

CLEAR, REBUY, AGAIN = "clear", "rebuy", "again"
NOT_SEEN = ("", "label_created", "cancelled")
"""What the carrier says of a parcel that it has not got yet."""


@dataclass(slots=True)
class Preview:
    """One list for each end. `warnings`: what may keep it from happening."""

    then: str
    carrier: list[str] = field(default_factory=list)
    erp: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    calls: dict[str, Span] = field(default_factory=dict)


def preview(shipment: Shipment, then: str) -> Preview:
    """For a shipment that is active (`clear`, `rebuy`) or whose document is held (`again`). Raises NotPossible."""
    if then == AGAIN and not shipment.record.held:
        raise NotPossible("This document has not been voided: there is nothing to buy again.")
    if then != AGAIN and shipment.state != Shipment.State.ACTIVE:
        raise NotPossible(f"This shipment is {shipment.get_state_display().lower()} already.")
    made = Preview(then)
    options = shipment.integration.options
    if then == AGAIN:
        made.calls = budgets.calls_for("ship", 1, 0, options)
    else:
        _void(made, shipment)
        made.calls = budgets.calls_for("void", 1, 0, options)
        if then == REBUY:
            more = budgets.calls_for("ship", 1, 0, options)
            made.calls = {end: made.calls[end] + more[end] for end in made.calls}
    if then != CLEAR:
        _buy(made, shipment)
    return made


def _void(made: Preview, shipment: Shipment) -> None:
    numbers = [p.tracking_number for p in shipment.packages.order_by("sequence") if not p.voided]
    many = f" with its {len(numbers)} parcels" if len(numbers) > 1 else ""
    made.carrier.append(f"The carrier is asked to cancel {shipment.master_tracking_number}{many}.")
    if shipment.status not in NOT_SEEN:
        word = shipment.status.replace("_", " ")
        made.warnings.append(f"The carrier has it already ({word}): it will most likely refuse, and then nothing changes.")
    if shipment.invoiced_cost is not None:
        told = f"{shipment.invoiced_cost} {shipment.currency}"
        made.warnings.append(f"The carrier has invoiced {told} for it: that stays, until the carrier gives a credit.")
    if made.then == REBUY:
        made.erp.append("The number stays until that of the new label replaces it.")
    elif shipment.written_at is None:
        made.erp.append("The number has not been written: nothing is taken out.")
    else:
        made.erp.append("The number is taken out of the ERP where it still stands; another one is left alone.")
        made.erp.append("The document does not ship again by itself, only by Buy again.")
    for row in freight.of(shipment):
        made.erp += _charge(row, made.then)
    for place in attachments.of(shipment):
        made.erp.append(f"The label's file stays there: {place.named}.")
    live = sum(standing == label_links.LIVE for _, standing in label_links.of(shipment))
    if live:
        made.others.append("One link to the label ends." if live == 1 else f"{live} links to the label end.")


def _charge(row: FreightCharge, then: str) -> list[str]:
    cost = f"{row.amount} {row.currency}"
    if row.state == FreightCharge.State.POSTED:
        after = ", then its share of what the new label costs" if then == REBUY else ""
        told = f"Charge {row.number} of order {row.order}: {cost} becomes 0{after}."
        return [f"{told} One that is invoiced, or that somebody has changed, is left alone."]
    if row.state == FreightCharge.State.PLANNED:
        return [f"Order {row.order}: {cost} is not written any more."]
    return []


def _buy(made: Preview, shipment: Shipment) -> None:
    integration = Integration.objects.select_related("tenant").get(pk=shipment.integration_id)
    made.bought.append(
        "A new label is bought for the document as it stands in the ERP by then, with the mappings in force by then."
    )
    made.bought.append("If it is no longer ready, or bears a number that is not ours, nothing is bought.")
    if shipment.cost is not None:
        made.bought.append(f"The label before cost {shipment.cost} {shipment.currency}.")
    rules = rate_rules.in_force(integration)
    if rules.get("rates"):
        rule = str(rules.get("rate_rule") or "fixed").replace("_", " ").capitalize()
        above = rules.get("cost_ceiling")
        made.bought.append(f"Prices are asked for first. Rule: {rule}{f'; above {above} a person approves' if above else ''}.")
    for level, row in (
        ("this installation", Installation.objects.get(pk=1)),
        *((str(r), r) for r in (integration.tenant, integration)),
    ):
        if row.stop_buying:
            made.warnings.append(f"Buying is stopped for {level}: the new label waits until it is allowed again.")
    if not integration.enabled:
        made.warnings.append("The integration is switched off: the new label waits until it is switched on.")


__all__ = ["AGAIN", "CLEAR", "REBUY", "Preview", "preview"]

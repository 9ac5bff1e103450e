"""The rules by which an offer is chosen: what others would choose of what was quoted last, and how they are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connector.models import AuditEntry, Integration, RateQuote
from connector.services import audit
from connector.services.configuration import saving
from connector.services.quotes import OPTIONS, State, offers_of, rules_of
from connector.services.shipments import NotPossible
from integrations.base.errors import Rejected
from integrations.base.rates import Offer, Rules, choose, of_service
from integrations.flows.table import KINDS

LOOKED_AT = 50
"""So many documents' last quotes are looked through before rules are changed."""
HISTORY_CAP = 20


@dataclass(frozen=True, slots=True)
class Tried:
    """One document's last quote under other rules. `offer` None: it would stop, for `reason`.

    `was` is the offer that was chosen when it was quoted, None where nothing was.
    """

    quote: RateQuote
    was: Offer | None
    offer: Offer | None
    reason: str
    asks: bool = False

    @property
    def same(self) -> bool:
        """Whether these rules choose what was chosen."""
        return self.was is not None and self.offer is not None and self.was.service == self.offer.service


def in_force(integration: Integration) -> dict[str, Any]:
    """The options that make the rules, defaults included."""
    defaults = KINDS[integration.kind].defaults()
    return {name: value if (value := integration.options.get(name)) is not None else defaults.get(name) for name in OPTIONS}


def tried(integration: Integration, rules: Rules) -> list[Tried]:
    """What these rules would choose of the newest quote of each document quoted last. Asks nobody."""
    rows = RateQuote.objects.filter(integration=integration, state=State.ANSWERED).select_related("record", "transfer")
    newest: dict[int, RateQuote] = {}
    for row in rows.order_by("-pk")[: LOOKED_AT * 4]:
        newest.setdefault(row.record_id, row)
    return [_tried(row, rules) for row in list(newest.values())[:LOOKED_AT]]


def _tried(row: RateQuote, rules: Rules) -> Tried:
    offers = offers_of(row)
    was = of_service(offers, row.chosen) if row.chosen else None
    try:
        choice = choose(offers, rules, row.wished, row.wanted_date)
    except Rejected as error:
        return Tried(row, was, None, error.message)
    return Tried(row, was, choice.offer, choice.reason, asks(choice.offer, rules))


def asks(offer: Offer, rules: Rules) -> bool:
    """Whether a person would have to approve this offer: above the ceiling, or not comparable with it."""
    if rules.ceiling is None:
        return False
    cost = offer.cost
    return cost is None or cost.currency != rules.ceiling.currency or cost.amount > rules.ceiling.amount


def totals(found: Sequence[Tried]) -> dict[str, tuple[Decimal, Decimal]]:
    """By currency: what was chosen and what would be, over the documents for which both are known in that currency."""
    made: dict[str, tuple[Decimal, Decimal]] = {}
    for one in found:
        old, new = (offer.cost if offer is not None else None for offer in (one.was, one.offer))
        if old is not None and new is not None and old.currency == new.currency:
            before, after = made.get(old.currency, (Decimal(0), Decimal(0)))
            made[old.currency] = (before + old.amount, after + new.amount)
    return made


def mark(integration: Integration) -> str:
    """Tells the rules in force from others."""
    return audit.digest(in_force(integration))


def save(integration: Integration, options: Mapping[str, Any], *, actor: str, reason: str, base: str) -> None:
    """Put rules in force; `base` is the mark of those that the person saw. Raises NotPossible and InvalidConfiguration."""
    if not reason.strip():
        raise NotPossible("Give a reason: it is kept.")
    wanted = {name: options.get(name) for name in OPTIONS}
    rules_of(integration, dict(wanted))
    defaults = KINDS[integration.kind].defaults()
    given = {name: None if value in (None, "", defaults[name]) else value for name, value in wanted.items()}

    def unchanged(stored: Integration) -> bool:
        return mark(stored) == base

    saving.options_save(integration, given, actor=actor, reason=reason.strip(), act="rates_changed", unchanged=unchanged)


def history(integration: Integration) -> list[AuditEntry]:
    """Who changed the rules here, when and why, newest first."""
    found = AuditEntry.objects.filter(
        tenant=integration.tenant_id, object_type="integration", object_id=integration.pk, act="rates_changed"
    )
    return list(found.order_by("-sequence")[:HISTORY_CAP])


__all__ = ["Tried", "asks", "history", "in_force", "mark", "save", "totals", "tried"]

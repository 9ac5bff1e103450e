"""How a shipment's freight cost is shared among orders, to the cent. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, InvalidOperation

from integrations.base.currencies import unit_of
from integrations.base.errors import Rejected
from integrations.base.records import ChargeOrder, Money


def costs(cost: Money, orders: Sequence[ChargeOrder], by: str, wish: str, rates: Mapping[str, str]) -> list[Money]:
    """What each order bears, in its currency; together exactly the cost. Raises Rejected."""
    found = measures(orders, by)
    to = [wish or order.currency for order in orders]
    return in_parts(cost, found, to, rates_of(cost, found, to, rates))


def rates_of(cost: Money, found: Sequence[Decimal], to: Sequence[str], rates: Mapping[str, str]) -> list[Decimal | None]:
    """The rate of each order's currency; None where the order bears nothing. Raises Rejected."""
    return [_rate(cost, currency, rates) if measure else None for measure, currency in zip(found, to, strict=True)]


def in_parts(cost: Money, found: Sequence[Decimal], to: Sequence[str], rates: Sequence[Decimal | None]) -> list[Money]:
    """`cost` in proportion to the measures, each part in its currency.

    With one currency for all it is converted before it is shared, so that no cent is lost on the way.
    """
    if len(set(to)) == 1:
        whole = _converted(cost, to[0], next((rate for rate in rates if rate is not None), Decimal(1)))
        return [Money(part, whole.currency) for part in split(whole, found)]
    return [
        _converted(Money(part, cost.currency), currency, rate) if part and rate is not None else Money(part, currency)
        for part, currency, rate in zip(split(cost, found), to, rates, strict=True)
    ]


def split(cost: Money, shares: Sequence[Decimal]) -> list[Decimal]:
    """`cost` in proportion to `shares`, to the cent: who was cut most by rounding down gets the next cent left over."""
    step = unit_of(cost.currency)
    whole = sum(shares, Decimal(0))
    exact = [cost.amount * share / whole for share in shares]
    parts = [part.quantize(step, ROUND_DOWN) for part in exact]
    left = int((cost.amount - sum(parts)) / step)
    for place in sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))[:left]:
        parts[place] += step
    # What is smaller than the currency's unit (a carrier that tells cents of a yen) stays with the first.
    parts[0] += cost.amount - sum(parts)
    return parts


def measures(orders: Sequence[ChargeOrder], by: str) -> list[Decimal]:
    """By what the cost is shared. Raises Rejected where the ERP does not hold it for every order."""
    if len(orders) == 1 or by == "first_order":
        return [Decimal(1), *[Decimal(0)] * (len(orders) - 1)]
    found = [order.value if by == "value" else order.weight for order in orders]
    missing = [order.order for order, measure in zip(orders, found, strict=True) if measure is None or measure < 0]
    if missing or not sum(measure or 0 for measure in found):
        what = "value" if by == "value" else "weight"
        raise Rejected(
            f"The {what} of what ships of order {missing[0] if missing else orders[0].order} is not known, "
            "so its share in the freight cost cannot be told.",
            code="charge_share_unknown",
            remedy=f"Enter the {what} at the order lines, or share by something else (“Freight cost of several orders” "
            "in the form of the integration), then replay.",
        )
    return [measure or Decimal(0) for measure in found]


def line_measures(order: ChargeOrder, measure: Decimal, by: str) -> list[tuple[tuple[str, ...], Decimal]]:
    """An order's measure shared among its lines, by value where orders share by it, else by weight. Raises Rejected."""
    if len(order.lines) == 1 or not measure:
        return [(line.key, measure if place == 0 else Decimal(0)) for place, line in enumerate(order.lines)]
    found = [line.value if by == "value" else line.weight for line in order.lines]
    whole = sum((one for one in found if one is not None), Decimal(0))
    missing = next((line for line, one in zip(order.lines, found, strict=True) if one is None or one < 0), None)
    if missing is not None or not whole:
        what = "value" if by == "value" else "weight"
        named = "/".join((missing or order.lines[0]).key)
        raise Rejected(
            f"The {what} of line {named} of order {order.order} is not known, so its share in the freight cost cannot be told.",
            code="charge_share_unknown",
            remedy=f"Enter the {what} at the order line, or let the whole order bear its cost (“Tie freight cost to the order "
            "lines” in the form of the integration), then replay.",
        )
    return [(line.key, measure * (one or Decimal(0)) / whole) for line, one in zip(order.lines, found, strict=True)]


def _rate(cost: Money, currency: str, rates: Mapping[str, str]) -> Decimal:
    if currency == cost.currency:
        return Decimal(1)
    pair = f"{cost.currency}-{currency}"
    try:
        rate = Decimal(rates.get(pair, ""))
    except InvalidOperation:
        rate = Decimal("NaN")
    if not currency or not rate.is_finite() or rate <= 0:
        raise Rejected(
            f"The carrier charges {cost.amount} {cost.currency}, the order is kept in {currency or 'no currency'}.",
            code="charge_currency",
            remedy=f"Enter a rate for {pair} in the value map exchange_rate, or set freight_charge_currency, then replay.",
        )
    return rate


def _converted(cost: Money, currency: str, rate: Decimal) -> Money:
    if currency == cost.currency:
        return cost
    return Money((cost.amount * rate).quantize(unit_of(currency), ROUND_HALF_UP), currency)


__all__ = ["costs", "in_parts", "line_measures", "measures", "rates_of", "split"]

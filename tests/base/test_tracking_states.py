"""The state of a parcel: a function of the set of its scans, forward only, whatever the order and the clocks."""

from __future__ import annotations

import datetime as dt
import itertools
import random

import pytest

from integrations.base import tracking as state
from integrations.base.tracking import ParcelNews, Scan, Told, merge_told, state_of, state_of_all

START = dt.datetime(2026, 11, 2, 8, tzinfo=dt.UTC)


def at(hours: float) -> dt.datetime:
    return START + dt.timedelta(hours=hours)


def told(*statuses: str) -> str:
    """State after these, one an hour."""
    return state_of((at(n), status) for n, status in enumerate(statuses))[0]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        # A scan of the label, or of the pick-up, that is dated later than the way itself: forward only.
        (("picked_up", "label_created"), "picked_up"),
        (("label_created", "picked_up", "in_transit", "label_created"), "in_transit"),
        (("picked_up", "in_transit", "picked_up"), "in_transit"),
        (("out_for_delivery", "picked_up", "label_created"), "out_for_delivery"),
        # A delivery that failed: back on its way is what it says.
        (("in_transit", "out_for_delivery", "exception"), "exception"),
        (("out_for_delivery", "exception", "in_transit"), "in_transit"),
        # A delayed pick-up is no way: it is picked up afterwards, and a label is still a label.
        (("label_created", "exception", "picked_up"), "picked_up"),
        (("label_created", "exception", "label_created"), "label_created"),
        # Cancelled, and picked up all the same.
        (("label_created", "cancelled"), "cancelled"),
        (("label_created", "cancelled", "picked_up"), "picked_up"),
        # Terminal states win.
        (("in_transit", "delivered", "out_for_delivery"), "delivered"),
        (("delivered", "in_transit", "exception"), "delivered"),
        # On its way back, and back.
        (("exception", "returning", "in_transit"), "returning"),
        (("exception", "returning", "in_transit", "delivered"), "returned"),
        (("delivered", "returning"), "returning"),
        (("delivered", "returning", "in_transit", "delivered"), "returned"),
        (("returning", "delivered", "in_transit"), "returned"),
        (("delivered", "returning", "returned"), "returned"),
        (("", ""), ""),
    ],
)
def test_states(statuses: tuple[str, ...], expected: str) -> None:
    assert told(*statuses) == expected


def test_every_order_and_every_repetition_gives_the_same_state() -> None:
    scans = [(at(n), status) for n, status in enumerate(("label_created", "picked_up", "exception", "out_for_delivery"))]
    for more in ([], [(at(9), "delivered")], [(at(8), "returning"), (at(9), "delivered")], [(at(3), "in_transit")]):
        expected = state_of([*scans, *more])
        for order in itertools.permutations([*scans, *more]):
            assert state_of(order) == state_of([*order, *order[::2]]) == expected


def test_a_shipment_stands_where_its_last_parcel_stands_in_any_order() -> None:
    for states in itertools.combinations_with_replacement(state.STATUSES, 3):
        assert len({state_of_all(order) for order in itertools.permutations(states)}) == 1, states


# -- what is told beside the scans -------------------------------------------------------------------


def news(hours: float, estimate: int | None = None, *, signed: str = "", said: float | None = None) -> ParcelNews:
    return ParcelNews(
        "1",
        scans=(Scan("k", at(hours), "in_transit"),),
        estimated_delivery=dt.date(2026, 11, estimate) if estimate else None,
        signed_by=signed,
        told_at=at(said) if said is not None else None,
    )


def merged(order: list[ParcelNews], until: float = 1000) -> dict[str, str]:
    found: Told = {}
    for one in order:
        found = merge_told(found, one, at(until))
    return {name: entry[-1] for name, entry in found.items()}


def test_the_newest_estimate_counts_not_the_one_that_came_last() -> None:
    late = news(1, 9)
    assert merged([late, news(5, 6)]) == merged([news(5, 6), late]) == {"estimated_delivery": "2026-11-06"}


def test_blanks_never_overwrite() -> None:
    assert merged([news(1, 9, signed="J. DOE"), news(5)]) == {"estimated_delivery": "2026-11-09", "signed_by": "J. DOE"}


def test_of_two_with_the_same_scan_the_later_word_counts() -> None:
    assert merged([news(5, 9, said=7), news(5, 8, said=6)]) == {"estimated_delivery": "2026-11-09"}
    assert merged([news(5, 8, said=6), news(5, 9, said=7), news(5, 10)]) == {"estimated_delivery": "2026-11-09"}


def test_a_scan_from_the_future_makes_nothing_newer() -> None:
    assert merged([news(900, 20), news(5, 6)], until=10) == {"estimated_delivery": "2026-11-06"}


def test_any_order_tells_the_same() -> None:
    chance = random.Random(5)
    all_news = [
        news(
            chance.randrange(4),
            chance.choice([None, 5, 6, 7]),
            signed=chance.choice(["", "A", "B"]),
            said=chance.choice([None, 1, 2]),
        )
        for _ in range(6)
    ]
    assert len({tuple(sorted(merged(list(order)).items())) for order in itertools.permutations(all_news)}) == 1

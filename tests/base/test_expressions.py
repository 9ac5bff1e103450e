"""Expressions of mappings: what an operator may write into 500 characters, and what no machine could hold."""

from __future__ import annotations

import json

import jmespath
import pytest

from integrations.base import expressions
from integrations.flows.table import KINDS

DOUBLING = ("[@,@][]", "[@,@]", "join('',[to_string(@),to_string(@)])", "{a:@,b:@}", "merge({a:@},{b:@})", "not_null([@,@])")
HARMLESS = (
    "raw.Cf_Phone",
    "join(' / ', [recipient.name, raw.NoteText, raw.A, raw.B, raw.C])",
    "lines[?quantity > `1`].order | [0]",
    "raw.A || raw.B || raw.C || recipient.name",
    "join(', ', lines[*].join('-', [order, line]))",
    "{name: recipient.name, phone: recipient.phone}.[name, phone] | [0]",
    "sort_by(lines, &line)[-1].order",
    "[raw.A, raw.B][] | [?@ != ''] | [0]",
)


@pytest.mark.parametrize("part", DOUBLING)
def test_what_grows_with_each_part_is_refused_before_it_is_tried(part: str) -> None:
    with pytest.raises(expressions.TooLarge, match="times as large"):
        expressions.compiled(" | ".join([part] * 12))


def test_a_condition_may_not_grow_either() -> None:
    with pytest.raises(expressions.TooLarge):
        expressions.compiled(f"lines[?length({' | '.join(['[@,@][]'] * 12)}) > `1`]")


@pytest.mark.parametrize("part", ["to_string([@])", "[to_string(@)]"])
def test_text_that_is_escaped_again_and_again_counts(part: str) -> None:
    with pytest.raises(expressions.TooLarge):
        expressions.compiled(" | ".join([part] * 12))


@pytest.mark.parametrize("expression", HARMLESS)
def test_what_people_write_is_left_alone(expression: str) -> None:
    assert expressions.compiled(expression)


def test_the_flows_own_sources_are_left_alone() -> None:
    found = [slot.source for kind in KINDS.values() for slot in kind.slots if slot.source]
    assert found and all(expressions.compiled(source) for source in found)


@pytest.mark.parametrize("part", [*DOUBLING, "to_string([@])"])
def test_the_estimate_is_never_too_low(part: str) -> None:
    """Against the library itself, as far as that can be tried."""
    given = {"a": ['say "x"', 'and \\ "y"'], "b": "z" * 20}
    for times in range(1, 6):
        expression = " | ".join([part] * times)
        allowed = expressions.growth(jmespath.compile(expression).parsed)
        made = len(json.dumps(jmespath.search(expression, given)))
        # Brackets, names and blanks of its own come with each part.
        assert made <= allowed * (len(json.dumps(given)) + 12 * times), (expression, made, allowed)

"""JMESPath as operators write it: compiled once, and refused where a short expression would grow a document without end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

GROWTH_CAP = 100
"""So many times a document's size is the most that an expression may make of it, on its way or in the end."""
_ONE_AFTER_ANOTHER = frozenset({"subexpression", "index_expression", "pipe", "projection", "value_projection"})
_OFTEN = {"to_string": 2, "join": 2}
"""Functions whose text may be longer than what they were given: signs are escaped, or stand between others."""


class TooLarge(JMESPathError):  # type: ignore[misc]  # the library tells no types
    """The expression could make too much of a document."""


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Any:
    """The expression, ready for `search`. Raises JMESPathError (RecursionError for one that is nested too deeply)."""
    made = jmespath.compile(expression)
    if growth(made.parsed) > GROWTH_CAP:
        raise TooLarge(f"it could make a document more than {GROWTH_CAP} times as large")
    return made


def growth(node: Mapping[str, Any]) -> int:
    """How many times the size of its input a node's result, and whatever it works out on the way, can have; never too low.

    `[@,@][] | [@,@][] | …` doubles with each part: sixty of them in 500 characters are more than any machine holds.
    """
    below = [growth(child) for child in node["children"]]
    kind = node["type"]
    if kind in _ONE_AFTER_ANOTHER:
        return math.prod(below)
    if kind == "filter_projection":
        rows, chosen, condition = below
        return rows * max(chosen, condition)
    if kind == "function_expression":
        return max(sum(below), math.prod(below)) * _OFTEN.get(node["value"], 1)
    return max(1, sum(below))

"""Results of steps as JSON and back. Each saved result carries `SCHEMA`; what does not decode is never "not done"."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, TypeVar

import cattrs
from cattrs.preconf.json import make_converter

SCHEMA = 1
T = TypeVar("T")


class Undecodable(Exception):
    """A saved result that this release cannot read."""


_converter = make_converter(detailed_validation=False)
_converter.register_unstructure_hook(Decimal, lambda value: format(value, "f"))
_converter.register_structure_hook(Decimal, lambda value, _: Decimal(str(value)))
_converter.register_unstructure_hook(dt.date, lambda value: value.isoformat())
_converter.register_structure_hook(dt.date, lambda value, _: dt.date.fromisoformat(value))
# Values of "any kind" (raw documents, carrier options) are plain JSON data already.
_converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)


def encode(value: Any) -> Any:
    """A dataclass, or plain data, as JSON-able data."""
    return _converter.unstructure(value)


def decode(data: Any, cls: type[T], schema: int = SCHEMA) -> T:
    """Back to `cls`. Raises Undecodable."""
    if schema != SCHEMA:
        raise Undecodable(f"saved with schema {schema}, this release reads {SCHEMA}")
    try:
        return _converter.structure(data, cls)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Undecodable(f"{cls.__name__}: {type(error).__name__}") from error

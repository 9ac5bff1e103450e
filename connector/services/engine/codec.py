"""Results of steps as JSON and back. Each saved result carries `SCHEMA`; what does not decode is never "not done"."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
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


def _plain(value: Any) -> Any:
    """A value of "any kind" (raw documents, carrier options): JSON data, but for numbers, which vendors' clients read exactly."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return format(value, "f") if isinstance(value, Decimal) else value


# Without it cattrs leaves such values as they are: one fraction in a record would end its every attempt.
_converter.register_unstructure_hook_func(lambda kind: kind is object, _plain)
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

"""The vendors of this product: one line each, imported on first use."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from integrations.base.simulator import Simulator
from integrations.base.vendor import Vendor

VENDORS = {
    "ifs_cloud": "integrations.ifs_cloud.vendor",
    "fedex": "integrations.fedex.vendor",
}


def slugs() -> list[str]:
    """All vendor slugs, in the order of the table."""
    return list(VENDORS)


@cache
def get(slug: str) -> Vendor:
    """The manifest of a vendor. Raises KeyError for an unknown slug."""
    vendor: Vendor = import_module(VENDORS[slug]).VENDOR
    return vendor


def load(dotted: str) -> Any:
    """Import "package.module.Name"."""
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def adapter_class(slug: str) -> Any:
    """The adapter class of a vendor; it is called with a `Context`."""
    return load(get(slug).adapter)


def simulator_class(slug: str) -> type[Simulator]:
    """The simulator class of a vendor."""
    made: type[Simulator] = load(get(slug).simulator)
    return made

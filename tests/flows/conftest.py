"""The world of flow tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows import parcels
from tests.world import World


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    """Both simulators and one integration; real transactions, real HTTP."""
    made = World.build()
    yield made
    made.close()


@pytest.fixture
def under_way(world: World, settings: Any) -> World:
    """Three parcels under way, to be followed by poll and webhook."""
    return parcels.set_out(world, settings)

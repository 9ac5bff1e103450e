"""The world of flow tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world import World


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    """Both simulators and one integration; real transactions, real HTTP."""
    made = World.build()
    yield made
    made.close()

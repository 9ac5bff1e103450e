"""An older copy of the whole database comes back, on both engines: a real copy, made and put in place as an operator would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.drills.conftest import Templates
from tests.drills.site import Site


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_after_the_restore_of_an_older_copy_nothing_is_bought_twice(
    engine: str, site_on: Callable[[str], Site], templates: Templates
) -> None:
    site = site_on(engine)
    before = site.ready(6)
    site.run("sync", site.slug)
    copy = templates.factory(engine).make(site.url)
    since = site.ready(6)
    lost = since[-1]
    site.fedex.fault("lost_answer", "POST /ship/v1/shipments$")
    site.run("sync", site.slug, "--wait", "10", codes=(0, 1))
    site.assert_each_shipped_once([*before, *since])
    # A number that IFS lost with its own restore must be written again, not bought again.
    site.ifs.edit("standard", "ShipmentSet", {"ShipmentId": lost}, {"AirwayBillNo": None}, "RESTORE")

    site.url, site._connection = copy, None
    assert site.states() == {"done": 6}, "the copy knows nothing of what was bought since"
    told = site.run("after_restore")
    assert told["ok"] is True
    site.run("sync", site.slug, "--wait", "10", codes=(0, 1))
    later = site.ready(2)
    site.run("sync", site.slug, codes=(0, 1))
    site.assert_each_shipped_once([*before, *since, *later])
    assert site.run("verify_audit")["ok"] is True

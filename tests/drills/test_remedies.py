"""Killed while comparing, and between what a person has done and the note of it: nothing twice, nothing lost, nothing claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.drills.forks import Forks
from tests.drills.site import Site
from tests.drills.test_boundaries import ENGINES

TYPED = "TYPED"
BEGIN = """
from connector.models import Integration
from connector.services.reconcile import runs
one = Integration.objects.select_related("source", "target", "tenant").get()
runs.start(one, actor="ann")
"""
GO_ON = """
from connector.models import Integration, ReconciliationFinding, ReconciliationRun
from connector.services.reconcile import runs
from integrations.flows.specs import FLOWS
one = Integration.objects.select_related("source", "target", "tenant").get()
while ReconciliationRun.objects.filter(state="running").exists():
    assert runs.work(one, FLOWS, within_s=60, gives_way=False) is not None
run = ReconciliationRun.objects.latest("pk")
found = sorted(ReconciliationFinding.objects.values_list("kind", "source_key", "state"))
result = [run.state, run.found, run.appeared, run.gone, run.left_out, found]
"""
FORGET = """
from connector.models import ReconciliationFinding, ReconciliationRun
ReconciliationFinding.objects.all().delete()
ReconciliationRun.objects.all().delete()
"""
PRESS = """
from connector.models import ReconciliationFinding
from connector.services.reconcile import remedies
for row in ReconciliationFinding.objects.filter(state="open", source_key__in=keys).order_by("pk"):
    remedies.apply(row, actor="ann", reason="seen")
"""
STANDS = """
from collections import Counter
from connector.models import AuditEntry, ReconciliationFinding, Shipment, Transfer
acts = Counter(AuditEntry.objects.values_list("act", flat=True))
result = {
    "remedied": acts["remedied"],
    "pressed": ReconciliationFinding.objects.exclude(remedied_at=None).count(),
    "work": Transfer.objects.count(),
    "shipments": sorted(Shipment.objects.values_list("state", flat=True)),
    "acts": acts,
}
"""


def key(number: int) -> str:
    return f"shipment:{number}"


@contextmanager
def shipped(site: Site, count: int) -> Iterator[tuple[Forks, list[int]]]:
    """Labels that stand in IFS, and workers."""
    ids = site.ready(count)
    with Forks(site) as forks:
        forks.poll()
        forks.drain(processes=1)
        assert site.states() == {"done": count}
        yield forks, ids


def edit(site: Site, number: int, **columns: Any) -> None:
    site.ifs.edit("standard", "ShipmentSet", {"ShipmentId": number}, columns)


def spoil(site: Site, empty: Sequence[int] = (), other: Sequence[int] = (), cancelled: Sequence[int] = ()) -> list[list[str]]:
    """Have IFS differ from our books; what a comparison is to find."""
    for number in empty:
        edit(site, number, AirwayBillNo=None)
    for number in other:
        edit(site, number, AirwayBillNo=TYPED)
    for number in cancelled:
        edit(site, number, Objstate="Cancelled")
    kinds = (("erp_empty", empty), ("erp_other", other), ("erp_cancelled", cancelled))
    return sorted([kind, key(number), "open"] for kind, some in kinds for number in some)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_comparison_killed_at_any_boundary_finds_everything_once(site_on: Callable[[str], Site], engine: str) -> None:
    site = site_on(engine)
    with shipped(site, 24) as (forks, ids):
        expected = spoil(site, ids[:2], ids[2:4], ids[20:21])
        doubtful = site.ready(1)
        site.fedex.fault("reset", "POST /ship/v1/shipments$")
        forks.poll()
        forks.drain(processes=1)
        site.rows("UPDATE connector_effectsend SET sent_at = '2026-01-01 00:00:00+00' WHERE outcome = 'unknown'")
        expected = sorted([*expected, ["in_doubt", key(doubtful[0]), "open"]])
        forks.python(BEGIN)
        points = forks.passes(GO_ON)
        passed = {point.partition("/")[0] for point in points}
        assert {point.partition("/")[2].partition(":")[0] for point in points} == {"compared", "batch_committed"}
        assert passed == {"erp", "carrier", "numbers", "ready", "sends", "charges"}
        undisturbed = forks.python(GO_ON)
        assert undisturbed == ["done", len(expected), len(expected), 0, [], expected]
        for point in points if engine == "postgres" else points[::3]:
            forks.python(FORGET)
            forks.python(BEGIN)
            forks.dies(point, GO_ON)
            assert forks.python(GO_ON) == undisturbed, point
        # One that begins anew finds the same ones, not others beside them.
        forks.python(BEGIN)
        assert forks.python(GO_ON) == ["done", len(expected), 0, 0, [], expected]
    assert site.run("verify_audit")["ok"] is True


@pytest.mark.postgres
def test_a_remedy_killed_before_it_is_noted_was_not_applied_and_is_applied_once(site: Site) -> None:
    """Then the work that it began is killed at every boundary in turn."""
    with shipped(site, 1) as (forks, [like]):
        spoil(site, other=[like])
        forks.python(BEGIN)
        forks.python(GO_ON)
        forks.python(PRESS, keys=[key(like)])
        [(transfer,)] = site.rows("SELECT id FROM connector_transfer WHERE state = 'waiting'")
        points = forks.trace(transfer)
        assert {"write tracking/write_sent:1", "write tracking/saving:1", "write tracking/finished:1"} <= set(points)

        overwritten = site.ready(len(points))
        written, voided = site.ready(2), site.ready(2)
        forks.poll()
        forks.drain(processes=2)
        labels = site.numbers()
        spoil(site, written, overwritten, voided)
        forks.python(BEGIN)
        forks.python(GO_ON)
        before = forks.python(STANDS)
        everything = [*overwritten, *written, *voided]
        for number in (overwritten[0], written[0], voided[0]):
            forks.dies("acted", PRESS, keys=[key(number)])
        assert forks.python(STANDS) == before, "done, and nobody is named for it"
        forks.python(PRESS, keys=[key(number) for number in everything])
        after = forks.python(STANDS)
        assert after["remedied"] - before["remedied"] == len(everything) == after["work"] - before["work"]
        waiting = dict(site.rows("SELECT source_key, id FROM connector_transfer WHERE state = 'waiting' AND flow = 'ship'"))
        jobs = [(waiting[key(number)], point) for number, point in zip(overwritten, points, strict=True)]
        assert forks.kill(jobs) == []
        forks.drain(processes=2)
        assert site.rows("SELECT source_key, flow, code, message FROM connector_transfer WHERE state <> 'done'") == []
        gone = {number: label for number, label in labels.items() if number in voided}
        assert site.numbers() == labels, "IFS takes no change of a cancelled shipment"
        assert {made.master for made in site.fedex.shipments() if made.voided} == set(gone.values())
        assert site.creates() == len(labels) and site.fedex.counts["PUT /ship/v1/shipments/cancel"] == len(gone)
        acts = Counter(forks.python(STANDS)["acts"]) - Counter(after["acts"])
        assert acts["voided"] == len(gone) and acts["bought"] == acts["remedied"] == 0
        writes = len(overwritten) + len(written) + 2 * len(voided)
        assert acts["written"] == writes, "the number of each; of each void the cancel and the clearing"
    assert site.run("verify_audit")["ok"] is True


APPROVE = """
from connector.models import Transfer
from connector.services import transfers
for one in Transfer.objects.filter(state="needs_approval"):
    assert transfers.approve(one, actor="ann", reason="urgent").done
"""


@pytest.mark.postgres
def test_an_approved_price_is_bought_once_wherever_the_worker_dies(site: Site) -> None:
    def dear(doc: dict[str, Any]) -> None:
        doc["integrations"][0]["options"] |= {"rates": True, "cost_ceiling": "0.01 USD"}

    site.configure(dear)
    with Forks(site) as forks:
        waits = "SELECT id FROM connector_transfer WHERE state = 'waiting' ORDER BY id"
        like = site.ready()
        forks.poll()
        forks.drain(processes=1)
        assert site.states() == {"needs_approval": 1} and site.creates() == 0
        forks.python(APPROVE)
        points = [p for p in forks.trace(site.rows(waits)[0][0]) if not p.startswith("buy label/intent_committed")]
        ids = site.ready(len(points))
        forks.poll()
        forks.drain(processes=2)
        forks.python(APPROVE)
        assert forks.kill([(pk, point) for (pk,), point in zip(site.rows(waits), points, strict=True)]) == []
        forks.drain(wait_s=6)
        site.assert_each_shipped_once([*like, *ids])
        assert set(site.states()) == {"done"} and site.creates() == 1 + len(ids)
        acts = forks.python(STANDS)["acts"]
        assert acts["approved"] == acts["bought"] + acts["adopted"] == 1 + len(ids)
    assert site.run("verify_audit")["ok"] is True

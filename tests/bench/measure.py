"""The measurements themselves: a run of real workers, and a counting run in one process."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.machine import CpuMeter, peak_mb
from tests.bench.site import INTEGRATION, Plan, Site, scratch

WARM_UP_PER_SLOT = 3
PATIENCE_S = 600
BATCHED = ("ShipmentSet", "ShipmentLineSet", "HandlingUnits", "Reference_CustomerInfoAddressPublic", "token")
"""Paths that are asked for lists and groups of documents, or for logins: no single record waits for its own."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What a run of real workers gave. CPU in milliseconds of one core per shipment; memory in MB."""

    plan: Plan
    seconds: float
    per_second: float
    slot_use: float | None
    calls_per_shipment: dict[str, float]
    cpu_ms: dict[str, float]
    strangers_cores: float
    worker_peak_mb: float
    vendor_peak_mb: float

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def throughput(plan: Plan) -> Throughput:
    """Carry `plan.shipments` with a warm cluster, from the first claim to the last one done. Raises BenchFailed."""
    with scratch(plan) as site:
        site.start_cluster()
        warm = plan.slots * WARM_UP_PER_SLOT
        _carry(site, warm, warm)
        before = site.calls()
        last = site.one("SELECT max(id) FROM connector_exchange")
        groups = {"workers": site.cluster.pid} if site.cluster else {}
        groups |= {f"simulator {slug}": running.pid for slug, running in site.vendors.items()}
        meter = CpuMeter(groups, site.database)
        meter.start()
        begun = time.monotonic()
        _carry(site, plan.shipments, warm + plan.shipments)
        meter.stop()
        watched_s = time.monotonic() - begun
        seconds = _span_s(site, last)
        calls = Counter(site.calls())
        calls.subtract(before)
        site.check(warm + plan.shipments)
        return Throughput(
            plan=plan,
            seconds=seconds,
            per_second=plan.shipments / seconds,
            slot_use=_slot_use(plan, calls, seconds),
            calls_per_shipment={line: n / plan.shipments for line, n in sorted(calls.items()) if n},
            cpu_ms={part: 1000 * s / plan.shipments for part, s in meter.used_s.items() if s},
            strangers_cores=max(0.0, meter.machine_s - sum(meter.used_s.values())) / watched_s,
            worker_peak_mb=site.worker_peaks_mb()[0],
            vendor_peak_mb=max(peak_mb(running.pid) for running in site.vendors.values()),
        )


def _carry(site: Site, count: int, total: int) -> None:
    """Make `count` documents ready, have them polled, wait until `total` transfers are done."""
    site.make_shipments(count)
    site.poll_soon()
    site.wait(
        f"{total} transfers done",
        lambda: site.one("SELECT count(*) FROM connector_transfer WHERE state = 'done'") >= total,
        PATIENCE_S,
    )


def _span_s(site: Site, last_exchange: int) -> float:
    """Seconds from the first read of a claimed group (its claim is milliseconds older) to the last transfer done."""
    first = f"SELECT min(started_at) FROM connector_exchange WHERE id > {last_exchange} AND step = 'read'"
    done = "SELECT max(finished_at) FROM connector_transfer"
    if site.plan.engine == "postgres":
        return float(site.one(f"SELECT EXTRACT(EPOCH FROM ({done}) - ({first}))"))
    return float(site.one(f"SELECT (julianday(({done})) - julianday(({first}))) * 86400.0"))


def _slot_use(plan: Plan, calls: Counter[str], seconds: float) -> float | None:
    """Share of the slots' time in which a record waited for a call of its own; None where vendors answer at once."""
    if not plan.latency_ms:
        return None
    own = sum(n for line, n in calls.items() if not line.endswith(BATCHED))
    return own * plan.latency_ms / 1000 / (plan.slots * seconds)


@dataclass(frozen=True, slots=True)
class Counts:
    """Statements and committed writes: per shipped document (its poll included), and of one idle poll."""

    shipments: int
    statements: float
    commits: float
    poll_statements: float
    by_shape: dict[str, float]
    idle_queries: int
    idle_calls: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def counts(plan: Plan) -> Counts:
    """One process, counted where Django hands statements to the driver. Raises BenchFailed."""
    with scratch(plan) as site:
        site.module("tests.bench.inside", "count", INTEGRATION)  # the baseline, before anything is ready
        site.make_shipments(plan.shipments)
        told = json.loads(site.module("tests.bench.inside", "count", INTEGRATION))
        site.check(plan.shipments)
        before = site.calls()
        site.module("tests.bench.inside", "count", INTEGRATION)
        three_idle = Counter(site.calls())
        three_idle.subtract(before)
        shapes = Counter(told["work"]["by_shape"]) + Counter(told["poll"]["by_shape"])
        return Counts(
            shipments=plan.shipments,
            statements=(told["work"]["statements"] + told["poll"]["statements"]) / plan.shipments,
            commits=(told["work"]["commits"] + told["poll"]["commits"]) / plan.shipments,
            poll_statements=told["poll"]["statements"] / plan.shipments,
            by_shape={shape: n / plan.shipments for shape, n in shapes.most_common()},
            idle_queries=told["idle"]["statements"],
            idle_calls={line: n // 3 for line, n in three_idle.items() if n // 3},
        )


def profile(plan: Plan) -> str:
    """The work of one process in one slot under cProfile, as text."""
    with scratch(plan) as site:
        site.module("tests.bench.inside", "count", INTEGRATION)
        site.make_shipments(plan.shipments)
        return site.module("tests.bench.inside", "profile", INTEGRATION)

"""`python -m tests.bench`: how fast, with how many calls, statements, cores and megabytes, as tables.

Real worker processes against simulators in processes of their own, on a scratch database. Lists separated by commas
make a matrix; with --repeat each row is the run with the median rate. Nothing here is a test with a time limit.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import sys
from typing import Any

from tests.bench import measure
from tests.bench.site import BenchFailed, Plan


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line. Exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--db", default="sqlite", help="sqlite, postgres or a server's URL; several by commas")
    parser.add_argument("--latency-ms", type=_numbers, default=[0], help="how long vendors take to answer (0,300)")
    parser.add_argument("--workers", type=_numbers, default=[1], help="worker processes (1,2,4)")
    parser.add_argument("--threads", type=int, default=8, help="calls in parallel per worker (default 8)")
    parser.add_argument("--shipments", type=int, default=200, help="per worker (default 200)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of which the median counts")
    parser.add_argument("--no-counts", action="store_true", help="leave out the counting run in one process")
    parser.add_argument("--profile", action="store_true", help="only a profile of one process, as text")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    told = parser.parse_args(given)
    if min(*told.workers, told.threads, told.shipments, told.repeat) < 1 or min(told.latency_ms) < 0:
        parser.error("numbers must be positive")
    return told


def main(given: list[str] | None = None) -> int:
    """Measure and print. Exit code 1 when a run failed; the others are told all the same."""
    told = arguments(given)
    if given is None:
        # Asked to end: leave by the usual way, which takes processes and databases along.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    engines = told.db.split(",")
    if told.profile:
        print(measure.profile(Plan(engines[0], told.latency_ms[0], 1, told.threads, told.shipments)))
        return 0
    rows: list[measure.Throughput] = []
    failed = 0
    for db in engines:
        for latency_ms in told.latency_ms:
            for workers in told.workers:
                plan = Plan(db, latency_ms, workers, told.threads, told.shipments * workers)
                tried = [_run(plan) for _ in range(told.repeat)]
                runs = sorted((run for run in tried if run is not None), key=lambda run: run.per_second)
                failed += len(tried) - len(runs)
                rows += runs[(len(runs) - 1) // 2 :][:1]
    counted = {} if told.no_counts else {db: measure.counts(Plan(db, 0, 1, told.threads, told.shipments)) for db in engines}
    if told.json:
        payload: dict[str, Any] = {
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "failed_runs": failed,
            "differs": [{"environment": row.plan.environment(), "settings": row.plan.settings()} for row in rows],
            "throughput": [row.as_dict() for row in rows],
            "counts": {measure.Plan(db).engine: found.as_dict() for db, found in counted.items()},
        }
        print(json.dumps(payload))
    else:
        print(tables(rows, counted))
    return 1 if failed else 0


def _run(plan: Plan) -> measure.Throughput | None:
    """One run; None, with the reason on stderr, when the installation did not do its work. It is counted, not hidden."""
    what = f"{plan.engine} {plan.latency_ms} ms {plan.workers} x {plan.threads}, {plan.shipments} shipments"
    try:
        found = measure.throughput(plan)
    except BenchFailed as error:
        print(f"{what}: FAILED: {error}", file=sys.stderr, flush=True)
        return None
    print(f"{what}: {found.per_second:.1f}/s (strangers {found.strangers_cores:.1f} cores)", file=sys.stderr, flush=True)
    return found


def tables(rows: list[measure.Throughput], counted: dict[str, measure.Counts]) -> str:
    """Everything as Markdown."""
    if not rows:
        return "No run succeeded."
    lines = ["Different from the defaults (values of the last row): the simulated FedEx has no ceilings of its own, `DEBUG=0`,"]
    lines += [f"`{name}={value}`," for name, value in rows[-1].plan.environment().items()]
    lines += [
        f"`settings.{name}`: `{json.dumps(value)}` at both connections," for name, value in rows[-1].plan.settings().items()
    ]
    lines += [
        "",
        "| database | latency ms | workers × threads | shipments/s | slots used | CPU ms per shipment: workers | database "
        "| simulators | peak MB | strangers' cores |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        plan = row.plan
        simulators = sum(ms for part, ms in row.cpu_ms.items() if part.startswith("simulator"))
        database = "in workers" if plan.engine == "sqlite" else f"{row.cpu_ms.get('database', 0):.1f}"
        use = "" if row.slot_use is None else f"{100 * row.slot_use:.0f} %"
        lines.append(
            f"| {plan.engine} | {plan.latency_ms} | {plan.workers} × {plan.threads} | {row.per_second:.1f} | {use} "
            f"| {row.cpu_ms.get('workers', 0):.1f} | {database} | {simulators:.1f} | {row.worker_peak_mb:.0f} "
            f"| {row.strangers_cores:.1f} |"
        )
    lines += ["", "Vendor calls per shipment (last row):", ""]
    lines += [f"* {n:.3f} {line}" for line, n in rows[-1].calls_per_shipment.items()]
    for db, found in counted.items():
        lines += [
            "",
            f"{measure.Plan(db).engine}, one process, {found.shipments} shipments: {found.statements:.1f} statements and "
            f"{found.commits:.2f} commits per shipment (of these {found.poll_statements:.2f} statements for its poll). "
            f"Idle poll: {found.idle_queries} queries; calls: {found.idle_calls or 'none'}.",
            "",
        ]
        lines += [f"* {n:.2f} {shape}" for shape, n in found.by_shape.items() if n >= 0.04]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

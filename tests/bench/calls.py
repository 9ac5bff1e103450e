"""`python -m tests.bench.calls`: vendor calls for each shipped document, with every option that makes calls.

Counted at the simulators, by real processes: domestic shipments of one package and one order each; tokens are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import Any

from tests.bench.site import INTEGRATION, BenchFailed, Plan, scratch

ROWS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "rates": {"rates": True},
    "address_check: warn": {"address_check": "warn"},
    "document_accounting": {"document_accounting": True},
    "freight_charge": {"freight_charge": True},
    "attach_label: document": {"attach_label": "document"},
    "attach_label: media (PNG)": {"attach_label": "media", "label_format": "PNG"},
    "all of these (document)": {
        **{"rates": True, "address_check": "warn", "document_accounting": True, "freight_charge": True},
        "attach_label": "document",
    },
}
BUDGET = {"defaults": "3 + 4 in 20", "freight_charge": "+2", "attach_label: document": "+4", "attach_label: media (PNG)": "+4"}
"""DESIGN 12; the others have none of their own."""


def counted(plan: Plan) -> dict[str, float]:
    """Calls for each document, by vendor, method and path. Raises BenchFailed unless all were shipped once."""
    with scratch(plan) as site:
        site.module("tests.bench.inside", "ship", INTEGRATION)  # the baseline, before anything is ready
        site.make_shipments(plan.shipments)
        before = site.calls()
        stopped = json.loads(site.module("tests.bench.inside", "ship", INTEGRATION))
        if stopped:
            raise BenchFailed(f"with {plan.options} something stopped: {stopped}")
        site.check(plan.shipments)
        made = {line: count - before.get(line, 0) for line, count in site.calls().items()}
    return {line: count / plan.shipments for line, count in sorted(made.items()) if count and "token" not in line}


def table(told: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    usual = sum(told["defaults"].values())
    lines = ["| option | calls for each document | more than the defaults | budget |", "| --- | ---: | ---: | --- |"]
    for name, calls in told.items():
        number = sum(calls.values())
        lines.append(f"| {name} | {number:.2f} | {number - usual:+.2f} | {BUDGET.get(name, '')} |")
    lines += ["", "All of these, call by call:", ""]
    return "\n".join([*lines, *(f"* {n:.2f} {line}" for line, n in list(told.values())[-1].items())])


def main(given: list[str] | None = None) -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.calls", description=__doc__)
    parser.add_argument("--db", default="sqlite", help="sqlite, postgres or a server's URL")
    parser.add_argument("--shipments", type=int, default=20, help="documents of each row (default 20)")
    parser.add_argument("--only", default="", help="this row beside the defaults")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    asked = parser.parse_args(given)
    plan = Plan(asked.db, shipments=asked.shipments)
    rows = {name: options for name, options in ROWS.items() if not asked.only or name in ("defaults", asked.only)}
    told = {name: counted(replace(plan, options=options)) for name, options in rows.items()}
    print(json.dumps(told) if asked.json else table(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

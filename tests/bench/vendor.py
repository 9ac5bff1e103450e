"""One vendor's simulator in a process of its own: `python -m tests.bench.vendor fedex --latency-ms 300`.

Prints its port and serves until its standard input closes. A process per vendor, so that neither waits for the
other's interpreter lock.
"""

from __future__ import annotations

import argparse
import sys

from integrations import registry
from integrations.base.simulator import SimulatorServer
from integrations.fedex.simulator import FedexSimulator

BIG = 10**9


def main() -> None:
    """Serve; exit code 1 and the reason when the simulator itself crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vendor", description=__doc__)
    parser.add_argument("slug", choices=registry.slugs())
    parser.add_argument("--latency-ms", type=int, default=0)
    told = parser.parse_args()
    simulator = registry.simulator_class(told.slug)()
    if isinstance(simulator, FedexSimulator):
        # FedEx's own ceiling of 140 calls a second would be what is measured.
        simulator.options(window_limit=BIG, daily_limit=BIG, track_daily_limit=BIG)
    with SimulatorServer([simulator], latency_s=told.latency_ms / 1000) as server:
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        if server.errors:
            sys.exit(f"the simulator crashed: {server.errors[:3]!r}")


if __name__ == "__main__":
    main()

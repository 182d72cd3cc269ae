"""
Judge the playout: ``python -m benchmarks.playout``.

Plays seeded traces through it and through other buffers, prints one table, each goal with its
figure, and what a call costs, and writes one chart. Exits with 1 when a goal is missed.

Needs numpy and scipy; compares with aiortc and libspeexdsp where they are installed. Figures of
WebRTC's NetEq are recorded, on seeds 1, 2, 3 and on 11 to 16. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.playout import buffers, cost, goals, report, runs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.playout")
    parser.add_argument("--seeds", default="1,2,3", help="of the traces (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="play through ours alone")
    parser.add_argument("--no-cost", action="store_true", help="measure no times")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="to run at once")
    parser.add_argument("--chart", type=Path, help="where to write the chart, as SVG")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    peers = buffers.live_peers()
    for name in ("aiortc", "speexdsp"):
        if not arguments.no_peers and name not in peers:
            print(f"{name} is not installed: it is left out")
    # Times first, while no other process is running.
    costs = [] if arguments.no_cost else cost.costs()
    jobs = runs.jobs_for(seeds, peers=not arguments.no_peers)
    results = runs.run_all(jobs, seeds, arguments.processes)
    print(report.table(results))
    checked = [*goals.goals(results)]
    for line in [*checked, *costs]:
        print(line)
    if arguments.chart:
        arguments.chart.write_text(report.chart(results))
        print(f"chart: {arguments.chart}")
    return 0 if all(line.met for line in [*checked, *costs]) else 1


if __name__ == "__main__":
    sys.exit(main())

"""
Evaluate the playout: ``python -m benchmarks.playout``.

The program plays traces of packets through the playout and through other jitter buffers. It prints
tables of figures (``metrics.py`` explains the columns), each goal with its figure, and the duration
of reads and pushes. It can also write a chart. It exits with 1 if a goal is missed. It takes about
three minutes on two cores.

The program needs numpy and scipy. It also runs the buffers of aiortc and libspeexdsp if these are
installed. It does not run WebRTC's NetEq, but uses figures of NetEq that were recorded with the
seeds 1 to 3, with the seeds 11 to 16 and with the seeds 401 to 406.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.playout import buffers, cost, goals, report, runs


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.playout")
    parser.add_argument(
        "--seeds", default="1,2,3", help="the seeds of the traces (default: %(default)s)"
    )
    parser.add_argument(
        "--no-peers", action="store_true", help="run only the playout and one fixed buffer"
    )
    parser.add_argument(
        "--no-cost", action="store_true", help="do not measure the times of reads and pushes"
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many processes to use"
    )
    parser.add_argument("--chart", type=Path, help="write the chart to this file, as SVG")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    peers = buffers.live_peers()
    for name in ("aiortc", "speexdsp"):
        if not arguments.no_peers and name not in peers:
            print(f"{name} is not installed and is left out")
    # The times are measured first, while no other process of this program runs.
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

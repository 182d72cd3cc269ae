"""
Measure every figure of ``docs/performance.md``: ``python -m benchmarks``, from a checkout.

    python -m benchmarks                        all rows; takes some minutes
    python -m benchmarks --quick                all rows with fewer rounds; takes about a minute
    python -m benchmarks --only frame --only base64
    python -m benchmarks --level avx2           with the kernels of one instruction set
    python -m benchmarks --json rows.json --svg chart.svg
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environment import ROOT, peers_python

GROUPS = ("kernels", "messages", "sockets", "crowds", "imports", "clients", "conversations")

_INSIDE = "INWORLD_SYNC_BENCHMARKS_INSIDE"


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="measure fewer rounds")
    parser.add_argument(
        "--level", choices=("scalar", "avx2", "avx512", "neon"), help="use only these C kernels"
    )
    parser.add_argument(
        "--only", action="append", default=[], help="only rows whose name contains ONLY"
    )
    parser.add_argument(
        "--group", action="append", default=[], choices=GROUPS, help="only rows of this group"
    )
    parser.add_argument("--rounds", type=int, help="rounds per row (default: 31, with --quick 5)")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument(
        "--markdown", type=Path, help="write the rows with a target to this file, as a table"
    )
    parser.add_argument("--svg", type=Path, help="write a chart of the ratios to this file")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the benchmarks in the virtual environment that has the compared libraries."""
    chosen = options()
    if _INSIDE in os.environ:
        measure(chosen)
        return 0
    environment = {**os.environ, _INSIDE: "1", "PYTHONPATH": str(ROOT)}
    if chosen.level:
        environment["INWORLD_SYNC_LEVEL"] = chosen.level
    command = [peers_python(), "-m", "benchmarks", *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


def measure(chosen: argparse.Namespace) -> None:
    """Measure, print the rows, and write the files that the options name."""
    from benchmarks import report
    from benchmarks.harness import Row, Settings, compare
    from inworld_sync.audio import levels

    level = levels.level()
    rounds = chosen.rounds or (5 if chosen.quick else 31)
    settings = Settings(rounds=rounds, is_quick=chosen.quick)
    machine = {
        "processor": report.processor(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "level": level,
        "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(report.HEAD)
    rows: list[Row] = []
    for group in chosen.group or GROUPS:
        for case in importlib.import_module(f"benchmarks.{group}").cases(settings):
            if chosen.only and not any(part in case.name for part in chosen.only):
                continue
            found = compare(case, level, settings)
            rows += found
            print("\n".join(map(report.line, found)), flush=True)
    if chosen.json:
        content = {"machine": machine, "rows": [dataclasses.asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if chosen.markdown:
        chosen.markdown.write_text(report.table(rows), encoding="utf-8")
    if chosen.svg:
        chosen.svg.write_text(report.chart(rows, machine), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

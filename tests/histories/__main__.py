"""
Run random histories of one service or of all services.

A history is random calls on several threads, and then one call that must succeed.

Run the command ``python -m histories --count 10000`` in ``tests``. The command prints the seed of
each history that failed, and then exits with 1. ``--seed`` runs the history of one seed again.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed

from histories import realtime, stt, tts
from histories.history import History, Outcome, run_history

HISTORIES: dict[str, History[object]] = {
    "realtime": realtime.HISTORY,  # type: ignore[dict-item]
    "stt": stt.HISTORY,  # type: ignore[dict-item]
    "tts": tts.HISTORY,  # type: ignore[dict-item]
}


def main() -> int:
    """Run the histories that the command line selects. Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", choices=sorted(HISTORIES), action="append")
    parser.add_argument("--count", type=int, default=10_000, help="number of histories per service")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the first history")
    parser.add_argument("--parallel", type=int, default=16, help="histories at the same time")
    arguments = parser.parse_args()
    faulthandler.enable()
    # The faults of the service are intended, so they are not logged.
    logging.getLogger("inworld_sync").setLevel(logging.CRITICAL)
    failed = 0
    for service in arguments.service or sorted(HISTORIES):
        seeds = range(arguments.seed, arguments.seed + arguments.count)
        failed += _run(service, seeds, arguments.parallel)
    return min(failed, 1)


def _run(service: str, seeds: range, parallel: int) -> int:
    faults: Counter[str] = Counter()
    results: Counter[str] = Counter()
    attempts = failed = 0
    began = time.monotonic()
    with ThreadPoolExecutor(parallel) as pool:
        futures = [pool.submit(run_history, HISTORIES[service], seed) for seed in seeds]
        for future in as_completed(futures):
            try:
                outcome: Outcome = future.result()
            except Exception as error:
                failed += 1
                _print(f"{service}: {type(error).__name__}: {error}")
                continue
            faults += outcome.faults
            results += outcome.results
            attempts = max(attempts, outcome.attempts)
    _print(
        f"{service}: {len(seeds)} histories in {time.monotonic() - began:.0f} s, {failed} failed;"
        f" messages {dict(faults)}; calls {dict(results)};"
        f" at most {attempts} calls until one succeeded afterwards"
    )
    return failed


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

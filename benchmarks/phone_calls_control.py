"""
Measure how late threads wake up on this machine: ``python -m benchmarks.phone_calls_control``.

    python -m benchmarks.phone_calls_control --threads 20 --seconds 30

Each thread sleeps until a time that comes every 20 ms, and does nothing else. The times of the
threads are spread over the 20 ms. So this program shows how late the machine wakes up threads,
without the work of calls. ``benchmarks.phone_calls`` runs this program at the same time in another
process. For each wake-up, the program prints when it was due, in seconds on the monotonic clock,
and by how many milliseconds it was late. The output is JSON.
"""

from __future__ import annotations

import argparse
import json
import threading
import time

FRAME_SECONDS = 0.02
_START_SECONDS = 0.1


def wake(began: float, seconds: float, found: list[tuple[float, float]]) -> None:
    """Sleep until each time. Add this time and the delay of the wake-up to *found*."""
    for number in range(int(seconds / FRAME_SECONDS)):
        due = began + number * FRAME_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        found.append((due, (time.monotonic() - due) * 1000))


def main() -> None:
    """Run the threads, and print one row."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.phone_calls_control", description=__doc__
    )
    parser.add_argument("--threads", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    began = time.monotonic() + _START_SECONDS
    found: list[list[tuple[float, float]]] = [[] for _ in range(chosen.threads)]
    threads = [
        threading.Thread(
            target=wake,
            args=(began + number * FRAME_SECONDS / chosen.threads, chosen.seconds, one),
        )
        for number, one in enumerate(found)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([each for one in found for each in one]))


if __name__ == "__main__":
    main()

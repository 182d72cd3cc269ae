"""
Send random and damaged requests to the emulator for some time.

Run the program with ``python tests/fuzz_emulator.py --seconds 600``. The program fails if the
server ends, or if the server logs a traceback or an error. The program also fails if the memory of
the process grows by more than 30 MiB in the second half of the time.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import time
from pathlib import Path

from inworld_sync.emulator import Emulator, Settings

from support.fuzzer import Fuzzer, TracebackCounter


def _resident_mib() -> float:
    """Return the resident memory of this process, or 0 if the system does not report it."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 / 2**20 if path.exists() else 0.0


def _report(text: str) -> None:
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counter = TracebackCounter()
    logging.getLogger("inworld_sync").addHandler(counter)
    started, steps, half_mib = time.monotonic(), 0, 0.0
    with Emulator(settings=Settings(prepared_speech=True)) as server:
        fuzzer = Fuzzer(server, options.seed)
        while (passed := time.monotonic() - started) < options.seconds and not counter.records:
            fuzzer.step()
            steps += 1
            if not half_mib and passed > options.seconds / 2:
                # At this time, all engines are loaded, and the allocator has reserved its memory.
                half_mib = _resident_mib()
            if steps % 300 == 0:
                threads = threading.active_count()
                _report(f"{steps} steps, {_resident_mib():.0f} MiB, {threads} threads")
    _report("\n".join(counter.records))
    grown_mib = _resident_mib() - half_mib if half_mib else 0.0
    sys.exit(bool(counter.records) or grown_mib > 30)


if __name__ == "__main__":
    main()

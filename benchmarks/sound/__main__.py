"""
Measure how sound is played and recorded: python -m benchmarks.sound [name ...].

Everything runs on a PulseAudio server of its own, so it needs no sound card; see pulse.py for the
packages. The exit status tells whether every goal was met.
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.sound import runs
from benchmarks.sound.pulse import pulse_server

RUNS = {
    "stream": runs.stream,
    "gil": runs.busy_interpreter,
    "interrupt": runs.interruptions,
    "words": runs.words,
    "slow": runs.slow_network,
    "microphone": runs.microphone,
    "unplug": runs.unplug,
}


def main(names: list[str]) -> int:
    """Run what was asked for, or everything."""
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(RUNS)}")
    met = True
    with pulse_server():
        for name in names or RUNS:
            start = time.monotonic()
            outcome = RUNS[name]()
            met &= outcome.met
            print(f"{name}: {outcome.goal}: {'met' if outcome.met else 'NOT MET'}", flush=True)
            print(json.dumps(outcome.figures, indent=2))
            print(f"({time.monotonic() - start:.0f} s)\n", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

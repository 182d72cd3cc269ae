"""
Measure how sound is played and recorded: ``python -m benchmarks.sound [name ...]``.

The names are ``stream``, ``gil``, ``interrupt``, ``words``, ``slow``, ``microphone`` and
``unplug``. Without a name, all measurements run.

The program starts its own PulseAudio server, so it needs no sound card. ``pulse.py`` lists the
system packages that are needed. The program exits with 1 if a goal is missed.
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
    """Run the named measurements, or all of them."""
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        sys.exit(f"unknown measurement: {', '.join(unknown)}; available: {', '.join(RUNS)}")
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

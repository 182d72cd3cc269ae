"""
Measure how recordings are read: python -m benchmarks.recordings [formats | hours] [--hours 3]

    formats            decode every format in every form, and compare the samples with ffmpeg's
    hours              transcribe a long call with the emulator, and measure the memory

Both measurements need the program ffmpeg (apt install ffmpeg). The exit status is 1 if a goal is
missed.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from benchmarks.recordings import formats, hours


def main() -> int:
    """Run the named measurement. Without a name, run both measurements."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=("formats", "hours"))
    parser.add_argument("--hours", type=float, default=3.0, help="length of the call")
    chosen = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("the program ffmpeg was not found; install it with: apt install ffmpeg")
    met = True
    if chosen.name in (None, "formats"):
        met &= formats.measure()
    if chosen.name in (None, "hours"):
        met &= hours.measure(chosen.hours)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

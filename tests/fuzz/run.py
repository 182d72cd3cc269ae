"""
Build the libFuzzer drivers of this folder with ASan and UBSan, and run each with its corpus.

    python tests/fuzz/run.py                      # each driver for 10 minutes
    python tests/fuzz/run.py --seconds 60 base64  # one driver for a minute

The command needs clang with its run-time libraries (Debian: ``clang`` and ``libclang-rt-dev``). An
input that breaks an invariant is written to the current folder. Add this input to the corpus when
the fault is fixed. The other new inputs of a run are deleted. With ``--keep``, a minimal set of
these other inputs is added to the corpus.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
FLAGS = [
    "-std=c11",
    "-g",
    "-O1",
    "-ffp-contract=off",
    "-fno-omit-frame-pointer",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
    "-D_GNU_SOURCE",
]
# The drivers of the jitter buffer make random calls. These drivers can also run without clang, from
# a seed.
SOURCES = {
    **{path.stem: path for path in FOLDER.glob("*.c")},
    **{path.stem: path for path in (ROOT / "tests" / "native").glob("*_fuzz.c")},
}
DRIVERS = sorted(SOURCES)


def build(driver: str, place: Path) -> Path:
    """Compile a driver with the core, and return the program."""
    program = place / driver
    sources = sorted((ROOT / "csrc").glob("*/*.c"))
    subprocess.run(
        [
            *("clang", *FLAGS, f"-I{ROOT / 'csrc'}"),
            *(str(SOURCES[driver]), *map(str, sources)),
            *("-DLIBFUZZER", "-lm", "-o", str(program)),
        ],
        check=True,
    )
    return program


def fuzz(driver: str, seconds: int, place: Path, *, keep: bool) -> int:
    """Run a driver for *seconds* and return its exit code."""
    program = build(driver, place)
    corpus, learned = FOLDER / "corpus" / driver, place / f"{driver}-learned"
    learned.mkdir()
    known = [corpus] if corpus.is_dir() else []
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1"]
    code = subprocess.run([program, *limits, learned, *known]).returncode
    if keep and code == 0:
        corpus.mkdir(exist_ok=True)
        subprocess.run([program, "-merge=1", corpus, learned], check=True)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the C core.")
    parser.add_argument(
        "drivers", nargs="*", help=f"the drivers to run: {', '.join(DRIVERS)}; by default all"
    )
    parser.add_argument(
        "--seconds", type=int, default=600, help="how many seconds each driver runs"
    )
    parser.add_argument(
        "--keep", action="store_true", help="add a minimal set of the new inputs to the corpus"
    )
    arguments = parser.parse_args()
    drivers = arguments.drivers or DRIVERS
    if not set(drivers) <= set(DRIVERS):
        parser.error(f"expected drivers from {', '.join(DRIVERS)}, got {' '.join(drivers)!r}")
    if not shutil.which("clang"):
        raise SystemExit("clang is not installed")
    with tempfile.TemporaryDirectory(prefix="inworld-sync-fuzz-") as place:
        codes = [
            fuzz(driver, arguments.seconds, Path(place), keep=arguments.keep) for driver in drivers
        ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())

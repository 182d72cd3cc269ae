"""
Build tests/native/selfcheck.c with the whole core, and run it.

    python tests/native/selfcheck.py             # the levels of this machine
    python tests/native/selfcheck.py --aarch64   # NEON, with a cross compiler and QEMU

The second command needs ``gcc-aarch64-linux-gnu`` and ``qemu-user`` (names of Debian packages).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "tests" / "native" / "selfcheck.c"]
# The areas that have kernels.
SOURCES += [
    path
    for area in ("base64", "common", "g711", "pcm", "ws")
    for path in sorted((ROOT / "csrc" / area).glob("*.c"))
]
FLAGS = ["-std=gnu11", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]

NATIVE = (["cc"], [])
AARCH64 = (["aarch64-linux-gnu-gcc", "-static"], ["qemu-aarch64"])


def run(place: Path, compiler: list[str], emulator: list[str]) -> str:
    """Build the program in a folder, run it, and return its output."""
    program = place / "selfcheck"
    sources = [str(path) for path in SOURCES]
    subprocess.run(
        [*compiler, *FLAGS, f"-I{ROOT / 'csrc'}", *sources, "-o", str(program), "-lm"], check=True
    )
    process = subprocess.run([*emulator, str(program)], stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        raise SystemExit(f"selfcheck failed with {process.returncode}: {process.stdout}")
    return process.stdout


def main() -> None:
    arguments = sys.argv[1:]
    if arguments not in ([], ["--aarch64"]):
        raise SystemExit(f"expected no argument or --aarch64, got {' '.join(arguments)!r}")
    with tempfile.TemporaryDirectory(prefix="inworld-sync-selfcheck-") as place:
        sys.stdout.write(run(Path(place), *(AARCH64 if arguments else NATIVE)))


if __name__ == "__main__":
    main()

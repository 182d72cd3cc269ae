"""Programs in C that drive the core without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["build", "run"]

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
CORE = sorted(CSRC.glob("*/*.c"))
HERE = ROOT / "tests" / "native"

# The core may itself be under test with a sanitizer, which is none of the driver's.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def build(place: Path, driver: str, *options: str) -> Path:
    """Compile a driver of tests/native with the core."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the drivers need a C compiler"
    program = place / driver
    command = [compiler, "-std=c11", "-O1", "-g", "-pthread", *options, "-I", str(CSRC)]
    command += [str(HERE / f"{driver}.c"), *map(str, CORE), "-lm", "-o", str(program)]
    process = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return program


def run(program: Path, *arguments: object) -> str:
    """What a driver says; fails with it when the driver does."""
    process = subprocess.run(
        [str(program), *map(str, arguments)],
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    return process.stdout

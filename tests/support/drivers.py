"""Compiles and runs the C programs that call the core without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["build", "compile_core", "run"]

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
CORE = sorted(CSRC.glob("*/*.c"))
HERE = ROOT / "tests" / "native"

# LD_PRELOAD may load a sanitizer for this process. The C programs must not load it.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def compile_core(place: Path, *options: str) -> list[Path]:
    """Compile the core for the C programs. Return its object files."""
    # Some files in different folders have the same name.
    objects = [place / f"{path.parent.name}_{path.stem}.o" for path in CORE]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = [
            pool.submit(_compile, *options, "-c", str(source), "-o", str(target))
            for source, target in zip(CORE, objects, strict=True)
        ]
    for task in tasks:
        task.result()
    return objects


def build(place: Path, driver: str, core: list[Path], *options: str) -> Path:
    """Compile a program of tests/native, and link the program with the core."""
    program = place / driver
    source = str(HERE / f"{driver}.c")
    _compile(*options, source, *map(str, core), "-lm", "-o", str(program))
    return program


def _compile(*arguments: str) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "the drivers need a C compiler"
    command = [compiler, "-std=c11", "-O1", "-g", "-pthread", "-I", str(CSRC), *arguments]
    process = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


def run(program: Path, *arguments: object) -> str:
    """Return the output of a program. If the program fails, the test fails with the output."""
    process = subprocess.run(
        [str(program), *map(str, arguments)],
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    return process.stdout

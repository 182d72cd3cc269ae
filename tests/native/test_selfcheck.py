"""A C program compares the kernels of all levels, including internal kernels and NEON."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from inworld_sync import _native

SCRIPT = Path(__file__).with_name("selfcheck.py")

posix = pytest.mark.skipif(sys.platform == "win32", reason="the guard pages are made with mprotect")
cross = pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-gcc") and shutil.which("qemu-aarch64")),
    reason="needs a cross compiler and an emulator, see tests/native/selfcheck.py",
)


def words(*arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=300
    )
    assert (0, "") == (process.returncode, process.stderr)
    return process.stdout


@posix
def test_levels_agree() -> None:
    """Each level of this machine computes the same bits as the scalar level."""
    said = words()

    assert [name for name in _native.levels() if f"{name} agrees" in said] == [
        *_native.levels()[1:]
    ]


@cross
def test_neon_agrees() -> None:
    """NEON computes the same bits as the scalar level."""
    assert "neon agrees with scalar" in words("--aarch64")

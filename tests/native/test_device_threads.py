"""Device threads, programs and users at once, under the thread sanitizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
SOURCES = [
    Path(__file__).with_name("device_threads.c"),
    *sorted(CSRC.glob("device/*.c")),
    *sorted(CSRC.glob("playout/*.c")),
    CSRC / "common" / "status.c",
]


@pytest.mark.skipif(sys.platform != "linux", reason="the sanitizer's options are those of Linux")
def test_nothing_is_lost_uncounted(tmp_path: Path) -> None:
    """Each sample is given once or counted, each clear is final, and no access races."""
    program = tmp_path / "device_threads"
    subprocess.run(
        ["gcc", "-O1", "-g", "-std=c11", "-pthread", "-fsanitize=thread", f"-I{CSRC}"]
        + [str(path) for path in SOURCES]
        + ["-lm", "-o", str(program)],
        check=True,
        timeout=120,
    )
    done = subprocess.run(
        [program, "300", "1"], capture_output=True, text=True, timeout=120, check=False
    )

    assert (0, "") == (done.returncode, done.stderr), done.stdout
    assert " 0 dropped" not in done.stdout

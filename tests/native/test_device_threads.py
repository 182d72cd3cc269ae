"""Device threads and callers use the C core at the same time, without Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.drivers import build, compile_core, run


@pytest.mark.skipif(sys.platform == "win32", reason="the driver uses POSIX threads")
def test_every_sample_is_counted(tmp_path: Path, core: list[Path]) -> None:
    """
    Each sample is returned once or counted as lost.

    Each of 500 clears reports how many frames were heard. Later counts agree with the reports.
    """
    output = run(build(tmp_path, "device_threads", core), 500, 1)

    assert "speaker: 500 clears" in output
    assert " 0 dropped" not in output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="sanitizers come with every gcc on Linux only")
def test_threads_do_not_race(tmp_path: Path) -> None:
    """ThreadSanitizer reports no race during 500 clears with a device and two reading threads."""
    core = compile_core(tmp_path, "-fsanitize=thread")
    output = run(build(tmp_path, "device_threads", core, "-fsanitize=thread"), 500, 2)

    assert "speaker: 500 clears" in output

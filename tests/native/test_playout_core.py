"""C programs test the decisions, the threads and random calls of the playout without Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.drivers import build, compile_core, run

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the drivers use POSIX threads and the options of gcc"
)
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="sanitizers come with every gcc on Linux only"
)


def test_decisions(tmp_path: Path, core: list[Path]) -> None:
    """In every situation, the playout selects the step that the rules require."""
    program = build(tmp_path, "playout_decide", core)

    assert run(program).endswith(" 0 failed\n")


# (seed, time scaling, largest count of frames of a read). The reads are as long as a device's
# blocks, shorter than the fade, or longer than the queued audio.
THREADS = [(1, 0, 480), (2, 1, 480), (3, 0, 20), (4, 1, 4000)]


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory, core: list[Path]) -> Path:
    """Build the program with three threads."""
    return build(tmp_path_factory.mktemp("threads"), "playout_threads", core)


@pytest.mark.parametrize(("seed", "scaling", "frames"), THREADS)
def test_clears_report_the_heard_frames(
    threads: Path, seed: int, scaling: int, frames: int
) -> None:
    """Each of 150 clears during reads and pushes reports exactly how many frames were heard."""
    assert "failures 0" in run(threads, 150, seed, scaling, frames)


@pytest.mark.parametrize("driver", ["playout_fuzz", "mixer_fuzz"])
def test_random_calls_keep_the_invariants(tmp_path: Path, core: list[Path], driver: str) -> None:
    """After each of 100,000 random calls, the statistics, the result and the output are valid."""
    program = build(tmp_path, driver, core)

    assert run(program, 1, 200, 500) == "200 runs of 500 calls\n"


@pytest.mark.slow
@linux
def test_threads_do_not_race(tmp_path: Path) -> None:
    """ThreadSanitizer reports no race during 500 clears with three threads."""
    core = compile_core(tmp_path, "-fsanitize=thread")
    program = build(tmp_path, "playout_threads", core, "-fsanitize=thread")

    assert "failures 0" in run(program, 500, 5, 1, 480)


@pytest.mark.slow
@linux
@pytest.mark.parametrize("driver", ["playout_fuzz", "mixer_fuzz"])
def test_any_calls_are_safe(tmp_path: Path, driver: str) -> None:
    """AddressSanitizer and UBSan report no error during 150,000 random calls."""
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = build(tmp_path, driver, compile_core(tmp_path, *sanitize), *sanitize)

    assert run(program, 1, 300, 500) == "300 runs of 500 calls\n"

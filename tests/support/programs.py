"""Runs Python programs in parallel. Each program has its own process and folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["run_all"]

# A program mostly waits for audio to be played, so several programs can run at once.
_AT_ONCE = 3
_TIMEOUT_SECONDS = 300


def run_all(
    programs: Mapping[str, list[str]], place: Path, env: Mapping[str, str] | None = None
) -> dict[str, subprocess.CompletedProcess[str]]:
    """
    Run all programs until they have ended.

    Args:
        programs: The arguments of the Python interpreter for each program, by name.
        place: A folder. Each program runs in its own folder inside this folder.
        env: The environment of the programs. None means the environment of this process.
    """

    def run(number: int, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        folder = place / str(number)
        folder.mkdir()
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ended = pool.map(run, range(len(programs)), programs.values())
        return dict(zip(programs, ended, strict=True))

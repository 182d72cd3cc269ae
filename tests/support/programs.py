"""Runs Python programs side by side, each in a process and a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["run_all"]

# Most of the time a program waits for sound to be heard.
_AT_ONCE = 3
_TIMEOUT_SECONDS = 300


def run_all(
    programs: Mapping[str, list[str]], place: Path, env: Mapping[str, str] | None = None
) -> dict[str, subprocess.CompletedProcess[str]]:
    """
    Run some programs to their ends.

    Args:
        programs: The arguments of Python for each, by name.
        place: Where each gets a folder to run in.
        env: The environment; None is that of this process.
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

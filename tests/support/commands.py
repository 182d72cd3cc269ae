"""Starts commands that SIGINT can end, and describes the results of commands."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import attrs


@attrs.frozen
class Done:
    """The exit status and the output of a command."""

    status: int
    out: bytes
    err: str


Run = Callable[..., Done]


def start_command(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """
    Start a process that SIGINT ends, even if the present process ignores SIGINT.

    ``nohup ... &`` and background steps of scripts start processes that ignore SIGINT. The children
    of these processes also ignore SIGINT. But if a process has a handler for a signal, this signal
    has the default action in a new child. So this function sets a handler before it starts the
    child, and restores the previous handler afterwards.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)

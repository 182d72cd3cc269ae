"""The result of a command, and a function that starts a command that SIGINT can end."""

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
    Start a process that SIGINT ends, even if this process ignores SIGINT.

    ``nohup ... &`` and background steps of scripts start processes that ignore SIGINT, and their
    children also ignore it. If a process has a handler for a signal, the signal has its default
    action in a new child. So this function sets a handler while it starts the child.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)

"""The result of a command, and how to start a command that Ctrl-C can end."""

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

    ``nohup ... &`` and the background steps of a script start processes that ignore SIGINT, and a
    child inherits that. A signal with a handler has its default action in the child, so this
    function sets a handler while it starts the child.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)

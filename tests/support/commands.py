"""What running a command gives, and how one is started that Ctrl-C shall end."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import attrs


@attrs.frozen
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: bytes
    err: str


Run = Callable[..., Done]


def start_command(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """
    Start a process that SIGINT ends, also when this one ignores SIGINT.

    ``nohup ... &`` and the background steps of a script start their processes with SIGINT ignored,
    and a child inherits that. A signal with a handler has its default action in the child; so this
    process has a handler while it starts the child.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, **options)
    finally:
        signal.signal(signal.SIGINT, before)

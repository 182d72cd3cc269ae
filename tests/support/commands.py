"""What running a command gives."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: bytes
    err: str


Run = Callable[..., Done]

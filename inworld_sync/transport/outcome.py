"""Reports whether a request or an attempt to connect succeeded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from inworld_sync.errors import InworldError

__all__ = ["reported"]


@contextlib.contextmanager
def reported(on_outcome: Callable[[InworldError | None], None] | None) -> Iterator[None]:
    """Call *on_outcome* with the error that the ``with`` block raises, or with None."""
    try:
        yield
    except InworldError as error:
        if on_outcome is not None:
            on_outcome(error)
        raise
    if on_outcome is not None:
        on_outcome(None)

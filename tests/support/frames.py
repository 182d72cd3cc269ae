"""Lists the variables of the package's frames in a traceback, as error reports show them."""

from __future__ import annotations

import traceback

__all__ = ["variables_of"]


def variables_of(error: BaseException | None) -> str:
    """Return the reprs of the variables in the package's frames, for an error and its causes."""
    texts: list[str] = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if str(frame.f_globals["__name__"]).startswith("inworld_sync."):
                texts += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)

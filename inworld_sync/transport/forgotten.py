"""Closes connections, streams and sessions that their users have dropped without ``close()``."""

from __future__ import annotations

import _thread
import contextlib
import threading
import warnings
import weakref
from collections.abc import Callable

__all__ = ["close_if_forgotten"]


def close_if_forgotten(
    handle: object, what: str, is_open: Callable[[], bool], close: Callable[[], object]
) -> Callable[[], object]:
    """
    Close the resources of an object of the user when the object is garbage-collected.

    Args:
        handle: The object. No thread of the package may keep a reference to this object.
        what: The name of the object, for the warning.
        is_open: Returns whether the object is still open. This function acquires no lock.
        close: Closes the resources of the object. This function runs on a thread of its own.
            Neither *is_open* nor *close* may have a reference to *handle*.

    Returns:
        A function to call when closing the object has begun. After this call, *close* is not
        called.
    """
    finalizer = weakref.finalize(handle, _close, what, is_open, close)
    finalizer.atexit = False
    return finalizer.detach


def _close(what: str, is_open: Callable[[], bool], close: Callable[[], object]) -> None:
    # The garbage collector calls this function on any thread, which may hold any lock. So the
    # function acquires no lock, and starts a thread without the locks of `threading`.
    if not is_open():
        return
    thread = threading.Thread(target=close, name=f"inworld-forgotten-{what}", daemon=True)
    # No thread can start while the interpreter ends.
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(thread.start, ())
    # The warning is the last step, since a program may turn warnings into exceptions.
    warnings.warn(
        f"{what} was not closed: call close(), or use it in a with block",
        ResourceWarning,
        stacklevel=2,
    )

"""Raises an exception at each point at which Python can run a signal handler."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["Interrupted", "interrupted", "returns"]

# Each call that the tests check takes less time than this.
_SECONDS = 30.0


class Interrupted(Exception):
    """The exception that :func:`interrupted` raises in place of a signal handler."""


def interrupted(call: Callable[[], object], point: int) -> bool:
    """
    Call a function, and raise :class:`Interrupted` in the function, as a signal handler does.

    Python runs handlers at many points. Only two kinds of points are counted: the start of a
    function, and the return of a C function.

    Args:
        call: The function. It runs on this thread.
        point: The number of the point, from 0.

    Returns:
        False if the call has no such point.
    """
    left = point

    def profile(_: FrameType, event: str, function: object) -> None:
        nonlocal left
        # Python runs no handler between the lock's __enter__ and the ``with`` block.
        is_enter = event == "c_return" and getattr(function, "__name__", "") == "__enter__"
        if event not in {"call", "c_return"} or is_enter:
            return
        left -= 1
        if left < 0:
            sys.setprofile(None)
            raise Interrupted

    # If a finalizer raises an exception, Python only passes it to this hook.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        sys.setprofile(profile)
        call()
    except Interrupted:
        return True
    finally:
        sys.setprofile(None)
        sys.unraisablehook = hook
    return left < 0


def returns(call: Callable[[], object]) -> bool:
    """Run a call on another thread, and return whether the call ends within 30 s."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return not thread.is_alive()

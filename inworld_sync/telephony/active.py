"""
Keeps the list of this process's calls in progress, for tools and for :func:`drain`.

Lock rule: ``_changed`` guards the list. Nothing is called while this lock is held.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from inworld_sync.errors import LocalProtocolError
from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_seconds
from inworld_sync.sessions.realtime.tool_runner import CURRENT_SESSION
from inworld_sync.telephony.calls import Call, CallStart
from inworld_sync.transport.deadline import LONGEST_TIMEOUT_SECONDS

__all__ = ["ActiveCall", "active_calls", "current_call", "drain", "find_call", "listed"]


class ActiveCall(Call, Protocol):
    """The methods of a call that this module uses."""

    @property
    def session(self) -> object:
        """The session of the call; None until the session is open."""
        ...

    def end_soon(self) -> None:
        """End the call after the present reply and the ``goodbye`` of its options, if any."""
        ...


_changed = Condition()
_calls: list[ActiveCall] = []


def active_calls() -> tuple[Call, ...]:
    """Return the calls in progress in this process, the oldest first."""
    with _changed:
        return tuple(_calls)


def find_call(call_id: str) -> Call | None:
    """Return the call in progress that has this id of the carrier; None if there is none."""
    for call in active_calls() if call_id else ():
        start: CallStart | None = call.start
        if start is not None and start.call_id == call_id:
            return call
    return None


def current_call() -> Call:
    """
    Return the phone call to which the running tool belongs. Use ``current_call()`` only in tools.

    Raises:
        LocalProtocolError: The calling code is not a tool of a phone call.
    """
    session = CURRENT_SESSION.get(None)
    with _changed:
        found = [call for call in _calls if session is not None and call.session is session]
    if not found:
        raise LocalProtocolError(
            "current_call() was used outside a tool of a phone call: use it only in a @tool "
            "function of the call's session"
        )
    return found[0]


def drain(timeout: float) -> int:
    """
    Wait until all calls of this process have ended, for example before a deployment.

    No call may begin during the wait: the program must refuse new calls in its webhook.

    Args:
        timeout: Seconds to wait. When half of this time has passed, each call that is still in
            progress is asked to end after its present reply and the ``goodbye`` of its options.

    Returns:
        The number of calls that have not ended.
    """
    require_seconds("timeout", timeout, is_zero_allowed=True)
    timeout = min(timeout, LONGEST_TIMEOUT_SECONDS)
    began = time.monotonic()
    with _changed:
        _changed.wait_for(lambda: not _calls, timeout / 2)
        calls = list(_calls)
    for call in calls:
        call.end_soon()
    with _changed:
        _changed.wait_for(lambda: not _calls, max(0.0, began + timeout - time.monotonic()))
        return len(_calls)


@contextlib.contextmanager
def listed(call: ActiveCall) -> Iterator[None]:
    """Keep a call in the list while the block runs."""
    with _changed:
        _calls.append(call)
    try:
        yield
    finally:
        with _changed:
            _calls.remove(call)
            _changed.notify_all()

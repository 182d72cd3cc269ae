"""
Opens the session of a call in the webhook, before the carrier connects the audio.

Opening a session takes a second or more. Without this module, the caller would hear nothing during
this time.

Threads: ``inworld-prepare-...`` opens one session, and closes the session if the call does not
come.

Lock rule: ``_changed`` guards all fields. No session is opened or closed while ``_changed`` is
held.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.locks import Condition
from inworld_sync.models.checks import require_seconds
from inworld_sync.sessions.realtime.session import RealtimeSession
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS

__all__ = ["PreparedSessions"]

_Open: TypeAlias = Callable[[], RealtimeSession]

_MAX_SESSIONS = 100


@attrs.define
class _Prepared:
    """A session that is being opened, or that waits for its call."""

    session: RealtimeSession | None = None
    is_ready: bool = False
    is_used: bool = False


class PreparedSessions:
    """
    Sessions that wait for their calls.

    Args:
        max_wait: Seconds after which a session without a call is closed.

    Thread safety: every method may be called from any thread.
    """

    def __init__(self, max_wait: float = 30.0) -> None:
        require_seconds("max_wait", max_wait)
        self._max_wait = max_wait
        self._changed = Condition()
        self._sessions: dict[str, _Prepared] = {}
        self._closed = False

    def open(self, call_id: str, connect: _Open) -> None:
        """
        Begin to open a session, and return at once. Call this method in the webhook.

        If 100 sessions wait already, this method does nothing, and :meth:`pop` opens the session.

        Args:
            call_id: The carrier's id of the call, such as ``CallSid`` of Twilio.
            connect: Opens the session.

        Raises:
            ConfigError: *call_id* is empty.
        """
        if not call_id:
            raise ConfigError("call_id must be the carrier's id of the call, got an empty text")
        with self._changed:
            if self._closed or call_id in self._sessions or len(self._sessions) >= _MAX_SESSIONS:
                return
            prepared = _Prepared()
            threading.Thread(
                target=self._run,
                args=(call_id, prepared, connect),
                name=f"inworld-prepare-{call_id}",
                daemon=True,
            ).start()
            self._sessions[call_id] = prepared

    def pop(self, call_id: str, connect: _Open) -> RealtimeSession:
        """
        Wait until the session of a call is open, and return this session. If :meth:`open` was not
        called for this call, open a session.

        Args:
            call_id: The carrier's id of the call.
            connect: Opens a session, if :meth:`open` was not called in this process or has failed.

        Raises:
            Exception: The error of *connect*.
        """
        with self._changed:
            prepared = self._sessions.pop(call_id, None)
            if prepared is not None:
                prepared.is_used = True
                while not prepared.is_ready:
                    # This loop ends, because ``connect`` has a timeout of its own.
                    self._changed.wait(LONGEST_WAIT_SECONDS)
                self._changed.notify_all()
                if prepared.session is not None and prepared.session.ended is None:
                    return prepared.session
        return connect()

    def close(self) -> None:
        """Close the sessions that wait for calls, and open no further sessions."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, call_id: str, prepared: _Prepared, connect: _Open) -> None:
        session = None
        # The user's function may raise any exception, or return an object that is not a session.
        # In both cases, pop() calls the function again. If this second attempt fails, pop() raises
        # the error.
        with contextlib.suppress(BaseException):
            opened: object = connect()
            session = opened if isinstance(opened, RealtimeSession) else None
        with self._changed:
            prepared.session, prepared.is_ready = session, True
            self._changed.notify_all()
            until = time.monotonic() + self._max_wait
            while not (prepared.is_used or self._closed) and time.monotonic() < until:
                self._changed.wait(min(until - time.monotonic(), LONGEST_WAIT_SECONDS))
            if prepared.is_used:
                return
            self._sessions.pop(call_id, None)
        if session is not None:
            session.close()

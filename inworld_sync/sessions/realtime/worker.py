"""
The thread that does what a realtime session has to do by itself.

The reader must not wait, so whatever may wait comes here: playing, interrupting, answering for
tools, and commands that follow from what the service said. One deed is done after the other, so
that sound and its interruption keep their order.

Lock rule: the session's monitor guards all fields; a deed runs without it.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from inworld_sync.errors import ClosedError, ConnectionLost, InworldError
from inworld_sync.sessions.event_stream import Monitor
from inworld_sync.transport.deadline import Deadline

__all__ = ["Worker"]

_Deed = Callable[[], object]

# Sound that may wait for a player, about five minutes of it; then the reader pauses.
MAX_WAITING_BYTES = 16 * 1024 * 1024

_LONGEST_WAIT_SECONDS = 60.0


class Worker:
    """
    Does deeds one after the other, on a thread of its own.

    Args:
        monitor: The session's.
        name: The session's, for the thread and logs.
        logger: Where a deed that fails is reported.
    """

    def __init__(self, monitor: Monitor, name: str, logger: logging.Logger) -> None:
        self._monitor = monitor
        self._name = name
        self._logger = logger
        self._ready = monitor.part()
        self._deeds: deque[tuple[_Deed, int]] = deque()
        self._timed: list[tuple[float, int, _Deed]] = []
        self._numbers = itertools.count()
        self._waiting_bytes = 0
        self._stopped = False
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"inworld-worker-{name}",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # The monitor is held.

    def put(self, deed: _Deed, size_bytes: int = 0) -> None:
        """Have *deed* done after those before it; *size_bytes* is the sound that it holds."""
        if not self._stopped:
            self._deeds.append((deed, size_bytes))
            self._waiting_bytes += size_bytes
            self._ready.notify()

    def put_later(self, seconds: float, deed: _Deed) -> None:
        """Have *deed* done so many seconds from now."""
        if not self._stopped:
            heapq.heappush(self._timed, (time.monotonic() + seconds, next(self._numbers), deed))
            self._ready.notify()

    def stop(self) -> None:
        """Take nothing more, and leave when what waits is done."""
        self._stopped = True
        self._timed.clear()
        self._ready.notify()

    @property
    def is_full(self) -> bool:
        """Whether so much waits that the reader should pause."""
        return self._waiting_bytes > MAX_WAITING_BYTES

    # The monitor is not held.

    def flush(self, deadline: Deadline) -> None:
        """
        Wait until all that was put before is done.

        Raises:
            DeadlineExceeded: It was not in time.
        """
        done = threading.Event()
        with self._monitor:
            if self._stopped and not self._deeds:
                return
            self._deeds.append((done.set, 0))
            self._ready.notify()
        if not done.wait(deadline.remaining()):
            raise deadline.error()

    def join(self, timeout: float) -> None:
        """Wait for the thread to leave; no-op on that thread itself."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (deed := self._next()) is not None:
            try:
                deed()
            except (ClosedError, ConnectionLost) as error:
                # The session is over or reconnects, which its users are told by other ways.
                self._logger.debug("%s: not done, since %s", self._name, error)
            except InworldError as error:
                self._logger.warning("%s: %s", self._name, error)
            except Exception:
                self._logger.exception("%s: the session failed to act", self._name)
            # A deed may hold much sound, or a handle that nobody else does.
            del deed

    def _next(self) -> _Deed | None:
        with self._monitor:
            while True:
                now = time.monotonic()
                if self._timed and self._timed[0][0] <= now:
                    return heapq.heappop(self._timed)[2]
                if self._deeds:
                    deed, size_bytes = self._deeds.popleft()
                    self._waiting_bytes -= size_bytes
                    self._monitor.notify_all()
                    return deed
                if self._stopped:
                    return None
                seconds = self._timed[0][0] - now if self._timed else _LONGEST_WAIT_SECONDS
                self._ready.wait(min(seconds, _LONGEST_WAIT_SECONDS))

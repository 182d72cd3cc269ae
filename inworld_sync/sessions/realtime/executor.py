"""
Runs the tasks of a realtime session on a thread.

The reader thread must not wait, so everything that may wait is a task: playing, interrupting,
sending tool outputs, and sending commands that follow from the service's messages. Tasks run one
after another, so that audio and its interruption keep their order.

Lock rule: the session's monitor guards all fields. Tasks run without the monitor.
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
from inworld_sync.locks import Event
from inworld_sync.sessions.monitor import Monitor, SessionThread, require_may_wait
from inworld_sync.transport.deadline import Deadline

__all__ = ["Executor"]

_Task = Callable[[], object]

# The reader pauses while more bytes of audio than this wait for a player. This is almost six
# minutes of 24 kHz PCM.
MAX_WAITING_BYTES = 16 * 1024 * 1024

_LONGEST_WAIT_SECONDS = 60.0


class Executor:
    """
    Runs tasks one after another on a thread of its own.

    Args:
        monitor: The monitor of the session.
        name: The name of the session, for the thread and logs.
        logger: Logs tasks that fail.

    Attributes:
        is_full: Whether the queue holds so much audio that the reader should pause.
    """

    def __init__(self, monitor: Monitor, name: str, logger: logging.Logger) -> None:
        self._monitor = monitor
        self._name = name
        self._logger = logger
        self._ready = monitor.part()
        self._tasks: deque[tuple[_Task, int]] = deque()
        self._timed: list[tuple[float, int, _Task]] = []
        self._numbers = itertools.count()
        self._waiting_bytes = 0
        self._is_running = False
        self.is_full = False
        self._stopped = False
        self._thread = SessionThread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"inworld-executor-{name}",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    # The callers of these methods hold the monitor.

    def put(self, task: _Task, size_bytes: int = 0) -> None:
        """Queue *task*, which holds *size_bytes* of audio."""
        if not self._stopped:
            self._tasks.append((task, size_bytes))
            self._waiting_bytes += size_bytes
            self.is_full = self._waiting_bytes > MAX_WAITING_BYTES
            self._monitor.has_full_queue |= self.is_full
            self._ready.notify()

    def put_later(self, seconds: float, task: _Task) -> None:
        """Run *task* after the given number of seconds."""
        if not self._stopped:
            heapq.heappush(self._timed, (time.monotonic() + seconds, next(self._numbers), task))
            self._ready.notify()

    def stop(self) -> None:
        """Accept no further tasks. The thread ends after the queued tasks."""
        self._stopped = True
        self._timed.clear()
        self._ready.notify()

    # The callers of these methods do not hold the monitor.

    @property
    def is_idle(self) -> bool:
        """Whether all queued tasks have run. Tasks of :meth:`put_later` are not counted."""
        return not (self._tasks or self._is_running)

    def flush(self, deadline: Deadline) -> None:
        """
        Wait until all tasks that are queued now have run.

        Raises:
            DeadlineExceeded: The tasks did not run in time.
            LocalProtocolError: The current thread is the executor, or another session thread.
        """
        require_may_wait("waiting for tasks of the session")
        done = Event()
        with self._monitor:
            if self._stopped and not self._tasks:
                return
            self._tasks.append((done.set, 0))
            self._ready.notify()
        if not done.wait(deadline.remaining()):
            raise deadline.error()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end. On this thread itself, return at once."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except (ClosedError, ConnectionLost) as error:
                # The session has ended or reconnects; the events of the session report this.
                self._logger.debug("%s: a task was not done: %s", self._name, error)
            except InworldError as error:
                self._logger.warning("%s: %s", self._name, error)
            except Exception:
                self._logger.exception("%s: a task of the session failed", self._name)
            # The task is freed now, because it may hold much audio or the last reference to a
            # response.
            del task

    def _next(self) -> _Task | None:
        with self._monitor:
            self._is_running = False
            while True:
                now = time.monotonic()
                if self._timed and self._timed[0][0] <= now:
                    return heapq.heappop(self._timed)[2]
                if self._tasks:
                    # This flag is set before popleft(), because is_idle reads the tasks and the
                    # flag without a lock.
                    self._is_running = True
                    task, size_bytes = self._tasks.popleft()
                    self._waiting_bytes -= size_bytes
                    self.is_full = self._waiting_bytes > MAX_WAITING_BYTES
                    self._monitor.notify_all()
                    return task
                if self._stopped:
                    return None
                seconds = self._timed[0][0] - now if self._timed else _LONGEST_WAIT_SECONDS
                self._ready.wait(min(seconds, _LONGEST_WAIT_SECONDS))

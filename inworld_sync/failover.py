"""
Chooses the endpoint of each call, when a client has several.

An endpoint is not used for ``PAUSE_SECONDS`` after ``MAX_FAILURES`` failures within
``WINDOW_SECONDS``. Then one call tries it again; its success makes the endpoint usable, and its
failure begins another pause. A call keeps its endpoint until its end, except that an utterance
without any audio so far may begin again on the next endpoint.

Lock rule: ``_lock`` guards the state of all endpoints. Nothing is called while it is held.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from inworld_sync.errors import (
    AuthError,
    InworldError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    TransportError,
)
from inworld_sync.models.options import Options
from inworld_sync.models.tts import ContextConfig, TtsUsage
from inworld_sync.sessions.tts.pool import AnyUtterance
from inworld_sync.sessions.tts.speech import AudioChunk
from inworld_sync.transport.observers import Observers

__all__ = ["Failover", "FailoverUtterance", "is_failure_of_endpoint"]

MAX_FAILURES = 3
WINDOW_SECONDS = 30.0
PAUSE_SECONDS = 10.0

# The name of the traces.
_NAME = "failover"


def is_failure_of_endpoint(error: BaseException) -> bool:
    """Return whether another endpoint may do what failed with *error*."""
    if isinstance(error, ServiceError):
        is_down = error.status is not None and error.status >= 500
        return isinstance(error, (AuthError, QuotaError)) or is_down or error.retryable
    return isinstance(error, (TransportError, RemoteProtocolError))


class _Health:
    """The failures of one endpoint."""

    def __init__(self) -> None:
        self.failures: deque[float] = deque(maxlen=MAX_FAILURES)
        # When the endpoint may be tried again; None while it is used as usual.
        self.tried_from: float | None = None

    def fail(self, now: float) -> None:
        self.failures.append(now)
        is_full = len(self.failures) == MAX_FAILURES
        if self.tried_from is not None or (is_full and self.failures[0] > now - WINDOW_SECONDS):
            self.tried_from = now + PAUSE_SECONDS

    def succeed(self) -> None:
        self.failures.clear()
        self.tried_from = None


class Failover:
    """
    The endpoints of a client, the preferred one first.

    Args:
        names: The address of each endpoint, for messages.
        options: Receives the log and the traces.
        clock: Returns the monotonic time.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        names: Sequence[str],
        options: Options,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._logger = options.logger
        self._observers = Observers(options, _NAME)
        self._clock = clock
        self._lock = threading.Lock()
        self._health = [_Health() for _ in names]
        self._present = 0

    def choose(self, tried: Collection[int] = ()) -> int:
        """
        Return the number of the endpoint for the next call.

        Args:
            tried: Endpoints on which the call has failed already.
        """
        now = self._clock()
        with self._lock:
            for number, health in enumerate(self._health):
                if number in tried:
                    continue
                if health.tried_from is None:
                    return number
                if health.tried_from <= now:
                    # Other calls do not try it before this one can have ended.
                    health.tried_from = now + PAUSE_SECONDS
                    return number
            # All are paused. The one whose pause ends first has the best chance.
            left = [number for number in range(len(self._health)) if number not in tried]
            return min(left or [0], key=lambda number: self._health[number].tried_from or now)

    def fail(self, number: int, error: BaseException) -> None:
        """Record that a call failed because of an endpoint; other errors are ignored."""
        if is_failure_of_endpoint(error):
            self._record(number, lambda health: health.fail(self._clock()), type(error).__name__)

    def succeed(self, number: int) -> None:
        """Record that an endpoint has answered a call."""
        # Without the lock, since this is called for each utterance and nearly always has no effect.
        health = self._health[number]
        if health.failures or health.tried_from is not None:
            self._record(number, lambda health: health.succeed(), "it answers again")

    def recorder(self, number: int) -> Callable[[InworldError | None], None]:
        """Return a function that records the outcome of a call: its error, or None."""

        def record(error: InworldError | None) -> None:
            if error is None:
                self.succeed(number)
            else:
                self.fail(number, error)

        return record

    def _record(self, number: int, change: Callable[[_Health], None], reason: str) -> None:
        with self._lock:
            change(self._health[number])
            usable = [n for n, health in enumerate(self._health) if health.tried_from is None]
            before, self._present = self._present, usable[0] if usable else self._present
            after = self._present
        if before == after:
            return
        names = {"from": self._names[before], "to": self._names[after], "reason": reason}
        self._logger.warning("calls go to %s instead of %s: %s", *self._pair(after, before), reason)
        self._observers.trace("endpoint_changed", time.monotonic(), names)

    def _pair(self, after: int, before: int) -> tuple[str, str]:
        return self._names[after], self._names[before]


class FailoverUtterance:
    """
    One utterance, on the first endpoint that answers.

    Args:
        failover: Chooses the endpoint.
        config: The settings of the utterance.
        make: Makes the utterance for the endpoint with a number. The text is the same each time.
        count: The number of endpoints.

    Thread safety: one thread iterates over :meth:`chunks`; any thread may call :meth:`stop`.

    Attributes:
        config: The settings of the utterance.
    """

    def __init__(
        self,
        failover: Failover,
        config: ContextConfig,
        make: Callable[[int], AnyUtterance],
        count: int,
    ) -> None:
        self._failover = failover
        self._make = make
        self._count = count
        self._present: AnyUtterance | None = None
        self._is_stopped = False
        self.config = config

    @property
    def state(self) -> str:
        """The state as text, for a repr."""
        return "not started" if self._present is None else self._present.state

    @property
    def usage(self) -> TtsUsage:
        """The service's counts so far."""
        return TtsUsage() if self._present is None else self._present.usage

    def stop(self) -> None:
        """Interrupt the utterance, and end an iteration that waits."""
        self._is_stopped = True
        if self._present is not None:
            self._present.stop()

    def chunks(self) -> Iterator[AudioChunk]:
        """Iterate over the audio. Raise the error of the last endpoint if all endpoints failed."""
        tried: list[int] = []
        while True:
            number = self._failover.choose(tried)
            self._present = utterance = self._make(number)
            # stop() may have found the previous utterance.
            if self._is_stopped:
                return
            has_audio = False
            try:
                for chunk in utterance.chunks():
                    if not has_audio:
                        has_audio = True
                        self._failover.succeed(number)
                    yield chunk
            except InworldError as error:
                self._failover.fail(number, error)
                tried.append(number)
                may_continue = not has_audio and is_failure_of_endpoint(error)
                if not may_continue or len(tried) == self._count or self._is_stopped:
                    raise
            else:
                return

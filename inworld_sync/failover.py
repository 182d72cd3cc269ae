"""
Chooses the endpoint of each call, when a client has several.

An endpoint is not used for ``PAUSE_SECONDS`` after ``MAX_FAILURES`` failures within
``WINDOW_SECONDS``. Then one call tries the endpoint again. If this call succeeds, the endpoint is
used again; if it fails, another pause begins. A call does not change its endpoint, with one
exception: an utterance that has no audio yet may begin again on the next endpoint.

Lock rule: ``_lock`` guards the state of all endpoints. No trace or log line is written while
``_lock`` is held.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, Literal, Protocol, TypeVar

from inworld_sync.auth import Endpoint
from inworld_sync.errors import (
    AuthError,
    ClosedError,
    InworldError,
    QuotaError,
    RemoteProtocolError,
    ServiceError,
    TransportError,
)
from inworld_sync.locks import make_lock
from inworld_sync.models.options import Options
from inworld_sync.models.tts import ContextConfig, TtsUsage
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.sessions.tts.speech import AnyUtterance, AudioChunk
from inworld_sync.transport.observers import Observers

__all__ = ["Endpoints", "Failover", "FailoverUtterance", "is_failure_of_endpoint"]

MAX_FAILURES = 3
WINDOW_SECONDS = 30.0
PAUSE_SECONDS = 10.0

# The name of the connection in all traces of this module.
_NAME = "failover"


def is_failure_of_endpoint(error: BaseException) -> bool:
    """Return whether a call that failed with *error* may succeed on another endpoint."""
    if isinstance(error, QuotaError) and error.code is None and error.status is None:
        # The limiter of this client had no place in time, so the service was not asked.
        return False
    if isinstance(error, ServiceError):
        is_down = error.status is not None and error.status >= 500
        return isinstance(error, (AuthError, QuotaError)) or is_down or error.retryable
    return isinstance(error, (TransportError, RemoteProtocolError))


class _Health:
    """The failures of one endpoint."""

    def __init__(self) -> None:
        self.failures: deque[float] = deque(maxlen=MAX_FAILURES)
        # The time at which the endpoint may be tried again; None while the endpoint is in use.
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
        clock: Returns the monotonic time in seconds.

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
        self._lock = make_lock()
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
                    # Other calls do not try this endpoint for the length of a pause, because this
                    # call tries it.
                    health.tried_from = now + PAUSE_SECONDS
                    return number
            # All endpoints are paused. The endpoint whose pause ends first has the best chance to
            # work.
            left = [number for number in range(len(self._health)) if number not in tried]
            return min(left or [0], key=lambda number: self._health[number].tried_from or now)

    def fail(self, number: int, error: BaseException) -> None:
        """Record that a call failed because of an endpoint; other errors are ignored."""
        if is_failure_of_endpoint(error):
            self._record(number, lambda health: health.fail(self._clock()), type(error).__name__)

    def succeed(self, number: int) -> None:
        """Record that an endpoint has answered a call."""
        # The lock is not held for this check, because each utterance makes this check, and a change
        # is rarely needed.
        health = self._health[number]
        if health.failures or health.tried_from is not None:
            self._record(number, lambda health: health.succeed(), "it answers again")

    def recorder(self, number: int) -> Callable[[InworldError | None], None]:
        """Return a function that records the outcome of a call, which is an error or None."""

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


class EndpointClient(Protocol):
    """The client of one endpoint."""

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        ...

    def close(self) -> None:
        """Close all connections."""

    def _report_to(self, on_outcome: Callable[[InworldError | None], None]) -> None:
        """Call *on_outcome* with the outcome of each request and each connection."""


C = TypeVar("C", bound=EndpointClient)


class Endpoints(Generic[C]):
    """
    The clients of several endpoints. Each client is created when it is needed.

    Args:
        first: The client of the preferred endpoint.
        further: The other endpoints.
        options: The settings of *first*.
        make: Makes the client of another endpoint.

    Lock rule: ``_lock`` guards the list of clients. ``_lock`` is held while a client is created.
    Creating a client opens no connection, but may start the emulator.

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        first: C,
        further: Sequence[Endpoint | Literal["local"]],
        options: Options,
        make: Callable[[Endpoint | Literal["local"]], C],
    ) -> None:
        own = options.base_url
        names = [own, *(e if e == "local" else e.base_url or own for e in further)]
        self._own = [number for number, name in enumerate(names) if name == own]
        labels = [
            f"{name} (endpoint {number})" if names.count(name) > 1 else name
            for number, name in enumerate(names, 1)
        ]
        self._failover = Failover(labels, options)
        self._first = first
        self._further = further
        self._make = make
        self._lock = make_lock()
        self._made: dict[int, C] = {}
        self._is_closed = False
        first._report_to(self._failover.recorder(0))  # noqa: SLF001 - users do not need it

    def chosen(self) -> C:
        """Return the client for the next call."""
        return self.client(self._failover.choose())

    def client(self, number: int) -> C:
        """
        Return the client of an endpoint.

        Raises:
            ClosedError: The client of the user was closed.
        """
        if number == 0:
            return self._first
        with self._lock:
            if self._is_closed:
                raise ClosedError("the client was closed, make another")
            client = self._made.get(number)
            if client is None:
                client = self._make(self._further[number - 1])
                client._report_to(self._failover.recorder(number))  # noqa: SLF001
                self._made[number] = client
            return client

    def route(self, config: ContextConfig, make: Callable[[Tts], AnyUtterance]) -> AnyUtterance:
        """Return an utterance, which begins on the endpoint that is chosen for this call."""
        return FailoverUtterance(
            self._failover,
            config,
            lambda number: make(self.client(number).tts),
            len(self._further) + 1,
            self._own,
        )

    def close(self) -> None:
        """Close the clients of the further endpoints."""
        with self._lock:
            self._is_closed = True
            made = list(self._made.values())
        with contextlib.ExitStack() as rest:
            for client in made:
                rest.callback(client.close)


class FailoverUtterance:
    """
    One utterance, on the first endpoint that answers.

    Args:
        failover: Chooses the endpoint.
        config: The settings of the utterance.
        make: Makes the utterance for the endpoint with the given number. The text is always the
            same.
        count: The number of endpoints.
        own: The numbers of the endpoints that have the same address as the user's client.

    Thread safety: one thread iterates over :meth:`chunks`; any thread may call :meth:`stop`.

    Attributes:
        config: The settings of the utterance.
        from_cache: Always False.
        is_own_service: Whether the present endpoint has the same address as the user's client.
    """

    from_cache = False

    def __init__(
        self,
        failover: Failover,
        config: ContextConfig,
        make: Callable[[int], AnyUtterance],
        count: int,
        own: Collection[int],
    ) -> None:
        self._failover = failover
        self._make = make
        self._count = count
        self._own = own
        self.is_own_service = True
        self._present: AnyUtterance | None = None
        self._is_stopped = False
        self.config = config

    @property
    def state(self) -> str:
        """The state as text, for a repr."""
        return "not started" if self._present is None else self._present.state

    @property
    def usage(self) -> TtsUsage:
        """The characters that the service has counted so far."""
        return TtsUsage() if self._present is None else self._present.usage

    @property
    def is_read_here(self) -> bool:
        """Whether the current thread is running the iterator of the text."""
        return self._present is not None and self._present.is_read_here

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
            self.is_own_service = number in self._own
            self._present = utterance = self._make(number)
            # stop() may have stopped only the previous utterance.
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

"""
Defines the base class of TTS contexts, STT streams and realtime sessions. The class has four ways
to receive events.

Locks: none; see ``event_stream.py`` for the lock of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, TypeVar, overload

from inworld_sync.errors import ConfigError
from inworld_sync.models.events import StreamEnded
from inworld_sync.sessions.event_stream import EventStream, Subscription

__all__ = ["EventSource", "subscribe_without_pause"]

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., object])
K = TypeVar("K")

# An error lists the event classes of a source unless the source has more classes than this.
_MAX_LISTED_CLASSES = 12


class EventSource(Generic[E]):
    """
    An object whose events are received by iteration, handlers, queues or polling.

    Events are buffered until the first consumer attaches. Every consumer gets every event.
    A subclass sets the two class attributes and passes its stream to the constructor.

    Thread safety: every method may be called from any thread.

    Attributes:
        _description: The kind of object, for errors, such as "a TTS context".
        _event_classes: The classes of all events, without :class:`StreamEnded`.
    """

    _description: ClassVar[str]
    _event_classes: ClassVar[tuple[type, ...]]

    def __init__(self, stream: EventStream[E]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[E]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[E]:
        """
        Iterate over the events until the stream ends; all calls share one position in the stream.

        Args:
            timeout: The largest number of seconds to wait for each event; None waits without a
                limit.

        Raises:
            DeadlineExceeded: No event came in time. A new iteration continues with the next event.
            InworldError: The stream ended before its work was done.
            ConfigError: *timeout* is not a number.
        """
        return _holding(self, self._iterate(timeout))

    def _iterate(self, timeout: float | None) -> Iterator[E]:
        """Implement :meth:`events`. A subclass overrides this method to inspect the events."""
        return self._stream.events(timeout)

    @overload
    def on(self, kind: type[K], handler: Callable[[K], object]) -> Callable[[K], object]: ...
    @overload
    def on(self, kind: str, handler: F) -> F: ...
    def on(self, kind: type | str, handler: Callable[..., object]) -> Callable[..., object]:
        """
        Call *handler* with every event of a class or name.

        Handlers run one after another, in the order of the events, on a dispatch thread of the
        stream. With ``Inworld(dispatch="poll")`` handlers run inside :meth:`poll`. The handlers
        have the context variables of the caller of :meth:`on`. Only the first exception of a
        handler is logged. :attr:`handler_errors` counts all exceptions. A handler of
        :class:`StreamEnded` is called exactly once, after all events.

        Args:
            kind: An event class, or a base class of event classes. Instead, a text with the name of
                an event class or of a message of the service. A message without a class arrives as
                :class:`~inworld_sync.UnknownEvent`.
            handler: Called with the event as its only argument.

        Returns:
            *handler*.

        Raises:
            ConfigError: This object never emits events of the class *kind*, *kind* is neither a
                class nor a text, or *handler* cannot be called.
        """
        if isinstance(kind, type):
            self._require_emitted(kind)
        return self._stream.on(kind, handler)

    def subscribe(self, maxsize: int | None = None) -> Subscription[E]:
        """
        Open a queue of events. Iterate over the queue or call its ``get``.

        Args:
            maxsize: If this many events wait in the queue, the client stops reading from the
                connection. With None, only the bytes of the events are limited.

        Raises:
            ConfigError: *maxsize* is not an integer of at least 1.
        """
        subscription = self._stream.subscribe(maxsize)
        subscription.source = self
        return subscription

    def poll(self, budget_ms: float = 2.0) -> int:
        """
        Run handlers for the events that wait, on the calling thread.

        Args:
            budget_ms: After this many milliseconds, no handler is started for another event.

        Returns:
            How many events were handled.

        Raises:
            LocalProtocolError: The client was made without ``dispatch="poll"``.
            ConfigError: *budget_ms* is negative or not a number.
        """
        return self._stream.poll(budget_ms)

    @property
    def ended(self) -> StreamEnded | None:
        """How the stream ended; None while it is open."""
        return self._stream.ended

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of events wait for the slowest consumer."""
        return self._stream.waiting_bytes

    @property
    def handler_errors(self) -> int:
        """How many times a handler raised an exception, or a tool's result could not be sent."""
        return self._stream.handler_errors

    def _require_emitted(self, kind: type) -> None:
        emitted = (*self._event_classes, StreamEnded)
        try:
            if any(issubclass(event_class, kind) for event_class in emitted):
                return
        except TypeError as error:
            raise ConfigError(f"kind must be a class of events, got {kind!r}: {error}") from None
        import difflib  # for errors only

        by_name = {event_class.__name__: event_class for event_class in emitted}
        wanted = kind.__name__
        near = [name for name in by_name if name in wanted or wanted in name]
        if len(near) != 1:
            near = difflib.get_close_matches(wanted, by_name)
        advice = ""
        if near:
            names = " or ".join(_public_name(by_name[name]) for name in near)
            advice = f"; did you mean {names}?"
        elif len(by_name) <= _MAX_LISTED_CLASSES:
            advice = f"; its event classes are {', '.join(sorted(by_name))}"
        raise ConfigError(f"{self._description} never emits {_public_name(kind)}{advice}")


def _holding(source: object, events: Iterator[E]) -> Iterator[E]:  # noqa: ARG001
    """Iterate over events. Hold a reference to *source*, because a dropped source would end."""
    yield from events


def _public_name(kind: type) -> str:
    """Return the name under which a user imports a class."""
    package, _, rest = kind.__module__.partition(".")
    if package != __name__.partition(".")[0]:
        return f"{kind.__module__}.{kind.__qualname__}"
    # The public classes of realtime sessions are in one module. All other public classes are at the
    # top of the package.
    module = f"{package}.realtime" if "realtime" in rest.split(".") else package
    return f"{module}.{kind.__qualname__}"


def subscribe_without_pause(source: EventSource[E]) -> Subscription[E]:
    """Open a queue. If it is not read, it ends with an error, and does not delay the source."""
    subscription = source._stream.subscribe(pauses=False)  # noqa: SLF001
    subscription.source = source
    return subscription

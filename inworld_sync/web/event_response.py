"""
Makes responses of server-sent events.

The body of a response waits for events on the thread of the request. If nothing was sent for 15
seconds, the body sends a comment. The comment keeps proxies from closing the connection. The
comment also shows the server whether the browser has left.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, overload

from inworld_sync.errors import ClosedError, ConfigError, DeadlineExceeded, InworldError
from inworld_sync.sessions.event_source import EventSource, subscribe_without_pause
from inworld_sync.web.audio_response import STREAM_HEADERS
from inworld_sync.web.event_format import END, PING, RETRY, EventFormat, failed, write_event
from inworld_sync.web.failures import log, respond_error
from inworld_sync.web.frameworks import EmptyBody, web_request

if TYPE_CHECKING:
    import flask
    from django.http import HttpRequest, HttpResponseBase

__all__ = ["EVENT_HEADERS", "EventBody", "EventFeed", "sse_response"]

_E = TypeVar("_E")

EVENT_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", **STREAM_HEADERS}
# Proxies such as nginx close a connection that was silent for 60 seconds.
_PING_SECONDS = 15.0


class EventFeed(Protocol):
    """The events of one response."""

    def read(self, timeout: float) -> bytes | None:
        """
        Wait up to *timeout* seconds, and return the next events as bytes.

        The result is empty if there was no event, and None after the last event.
        """
        ...

    def close(self) -> None:
        """End a :meth:`read` that waits. This method may be called twice, and from any thread."""


class EventBody:
    """The blocks of a response: the events of a feed, with comments in between."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._first = RETRY

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            # With this first block, the browser learns at once that the stream is open.
            return first
        until = time.monotonic() + _PING_SECONDS
        while (left := until - time.monotonic()) > 0:
            events = self._feed.read(left)
            if events is None:
                raise StopIteration
            if events:
                return events
        return PING

    def close(self) -> None:
        """Receive no more events."""
        self._feed.close()


class _SourceFeed(Generic[_E]):
    """The events of a context, stream or session. The program may read these events too."""

    def __init__(self, source: EventSource[_E]) -> None:
        self._source = source
        self._queue = subscribe_without_pause(source)
        self._format = EventFormat()
        self._has_ended = False

    def read(self, timeout: float) -> bytes | None:
        if self._has_ended:
            return None
        # After the end of the source, the queue does not wait: it returns the remaining events, and
        # then raises the error of the end.
        had_ended = self._source.ended is not None
        try:
            events = self._format.add(self._queue.get(timeout))
        except InworldError as error:
            if isinstance(error, DeadlineExceeded) and not had_ended:
                return b""
            self._has_ended = True
            events = [END] if _is_regular_end(error, self._source) else [failed(log(error))]
        return b"".join(map(write_event, events))

    def close(self) -> None:
        self._queue.close()


def _is_regular_end(error: InworldError, source: EventSource[_E]) -> bool:
    return isinstance(error, ClosedError) and (source.ended is None or source.ended.error is None)


@overload
def sse_response(request: flask.Request, source: EventSource[_E]) -> flask.Response: ...
@overload
def sse_response(request: HttpRequest, source: EventSource[_E]) -> HttpResponseBase: ...
def sse_response(request: object, source: EventSource[_E]) -> object:
    """
    Make a response that sends words and transcripts to a browser as server-sent events.

    The response has the events that occur after this call. The last event is ``end``, or ``failed``
    if the source ends with an error. If the source has already ended with an error, the response
    has a status of at least 400 and a JSON body.

    The events have no ``id``, because a browser that connects again cannot get the events that it
    has missed. The events of :meth:`Utterances.sse_response` have an ``id``.

    Args:
        request: ``flask.request``, or the ``HttpRequest`` that Django passes to the view.
        source: A realtime session, an STT stream or a TTS context. The source stays open when the
            browser leaves.

    Returns:
        A ``Response`` of Flask, or a response of Django. Under ASGI, Django's response has an
        asynchronous iterator.

    Raises:
        ConfigError: *request* or *source* is wrong.

    Thread safety: may be called from any thread.
    """
    web = web_request(request)
    if not isinstance(source, EventSource):
        raise ConfigError(
            "source must be a realtime session, an STT stream or a TTS context, got "
            f"{type(source).__name__}"
        )
    if source.ended is not None and source.ended.error is not None:
        return respond_error(web, source.ended.error)
    if web.method == "HEAD":
        return web.respond(200, EVENT_HEADERS, EmptyBody())
    return web.respond(200, EVENT_HEADERS, EventBody(_SourceFeed(source)))

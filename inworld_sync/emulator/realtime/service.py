"""
Serves the Realtime WebSocket. The credential is checked at the upgrade, then a session begins.
``run_session`` also runs the sessions of WebRTC.

The second and the third path of ``ROUTES`` are for clients of OpenAI's service.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from inworld_sync.emulator.json_text import read_json
from inworld_sync.emulator.peer import PeerGone, WebSocketPeer
from inworld_sync.emulator.realtime.audio_path import EventAudio
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.events import EventPeer, EventSender, InvalidRequest, new_id
from inworld_sync.emulator.realtime.session import Session
from inworld_sync.emulator.routes import WebSocketRoute
from inworld_sync.emulator.shared_state import SharedState

__all__ = ["ROUTES", "SessionPeer", "run_session"]

_PATH = "/api/v1/realtime/session"
_OPENAI_PATHS = ("/v1/realtime", "/api/v1/realtime")
_logger = logging.getLogger("inworld_sync.emulator")


class SessionPeer(EventPeer, Protocol):
    """A client whose events can be received."""

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """
        Wait for the next message, which is text for events. With WebRTC, bytes are audio.

        Returns:
            The message; None after the end of the connection.

        Raises:
            TimeoutError: There was no message within *timeout* seconds.
        """
        ...


def _serve(peer: WebSocketPeer, shared: SharedState) -> None:
    openai = peer.request.path in _OPENAI_PATHS
    headers = peer.request.headers
    asks_for_beta = "realtime=v1" in headers.get("openai-beta", "") or (
        "openai-beta.realtime-v1" in headers.get("sec-websocket-protocol", "")
    )
    settings = shared.settings.realtime
    events = EventSender(
        peer,
        beta_names=asks_for_beta or settings.beta_names,
        explains_errors=settings.explains_errors,
    )
    model = peer.request.query_value("model")
    config = SessionConfig.start(new_id("sess"), model=model, openai=openai)
    audio = EventAudio(events, with_buffer_events=settings.output_buffer_events)
    run_session(Session(shared, events, config, audio), peer)


def run_session(session: Session, peer: SessionPeer) -> None:
    """Run a session until its client disconnects. Then end the connection and all responses."""
    settings = session.shared.settings.realtime
    limiter = _Limiter(settings.max_events_per_second)
    try:
        session.start()
        for message in _messages(peer, session.events, settings.ping_interval):
            _handle(session, limiter, message)
    finally:
        peer.close()
        session.stop()


ROUTES = tuple(
    WebSocketRoute(path=path, handler=_serve, checked_at_upgrade=True)
    for path in (_PATH, *_OPENAI_PATHS)
)


class _Limiter:
    """Limits the number of events in one second. 0 means no limit."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._times: deque[float] = deque()

    def check(self) -> None:
        """Count an event; raise InvalidRequest if there are too many."""
        now = time.monotonic()
        while self._times and now - self._times[0] >= 1:
            self._times.popleft()
        if self._per_second and len(self._times) >= self._per_second:
            raise InvalidRequest(
                "rate_limit_exceeded",
                f"Rate limit reached: {self._per_second} events per second.",
                kind="rate_limit_error",
            )
        self._times.append(now)


def _messages(
    peer: SessionPeer, events: EventSender, ping_interval: float
) -> Iterator[str | bytes]:
    """Yield the client's messages. Send ``ping`` at an interval; with 0, send no ``ping``."""
    due = time.monotonic() + ping_interval
    while True:
        left = due - time.monotonic() if ping_interval else None
        if left is not None and left <= 0:
            events.send("ping", timestamp=time.time_ns() // 1_000_000)
            due = time.monotonic() + ping_interval
            continue
        try:
            message = peer.receive(left)
        except TimeoutError:
            continue
        if message is None:
            return
        yield message


def _handle(session: Session, limiter: _Limiter, message: str | bytes) -> None:
    event_id: object = None
    events = session.events
    try:
        if isinstance(message, bytes) and session.uses_tracks:
            session.append_audio(message)
            return
        event = _parsed(message)
        event_id = event.get("event_id")
        if event.get("type") != "input_audio_buffer.append":
            limiter.check()
        session.handle(event)
    except InvalidRequest as error:
        events.error(error, event_id if isinstance(event_id, str) else None)
    except PeerGone:
        raise
    except Exception as error:
        # If an engine fails, only this event fails, and the session continues.
        _logger.exception("a realtime event failed")
        events.error(InvalidRequest.failed(error))


def _parsed(message: str | bytes) -> Json:
    try:
        value = read_json(message) if isinstance(message, str) else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("invalid_json", "An event must be a JSON object in a text frame.")
    return value

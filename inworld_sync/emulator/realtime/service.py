"""
The Realtime WebSocket: credentials at the upgrade, then a session.

The second and third path are those of OpenAI's service, for its clients.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from inworld_sync.emulator.backend import Backend
from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.realtime.config import Json, SessionConfig
from inworld_sync.emulator.realtime.events import EventSender, InvalidRequest, new_id
from inworld_sync.emulator.realtime.replies import ReplyMaker
from inworld_sync.emulator.realtime.rules import answer
from inworld_sync.emulator.realtime.session import Session
from inworld_sync.emulator.routes import Route, WebSocketRoute

__all__ = ["RealtimeService"]

_PATH = "/api/v1/realtime/session"
_OPENAI_PATHS = ("/v1/realtime", "/api/v1/realtime")
_logger = logging.getLogger("inworld_sync.emulator")


class RealtimeService:
    """
    Serves sessions; thread-safe, one instance serves all connections.

    Args:
        backend: The server's.
        maker: Makes replies instead of the built-in rules.
    """

    def __init__(self, backend: Backend, maker: ReplyMaker | None = None) -> None:
        self._backend = backend
        self._maker = maker or answer

    def routes(self) -> Iterable[Route]:
        """Return the WebSocket endpoints."""
        return [
            WebSocketRoute(path=path, handler=self._serve, checked_at_upgrade=True)
            for path in (_PATH, *_OPENAI_PATHS)
        ]

    def _serve(self, peer: WebSocketPeer) -> None:
        openai = peer.request.path in _OPENAI_PATHS
        asks_for_beta = "realtime=v1" in peer.request.headers.get("openai-beta", "")
        beta_names = asks_for_beta or self._backend.settings.realtime.beta_names
        events = EventSender(peer, beta_names=beta_names)
        config = SessionConfig.start(
            new_id("sess"), model=peer.request.query_value("model"), openai=openai
        )
        session = Session(self._backend, events, self._maker, config)
        try:
            session.start()
            for message in peer.messages():
                self._handle(session, events, message)
        finally:
            peer.close()
            session.stop()

    def _handle(self, session: Session, events: EventSender, message: str | bytes) -> None:
        event_id: object = None
        try:
            event = _parsed(message)
            event_id = event.get("event_id")
            session.handle(event)
        except InvalidRequest as error:
            events.error(
                "invalid_request_error",
                error.code,
                error.message,
                param=error.param,
                client_event_id=event_id if isinstance(event_id, str) else None,
            )


def _parsed(message: str | bytes) -> Json:
    try:
        value = json.loads(message) if isinstance(message, str) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("invalid_json", "An event must be a JSON object in a text frame.")
    return value

"""
The table of paths: every service adds its rows, the connection looks them up.

A service is an object with a method ``routes`` that returns its rows; the server asks each one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import attrs

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.peer import WebSocketPeer

__all__ = ["HttpRoute", "Route", "Routes", "Service", "WebSocketRoute"]


@attrs.frozen(kw_only=True)
class WebSocketRoute:
    """
    One WebSocket endpoint.

    Attributes:
        path: Exact and decoded.
        handler: Runs on the connection's thread; the connection is closed when it returns.
        checked_at_upgrade: Refuse bad credentials with an HTTP status. Otherwise everything is
            upgraded and the handler judges the credential at the first message.
    """

    path: str
    handler: Callable[[WebSocketPeer], None]
    checked_at_upgrade: bool = False


@attrs.frozen(kw_only=True)
class HttpRoute:
    """
    One HTTP endpoint.

    Attributes:
        method: In capitals.
        path: May hold ``{name}`` for one part of the path.
        handler: Gets the request and the named parts; called on the connection's thread.
    """

    method: str
    path: str
    handler: Callable[[Request, Mapping[str, str]], Response]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the named parts if *path* is this route's, else None."""
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(self.path))
        found = re.fullmatch(pattern, path)
        return found.groupdict() if found else None


Route = WebSocketRoute | HttpRoute


class Service(Protocol):
    """A part of the server: TTS, STT, Realtime, voices, tokens."""

    def routes(self) -> Iterable[Route]:
        """Return the rows of this service."""
        ...


class Routes:
    """All rows; frozen once made."""

    def __init__(self, services: Iterable[Service]) -> None:
        rows = [row for service in services for row in service.routes()]
        self._websocket = {row.path: row for row in rows if isinstance(row, WebSocketRoute)}
        self._http = [row for row in rows if isinstance(row, HttpRoute)]

    def websocket(self, path: str) -> WebSocketRoute | None:
        """Find a WebSocket endpoint."""
        return self._websocket.get(path)

    def http(self, method: str, path: str) -> tuple[HttpRoute, dict[str, str]] | None:
        """Find an HTTP endpoint and the named parts of the path."""
        for row in self._http:
            if row.method == method and (parts := row.match(path)) is not None:
                return row, parts
        return None

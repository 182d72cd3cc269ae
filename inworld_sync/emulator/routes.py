"""
Defines the table of endpoints. Each service adds rows, and the connection looks up the path of a
request.

Handlers run on the connection's thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import attrs

from inworld_sync.emulator.http import Request, Response
from inworld_sync.emulator.peer import WebSocketPeer
from inworld_sync.emulator.shared_state import SharedState

__all__ = ["HttpRoute", "Route", "Routes", "WebSocketRoute"]


@attrs.frozen(kw_only=True)
class WebSocketRoute:
    """
    One WebSocket endpoint.

    Attributes:
        path: The exact path, percent-decoded.
        handler: A function that serves one connection. The connection is closed when the function
            returns.
        checked_at_upgrade: Whether a bad credential is refused with an HTTP status. Otherwise every
            request is upgraded, and the handler checks the credential at the first message.
    """

    path: str
    handler: Callable[[WebSocketPeer, SharedState], None]
    checked_at_upgrade: bool = False


@attrs.frozen(kw_only=True)
class HttpRoute:
    """
    One HTTP endpoint.

    Attributes:
        method: The method, in capitals.
        path: The path, percent-decoded. ``*`` matches one segment.
        handler: A function that makes the response to one request. It may raise Refused.
        is_signed: Whether the handler checks a signature instead of the credential.
        takes_single_use: Whether a single-use token is accepted.
        has_openai_errors: Whether a refused credential gets 401 with a text instead of JSON.
    """

    method: str
    path: str
    handler: Callable[[Request, SharedState], Response]
    is_signed: bool = False
    takes_single_use: bool = True
    has_openai_errors: bool = False

    def matches(self, request: Request) -> bool:
        """Whether a request is for this endpoint."""
        pattern = re.escape(self.path).replace(r"\*", "[^/:]+")
        return self.method == request.method and bool(re.fullmatch(pattern, request.path))


Route = WebSocketRoute | HttpRoute


class Routes:
    """All endpoints. The table is not changed after it is made."""

    def __init__(self, rows: Iterable[Route]) -> None:
        rows = list(rows)
        self._websocket = {row.path: row for row in rows if isinstance(row, WebSocketRoute)}
        self._http = [row for row in rows if isinstance(row, HttpRoute)]

    def websocket(self, path: str) -> WebSocketRoute | None:
        """Return the WebSocket endpoint with this path, or None."""
        return self._websocket.get(path)

    def http(self, request: Request) -> HttpRoute | None:
        """Return the HTTP endpoint for a request, or None."""
        return next((row for row in self._http if row.matches(request)), None)

"""
Accepts game engines on the loopback interface.

The server refuses web pages, except pages of *allowed_origins*. It checks two headers that a
browser sends for a page: ``Origin`` has the site of the page, and ``Host`` has the host name to
which the page connects.

Threads: ``inworld-engines`` accepts connections. Each connection has a thread ``inworld-engine-N``.
The websockets library has two more threads for each connection, which read the socket and send
pings.
"""

from __future__ import annotations

import atexit
import contextlib
import http
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from inworld_sync.client import Inworld
from inworld_sync.errors import ConfigError
from inworld_sync.games.engines.connection import EngineConnection, EngineSettings
from inworld_sync.games.engines.messages import MAX_TOKEN, is_token
from inworld_sync.locks import Condition, Event, imports
from inworld_sync.models.checks import require_whole
from inworld_sync.models.realtime import Session
from inworld_sync.secret import Secret
from inworld_sync.transport.deadline import LONGEST_WAIT_SECONDS, Deadline

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import Server, ServerConnection

__all__ = ["DEFAULT_PORT", "EngineServer", "serve"]

DEFAULT_PORT = 8970

_HOST = "127.0.0.1"
_LOOPBACK_NAMES = {"127.0.0.1", "localhost", "::1"}

_MAX_MESSAGE_BYTES = 65_536
_OPEN_SECONDS = 5.0
_CLOSE_SECONDS = 1.0
# A game that loads a level may answer no pings for a while, so these times are long.
_PING_SECONDS, _PONG_SECONDS = 20.0, 40.0
_JOIN_SECONDS = 10.0
_TRY_AGAIN_LATER = 1013

# The websockets library logs each connection, and at level DEBUG also the headers of each request.
# This logger drops these messages.
_no_logger = logging.Logger("inworld_sync.games.websockets", logging.CRITICAL)  # noqa: LOG001


def serve(
    port: int = DEFAULT_PORT,
    *,
    client: Inworld | None = None,
    session: Session | None = None,
    token: str | None = None,
    allowed_origins: Sequence[str] = (),
    max_engines: int = 4,
    logger: logging.Logger | None = None,
) -> EngineServer:
    """
    Serve game engines on the loopback interface, and return at once. The extra ``games`` is needed.

    An engine connects to ``ws://127.0.0.1:8970/`` and follows the protocol of ``docs/engines.md``.
    Only programs on this machine can connect. Web pages are refused, except those of
    *allowed_origins*.

    Args:
        port: The port; 0 chooses a free port.
        client: Speaks the lines and opens the conversations. None creates a client, which the
            server closes. The server does not close a client that you pass.
        session: The settings of every conversation, such as its tools. An engine may replace the
            instructions, the voice and the model, and may switch off the detection of turns.
        token: A text that each engine must send. Without a token, every program on this machine
            may connect.
        allowed_origins: Web pages that may connect, such as ``http://localhost:8060`` for a game
            that was exported to the web.
        max_engines: How many engines may be connected at the same time, 1 to 64.
        logger: Receives the log; ``logging.getLogger("inworld_sync")`` by default.

    Returns:
        The server, which is a context manager.

    Raises:
        ConfigError: An argument is wrong, or the new client has no credential.
        OSError: The port is in use.
        ModuleNotFoundError: The extra ``games`` is not installed.
    """
    return EngineServer(
        port,
        client=client,
        session=session,
        token=token,
        allowed_origins=allowed_origins,
        max_engines=max_engines,
        logger=logger,
    )


class EngineServer:
    """
    A server for game engines. :func:`serve` makes the server, and describes the arguments.

    Thread safety: every method may be called from any thread.

    Attributes:
        port: The port on which the server listens.
        url: The address for the engines.
    """

    def __init__(
        self,
        port: int,
        *,
        client: Inworld | None,
        session: Session | None,
        token: str | None,
        allowed_origins: Sequence[str],
        max_engines: int,
        logger: logging.Logger | None,
    ) -> None:
        require_whole("port", port, 0, 65535)
        require_whole("max_engines", max_engines, 1, 64)
        if token is not None and not is_token(token):
            raise ConfigError(
                f"token must be a text of 1 to {MAX_TOKEN} characters that is not blank, or None"
            )
        if session is not None and not isinstance(session, Session):
            raise ConfigError(f"session must be a Session or None, got {type(session).__name__}")
        self._origins = _origins(allowed_origins)
        self._settings = EngineSettings(
            session=session,
            token=None if token is None else Secret(token),
            logger=logger or logging.getLogger("inworld_sync"),
        )
        listen = _listen()
        self._max_engines = max_engines
        self._numbers = itertools.count(1)
        self._changed = Condition()
        self._engines: set[EngineConnection] = set()
        self._is_over = Event()
        self._is_shut_down = False
        self._client = Inworld() if client is None else client
        self._owns_client = client is None
        try:
            self._server = listen(
                self._run,
                _HOST,
                port,
                process_request=self._refusal,
                compression=None,
                max_size=_MAX_MESSAGE_BYTES,
                open_timeout=_OPEN_SECONDS,
                close_timeout=_CLOSE_SECONDS,
                ping_interval=_PING_SECONDS,
                ping_timeout=_PONG_SECONDS,
                server_header=None,
                logger=_no_logger,
            )
        except BaseException:
            if self._owns_client:
                self._client.close()
            raise
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"ws://{_HOST}:{self.port}/"
        # Some WebSocket libraries send the address of the server as origin. No web page has this
        # origin, because the server has no web pages.
        own = (f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost"))
        self._origins = self._origins.union(own)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="inworld-engines", daemon=True
        )
        self._thread.start()
        _servers.add(self)

    @property
    def engines(self) -> int:
        """How many engines are connected."""
        with self._changed:
            return len(self._engines)

    def serve_forever(self) -> None:
        """Wait until :meth:`close` is called, or until Ctrl-C."""
        while not self._is_over.wait(LONGEST_WAIT_SECONDS):
            pass

    def close(self) -> None:
        """Close all connections with code 1001, and accept no others. May be called twice."""
        self._is_over.set()
        with self._changed:
            engines = list(self._engines)
        for engine in engines:
            engine.close()
        deadline = Deadline(_JOIN_SECONDS, "closing the connections of the engines")
        with self._changed:
            while self._engines and not deadline.expired:
                self._changed.wait(deadline.at_most(LONGEST_WAIT_SECONDS))
            if self._is_shut_down:
                return
            self._is_shut_down = True
        self._server.shutdown()
        self._thread.join(_JOIN_SECONDS)
        _close_pipe(self._server)
        if self._owns_client:
            self._client.close()

    def __enter__(self) -> EngineServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EngineServer {self.url} with {self.engines} engines>"

    # Threads of connections.

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the HTTP response that refuses a request, or None to accept the request."""
        origins = request.headers.get_all("Origin")
        if any(origin.lower() not in self._origins for origin in origins):
            return connection.respond(
                http.HTTPStatus.FORBIDDEN,
                "This Origin is refused: web pages may connect only if they are listed in "
                "allowed_origins.\n",
            )
        hosts = request.headers.get_all("Host")
        if len(hosts) > 1 or any(_host_name(host) not in _LOOPBACK_NAMES for host in hosts):
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, "This Host is refused: use 127.0.0.1 or localhost.\n"
            )
        return None

    def _run(self, connection: ServerConnection) -> None:
        name = f"inworld-engine-{next(self._numbers)}"
        threading.current_thread().name = name
        engine = EngineConnection(self._client, connection, self._settings, name)
        with self._changed:
            is_full = len(self._engines) >= self._max_engines
            if not is_full:
                self._engines.add(engine)
        if is_full:
            connection.close(_TRY_AGAIN_LATER, f"{self._max_engines} engines are connected")
            return
        try:
            if self._is_over.is_set():
                engine.close()
            engine.run()
        finally:
            with self._changed:
                self._engines.discard(engine)
                self._changed.notify_all()


def _listen() -> Callable[..., Server]:
    try:
        with imports:
            from websockets.sync.server import serve
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"games.serve() needs the extra 'games' ({error.name} is missing): "
            "pip install 'inworld-sync[games]'",
            name=error.name,
        ) from error
    return serve


def _close_pipe(server: Server) -> None:
    """Close the pipe that ends ``serve_forever``. From version 17 on, the library does this."""
    for name in ("shutdown_notifier", "shutdown_watcher"):
        descriptor: object = getattr(server, name, None)
        if isinstance(descriptor, int):
            setattr(server, name, None)
            os.close(descriptor)


_servers: weakref.WeakSet[EngineServer] = weakref.WeakSet()


def _close_all() -> None:
    for server in list(_servers):
        with contextlib.suppress(Exception):
            server.close()


# No thread of a connection may run while the interpreter ends.
atexit.register(_close_all)


def _origins(values: Sequence[str]) -> frozenset[str]:
    if isinstance(values, str):
        raise ConfigError(f"allowed_origins must be a list of texts, got the text {values!r}")
    for value in values:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts is None or not parts.scheme or not parts.netloc or parts.path:
            raise ConfigError(
                f"allowed_origins must have origins such as 'http://localhost:8060', got {value!r}"
            )
    return frozenset(value.lower() for value in values)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""

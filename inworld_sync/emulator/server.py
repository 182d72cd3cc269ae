"""
Implements the emulator, which serves HTTP and WebSocket on one port, with or without TLS.

Threads: one thread accepts connections. Each connection has one thread, and a WebSocket has two
more, a reader and a writer. The WebRTC calls share one thread for their packets, and each call has
another thread for its session. ``close`` ends and joins all threads. If the program does not call
``close``, the emulator calls ``close`` when the process ends. This is necessary because Python
kills a daemon thread that returns from an engine while the interpreter shuts down. Engines in C++
would then abort the process.

Locks: ``_lock`` guards the table of connections; no thread waits while it holds the lock.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence

from inworld_sync.emulator.allowed_hosts import AllowedHosts, is_loopback
from inworld_sync.emulator.connection import Connection
from inworld_sync.emulator.credentials import Credentials, make_api_key
from inworld_sync.emulator.faults import Fault, FaultQueue
from inworld_sync.emulator.llm.completions import ROUTES as _COMPLETIONS
from inworld_sync.emulator.llm.model_list import ROUTES as _MODELS
from inworld_sync.emulator.llm.routers import ROUTES as _ROUTERS
from inworld_sync.emulator.realtime.replies import ReplyMaker
from inworld_sync.emulator.realtime.service import ROUTES as _REALTIME
from inworld_sync.emulator.recognition.engine import SpeechEngine, describe_recognition
from inworld_sync.emulator.routes import Routes
from inworld_sync.emulator.rtc.routes import ROUTES as _RTC
from inworld_sync.emulator.settings import Settings
from inworld_sync.emulator.shared_state import SharedState
from inworld_sync.emulator.stt.async_http import ROUTES as _STT_ASYNC
from inworld_sync.emulator.stt.http import ROUTES as _STT_HTTP
from inworld_sync.emulator.stt.service import ROUTES as _STT
from inworld_sync.emulator.synthesis import Synthesizer
from inworld_sync.emulator.tokens import ROUTES as _TOKENS
from inworld_sync.emulator.tts.custom_voices import ROUTES as _CUSTOM_VOICES
from inworld_sync.emulator.tts.http import ROUTES as _TTS_HTTP
from inworld_sync.emulator.tts.pronunciations import ROUTES as _PRONUNCIATIONS
from inworld_sync.emulator.tts.service import ROUTES as _TTS
from inworld_sync.emulator.tts.voice_list import ROUTES as _VOICES
from inworld_sync.errors import ConfigError, LocalProtocolError

__all__ = ["Emulator"]

_logger = logging.getLogger("inworld_sync.emulator")
_LLM = (*_COMPLETIONS, *_MODELS, *_ROUTERS)
_ROUTES = Routes(
    [
        *_TTS,
        *_TTS_HTTP,
        *_VOICES,
        *_CUSTOM_VOICES,
        *_PRONUNCIATIONS,
        *_STT,
        *_STT_HTTP,
        *_STT_ASYNC,
        *_REALTIME,
        *_RTC,
        *_TOKENS,
        *_LLM,
    ]
)
_BACKLOG = 256
# A connection that has not closed after this time is aborted.
_GRACE_SECONDS = 0.5
_JOIN_SECONDS = 5.0
# How long the server waits when the process or the system has no descriptors left.
_NO_DESCRIPTOR_SECONDS = 0.05
_EXIT_SECONDS = 60.0


class Emulator:
    """
    A server on this machine that implements the service's protocols, with real speech.

    Use the emulator as a context manager, or call ``start`` and ``close``. By default, the
    server listens on loopback only, because every machine that can reach the server can use this
    process.

    Args:
        host: An address of this machine. An address other than loopback needs *allow_remote*.
        port: The port to listen on, 0 to 65535. 0 selects a free port.
        tls: Whether to serve TLS, with a certificate made for this server. Clients need
            ``ssl_context``.
        api_key: The key that clients must send, in the form of the portal (base64 of
            ``id:secret``). None makes a random key.
        settings: The limits and quirks of the server; None means the defaults.
        faults: One entry for each connection, in the order in which connections are accepted; see
            :mod:`inworld_sync.emulator.faults`. Later connections have no faults.
        synthesizer: A speech synthesizer that replaces the built-in synthesizer.
        speech_engine: A speech recognizer that replaces the built-in recognizer.
        reply_maker: The reply maker that makes the replies of Realtime and of chat completions.
            It replaces the built-in rules.
        allow_remote: Whether to allow a *host* that other machines can reach.

    Raises:
        ConfigError: *host* is not loopback and *allow_remote* is False, or an argument is wrong.

    Thread safety:
        ``start`` and ``close`` belong to one thread. All other members may be used from any thread.

    >>> with Emulator() as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: bool = False,
        api_key: str | None = None,
        settings: Settings | None = None,
        faults: Iterable[str | Fault | Sequence[Fault]] = (),
        synthesizer: Synthesizer | None = None,
        speech_engine: SpeechEngine | None = None,
        reply_maker: ReplyMaker | None = None,
        allow_remote: bool = False,
    ) -> None:
        if not allow_remote and not is_loopback(host):
            raise ConfigError(
                f"the emulator listens on loopback only, got host {host!r}: other machines could "
                "use this process; to allow that, pass allow_remote=True (--allow-remote on the "
                "command line)"
            )
        if not isinstance(port, int) or not 0 <= port <= 65535:
            raise ConfigError(f"port must be 0 to 65535, got {port!r}")
        if settings is not None and not isinstance(settings, Settings):
            raise ConfigError(f"settings must be a Settings, got {settings!r}")
        self.api_key = api_key or make_api_key()
        self.settings = settings or Settings()
        self.faults = FaultQueue(faults)
        self._host = host
        self._wanted_port = port
        self._has_own_engine = speech_engine is not None
        self._tls = _Tls(host) if tls else None
        credentials = Credentials(self.api_key, check=self.settings.check_credentials)
        allowed_hosts = AllowedHosts(host, self.settings.allowed_hosts)
        self._shared = SharedState(
            self.settings, credentials, allowed_hosts, synthesizer, speech_engine, reply_maker
        )
        self._shared.is_secure = tls
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._numbers = itertools.count(1)
        self._listener: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._process = 0

    def __repr__(self) -> str:
        where = self.url if self._listener is not None else "not started"
        return f"<Emulator {where}>"

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port on which the server listens. Raises LocalProtocolError before ``start``."""
        if self._listener is None:
            raise LocalProtocolError("the emulator has no address yet: call start() first")
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The base URL for HTTP, such as ``http://127.0.0.1:40123``."""
        return f"http{self._suffix}"

    @property
    def ws_url(self) -> str:
        """The base URL for WebSocket, such as ``ws://127.0.0.1:40123``."""
        return f"ws{self._suffix}"

    @property
    def recognizer(self) -> str:
        """A sentence on how well speech is recognized. The service recognizes speech better."""
        if self._has_own_engine:
            return "speech is recognized by your engine"
        return describe_recognition()

    @property
    def ca_pem(self) -> bytes:
        """The certificate that signs the server's certificate, in PEM; empty without TLS."""
        return b"" if self._tls is None else self._tls.ca_pem

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """A TLS context with which clients trust this server; None without TLS."""
        return None if self._tls is None else self._tls.client_context

    def expire_tokens(self) -> None:
        """Expire all tokens that exist now, to test clients that renew tokens."""
        self._shared.credentials.expire_tokens()

    def start(self) -> Emulator:
        """
        Listen, and return at once. The speech engines are loaded at their first use.

        Returns:
            The emulator itself.

        Raises:
            LocalProtocolError: The emulator is already started.
            OSError: The address cannot be used.
        """
        if self._listener is not None:
            raise LocalProtocolError("the emulator is already started: call close() first")
        self._shared.stopping.clear()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server(
            (self._host, self._wanted_port), family=family, backlog=_BACKLOG
        )
        self._shared.address = self._listener.getsockname()[0]
        # accept() must not block, because a client may disconnect between select() and accept().
        self._listener.setblocking(False)
        # These sockets are made here, because close() must work without free descriptors.
        self._waker, other_waker = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept,
            args=(self._listener, other_waker),
            name="inworld-emulator",
            daemon=True,
        )
        self._acceptor.start()
        self._process = os.getpid()
        atexit.register(self._close_at_exit)
        _logger.info("the emulator is at %s; %s", self.url, self.recognizer)
        return self

    def close(self) -> None:
        """End every connection and thread. A second call has no effect."""
        listener, self._listener = self._listener, None
        if listener is None or self._acceptor is None or self._waker is None:
            return
        atexit.unregister(self._close_at_exit)
        self._shared.stopping.set()
        if self._process == os.getpid():  # a forked child must not stop the server of its parent
            self._waker.send(b"x")
        self._waker.close()
        self._acceptor.join(_JOIN_SECONDS)
        with self._lock:
            threads = dict(self._connections)
        for connection in threads:
            connection.stop()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        for connection in threads:
            connection.abort()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _logger.error("%s did not end within %s s", thread.name, _JOIN_SECONDS)
        self._shared.calls.close(_JOIN_SECONDS)
        self._shared.jobs.join(_JOIN_SECONDS)

    def _close_at_exit(self) -> None:
        # In a forked child the connections belong to the parent, which still uses them.
        if self._process == os.getpid():
            self.close()

    @property
    def _suffix(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'' if self._tls is None else 's'}://{host}:{self.port}"

    def _accept(self, listener: socket.socket, waker: socket.socket) -> None:
        # This thread alone uses and closes the two sockets.
        with selectors.DefaultSelector() as selector, listener, waker:
            for sock in (listener, waker):
                selector.register(sock, selectors.EVENT_READ)
            is_starved = False
            while not any(key.fileobj is waker for key, _ in selector.select()):
                try:
                    sock, _ = listener.accept()
                    sock.setblocking(True)
                except (BlockingIOError, ConnectionError):
                    continue  # the client has disconnected
                except OSError as error:
                    if not is_starved:
                        _logger.warning("the emulator cannot accept connections now: %s", error)
                    is_starved = True
                    self._shared.stopping.wait(_NO_DESCRIPTOR_SECONDS)
                    continue
                is_starved = False
                self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        name = f"inworld-emulator-{next(self._numbers)}"
        connection = Connection(
            sock,
            name=name,
            routes=_ROUTES,
            shared=self._shared,
            faults=self.faults.pop(),
            tls=None if self._tls is None else self._tls.server_context,
        )
        thread = threading.Thread(target=self._run, args=(connection,), name=name, daemon=True)
        with self._lock:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            _logger.warning("the emulator drops a connection: %s", error)
            with self._lock:
                del self._connections[connection]
            sock.close()

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                del self._connections[connection]


@atexit.register
def _await_threads() -> None:
    # This function is registered before the exit function of any server, and exit functions run in
    # reverse order. So all servers are closed when this function runs. On a busy machine, an engine
    # can need more time for a sentence than close() waits.
    deadline = time.monotonic() + _EXIT_SECONDS
    for thread in threading.enumerate():
        if thread.name.startswith("inworld-emulator"):
            thread.join(max(0.0, deadline - time.monotonic()))


class _Tls:
    """A certificate authority for one server, made in memory."""

    def __init__(self, host: str) -> None:
        try:
            import trustme
        except ImportError as error:
            raise ConfigError(
                "tls=True needs the extra 'local': pip install 'inworld-sync[local]'"
            ) from error
        authority = trustme.CA()
        self.ca_pem = authority.cert_pem.bytes()
        self.server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", host).configure_cert(self.server_context)
        self.client_context = ssl.create_default_context()
        authority.configure_trust(self.client_context)

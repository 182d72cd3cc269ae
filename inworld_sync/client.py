"""Has the client, which has the settings and creates the services."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from inworld_sync.auth import ApiKey, Auth, auth_from
from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.locks import imports
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.options import DEFAULT_BASE_URL, Options
from inworld_sync.models.settings import combine_settings
from inworld_sync.rest.voices import Voices
from inworld_sync.secret import Secret
from inworld_sync.sessions.connector import ConnectionLimiter, Connector
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.transport.credential import Credential
from inworld_sync.transport.http import HttpClient

if TYPE_CHECKING:
    import logging
    import ssl

    from inworld_sync.emulator import Emulator
    from inworld_sync.models.options import Limiter, TraceEvent, WireObserver
    from inworld_sync.rest.llm import Llm
    from inworld_sync.rest.models import Models
    from inworld_sync.rest.pronunciations import Pronunciations
    from inworld_sync.rest.routers import Routers
    from inworld_sync.rest.tokens import Tokens
    from inworld_sync.rest.transcriptions import Transcriptions
    from inworld_sync.sessions.realtime.service import Realtime
    from inworld_sync.sessions.stt.service import Stt

__all__ = ["LOCAL_VARIABLE", "Inworld"]

S = TypeVar("S")

LOCAL_VARIABLE = "INWORLD_SYNC_LOCAL"


@with_keyword_hints
class Inworld:
    """
    A client for all services of Inworld, or for the emulator.

    Args:
        api_key: An API key as the portal shows it. Without any credential, the client reads
            ``INWORLD_API_KEY`` from the environment.
        token: A JSON Web Token, or a function that returns a new token for every connection; see
            :class:`~inworld_sync.Token`.
        auth: An object whose ``header()`` returns the name and the value of a header.
        local: True starts the emulator in this process, on a free port of the loopback interface,
            and connects to the emulator. None does the same if ``INWORLD_SYNC_LOCAL`` is 1.
        base_url: The address of the service, with ``https://`` or ``wss://`` for TLS, or with
            ``http://`` or ``ws://`` without TLS; ``https://api.inworld.ai`` by default.
        connect_timeout: The most seconds from the name lookup to the end of the handshake; 10 by
            default.
        send_timeout: The most seconds to send one message, after which the connection counts as
            lost; 10 by default.
        close_timeout: The most seconds to wait for the answer to a CLOSE frame; 0.5 by default.
        ping_interval: Seconds between two pings of a connection; 5 by default.
        ping_timeout: Seconds without a received byte after which the connection counts as lost; 10
            by default.
        max_retries: How often a request that is safe to repeat is retried; 2 by default.
        proxy: The URL of a proxy; False means no proxy. By default the environment decides.
        ssl_context: Replaces the default certificates and settings of TLS.
        headers: Headers that are sent with every request, in addition to those of the client.
        credential_in: Where the upgrade of a WebSocket has the credential: ``header`` (default),
            ``query`` or ``subprotocol``; HTTP requests have it in a header.
        max_message_bytes: The largest message that the client accepts; 16 MiB by default.
        max_queued_bytes: The most bytes that wait to be sent on a connection; 1 MiB by default.
        limiter: Limits the connections of the account; by default 20 connections of this client.
        observer: Receives every message of both directions.
        logger: Receives the log; ``logging.getLogger("inworld_sync")`` by default.
        on_trace: Called with a :class:`~inworld_sync.TraceEvent` for every step of a connection. It
            must not block.
        sends_cancel_context: Whether an interruption of speech sends ``cancel_context`` instead of
            ``close_context``; False by default. ``cancel_context`` drops the text that was not
            spoken.
        dispatch: Where handlers run. With ``thread`` (default), they run on a thread of their
            stream; with ``poll``, on the thread that calls ``poll``.
        options: All settings in one object. Each setting above that is not None replaces the same
            setting of *options*.

    Raises:
        ConfigError: There is no credential and *local* is not True, or a setting is wrong.
        TypeError: A keyword argument has an unknown name.

    Lock rule: ``_lock`` guards the creation of services and closing. It is held while a service is
    created. The creation of a service does not wait.

    Thread safety: several threads may share a client. A forked child of the process, such as a
    worker of gunicorn, may use the client too. In the child, the client starts without the
    connections of the parent. Objects that were made from the client before the fork belong to the
    parent.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        auth: Auth | None = None,
        local: bool | None = None,
        base_url: str | None = None,
        connect_timeout: float | None = None,
        send_timeout: float | None = None,
        close_timeout: float | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        max_retries: int | None = None,
        proxy: str | Literal[False] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        credential_in: Literal["header", "query", "subprotocol"] | None = None,
        max_message_bytes: int | None = None,
        max_queued_bytes: int | None = None,
        limiter: Limiter | None = None,
        observer: WireObserver | None = None,
        logger: logging.Logger | None = None,
        on_trace: Callable[[TraceEvent], None] | None = None,
        sends_cancel_context: bool | None = None,
        dispatch: Literal["thread", "poll"] | None = None,
        options: Options | None = None,
    ) -> None:
        # A traceback may show the local variables.
        api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        token = Secret(token) if isinstance(token, str) else token
        proxy = Secret(proxy) if isinstance(proxy, str) else proxy
        self._closed = False
        self._emulator: Emulator | None = None
        self._options = combine_settings(options, Options(), locals(), name="options")
        is_from_environment = local is None and os.environ.get(LOCAL_VARIABLE) == "1"
        if local or is_from_environment:
            why = f"{LOCAL_VARIABLE}=1" if is_from_environment else "local=True"
            given: dict[str, object] = {"api_key": api_key, "token": token, "auth": auth}
            if self._options.base_url != DEFAULT_BASE_URL:
                given["base_url"] = self._options.base_url
            names = [name for name, value in given.items() if value is not None]
            if names:
                raise ConfigError(
                    f"{why} uses the emulator, which has its own address and key: omit "
                    f"{', '.join(names)}, or pass local=False"
                )
            auth = self._start_emulator()
        self._auth = auth_from(api_key=api_key, token=token, auth=auth)
        self._begin()
        _clients.add(self)

    def _begin(self, *, in_child: bool = False) -> None:
        """Start without connections. In a forked child, this runs before other code."""
        if in_child:
            self._emulator = None  # the parent closes its emulator
        self._lock = threading.Lock()
        limiter = self._options.limiter
        if limiter is None:
            limiter = ConnectionLimiter()
        self._credential = Credential(self._auth)
        self._connector = Connector(self._options, self._credential, limiter)
        self._http: HttpClient | None = None
        self._services: dict[type, Any] = {}

    @property
    def options(self) -> Options:
        """The settings of this client."""
        return self._options

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        return self._service(Tts, lambda: Tts(self._connector, self._shared_http()))

    @property
    def stt(self) -> Stt:
        """The speech-to-text service."""
        with imports:
            from inworld_sync.sessions.stt.service import Stt

        return self._service(Stt, lambda: Stt(self._connector, self._shared_http()))

    @property
    def realtime(self) -> Realtime:
        """Realtime conversations."""
        with imports:
            from inworld_sync.sessions.realtime.service import Realtime

        return self._service(Realtime, lambda: Realtime(self._connector))

    @property
    def pronunciations(self) -> Pronunciations:
        """Pronunciation dictionaries."""
        with imports:
            from inworld_sync.rest.pronunciations import Pronunciations

        return self._service(Pronunciations, lambda: Pronunciations(self._shared_http()))

    @property
    def transcriptions(self) -> Transcriptions:
        """Transcription jobs for long recordings."""
        with imports:
            from inworld_sync.rest.transcriptions import Transcriptions

        return self._service(Transcriptions, lambda: Transcriptions(self._shared_http()))

    @property
    def llm(self) -> Llm:
        """Chat completions of language models."""
        with imports:
            from inworld_sync.rest.llm import Llm

        return self._service(Llm, lambda: Llm(self._shared_http()))

    @property
    def models(self) -> Models:
        """The language models of the service."""
        with imports:
            from inworld_sync.rest.models import Models

        return self._service(Models, lambda: Models(self._shared_http()))

    @property
    def routers(self) -> Routers:
        """Routers between language models."""
        with imports:
            from inworld_sync.rest.routers import Routers

        return self._service(Routers, lambda: Routers(self._shared_http()))

    @property
    def voices(self) -> Voices:
        """The voices of the account."""
        return self._service(Voices, lambda: Voices(self._shared_http()))

    @property
    def tokens(self) -> Tokens:
        """Tokens for browsers, devices and other processes."""
        with imports:
            from inworld_sync.rest.tokens import Tokens

        return self._service(Tokens, lambda: Tokens(self._shared_http(), self._auth))

    def close(self) -> None:
        """Close all connections of the client, and its emulator. May be called twice."""
        with self._lock:
            self._closed = True
            emulator, self._emulator = self._emulator, None
        with contextlib.ExitStack() as rest:
            if emulator is not None:
                rest.callback(emulator.close)
            if self._http is not None:
                rest.callback(self._http.close)
            # The connections close in parallel, so that several lost connections cost one timeout.
            self._connector.close()

    def __enter__(self) -> Inworld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        # A debugger shows the object even if __init__ raised.
        options = getattr(self, "_options", None)
        if options is None:
            return "<Inworld, not initialized>"
        return f"<Inworld {options.base_url}{' local' if self._emulator else ''}>"

    def _shared_http(self) -> HttpClient:
        """Return the HTTP client that the services share. The lock is held."""
        if self._http is None:
            self._http = HttpClient(self._options, self._credential)
        return self._http

    def _service(self, kind: type[S], make: Callable[[], S]) -> S:
        """Return the service of a class, which is created at its first use."""
        with self._lock:
            if self._closed:
                raise ClosedError("the client was closed, make another")
            if kind not in self._services:
                self._services[kind] = make()
            service: S = self._services[kind]
            return service

    def _start_emulator(self) -> Auth:
        try:
            with imports:
                from inworld_sync.emulator import Emulator
        except ModuleNotFoundError as error:
            raise ConfigError(str(error)) from error
        self._emulator = Emulator().start()
        self._options = attrs.evolve(self._options, base_url=self._emulator.url)
        return ApiKey(self._emulator.api_key)


_clients: weakref.WeakSet[Inworld] = weakref.WeakSet()


def _begin_in_child() -> None:
    for client in list(_clients):
        client._begin(in_child=True)  # noqa: SLF001 - of this file's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)

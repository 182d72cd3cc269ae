"""Implements the client, which holds the settings and creates the services."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from inworld_sync.auth import ApiKey, Auth, Endpoint, auth_from, endpoints_from
from inworld_sync.batch.calls import BatchCalls
from inworld_sync.errors import ClosedError, ConfigError, InworldError
from inworld_sync.limits.limiter import ConnectionLimiter
from inworld_sync.locks import imports, make_lock
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.options import Options, default_base_url
from inworld_sync.models.settings import combine_settings
from inworld_sync.secret import Secret
from inworld_sync.sessions.connector import Connector
from inworld_sync.transport.credential import Credential
from inworld_sync.transport.deadline import Deadline

if TYPE_CHECKING:
    import logging
    import ssl

    from inworld_sync.emulator import Emulator
    from inworld_sync.failover import Endpoints
    from inworld_sync.models.options import Limiter, TraceEvent, WireObserver
    from inworld_sync.models.realtime import Session
    from inworld_sync.rest.llm import Llm
    from inworld_sync.rest.models import Models
    from inworld_sync.rest.pronunciations import Pronunciations
    from inworld_sync.rest.routers import Routers
    from inworld_sync.rest.tokens import Tokens
    from inworld_sync.rest.transcriptions import Transcriptions
    from inworld_sync.rest.voices import Voices
    from inworld_sync.sessions.realtime.service import Realtime
    from inworld_sync.sessions.realtime.session import RealtimeSession
    from inworld_sync.sessions.realtime.tool_runner import Approver
    from inworld_sync.sessions.stt.service import Stt
    from inworld_sync.sessions.tts.service import Tts
    from inworld_sync.transport.http import HttpClient

__all__ = ["LOCAL_VARIABLE", "Inworld"]

S = TypeVar("S")

LOCAL_VARIABLE = "INWORLD_SYNC_LOCAL"


@with_keyword_hints
class Inworld(BatchCalls):
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
            ``http://`` or ``ws://`` without TLS. By default the client reads ``INWORLD_BASE_URL``
            from the environment, and otherwise uses ``https://api.inworld.ai``.
        connect_timeout: The longest time in seconds from name lookup to handshake; 10 by default.
        send_timeout: The longest time in seconds to send one message; 10 by default. After this
            time, the connection counts as lost.
        close_timeout: The longest wait in seconds for the answer to a CLOSE frame; 0.5 by default.
        ping_interval: Seconds between two pings of a connection; 5 by default.
        ping_timeout: Seconds without a received byte after which the connection counts as lost; 10
            by default.
        max_retries: How many times a request that is safe to repeat is retried; 2 by default.
        proxy: The URL of a proxy, with ``http://``, ``https://``, ``socks5://`` or ``socks5h://``;
            False means no proxy. By default, variables of the environment set the proxy.
        ssl_context: Replaces the default certificates and settings of TLS.
        headers: Headers that are sent with every request, in addition to those of the client.
        credential_in: Where the upgrade of a WebSocket has the credential: ``header`` (default),
            ``query`` or ``subprotocol``; HTTP requests have the credential in a header.
        max_message_bytes: The largest message that the client accepts; 16 MiB by default.
        max_queued_bytes: How many bytes may wait to be sent on a connection; 1 MiB by default.
        limiter: Limits the connections of the account; by default 20 connections of this client.
        cache: A folder that stores speech, so that the same text with the same settings needs no
            second request. By default, speech is not stored.
        cache_max_bytes: The size limit of this folder in bytes; 1 GiB by default.
        observer: Receives every message of both directions.
        logger: Receives the log; ``logging.getLogger("inworld_sync")`` by default.
        on_trace: Called with a :class:`~inworld_sync.TraceEvent` for every step of a connection.
            The function must not block.
        sends_cancel_context: Whether an interruption of speech sends ``cancel_context`` instead of
            ``close_context``; False by default. ``cancel_context`` drops the text that was not
            spoken.
        dispatch: Where handlers run. With ``thread`` (default), the handlers of a stream run on a
            separate thread; with ``poll``, on the thread that calls ``poll``.
        failover: Further addresses or credentials. If one fails, the next one is tried. ``"local"``
            starts the emulator when the emulator is needed.
        options: All settings in one object. Each of the settings above, from ``base_url`` to
            ``dispatch``, that is not None replaces the same setting of *options*.

    Raises:
        ConfigError: There is no credential and *local* is not True, or a setting is wrong.
        TypeError: A keyword argument has an unknown name.

    Lock rule: ``_lock`` guards closing and the creation of services. A thread holds ``_lock`` while
    it creates a service. The creation does not wait.

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
        cache: str | os.PathLike[str] | None = None,
        cache_max_bytes: int | None = None,
        observer: WireObserver | None = None,
        logger: logging.Logger | None = None,
        on_trace: Callable[[TraceEvent], None] | None = None,
        sends_cancel_context: bool | None = None,
        dispatch: Literal["thread", "poll"] | None = None,
        failover: Sequence[Endpoint | Literal["local"]] | None = None,
        options: Options | None = None,
    ) -> None:
        # A traceback may show the local variables, so they hold credentials only as a Secret.
        api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        token = Secret(token) if isinstance(token, str) else token
        proxy = Secret(proxy) if isinstance(proxy, str) else proxy
        self._closed = False
        self._emulator: Emulator | None = None
        self._options = combine_settings(options, Options(), locals(), name="options")
        if self._options.proxy:
            with imports:
                from inworld_sync.transport.proxy import parse_proxy

            parse_proxy(self._options.proxy, "proxy=")
        is_from_environment = local is None and os.environ.get(LOCAL_VARIABLE) == "1"
        if local or is_from_environment:
            why = f"{LOCAL_VARIABLE}=1" if is_from_environment else "local=True"
            given: dict[str, object] = {"api_key": api_key, "token": token, "auth": auth}
            if self._options.base_url != default_base_url():
                given["base_url"] = self._options.base_url
            names = [name for name, value in given.items() if value is not None]
            if names:
                raise ConfigError(
                    f"{why} uses the emulator, which has its own address and key: omit "
                    f"{', '.join(names)}, or pass local=False"
                )
            auth = self._start_emulator()
        self._auth = auth_from(api_key=api_key, token=token, auth=auth)
        self._further = endpoints_from(failover)
        self._begin()
        _clients.add(self)

    def _begin(self, *, in_child: bool = False) -> None:
        """Start without connections. In a forked child, this method runs before other code."""
        if in_child:
            self._emulator = None  # the parent closes its emulator
        self._lock = make_lock()
        limiter = self._options.limiter
        if limiter is None:
            limiter = ConnectionLimiter()
        self._credential = Credential(self._auth)
        self._connector = Connector(self._options, self._credential, limiter)
        self._http: HttpClient | None = None
        self._services: dict[type, Any] = {}
        self._endpoints: Endpoints[Inworld] | None = None
        if self._further:
            from inworld_sync.failover import Endpoints

            self._endpoints = Endpoints(self, self._further, self._options, self._make_other)

    @property
    def options(self) -> Options:
        """The settings of this client."""
        return self._options

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        # Each service is imported at its first use, because a program uses few services.
        with imports:
            from inworld_sync.sessions.tts.service import Tts

        route = self._endpoints.route if self._endpoints else None
        return self._service(Tts, lambda: Tts(self._connector, self._shared_http(), route))

    @property
    def stt(self) -> Stt:
        """The speech-to-text service."""
        with imports:
            from inworld_sync.sessions.stt.service import Stt

        client = self._chosen()
        return client._service(Stt, lambda: Stt(client._connector, client._shared_http()))

    @property
    def realtime(self) -> Realtime:
        """Realtime conversations."""
        with imports:
            from inworld_sync.sessions.realtime.service import Realtime

        client = self._chosen()
        return client._service(Realtime, lambda: Realtime(client._connector))

    @with_keyword_hints
    def connect_webrtc(
        self,
        session: Session | None = None,
        *,
        timeout: float | None = None,
        offer_form: Literal["sdp", "json", "session_config"] = "sdp",
        ice_servers: Iterable[Mapping[str, object]] | None = None,
        reconnect_timeout: float = 30.0,
        barge_in: bool = True,
        tool_timeout: float | None = 60.0,
        max_tools_at_once: int = 8,
        on_approval: Approver | None = None,
        tool_errors: Literal["neutral", "text"] = "neutral",
        request_timeout: float = 10.0,
        response_start_timeout: float = 15.0,
        response_timeout: float = 60.0,
        max_session_age: float | None = 3300.0,
    ) -> RealtimeSession:
        """
        Open a realtime session over WebRTC, with audio in tracks. The extra ``webrtc`` is needed.

        The session has the class and the methods of a session of ``iw.realtime.connect()``.
        ``send_audio``, ``converse`` and ``play`` use the tracks. Both directions are in real time:
        ``send_audio`` waits while half a second of audio is queued. ``send_audio`` accepts any
        sample rate, and the audio of the service has 48000 Hz.

        Args:
            session: The settings, without audio formats; None uses the defaults of the service.
            timeout: Seconds for the whole call; None means ``connect_timeout``.
            offer_form: How the offer is sent: ``sdp`` as text, ``json`` with the settings of the
                session, or ``session_config`` in the form of the specification, which can contain
                only the settings of a :class:`~inworld_sync.realtime.SessionConfig`.
            ice_servers: STUN and TURN servers, each a mapping with ``urls``, ``username`` and
                ``credential``, as in a browser. None asks the service for its servers.
            reconnect_timeout: See ``iw.realtime.connect()`` for this and all further arguments. The
                user's audio of an unfinished turn is not sent again after a reconnect.
            barge_in: Whether the assistant stops speaking when the user begins to speak.
            tool_timeout: Seconds for a function that has no timeout of its own.
            max_tools_at_once: The limit of functions that run at the same time.
            on_approval: A function that gets each call of an MCP server that needs approval.
            tool_errors: The output that the model gets if a function raises an exception.
            request_timeout: Seconds for the service's answer to a command.
            response_start_timeout: Seconds from the request of a response to its beginning.
            response_timeout: Seconds between two messages of a response.
            max_session_age: Seconds after which the client renews the session.

        Raises:
            ConfigError: An argument is out of its range, or the session has an audio format.
            AuthError: The credential is not accepted.
            QuotaError: The account or this client's limit allows no further connection.
            ServiceError: The service refuses the offer or the settings.
            RemoteProtocolError: The service's answer is not a valid answer to the offer.
            ConnectError: The service cannot be reached, by HTTP or by UDP.
            DeadlineExceeded: The session was not open in time. The error names the missing step.
            ModuleNotFoundError: The extra ``webrtc`` is not installed.
        """
        with imports:
            from inworld_sync.models.realtime import Session
            from inworld_sync.sessions.realtime.service import SessionOptions
            from inworld_sync.webrtc.service import connect

        options = SessionOptions(
            reconnect_timeout=reconnect_timeout,
            barge_in=barge_in,
            tool_timeout=tool_timeout,
            max_tools_at_once=max_tools_at_once,
            on_approval=on_approval,
            tool_errors=tool_errors,
            request_timeout=request_timeout,
            response_start_timeout=response_start_timeout,
            response_timeout=response_timeout,
            max_session_age=max_session_age,
        )
        with self._lock:
            if self._closed:
                raise ClosedError("the client was closed, make another")
            http = self._shared_http()
        return connect(
            self._connector,
            http,
            session or Session(),
            options,
            timeout=timeout,
            offer_form=offer_form,
            ice_servers=ice_servers,
        )

    @property
    def pronunciations(self) -> Pronunciations:
        """Pronunciation dictionaries."""
        with imports:
            from inworld_sync.rest.pronunciations import Pronunciations

        client = self._chosen()
        return client._service(Pronunciations, lambda: Pronunciations(client._shared_http()))

    @property
    def transcriptions(self) -> Transcriptions:
        """Transcription jobs for long recordings."""
        with imports:
            from inworld_sync.rest.transcriptions import Transcriptions

        client = self._chosen()
        return client._service(Transcriptions, lambda: Transcriptions(client._shared_http()))

    @property
    def llm(self) -> Llm:
        """Chat completions of language models."""
        with imports:
            from inworld_sync.rest.llm import Llm

        client = self._chosen()
        return client._service(Llm, lambda: Llm(client._shared_http()))

    @property
    def models(self) -> Models:
        """The language models of the service."""
        with imports:
            from inworld_sync.rest.models import Models

        client = self._chosen()
        return client._service(Models, lambda: Models(client._shared_http()))

    @property
    def routers(self) -> Routers:
        """Routers between language models."""
        with imports:
            from inworld_sync.rest.routers import Routers

        client = self._chosen()
        return client._service(Routers, lambda: Routers(client._shared_http()))

    @property
    def voices(self) -> Voices:
        """The voices of the account."""
        with imports:
            from inworld_sync.rest.voices import Voices

        client = self._chosen()
        return client._service(Voices, lambda: Voices(client._shared_http()))

    @property
    def tokens(self) -> Tokens:
        """Tokens for browsers, devices and other processes."""
        with imports:
            from inworld_sync.rest.tokens import Tokens

        client = self._chosen()
        return client._service(Tokens, lambda: Tokens(client._shared_http(), client._auth))

    def prewarm(self, *, timeout: float | None = None) -> None:
        """
        Open the connections of the first utterance and of the first HTTP request in advance.

        Call this method when the program starts, so that the first text does not wait for a
        handshake. The connections stay open while they are idle, and the connection for utterances
        is kept alive by pings. If the connections are open already, the call does nothing.

        A realtime session has settings of its own, so this method cannot open the connection of a
        session. To avoid the handshake at the beginning of a conversation, call
        ``iw.realtime.connect()`` earlier.

        Args:
            timeout: Seconds for the whole call; None means ``connect_timeout``.

        Raises:
            AuthError: The service refuses the credential.
            QuotaError: The account or this client's limit allows no further connection.
            TransportError: Could not connect in time.
            ClosedError: The client was closed.
            ConfigError: *timeout* is not a number.

        Thread safety: any thread may call this method.
        """
        seconds = self._options.connect_timeout if timeout is None else timeout
        deadline = Deadline(seconds, f"connecting to {self._options.base_url}")
        self.tts._prewarm(deadline)
        with self._lock:
            http = self._shared_http()
        http.prewarm(deadline)

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
            if self._endpoints is not None:
                rest.callback(self._endpoints.close)
            # The connections close in parallel, so several lost connections take only one timeout.
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
        """Return the HTTP client that the services share. The caller holds ``_lock``."""
        if self._http is None:
            with imports:
                from inworld_sync.transport.http import HttpClient

            self._http = HttpClient(self._options, self._credential)
            self._http.on_outcome = self._connector.on_outcome
        return self._http

    # Several endpoints.

    def _chosen(self) -> Inworld:
        """Return the client of the endpoint for the next call."""
        return self if self._endpoints is None else self._endpoints.chosen()

    def _make_other(self, endpoint: Endpoint | Literal["local"]) -> Inworld:
        if endpoint == "local":
            options = attrs.evolve(self._options, base_url=default_base_url(), limiter=None)
            return Inworld(local=True, options=options)
        options = attrs.evolve(self._options, base_url=endpoint.base_url or self._options.base_url)
        return Inworld(auth=endpoint.credential(self._auth), local=False, options=options)

    def _report_to(self, on_outcome: Callable[[InworldError | None], None]) -> None:
        """Call *on_outcome* with the outcome of each request and each connection."""
        self._connector.on_outcome = on_outcome

    def _service(self, kind: type[S], make: Callable[[], S]) -> S:
        """Return the service of class *kind*. Create the service at its first use."""
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
        client._begin(in_child=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)

"""Has the client, which has the settings and creates the services."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from inworld_sync.auth import ApiKey, Auth, Endpoint, auth_from
from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.models.keywords import with_keyword_hints
from inworld_sync.models.options import DEFAULT_BASE_URL, Options
from inworld_sync.models.settings import combine_settings
from inworld_sync.rest.voices import Voices
from inworld_sync.secret import Secret
from inworld_sync.sessions.connector import Connector
from inworld_sync.sessions.limiter import ConnectionLimiter
from inworld_sync.sessions.tts.service import DEFAULTS, Tts
from inworld_sync.transport.credential import Credential
from inworld_sync.transport.http import HttpClient

if TYPE_CHECKING:
    import logging
    import ssl

    from inworld_sync.batch.jobs import Jobs
    from inworld_sync.emulator import Emulator
    from inworld_sync.failover import Failover
    from inworld_sync.models.batch import BatchProgress, BatchSummary
    from inworld_sync.models.options import Limiter, TraceEvent, WireObserver
    from inworld_sync.models.stt import TranscribeConfig
    from inworld_sync.models.tts import ContextConfig
    from inworld_sync.rest.llm import Llm
    from inworld_sync.rest.models import Models
    from inworld_sync.rest.pronunciations import Pronunciations
    from inworld_sync.rest.routers import Routers
    from inworld_sync.rest.tokens import Tokens
    from inworld_sync.rest.transcriptions import Transcriptions
    from inworld_sync.sessions.realtime.service import Realtime
    from inworld_sync.sessions.stt.service import Stt
    from inworld_sync.sessions.tts.pool import AnyUtterance

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
        cache: A folder that keeps speech, so that a text that is spoken again with the same
            settings needs no request; by default nothing is kept.
        cache_max_bytes: The most bytes in this folder; 1 GiB by default.
        observer: Receives every message of both directions.
        logger: Receives the log; ``logging.getLogger("inworld_sync")`` by default.
        on_trace: Called with a :class:`~inworld_sync.TraceEvent` for every step of a connection. It
            must not block.
        sends_cancel_context: Whether an interruption of speech sends ``cancel_context`` instead of
            ``close_context``; False by default. ``cancel_context`` drops the text that was not
            spoken.
        dispatch: Where handlers run. With ``thread`` (default), they run on a thread of their
            stream; with ``poll``, on the thread that calls ``poll``.
        failover: Further addresses or credentials, in the order in which they are tried if an
            earlier one fails. ``"local"`` starts the emulator when it is needed.
        options: All settings in one object. Each of the settings above, from ``base_url`` to
            ``dispatch``, that is not None replaces the same setting of *options*.

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
        self._endpoints = _endpoints(failover)
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
        # The clients of the further endpoints, which are made when they are needed.
        self._others: dict[int, Inworld] = {}
        self._failover: Failover | None = None
        if self._endpoints:
            self._failover = self._make_failover(self._endpoints)

    @property
    def options(self) -> Options:
        """The settings of this client."""
        return self._options

    @property
    def tts(self) -> Tts:
        """The text-to-speech service."""
        route = self._route if self._failover else None
        return self._service(Tts, lambda: Tts(self._connector, self._shared_http(), route))

    @property
    def stt(self) -> Stt:
        """The speech-to-text service."""
        from inworld_sync.sessions.stt.service import Stt

        client = self._chosen()
        return client._service(Stt, lambda: Stt(client._connector, client._shared_http()))

    @property
    def realtime(self) -> Realtime:
        """Realtime conversations."""
        from inworld_sync.sessions.realtime.service import Realtime

        client = self._chosen()
        return client._service(Realtime, lambda: Realtime(client._connector))

    @property
    def pronunciations(self) -> Pronunciations:
        """Pronunciation dictionaries."""
        from inworld_sync.rest.pronunciations import Pronunciations

        client = self._chosen()
        return client._service(Pronunciations, lambda: Pronunciations(client._shared_http()))

    @property
    def transcriptions(self) -> Transcriptions:
        """Transcription jobs for long recordings."""
        from inworld_sync.rest.transcriptions import Transcriptions

        client = self._chosen()
        return client._service(Transcriptions, lambda: Transcriptions(client._shared_http()))

    @property
    def llm(self) -> Llm:
        """Chat completions of language models."""
        from inworld_sync.rest.llm import Llm

        client = self._chosen()
        return client._service(Llm, lambda: Llm(client._shared_http()))

    @property
    def models(self) -> Models:
        """The language models of the service."""
        from inworld_sync.rest.models import Models

        client = self._chosen()
        return client._service(Models, lambda: Models(client._shared_http()))

    @property
    def routers(self) -> Routers:
        """Routers between language models."""
        from inworld_sync.rest.routers import Routers

        client = self._chosen()
        return client._service(Routers, lambda: Routers(client._shared_http()))

    @property
    def voices(self) -> Voices:
        """The voices of the account."""
        client = self._chosen()
        return client._service(Voices, lambda: Voices(client._shared_http()))

    @property
    def tokens(self) -> Tokens:
        """Tokens for browsers, devices and other processes."""
        from inworld_sync.rest.tokens import Tokens

        client = self._chosen()
        return client._service(Tokens, lambda: Tokens(client._shared_http(), client._auth))

    @with_keyword_hints
    def batch(
        self,
        jobs: Jobs,
        output: str | os.PathLike[str],
        *,
        template: str | None = None,
        voice: str | None = None,
        model: str | None = None,
        language: str | None = None,
        config: ContextConfig | None = None,
        transcribe_config: TranscribeConfig | None = None,
        concurrency: int = 20,
        retries: int = 3,
        timeout: float = 60.0,
        overwrite: bool = False,
        on_progress: Callable[[BatchProgress], object] | None = None,
    ) -> BatchSummary:
        """
        Speak many texts to files, or transcribe many recordings.

        All items are checked before anything is sent. The file ``journal.jsonl`` in the folder
        *output* records each item. After an interruption, even by ``kill -9`` or a loss of power,
        the same call does only the items that are not done. Items that failed are tried again. An
        item whose text, settings or output have changed is done again.

        Args:
            jobs: A ``.csv`` file with a header, a ``.jsonl`` file, or mappings. Each item has
                either ``text`` or ``audio``, the path of a recording. It may have an ``id`` and
                the settings ``voice``, ``model``, ``language``, ``delivery_mode``,
                ``text_normalization``, ``temperature``, ``sample_rate_hz``, ``speaking_rate`` and
                ``bit_rate_bps``. Other names are for *template*.
            output: The folder of the outputs, which is created.
            template: The names of the outputs; by default ``{id}.wav`` and ``{id}.txt``. Fields
                are the names of the item, ``{index}`` (from 1, ``{index:05}`` with zeros) and
                ``{stem}`` of a recording. A slash makes a folder. The suffix chooses the format:
                ``.wav``, ``.mp3``, ``.opus``, ``.flac`` or ``.pcm``; ``.txt``, ``.json``,
                ``.srt`` or ``.vtt``.
            voice: The voice of texts without a voice of their own.
            model: The model of texts without a model of their own.
            language: The language of texts without a language of their own.
            config: All settings of texts in one object.
            transcribe_config: All settings of recordings in one object.
            concurrency: How many items are done at once, 1 to 1000.
            retries: How often an item is retried, 0 to 100, if another attempt may help.
            timeout: The most seconds to wait for a connection, and for each message of the service.
            overwrite: Whether an output may replace a file that is not from this batch.
            on_progress: Called on this thread at the start, about four times per second, and at
                the end.

        Returns:
            The counts, and the items that failed.

        Raises:
            ConfigError: An argument or an item is wrong, an output exists, or another process works
                on the same folder. Nothing was sent.
            AuthError: The service refuses the credential.
            OSError: A file of the batch cannot be read or written.

        Thread safety: several threads may run batches in different folders.
        """
        from inworld_sync.batch.runner import run_batch
        from inworld_sync.models.stt import TranscribeConfig

        speech = combine_settings(config, DEFAULTS, locals())
        # The names above are those of texts.
        transcript = combine_settings(transcribe_config, TranscribeConfig(), {})
        return run_batch(
            jobs,
            output,
            template=template,
            speech=speech,
            transcript=transcript,
            options=self._options,
            tts=self.tts,
            stt=lambda: self.stt,
            concurrency=concurrency,
            retries=retries,
            timeout=timeout,
            overwrite=overwrite,
            on_progress=on_progress,
        )

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
            for client in list(self._others.values()):
                rest.callback(client.close)
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
            self._http.on_outcome = self._connector.on_outcome
        return self._http

    # Several endpoints.

    def _make_failover(self, endpoints: Sequence[Endpoint | Literal["local"]]) -> Failover:
        from inworld_sync.failover import Failover

        own = self._options.base_url
        names = [own, *(e if e == "local" else e.base_url or own for e in endpoints)]
        failover = Failover(names, self._options)
        self._connector.on_outcome = failover.recorder(0)
        return failover

    def _chosen(self) -> Inworld:
        """Return the client of the endpoint for the next call."""
        return self if self._failover is None else self._client_of(self._failover.choose())

    def _client_of(self, number: int) -> Inworld:
        """Return the client of an endpoint. The emulator starts when it is needed."""
        if number == 0:
            return self
        assert self._failover is not None
        with self._lock:
            if self._closed:
                raise ClosedError("the client was closed, make another")
            client = self._others.get(number)
            if client is None:
                client = self._make_client(self._endpoints[number - 1])
                client._connector.on_outcome = self._failover.recorder(number)
                self._others[number] = client
            return client

    def _make_client(self, endpoint: Endpoint | Literal["local"]) -> Inworld:
        if endpoint == "local":
            options = attrs.evolve(self._options, base_url=DEFAULT_BASE_URL, limiter=None)
            return Inworld(local=True, options=options)
        base_url = endpoint.base_url or self._options.base_url
        options = attrs.evolve(self._options, base_url=base_url)
        return Inworld(auth=endpoint.credential(self._auth), local=False, options=options)

    def _route(self, config: ContextConfig, make: Callable[[Tts], AnyUtterance]) -> AnyUtterance:
        from inworld_sync.failover import FailoverUtterance

        assert self._failover is not None
        return FailoverUtterance(
            self._failover,
            config,
            lambda number: make(self._client_of(number).tts),
            len(self._endpoints) + 1,
        )

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
            from inworld_sync.emulator import Emulator
        except ModuleNotFoundError as error:
            raise ConfigError(str(error)) from error
        self._emulator = Emulator().start()
        self._options = attrs.evolve(self._options, base_url=self._emulator.url)
        return ApiKey(self._emulator.api_key)


def _endpoints(
    failover: Sequence[Endpoint | Literal["local"]] | None,
) -> tuple[Endpoint | Literal["local"], ...]:
    if failover is None:
        return ()
    if isinstance(failover, (str, Endpoint)) or not isinstance(failover, Sequence):
        raise ConfigError("failover must be a list of Endpoint objects, or of 'local' for the end")
    for number, endpoint in enumerate(failover, 1):
        if endpoint == "local":
            if number < len(failover):
                raise ConfigError("failover may have 'local', the emulator, only at its end")
        elif not isinstance(endpoint, Endpoint):
            raise ConfigError(
                f"failover must have Endpoint objects or 'local', got {type(endpoint).__name__}"
            )
    return tuple(failover)


_clients: weakref.WeakSet[Inworld] = weakref.WeakSet()


def _begin_in_child() -> None:
    for client in list(_clients):
        client._begin(in_child=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)

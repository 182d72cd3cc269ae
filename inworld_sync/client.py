"""The client: configuration goes in, services come out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from inworld_sync.auth import ApiKey, Auth, auth_from
from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.models.options import Options
from inworld_sync.sessions.connector import ConnectionLimiter, Connector
from inworld_sync.sessions.synthesis import Tts
from inworld_sync.sessions.voices import Voices
from inworld_sync.transport.http import HttpClient

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from inworld_sync.emulator import Emulator
    from inworld_sync.models.options import OptionSettings

__all__ = ["LOCAL_VARIABLE", "Inworld"]

LOCAL_VARIABLE = "INWORLD_SYNC_LOCAL"


class Inworld:
    """
    A client for all services of Inworld, or for the local server that speaks like them.

    Args:
        api_key: As the portal shows it; without any credential ``INWORLD_API_KEY`` is read.
        token: A JSON Web Token, or a callable that gives a fresh one.
        auth: Anything that gives a header.
        local: True starts the local server in this process, on a free port of the loopback
            interface, and talks to it; None looks whether ``INWORLD_SYNC_LOCAL`` is 1.
        options: All settings in one value; *settings* are changes to it.
        settings: As the attributes of :class:`~inworld_sync.Options`.

    Raises:
        ConfigError: No credential and not local, or a setting that makes no sense.

    Lock rule: ``_lock`` guards the making of services and closing; it is held while a service is
    made, which waits for nothing.

    Thread safety: may be shared by threads. In a forked child, make another.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        token: str | Callable[[], str] | None = None,
        auth: Auth | None = None,
        local: bool | None = None,
        options: Options | None = None,
        **settings: Unpack[OptionSettings],
    ) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._emulator: Emulator | None = None
        options = attrs.evolve(options or Options(), **settings)
        if local is None:
            local = os.environ.get(LOCAL_VARIABLE, "") == "1"
        if local:
            if api_key or token or auth:
                raise ConfigError(
                    "local=True needs no credential, leave api_key, token and auth out"
                )
            options, auth = self._start_emulator(options)
        self._options = options
        self._connector = Connector(
            options,
            auth_from(api_key=api_key, token=token, auth=auth),
            options.limiter or ConnectionLimiter(),
        )
        self._http: HttpClient | None = None
        self._tts: Tts | None = None
        self._voices: Voices | None = None

    @property
    def options(self) -> Options:
        """The settings in use."""
        return self._options

    @property
    def tts(self) -> Tts:
        """Text to speech."""
        with self._lock:
            self._require_open()
            if self._tts is None:
                self._tts = Tts(self._connector)
            return self._tts

    @property
    def voices(self) -> Voices:
        """The voices that can be named."""
        with self._lock:
            self._require_open()
            if self._voices is None:
                if self._http is None:
                    self._http = HttpClient(self._options)
                self._voices = Voices(self._connector, self._http)
            return self._voices

    def close(self) -> None:
        """Close every shared connection and the local server; may be called twice."""
        with self._lock:
            self._closed = True
            tts, http, emulator = self._tts, self._http, self._emulator
            self._emulator = None
        if tts is not None:
            tts.close()
        if http is not None:
            http.close()
        if emulator is not None:
            emulator.close()

    def __enter__(self) -> Inworld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Inworld {self._options.base_url}{' local' if self._emulator else ''}>"

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the client was closed, make another")

    def _start_emulator(self, options: Options) -> tuple[Options, Auth]:
        from inworld_sync.emulator import Emulator

        emulator = Emulator()
        emulator.start()
        self._emulator = emulator
        return attrs.evolve(options, base_url=emulator.url), ApiKey(emulator.api_key)

"""The client: configuration goes in, services come out."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

from inworld_sync.auth import ApiKey, Auth, auth_from
from inworld_sync.errors import ClosedError, ConfigError
from inworld_sync.models.options import DEFAULT_BASE_URL, Options
from inworld_sync.sessions.connector import ConnectionLimiter, Connector
from inworld_sync.sessions.tts.service import Tts
from inworld_sync.sessions.voices import Voices
from inworld_sync.transport.http import HttpClient

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from inworld_sync.emulator import Emulator
    from inworld_sync.models.options import OptionSettings
    from inworld_sync.sessions.realtime.service import Realtime
    from inworld_sync.sessions.stt.service import Stt

__all__ = ["LOCAL_VARIABLE", "Inworld"]

LOCAL_VARIABLE = "INWORLD_SYNC_LOCAL"


class Inworld:
    """
    A client for all services of Inworld, or for the emulator that speaks like them.

    Args:
        api_key: As the portal shows it; without any credential ``INWORLD_API_KEY`` is read.
        token: A JSON Web Token, or a callable that gives a fresh one.
        auth: Anything that gives a header.
        local: True starts the emulator in this process, on a free port of the loopback
            interface, and talks to it; None looks whether ``INWORLD_SYNC_LOCAL`` is 1.
        options: All settings in one value; *settings* are changes to it.
        settings: As the attributes of :class:`~inworld_sync.Options`.

    Raises:
        ConfigError: No credential and not local, or a setting that makes no sense.

    Lock rule: ``_lock`` guards the making of services and closing; it is held while a service is
    made, which waits for nothing.

    Thread safety: may be shared by threads. A forked child of the process, such as a worker of
    gunicorn, may go on using it: there it begins anew, without the connections of its parent.
    What was taken from it before the fork stays the parent's.
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
        self._closed = False
        self._emulator: Emulator | None = None
        if options is not None and not isinstance(options, Options):
            raise ConfigError(f"options must be an Options, got {options!r}")
        self._options = attrs.evolve(options or Options(), **settings)
        if local is None and os.environ.get(LOCAL_VARIABLE) == "1":
            local, why = True, f"{LOCAL_VARIABLE}=1"
        else:
            why = "local=True"
        if local:
            given = {"api_key": api_key, "token": token, "auth": auth}
            if self._options.base_url != DEFAULT_BASE_URL:
                given["base_url"] = self._options.base_url
            _refuse_address_and_credential(why, given)
            auth = self._start_emulator()
        self._auth = auth_from(api_key=api_key, token=token, auth=auth)
        self._begin()
        _clients.add(self)

    def _begin(self, *, in_child: bool = False) -> None:
        """Start without any connection; also in a forked child, before anything else runs."""
        if in_child:
            self._emulator = None  # the parent's to close
        self._lock = threading.Lock()
        limiter = self._options.limiter
        if limiter is None:
            limiter = ConnectionLimiter()
        self._connector = Connector(self._options, self._auth, limiter)
        self._http: HttpClient | None = None
        self._tts: Tts | None = None
        self._stt: Stt | None = None
        self._realtime: Realtime | None = None
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
    def stt(self) -> Stt:
        """Speech to text."""
        with self._lock:
            self._require_open()
            if self._stt is None:
                from inworld_sync.sessions.stt.service import Stt

                self._stt = Stt(self._connector, self._shared_http())
            return self._stt

    @property
    def realtime(self) -> Realtime:
        """Realtime conversations."""
        with self._lock:
            self._require_open()
            if self._realtime is None:
                from inworld_sync.sessions.realtime.service import Realtime

                self._realtime = Realtime(self._connector)
            return self._realtime

    @property
    def voices(self) -> Voices:
        """The voices that can be named."""
        with self._lock:
            self._require_open()
            if self._voices is None:
                self._voices = Voices(self._connector, self._shared_http())
            return self._voices

    def close(self) -> None:
        """Close every connection that it opened, and the emulator; may be called twice."""
        with self._lock:
            self._closed = True
            emulator, self._emulator = self._emulator, None
        with contextlib.ExitStack() as rest:
            if emulator is not None:
                rest.callback(emulator.close)
            if self._http is not None:
                rest.callback(self._http.close)
            # All connections at once, so that dead peers cost their timeout once.
            self._connector.close()

    def __enter__(self) -> Inworld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Inworld {self._options.base_url}{' local' if self._emulator else ''}>"

    def _shared_http(self) -> HttpClient:
        """The one HTTP client; the lock is held."""
        if self._http is None:
            self._http = HttpClient(self._options)
        return self._http

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("the client was closed, make another")

    def _start_emulator(self) -> Auth:
        try:
            from inworld_sync.emulator import Emulator
        except ModuleNotFoundError as error:
            missing = (error.name or "a module").partition(".")[0]
            raise ConfigError(
                f"the emulator needs the extra 'local' ({missing} is missing): "
                "pip install 'inworld-sync[local]'"
            ) from error
        self._emulator = Emulator().start()
        self._options = attrs.evolve(self._options, base_url=self._emulator.url)
        return ApiKey(self._emulator.api_key)


def _refuse_address_and_credential(why: str, given: Mapping[str, object]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if names:
        raise ConfigError(
            f"{why} means the emulator, which has an address and a key of its own: leave "
            f"{', '.join(names)} out, or pass local=False"
        )


_clients: weakref.WeakSet[Inworld] = weakref.WeakSet()


def _begin_in_child() -> None:
    for client in list(_clients):
        client._begin(in_child=True)  # noqa: SLF001 - of this file's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)

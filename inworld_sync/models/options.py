"""Defines the settings of a client, which all connections of the client share."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args
from urllib.parse import SplitResult, urlsplit

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models import checks
from inworld_sync.models.checks import optional

if TYPE_CHECKING:
    import ssl

__all__ = ["Limiter", "Options", "TraceEvent", "WireObserver"]

DEFAULT_BASE_URL = "https://api.inworld.ai"
BASE_URL_VARIABLE = "INWORLD_BASE_URL"

Dispatch: TypeAlias = Literal["thread", "poll"]
CredentialPlace: TypeAlias = Literal["header", "query", "subprotocol"]
_Proxy: TypeAlias = "str | Literal[False] | None"
_Path: TypeAlias = "str | os.PathLike[str] | None"


class Limiter(Protocol):
    """
    Limits the open connections of an account, in one process or in several.

    Thread safety: both methods are called from any thread.
    """

    def acquire(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds to reserve a connection; return True on success."""
        ...

    def release(self) -> None:
        """Release the reservation of one connection."""
        ...


class WireObserver(Protocol):
    """Receives every message of both directions. No message has a credential."""

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        """
        Receive a text message of the connection named *connection*.

        This method must not block or raise.
        """
        ...


@attrs.frozen(kw_only=True)
class TraceEvent:
    """
    One step of a connection, for metrics and debugging.

    Attributes:
        connection: Name of the connection, unique in the process.
        name: The name of the step, such as ``connected``, ``first_message``, ``ping`` or
            ``closed``.
        seconds: The duration of the step. For a step without a duration, this is the monotonic
            time.
        facts: Further numbers and texts. The facts contain no credential.
    """

    connection: str
    name: str
    seconds: float
    facts: Mapping[str, str | int | float] = attrs.field(factory=dict)


def _proxy(_: object, field: attrs.Attribute[_Proxy], value: _Proxy) -> None:
    # The value may hold a password, so the error does not show the value.
    if value is not None and value is not False and not isinstance(value, str):
        raise ConfigError(
            f"{field.name} must be a URL, None for the proxy of the environment or False for no "
            f"proxy, got {type(value).__name__}"
        )


# Whether each accepted scheme uses TLS.
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}


def is_host(host: str) -> bool:
    """Return whether a host can be looked up (RFC 1035, section 2.3.4), or is an IPv6 address."""
    name = host.removesuffix(".")
    labels = name.split(".")
    return ":" in host or (len(name) <= 253 and all(1 <= len(label) <= 63 for label in labels))


def default_base_url() -> str:
    """
    Return the value of the variable ``INWORLD_BASE_URL``, or the default address if it is not set.

    Raises:
        ConfigError: The variable has no valid address.
    """
    value = os.environ.get(BASE_URL_VARIABLE, "").strip()
    if not value:
        return DEFAULT_BASE_URL
    _check_address(f"the environment variable {BASE_URL_VARIABLE}", value)
    return value


def _address(_: object, field: attrs.Attribute[str], value: object) -> None:
    _check_address(field.name, value)


def _check_address(name: str, value: object) -> None:
    """Raise an error for a wrong address. The error has *name*, the name of the setting."""
    parts = _url_parts(value)
    if parts is None:
        raise ConfigError(
            f"{name} must be a URL such as {DEFAULT_BASE_URL!r}, with http, https, ws or "
            f"wss, got {value!r}"
        )
    if parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(
            f"{name} must have only a scheme, a host and a port: the client appends the "
            "path, and a credential goes into api_key or token"
        )
    if not re.fullmatch(r"[\w.:\[\]%-]+", parts.netloc, re.ASCII):
        raise ConfigError(f"{name} must have a host in ASCII or Punycode, got {value!r}")
    if not is_host(parts.hostname or ""):
        raise ConfigError(
            f"{name} has the host {parts.hostname!r}, which is not a name: each part between two "
            "dots must have 1 to 63 characters, and the whole name at most 253"
        )


def _url_parts(value: object) -> SplitResult | None:
    """Split a URL. Return None if it has no known scheme, no host or no valid port."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts is not None and parts.port == 0:
            return None
    except ValueError:
        return None
    return parts if parts is not None and parts.scheme in _SCHEMES and parts.hostname else None


def _is_place(_: object, field: attrs.Attribute[CredentialPlace], value: CredentialPlace) -> None:
    checks.one_of(get_args(CredentialPlace))(_, field, value)


def _is_dispatch(_: object, field: attrs.Attribute[Dispatch], value: Dispatch) -> None:
    checks.one_of(get_args(Dispatch))(_, field, value)


def _is_path(_: object, field: attrs.Attribute[_Path], value: _Path) -> None:
    if value is None or (isinstance(value, (str, os.PathLike)) and os.fspath(value)):
        return
    raise ConfigError(f"{field.name} must be the path of a folder, got {value!r:.100}")


@attrs.frozen(kw_only=True)
class Options:
    """
    The settings of a client. Times are in seconds.

    Attributes:
        base_url: The address of the service, with ``https://`` or ``wss://`` for TLS, or with
            ``http://`` or ``ws://`` without TLS, and without a path. The client appends the path of
            each service. The default is ``INWORLD_BASE_URL`` of the environment, or
            ``https://api.inworld.ai`` if the variable is not set.
        connect_timeout: The limit for name lookup, TCP, proxy, TLS and upgrade together.
        send_timeout: The limit for sending one message. After this time the connection counts as
            lost.
        close_timeout: How long the client waits for the answer to a CLOSE frame. After this time
            the socket is closed.
        ping_interval: The time between two pings of a connection.
        ping_timeout: After this time without a received byte, a connection counts as lost. If this
            process was stalled, the stall counts as at most a fifth of this time. So the server has
            time to answer the next ping.
        max_retries: The maximum number of retries of an operation that is safe to repeat: an
            attempt to connect, an upgrade with status 429, 502, 503 or 504, an HTTP GET, and an
            utterance that was not answered yet.
        proxy: URL of a proxy, with ``http://``, ``https://``, ``socks5://`` or ``socks5h://``. The
            value None means the proxy in the variables of the environment, and the value False
            means no proxy.
        ssl_context: Replaces the default certificates and settings of TLS, for the service and for
            a proxy. The default certificates come from the first of these that exists:
            ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``, ``REQUESTS_CA_BUNDLE``, certifi, the system.
        headers: Headers that are sent with every request, in addition to those of the client.
        credential_in: Where the upgrade of a WebSocket has the credential: ``header``, ``query``
            or ``subprotocol``. HTTP requests always have the credential in a header.
        max_message_bytes: The largest message that the client accepts.
        max_queued_bytes: How many bytes may wait to be sent on one connection.
        limiter: Limits the connections of the account. The value None means that this client may
            have 20 connections.
        cache: A folder that keeps speech. If a text is spoken again with the same settings, no
            request is needed. The value None means that no speech is kept.
        cache_max_bytes: The maximum size of this folder in bytes. Beyond this size, the speech that
            was not used for the longest time is removed.
        observer: Receives every message of both directions.
        logger: Receives the log.
        on_trace: Called with a :class:`TraceEvent` for every step of a connection. The function
            must not block.
        sends_cancel_context: Whether an interruption of speech sends ``cancel_context`` instead of
            ``close_context``. ``cancel_context`` drops the text that was not spoken.
        dispatch: Which thread calls the handlers of ``on``. With the value ``thread``, a thread of
            the event stream calls the handlers. With the value ``poll``, the thread that calls the
            method ``poll`` calls the handlers.
    """

    base_url: str = attrs.field(factory=default_base_url, validator=_address)
    connect_timeout: float = attrs.field(default=10.0, validator=checks.seconds)
    send_timeout: float = attrs.field(default=10.0, validator=checks.seconds)
    close_timeout: float = attrs.field(default=0.5, validator=checks.seconds)
    ping_interval: float = attrs.field(default=5.0, validator=checks.seconds)
    ping_timeout: float = attrs.field(default=10.0, validator=checks.seconds)
    max_retries: int = attrs.field(default=2, validator=checks.whole(0, 100))
    proxy: str | Literal[False] | None = optional(_proxy, repr=False)
    ssl_context: ssl.SSLContext | None = optional(checks.having("wrap_bio"))
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=checks.string_map, repr=False)
    credential_in: CredentialPlace = attrs.field(default="header", validator=_is_place)
    max_message_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=checks.whole(1))
    max_queued_bytes: int = attrs.field(default=1024 * 1024, validator=checks.whole(1))
    limiter: Limiter | None = optional(checks.having("acquire", "release"))
    cache: _Path = attrs.field(default=None, validator=_is_path)
    cache_max_bytes: int = attrs.field(default=1 << 30, validator=checks.whole(1 << 20))
    observer: WireObserver | None = optional(checks.having("message"))
    logger: logging.Logger = attrs.field(
        factory=lambda: logging.getLogger("inworld_sync"),
        validator=checks.having("debug", "exception"),
    )
    on_trace: Callable[[TraceEvent], None] | None = optional(checks.having("__call__"))
    sends_cancel_context: bool = attrs.field(default=False, validator=checks.flag)
    dispatch: Dispatch = attrs.field(default="thread", validator=_is_dispatch)

    @property
    def service_name(self) -> str:
        """
        The name of the service. A journal or a cache stores results under this name.

        All services on this machine have the same name, because an emulator gets another port at
        each start.
        """
        parts = urlsplit(self.base_url)
        is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
        return "local" if is_here else parts.netloc.lower()

    def endpoint(self, path: str, *, websocket: bool) -> str:
        """Return the URL of a path of the service, without credentials."""
        parts = urlsplit(self.base_url)
        plain, secure = ("ws", "wss") if websocket else ("http", "https")
        scheme = secure if _SCHEMES[parts.scheme] else plain
        return f"{scheme}://{parts.netloc}{path}"

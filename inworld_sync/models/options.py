"""How a client reaches the service: one frozen value that every connection of it shares."""

from __future__ import annotations

import logging
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

Dispatch: TypeAlias = Literal["thread", "poll"]
_Proxy: TypeAlias = "str | Literal[False] | None"


class Limiter(Protocol):
    """
    Bounds how many connections the account holds at once, in one process or over many.

    Thread safety: both methods are called from any thread.
    """

    def acquire(self, timeout: float) -> bool:
        """Take one place; wait up to *timeout* seconds and return whether one came free."""
        ...

    def release(self) -> None:
        """Give one place back."""
        ...


class WireObserver(Protocol):
    """Sees every message of both directions; never a credential."""

    def message(self, direction: Literal["in", "out"], connection: str, data: bytes) -> None:
        """Take one text message of the connection named *connection*; must not block or raise."""
        ...


@attrs.frozen(kw_only=True)
class TraceEvent:
    """
    One step of a connection's life, for metrics and debugging.

    Attributes:
        connection: The connection's name, unique in the process.
        name: What happened: ``connected``, ``first_message``, ``ping``, ``closed``, ...
        seconds: How long the step took, or the monotonic time for a moment.
        facts: Further numbers and texts; never a credential.
    """

    connection: str
    name: str
    seconds: float
    facts: Mapping[str, str | int | float] = attrs.field(factory=dict)


def _proxy(_: object, field: attrs.Attribute[_Proxy], value: _Proxy) -> None:
    # The value may hold a password, so the error does not show it.
    if value is not None and value is not False and not isinstance(value, str):
        raise ConfigError(
            f"{field.name} must be a URL, None for the environment's or False for none, "
            f"got {type(value).__name__}"
        )


# For each accepted scheme: whether it means TLS.
_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}


def _address(_: object, field: attrs.Attribute[str], value: object) -> None:
    parts = _url_parts(value)
    if parts is None:
        raise ConfigError(
            f"{field.name} must be like {DEFAULT_BASE_URL!r}, with http, https, ws or wss, "
            f"got {value!r}"
        )
    if parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise ConfigError(
            f"{field.name} must be a scheme, a host and a port only: the services' paths are "
            "appended at the root, and a credential goes into api_key or token"
        )
    if not re.fullmatch(r"[\w.:\[\]%-]+", parts.netloc, re.ASCII):
        raise ConfigError(f"{field.name} must have a host in ASCII or Punycode, got {value!r}")


def _url_parts(value: object) -> SplitResult | None:
    """Take an address apart; None for what has no known scheme, no host or a bad port."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts is not None and parts.port == 0:
            return None
    except ValueError:
        return None
    return parts if parts is not None and parts.scheme in _SCHEMES and parts.hostname else None


def _is_dispatch(_: object, field: attrs.Attribute[Dispatch], value: Dispatch) -> None:
    checks.one_of(get_args(Dispatch))(_, field, value)


@attrs.frozen(kw_only=True)
class Options:
    """
    Settings of a client; times are in seconds.

    Attributes:
        base_url: ``https://`` or ``wss://`` means TLS, ``http://`` or ``ws://`` none.
            The services' paths are appended at the root.
        connect_timeout: From the first name lookup to the answered upgrade, all steps together.
        send_timeout: For one message to leave; after it the connection counts as dead.
        close_timeout: How long a close waits for the peer before it cuts.
        ping_interval: How often an open connection is pinged.
        ping_timeout: Silence, without a single byte received, after which a connection is dead. A
            stall of this process counts for a fifth of it at most.
        proxy: A URL; None takes the environment's; False uses none.
        ssl_context: Used as it is; None makes one from certifi when that is installed, else from
            the system's certificates.
        headers: Sent with every request, beside the package's own.
        max_message_bytes: The largest message that is accepted.
        max_queued_bytes: The most that may wait to be sent on one connection.
        limiter: Bounds the account's connections; None makes one of 20 places for the client.
        observer: Sees every message.
        logger: For the few lines that the package logs.
        on_trace: Called for every step of a connection; must not block.
        dispatch: Where handlers added by ``on`` run: ``thread`` is one dispatch thread a stream,
            ``poll`` is whoever calls ``poll``.
    """

    base_url: str = attrs.field(default=DEFAULT_BASE_URL, validator=_address)
    connect_timeout: float = attrs.field(default=10.0, validator=checks.positive)
    send_timeout: float = attrs.field(default=10.0, validator=checks.positive)
    close_timeout: float = attrs.field(default=0.5, validator=checks.positive)
    ping_interval: float = attrs.field(default=5.0, validator=checks.positive)
    ping_timeout: float = attrs.field(default=10.0, validator=checks.positive)
    proxy: str | Literal[False] | None = optional(_proxy, repr=False)
    ssl_context: ssl.SSLContext | None = optional(checks.having("wrap_bio"))
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=checks.string_map, repr=False)
    max_message_bytes: int = attrs.field(default=16 * 1024 * 1024, validator=checks.whole(1))
    max_queued_bytes: int = attrs.field(default=1024 * 1024, validator=checks.whole(1))
    limiter: Limiter | None = optional(checks.having("acquire", "release"))
    observer: WireObserver | None = optional(checks.having("message"))
    logger: logging.Logger = attrs.field(
        factory=lambda: logging.getLogger("inworld_sync"),
        validator=checks.having("debug", "exception"),
    )
    on_trace: Callable[[TraceEvent], None] | None = optional(checks.having("__call__"))
    dispatch: Dispatch = attrs.field(default="thread", validator=_is_dispatch)

    def endpoint(self, path: str, *, websocket: bool) -> str:
        """The address of a path of the service, without credentials."""
        parts = urlsplit(self.base_url)
        plain, secure = ("ws", "wss") if websocket else ("http", "https")
        scheme = secure if _SCHEMES[parts.scheme] else plain
        return f"{scheme}://{parts.netloc}{path}"

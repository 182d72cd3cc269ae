"""
Checks the site of the page that opens a WebSocket.

A browser lets every page open a WebSocket to every server, and sends the user's cookies with the
request. So without this check, a page of another site could start conversations as a user who is
logged in. The browser sends the site of the page in the header ``Origin``. The page cannot change
this header.
Source: RFC 6455, 10.2; RFC 6454.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

from inworld_sync.errors import AuthError, ConfigError

__all__ = ["check_origin", "origins_of", "require_headers"]

_PORTS = {"http": 80, "https": 443}


def origins_of(allowed_origins: Sequence[str]) -> tuple[str, ...]:
    """
    Check the origins that a program allows. Return each origin in lower case and with its port.

    Raises:
        ConfigError: A value is not an origin.
    """
    if isinstance(allowed_origins, str) or not isinstance(allowed_origins, Iterable):
        raise ConfigError(
            f"allowed_origins must be a list of origins, got {type(allowed_origins).__name__}"
        )
    return tuple(_allowed(each) for each in allowed_origins)


def check_origin(headers: Mapping[str, str], allowed_origins: Sequence[str] = ()) -> None:
    """
    Check that the upgrade of a WebSocket comes from a page of an allowed site.

    :class:`Relay` calls this function. To refuse the upgrade before the socket is open, call this
    function yourself, for example in ``connect`` of a Django Channels consumer.

    Args:
        headers: The headers of the request.
        allowed_origins: The allowed sites, such as ``https://www.example.com``. If the list is
            empty, the page must have the same host and port as the request.

    Raises:
        AuthError: The page belongs to another site, or the request has no ``Origin``. All browsers
            send this header.
        ConfigError: *allowed_origins* has a value that is not an origin, or *headers* is not a
            mapping of texts.
    """
    allowed = origins_of(allowed_origins)
    require_headers(headers)
    origin = _header(headers, "origin")
    if not origin:
        raise AuthError(
            "the request has no Origin header, which all browsers send: pass verify_origin=False "
            "if clients that are not browsers may connect",
            status=403,
        )
    found = _normal(origin)
    if allowed:
        if found not in allowed:
            raise AuthError(
                f"pages of {origin[:200]!r} may not connect: add the origin to allowed_origins if "
                "this is your site",
                status=403,
            )
        return
    host = _header(headers, "host")
    if found is None or not _is_same_host(found, host):
        raise AuthError(
            f"pages of {origin[:200]!r} may not connect to {host[:200]!r}: pass allowed_origins "
            "if your pages have another host, or if a proxy changes the Host header",
            status=403,
        )


def require_headers(headers: object) -> None:
    """Raise ConfigError if a value is not a mapping of texts."""
    # The headers object of Flask is not a Mapping.
    items = getattr(headers, "items", None)
    if not callable(items):
        raise ConfigError(
            "headers must be a mapping of texts such as request.headers, got "
            f"{type(headers).__name__}"
        )
    pairs = cast("Iterable[tuple[object, object]]", items())
    if not all(isinstance(name, str) and isinstance(value, str) for name, value in pairs):
        raise ConfigError(
            "headers must be a mapping of texts such as request.headers, got names or values of "
            "another type: decode the headers of an ASGI scope with latin-1"
        )


def _header(headers: Mapping[str, str], name: str) -> str:
    for each, value in headers.items():
        if each.lower() == name:
            return value.strip()
    return ""


def _allowed(origin: object) -> str:
    found = _normal(origin) if isinstance(origin, str) else None
    if found is None:
        raise ConfigError(
            f"allowed_origins must have origins such as 'https://www.example.com', got {origin!r}"
        )
    return found


def _normal(origin: str) -> str | None:
    """Return an origin in lower case and with its port; None if the text is not an origin."""
    try:
        parts = urlsplit(origin.strip())
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    is_origin = parts.hostname and not (parts.path.strip("/") or parts.query or parts.fragment)
    if scheme not in _PORTS or not is_origin or "@" in parts.netloc:
        return None
    return f"{scheme}://{parts.hostname}:{port or _PORTS[scheme]}"


def _is_same_host(origin: str, host: str) -> bool:
    # A proxy may end TLS, so the scheme of the request is unknown. If *host* has no port, the
    # default port of the page's scheme is used.
    scheme = origin.partition(":")[0]
    return bool(host) and _normal(f"{scheme}://{host}") == origin

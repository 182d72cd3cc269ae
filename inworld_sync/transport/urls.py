"""Checks URLs and headers, and removes secrets from URLs for messages."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.models.options import is_host

__all__ = ["Place", "merge_headers", "parse_url", "quote_part", "show_url"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# Query parameters with credentials. The service accepts ``authorization`` in lower and upper case.
_SECRET_QUERY = re.compile(r"(?i)([?&](?:authorization|access_token|token|api_key)=)[^&#]*")

# RFC 9110, sections 5.1 and 5.5. A name is a token, and a value has no control characters.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@attrs.frozen(kw_only=True)
class Place:
    """
    The server and the resource that a URL names.

    Attributes:
        is_secure: Whether the server uses TLS.
        host: A name or an address; an IPv6 address has no brackets.
        port: The TCP port.
        authority: Host and port as written in the URL, without user and password.
        target: Path and query, as in a request line.
    """

    is_secure: bool
    host: str
    port: int
    authority: str
    target: str = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> Place:
    """
    Split *url* into its parts.

    Raises:
        ConfigError: The scheme is not ``https``, ``http``, ``wss`` or ``ws``; the host is missing
            or is not a name; the port is not valid; or the URL has a space or a character that is
            not printable ASCII.
    """
    parts = urllib.parse.urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError(
            f"a URL like https://host or wss://host was expected, got {show_url(url)!r}; "
            "check base_url"
        )
    if not is_host(host):
        raise ConfigError(
            f"the host {host!r} is not a name: each part of a name (the text between dots) must "
            "have 1 to 63 characters, and the whole name at most 253; check base_url"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(
            "a URL must be ASCII, with the host in Punycode and the rest percent-encoded"
        )
    return Place(
        is_secure=parts.scheme in {"https", "wss"},
        host=host,
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        authority=parts.netloc.rpartition("@")[2],
        target=target,
    )


def quote_part(name: str, text: str) -> str:
    """
    Quote *text* as one part of a path. Errors name *name*, the argument that has the text.

    Raises:
        ConfigError: *text* has half of a surrogate pair, or is ``.`` or ``..``. Proxies remove
            ``.`` from a path, and remove ``..`` together with the part before ``..``.
    """
    if text in (".", ".."):
        raise ConfigError(f"{name} must be an id, got {text!r}")
    try:
        return urllib.parse.quote(text, safe="")
    except UnicodeEncodeError:
        raise ConfigError(f"{name} must be valid Unicode, got {text!a:.100}") from None


def show_url(url: str) -> str:
    """Return *url* without user, password and credentials in the query."""
    parts = urllib.parse.urlsplit(url)
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return _SECRET_QUERY.sub(r"\1***", shown)


def merge_headers(*groups: Mapping[str, str]) -> dict[str, str]:
    """
    Combine headers. If two groups have the same header, the value of the last group is used.

    Names that differ only in upper and lower case are the same header.

    Raises:
        ConfigError: A header has a line break or another character that HTTP forbids. The message
            names the header and does not show the value.
    """
    merged: dict[str, tuple[str, str]] = {}
    for group in groups:
        for name, value in group.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ConfigError(
                    f"the header {name!r} cannot be sent: a name may have letters, digits and "
                    "hyphens, a value may have Latin-1 characters without line breaks"
                )
            merged[name.lower()] = (name, value)
    return dict(merged.values())

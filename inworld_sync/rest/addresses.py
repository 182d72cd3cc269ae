"""Checks the addresses of files that a service sends."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from inworld_sync.errors import RemoteProtocolError
from inworld_sync.transport.urls import parse_url

__all__ = ["split_address"]


def split_address(url: str, name: str) -> SplitResult:
    """
    Split the address of a file; *name* is the field of the service's answer that has the address.

    Raises:
        RemoteProtocolError: *url* cannot be requested. The message does not show *url*, which may
            have a signature.
    """
    try:
        parse_url(url)
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or "@" in parts.netloc:
        raise RemoteProtocolError(
            f"expected an https:// address as {name}, got one that cannot be requested"
        )
    return parts

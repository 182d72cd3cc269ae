"""
Checks ``Host`` and ``Origin``, to protect the server from web pages.

A page on any site can open a WebSocket to a port of this machine. Then the browser sends the site
in ``Origin``. A page can also make its own host name resolve to the address of this machine (DNS
rebinding). Then ``Host`` has this name. Other clients send an IP address or ``localhost`` in
``Host``, and no foreign ``Origin``.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from inworld_sync.emulator.http import Request

__all__ = ["AllowedHosts", "is_loopback"]

_EVERY_HOST = "*"


class AllowedHosts:
    """
    The hosts from which requests are accepted.

    Args:
        host: The address on which the server listens.
        names: Further host names, or ``*`` for all.

    Thread safety: any thread may use this object, since it is never changed.
    """

    def __init__(self, host: str, names: tuple[str, ...]) -> None:
        self._names = {host.lower(), *(name.lower() for name in names)}

    def refusal(self, request: Request) -> str | None:
        """Return the reason why a request is refused, or None if the request is accepted."""
        if _EVERY_HOST in self._names:
            return None
        sent_host, origin = request.headers.get("host"), request.headers.get("origin")
        host = _host_of(f"//{sent_host}")
        # A client that is not a browser may omit both headers.
        if sent_host is not None and not (_is_address(host) or self._is_known(host)):
            return _message("Host", sent_host)
        if origin is None:
            return None
        page = _host_of(origin)
        is_own = bool(page) and page == host
        return None if is_own or self._is_known(page) else _message("Origin", origin)

    def _is_known(self, host: str) -> bool:
        return is_loopback(host) or host in self._names


def is_loopback(host: str) -> bool:
    """Return whether a host name or an IP address is the loopback address of this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host_of(url: str) -> str:
    """Return the host of a URL in lower case, empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _message(header: str, value: str) -> str:
    return (
        f"{header} {value[:100]!r} is refused: only this machine may use the emulator; to allow "
        "another host, add its name to Settings(allowed_hosts=...)"
    )

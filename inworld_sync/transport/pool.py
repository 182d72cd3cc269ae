"""urllib3's connection pool, with this package's own connect; imported at the first request."""

from __future__ import annotations

import socket
import ssl

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from inworld_sync.errors import ConnectError, ConnectionLost, DeadlineExceeded, InworldError
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.proxy import Proxy
from inworld_sync.transport.rejection import reason_of
from inworld_sync.transport.tcp import connect_tcp, look_up
from inworld_sync.transport.tls import context_for, tls_error
from inworld_sync.transport.urls import Place

__all__ = ["from_urllib3", "make_pool"]

# Connections kept open between requests: the service's limit for one account.
_KEPT_CONNECTIONS = 20


class _HttpConnection(HTTPConnection):
    """Connects with :func:`_connected`, because urllib3 has no timeout for name lookup."""

    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _HttpsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(connection: HTTPConnection) -> socket.socket:
    where = f"{connection.host}:{connection.port}"
    if connection.proxy is not None:
        where = f"the proxy http://{where}"
    timeout = connection.timeout
    seconds = timeout if isinstance(timeout, (int, float)) else None
    deadline = Deadline(seconds, f"connecting to {where}")
    addresses = look_up(connection.host, connection.port or 443, deadline)
    sock = connect_tcp(addresses, where, deadline)
    sock.settimeout(seconds)
    return sock


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection  # pyright: ignore[reportAssignmentType] - as urllib3 documents


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection  # pyright: ignore[reportAssignmentType] - as above


def make_pool(options: Options, place: Place, proxy: Proxy | None) -> urllib3.PoolManager:
    """Return a new connection pool for *place*; it does not retry."""
    context = context_for(options) if place.is_secure else None
    if proxy is None:
        pool = urllib3.PoolManager(maxsize=_KEPT_CONNECTIONS, retries=False, ssl_context=context)
    else:
        pool = urllib3.ProxyManager(
            proxy.url,
            proxy_headers=(
                {"Proxy-Authorization": proxy.authorization} if proxy.authorization else None
            ),
            maxsize=_KEPT_CONNECTIONS,
            retries=False,
            ssl_context=context,
        )
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


def from_urllib3(error: Exception, doing: str, timeout: float, place: Place) -> InworldError:
    """
    Return the error of this package for an error of urllib3.

    Args:
        error: The error that urllib3 raised.
        doing: The request, for the message.
        timeout: Seconds; the timeout of the request.
        place: The server.
    """
    for cause in _causes(error):
        if isinstance(cause, InworldError):
            return cause
        if isinstance(cause, ssl.SSLError):
            return tls_error(cause, str(place))
    if isinstance(error, (exceptions.TimeoutError, TimeoutError)):
        return DeadlineExceeded(f"{doing} took longer than {timeout:g} s")
    if isinstance(error, exceptions.ProxyError):
        return ConnectError(f"{doing} failed at the proxy: {error.original_error}")
    return ConnectionLost(f"{doing}: the connection broke: {reason_of(_causes(error)[-1])}")


def _causes(error: Exception) -> list[BaseException]:
    """Return *error* and all errors that urllib3 wrapped in it."""
    found: list[BaseException] = [error]
    for item in found:
        inner = [item.__cause__, *item.args]
        found += [each for each in inner if isinstance(each, BaseException) and each not in found]
    return found

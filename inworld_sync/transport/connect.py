"""
Opens a connection.

One deadline limits all steps: name lookup, TCP, proxy, TLS and upgrade. Each step is timed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping

import attrs

from inworld_sync.errors import ConnectError, DeadlineExceeded, InworldError
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.link_stats import ConnectTimes
from inworld_sync.transport.proxy import Proxy, choose_proxy
from inworld_sync.transport.self_pipe import SelfPipe, Waiter, WokenUp
from inworld_sync.transport.stream import PlainStream, Stream, TlsStream
from inworld_sync.transport.tcp import connect_tcp, look_up
from inworld_sync.transport.tls import context_for, tls_error
from inworld_sync.transport.tunnel import open_tunnel
from inworld_sync.transport.upgrade import Upgraded, upgrade
from inworld_sync.transport.urls import Place, merge_headers, parse_url, show_url

__all__ = ["OpenedStream", "OpenedWebSocket", "open_stream", "open_websocket"]

_STEPS = {
    "dns": "looking up the name",
    "tcp": "connecting by TCP",
    "proxy": "asking the proxy for a tunnel",
    "tls": "the TLS handshake, which a server without TLS does not answer",
    "upgrade": "waiting for the response to the upgrade",
}


@attrs.frozen(kw_only=True)
class OpenedStream:
    """
    A connection to a server, with a proxy and TLS if the options need them.

    Attributes:
        sock: The TCP socket.
        self_pipe: The self-pipe. When the self-pipe is set, the waits of the stream end.
        stream: The stream to read from and to write to.
        tls_version: For example ``TLSv1.3``; None without TLS.
        times_ms: The milliseconds of each step. The keys are the attributes of
            :class:`ConnectTimes`.
    """

    sock: socket.socket
    self_pipe: SelfPipe
    stream: Stream
    tls_version: str | None
    times_ms: dict[str, float]

    def has_unread(self) -> bool:
        """
        Return whether the socket has unread bytes, or earlier bytes are still being handled.

        Any thread may call this method.
        """
        if not self.stream.is_waiting:
            return True
        try:
            Waiter(self.sock, self.self_pipe, write=False).wait(0)
        except (TimeoutError, WokenUp, OSError, ValueError):
            # The socket may be closed already. The reader may have received the bytes meanwhile.
            return not self.stream.is_waiting
        return True

    def end(self) -> None:
        """Shut the socket down, so that the waits of the stream end. Any thread may call this."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket and the self-pipe."""
        self.sock.close()
        self.self_pipe.close()


@attrs.frozen(kw_only=True)
class OpenedWebSocket:
    """
    An upgraded connection.

    Attributes:
        connection: The connection to the server, with its socket and stream.
        upgraded: The response to the upgrade.
        proxy: URL of the proxy without credentials; None without a proxy.
    """

    connection: OpenedStream
    upgraded: Upgraded
    proxy: str | None

    @property
    def times(self) -> ConnectTimes:
        """How long each step took."""
        return ConnectTimes(**self.connection.times_ms)


def open_stream(
    place: Place, proxy: Proxy | None, options: Options, deadline: Deadline
) -> OpenedStream:
    """
    Connect to a server.

    Args:
        place: The server to connect to.
        proxy: The proxy that opens a tunnel to the server; None means a direct connection.
        options: The settings. Only the certificates are used, for the server and for a proxy with
            TLS.
        deadline: The deadline for all steps together.

    Raises:
        ConnectError: A step failed.
        DeadlineExceeded: The deadline passed; the message names the step.
    """
    times_ms: dict[str, float] = {}
    with contextlib.ExitStack() as failure:
        gate = proxy or place
        where = f"the proxy {proxy.url}" if proxy else str(place)
        with _step(times_ms, "dns"):
            addresses = look_up(gate.host, gate.port, deadline)
        with _step(times_ms, "tcp"):
            sock = connect_tcp(addresses, where, deadline)
        failure.callback(sock.close)
        self_pipe = SelfPipe()
        failure.callback(self_pipe.close)
        stream: Stream = PlainStream(sock, self_pipe)
        if proxy:
            with _step(times_ms, "proxy"):
                if proxy.scheme == "https":
                    setting = "the URL of the proxy"
                    stream = _secured(stream, proxy.host, where, setting, options, deadline)
                open_tunnel(stream, proxy, place.host, place.port, deadline)
        tls_version = None
        if place.is_secure:
            with _step(times_ms, "tls"):
                stream = secured = _secured(
                    stream, place.host, str(place), "base_url", options, deadline
                )
                tls_version = secured.version
        failure.pop_all()
    return OpenedStream(
        sock=sock, self_pipe=self_pipe, stream=stream, tls_version=tls_version, times_ms=times_ms
    )


def _secured(
    stream: Stream, host: str, where: str, setting: str, options: Options, deadline: Deadline
) -> TlsStream:
    """Start TLS on a stream; *where* and *setting* are as for :func:`tls_error`."""
    try:
        secured = TlsStream(stream, context_for(options), host)
        secured.handshake(deadline)
    except (ssl.SSLError, EOFError, OSError) as error:
        if isinstance(error, InworldError):
            raise
        raise tls_error(error, where, setting) from error
    return secured


def open_websocket(
    url: str, *, headers: Mapping[str, str], options: Options, deadline: Deadline
) -> OpenedWebSocket:
    """
    Connect to *url* and upgrade the connection to a WebSocket.

    Args:
        url: ``ws://`` or ``http://`` without TLS, ``wss://`` or ``https://`` with TLS.
        headers: Headers of the upgrade. A header of *options* with the same name is not sent.
        options: The settings: proxy, certificates and headers.
        deadline: The deadline for all steps together.

    Raises:
        ConnectError: A step failed.
        DeadlineExceeded: The deadline passed; the message names the step.
        ServiceError: The server refused the upgrade.
        ConfigError: The URL, the proxy or a header is invalid.
    """
    place = parse_url(url)
    proxy = choose_proxy(url, options)
    connection = open_stream(place, proxy, options, deadline)
    with contextlib.ExitStack() as failure:
        failure.callback(connection.close)
        with _step(connection.times_ms, "upgrade"):
            upgraded = upgrade(
                connection.stream,
                place,
                headers=merge_headers(options.headers, headers),
                shown_url=show_url(url),
                deadline=deadline,
            )
        failure.pop_all()
    return OpenedWebSocket(
        connection=connection, upgraded=upgraded, proxy=proxy.url if proxy else None
    )


@contextlib.contextmanager
def _step(times_ms: dict[str, float], name: str) -> Iterator[None]:
    """Measure the time of a step, and name the step in the errors that the step raises."""
    started = time.monotonic()
    try:
        yield
    except DeadlineExceeded as error:
        raise DeadlineExceeded(
            f"{error}; the timeout passed in this step: {_STEPS[name]}"
        ) from error
    except OSError as error:
        raise ConnectError(
            f"the connection broke in this step: {_STEPS[name]} ({error.strerror or error})"
        ) from error
    times_ms[f"{name}_ms"] = (time.monotonic() - started) * 1000

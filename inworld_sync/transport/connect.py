"""Open a WebSocket: name lookup, TCP, proxy, TLS and upgrade, under one deadline, each timed."""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
from collections.abc import Iterator, Mapping

import attrs

from inworld_sync.errors import ConnectError, DeadlineExceeded, InworldError
from inworld_sync.models.options import Options
from inworld_sync.transport.deadline import Deadline
from inworld_sync.transport.link_stats import ConnectTimes
from inworld_sync.transport.proxy import choose_proxy, open_tunnel
from inworld_sync.transport.self_pipe import SelfPipe
from inworld_sync.transport.stream import PlainStream, Stream, TlsStream
from inworld_sync.transport.tcp import connect_tcp, look_up
from inworld_sync.transport.tls import context_for, tls_error
from inworld_sync.transport.upgrade import Upgraded, upgrade
from inworld_sync.transport.urls import merge_headers, parse_url, show_url

__all__ = ["Opened", "open_websocket"]

_STEPS = {
    "dns": "looking up the name",
    "tcp": "connecting by TCP",
    "proxy": "asking the proxy for a tunnel",
    "tls": "the TLS handshake",
    "upgrade": "waiting for the response to the upgrade",
}


@attrs.frozen(kw_only=True)
class Opened:
    """An upgraded connection and its details."""

    sock: socket.socket
    self_pipe: SelfPipe
    stream: Stream
    upgraded: Upgraded
    times: ConnectTimes
    proxy: str | None
    tls_version: str | None


def open_websocket(
    url: str, *, headers: Mapping[str, str], options: Options, deadline: Deadline
) -> Opened:
    """
    Connect to *url* and upgrade the connection to a WebSocket.

    Args:
        url: ``ws://`` or ``http://`` without TLS, ``wss://`` or ``https://`` with TLS.
        headers: Sent with the upgrade; they replace headers of *options* with the same name.
        options: Proxy, certificates, headers.
        deadline: For all steps together.

    Raises:
        ConnectError: A step failed.
        DeadlineExceeded: The deadline passed; the message names the step.
        ServiceError: The server refused the upgrade.
        ConfigError: The URL, the proxy or a header is invalid.
    """
    place = parse_url(url)
    times_ms: dict[str, float] = {}
    step = functools.partial(_step, times_ms)
    proxy = choose_proxy(url, options)
    with contextlib.ExitStack() as failure:
        gate = proxy or place
        where = f"the proxy {proxy.url}" if proxy else str(place)
        with step("dns"):
            addresses = look_up(gate.host, gate.port, deadline)
        with step("tcp"):
            sock = connect_tcp(addresses, where, deadline)
        failure.callback(sock.close)
        self_pipe = SelfPipe()
        failure.callback(self_pipe.close)
        plain = PlainStream(sock, self_pipe)
        if proxy:
            with step("proxy"):
                open_tunnel(plain, proxy, place.host, place.port, deadline)
        stream: Stream = plain
        tls_version = None
        if place.is_secure:
            with step("tls"):
                try:
                    stream = secured = TlsStream(plain, context_for(options), place.host)
                    secured.handshake(deadline)
                except (ssl.SSLError, EOFError, OSError) as error:
                    if isinstance(error, InworldError):
                        raise
                    raise tls_error(error, str(place)) from error
                tls_version = secured.version
        with step("upgrade"):
            upgraded = upgrade(
                stream,
                place,
                headers=merge_headers(options.headers, headers),
                shown_url=show_url(url),
                deadline=deadline,
            )
        failure.pop_all()
    return Opened(
        sock=sock,
        self_pipe=self_pipe,
        stream=stream,
        upgraded=upgraded,
        times=ConnectTimes(**times_ms),
        proxy=proxy.url if proxy else None,
        tls_version=tls_version,
    )


@contextlib.contextmanager
def _step(times_ms: dict[str, float], name: str) -> Iterator[None]:
    """Time a step; an error that is raised in it names the step."""
    started = time.monotonic()
    try:
        yield
    except DeadlineExceeded as error:
        raise DeadlineExceeded(f"{error}; the timeout passed in {_STEPS[name]}") from error
    except OSError as error:
        raise ConnectError(
            f"the connection broke in {_STEPS[name]}: {error.strerror or error}"
        ) from error
    times_ms[f"{name}_ms"] = (time.monotonic() - started) * 1000

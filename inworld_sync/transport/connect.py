"""All steps from a URL to an upgraded WebSocket, under one deadline, each of them timed."""

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
from inworld_sync.transport.proxy import choose_proxy, open_tunnel
from inworld_sync.transport.self_pipe import SelfPipe
from inworld_sync.transport.stream import PlainStream, Stream, TlsStream
from inworld_sync.transport.tcp import connect_tcp, look_up
from inworld_sync.transport.tls import context_for, tls_error
from inworld_sync.transport.upgrade import Upgraded, upgrade
from inworld_sync.transport.urls import Place, merge_headers, parse_url, show_url

__all__ = ["Opened", "open_websocket"]

_STEPS = {
    "dns": "looking up the name",
    "tcp": "connecting by TCP",
    "proxy": "asking the proxy for a tunnel",
    "tls": "the TLS handshake",
    "upgrade": "waiting for the answer to the upgrade",
}


@attrs.frozen(kw_only=True)
class Opened:
    """An upgraded connection, and what is known of it."""

    sock: socket.socket
    self_pipe: SelfPipe
    stream: Stream
    upgraded: Upgraded
    times: ConnectTimes
    proxy: str | None
    tls_version: str | None


def open_websocket(
    url: str,
    *,
    headers: Mapping[str, str],
    options: Options,
    deadline: Deadline,
) -> Opened:
    """
    Connect to *url* and make the connection a WebSocket.

    Args:
        url: ``ws://`` or ``wss://``; ``http://`` and ``https://`` mean the same two.
        headers: Sent with the upgrade, after those of *options*.
        options: Proxy, certificates, headers.
        deadline: For all steps together.

    Raises:
        ConnectError: A step failed.
        DeadlineExceeded: The deadline passed; the message names the step.
        ServiceError: The server refuses the upgrade.
        ConfigError: The URL, the proxy or a header makes no sense.
    """
    place = parse_url(url)
    steps = _Steps()
    proxy = choose_proxy(url, options)
    sock = self_pipe = None
    try:
        gate = proxy or place
        where = f"the proxy {proxy.url}" if proxy else str(place)
        with steps.step("dns"):
            addresses = look_up(gate.host, gate.port, deadline)
        with steps.step("tcp"):
            sock = connect_tcp(addresses, where, deadline)
        self_pipe = SelfPipe()
        plain = PlainStream(sock, self_pipe)
        if proxy:
            with steps.step("proxy"):
                open_tunnel(plain, proxy, place.host, place.port, deadline)
        stream: Stream = plain
        tls_version = None
        if place.is_secure:
            with steps.step("tls"):
                stream, tls_version = _secured(plain, place, options, deadline)
        with steps.step("upgrade"):
            upgraded = upgrade(
                stream,
                place,
                headers=merge_headers(options.headers, headers),
                shown_url=show_url(url),
                deadline=deadline,
            )
    except BaseException:
        for resource in (sock, self_pipe):
            if resource is not None:
                resource.close()
        raise
    return Opened(
        sock=sock,
        self_pipe=self_pipe,
        stream=stream,
        upgraded=upgraded,
        times=ConnectTimes(**steps.times_ms),
        proxy=proxy.url if proxy else None,
        tls_version=tls_version,
    )


def _secured(
    plain: PlainStream, place: Place, options: Options, deadline: Deadline
) -> tuple[TlsStream, str]:
    try:
        stream = TlsStream(plain, context_for(options), place.host)
        stream.handshake(deadline)
    except (ssl.SSLError, EOFError, OSError) as error:
        if isinstance(error, InworldError):
            raise
        raise tls_error(error, str(place)) from error
    return stream, stream.version


class _Steps:
    """Times the steps, and gives what goes wrong in one the name of it."""

    def __init__(self) -> None:
        self.times_ms: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error}; the time ran out in {_STEPS[name]}") from error
        except OSError as error:
            raise ConnectError(
                f"the connection broke in {_STEPS[name]}: {error.strerror or error}"
            ) from error
        self.times_ms[f"{name}_ms"] = (time.monotonic() - started) * 1000

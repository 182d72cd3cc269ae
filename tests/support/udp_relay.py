"""Simulates a bad network between a WebRTC client and a server."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import re
import select
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

from support.webrtc_service import serve_http

__all__ = ["UdpRelay", "open_relay"]

_CANDIDATE = re.compile(r"a=candidate:.* (127\.0\.0\.1) (\d+) typ host.*")
_ANY_CANDIDATE = re.compile(r"a=candidate:[^\r\n]*\r?\n")
_TIMEOUT = 20.0

# The value of SO_TIMESTAMPNS on Linux. With this option, the kernel adds to each packet the time at
# which the packet arrived. So if this thread runs late on a busy machine, the delays and the order
# of the packets do not change.
_TIMESTAMPS = 35
_TIMESTAMP_MESSAGE = (socket.SOL_SOCKET, _TIMESTAMPS)

Address = tuple[str, int]


class UdpRelay:
    """
    Passes packets between a client and a server. The client and the server know only the addresses
    of the relay.

    Args:
        seed: The seed of the random numbers.
        loss: The share of packets that are dropped, in each direction.
        max_delay: The longest delay of a packet in seconds; delays are evenly distributed from 0.

    Attributes:
        passed: How many packets were passed.
        dropped: How many packets were dropped.
        is_cut: Whether all packets are dropped.
    """

    def __init__(self, seed: int, loss: float, max_delay: float) -> None:
        self.passed = self.dropped = 0
        self.is_cut = False
        self._random = random.Random(seed)
        self._loss = loss
        self._max_delay = max_delay
        self._sockets = [self._new_socket(), self._new_socket()]
        # The first socket sends to the client, and the second socket sends to the server.
        self._targets: list[Address | None] = [None, None]
        self._late: list[tuple[float, int, bytes, int]] = []
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udp-relay")
        self._thread.start()

    def rewrite(self, sdp: str, side: int) -> str:
        """
        Return an SDP with one candidate: the relay's socket to which the SDP's receiver must send.

        Args:
            sdp: The offer or the answer.
            side: 0 for the client's offer, 1 for the server's answer.
        """
        found = _CANDIDATE.search(sdp)
        assert found is not None, "the description has no candidate of the loopback interface"
        self._targets[side] = (found[1], int(found[2]))
        # The other side receives this SDP, and sends its packets to the socket with this port.
        port = self._sockets[1 - side].getsockname()[1]
        line = re.sub(r" \d+ typ host", f" {port} typ host", found[0].rstrip("\r\n"))
        sections = re.split(r"(?m)^(?=m=)", _ANY_CANDIDATE.sub("", sdp))
        first, *media = sections
        return first + "".join(f"{section.rstrip()}\r\n{line}\r\n" for section in media)

    def close(self) -> None:
        """End the thread and close the sockets."""
        self._is_over.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    def _new_socket(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
        return made

    def _run(self) -> None:
        while not self._is_over.is_set():
            due = self._late[0][0] - time.monotonic() if self._late else 0.05
            ready, _, _ = select.select(self._sockets, [], [], min(max(due, 0.0), 0.05))
            for side, each in enumerate(self._sockets):
                if each in ready:
                    self._receive(side)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, data, side = heapq.heappop(self._late)
                self._send(data, side)

    def _receive(self, side: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, extra, _, _ = self._sockets[side].recvmsg(65536, 64)
                if self.is_cut or self._random.random() < self._loss:
                    self.dropped += 1
                    continue
                self.passed += 1
                at = _arrival(extra) + self._random.uniform(0.0, self._max_delay)
                heapq.heappush(self._late, (at, next(self._numbers), data, side))

    def _send(self, data: bytes, side: int) -> None:
        # The client sends to the first socket. For the server, the second socket is the client.
        target = self._targets[1 - side]
        if target is not None:
            with contextlib.suppress(OSError):
                self._sockets[1 - side].sendto(data, target)


def _arrival(extra: Sequence[tuple[int, int, bytes]]) -> float:
    """Return the monotonic time at which a packet arrived."""
    [stamp] = [data for level, kind, data in extra if (level, kind) == _TIMESTAMP_MESSAGE]
    seconds, nanoseconds = struct.unpack("@ll", stamp)
    return time.monotonic() - (time.time() - seconds - nanoseconds / 1e9)


@contextlib.contextmanager
def open_relay(
    url: str, *, seed: int, loss: float = 0.05, max_delay: float = 0.06
) -> Iterator[tuple[str, UdpRelay]]:
    """
    Yield the URL of an HTTP server that passes requests on to *url*, and the relay for UDP.

    The HTTP server replaces the candidates of offers and answers by candidates of the relay.
    """
    relay = UdpRelay(seed, loss, max_delay)

    def respond(method: str, path: str, credential: str, body: bytes) -> tuple[int, str, bytes]:
        if method == "POST":
            body = relay.rewrite(body.decode(), 0).encode()
        request = urllib.request.Request(url + path, data=body or None, method=method)
        request.add_header("Authorization", credential)
        request.add_header("Content-Type", "application/sdp")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                kind, answer = response.headers["Content-Type"], response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()
        if method == "POST":
            answer = relay.rewrite(answer.decode(), 1).encode()
        return 200, kind, answer

    with contextlib.closing(relay), serve_http(respond) as outer:
        yield outer, relay

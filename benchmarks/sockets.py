"""Measures the CPU time to receive and to send a message, compared with websocket-client."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import websocket

from benchmarks.harness import Call, Case, Settings, cpu_of
from benchmarks.server import AUDIO_BYTES, client_context, serving
from inworld_sync.models.options import Options
from inworld_sync.transport.websocket import Link

TARGETS = {
    False: {"websocket-client, skip_utf8_validation": 0.30, "websocket-client": 0.01},
    True: {"websocket-client, skip_utf8_validation": 0.80, "websocket-client": 1 / 70},
}


def cases(settings: Settings) -> Iterator[Case]:
    """Yield the cases of receiving and of sending."""
    for tls in (False, True):
        with serving(tls=tls) as url:
            yield receive_case(url, tls, settings)
    with serving() as url:
        yield send_case(url, settings)


@contextmanager
def linked(url: str) -> Iterator[Link]:
    """Open a link with a running writer thread."""
    options = Options(ssl_context=client_context(), proxy=False)
    link = Link.open(url, headers={}, options=options, name="bench")
    writer = threading.Thread(target=link.run_writer)
    writer.start()
    try:
        yield link
    finally:
        link.abort()
        writer.join()
        link.release()


@contextmanager
def connected(url: str, *, skip: bool = True) -> Iterator[websocket.WebSocket]:
    """Open a connection of websocket-client."""
    tls: dict[str, ssl.SSLContext] = {"context": client_context()}
    sock = websocket.create_connection(url, sslopt=tls, skip_utf8_validation=skip)
    try:
        yield sock
    finally:
        sock.shutdown()


def receive_case(url: str, tls: bool, settings: Settings) -> Case:
    """Return the case that receives messages of 27 KB that are already in the socket's buffer."""
    many, few = (480, 32) if settings.is_quick else (3200, 64)

    def ours() -> float:
        with linked(f"{url}/tts?count={many}") as link:
            return cpu_of(link.receive, many)

    def theirs(count: int, *, skip: bool) -> Call:
        def run() -> float:
            with connected(f"{url}/tts?count={count}", skip=skip) as sock:
                return cpu_of(sock.recv, count)

        return run

    return Case(
        f"receive, {'TLS' if tls else 'plain'}, CPU",
        AUDIO_BYTES,
        "bytes",
        ours,
        {
            "websocket-client, skip_utf8_validation": theirs(many, skip=True),
            "websocket-client": theirs(few, skip=False),
        },
        {peer: {"any": target} for peer, target in TARGETS[tls].items()},
        returns_seconds=True,
        rounds=11,
    )


def send_case(url: str, settings: Settings) -> Case:
    """Return the case that sends texts of 27 KB. The CPU time of all threads is counted."""
    text = b'{"audio":"' + b"A" * 27_400 + b'"}'
    count = 200 if settings.is_quick else 1000

    def ours() -> float:
        with linked(f"{url}/sink") as link:
            begin = time.process_time()
            for _ in range(count):
                link.send(text)
            link.flush(timeout=30)
            return (time.process_time() - begin) / count

    def theirs() -> float:
        with connected(f"{url}/sink") as sock:
            return cpu_of(lambda: sock.send(text, websocket.ABNF.OPCODE_TEXT), count)

    return Case(
        "send, plain, CPU",
        len(text),
        "bytes",
        ours,
        {"websocket-client": theirs},
        {"websocket-client": {"any": 0.20}},
        returns_seconds=True,
        rounds=11,
    )

"""Measures twenty connections in twenty threads, and the latency from socket to consumer."""

from __future__ import annotations

import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import orjson
import pybase64
import websocket

from benchmarks.harness import Call, Case, Settings
from benchmarks.messages import TTS_PATH
from benchmarks.server import AUDIO_BYTES, serving
from benchmarks.sockets import connected, linked
from inworld_sync.audio.split import Splitter
from inworld_sync.transport.websocket import Link

CONNECTIONS = 20
PEER = "skip_utf8 + orjson + pybase64"
_PACE_MS = 10


def cases(settings: Settings) -> Iterator[Case]:
    """Yield the cases of throughput, CPU time and latency."""
    for tls in (False, True):
        name = "TLS" if tls else "plain"
        with serving(tls=tls) as url:
            yield Case(
                f"20 connections, {name}, full speed",
                AUDIO_BYTES,
                "bytes",
                crowd(url, by_link, settings),
                {PEER: crowd(url, by_library, settings)},
                {PEER: {"any": 1 / 2 if tls else 1 / 4}},
                returns_seconds=True,
                rounds=9,
            )
            yield Case(
                f"20 connections, {name}, full speed, CPU",
                AUDIO_BYTES,
                "bytes",
                crowd(url, by_link, settings, clock=time.process_time),
                {PEER: crowd(url, by_library, settings, clock=time.process_time)},
                returns_seconds=True,
                rounds=9,
            )
            yield Case(
                f"20 connections, {name}, paced, CPU",
                AUDIO_BYTES,
                "bytes",
                crowd(url, by_link, settings, pace_ms=_PACE_MS, clock=time.process_time),
                {PEER: crowd(url, by_library, settings, pace_ms=_PACE_MS, clock=time.process_time)},
                {PEER: {"any": 0.75 if tls else 0.65}},
                returns_seconds=True,
                rounds=7,
            )
    with serving() as url:
        yield Case(
            "socket to consumer, plain",
            AUDIO_BYTES,
            "bytes",
            latency(url, feed_by_link, queue.SimpleQueue, settings),
            {f"{PEER} + Queue": latency(url, feed_by_library, queue.Queue, settings)},
            {f"{PEER} + Queue": {"any": 0.6}},
            returns_seconds=True,
            rounds=9,
        )


Receiver = Callable[[], None]


def by_link(url: str, count: int, stack: ExitStack) -> Receiver:
    """Open a link. Return a function that receives *count* messages and decodes them to int16."""
    link = stack.enter_context(linked(url))
    splitter, out = Splitter(TTS_PATH), bytearray(AUDIO_BYTES)

    def run() -> None:
        for _ in range(count):
            message = link.receive()
            assert message is not None
            splitter.split_into(message, out)

    return run


def by_library(url: str, count: int, stack: ExitStack) -> Receiver:
    """Do the same as :func:`by_link` with websocket-client, orjson, pybase64 and numpy."""
    sock = stack.enter_context(connected(url))

    def run() -> None:
        for _ in range(count):
            samples_of(sock.recv())

    return run


def samples_of(message: str | bytes) -> object:
    """Return the audio of a message as int16."""
    text = orjson.loads(message)["result"]["audioChunk"]["audioContent"]
    return np.frombuffer(pybase64.b64decode(text, None, True), np.int16)


def crowd(
    url: str,
    make: Callable[[str, int, ExitStack], Receiver],
    settings: Settings,
    *,
    pace_ms: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Call:
    """Return a function that measures the seconds per message with *clock*."""
    count = (32 if settings.is_quick else 256) if not pace_ms else 30
    address = f"{url}/tts?count={count}&pace_ms={pace_ms}"

    def run() -> float:
        with ExitStack() as stack:
            receivers = [make(address, count, stack) for _ in range(CONNECTIONS)]
            threads = [threading.Thread(target=receiver) for receiver in receivers]
            begin = clock()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return (clock() - begin) / count / CONNECTIONS

    return run


Put = Callable[[tuple[object, int]], None]


def feed_by_link(url: str, count: int, put: Put) -> None:
    """Receive *count* messages from a link. Pass samples and time stamp of each one to *put*."""
    splitter = Splitter(TTS_PATH, "result.contextId")
    with linked(url) as link:
        for _ in range(count):
            put(_stamped(link, splitter))


def _stamped(link: Link, splitter: Splitter) -> tuple[object, int]:
    message = link.receive()
    assert message is not None
    found = splitter.split(message)
    assert found is not None
    return found.audio, int(found.picks[0] or 0)


def feed_by_library(url: str, count: int, put: Put) -> None:
    """Do the same as :func:`feed_by_link` with websocket-client, orjson, pybase64 and numpy."""
    sock: websocket.WebSocket
    with connected(url) as sock:
        for _ in range(count):
            result = orjson.loads(sock.recv())["result"]
            audio = pybase64.b64decode(result["audioChunk"]["audioContent"], None, True)
            put((np.frombuffer(audio, np.int16), int(result["contextId"])))


def latency(
    url: str,
    feed: Callable[[str, int, Put], None],
    make_queue: Callable[[], queue.Queue[tuple[object, int]]],
    settings: Settings,
) -> Call:
    """
    Return a function that measures the latency of a message.

    The latency is the time from the server's write until the consumer, on another thread, has the
    message. The function returns the median in seconds.
    """
    count = 100 if settings.is_quick else 300

    def run() -> float:
        waiting = make_queue()
        address = f"{url}/stamped?count={count}&pace_ms=1.5"
        reader = threading.Thread(target=feed, args=(address, count, waiting.put))
        reader.start()
        took = []
        for _ in range(count):
            _, stamp = waiting.get()
            took.append(time.perf_counter_ns() - stamp)
        reader.join()
        return statistics.median(took) / 1e9

    return run

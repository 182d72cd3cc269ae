"""
Run conversations of one client in real time: ``python -m benchmarks.talkers CLIENT URL``.

The program opens sessions of one client. It prints the CPU time in microseconds that one session
uses per second. Each session sends 20 ms of audio every 20 ms, on a thread of its own, and takes
the audio deltas that the server sends every 100 ms. The server is ``benchmarks.server``, started
with ``pace_ms``.

The clients are:

- ``ours``: ``send_audio`` and ``subscribe`` of a realtime session
- ``websockets``: the shortest program with websockets, orjson and pybase64
- ``websockets100``: the same program, which sends its audio every 100 ms
- ``openai``: the blocking realtime client of OpenAI
- ``floor``: a program that does the least possible work. It wakes up every 20 ms, sends the same
  frame every 100 ms, and receives bytes without parsing them
"""

from __future__ import annotations

import argparse
import os
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["BLOCK", "BLOCK_SECONDS", "CLIENTS", "DELTA_MS", "KEY"]

KEY = "a2V5LWlkOmtleS1zZWNyZXQ="
DELTA_MS = 100.0
BLOCK_SECONDS = 0.02
# 20 ms of audio at 24 kHz.
BLOCK = bytes(index * 31 % 251 for index in range(960))
_LONG_BLOCK_BYTES = 4800
_BYTES_PER_SECOND = 48_000
_WARM_UP_SECONDS = 0.5
_OPENING_SECONDS = 20.0
# The duration of the audio that arrives may differ from the measured time by this share.
_TOLERANCE = 0.2
_APPEND = '{"type":"input_audio_buffer.append","audio":"'
_UPDATE = '{"type":"session.update","session":{"type":"realtime","instructions":"Be brief."}}'
_RESPOND = '{"type":"response.create"}'

# A client gets two functions. The first function waits until all sessions are open. The client
# calls the second function with the number of bytes of each delta. ``floor`` does not know this
# number, and passes 0.
Talk = Callable[[Callable[[], object], Callable[[int], object]], None]


def paced(send: Callable[[bytes], object], is_over: Callable[[], bool]) -> None:
    """Call *send* with 20 ms of audio every 20 ms."""
    due = time.monotonic()
    while not is_over():
        send(BLOCK)
        due += BLOCK_SECONDS
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)


class _Microphone:
    """Runs :func:`paced` on a thread while the ``with`` block runs."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=paced, args=(send, self._over.is_set))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def ours(url: str, context: ssl.SSLContext | None) -> Talk:
    from inworld_sync import Inworld
    from inworld_sync.realtime import AudioDelta, ManualTurns, ResponseDone, Session

    client = Inworld(KEY, base_url=url.replace("ws", "http", 1), ssl_context=context, proxy=False)

    def talk(wait: Callable[[], object], count: Callable[[int], object]) -> None:
        settings = Session(instructions="Be brief.", turn_detection=ManualTurns())
        with client.realtime.connect(settings) as session:
            events = session.subscribe()
            wait()
            session.respond()
            with _Microphone(session.send_audio):
                for event in events:
                    if isinstance(event, AudioDelta):
                        count(len(event.audio))
                    elif isinstance(event, ResponseDone):
                        break

    return talk


def websockets(
    url: str, context: ssl.SSLContext | None, *, sends_long_blocks: bool = False
) -> Talk:
    import orjson
    import pybase64
    from websockets.sync.client import connect

    def talk(wait: Callable[[], object], count: Callable[[int], object]) -> None:
        address = f"{url}/v1/realtime"
        with connect(address, ssl=context, compression=None, max_size=None, proxy=None) as sock:
            sock.send(_UPDATE)
            wait()
            sock.send(_RESPOND)
            block = bytearray()

            def send(audio: bytes) -> None:
                sock.send(_APPEND + pybase64.b64encode(audio).decode() + '"}')

            def send_long(audio: bytes) -> None:
                nonlocal block
                block += audio
                if len(block) >= _LONG_BLOCK_BYTES:
                    sock.send(_APPEND + pybase64.b64encode(block).decode() + '"}')
                    block.clear()

            with _Microphone(send_long if sends_long_blocks else send):
                for message in sock:
                    event = orjson.loads(message)
                    if event["type"] == "response.output_audio.delta":
                        count(len(pybase64.b64decode(event["delta"])))
                    elif event["type"] == "response.done":
                        break

    return talk


def websockets100(url: str, context: ssl.SSLContext | None) -> Talk:
    return websockets(url, context, sends_long_blocks=True)


def openai(url: str, context: ssl.SSLContext | None) -> Talk:
    import base64

    from openai import OpenAI

    client = OpenAI(api_key="none", websocket_base_url=f"{url}/v1")
    settings: Any = {"proxy": None} if context is None else {"proxy": None, "ssl": context}

    def talk(wait: Callable[[], object], count: Callable[[int], object]) -> None:
        with client.realtime.connect(model="any", websocket_connection_options=settings) as opened:
            opened.session.update(session={"type": "realtime", "instructions": "Be brief."})
            wait()
            opened.response.create()

            def send(audio: bytes) -> None:
                opened.input_audio_buffer.append(audio=base64.b64encode(audio).decode())

            with _Microphone(send):
                for event in opened:
                    if event.type == "response.output_audio.delta":
                        count(len(base64.b64decode(event.delta)))
                    elif event.type == "response.done":
                        break

    return talk


def floor(url: str, context: ssl.SSLContext | None) -> Talk:
    import socket

    from inworld_sync.audio.frame import FrameBuilder, build_frame

    place = urlsplit(url)
    frame = FrameBuilder(_APPEND, '"}').build(bytes(_LONG_BLOCK_BYTES))
    blocks = round(_LONG_BLOCK_BYTES / len(BLOCK))

    def talk(wait: Callable[[], object], count: Callable[[int], object]) -> None:
        sock = socket.create_connection((place.hostname or "", place.port or 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=place.hostname)
        with sock:
            sock.sendall(b"GET /v1/realtime HTTP/1.1\r\nSec-WebSocket-Key: A\r\n\r\n")
            sock.sendall(build_frame(1, _UPDATE.encode()))
            wait()
            sock.sendall(build_frame(1, _RESPOND.encode()))
            sent = 0

            def send(_: bytes) -> None:
                nonlocal sent
                sent += 1
                if sent % blocks == 0:
                    sock.send(frame)

            room = bytearray(1 << 16)
            with _Microphone(send):
                while sock.recv_into(room):
                    count(0)

    return talk


CLIENTS = {each.__name__: each for each in (ours, websockets, websockets100, openai, floor)}


def measured(talk: Talk, sessions: int, seconds: float) -> float:
    """
    Return the CPU seconds for one second of one session.

    Raises:
        RuntimeError: The machine is too busy for so many sessions.
    """
    opened = threading.Barrier(sessions + 1)
    received = [0] * sessions

    def run(number: int) -> None:
        def count(size: int) -> None:
            received[number] += size

        try:
            talk(lambda: opened.wait(_OPENING_SECONDS), count)
        except BaseException:  # noqa: BLE001 - any error ends the process
            traceback.print_exc()
            # End the process, because the other sessions would wait for this one.
            os._exit(1)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    opened.wait(_OPENING_SECONDS)
    time.sleep(_WARM_UP_SECONDS)
    begin, cpu, before = time.perf_counter(), time.process_time(), sum(received)
    time.sleep(seconds)
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    audio_seconds = (sum(received) - before) / _BYTES_PER_SECOND / sessions
    for thread in threads:
        thread.join()
    if audio_seconds and abs(audio_seconds / took - 1) > _TOLERANCE:
        got = f"{audio_seconds:.2f} s of audio in {took:.2f} s"
        raise RuntimeError(f"the machine is too busy: received {got}")
    return cpu / took / sessions


def main() -> None:
    """Measure one client."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.talkers", description=__doc__)
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("url")
    parser.add_argument("--sessions", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--authority", type=Path, help="the certificate to trust, for TLS")
    arguments = parser.parse_args()
    context = None
    if arguments.authority is not None:
        context = ssl.create_default_context(cafile=str(arguments.authority))
    talk = CLIENTS[arguments.client](arguments.url, context)
    print(measured(talk, arguments.sessions, arguments.seconds) * 1e6)


if __name__ == "__main__":
    main()

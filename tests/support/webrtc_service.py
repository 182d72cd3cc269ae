"""A small realtime service over WebRTC, whose scripts send the events and the audio of a test."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import itertools
import json
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from inworld_sync import Inworld

from support.scripted import ScriptEnded
from support.scripted_realtime import SESSION, Event, Service

__all__ = ["Call", "Http", "Script", "open_service", "serve_http"]

PATIENCE_SECONDS = 60.0
RATE_HZ = 48000
_FRAME = 960
_TIME_BASE = fractions.Fraction(1, RATE_HZ)
# The protocol identifier of a text message on a data channel (RFC 8831, section 8).
_TEXT = 51

Http = Callable[[str, str, str, bytes], "tuple[int, str, bytes]"]


class _Track(MediaStreamTrack):
    """Sends queued samples in real time, and silence between them."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.waiting = bytearray()
        self.sent = 0
        self._due = 0.0

    async def recv(self) -> av.AudioFrame:
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - 0.2)
        await asyncio.sleep(max(0.0, self._due - now))
        self._due += 0.02
        pcm = bytes(self.waiting[: 2 * _FRAME]).ljust(2 * _FRAME, b"\0")
        del self.waiting[: 2 * _FRAME]
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self.sent, _TIME_BASE
        self.sent += _FRAME
        return frame


class Call(Service):
    """
    One call, on the side of the service. Its script runs on a separate thread and uses the methods.

    Attributes:
        commands: The commands of the client so far.
        number: The number of the call; the first call has 1.
        session: The session object, including all updates.
    """

    # The constructor of the base class is not called, because a call has no WebSocket.
    def __init__(self, loop: asyncio.AbstractEventLoop, number: int, script: Script) -> None:
        self.number = number
        self.commands: list[Event] = []
        self.session: Event = json.loads(json.dumps(SESSION))
        self.error: BaseException | None = None
        self.thread: threading.Thread | None = None
        self._loop = loop
        self._script = script
        self._events = itertools.count(1)
        self._received: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._heard: list[np.ndarray[Any, Any]] = []
        self._news = threading.Condition()
        self._track = _Track()
        self._channel: Any = None
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("datachannel", self._opened)
        self._connection.on("track", lambda track: asyncio.ensure_future(self._listen(track)))

    async def answer(self, offer: str) -> str:
        """Return the answer to an offer."""
        connection = self._connection
        connection.addTransceiver(self._track)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for transceiver in connection.getTransceivers():
            use_loopback(transceiver.receiver.transport.transport.iceGatherer._connection)
        await connection.setLocalDescription(await connection.createAnswer())
        sdp: str = connection.localDescription.sdp
        return sdp

    # For scripts.

    def command(self) -> Event:
        """Return the next command of the client."""
        text = self._received.get(timeout=PATIENCE_SECONDS)
        if text is None:
            raise ScriptEnded
        self.commands.append(json.loads(text))
        return self.commands[-1]

    def send(self, message: object) -> None:
        """Send a value as JSON. Text is sent unchanged."""
        self.run(self._send(message if isinstance(message, str) else json.dumps(message)))

    def send_text(self, data: bytes) -> None:
        """Send a text message of any bytes. The public method of aiortc sends only valid UTF-8."""
        self.run(self._send_text(data))

    def play(self, pcm: bytes) -> None:
        """Queue samples for the track."""
        self._loop.call_soon_threadsafe(self._track.waiting.extend, pcm)

    def hush(self) -> None:
        """Drop the samples that wait for the track."""
        self._loop.call_soon_threadsafe(self._track.waiting.clear)

    def heard(self, seconds: float = 0.0) -> np.ndarray[Any, Any]:
        """Wait for *seconds* of new audio on the client's track. Return all samples so far."""
        with self._news:
            wanted = sum(map(len, self._heard)) + round(seconds * RATE_HZ)
            assert self._news.wait_for(
                lambda: sum(map(len, self._heard)) >= wanted, PATIENCE_SECONDS
            )
            return np.concatenate([np.zeros(0, "<i2"), *self._heard])

    def vanish(self) -> None:
        """Close the sockets without a message to the client."""
        self.run(self.stop_ice())

    def leave(self) -> None:
        """Close the connection."""
        self.run(self.end())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    # On the loop.

    async def end(self) -> None:
        """Close the connection."""
        await self._connection.close()
        self._received.put(None)

    async def stop_ice(self) -> None:
        """Close the sockets."""
        for transceiver in self._connection.getTransceivers():
            await transceiver.receiver.transport.transport.stop()

    async def _send(self, text: str) -> None:
        self._channel.send(text)

    async def _send_text(self, data: bytes) -> None:
        await self._connection.sctp._send(self._channel.id, _TEXT, data)

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.on("message", self._received.put)
        channel.on("close", lambda: self._received.put(None))
        self.thread = threading.Thread(target=self._run, name=f"call-{self.number}")
        self.thread.start()

    def _run(self) -> None:
        try:
            self._script(self)
        except BaseException as error:
            self.error = error

    async def _listen(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                left = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                with self._news:
                    self._heard.append(left)
                    self._news.notify_all()


Script = Callable[[Call], object]


def use_loopback(connection: Any) -> None:
    """Let an ICE connection of aioice use the loopback address only."""
    gather = connection.get_component_candidates

    async def on_loopback(component: int, addresses: list[str], timeout: int = 5) -> Any:
        return await gather(component=component, addresses=["127.0.0.1"], timeout=timeout)

    connection.get_component_candidates = on_loopback


@contextlib.contextmanager
def serve_http(respond: Http) -> Iterator[str]:
    """
    Serve HTTP, and yield the URL of the server.

    *respond* gets the method, the path, the credential and the body. The function returns a status,
    a content type and a body.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            credential = self.headers.get("Authorization", "")
            status, kind, answer = respond(self.command, self.path, credential, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _handle  # noqa: N815 - the names of http.server

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def open_service(
    *scripts: Script,
    changed_answer: Callable[[str], str] = str,
    has_udp: bool = True,
    **settings: Any,
) -> Iterator[Inworld]:
    """
    Run a service, and yield a client of this service. Each call uses the next script. After the
    last script, each further call uses the last script.

    Args:
        scripts: The scripts of the calls.
        changed_answer: A function that changes each answer before the answer is sent.
        has_udp: If False, the service closes the sockets of each call before it answers the offer.
        settings: Settings of the client.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="webrtc-service")
    thread.start()
    calls: list[Call] = []

    def respond(method: str, path: str, credential: str, body: bytes) -> tuple[int, str, bytes]:
        if path.endswith("ice-servers"):
            return 200, "application/json", b'{"ice_servers": []}'
        number = len(calls) + 1

        async def answer() -> str:
            call = Call(loop, number, scripts[min(number, len(scripts)) - 1])
            calls.append(call)
            sdp = await call.answer(body.decode())
            if not has_udp:
                await call.stop_ice()
            return sdp

        future = asyncio.run_coroutine_threadsafe(answer(), loop)
        return 200, "application/sdp", changed_answer(future.result(PATIENCE_SECONDS)).encode()

    try:
        with serve_http(respond) as url, Inworld("key", base_url=url, **settings) as client:
            yield client
    finally:
        for call in calls:
            asyncio.run_coroutine_threadsafe(call.end(), loop).result(PATIENCE_SECONDS)
            if call.thread is not None:
                call.thread.join(PATIENCE_SECONDS)
        asyncio.run_coroutine_threadsafe(_cancel_tasks(), loop).result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    for call in calls:
        if call.error is not None and not isinstance(call.error, ScriptEnded):
            raise call.error


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
